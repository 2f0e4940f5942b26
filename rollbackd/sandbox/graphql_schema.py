"""The part of Fly's GraphQL schema that clients of apps and releases use, over the world."""

from __future__ import annotations

from typing import Any

from rollbackd.sandbox import releases
from rollbackd.sandbox.errors import FlyError, GraphqlError
from rollbackd.sandbox.graphql_run import FieldType, Resolver, Types
from rollbackd.sandbox.ids import rfc3339
from rollbackd.sandbox.images import parse_image
from rollbackd.sandbox.objects import FlyApp, Machine, Release, Token
from rollbackd.sandbox.tokens import authorize
from rollbackd.sandbox.world import World

PAGE = 200


def _of(name: str, type_name: str = "") -> FieldType:
    return FieldType(resolve=lambda source, _: getattr(source, name), type=type_name)


def _key(name: str, type_name: str = "") -> FieldType:
    return FieldType(resolve=lambda source, _: source[name], type=type_name)


def _fixed(value: Any, type_name: str = "") -> FieldType:
    return FieldType(resolve=lambda *_: value, type=type_name)


def _calc(
    resolve: Resolver, type_name: str = "", *, takes: tuple[str, ...] = (), needs: str = ""
) -> FieldType:
    required = frozenset({needs} if needs else ())
    return FieldType(resolve=resolve, type=type_name, arguments=frozenset(takes), required=required)


PAGING = ("first", "last", "after", "before")


class Schema:
    """Types and roots for one caller."""

    def __init__(self, world: World, token: Token) -> None:
        self.world = world
        self.token = token
        self.roots: dict[str, Any] = {"Query": None, "Mutation": None}
        self.types: Types = {
            "Query": self._query(),
            "Mutation": self._mutation(),
            "App": self._app_type(),
            "Release": RELEASE | {"config": _calc(lambda r, _: r, "AppConfig")},
            "ReleaseUnprocessed": RELEASE | UNPROCESSED,
            **SMALL_TYPES,
        }

    def _query(self) -> dict[str, FieldType]:
        return {
            "app": _calc(lambda _, a: self._app(a.get("name")), "App", takes=("name",)),
            "apps": _calc(
                lambda _, a: self._apps(a),
                "AppConnection",
                takes=(*PAGING, "type", "organizationId", "role"),
            ),
            "machine": _calc(lambda _, a: self._machine(a), "GqlMachine", needs="machineId"),
            "organization": _calc(
                lambda _, a: self._org() if a.get("slug") == self.world.org else None,
                "Organization",
                takes=("slug", "id"),
            ),
            "latestImageDetails": _calc(
                lambda *_: _unknown_repository(),
                "ImageVersion",
                takes=("flyVersion",),
                needs="image",
            ),
        }

    def _mutation(self) -> dict[str, FieldType]:
        return {
            "createRelease": _calc(
                lambda _, a: self._create_release(a["input"]), "ReleasePayload", needs="input"
            ),
            "updateRelease": _calc(
                lambda _, a: self._update_release(a["input"]), "ReleasePayload", needs="input"
            ),
        }

    def _app_type(self) -> dict[str, FieldType]:
        newest = "ReleaseUnprocessed"
        return {
            "id": _of("id"),
            "internalNumericId": _of("number"),
            "name": _of("name"),
            "status": _of("status"),
            "deployed": _calc(lambda app, _: app.status == "deployed"),
            "hostname": _calc(lambda app, _: f"{app.name}.fly.dev"),
            "appUrl": _calc(lambda app, _: f"https://{app.name}.fly.dev"),
            "cnameTarget": _fixed(None),
            "network": _fixed("default"),
            "platformVersion": _fixed("machines"),
            "role": _fixed(None, "AppRole"),
            "organization": _calc(lambda *_: self._org(), "Organization"),
            "currentRelease": _calc(lambda app, _: app.newest_release(), "Release"),
            "currentReleaseUnprocessed": _calc(lambda app, _: app.newest_release(), newest),
            "release": _calc(_one_release, "Release", takes=("id", "version")),
            "releases": _calc(_releases, "ReleaseConnection", takes=(*PAGING, "status")),
            "releasesUnprocessed": _calc(
                _releases, "ReleaseUnprocessedConnection", takes=(*PAGING, "status")
            ),
            "image": _calc(_image, "Image", needs="ref"),
            "hostIssues": _fixed({"nodes": []}, "IssueConnection"),
            "egressIpAddresses": _fixed({"nodes": []}, "EgressConnection"),
        }

    def _app(self, name: str | None) -> FlyApp:
        app = self.world.apps.get(name or "")
        if app is None or (self.token.app is not None and self.token.app != app.name):
            raise GraphqlError("Could not find App", code="NOT_FOUND", path=["app"])
        return app

    def _apps(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """An empty cursor is no cursor: fly-go sends it for the first page."""
        after = arguments.get("after") or ""
        names = sorted(name for name in self.world.apps if name > after)
        visible = [name for name in names if self.token.app in {None, name}]
        page = visible[: min(int(arguments.get("first") or PAGE), PAGE)]
        more = len(visible) > len(page)
        info = {"hasNextPage": more, "endCursor": page[-1] if page else None}
        return {"nodes": [self.world.apps[name] for name in page], "pageInfo": info}

    def _machine(self, arguments: dict[str, Any]) -> dict[str, Any]:
        for app in self.world.apps.values():
            machine: Machine | None = app.machines.get(arguments["machineId"])
            if machine is not None and self.token.app in {None, app.name}:
                return {"id": machine.id, "name": machine.name, "app": app}
        raise GraphqlError("Could not find Machine", code="NOT_FOUND", path=["machine"])

    def _org(self) -> dict[str, Any]:
        slug = self.world.org
        return {"id": "org1", "slug": slug, "rawSlug": slug, "name": slug}

    def _create_release(self, words: dict[str, Any]) -> dict[str, Any]:
        app = self._app(words.get("appId"))
        self._may_write(app)
        try:
            release = releases.create(
                self.world,
                app,
                image=str(words.get("image")),
                strategy=str(words.get("strategy") or "ROLLING"),
                definition=words.get("definition"),
                user=self.token.user,
            )
        except FlyError as refusal:
            raise GraphqlError(refusal.text, code="UNPROCESSABLE") from refusal
        return {"release": release}

    def _update_release(self, words: dict[str, Any]) -> dict[str, Any]:
        release = releases.find(self.world, str(words.get("releaseId")))
        if release is None:
            raise GraphqlError("Could not find Release", code="NOT_FOUND")
        self._may_write(self._app(release.app))
        try:
            releases.update(
                self.world,
                release,
                status=str(words.get("status")),
                metadata=words.get("metadata"),
            )
        except FlyError as refusal:
            raise GraphqlError(refusal.text, code="UNPROCESSABLE") from refusal
        return {"release": release}

    def _may_write(self, app: FlyApp) -> None:
        try:
            authorize(self.token, app=app.name, write=True)
        except FlyError as refusal:
            raise GraphqlError("Not authorized", code="UNAUTHORIZED") from refusal


def _releases(app: FlyApp, arguments: dict[str, Any]) -> dict[str, Any]:
    found = releases.unordered(app, len(app.releases))
    if arguments.get("status"):
        found = [release for release in found if release.status == arguments["status"]]
    limit = int(arguments.get("first") or arguments.get("last") or PAGE)
    newest = sorted(found, key=lambda release: -release.version)[:limit]
    return {"nodes": [release for release in found if release in newest]}


def _one_release(app: FlyApp, arguments: dict[str, Any]) -> Release | None:
    wanted = (arguments.get("version"), arguments.get("id"))
    return next((r for r in app.releases if r.version == wanted[0] or r.id == wanted[1]), None)


def _image(app: FlyApp, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """None for an image that was pruned. The reference comes back as it was asked for."""
    image = parse_image(arguments["ref"], app=app.name)
    if app.gone_images & {image.ref, image.tag, image.digest}:
        return None
    return {
        "id": f"img_{image.digest[7:23]}",
        "digest": image.digest,
        "ref": arguments["ref"],
        "compressedSizeFull": "136314880",
        "compressedSize": 136314880,
        "manifest": {"schemaVersion": 2},
    }


def _unknown_repository() -> None:
    raise GraphqlError("Unknown repository", code="NOT_FOUND", path=["latestImageDetails"])


def _user(release: Release, _: dict[str, Any]) -> dict[str, Any]:
    return {"id": "user1", "email": release.user, "name": release.user.partition("@")[0]}


RELEASE: dict[str, FieldType] = {
    "id": _of("id"),
    "version": _of("version"),
    "description": _of("description"),
    "reason": _of("reason"),
    "status": _of("status"),
    "stable": _of("stable"),
    "imageRef": _of("image_ref"),
    "metadata": _of("metadata"),
    "revertedTo": _of("reverted_to"),
    "evaluationId": _fixed(None),
    "deploymentStrategy": _of("strategy"),
    "inProgress": _calc(lambda release, _: release.status in {"pending", "running"}),
    "user": _calc(_user, "User"),
    "createdAt": _calc(lambda release, _: rfc3339(release.created_at)),
    "updatedAt": _calc(lambda release, _: rfc3339(release.updated_at)),
}
UNPROCESSED = {"configDefinition": _of("definition")}
NAMES = {name: _key(name) for name in ("id", "name")}
IMAGE = ("id", "digest", "ref", "compressedSizeFull", "compressedSize", "manifest")
ISSUE = ("internalId", "message", "createdAt", "updatedAt")
EGRESS = ("id", "ip", "version", "region", "updatedAt")
SMALL_TYPES: Types = {
    "AppConfig": {
        "definition": _of("definition"),
        "errors": _fixed([]),
        "valid": _fixed(True),
    },
    "Organization": NAMES
    | {"slug": _key("slug"), "rawSlug": _key("rawSlug"), "internalNumericId": _fixed("1")}
    | {"paidPlan": _fixed(False), "type": _fixed("PERSONAL"), "billable": _fixed(True)},
    "User": NAMES | {"email": _key("email")},
    "GqlMachine": NAMES | {"app": _key("app", "App")},
    "AppRole": {"name": _key("name")},
    "AppConnection": {"nodes": _key("nodes", "App"), "pageInfo": _key("pageInfo", "PageInfo")},
    "PageInfo": {"hasNextPage": _key("hasNextPage"), "endCursor": _key("endCursor")},
    "ReleaseConnection": {"nodes": _key("nodes", "Release")},
    "ReleaseUnprocessedConnection": {"nodes": _key("nodes", "ReleaseUnprocessed")},
    "ReleasePayload": {"release": _key("release", "ReleaseUnprocessed")},
    "Image": {name: _key(name) for name in IMAGE},
    "ImageVersion": {n: _key(n) for n in ("registry", "repository", "tag", "version", "digest")},
    "IssueConnection": {"nodes": _key("nodes", "Issue")},
    "Issue": {name: _key(name) for name in ISSUE},
    "EgressConnection": {"nodes": _key("nodes", "Egress")},
    "Egress": {name: _key(name) for name in EGRESS},
}
