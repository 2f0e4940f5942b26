"""The `fly` probe: states, checks and exits of every managed machine, as the platform tells them.

A host that Fly itself cannot reach says nothing about the release and does not count.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Self

from rollbackd.config.types import Spec
from rollbackd.core.errors import ConfigError, RollbackdError, Unauthorized, Unreachable
from rollbackd.core.facts import Check, CheckOutcome, MeasureKind, MissReason
from rollbackd.core.model import Machine
from rollbackd.core.ports import Missed, NobodyHome, Platform, Reading
from rollbackd.plugins import ProbeContext
from rollbackd.probes.sleeping import asleep, recent_machines

FRESH_SECONDS = 1.0


class FlyConfig(Spec):
    """Nothing to set: it looks at the target's own app."""


class FlyProbe:
    """Failing: a started machine with a critical check, a crash loop, or state failed."""

    kind: ClassVar[str] = "fly"
    Config: ClassVar[type[FlyConfig]] = FlyConfig

    @classmethod
    def measure(cls, config: FlyConfig) -> MeasureKind:
        del config
        return MeasureKind.CHECK

    @classmethod
    def defaults(cls) -> dict[str, float]:
        return {}

    @classmethod
    def build(cls, config: FlyConfig, context: ProbeContext) -> Self:
        del config
        if context.platform is None:
            raise ConfigError(
                f"probe {context.name} needs a Fly app, and target {context.target} names none",
                hint="give the target fly: {app: name}",
            )
        return cls(context, context.platform)

    def __init__(self, context: ProbeContext, platform: Platform) -> None:
        self._platform = platform  # keeps it alive for as long as the probe
        self._machines = recent_machines(platform, context.clock)
        self._timeout_seconds = context.timeout_seconds

    async def take(self) -> Reading:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                machines = await self._machines.machines(max_age_seconds=FRESH_SECONDS)
        except Unauthorized:
            return Missed(reason=MissReason.SOURCE_UNAUTHORIZED)
        except (Unreachable, TimeoutError):
            return Missed(reason=MissReason.SOURCE_UNREACHABLE, detail="the Machines API is silent")
        except RollbackdError as error:
            return Missed(reason=MissReason.SOURCE_ERROR, detail=type(error).__name__)
        return judge(machines)

    async def close(self) -> None:
        """The platform is the daemon's to close."""


def judge(machines: Sequence[Machine]) -> Reading:
    """What the machines' states say about the app."""
    reachable = [machine for machine in machines if machine.reachable]
    if not reachable:
        detail = "no machine" if not machines else "no host is reachable"
        return Missed(reason=MissReason.EMPTY, detail=detail)
    if asleep(machines):
        return NobodyHome()
    troubles = Counter(trouble for machine in reachable if (trouble := _trouble(machine)))
    if not troubles:
        return Check(outcome=CheckOutcome.OK, failing_machines=0)
    named = ", ".join(f"{count} {trouble}" for trouble, count in sorted(troubles.items()))
    return Check(
        outcome=CheckOutcome.FAILED,
        why=f"of {len(reachable)} machines: {named}",
        failing_machines=troubles.total(),
    )


def _trouble(machine: Machine) -> str:
    if machine.crash_looping:
        return "in a crash loop"
    if machine.state == "failed":
        return "failed"
    if machine.state == "started" and machine.critical_checks > 0:
        return "with a critical check"
    return ""
