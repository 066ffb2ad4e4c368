"""An architecture as data: read, completed, checked, fingerprinted and varied, for a task."""
