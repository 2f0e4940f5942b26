"""Which release is current, since when, and whether it still settles. It blames nobody.

A release becomes current with the first machine on it, or when it is complete where machines do
not tell; until then the one before it is what users meet.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rollbackd.core import readers
from rollbackd.core.facts import MachinesSeen, ReleasesSeen
from rollbackd.core.known_good import returns_to
from rollbackd.core.ledger import Ledger
from rollbackd.core.marks import same_content
from rollbackd.core.model import Json, JsonObject, Machine, Release, ReleaseStatus
from rollbackd.core.policy import Safety

KEPT: Final = 200  # releases remembered; platforms list far fewer
BOOTS: Final = 10
UNDERWAY: Final = frozenset({ReleaseStatus.PENDING, ReleaseStatus.RUNNING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Another release is current: on no machine before `came_at`, on one at least since `at`."""

    release: Release
    came_at: float
    at: float


class Deploys:
    """The releases and machines of one target, as far as they were seen."""

    def __init__(self) -> None:
        self.seen: tuple[Release, ...] = ()  # the newest look, as the platform listed it
        self.known: tuple[Release, ...] = ()  # newest version first, also what is not listed now
        self.machines: tuple[Machine, ...] | None = None
        self.foreign_leases = 0
        self.releases_at = -math.inf
        self.machines_at = -math.inf
        self.current: Release | None = None
        self.current_since = -math.inf
        self.settle_from = -math.inf
        self.settled = True
        self.rolled_out = False  # the newest look found that the current one's deploy is complete
        self.ours: set[int] = set()  # versions that are rollbacks of ours
        self.put_back: Release | None = None  # runs again, its own release record not seen yet
        self._first_seen: dict[int, float] = {}
        self._effect = -math.inf  # highest version that was current
        self._unswitched_at = -math.inf  # newest look with no machine on anything newer
        self._op_ids: frozenset[str | None] | None = None  # on machines before the newest change
        self._boots: dict[tuple[str, float], None] = {}
        self._boot_seconds: deque[float] = deque(maxlen=BOOTS)

    # What comes in -------------------------------------------------------------------------

    def see_releases(self, fact: ReleasesSeen) -> bool:
        """Whether a version newer than all before appeared."""
        newest_before = self.known[0].version if self.known else math.inf
        self.releases_at = fact.at
        self.seen = fact.releases
        merged = {r.version: r for r in self.known} | {r.version: r for r in fact.releases}
        self.known = tuple(sorted(merged.values(), key=lambda r: r.version, reverse=True)[:KEPT])
        kept = {r.version for r in self.known}
        self._first_seen = {v: at for v, at in self._first_seen.items() if v in kept}
        for release in self.known:
            self._first_seen.setdefault(release.version, fact.at)
        going_on = self.current is not None and self.current.status in UNDERWAY
        self._refresh_current()
        now = self.current
        self.rolled_out = going_on and now is not None and now.status is ReleaseStatus.COMPLETE
        return bool(self.known) and self.known[0].version > newest_before

    def dress(self, told: Callable[[Release], Release]) -> None:
        """Add what was announced of the releases to what the platform says of them."""
        self.known = tuple(told(r) for r in self.known)
        self._refresh_current()

    def see_machines(self, fact: MachinesSeen) -> None:
        self.machines_at = fact.at
        self.machines = fact.machines
        self.foreign_leases = fact.foreign_leases
        if not any(self._newer(m) for m in fact.machines):
            self._unswitched_at = fact.at
            self._op_ids = frozenset(m.op_id for m in fact.machines)
        for machine in fact.machines:
            self._note_boot(machine)

    def take_effect(self, at: float, expected: Release | None) -> Change | None:
        """Make the newest release that runs the current one. None: nothing else runs.

        `expected`: what a rollback under way puts back.
        """
        release = next((r for r in self.known if self._took_effect(r)), None)
        if release is None:
            return None
        ours = self._carries_ours(release)
        first, self._effect = self.current is None, release.version
        before, self.current = self.put_back, release
        self.put_back = None
        wanted = [r for r in (before, expected) if r is not None]
        if ours or any(same_content(r.content, release.content) for r in wanted):
            self.ours.add(release.version)
        if before is not None and release.version in self.ours:
            return None  # the record of what was put back: nothing else runs than before
        since = min(at, self.appeared_at(release)) if first else at
        self.current_since = self.settle_from = since
        self.settled = False
        return Change(release=release, came_at=self.came_at(release), at=since)

    def switch_back(self, good: Release, version: int | None, at: float) -> None:
        """Every machine runs `good` again. Its machines were seen to boot: nothing settles."""
        if version is not None:
            self.ours.add(version)
        if self.current is None or self.current.version not in self.ours:
            self.put_back = self.current = good
        self.current_since, self.settled = at, True

    # What is asked -------------------------------------------------------------------------

    @property
    def newest(self) -> Release | None:
        return self.known[0] if self.known else None

    def appeared_at(self, release: Release) -> float:
        """When it came into the world, by the platform's clock where that is not in the future."""
        seen_at = self._first_seen.get(release.version, math.inf)
        return seen_at if release.created_at is None else min(seen_at, release.created_at)

    def came_at(self, release: Release) -> float:
        """Before this, no machine can have run it: what was bad by then is not its fault.

        The newest look that found no machine switched says more than the look that found the
        release: one machine may have been stopped for it between the two.
        """
        if self._unswitched_at == -math.inf:
            return self.appeared_at(release)
        return max(self._unswitched_at, release.created_at or -math.inf)

    def underway(self, now: float, safety: Safety) -> bool:
        """Whether somebody is deploying. Too long without a foreign lease is an interruption."""
        release = self.newest
        if release is None or release.status not in UNDERWAY:
            return False
        age = now - self.appeared_at(release)
        return self.foreign_leases > 0 or age < safety.interrupted_after_seconds

    def broken_off(self, now: float, safety: Safety) -> bool:
        """Whether the newest release failed, or was left half-way."""
        release = self.newest
        if release is None or release.status is ReleaseStatus.COMPLETE:
            return False
        return not (release.status in UNDERWAY and self.underway(now, safety))

    def without_effect(self, now: float, safety: Safety) -> int | None:
        """The newest version, where its deploy is over and it became current nowhere."""
        newest, current = self.newest, self.current
        if newest is None or current is None or newest.version <= current.version:
            return None
        return None if self.underway(now, safety) else newest.version

    def version_of(self, machine: str | None) -> int | None:
        """Which release a machine ran at the newest look; None where it was not seen."""
        return next((m.release_version for m in self.machines or () if m.id == machine), None)

    def runs_the_same(self, version: int) -> bool:
        """Whether it is another release than the current one, with the same content."""
        current = self.current
        if current is None or current.version == version:
            return False
        older = next((r for r in self.known if r.version == version), None)
        return older is not None and same_content(older.content, current.content)

    def on(self, release: Release) -> int:
        """How many machines run it."""
        return sum(self._runs(m, release) for m in self.machines or ())

    def left_on_another(self, good: Release) -> Release | None:
        """The newest release that a machine runs and whose content is another than `good`'s: a
        rollback that was ended half-way left it there.
        """
        others = [m for m in self.machines or () if not same_content(m.content, good.content)]
        for release in self.known:
            if any(same_content(m.content, release.content) for m in others):
                return release
        return None

    def settle_until(self, safety: Safety) -> float:
        return self.settle_from + self.allowance(safety)

    def allowance(self, safety: Safety) -> float:
        """How long a machine may take until it answers: twice the slowest of the last boots."""
        if safety.settle_at_most_seconds is not None:
            return safety.settle_at_most_seconds
        wanted = 2 * max(self._boot_seconds, default=0.0)
        return min(max(wanted, safety.settle_floor_seconds), safety.settle_ceiling_seconds)

    def settling(self, now: float, safety: Safety) -> bool:
        return not self.settled and now < self.settle_until(safety)

    def can_answer(self) -> bool:
        """Whether a success may come from the current release: one machine of it is started.

        Between the update of the only machine and its stop the old process still answers.
        """
        if not self.machines or self.current is None:
            return True
        running = [m for m in self.machines if self._runs(m, self.current)]
        return not running or any(m.state == "started" for m in running)

    def rollback_why(self, ledger: Ledger) -> str:
        """Why the current release is a rollback itself; empty when it is none."""
        release = self.current
        if release is None:
            return ""
        if release is self.put_back or release.version in self.ours:
            return f"v{release.version} was put back by rollbackd"
        older = returns_to(self.known, release)
        if older is None or release in ledger.quarantined:
            return ""  # bringing back what was rolled back from is a deploy like any other
        return f"v{release.version} brings back the content of v{older.version}"

    def as_json(self) -> JsonObject:
        """What `core.keep` does not read off the attributes; `restore` reads it back."""
        return {
            "ours": [*sorted(self.ours)],
            "first_seen": [[version, at] for version, at in self._first_seen.items()],
            "op_ids": None if self._op_ids is None else [*self._op_ids],
            "boots": [[name, at] for name, at in self._boots],
            "boot_seconds": [*self._boot_seconds],
        }

    def restore(self, kept: Json) -> None:
        """Raises Odd where it does not look like what `as_json` gave."""
        self.ours = {readers.whole(v) for v in readers.items(readers.member(kept, "ours"))}
        first_seen = readers.rows(readers.member(kept, "first_seen"), readers.whole, readers.finite)
        self._first_seen = dict(first_seen)
        op_ids = readers.member(kept, "op_ids")
        if op_ids is not None:
            known = readers.maybe(readers.text)
            self._op_ids = frozenset(known(op_id) for op_id in readers.items(op_ids))
        boots = readers.rows(readers.member(kept, "boots"), readers.text, readers.number)
        self._boots = dict.fromkeys(boots)
        seconds = readers.items(readers.member(kept, "boot_seconds"))
        self._boot_seconds.extend(readers.count(each) for each in seconds)

    # ---------------------------------------------------------------------------------------

    def _refresh_current(self) -> None:
        if self.current is None or self.current is self.put_back:
            return
        found = [r for r in self.known if r.version == self.current.version]
        self.current = found[0] if found else self.current

    def _took_effect(self, release: Release) -> bool:
        if release.version <= self._effect:
            return False
        return release.status is ReleaseStatus.COMPLETE or self.on(release) > 0

    def _runs(self, machine: Machine, release: Release) -> bool:
        if machine.release_version == release.version:
            return True
        if not same_content(machine.content, release.content):
            return False
        current = self.current
        if current is None or current.version == release.version:
            return True
        return not same_content(current.content, release.content)

    def _newer(self, machine: Machine) -> bool:
        if machine.release_version is not None:
            return machine.release_version > self._effect
        return self.current is not None and not same_content(machine.content, self.current.content)

    def _carries_ours(self, release: Release) -> bool:
        """Whether its machines carry an operation of ours that they did not carry before."""
        if self._op_ids is None:
            return False
        found = {m.op_id for m in self.machines or () if self._runs(m, release)}
        return bool(found - self._op_ids - {None})

    def _note_boot(self, machine: Machine) -> None:
        seconds, at = machine.boot_seconds, machine.started_at
        if seconds is None or at is None or not 0 <= seconds < math.inf:
            return
        if (machine.id, at) in self._boots:
            return
        self._boots[(machine.id, at)] = None
        if len(self._boots) > KEPT:
            del self._boots[next(iter(self._boots))]
        self._boot_seconds.append(seconds)
