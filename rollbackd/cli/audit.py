"""`rollbackd audit`: the record that only grows, for people or as JSON Lines.

It is the store's own text, daemon or not: nothing that runs stands between the record and its
reader. So it needs the state directory: on another machine, `fly ssh console`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from rollbackd.cli import offline, show
from rollbackd.cli.client import DaemonGone, state_directory
from rollbackd.core.errors import UsageError
from rollbackd.core.model import Json, JsonObject, TargetName
from rollbackd.core.ports import Recorded, Store

EXPORT = "export"


def audit(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[export] [TARGET]", help="export: JSON Lines.")
    ] = None,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many of the newest.")] = 50,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the chain of the whole record; 1: broken.")
    ] = False,
) -> None:
    """What was decided, done and ordered, by whom, in order. `export` prints all of it."""
    export, target = _asked(words or [])
    gone = DaemonGone(
        f"there is no state in {state_directory()}", hint="set ROLLBACKD_STATE to where it is"
    )

    async def ask(store: Store) -> tuple[Sequence[Recorded], int | None]:
        found = await store.record_lines(target, -1 if export else limit)
        return found, (await store.record_broken_at() if verify else None)

    lines, broken_at = offline.read(gone, ask)
    if export:
        for line in lines:
            sys.stdout.write(json.dumps(_wire(line), ensure_ascii=False) + "\n")
    else:
        for each in lines:
            about = each.rollback or each.target
            show.line(f"{show.clock_time(each.at)}  {each.kind} {about}  {_said(each.data)}")
    if verify:
        _tell(broken_at)


def _asked(words: Sequence[str]) -> tuple[bool, TargetName | None]:
    export = words[:1] == [EXPORT]
    rest = words[1:] if export else words
    if len(rest) > 1:
        raise UsageError("one target at a time", hint="rollbackd audit [export] [TARGET]")
    return export, TargetName(rest[0]) if rest else None


def _wire(line: Recorded) -> JsonObject:
    """With both hashes, so that whoever has the file can check the chain by himself."""
    return {
        "id": line.id,
        "at": line.at,
        "kind": line.kind,
        "target": line.target,
        "rollback": line.rollback,
        "data": line.data,
        "prev_hash": line.prev_hash,
        "hash": line.hash,
    }


def _said(data: JsonObject) -> str:
    """The words of a line, the plain ones only."""
    return ", ".join(f"{name} {show.word(value)}" for name, value in data.items() if _plain(value))


def _plain(value: Json) -> bool:
    return isinstance(value, str | int | float | bool) and value != ""


def _tell(broken_at: int | None) -> None:
    if broken_at is None:
        show.note("the chain holds")
        return
    show.note(f"the chain is broken at line {broken_at}: it was changed after it was written")
    raise typer.Exit(1)
