"""The stock ledger: items, places, movements and what is there; no workflow's words in it."""
