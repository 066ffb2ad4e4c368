"""MLflow: runs, view, server, registry. Plain values in."""
