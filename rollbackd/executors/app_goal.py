"""Resolves what to go back to: image by digest, app config, and each group's machine config.

Refuses rather than guesses: no image, no plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollbackd.core.errors import ImageMissing, RollbackdError, Superseded
from rollbackd.core.model import JsonObject, RollBack
from rollbackd.fly.config_restore import reimaged, restored
from rollbackd.fly.content import digest_or_ref, pin
from rollbackd.fly.json_shape import object_at, text_at, whole_at
from rollbackd.fly.machine_view import config_of, group_of
from rollbackd.fly.platform import FlyPlatform


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """`groups` empty: nobody knows which groups the good release had, so all count as its own."""

    image: str
    definition: JsonObject
    bad_definition: JsonObject
    groups: frozenset[str]
    notes: tuple[str, ...]


async def resolve_goal(platform: FlyPlatform, decision: RollBack) -> Goal:
    """Raises PlanRefused (image missing) and Superseded (a newer release is there)."""
    notes: list[str] = []
    records = await _history(platform, notes)
    newest = max((whole_at(record, "version") or 0 for record in records), default=0)
    known = known_newest(decision)
    if newest > known:
        raise Superseded(
            f"release v{newest} appeared after v{known}",
            hint="somebody is deploying: this rollback stands back",
        )
    good = _definition(records, decision.good.version)
    groups = platform.ledger.groups(decision.good.version)
    if good:
        groups |= frozenset(object_at(good, "processes")) or frozenset({"app"})
    return Goal(
        image=await _image(platform, decision, notes),
        definition=good,
        bad_definition=_definition(records, decision.bad.version),
        groups=groups,
        notes=tuple(notes),
    )


def known_newest(decision: RollBack) -> int:
    """The newest release that existed when it was decided; one above means somebody deployed."""
    return max(decision.bad.version, decision.later_version or 0)


async def machine_config(
    platform: FlyPlatform, decision: RollBack, goal: Goal, machine: JsonObject
) -> tuple[JsonObject, str]:
    """The config to give a machine, and a note where it is not the whole one."""
    current, group = config_of(machine), group_of(machine)
    good = await platform.ledger.config(decision.good.version, group)
    if good is not None:
        return restored(current, good, image=goal.image, marks={}), ""
    if not goal.definition or goal.definition == goal.bad_definition:
        return reimaged(current, image=goal.image, marks={}), ""
    config = reimaged(current, image=goal.image, marks={}, env=object_at(goal.definition, "env"))
    note = (
        f"group {group}: only image and environment go back; nobody kept the machine config"
        f" of v{decision.good.version}"
    )
    return config, note


async def _history(platform: FlyPlatform, notes: list[str]) -> list[JsonObject]:
    try:
        return await platform.history()
    except RollbackdError as error:
        notes.append(f"the app configs of the releases could not be read: {error.message}")
        return await platform.records()


def _definition(records: Sequence[JsonObject], version: int) -> JsonObject:
    matching = (record for record in records if whole_at(record, "version") == version)
    return object_at(next(matching, {}), "configDefinition")


async def _image(platform: FlyPlatform, decision: RollBack, notes: list[str]) -> str:
    """The good release's image by digest. What it ran counts, not what its tag means now."""
    ref = decision.good.image
    ran = platform.ledger.image(decision.good.version)
    try:
        found = await platform.client.image(platform.app, pin(ref, ran) if ran else ref)
        if found is None and ran:
            found = await platform.client.image(platform.app, ref)
    except RollbackdError as error:
        if not ran:
            raise
        notes.append(f"nobody could say whether the image is still there: {error.message}")
        return pin(ref, ran)
    digest = text_at(found, "digest") if found else ""
    if found is None or (ran and digest and digest != ran):
        raise ImageMissing(
            f"image missing: {ref} of v{decision.good.version} is not in the registry any more",
            hint="go back to another release, or build this one again and deploy it",
        )
    pinned = pin(ref, ran or digest)
    if digest_or_ref(pinned) == pinned:
        notes.append(f"the image could not be pinned by digest: {ref}")
    return pinned
