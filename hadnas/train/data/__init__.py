"""Data sets: one reader per kind of source, split into train, validation and test."""
