"""The `scrape` probe: every machine behind a name, counters subtracted per machine, then summed.

It never turns a broken page into a sample: whatever cannot be trusted is a miss with its reason.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from rollbackd.config.types import Size, Spec, Url, refused
from rollbackd.core.facts import Measure, MeasureKind, MissReason
from rollbackd.core.ports import ByMachine, Missed, NobodyHome, Reading
from rollbackd.plugins import ProbeContext
from rollbackd.probes.blame import Failed
from rollbackd.probes.counters import Counters, Key, Page
from rollbackd.probes.exposition import BadBody, SeriesSelector, parse_exposition, parse_selector
from rollbackd.probes.http_exchange import Ask, HttpExchange
from rollbackd.probes.resolver import IpChoice, shared_resolver
from rollbackd.probes.side_by_side import SideBySide
from rollbackd.probes.sleeping import DoorBell
from rollbackd.probes.source import readable
from rollbackd.probes.wanted import BadOfTotal, Buckets, Gauge, Wanted, names_of, page_of

AT_ONCE = 8
READ_HERE_BYTES = 64 * 2**10  # a larger page would hold the loop for too long
MOST_MACHINES = 500
FORGET_AFTER_INTERVALS = 3  # older counts would enter a window they do not belong to


class ScrapeConfig(Spec):
    """A metrics page. One of: bad + total, histogram, value."""

    url: Url = Field(description="The page, such as http://${fly.app}.internal:9091/metrics.")
    bad: SeriesSelector | None = Field(default=None, description="Counters of what went wrong.")
    total: SeriesSelector | None = Field(default=None, description="Counters of all there was.")
    histogram: SeriesSelector | None = Field(
        default=None, description="A histogram's name, with or without _bucket."
    )
    value: SeriesSelector | None = Field(
        default=None, description="One gauge; summed over the machines."
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="Request headers; put secrets in as ${NAME}."
    )
    size_limit: Size = Field(
        default=4 * 2**20, description="A larger page is a miss.", examples=["4MiB"]
    )
    ip: IpChoice = Field(default="any", description="Look over IPv4 (4), IPv6 (6), or any.")

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        ratio = self.bad is not None or self.total is not None
        if ratio and (self.bad is None or self.total is None):
            raise refused("bad and total belong together", "give both")
        if sum((ratio, self.histogram is not None, self.value is not None)) != 1:
            raise refused("exactly one of bad + total, histogram, value")
        return self

    def wanted(self) -> Wanted:
        """What to read off the page, compiled."""
        if self.histogram is not None:
            return Buckets.of(parse_selector(self.histogram))
        if self.value is not None:
            return Gauge(one=parse_selector(self.value))
        assert self.bad is not None
        assert self.total is not None
        return BadOfTotal(bad=parse_selector(self.bad), total=parse_selector(self.total))


class ScrapeProbe:
    """Keeps the counters of each machine between its looks."""

    kind: ClassVar[str] = "scrape"
    Config: ClassVar[type[ScrapeConfig]] = ScrapeConfig

    @classmethod
    def measure(cls, config: ScrapeConfig) -> MeasureKind:
        return config.wanted().kind

    @classmethod
    def defaults(cls) -> dict[str, float]:
        return {}

    @classmethod
    def build(cls, config: ScrapeConfig, context: ProbeContext) -> Self:
        return cls(config, context)

    def __init__(self, config: ScrapeConfig, context: ProbeContext) -> None:
        self._config = config
        self._clock = context.clock
        self._timeout_seconds = context.timeout_seconds
        self._wanted = config.wanted()
        self._names = names_of(self._wanted)
        self._counters = Counters(FORGET_AFTER_INTERVALS * context.interval_seconds)
        self._resolver = shared_resolver()
        self._door = DoorBell(context.platform, context.clock)
        self._machines = SideBySide(context.platform, context.clock)
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._exchange = HttpExchange(
            ssl_context=context.ssl_context, clock=context.clock, user_agent=context.user_agent
        )

    async def take(self) -> Reading:
        if await self._door.nobody_home():
            return NobodyHome()
        until = self._clock.monotonic() + self._timeout_seconds
        addresses = await self._addresses(until - self._clock.monotonic())
        if isinstance(addresses, Missed):
            return addresses
        pages = await self._pages(addresses, until)
        machines = await self._machines.now()
        return self._measure(pages, {_spelled(m.private_ip): m.id for m in machines})

    async def close(self) -> None:
        await self._exchange.close()

    async def _addresses(self, seconds: float) -> tuple[str, ...] | Missed:
        url = urlsplit(self._config.url)
        try:
            async with asyncio.timeout(seconds):
                found = await self._resolver.resolve(
                    url.hostname or "", url.port or 80, self._config.ip
                )
        except TimeoutError:
            return Missed(reason=MissReason.DNS_FAILED, detail="the resolver did not answer")
        if isinstance(found, Failed):
            return Missed(reason=MissReason.SOURCE_UNREACHABLE, detail=found.why)
        return found if isinstance(found, Missed) else found[:MOST_MACHINES]

    async def _pages(self, addresses: tuple[str, ...], until: float) -> dict[str, Page | Missed]:
        async def page(address: str) -> Page | Missed:
            async with self._at_once:
                return await self._page(address, until - self._clock.monotonic())

        pages = await asyncio.gather(*map(page, addresses))
        return dict(zip(addresses, pages, strict=True))

    async def _page(self, address: str, seconds: float) -> Page | Missed:
        if seconds <= 0:
            return Missed(reason=MissReason.SOURCE_UNREACHABLE, detail="no time left to ask")
        seen = readable(
            await self._exchange.look(
                Ask(
                    url=self._config.url,
                    address=address,
                    seconds=seconds,
                    headers={"accept": "text/plain;version=0.0.4", **self._config.headers},
                    size_limit=self._config.size_limit,
                )
            )
        )
        if isinstance(seen, Missed):
            return seen
        try:
            if len(seen.body) < READ_HERE_BYTES:
                return self._read(seen.body)
            return await asyncio.to_thread(self._read, seen.body)
        except BadBody as error:
            return Missed(reason=MissReason.SOURCE_BAD_BODY, detail=str(error))

    def _read(self, body: bytes) -> Page:
        series = parse_exposition(body, self._names)
        return page_of(self._wanted, series, self._clock.monotonic())

    def _measure(self, pages: dict[str, Page | Missed], machines: dict[str, str]) -> Reading:
        """`machines`: address to id, of those to tell apart."""
        self._counters.keep_only(pages, self._clock.monotonic())
        answered = {address: page for address, page in pages.items() if isinstance(page, Page)}
        if not answered:
            return _commonest([page for page in pages.values() if isinstance(page, Missed)])
        if self._wanted.kind is MeasureKind.VALUE:
            return self._sum_of_gauges(answered, of=len(pages))
        grown = {
            address: difference
            for address, page in answered.items()
            if (difference := self._counters.difference(address, page)) is not None
        }
        if not grown:
            return Missed(reason=MissReason.BASELINE)
        whole = self._wanted.measure(list(grown.values()))
        parts = tuple(self._parts(grown, machines))
        return ByMachine(whole=whole, parts=parts) if parts else whole

    def _parts(
        self, grown: dict[str, Mapping[Key, float]], machines: dict[str, str]
    ) -> Iterator[tuple[str, Measure]]:
        for address, difference in grown.items():
            machine = machines.get(_spelled(address))
            part = None if machine is None else self._wanted.measure([difference])
            if machine is not None and part is not None and not isinstance(part, Missed):
                yield machine, part

    def _sum_of_gauges(self, answered: dict[str, Page], *, of: int) -> Reading:
        if len(answered) < of:
            # Counters of some machines are still true; half a gauge would look like a drop.
            detail = f"{len(answered)} of {of} machines answered"
            return Missed(reason=MissReason.SOURCE_UNREACHABLE, detail=detail)
        return self._wanted.measure([page.values for page in answered.values()])


def _spelled(address: str) -> str:
    """One address is written in one way, as an answer of DNS and in the Machines API."""
    try:
        return str(ip_address(address.partition("%")[0]))
    except ValueError:
        return ""


def _commonest(misses: list[Missed]) -> Missed:
    return Counter(misses).most_common(1)[0][0]
