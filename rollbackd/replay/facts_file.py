"""A file of facts -> the core's facts, in the order of time. It skips a bad line and says so.

The shapes are in docs/replay.md. What a line does not say is not made up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final

from rollbackd.core.facts import (
    Check,
    CheckOutcome,
    Histogram,
    Measure,
    Miss,
    Ratio,
    Sample,
    TargetFact,
    Value,
)
from rollbackd.core.model import ProbeName, Release, TargetName
from rollbackd.core.policy import Policy
from rollbackd.replay import fields, people_facts
from rollbackd.replay.deploy_facts import DeployFacts
from rollbackd.replay.fields import BadLine, Row
from rollbackd.replay.lines import lines, parse
from rollbackd.replay.told import Noted, Reconfigured, Told

COMMON: Final = frozenset({"at", "fact", "target", "note"})
_SAMPLE: Final = COMMON | {
    "probe", "ok", "seconds", "why", "bad", "total", "buckets", "value", "machine", "version",
    "failing_machines",
}  # fmt: skip
_NUMBERS: Final = frozenset({int, float})
_EVERYBODY: Final = frozenset({"alert", "config"})  # facts that may concern no single target


class FactsFile:
    """Reads facts for the targets of some policies. `complain` hears (line, what is wrong).

    `load` makes a policy of what a `config` fact names; raises ValueError with the reason.
    """

    def __init__(
        self,
        policies: tuple[Policy, ...],
        complain: Callable[[int, str], None],
        load: Callable[[str], Policy],
    ) -> None:
        self.bad_lines = 0
        self._complain = complain
        self._load = load
        self._known: dict[str, set[str]] = {}
        self._deploys = DeployFacts()
        self._shapes: Mapping[str, Callable[[Row, float], Told]] = {
            "miss": self._miss,
            "release": self._deploy_fact,
            "machines": self._deploy_fact,
            "rollback_started": self._deploy_fact,
            "rollback_ended": self._deploy_fact,
            **dict.fromkeys(people_facts.KINDS, self._people),
            "alert": self._alert,
            "config": self._config,
        }
        for policy in policies:
            self._know(policy)

    def read(self, file: BinaryIO) -> Iterator[Told]:
        """Every good line's fact, `at` never falling."""
        newest = -math.inf
        for at_line, raw in lines(file):
            try:
                told = self._told(parse(raw), newest)
            except BadLine as error:
                self.bad_lines += 1
                self._complain(at_line, str(error))
                continue
            newest = told.at
            yield told

    def _know(self, policy: Policy) -> None:
        for name, target in policy.targets.items():
            self._known.setdefault(name, set()).update(target.probes)

    def _told(self, row: Row, newest: float) -> Told:
        given: Any = row.get("at")
        quick = type(given) in _NUMBERS and -fields.LATEST <= given <= fields.LATEST
        at = float(given) if quick else fields.time(row, "at")
        if at < newest:
            raise BadLine(f"at {at:.15g} is earlier than a line before ({newest:.15g})")
        kind = row.get("fact")
        if kind == "sample":
            return self._sample(row, at)
        if type(kind) is not str:
            raise BadLine("fact is not a string" if "fact" in row else "fact is missing")
        read = self._shapes.get(kind)
        if read is None:
            raise BadLine(f"unknown fact {kind[:40]!r}")
        if kind not in _EVERYBODY or "target" in row:
            self._target(row)
        return read(row, at)

    def _target(self, row: Row) -> TargetName:
        name = row.get("target")
        if type(name) is not str:
            raise BadLine("target is not a string" if "target" in row else "target is missing")
        if name not in self._known:
            raise BadLine(f"unknown target {name[:40]!r}")
        return TargetName(name)

    def _probe(self, row: Row, target: TargetName) -> ProbeName:
        name = row.get("probe")
        if type(name) is not str:
            raise BadLine("probe is not a string" if "probe" in row else "probe is missing")
        if name not in self._known[target]:
            raise BadLine(f"unknown probe {name[:40]!r} of target {target}")
        return ProbeName(name)

    # One method a shape ----------------------------------------------------------------------

    def _sample(self, row: Row, at: float) -> Sample:
        if not row.keys() <= _SAMPLE:
            fields.known_keys(row, _SAMPLE)
        target = self._target(row)
        return Sample(
            target=target,
            probe=self._probe(row, target),
            at=at,
            measure=_measure(row),
            machine=fields.name(row, "machine") if "machine" in row else None,
            version=fields.whole(row, "version") if "version" in row else None,
        )

    def _miss(self, row: Row, at: float) -> Miss:
        fields.known_keys(row, COMMON | {"probe", "reason", "detail"})
        target = self._target(row)
        return Miss(
            target=target,
            probe=self._probe(row, target),
            at=at,
            reason=fields.name(row, "reason"),
            detail=fields.text(row, "detail", ""),
        )

    def _deploy_fact(self, row: Row, at: float) -> Told:
        return self._deploys.read(row, at, self._target(row), COMMON)

    def _people(self, row: Row, at: float) -> TargetFact:
        target = self._target(row)

        def known(version: int, key: str) -> Release:
            return self._deploys.known(version, target, key)

        return people_facts.read(row, at, target, common=COMMON, known=known)

    def _alert(self, row: Row, at: float) -> Noted:
        # What an alert carries is up to who sends it, and it decides nothing.
        said = (row.get(key) for key in ("name", "summary", "note"))
        told = next((one for one in said if isinstance(one, str) and one), "an alert")
        return Noted(at=at, target=_target_or_all(row), kind="alert", text=told)

    def _config(self, row: Row, at: float) -> Noted | Reconfigured:
        fields.known_keys(row, COMMON | {"directory", "hash"})
        if "directory" not in row:
            told = fields.text(row, "hash", "")
            return Noted(at=at, target=_target_or_all(row), kind="config", text=told)
        named = fields.name(row, "directory")
        if not named.isprintable():
            raise BadLine("directory is no path: it has a control character")
        try:
            policy = self._load(named)
        except ValueError as error:
            raise BadLine(f"directory: {error}") from error
        self._know(policy)
        return Reconfigured(at=at, policy=policy, text=named)


def _measure(row: Row) -> Measure:
    """By the keys that are there; those of two measures together are a mistake."""
    if "total" in row or "bad" in row:
        _alone(row, "ok", "buckets", "value")
        bad, total = fields.count(row, "bad"), fields.count(row, "total")
        if bad > total:
            raise BadLine(f"bad ({bad:.15g}) is more than total ({total:.15g})")
        return Ratio(bad=bad, total=total)
    if "ok" in row:
        _alone(row, "buckets", "value")
        return Check(
            outcome=CheckOutcome.OK if fields.flag(row, "ok") else CheckOutcome.FAILED,
            seconds=fields.count(row, "seconds") if "seconds" in row else None,
            why=fields.text(row, "why", ""),
            failing_machines=(
                fields.whole(row, "failing_machines") if "failing_machines" in row else None
            ),
        )
    if "buckets" in row:
        _alone(row, "value")
        return Histogram(buckets=fields.buckets(row, "buckets"))
    if "value" in row:
        return Value(value=fields.number(row, "value"))
    raise BadLine("a sample fact needs one of: ok, bad and total, buckets, value")


def _alone(row: Row, *others: str) -> None:
    for other in others:
        if other in row:
            raise BadLine(f"{other} does not belong into this sample")


def _target_or_all(row: Row) -> str:
    return fields.text(row, "target", "")
