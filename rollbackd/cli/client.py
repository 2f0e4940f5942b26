"""Talks to the daemon: over its Unix socket on this machine, over ROLLBACKD_URL elsewhere.

Decides nothing and retries nothing: an order that got no answer may have been carried out.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from rollbackd import __version__
from rollbackd.core.errors import (
    Ambiguous,
    ConfigError,
    Rejected,
    RollbackdError,
    TemporaryError,
    Unreachable,
    UsageError,
)
from rollbackd.core.model import Json, JsonObject

if TYPE_CHECKING:
    import httpx

SOCKET_NAME = "rollbackd.sock"
_CONNECT_SECONDS = 3.0
_NAMED = 10  # targets in a hint
_ANSWER_SECONDS = 60.0  # making a plan reads every machine of the app


class DaemonGone(Unreachable):
    """No daemon answers on this machine: reading the store is all that is left."""


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    return Path(environ.get("ROLLBACKD_STATE") or "state")


class Daemon(AbstractContextManager["Daemon"]):
    """One daemon, found by the environment."""

    def __init__(self, environ: Mapping[str, str] = os.environ, *, by: str = "") -> None:
        """`by`: who gives the orders, where it is not the local user."""
        import httpx  # noqa: PLC0415 -- a quarter of a second that `version` need not pay

        self._url = (environ.get("ROLLBACKD_URL") or "").rstrip("/")
        self._socket = state_directory(environ) / SOCKET_NAME
        token = environ.get("ROLLBACKD_TOKEN_RW") or environ.get("ROLLBACKD_TOKEN_RO") or ""
        headers = {
            "User-Agent": f"rollbackd-cli/{__version__}",
            "X-Rollbackd-By": quote(by.strip() or whoami(), safe=" @._-+"),
        }
        if self._url and token:
            headers["Authorization"] = f"Bearer {token.strip()}"
        transport = None if self._url else httpx.HTTPTransport(uds=str(self._socket))
        self._client = httpx.Client(
            base_url=self._url or "http://localhost",
            headers=headers,
            transport=transport,
            timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **params: str | int) -> JsonObject:
        return self._ask("GET", path, params=params, body=None)

    def post(self, path: str, body: JsonObject, *, seconds: float = _ANSWER_SECONDS) -> JsonObject:
        """`seconds`: how long the answer may take."""
        return self._ask("POST", path, params={}, body=body, seconds=seconds)

    def pick(self, target: str | None) -> str:
        """The target asked for, or the only one there is."""
        if target is not None:
            return target
        names = [str(t["name"]) for t in objects(self.get("/api/v1/status").get("targets"))]
        if len(names) == 1:
            return names[0]
        listed = ", ".join(sorted(names)[:_NAMED]) or "none yet"
        more = f" and {len(names) - _NAMED} more: rollbackd status" if len(names) > _NAMED else ""
        raise UsageError("which target?", hint=f"name one of: {listed}{more}")

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int],
        body: JsonObject | None,
        seconds: float = _ANSWER_SECONDS,
    ) -> JsonObject:
        import httpx  # noqa: PLC0415 -- imported already, by __init__

        if not self._url:
            self._knock()
        try:
            answer = self._client.request(
                method,
                path,
                params=params,
                json=body,
                timeout=httpx.Timeout(seconds, connect=_CONNECT_SECONDS),
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._gone() from error
        except httpx.HTTPError as error:
            if method == "POST":
                message = f"the daemon was asked and did not answer: {type(error).__name__}"
                raise Ambiguous(
                    message, hint="look before asking again: rollbackd status"
                ) from error
            message = f"no answer from the daemon: {type(error).__name__}"
            raise Unreachable(message, hint="rollbackd status") from error
        parsed = _parse(answer)
        if answer.is_success:
            return parsed
        raise _refusal(answer.status_code, parsed)

    def _knock(self) -> None:
        """See that somebody listens. A failed connect inside the library leaks its socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            knock.settimeout(_CONNECT_SECONDS)
            try:
                knock.connect(str(self._socket))
            except PermissionError as error:
                message = f"{self._socket} belongs to another user"
                raise UsageError(message, hint="run it as the user of the daemon") from error
            except OSError as error:
                raise self._gone() from error

    def _gone(self) -> RollbackdError:
        if self._url:
            return Unreachable(
                f"nobody answers on {self._url}", hint="is ROLLBACKD_URL right, and the daemon up?"
            )
        return DaemonGone(
            f"no daemon answers on {self._socket}",
            hint="start it with: rollbackd run, or set ROLLBACKD_STATE or ROLLBACKD_URL",
        )


def target_path(target: str, rest: str = "") -> str:
    return f"/api/v1/targets/{in_path(target)}{rest}"


def in_path(name: str) -> str:
    """As a part of an address. Raises UsageError for what cannot be one: no name is like it."""
    if not name.strip() or "/" in name or name in {".", ".."}:
        raise UsageError(f"{name!r} is no name", hint="rollbackd status and history show them")
    return quote(name, safe="")


def objects(value: Json) -> list[JsonObject]:
    """The objects of a JSON list; anything else is none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _parse(answer: httpx.Response) -> JsonObject:
    try:
        parsed = answer.json()
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        return parsed
    if answer.is_success:
        raise Unreachable(
            "that is no rollbackd: its answer is not JSON", hint="check ROLLBACKD_URL"
        )
    return {}


def _refusal(status: int, problem: JsonObject) -> RollbackdError:
    detail = str(problem.get("detail") or f"the daemon answered {status}")
    hint = str(problem.get("hint") or "")
    match status:
        case 400 | 404 | 405 | 413 | 415:
            return UsageError(detail, hint=hint)
        case 401 | 403 | 421:
            return ConfigError(detail, hint=hint or "set ROLLBACKD_TOKEN_RW or ROLLBACKD_TOKEN_RO")
        case 422:
            reason = str(problem.get("error") or detail)
            return ConfigError(reason, hint=hint)
        case 409 | 502:
            return Rejected(detail, hint=hint)
        case 503:
            return TemporaryError(detail, hint=hint)
        case _:
            return Unreachable(detail, hint=hint)


def whoami() -> str:
    """The local user's name, for the record."""
    import pwd  # noqa: PLC0415 -- not on every system, and only here

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
