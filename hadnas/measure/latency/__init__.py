"""Latency: a module and a fixed reference timed in turn, by backend."""
