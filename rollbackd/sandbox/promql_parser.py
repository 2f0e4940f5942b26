"""Reads a small, honest subset of PromQL; what it does not know is an error, never a guess."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from rollbackd.sandbox.durations import seconds_of
from rollbackd.sandbox.errors import QueryError

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*
    |(?P<token>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'
    |\d+(?:\.\d+)?(?:(?:ms|[smhd])(?:\d+(?:ms|[smhd]))*|[eE][+-]?\d+)?
    |[A-Za-z_:][\w:]*|=~|!~|!=|==|>=|<=|[-+*/(){}\[\],=<>])""",
    re.VERBOSE,
)
_NAME = re.compile(r"[A-Za-z_:][\w:]*")
AGGREGATES = frozenset({"sum", "count", "max", "min", "avg"})
FUNCTIONS = {
    "rate": 1,
    "increase": 1,
    "max_over_time": 1,
    "histogram_quantile": 2,
    "clamp_min": 2,
    "vector": 1,
}
LEVELS = (("or",), ("==", "!=", ">", "<", ">=", "<="), ("+", "-"), ("*", "/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    label: str
    op: str
    text: str

    def fits(self, labels: dict[str, str]) -> bool:
        value = labels.get(self.label, "")
        match self.op:
            case "=":
                return value == self.text
            case "!=":
                return value != self.text
            case "=~":
                return re.fullmatch(self.text, value) is not None
            case _:
                return re.fullmatch(self.text, value) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    name: str
    matchers: tuple[Matcher, ...]
    range_seconds: float | None
    offset_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    op: str
    by: tuple[str, ...]
    inner: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    op: str
    left: Expression
    right: Expression


Expression = Number | Select | Call | Aggregate | Binary


def parse(text: str) -> Expression:
    parser = _Parser(text)
    found = parser.level(0)
    if parser.peek():
        raise QueryError(f"parse error: unexpected {parser.peek()!r}")
    return found


def names_in(one: Expression) -> set[str]:
    """The metrics it reads."""
    match one:
        case Number():
            return set()
        case Select(name=name):
            return {name}
        case Aggregate(inner=inner):
            return names_in(inner)
        case Call(arguments=arguments):
            return set().union(*map(names_in, arguments))
        case Binary(left=left, right=right):
            return names_in(left) | names_in(right)


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        self.at = 0
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise QueryError(f"parse error: unexpected character {text[at]!r}")
            if match["token"]:
                self.tokens.append(match["token"])
            at = match.end()

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        found = self.peek()
        if not found or (wanted is not None and found != wanted):
            raise QueryError(
                f"parse error: unexpected {found or 'end of input'!r}, wanted {wanted}"
            )
        self.at += 1
        return found

    def took(self, wanted: str) -> bool:
        if self.peek() != wanted:
            return False
        self.at += 1
        return True

    def level(self, rank: int) -> Expression:
        """Binary operators by precedence, lowest first; all of them left to right."""
        if rank == len(LEVELS):
            return self.unary()
        left = self.level(rank + 1)
        while self.peek() in LEVELS[rank]:
            op = self.take()
            left = Binary(op=op, left=left, right=self.level(rank + 1))
        return left

    def unary(self) -> Expression:
        if self.took("-"):
            return Binary(op="*", left=Number(value=-1.0), right=self.unary())
        if self.took("("):
            inner = self.level(0)
            self.take(")")
            return inner
        if self.peek()[:1].isdigit():
            return self.number()
        return self.named()

    def number(self) -> Number:
        text = self.take()
        try:
            return Number(value=float(text))
        except ValueError as error:
            raise QueryError(f"parse error: bad number {text!r}") from error

    def named(self) -> Expression:
        if self.peek() == "{":
            return self.select("")
        name = self.take()
        if not _NAME.fullmatch(name):
            raise QueryError(f"parse error: unexpected {name!r}")
        if name in AGGREGATES:
            return self.aggregate(name)
        if self.peek() == "(":
            return self.call(name)
        return self.select(name)

    def aggregate(self, op: str) -> Aggregate:
        by = self.grouping()
        self.take("(")
        inner = self.level(0)
        self.take(")")
        return Aggregate(op=op, by=by or self.grouping(), inner=inner)

    def grouping(self) -> tuple[str, ...]:
        if not self.took("by"):
            return ()
        self.take("(")
        labels = []
        while not self.took(")"):
            labels.append(self.take())
            self.took(",")
        return tuple(labels)

    def call(self, name: str) -> Call:
        if name not in FUNCTIONS:
            raise QueryError(f"unknown function with name {name!r}")
        self.take("(")
        arguments = []
        while not self.took(")"):
            arguments.append(self.level(0))
            self.took(",")
        if len(arguments) != FUNCTIONS[name]:
            raise QueryError(f"expected {FUNCTIONS[name]} argument(s) in call to {name!r}")
        return Call(name=name, arguments=tuple(arguments))

    def select(self, name: str) -> Select:
        matchers: list[Matcher] = []
        if self.took("{"):
            while not self.took("}"):
                matchers.append(self.matcher())
                self.took(",")
        named = [m.text for m in matchers if m.label == "__name__" and m.op == "="]
        if not name and not named:
            raise QueryError("parse error: a selector needs a metric name")
        within = self.duration() if self.took("[") else None
        if within is not None:
            self.take("]")
        offset = self.duration() if self.took("offset") else 0.0
        kept = tuple(m for m in matchers if m.label != "__name__")
        return Select(
            name=name or named[0], matchers=kept, range_seconds=within, offset_seconds=offset
        )

    def matcher(self) -> Matcher:
        label, op = self.take(), self.take()
        if op not in {"=", "!=", "=~", "!~"}:
            raise QueryError(f"parse error: unexpected {op!r} in label matching")
        text = self.take()
        if text[0] not in "\"'":
            raise QueryError(f"parse error: label value {text!r} is not quoted")
        value = json.loads(f'"{text[1:-1]}"') if text[0] == "'" else json.loads(text)
        if op in {"=~", "!~"}:
            try:
                re.compile(value)
            except re.error as error:
                raise QueryError(f"error parsing regexp: {error}") from error
        return Matcher(label=label, op=op, text=value)

    def duration(self) -> float:
        text = self.take()
        seconds = seconds_of(text, default=-1.0)
        if seconds <= 0:
            raise QueryError(f"not a valid duration string: {text!r}")
        return seconds
