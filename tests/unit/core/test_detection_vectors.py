"""The numbers of docs/detection.md, worked out elsewhere: ours must be the same to 1e-9."""

import json
import math
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from rollbackd.core.baseline import Slack, kl_upper_bound, learn
from rollbackd.core.bounds import pick_bound
from rollbackd.core.comparison import Comparison
from rollbackd.core.evidence import Evidence, cap_of
from rollbackd.core.facts import MeasureKind
from rollbackd.core.hard_down import HardDown, needed
from rollbackd.core.kinds import ERRORS
from rollbackd.core.rows import PLAIN, Counted
from rollbackd.core.stream import WARM_SECONDS, Stream
from tests.unit.core.world import probe, regression

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "vectors" / "detection.json").read_text(encoding="utf-8")
)
NEVER = 1_000_000_000


def same(found: float, wanted: float) -> bool:
    return math.isclose(found, wanted, rel_tol=1e-9)


def named(kind: str) -> Any:
    return pytest.mark.parametrize("case", VECTORS[kind], ids=lambda case: case.get("name", ""))


@named("kl_ucb")
def test_the_upper_bound_of_a_rate(case: dict[str, Any]) -> None:
    assert same(kl_upper_bound(case["K"], case["N"], case["beta"]), case["p_up"])


@named("baseline")
def test_what_is_learned_of_the_time_before(case: dict[str, Any]) -> None:
    slack = Slack(case["r"], case["delta"])

    learned = learn(
        case["k"], case["n"], slack=slack, beta=case["beta"], tick_seconds=10, at_least=6
    )

    wanted = case["expect"]
    assert same(learned.rate, wanted["p"])
    assert same(learned.phi, wanted["phi"])
    assert same(learned.upper, wanted["p_up"])
    assert same(learned.tolerance, math.inf if case["disabled"] else wanted["tol"])
    assert learned.longest == wanted["L"]
    assert learned.persistence == wanted["M"]


@named("eprocess")
def test_the_evidence_after_each_tick(case: dict[str, Any]) -> None:
    cap = cap_of(odds=VECTORS["threshold"], weight=case["weight"], ticks=case["M"])
    evidence = Evidence(cap=cap, tick_seconds=10)
    first = None

    for index, (k, n) in enumerate(case["ticks"]):
        evidence.step(k / n / case["tol"] if n else None)
        assert same(evidence.odds, case["E"][index])
        assert same(math.log10(evidence.odds), case["log10E"][index])
        if first is None and case["weight"] * evidence.odds >= VECTORS["threshold"]:
            first = index

    assert same(cap, case["cap"])
    assert first == case["first_decision_index_alone"]


@named("fastpath")
def test_how_many_downs_in_a_row_accuse(case: dict[str, Any]) -> None:
    before = case["pre_down"]
    recent_ticks = 30 // case["ticks_per_check"]
    need = needed(before, [1] * len(before), least=case["need0"], recent_ticks=recent_ticks)
    hard = HardDown(need)
    fired = []

    for at, down in enumerate(case["post_down"]):
        hard.look(ok=not down)
        hard.close(at, gapped=(), neutral=False, young=10 * at < WARM_SECONDS)
        fired.append(hard.fired)

    assert (NEVER if need is None else need) == case["need"]
    assert fired == case["fire"]


@named("pick_edge")
def test_which_bound_is_counted_by(case: dict[str, Any]) -> None:
    slower = [case["total"] - count for count in case["cum"]]

    assert pick_bound(slower, case["total"]) == case["index"]


@named("concurrent")
def test_new_machines_against_old_ones(case: dict[str, Any]) -> None:
    comparison = Comparison(Stream(ERRORS, regression(), probe("errors", MeasureKind.RATIO)))
    comparison.start(case["weight"])
    wanted = deque(case["E"])

    for at, (bad_new, new, bad_old, old) in enumerate(case["ticks_kc_nc_ks_ns"]):
        comparison.take(at, Counted(PLAIN, [new, bad_new]), new=True)
        comparison.take(at, Counted(PLAIN, [old, bad_old]), new=False)
        comparison.close(at)
        assert comparison.evidence is not None
        assert same(comparison.evidence.odds, wanted.popleft())
