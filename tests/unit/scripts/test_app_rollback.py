"""The script for people: shows the plan first, then does what the command does."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "scripts" / "rollback" / "app-rollback.sh"


def run(tmp_path: Path, *words: str, code: int = 0) -> tuple[int, list[str]]:
    told = tmp_path / "told"
    fake = tmp_path / "rollbackd"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {told}\nexit {code}\n', encoding="utf-8")
    fake.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([SCRIPT, *words], env=environment, check=False, capture_output=True)
    return done.returncode, told.read_text().splitlines() if told.exists() else []


def test_the_plan_is_shown_before_anything_is_done(tmp_path: Path) -> None:
    code, told = run(tmp_path, "shop", "--reason", "errors", "--yes")

    assert code == 0
    assert told == [
        "rollback shop --reason errors --dry-run",
        "rollback shop --reason errors --yes",
    ]


def test_a_plan_that_is_refused_ends_it_with_the_commands_code(tmp_path: Path) -> None:
    code, told = run(tmp_path, "shop", "--reason", "errors", code=1)

    assert (code, len(told)) == (1, 1)


def test_without_a_target_it_says_how(tmp_path: Path) -> None:
    assert run(tmp_path) == (2, [])
