"""The steps that only look: backup, logs, verify, smoke, watch. They raise what they find."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx

from rollbackd.core.errors import Rejected, RollbackdError, TemporaryError, Unauthorized
from rollbackd.core.model import Json, JsonObject
from rollbackd.core.ports import Store
from rollbackd.core.runbook import Plan, Step
from rollbackd.executors.app_health import Standing, standing
from rollbackd.executors.app_machine import runs
from rollbackd.executors.app_words import Job, jobs_of
from rollbackd.fly.json_shape import list_at, object_at, text_at
from rollbackd.fly.machine_view import critical_checks, reachable
from rollbackd.fly.platform import FlyPlatform

_LOG_LINES = 200
_LOG_SECONDS = 3.0
_POLL_SECONDS = 2.0  # the list of machines may be asked for once a second
_SMOKE_TRIES = 3
_SMOKE_SECONDS = 10.0
_SMOKE_MOST_BYTES = 1_000_000


class Looks:
    """Looks of one app's rollback."""

    def __init__(self, platform: FlyPlatform, store: Store) -> None:
        self._platform = platform
        self._store = store
        self._clock = platform.client.clock
        self._logs_refused = ""

    async def backup(self, plan: Plan) -> JsonObject:
        """Keep the machines and releases as they are now."""
        machines = await self._platform.fleet()
        releases = await self._platform.records()
        key = f"fly/backup/{plan.rollback}"
        kept: JsonObject = {"machines": list(machines), "releases": list(releases)}
        await self._store.put_blob(key, kept)
        return {"key": key, "machines": len(machines)}

    async def logs(self, plan: Plan, step: Step) -> JsonObject:
        """Keep the last lines of a machine. A deploy token may not read logs: then none.

        Users are hurt meanwhile, so this waits a moment only and asks a refusing API once.
        """
        machine = text_at(step.params, "machine")
        if self._logs_refused:
            return {"lines": 0, "why": self._logs_refused}
        try:
            async with asyncio.timeout(_LOG_SECONDS):
                found = await self._platform.client.logs(self._platform.app, machine)
        except TimeoutError:
            return {"lines": 0, "why": f"no answer within {_LOG_SECONDS:g} s"}
        except Unauthorized as error:
            self._logs_refused = error.message
            return {"lines": 0, "why": error.message}
        except RollbackdError as error:
            return {"lines": 0, "why": error.message}
        key = f"fly/logs/{plan.rollback}/{machine}"
        lines: list[Json] = list(found[-_LOG_LINES:])
        await self._store.put_blob(key, lines)
        return {"lines": len(lines), "key": key}

    async def verify(self, plan: Plan) -> JsonObject:
        """Every machine of the plan has the image and config of the plan, or cannot be seen."""
        fleet = await self._seen()
        wrong: list[str] = []
        unseen: list[Json] = list(list_at(plan.settings, "unreachable"))
        for job in jobs_of(plan):
            machine = fleet.get(job.machine)
            if machine is None or not reachable(machine):
                unseen.append(job.machine)
            elif not runs(machine, object_at(await self._store.get_blob(job.config_key))):
                wrong.append(job.machine)
        if wrong:
            raise Rejected(
                f"not on the good release: {', '.join(wrong)}",
                hint="somebody changed them meanwhile, or Fly put the old config back",
            )
        said = f"complete except {len(unseen)} unreachable" if unseen else "complete"
        return {"said": said, "unreachable": unseen}

    async def watch(self, plan: Plan, step: Step) -> JsonObject:
        """Watch the machines for a while. Rejected when one breaks."""
        seconds = float(text_at(step.params, "seconds") or 0)
        until = self._clock.monotonic() + seconds
        while True:
            left = until - self._clock.monotonic()
            await self._clock.sleep(max(min(_POLL_SECONDS, left), 0.0))
            machines = await self._seen()
            broken = [
                line for job in jobs_of(plan) if (line := self._broken(machines, job)) is not None
            ]
            if broken:
                raise Rejected("; ".join(broken), hint="the good release may not be good")
            if self._clock.monotonic() >= until:
                return {"seconds": seconds}

    async def _seen(self) -> dict[str, JsonObject]:
        """The machines by id. None at all is no answer: Fly's list was empty by mistake before."""
        fleet = await self._platform.fleet()
        if not fleet:
            raise TemporaryError(
                f"Fly lists no machine of {self._platform.app}", hint="it had some a moment ago"
            )
        return {text_at(one, "id"): one for one in fleet}

    def _broken(self, machines: dict[str, JsonObject], job: Job) -> str | None:
        machine = machines.get(job.machine)
        if machine is None or not job.wait:
            return None
        found, why = standing(machine, self._clock.now())
        if found is Standing.BROKEN or critical_checks(machine):
            return f"machine {job.machine}: {why}"
        return None

    async def smoke(self, step: Step) -> JsonObject:
        """Ask once, and again twice: one lost request is not a failed rollback."""
        why = ""
        async with httpx.AsyncClient(trust_env=False, timeout=_SMOKE_SECONDS) as client:
            for _ in range(_SMOKE_TRIES):
                why = await _ask(client, step.params)
                if not why:
                    return {"url": text_at(step.params, "url")}
                await self._clock.sleep(_POLL_SECONDS)
        raise Rejected(f"smoke request failed: {why}", hint="users are still hurt: look now")


async def _ask(client: httpx.AsyncClient, params: JsonObject) -> str:
    """Why the answer is not the expected one, "" when it is."""
    url = text_at(params, "url")
    try:
        async with asyncio.timeout(_SMOKE_SECONDS), client.stream("GET", url) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _SMOKE_MOST_BYTES:
                    break
    except (httpx.HTTPError, TimeoutError) as error:
        return f"{url}: {type(error).__name__}"
    status = str(response.status_code)
    if not _fits(status, [str(one) for one in list_at(params, "status")]):
        return f"{url}: status {status}"
    contains = text_at(params, "contains")
    if contains and contains not in body.decode("utf-8", "replace"):
        return f"{url}: the body lacks what it should contain"
    return ""


def _fits(status: str, classes: Sequence[str]) -> bool:
    return any(one in (status, f"{status[0]}xx") for one in classes or ("2xx",))
