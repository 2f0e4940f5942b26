"""The daemon's life: start, turn, reload, drain. Signals end here; nothing is judged here."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry

from rollbackd import __version__
from rollbackd.clock import SystemClock
from rollbackd.config.diagnostics import ConfigRefused
from rollbackd.config.load import Loaded, load_directory
from rollbackd.config.settings import Settings
from rollbackd.daemon.house import House
from rollbackd.telemetry import events, logging
from rollbackd.telemetry.metrics import Metrics

log = structlog.get_logger()

EX_BROKEN = 1
EX_CONFIG = 78


def run(settings: Settings) -> int:
    """Run until told to stop: 0 as asked, 1 a room broke, 78 the configuration was refused."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(_live(settings))
        except ConfigRefused as error:
            for each in error.diagnostics:
                sys.stderr.write(f"{each}\n")
            return EX_CONFIG


async def _live(settings: Settings) -> int:
    settings.refuse_open_listener()
    registry = CollectorRegistry()
    metrics = Metrics(registry, version=__version__)
    loaded = await asyncio.to_thread(load_directory, settings.config, settings=settings)
    _configure_logging(loaded, settings, metrics)
    house = House(settings=settings, clock=SystemClock(), metrics=metrics, loaded=loaded)
    asked = _listen_to_signals(house)
    try:
        await house.open()
        log.info(
            events.DAEMON_STARTED,
            version=__version__,
            targets=sorted(loaded.policy.targets),
            listening=house.addresses,
            config=str(settings.config),
            hash=loaded.policy.hash,
        )
        await _turn_until(asked, house)
    except ExceptionGroup as broken:
        # Through the pipeline: what Python prints by itself is neither scrubbed nor JSON.
        log.critical(events.DAEMON_BROKE, exc_info=broken, hint="the journal resumes what ran")
        return EX_BROKEN
    finally:
        await house.close()
        log.info(events.DAEMON_STOPPED)
    return 0


async def _turn_until(asked: asyncio.Event, house: House) -> None:
    """Everything runs side by side; the first thing that breaks ends all, and Fly restarts us."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each, name=name) for name, each in house.tasks().items()]
        stop = asyncio.create_task(asked.wait())
        done, _ = await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        if stop in done:
            log.info(events.DAEMON_STOP_ASKED)
            await house.drain()
        stop.cancel()
        for task in tasks:
            task.cancel()


def _listen_to_signals(house: House) -> asyncio.Event:
    loop, asked = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        if asked.is_set():
            os._exit(1)  # a second signal: at once, the journal resumes it
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, house.reload_soon, "sighup")
    return asked


def _configure_logging(loaded: Loaded, settings: Settings, metrics: Metrics) -> None:
    given = (settings.fly_token, settings.fly_read_token, settings.prometheus_token,
             settings.token_ro, settings.token_rw)  # fmt: skip
    own = [t.fly.token for t in loaded.targets.values() if t.fly is not None]
    logging.configure(
        loaded.logging.level,
        loaded.logging.format,
        [s.get_secret_value() for s in (*given, *own) if s is not None],
        count=metrics.log_message,
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 -- where it is not to be had, asyncio's own loop does
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
