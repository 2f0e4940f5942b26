"""What of a target's state verdicts are made from. It reads and judges nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from rollbackd.core.deploys import Deploys
from rollbackd.core.model import TriggerName
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.regressions import Regressions
from rollbackd.core.rules import Trigger
from rollbackd.core.watch import SignalWatch


class Place(NamedTuple):
    """Where a signal stands: in a trigger's rule, or among its vetoes."""

    trigger: TriggerName
    veto: bool
    at: int


class Observed(Protocol):
    """What of a target's state a verdict is made from."""

    @property
    def policy(self) -> TargetPolicy: ...

    @property
    def triggers(self) -> Mapping[TriggerName, Trigger]: ...

    @property
    def watches(self) -> Mapping[Place, SignalWatch]: ...

    @property
    def regressions(self) -> Regressions: ...

    @property
    def deploys(self) -> Deploys: ...

    @property
    def created_at(self) -> float: ...
