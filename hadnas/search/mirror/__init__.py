"""A study in MLflow, written while it is searched and again when the store was lost."""
