"""A scripted flyctl: its requests in its order, its headers, and how strictly it decodes answers.

flyctl itself cannot be had here. What it needs of an answer is asserted where it reads it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import httpx

from rollbackd.sandbox.server import Sandbox
from tests.sandbox.test_graphql import DOCUMENTS
from tests.support import until

Json = dict[str, Any]
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
DURATION = re.compile(r"(\d+(\.\d+)?(ms|[hms]))+|0")
STATUSES = {"passing", "warning", "critical"}
AGENT = "flyctl/0.4.0 (interactive=false; parent=bash)"


def is_time(value: object) -> bool:
    """As Go decodes it: null is fine, an empty string is not."""
    return value is None or (isinstance(value, str) and RFC3339.fullmatch(value) is not None)


def texts(table: object) -> bool:
    """A Go map[string]string: one number in it fails the whole answer."""
    return table is None or (
        isinstance(table, dict) and all(isinstance(v, str) for v in table.values())
    )


def decode_machine(machine: Json) -> Json:
    """Every rule flyctl has for a machine; what is missing makes it panic, or destroy."""
    for name in ("id", "name", "state", "region", "instance_id", "private_ip"):
        assert isinstance(machine[name], str), name
        assert machine[name], name
    for name in ("created_at", "updated_at"):
        assert is_time(machine[name]), name
    assert machine["host_status"] == "ok", "anything else and a deploy destroys the machine"
    assert isinstance(machine.get("cordoned", False), bool)
    ref = machine["image_ref"]
    assert all(isinstance(ref[name], str) for name in ("registry", "repository", "tag", "digest"))
    assert texts(ref.get("labels"))
    decode_config(machine["config"])
    for check in machine["checks"] or ():
        assert check["status"] in STATUSES
        assert isinstance(check["name"], str)
        assert isinstance(check["output"], str)
        assert check["updated_at"] is not None, "the table of checks dereferences it"
        assert is_time(check["updated_at"])
    decode_events(machine["events"])
    return machine


def decode_config(config: Json) -> None:
    assert texts(config.get("metadata"))
    assert texts(config.get("env"))
    guest = config["guest"]
    assert isinstance(guest["cpu_kind"], str)
    assert isinstance(guest["cpus"], int)
    assert isinstance(guest["memory_mb"], int)
    assert isinstance(config.get("init", {}), dict)
    for check in (config.get("checks") or {}).values():
        for name in ("interval", "timeout", "grace_period"):
            assert DURATION.fullmatch(check.get(name, "0")), (name, check)
    for service in config.get("services") or ():
        assert service.get("autostop", False) in {True, False, "off", "stop", "suspend"}


def decode_events(events: list[Json]) -> None:
    stamps = [event["timestamp"] for event in events]
    assert all(isinstance(stamp, int) for stamp in stamps)
    assert stamps == sorted(stamps, reverse=True), "newest first"
    assert all(stamp > 10**12 for stamp in stamps), "milliseconds"
    for event in events:
        if event["type"] == "exit":
            ended = event["request"]["exit_event"]
            assert isinstance(ended["exit_code"], int)
            assert "exited_at" not in ended or is_time(ended["exited_at"])


class Flyctl:
    """Its three backends on one server, joined as it joins them; keeps what it sent."""

    def __init__(self, box: Sandbox, *, app: str = "shop") -> None:
        self.app = app
        self.org = box.urls.org
        self.sent: list[str] = []
        headers = {"User-Agent": AGENT, "Fly-Client-Interactive": "false"}
        headers |= {"Authorization": f"Bearer {box.urls.token}", "Fly-Client-Parent": "bash"}
        self.http = httpx.AsyncClient(
            base_url=box.urls.sandbox_url, headers=headers, timeout=90, trust_env=False
        )

    async def call(
        self, method: str, path: str, *, nonce: str = "", body: Json | None = None
    ) -> httpx.Response:
        self.sent.append(f"{method} {path.partition('?')[0]}")
        headers = {"fly-machine-lease-nonce": nonce} if nonce else {}
        return await self.http.request(method, path, headers=headers, json=body)

    async def flaps(self, method: str, path: str = "", **more: Any) -> httpx.Response:
        answer = await self.call(method, f"/v1/apps/{self.app}{path}", **more)
        if answer.is_success and answer.content and "wait" not in path:
            answer.json()  # what is there must be JSON
        return answer

    async def uiex(self, method: str, path: str, body: Json | None = None) -> httpx.Response:
        answer = await self.call(method, f"/api/v1{path}", body=body)
        assert "application/json" in answer.headers["content-type"]
        return answer

    async def graphql(self, name: str, *, operation: bool = False, **variables: Any) -> Json:
        words: Json = {"query": DOCUMENTS[name], "variables": variables}
        if operation:
            words["operationName"] = "FlyctlConfigCurrentRelease"
        answer = await self.call("POST", "/graphql", body=words)
        self.sent[-1] = name
        assert answer.status_code == 200, "any other status loses the message"
        found = answer.json()
        assert "errors" not in found, found
        data: Json = found["data"]
        return data

    async def machines(self) -> list[Json]:
        answer = await self.flaps("GET", "/machines")
        found = answer.json()
        assert isinstance(found, list), "a top-level array"
        return [decode_machine(machine) for machine in found]

    async def machine(self, machine_id: str) -> Json:
        return decode_machine((await self.flaps("GET", f"/machines/{machine_id}")).json())

    async def lease(self, machine: Json, *, ttl: int = 120, nonce: str = "") -> str:
        path = f"/machines/{machine['id']}/lease?ttl={ttl}"
        answer = await self.flaps("POST", path, nonce=nonce)
        found = answer.json()
        assert answer.is_success, found
        assert found["status"] == "success"
        held = found["data"]
        assert isinstance(held["expires_at"], int)
        assert isinstance(held["owner"], str)
        assert not nonce or held["nonce"] == nonce, "another nonce on refresh is a warning"
        return str(held["nonce"])

    async def unlease(self, machine: Json, nonce: str) -> None:
        answer = await self.flaps("DELETE", f"/machines/{machine['id']}/lease", nonce=nonce)
        assert answer.is_success or answer.status_code == 404

    # `fly deploy --image` ------------------------------------------------------------------------

    async def deploy(self, image: str, *, strategy: str = "rolling") -> Json:
        """§4: without a fly.toml, with `--smoke-checks=false --dns-checks=false`."""
        definition = await self.definition()
        app = (await self.flaps("GET")).json()
        assert app["status"] in {"deployed", "suspended"}, "else it is a first deploy"
        assert isinstance(app["internal_numeric_id"], int)
        ref, build = await self._find_image(app["organization"]["slug"], image)
        machines = await self.machines()
        release = await self._begin_release(definition, ref, build, strategy)
        held = {m["id"]: await self.lease(m, ttl=13) for m in machines}
        for chunk in _chunks(machines) if strategy == "rolling" else [machines]:
            for machine in chunk:
                nonce = await self.lease(machine, ttl=13, nonce=held[machine["id"]])
                await self._update(machine, nonce, ref, release, wait=strategy == "rolling")
        if strategy == "rolling":
            await self._look_at_ports(machines[0])
        for machine in machines:
            await self.unlease(machine, held[machine["id"]])
        done = {"post_deployment_info": {"flyctl_version": "0.4.0", "error": ""}}
        await self._move_release(release, "complete", done)
        return release

    async def definition(self) -> Json:
        data = await self.graphql("G5", operation=True, appName=self.app)
        found = data["app"]["currentReleaseUnprocessed"]["configDefinition"]
        assert isinstance(found, dict), "an object, not a string of one"
        return found

    async def _find_image(self, org: str, image: str) -> tuple[str, int]:
        answer = await self.uiex("GET", f"/organizations/{org}")
        assert answer.status_code == 200, "fatal to a deploy"
        told = answer.json()["organization"]
        assert isinstance(told["id"], str)
        assert isinstance(told["internal_numeric_id"], int)
        words: Json = {"app_name": self.app, "builder_type": "depot.dev"}
        begun = await self.uiex("POST", "/builds", words | {"strategies_available": ["Remote"]})
        assert begun.status_code == 200, "201 is an error"
        build = begun.json()["id"]
        assert isinstance(build, int)
        data = await self.graphql("G10", appName=self.app, imageRef=image)
        found = data["app"]["image"]
        assert isinstance(found["compressedSize"], str)
        assert int(found["compressedSize"]) > 0
        assert found["ref"] == image, "it becomes the image of every machine"
        ended = {"build_id": build, "app_name": self.app, "status": "completed"}
        finished = await self.uiex("POST", "/builds/finish", ended)
        assert finished.status_code == 200
        assert isinstance(finished.json()["id"], int)
        return found["ref"], build

    async def _begin_release(self, definition: Json, ref: str, build: int, strategy: str) -> Json:
        words = {"app_name": self.app, "build_id": build, "definition": definition}
        words |= {"image": ref, "strategy": strategy.upper()}
        answer = await self.uiex("POST", "/releases", words)
        assert answer.status_code in {200, 201}
        release: Json = answer.json()["release"]
        assert isinstance(release["id"], str)
        assert isinstance(release["version"], int)
        await self.graphql("G11", appName=self.app)
        await self._move_release(release, "running", None)
        return release

    async def _move_release(self, release: Json, status: str, metadata: Json | None) -> None:
        words = {"status": status, "metadata": metadata}
        answer = await self.uiex("PATCH", f"/releases/{release['id']}", words)
        assert answer.status_code == 200
        assert isinstance(answer.json(), dict), "an empty body is retried, then fatal"

    async def _update(
        self, machine: Json, nonce: str, ref: str, release: Json, *, wait: bool
    ) -> None:
        metadata = machine["config"]["metadata"] | {
            "fly_release_id": release["id"],
            "fly_release_version": str(release["version"]),
            "fly_flyctl_version": "0.4.0",
            "fly_platform_version": "v2",
        }
        config = machine["config"] | {"image": ref, "metadata": metadata}
        body = {"config": config, "region": machine["region"], "skip_secrets": False}
        path = f"/machines/{machine['id']}"
        answer = await self.flaps("POST", path, nonce=nonce, body=body)
        assert answer.status_code == 200, answer.text
        updated = decode_machine(answer.json())
        assert updated["instance_id"] != machine["instance_id"]
        if not wait:
            return
        waited = await self.flaps("GET", f"{path}/wait?state=started&timeout=60")
        assert waited.is_success, waited.text
        if _has_checks(updated["config"]):
            await until(lambda: self._passes(machine["id"]), 20)

    async def _passes(self, machine_id: str) -> bool:
        checks = (await self.machine(machine_id))["checks"]
        return bool(checks) and all(check["status"] == "passing" for check in checks)

    async def _look_at_ports(self, machine: Json) -> None:
        answer = await self.flaps("GET", f"/machines/{machine['id']}/ps")
        ports = {
            int(listening["address"].rpartition(":")[2])
            for process in answer.json()
            for listening in process["listen_sockets"]
            if listening["proto"] == "tcp"
        }
        wanted = {service["internal_port"] for service in machine["config"]["services"]}
        assert wanted <= ports, "a port nobody listens on costs 15 s a group"


def _chunks(machines: list[Json]) -> Iterable[list[Json]]:
    """The first alone, then a third of all at a time."""
    size = math.ceil(len(machines) * 0.33)
    yield machines[:1]
    for at in range(1, len(machines), size):
        yield machines[at : at + size]


def _has_checks(config: Json) -> bool:
    services = config.get("services") or ()
    return bool(config.get("checks")) or any(service.get("checks") for service in services)
