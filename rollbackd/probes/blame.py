"""Whose fault a broken look is: the target's (`Failed`) or ours (`Missed`). Never quotes a body."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import httpcore

from rollbackd.core.facts import MissReason
from rollbackd.core.ports import Missed

# What a look through the network may raise. Anything else is a bug of ours and must be seen.
LOOK_ERRORS = (OSError, httpcore.ProtocolError, httpcore.NetworkError)

_OURS = {
    errno.EMFILE: MissReason.OUT_OF_FILES,
    errno.ENFILE: MissReason.OUT_OF_FILES,
    errno.ENETUNREACH: MissReason.NO_ROUTE,
    errno.EHOSTUNREACH: MissReason.NO_ROUTE,
    errno.ENETDOWN: MissReason.NO_ROUTE,
    errno.EADDRNOTAVAIL: MissReason.NO_ROUTE,  # no address of that family, or no port left
    errno.EAFNOSUPPORT: MissReason.NO_ROUTE,
    errno.EACCES: MissReason.NO_ROUTE,  # a firewall on our side
    errno.EPERM: MissReason.NO_ROUTE,
    errno.ENOBUFS: MissReason.OVERLOADED,
    errno.ENOMEM: MissReason.OVERLOADED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The target's fault, in a few words."""

    why: str


def blame(error: BaseException) -> Failed | Missed:
    """Walk the chain of causes to the first error that tells whose fault it is."""
    for each in _chain(error):
        found = _judge(each)
        if found is not None:
            return found
    return Failed(why="connection broke")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _judge(error: BaseException) -> Failed | Missed | None:
    match error:
        case ssl.SSLCertVerificationError():
            return Failed(why=f"certificate: {error.verify_message or 'not valid'}")
        case ssl.SSLError():
            return Failed(why="tls handshake")
        case TimeoutError():
            return Failed(why="time-out")
        case ConnectionRefusedError():
            return Failed(why="connection refused")
        case ConnectionError():
            return Failed(why="connection reset")
        case httpcore.LocalProtocolError():
            return Missed(reason=MissReason.PROBE_ERROR, detail="not a request HTTP can carry")
        case httpcore.RemoteProtocolError():
            return Failed(why=_malformed(str(error)))
        case OSError() if error.errno in _OURS:
            reason = _OURS[error.errno]
            return Missed(reason=reason, detail=errno.errorcode[error.errno])
        case OSError(errno=int() as code):  # our kernel's, and unknown: no evidence against anybody
            return Missed(
                reason=MissReason.PROBE_ERROR, detail=errno.errorcode.get(code, str(code))
            )
        case _:
            return None


def _malformed(text: str) -> str:
    # The library's text may quote what the server sent: only its class goes out.
    if text.startswith("Server disconnected"):
        return "closed without an answer"
    if text.startswith("peer closed connection"):
        return "truncated body"
    return "malformed HTTP"
