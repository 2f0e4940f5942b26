"""The real daemon against a real app on the sandbox: what it does, and what it leaves alone."""

from pathlib import Path

import httpx
import pytest

from tests.process.daemons import CONFIGURATION, images, running
from tests.support import until

pytestmark = pytest.mark.process


async def test_a_bad_release_is_rolled_back_on_its_own(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await daemon.start()
        await daemon.until_known_good()

        await daemon.box.deploy(image="errors-60")
        rollback = await daemon.until_outcome("recovered")

        assert (rollback["from_version"], rollback["to_version"]) == (2, 1)
        assert rollback["trigger"] == "error-rate"
        assert rollback["onset_at"] <= rollback["decided_at"] <= rollback["recovered_at"]
        assert rollback["recovered_at"] < rollback["proved_at"]
        assert images(daemon.box) == {"good"}
        newest = daemon.box.releases[-1]
        assert (newest.version, newest.status) == (3, "complete")
        assert not any(m.cordoned for m in daemon.box.machines)
        ours = [e for e in daemon.box.effects if e.request_id != "inside"]
        assert [e.action for e in ours].count("release.create") == 1
        assert [e.action for e in ours].count("machine.update") == 3

        async def at_rest() -> bool:
            return await daemon.reason() == "ok"

        await until(at_rest)
        metrics = await _metrics(daemon.log())
        counted = (
            'rollbackd_rollbacks_total{outcome="recovered",target="shop",trigger="error-rate"} 1'
        )
        assert counted in metrics or counted.replace("outcome", "result") in metrics
        assert await daemon.end() == 0


async def _metrics(log: str) -> str:
    address = log.partition('"listening": ["')[2].partition('"')[0]
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://{address}/metrics")).text


@pytest.mark.slow
async def test_a_deploy_that_fails_half_way_is_undone(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await daemon.start()
        await daemon.until_known_good()

        await daemon.box.deploy(image="crash", wait_seconds=3)
        rollback = await daemon.until_outcome("recovered")

        assert rollback["trigger"] == "deploy-failed"
        assert images(daemon.box) == {"good"}


async def test_a_health_path_that_moved_behind_a_login_is_left_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        daemon.configure(CONFIGURATION.replace("/healthz", "/health"))
        await daemon.start()
        await daemon.until_known_good()

        deploy = await daemon.box.deploy(image="login-wall-401")
        assert deploy.release.status == "complete"

        async def told() -> bool:
            return await daemon.reason() == "misconfigured_probe"

        await until(told, 40)
        assert await daemon.rollbacks() == []


@pytest.mark.slow
async def test_an_outage_that_began_before_the_release_is_not_its_fault(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await daemon.start()
        await daemon.until_known_good()
        await daemon.box.platform.dependencies["shop"].down()

        async def ill() -> bool:
            target = await daemon.target()
            states = {t["name"]: t["state"] for t in target["triggers"]} if target else {}
            return states.get("error-rate") == "breached"

        await until(ill, 20)
        await daemon.box.deploy(image="good-2")

        async def held() -> bool:
            return await daemon.reason() == "not_since_release"

        await until(held, 40)
        assert await daemon.rollbacks() == []


async def test_a_read_only_token_observes_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        daemon.extra = {"ROLLBACKD_FLY_TOKEN": daemon.box.urls.read_token}
        await daemon.start()
        before = len(daemon.box.effects)

        async def well() -> bool:
            target = await daemon.target()
            standing = target["release"]["standing"] if target and target["release"] else ""
            return standing == "good" and await daemon.reason() == "ok"

        await until(well, 40)
        deploy = await daemon.box.deploy(image="errors-60")
        assert deploy.release.status == "complete"

        async def would_have() -> bool:
            return await daemon.reason() == "observe_mode"

        await until(would_have, 40)
        assert [e for e in daemon.box.effects[before:] if e.op_id] == []


async def test_its_own_app_is_refused_as_a_target(tmp_path: Path) -> None:
    async with running(tmp_path, machines=1) as daemon:
        daemon.extra = {"FLY_APP_NAME": "shop"}
        await daemon.start()
        assert daemon.process is not None

        code = await daemon.process.wait()

        assert code == 78
        assert "shop is the app that rollbackd itself runs in" in daemon.log()


async def test_a_bad_file_is_refused_while_running_and_the_last_good_one_kept(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, machines=1) as daemon:
        await daemon.start()
        await until(lambda: _is_up(daemon))

        daemon.configure("targets: {shop: {fly: {app: shop}, urll: x}}\n")
        refused = await daemon.post("/-/reload")
        status = await daemon.get("/api/v1/status")
        daemon.configure(CONFIGURATION.replace("for: 1s", "for: 2s"))
        taken = await daemon.post("/-/reload")

        assert refused.status_code == 422
        assert status["config"]["ok"] is False
        assert ":1:" in status["config"]["error"]
        assert [t["name"] for t in status["targets"]] == ["shop"]
        assert taken.json()["result"] == "success"


async def _is_up(daemon) -> bool:  # noqa: ANN001 -- the helper of this folder
    return await daemon.target() is not None


@pytest.mark.slow
async def test_a_target_that_comes_with_a_reload_acts_as_soon_as_its_token_is_known(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, machines=1) as daemon:
        daemon.extra = {"ROLLBACKD_FLY_TOKEN": daemon.box.urls.org_token}
        await daemon.box.add_app("blog", machines=1)
        await daemon.start()
        await until(lambda: _is_up(daemon))

        blog = CONFIGURATION.replace("shop", "blog").removeprefix("targets:\n")
        daemon.configure(CONFIGURATION + blog)
        await daemon.post("/-/reload")

        async def armed() -> bool:
            status = await daemon.get("/api/v1/status")
            return [t["mode"] for t in status["targets"]] == ["auto", "auto"]

        await until(armed, 15)
