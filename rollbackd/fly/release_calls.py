"""The calls on releases, images and logs. One method a call; judges nothing.

`/api/v1` is undocumented (known from flyctl's source); GraphQL is its fallback for reading.
"""

from __future__ import annotations

from rollbackd.core.errors import NotFound, TemporaryError
from rollbackd.core.model import Json, JsonObject
from rollbackd.fly import queries
from rollbackd.fly.errors import graphql_error
from rollbackd.fly.json_shape import object_at, objects_at, text_at
from rollbackd.fly.ratelimit import LOOK
from rollbackd.fly.wire import Api, Call, Wire

_MUTATION_SECONDS = 30.0


class ReleaseCalls:
    """What can be asked of `/api/v1` and `/graphql`."""

    wire: Wire

    async def releases(self, app: str, limit: int = 25) -> list[JsonObject]:
        """Releases over REST, in no promised order, without their app config."""
        endpoint = "/api/v1/apps/{app}/releases"
        call = Call(
            api=Api.RELEASES,
            method="GET",
            endpoint=endpoint,
            fills={"app": app},
            turn=("releases", app),
            query={"limit": limit},
            rate=LOOK,
        )
        found = await self.wire.send(call)
        if not isinstance(found, dict) or not isinstance(found.get("releases"), list):
            raise TemporaryError(f"the releases of {app} did not come as a list")
        return objects_at(found, "releases")

    async def current_release(self, app: str) -> JsonObject | None:
        """The newest release over REST; None when the app was never deployed."""
        call = Call(
            api=Api.RELEASES,
            method="GET",
            endpoint="/api/v1/apps/{app}/releases/current",
            fills={"app": app},
            turn=("current_release", app),
            rate=LOOK,
        )
        try:
            return object_at(await self.wire.send(call))
        except NotFound:
            return None

    async def release_history(self, app: str, limit: int = 25) -> list[JsonObject]:
        """Releases over GraphQL, each with its `configDefinition`."""
        found = await self._graphql(queries.RELEASES, {"app": app, "n": limit}, app)
        if not object_at(found, "app"):
            raise NotFound(f"app {app} is not there, or the token does not cover it")
        return objects_at(found, "app", "releases", "nodes")

    async def newest_release(self, app: str) -> JsonObject | None:
        """The newest release over GraphQL; None when there is none."""
        found = await self._graphql(queries.CURRENT, {"app": app}, app)
        return object_at(found, "app", "currentRelease") or None

    async def image(self, app: str, ref: str) -> JsonObject | None:
        """What an image ref points to now; None when it is gone."""
        try:
            found = await self._graphql(queries.IMAGE, {"appName": app, "imageRef": ref}, app)
        except NotFound:
            return None
        return object_at(found, "app", "image") or None

    async def logs(self, app: str, machine: str) -> list[str]:
        """The newest log lines of a machine. Deploy tokens may be refused (Unauthorized)."""
        call = Call(
            api=Api.LOGS,
            method="GET",
            endpoint="/api/v1/apps/{app}/logs",
            fills={"app": app},
            turn=("logs", app),
            query={"instance": machine},
            rate=LOOK,
        )
        found = await self.wire.send_once(call)
        return [text_at(entry, "attributes", "message") for entry in objects_at(found, "data")]

    async def create_release(self, body: JsonObject) -> JsonObject:
        """Write a release record. Not idempotent: look for it before sending it again."""
        call = Call(
            api=Api.RELEASES,
            method="POST",
            endpoint="/api/v1/releases",
            turn=("create_release", text_at(body, "app_name")),
            body=body,
            mutates=True,
            timeout_seconds=_MUTATION_SECONDS,
        )
        found = await self.wire.send(call)
        return object_at(found, "release") or object_at(found)

    async def patch_release(self, release: str, status: str, metadata: Json) -> None:
        """Set a release's status. Safe twice."""
        call = Call(
            api=Api.RELEASES,
            method="PATCH",
            endpoint="/api/v1/releases/{release}",
            fills={"release": release},
            turn=("patch_release", release),
            body={"status": status, "metadata": metadata},
            mutates=True,
            timeout_seconds=_MUTATION_SECONDS,
        )
        await self.wire.send(call)

    async def _graphql(self, query: str, variables: JsonObject, app: str) -> JsonObject:
        call = Call(
            api=Api.GRAPHQL,
            method="POST",
            endpoint="/graphql",
            turn=("graphql", app),
            body={"query": query, "variables": variables},
            rate=LOOK,
        )
        found = await self.wire.send(call)
        errors = object_at(found).get("errors")
        if errors:
            raise graphql_error(f"GraphQL for {app}", errors, "")
        return object_at(found, "data")
