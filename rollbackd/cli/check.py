"""`rollbackd check`: judges configuration files offline. Changes nothing and asks nobody."""

from __future__ import annotations

import enum
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from rollbackd.config.diagnostics import ConfigRefused, Diagnostic, Level
from rollbackd.config.load import Loaded, check_file, load_directory
from rollbackd.config.promise import Promise, promises
from rollbackd.config.settings import variable
from rollbackd.core.errors import ConfigError

__all__ = ["check"]

_COLOURS = {Level.ERROR: "red", Level.WARNING: "yellow"}


class Format(enum.StrEnum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What is to be said about all paths together."""

    diagnostics: tuple[Diagnostic, ...]
    promises: tuple[Promise, ...]

    @property
    def refused(self) -> bool:
        return any(d.severity is Level.ERROR for d in self.diagnostics)


def check(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files or folders; by default ROLLBACKD_CONFIG, or config."),
    ] = None,
    output: Annotated[
        Format, typer.Option("--format", help="text, json, or github (annotations).")
    ] = Format.TEXT,
) -> None:
    """Judge configuration: errors and warnings with their lines, and each trigger's promise.

    Exit code 0: no errors. 1: errors.
    """
    chosen = paths or [Path(os.environ.get(variable("config")) or "config")]
    judged = [_judge(path) for path in chosen]
    found = {d for one in judged for d in one.diagnostics}
    together = _Judged(
        diagnostics=tuple(sorted(found, key=lambda d: (d.path, d.line, d.column, d.message))),
        promises=tuple(promise for one in judged for promise in one.promises),
    )
    match output:
        case Format.TEXT:
            _say_text(together)
        case Format.JSON:
            _say_json(together)
        case Format.GITHUB:
            _say_github(together)
    raise typer.Exit(1 if together.refused else 0)


def _judge(path: Path) -> _Judged:
    try:
        if not path.is_dir():
            diagnostics, loaded = check_file(path, os.environ)
            return _Judged(diagnostics=diagnostics, promises=_promises(loaded))
        loaded = load_directory(path, os.environ)
    except ConfigRefused as error:
        return _Judged(diagnostics=error.diagnostics, promises=())
    except ConfigError as error:  # of the environment
        return _Judged(diagnostics=(_of_environment(error),), promises=())
    return _Judged(diagnostics=loaded.diagnostics, promises=_promises(loaded))


def _promises(loaded: Loaded | None) -> tuple[Promise, ...]:
    if loaded is None:
        return ()
    policy = loaded.policy
    return tuple(
        promise
        for target in policy.targets.values()
        for promise in promises(target, policy.mode_ceiling)
    )


def _of_environment(error: ConfigError) -> Diagnostic:
    return Diagnostic(
        path="environment",
        line=1,
        column=1,
        severity=Level.ERROR,
        message=error.message,
        hint=error.hint,
    )


def _say_text(judged: _Judged) -> None:
    _print(judged.diagnostics)
    for promise in judged.promises:
        print(promise)
    print(_summary(judged))


def _print(diagnostics: Sequence[Diagnostic]) -> None:
    if not sys.stdout.isatty():
        for diagnostic in diagnostics:
            print(diagnostic)
        return
    console = Console(highlight=False)
    for diagnostic in diagnostics:
        line = Text(str(diagnostic))
        line.highlight_words([f"{diagnostic.severity}:"], _COLOURS[diagnostic.severity])
        console.print(line, soft_wrap=True)


def _summary(judged: _Judged) -> str:
    errors = sum(d.severity is Level.ERROR for d in judged.diagnostics)
    warnings = len(judged.diagnostics) - errors
    return f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _say_json(judged: _Judged) -> None:
    answer = {
        "ok": not judged.refused,
        "diagnostics": [diagnostic.json() for diagnostic in judged.diagnostics],
        "triggers": [
            {
                "target": promise.target,
                "trigger": promise.trigger,
                "keeps_five_minutes": promise.kept,
                "seconds": promise.seconds,
                "why_not": promise.why_not or None,
            }
            for promise in judged.promises
        ],
    }
    print(json.dumps(answer, indent=2))


def _say_github(judged: _Judged) -> None:
    for diagnostic in judged.diagnostics:
        print(diagnostic.github())
