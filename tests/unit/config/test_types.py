import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rollbackd.config.types import (
    Duration,
    Ratio,
    Regex,
    Size,
    StatusClass,
    StatusClasses,
    Url,
    format_duration,
    format_ratio,
    format_size,
    parse_duration,
    parse_ratio,
    parse_size,
)


def read(kind: object, value: object) -> object:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("15s", 15),
        ("2m", 120),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("0s", 0),
        ("1.5s", 1.5),
        ("1d2h3m4s5ms", 93_784.005),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert read(Duration, text) == seconds


@pytest.mark.parametrize("wrong", [5, 5.0, "5", "", "s", "5 s", "1m1h", "5sec", "-5s", True, None])
def test_what_is_not_a_duration_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        read(Duration, wrong)


@given(st.integers(min_value=0, max_value=10_000 * 86_400_000 // 1000))
def test_a_duration_comes_back_as_it_was_written(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@pytest.mark.parametrize(
    ("value", "ratio"),
    [("5%", 0.05), ("0.5 %", 0.005), ("100%", 1), (0.05, 0.05), (0, 0), ("0.25", 0.25), ("0%", 0)],
)
def test_a_ratio_is_read_between_0_and_1(value: object, ratio: float) -> None:
    assert read(Ratio, value) == ratio


@pytest.mark.parametrize("wrong", [5, 1, 1.0, "1", "101%", -0.1, "-5%", "five", True, None, [1]])
def test_what_is_not_a_ratio_or_ambiguous_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        read(Ratio, wrong)


@given(st.integers(min_value=0, max_value=10_000))
def test_a_ratio_comes_back_as_it_was_written(hundredths_of_a_percent: int) -> None:
    ratio = round(hundredths_of_a_percent / 10_000, 12)

    assert parse_ratio(format_ratio(ratio)) == ratio


@pytest.mark.parametrize(
    ("text", "size"), [("512B", 512), ("64KiB", 65_536), ("1MiB", 2**20), ("1 MB", 10**6)]
)
def test_a_size_is_read_in_bytes(text: str, size: int) -> None:
    assert read(Size, text) == size


@pytest.mark.parametrize("wrong", [64, "64", "64k", "KiB", True, None])
def test_a_size_without_a_unit_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        read(Size, wrong)


@given(st.integers(min_value=0, max_value=2**40))
def test_a_size_comes_back_as_it_was_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("value", "status"), [("2xx", "2xx"), ("5XX", "5xx"), (204, "204"), ("404", "404")]
)
def test_a_status_is_a_class_or_a_code(value: object, status: str) -> None:
    assert read(StatusClass, value) == status


@pytest.mark.parametrize("wrong", [600, 99, "9xx", "0xx", "2x", "20", "x", True, 2.0, None])
def test_an_impossible_status_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        read(StatusClass, wrong)


def test_one_status_may_stand_for_a_list_of_them() -> None:
    assert read(StatusClasses, "2xx") == ("2xx",)
    assert read(StatusClasses, ["2xx", 301]) == ("2xx", "301")


@pytest.mark.parametrize("wrong", ["(", "[", "*a", "(?P<n>", "a{99999999999999999999}"])
def test_a_regex_that_does_not_compile_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match=re.escape("does not compile")):
        read(Regex, wrong)


@pytest.mark.parametrize("url", ["https://a.test", "http://[::1]:80/x?y=z", "http://a:8080"])
def test_an_http_url_is_kept_as_it_is(url: str) -> None:
    assert read(Url, url) == url


@pytest.mark.parametrize(
    "wrong",
    ["a.test", "ftp://a.test", "https://", "https://a.test:0", "https://a.test:x", "https://a b",
     "https://u:p@a.test", "http://[::1", "https://a.test/\x07"],
)  # fmt: skip
def test_what_is_not_an_http_url_is_refused_without_being_shown(wrong: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(Url, wrong)

    assert wrong not in caught.value.errors()[0]["msg"]
