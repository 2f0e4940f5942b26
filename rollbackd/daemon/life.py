"""The daemon's life: start, turn, reload, drain. Signals end here; nothing is judged here."""

from __future__ import annotations

import asyncio
import contextlib
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
from rollbackd.core.errors import Fenced
from rollbackd.daemon.ground import refuse_ephemeral
from rollbackd.daemon.house import House
from rollbackd.daemon.watchdog import Watchdog
from rollbackd.telemetry import events, logging
from rollbackd.telemetry.metrics import Metrics

log = structlog.get_logger()

EX_BROKEN = 1
EX_DEPOSED = 75
EX_CONFIG = 78


def run(settings: Settings) -> int:
    """Run until told to stop.

    0 as asked, 1 a room broke, 70 the loop hung (`watchdog`), 75 another daemon has the state
    directory, 78 the configuration was refused; 128 and the signal's number when told twice.
    """
    watchdog = Watchdog()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_live(settings, watchdog))
    except ConfigRefused as error:
        for each in error.diagnostics:
            sys.stderr.write(f"{each}\n")
        return EX_CONFIG
    finally:
        watchdog.end()


async def _live(settings: Settings, watchdog: Watchdog) -> int:
    settings.refuse_open_listener()
    refuse_ephemeral(settings.state, allowed=settings.allow_ephemeral, environ=os.environ)
    registry = CollectorRegistry()
    metrics = Metrics(registry, version=__version__)
    loaded = await asyncio.to_thread(load_directory, settings.config, settings=settings)
    _configure_logging(loaded, settings, metrics)
    house = House(settings=settings, clock=SystemClock(), metrics=metrics, loaded=loaded)
    asked = _listen_to_signals(house, watchdog)
    watchdog.start(asyncio.get_running_loop(), lambda: house.busy)
    try:
        if not await _opened(house, asked):
            return 0
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
        return _told(broken)
    finally:
        await house.close()
        log.info(events.DAEMON_STOPPED)
    return 0


def _told(broken: ExceptionGroup) -> int:
    """Through the pipeline: what Python prints by itself is neither scrubbed nor JSON."""
    if broken.subgroup(Fenced) is not None:
        log.error(events.DAEMON_DEPOSED, hint="another daemon took the state directory over")
        return EX_DEPOSED
    log.critical(events.DAEMON_BROKE, exc_info=broken, hint="the journal resumes what ran")
    return EX_BROKEN


async def _opened(house: House, asked: asyncio.Event) -> bool:
    """False when it was told to stop while it waited for its turn."""
    opening, stop = asyncio.create_task(house.open()), asyncio.create_task(asked.wait())
    await asyncio.wait({opening, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not opening.done():
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        return False
    await opening
    return True


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


def _listen_to_signals(house: House, watchdog: Watchdog) -> asyncio.Event:
    loop, asked = asyncio.get_running_loop(), asyncio.Event()

    def stop(number: int) -> None:
        if asked.is_set():
            os._exit(128 + number)  # a second signal: at once, the journal resumes it
        asked.set()
        watchdog.expect_end()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
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
