"""What is made from one configuration: platforms, executors, probes. Made anew at a reload."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import SecretStr

from rollbackd import __version__
from rollbackd.config.access import prometheus_access
from rollbackd.config.load import Loaded
from rollbackd.config.settings import Settings
from rollbackd.config.targets import TargetSettings
from rollbackd.core.errors import ConfigError
from rollbackd.core.model import ProbeName, TargetName
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.ports import Clock, Executor, Store
from rollbackd.engine.look import Watched
from rollbackd.executors.combined import Combined
from rollbackd.fly.client import FlyClient
from rollbackd.fly.platform import FlyPlatform
from rollbackd.fly.wire import Meter
from rollbackd.plugins import (
    ExecutorContext,
    ProbeContext,
    PrometheusAccess,
    SupabaseAccess,
    executors,
    probes,
)
from rollbackd.probes.control import HttpControl

USER_AGENT = f"rollbackd/{__version__}"
EDGE = "https://fly.io"  # Fly's own edge, where an org has none of its own to ask


@dataclass(kw_only=True)
class Parts:
    """Everything that one configuration calls for."""

    loaded: Loaded
    platforms: dict[TargetName, FlyPlatform] = field(default_factory=dict)
    executors: dict[TargetName, Executor] = field(default_factory=dict)
    controls: dict[TargetName, HttpControl] = field(default_factory=dict)
    watched: list[Watched] = field(default_factory=list)

    async def close(self) -> None:
        """Close probes and controls; platforms are the maker's."""
        for each in self.watched:
            await each.probe.close()
        for control in self.controls.values():
            await control.close()


class Maker:
    """Makes parts. Clients of the platform are kept: one per token, however often we reload."""

    def __init__(
        self,
        *,
        settings: Settings,
        own_app: str | None,
        clock: Clock,
        store: Store,
        meter: Meter,
        permit: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._own_app = own_app
        self._clock = clock
        self._store = store
        self._meter = meter
        self._permit = permit
        self._clients: dict[str, FlyClient] = {}
        self._platforms: dict[tuple[str, str], FlyPlatform] = {}
        self._ssl = ssl.create_default_context()  # 45 ms: once for all probes
        self._rng = random.Random()  # noqa: S311 -- jitter, not secrets

    def make(self, loaded: Loaded) -> Parts:
        parts = Parts(loaded=loaded)
        for name, target in loaded.targets.items():
            self._target(parts, name, target)
        return parts

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    def _target(self, parts: Parts, name: TargetName, target: TargetSettings) -> None:
        platform = self._platform(name, target)
        if platform is not None:
            parts.platforms[name] = platform
            policy = parts.loaded.policy.targets[name]
            context = ExecutorContext(
                target=policy,
                platform=platform,
                store=self._store,
                clock=self._clock,
                database=target.database.access if target.database else None,
                supabase=self._supabase(target),
                state=self._settings.state,
                permit=self._permit,
            )
            built = {kind: executors()[kind].build(context) for kind in _kinds(policy)}
            parts.executors[name] = Combined(built, policy)
        parts.controls[name] = HttpControl(
            self._control(target),
            ssl_context=self._ssl,
            clock=self._clock,
            user_agent=USER_AGENT,
        )
        for owner, probe in parts.loaded.probe_configs:
            if owner == name:
                parts.watched.append(self._watched(parts, name, ProbeName(probe), target))

    def _watched(
        self, parts: Parts, name: TargetName, probe: ProbeName, target: TargetSettings
    ) -> Watched:
        setup = parts.loaded.probe_configs[name, probe]
        database = parts.loaded.policy.targets[name].database
        context = ProbeContext(
            target=name,
            name=probe,
            url=target.url,
            app=target.fly.app if target.fly else None,
            interval_seconds=setup.interval_seconds,
            timeout_seconds=setup.timeout_seconds,
            clock=self._clock,
            rng=self._rng,
            ssl_context=self._ssl,
            platform=parts.platforms.get(name),
            prometheus=self._prometheus(target),
            user_agent=USER_AGENT,
            supabase=SupabaseAccess(
                url=self._settings.supabase_url, token=self._settings.supabase_token
            ),
            database=target.database.access if target.database else None,
            invariants=database.invariants if database else (),
        )
        return Watched(
            target=name,
            name=probe,
            kind=setup.kind,
            interval_seconds=setup.interval_seconds,
            timeout_seconds=setup.timeout_seconds,
            probe=probes()[setup.kind].build(setup.config, context),
            control=parts.controls[name],
        )

    def _platform(self, name: TargetName, target: TargetSettings) -> FlyPlatform | None:
        if target.fly is None:
            return None
        settings = self._settings
        token = target.fly.token or settings.fly_token or settings.fly_read_token
        if token is None:
            raise ConfigError(
                f"target {name}: there is no Fly token",
                hint="set ROLLBACKD_FLY_READ_TOKEN to observe, ROLLBACKD_FLY_TOKEN to act",
            )
        key = (target.fly.app, token.get_secret_value())
        if key not in self._platforms:
            self._platforms[key] = FlyPlatform(
                target.fly.app,
                self._client(token),
                self._clock,
                own_app=self._own_app,
                keep=self._store,
            )
        return self._platforms[key]

    def _client(self, token: SecretStr) -> FlyClient:
        secret = token.get_secret_value()
        if secret not in self._clients:
            self._clients[secret] = FlyClient(
                self._settings.fly_machines_url,
                self._settings.fly_api_url,
                token,
                self._settings.fly_read_token,
                clock=self._clock,
                permit=self._permit,
                meter=self._meter,
                rng=self._rng,
            )
        return self._clients[secret]

    def _supabase(self, target: TargetSettings) -> SupabaseAccess:
        """The Management API of the target's project, with its own token where it has one."""
        own = target.database.token if target.database else None
        settings = self._settings
        return SupabaseAccess(url=settings.supabase_url, token=own or settings.supabase_token)

    def _prometheus(self, target: TargetSettings) -> PrometheusAccess | None:
        return prometheus_access(self._settings, target)

    def _control(self, target: TargetSettings) -> tuple[str, ...]:
        if target.control:
            return target.control
        machines = self._settings.fly_machines_url
        ours = type(self._settings).model_fields["fly_machines_url"].default
        # Behind another base URL (a sandbox) that base is the control; Fly's edge says nothing.
        return (machines, EDGE) if machines == ours else (machines,)


def _kinds(policy: TargetPolicy) -> list[str]:
    """What its plans need, and what a plan that is under way may need although they changed."""
    kinds = {"app", *(kind for plan in policy.plans.values() for kind in plan.steps)}
    if policy.database is not None:
        kinds |= {"database", "data"}
    return sorted(kinds & executors().keys())
