"""People's control over rollbacks through the real daemon, its command line and restarts."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.process.daemons import CONFIGURATION, Running, images, running
from tests.process.test_by_hand import command
from tests.support import until

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(180)]

ASK_FIRST = CONFIGURATION.replace("mode: auto", "mode: approve").replace(
    "        probe: ", "        max_age: 10s\n        probe: "
)


async def asked(daemon: Running) -> dict[str, Any] | None:
    target = await daemon.target()
    return target["proposal"] if target else None


async def ended(daemon: Running, number: int = 1) -> dict[str, Any]:
    """The newest of so many rollbacks, once all are over. A busy machine may prove it or not."""
    rows: list[dict[str, Any]] = []

    async def over() -> bool:
        rows[:] = await daemon.rollbacks()
        return len(rows) == number and all(row["outcome"] for row in rows)

    await until(over, 120, lambda: json.dumps(rows)[:20000])
    return rows[0]


async def until_asked(daemon: Running) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    async def is_asked() -> bool:
        proposal = await asked(daemon)
        found.extend([proposal] if proposal else [])
        return proposal is not None

    await until(is_asked, 60)
    return found[-1]


async def go_bad(daemon: Running) -> dict[str, Any]:
    await daemon.start()
    await daemon.until_known_good()
    await daemon.box.deploy(image="errors-60")
    return await until_asked(daemon)


async def audited(daemon: Running, kind: str) -> list[dict[str, Any]]:
    code, out, said = await command(daemon, "audit", "export")
    assert code == 0, said
    lines = [json.loads(line) for line in out.splitlines()]
    return [line["data"] for line in lines if line["kind"] == kind]


def updates(daemon: Running) -> int:
    return sum(1 for e in daemon.box.effects if e.op_id and e.action == "machine.update")


async def test_what_a_person_approves_is_done_once_and_as_it_was_shown(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        daemon.configure(ASK_FIRST)
        proposal = await go_bad(daemon)
        assert proposal["id"] == "shop-v2-to-v1"
        assert images(daemon.box) == {"errors-60"}

        await daemon.end(signal.SIGKILL)  # between the question and the answer
        await daemon.start()
        again = await until_asked(daemon)
        # Until then an approval is taken, and held: nothing was counted for too long.
        await until(lambda: _reason_is(daemon, "awaiting_approval"), 60)
        other = await command(daemon, "approve", "shop", "--hash", "feedfeed")
        first = await command(
            daemon, "approve", again["id"], "--hash", again["hash"], "--by", "eva", "--json"
        )
        second = await command(daemon, "approve", "shop", "--by", "bob")
        assert first[0] == 0, (again, first, second)
        past = await ended(daemon)

        assert again["hash"] == proposal["hash"]
        assert other[0] == 1
        assert "not feedfeed" in other[2]
        assert json.loads(first[1])["result"] == "began"
        assert second[0] == 1 or "began" in second[1]
        assert past["requested_by"] == "eva"
        assert past["plan_hash"] == proposal["hash"]
        assert updates(daemon) == 3
        assert images(daemon.box) == {"good"}
        assert len(await daemon.rollbacks()) == 1


async def test_killed_right_after_the_approval_it_is_done_all_the_same(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        daemon.configure(ASK_FIRST)
        proposal = await go_bad(daemon)

        answer = await daemon.post(f"/api/v1/proposals/{proposal['id']}/approve")
        await daemon.end(signal.SIGKILL)
        await daemon.start()
        past = await ended(daemon)

        assert answer.status_code == 200
        assert past["plan_hash"] == proposal["hash"]
        assert updates(daemon) == 3
        assert images(daemon.box) == {"good"}
        assert len(await daemon.rollbacks()) == 1


async def test_it_is_withdrawn_when_it_clears_and_a_rejected_one_does_not_come_again(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as daemon:
        daemon.configure(ASK_FIRST)
        await go_bad(daemon)
        await daemon.box.deploy(image="good")  # fixed forward

        async def gone() -> bool:
            return await asked(daemon) is None

        await until(gone, 60)
        (withdrawn,) = await audited(daemon, "withdrawn")
        stale = await command(daemon, "approve", "shop-v2-to-v1")

        assert "v3 appeared" in withdrawn["why"] or "cleared" in withdrawn["why"]
        assert stale[0] == 1
        assert "nothing is asked about shop" in stale[2]
        assert updates(daemon) == 0


async def test_a_rejected_one_does_not_come_again_not_even_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        daemon.configure(ASK_FIRST)
        proposal = await go_bad(daemon)

        told = await command(daemon, "reject", proposal["id"], "--reason", "a sale", "--by", "bob")
        await daemon.end(signal.SIGKILL)
        await daemon.start()
        await until(lambda: _answers(daemon), 30)
        raised = await command(
            daemon, "set", "shop", "mode=auto", "--for", "1h", "--reason", "try it"
        )

        async def held() -> bool:
            target = await daemon.target()
            return bool(target and "rejected by bob: a sale" in target["then"])

        await until(held, 60)
        target = await daemon.target()
        again = await command(daemon, "approve", proposal["id"])

        assert told[0] == 0, told
        assert raised[0] == 0, raised
        assert target is not None
        assert (target["mode"], target["proposal"]) == ("auto", None)
        assert again[0] == 1
        assert "was rejected by bob: a sale" in again[2]
        assert updates(daemon) == 0


async def test_a_false_alarm_is_undone_and_the_release_not_blamed_again(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await daemon.start()
        await daemon.until_known_good()
        await daemon.box.deploy(image="errors-60")
        past = await ended(daemon)

        undone = await command(
            daemon, "undo", past["id"], "--reason", "the load test did it", "--by", "eva", "--json"
        )
        assert undone[0] == 0, undone

        again = await ended(daemon, 2)  # what was undone has 60 % errors still, and is kept
        rows = await daemon.rollbacks()
        code, out, _ = await command(daemon, "releases", "shop", "--json")
        standing = {r["version"]: r for r in json.loads(out)["releases"]}
        twice = await command(daemon, "undo", past["id"], "--reason", "again")
        late = await command(daemon, "abort", again["id"], "--reason", "again")

        assert again["outcome"] == "recovered"
        assert again["detail"].startswith("error-rate is "), again["detail"]
        assert (rows[0]["undoes"], rows[0]["to_version"]) == (past["id"], 2)
        assert images(daemon.box) == {"errors-60"}
        assert code == 0
        assert standing[2]["standing"] != "quarantined"
        assert standing[1]["standing"] == "good"
        assert twice[0] == late[0] == 1
        assert "rollbackd undo" not in late[2]  # an undo cannot be undone
        await until(lambda: _reason_is(daemon, "release_is_rollback"), 60)
        target = await daemon.target()
        assert target is not None
        assert not target["locked_out"]
        assert len(await daemon.rollbacks()) == 2


async def test_one_that_holds_is_ended_and_one_that_changes_machines_is_not(tmp_path: Path) -> None:
    async with running(tmp_path, boot_seconds=2.0) as daemon:
        await daemon.start()
        await daemon.until_known_good()
        daemon.box.begin_deploy(image="errors-60")
        await until(lambda: updates(daemon) >= 1, 90)
        (row,) = await daemon.rollbacks()

        late = await command(daemon, "abort", row["id"], "--reason", "wait")
        past = await ended(daemon)
        over = await command(daemon, "abort", row["id"], "--reason", "wait")

        assert late[0] == 1
        assert f"rollbackd undo {row['id']}" in late[2]
        assert past["id"] == row["id"]
        assert over[0] == 1
        assert "is over: succeeded" in over[2]


async def _answers(daemon: Running) -> bool:
    return await daemon.target() is not None


async def _reason_is(daemon: Running, *reasons: str) -> bool:
    return await daemon.reason() in reasons


async def test_a_mode_that_was_set_ends_by_itself(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        daemon.configure(ASK_FIRST)
        await daemon.start()
        await daemon.until_known_good()
        endless = await command(daemon, "set", "shop", "mode=auto", "--reason", "night")
        told = await command(
            daemon, "set", "shop", "mode=auto", "--for", "3s", "--reason", "night", "--json"
        )

        async def back() -> bool:
            target = await daemon.target()
            return bool(target and target["mode"] == "approve" and not target["mode_set"])

        await until(back, 30)
        (line,) = await audited(daemon, "mode_set")

        assert endless[0] == 2
        assert "say for how long" in endless[2]
        assert (told[0], json.loads(told[1])["mode"]) == (0, "auto")
        assert (line["reason"], line["mode"]) == ("night", "auto")
