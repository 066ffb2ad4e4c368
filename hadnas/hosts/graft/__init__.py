"""Grafts: the sites of a timm network, and what may stand at each of them."""
