"""One app as Fly shows it: releases, machines, and what our token is good for.

Fits `core.ports.Platform`. Looks only; what changes Fly is in `executors.app`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from rollbackd.core.errors import NotFound, Rejected, RollbackdError, TemporaryError, Unauthorized
from rollbackd.core.model import JsonObject, Machine, Release, ReleaseStatus
from rollbackd.core.ports import Clock, TokenReport
from rollbackd.fly.client import FlyClient
from rollbackd.fly.json_shape import text_at, whole_at
from rollbackd.fly.ledger import Keep, Ledger, newest_by_group
from rollbackd.fly.machine_view import config_of, health_paths_of, managed, release_of, view
from rollbackd.fly.release_view import recipe_of, release_view
from rollbackd.fly.token_look import look_at_token

_LIMIT = 25
_WANTED = 10  # of so many releases the content is searched for in the machines' history
_FRESH_SECONDS = 5.0  # releases() may judge by a list of machines this old
_HISTORY_PAUSE_SECONDS = 60.0  # between tries of a GraphQL that refuses us


class FlyPlatform:
    """One app. `own_app` is the app we run in: refused as a target. `keep` outlives us."""

    def __init__(
        self,
        app: str,
        client: FlyClient,
        clock: Clock,
        own_app: str | None = None,
        keep: Keep | None = None,
    ) -> None:
        self.app = app
        self.client = client
        self.ledger = Ledger(app, client, keep)
        self._clock = clock
        self.is_own_app = own_app == app
        self._fleet: tuple[float, list[JsonObject]] | None = None
        self._newest: int | None = None
        self._history_after = 0.0

    async def releases(self) -> tuple[Release, ...]:
        """Newest version first; empty when the app was never deployed."""
        records = await self.records()
        if not records:
            return ()
        machines = await self.recent_fleet()
        newest = self._newest = whole_at(records[0], "version")
        await self._describe(records)
        await self.ledger.learn(machines)
        await self.ledger.dig(machines, _complete(records)[:_WANTED])
        await self.ledger.resolve([_ref(record) for record in records[:_WANTED]])
        others = newest_by_group(machines)
        if newest is not None and text_at(records[0], "status") != ReleaseStatus.RUNNING:
            await self.ledger.freeze(newest, others)
        views = (self._view(record, others) for record in records)
        return tuple(release for release in views if release is not None)

    async def machines(self) -> tuple[Machine, ...]:
        """All that deploys look after, in Fly's order; empty only when there is none."""
        return await self._views(await self.fleet())

    async def recent_machines(self, max_age_seconds: float) -> tuple[Machine, ...]:
        """As `machines`, but at most so old: the list may be asked for once a second only."""
        return await self._views(await self.recent_fleet(max_age_seconds))

    async def _views(self, machines: Sequence[JsonObject]) -> tuple[Machine, ...]:
        await self.ledger.learn(machines)
        others, now = newest_by_group(machines), self._clock.now()
        return tuple(
            view(
                machine,
                content=self.ledger.content_of(
                    machine, self._left_alone(release_of(machine), others)
                ),
                now=now,
            )
            for machine in machines
        )

    async def current_version(self) -> int | None:
        """None only when GraphQL agrees: a 404 of REST may also mean that it is gone."""
        current = None
        with contextlib.suppress(Rejected, TemporaryError, Unauthorized):
            current = await self.client.current_release(self.app)
        if current is None:
            current = await self.client.newest_release(self.app)
        return whole_at(current, "version")

    async def token_report(self) -> TokenReport:
        return await look_at_token(self.client, self.app, is_own_app=self.is_own_app)

    async def fleet(self) -> list[JsonObject]:
        """The managed machines as Fly's JSON, leases included, asked for now."""
        found = [one for one in await self.client.list_machines(self.app) if managed(one)]
        self._fleet = (self._clock.monotonic(), found)
        return found

    async def health_paths(self) -> tuple[str, ...]:
        """The paths of the app's own HTTP checks, those of services first."""
        paths: dict[str, None] = {}
        for machine in await self.recent_fleet():
            paths |= dict.fromkeys(health_paths_of(config_of(machine)))
        return tuple(paths)

    async def history(self) -> list[JsonObject]:
        """Release records with their app config, newest first. Raises where GraphQL refuses."""
        return _newest_first(await self.client.release_history(self.app, _LIMIT))

    async def records(self) -> list[JsonObject]:
        """Release records, newest first: REST, or GraphQL where REST refuses or is gone."""
        try:
            found = await self.client.releases(self.app, _LIMIT)
        except (NotFound, Rejected, TemporaryError, Unauthorized) as error:
            try:
                found = await self.client.release_history(self.app, _LIMIT)
            except RollbackdError as second:
                raise error from second
        return _newest_first(found)

    async def recent_fleet(self, seconds: float = _FRESH_SECONDS) -> list[JsonObject]:
        """As `fleet`, but at most `seconds` old: the list may be asked for once a second only."""
        if self._fleet is not None and self._clock.monotonic() - self._fleet[0] < seconds:
            return self._fleet[1]
        return await self.fleet()

    async def _describe(self, records: Sequence[JsonObject]) -> None:
        """Have the app config of every release once; it never changes."""
        versions = [whole_at(record, "version") or 0 for record in records]
        now = self._clock.monotonic()
        if all(self.ledger.described(version) for version in versions):
            return
        if now < self._history_after:
            return
        self._history_after = now + _HISTORY_PAUSE_SECONDS
        try:
            history = await self.client.release_history(self.app, _LIMIT)
        except RollbackdError:
            return  # contents stay coarser; the releases themselves are known
        self._history_after = 0.0
        for record in history:
            self.ledger.describe(whole_at(record, "version") or 0, recipe_of(record))

    def _view(self, record: JsonObject, others: Mapping[str, str]) -> Release | None:
        version = whole_at(record, "version")
        if version is None:
            return None
        left_alone = self._left_alone(version, others)
        content = self.ledger.content(version, _ref(record), left_alone)
        return release_view(record, content=content, commit=self.ledger.commit(version))

    def _left_alone(self, version: int | None, others: Mapping[str, str]) -> Mapping[str, str]:
        """Only the newest release is rolling out: groups it did not reach yet are as they are."""
        return others if version is not None and version == self._newest else {}


def _newest_first(records: Sequence[JsonObject]) -> list[JsonObject]:
    return sorted(records, key=lambda one: whole_at(one, "version") or 0, reverse=True)


def _ref(record: JsonObject) -> str:
    return text_at(record, "image_ref") or text_at(record, "imageRef")


def _complete(records: Sequence[JsonObject]) -> list[int]:
    return [
        whole_at(record, "version") or 0
        for record in records
        if text_at(record, "status") == ReleaseStatus.COMPLETE
    ]
