"""The internal REST API of releases, organizations, builds and logs that flyctl speaks."""

from __future__ import annotations

from starlette.routing import BaseRoute

from rollbackd.sandbox import releases, views
from rollbackd.sandbox.calls import Answer, Call, Function, route
from rollbackd.sandbox.errors import FlyError
from rollbackd.sandbox.ids import rfc3339
from rollbackd.sandbox.objects import Release, TokenKind
from rollbackd.sandbox.tokens import Backend, authorize

LOGS_PER_PAGE = 200


async def list_releases(call: Call) -> Answer:
    limit = call.number("limit", default=25, most=200)
    return {"releases": [views.release(one) for one in releases.unordered(call.app, limit)]}


async def current_release(call: Call) -> Answer:
    newest = call.app.newest_release()
    if newest is None:
        raise FlyError(404, "no release")
    return views.release(newest)


async def all_current(call: Call) -> Answer:
    newest = {name: app.newest_release() for name, app in call.world.apps.items()}
    return {name: rfc3339(one.created_at) for name, one in newest.items() if one}


async def create_release(call: Call) -> Answer:
    body = call.body
    app = call.world.app(str(body.get("app_name")))
    authorize(call.token, app=app.name, write=True)
    if not body.get("image"):
        raise FlyError(422, "image is required")
    release = releases.create(
        call.world,
        app,
        image=str(body["image"]),
        strategy=str(body.get("strategy") or "ROLLING"),
        definition=body.get("definition"),
        user=call.token.user,
    )
    return {"release": views.release(release)}


async def update_release(call: Call) -> Answer:
    release = _release(call)
    status = str(call.body.get("status") or release.status)
    releases.update(call.world, release, status=status, metadata=call.body.get("metadata"))
    return {"release": views.release(release)} | views.release(release)


def _release(call: Call) -> Release:
    release = releases.find(call.world, call.request.path_params["release"])
    if release is None:
        raise FlyError(404, "release not found")
    authorize(call.token, app=release.app, write=True)
    return release


async def get_organization(call: Call) -> Answer:
    slug = call.request.path_params["slug"]
    if slug != call.world.org:
        raise FlyError(404, "organization not found")
    number = {"internal_numeric_id": 1, "billable": True, "paid_plan": False}
    return {"organization": {"id": "org1", "slug": slug, "name": slug, "raw_slug": slug} | number}


async def create_build(_call: Call) -> Answer:
    return {"id": 1, "status": "started"}


async def finish_build(call: Call) -> Answer:
    return {"id": int(call.body.get("build_id") or 1), "status": "completed"}


async def read_logs(call: Call) -> Answer:
    """A deploy token may not read logs."""
    if call.token.kind is TokenKind.DEPLOY:
        raise FlyError(403, "not authorized to retrieve app logs")
    wanted, after = call.query("instance"), call.query("next_token") or ""
    entries = [entry for entry in call.app.logs if entry["id"] > after]
    if wanted:
        entries = [entry for entry in entries if entry["attributes"]["instance"] == wanted]
    page = entries[-LOGS_PER_PAGE:]
    return {"data": page, "meta": {"next_token": page[-1]["id"] if page else after}}


RELEASES = "/api/v1/apps/{app}/releases"


def _route(method: str, path: str, function: Function, *, write: bool = False) -> BaseRoute:
    return route(method, path, function, backend=Backend.RELEASES, write=write, limited=False)


ROUTES: list[BaseRoute] = [
    _route("GET", "/api/v1/releases/all_current", all_current),
    _route("GET", RELEASES + "/current", current_release),
    _route("GET", RELEASES, list_releases),
    _route("POST", "/api/v1/releases", create_release, write=True),
    _route("PATCH", "/api/v1/releases/{release}", update_release, write=True),
    _route("GET", "/api/v1/organizations/{slug}", get_organization),
    _route("POST", "/api/v1/builds", create_build),
    _route("POST", "/api/v1/builds/finish", finish_build),
    route(
        "GET",
        "/api/v1/apps/{app}/logs",
        read_logs,
        backend=Backend.MACHINES,
        limited=False,
    ),
]
