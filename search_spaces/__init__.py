"""Shipped search spaces: one question per file, each with a value SPACE."""
