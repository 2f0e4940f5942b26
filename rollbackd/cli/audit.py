"""`rollbackd audit`: the record that only grows, for people or as JSON Lines.

It is the store's own text, daemon or not: nothing that runs stands between the record and its
reader. So it needs the state directory: on another machine, `fly ssh console`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, TypeAlias

import typer

from rollbackd.cli import offline, show
from rollbackd.cli.client import DaemonGone, state_directory
from rollbackd.core.errors import UsageError
from rollbackd.core.model import Json, JsonObject, RollbackId, TargetName
from rollbackd.core.ports import Recorded, Store

EXPORT, VERIFY = "export", "verify"
Steps: TypeAlias = dict[tuple[str, int], str]  # names, by rollback and number
_SAID = frozenset({"at", "target", "rollback"})


def audit(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[export|verify] [TARGET]", help="export: all of it."),
    ] = None,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many of the newest.")] = 50,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the chain of the whole record; 1: broken.")
    ] = False,
) -> None:
    """What was decided, done and ordered, by whom, in order. `export` prints all of it."""
    word, target = _asked(words or [])
    export, verify = word == EXPORT, verify or word == VERIFY
    gone = DaemonGone(
        f"there is no state in {state_directory()}", hint="set ROLLBACKD_STATE to where it is"
    )

    async def ask(store: Store) -> tuple[Sequence[Recorded], Steps, int | None]:
        most = 0 if word == VERIFY else -1 if export else limit
        found = await store.record_lines(target, most)
        steps = {} if export else await _steps(store, found)
        return found, steps, (await store.record_broken_at() if verify else None)

    lines, steps, broken_at = offline.read(gone, ask)
    if export:
        for line in lines:
            sys.stdout.write(json.dumps(_wire(line), ensure_ascii=False) + "\n")
    else:
        for each in lines:
            about = " ".join(filter(None, (each.kind, each.rollback or each.target)))
            show.line(f"{show.clock_time(each.at)}  {about}  {_said(each, steps)}".rstrip())
    if not lines and word != VERIFY:
        show.note(f"nothing is recorded of {target}" if target else "nothing is recorded yet")
    if verify:
        _tell(broken_at)


def _asked(words: Sequence[str]) -> tuple[str, TargetName | None]:
    word = words[0] if words[:1] in ([EXPORT], [VERIFY]) else ""
    rest = words[1:] if word else words
    if len(rest) > 1:
        raise UsageError("one target at a time", hint="rollbackd audit [export] [TARGET]")
    if word == VERIFY and rest:
        raise UsageError("the chain is one for all targets", hint="rollbackd audit verify")
    return word, TargetName(rest[0]) if rest else None


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


async def _steps(store: Store, lines: Sequence[Recorded]) -> Steps:
    """What the numbers in lines about steps stand for."""
    names: Steps = {}
    for rollback in {each.rollback for each in lines if each.kind == "step"}:
        journal = await store.journal(RollbackId(rollback))
        for step in journal.plan.steps if journal is not None else ():
            names[rollback, step.seq] = f"{step.phase.value}: {step.name}"
    return names


def _said(line: Recorded, steps: Steps) -> str:
    """The words of a line, the plain ones only, without those that stand before them."""
    words = [
        f"{name} {show.clock_time(value) if _is_time(name) else show.word(value)}"
        for name, value in line.data.items()
        if _plain(value) and name not in _SAID
    ]
    seq = line.data.get("seq")
    step = steps.get((line.rollback, seq)) if isinstance(seq, int) else None
    return ", ".join([step, *words] if step else words)


def _is_time(name: str) -> bool:
    return name.endswith(("_at", "until"))


def _plain(value: Json) -> bool:
    return isinstance(value, str | int | float | bool) and value != ""


def _tell(broken_at: int | None) -> None:
    if broken_at is None:
        show.note("the chain holds")
        return
    show.note(f"the chain is broken at line {broken_at}: it was changed or taken away afterwards")
    raise typer.Exit(1)
