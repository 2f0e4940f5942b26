"""Everything the routes of one sandbox share, and how a new app comes into it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rollbackd.sandbox import releases
from rollbackd.sandbox.counters import Counters
from rollbackd.sandbox.definitions import config_for_update, default_config, definition_of
from rollbackd.sandbox.dependency import Dependency
from rollbackd.sandbox.deploys import Deployer
from rollbackd.sandbox.faults import Faults
from rollbackd.sandbox.images import parse_image
from rollbackd.sandbox.limits import Limits
from rollbackd.sandbox.machines import Machines
from rollbackd.sandbox.objects import FlyApp
from rollbackd.sandbox.proxy import Proxy
from rollbackd.sandbox.traffic import Traffic
from rollbackd.sandbox.world import World

REGION = "ord"


@dataclass(slots=True, kw_only=True)
class Platform:
    world: World
    machines: Machines
    limits: Limits
    faults: Faults
    counters: Counters
    proxy: Proxy
    traffic: Traffic
    deployer: Deployer
    dependencies: dict[str, Dependency] = field(default_factory=dict)
    proxy_urls: dict[str, str] = field(default_factory=dict)
    on_new_app: Callable[[FlyApp], None] = lambda _app: None

    def new_app(self, name: str) -> FlyApp:
        """An app without machines and releases, with an address of its own."""
        number = len(self.world.apps) + 1
        app = FlyApp(id=f"app{number}", name=name, number=number, region=REGION)
        app.status = "pending"
        self.world.apps[name] = app
        self.on_new_app(app)
        return app

    def populate(
        self,
        app: FlyApp,
        *,
        image: str,
        machines: int,
        port: int = 8080,
        autostop: bool = False,
        config: dict[str, Any] | None = None,
    ) -> None:
        """Release 1, complete, and its machines on their way up."""
        app.status = "deployed"
        ref = parse_image(image, app=app.name).ref
        base = default_config(image=ref, region=app.region, port=port, autostop=autostop)
        base |= copy.deepcopy(config or {})
        release = releases.create(
            self.world,
            app,
            image=ref,
            strategy="ROLLING",
            definition=definition_of(app, base),
            user="ci@sandbox.example",
        )
        releases.update(self.world, release, status="complete", metadata=None)
        for _ in range(machines):
            ready = config_for_update(app, base, release, None)
            if config:
                ready |= copy.deepcopy(config) | {"metadata": ready["metadata"]}
            self.machines.create(app, {"config": ready, "region": app.region}, owner="flyctl")
