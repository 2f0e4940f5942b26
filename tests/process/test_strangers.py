"""What happens beside a breach while the daemon watches: a dependency fails, people reload."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.process.daemons import CONFIGURATION, running
from tests.support import until
from tests.unit.probes.loopback import Loopback, Request, answer

pytestmark = [pytest.mark.process, pytest.mark.slow]


async def test_what_vetoes_holds_for_as_long_as_it_fails_and_no_longer(tmp_path: Path) -> None:
    ill = False

    async def database(_request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(status=500 if ill else 200))

    async with Loopback(database) as server, running(tmp_path) as daemon:
        daemon.configure(
            CONFIGURATION.replace(
                "    triggers:\n",
                f"      database: {{http: {{url: {server.url}/}}, interval: 500ms}}\n"
                "    triggers:\n",
            ).replace(
                "        min_samples: 20\n",
                "        min_samples: 20\n"
                "        unless: [{probe: database, breach_when: {failing: true}}]\n",
            )
        )
        await daemon.start()
        await daemon.until_known_good()
        ill = True
        await daemon.box.deploy(image="errors-60")

        async def vetoed() -> bool:
            target = await daemon.target()
            decision = target["decision"] if target is not None else {}
            return (decision["reason"], decision["from_version"]) == ("vetoed", 2)

        await until(vetoed, 40)
        explained = await daemon.get("/api/v1/targets/shop/explain")
        assert explained["headline"].startswith("shop v2 is not blamed: errors ")
        assert "database failing" in explained["then"]
        assert "what vetoes has to clear" in explained["to_act"][0]
        assert await daemon.rollbacks() == []

        ill = False
        assert (await daemon.until_outcome("recovered"))["trigger"] == "error-rate"


async def test_a_reload_keeps_for_how_long_it_has_been_bad(tmp_path: Path) -> None:
    patient = CONFIGURATION.replace("for: 1s", "for: 12s")
    async with running(tmp_path) as daemon:
        daemon.configure(patient)
        await daemon.start()
        await daemon.until_known_good()
        await daemon.box.deploy(image="errors-60")

        async def held() -> float:
            target = await daemon.target()
            why = str([t["why"] for t in target["triggers"]]) if target is not None else ""
            found = re.search(r"for ([\d.]+) s of 12 s", why)
            return float(found[1]) if found else 0.0

        async def half_way() -> bool:
            return await held() >= 5

        await until(half_way, 40)
        daemon.configure(patient.replace("clear_for: 2s", "clear_for: 3s"))
        assert (await daemon.post("/-/reload")).json()["result"] == "success"

        assert await held() >= 5
        await daemon.until_outcome("recovered")
