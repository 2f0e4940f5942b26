"""One app as the platform shows it, through the sandbox."""

import pytest

from rollbackd.core.errors import TemporaryError, Unauthorized
from rollbackd.core.ports import KnowsHealthPaths, Platform
from rollbackd.sandbox.server import Sandbox
from tests.integration_fly.walking import Rig, rig_for

pytestmark = pytest.mark.process


async def test_releases_come_newest_first_with_what_they_are(sandbox: Sandbox, rig: Rig) -> None:
    await sandbox.deploy(image="errors-50", outcome="failed", after=1)

    releases = await rig.releases()

    assert [(r.version, r.status.value) for r in releases] == [(2, "failed"), (1, "complete")]
    assert releases[0].author == "ci@sandbox.example"
    assert releases[0].created_at is not None
    assert all("+config:" in release.content for release in releases)
    assert all(release.content.startswith("sha256:") for release in releases)


async def test_without_rest_the_releases_come_over_graphql(sandbox: Sandbox, rig: Rig) -> None:
    expected = await rig.releases()
    sandbox.faults.add("status", path="^/api/v1/", count=99, status=404)

    found = await rig.releases()

    assert [(r.version, r.status, r.content) for r in found] == [
        (r.version, r.status, r.content) for r in expected
    ]
    assert await rig.platform.current_version() == 1


async def test_an_app_that_was_never_deployed_has_no_release(sandbox: Sandbox) -> None:
    sandbox.platform.new_app("fresh")
    rig = rig_for(sandbox, token=sandbox.urls.org_token)
    rig.platform.app = "fresh"

    releases, machines = await rig.platform.releases(), await rig.platform.machines()
    version = await rig.platform.current_version()
    await rig.close()

    assert (releases, machines, version) == ((), (), None)


async def test_a_token_that_expired_is_an_error_and_never_an_empty_app(sandbox: Sandbox) -> None:
    sandbox.world.tokens[sandbox.urls.token].expires_at = 1.0
    rig = rig_for(sandbox)

    with pytest.raises(Unauthorized):
        await rig.platform.machines()
    with pytest.raises(Unauthorized):
        await rig.platform.releases()
    report = await rig.platform.token_report()
    await rig.close()

    assert not report.covers_app


@pytest.mark.parametrize("kind", ["truncated", "html", "text", "reset"])
async def test_a_list_that_cannot_be_read_is_an_error_and_never_an_empty_app(
    sandbox: Sandbox, rig: Rig, kind: str
) -> None:
    sandbox.faults.add(kind, method="GET", path="/machines$", count=99, status=200)

    with pytest.raises(TemporaryError):
        await rig.platform.machines()


async def test_machines_are_shown_with_the_content_of_their_release(rig: Rig) -> None:
    releases = await rig.releases()
    machines = await rig.platform.machines()

    assert {machine.content for machine in machines} == {releases[0].content}
    assert {machine.state for machine in machines} == {"started"}
    assert all(machine.boot_seconds is not None for machine in machines)
    assert all(machine.release_version == 1 for machine in machines)


async def test_a_machine_changed_by_hand_has_a_content_of_its_own(
    sandbox: Sandbox, rig: Rig
) -> None:
    releases = await rig.releases()
    machine = sandbox.machines[0]
    config = machine.config | {"env": machine.config["env"] | {"BY": "hand"}}
    await rig.client.update_machine(sandbox.name, machine.id, {"config": config}, "")

    contents = {one.id: one.content for one in await rig.platform.machines()}
    again = await rig.releases()

    assert contents.pop(machine.id) != releases[0].content
    assert set(contents.values()) == {releases[0].content}
    assert again[0].content == releases[0].content


async def test_a_new_release_keeps_no_call_going_that_is_not_needed(
    sandbox: Sandbox, rig: Rig
) -> None:
    await rig.releases()
    await rig.releases()
    sent: list[str] = []

    async def note(request: object) -> None:
        sent.append(str(getattr(request, "url", "")).partition("?")[0].rpartition("/")[2])

    for client in (rig.client._machines, rig.client._api):
        client.event_hooks = {"request": [note]}
    await rig.releases()

    assert sent == ["machines", "releases"]


async def test_the_commit_a_deploy_names_is_shown_with_its_release(
    sandbox: Sandbox, rig: Rig
) -> None:
    commit = "3f2a91c0" * 5
    await sandbox.deploy(image="good", env={"GIT_SHA": commit})

    releases = await rig.releases()

    assert [(r.version, r.commit) for r in releases] == [(2, commit), (1, "")]


async def test_the_platform_fits_what_the_engine_asks_for(rig: Rig) -> None:
    platform: Platform = rig.platform

    assert isinstance(platform, KnowsHealthPaths)
    assert await platform.health_paths() == ("/healthz",)
    assert not (await platform.token_report()).is_own_app
