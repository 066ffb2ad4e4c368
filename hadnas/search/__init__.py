"""The search: propose, evaluate, record."""
