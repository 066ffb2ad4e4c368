"""The contract of an op, checked by `hadnas check` and by the tests."""
