"""docs/adding-a-probe.md works as written: one file, one entry point, nothing else changed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[3] / "docs" / "adding-a-probe.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


@pytest.fixture
def strangers_package(tmp_path: Path) -> Path:
    """What installing the example leaves behind: a module and its entry point."""
    (source,) = blocks("python")
    (entry_point,) = blocks("toml")
    group, name, value = re.fullmatch(
        r'\[project\.entry-points\."([\w.]+)"\]\n(\w+) = "([\w.:]+)"\n', entry_point
    ).groups()  # type: ignore[union-attr]  # the test fails where it does not match
    (tmp_path / "disk_probe.py").write_text(source)
    installed = tmp_path / "disk_probe-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: disk-probe\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    return tmp_path


USE_IT = """
import asyncio, sys
from rollbackd.plugins import probes
from tests.unit.probes.loopback import context, take
plugin = probes()["disk"]
assert plugin.measure(plugin.Config(path="/")) == "value"
print(asyncio.run(take("disk", {"path": "/"}, context())))
print(asyncio.run(take("disk", {"path": "/no/such/place"}, context())))
"""


def run(package: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    root = DOCUMENT.parents[1]
    return subprocess.run(
        [sys.executable, *argv],
        cwd=root,
        env={"PYTHONPATH": f"{package}:{root}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_example_looks_and_misses_as_it_says(strangers_package: Path) -> None:
    done = run(strangers_package, "-W", "error", "-c", USE_IT)
    assert done.returncode == 0, done.stderr
    value, missed = done.stdout.splitlines()
    assert re.fullmatch(r"Value\(value=0\.\d+\)", value)
    assert "source_error" in missed
    assert "FileNotFoundError" in missed


def test_the_yaml_of_the_example_is_accepted(strangers_package: Path, tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    config = tmp_path / "rollback-monitoring.yml"
    config.write_text(text)
    good = run(strangers_package, "-m", "rollbackd", "check", str(config))
    assert good.returncode == 0, good.stdout + good.stderr
    config.write_text(text.replace("path: /data", "pth: /data"))
    bad = run(strangers_package, "-m", "rollbackd", "check", str(config))
    assert bad.returncode == 1
    assert "rollback-monitoring.yml:5:" in bad.stdout + bad.stderr
