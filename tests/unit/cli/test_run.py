"""`rollbackd run` imports what it needs, and no more: a rollback may be waiting for its end."""

import gc
import subprocess
import sys

from rollbackd.cli.run import _in_a_hurry
from rollbackd.sandbox.processes import bare_environment

UNWANTED = ("rich", "psycopg", "rollbackd.executors.database", "rollbackd.sandbox", "hypothesis")
LOOK = f"""
import gc, sys
from rollbackd.cli import main, run
with run._in_a_hurry():
    import rollbackd.daemon
from rollbackd.plugins import executors, probes
executors()["app"], probes()["http"]
print(*(name for name in {UNWANTED} if sys.modules.get(name) is not None))
sys.exit(not gc.isenabled())
"""


def test_a_start_does_not_import_what_it_does_not_need() -> None:
    """Rich comes with structlog and httpx (`_in_a_hurry`), a plugin's room with its kind."""
    looked = subprocess.run(
        [sys.executable, "-c", LOOK],
        env=bare_environment({}),
        check=False,
        capture_output=True,
        text=True,
    )

    assert (looked.returncode, looked.stdout.strip()) == (0, ""), looked.stderr


def test_what_was_hidden_is_there_again() -> None:
    import rich

    with _in_a_hurry():
        assert not gc.isenabled()
        assert sys.modules["rich"] is None

    assert sys.modules["rich"] is rich
    assert gc.isenabled()
    gc.unfreeze()
