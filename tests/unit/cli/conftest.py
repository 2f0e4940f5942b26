"""A live listener on a real Unix socket, with a fake desk behind it, and the CLI beside it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rollbackd.cli.main import app
from rollbackd.web.auth import Tokens
from rollbackd.web.private import private_app
from rollbackd.web.server import Listener
from tests.support_desk import FakeDesk

RW = "read-write-token-2"


@dataclass
class Served:
    desk: FakeDesk
    state: Path
    url: str


@pytest.fixture(scope="session")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A daemon's listeners in a thread of their own: the CLI is synchronous."""
    state = tmp_path_factory.mktemp("state")
    desk = FakeDesk()
    began, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    local = private_app(desk, tokens=Tokens(), count=lambda *_: None, trusted=True)
    remote = private_app(desk, tokens=Tokens(rw=RW), count=lambda *_: None)
    both = Listener(local, state / "rollbackd.sock"), Listener(remote, "127.0.0.1:0")

    async def serve() -> None:
        for listener in both:
            await listener.start()
        began.set()
        await over.wait()
        for listener in both:
            await listener.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert began.wait(10)
    yield Served(desk=desk, state=state, url=f"http://{both[1].address}")
    loop.call_soon_threadsafe(over.set)
    thread.join(10)
    loop.close()


@pytest.fixture
def served(listeners: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The listeners with a desk as new, and an environment that leads to them."""
    for name in ("ROLLBACKD_URL", "ROLLBACKD_TOKEN_RO", "ROLLBACKD_TOKEN_RW"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROLLBACKD_STATE", str(listeners.state))
    fresh = FakeDesk()
    for field in fields(fresh):
        setattr(listeners.desk, field.name, getattr(fresh, field.name))
    return listeners


Run = Callable[..., Result]


@pytest.fixture
def rollbackd(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")

    def run(*words: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(app, list(words), input=answer, catch_exceptions=False)

    return run
