"""The host of two maps: each cell reads the outputs of the last two cells."""
