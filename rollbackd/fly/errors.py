"""What an answer of Fly means, as one of our errors. Decides nothing about trying again.

Classed by HTTP status and the `status` word, never by prose; the two exceptions are the lease's
owner and expiry, which stand nowhere else, and GraphQL, whose codes are undocumented.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime

from rollbackd.core.errors import (
    Ambiguous,
    LeaseHeld,
    NotFound,
    RateLimited,
    Rejected,
    RollbackdError,
    TemporaryError,
    Unauthorized,
    VersionConflict,
)
from rollbackd.core.model import Json

_LEASE = re.compile(r"lease currently held by (?P<owner>\S+?),? expires at (?P<at>\S+)")
_CAPACITY = frozenset({"insufficient_capacity", "volume_placement_capacity"})
_QUOTED = 300  # characters of an answer that an error may quote
_TIMEOUT, _LIMITED, _SERVER = 408, 429, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is not a success. `what` names the call for people."""

    what: str
    status: int
    body: bytes
    request_id: str
    mutates: bool
    retry_after: str | None = None


def error_of(refusal: Refusal) -> RollbackdError:
    """The error an unsuccessful answer stands for."""
    text, word = _said(refusal.body)
    message = f"{refusal.what}: {refusal.status} {text}".rstrip()
    if refusal.request_id:
        message += f" (request {refusal.request_id})"
    if word in _CAPACITY:
        return TemporaryError(message, hint="no capacity there now: try later or another region")
    if refusal.status == _TIMEOUT or refusal.status >= _SERVER:
        return _in_doubt(message) if refusal.mutates else TemporaryError(message)
    match refusal.status:
        case 401 | 403:
            return Unauthorized(message, hint="check the token: does it cover this app, is it old?")
        case 404:
            return NotFound(message)
        case 409:
            return _conflict(message, text)
        case 412:
            return TemporaryError(message, hint="the machine is in between: wait until settled")
        case 429:
            seconds = _seconds(refusal.retry_after)
            return RateLimited(message, retry_after_seconds=seconds)
        case _:
            return Rejected(message)


def graphql_error(what: str, errors: Json, request_id: str) -> RollbackdError:
    """The error of a GraphQL answer: HTTP 200 with `errors`. The first one tells."""
    first = errors[0] if isinstance(errors, list) and errors else errors
    entry = first if isinstance(first, dict) else {}
    extensions = entry.get("extensions")
    code = str(extensions.get("code", "")) if isinstance(extensions, dict) else ""
    text = str(entry.get("message", first))[:_QUOTED]
    message = f"{what}: {text}" + (f" (request {request_id})" if request_id else "")
    said = f"{code} {text}".lower()
    if "not_found" in said or "could not find" in said:
        return NotFound(message)
    if any(word in said for word in ("unauthorized", "forbidden", "not authorized", "unauthenti")):
        return Unauthorized(message, hint="check the token: does it cover this app, is it old?")
    if "rate" in said and "limit" in said:
        return RateLimited(message)
    return Rejected(message)


def bad_body(what: str, why: str, request_id: str, *, mutates: bool) -> RollbackdError:
    """A success whose body cannot be used: cut off, HTML, too big."""
    message = f"{what}: {why}" + (f" (request {request_id})" if request_id else "")
    return _in_doubt(message) if mutates else TemporaryError(message)


def _in_doubt(message: str) -> Ambiguous:
    return Ambiguous(message, hint="read the object back before sending it again")


def _conflict(message: str, text: str) -> RollbackdError:
    held = _LEASE.search(text)
    if held is not None:
        return LeaseHeld(
            message,
            owner=held["owner"],
            expires_at=_epoch(held["at"]),
            hint="somebody is deploying: wait for the lease to end",
        )
    if "lease" in text.lower():
        return LeaseHeld(message, hint="somebody is deploying: wait for the lease to end")
    if "already_exists" in text:
        return Rejected(message)
    return VersionConflict(message, hint="it changed since it was read: read it again")


def _said(body: bytes) -> tuple[str, str]:
    """(text, status word) of an error body: JSON error or message, else whatever it is."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return _plain(body), ""
    if not isinstance(parsed, dict):
        return _plain(body), ""
    text = parsed.get("error") or parsed.get("message") or _plain(body)
    return str(text)[:_QUOTED], str(parsed.get("status", ""))


def _plain(body: bytes) -> str:
    text = " ".join(body[: 4 * _QUOTED].decode("utf-8", "replace").split())
    if text.lower().startswith(("<!doctype html", "<html")):
        return "an HTML page: something before the API answered"
    return text[:_QUOTED]


def _epoch(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text.rstrip(".,")).timestamp()
    except ValueError:
        return None


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None
