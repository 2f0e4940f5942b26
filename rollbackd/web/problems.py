"""Errors as problem+json (RFC 9457). Never shows a traceback, never a secret."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from rollbackd.core import errors
from rollbackd.core.model import JsonObject
from rollbackd.telemetry.redact import Scrubber

_SCRUBBER = Scrubber()
_TITLES = {
    400: "Bad request", 401: "Who are you?", 403: "Not allowed", 404: "Not found",
    405: "Method not allowed", 408: "Too slow", 409: "Refused", 413: "Too large", 415: "Not JSON",
    421: "Wrong host", 422: "Configuration refused", 429: "Too many requests",
    500: "Internal error", 502: "The platform refused rollbackd's token", 503: "Not now",
}  # fmt: skip

# The first class that fits counts: the specific stand before the general.
_STATUS: tuple[tuple[type[errors.RollbackdError], int], ...] = (
    (errors.UsageError, 404),
    (errors.NotFound, 404),
    (errors.ConfigError, 422),
    (errors.Unauthorized, 502),
    (errors.RateLimited, 503),
    (errors.TemporaryError, 503),
    (errors.PermanentError, 409),
    (errors.Stopped, 409),
    (errors.Superseded, 409),
    (errors.Fenced, 409),
)


def problem(
    status: int, detail: str, *, hint: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    body: JsonObject = {
        "type": "about:blank",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": _SCRUBBER.text(detail),
    }
    if hint:
        body["hint"] = _SCRUBBER.text(hint)
    return Response(
        json.dumps(body, ensure_ascii=False),
        status_code=status,
        headers=dict(headers or {}),
        media_type="application/problem+json",
    )


def status_of(error: errors.RollbackdError) -> int:
    return next((code for kind, code in _STATUS if isinstance(error, kind)), 500)


def of_ours(_request: Request, error: Exception) -> Response:
    """One of the exception tree, raised by the desk."""
    assert isinstance(error, errors.RollbackdError)
    status = status_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, errors.TemporaryError) and error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
    return problem(status, error.message, hint=error.hint, headers=headers)


def of_http(_request: Request, error: Exception) -> Response:
    """Ours by way of Starlette: 401, 403, 404, 405, …"""
    assert isinstance(error, HTTPException)
    return problem(error.status_code, error.detail, headers=error.headers)


def of_anything(_request: Request, _error: Exception) -> Response:
    """A bug. The server logs it; the caller learns no more than that."""
    return problem(500, "rollbackd made a mistake", hint="its log says more")


HANDLERS = {
    errors.RollbackdError: of_ours,
    HTTPException: of_http,
    Exception: of_anything,
}
