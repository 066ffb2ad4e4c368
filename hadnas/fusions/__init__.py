"""Fusions: how the features of two inputs interact, by a product, a sum or attention; one op per file."""
