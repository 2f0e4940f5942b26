"""Metrics, logs and the names of events."""
