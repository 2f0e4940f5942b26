"""A reload is one at a time, and one that could not be carried out now is tried again."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from rollbackd.clock import FakeClock
from rollbackd.config.load import Loaded, content_hash
from rollbackd.config.settings import load_settings
from rollbackd.core.errors import ConfigError, RollbackdError, TemporaryError
from rollbackd.engine.reloader import Reloader
from rollbackd.telemetry.metrics import Metrics

TEXT = "targets: {shop: {url: 'https://shop.example'}}\n"


class Adopter:
    def __init__(self, *errors: RollbackdError) -> None:
        self.errors = list(errors)
        self.adopted = 0
        self.at_once = 0
        self.most_at_once = 0

    async def adopt(self, _loaded: Loaded) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.errors:
            raise self.errors.pop(0)
        self.adopted += 1


def reloader(directory: Path, adopter: Adopter) -> Reloader:
    (directory / "rollback-monitoring.yml").write_text(TEXT, encoding="utf-8")
    return Reloader(
        clock=FakeClock(0.0),
        metrics=Metrics(CollectorRegistry()),
        settings=load_settings().model_copy(update={"config": directory}),
        adopt=adopter.adopt,
        hash="of what was before",
    )


async def test_what_the_disk_kept_from_being_adopted_is_tried_again(tmp_path: Path) -> None:
    adopter = Adopter(TemporaryError("no space left"))
    one = reloader(tmp_path, adopter)

    results = [await one.reload("watch"), await one.reload("watch")]

    assert results == ["failed", "success"]
    assert one.hash == content_hash(tmp_path)
    assert one.error == ""


async def test_the_same_refused_content_is_not_complained_about_again(tmp_path: Path) -> None:
    one = reloader(tmp_path, Adopter(ConfigError("no Fly token")))

    result = await one.reload("watch")

    assert result == "failed"
    assert one.hash == content_hash(tmp_path)
    assert one.error == "no Fly token"


@pytest.mark.parametrize("times", [2, 20])
async def test_reloads_asked_for_at_once_come_one_after_the_other(
    tmp_path: Path, times: int
) -> None:
    adopter = Adopter()
    one = reloader(tmp_path, adopter)

    results = await asyncio.gather(*[one.reload("api") for _ in range(times)])

    assert adopter.most_at_once == 1
    assert results == ["success"] + ["unchanged"] * (times - 1)
