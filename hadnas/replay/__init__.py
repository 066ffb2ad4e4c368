"""Replays: samplers at work on figures that are known already, without training."""
