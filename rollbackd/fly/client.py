"""Everything we ask of Fly, by base URL alone: Fly and the sandbox are the same to it.

Machine and app configs are opaque JSON: they go back as they came, with the few edits of
`config_restore`. Read calls use the read token where there is one.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import httpx
from pydantic import SecretStr

import rollbackd
from rollbackd.core.errors import Rejected, Unauthorized
from rollbackd.core.model import JsonObject
from rollbackd.core.ports import Clock
from rollbackd.fly.auth import Token
from rollbackd.fly.json_shape import objects_at
from rollbackd.fly.machine_calls import MachineCalls
from rollbackd.fly.release_calls import ReleaseCalls
from rollbackd.fly.wire import Api, Call, Meter, Wire, client_for


class FlyClient(MachineCalls, ReleaseCalls):
    """One HTTP client per origin of Fly. Base URLs come without /v1 and /graphql.

    `permit` is asked before every mutating call and raises Stopped when a person said stop.
    """

    def __init__(
        self,
        machines_url: str,
        api_url: str,
        token: str | SecretStr,
        read_token: str | SecretStr | None = None,
        *,
        clock: Clock,
        permit: Callable[[str], None] | None = None,
        meter: Meter | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        rng: random.Random | None = None,
    ) -> None:
        user_agent = f"rollbackd/{rollbackd.__version__}"
        self._machines = client_for(machines_url, user_agent, transport)
        self._api = client_for(api_url, user_agent, transport)
        acting = Token(token)
        reading = Token(read_token) if read_token is not None else acting
        self.token = acting or reading
        self.clock = clock
        self.wire = Wire(
            clients={
                Api.MACHINES: self._machines,
                Api.GRAPHQL: self._api,
                Api.RELEASES: self._api,
                Api.LOGS: self._api,
            },
            token=self.token,
            read_token=reading or acting,
            clock=clock,
            permit=permit or _always,
            meter=meter,
            rng=rng or random.Random(),  # noqa: S311 -- jitter, not a secret
        )

    async def close(self) -> None:
        await self._machines.aclose()
        await self._api.aclose()

    async def current_tokens(self, *, acting: bool) -> list[JsonObject]:
        """What the acting (or else the reading) token says about itself."""
        call = Call(
            api=Api.MACHINES,
            method="GET",
            endpoint="/v1/tokens/current",
            turn=("tokens", ""),
            with_write_token=acting,
        )
        return objects_at(await self.wire.send(call), "tokens")

    async def may(self, app: str, action: str) -> bool:
        """Ask the token service whether the acting token may `action` ("r", "w") on the app.

        It answers about a token sent in the body and changes nothing, so it is no mutation.
        """
        call = Call(
            api=Api.MACHINES,
            method="POST",
            endpoint="/v1/tokens/authorize",
            turn=("authorize", app),
            body={
                "header": self.token.for_graphql,
                "access": {"app_name": app, "action": action},
            },
            with_write_token=True,
        )
        try:
            await self.wire.send_once(call)
        except (Rejected, Unauthorized):
            return False
        return True


def _always(_what: str) -> None:
    return None
