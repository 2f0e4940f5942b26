"""Did this release make it worse? One regression trigger's watch over one target.

Compares the app with itself before the release, tick by tick, with evidence that may be looked at
after every tick. It knows no gates. Formulas: docs/detection.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollbackd.core.facts import CheckOutcome, Measure
from rollbackd.core.model import Json, JsonObject, ProbeName, TriggerState
from rollbackd.core.policy import ProbePolicy
from rollbackd.core.rules import Regression


class RegressionWatch:
    """Fed sample by sample in the order of time, then closed tick by tick.

    Ticks are aligned to the release and cover (t, t + tick_seconds].
    """

    def __init__(self, rule: Regression, probes: Mapping[ProbeName, ProbePolicy]) -> None:
        self.rule = rule
        self.probes = probes

    # What comes in -------------------------------------------------------------------------

    def take(
        self,
        at: float,
        probe: ProbeName,
        measure: Measure,
        outcome: CheckOutcome,
        *,
        counts: bool,
    ) -> None:
        """One sample of the whole app. `counts` False: the release settles; only the hard-down
        fast path looks at it, and neither the evidence nor the history does.
        """
        raise NotImplementedError

    def take_part(self, at: float, probe: ProbeName, measure: Measure, *, new: bool) -> None:
        """One machine's sample: of the current release (`new`), or of an older one."""
        raise NotImplementedError

    def remember(self, probe: ProbeName, samples: Sequence[tuple[float, Measure]]) -> None:
        """The past as the source tells it: fills the history before what was seen by ourselves."""
        raise NotImplementedError

    def foresee(self, at: float) -> None:
        """Another version was seen at `at`: freeze what it will be compared with."""
        raise NotImplementedError

    def begin(self, at: float) -> None:
        """The first machine runs it since `at`: ticks and evidence start here.

        Without `foresee` before (the first release we see) the history so far is frozen now.
        """
        raise NotImplementedError

    def put_back(self, at: float) -> None:
        """A rollback put the release before back: its time is struck from the history, evidence
        starts anew against the same baseline.
        """
        raise NotImplementedError

    def close(self, until: float, *, excused: bool) -> None:
        """Close every tick that ended at or before `until`.

        `excused`: something else is to blame now; when that ends, evidence starts anew.
        """
        raise NotImplementedError

    # What comes out ------------------------------------------------------------------------

    @property
    def next_end(self) -> float | None:
        """When the open tick ends; None while nothing is fed."""
        raise NotImplementedError

    def state(self, now: float) -> TriggerState:
        """breached: the evidence is enough; pending: worth watching; no_data: cannot tell."""
        raise NotImplementedError

    def why(self, now: float) -> str:
        """One line, numbers first."""
        raise NotImplementedError

    def learning(self) -> str:
        """Why there is too little history to act on; empty when there is enough."""
        raise NotImplementedError

    def ill_before(self) -> float | None:
        """Since when it was ill when the release came, if it was; then nobody is accused."""
        raise NotImplementedError

    def known_well(self, now: float) -> bool:
        """Whether fresh samples say that it is no worse than before."""
        raise NotImplementedError

    @property
    def onset(self) -> float | None:
        """When what is bad now began."""
        raise NotImplementedError

    @property
    def odds(self) -> float:
        """The evidence now, N to 1."""
        raise NotImplementedError

    @property
    def samples(self) -> float:
        """How many events the evidence was made from."""
        raise NotImplementedError

    def evidence(self) -> dict[str, Json]:
        """The numbers behind `why`: per signal bad, total, before, tolerated; odds, onset_at."""
        raise NotImplementedError

    # Across restarts -----------------------------------------------------------------------

    def as_json(self) -> JsonObject:
        """Everything but the policy, small; `restore` reads it back."""
        raise NotImplementedError

    def restore(self, kept: JsonObject) -> None:
        """Go on where an earlier process stopped; the time between is no data."""
        raise NotImplementedError
