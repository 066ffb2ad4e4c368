"""Figures of any module without training: cost, screen, proxies; latency in its own room."""
