"""How the daemon ends: a room that breaks ends it, through the log and not around it."""

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from rollbackd.config.settings import load_settings
from rollbackd.daemon import life


class Broken:
    """A house one of whose rooms raises."""

    addresses = ()
    busy = False
    closed = 0

    def __init__(self, **_parts: object) -> None: ...

    def reload_soon(self, cause: str) -> None: ...

    async def open(self) -> None: ...

    async def drain(self) -> None: ...

    async def close(self) -> None:
        Broken.closed += 1

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        async def watch() -> None:
            raise RuntimeError("no luck with token=fm2_lJPEsecretsecret")

        return {"watcher": watch(), "ticks": asyncio.sleep(3600)}


@pytest.fixture(autouse=True)
def own_pipeline() -> Iterator[None]:
    """Leave no pipeline behind that writes to a stream of this test."""
    root = logging.getLogger()
    handlers = list(root.handlers)
    yield
    root.handlers[:] = handlers
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_a_room_that_breaks_ends_the_daemon_with_a_scrubbed_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(life, "House", Broken)
    (tmp_path / "rollback-monitoring.yml").write_text("targets: {shop: {url: http://x.test}}\n")
    settings = load_settings({"ROLLBACKD_CONFIG": str(tmp_path)})

    code = life.run(settings)

    said = capsys.readouterr().err
    assert code == 1
    assert Broken.closed == 1
    assert "daemon.broke" in said
    assert "RuntimeError" in said
    assert "secretsecret" not in said
