"""Asks single machines through Fly's proxy what everybody is asked. Judges only what they answered.

A forced request that ends without the app's own answer (the machine is being replaced, is gone,
hangs) is nothing: the proxy retries and refuses for reasons of its own.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from urllib.parse import urlsplit

from rollbackd.core.facts import Check, CheckOutcome
from rollbackd.core.model import Machine
from rollbackd.core.ports import Clock
from rollbackd.probes.expect import Expect
from rollbackd.probes.http_exchange import Answer, Ask, HttpExchange

FORCE = "fly-force-instance-id"  # docs of Fly: no fallback to another machine
AT_ONCE = 4  # twenty at the same moment would be a load of its own
_OWN_WORDS = frozenset({502, 503, 504})  # of the proxy, where they come without a body


class EachMachine:
    """One request a machine, a few at a time, all of them within the look's deadline."""

    def __init__(self, exchange: HttpExchange, expect: Expect, clock: Clock) -> None:
        self._exchange = exchange
        self._expect = expect
        self._clock = clock

    async def look(self, ask: Ask, machines: Sequence[Machine]) -> tuple[tuple[str, Check], ...]:
        """A check of each machine that answered itself; of the others none."""
        until = self._clock.monotonic() + ask.seconds
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(machine: Machine) -> Check | None:
            async with turns:
                left = until - self._clock.monotonic()
                headers = {**ask.headers, FORCE: machine.id}
                return await self._one(dataclasses.replace(ask, headers=headers, seconds=left))

        checks = await asyncio.gather(*map(one, machines))
        return tuple(
            (machine.id, check)
            for machine, check in zip(machines, checks, strict=True)
            if check is not None
        )

    async def _one(self, ask: Ask) -> Check | None:
        if ask.seconds <= 0:
            return None
        seen = await self._exchange.look(ask)
        if not isinstance(seen, Answer) or not _of_the_app(seen, ask):
            return None
        check = self._expect.judge(seen)
        return None if check.outcome is CheckOutcome.REFUSED else check


def _of_the_app(answer: Answer, ask: Ask) -> bool:
    if answer.status in _OWN_WORDS and not answer.body:
        return False
    # A redirect elsewhere drops the header, and then any machine may have answered, of any app.
    return urlsplit(answer.url)[:2] == urlsplit(ask.url)[:2]
