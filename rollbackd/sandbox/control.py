"""The control surface of the sandbox itself; Fly has no such thing, so it needs no token."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from rollbackd.sandbox.calls import read_body
from rollbackd.sandbox.errors import FlyError
from rollbackd.sandbox.objects import FlyApp, Machine
from rollbackd.sandbox.orders import Order
from rollbackd.sandbox.platform import Platform
from rollbackd.sandbox.proxy import routable

Control = Callable[[Platform, dict[str, Any]], Awaitable[Any]]
ORDER_WORDS = frozenset(f.name for f in dataclasses.fields(Order))
APP_WORDS = frozenset({"idle_seconds", "refuse_capacity"})
SETTING_WORDS = frozenset({"lag_seconds", "split_proxy", "boot_seconds", "scrape_seconds"})


async def show_effects(platform: Platform, _body: dict[str, Any]) -> Any:
    return {"effects": [dataclasses.asdict(effect) for effect in platform.world.effects]}


async def show_apps(platform: Platform, _body: dict[str, Any]) -> Any:
    return {"apps": [_app(platform, app) for app in platform.world.apps.values()]}


def _app(platform: Platform, app: FlyApp) -> dict[str, Any]:
    newest = app.newest_release()
    return {
        "name": app.name,
        "proxy_url": platform.proxy_urls[app.name],
        "release": newest.version if newest else None,
        "machines": [_machine(machine) for machine in app.alive()],
    }


def _machine(machine: Machine) -> dict[str, Any]:
    """With its private address, which stands for `<id>.vm.<app>.internal`."""
    url = f"http://127.0.0.1:{machine.port}"
    return {
        "id": machine.id,
        "state": machine.state,
        "url": url,
        "metrics_url": f"{url}/metrics",
        "image": machine.config["image"],
        "version": machine.version,
        "routable": routable(machine),
        "cordoned": machine.cordoned,
        "pid": machine.pid,
    }


async def make_app(platform: Platform, body: dict[str, Any]) -> Any:
    """A new app with machines, or a change to one that exists."""
    name = str(body.get("app") or body.get("name") or "")
    app = platform.world.apps.get(name)
    if app is None:
        app = platform.new_app(name)
        platform.populate(
            app,
            image=str(body.get("image") or "good"),
            machines=int(body.get("machines", 3)),
            port=int(body.get("port", 8080)),
            autostop=bool(body.get("autostop")),
            config=body.get("config"),
        )
    for word in APP_WORDS & set(body):
        setattr(app, word, body[word])
    if "dependency_down" in body:
        dependency = platform.dependencies[name]
        await (dependency.down() if body["dependency_down"] else dependency.up())
    app.gone_images |= set(body.get("gone_images") or [])
    for machine_id, host_status in (body.get("host_status") or {}).items():
        platform.world.machine(name, machine_id).host_status = host_status
    return _app(platform, app)


async def begin_deploy(platform: Platform, body: dict[str, Any]) -> Any:
    """`fly deploy`; with `wait` the answer comes when it is over."""
    app = platform.world.app(str(body.pop("app", "")) or next(iter(platform.world.apps)))
    wait = bool(body.pop("wait", False))
    _only(body, ORDER_WORDS)
    deploy = platform.deployer.begin(app, Order(**body))
    if wait and deploy.task is not None:
        await deploy.task
    return deploy.wire()


async def set_traffic(platform: Platform, body: dict[str, Any]) -> Any:
    app = platform.world.app(str(body.get("app")) if body.get("app") else _first(platform))
    rate, path = float(body.get("rate", 0)), str(body.get("path") or "/")
    return platform.traffic.set(app, rate=rate, path=path).wire()


def _first(platform: Platform) -> str:
    return next(iter(platform.world.apps))


async def show_traffic(platform: Platform, _body: dict[str, Any]) -> Any:
    return {"traffic": [flow.wire() for flow in platform.traffic.flows.values()]}


async def add_fault(platform: Platform, body: dict[str, Any]) -> Any:
    if body.get("clear"):
        platform.faults.clear()
        return {"faults": []}
    try:
        return platform.faults.add(**body).wire()
    except (TypeError, ValueError) as error:
        raise FlyError(400, str(error)) from error


async def show_faults(platform: Platform, _body: dict[str, Any]) -> Any:
    return {"faults": [fault.wire() for fault in platform.faults.faults]}


async def move_clock(platform: Platform, body: dict[str, Any]) -> Any:
    """Moves what leases, tokens and timestamps go by; boots and waits stay in real time."""
    platform.world.clock_offset += float(body.get("advance", 0))
    return {"now": platform.world.now()}


async def change_settings(platform: Platform, body: dict[str, Any]) -> Any:
    if "rate_limits" in body:
        platform.limits.enabled = bool(body.pop("rate_limits"))
    _only(body, SETTING_WORDS)
    for word, value in body.items():
        setattr(platform.world.settings, word, value)
    return dataclasses.asdict(platform.world.settings)


def _only(body: dict[str, Any], known: frozenset[str]) -> None:
    unknown = set(body) - known
    if unknown:
        raise FlyError(400, f"unknown: {', '.join(sorted(unknown))}; known: {sorted(known)}")


def _route(method: str, path: str, function: Control) -> Route:
    async def endpoint(request: Request) -> Response:
        platform: Platform = request.app.state.platform
        try:
            return JSONResponse(await function(platform, await read_body(request)))
        except FlyError as refusal:
            return JSONResponse(refusal.body(), status_code=refusal.status)

    return Route(f"/_sandbox/{path}", endpoint, methods=[method])


ROUTES: list[BaseRoute] = [
    _route("GET", "effects", show_effects),
    _route("GET", "apps", show_apps),
    _route("POST", "apps", make_app),
    _route("POST", "deploys", begin_deploy),
    _route("GET", "traffic", show_traffic),
    _route("POST", "traffic", set_traffic),
    _route("GET", "faults", show_faults),
    _route("POST", "faults", add_fault),
    _route("GET", "clock", move_clock),
    _route("POST", "clock", move_clock),
    _route("POST", "settings", change_settings),
]
