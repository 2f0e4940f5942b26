"""The steps that keep a whole app from running for as long as its data is changed. Pure.

Every machine, also one that no other part of the plan changes: what runs, writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rollbackd.core.errors import PlanRefused
from rollbackd.core.model import Json, JsonObject
from rollbackd.core.runbook import Phase, Step
from rollbackd.executors.app_steps import Numbered
from rollbackd.executors.app_words import Kind
from rollbackd.fly.json_shape import text_at
from rollbackd.fly.machine_view import meant_to_run, reachable

STOPS_AT_ONCE: Final = 8


def refuse_unfenced(fleet: Sequence[JsonObject], app: str) -> None:
    """PlanRefused where nobody could say that no machine writes."""
    if not fleet:
        raise PlanRefused(
            f"Fly lists no machine of {app}",
            hint="scaled to zero, or the token sees another app: nothing was touched",
        )
    lost = [text_at(one, "id") for one in fleet if not reachable(one)]
    if lost:
        raise PlanRefused(
            f"machine {lost[0]} is on an unreachable host: nobody can say that it does not write",
            hint="wait for Fly's host",
        )


def fence(made: Numbered, fleet: Sequence[JsonObject]) -> Iterator[Step]:
    """Cordon all, then stop what runs. One that a person has cordoned is theirs to give back, and
    one that rests is kept from being woken by its cordon.
    """
    names = {text_at(one, "id"): one for one in fleet}
    for name, machine in sorted(names.items(), key=lambda pair: pair[0]):
        if machine.get("cordoned") is not True:
            params: JsonObject = {"machine": name}
            words = f"take {name} out of traffic"
            yield made.step(Phase.STOP_TRAFFIC, Kind.CORDON, words, params, mutates=True)
    for name, machine in sorted(names.items(), key=lambda pair: pair[0]):
        if meant_to_run(machine):
            params = {"machine": name}
            yield made.step(Phase.STOP_TRAFFIC, Kind.STOP, f"stop {name}", params, mutates=True)


def give_back(made: Numbered, fleet: Sequence[JsonObject]) -> Iterator[Step]:
    """All of them in one step: it starts and uncordons what carries our mark, and nothing else."""
    machines: list[Json] = [*sorted(text_at(one, "id") for one in fleet)]
    yield made.step(
        Phase.RESTORE_TRAFFIC,
        Kind.UNCORDON,
        "start our machines and give them back to traffic",
        {"machines": machines},
        mutates=True,
    )
