"""Takes the gauges of every machine and keeps a point of every series, again and again."""

from __future__ import annotations

import asyncio

from rollbackd.sandbox.counters import labels_of
from rollbackd.sandbox.platform import Platform

GAUGES = ("fly_instance_up", "fly_instance_exit_code", "fly_instance_exit_oom")


async def keep_scraping(platform: Platform) -> None:
    while True:
        take(platform)
        await asyncio.sleep(platform.world.settings.scrape_seconds)


def take(platform: Platform) -> None:
    gauge(platform)
    platform.counters.scrape(platform.world.now())


def gauge(platform: Platform) -> None:
    counters = platform.counters
    for name in GAUGES:
        counters.drop(name)
    for app in platform.world.apps.values():
        for machine in app.alive():
            where = {"app": app.name, "region": machine.region, "host": "worker1"}
            labels = labels_of(**where, instance=machine.id)
            if machine.pid is not None:
                counters.set("fly_instance_up", labels, 1.0)
            if machine.exits:
                counters.set("fly_instance_exit_code", labels, 137.0 if machine.oom else 1.0)
                counters.set("fly_instance_exit_oom", labels, 1.0 if machine.oom else 0.0)
