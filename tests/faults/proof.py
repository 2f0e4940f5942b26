"""Takes out one protection after the other and runs its test, which must fail: `make faults-proof`.

Each in a worktree of its own made of the last commit; the working tree is not touched. Words on the
command line choose the rows or files to prove.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.protections import PROTECTIONS, Protection

ROOT = Path(__file__).parents[2]
FAILED = 1  # pytest: tests ran, and some failed
LONGEST_SECONDS = 400


@contextmanager
def worktree() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree"
        git("worktree", "add", "--quiet", "--detach", str(tree), "HEAD")
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))


def git(*words: str) -> None:
    subprocess.run(["git", *words], cwd=ROOT, check=True)


def tested(tree: Path, test: str) -> int:
    """pytest's exit code in that tree."""
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    try:
        return subprocess.run(
            [*words, *test.split()],
            cwd=tree,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=LONGEST_SECONDS,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        return FAILED  # without its protection it comes to no end


def proved(tree: Path, one: Protection) -> bool:
    path = tree / one.file
    whole = changed = path.read_text(encoding="utf-8")
    for old, new in ((one.old, one.new), *one.also):
        assert changed.count(old) == 1, f"{one.file}: {old!r} is not there once"
        changed = changed.replace(old, new)
    path.write_text(changed, encoding="utf-8")
    try:
        return tested(tree, one.test) == FAILED
    finally:
        path.write_text(whole, encoding="utf-8")


def main(words: list[str]) -> int:
    chosen = [p for p in PROTECTIONS if not words or any(w in p.row + p.file for w in words)]
    green = []
    with worktree() as tree:
        for one in chosen:
            began = time.monotonic()
            red = proved(tree, one)
            said = "red  " if red else "GREEN"
            say(f"{said} {time.monotonic() - began:4.0f} s  {one.row}: {one.what}")
            green += [] if red else [one]
    say(f"{len(chosen) - len(green)} of {len(chosen)} are proved")
    return bool(green)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
