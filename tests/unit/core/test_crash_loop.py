"""An app that goes down again and again: no streak, and no chance either."""

import json
import math
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollbackd.core.hard_down import HardDown
from tests.unit.core.test_regression import HOUR, Life, life
from tests.unit.core.world import regression

UP, DOWN, SILENT = ".", "x", " "
GAP_TICKS = 3  # longer than 2.5 steps


def told(ticks: str, *, need: int | None = 4, young: int = 0, gaps: Iterable[int] = ()) -> HardDown:
    """The first `young` ticks are of a release that may still be starting."""
    hard = HardDown(need)
    for n, tick in enumerate(ticks):
        if tick != SILENT:
            hard.look(ok=tick == UP)
        gapped = ("health",) if n in gaps else ()
        hard.close(10.0 * n, gapped=gapped, neutral=False, young=n < young)
    return hard


@pytest.mark.parametrize(
    ("ticks", "loops"),
    [
        (".xxx.xx", True),
        (".xx.xx.x", True),
        (".x.x.x.x.x", True),
        (".x.x.x.x.", False),  # only four of the newest nine
        (".xxx.xx.", False),  # up again just now
        (".xxxxx", False),  # in one piece: that is a streak
        ("xxx.xx", False),  # a slow boot fails before its first answer
        ("xxxxx.xxx.xx", True),
        (".xx" + "." * 9 + "xxx", False),  # that was another time
        (".xxx. xx", True),  # nothing was seen in a tick
    ],
)
def test_five_of_nine_ticks_down_with_an_answer_between_are_a_loop(ticks: str, loops: bool) -> None:
    assert told(ticks).loops is loops


def test_an_app_that_was_down_now_and_then_before_must_be_down_more_often() -> None:
    assert not told(".xxx.xx", need=6).loops
    assert told(".xxx.xxxx", need=6).loops
    assert not told(".xxx.xxxx", need=None).loops


def test_a_gap_ends_what_was_a_loop() -> None:
    assert not told(".xxx.xx", gaps=(6,)).loops
    assert not told(".xxx.  x.x", gaps=(7,)).loops
    hard = told(".xxx.xx")
    hard.forget()
    hard.look(ok=False)
    hard.close(70.0, gapped=(), neutral=False)
    assert not hard.loops


def test_four_downs_in_a_row_say_less_of_an_app_that_is_down_now_and_then_since() -> None:
    often = "...x....x...x....x.."
    assert told("......xxxx").fired
    assert not told(often + "xxxx").fired
    assert not told(often + "xxxxxxxx").fired
    assert told(often + "xxxxxxxxx").fired
    assert told(often + "xxxx", young=len(often)).fired  # it was starting


def test_what_nobody_saw_counts_as_down() -> None:
    """Else who sees less would accuse sooner."""
    assert told(".....   .....xxxx").fired  # a source that is slower than the ticks
    assert not told(".....   .....xxxx", gaps=(7,)).fired


def test_what_it_remembers_is_kept() -> None:
    for ticks in (".xxx.x", "...x....x...x....x. ", ".xxx.xx"):
        hard, again = told(ticks), HardDown(None)
        again.restore(json.loads(json.dumps(hard.as_json())))
        for each in (hard, again):
            each.look(ok=False)
            each.close(900.0, gapped=(), neutral=False)
        assert again.as_json() == hard.as_json()
        assert (again.loops, again.newest) == (hard.loops, hard.newest)


def looping(at: float) -> bool:
    """Up for 10 s, down for 20."""
    return at > HOUR + 10 and at % 30 != 10


def test_a_crash_loop_goes_back_and_says_so() -> None:
    case = life(rule=regression(errors=None, latency=None)).deploy()
    case.dead = looping

    assert case.run(HOUR + 80).since() == 80
    found = case.world.rolled(case.at)
    assert "; down in 5 of 7 ticks, with answers between" in found.why
    assert found.evidence["crash_loop"] == {"ticks": 7, "down": 5}


def test_a_loop_that_was_there_before_the_release_accuses_nobody() -> None:
    case = Life(rule=regression(errors=None, latency=None))
    case.dead = lambda at: at > HOUR - 100 and at % 30 == 10
    case.run(HOUR).deploy()

    assert case.run(HOUR + 900).since() is None


def test_a_restart_in_two_pieces_is_no_crash_loop() -> None:
    case = life().deploy()
    case.dead = lambda at: HOUR < at <= HOUR + 50 and at != HOUR + 30

    assert case.run(HOUR + 600).since() is None


def test_a_loop_alone_is_not_enough() -> None:
    """Where much is tolerated, five of nine are no evidence."""
    case = life(rule=regression(errors=None, latency=None)).deploy()
    case.dead = looping
    stream = case.watch.streams["health"]
    assert stream.baseline is not None
    stream.tolerance = 0.59

    assert case.run(HOUR + 80).since() is None
    assert case.watch.hard.loops


def first_times(ticks: str) -> tuple[float, float]:
    """When the streak and when the loop would first accuse: three silent ticks are a gap."""
    hard, silent, streak, loop = HardDown(4), 0, math.inf, math.inf
    for n, tick in enumerate(ticks):
        if tick != SILENT:
            hard.look(ok=tick == UP)
        silent += tick == SILENT
        gapped = ("health",) if silent >= GAP_TICKS else ()
        silent = 0 if tick != SILENT else silent
        hard.close(10.0 * n, gapped=gapped, neutral=False, young=n < 6)
        streak = min(streak, n if hard.fired else math.inf)
        loop = min(loop, n if hard.loops else math.inf)
    return streak, loop


@settings(max_examples=100)
@given(
    st.text(alphabet=UP + DOWN + DOWN + SILENT, min_size=1, max_size=60),
    st.integers(0, 59),
    st.integers(GAP_TICKS, 30),
)
def test_who_sees_less_accuses_no_sooner(ticks: str, start: int, length: int) -> None:
    hidden = ticks[:start] + SILENT * len(ticks[start : start + length]) + ticks[start + length :]
    streak, loop = first_times(ticks)
    streak_hidden, loop_hidden = first_times(hidden)
    assert streak_hidden >= streak
    assert loop_hidden >= loop or loop_hidden >= streak
