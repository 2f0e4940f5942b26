"""A real PostgreSQL in a directory of its own, on loopback, for the demo, tests and rehearsals.

It ends with us however we end: a shell holds the other end of a pipe, and shuts the server down
when that closes. As root everything inside runs as nobody. Nothing of a server that was here before
is touched.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

from rollbackd.clock import SystemClock
from rollbackd.core.errors import PermanentError
from rollbackd.postgres.binaries import Binaries, find_binaries

NOBODY: Final = 65534
SUPERUSER: Final = "postgres"
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 20.0
_ATTEMPTS: Final = 3  # somebody else may take the port between our look and the server's
_LOG_TAIL: Final = 400
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "max_connections": "60",
    "max_prepared_transactions": "5",
    "shared_buffers": "32MB",
    "logging_collector": "off",
}
# The server in the background, and `cat` beside it: it ends when nobody holds the pipe any more.
# "stop" in the pipe asks for a clean end (SIGINT, "fast"); otherwise an abrupt one, as of a process
# that could not say anything, and a directory of ours goes too.
_SHELL: Final = """
exec 3<&0
"$@" 3<&- & server=$!
( word=$(cat <&3); case "$word" in
  stop) kill -INT $server;;
  drop) kill -QUIT $server;;
  *) : >orphaned; kill -QUIT $server;;
esac ) & watch=$!
exec 3<&-
wait $server; code=$?
kill $watch 2>/dev/null
[ -e orphaned ] && [ -n "$THROW_AWAY" ] && rm -rf "$THROW_AWAY"
rm -f orphaned
exit $code
"""


class PostgresServer:
    """`start` to `stop`, as often as wanted; the data stays until `stop(remove=True)` or our end.

    `directory` None: a fresh one among the temporary files, gone when the server ends with us.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        binaries: Binaries | None = None,
        settings: Mapping[str, str] | None = None,
        superuser: str = SUPERUSER,
    ) -> None:
        self._ours = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="rollbackd-pg-"))
        self.password = secrets.token_hex(12)
        self.superuser = superuser
        self.port = 0
        self.tls = False
        self._binaries = binaries or find_binaries()
        self._settings = dict(_SETTINGS) | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        return int((self.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])

    def url(self, database: str = "postgres", *, user: str = "", password: str = "") -> str:
        """Where libpq finds it, with the password in it."""
        who = f"{quote(user or self.superuser)}:{quote(password or self.password)}"
        mode = "require" if self.tls else "disable"
        return f"postgresql://{who}@127.0.0.1:{self.port}/{quote(database)}?sslmode={mode}"

    def __enter__(self) -> Self:
        try:
            self.start()
        except PermanentError:
            self.stop(remove=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(remove=True)

    def start(self) -> None:
        """Answers connections when it returns."""
        if not self.data.exists():
            self._make()
        for attempt in range(_ATTEMPTS):
            self.port = _free_port()
            self._launch()
            if self._answers():
                return
            self.stop()
            if "Address already in use" not in self._tail() or attempt == _ATTEMPTS - 1:
                raise PermanentError("the PostgreSQL server did not start", hint=self._tail())

    def stop(self, *, remove: bool = False) -> None:
        """Open sessions are cut. Nothing of it runs when this returns; `remove`: nor is kept."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it ended by itself
                process.stdin.write(b"drop" if remove else b"stop")
                process.stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
        if remove:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _make(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(stat.S_IRWXU)
        secret = self.directory / "password"
        secret.write_text(self.password, encoding="utf-8")
        if os.geteuid() == 0:
            os.chown(self.directory, NOBODY, NOBODY)
            os.chown(secret, NOBODY, NOBODY)
            self._binaries = _reachable(self._binaries, self.directory)
        self._run(
            *(
                self._binaries.tool("initdb"),
                "--pgdata",
                str(self.data),
                "--username",
                self.superuser,
            ),
            *("--pwfile", str(secret), "--auth", "scram-sha-256", "--encoding", "UTF8"),
            *("--locale", "C", "--no-sync", "--no-instructions"),
        )
        secret.unlink()
        self.tls = self._certify()
        if self.tls:
            self._settings["ssl"] = "on"

    def _certify(self) -> bool:
        openssl = shutil.which("openssl")
        if openssl is None:
            return False
        self._run(
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "3650", "-subj", "/CN=localhost"),
            *("-keyout", str(self.data / "server.key"), "-out", str(self.data / "server.crt")),
        )
        return True

    def _launch(self) -> None:
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        server = [self._binaries.tool("postgres"), "-D", str(self.data), "-p", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                ["/bin/sh", "-c", _SHELL, "sh", *server, *options],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in a terminal is for us, not for it
                env=_environment() | {"THROW_AWAY": str(self.directory) if self._ours else ""},
                cwd=self.directory,
                **_as_nobody(),
            )

    def _answers(self) -> bool:
        """Whether it is ready within its time; False as soon as it ended."""
        assert self._process is not None
        clock = SystemClock()
        deadline = clock.monotonic() + _START_SECONDS
        state = self.data / "postmaster.pid"
        while self._process.poll() is None and clock.monotonic() < deadline:
            try:
                lines = state.read_text(encoding="utf-8").splitlines()
            except FileNotFoundError:
                lines = []
            if len(lines) > 7 and lines[7].strip() == "ready" and lines[3] == str(self.port):  # noqa: PLR2004 - its eighth line
                return True
            threading.Event().wait(0.01)
        return False

    def _run(self, *command: str) -> None:
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
            cwd=self.directory,
            **_as_nobody(),
        )
        if done.returncode:
            raise PermanentError(
                f"{Path(command[0]).name} failed", hint=done.stderr.strip()[-_LOG_TAIL:]
            )

    def _tail(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace").strip()[-_LOG_TAIL:]


def _environment() -> dict[str, str]:
    """Without what would point it at another server."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"}


def _as_nobody() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def _reachable(binaries: Binaries, directory: Path) -> Binaries:
    """Root may keep its programs where nobody may look, /root for one: then a copy of them."""
    above = [binaries.directory, *binaries.directory.parents]
    if all(path.stat().st_mode & stat.S_IXOTH for path in above):
        return binaries
    copy = directory / "install"
    shutil.copytree(binaries.directory.parent, copy, symlinks=True)
    return Binaries(copy / binaries.directory.name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
