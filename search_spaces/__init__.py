"""Shipped search spaces: one question per file, each a value SPACE."""
