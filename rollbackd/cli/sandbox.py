"""`rollbackd sandbox`: a local Fly in the foreground; one JSON line, then it serves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Annotated

import typer

from rollbackd.sandbox.durations import seconds_of
from rollbackd.sandbox.server import Sandbox

NOT_A_DURATION = -1.0


def sandbox(  # noqa: PLR0917  # Typer declares options as parameters
    app: Annotated[str, typer.Option(help="Name of the first app.")] = "shop",
    machines: Annotated[int, typer.Option(help="How many machines it has.", min=0)] = 3,
    boot: Annotated[str, typer.Option(help="How long a machine takes to boot.")] = "5s",
    seed: Annotated[int, typer.Option(help="Makes names and chance repeatable.")] = 1,
    port: Annotated[int, typer.Option(help="Port of the platform; 0 picks a free one.")] = 0,
    image: Annotated[str, typer.Option(help="What the app runs at first.")] = "good",
    autostop: Annotated[bool, typer.Option(help="Let idle machines sleep.")] = False,
    rate_limits: Annotated[bool, typer.Option(help="Answer 429 as Fly does.")] = True,
    until_stdin_closes: Annotated[bool, typer.Option(help="End with the parent.")] = False,
) -> None:
    """Run a local Fly and print its URLs as one JSON line."""
    boot_seconds = seconds_of(boot, default=NOT_A_DURATION)
    if boot_seconds < 0:
        raise typer.BadParameter(f"{boot!r} is not a duration like 5s", param_hint="--boot")
    box = Sandbox(
        app=app,
        machines=machines,
        image=image,
        boot_seconds=boot_seconds,
        seed=seed,
        port=port,
        autostop=autostop,
        rate_limits=rate_limits,
    )
    asyncio.run(_serve(box, until_stdin_closes=until_stdin_closes))


async def _serve(box: Sandbox, *, until_stdin_closes: bool) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), _end_at_eof, over)
    async with box:
        print(json.dumps(box.urls.wire()), flush=True)
        await over.wait()


def _end_at_eof(over: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        over.set()
