"""`rollbackd snapshots`: what data could be put back from; and one more of now, verified.

Works where the state directory is, with or without a daemon: snapshots are files.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from rollbackd.cli import show
from rollbackd.cli.options import AsJson, Target
from rollbackd.clock import SystemClock
from rollbackd.core.errors import ConfigError, UsageError
from rollbackd.core.model import JsonObject, TargetName

if TYPE_CHECKING:
    from rollbackd.config.load import Loaded
    from rollbackd.config.settings import Settings


def snapshots(
    target: Target = None,
    *,
    take: Annotated[bool, typer.Option("--take", help="Make one now, read back whole.")] = False,
    json: AsJson = False,
) -> None:
    """Snapshots of the database, newest first. A pipeline may take one before it migrates."""
    from rollbackd.config.settings import load_settings  # noqa: PLC0415 -- the whole house

    settings = load_settings()
    loaded = _loaded(settings)
    name = _pick(loaded, target)
    found = asyncio.run(_found(settings, loaded, name, take=take))
    if json:
        show.as_json({"target": name, "snapshots": list(found)})
        return
    if not found:
        show.line(f"There is no snapshot of {name} yet.")
        show.note("rollbackd snapshots --take makes one")
        return
    heads = ("snapshot", "taken", "database", "tables", "rows", "bytes")
    show.table(
        heads,
        [
            (each["snapshot"], show.ago(each["at"]), *(each[head] for head in heads[2:]))
            for each in found
        ],
    )
    show.note("to put data back: rollbackd rollback --snapshot … --dry-run --reason …")


async def _found(
    settings: Settings, loaded: Loaded, name: TargetName, *, take: bool
) -> list[JsonObject]:
    try:
        from rollbackd.postgres import keeping  # noqa: PLC0415 -- needs the extra
    except ImportError as error:
        message = f"{error.name} is not installed"
        raise ConfigError(message, hint="pip install 'rollbackd[postgres]'") from None
    policy, database = loaded.policy.targets[name].database, loaded.targets[name].database
    assert policy is not None, "picked for it"
    assert database is not None, "picked for it"
    directory = keeping.directory(policy, settings.state)
    if take:
        await keeping.keep(
            database.access.url, policy, directory=directory, clock=SystemClock(), label=name
        )
    return keeping.listed(directory, name)


def _pick(loaded: Loaded, target: str | None) -> TargetName:
    names = sorted(name for name, one in loaded.targets.items() if one.database is not None)
    if target is None and len(names) == 1:
        return names[0]
    if target is None or target not in names:
        said = "which target?" if target is None else f"no target {target!r} with a database"
        raise UsageError(said, hint=f"name one of: {', '.join(names) or 'none has a database:'}")
    return TargetName(target)


def _loaded(settings: Settings) -> Loaded:
    from rollbackd.config.diagnostics import ConfigRefused  # noqa: PLC0415 -- as above
    from rollbackd.config.load import load_directory  # noqa: PLC0415 -- as above

    if not settings.config.is_dir():
        raise UsageError(
            f"{settings.config} is not a directory", hint="run it where rollbackd's state is"
        )
    try:
        return load_directory(settings.config, settings=settings)
    except ConfigRefused as error:
        first = next(iter(error.diagnostics), None)
        raise ConfigError(
            f"the configuration is refused: {first}", hint="rollbackd check"
        ) from None
