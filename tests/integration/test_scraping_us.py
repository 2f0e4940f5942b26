"""A real Prometheus scrapes the daemon while it rolls back, and holds the shipped rules."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.peers import Peer, complaints, output_of, prometheus, scrape_config
from tests.process.daemons import Running, running
from tests.support import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

RULES = Path(__file__).parents[2] / "deploy/prometheus/rules.yml"


async def metrics_address(daemon: Running) -> str:
    async def told() -> bool:
        return '"listening"' in daemon.log()

    await until(told, 30)
    lines = [line for line in daemon.log().splitlines() if '"listening"' in line]
    return str(json.loads(lines[-1])["listening"][0])


@contextlib.asynccontextmanager
async def watched(directory: Path) -> AsyncIterator[tuple[Running, Peer, str]]:
    """A daemon whose release is known to be good, and the Prometheus that scrapes it."""
    async with running(directory) as daemon:
        await daemon.start()
        address = await metrics_address(daemon)
        config = scrape_config("rollbackd", address, "2s", RULES)
        async with prometheus(directory, config) as peer:
            await daemon.until_known_good()
            yield daemon, peer, address


async def test_it_is_scraped_without_complaint_and_agrees_with_the_journal(tmp_path: Path) -> None:
    async with watched(tmp_path) as (daemon, peer, address):
        await until(lambda: _seen(peer, "rollbackd_rollbacks_total"), 20)
        await daemon.box.deploy(image="errors-60")
        ended = await daemon.until_outcome("recovered")
        rollback = await daemon.get(f"/api/v1/rollbacks/{ended['id']}")
        await until(lambda: _increased(peer, ended["trigger"]), 20)
        await until(lambda: _fires(peer, "RollbackdRollbackPerformed"), 20)

        await _scrapes_were_well(peer)
        await _counters_agree(peer, rollback)
        await _rules_are_well(peer)
        async with httpx.AsyncClient(trust_env=False) as client:
            body = (await client.get(f"http://{address}/metrics")).content
        assert await output_of("promtool", "check", "metrics", given=body) == (0, "", "")
    assert complaints(peer.log) == []


async def _seen(peer: Peer, series: str) -> bool:
    return bool(await peer.query(series))


async def _increased(peer: Peer, trigger: str) -> bool:
    """The very first rollback is an increase, because its counter was born at 0."""
    query = f'increase(rollbackd_rollbacks_total{{result="recovered",trigger="{trigger}"}}[5m])'
    return ((await peer.number(query)) or 0) > 0.5


async def _fires(peer: Peer, name: str) -> bool:
    alerts = (await peer.get("/api/v1/alerts")).json()["data"]["alerts"]
    return any(a["labels"]["alertname"] == name and a["state"] == "firing" for a in alerts)


async def _scrapes_were_well(peer: Peer) -> None:
    assert await peer.number("min_over_time(up[5m])") == 1
    assert (await peer.number("min_over_time(scrape_samples_scraped[5m])") or 0) > 100
    assert (await peer.number("count_over_time(up[5m])") or 0) > 5
    targets = (await peer.get("/api/v1/targets")).json()["data"]["activeTargets"]
    assert [t["lastError"] for t in targets] == [""]


async def _counters_agree(peer: Peer, rollback: dict[str, Any]) -> None:
    """What was counted is what the journal has, no more and no less."""
    steps = [s for s in rollback["steps"] if s["finished_at"] is not None]
    assert steps, rollback
    assert await peer.number("sum(rollbackd_rollbacks_started_total)") == 1
    counted = [labels for labels, n in await peer.query("rollbackd_rollbacks_total") if n]
    assert [(c["result"], c["trigger"]) for c in counted] == [("recovered", rollback["trigger"])]
    taken = 'sum(rollbackd_decisions_total{decision="roll_back",reason="auto"})'
    assert await peer.number(taken) == 1
    assert await peer.number('sum(rollbackd_decisions_total{decision="roll_back"})') == 1
    assert await peer.number("rollbackd_rollback_duration_seconds_count") == 1
    took = rollback["finished_at"] - rollback["decided_at"]
    counted_seconds = await peer.number("rollbackd_rollback_duration_seconds_sum") or 0
    assert counted_seconds == pytest.approx(took, abs=1)
    by_phase: dict[str, int] = {}
    for step in steps:
        by_phase[step["phase"]] = by_phase.get(step["phase"], 0) + 1
    durations = await peer.query("rollbackd_rollback_step_duration_seconds_count")
    assert {labels["phase"]: n for labels, n in durations if n} == by_phase


async def _rules_are_well(peer: Peer) -> None:
    groups = (await peer.get("/api/v1/rules")).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == RULES.read_text(encoding="utf-8").count("- alert:")
    assert {rule.get("lastError", "") for rule in rules} == {""}
    assert {rule["health"] for rule in rules} == {"ok"}
    firing = {rule["name"] for rule in rules if rule["state"] == "firing"}
    assert firing == {"RollbackdWatchdog", "RollbackdRollbackPerformed"}
