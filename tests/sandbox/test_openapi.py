"""Success answers of the sandbox against an extract of the published Machines OpenAPI.

Three differences are Fly's own: a null stands for an absent key, a lease comes in an envelope, and
autostop reads back as a bool.
"""

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema

from rollbackd.sandbox.server import Sandbox
from tests.sandbox.conftest import client

SPEC = json.loads(
    (Path(__file__).parent / "spec" / "machines-openapi-extract.json").read_text("utf-8")
)


def present(value: Any) -> Any:
    if isinstance(value, dict):
        if isinstance(value.get("autostop"), bool):
            value = value | {"autostop": "stop" if value["autostop"] else "off"}
        return {key: present(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [present(item) for item in value]
    return value


def conforms(body: Any, path: str, method: str = "get", status: str = "200") -> None:
    schema = SPEC["paths"][path][method][status] | {"components": SPEC["components"]}
    jsonschema.validate(present(body), schema)


async def test_what_is_read_has_the_published_shape(api: httpx.AsyncClient, box: Sandbox) -> None:
    machines = "/apps/{app_name}/machines"
    one = machines + "/{machine_id}"
    here = f"/v1/apps/shop/machines/{box.machines[0].id}"
    await api.post("/v1/apps/shop/volumes", json={"name": "data", "size_gb": 1})

    async def read(path: str) -> Any:
        answer = await api.get(path)
        assert answer.status_code == 200
        return answer.json()

    conforms(await read("/v1/apps"), "/apps")
    conforms(await read("/v1/apps/shop"), "/apps/{app_name}")
    conforms(await read("/v1/apps/shop/machines"), machines)
    conforms(await read(here), one)
    conforms(await read(f"{here}/events"), f"{one}/events")
    conforms(await read(f"{here}/versions"), f"{one}/versions")
    conforms(await read(f"{here}/wait?state=started"), f"{one}/wait")
    conforms(await read(f"{here}/metadata"), f"{one}/metadata")
    conforms(await read(f"{here}/ps"), f"{one}/ps")
    conforms(await read("/v1/apps/shop/secrets"), "/apps/{app_name}/secrets")
    conforms(await read("/v1/apps/shop/volumes"), "/apps/{app_name}/volumes")
    conforms(await read("/v1/apps/shop/ip_assignments"), "/apps/{app_name}/ip_assignments")
    conforms(await read("/v1/tokens/current"), "/tokens/current")
    conforms(await read(f"/v1/orgs/{box.urls.org}/machines"), "/orgs/{org_slug}/machines")


async def test_what_is_written_answers_in_the_published_shape(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    app, machines = "/v1/apps/shop", "/apps/{app_name}/machines"
    config = box.machines[0].config
    made = await api.post(f"{app}/machines", json={"config": config, "lease_ttl": 30})
    updated = await api.post(f"{app}/machines/{box.machines[0].id}", json={"config": config})
    lease = await api.post(f"{app}/machines/{box.machines[0].id}/lease", json={"ttl": 5})
    secrets = await api.post(f"{app}/secrets", json={"values": {"A": "b"}})
    address = await api.post(f"{app}/ip_assignments", json={"type": "shared_v4"})

    assert made.json()["nonce"]
    conforms(made.json(), machines, "post")
    conforms(updated.json(), machines + "/{machine_id}", "post")
    conforms(lease.json()["data"], machines + "/{machine_id}/lease", "post", "201")
    conforms(secrets.json(), "/apps/{app_name}/secrets", "post")
    conforms(address.json(), "/apps/{app_name}/ip_assignments", "post")


async def test_a_refusal_has_the_published_shape(box: Sandbox) -> None:
    schema = SPEC["components"]["schemas"]["ErrorResponse"] | {"components": SPEC["components"]}
    async with client(box, box.urls.token) as api:
        answer = await api.get("/v1/apps/shop/machines/none")

    jsonschema.validate(answer.json(), schema)
    assert answer.json() == {"error": "machine not found"}
