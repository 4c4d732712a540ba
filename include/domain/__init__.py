"""Business rules, one package per workflow; no workflow imports another."""
