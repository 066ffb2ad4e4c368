"""An architecture as data: read, completed, checked, remembered and varied, for a task."""
