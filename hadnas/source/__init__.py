"""An architecture as text: the code of its blocks, traced and written as one file."""
