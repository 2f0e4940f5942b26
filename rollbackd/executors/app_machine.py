"""Brings one machine back: lease, drain, update, settle, health, traffic.

Every part looks before it acts, so the whole may be run again after a crash at any point: the
update is recognised by its operation id, and guarded by the machine's version.
"""

from __future__ import annotations

import asyncio
import contextlib

from rollbackd.core.errors import (
    Ambiguous,
    LeaseHeld,
    NotFound,
    Rejected,
    TemporaryError,
    VersionConflict,
)
from rollbackd.core.model import JsonObject
from rollbackd.core.ports import Observation, Seen, Store
from rollbackd.core.runbook import Plan, Step
from rollbackd.executors.app_fence import started_again, stopped_by
from rollbackd.executors.app_health import Standing, standing
from rollbackd.executors.app_lease import PATIENCE_SECONDS, leased
from rollbackd.executors.app_record import ReleaseRecord
from rollbackd.executors.app_traffic import Traffic
from rollbackd.executors.app_words import Job, job_of, lease_words
from rollbackd.fly.config_restore import OP, OP_RELEASE, fingerprint
from rollbackd.fly.content import digest_or_ref, image_of
from rollbackd.fly.json_shape import list_at, object_at, text_at
from rollbackd.fly.machine_view import config_of, meant_to_run, reachable, version_of
from rollbackd.fly.platform import FlyPlatform

_SENDS = 3  # each but the first only after a read-back showed that nothing was applied
_POLL_SECONDS = 0.3
_ASK_SECONDS = 5.0


class MachineUpdate:
    """Carries out `machine` steps of one app."""

    def __init__(
        self, platform: FlyPlatform, store: Store, record: ReleaseRecord, traffic: Traffic
    ) -> None:
        self._platform = platform
        self._client = platform.client
        self._app = platform.app
        self._clock = platform.client.clock
        self._store = store
        self._record = record
        self._traffic = traffic

    async def observe(self, plan: Plan, step: Step) -> Observation:
        job = job_of(step)
        try:
            machine = await self._client.get_machine(self._app, job.machine)
        except NotFound:
            return Observation(seen=Seen.GONE, detail=f"machine {job.machine} is not there")
        if not reachable(machine):
            return Observation(seen=Seen.GONE, detail=f"the host of {job.machine} is unreachable")
        config = object_at(await self._store.get_blob(job.config_key))
        if not runs(machine, config) and version_of(machine) != job.version:
            detail = f"machine {job.machine} was changed by somebody else"
            return Observation(seen=Seen.CHANGED, detail=detail)
        if not runs(machine, config) or self._traffic.holds(plan, machine):
            return Observation(seen=Seen.NOT_DONE)
        found, why = self._standing(job, machine)
        if job.wait and found is not Standing.HEALTHY:
            return Observation(seen=Seen.NOT_DONE, detail=why)
        return Observation(seen=Seen.DONE, result=_result(machine, why))

    async def apply(self, plan: Plan, step: Step) -> JsonObject:
        job = job_of(step)
        await self._stand_back(plan)
        machine = await self._client.get_machine(self._app, job.machine)
        drained = ""
        config = object_at(await self._store.get_blob(job.config_key))
        if not runs(machine, config):
            drained = await self._update(plan, step, job, config)
        elif stopped_by(machine, plan):  # somebody else gave it the good release meanwhile
            await started_again(self._client, self._app, machine, plan)
        why = ""
        if job.wait:
            machine, why = await self._until_healthy(plan, job)
        if self._traffic.holds(plan, machine):
            await self._give_back(plan, machine)
        return _result(machine, why) | ({"traffic": drained} if drained else {})

    async def _stand_back(self, plan: Plan) -> None:
        """Superseded when somebody deployed. A mute releases API stops nothing and costs little:
        the machine's own version guards it too.
        """
        with contextlib.suppress(TemporaryError, TimeoutError):
            async with asyncio.timeout(_ASK_SECONDS):
                await self._record.still_newest(plan)

    async def _update(self, plan: Plan, step: Step, job: Job, config: JsonObject) -> str:
        async with leased(
            self._client,
            self._app,
            job.machine,
            words=lease_words(plan),
            patience_seconds=PATIENCE_SECONDS,
        ) as lease:
            drained = ""
            if job.drain:
                drained = await self._traffic.drain(plan, job.machine, lease.nonce)
            for _ in range(_SENDS):
                machine = await self._client.get_machine(self._app, job.machine)
                if runs(machine, config):
                    return drained
                body = await self._body(plan, step, job, machine, config)
                try:
                    await self._client.update_machine(self._app, job.machine, body, lease.nonce)
                except Ambiguous:
                    continue  # the read-back above tells whether it was applied
                return drained
            machine = await self._client.get_machine(self._app, job.machine)
            if runs(machine, config):
                return drained
        raise TemporaryError(f"machine {job.machine} did not take the update in {_SENDS} tries")

    async def _body(
        self, plan: Plan, step: Step, job: Job, machine: JsonObject, config: JsonObject
    ) -> JsonObject:
        version = version_of(machine)
        if version != job.version:
            raise VersionConflict(
                f"machine {job.machine} is at {version}, the plan knew {job.version}",
                hint="somebody changed it meanwhile: look at it, then plan again",
            )
        release = await self._record.marks(plan)
        marks = {**release, OP: step.op_key, OP_RELEASE: release["fly_release_version"]}
        metadata = {**object_at(config_of(machine), "metadata"), **marks}
        return {
            "config": {**config, "metadata": metadata},
            "region": text_at(machine, "region"),
            "current_version": version,
            "skip_launch": not (job.wake or meant_to_run(machine) or stopped_by(machine, plan)),
        }

    async def _until_healthy(self, plan: Plan, job: Job) -> tuple[JsonObject, str]:
        """Wait for settled, then for its checks. Rejected when it will not get well."""
        seconds = float(text_at(plan.settings, "step_deadline_seconds") or 120)
        give_up_at = self._clock.monotonic() + seconds
        while True:
            machine = await self._client.get_machine(self._app, job.machine)
            found, why = self._standing(job, machine)
            if found is Standing.HEALTHY:
                return machine, why
            left = give_up_at - self._clock.monotonic()
            if found is Standing.BROKEN or left <= 0:
                raise Rejected(
                    f"machine {job.machine} is not healthy on the good release: {why}",
                    hint="the good release may not be good: look at its logs",
                )
            await self._settle(job, machine, left)

    async def _settle(self, job: Job, machine: JsonObject, left: float) -> None:
        if text_at(machine, "state") in {"started", "stopped", "suspended"}:
            await self._clock.sleep(min(_POLL_SECONDS, left))
            return
        try:
            await self._client.wait(
                self._app,
                job.machine,
                state="settled",
                version=version_of(machine),
                timeout_seconds=left,
            )
        except (TemporaryError, NotFound, Rejected):
            await self._clock.sleep(min(_POLL_SECONDS, left))

    def _standing(self, job: Job, machine: JsonObject) -> tuple[Standing, str]:
        """A machine that was not running and need not run is well as soon as it is not moving."""
        state = text_at(machine, "state")
        if not job.wake and state in {"stopped", "suspended", "created"} and _rests(machine, job):
            return Standing.HEALTHY, f"it is {state} and boots the good release next time"
        return standing(machine, self._clock.now())

    async def _give_back(self, plan: Plan, machine: JsonObject) -> None:
        try:
            await self._traffic.give_back(plan, machine)
        except LeaseHeld as held:
            await self._clock.sleep(_POLL_SECONDS)
            raise TemporaryError(held.message, hint="it is still cordoned by us") from held


def runs(machine: JsonObject, config: JsonObject) -> bool:
    """Whether the machine has the image and config of the plan, by whoever's hand."""
    image = digest_or_ref(text_at(config, "image"))
    named = digest_or_ref(text_at(config_of(machine), "image"))
    same_image = image in {named, image_of(machine)}
    return same_image and fingerprint(config_of(machine)) == fingerprint(config)


def _rests(machine: JsonObject, job: Job) -> bool:
    return job.resting or bool(list_at(config_of(machine), "standbys"))


def _result(machine: JsonObject, why: str) -> JsonObject:
    return {
        "machine": text_at(machine, "id"),
        "version": version_of(machine),
        "state": text_at(machine, "state"),
        "carries": text_at(config_of(machine), "metadata", "fly_release_version"),
        "why": why,
    }
