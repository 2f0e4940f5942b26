"""Runs a machine's health checks as its host would; a failing check never restarts anything."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from rollbackd.sandbox.durations import seconds_of
from rollbackd.sandbox.objects import Check, Config, Machine
from rollbackd.sandbox.world import World

NOT_YET = "waiting for status update"
COMPAT = "bg_deployments_compat"
EAGER_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A configured check under the name its result has."""

    name: str
    service: bool
    kind: str
    path: str
    timeout_seconds: float
    interval_seconds: float
    grace_seconds: float


def specs_of(config: Config) -> list[Spec]:
    specs = [_spec(name, check, service=False) for name, check in _top_level(config)]
    number = 0
    for service in config.get("services") or []:
        for check in service.get("checks") or []:
            kind = check.get("type", "tcp")
            port = check.get("port") or service.get("internal_port")
            name = check.get("name") or f"servicecheck-{number:02d}-{kind}-{port}"
            specs.append(_spec(name, check, service=True))
            number += 1
    return specs


def _top_level(config: Config) -> list[tuple[str, dict[str, Any]]]:
    return list((config.get("checks") or {}).items())


def _spec(name: str, check: dict[str, Any], *, service: bool) -> Spec:
    return Spec(
        name=name,
        service=service,
        kind=check.get("type", "tcp"),
        path=check.get("path") or "/",
        timeout_seconds=seconds_of(check.get("timeout"), default=2),
        interval_seconds=seconds_of(check.get("interval"), default=15),
        grace_seconds=seconds_of(check.get("grace_period"), default=5),
    )


def reset(world: World, machine: Machine) -> None:
    """As after a start: every check critical until it was run, and the fake one of blue-green."""
    now = world.now()
    machine.checks = {
        spec.name: Check(
            name=spec.name, status="critical", output=NOT_YET, updated_at=now, service=spec.service
        )
        for spec in specs_of(machine.config)
    }
    if not machine.checks and "fly_bluegreen_deployment_tag" in machine.metadata:
        machine.checks[COMPAT] = Check(
            name=COMPAT, status="passing", output="", updated_at=now, service=False
        )


async def watch(world: World, machine: Machine) -> None:
    """Look again and again until cancelled."""
    await asyncio.gather(*(_watch_one(world, machine, spec) for spec in specs_of(machine.config)))


async def _watch_one(world: World, machine: Machine, spec: Spec) -> None:
    settings = world.settings
    interval = min(spec.interval_seconds, settings.check_seconds)
    grace_until = time.monotonic() + min(spec.grace_seconds, settings.grace_seconds)
    while True:
        passing, output = await _look(machine, spec)
        check = machine.checks[spec.name]
        if passing or time.monotonic() > grace_until:
            _settle(world, machine, check, status="passing" if passing else "critical", out=output)
        # Eager until the first success, so that a fast boot is not hidden by a slow interval.
        await asyncio.sleep(interval if check.status == "passing" else min(EAGER_SECONDS, interval))


def _settle(world: World, machine: Machine, check: Check, *, status: str, out: str) -> None:
    check.output = out
    if check.status != status:
        check.status = status
        check.updated_at = world.now()
        machine.wake()


async def _look(machine: Machine, spec: Spec) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(spec.timeout_seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", machine.port)
            try:
                if spec.kind != "http":
                    return True, "Success"
                writer.write(f"GET {spec.path} HTTP/1.1\r\nHost: check\r\n\r\n".encode())
                status_line = (await reader.readline()).decode("latin-1")
            finally:
                writer.close()
    except TimeoutError:
        return False, "context deadline exceeded"
    except OSError as error:
        return False, f"connect: {error.strerror or 'connection refused'}"
    parts = status_line.split(" ", 2)
    if len(parts) == 1:
        return False, "EOF"
    return parts[1].startswith("2"), f"{parts[1]} {parts[-1].strip()}"
