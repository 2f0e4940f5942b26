"""The past of an app through the sandbox: its releases and what its edge saw, read only."""

import asyncio
import json
import math
from collections import deque

import pytest
from typer.testing import CliRunner

from rollbackd.cli.main import app
from rollbackd.clock import SystemClock
from rollbackd.config.settings import Settings
from rollbackd.core.errors import ConfigError, UsageError
from rollbackd.core.facts import ReleasesSeen, Sample
from rollbackd.core.policy import Policy
from rollbackd.replay.fly_past import Past, past_of_app, short_file
from rollbackd.replay.releases import Fate
from rollbackd.replay.run import Manner, Run, play
from rollbackd.replay.story import summary
from rollbackd.sandbox.counters import labels_of
from rollbackd.sandbox.server import Sandbox
from tests.unit.probes.loopback import Loopback, answer

pytestmark = pytest.mark.process

STEP = 15
ANSWERS = 1500  # per step


def matrix(values: list[list[object]]) -> bytes:
    found = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
    return answer(json.dumps({"status": "success", "data": found}).encode())


def settings_for(sandbox: Sandbox, *, token: bool = True) -> Settings:
    urls = sandbox.urls
    return Settings(
        fly_machines_url=urls.machines_url,
        fly_api_url=urls.api_url,
        fly_read_token=urls.org_token if token else None,
        prometheus_url=urls.prometheus_url,
    )


def rewrite_the_past(sandbox: Sandbox, now: float) -> None:
    """v2 came 50 min ago and was bad from there on; v3 brought v1 back 24 min later."""
    for release, ago in zip(sandbox.releases, (9000, 3000, 1560), strict=True):
        release.created_at = now - ago
    good, bad = 0.0, 0.0
    for at in range(int(now) - 7200, int(now) + 1, STEP):
        ill = now - 3000 < at <= now - 1560
        good, bad = (
            good + ANSWERS * (0.9 if ill else 0.999),
            bad + ANSWERS * (0.1 if ill else 0.001),
        )
        for status, count in (("200", good), ("500", bad)):
            labels = labels_of(app=sandbox.urls.app, status=status)
            key = ("fly_edge_http_responses_count", labels)
            sandbox.platform.counters.values[key] = count
            sandbox.platform.counters.points.setdefault(key, deque()).append((at, count))


async def read(sandbox: Sandbox, seconds: float = 7000) -> tuple[Policy, Past]:
    settings, clock = settings_for(sandbox), SystemClock()
    loaded = short_file(sandbox.urls.app, settings)
    now = clock.now()
    past = await past_of_app(
        sandbox.urls.app, loaded, settings, clock, since=now - seconds, until=now
    )
    return loaded.policy, past


async def with_a_past(sandbox: Sandbox) -> None:
    await sandbox.deploy(image="errors-50")
    await sandbox.deploy(image="good")
    rewrite_the_past(sandbox, SystemClock().now())


async def test_a_laptop_sees_which_release_would_have_gone_back_and_how_long_it_took(
    sandbox: Sandbox,
) -> None:
    await with_a_past(sandbox)

    policy, past = await read(sandbox)

    run = Run("short", policy, Manner(lagging=True))
    list(play(run, ((fact.at, fact) for fact in past.facts)))
    fates: list[Fate] = run.releases.fates()[policy.targets[next(iter(policy.targets))].name]
    assert [(f.release.version, f.acts) for f in fates] == [(2, True), (3, False)]
    assert fates[0].decided is not None
    assert fates[0].decided.at - fates[0].came_at < 240
    assert summary(fates).endswith("; it took 24 min")


async def test_it_says_what_is_not_known_of_the_past(sandbox: Sandbox) -> None:
    await with_a_past(sandbox)

    _, past = await read(sandbox)

    assert any("the past of health is not known" in note for note in past.notes)
    assert any("the past of machines is not known" in note for note in past.notes)
    assert {fact.probe for fact in past.facts if isinstance(fact, Sample)} >= {"errors"}


async def test_nothing_is_changed(sandbox: Sandbox) -> None:
    await with_a_past(sandbox)
    before = len(sandbox.platform.world.effects)

    await read(sandbox)

    assert len(sandbox.platform.world.effects) == before


async def test_a_release_from_before_is_there_from_the_beginning(sandbox: Sandbox) -> None:
    await with_a_past(sandbox)

    _, past = await read(sandbox, seconds=3600)

    seen = [fact for fact in past.facts if isinstance(fact, ReleasesSeen)]
    assert [[r.version for r in fact.releases] for fact in seen] == [[1], [2, 1], [3, 2, 1]]
    assert min(fact.at for fact in past.facts) == seen[0].at


async def test_without_a_token_it_says_which_one(sandbox: Sandbox) -> None:
    settings = settings_for(sandbox, token=False)
    loaded = short_file(sandbox.urls.app, settings)

    with pytest.raises(ConfigError, match="no Fly token"):
        await past_of_app(sandbox.urls.app, loaded, settings, SystemClock(), since=0, until=1)


async def test_an_app_that_no_target_is_cannot_be_meant(sandbox: Sandbox) -> None:
    settings = settings_for(sandbox)
    loaded = short_file("other", settings)

    with pytest.raises(UsageError, match="no target"):
        await past_of_app(sandbox.urls.app, loaded, settings, SystemClock(), since=0, until=1)


@pytest.mark.parametrize(
    "behaviour",
    [
        answer(status=401),
        answer(b"<html>"),
        answer(b"null"),
        matrix([[math.nan, "1"]]),
        matrix([[10**400, "1"]]),
        matrix([[1, "1" * 17 * 2**20]]),
        answer(status=502),
        b"",
    ],
    ids=["401", "html", "null", "nan", "huge number", "huge body", "502", "nothing"],
)
async def test_a_prometheus_that_cannot_be_read_is_69_and_one_line(
    sandbox: Sandbox, behaviour: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_a_past(sandbox)
    urls = sandbox.urls
    async with Loopback(behaviour) as hostile:
        for name, value in {
            "FLY_MACHINES_URL": urls.machines_url,
            "FLY_API_URL": urls.api_url,
            "FLY_READ_TOKEN": urls.org_token,
            "PROMETHEUS_URL": hostile.url,
        }.items():
            monkeypatch.setenv(f"ROLLBACKD_{name}", value)
        monkeypatch.delenv("ROLLBACKD_CONFIG", raising=False)
        words = ["replay", "--app", urls.app, "--from", "2h"]

        told = await asyncio.to_thread(CliRunner().invoke, app, words)

    assert (told.exit_code, told.stdout) == (69, "")
    (line,) = told.stderr.splitlines()
    assert line.startswith("error: the past cannot be read: ")
