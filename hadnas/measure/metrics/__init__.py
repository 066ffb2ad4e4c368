"""Metrics of a network's outputs, and their standard errors."""
