"""Where the facts of a replay come from, each with the time at which it was heard."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

from rollbackd.clock import SystemClock
from rollbackd.config.load import Loaded, load_directory
from rollbackd.config.settings import load_settings
from rollbackd.config.types import parse_duration
from rollbackd.core.errors import ConfigError, TemporaryError, UsageError
from rollbackd.core.facts import Fact, RollbackStarted
from rollbackd.core.policy import Policy
from rollbackd.replay import given
from rollbackd.replay.facts_file import FactsFile
from rollbackd.replay.run import Manner
from rollbackd.replay.story import Line
from rollbackd.replay.told import Foretold, Told

BEGUN_WITHIN_SECONDS: Final = 5.0  # of its decision: the plan is made in between
STDIN: Final = "-"
# The daemon decides at whole seconds, a second behind, and records every look at the platform.
AS_LIVE: Final = Manner(late_seconds=1.0, watched=True, lagging=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command line's words for where to look. Exactly one of three is meant."""

    facts: str | None = None
    since: str | None = None
    until: str | None = None
    app: str | None = None

    def __post_init__(self) -> None:
        if self.facts is None and self.since is None:
            raise UsageError("no facts to replay", hint="give --facts FILE, or --from 24h")
        if self.facts is not None and (self.since or self.app):
            raise UsageError("--facts stands alone", hint="leave out --from and --app")
        if self.until is not None and self.app is None:
            raise UsageError("--until goes with --app")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """`notes` and `bad_lines` are asked after the facts were heard."""

    facts: Iterable[tuple[float, Told]]
    manner: Manner
    notes: Callable[[], list[Line]] = list
    bad_lines: Callable[[], int] = int


def configured(asked: Asked, directory: Path | None) -> Loaded:
    """The configuration to judge by; the short file where --app names an app and no more."""
    if asked.app is None:
        assert directory is not None, "the command line has a default"
        return given.loaded(directory)
    settings = load_settings()
    if directory is not None:
        return load_directory(directory, settings=settings)
    from rollbackd.replay.fly_past import short_file  # noqa: PLC0415 -- brings the HTTP client

    return short_file(asked.app, settings)


@contextmanager
def opened(
    asked: Asked, loaded: Loaded, policies: tuple[Policy, ...], complain: Callable[[str], None]
) -> Iterator[Source]:
    """The facts that are asked for. `complain` hears of each bad line."""
    if asked.facts is not None:
        reader = _reader(asked.facts, policies, complain)
        with _file(asked.facts) as file:
            yield Source(
                facts=_read(asked.facts, reader, file),
                manner=Manner(),
                bad_lines=lambda: reader.bad_lines,
            )
    elif asked.app is not None:
        yield _of_app(asked, asked.app, loaded)
    else:
        yield _of_record(asked)


def _read(name: str, reader: FactsFile, file: BinaryIO) -> Iterator[tuple[float, Told]]:
    try:
        for told in reader.read(file):
            yield told.at, told
    except OSError as error:
        raise TemporaryError(f"cannot read {name}: {error.strerror}") from error


def _reader(name: str, policies: tuple[Policy, ...], complain: Callable[[str], None]) -> FactsFile:
    base = Path() if name == STDIN else Path(name).parent

    def load(directory: str) -> Policy:
        try:
            return given.policy(base / directory)
        except ConfigError as error:
            raise ValueError(error.message) from error
        except OSError as error:
            raise ValueError(error.strerror) from error

    shown = "stdin" if name == STDIN else name
    return FactsFile(policies, lambda at, what: complain(f"{shown}:{at}: error: {what}"), load)


@contextmanager
def _file(name: str) -> Iterator[BinaryIO]:
    if name == STDIN:
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 -- closed below
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from error
    with file:
        yield file


def _of_app(asked: Asked, app: str, loaded: Loaded) -> Source:
    from rollbackd.replay.fly_past import past_of_app  # noqa: PLC0415 -- brings the HTTP client

    clock = SystemClock()
    since = clock.now() - _ago(asked.since, "--from")
    until = clock.now() - (_ago(asked.until, "--until") if asked.until else 0.0)
    if since >= until:
        raise UsageError("--from is later than --until")
    past = asyncio.run(past_of_app(app, loaded, load_settings(), clock, since=since, until=until))
    return Source(
        facts=[(fact.at, fact) for fact in past.facts],
        manner=Manner(lagging=True),
        notes=lambda: [Line(note, "asked") for note in past.notes],
    )


def _of_record(asked: Asked) -> Source:
    from rollbackd.stores.record import open_record  # noqa: PLC0415 -- only for our own record

    state = load_settings().state
    heard = open_record(state, SystemClock().now() - _ago(asked.since, "--from"))
    first = next(heard, None)
    if first is None:
        raise TemporaryError(
            f"{state} holds no record of the last {asked.since}",
            hint="set ROLLBACKD_STATE to the daemon's directory, or give --facts or --app",
        )
    return Source(facts=foretelling(chain((first,), heard)), manner=AS_LIVE)


def foretelling(heard: Iterable[tuple[float, Fact]]) -> Iterator[tuple[float, Told]]:
    """The facts, and each rollback of theirs told in advance too: it was decided before it began,
    and a decision that was carried out must not be carried out twice, in two ways.
    """
    waiting: deque[tuple[float, Fact]] = deque()
    for at, fact in heard:
        while waiting and waiting[0][0] < at - BEGUN_WITHIN_SECONDS:
            yield waiting.popleft()
        if isinstance(fact, RollbackStarted) and fact.automatic:
            first = waiting[0][0] if waiting else at
            yield first, Foretold(at=first, started=fact)
        waiting.append((at, fact))
    yield from waiting


def _ago(text: str | None, option: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint='write "24h" or "14d"') from None
