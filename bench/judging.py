"""What one sample costs: taken in, judged and decided on, against counting the window again."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from rollbackd.config.load import load_directory
from rollbackd.config.settings import Settings
from rollbackd.core.decide import decide
from rollbackd.core.facts import Ratio, Sample
from rollbackd.core.model import ProbeName, TargetName
from rollbackd.core.policy import Policy
from rollbackd.core.state import TargetState

ROUNDS, SAMPLES, START = 5, 2000, 1_800_000_000.0
CONFIGURATION = """\
targets:
  shop:
    fly: {{app: shop}}
    url: https://shop.test
    probes: {{errors: {{fly_edge: errors, interval: 1s}}}}
    triggers:
      error-rate:
        probe: errors
        window: {window}s
        breach_when: {{above: 5%}}
        min_samples: 50
"""


def judging() -> list[str]:
    return [row for window in (60, 600) for row in _at(window)]


def _at(window: int) -> list[str]:
    policy = _policy(window)
    ours, applied, naive = [], [], []
    for _ in range(ROUNDS):
        ours.append(_timed(_engine(policy, deciding=True)))
        applied.append(_timed(_engine(policy, deciding=False)))
        naive.append(_timed(_counting_again(window)))
    rows = []
    for what, costs in (("apply", applied), ("apply + decide", ours)):
        ratios = [other / mine for mine, other in zip(costs, naive, strict=True)]
        rows.append(
            f"{what}, one sample, W={window} | {statistics.median(costs):.1f} us;"
            f" a recount of the window costs {statistics.median(ratios):.2g} x that"
        )
    return rows


def _policy(window: int) -> Policy:
    import tempfile  # noqa: PLC0415 -- only here
    from pathlib import Path  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rollback-monitoring.yml"
        path.write_text(CONFIGURATION.format(window=window), encoding="utf-8")
        return load_directory(Path(name), settings=Settings(config=Path(name))).policy


def _engine(policy: Policy, *, deciding: bool) -> Callable[[int], None]:
    target = TargetName("shop")
    state = TargetState(policy.targets[target], START)

    def one(n: int) -> None:
        at = START + n
        measure = Ratio(bad=n % 7 == 0, total=10.0)
        state.apply(Sample(target=target, probe=ProbeName("errors"), at=at, measure=measure))
        if deciding:
            decide(policy, state, at)

    return one


def _counting_again(window: int) -> Callable[[int], None]:
    kept: list[tuple[float, float, float]] = []

    def one(n: int) -> None:
        at = START + n
        kept.append((at, float(n % 7 == 0), 10.0))
        while kept[0][0] <= at - window:
            kept.pop(0)
        bad, total = sum(k[1] for k in kept), sum(k[2] for k in kept)
        _ = bad / total > 0.05

    return one


def _timed(one: Callable[[int], None]) -> float:
    """CPU microseconds a sample, with a full window."""
    for n in range(700):
        one(n)
    began = time.process_time()
    for n in range(700, 700 + SAMPLES):
        one(n)
    return (time.process_time() - began) / SAMPLES * 1e6
