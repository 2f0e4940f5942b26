"""A person answers on the page, in a real browser without scripts: look, approve, undo."""

from pathlib import Path

import pytest

from tests.integration.clicking import Tab, clicking
from tests.integration.test_page import page_address
from tests.process.daemons import CONFIGURATION, Running, images, running
from tests.support import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ASK_FIRST = CONFIGURATION.replace("mode: auto", "mode: approve")
ANSWER = 'a[href^="/proposals/"]'


async def test_a_plan_is_approved_on_the_page_and_the_rollback_is_undone_there(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as daemon, clicking(tmp_path) as tab:
        daemon.configure(ASK_FIRST)
        await daemon.start()
        address = await page_address(daemon)
        await daemon.until_known_good()
        await daemon.box.deploy(image="errors-60")
        await until(lambda: _asked(daemon), 60)

        await tab.go(address)
        await until(lambda: _shows(tab, "A person is asked"), 30)
        await tab.click(ANSWER)
        await until(lambda: _shows(tab, "Approve this plan"), 30)
        await tab.type('form[action$="/approve"] input[name="reason"]', "we looked at it")
        await tab.click('form[action$="/approve"] button')
        await until(lambda: _shows(tab, "v2 to v1"), 30)
        (row,) = await daemon.rollbacks()
        await until(lambda: _over(daemon, 1), 120)

        await tab.go(f"{address}rollbacks/{row['id']}")
        await until(lambda: _shows(tab, "Undo it: a false alarm"), 30)
        await tab.click('form[action$="/undo"] button')  # without a why: the browser asks for one
        assert len(await daemon.rollbacks()) == 1
        await tab.type('form[action$="/undo"] input[name="reason"]', "the load test")
        await tab.click('form[action$="/undo"] button')
        await until(lambda: _over(daemon, 2), 120)
        (undo, _) = await daemon.rollbacks()

        assert undo["undoes"] == row["id"]
        assert undo["why"] == "false alarm: the load test"
        assert images(daemon.box) == {"errors-60"}


async def _asked(daemon: Running) -> bool:
    target = await daemon.target()
    return bool(target and target["proposal"])


async def _over(daemon: Running, number: int) -> bool:
    rows = await daemon.rollbacks()
    return len(rows) == number and all(row["outcome"] for row in rows)


async def _shows(tab: Tab, words: str) -> bool:
    return words in await tab.text()
