"""A client whose answers a test writes by hand, and which keeps what was sent."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from rollbackd.clock import FakeClock
from rollbackd.fly.client import FlyClient

Reply = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]
TOKEN = "fm2_planted-secret"


@dataclass(repr=False)
class Fly:
    """Answers in order; the last answer is repeated."""

    replies: list[Reply]
    sent: list[httpx.Request] = field(default_factory=list)
    permits: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, str, str]] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        reply = self.replies[min(len(self.sent), len(self.replies)) - 1]
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, httpx.Response) else reply(request)

    def called(self, *, api: str, endpoint: str, method: str, code: str, seconds: float) -> None:
        self.calls.append((api, endpoint, method, code))

    def sent_again(self, *, api: str) -> None:
        self.again.append(api)

    def client(self, token: str = TOKEN, read_token: str | None = None) -> FlyClient:
        return FlyClient(
            "https://machines.test",
            "https://api.test",
            token,
            read_token,
            clock=self.clock,
            permit=self.permits.append,
            meter=self,
            transport=httpx.MockTransport(self.answer),
            rng=random.Random(1),
        )


def says(status: int, text: str = "", /, **more: str) -> httpx.Response:
    return httpx.Response(status, json={"error": text, **more}, headers={"fly-request-id": "01R"})
