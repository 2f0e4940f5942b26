"""Field types the YAML is written in: durations, ratios, sizes, status classes, regexes, URLs.

Each refuses what could be read two ways (a bare `10`, a ratio of `5`) and says how to write it.
"""

from __future__ import annotations

import re
import warnings
from typing import Annotated, Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    Strict,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

LONGEST_SECONDS = 3660 * 86_400.0  # ten years: beyond it a slip of the pen, not a wish

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_NUMBER = r"[0-9]{1,13}(?:\.[0-9]{1,6})?"
_DURATION = re.compile("".join(f"(?:({_NUMBER}){unit})?" for unit, _ in _UNITS))
_DURATION_PATTERN = "^" + "".join(f"({_NUMBER}{unit})?" for unit, _ in _UNITS) + "$"
_RATIO = re.compile(rf"({_NUMBER})\s?%")
_PLAIN = re.compile(_NUMBER)
_SIZE = re.compile(rf"({_NUMBER})\s?([kKMG]i?)?B")
_FACTORS = {
    "": 1, "k": 1_000, "K": 1_000, "M": 1_000**2, "G": 1_000**3,
    "ki": 1_024, "Ki": 1_024, "Mi": 1_024**2, "Gi": 1_024**3,
}  # fmt: skip


class Spec(BaseModel):
    """Base of every model of the YAML: strict, frozen, and no key it does not know."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


def refused(message: str, hint: str = "") -> PydanticCustomError:
    """The error a field validator raises; `hint` becomes the diagnostic's hint."""
    return PydanticCustomError("refused", "{text}", {"text": message, "hint": hint})


def parse_duration(text: object) -> float:
    """Seconds from "500ms", "15s", "2m", "1h30m", "1d"."""
    if isinstance(text, bool) or not isinstance(text, (int, float, str)):
        raise refused('expected a duration such as "15s"', 'units: "500ms", "15s", "2m", "1h30m"')
    if not isinstance(text, str) or _PLAIN.fullmatch(text.strip()):
        raise refused(
            f"a duration needs a unit: {text}", f'write "{text}s" if you mean {text} seconds'
        )
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        raise refused(
            f"not a duration: {_short(text)}", 'write "500ms", "15s", "2m", "1h30m", "1d"'
        )
    seconds = (
        sum(
            float(number) * milliseconds
            for number, (_, milliseconds) in zip(found.groups(), _UNITS, strict=True)
            if number
        )
        / 1_000
    )
    if seconds > LONGEST_SECONDS:
        raise refused(f"a duration of more than ten years: {_short(text)}")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest way to write it; `parse_duration` reads it back to the millisecond."""
    left = round(seconds * 1_000)
    parts = []
    for unit, milliseconds in _UNITS:
        count, left = divmod(left, milliseconds)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_ratio(value: object) -> float:
    """0..1 from "5%" or 0.05. A bare 5 could be 5 % or a slip: refused."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise refused("expected a ratio such as 5%", "write 5% or 0.05")
    if isinstance(value, str):
        return _ratio_of_text(value.strip())
    if value < 0:
        raise refused(f"a ratio cannot be negative: {value}", "write 5% or 0.05")
    if value >= 1:
        raise refused(f"ambiguous ratio: {value}", f"write {value}% (or {value / 100:g})")
    return float(value)


def _ratio_of_text(text: str) -> float:
    if _PLAIN.fullmatch(text):
        return parse_ratio(float(text))
    found = _RATIO.fullmatch(text)
    if found is None:
        raise refused(f"not a ratio: {_short(text)}", "write 5% or 0.05")
    percent = float(found[1])
    if percent > 100:  # noqa: PLR2004 - per cent
        raise refused(f"a ratio over 100 %: {text}", "a ratio is bad / total: at most 100%")
    return round(percent / 100, 12)


def format_ratio(ratio: float) -> str:
    return f"{round(ratio * 100, 10):g}%"


def parse_size(value: object) -> int:
    """Bytes from "512B", "64KiB", "1MiB"; "kB" and "MB" are powers of 1000."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise refused("expected a size such as 64KiB", 'write "512B", "64KiB", "1MiB"')
    if not isinstance(value, str) or _PLAIN.fullmatch(value.strip()):
        raise refused(f"a size needs a unit: {value}", f'write "{value}B" if you mean bytes')
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise refused(f"not a size: {_short(value)}", 'write "512B", "64KiB", "1MiB"')
    return int(float(found[1]) * _FACTORS[found[2] or ""])


def format_size(size: int) -> str:
    for unit, factor in (("GiB", 1_024**3), ("MiB", 1_024**2), ("KiB", 1_024)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def parse_status(value: object) -> str:
    """A class ("2xx") or one code (204) that HTTP can answer with."""
    text = str(value).lower() if isinstance(value, (int, str)) else ""
    if isinstance(value, bool) or not re.fullmatch(r"[0-9](?:[0-9]{2}|xx)", text):
        raise refused(f"not a status: {_short(str(value))}", "write 2xx or 204")
    if text[0] not in "12345":
        raise refused(f"impossible status: {text}", "a status is 100 to 599, or 1xx to 5xx")
    return text


def _compiles(pattern: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise refused(f"the regex does not compile: {error}") from error
    return pattern


def _http_url(text: str) -> str:
    hint = "write https://host/path"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise refused("not a URL", hint) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise refused("not an http or https URL", hint)
    if any(c.isspace() or not c.isprintable() for c in text):
        raise refused("a URL cannot hold spaces or control characters", hint)
    if parts.username or parts.password:
        raise refused("a URL with a password in it ends up in logs", "send it as a header")
    return text


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")  # noqa: PLR2004 - one line


def _schema(kind: Any, name: str, examples: list[Any], **more: Any) -> WithJsonSchema:
    """`x-type` names the type in docs/thresholds.md; editors ignore it."""
    return WithJsonSchema(
        {"type": kind, "x-type": name, "examples": examples, **more}, mode="validation"
    )


Duration: TypeAlias = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    _schema("string", "duration", ["500ms", "15s", "1h30m"], pattern=_DURATION_PATTERN),
]
Ratio: TypeAlias = Annotated[
    float,
    BeforeValidator(parse_ratio),
    PlainSerializer(format_ratio, return_type=str),
    _schema(["string", "number"], "ratio", ["5%", 0.05]),
]
Size: TypeAlias = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    _schema("string", "size", ["512B", "64KiB"]),
]
StatusClass: TypeAlias = Annotated[
    str,
    BeforeValidator(parse_status),
    _schema(["string", "integer"], "status", ["2xx", 204]),
]
Regex: TypeAlias = Annotated[str, AfterValidator(_compiles)]
Url: TypeAlias = Annotated[str, AfterValidator(_http_url)]
StatusClasses: TypeAlias = Annotated[
    tuple[StatusClass, ...],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else (value,)),
    _schema(["string", "integer", "array"], "statuses", ["2xx", ["2xx", 301]]),
]

T = TypeVar("T")

# YAML knows lists and text only: these two accept them in strict models.
Many: TypeAlias = Annotated[tuple[T, ...], Strict(strict=False)]  # Many[Smoke]
Word: TypeAlias = Annotated[T, Strict(strict=False)]  # Word[Mode], for a StrEnum
