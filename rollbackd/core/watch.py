"""One signal being watched: samples in, a state out. It knows no gates and decides nothing.

What keeps silence from accusing anybody: a gap longer than `max_age` forgets what was pending,
and a window is not judged while a gap is inside it.
"""

from __future__ import annotations

import enum
import math
from typing import Final

from rollbackd.core.facts import CheckOutcome, Histogram, Measure, MissReason, Ratio
from rollbackd.core.gauge import Gauge
from rollbackd.core.last_well import LastWell
from rollbackd.core.model import TriggerState
from rollbackd.core.rules import NoData, Signal
from rollbackd.core.window import Tally

LATE: Final = 1.5  # intervals a sample may come after the previous one and still cover the time
BROKEN_SOURCES: Final = frozenset(
    {
        MissReason.SOURCE_UNREACHABLE, MissReason.SOURCE_UNAUTHORIZED, MissReason.SOURCE_ERROR,
        MissReason.SOURCE_BAD_BODY, MissReason.NOT_A_NUMBER, MissReason.SEVERAL_SERIES,
        MissReason.PROBE_ERROR,
    }
)  # fmt: skip


class Trust(enum.StrEnum):
    """What was known of a signal at the moment the current release came."""

    WELL = "well"
    UNKNOWN = "unknown"
    ILL = "ill"  # it was bad already, and was not seen well since


class SignalWatch:
    """Fed sample by sample in the order of time; late ones are kept out by the caller."""

    def __init__(self, signal: Signal, now: float, *, delay_seconds: float = 0.0) -> None:
        self.signal = signal
        self.delay_seconds = delay_seconds
        self.gauge = Gauge(signal)
        of_last = signal.breaches.of_last if signal.breaches else 1
        self.tally = Tally(of_last, LATE * of_last * signal.interval_seconds)
        self.seen_at = now  # until when there was no gap
        self.sample_at = -math.inf  # the newest sample, counted or not
        self.counts_after = -math.inf
        self.blocked_until = -math.inf
        self.refused_at: float | None = None
        self.missed = ""  # why the newest look was a miss
        self.asleep = False
        self.before = Trust.UNKNOWN
        self.before_since: float | None = None
        self.last_well = LastWell()
        self.resumed = False  # by another process: what it had not written down is lost
        self._spotless = True  # no bad look, no refusal and no gap since we began to look
        self._gap_since_restart = False
        self._block_next = False
        self._forget()

    def _forget(self) -> None:
        self.gauge.restart()
        self.refused_at = None
        self._drop_judgement()

    def _drop_judgement(self) -> None:
        self.tally.clear()
        self.judged_at: float | None = None
        self.well_since: float | None = None
        self.bad_since: float | None = None
        self.breached_at: float | None = None
        self.covered_seconds = 0.0
        self._whole = False  # the newest look was a breach in full, not only in its short window
        self.thin = False
        self.known_well = False
        self._well_until_bad = False

    # What comes in -------------------------------------------------------------------------

    def take(self, at: float, measure: Measure, outcome: CheckOutcome, *, counts: bool) -> None:
        """Take one sample in. `counts` False: seen, but the release is still settling."""
        if at - self.seen_at > self._patience:
            self._notice_gap()
        self.resumed = False
        previous, self.sample_at = self.sample_at, at
        self.seen_at, self.missed, self.asleep = at, "", False
        told = previous if isinstance(measure, Ratio | Histogram) else at
        if not counts or at <= self.counts_after or told - self.delay_seconds < self.counts_after:
            return  # it tells of the time before, too
        if self._block_next and self.gauge.sums:
            # What was lost might have thinned the bad out: wait until it would have left.
            self.blocked_until = at + self.signal.window_seconds
        self._block_next = False
        if outcome is CheckOutcome.REFUSED:
            self._refuse(at)
            return
        self.refused_at = None
        value = self.gauge.read(at, measure, outcome)
        self.thin = value is None or at < self.blocked_until or self.gauge.thin
        if value is not None and not self.thin:
            self._judge(at)

    def miss(self, reason: str) -> None:
        """Only remembered for the wording: the gap speaks for itself."""
        self.missed = reason

    def idle(self, at: float) -> None:
        """The app is asleep: no gap, and no time that counts."""
        self.seen_at = max(self.seen_at, at)
        self.asleep = True

    def restart(self, at: float) -> None:
        """Count only samples after `at`. A gap that reaches into this time stays one."""
        self._forget()
        self.counts_after = at
        self._block_next = self._block_next or self._gap_since_restart

    def start_over(self, at: float) -> None:
        """Something else runs since `at`: what was known before says nothing any more."""
        self.before, self.before_since = Trust.UNKNOWN, None
        self._gap_since_restart = self._block_next = False
        self.last_well = LastWell()
        self.blocked_until = -math.inf  # nobody is accused by what comes now
        self.seen_at = max(self.seen_at, at)
        self.gauge.clear()
        self.restart(at)

    def cross(self, came_at: float, at: float, created_at: float | None = None) -> None:
        """A release came: it cannot have been on any machine before `came_at`, is by `at`.

        Remembers how the signal was then, so that the release is not blamed for what it found.
        """
        fresh = at - self.seen_at <= self.signal.max_age_seconds
        self.before, self.before_since = self._before(came_at, fresh=fresh)
        if self.before is Trust.UNKNOWN and created_at is not None and self._well_before(came_at):
            self.before = Trust.WELL
        self._gap_since_restart = False
        self.restart(at)

    def _before(self, came_at: float, *, fresh: bool) -> tuple[Trust, float | None]:
        if self.ill_before(came_at):
            return Trust.ILL, self.bad_since
        if self.trust is Trust.ILL:
            return Trust.ILL, self.before_since
        well = self.known_well or self._well_until_bad
        if self.judged_at is None and not self._gap_since_restart:
            well = well or self.before is Trust.WELL
        return (Trust.WELL if well and fresh else Trust.UNKNOWN), None

    def _well_before(self, came_at: float) -> bool:
        """All that a restart in the middle of a deploy leaves to go by."""
        return self.last_well.before(came_at, self.signal, self.delay_seconds)

    @property
    def _patience(self) -> float:
        """How long after the newest sample the next one shows no gap."""
        longest = self.signal.max_age_seconds
        return min(longest, LATE * self.signal.interval_seconds) if self.resumed else longest

    def ill_before(self, at: float) -> bool:
        """Whether what is bad now was so at `at` already."""
        return self.bad_since is not None and self.bad_since - self.delay_seconds < at

    def _notice_gap(self) -> None:
        self._forget()
        self._spotless = False
        self._gap_since_restart = self._block_next = True

    def _refuse(self, at: float) -> None:
        # It answers, so it is not down; it refuses us, so nothing else is known.
        self._drop_judgement()
        self._spotless = False
        self.last_well.bad(at)
        self.refused_at = at

    # The state machine ---------------------------------------------------------------------

    def _judge(self, at: float) -> None:
        signal = self.signal
        if self.judged_at is not None and at - self.judged_at > signal.max_age_seconds:
            self._drop_judgement()  # too little was seen for too long
        step = 0.0 if self.judged_at is None else at - self.judged_at
        self.judged_at = at
        whole = self.gauge.holds(signal.breach)
        bad = whole or self.gauge.smoulders
        self.tally.add(at, bad)
        self._clock(at, step, bad=bad, whole=whole)
        enough = self._enough(bad=whole)
        clear = not enough
        if signal.clear is not None:
            clear = clear and self.gauge.holds(signal.clear)
        if enough and self.breached_at is None:
            self.breached_at = at
        elif self.breached_at is not None and clear:
            self.breached_at = None
        if not bad and self.breached_at is None:
            self.bad_since = None
            self.well_since = at if self.well_since is None else self.well_since
            told = at - self.counts_after >= self.gauge.reach_seconds
            self.known_well = self.known_well or (clear and self._covered and told)
            if self.known_well:
                self.last_well.good(at)

    def _clock(self, at: float, step: float, *, bad: bool, whole: bool) -> None:
        lasts, self._whole = self._whole and whole, whole
        if lasts:
            interval = self.signal.interval_seconds
            self.covered_seconds += step if step <= LATE * interval else interval
        else:
            self.covered_seconds = 0.0
        if not bad:
            return
        self._spotless = False
        self.last_well.bad(at)
        if self.bad_since is None:
            self.bad_since = at
            self._well_until_bad = self.known_well
        self.known_well = False
        self.well_since = None

    def _enough(self, *, bad: bool) -> bool:
        breaches = self.signal.breaches
        if breaches is not None:
            return self.tally.bad >= breaches.at_least
        return bad and self.covered_seconds >= self.signal.for_seconds

    @property
    def _covered(self) -> bool:
        """Whether enough good looks stand together to call it well.

        After a bad one, as many as a breach would need; before the first bad one, one is enough.
        """
        return self.signal.breaches is None or self.tally.full or self._spotless

    # What comes out ------------------------------------------------------------------------

    @property
    def trust(self) -> Trust:
        """Whether a breach now can be laid at the current release's door."""
        seen_well = self.known_well or self._well_until_bad
        return Trust.WELL if seen_well else self.before

    def fresh(self, now: float) -> bool:
        if self.judged_at is None or self.thin:
            return False
        return now - self.judged_at <= self.signal.max_age_seconds

    def well(self, now: float) -> bool:
        """Known to be well: what a veto needs to stand aside, and a release to be good."""
        if self.signal.no_data is NoData.OK and self.state(now) is TriggerState.OK:
            return True
        return self.known_well and self.fresh(now)

    def state(self, now: float) -> TriggerState:
        if self.refused_at is not None:
            fresh = now - self.refused_at <= self.signal.max_age_seconds
            return TriggerState.ERROR if fresh else self._no_data()
        if not self.fresh(now):
            return self._no_data()
        if self.breached_at is not None and self._still_enough(now):
            return TriggerState.BREACHED
        bad_looks = self.signal.breaches is not None and self.tally.bad_at(now) > 0
        if self.bad_since is not None or bad_looks:
            return TriggerState.PENDING
        return TriggerState.OK

    def _still_enough(self, now: float) -> bool:
        # Between two samples the older looks grow too old to count, unless `clear` holds on.
        breaches = self.signal.breaches
        if breaches is None or self.signal.clear is not None:
            return True
        return self.tally.bad_at(now) >= breaches.at_least

    def _no_data(self) -> TriggerState:
        if self.signal.no_data is NoData.OK:
            return TriggerState.OK
        return TriggerState.ERROR if self.missed in BROKEN_SOURCES else TriggerState.NO_DATA

    def since(self, now: float) -> float:
        """When the present state began, as far as samples tell."""
        began = {
            TriggerState.BREACHED: self.breached_at,
            TriggerState.PENDING: self.onset,
            TriggerState.ERROR: self.refused_at,
            TriggerState.OK: self.well_since,
        }.get(self.state(now))
        if began is not None:
            return began
        return self.seen_at if self.judged_at is None else self.judged_at

    @property
    def onset(self) -> float | None:
        """When what is bad now began."""
        oldest = self.tally.oldest_bad() if self.signal.breaches is not None else None
        # The tally forgets the first looks of what goes on for longer than it looks back.
        return min((at for at in (oldest, self.bad_since) if at is not None), default=None)
