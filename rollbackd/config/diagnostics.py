"""What is wrong with the YAML, and where: one plain line each. Nothing is printed here."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field

from rollbackd.core.errors import ConfigError
from rollbackd.core.model import JsonObject


class Level(enum.StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A place in a file; line and column count from 1."""

    path: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    path: str
    line: int
    column: int
    severity: Level
    message: str
    hint: str = ""

    def __str__(self) -> str:
        tail = f" ({self.hint})" if self.hint else ""
        place = f"{self.path}:{self.line}:{self.column}"
        return _one_line(f"{place}: {self.severity}: {self.message}{tail}")

    def github(self) -> str:
        """A workflow command, so that the error stands at its line in the pull request."""
        tail = f" ({self.hint})" if self.hint else ""
        place = f"file={_property(self.path)},line={self.line},col={self.column}"
        return f"::{self.severity} {place}::{_escaped(self.message + tail)}"

    def json(self) -> JsonObject:
        return {
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "severity": str(self.severity),
            "message": self.message,
            "hint": self.hint,
        }


class ConfigRefused(ConfigError):
    """The YAML has errors. `diagnostics` holds all of them, and the warnings, in file order."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        errors = [d for d in self.diagnostics if d.severity is Level.ERROR]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{errors[0]}{more}", hint="run: rollbackd check")


@dataclass(slots=True)
class Findings:
    """Collects diagnostics of one run; the same one twice counts once (`like:` repeats lines).

    `broken` are the places of scalars already refused: one error a mistake is enough.
    """

    found: set[Diagnostic] = field(default_factory=set)
    broken: set[Mark] = field(default_factory=set)

    def error(self, mark: Mark, message: str, hint: str = "") -> None:
        if mark not in self.broken:
            self._add(mark, Level.ERROR, message, hint)

    def broken_scalar(self, mark: Mark, message: str, hint: str = "") -> None:
        self.error(mark, message, hint)
        self.broken.add(mark)

    def warn(self, mark: Mark, message: str, hint: str = "") -> None:
        self._add(mark, Level.WARNING, message, hint)

    def _add(self, mark: Mark, severity: Level, message: str, hint: str) -> None:
        self.found.add(
            Diagnostic(
                path=mark.path,
                line=mark.line,
                column=mark.column,
                severity=severity,
                message=message,
                hint=hint,
            )
        )

    @property
    def refused(self) -> bool:
        return any(d.severity is Level.ERROR for d in self.found)

    def sorted(self) -> tuple[Diagnostic, ...]:
        return tuple(sorted(self.found, key=lambda d: (d.path, d.line, d.column, d.message)))


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
