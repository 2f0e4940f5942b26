"""`rollbackd rollback` follows what it ordered until it is over."""

from collections.abc import Callable

from typer.testing import Result

from tests.support_desk import past
from tests.unit.cli.conftest import Served

Run = Callable[..., Result]


def test_one_that_held_and_was_let_go_on_is_followed_to_its_end(
    served: Served, rollbackd: Run
) -> None:
    """It still holds when it is first looked at: that was the end of following it."""
    served.desk.finishes = True
    held = {**past("r9", "holding", "holding"), "steps": []}
    served.desk.ends = [held, {**held, "state": "running"}, past("r9")]

    told = rollbackd("rollback", "--reason", "go on", "--yes")

    assert told.exit_code == 0
    assert told.stdout.rstrip().endswith("r9: recovered")
