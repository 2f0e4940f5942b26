"""Probes: each file looks in one way. None imports another."""
