"""The export of an architecture: a folder with readable code, weights and data that needs no hadnas."""
