"""Proposals: what is evaluated next, and what is known of a draw before it is trained."""
