"""Hosts: networks around the blocks, and the build of an architecture as a module."""
