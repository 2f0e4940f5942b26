"""A rollback where no daemon is alive: this process takes the lock and does it itself.

Same plan, journal, STOP file and steps as the daemon's. Nobody watches meanwhile, so it ends
unproven at best; the next daemon knows of it and goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from rollbackd.cli import show
from rollbackd.cli.client import DaemonGone, whoami
from rollbackd.cli.database_plan import queries
from rollbackd.clock import SystemClock
from rollbackd.core.errors import ConfigError, Rejected
from rollbackd.core.model import JsonObject, Restore, RollBack, RollbackOutcome
from rollbackd.core.runbook import Journal
from rollbackd.telemetry import events, shapes

if TYPE_CHECKING:
    from rollbackd.config.load import Loaded
    from rollbackd.config.settings import Settings
    from rollbackd.daemon.hands import Hands

_GOOD: Final = frozenset({RollbackOutcome.RECOVERED, RollbackOutcome.RECOVERED_UNPROVEN})
_TOLD: Final = {
    events.STEP_STARTED: "started",
    events.STEP_FINISHED: "done",
    events.STEP_SKIPPED: "skipped",
    events.STEP_FAILED: "failed",
    events.STEP_RETRIED: "tried again",
    events.ROLLBACK_STOPPED: "stands still",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked on the command line. `confirm` shows the plan and raises when it may not."""

    target: str | None
    to: int | None
    plan: str | None
    reason: str
    by: str  # empty: the local user
    dry_run: bool
    json: bool
    confirm: Callable[[str, JsonObject], None]
    to_migration: str
    restore: Restore | None
    print_plan: Callable[[JsonObject], None]


def roll_back(gone: DaemonGone, wish: Wish) -> int:
    """0: done, 1: failed or stands still. Raises `gone` where nothing is set up."""
    from rollbackd.config.settings import load_settings  # noqa: PLC0415 -- only without a daemon

    settings = load_settings()
    loaded = _loaded(gone, settings)
    show.note(f"{gone.message}: working without one")
    return asyncio.run(_work(settings, loaded, wish))


def _loaded(gone: DaemonGone, settings: Settings) -> Loaded:
    from rollbackd.config.diagnostics import ConfigRefused  # noqa: PLC0415 -- only without a daemon
    from rollbackd.config.load import load_directory  # noqa: PLC0415 -- as above

    if not settings.config.is_dir():
        raise gone  # neither a daemon nor what one is made from: this is another machine
    try:
        return load_directory(settings.config, settings=settings)
    except ConfigRefused as error:
        first = next(iter(error.diagnostics), None)
        raise ConfigError(
            f"the configuration is refused: {first}", hint="rollbackd check"
        ) from None


async def _work(settings: Settings, loaded: Loaded, wish: Wish) -> int:
    from rollbackd.daemon.hands import Hands  # noqa: PLC0415 -- the daemon is the whole house
    from rollbackd.telemetry import logging  # noqa: PLC0415 -- as above

    logging.configure("error")
    tell = _silent if wish.json else _tell
    async with Hands(settings=settings, loaded=loaded, clock=SystemClock(), tell=tell) as hands:
        name = hands.pick(wish.target)
        left = await hands.left_behind(name)
        order = left if left is not None else await _decided(hands, name, wish)
        if isinstance(order, Journal) and wish.to not in {None, order.plan.to_version}:
            raise Rejected(
                f"{order.plan.rollback} was left in the middle, on its way to"
                f" v{order.plan.to_version}",
                hint="without --to this command finishes it; then ask again",
            )
        plan = order.plan if isinstance(order, Journal) else await hands.plan(order)
        if wish.dry_run:
            wish.print_plan(shapes.plan(plan))
            return 1 if plan.refuses else 0
        wish.confirm(name, shapes.plan(plan))
        if isinstance(order, RollBack):
            order = replace(order, plan_hash=plan.hash)
        end = await (hands.go_on(order) if isinstance(order, Journal) else hands.carry_out(order))
    code = _print_end(end, json=wish.json)
    if not wish.json:
        queries(shapes.plan(plan))
    return code


async def _decided(hands: Hands, name: Any, wish: Wish) -> RollBack:
    by = f"{wish.by.strip() or whoami()}, no daemon alive"
    return await hands.decide(
        name, to=wish.to, plan=wish.plan, reason=wish.reason, by=by,
        to_migration=wish.to_migration, restore=wish.restore,
    )  # fmt: skip


def _print_end(end: JsonObject, *, json: bool) -> int:
    end = shapes.past(end)
    if json:
        show.as_json(end)
    else:
        outcome = end.get("outcome") or end.get("state")
        show.line(f"{end.get('id')}: {outcome} {end.get('detail') or ''}".rstrip(), style="bold")
        show.note("nobody watched: start the daemon, or look for yourself that users are well")
    return 0 if end.get("outcome") in _GOOD else 1


def _tell(event: str, words: dict[str, Any]) -> None:
    if event in _TOLD:
        error = f": {words['error']}" if words.get("error") else ""
        phase, step = words.get("phase", ""), words.get("step", "")
        show.line(f"  {phase!s:<18} {step}  {_TOLD[event]}{error}")


def _silent(_event: str, _words: dict[str, Any]) -> None:
    return None
