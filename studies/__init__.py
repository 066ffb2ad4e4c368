"""Shipped studies: one experiment per file, each with a value STUDY."""
