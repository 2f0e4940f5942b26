"""A burn rate is bad / total over two windows, in cells, and what was not seen accuses nobody."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbackd.core.burn_rate import CELLS, BurnRate, BurnWindow
from rollbackd.core.rules import BurnRateBound
from tests.unit.core.world import above

HOUR, FIVE_MINUTES = 3600.0, 300.0
BOUND = BurnRateBound(slo=0.999, bound=above(14.4), long_seconds=HOUR, short_seconds=FIVE_MINUTES)

Sample = tuple[float, int, int]


def fed(samples: list[Sample], seconds: float = HOUR, covered: float = 30) -> BurnWindow:
    window = BurnWindow(seconds)
    for at, bad, total in samples:
        window.add(at, bad, total, covered)
    return window


def rate(samples: list[Sample], interval: float = 30) -> BurnRate:
    burn = BurnRate(BOUND, interval)
    for at, bad, total in samples:
        burn.add(at, bad, total)
    return burn


@st.composite
def streams(draw: st.DrawFn) -> list[Sample]:
    steps = draw(st.lists(st.integers(1, 400), min_size=1, max_size=120))
    at, samples = draw(st.integers(0, 10_000)) * 1.0, []
    for step in steps:
        at += step
        total = draw(st.integers(0, 1000))
        samples.append((at, draw(st.integers(0, total)), total))
    return samples


@given(streams(), st.sampled_from([300.0, 3600.0, 86_400.0]))
def test_a_window_sums_what_a_list_would_up_to_one_cell_at_its_old_end(
    samples: list[Sample], seconds: float
) -> None:
    window = fed(samples, seconds)
    now = samples[-1][0]

    def naive(length: float) -> tuple[int, int]:
        young = [s for s in samples if s[0] > now - length]
        return sum(s[1] for s in young), sum(s[2] for s in young)

    shorter, whole = naive(seconds * (CELLS - 1) / CELLS), naive(seconds)
    assert shorter[0] <= window.bad <= whole[0]
    assert shorter[1] <= window.total <= whole[1]


@given(streams())
def test_a_window_never_holds_more_than_its_cells(samples: list[Sample]) -> None:
    window = fed(samples)

    assert len(window.as_json().get("cells", [])) <= CELLS  # type: ignore[arg-type]  # a list


@given(streams(), st.integers(0, 119), st.integers(2, 60))
def test_losing_samples_never_makes_it_burn_faster_where_the_traffic_is_even(
    samples: list[Sample], first: int, count: int
) -> None:
    steady = [(1000.0 + 30 * i, bad % 101, 100) for i, (_, bad, _) in enumerate(samples)]
    lost = steady[:first] + steady[first + count :]

    whole, holed = rate(steady), rate(lost)

    if lost and lost[-1] == steady[-1] and lost[0] == steady[0]:
        assert holed.rates is not None
        assert whole.rates is not None
        assert holed.rates[0] <= whole.rates[0] * (1 + 1e-9)
        assert holed.rates[1] <= whole.rates[1] * (1 + 1e-9)


def test_both_windows_are_measured_in_budgets() -> None:
    burn = rate([(30.0 * i, 0, 1000) for i in range(1, 111)])
    for i in range(111, 121):
        burn.add(30.0 * i, 24, 1000)

    rates = burn.rates

    assert rates is not None
    # 240 bad of 120,000 in the hour, 240 of 10,000 in the last five minutes; the cells shift both
    # by at most one sample here.
    assert rates[0] == pytest.approx(2.0, rel=1 / CELLS)
    assert rates[1] == pytest.approx(24.0, rel=1e-9)


def test_half_of_both_windows_must_be_covered() -> None:
    samples = [(30.0 * i, 1, 100) for i in range(1, 60)]
    assert not rate(samples).covered

    assert rate([*samples, (1800.0, 1, 100)]).covered
    # The long window still is, the short one is not any more.
    assert not rate([*samples, (1800.0, 1, 100), (2200.0, 1, 100)]).covered


def test_a_gap_is_uncovered_time_that_counts_as_clean_at_the_busiest_pace() -> None:
    seen = [(30.0 * i, 10, 100) for i in range(1, 31)]
    seen += [(1800.0 + 30.0 * i, 10, 100) for i in range(1, 31)]

    window = rate(seen).long

    assert window.share == pytest.approx(0.5, abs=1 / CELLS)
    assert window.lost == pytest.approx(900.0)
    assert window.ratio == pytest.approx(600 / (6000 + 900 * 100 / 30))


def test_the_busiest_pace_is_that_of_one_sample() -> None:
    window = BurnWindow(HOUR)
    for at, total in ((10.0, 100), (20.0, 300), (30.0, 100), (1230.0, 100)):
        window.add(at, 1, total, 10)

    assert window.lost == 1190
    assert window.ratio == 4 / (600 + 1190 * 30)


def test_a_sample_that_comes_late_covers_its_interval_only() -> None:
    burn = rate([(30.0, 0, 10), (74.0, 0, 10), (200.0, 0, 10)])

    assert burn.long.covered == 30 + 44 + 30


def test_nothing_counted_gives_no_rate() -> None:
    assert rate([]).rates is None
    assert rate([(30.0, 0, 0)]).rates is None
    assert BurnWindow(HOUR).ratio is None
    assert BurnWindow(HOUR).lost == 0


def test_a_sample_older_than_the_newest_cell_is_left_out() -> None:
    window = fed([(3600.0, 1, 10), (60.0, 5, 5)])

    assert (window.bad, window.total) == (1, 10)


def test_no_time_covered_gives_no_pace() -> None:
    window = BurnWindow(HOUR)
    window.add(60, 1, 10, 0)
    window.add(600, 1, 10, 0)

    assert window.lost == 540
    assert window.ratio == 0.1


def test_a_cleared_rate_knows_nothing() -> None:
    burn = rate([(30.0, 5, 10)])

    burn.clear()

    assert burn.rates is None
    assert burn.as_json() == {"seen_at": None, "long": {}, "short": {}}


@given(streams())
def test_it_goes_on_where_an_earlier_process_stopped(samples: list[Sample]) -> None:
    cut = len(samples) // 2
    one = rate(samples)
    two = BurnRate(BOUND, 30)

    two.restore(json.loads(json.dumps(rate(samples[:cut]).as_json())))
    for at, bad, total in samples[cut:]:
        two.add(at, bad, total)

    assert two.as_json() == one.as_json()
    assert two.rates == one.rates
    assert (two.long.lost, two.short.lost) == (one.long.lost, one.short.lost)


CELL = [3, 1, 2, 30, 1]


@pytest.mark.parametrize(
    "kept",
    [
        {"cells": [CELL]},
        {"from": 0, "until": math.inf, "cells": [CELL]},
        {"from": math.nan, "until": 1, "cells": [CELL]},
        {"from": 0, "until": 1, "cells": "no"},
        {"from": 0, "until": 1, "cells": []},
        {"from": 0, "until": 1, "cells": [CELL, [3, 1, 2, 30, 1]]},
        {"from": 0, "until": 1, "cells": [[3, 3, 2, 30, 1]]},
        {"from": 0, "until": 1, "cells": [[3, -1, 2, 30, 1]]},
        {"from": 0, "until": 1, "cells": [[3, 1, 2, -30, 1]]},
        {"from": 0, "until": 1, "cells": [[3, 1, 2, "x", 1]]},
        {"from": 0, "until": 1, "cells": [[3, 1, math.nan, 30, 1]]},
        {"from": 0, "until": 1, "cells": [[3, 1, 2]]},
        5,
    ],
    ids=str,
)
def test_what_cannot_be_is_not_restored(kept: Any) -> None:
    window = BurnWindow(HOUR)
    window.restore(kept)
    assert window.as_json() == {}

    window.restore({"from": 170, "until": 200, "cells": [CELL]})
    assert window.ratio == 0.5


@pytest.mark.parametrize("kept", [{}, {"seen_at": None}, {"seen_at": math.nan, "long": CELL}])
def test_nothing_kept_is_a_start_from_nothing(kept: Any) -> None:
    burn = rate([(30.0, 5, 10)])

    burn.restore(kept)

    assert burn.rates is None
