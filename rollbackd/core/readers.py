"""Reads kept JSON back into values, and refuses what does not look like it. Restores nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final, TypeAlias, TypeVar

from rollbackd.core.model import Json, JsonObject, ReleaseStatus

T = TypeVar("T")
Reader: TypeAlias = Callable[[Json], Any]


AHEAD_SECONDS: Final = 5.0  # what is from further in the future was written by another clock


class Odd(Exception):
    """It does not look like what was kept."""


def number(raw: Json) -> float:
    """A number or an infinity, never NaN."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or math.isnan(raw):
        raise Odd
    return float(raw)


def finite(raw: Json) -> float:
    found = number(raw)
    if math.isinf(found):
        raise Odd
    return found


def count(raw: Json) -> float:
    found = finite(raw)
    if found < 0:
        raise Odd
    return found


def whole(raw: Json) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise Odd
    return raw


def text(raw: Json) -> str:
    if not isinstance(raw, str):
        raise Odd
    return raw


def flag(raw: Json) -> bool:
    if not isinstance(raw, bool):
        raise Odd
    return raw


def maybe(reader: Reader) -> Reader:
    """`reader`, or None."""
    return lambda raw: None if raw is None else reader(raw)


def refuse_future(at: float, *times: float | None) -> None:
    """No time that was kept at `at` lies after it."""
    if any(time is not None and time > at + AHEAD_SECONDS for time in times):
        raise Odd


def items(raw: Json) -> list[Json]:
    if not isinstance(raw, list):
        raise Odd
    return raw


def member(raw: Json, name: str) -> Json:
    """What an object holds under this name."""
    if not isinstance(raw, dict) or name not in raw:
        raise Odd
    return raw[name]


def rows(raw: Json, *readers: Reader) -> list[tuple[Any, ...]]:
    """A list of lists, each as long as there are readers."""
    found = []
    for row in items(raw):
        if not isinstance(row, list) or len(row) != len(readers):
            raise Odd
        found.append(tuple(read(each) for read, each in zip(readers, row, strict=True)))
    return found


def status(raw: Json) -> ReleaseStatus:
    if text(raw) not in set(ReleaseStatus):
        raise Odd
    return ReleaseStatus(str(raw))


_BY_TYPE: Final[Mapping[str, Reader]] = {
    "int": whole,
    "int | None": maybe(whole),
    "float": number,
    "float | None": maybe(number),
    "str": text,
    "str | None": maybe(text),
    "bool": flag,
    "ReleaseStatus": status,
}


def made(kind: type[T], raw: Json) -> T:
    """A flat dataclass of the core. A field that is missing has its default."""
    known = {field.name: _BY_TYPE[str(field.type)] for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    if not isinstance(raw, dict):
        raise Odd
    try:
        return kind(**{name: read(raw[name]) for name, read in known.items() if name in raw})
    except TypeError as error:  # a field without a default is missing
        raise Odd from error


def flat(value: object) -> JsonObject:
    """A flat dataclass as JSON; `made` reads it back."""
    return {field.name: getattr(value, field.name) for field in fields(value)}  # type: ignore[arg-type]  # a dataclass


def taken(owner: object, names: Mapping[str, Reader]) -> JsonObject:
    """These attributes as JSON; `put` reads them back."""
    return {name: getattr(owner, name) for name in names}


def put(owner: object, names: Mapping[str, Reader], raw: Json) -> None:
    """Set these attributes: all of them, or none and Odd."""
    found = {name: read(member(raw, name)) for name, read in names.items()}
    for name, value in found.items():
        setattr(owner, name, value)
