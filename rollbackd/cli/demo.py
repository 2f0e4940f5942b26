"""`rollbackd demo`: a bad deploy goes out on a local Fly, and comes back or is left alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from rollbackd.sandbox.outcome import Outcome
from rollbackd.sandbox.scenarios import SCENARIOS, Scenario
from rollbackd.sandbox.story import Teller

NAMES = ", ".join(SCENARIOS)
LONGEST_TEMPORARY = 55


def demo(
    scenario: Annotated[str, typer.Option(help=f"One of {NAMES}.")] = "errors",
    headless: Annotated[
        bool, typer.Option("--headless", help="Plain lines, no live view.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One object on stdout.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep state and log afterwards.")] = False,
) -> None:
    """Watch a bad deploy go out and come back, on this machine."""
    chosen = SCENARIOS.get(scenario)
    if chosen is None:
        raise typer.BadParameter(f"{scenario!r}: one of {NAMES}", param_hint="--scenario")
    console = Console(stderr=as_json, force_terminal=False if headless else None, highlight=False)
    outcome = _play(chosen, console, keep=keep)
    expected = outcome.outcome == chosen.outcome
    if as_json:
        sys.stdout.write(json.dumps(outcome.wire()) + "\n")
    _sum_up(console, outcome, expected=expected)
    if console.is_terminal and not as_json:
        console.print(_what_next(chosen), style="dim")
    raise typer.Exit(0 if expected else 1)


def _play(scenario: Scenario, console: Console, *, keep: bool) -> Outcome:
    # Imported here: `--help` needs neither httpx nor a loop.
    from rollbackd.sandbox.demo import play  # noqa: PLC0415

    directory = _directory()
    try:
        with Teller(console) as teller:
            return asyncio.run(_until_told(play(scenario, teller, directory)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("stopped: nothing is left running")
        raise typer.Exit(130) from None
    finally:
        if keep:
            console.print(f"state and log: {directory}")
        else:
            _remove(directory)


def _directory() -> Path:
    """Of its own, and short: the path of the daemon's socket may not be longer than 100 bytes."""
    short = len(os.fsencode(tempfile.gettempdir())) <= LONGEST_TEMPORARY
    return Path(tempfile.mkdtemp(prefix="rollbackd-demo-", dir=None if short else "/tmp"))  # noqa: S108 -- made for this user alone


def _remove(directory: Path) -> None:
    import shutil  # noqa: PLC0415

    shutil.rmtree(directory, ignore_errors=True)


async def _until_told(story: Coroutine[Any, Any, Outcome]) -> Outcome:
    """End as Ctrl-C does, with the processes of the demo, when the terminal is closed."""
    task = asyncio.ensure_future(story)
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def _sum_up(console: Console, outcome: Outcome, *, expected: bool) -> None:
    console.print()
    for line in _sentences(outcome):
        console.print(line, soft_wrap=not console.is_terminal)
    if not expected:
        console.print("not what this scenario shows: --keep leaves the log to be read")
    console.print(outcome.outcome, style="bold green" if expected else "bold red")


def _sentences(outcome: Outcome) -> list[str]:
    requests = f"{outcome.failed_requests} requests failed, {outcome.served_requests} were served"
    if outcome.outcome == "held":
        why = outcome.reason if outcome.reason != "ok" else "nothing blames v2"
        return [f"nothing was rolled back: {why}", requests]
    if outcome.outcome != "recovered":
        return [requests]
    wire = outcome.wire()
    decided, recovered = wire["seconds_to_decide"], wire["seconds_to_recover"]
    if decided is None or recovered is None:
        return ["decided and recovered before it hurt a user", requests]
    return [
        f"decided {decided:.1f} s and recovered {recovered:.1f} s after users were first hurt",
        requests,
    ]


def _what_next(shown: Scenario) -> str:
    others = "|".join(name for name in SCENARIOS if name != shown.name)
    return f"more: {Path(sys.argv[0])} demo --scenario {others}"
