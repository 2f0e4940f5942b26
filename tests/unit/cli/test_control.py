"""Approve, reject, abort, undo and set: what is sent, what is said, and the exit code."""

import json
from collections.abc import Callable

import pytest
from typer.testing import Result

from rollbackd.core import errors
from tests.unit.cli.conftest import Served

Run = Callable[..., Result]
WHY = ("--reason", "we looked", "--by", "ann")


def test_an_approval_names_the_plan_that_was_seen(rollbackd: Run, served: Served) -> None:
    told = rollbackd("approve", "shop-v42-to-v41", "--hash", "abcd", *WHY)

    assert (told.exit_code, told.stdout.splitlines()[0]) == (
        0,
        "rollback r9 began: rollbackd history --steps follows it",
    )
    assert served.desk.orders == [
        {"approve": "shop-v42-to-v41", "hash": "abcd", "reason": "we looked", "by": "ann"}
    ]


def test_an_approval_that_a_gate_holds_is_a_finding_and_says_why(
    rollbackd: Run, served: Served
) -> None:
    served.desk.held = "our own connectivity is in doubt"

    told = rollbackd("approve", "shop")
    as_json = rollbackd("approve", "shop", "--json")

    assert told.exit_code == as_json.exit_code == 1
    assert "held: blind: our own connectivity is in doubt" in told.stdout
    assert "the approval stands until" in told.stdout
    assert json.loads(as_json.stdout)["result"] == "held"


@pytest.mark.parametrize(
    ("words", "order", "said"),
    [
        (("reject", "shop"), "reject", "shop is rejected"),
        (("abort", "r1"), "abort", "r1 is cancelled"),
        (("undo", "r1"), "undo", "rollback r10 began: v41 is put back"),
    ],
)
def test_the_others_need_a_reason_and_say_what_was_done(
    rollbackd: Run, served: Served, words: tuple[str, ...], order: str, said: str
) -> None:
    told = rollbackd(*words, *WHY)
    as_json = rollbackd(*words, *WHY, "--json")
    unreasoned, empty = rollbackd(*words), rollbackd(*words, "--reason", " ")

    assert (told.exit_code, as_json.exit_code) == (0, 0)
    assert said in told.stdout
    assert isinstance(json.loads(as_json.stdout), dict)
    assert unreasoned.exit_code == empty.exit_code == 2
    assert [next(iter(each)) for each in served.desk.orders] == [order, order]
    assert served.desk.orders[0]["by"] == "ann"


@pytest.mark.parametrize("name", ["", " ", "..", "a/b", "../shop"])
@pytest.mark.parametrize("order", ["approve", "reject", "abort", "undo", "pause", "unlock", "set"])
def test_what_can_be_no_name_is_not_asked_for(
    rollbackd: Run, served: Served, order: str, name: str
) -> None:
    words = {"approve": (), "pause": ("--for", "1h"), "set": ("mode=observe",)}

    told = rollbackd(order, name, *words.get(order, ()), *WHY)

    assert told.exit_code == 2
    assert told.stderr == f"error: {name!r} is no name (rollbackd status and history show them)\n"
    assert served.desk.orders == []


def test_a_refusal_is_one_line_and_a_finding(rollbackd: Run, served: Served) -> None:
    served.desk.refusal = errors.Rejected("r1 has begun to change machines", hint="undo it then")

    told = rollbackd("abort", "r1", *WHY)

    assert told.exit_code == 1
    assert told.stderr == "error: r1 has begun to change machines (undo it then)\n"


def test_what_an_abort_could_not_let_go_is_named_and_a_finding(
    rollbackd: Run, served: Served
) -> None:
    served.desk.still_held = "machine m1 could not be let go: 403"

    told = rollbackd("abort", "r1", *WHY)

    assert told.exit_code == 1
    assert told.stdout == "r1 is cancelled; still held: machine m1 could not be let go: 403\n"


def test_a_mode_is_set_for_a_while(rollbackd: Run, served: Served) -> None:
    told = rollbackd("set", "shop", "mode=auto", "--for", "2h", *WHY)
    for_good = rollbackd("set", "shop", "mode=observe", *WHY, "--json")
    wrong = rollbackd("set", "shop", "volume=loud", *WHY)

    assert (told.exit_code, for_good.exit_code, wrong.exit_code) == (0, 0, 2)
    assert told.stdout.startswith("shop is in mode auto until ")
    assert [each["seconds"] for each in served.desk.orders] == [7200.0, None]
    assert json.loads(for_good.stdout)["mode"] == "observe"


@pytest.mark.parametrize(
    "words",
    [("pause", "shop", "--for", "1h", *WHY), ("resume", "shop", *WHY), ("unlock", "shop", *WHY)],
)
def test_who_says_so_can_be_somebody_else(
    rollbackd: Run, served: Served, words: tuple[str, ...]
) -> None:
    told = rollbackd(*words, "--by", "eva")

    assert told.exit_code == 0
    assert served.desk.orders[-1]["by"] == "eva"


def test_unlocking_says_what_it_ended_and_nothing_else(rollbackd: Run, served: Served) -> None:
    free = rollbackd("unlock", "shop", *WHY)
    served.desk.unlocking_ends = ["shop-v42-7"]
    held = rollbackd("unlock", "shop", *WHY)

    assert free.stdout == "shop is unlocked\n"
    assert held.stdout == "shop is unlocked; shop-v42-7 is ended\n"
