"""A dependency's outage is everybody's: pages fail on every release, health does not."""

import httpx

from rollbackd.sandbox.server import Sandbox
from tests.support import until


async def status(box: Sandbox, path: str) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"{box.urls.proxy_url}{path}")).status_code


async def set_down(box: Sandbox, *, down: bool) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"{box.urls.sandbox_url}/_sandbox/apps"
        answer = await client.post(url, json={"app": "shop", "dependency_down": down})
        answer.raise_for_status()


async def test_pages_fail_while_it_is_down_and_health_does_not() -> None:
    async with Sandbox(machines=1, boot_seconds=0.05) as box:
        await box.ready()
        before = await status(box, "/")

        await set_down(box, down=True)
        pages, health = await status(box, "/"), await status(box, "/healthz")
        await set_down(box, down=False)

        assert (before, pages, health) == (200, 500, 200)

        async def well() -> bool:
            return await status(box, "/") == 200

        await until(well)
