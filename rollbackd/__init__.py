"""rollbackd puts the last good release of a Fly.io app back when a release makes it worse."""

__version__ = "0.1.0"
