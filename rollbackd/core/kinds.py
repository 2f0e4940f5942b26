"""What a regression trigger compares, and how strictly. Values only; sources: docs/detection.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rollbackd.core.baseline import Slack
from rollbackd.core.evidence import LIFT


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is compared and how strictly. `grace_seconds`: so young, a release is not judged;
    `lift`: how much more a tick of what began with the release says than its ratio does.
    """

    name: str
    weight: float
    slack: Slack
    grace_seconds: float
    warm: bool  # right after the grace, six in a hundred are tolerated
    lift: float = 1.0


ERRORS: Final = Kind(
    name="errors", weight=0.45, slack=Slack(1.5, 0.0025), grace_seconds=20.0, warm=True
)
HEALTH: Final = Kind(
    name="health", weight=0.25, slack=Slack(1.5, 0.0025), grace_seconds=20.0, warm=True
)
HEALTH_ALONE: Final = Kind(
    name="health", weight=0.70, slack=Slack(1.5, 0.0025), grace_seconds=20.0, warm=True
)
LATENCY: Final = Kind(
    name="latency", weight=0.30, slack=Slack(1.5, 0.01), grace_seconds=60.0, warm=False, lift=LIFT
)
