"""Who is calling and what the token covers; a refusal never says which tokens exist."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from rollbackd.sandbox.errors import FlyError
from rollbackd.sandbox.ids import owner_of
from rollbackd.sandbox.objects import Token, TokenKind
from rollbackd.sandbox.world import World

MACAROON = ("fm1r_", "fm1a_", "fm2_")


class Backend(StrEnum):
    """Each takes another scheme for the same token."""

    MACHINES = "machines"  # FlyV1 or Bearer
    RELEASES = "releases"  # Bearer always, also for macaroons
    GRAPHQL = "graphql"  # FlyV1 for macaroons, else Bearer
    PROMETHEUS = "prometheus"  # as GraphQL


def authenticate(world: World, header: str | None, backend: Backend) -> Token:
    scheme, _, rest = (header or "").partition(" ")
    for secret in (piece.strip() for piece in rest.split(",")):
        token = world.tokens.get(secret)
        if token is not None and _scheme_fits(scheme.lower(), secret, backend):
            if token.expires_at is not None and token.expires_at <= world.now():
                break
            return token
    raise FlyError(401, "Authenticate: token validation error")


def _scheme_fits(scheme: str, secret: str, backend: Backend) -> bool:
    macaroon = secret.startswith(MACAROON)
    match backend:
        case Backend.RELEASES:
            return scheme == "bearer"
        case Backend.MACHINES:
            return scheme == "bearer" or (scheme == "flyv1" and macaroon)
        case _:
            return scheme == ("flyv1" if macaroon else "bearer")


def authorize(token: Token, *, app: str | None, write: bool) -> None:
    """403 for an app outside the token, and for any write with a read-only one."""
    if token.app is not None and token.app != app:
        raise FlyError(403, "Authorize: token does not cover this app")
    if write and token.kind is TokenKind.READONLY:
        raise FlyError(403, "Authorize: token may only read")


def introspect(world: World, token: Token) -> dict[str, Any]:
    return {
        "tokens": [
            {
                "token_id": owner_of(token.secret).partition("@")[0],
                "user": token.user,
                "org_slug": world.org,
                "organization": world.org,
                "apps": [token.app] if token.app else [],
                "restricted_to_machine": "",
                "source_machine_id": "",
            }
        ]
    }
