"""A live listener on a real Unix socket, with a fake desk behind it, and the CLI beside it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A daemon's listeners in a thread of their own: the CLI is synchronous."""
    for name in ("ROLLBACKD_URL", "ROLLBACKD_TOKEN_RO", "ROLLBACKD_TOKEN_RW"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROLLBACKD_STATE", str(tmp_path))
    desk = FakeDesk()
    began, over = threading.Event(), asyncio.Event()
    address: list[str] = []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        apps = [
            Listener(
                private_app(desk, tokens=Tokens(), count=lambda *_: None, trusted=True),
                tmp_path / "rollbackd.sock",
            ),
            Listener(private_app(desk, tokens=Tokens(rw=RW), count=lambda *_: None), "127.0.0.1:0"),
        ]
        for listener in apps:
            await listener.start()
            address.append(listener.address)
        began.set()
        await over.wait()
        for listener in apps:
            await listener.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert began.wait(10)
    yield Served(desk=desk, state=tmp_path, url=f"http://{address[1]}")
    loop.call_soon_threadsafe(over.set)
    thread.join(10)
    loop.close()


Run = Callable[..., Result]


@pytest.fixture
def rollbackd(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")

    def run(*words: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(app, list(words), input=answer, catch_exceptions=False)

    return run
