"""The `http` probe: one request, judged by what is expected of the answer, or read for a number.

It does not decide whether a silence is ours: the control look does (design section 2).
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from rollbackd.config.types import Size, Spec, Url, refused
from rollbackd.core.errors import ConfigError
from rollbackd.core.facts import Check, CheckOutcome, MeasureKind, MissReason, Value
from rollbackd.core.model import Machine
from rollbackd.core.ports import ByMachine, Missed, NobodyHome, Reading
from rollbackd.plugins import ProbeContext
from rollbackd.probes.blame import Failed
from rollbackd.probes.each_machine import EachMachine
from rollbackd.probes.expect import Expect
from rollbackd.probes.health_path import HealthPath
from rollbackd.probes.http_exchange import Answer, Ask, HttpExchange
from rollbackd.probes.json_path import Absent, JsonPath, as_number, parse_json, pick
from rollbackd.probes.resolver import IpChoice
from rollbackd.probes.side_by_side import SideBySide
from rollbackd.probes.sleeping import DoorBell
from rollbackd.probes.source import readable

AUTO = "auto"
SHALLOW_WHY = "shallow: no health path was found, so it looks at /"


class HttpConfig(Spec):
    """One HTTP request and what is expected of its answer."""

    path: str | None = Field(
        default=None,
        description="A path on the target's url; auto (the default) finds the health path.",
        examples=["/healthz", AUTO],
    )
    url: Url | None = Field(default=None, description="An absolute URL instead of a path.")
    method: Literal["GET", "HEAD", "POST", "OPTIONS"] = Field(
        default="GET", description="The request's method."
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="Request headers; put secrets in as ${NAME}."
    )
    body: str = Field(default="", description="The request's body, for POST.")
    expect: Expect = Field(default=Expect(), description="What a good answer looks like.")
    value: JsonPath | None = Field(
        default=None, description="Read a number from the JSON body instead of judging it."
    )
    size_limit: Size = Field(
        default=4 * 2**20, description="A larger body counts as failed.", examples=["4MiB"]
    )
    redirects: Literal["follow", "none"] = Field(
        default="follow", description="Whether redirects are followed (at most 10)."
    )
    ip: IpChoice = Field(default="any", description="Look over IPv4 (4), IPv6 (6), or any.")
    reuse: bool = Field(
        default=False,
        description="Keep the connection. Cheaper, but hides DNS, TLS and accept faults.",
    )
    each_machine: bool | None = Field(
        default=None,
        description=(
            "While two releases serve, ask each machine too (at most 20), to compare new with old. "
            "By default wherever a path of a Fly app is looked at."
        ),
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.path is not None and self.url is not None:
            raise refused("both path and url", "a path is on the target's url; keep one of them")
        if self.each_machine and self.value is not None:
            raise refused("each_machine and value together", "only checks are compared")
        return self

    @field_validator("path")
    @classmethod
    def _from_the_root(cls, path: str | None) -> str | None:
        if path is None or path == AUTO:
            return path
        if not path.startswith("/"):
            raise refused(f"a path starts with a slash: {path}", "write /healthz, or auto")
        if any(c.isspace() or not c.isprintable() for c in path):
            raise refused(f"a path has no spaces and no line ends: {path}", "write %20 for a space")
        return path


def _tells_apart(config: HttpConfig) -> bool:
    """A URL of its own may be anybody's, who need not hear our machines' names."""
    if config.each_machine is None:
        return config.url is None and config.value is None
    return config.each_machine


class HttpProbe:
    """Asks over a fresh connection each time, within one deadline."""

    kind: ClassVar[str] = "http"
    Config: ClassVar[type[HttpConfig]] = HttpConfig

    @classmethod
    def measure(cls, config: HttpConfig) -> MeasureKind:
        return MeasureKind.CHECK if config.value is None else MeasureKind.VALUE

    @classmethod
    def defaults(cls) -> dict[str, float]:
        return {}

    @classmethod
    def build(cls, config: HttpConfig, context: ProbeContext) -> Self:
        if config.url is None and context.url is None:
            raise ConfigError(
                f"probe {context.name} has a path, but target {context.target} has no url",
                hint="give the target a url, or the probe an absolute one",
            )
        return cls(config, context)

    def __init__(self, config: HttpConfig, context: ProbeContext) -> None:
        self._config = config
        self._base = (context.url or "").rstrip("/")
        self._exchange = HttpExchange(
            ssl_context=context.ssl_context,
            clock=context.clock,
            user_agent=context.user_agent,
            reuse=config.reuse,
        )
        self._ask = Ask(
            url=config.url or self._base + (config.path or "/"),
            seconds=context.timeout_seconds,
            method=config.method,
            headers=config.headers,
            body=config.body.encode(),
            size_limit=config.size_limit,
            follow=config.redirects == "follow",
            ip=config.ip,
        )
        # A URL elsewhere wakes nobody here.
        own = context.platform if config.url is None else None
        self._door = DoorBell(own, context.clock)
        searches = config.url is None and config.path in {None, AUTO}
        self._health = HealthPath(own, context.clock, config.expect) if searches else None
        told_apart = context.platform if _tells_apart(config) else None
        self._machines = SideBySide(told_apart, context.clock)
        self._each = EachMachine(self._exchange, config.expect, context.clock)
        self._rng = context.rng

    @property
    def shallow(self) -> bool:
        """It looks at `/` only because no health path was found."""
        return self._health is not None and self._health.shallow

    async def take(self) -> Reading:
        empty, machines = await self._who_is_there()
        if empty:
            return NobodyHome()
        seen, parts = await asyncio.gather(self._look(), self._parts(machines))
        whole = self._whole(seen)
        return ByMachine(whole=whole, parts=parts) if parts else whole

    def _whole(self, seen: Answer | Failed | Missed) -> Check | Value | Missed:
        if self._config.value is not None:
            return self._number(seen, self._config.value)
        match seen:
            case Failed(why=why):
                return Check(outcome=CheckOutcome.FAILED, why=why)
            case Missed():
                return seen
            case Answer():
                return self._noted(self._config.expect.judge(seen))

    def _noted(self, check: Check) -> Check:
        """A page that answers is not yet an app that is well: say when that is all we look at."""
        if not self.shallow or check.outcome is not CheckOutcome.OK:
            return check
        return dataclasses.replace(check, why=SHALLOW_WHY)

    async def close(self) -> None:
        await self._exchange.close()

    async def _who_is_there(self) -> tuple[bool, tuple[Machine, ...]]:
        """Whether nobody is, and whom to compare."""
        # A slow platform must not eat the deadline of the look: that would invent a time-out.
        empty, machines, _ = await asyncio.gather(
            self._door.nobody_home(), self._machines.now(self._rng), self._ask_for_paths()
        )
        return empty, machines

    async def _ask_for_paths(self) -> None:
        if self._health is not None:
            await self._health.ask_platform()

    async def _parts(self, machines: Sequence[Machine]) -> tuple[tuple[str, Check], ...]:
        if not machines:
            return ()
        path = self._health.path if self._health is not None else None
        url = self._ask.url if path is None else self._base + path
        return await self._each.look(dataclasses.replace(self._ask, url=url), machines)

    async def _look(self) -> Answer | Failed | Missed:
        async def at(path: str) -> Answer | Failed | Missed:
            return await self._exchange.look(dataclasses.replace(self._ask, url=self._base + path))

        if self._health is not None:
            return await self._health.look(at)
        return await self._exchange.look(self._ask)

    def _number(self, seen: Answer | Failed | Missed, path: str) -> Value | Missed:
        answer = readable(seen)
        if isinstance(answer, Missed):
            return answer
        document = parse_json(answer.body)
        if isinstance(document, Absent):
            return Missed(reason=MissReason.SOURCE_BAD_BODY, detail="body is not JSON")
        found = pick(document, path)
        if isinstance(found, Absent) or found is None:
            return Missed(reason=MissReason.EMPTY, detail=f"nothing at {path}")
        number = as_number(found)
        if number is None:
            return Missed(reason=MissReason.NOT_A_NUMBER, detail=path)
        return Value(value=number)
