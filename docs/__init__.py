"""Pages for users. `python -m docs.generate` writes the pages of lists, `python -m docs.picture` the picture."""
