"""Whether another machine of our own app runs beside us, with a state directory of its own.

Two daemons that know nothing of each other would each roll the same release back. Fly's private
DNS names every started machine of an app, and needs no token. Off Fly nothing is looked at; where
the DNS does not answer, what was known last counts.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from typing import Final, TypeAlias

import structlog

from rollbackd.core.ports import Clock
from rollbackd.telemetry import events

log = structlog.get_logger()

LOOK_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 3.0
_HINT: Final = "one machine, one volume: fly scale count 1; until then nothing is done by itself"
Resolve: TypeAlias = Callable[[str], Awaitable[frozenset[str]]]


async def addresses(name: str) -> frozenset[str]:
    """The IPv6 addresses of a name. Raises OSError where nobody answers."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, None, family=socket.AF_INET6, type=socket.SOCK_STREAM)
    return frozenset(str(each[4][0]) for each in found)


class Siblings:
    """`changed` is called after a look that found another answer than before."""

    def __init__(
        self,
        *,
        clock: Clock,
        environ: Mapping[str, str],
        changed: Callable[[], None],
        resolve: Resolve = addresses,
    ) -> None:
        app, group = environ.get("FLY_APP_NAME", ""), environ.get("FLY_PROCESS_GROUP", "")
        self._name = f"{group}.process.{app}.internal" if group else f"{app}.internal"
        self._own = _plain(environ.get("FLY_PRIVATE_IP", ""))
        self._watches = bool(app and self._own)
        self._clock = clock
        self._changed = changed
        self._resolve = resolve
        self._others: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """Why nothing may be done by itself; empty while we are alone."""
        if not self._others:
            return ""
        return f"another machine of rollbackd runs ({', '.join(self._others)}): scale it to one"

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        if not self._watches:
            return
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                found = await self._resolve(self._name)
        except (OSError, TimeoutError):
            return
        others = tuple(sorted({_plain(each) for each in found} - {self._own}))
        if others == self._others:
            return
        self._others = others
        if others:
            log.error(events.DAEMON_NOT_ALONE, others=list(others), hint=_HINT)
        else:
            log.info(events.DAEMON_ALONE_AGAIN)
        self._changed()


def _plain(address: str) -> str:
    """One way to write it; empty where it is none."""
    try:
        return str(ip_address(address))
    except ValueError:
        return ""
