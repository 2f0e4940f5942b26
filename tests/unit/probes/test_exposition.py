"""Reading a metrics page: what is taken, and what is refused whole."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from rollbackd.core.facts import Histogram, MissReason, Ratio
from rollbackd.core.ports import Missed
from rollbackd.probes.counters import Counters, Page, as_counters, histogram, ratio
from rollbackd.probes.exposition import BadBody, Series, parse_exposition, parse_selector

PAGE = b"""# HELP http_requests_total All requests.
# TYPE http_requests_total counter
http_requests_total{path="/a \\"x\\" \\\\ \\n}",status="200"} 10
http_requests_total{ status = "503" , } 2 1700000000000
http_requests_total_other 9
up 1
  spaced{a="b"}\t7.5e0
http_requests 3
"""


def read(body: bytes, *names: str) -> dict[tuple[tuple[str, str], ...], float]:
    return {each.labels: each.value for each in parse_exposition(body, frozenset(names))}


def test_the_wanted_series_are_read_with_their_labels() -> None:
    assert read(PAGE, "http_requests_total") == {
        (("path", '/a "x" \\ \n}'), ("status", "200")): 10.0,
        (("status", "503"),): 2.0,
    }
    assert read(PAGE, "spaced") == {(("a", "b"),): 7.5}
    assert read(PAGE, "up") == {(): 1.0}
    assert read(PAGE, "absent") == {}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"up 1\nup 1", "cut short"),
        (b"up{a=", "cut short"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b"<!doctype html>\n", "looks like HTML"),
        (b"up 1\nup 2\n", "the same series twice"),
        (b'up{a="1",b="2"} 1\nup{b="2",a="1"} 1\n', "the same series twice"),
        (b"up\n", "not a series"),
        (b"up one\n", "not a number"),
        (b"up 1_000\n", "not a number"),
        (b'up{a="1" b="2"} 1\n', "labels"),
        (b'up{a="1",a="2"} 1\n', "labels"),
        (b"up{a=1} 1\n", "labels"),
        (b"".join(b'up{a="%d"} 1\n' % n for n in range(20_001)), "more than 20000 series"),
    ],
)
def test_a_page_that_cannot_be_trusted_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(BadBody, match=why):
        read(body, "up")


@given(body=st.binary(max_size=300))
@example(b'up{a="' + b'\\"' * 5000)
@example(b"up{" + b'"' * 5001 + b"\n")
def test_random_bytes_are_read_or_refused(body: bytes) -> None:
    for page in (body, b"up{" + body + b"} 1\n", b"up " + body + b"\n"):
        with suppress(BadBody):
            read(page, "up")


@given(value=st.floats(), label=st.text(st.characters(codec="utf-8"), max_size=20))
def test_what_a_client_library_writes_is_read_back(value: float, label: str) -> None:
    escaped = label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    found = read(f'm{{l="{escaped}"}} {value!r}\n'.encode(), "m")
    ((labels, number),) = found.items()
    assert labels == (("l", label),)
    assert number == value or math.isnan(value)


@pytest.mark.parametrize(
    ("selector", "taken"),
    [
        ("up", True),
        ("down", False),
        ('up{s="200"}', True),
        ('up{s!="200"}', False),
        ('up{s=~"2..|3.."}', True),
        ('up{s=~"2"}', False),  # anchored, as in PromQL
        ('up{s!~"5.."}', True),
        ('up{absent=""}', True),
        ('up{s="200", p="/",}', True),
        ('up{s="200", p="/x"}', False),
    ],
)
def test_a_selector_matches_as_promql_does(selector: str, taken: bool) -> None:
    labels = (("p", "/"), ("s", "200"))
    assert parse_selector(selector).takes("up", labels) is taken


@pytest.mark.parametrize(
    "text", ["", "1up", "up{", "up}", "up{s}", "up{s=200}", 'up{s=="2"}', 'up{s=~"("}', "a + b"]
)
def test_a_wrong_selector_is_refused(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        parse_selector(text)


# Counters -----------------------------------------------------------------------------------------


def page(at: float = 0.0, born: float | None = None, **values: float) -> Page:
    return Page(at=at, born_at=born, values={(name, ()): value for name, value in values.items()})


def test_the_first_page_of_an_address_is_a_baseline() -> None:
    counters = Counters(30.0)
    assert counters.difference("a", page(a=5)) is None
    assert counters.difference("a", page(1, a=7)) == {("a", ()): 2.0}
    assert counters.difference("b", page(1, a=7)) is None


@pytest.mark.parametrize(
    "after",
    [page(1, a=4, b=9), page(1, b=9), page(1, a=9, b=9, born=2.0), page(31, a=9, b=9)],
    ids=["went down", "vanished", "another process", "too long ago"],
)
def test_what_cannot_be_subtracted_is_a_baseline_again(after: Page) -> None:
    counters = Counters(30.0)
    counters.difference("a", page(a=5, b=5, born=None))
    assert counters.difference("a", after) is None
    again = Page(at=after.at + 1, values=after.values, born_at=after.born_at)
    assert set((counters.difference("a", again) or {}).values()) == {0.0}


def test_a_series_born_at_a_known_address_counts_from_zero() -> None:
    counters = Counters(30.0)
    counters.difference("a", page(total=5))
    assert counters.difference("a", page(1, total=6, bad=1)) == {
        ("total", ()): 1.0,
        ("bad", ()): 1.0,
    }


def test_an_address_gone_for_long_is_forgotten() -> None:
    counters = Counters(30.0)
    counters.difference("a", page(a=5))
    counters.keep_only(["b"], now=31.0)
    assert not counters._previous


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_counter_is_finite_and_not_negative(value: float) -> None:
    with pytest.raises(BadBody):
        as_counters([Series(name="a", labels=(), value=value)])


@pytest.mark.parametrize(("bad", "total"), [(5.0, 3.0), (-1.0, 3.0), (0.0, -1.0)])
def test_more_bad_than_there_was_is_a_miss(bad: float, total: float) -> None:
    found = ratio(bad, total)
    assert isinstance(found, Missed)
    assert found.reason == MissReason.SOURCE_BAD_BODY


@given(bad=st.floats(), total=st.floats())
def test_a_ratio_is_one_or_a_miss(bad: float, total: float) -> None:
    found = ratio(bad, total)
    if isinstance(found, Ratio):
        assert 0 <= found.bad <= found.total < math.inf


@given(buckets=st.lists(st.tuples(st.floats(), st.floats()), max_size=6))
def test_a_histogram_is_cumulative_or_a_miss(buckets: list[tuple[float, float]]) -> None:
    found = histogram(buckets)
    if isinstance(found, Histogram):
        counts = [count for _, count in found.buckets]
        assert counts == sorted(counts)
        assert min(counts) >= 0
        assert math.isinf(found.buckets[-1][0])


@pytest.mark.parametrize(
    ("buckets", "reason"),
    [
        ([], MissReason.EMPTY),
        ([(1.0, 2.0)], MissReason.SOURCE_BAD_BODY),
        ([(1.0, 3.0), (math.inf, 2.0)], MissReason.SOURCE_BAD_BODY),
        ([(1.0, math.nan), (math.inf, 2.0)], MissReason.NOT_A_NUMBER),
    ],
)
def test_impossible_buckets_are_a_miss(
    buckets: list[tuple[float, float]], reason: MissReason
) -> None:
    found = histogram(buckets)
    assert isinstance(found, Missed)
    assert found.reason == reason
