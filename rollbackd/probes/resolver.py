"""Resolves names in a small bounded pool of threads and tells a missing name from a sick resolver.

It caches nothing: a name that stopped resolving must show in the next look.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeAlias

from rollbackd.core.facts import MissReason
from rollbackd.core.ports import Missed
from rollbackd.probes.blame import Failed

IpChoice: TypeAlias = Literal["any", 4, 6]
GetAddrInfo: TypeAlias = Callable[..., list[tuple[Any, ...]]]

THREADS = 8  # a dead resolver holds each for up to 10 s
WAITING = 64  # beyond this the queue itself would time looks out

_FAMILIES: dict[IpChoice, socket.AddressFamily] = {
    "any": socket.AF_UNSPEC,
    4: socket.AF_INET,
    6: socket.AF_INET6,
}
# EAI_ADDRFAMILY and EAI_NODATA: the name is there, but not in the family that was asked for.
_NO_SUCH_NAME = {
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
    if hasattr(socket, name)
}


class Resolver:
    """One for all probes of the process; its threads start with the first name."""

    def __init__(
        self, getaddrinfo: GetAddrInfo = socket.getaddrinfo, *, waiting: int = WAITING
    ) -> None:
        self._getaddrinfo = getaddrinfo
        self._waiting = waiting
        self._in_flight = 0
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int, ip: IpChoice = "any"
    ) -> tuple[str, ...] | Failed | Missed:
        """Addresses in the system's order of preference, each once, never none."""
        if _is_address(host):
            return (host,)
        if self._in_flight >= self._waiting:
            return Missed(reason=MissReason.OVERLOADED, detail="too many names wait to be resolved")
        ask = functools.partial(
            self._getaddrinfo, host, port, family=_FAMILIES[ip], type=socket.SOCK_STREAM
        )
        self._in_flight += 1
        answer = asyncio.get_running_loop().run_in_executor(self._threads, ask)
        answer.add_done_callback(self._answered)
        try:
            found = await asyncio.shield(answer)  # a look that gives up does not free the thread
        except (OSError, UnicodeError) as error:
            return _why_not(error)
        return tuple(dict.fromkeys(str(address[0]) for *_, address in found))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _answered(self, answer: asyncio.Future[Any]) -> None:
        self._in_flight -= 1
        if not answer.cancelled():
            answer.exception()  # seen here too: the look may have given up by its deadline


@functools.cache
def shared_resolver() -> Resolver:
    """The process's own: a bound on threads holds only when everybody shares it."""
    return Resolver()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _why_not(error: OSError | UnicodeError) -> Failed | Missed:
    if isinstance(error, UnicodeError):
        return Failed(why="not a host name")
    if isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME:
        return Failed(why="name does not resolve")
    if isinstance(error, socket.gaierror) and error.errno != socket.EAI_SYSTEM:
        return Missed(reason=MissReason.DNS_FAILED, detail=f"resolver error {error.errno}")
    # EAI_SYSTEM carries no errno through Python; a resolver without file descriptors says so here.
    return Missed(reason=MissReason.DNS_FAILED, detail="the resolver could not ask")
