"""Finds out what our token is good for, without changing anything on Fly.

`GET /v1/tokens/current` lists the apps of a token. Whether it may write is asked of
`POST /v1/tokens/authorize`, which judges a token sent in its body and changes nothing. Its
answer counts only if it also says yes to reading. Where it does not, we ask for the release of a
lease nobody has on a machine that is not there: refused for a token that may only read, not found
for one that may write, and without an effect either way.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollbackd.core.errors import NotFound, RollbackdError, Unauthorized
from rollbackd.core.model import JsonObject
from rollbackd.core.ports import TokenReport
from rollbackd.fly.client import FlyClient
from rollbackd.fly.json_shape import list_at, text_at

_NO_MACHINE = "00000000000000"
_NO_LEASE = "000000000000"


async def look_at_token(client: FlyClient, app: str, *, is_own_app: bool) -> TokenReport:
    """Raises TemporaryError when Fly could not be asked."""
    try:
        found = await client.app(app)
    except (NotFound, Unauthorized) as error:
        return TokenReport(
            covers_app=False, read_only=True, is_own_app=is_own_app, detail=error.message
        )
    tokens = await _tokens(client)
    covers = _covers(tokens, app, text_at(found, "organization", "slug"))
    read_only, why = await _read_only(client, app)
    detail = why if covers else f"the token names other apps than {app}"
    return TokenReport(
        covers_app=covers, read_only=read_only or not covers, is_own_app=is_own_app, detail=detail
    )


async def _tokens(client: FlyClient) -> Sequence[JsonObject]:
    try:
        return await client.current_tokens(acting=True)
    except (NotFound, Unauthorized):
        return ()  # plain user tokens are not described; that the app answered must do


def _covers(tokens: Sequence[JsonObject], app: str, org: str) -> bool:
    """A token that names no apps is one of the whole organization, or of a user."""
    if not tokens:
        return True
    for token in tokens:
        apps = {str(entry) for entry in list_at(token, "apps")}
        named = text_at(token, "org_slug")
        if app in apps or "*" in apps:
            return True
        if not apps and named in {"", org}:
            return True
    return False


async def _read_only(client: FlyClient, app: str) -> tuple[bool, str]:
    try:
        if await client.may(app, "r"):
            may_write = await client.may(app, "w")
            return not may_write, "may write" if may_write else "may read only"
    except RollbackdError:
        pass  # the token service is not there: the other question tells
    try:
        await client.release_lease(app, _NO_MACHINE, _NO_LEASE)
    except Unauthorized:
        return True, "may read only"
    except RollbackdError as error:
        return False, f"whether it may write is not known: {error.message}"
    return False, "may write"
