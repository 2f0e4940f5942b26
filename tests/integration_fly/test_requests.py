"""Every request of a whole rollback, against the published OpenAPI."""

import httpx
import pytest

from rollbackd.sandbox.server import Sandbox
from tests.integration_fly.walking import rig_for, target_policy
from tests.unit.fly.openapi import complaints

pytestmark = pytest.mark.process
DOCUMENTED = "/v1/"


async def test_every_request_we_send_is_in_the_published_openapi(sandbox: Sandbox) -> None:
    sent: list[httpx.Request] = []

    async def note(request: httpx.Request) -> None:
        sent.append(request)

    rig = rig_for(sandbox, target=target_policy(sandbox.urls.proxy_url))
    for client in (rig.client._machines, rig.client._api):
        client.event_hooks = {"request": [note]}
    await rig.platform.token_report()
    await rig.releases()
    await sandbox.deploy(image="errors-50", env={"FLAG": "new"})
    plan, _ = await rig.roll_back(bad=2, good=1)
    await rig.executor.let_go(plan)
    await rig.client.start(sandbox.name, sandbox.machines[0].id)
    await rig.client.lease_nonce(sandbox.name, sandbox.machines[0].id)
    await rig.close()

    documented = [request for request in sent if request.url.path.startswith(DOCUMENTED)]
    undocumented = {
        (r.method, r.url.path.replace(sandbox.releases[-1].id, "{id}"))
        for r in sent
        if r not in documented
    }
    assert [line for request in documented for line in complaints(request)] == []
    assert len({(r.method, r.url.path.rpartition("/")[2]) for r in documented}) > 8
    assert undocumented == {
        ("GET", "/api/v1/apps/shop/releases"),
        ("GET", "/api/v1/apps/shop/releases/current"),
        ("GET", "/api/v1/apps/shop/logs"),
        ("POST", "/api/v1/releases"),
        ("PATCH", "/api/v1/releases/{id}"),
        ("POST", "/graphql"),
    }
