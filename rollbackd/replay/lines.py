"""JSON Lines, one object a line, read without ever holding a line that is too long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NoReturn

from rollbackd.replay.fields import BadLine

_SPACE: Final = " \t\r\n"  # as JSON has it
_BOM: Final = b"\xef\xbb\xbf"  # some editors begin a file with it
LONGEST: Final = 1_048_576  # bytes; a release or a sample has a few hundred


def lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """(line number from 1, its bytes); None for one that is too long. Empty ones are left out."""
    at = 0
    while raw := file.readline(LONGEST + 1):
        at += 1
        if at == 1:
            raw = raw.removeprefix(_BOM)
        if len(raw) > LONGEST and not raw.endswith(b"\n"):
            _skip(file)
            yield at, None
        elif not raw.isspace():
            yield at, raw


def _skip(file: BinaryIO) -> None:
    while (raw := file.readline(LONGEST)) and not raw.endswith(b"\n"):
        pass


def parse(raw: bytes | None) -> dict[str, Any]:
    """The line's object. Raises BadLine."""
    if raw is None:
        raise BadLine(f"longer than {LONGEST:,} bytes")
    try:
        row = _object(raw.decode())
    except UnicodeDecodeError:
        raise BadLine("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise BadLine(f"not JSON (column {error.colno})") from None
    except RecursionError:
        raise BadLine("nested too deeply") from None
    except ValueError:  # Python reads no whole number of more than 4,300 digits
        raise BadLine("a number with too many digits") from None
    if type(row) is not dict:
        raise BadLine("not a JSON object")
    return row


def _object(text: str) -> Any:
    """As `json.loads`, at half its cost where the line is as most are."""
    if text.startswith("{"):
        row, end = _DECODER.raw_decode(text)
        if end == len(text) or not text[end:].strip(_SPACE):
            return row
    return _DECODER.decode(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # set.add, for its effect
        raise BadLine(f"key {twice!r} stands there twice")
    return row


def _no_constant(word: str) -> NoReturn:
    raise BadLine(f"{word} is not a number")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
