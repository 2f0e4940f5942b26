"""How a rollback ended is said from its steps: what was left behind by its name."""

import pytest

from rollbackd.core.model import Json, JsonObject
from rollbackd.core.runbook import Phase, Step, StepRow, StepState
from rollbackd.engine.ending import ending


def row(seq: int, phase: Phase, name: str, result: JsonObject) -> StepRow:
    step = Step(
        seq=seq, phase=phase, kind="machine" if phase is Phase.EXECUTE else "look", name=name,
        params={}, op_key=f"r/{seq}", mutates=phase is Phase.EXECUTE,
    )  # fmt: skip
    return StepRow(step=step, state=StepState.DONE, attempts=1, result=result, error="")


@pytest.mark.parametrize(
    ("lost", "unseen", "said"),
    [
        (False, [], ""),
        (False, ["d891"], "partial: not reached: machine d891"),
        (True, ["d890"], "partial: not reached: bring d890 back"),
        (True, ["d891", "d890"], "partial: not reached: bring d890 back, machine d891"),
    ],
)
def test_every_machine_that_was_not_reached_is_named_once(
    lost: bool, unseen: list[Json], said: str
) -> None:
    """Also one that was on an unreachable host already when the plan was made."""
    result: JsonObject = {"unreachable": "its host"} if lost else {}
    rows = [
        row(1, Phase.EXECUTE, "bring d890 back", result),
        row(2, Phase.VERIFY, "every machine runs the good release", {"unreachable": unseen}),
    ]

    assert ending(rows).detail == said
