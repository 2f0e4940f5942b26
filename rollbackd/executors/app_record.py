"""The release record of a rollback: what `fly releases` shows, and what later deploys build on.

A record is looked for before it is posted again. Where the releases API refuses or is gone the
rollback goes on without one: machines matter more, and the result says "degraded".
"""

from __future__ import annotations

import asyncio
import contextlib

from rollbackd.core.errors import (
    Ambiguous,
    Fenced,
    NotFound,
    Rejected,
    RollbackdError,
    Stopped,
    Superseded,
    TemporaryError,
    Unauthorized,
)
from rollbackd.core.model import JsonObject
from rollbackd.core.ports import Observation, Seen, Store
from rollbackd.core.runbook import Plan
from rollbackd.fly.json_shape import object_at, text_at, whole_at
from rollbackd.fly.platform import FlyPlatform

_NAME = "rollbackd/0.1"
_PATIENCE_SECONDS = 20.0  # users are hurt meanwhile: the machines matter more than the record
_LAST_LOOK_SECONDS = 3.0


class ReleaseRecord:
    """Finds, writes and closes the record of one rollback."""

    def __init__(self, platform: FlyPlatform, store: Store) -> None:
        self._platform = platform
        self._store = store

    async def still_newest(self, plan: Plan) -> None:
        """Raise Superseded when the newest release is none the plan knew of, and not ours."""
        try:
            newest = await self._platform.current_version()
        except (NotFound, Rejected, Unauthorized):
            return  # the releases API is gone: each machine's own version still guards it
        if newest is None or newest <= _known_newest(plan):
            return
        kept = object_at(await self._store.get_blob(_key(plan)))
        ours = kept or await self._found(plan)
        if whole_at(ours, "version") == newest or await self._posted_late(plan, newest):
            return
        raise Superseded(
            f"release v{newest} of {self._platform.app} appeared after v{_known_newest(plan)}",
            hint="somebody is deploying: this rollback stands back",
        )

    async def _posted_late(self, plan: Plan, version: int) -> bool:
        """Whether the release is a record of ours that one who was frozen posted when it woke.
        Nobody carries it out: a person's deploy of the same image would run by now, or soon.
        """
        image = text_at(plan.settings, "image")
        return any(
            whole_at(record, "version") == version
            and _image(record) == image
            and text_at(record, "status") == "pending"
            for record in await self._platform.records()
        )

    async def observe(self, plan: Plan) -> Observation:
        ours = await self._found(plan)
        if ours:
            return Observation(seen=Seen.DONE, result=_result(ours))
        given_up = object_at(await self._store.get_blob(_given_up_key(plan)))
        return Observation(seen=Seen.DONE if given_up else Seen.NOT_DONE, result=given_up)

    async def write(self, plan: Plan) -> JsonObject:
        """Post the record unless it is there. Never fails for the sake of the record."""
        record, why = await self._found_or_posted(plan)
        record = record or await self._posted_after_all(plan)
        if record:  # the store's own trouble is no reason to go on without it
            await self._store.put_blob(_key(plan), _result(record))
            return _result(record)
        given_up: JsonObject = {"degraded": "no release record", "why": why}
        await self._store.put_blob(_given_up_key(plan), given_up)
        return given_up

    async def _found_or_posted(self, plan: Plan) -> tuple[JsonObject, str]:
        """The record, or {} and why there is none."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                for _ in range(2):  # once more after an ambiguous answer that left no record
                    with contextlib.suppress(Ambiguous):
                        return await self._found(plan) or await self._post(plan), ""
        except (Stopped, Fenced):
            raise
        except TimeoutError:
            return {}, f"no answer within {_PATIENCE_SECONDS:g} s"
        except RollbackdError as error:
            return {}, error.message
        return {}, "the answers were ambiguous"

    async def _posted_after_all(self, plan: Plan) -> JsonObject:
        """What took effect although its answer never came: a short look tells."""
        try:
            async with asyncio.timeout(_LAST_LOOK_SECONDS):
                return await self._found(plan)
        except (Stopped, Fenced):
            raise
        except (TimeoutError, RollbackdError):
            return {}

    async def marks(self, plan: Plan) -> dict[str, str]:
        """The release metadata of a machine: our record's, or without one the good release's."""
        kept = object_at(await self._store.get_blob(_key(plan)))
        source = kept or object_at(plan.settings, "good")
        return {
            "fly_release_id": text_at(source, "id"),
            "fly_release_version": text_at(source, "version"),
        }

    async def observe_status(self, plan: Plan, status: str) -> Observation:
        ours = await self._found(plan)
        if not ours:
            return Observation(seen=Seen.DONE, detail="there is no release record")
        found = text_at(ours, "status")
        done = found == status or (status == "running" and found == "complete")
        return Observation(seen=Seen.DONE if done else Seen.NOT_DONE)

    async def set_status(self, plan: Plan, status: str, *, error: str = "") -> JsonObject:
        """Set the record's status. A refusal is told, not raised: the machines are what counts."""
        release = text_at(await self._store.get_blob(_key(plan)), "id")
        if not release:
            return {"degraded": "no release record"}
        metadata: JsonObject | None = None
        if status != "running":
            metadata = {"post_deployment_info": {"flyctl_version": _NAME, "error": error}}
        try:
            await self._platform.client.patch_release(release, status, metadata)
        except (Stopped, Fenced):
            raise
        except TemporaryError:
            try:
                await self._platform.client.patch_release(release, status, metadata)  # safe twice
            except TemporaryError as second:
                return {"degraded": "release status not set", "why": second.message}
        except RollbackdError as refused:
            return {"degraded": "release status not set", "why": refused.message}
        return {"status": status}

    async def _post(self, plan: Plan) -> JsonObject:
        definition = await self._store.get_blob(text_at(plan.settings, "definition_key"))
        body: JsonObject = {
            "app_name": self._platform.app,
            "build_id": 0,
            "definition": object_at(definition),
            "image": text_at(plan.settings, "image"),
            "strategy": text_at(plan.settings, "strategy").upper(),
        }
        return await self._platform.client.create_release(body)

    async def _found(self, plan: Plan) -> JsonObject:
        """Our record: by the id we kept, else one after the bad release with our pinned image."""
        kept = object_at(await self._store.get_blob(_key(plan)))
        if kept:
            return kept | await self._live(text_at(kept, "id"))
        image = text_at(plan.settings, "image")
        for record in await self._platform.records():
            later = (whole_at(record, "version") or 0) > _known_newest(plan)
            ref = text_at(record, "image_ref") or text_at(record, "imageRef")
            if later and image and ref == image:
                await self._store.put_blob(_key(plan), _result(record))
                return record
        return {}

    async def _live(self, release: str) -> JsonObject:
        try:
            records = await self._platform.records()
        except RollbackdError:
            return {}
        return next((record for record in records if text_at(record, "id") == release), {})


def _known_newest(plan: Plan) -> int:
    return whole_at(plan.settings, "newest_version") or plan.from_version


def _image(record: JsonObject) -> str:
    return text_at(record, "image_ref") or text_at(record, "imageRef")


def _result(record: JsonObject) -> JsonObject:
    return {"id": text_at(record, "id"), "version": whole_at(record, "version")}


def _key(plan: Plan) -> str:
    return f"fly/record/{plan.rollback}"


def _given_up_key(plan: Plan) -> str:
    return f"fly/record/{plan.rollback}/given-up"
