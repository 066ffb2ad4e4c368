"""How an architecture leaves: a folder with readable code, weights and data that needs no hadnas."""
