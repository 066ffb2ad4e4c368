"""The host of an image with holes: a pyramid that carries the mask of its valid pixels."""
