"""Pages for users. `python -m docs.generate` writes those that are lists, `python -m docs.picture` the picture."""
