"""`rollbackd demo`: a bad deploy goes out on a local Fly, and comes back or is left alone."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rollbackd.sandbox.outcome import Outcome
from rollbackd.sandbox.scenarios import SCENARIOS, Scenario
from rollbackd.sandbox.story import Teller

NAMES = ", ".join(SCENARIOS)


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
    raise typer.Exit(0 if expected else 1)


def _play(scenario: Scenario, console: Console, *, keep: bool) -> Outcome:
    # Imported here: `--help` needs neither httpx nor a loop.
    from rollbackd.sandbox.demo import play  # noqa: PLC0415

    directory = Path(tempfile.mkdtemp(prefix="rollbackd-demo-"))
    try:
        with Teller(console) as teller:
            return asyncio.run(play(scenario, teller, directory))
    finally:
        if keep:
            console.print(f"state and log: {directory}")
        else:
            _remove(directory)


def _remove(directory: Path) -> None:
    import shutil  # noqa: PLC0415

    shutil.rmtree(directory, ignore_errors=True)


def _sum_up(console: Console, outcome: Outcome, *, expected: bool) -> None:
    wire = outcome.wire()
    console.print()
    if outcome.outcome == "recovered":
        console.print(
            f"decided {wire['seconds_to_decide']:.1f} s and recovered"
            f" {wire['seconds_to_recover'] or 0:.1f} s after users were first hurt;"
            f" {outcome.failed_requests} requests failed, {outcome.served_requests} were served"
        )
    console.print(outcome.outcome, style="bold green" if expected else "bold red")
