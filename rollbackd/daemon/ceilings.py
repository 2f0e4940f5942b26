"""Caps the mode where the daemon cannot act or must not: by what each token is good for, and by a
second daemon of the same app.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from rollbackd.core.model import TargetName
from rollbackd.core.policy import Policy
from rollbackd.core.ports import TokenReport
from rollbackd.core.rules import Mode
from rollbackd.daemon import tokens
from rollbackd.fly.platform import FlyPlatform

EVERY_SECONDS: Final = 3600.0
SOON_SECONDS: Final = 10.0  # after a platform that did not answer


class Ceilings:
    """`platforms` and `beside` are asked whenever it counts; `apply` is called when a ceiling may
    have moved.
    """

    def __init__(
        self,
        *,
        platforms: Callable[[], Mapping[TargetName, FlyPlatform]],
        beside: Callable[[], str],
        apply: Callable[[], None],
    ) -> None:
        self._platforms = platforms
        self._beside = beside
        self._apply = apply
        self._reports: dict[TargetName, TokenReport] = {}
        self._ask = asyncio.Event()

    def capped(self, policy: Policy) -> Policy:
        policy = tokens.capped(policy, self._platforms().keys(), self._reports)
        why = self._beside()
        if not why:
            return policy
        targets = {
            name: replace(target, token_ceiling=Mode.OBSERVE, ceiling_why=why)
            for name, target in policy.targets.items()
        }
        return replace(policy, targets=targets)

    def ask_anew(self, before: Mapping[TargetName, FlyPlatform]) -> None:
        """After a reload: what changed of the platforms has another app or token."""
        for name, platform in self._platforms().items():
            if before.get(name) is not platform:
                self._reports.pop(name, None)
        self._ask.set()

    async def run(self) -> None:
        """Ask what the tokens are good for until cancelled."""
        while True:
            found = await tokens.reports(self._platforms())
            tokens.tell({n: r for n, r in found.items() if self._reports.get(n) != r})
            self._reports |= found
            self._apply()
            known = self._platforms().keys() <= self._reports.keys()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_SECONDS if known else SOON_SECONDS):
                    await self._ask.wait()
            self._ask.clear()
