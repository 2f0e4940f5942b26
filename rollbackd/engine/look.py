"""One look of one probe, made into a fact. Blames the target for nothing that may be ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from rollbackd.core.facts import (
    Asleep,
    Check,
    CheckOutcome,
    ControlSeen,
    Histogram,
    Measure,
    Miss,
    MissReason,
    Ratio,
    Sample,
    TargetFact,
    Value,
)
from rollbackd.core.model import ProbeName, TargetName
from rollbackd.core.ports import ByMachine, Clock, Control, Missed, NobodyHome, Probe, Reading
from rollbackd.engine.looplag import LoopLag
from rollbackd.telemetry import events
from rollbackd.telemetry.metrics import Metrics

log = structlog.get_logger()

LAG_SPOILS_SECONDS = 0.25  # design section 2: event-loop lag above this makes a miss
GRACE_SECONDS = 1.0  # a probe keeps its own deadline; this one only catches a probe that does not
ANSWERED_BY_PLATFORM = frozenset({"fly"})  # its failed sample is itself an answer of the control


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A probe with what the poller must know of it."""

    target: TargetName
    name: ProbeName
    kind: str
    interval_seconds: float
    timeout_seconds: float
    probe: Probe
    control: Control


class Looker:
    """Takes looks and says what they mean, control look included."""

    def __init__(self, clock: Clock, lag: LoopLag, metrics: Metrics) -> None:
        self._clock = clock
        self._lag = lag
        self._metrics = metrics
        self._lost: set[TargetName] = set()  # looked at until the control answers again

    async def look(self, watched: Watched) -> list[TargetFact]:
        """One look: its fact, and a ControlSeen where the control was asked."""
        at = self._clock.now()
        began = self._clock.monotonic()
        reading = await self._take(watched)
        if _accuses(reading) and self._lag.worst_since(began) > LAG_SPOILS_SECONDS:
            late = Missed(reason=MissReason.OVERLOADED, detail="our own event loop was late")
            reading = _acquitted(reading, late)
        facts: list[TargetFact] = []
        accuses = _accuses(reading) and watched.kind not in ANSWERED_BY_PLATFORM
        if accuses or watched.target in self._lost:
            ok = await watched.control.look()
            facts.append(self._control_seen(watched.target, ok=ok))
            if accuses and not ok:
                reading = _acquitted(reading, Missed(reason=MissReason.CONTROL_PROBE_FAILED))
        self._metrics.probe_taken(
            watched.target, watched.name, _result(reading), self._clock.monotonic() - began
        )
        whole, parts = (
            (reading.whole, reading.parts) if isinstance(reading, ByMachine) else (reading, ())
        )
        facts += [_part(watched, machine, measure, at) for machine, measure in parts]
        facts.append(_fact(watched, whole, at))
        return facts

    def doubt(self, targets: Iterable[TargetName]) -> None:
        """Whose control did not answer when an earlier process ended: ask it at every look."""
        self._lost.update(targets)

    def _control_seen(self, target: TargetName, *, ok: bool) -> ControlSeen:
        if not ok and target not in self._lost:
            self._lost.add(target)
            log.warning(events.CONTROL_LOST, target=target)
        elif ok and target in self._lost:
            self._lost.discard(target)
            log.info(events.CONTROL_REGAINED, target=target)
        return ControlSeen(target=target, at=self._clock.now(), ok=ok)

    async def _take(self, watched: Watched) -> Reading:
        try:
            async with asyncio.timeout(watched.timeout_seconds + GRACE_SECONDS):
                return await watched.probe.take()
        except TimeoutError:
            return Missed(reason=MissReason.PROBE_ERROR, detail="did not keep its own deadline")
        except Exception as error:  # one bad plugin must not stop the watch
            log.exception(events.PROBE_CRASHED, target=watched.target, probe=watched.name)
            return Missed(reason=MissReason.PROBE_ERROR, detail=type(error).__name__)


def _accuses(reading: Reading) -> bool:
    if isinstance(reading, ByMachine):
        return _accuses(reading.whole) or any(_accuses(part) for _, part in reading.parts)
    return isinstance(reading, Check) and reading.outcome is not CheckOutcome.OK


def _acquitted(reading: Reading, missed: Missed) -> Reading:
    """Without the parts where only they accused; else nothing was seen at all."""
    if isinstance(reading, ByMachine) and not _accuses(reading.whole):
        return reading.whole
    return missed


def _result(reading: Reading) -> str:
    match reading:
        case Check(outcome=outcome):
            return outcome.value
        case Missed(reason=reason):
            return reason if reason in set(MissReason) else MissReason.PROBE_ERROR.value
        case NobodyHome():
            return "asleep"
        case Ratio() | Histogram() | Value():
            return "ok"
        case ByMachine(whole=whole):
            return _result(whole)


def _part(watched: Watched, machine: str, measure: Measure, at: float) -> TargetFact:
    return Sample(
        target=watched.target, probe=watched.name, at=at, measure=measure, machine=machine
    )


def _fact(watched: Watched, reading: Measure | Missed | NobodyHome, at: float) -> TargetFact:
    # `at` is when the look began: a look begun before the last machine was switched says nothing
    # about the release that came after.
    target, probe = watched.target, watched.name
    match reading:
        case Missed(reason=reason, detail=detail):
            return Miss(target=target, probe=probe, at=at, reason=reason, detail=detail)
        case NobodyHome():
            return Asleep(target=target, probe=probe, at=at)
        case _:
            return Sample(target=target, probe=probe, at=at, measure=reading)
