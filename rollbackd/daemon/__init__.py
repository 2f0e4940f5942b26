"""Composition root: the only room that knows everybody. Builds, runs, drains; decides nothing."""

from rollbackd.daemon.life import run

__all__ = ["run"]
