"""`rollbackd check` as a process, on mistakes that people make: the line, one message, exit 1."""

import subprocess
import sys
from pathlib import Path

import pytest

from rollbackd.sandbox.processes import bare_environment
from tests.integration.torture import BASE, MISTAKES, TWICE

pytestmark = pytest.mark.integration

JARGON = ("Traceback", "pydantic", "tuple", "<block", "NoneType", "ctx", "stream")


def check(directory: Path, text: str) -> tuple[int, list[str]]:
    """The exit code, and the errors without the path before them."""
    path = directory / "rollback-monitoring.yml"
    path.write_text(text, encoding="utf-8", newline="")
    done = subprocess.run(
        [sys.executable, "-m", "rollbackd", "check", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env=bare_environment({}),
        timeout=60,
    )
    told = done.stdout + done.stderr
    assert not [word for word in JARGON if word in told], told
    return done.returncode, [
        line.removeprefix(f"{path}:") for line in told.splitlines() if ": error: " in line
    ]


def test_without_a_mistake_it_is_accepted(tmp_path: Path) -> None:
    assert check(tmp_path, BASE) == (0, [])


@pytest.mark.parametrize(
    ("name", "old", "new", "line"), MISTAKES, ids=[name for name, *_ in MISTAKES]
)
def test_a_mistake_is_named_at_its_line_in_plain_words(
    tmp_path: Path, name: str, old: str, new: str, line: int
) -> None:
    text = BASE.replace(old, new, 1)
    assert text != BASE
    ends = {"windows": "\r\n", "old mac": "\r"}
    end = next((end for start, end in ends.items() if name.startswith(start)), "\n")

    code, errors = check(tmp_path, text.replace("\n", end))

    assert code == 1
    assert len(errors) == (2 if name in TWICE else 1), errors
    assert errors[0].startswith(f"{line}:"), errors
