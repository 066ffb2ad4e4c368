"""What is built: tasks, architectures as data, and the one reading of them as modules and as source."""
