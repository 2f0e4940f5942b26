"""The script for the database: its own plan unless another is named, shown before it is done."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "rollback" / "db-rollback.sh"


def run(tmp_path: Path, *words: str, code: int = 0) -> tuple[int, list[str]]:
    told = tmp_path / "told"
    fake = tmp_path / "rollbackd"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {told}\nexit {code}\n', encoding="utf-8")
    fake.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([SCRIPT, *words], env=environment, check=False, capture_output=True)
    return done.returncode, told.read_text().splitlines() if told.exists() else []


def test_the_plan_of_the_database_is_shown_before_anything_is_done(tmp_path: Path) -> None:
    code, told = run(tmp_path, "shop", "--reason", "bad column", "--to-migration", "3", "--yes")

    assert code == 0
    assert told == [
        "rollback shop --reason bad column --to-migration 3 --plan database --dry-run",
        "rollback shop --reason bad column --to-migration 3 --yes --plan database",
    ]


@pytest.mark.parametrize("named", [("--plan", "app-and-database"), ("--plan=app-and-database",)])
def test_another_plan_is_taken_where_it_is_named(tmp_path: Path, named: tuple[str, ...]) -> None:
    _, told = run(tmp_path, "shop", *named, "--reason", "x")

    assert told[1] == f"rollback shop {' '.join(named)} --reason x"


def test_a_hash_of_a_plan_is_handed_on(tmp_path: Path) -> None:
    _, told = run(tmp_path, "shop", "--reason", "x", "--plan-hash", "3f0c")

    assert told[0].endswith("--plan-hash 3f0c --plan database --dry-run")


def test_a_plan_that_is_refused_ends_it_with_the_commands_code(tmp_path: Path) -> None:
    code, told = run(tmp_path, "shop", "--reason", "errors", code=1)

    assert (code, len(told)) == (1, 1)


@pytest.mark.parametrize("words", [(), ("--reason", "x")])
def test_without_a_target_it_says_how(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert run(tmp_path, *words) == (2, [])
