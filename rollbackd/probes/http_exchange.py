"""One truthful HTTP look: own resolution, a fresh connection, phases, one deadline, bounded body.

It says what came back or whose fault it is that nothing did; whether the answer is good is for
the caller. No proxies from the environment, no cookies, no retries, no cache.
"""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import SplitResult, quote, urldefrag, urljoin, urlsplit

import httpcore

from rollbackd.core.facts import MissReason
from rollbackd.core.ports import Clock, Missed
from rollbackd.probes.blame import LOOK_ERRORS, Failed, blame
from rollbackd.probes.http_body import BodyTooLarge, read_body
from rollbackd.probes.phases import Phases
from rollbackd.probes.resolver import IpChoice, Resolver, shared_resolver
from rollbackd.probes.stream import connect

MOST_REDIRECTS = 10
KEPT_IDLE_SECONDS = 90.0

_URL_SAFE = "%/:=&?~#+!$,;'@()*[]"  # what is escaped already stays as it is
_DEFAULT_PORTS = {"http": 80, "https": 443}
_REDIRECTS = {301, 302, 303, 307, 308}
_KEEPS_METHOD = {307, 308}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What to ask. `size_limit` bounds the decoded body; `seconds` the whole look."""

    url: str
    seconds: float
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    size_limit: int = 4 * 2**20
    follow: bool = False
    ip: IpChoice = "any"
    address: str = ""  # connect here instead of resolving the name
    headers_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer. Header names are lower-case; of a repeated one the last counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    seconds: float
    phases: tuple[tuple[str, float], ...]


_Hop: TypeAlias = tuple[Literal["http", "https"], str, int]  # origin: scheme, host, port


class HttpExchange:
    """Looks over HTTP for one probe. With `reuse` it keeps one idle connection per origin."""

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext,
        clock: Clock,
        user_agent: str,
        reuse: bool = False,
        resolver: Resolver | None = None,
    ) -> None:
        self._ssl_context = ssl_context
        self._clock = clock
        self._user_agent = user_agent
        self._reuse = reuse
        self._resolver = resolver or shared_resolver()
        self._idle: dict[_Hop, httpcore.AsyncHTTP11Connection] = {}

    async def look(self, ask: Ask) -> Answer | Failed | Missed:
        """Ask once, following redirects if wanted. Never raises for what the world does."""
        phases = Phases(self._clock)
        try:
            async with asyncio.timeout(ask.seconds):
                return await self._follow(ask, phases)
        except TimeoutError:
            if phases.current == "resolve":
                return Missed(reason=MissReason.DNS_FAILED, detail="the resolver did not answer")
            return Failed(why=f"time-out ({phases.current})")
        except BodyTooLarge:
            return Failed(why="body over the limit")
        except LOOK_ERRORS as error:
            return blame(error)

    async def close(self) -> None:
        while self._idle:
            _, connection = self._idle.popitem()
            await connection.aclose()

    async def _follow(self, ask: Ask, phases: Phases) -> Answer | Failed | Missed:
        seen = {(ask.method, ask.url)}
        while True:
            answer = await self._hop(ask, phases)
            if not isinstance(answer, Answer) or not ask.follow or not _redirects(answer):
                return answer
            following = _next_ask(ask, answer)
            if isinstance(following, Failed):
                return following
            ask = following
            if (ask.method, ask.url) in seen or len(seen) > MOST_REDIRECTS:
                return Failed(why="redirect loop")
            seen.add((ask.method, ask.url))

    async def _hop(self, ask: Ask, phases: Phases) -> Answer | Failed | Missed:
        try:
            url = urlsplit(ask.url)
            hop = _hop_of(url)
        except ValueError:
            return Failed(why="not a URL")
        kept = await self._take_idle(hop)
        if kept is not None:
            try:
                return await self._exchange(kept, ask, url, phases)
            except (httpcore.RemoteProtocolError, ConnectionError):
                pass  # an idle connection may die without saying so; only a fresh one is evidence
        return await self._fresh(hop, ask, url, phases)

    async def _fresh(
        self, hop: _Hop, ask: Ask, url: SplitResult, phases: Phases
    ) -> Answer | Failed | Missed:
        scheme, host, port = hop
        with phases.timed("resolve"):
            addresses = (
                (ask.address,) if ask.address else await self._resolver.resolve(host, port, ask.ip)
            )
        if not isinstance(addresses, tuple):
            return addresses
        tls = self._ssl_context if scheme == "https" else None
        stream = await connect(addresses, port, phases, tls=tls, server_name=host)
        connection = httpcore.AsyncHTTP11Connection(
            _origin(hop), stream, keepalive_expiry=KEPT_IDLE_SECONDS
        )
        return await self._exchange(connection, ask, url, phases)

    async def _exchange(
        self,
        connection: httpcore.AsyncHTTP11Connection,
        ask: Ask,
        url: SplitResult,
        phases: Phases,
    ) -> Answer:
        hop = _hop_of(url)
        try:
            with phases.timed("processing"):
                response = await connection.handle_async_request(self._request(hop, ask, url))
            headers = {
                k.decode("latin-1").lower(): v.decode("latin-1") for k, v in response.headers
            }
            with phases.timed("transfer"):
                body = (
                    b"" if ask.headers_only else await read_body(response, headers, ask.size_limit)
                )
            await response.aclose()
            if self._reuse and connection.is_available():
                self._idle[hop] = connection
        finally:
            if self._idle.get(hop) is not connection:
                await connection.aclose()
        return Answer(
            status=response.status,
            headers=headers,
            body=body,
            url=ask.url,
            seconds=phases.seconds,
            phases=phases.spent(),
        )

    async def _take_idle(self, hop: _Hop) -> httpcore.AsyncHTTP11Connection | None:
        # Taken out while in use: two looks at once never share one, and a broken one is not kept.
        connection = self._idle.pop(hop, None)
        if connection is not None and connection.has_expired():
            await connection.aclose()
            return None
        return connection

    def _request(self, hop: _Hop, ask: Ask, url: SplitResult) -> httpcore.Request:
        path = quote(f"{url.path or '/'}{'?' + url.query if url.query else ''}", safe=_URL_SAFE)
        headers = {
            "host": _host_header(hop),
            "user-agent": self._user_agent,
            "accept": "*/*",
            "accept-encoding": "identity",
            "connection": "keep-alive" if self._reuse else "close",
        }
        headers |= {name.lower(): value for name, value in ask.headers.items()}
        if ask.body or ask.method == "POST":
            headers["content-length"] = str(len(ask.body))
        scheme, host, port = hop
        return httpcore.Request(
            method=ask.method,
            url=httpcore.URL(scheme=scheme, host=host, port=port, target=path),
            headers=[(k.encode("latin-1"), v.encode("utf-8")) for k, v in headers.items()],
            content=ask.body,
        )


def _hop_of(url: SplitResult) -> _Hop:
    """The origin a URL points at. Raises ValueError where it points at none."""
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ValueError(url.scheme)
    host = url.hostname if url.hostname.isascii() else url.hostname.encode("idna").decode()
    if url.scheme == "https":
        return "https", host, url.port or 443
    return "http", host, url.port or 80


def _origin(hop: _Hop) -> httpcore.Origin:
    scheme, host, port = hop
    return httpcore.Origin(scheme.encode(), host.encode(), port)


def _host_header(hop: _Hop) -> str:
    scheme, host, port = hop
    name = f"[{host.partition('%')[0]}]" if ":" in host else host
    return name if port == _DEFAULT_PORTS[scheme] else f"{name}:{port}"


def _redirects(answer: Answer) -> bool:
    return answer.status in _REDIRECTS and "location" in answer.headers


def _next_ask(ask: Ask, answer: Answer) -> Ask | Failed:
    try:
        url = urldefrag(urljoin(answer.url, answer.headers["location"])).url
        same_origin = _hop_of(urlsplit(url)) == _hop_of(urlsplit(answer.url))
    except ValueError:
        return Failed(why="redirect to something that is not a URL")
    if answer.status not in _KEEPS_METHOD and ask.method not in {"GET", "HEAD"}:
        ask = dataclasses.replace(ask, method="GET", body=b"")
    if same_origin:
        return dataclasses.replace(ask, url=url)
    # Headers may hold a token that was meant for the first origin only.
    return dataclasses.replace(ask, url=url, headers={}, address="")
