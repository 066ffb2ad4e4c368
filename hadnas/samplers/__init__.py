"""Samplers: who chooses the next candidate."""
