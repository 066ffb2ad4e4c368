"""What networks are made of: one interaction per file, and the registry that gives each op its name and role."""
