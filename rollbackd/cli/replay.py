"""`rollbackd replay`: what this configuration would have decided. Changes nothing anywhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rollbackd.cli.main import EX_UNAVAILABLE, complain
from rollbackd.core.errors import ConfigError, PermanentError

if TYPE_CHECKING:
    from rollbackd.core.model import JsonObject
    from rollbackd.core.policy import Policy
    from rollbackd.replay.compare import Comparison
    from rollbackd.replay.run import Run
    from rollbackd.replay.sources import Source
    from rollbackd.replay.story import Line

_STYLES = {"alarm": "bold red", "asked": "yellow", "picture": "dim"}
PIPED_WIDTH = 100


def replay(
    *,
    facts: Annotated[
        str | None, typer.Option("--facts", metavar="FILE", help="JSON Lines; - is stdin.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", help='How far back: "24h" of our own record, "14d" of an app.'),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help='With --app: stop so long ago, "2d".')
    ] = None,
    app: Annotated[
        str | None, typer.Option("--app", help="An app's past, as Fly and its Prometheus tell it.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Directory of the YAML files.")
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", metavar="DIR", help="What another configuration does otherwise."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 1 when a line of facts is bad.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="JSON Lines, one per change.")] = False,
) -> None:
    """Judge facts of the past: a file of them, our own record, or an app's history at Fly.

    Exit code 0, or 1 with --strict and a bad line, 2 for odd options or a file that is not there,
    69 when Fly, its Prometheus or the record cannot be read, 78 when the configuration is refused.
    """
    # Imported here: `--help` must not wait for it.
    from rollbackd.replay import sources  # noqa: PLC0415
    from rollbackd.replay.compare import Comparison  # noqa: PLC0415
    from rollbackd.replay.run import Run  # noqa: PLC0415

    asked = sources.Asked(facts=facts, since=since, until=until, app=app)
    directory = config or _configured(needed=app is None)
    first = sources.configured(asked, directory)
    if compare is not None and not compare.is_dir():
        raise ConfigError(f"--compare: no directory {compare}")
    second = None if compare is None else sources.configured(asked, compare)
    policies: list[Policy] = [loaded.policy for loaded in (first, second) if loaded is not None]
    with (
        _unreadable_is_69(),
        sources.opened(asked, first, tuple(policies), complain=_complain) as source,
    ):
        runs = [
            Run(str(name), policy, source.manner)
            for name, policy in zip((directory or "default", compare), policies, strict=False)
        ]
        if len(runs) > 1:
            _tell_differences(Comparison(*runs), source, as_json=json_)
        else:
            _tell(runs[0], source, as_json=json_)
        if runs[0].releases.began_at is None:
            _complain("no fact was told: there is nothing to judge")
        bad = source.bad_lines()
    raise typer.Exit(1 if strict and bad else 0)


@contextmanager
def _unreadable_is_69() -> Iterator[None]:
    """A replay only reads: what refuses that, a token or a page for an answer, is unavailable."""
    try:
        yield
    except PermanentError as error:
        complain(error)
        raise typer.Exit(EX_UNAVAILABLE) from None


def _configured(*, needed: bool) -> Path | None:
    from rollbackd.config.settings import variable  # noqa: PLC0415

    named = os.environ.get(variable("config"))
    if named or needed:
        return Path(named or "config")
    return None


def _tell(run: Run, source: Source, *, as_json: bool) -> None:
    from rollbackd.replay.run import play  # noqa: PLC0415
    from rollbackd.replay.story import story  # noqa: PLC0415

    changes = play(run, source.facts)
    if as_json:
        _write(changes)
        return
    for _ in changes:
        pass
    width, plain = _room()
    _print([*source.notes(), *story(run.releases.fates(), width=width, plain=plain)])


def _tell_differences(comparison: Comparison, source: Source, *, as_json: bool) -> None:
    comparison.play(source.facts)
    if as_json:
        _write(comparison.differences())
    else:
        _print([*source.notes(), *comparison.lines()])


def _write(rows: Iterable[JsonObject]) -> None:
    from rollbackd.replay.answer import line  # noqa: PLC0415

    try:
        for row in rows:
            sys.stdout.write(line(row) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _room() -> tuple[int, bool]:
    """The width there is, and whether only ASCII may be written."""
    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    if not sys.stdout.isatty():
        return PIPED_WIDTH, plain
    from rollbackd.cli import show  # noqa: PLC0415 -- rich is only for a terminal

    return show.console().width, plain


def _print(lines: Iterable[Line]) -> None:
    if not sys.stdout.isatty():
        for line in lines:
            print(line.text)
        return
    from rollbackd.cli import show  # noqa: PLC0415 -- as above

    for line in lines:
        show.line(line.text, style=_STYLES.get(line.style, ""))


def _complain(text: str) -> None:
    from rollbackd.cli.show import clean  # noqa: PLC0415 -- only for a bad line

    print(clean(text), file=sys.stderr)
