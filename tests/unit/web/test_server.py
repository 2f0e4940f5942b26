import signal
import socket
import stat
from pathlib import Path

import httpx
import pytest

from rollbackd.core.errors import ConfigError
from rollbackd.web.auth import Tokens
from rollbackd.web.private import private_app
from rollbackd.web.server import Listener, parse_listen
from tests.support_desk import FakeDesk


def app(*, trusted: bool = False) -> object:
    return private_app(FakeDesk(), tokens=Tokens(), count=lambda *_: None, trusted=trusted)


async def test_a_free_port_is_taken_and_named() -> None:
    listener = Listener(app(), "127.0.0.1:0")
    await listener.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://{listener.address}") as client:
            answer = await client.get("/api/v1/version")
    finally:
        await listener.stop()

    assert answer.status_code == 200
    assert "server" not in answer.headers
    assert not listener.address.endswith(":0")


async def test_both_families_are_served_on_the_v6_wildcard() -> None:
    listener = Listener(app(), "[::]:0")
    await listener.start()
    port = listener.address.rpartition(":")[2]
    try:
        async with httpx.AsyncClient() as client:
            for host in ("127.0.0.1", "[::1]"):
                answer = await client.get(f"http://{host}:{port}/api/v1/version")
                assert answer.status_code == 200
    finally:
        await listener.stop()

    assert listener.address.startswith("[::]:")


async def test_the_socket_is_ours_alone_from_the_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "state" / "rollbackd.sock"
    listener = Listener(app(trusted=True), path)
    await listener.start()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.get("/api/v1/status")
    finally:
        await listener.stop()

    assert mode == 0o600
    assert answer.status_code == 200
    assert not path.exists()


async def test_what_a_dead_daemon_left_is_cleared_away(tmp_path: Path) -> None:
    path = tmp_path / "rollbackd.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()

    listener = Listener(app(trusted=True), path)
    await listener.start()
    await listener.stop()


async def test_a_living_daemon_keeps_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "rollbackd.sock"
    first = Listener(app(trusted=True), path)
    await first.start()
    try:
        with pytest.raises(ConfigError, match="another rollbackd"):
            await Listener(app(trusted=True), path).start()
        assert path.exists()
    finally:
        await first.stop()


async def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "rollbackd.sock"
    path.write_text("precious")

    with pytest.raises(ConfigError, match="not a socket"):
        await Listener(app(), path).start()

    assert path.read_text() == "precious"


async def test_a_path_too_long_for_a_socket_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too long"):
        await Listener(app(), tmp_path / ("x" * 120)).start()


async def test_a_taken_port_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="cannot listen on"):
            await Listener(app(), f"127.0.0.1:{port}").start()


async def test_signals_stay_with_the_daemon() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    listener = Listener(app(), "127.0.0.1:0")
    await listener.start()
    during = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    await listener.stop()

    assert during == before


async def test_stopping_twice_or_unstarted_does_nothing() -> None:
    listener = Listener(app(), "127.0.0.1:0")
    await listener.stop()
    await listener.start()
    await listener.stop()
    await listener.stop()


@pytest.mark.parametrize(
    "listen", ["", "9090", ":9090", "localhost", "127.0.0.1:65536", "127.0.0.1:x", "::1:80", "h:-1"]
)
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError):
        parse_listen(listen)


def test_addresses_are_read() -> None:
    assert parse_listen("127.0.0.1:9090") == ("127.0.0.1", 9090)
    assert parse_listen("[::]:9090") == ("::", 9090)
    assert parse_listen("fly-local-6pn:8080") == ("fly-local-6pn", 8080)
