"""Reads the wanted series out of a Prometheus text exposition. A body it cannot trust is refused.

Lines of other metrics are not parsed: a page of 50,000 series costs milliseconds, not seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple, TypeAlias

from pydantic import AfterValidator, WithJsonSchema

from rollbackd.config.types import refused

MOST_SERIES = 20_000  # per look and machine; more is a runaway label, not a measure

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
# Possessive (`++`, `*+`), so that no line, however hostile, is tried twice.
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\\n]++|\\[\\"n])*+)"\s*(?:,|$)')
_QUOTED = r'"(?:[^"\\]++|\\.)*+"'
_LINE = re.compile(
    rf"({_NAME})(?:\{{((?:[^\"}}]++|{_QUOTED})*+)\}})?[ \t]+(\S+)(?:[ \t].*)?", re.DOTALL
)
_NAME_AT = re.compile(_NAME)
_SELECTOR = re.compile(rf"\s*({_NAME})\s*(?:\{{(.*)\}})?\s*", re.DOTALL)
_MATCHER = re.compile(
    r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(,|$)', re.DOTALL
)
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}

Labels: TypeAlias = tuple[tuple[str, str], ...]


class Series(NamedTuple):  # not a dataclass: making 20,000 of those takes half the parsing time
    """One line: sorted labels and a value, which may be NaN or infinite."""

    name: str
    labels: Labels
    value: float


class BadBody(Exception):
    """The body is not an exposition to be trusted. Stays inside the probes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """One label of a selector. With `pattern`, the whole value must fit it, as in PromQL."""

    label: str
    wanted: str
    pattern: re.Pattern[str] | None
    negated: bool

    def fits(self, value: str) -> bool:
        if self.pattern is None:
            return (value == self.wanted) is not self.negated
        return (self.pattern.fullmatch(value) is not None) is not self.negated


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A metric name and label matchers, as in PromQL: `name{status=~"5..", path!="/"}`."""

    name: str
    matchers: tuple[Matcher, ...]

    def takes(self, name: str, labels: Labels) -> bool:
        if name != self.name:
            return False
        if not self.matchers:
            return True
        known = dict(labels)
        return all(each.fits(known.get(each.label, "")) for each in self.matchers)


def parse_selector(text: str) -> Selector:
    """Raises a configuration error that says how to write it."""
    hint = 'write name or name{label="value", other=~"regex"}'
    found = _SELECTOR.fullmatch(text)
    if found is None:
        raise refused(f"not a series selector: {text[:60]!r}", hint)
    matchers = []
    rest, at = found[2] or "", 0
    while at < len(rest) and rest[at:].strip():
        each = _MATCHER.match(rest, at)
        if each is None:
            raise refused(f"not a label matcher: {rest[at : at + 40]!r}", hint)
        label, operator, wanted, _ = each.groups()
        matchers.append(_matcher(label, operator, _unescaped(wanted)))
        at = each.end()
    return Selector(name=found[1], matchers=tuple(matchers))


def _matcher(label: str, operator: str, wanted: str) -> Matcher:
    try:
        pattern = re.compile(wanted) if "~" in operator else None
    except re.error as error:
        raise refused(f"the regex does not compile: {error}") from error
    return Matcher(label=label, wanted=wanted, pattern=pattern, negated="!" in operator)


def _validated(text: str) -> str:
    parse_selector(text)
    return text


SeriesSelector: TypeAlias = Annotated[
    str,
    AfterValidator(_validated),
    WithJsonSchema({"type": "string", "examples": ['http_requests_total{status=~"5.."}']}),
]


def parse_exposition(body: bytes, names: frozenset[str]) -> tuple[Series, ...]:
    """The series of those names. Raises BadBody: not text, cut short, twice the same series."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadBody("not UTF-8") from error
    if text and not text.endswith("\n"):
        raise BadBody("cut short")  # the format ends every line; a body that does not was cut
    if text.lstrip()[:1] == "<":
        raise BadBody("looks like HTML")
    found: dict[tuple[str, Labels], Series] = {}
    for line in _wanted(text, names):
        series = _series(line)
        key = (series.name, series.labels)
        if key in found:
            raise BadBody(f"the same series twice: {series.name}")
        if len(found) >= MOST_SERIES:
            raise BadBody(f"more than {MOST_SERIES} series")
        found[key] = series
    return tuple(found.values())


def _wanted(text: str, names: frozenset[str]) -> Iterator[str]:
    starts = tuple(names)
    for raw in text.split("\n"):
        line = raw.lstrip(" \t")
        if line.startswith(starts) and _bare_name(line) in names:
            yield line


def _bare_name(line: str) -> str:
    name = _NAME_AT.match(line)
    return name[0] if name else ""


def _series(line: str) -> Series:
    found = _LINE.fullmatch(line)
    if found is None:
        raise BadBody("a line that is not a series")
    name, labels, value = found.groups()
    return Series(name=name, labels=_labels(labels or ""), value=_value(value))


def _labels(text: str) -> Labels:
    labels: dict[str, str] = {}
    at = count = 0
    for each in _LABEL.finditer(text):
        if each.start() != at:
            break
        labels[each[1]] = _unescaped(each[2])
        at = each.end()
        count += 1
    if len(labels) < count or text[at:].strip():
        raise BadBody("labels that cannot be read")
    return tuple(sorted(labels.items()))


def _value(text: str) -> float:
    if "_" in text:  # Python reads 1_000, the format does not
        raise BadBody("a value that is not a number")
    try:
        return float(text)
    except ValueError as error:
        raise BadBody("a value that is not a number") from error


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    return re.sub(r"\\.", lambda found: _ESCAPES.get(found[0], found[0]), text)
