"""What began with the release is believed sooner than what began later."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbackd.core.baseline import Patience, patience
from rollbackd.core.evidence import LIFT, Evidence, cap_of

DT, WEIGHT, ENOUGH = 10.0, 0.45, 2000.0
BAD, GOOD = 50.0, 0.2  # observed over tolerated


def evidence(early: int = 6, late: int = 15) -> Evidence:
    cap, late_cap = (cap_of(odds=ENOUGH, weight=WEIGHT, ticks=n) for n in (early, late))
    return Evidence(cap=cap, late_cap=late_cap, tick_seconds=DT)


def ticks_to_act(told: Evidence, before: Sequence[float | None], *, tolerated: float = 4.0) -> int:
    """How many bad ticks it takes after what came before."""
    for ratio in before:
        told.step(ratio, tolerated)
    for n in range(1, 60):
        told.step(BAD, tolerated)
        if WEIGHT * told.odds >= ENOUGH:
            return n
    pytest.fail("it was never enough")


def test_what_is_bad_from_the_start_takes_the_early_ticks() -> None:
    assert ticks_to_act(evidence(), []) == 6


def test_a_burst_that_begins_later_has_to_last_longer() -> None:
    assert ticks_to_act(evidence(), [GOOD] * 5) >= 15


def test_what_is_bad_by_forty_seconds_came_with_the_release() -> None:
    on_the_edge = ticks_to_act(evidence(), [GOOD] * 4)
    assert on_the_edge < ticks_to_act(evidence(), [GOOD] * 5) - 5


def test_a_short_remission_of_a_quiet_app_does_not_make_it_late() -> None:
    remission = [
        BAD,
        *[0.0] * 6,
    ]  # where half a bad one is tolerated a tick, six without say little
    quiet = ticks_to_act(evidence(), remission, tolerated=0.5)
    assert quiet < ticks_to_act(evidence(), remission, tolerated=4.0)


def test_two_minutes_of_calm_end_what_few_looks_said() -> None:
    """A look a tick tolerates next to nothing: counting what is tolerated it would take hours."""
    assert ticks_to_act(evidence(), [BAD, *[0.0] * 12], tolerated=0.004) >= 15


def test_a_crash_loop_is_one_trouble() -> None:
    """Half a minute up between two falls, where a tick of calm is enough to end a run."""
    loop = [BAD, BAD, 0.0, 0.0, 0.0]
    assert ticks_to_act(evidence(), loop, tolerated=4.0) <= 8


def test_what_shows_in_the_first_tick_after_the_warm_up_is_early() -> None:
    """A source of half a minute has its first cool tick a minute in."""
    told, again = evidence(), evidence()
    for _ in range(6):
        told.step(GOOD, 4.0, warm=True)
        again.step(GOOD, 4.0)
    assert ticks_to_act(told, []) < ticks_to_act(again, []) - 5


def test_after_a_gap_nothing_is_warm_any_more() -> None:
    told = evidence()
    for _ in range(6):
        told.step(GOOD, 4.0, warm=True)
    told.forget()
    assert ticks_to_act(told, []) >= 15


def test_a_tick_without_data_neither_ends_nor_begins_a_run() -> None:
    assert ticks_to_act(evidence(), [BAD, None, None]) <= 6


def test_nothing_counted_any_more_is_late_when_it_comes_again() -> None:
    told = evidence()
    for _ in range(5):
        told.step(BAD, 4.0)
    told.forget()
    assert ticks_to_act(told, []) >= 15


def test_what_begins_as_the_last_machine_is_switched_is_early() -> None:
    told, again = evidence(), evidence()
    for _ in range(30):
        told.step(GOOD, 4.0)
        again.step(GOOD, 4.0)
    again.renew(20.0)
    for _ in range(6):
        told.step(GOOD, 4.0)
        again.step(GOOD, 4.0)

    assert ticks_to_act(again, []) < ticks_to_act(told, []) - 5
    again = evidence()
    again.renew(0.0)
    assert ticks_to_act(again, [GOOD] * 5) >= 15


def test_ticks_nobody_saw_pass_the_early_time() -> None:
    told = evidence()
    told.skip(5)
    assert ticks_to_act(told, []) >= 15


def test_it_goes_on_after_a_restart() -> None:
    told, again = evidence(), evidence()
    for ratio in (BAD, BAD, GOOD, BAD):
        told.step(ratio, 1.0)
    again.restore(told.as_json())
    for one in (told, again):
        one.step(BAD, 1.0)
    assert again.as_json() == told.as_json()


@pytest.mark.parametrize(
    ("learned", "early", "late"), [(6, 6, 15), (7, 7, 18), (8, 8, 20), (12, 10, 24), (18, 10, 24)]
)
def test_the_history_tells_more_about_what_comes_later(learned: int, early: int, late: int) -> None:
    assert patience(learned, phi=1.0, at_least=6) == Patience(early=early, late=late)


def test_an_app_that_varies_much_is_prone_to_bursts_nobody_saw_yet() -> None:
    assert patience(6, phi=3.0, at_least=6) == Patience(early=6, late=15)
    assert patience(6, phi=3.1, at_least=6) == Patience(early=6, late=23)
    assert patience(6, phi=10.0, at_least=6) == Patience(early=6, late=23)
    assert patience(6, phi=10.1, at_least=6) == Patience(early=9, late=23)
    assert patience(10, phi=50.0, at_least=6) == Patience(early=10, late=24)


def test_what_strays_by_itself_has_to_last_longest_where_it_begins_later() -> None:
    assert patience(6, phi=1.0, at_least=6, strays=True) == Patience(early=6, late=24)


def test_ticks_that_come_seldom_are_fewer() -> None:
    assert patience(3, phi=1.0, at_least=3) == Patience(early=3, late=8)
    assert patience(9, phi=50.0, at_least=3) == Patience(early=5, late=12)


ratios = st.lists(st.one_of(st.none(), st.floats(0.0, 300.0)), max_size=60)


@given(ratios, st.floats(0.0, 10.0))
def test_the_rule_never_raises_the_odds(seen: list[float | None], tolerated: float) -> None:
    careful, plain = evidence(), evidence(late=6)
    for ratio in seen:
        careful.step(ratio, tolerated)
        plain.step(ratio, tolerated)
    assert careful.odds <= plain.odds * (1 + 1e-9)


def lifted(early: int = 6) -> Evidence:
    cap, late_cap = (cap_of(odds=ENOUGH, weight=WEIGHT, ticks=n) for n in (early, 24))
    return Evidence(cap=cap, late_cap=late_cap, tick_seconds=DT, lift=LIFT)


def test_what_is_lifted_says_more_from_the_start_and_no_more_when_it_comes_later() -> None:
    plain, high = evidence(late=24), lifted()
    for _ in range(6):
        plain.step(2.0, 40.0)
        high.step(2.0, 40.0)
    assert high.odds > 2 * plain.odds

    plain, high = evidence(late=24), lifted()
    for _ in range(6):
        plain.step(1.0, 40.0)
        high.step(1.0, 40.0)
    for _ in range(6):
        plain.step(2.0, 40.0)
        high.step(2.0, 40.0)
    assert high.odds == plain.odds


@given(st.lists(st.floats(0.0, 40.0), min_size=1, max_size=40))
def test_what_is_lifted_bets_on_what_is_above_a_third(ratios: list[float]) -> None:
    """No tick says more than it would with what is usual taken off both, and none less than 0."""
    one = lifted(early=24)
    for ratio in ratios:
        before = one.odds
        one.step(ratio, 1e-9)
        above = max(0.0, (ratio - 1 / 3) / (1 - 1 / 3))
        assert one.odds >= 0.0
        assert one.odds <= before * max(1.0, 1 + 0.9 * (above - 1)) * (1 + 1e-12)


@pytest.mark.parametrize("size", [1, 3])
def test_what_is_usual_at_worst_wins_nothing_by_the_lift(size: int) -> None:
    """Ticks that are 0 or `size` thirds over what is tolerated, two thirds of it on average."""
    share = 2 / 3 / size
    up, down = lifted(early=6), lifted(early=6)
    up.step(float(size), 1e-9)
    down.step(0.0, 1e-9)
    assert share * up.odds + (1 - share) * down.odds <= 1 + 1e-12


def test_a_good_tick_of_what_is_lifted_takes_back_more_and_never_more_than_all() -> None:
    plain, high = evidence(), lifted()
    plain.step(0.5, 40.0)
    high.step(0.5, 40.0)
    assert high.odds < plain.odds

    high.step(0.0, 40.0)
    assert 0.0 < high.odds < plain.odds
