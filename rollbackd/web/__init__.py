"""The two HTTP listeners."""
