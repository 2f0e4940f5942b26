"""The platform misbehaves in the middle of a real rollback: it ends right, or holds and says so.

The client, the executor, the runner and the store are the daemon's own; the sandbox answers.
"""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from rollbackd.core.errors import PlanRefused
from rollbackd.core.model import RollbackOutcome
from rollbackd.core.policy import Traffic
from rollbackd.executors import app_machine
from rollbackd.sandbox import leases
from rollbackd.sandbox.server import Sandbox
from tests.faults.campaign import twice
from tests.faults.dying import Life, Lives
from tests.faults.struck import left_on
from tests.process.daemons import images
from tests.support import until

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(120)]

UPDATE = "/machines/[^/]+$"
AT_FIRST_UPDATE = "before send update:1"
BEFORE_RECORD = "before send create_release:1"


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    quick = {"boot_seconds": 0.05, "check_seconds": 0.1, "grace_seconds": 0.1, "smoke_seconds": 0.1}
    async with Sandbox(machines=2, rate_limits=False, **quick) as made:
        await made.ready()
        yield made


@pytest.fixture
async def lives(box: Sandbox, tmp_path: Path) -> Lives:
    """The bad release is out, and the good one was seen before."""
    made = Lives(box, tmp_path)
    await made.learn()
    await box.deploy(image="errors-60", strategy="immediate")
    return made


async def ends(
    lives: Lives, meanwhile: Callable[[], None], at: str = AT_FIRST_UPDATE
) -> RollbackOutcome:
    """Roll back; `meanwhile` happens at that point."""
    (outcome,) = await lives.live(Life(at, meanwhile), "begin")
    return outcome


def done_once(box: Sandbox) -> None:
    ours = [
        {"action": e.action, "machine": e.machine, "op_id": e.op_id}
        for e in box.effects
        if e.request_id != "inside"
    ]
    assert twice(ours) == []
    assert left_on(box) == []
    assert images(box) == {"good"}


def fault(box: Sandbox, kind: str, **options: object) -> Callable[[], None]:
    return lambda: box.faults.add(kind, **options) and None


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("status", {"status": 409, "text": "aborted: lease currently held", "path": "/lease$"}),
        ("status", {"status": 409, "text": "aborted: version mismatch", "path": UPDATE}),
        ("status", {"status": 412, "text": "precondition failed", "path": UPDATE}),
        ("status", {"status": 429, "text": "rate limit exceeded", "path": "/v1", "count": 6}),
        ("status", {"status": 500, "when": "after", "path": UPDATE, "count": 2}),
        ("reset", {"when": "after", "path": UPDATE}),
        ("reset", {"when": "after", "path": "/cordon$"}),
        ("reset", {"when": "after", "path": "/api/v1/releases$"}),
        ("html", {"status": 502, "path": "/v1", "count": 4}),
        ("truncated", {"path": UPDATE}),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value.get("status", value["path"])),
)
async def test_it_ends_well_and_nothing_is_applied_twice(
    box: Sandbox, lives: Lives, kind: str, options: dict[str, object]
) -> None:
    strike = fault(box, kind, **({"method": "POST"} | options))
    at = BEFORE_RECORD if "releases" in str(options["path"]) else AT_FIRST_UPDATE

    assert await ends(lives, strike, at) is RollbackOutcome.RECOVERED

    assert all(one.struck for one in box.faults.faults)
    done_once(box)


@pytest.mark.slow
async def test_a_time_out_after_applying_is_read_back(box: Sandbox, lives: Lives) -> None:
    strike = fault(box, "hang", method="POST", path=UPDATE, when="after")

    assert await ends(lives, strike) is RollbackOutcome.RECOVERED

    done_once(box)


async def test_somebody_elses_lease_is_waited_for(box: Sandbox, lives: Lives) -> None:
    def deploying() -> None:
        machine = box.machines[0]
        if machine.lease is not None:  # this very machine is in our hands already
            machine = box.machines[1]
        leases.acquire(box.world, machine, owner="ci", ttl=3, description="a deploy")

    assert await ends(lives, deploying) is RollbackOutcome.RECOVERED

    done_once(box)


@pytest.mark.parametrize(
    "at", [AT_FIRST_UPDATE, pytest.param("before done 12:1", marks=pytest.mark.slow)]
)
async def test_an_empty_list_of_machines_is_never_done(
    box: Sandbox, lives: Lives, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `Looks._seen` answering an empty fleet it would say complete."""
    monkeypatch.setattr("rollbackd.engine.steps._LONGEST_PAUSE_SECONDS", 0.2)
    empty = fault(box, "text", method="GET", path="/machines$", status=200, text="[]", count=10_000)

    outcome = await ends(lives, empty, at)

    assert outcome in {RollbackOutcome.NOT_RECOVERED, RollbackOutcome.HOLDING}
    assert left_on(box) == []  # it finds them by their names


async def test_an_empty_list_of_machines_makes_no_plan(box: Sandbox, lives: Lives) -> None:
    box.faults.add("text", method="GET", path="/machines$", status=200, text="[]", count=10_000)

    with pytest.raises(PlanRefused, match="lists no machine"):
        await lives.live(Life(), "begin")


async def test_graphql_errors_with_status_200_are_errors(box: Sandbox, lives: Lives) -> None:
    text = '{"data":null,"errors":[{"message":"internal error","extensions":{"code":"SERVER"}}]}'
    box.faults.add("text", path="graphql", status=200, text=text, count=10_000)

    (outcome,) = await lives.live(Life(), "begin")

    assert outcome is RollbackOutcome.RECOVERED
    done_once(box)


async def test_a_token_revoked_half_way_holds_and_goes_on_with_another(
    box: Sandbox, lives: Lives
) -> None:
    secret = box.urls.token
    token = box.world.tokens[secret]

    outcome = await ends(lives, lambda: setattr(token, "expires_at", 1.0), "after send update:1")

    assert outcome is RollbackOutcome.HOLDING
    assert lives.heard("rollback.held")
    token.expires_at = None
    assert await lives.live(Life(), "release") == [RollbackOutcome.RECOVERED]
    done_once(box)


@pytest.mark.parametrize("status", [404, pytest.param(503, marks=pytest.mark.slow)])
async def test_without_the_releases_api_it_is_degraded_and_ends_well(
    box: Sandbox, lives: Lives, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollbackd.executors.app_record._PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(app_machine, "_ASK_SECONDS", 0.3)
    gone = fault(box, "status", path="/releases", status=status, count=100_000)

    assert await ends(lives, gone, "before started 9:1") is RollbackOutcome.RECOVERED

    done_once(box)
    told = [words for event, words in lives.told if "no release record" in str(words)]
    assert told
    assert "degraded: no release record" in str(lives.heard("rollback.ended"))


async def test_a_record_that_was_written_without_an_answer_is_found_all_the_same(
    box: Sandbox, lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the last look it ends "degraded: no release record" beside a complete one."""
    monkeypatch.setattr("rollbackd.executors.app_record._PATIENCE_SECONDS", 1.0)
    strike = fault(box, "hang", method="POST", path="/api/v1/releases$", when="after")

    assert await ends(lives, strike, BEFORE_RECORD) is RollbackOutcome.RECOVERED

    done_once(box)
    assert "no release record" not in str(lives.told)
    assert [release.status for release in box.releases] == ["complete"] * 3


async def test_a_release_meanwhile_is_stood_back_from(box: Sandbox, lives: Lives) -> None:
    def deployed() -> None:
        box.begin_deploy(image="newer", strategy="immediate")

    outcome = await ends(lives, deployed, "before started 9:1")

    assert outcome is RollbackOutcome.SUPERSEDED
    assert left_on(box) == [] or all("rollbackd" not in line for line in left_on(box))
    await until(lambda: images(box) == {"newer"})


async def test_stopping_traffic_that_fails_is_undone(box: Sandbox, tmp_path: Path) -> None:
    """Before the point of no return undoing is all: traffic comes back, nothing else was done."""
    lives = Lives(box, tmp_path, Traffic.STOP)
    await lives.learn()
    await box.deploy(image="errors-60", strategy="immediate")
    strike = fault(box, "status", method="POST", path="/cordon$", status=400, text="no")

    (outcome,) = await lives.live(Life("before send cordon:2", strike), "begin")

    assert outcome is RollbackOutcome.FAILED_BEFORE_EFFECT
    assert left_on(box) == []
    assert images(box) == {"errors-60"}
