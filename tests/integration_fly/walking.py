"""Walks a plan's steps against the sandbox: the runner's order, without its journal."""

import dataclasses
from collections.abc import Mapping
from typing import cast

from rollbackd.clock import SystemClock
from rollbackd.core.model import Json, JsonObject, Release, RollBack, TargetName
from rollbackd.core.policy import After, PlanPolicy, Safety, Smoke, Strategy, TargetPolicy, Traffic
from rollbackd.core.ports import Observation, Seen, Store
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Phase, Plan, Step
from rollbackd.executors.app import AppExecutor
from rollbackd.fly.client import FlyClient
from rollbackd.fly.platform import FlyPlatform
from rollbackd.fly.ratelimit import ACTION, Buckets, Rate
from rollbackd.sandbox.server import Sandbox


class Blobs:
    """The part of the store the executor needs, in memory; a value survives only as JSON."""

    def __init__(self) -> None:
        self.kept: dict[str, Json] = {}

    async def put_blob(self, key: str, value: Json) -> None:
        self.kept[key] = value

    async def get_blob(self, key: str) -> Json:
        return self.kept.get(key)


def target_policy(
    url: str = "", *, traffic: Traffic = Traffic.DRAIN, strategy: Strategy = Strategy.ROLLING
) -> TargetPolicy:
    plan = PlanPolicy(
        name="app",
        steps=("app",),
        traffic=traffic,
        strategy=strategy,
        max_unavailable=0.33,
        deadline_seconds=300,
        step_deadline_seconds=15,
    )
    smoke = (Smoke(path="/", status=("2xx",)),) if url else ()
    after = After(smoke=smoke, clear_for_seconds=1, monitor_seconds=0.2, prove_within_seconds=10)
    return TargetPolicy(
        name=TargetName("shop"),
        mode=Mode.AUTO,
        probes={},
        triggers=(),
        plans={"app": plan},
        safety=cast(Safety, None),
        after=after,
        settings={"url": url},
        fingerprints={},
    )


class Unlimited(Buckets):
    """For a sandbox without rate limits: tests need not wait for turns."""

    async def take(self, action: str, identifier: str, rate: Rate = ACTION) -> float:
        return 0.0


@dataclasses.dataclass
class Rig:
    """One sandbox, our client on it, and an executor."""

    sandbox: Sandbox
    client: FlyClient
    platform: FlyPlatform
    executor: AppExecutor
    blobs: Blobs

    async def close(self) -> None:
        await self.client.close()

    async def releases(self) -> tuple[Release, ...]:
        await self.platform.machines()
        return await self.platform.releases()

    async def decide(self, *, bad: int, good: int) -> RollBack:
        by_version = {release.version: release for release in await self.releases()}
        return RollBack(
            target=TargetName("shop"),
            at=SystemClock().now(),
            trigger=None,
            bad=by_version[bad],
            good=by_version[good],
            plan="app",
            why="a test says so",
        )

    async def roll_back(self, *, bad: int, good: int) -> tuple[Plan, dict[int, JsonObject]]:
        plan = await self.executor.plan(await self.decide(bad=bad, good=good))
        return plan, await self.walk(plan)

    async def walk(self, plan: Plan, until: str = "") -> dict[int, JsonObject]:
        """Take every step in phase order; stop before the first whose name has `until` in it."""
        results: dict[int, JsonObject] = {}
        for step in in_order(plan):
            if until and until in step.name:
                break
            results[step.seq] = await self.take(plan, step, results)
        return results

    async def take(self, plan: Plan, step: Step, results: Mapping[int, JsonObject]) -> JsonObject:
        seen = Observation(seen=Seen.NOT_DONE)
        if step.mutates:
            seen = await self.executor.observe(plan, step, results)
        match seen.seen:
            case Seen.DONE:
                return dict(seen.result)
            case Seen.GONE:
                return {"unreachable": seen.detail}
            case Seen.CHANGED:
                raise AssertionError(seen.detail)
            case Seen.NOT_DONE:
                return await self.executor.apply(plan, step, results)


def in_order(plan: Plan) -> list[Step]:
    phases = list(Phase)
    return sorted(plan.steps, key=lambda step: (phases.index(step.phase), step.seq))


def rig_for(
    sandbox: Sandbox,
    *,
    token: str = "",
    target: TargetPolicy | None = None,
    permit: object = None,
    blobs: Blobs | None = None,
    limited: bool = False,
) -> Rig:
    urls = sandbox.urls
    client = FlyClient(
        urls.machines_url,
        urls.api_url,
        token or urls.token,
        clock=SystemClock(),
        permit=permit,  # type: ignore[arg-type]  # a plain function or None
    )
    if not limited:
        client.wire.buckets = Unlimited(SystemClock())
    kept = blobs or Blobs()
    platform = FlyPlatform(sandbox.name, client, SystemClock(), keep=kept)
    policy = target or target_policy(urls.proxy_url)
    executor = AppExecutor(platform, cast(Store, kept), policy)
    return Rig(sandbox=sandbox, client=client, platform=platform, executor=executor, blobs=kept)


def effects(sandbox: Sandbox, action: str) -> list[str | None]:
    """The machines (or apps) an action took effect on, by us, in order."""
    return [
        effect.machine or effect.app
        for effect in sandbox.effects
        if effect.action == action and effect.request_id != "inside"
    ]
