"""Shipped studies: one experiment per file, each a value STUDY."""
