"""What one scrape of `/metrics` costs, for 10 and for 100 probes."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from prometheus_client import CollectorRegistry

sys.path.append(str(Path(__file__).parents[1]))  # for the tests' snapshot

from rollbackd.telemetry.metrics import Metrics
from tests import support_views as views

ROUNDS = 15


def rendering() -> list[str]:
    return [_at(probes) for probes in (10, 100)]


def _at(probes: int) -> str:
    names = tuple(f"probe-{n}" for n in range(probes))
    metrics = Metrics(CollectorRegistry(), views.snapshot, version="bench")
    metrics.adopt(views.policy(shop=(names, ("errors", "latency"))))
    costs, body = [], b""
    for _ in range(ROUNDS):
        began = time.process_time()
        body, _ = metrics.render("text/plain")
        costs.append((time.process_time() - began) * 1e3)
    lines = sum(not line.startswith(b"#") for line in body.splitlines())
    size = len(body) / 1024
    took = statistics.median(costs)
    return f"/metrics, {probes} probes, {lines} series, {size:.0f} KiB | {took:.1f} ms CPU"
