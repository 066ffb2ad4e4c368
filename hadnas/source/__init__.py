"""An architecture as text: the code of its blocks, collected and written as one file."""
