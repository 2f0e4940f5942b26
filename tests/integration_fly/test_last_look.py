"""A permit withdrawn between the first look and the sending: nothing reaches the platform."""

import pytest

from rollbackd.clock import SystemClock
from rollbackd.core.errors import Fenced, Stopped
from rollbackd.fly.client import FlyClient
from rollbackd.sandbox.server import Sandbox
from tests.integration_fly.walking import effects

pytestmark = pytest.mark.process


class Permit:
    """Says yes so many times, then no: the directory was taken over meanwhile."""

    def __init__(self, times: int, error: type[Stopped] | type[Fenced] = Fenced) -> None:
        self.left = times
        self.error = error

    def __call__(self, what: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.error(f"not sent: {what}")


async def client_with(sandbox: Sandbox, permit: Permit) -> FlyClient:
    urls = sandbox.urls
    return FlyClient(
        urls.machines_url, urls.api_url, urls.token, clock=SystemClock(), permit=permit
    )


@pytest.mark.parametrize("error", [Fenced, Stopped])
async def test_a_call_without_a_body_is_not_sent(
    sandbox: Sandbox, error: type[Stopped] | type[Fenced]
) -> None:
    client = await client_with(sandbox, Permit(1, error))

    with pytest.raises(error, match="not sent: POST"):
        await client.cordon(sandbox.name, sandbox.machines[0].id)
    await client.close()

    assert effects(sandbox, "machine.cordon") == []


async def test_a_call_with_a_body_is_not_sent_even_between_its_head_and_its_body(
    sandbox: Sandbox,
) -> None:
    client = await client_with(sandbox, Permit(2))

    with pytest.raises(Fenced):
        await client.create_release({"app_name": sandbox.name, "image": "x", "strategy": "ROLLING"})
    await client.close()

    assert effects(sandbox, "release.create") == []


async def test_what_is_permitted_to_the_end_is_sent(sandbox: Sandbox) -> None:
    client = await client_with(sandbox, Permit(2))

    await client.cordon(sandbox.name, sandbox.machines[0].id)
    await client.close()

    assert effects(sandbox, "machine.cordon") == [sandbox.machines[0].id]
