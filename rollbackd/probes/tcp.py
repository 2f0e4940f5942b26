"""The `tcp` probe: connects, and at most says one thing and waits for one answer."""

from __future__ import annotations

import asyncio
import re
from typing import ClassVar, Self

from pydantic import Field

from rollbackd.config.types import Regex, Spec
from rollbackd.core.facts import Check, CheckOutcome, MeasureKind, MissReason
from rollbackd.core.ports import Missed, NobodyHome, Reading
from rollbackd.plugins import ProbeContext
from rollbackd.probes.blame import LOOK_ERRORS, Failed, blame
from rollbackd.probes.phases import Phases
from rollbackd.probes.resolver import IpChoice, shared_resolver
from rollbackd.probes.sleeping import DoorBell
from rollbackd.probes.stream import Stream, connect

HEARD_AT_MOST = 64 * 2**10


class TcpConfig(Spec):
    """One TCP (or TLS) connection."""

    host: str = Field(min_length=1, max_length=253, description="A name or an address.")
    port: int = Field(ge=1, le=65535, description="The port.")
    tls: bool = Field(default=False, description="Speak TLS and check the certificate.")
    send: str = Field(default="", description="Text to send once connected.", examples=["PING\r\n"])
    expect: Regex | None = Field(
        default=None, description="A regex to be found in the first 64 KiB that come back."
    )
    ip: IpChoice = Field(default="any", description="Look over IPv4 (4), IPv6 (6), or any.")


class TcpProbe:
    """A connection that comes about is good; with `expect`, so must be what is heard."""

    kind: ClassVar[str] = "tcp"
    Config: ClassVar[type[TcpConfig]] = TcpConfig

    @classmethod
    def measure(cls, config: TcpConfig) -> MeasureKind:
        del config
        return MeasureKind.CHECK

    @classmethod
    def defaults(cls) -> dict[str, float]:
        return {}

    @classmethod
    def build(cls, config: TcpConfig, context: ProbeContext) -> Self:
        return cls(config, context)

    def __init__(self, config: TcpConfig, context: ProbeContext) -> None:
        self._config = config
        self._clock = context.clock
        self._timeout_seconds = context.timeout_seconds
        self._tls = context.ssl_context if config.tls else None
        self._resolver = shared_resolver()
        self._door = DoorBell(context.platform, context.clock)

    async def take(self) -> Reading:
        if await self._door.nobody_home():
            return NobodyHome()
        phases = Phases(self._clock)
        trouble = await self._look(phases)
        if isinstance(trouble, Missed):
            return trouble
        outcome = CheckOutcome.OK if trouble is None else CheckOutcome.FAILED
        why = "" if trouble is None else trouble.why
        return Check(outcome=outcome, why=why, seconds=phases.seconds, phases=phases.spent())

    async def close(self) -> None:
        """Nothing is kept between looks."""

    async def _look(self, phases: Phases) -> Failed | Missed | None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._talk(phases)
        except TimeoutError:
            if phases.current == "resolve":
                return Missed(reason=MissReason.DNS_FAILED, detail="the resolver did not answer")
            return Failed(why=f"time-out ({phases.current})")
        except LOOK_ERRORS as error:
            return blame(error)

    async def _talk(self, phases: Phases) -> Failed | Missed | None:
        config = self._config
        with phases.timed("resolve"):
            addresses = await self._resolver.resolve(config.host, config.port, config.ip)
        if not isinstance(addresses, tuple):
            return addresses
        async with await connect(
            addresses, config.port, phases, tls=self._tls, server_name=config.host
        ) as stream:
            with phases.timed("processing"):
                if config.send:
                    await stream.write(config.send.encode())
                if config.expect is not None and not await _heard(stream, config.expect):
                    return Failed(why="answer does not match")
        return None


async def _heard(stream: Stream, pattern: str) -> bool:
    heard = bytearray()
    while len(heard) < HEARD_AT_MOST:
        chunk = await stream.read(HEARD_AT_MOST)
        heard += chunk
        if re.search(pattern, heard[:HEARD_AT_MOST].decode("utf-8", errors="replace")):
            return True
        if not chunk:
            return False
    return False
