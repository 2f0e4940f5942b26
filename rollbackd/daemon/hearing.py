"""Turns what the rooms tell into log lines and counts. Decides nothing."""

from __future__ import annotations

from typing import Any

import structlog

from rollbackd.core.model import RollbackOutcome
from rollbackd.telemetry import events
from rollbackd.telemetry.metrics import Metrics

log = structlog.get_logger()

# A person is needed: everything else of a rollback is a step or a decision.
LOUD = frozenset({events.ROLLBACK_HELD, events.ROLLBACK_FENCED, events.STORE_FAILED})
DEGRADED = frozenset(
    {
        events.STEP_RETRIED, events.STEP_FAILED, events.ROLLBACK_DEGRADED, events.ROLLBACK_DELAYED,
        events.ROLLBACK_REFUSED, events.ROLLBACK_STOPPED,
    }
)  # fmt: skip
QUIET_ENDS = frozenset(
    {
        RollbackOutcome.RECOVERED, RollbackOutcome.RECOVERED_UNPROVEN,
        RollbackOutcome.SUPERSEDED, RollbackOutcome.CANCELLED,
    }
)  # fmt: skip


class Hearing:
    """Fits the runner's `Tell` and the Fly client's `Meter`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def tell(self, event: str, words: dict[str, Any]) -> None:
        if event == events.STEP_FINISHED:
            self._metrics.step_done(str(words.get("phase", "")), float(words.get("seconds") or 0))
        if event == events.STORE_FAILED:
            self._metrics.store_error(str(words.get("op", "")))
        if event in LOUD or words.get("outcome", RollbackOutcome.RECOVERED) not in QUIET_ENDS:
            log.error(event, **words)
        elif event in DEGRADED:
            log.warning(event, **words)
        else:
            log.info(event, **words)

    def called(self, *, api: str, endpoint: str, method: str, code: str, seconds: float) -> None:
        self._metrics.api_call(api, endpoint, method, code, seconds)
        if code == "429":
            self._metrics.api_rate_limited(api)

    def sent_again(self, *, api: str) -> None:
        self._metrics.api_retry(api)
