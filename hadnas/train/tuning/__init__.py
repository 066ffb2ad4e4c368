"""Fine-tuning: what a module has from a parent network, and what a recipe makes of it."""
