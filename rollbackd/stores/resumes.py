"""How often in a row a rollback was the end of its daemon. What follows is not decided here.

A plan that kills the daemon does it at the same place each time. A machine that reboots, or a
`kill -9`, ends it anywhere: mostly before it took a step, or while a step only waits.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from rollbackd.core.model import RollbackId
from rollbackd.core.runbook import Phase, StepState

WITHIN_SECONDS: Final = 600.0
_IDLE_WORTH: Final = 5  # so many lives that ended at rest count as one that ended at work
_FINISHED: Final = (StepState.DONE.value, StepState.SKIPPED.value)
_WAITS: Final = frozenset({Phase.MONITOR, Phase.POST_VERIFICATION})  # last long by their nature
_WORKS: Final = ", ".join(str(rank) for rank, one in enumerate(Phase) if one not in _WAITS)


def resumes(connection: sqlite3.Connection, rollback: RollbackId, now: float) -> int:
    """This resume and the lives before it that ended in the middle of a step, of the last ten
    minutes and since a step of it came to its end. 0: it was never resumed.
    """
    sql = (
        "SELECT EXISTS (SELECT 1 FROM attempt a JOIN step s USING (rollback, seq)"  # noqa: S608 -- numbers of ours
        f" WHERE a.rollback = c.rollback AND a.fence = c.fence AND s.phase IN ({_WORKS})) AS works"
        " FROM claim c WHERE c.rollback = ?1 AND c.at > ?2 AND c.at >= coalesce("
        "  (SELECT max(finished_at) FROM step WHERE rollback = ?1 AND finished_at <= ?3"
        "   AND state IN (?4, ?5)), 0)"
        " ORDER BY c.fence DESC"
    )
    lives = connection.execute(sql, (rollback, now - WITHIN_SECONDS, now, *_FINISHED)).fetchall()
    if not lives:
        return 0
    earlier = [bool(life["works"]) for life in lives[1:]]
    worked = sum(earlier)
    return 1 + worked + (len(earlier) - worked) // _IDLE_WORTH
