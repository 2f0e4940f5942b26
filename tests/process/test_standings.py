"""The ledger through the real daemon, its command line, and the next deploy of what was bad."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.process.daemons import CONFIGURATION, Running, images, running
from tests.process.test_by_hand import command
from tests.support import until

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(180)]

BAD, FIXED = "3f2a91c0" * 5, "77c0ffee" * 5


async def releases(daemon: Running) -> dict[int, dict[str, Any]]:
    code, out, said = await command(daemon, "releases", "shop", "--json")
    assert code == 0, said
    return {r["version"]: r for r in json.loads(out)["releases"]}


async def test_a_commit_that_was_rolled_back_is_known_by_name_until_a_person_blesses_it(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as daemon:
        await daemon.start()
        await daemon.until_known_good()
        told = await command(daemon, "announce", "shop", "--sha", BAD, "--actor", "ann")
        daemon.box.begin_deploy(image="errors-60")
        past = await daemon.until_outcome("recovered")
        refused = await command(daemon, "gate", "shop", "--sha", BAD[:9])
        welcome = await command(daemon, "gate", "shop", "--sha", FIXED)
        known = await releases(daemon)

        assert told[0] == 0, told
        assert past["why"].startswith("shop v2 is bad: errors ")
        assert past["why"] == past["reason"]
        assert (refused[0], welcome[0]) == (1, 0)
        assert "v2 was rolled back to v1 by error-rate" in refused[1]
        assert (known[2]["standing"], known[2]["commit"], known[2]["author"]) == (
            "quarantined",
            BAD,
            "ann",
        )
        assert known[1]["standing"] == "good"

        await daemon.box.deploy(image="errors-60")
        await until(lambda: "release.relapsed" in daemon.log(), 40)
        target = await daemon.target()
        assert target is not None
        assert "has the content of v2, which was rolled back to v1" in target["relapse"]
        assert images(daemon.box) == {"errors-60"}  # judged, told, and rolled back from but once

        blessed = await command(
            daemon, "bless", "shop", "v2", "--reason", "load test", "--by", "eva"
        )
        after = await command(daemon, "gate", "shop", "--sha", BAD)
        assert (blessed[0], after[0]) == (0, 0), (blessed, after)
        await daemon.end(signal.SIGKILL)
        offline = await releases(daemon)

        assert offline[2]["standing"] == "good"
        assert offline[2]["why"] == "was blessed by eva: load test"


async def test_what_observe_mode_would_have_done_is_counted_and_told(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        daemon.configure(CONFIGURATION.replace("mode: auto", "mode: observe"))
        await daemon.start()

        async def well() -> bool:
            target = await daemon.target()
            release = target["release"] if target else None
            return bool(release and release["standing"] == "good")

        await until(well, 40)
        await until(lambda: _ok(daemon), 40)
        await daemon.box.deploy(image="errors-60")

        async def counted() -> bool:
            target = await daemon.target()
            return target is not None and len(target["would_have"]) == 1

        await until(counted, 60)
        target = await daemon.target()
        code, out, said = await command(daemon, "history", "shop")
        explained = await command(daemon, "explain", "shop")

        assert target is not None
        assert target["trial"] == "would have acted once in 1 release"
        assert code == 0, said
        assert "shop v2 -> v1, observe_mode" in out
        assert "shop v2 is bad: errors " in out
        assert explained[1].startswith("shop v2 is bad: errors "), explained
        assert "It would go back to v1: good" in explained[1]
        assert images(daemon.box) == {"errors-60"}


async def _ok(daemon: Running) -> bool:
    target = await daemon.target()
    return target is not None and {t["state"] for t in target["triggers"]} == {"ok"}
