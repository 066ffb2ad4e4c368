"""Latency: a module and a fixed reference timed alternately, by backend."""
