"""Which commit a release was made from, where its environment or its image tells."""

from typing import cast

import pytest

from rollbackd.core.model import Json, JsonObject
from rollbackd.fly.client import FlyClient
from rollbackd.fly.commit import ENVIRONMENT, commit_in, commit_of
from rollbackd.fly.ledger import Ledger
from rollbackd.fly.release_view import release_view

A, B = "a" * 40, "b" * 40
NOBODY = cast("FlyClient", None)  # learning from machines asks nobody


def machine(
    version: int = 42, *, env: JsonObject | None = None, labels: JsonObject | None = None
) -> JsonObject:
    marks: JsonObject = {
        "fly_platform_version": "v2",
        "fly_process_group": "app",
        "fly_release_version": str(version),
    }
    image: JsonObject = {"digest": f"sha256:{version:064x}", "labels": labels or {}}
    config: JsonObject = {"image": "shop:1", "metadata": marks, "env": env or {}}
    return {"id": "m1", "state": "started", "image_ref": image, "config": config}


class Disk:
    """Fits `fly.ledger.Keep`."""

    def __init__(self) -> None:
        self.blobs: dict[str, Json] = {}

    async def put_blob(self, key: str, value: Json) -> None:
        self.blobs[key] = value

    async def get_blob(self, key: str) -> Json:
        return self.blobs.get(key)


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_the_environment_of_a_deploy_tells_its_commit(name: str) -> None:
    assert commit_of(machine(env={name: A.upper()})) == A


@pytest.mark.parametrize("name", ["GH_SHA", "org.opencontainers.image.revision"])
def test_a_label_of_the_image_tells_it_too(name: str) -> None:
    assert commit_of(machine(labels={name: A})) == A


def test_the_environment_speaks_first_because_a_label_may_be_inherited() -> None:
    found = machine(env={"GIT_SHA": B}, labels={"org.opencontainers.image.revision": A})

    assert commit_of(found) == B
    assert commit_of(machine(labels={"org.opencontainers.image.revision": A, "GH_SHA": B})) == B


@pytest.mark.parametrize(
    "text", ["", "main", "v1.2.3", "abc123", "postgres://a:b@c", f"{A}-dirty", "g" * 40, "a" * 65]
)
def test_what_does_not_look_like_a_commit_is_none(text: str) -> None:
    assert commit_of(machine(env={"GIT_SHA": text}, labels={"GH_SHA": text})) == ""
    assert commit_in({"env": {"GIT_SHA": text}}) == ""


def test_other_variables_are_left_alone() -> None:
    assert commit_of(machine(env={"SECRET_SHA": A}, labels={"version": A})) == ""
    assert commit_of({"incomplete_config": {"env": {"GIT_SHA": A}}}) == A
    assert commit_of({}) == ""


async def test_the_ledger_remembers_it_when_the_machines_are_gone() -> None:
    disk = Disk()
    await Ledger("shop", NOBODY, disk).learn([machine(labels={"GH_SHA": A})])
    fresh = Ledger("shop", NOBODY, disk)

    await fresh.learn([machine(42)])

    assert fresh.commit(42) == A
    assert fresh.commit(7) == ""


async def test_what_was_kept_before_commits_were_looked_for_learns_them_now() -> None:
    disk = Disk()
    await Ledger("shop", NOBODY, disk).learn([machine()])
    fresh = Ledger("shop", NOBODY, disk)

    await fresh.learn([machine(env={}, labels={"GH_SHA": B})])

    assert fresh.commit(42) == B
    assert (await disk.get_blob("fly/shop/release/42")) == {
        "image": f"sha256:{42:064x}",
        "commit": B,
        "groups": await _groups(disk),
    }


async def _groups(disk: Disk) -> Json:
    kept = await disk.get_blob("fly/shop/release/42")
    assert isinstance(kept, dict)
    return kept["groups"]


def test_a_release_shows_it() -> None:
    record: JsonObject = {"version": 42, "status": "complete", "image_ref": "shop:1"}

    assert release_view(record, content="c", commit=A).commit == A
    assert release_view(record, content="c").commit == ""
