"""The models of rollback-alerts.yml and rollback-logging.yml, and the names of the three files."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from rollbackd.config.types import Spec, Word, refused

MONITORING = "rollback-monitoring.yml"
ALERTS = "rollback-alerts.yml"
LOGGING = "rollback-logging.yml"
NAMES = (MONITORING, ALERTS, LOGGING)


def _none_yet(notifiers: dict[str, Any]) -> dict[str, Any]:
    if notifiers:
        raise refused(
            "notifiers are not part of this version yet",
            "write notifiers: {} and alert on the metrics",
        )
    return notifiers


class AlertsSpec(Spec):
    """rollback-alerts.yml: who is told. No notifier exists in this version."""

    version: Literal[1] = Field(1, description="Version of this format.")
    notifiers: Annotated[dict[str, Any], AfterValidator(_none_yet)] = Field(
        {}, description="Empty: notifiers are not part of this version yet."
    )


class LogLevel(enum.StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(enum.StrEnum):
    JSON = "json"
    CONSOLE = "console"


class LoggingSpec(Spec):
    """rollback-logging.yml: how much is logged and in which form. Decisions always are."""

    version: Literal[1] = Field(1, description="Version of this format.")
    level: Word[LogLevel] = Field(
        LogLevel.INFO, description="info holds every decision and step; debug every look."
    )
    format: Word[LogFormat] = Field(
        LogFormat.JSON, description="json: one object a line; console: for people."
    )
