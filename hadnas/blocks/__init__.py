"""The parts of networks: one interaction per file, and the registry that gives each op its name and role."""
