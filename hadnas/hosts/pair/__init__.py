"""The host of two inputs: an encoder of each, a fusion of their features, and a head."""
