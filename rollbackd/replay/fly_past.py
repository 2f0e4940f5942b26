"""An app's past as Fly and its Prometheus still tell it: releases, errors, latency. Reads only.

What neither can tell: health looks, machines, and how long a deploy took.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import rollbackd
from rollbackd.config.access import prometheus_access
from rollbackd.config.load import Loaded, load_directory
from rollbackd.config.settings import Settings
from rollbackd.config.targets import TargetSettings
from rollbackd.core.errors import ConfigError, UsageError
from rollbackd.core.facts import ReleasesSeen, Sample, TargetFact
from rollbackd.core.model import ProbeName, Release, TargetName
from rollbackd.core.ports import Clock, KnowsPast
from rollbackd.fly.client import FlyClient
from rollbackd.fly.platform import FlyPlatform
from rollbackd.plugins import ProbeContext, probes

USER_AGENT: Final = f"rollbackd/{rollbackd.__version__}"
LISTED: Final = 25  # releases that Fly lists; older ones are not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """`facts` by `at`, rising. `notes` say what is missing from them."""

    facts: Sequence[TargetFact]
    notes: tuple[str, ...]


def short_file(app: str, settings: Settings) -> Loaded:
    """What a target watches and judges that says nothing but its app."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "rollback-monitoring.yml"
        path.write_text(
            f'targets:\n  "{app}":\n    fly: {{app: "{app}"}}\n    url: "https://{app}.fly.dev"\n'
        )
        return load_directory(directory, {}, settings=settings)


async def past_of_app(
    app: str, loaded: Loaded, settings: Settings, clock: Clock, *, since: float, until: float
) -> Past:
    """Every target of this app. Raises `core.errors` only."""
    targets = {n: t for n, t in loaded.targets.items() if t.fly is not None and t.fly.app == app}
    if not targets:
        raise UsageError(f"no target of the configuration is the app {app}")
    reader = _Reader(loaded, settings, clock, since=since, until=until)
    facts: list[TargetFact] = []
    notes: list[str] = []
    for name, target in targets.items():
        told, missing = await reader.target(app, name, target)
        facts += told
        notes += missing
    facts.sort(key=lambda fact: fact.at)
    return Past(facts=facts, notes=tuple(notes))


class _Reader:
    """Asks for one stretch of time."""

    def __init__(
        self, loaded: Loaded, settings: Settings, clock: Clock, *, since: float, until: float
    ) -> None:
        self._loaded = loaded
        self._settings = settings
        self._clock = clock
        self._since = since
        self._until = until
        self._ssl = ssl.create_default_context()
        self._rng = random.Random()  # noqa: S311 -- jitter, not secrets

    async def target(
        self, app: str, name: TargetName, target: TargetSettings
    ) -> tuple[list[TargetFact], list[str]]:
        client = self._client(target)
        try:
            platform = FlyPlatform(app, client, self._clock)
            releases = await platform.releases()
            facts, notes = self._releases(name, releases)
            asked: set[ProbeName] = set()
            for probe in self._loaded.policy.targets[name].probes:
                samples = await self._samples(name, probe, target, platform)
                if samples is not None:
                    asked.add(probe)
                    facts += samples
                    notes += [] if samples else [f"{name}: {probe} has nothing of that time"]
        finally:
            await client.close()
        for probe in self._loaded.policy.targets[name].probes.keys() - asked:
            notes.append(f"{name}: the past of {probe} is not known: what it judges is left out")
        return facts, sorted(notes)

    def _client(self, target: TargetSettings) -> FlyClient:
        settings = self._settings
        own = target.fly.token if target.fly else None
        token = settings.fly_read_token or own or settings.fly_token
        if token is None:
            raise ConfigError("there is no Fly token", hint="set ROLLBACKD_FLY_READ_TOKEN")
        return FlyClient(
            settings.fly_machines_url,
            settings.fly_api_url,
            token,
            settings.fly_read_token,
            clock=self._clock,
            permit=_refuse,
            rng=self._rng,
        )

    def _releases(
        self, name: TargetName, releases: Sequence[Release]
    ) -> tuple[list[TargetFact], list[str]]:
        """One fact per release that came, at the time Fly wrote it down."""
        dated = sorted((r for r in releases if r.created_at is not None), key=lambda r: r.version)
        facts: list[TargetFact] = []
        for count, release in enumerate(dated, start=1):
            at = max(release.created_at or self._since, self._since)
            if at > self._until:
                break
            listed = tuple(reversed(dated[:count]))
            facts.append(ReleasesSeen(target=name, at=at, releases=listed))
        if not facts:
            raise UsageError(f"{name}: Fly lists no release of that time")
        notes = []
        if len(releases) >= LISTED and facts[0].at > self._since:
            notes.append(f"{name}: Fly lists {len(releases)} releases, older ones are left out")
        return facts, notes

    async def _samples(
        self, name: TargetName, probe: ProbeName, target: TargetSettings, platform: FlyPlatform
    ) -> list[TargetFact] | None:
        """What the probe would have read; None for one whose source keeps no past."""
        setup = self._loaded.probe_configs.get((name, probe))
        if setup is None:
            return None
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
            platform=platform,
            prometheus=prometheus_access(self._settings, target),
            user_agent=USER_AGENT,
        )
        made = probes()[setup.kind].build(setup.config, context)
        try:
            if not isinstance(made, KnowsPast):
                return None
            told = await made.past(self._since, self._until, setup.interval_seconds)
        finally:
            await made.close()
        # A live look hears of it when it has arrived, and its sample carries that time.
        late = self._loaded.policy.targets[name].probes[probe].delay_seconds
        return [
            Sample(target=name, probe=probe, at=at + late, measure=measure) for at, measure in told
        ]


def _refuse(what: str) -> None:
    raise UsageError(f"a replay changes nothing, and was about to: {what}")
