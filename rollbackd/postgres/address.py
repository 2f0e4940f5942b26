"""Which addresses of a database are not used, and why. Pure: it connects to nothing."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

POOLER_PORT: Final = "6543"  # Supabase's transaction pooler: no session, so no locks to hold
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_PLAIN_MODES: Final = frozenset(_MODES[:3])  # libpq may then speak plainly
# Fly's private network is encrypted below TCP, and its own Postgres speaks no TLS there.
_PRIVATE_SUFFIXES: Final = (".internal", ".flycast")


def refused(hosts: Iterable[str], ports: Iterable[str], sslmode: str) -> tuple[str, str] | None:
    """What stands against it, and a hint; None for an address that may be used. `sslmode` is empty
    where the address has none.
    """
    if POOLER_PORT in ports:
        return (
            f"port {POOLER_PORT} is a transaction pooler: it keeps neither settings nor locks",
            "use the direct connection, or the session pooler, on port 5432",
        )
    if sslmode and sslmode not in _MODES:
        return f"there is no sslmode {sslmode}", f"one of {', '.join(_MODES[3:])}"
    if sslmode in _PLAIN_MODES and not all(map(local, hosts)):
        return (
            f"sslmode={sslmode} would let the password travel in the clear",
            "sslmode=require, or verify-full with sslrootcert",
        )
    return None


def local(host: str) -> bool:
    """On this machine, or in a network that is encrypted below us."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    if host.rstrip(".").lower().endswith(_PRIVATE_SUFFIXES):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
