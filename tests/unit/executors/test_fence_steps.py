"""A fence keeps every machine out, and none that a person took out themselves is given back."""

from typing import Any

import pytest

from rollbackd.core.errors import PlanRefused
from rollbackd.core.model import JsonObject
from rollbackd.executors.app_steps import Numbered
from rollbackd.executors.fence_steps import fence, give_back, refuse_unfenced
from tests.support_rollback import decision


def machine(name: str, **more: Any) -> JsonObject:
    return {"id": name, "state": "started", "config": {}, **more}


FLEET = [
    machine("c", state="stopped"),
    machine("a"),
    machine("b", cordoned=True),
]


def test_all_are_cordoned_and_what_runs_is_stopped() -> None:
    steps = list(fence(Numbered(decision()), FLEET))

    assert [(step.kind, step.params["machine"]) for step in steps] == [
        ("cordon", "a"),
        ("cordon", "c"),
        ("stop_machine", "a"),
        ("stop_machine", "b"),
    ]
    (back,) = give_back(Numbered(decision()), FLEET)
    assert back.params["machines"] == ["a", "b", "c"]


@pytest.mark.parametrize("fleet", [[], [machine("a"), machine("b", host_status="unreachable")]])
def test_where_nobody_can_say_that_none_writes_there_is_no_plan(fleet: list[JsonObject]) -> None:
    with pytest.raises(PlanRefused):
        refuse_unfenced(fleet, "shop")
    refuse_unfenced(FLEET, "shop")
