"""The sandbox as one object: made, entered, asked and left from a test, the demo or the CLI."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from starlette.applications import Starlette

from rollbackd.sandbox import (
    app_routes,
    control,
    graphql_route,
    machine_routes,
    prometheus_routes,
    release_routes,
)
from rollbackd.sandbox.counters import Counters
from rollbackd.sandbox.dependency import Dependency
from rollbackd.sandbox.deploys import Deploy, Deployer
from rollbackd.sandbox.edge import ByHost, Edge
from rollbackd.sandbox.faults import FaultLayer, Faults
from rollbackd.sandbox.limits import Limits
from rollbackd.sandbox.listener import Listener
from rollbackd.sandbox.machines import Machines
from rollbackd.sandbox.objects import Effect, FlyApp, Machine, Release, TokenKind
from rollbackd.sandbox.orders import Order
from rollbackd.sandbox.platform import Platform
from rollbackd.sandbox.proxy import Proxy, routable
from rollbackd.sandbox.scrape import keep_scraping
from rollbackd.sandbox.traffic import Flow, Traffic
from rollbackd.sandbox.world import Settings, World

READY_SECONDS = 60.0
READ_TOKEN, ORG_TOKEN = "readonly-org", "org-all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Urls:
    """Where things are; what design §3's environment variables want."""

    sandbox_url: str
    machines_url: str
    api_url: str
    prometheus_url: str
    proxy_url: str
    app: str
    org: str
    host: str
    token: str
    read_token: str
    org_token: str

    def wire(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Sandbox:
    """A local Fly with one app to begin with. Leaving it ends every process it started."""

    def __init__(
        self,
        *,
        app: str = "shop",
        machines: int = 3,
        image: str = "good",
        boot_seconds: float = 5.0,
        seed: int = 1,
        port: int = 0,
        rate_limits: bool = True,
        autostop: bool = False,
        config: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.name = app
        self._first: dict[str, Any] = {
            "image": image,
            "machines": machines,
            "autostop": autostop,
            "config": config,
        }
        self._port = port
        self.world = World(seed=seed, settings=Settings(boot_seconds=boot_seconds, **settings))
        fleet = Machines(self.world)
        counters = Counters()
        proxy = Proxy(self.world, fleet, counters)
        self.platform = Platform(
            world=self.world,
            machines=fleet,
            limits=Limits(),
            faults=Faults(),
            counters=counters,
            proxy=proxy,
            traffic=Traffic(self.world, proxy),
            deployer=Deployer(self.world, fleet),
            on_new_app=self._give_address,
        )
        self.platform.limits.enabled = rate_limits
        self._edges: list[Listener] = []
        self._main: Listener | None = None

    async def __aenter__(self) -> Self:
        for name, kind, app in self._tokens():
            self.world.add_token(name, kind, app=app)
        self._main = Listener(self._application(), port=self._port)
        await self._main.start()
        await self.add_app(self.name, **self._first)
        self.world.begin(keep_scraping(self.platform))
        self.world.begin(self.platform.proxy.put_idle_to_sleep())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.world.closing.set()
        listeners = [*self._edges, *([self._main] if self._main else [])]
        await asyncio.gather(
            self.platform.machines.close(), *(listener.stop() for listener in listeners)
        )
        for dependency in self.platform.dependencies.values():
            await dependency.close()
        await self.world.close()

    def _tokens(self) -> list[tuple[str, TokenKind, str | None]]:
        return [
            (f"deploy-{self.name}", TokenKind.DEPLOY, self.name),
            (READ_TOKEN, TokenKind.READONLY, None),
            (ORG_TOKEN, TokenKind.ORG, None),
        ]

    def _application(self) -> Any:
        routes = [
            *machine_routes.ROUTES,
            *app_routes.ROUTES,
            *release_routes.ROUTES,
            *graphql_route.ROUTES,
            *prometheus_routes.ROUTES,
            *control.ROUTES,
        ]
        inner = Starlette(routes=routes)
        inner.state.platform = self.platform
        by_host = ByHost(inner, self.world, self.platform.proxy)
        return FaultLayer(by_host, self.platform.faults, self.world)

    def _give_address(self, app: FlyApp) -> None:
        listener = Listener(Edge(self.platform.proxy, app))
        self._edges.append(listener)
        dependency = self.platform.dependencies[app.name] = Dependency()
        app.dependency_port = dependency.port
        self.world.begin(dependency.up())
        self.platform.proxy_urls[app.name] = listener.url
        self.world.begin(listener.start())

    async def add_app(self, name: str, **options: Any) -> FlyApp:
        """Another app, with its release 1 and its machines booting."""
        app = self.platform.new_app(name)
        merged: dict[str, Any] = {"image": "good", "machines": 3} | options
        self.platform.populate(app, **merged)
        return app

    @property
    def urls(self) -> Urls:
        assert self._main is not None, "enter the sandbox first"
        base = self._main.url
        return Urls(
            sandbox_url=base,
            machines_url=base,
            api_url=base,
            prometheus_url=f"{base}/prometheus/{self.world.org}",
            proxy_url=self.platform.proxy_urls[self.name],
            app=self.name,
            org=self.world.org,
            host=f"{self.name}.fly.dev",
            token=f"deploy-{self.name}",
            read_token=READ_TOKEN,
            org_token=ORG_TOKEN,
        )

    @property
    def app(self) -> FlyApp:
        return self.world.apps[self.name]

    @property
    def machines(self) -> list[Machine]:
        return self.app.alive()

    @property
    def releases(self) -> list[Release]:
        """Oldest first."""
        return sorted(self.app.releases, key=lambda release: release.version)

    @property
    def effects(self) -> list[Effect]:
        return list(self.world.effects)

    @property
    def faults(self) -> Faults:
        return self.platform.faults

    async def ready(self, seconds: float = READY_SECONDS) -> None:
        """Every machine of the first app serves."""
        async with asyncio.timeout(seconds):
            while not all(routable(machine) for machine in self.machines):  # noqa: ASYNC110  # many
                await asyncio.sleep(0.01)  # several machines, one short poll

    def begin_deploy(self, *, app: str | None = None, **order: Any) -> Deploy:
        """`fly deploy` in the background; the release exists when this returns."""
        return self.platform.deployer.begin(self.world.app(app or self.name), Order(**order))

    async def deploy(self, *, app: str | None = None, **order: Any) -> Deploy:
        """`fly deploy`, to its end."""
        deploy = self.begin_deploy(app=app, **order)
        assert deploy.task is not None
        await deploy.task
        return deploy

    def traffic(self, rate: float, *, path: str = "/", app: str | None = None) -> Flow:
        return self.platform.traffic.set(self.world.app(app or self.name), rate=rate, path=path)

    def advance(self, seconds: float) -> None:
        """Move the clock that leases, tokens and timestamps go by."""
        self.world.clock_offset += seconds
