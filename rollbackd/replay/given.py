"""The configuration a replay judges by: as the daemon loads it, but for what only the net needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rollbackd.config.load import Loaded, load_directory
from rollbackd.config.settings import variable
from rollbackd.core.policy import Policy

# A short file has the probes `errors` and `latency` only where there is a Prometheus to ask. A
# replay asks none: the facts hold what it said.
NOBODY: Final = "http://prometheus.invalid"


def loaded(directory: Path, environ: Mapping[str, str] | None = None) -> Loaded:
    """Raises ConfigRefused, or ConfigError."""
    given = dict(os.environ if environ is None else environ)
    if not given.get(variable("prometheus_url")):
        given[variable("prometheus_url")] = NOBODY
    return load_directory(directory, given)


def policy(directory: Path, environ: Mapping[str, str] | None = None) -> Policy:
    return loaded(directory, environ).policy
