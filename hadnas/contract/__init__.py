"""The contract of an op: `hadnas check` and the tests hold every block to it."""
