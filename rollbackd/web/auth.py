"""Who is asking, and may they. Two tokens: ro may look, rw may order as well.

On the Unix socket the file mode is the lock. Without tokens only loopback is served, and only
under a loopback name, so that a web page cannot reach it by rebinding a name of its own.
"""

from __future__ import annotations

import base64
import enum
import hmac
import ipaddress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request

BY_HEADER = "X-Rollbackd-By"
_LONGEST_NAME = 64
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="rollbackd", charset="UTF-8", Bearer'}
_OURS = frozenset({"same-origin", "none"})


class Role(enum.IntEnum):
    NOBODY = 0
    READER = 1
    WRITER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The two tokens; empty means there is none. Never shown."""

    ro: str = field(default="", repr=False)
    rw: str = field(default="", repr=False)

    def role(self, token: str) -> Role:
        # Both are always compared, in constant time: the answer's timing tells nothing.
        writes = _same(token, self.rw)
        reads = _same(token, self.ro)
        return Role.WRITER if writes else Role.READER if reads else Role.NOBODY

    def __bool__(self) -> bool:
        return bool(self.ro or self.rw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Someone let in. `name` is what the record will say."""

    name: str
    role: Role


class Door:
    """Lets people in, or says why not."""

    def __init__(self, tokens: Tokens, *, trusted: bool = False) -> None:
        """`trusted`: the Unix socket, whose file mode has already asked."""
        self._tokens = tokens
        self._trusted = trusted

    def admit(self, request: Request, *, needs: Role) -> Who:
        """Who asks. Raises HTTPException 401, 403 or 421."""
        who = self._identify(request)
        if who.role < needs:
            raise HTTPException(403, "this token may only read: use ROLLBACKD_TOKEN_RW")
        if needs is Role.WRITER:
            _refuse_other_sites(request)
        return who

    def admit_form(self, request: Request) -> Who:
        """As `admit` a writer, and only from a page of ours: a form has no token that another site
        could not make a browser send.
        """
        who = self.admit(request, needs=Role.WRITER)
        if request.headers.get("sec-fetch-site") != "same-origin" and (
            request.headers.get("origin") is None
        ):
            raise HTTPException(403, "a form is sent from its own page only")
        return who

    def _identify(self, request: Request) -> Who:
        claimed = _name(unquote(request.headers.get(BY_HEADER, "")))
        if self._trusted:
            return Who(name=claimed or "local", role=Role.WRITER)
        if not self._tokens:
            if not loopback(_host(request.headers.get("host", ""))):
                raise HTTPException(421, "without tokens only a loopback name is served")
            return Who(name=claimed or "loopback", role=Role.WRITER)
        user, token = _credentials(request.headers.get("authorization", ""))
        role = self._tokens.role(token)
        if role is Role.NOBODY:
            raise HTTPException(401, "a token is needed", headers=_CHALLENGE)
        return Who(name=_name(user) or claimed or f"token {role.name.lower()}", role=role)


def loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _same(given: str, kept: str) -> bool:
    equal = hmac.compare_digest(given.encode(), kept.encode())
    return equal and bool(kept)


def _credentials(header: str) -> tuple[str, str]:
    """(user, token) of Bearer or Basic; ("", "") for anything else."""
    scheme, _, rest = header.partition(" ")
    match scheme.lower():
        case "bearer":
            return "", rest.strip()
        case "basic":
            try:
                text = base64.b64decode(rest.strip(), validate=True).decode()
            except ValueError:  # not base64, or not UTF-8
                return "", ""
            user, _, token = text.partition(":")
            return user, token
        case _:
            return "", ""


def _refuse_other_sites(request: Request) -> None:
    """A browser says where a write comes from; another site's is refused."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in _OURS:
        raise HTTPException(403, "orders from another site are refused")
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host", ""):
        raise HTTPException(403, "orders from another origin are refused")


def _host(header: str) -> str:
    """The host of a Host header, without its port or brackets."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _name(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()[:_LONGEST_NAME]
