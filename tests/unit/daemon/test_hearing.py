"""How loudly each thing is said: a person who is needed must not be told in a whisper."""

from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from rollbackd.core.model import RollbackOutcome
from rollbackd.daemon.hearing import Hearing
from rollbackd.telemetry import events
from rollbackd.telemetry.metrics import Metrics

QUIET = {"recovered", "recovered_unproven", "superseded", "cancelled"}


def level_of(event: str, **words: Any) -> str:
    with structlog.testing.capture_logs() as told:
        Hearing(Metrics(CollectorRegistry())).tell(event, words)
    (line,) = told
    assert line["event"] == event
    return str(line["log_level"])


@pytest.mark.parametrize("outcome", RollbackOutcome)
def test_a_rollback_that_did_not_help_is_an_error(outcome: RollbackOutcome) -> None:
    expected = "info" if outcome.value in QUIET else "error"

    assert level_of(events.ROLLBACK_ENDED, outcome=outcome.value) == expected


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (events.ROLLBACK_HELD, "error"),
        (events.ROLLBACK_FENCED, "error"),
        (events.ROLLBACK_REFUSED, "warning"),
        (events.ROLLBACK_STOPPED, "warning"),
        (events.STEP_RETRIED, "warning"),
        (events.STEP_STARTED, "info"),
    ],
)
def test_what_is_in_the_way_is_louder_than_a_step(event: str, level: str) -> None:
    assert level_of(event) == level
