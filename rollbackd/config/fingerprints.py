"""Hashes of what was written: what kept its hash keeps what it remembers over a reload."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from rollbackd.config.nodes import Table, plain, reach
from rollbackd.config.probes import ProbeSetup
from rollbackd.core.model import Json, ProbeName
from rollbackd.core.regressions import probes_of
from rollbackd.core.rules import Composite, Regression, Signal, Trigger

_ASKED: Final = (("database", "url"), ("database", "invariants"), ("after", "invariants"))


def signals(trigger: Trigger) -> tuple[Signal, ...]:
    """Every signal a trigger looks at, vetoes too; not those behind references."""
    rule = trigger.rule
    own = (rule,) if isinstance(rule, Signal) else rule.parts if isinstance(rule, Composite) else ()
    return tuple(part for part in (*own, *trigger.unless) if isinstance(part, Signal))


def looked_at(trigger: Trigger) -> frozenset[ProbeName]:
    """Every probe a trigger looks at by itself."""
    rule = trigger.rule
    compared = probes_of(rule) if isinstance(rule, Regression) else ()
    return frozenset((*compared, *(signal.probe for signal in signals(trigger))))


def fingerprints(
    table: Table, probes: Mapping[str, ProbeSetup], triggers: tuple[Trigger, ...]
) -> dict[str, str]:
    """A hash for every probe and trigger; a trigger's changes with the probes it looks at."""
    base = {key: plain(e.node) for key, e in table.entries.items() if key in {"fly", "url"}}
    marks: dict[str, str] = {}
    for name, setup in probes.items():
        written = _written(table, "probes", name)
        times = [setup.interval_seconds, setup.timeout_seconds]
        asked = [_written(table, *path) for path in _ASKED] if setup.needs else []
        marks[f"probe:{name}"] = _hash([base, setup.kind, written, *times, *asked])
    for trigger in triggers:
        seen = sorted({marks.get(f"probe:{name}", "") for name in looked_at(trigger)})
        written = _written(table, "triggers", trigger.name)
        marks[f"trigger:{trigger.name}"] = _hash([written, *seen])
    return marks


def _written(table: Table, *path: str) -> Json:
    place = reach(table, path)
    return plain(place.node) if place.path == path else None


def _hash(value: Json) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
