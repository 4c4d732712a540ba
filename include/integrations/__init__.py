"""Outside systems: the effect ledger and the providers that deliver from it."""
