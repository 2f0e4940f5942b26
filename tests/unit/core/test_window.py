"""Rings keep running counts of what is in the window, and nothing else."""

import math

import pytest

from rollbackd.core.window import HistogramRing, RatioRing, Tally, capacity

INF = math.inf


def test_a_tally_keeps_the_last_n_only() -> None:
    tally = Tally(3, 1000)
    for at, bad in enumerate((True, True, False, True)):
        tally.add(at, bad)

    assert (tally.bad, len(tally), tally.full) == (2, 3, True)
    assert tally.oldest_bad() == 1


def test_a_tally_forgets_what_is_not_younger_than_its_limit() -> None:
    tally = Tally(3, 30)
    tally.add(0, True)
    tally.add(29, True)
    assert tally.bad == 2

    tally.add(30, False)

    assert (tally.bad, len(tally), tally.oldest_bad()) == (1, 2, 29)


def test_a_tally_counts_what_is_still_young_at_a_later_time_without_dropping() -> None:
    tally = Tally(3, 30)
    tally.add(0, True)
    tally.add(10, True)

    assert [tally.bad_at(29.9), tally.bad_at(30), tally.bad_at(40)] == [2, 1, 0]
    assert tally.bad == 2


def test_a_cleared_tally_is_empty() -> None:
    tally = Tally(2, 30)
    tally.add(0, True)

    tally.clear()

    assert (tally.bad, len(tally), tally.oldest_bad(), tally.full) == (0, 0, None, False)


def test_a_ratio_sums_over_the_window_open_at_its_start() -> None:
    ring = RatioRing(20, 10)
    ring.add(0, 5, 10)
    ring.add(10, 1, 10)
    assert ring.ratio == 0.3

    ring.add(20, 0, 10)

    assert (ring.bad, ring.total, len(ring)) == (1, 20, 2)


def test_a_ratio_of_nothing_is_nothing() -> None:
    assert RatioRing(20, 10).ratio is None


def test_a_ratio_ring_is_bounded_even_when_samples_come_too_fast() -> None:
    ring = RatioRing(20, 10)
    for step in range(1000):
        ring.add(step / 1000, 1, 2)

    assert len(ring) == capacity(20, 10) == 20
    assert (ring.bad, ring.total) == (20, 40)


def test_fractions_leave_no_residue_in_a_ratio() -> None:
    ring = RatioRing(20, 10)
    ring.add(-10, 1e15, 1e15)
    for step in range(100):
        ring.add(10 * step, 0.1, 0.3)

    assert ring.bad == pytest.approx(0.2, abs=1e-12)
    assert ring.total == pytest.approx(0.6, abs=1e-12)


def test_a_cleared_ratio_ring_starts_from_nothing() -> None:
    ring = RatioRing(20, 10)
    ring.add(0, 1, 2)

    ring.clear()

    assert (ring.bad, ring.total, len(ring), ring.ratio) == (0, 0, 0, None)


def test_a_probe_without_an_interval_still_has_a_bound() -> None:
    assert capacity(20, 0) == 16


def histogram(*counts: float, bounds: tuple[float, ...] = (0.1, 0.5, 2.0, INF)) -> HistogramRing:
    ring = HistogramRing(100, 10)
    ring.add(0, tuple(zip(bounds, counts, strict=True)))
    return ring


@pytest.mark.parametrize(
    ("quantile", "expected"),
    [
        (0.25, 0.05),  # half-way into the first bucket, from 0
        (0.5, 0.1),
        (0.7, 0.3),  # half-way between 0.1 and 0.5
        (0.9, 0.5),
        (0.95, 2.0),  # the infinite bucket gives the highest finite bound
        (1.0, 2.0),
        (0.0, 0.0),
    ],
)
def test_a_quantile_is_linear_inside_its_bucket(quantile: float, expected: float) -> None:
    ring = histogram(50, 90, 90, 100)

    assert ring.quantile(quantile) == pytest.approx(expected)


def test_a_quantile_in_an_empty_first_bucket_is_its_lower_edge() -> None:
    assert histogram(0, 10, 10, 10).quantile(0.0) == 0.0


def test_a_first_bucket_at_or_below_zero_is_taken_at_its_bound() -> None:
    ring = histogram(10, 10, bounds=(-1.0, INF))

    assert ring.quantile(0.5) == -1.0


def test_no_finite_bucket_or_no_count_gives_no_quantile() -> None:
    assert histogram(5, bounds=(INF,)).quantile(0.5) is None
    assert histogram(0, 0, 0, 0).quantile(0.5) is None
    assert HistogramRing(100, 10).quantile(0.5) is None


def test_buckets_are_summed_over_the_window() -> None:
    ring = HistogramRing(20, 10)
    ring.add(0, ((1.0, 10.0), (INF, 10.0)))
    ring.add(10, ((1.0, 0.0), (INF, 10.0)))
    assert (ring.sums, ring.total) == ([10, 20], 20)

    ring.add(20, ((1.0, 0.0), (INF, 5.0)))

    assert (ring.sums, len(ring)) == ([0, 15], 2)


def test_other_bounds_restart_the_ring() -> None:
    ring = HistogramRing(100, 10)
    ring.add(0, ((1.0, 10.0), (INF, 10.0)))

    ring.add(10, ((2.0, 3.0), (INF, 4.0)))

    assert (ring.sums, ring.bounds, len(ring)) == ([3, 4], (2.0, INF), 1)


def test_a_histogram_ring_is_bounded_and_leaves_no_residue() -> None:
    ring = HistogramRing(20, 10)
    ring.add(-30, ((1.0, 1e15), (INF, 1e15)))
    for step in range(200):
        ring.add(step / 10, ((1.0, 0.1), (INF, 0.3)))

    assert len(ring) == 20
    assert ring.sums == [pytest.approx(2.0, abs=1e-12), pytest.approx(6.0, abs=1e-12)]


def test_a_cleared_histogram_ring_is_empty() -> None:
    ring = histogram(1, 2, 3, 4)

    ring.clear()

    assert (ring.total, ring.sums, ring.bounds, len(ring)) == (0, [], (), 0)
