"""Training of any module: recipe, loop, score, effects; data in its own room."""
