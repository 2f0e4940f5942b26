"""What stands beside the numbers of a target, for `status` and `explain`. It judges nothing."""

from __future__ import annotations

from collections.abc import Iterator

from rollbackd.cli import show
from rollbackd.core.model import Json, JsonObject

STOPPED = "a STOP file is in the state directory: nothing is sent until it is removed"


def beside(answer: JsonObject) -> Iterator[str]:
    """The rollback that runs, what people set, an old acquaintance, what is learned."""
    rollback = answer.get("rollback")
    if isinstance(rollback, dict):
        since = show.ago(rollback.get("started_at"))
        yield f"rollback {rollback.get('id')} runs, begun {since}, {rollback.get('cause')}"
    if answer.get("stopped"):
        yield STOPPED
    if answer.get("paused"):
        yield str(answer["paused"])
    if answer.get("locked_out"):
        yield f"locked out: {answer.get('locked_why')}; look at it, then rollbackd unlock"
    if answer.get("mode_set"):
        yield f"mode {answer['mode_set']}"
    yield from _release(answer)
    for each in _list(answer.get("learning")):
        yield str(each)
    if answer.get("trial"):
        yield f"{answer['trial']} (see rollbackd history)"


def _release(answer: JsonObject) -> Iterator[str]:
    """What is known against the release that runs."""
    release = answer.get("release")
    if answer.get("relapse"):
        yield f"the current release {answer['relapse']}"
    elif isinstance(release, dict) and release.get("standing") == "quarantined":
        yield f"the current release v{release.get('version')} is quarantined: {release.get('why')}"


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
