"""One rollback's rows: begun, claimed, noted, turned, finished; each within a transaction.

Every write but the first compares the fence: who lost the rollback to another daemon learns it
here, before touching anything. Which step comes next is not decided here (`core.runbook`).
"""

from __future__ import annotations

import sqlite3
from typing import Final

from rollbackd.core.errors import Fenced, NotFound, PermanentError, Rejected
from rollbackd.core.facts import RollbackEnded, RollbackStarted
from rollbackd.core.model import Json, JsonObject, RollBack, RollbackId, RollbackOutcome, TargetName
from rollbackd.core.runbook import (
    Journal,
    Phase,
    Plan,
    RollbackState,
    StepRow,
    StepState,
)
from rollbackd.stores import admission, audit, codec, kept
from rollbackd.stores.admission import OPEN
from rollbackd.stores.resumes import resumes

_RANK: Final = {phase: rank for rank, phase in enumerate(Phase)}
_FINISHED: Final = (StepState.DONE.value, StepState.SKIPPED.value)


def begin(
    connection: sqlite3.Connection, decision: RollBack, plan: Plan, *, owner: str, now: float
) -> None:
    """Open the rollback. Raises Rejected where `stores.admission` refuses it."""
    admission.refuse_second(connection, plan.target)
    key = f"{decision.target}|v{decision.bad.version}" if decision.automatic else None
    if key is not None:
        admission.refuse_repeat(connection, key, decision)
    incident = admission.incident(connection, decision, plan, key)
    try:
        connection.execute(
            "INSERT INTO rollback (id, incident, target, decision, plan, plan_hash, state, owner,"
            " created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (plan.rollback, incident, plan.target, codec.text(decision), codec.text(plan),
             plan.hash, RollbackState.PENDING.value, owner, now, now),
        )  # fmt: skip
        connection.executemany(
            "INSERT INTO step (rollback, seq, phase, kind, name, op_key, mutates)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (plan.rollback, s.seq, _RANK[s.phase], s.kind, s.name, s.op_key, s.mutates)
                for s in plan.steps
            ],
        )
    except sqlite3.IntegrityError as error:
        raise Rejected(
            f"rollback {plan.rollback} cannot be opened: {error}",
            hint="its id or a step's op_key was used before",
        ) from error
    kept.keep(connection, started_fact(decision, plan, now))
    _audit(connection, plan, "rollback_begun", now, {"plan_hash": plan.hash, "owner": owner})


def started_fact(decision: RollBack, plan: Plan, at: float) -> RollbackStarted:
    return RollbackStarted(
        target=plan.target,
        at=at,
        rollback=plan.rollback,
        bad=decision.bad,
        good=decision.good,
        automatic=decision.automatic,
        trigger=decision.trigger,
        undoes=decision.undoes,
    )


def claim(connection: sqlite3.Connection, rollback: RollbackId, *, owner: str, now: float) -> None:
    changed = connection.execute(
        f"UPDATE rollback SET fence = fence + 1, owner = ?, updated_at = ?"  # noqa: S608 - words of ours
        f" WHERE id = ? AND {OPEN}",
        (owner, now, rollback),
    ).rowcount
    if changed != 1:
        raise Rejected(f"rollback {rollback} is over, or never was", hint="rollbackd history")
    connection.execute(
        "INSERT INTO claim (rollback, fence, owner, at)"
        " SELECT id, fence, owner, ? FROM rollback WHERE id = ?",
        (now, rollback),
    )
    journal = load(connection, rollback, now)
    _audit(connection, journal.plan, "claim", now, {"fence": journal.fence, "owner": owner})


def must_sync(connection: sqlite3.Connection, rollback: RollbackId, seq: int) -> bool:
    """Whether what is written before this step's effect has to outlive a power cut first. A look is
    looked again; and how an effect ended is read back from the world.
    """
    row = connection.execute(
        "SELECT mutates FROM step WHERE rollback = ? AND seq = ?", (rollback, seq)
    ).fetchone()
    return row is None or bool(row["mutates"])


def note(
    connection: sqlite3.Connection,
    rollback: RollbackId,
    seq: int,
    state: StepState,
    *,
    fence: int,
    result: JsonObject | None,
    error: str,
    now: float,
) -> None:
    _check_fence(connection, rollback, fence, now)
    if state is StepState.STARTED:
        _refuse_overlap(connection, rollback, seq)
    changed = connection.execute(
        "UPDATE step SET state = ?1, error = ?2, result = coalesce(?3, result),"
        " attempts = attempts + (?1 = 'started'),"
        " started_at = CASE WHEN ?1 = 'started' THEN ?4 ELSE started_at END,"
        " finished_at = CASE WHEN ?1 IN ('pending', 'started') THEN NULL ELSE ?4 END"
        " WHERE rollback = ?5 AND seq = ?6"
        " AND (state NOT IN ('done', 'skipped') OR (?1 = 'pending' AND state = 'done'))",
        (state.value, _clean(error), None if result is None else codec.text(result), now,
         rollback, seq),
    ).rowcount  # fmt: skip
    if changed != 1:
        raise PermanentError(f"step {seq} of {rollback} is finished, or is not there")
    if state is not StepState.PENDING:  # done, undone since, and open again: that try ended well
        _attempt(connection, rollback, seq, state, fence=fence, error=error, now=now)
    data: dict[str, Json] = {"seq": seq, "state": state.value, "fence": fence}
    if error:
        data["error"] = error
    target = connection.execute("SELECT target FROM rollback WHERE id = ?", (rollback,)).fetchone()
    audit.append(connection, "step", at=now, target=target["target"], rollback=rollback, data=data)


def checkpoint(
    connection: sqlite3.Connection,
    rollback: RollbackId,
    seq: int,
    result: JsonObject,
    *,
    fence: int,
    now: float,
) -> None:
    """Not a transition: no attempt, no line of the record."""
    _check_fence(connection, rollback, fence, now)
    changed = connection.execute(
        "UPDATE step SET result = ? WHERE rollback = ? AND seq = ? AND state = 'started'",
        (codec.text(result), rollback, seq),
    ).rowcount
    if changed != 1:
        raise PermanentError(f"step {seq} of {rollback} is not under way")


def turn(
    connection: sqlite3.Connection,
    rollback: RollbackId,
    state: RollbackState,
    *,
    fence: int,
    reason: str,
    now: float,
) -> None:
    """Terminal states get no outcome this way: `finish` is for ends."""
    _check_fence(connection, rollback, fence, now)
    connection.execute(
        "UPDATE rollback SET state = ?1, reason = ?2,"
        " outcome = CASE WHEN ?1 = 'running' THEN NULL ELSE outcome END,"
        " finished_at = CASE WHEN ?3 THEN ?4 END WHERE id = ?5",
        (state.value, _clean(reason), state.terminal, now, rollback),
    )
    plan = load(connection, rollback, now).plan
    _audit(connection, plan, "turn", now, {"state": state.value, "reason": reason, "fence": fence})


def finish(
    connection: sqlite3.Connection,
    rollback: RollbackId,
    state: RollbackState,
    outcome: RollbackOutcome,
    *,
    fence: int,
    detail: str,
    recovered_at: float | None,
    proved_at: float | None,
    now: float,
) -> None:
    """The end and the fact that tells of it, in one transaction: no restart sees one without."""
    turn(connection, rollback, state, fence=fence, reason=detail, now=now)
    connection.execute("UPDATE rollback SET outcome = ? WHERE id = ?", (outcome.value, rollback))
    target = connection.execute("SELECT target FROM rollback WHERE id = ?", (rollback,)).fetchone()
    ended = RollbackEnded(
        target=TargetName(target["target"]),
        at=now,
        rollback=rollback,
        outcome=outcome,
        detail=_clean(detail),
        recovered_at=recovered_at,
        proved_at=proved_at,
    )
    kept.keep(connection, ended)


def load(connection: sqlite3.Connection, rollback: RollbackId, now: float) -> Journal:
    row = connection.execute("SELECT * FROM rollback WHERE id = ?", (rollback,)).fetchone()
    if row is None:
        raise NotFound(f"there is no rollback {rollback}", hint="rollbackd history")
    plan = codec.plan_from(row["plan"])
    steps = {step.seq: step for step in plan.steps}
    rows = tuple(
        StepRow(
            step=steps[line["seq"]],
            state=StepState(line["state"]),
            attempts=line["attempts"],
            result=codec.parse_object(line["result"]),
            error=line["error"],
            started_at=line["started_at"],
            finished_at=line["finished_at"],
        )
        for line in connection.execute(
            "SELECT * FROM step WHERE rollback = ? ORDER BY seq", (rollback,)
        )
    )
    return Journal(
        plan=plan,
        state=RollbackState(row["state"]),
        rows=rows,
        fence=row["fence"],
        resumes=resumes(connection, rollback, now),
        created_at=row["created_at"],
        reason=row["reason"],
    )


def unfinished(connection: sqlite3.Connection) -> list[RollbackId]:
    rows = connection.execute(f"SELECT id FROM rollback WHERE {OPEN} ORDER BY created_at")  # noqa: S608 - words of ours
    return [RollbackId(row["id"]) for row in rows]


def _check_fence(
    connection: sqlite3.Connection, rollback: RollbackId, fence: int, now: float
) -> None:
    changed = connection.execute(
        f"UPDATE rollback SET updated_at = ? WHERE id = ? AND fence = ? AND {OPEN}",  # noqa: S608 - words of ours
        (now, rollback, fence),
    ).rowcount
    if changed != 1:
        raise Fenced(
            f"rollback {rollback} is not ours any more (fence {fence})",
            hint="another daemon took it over or ended it",
        )


def _refuse_overlap(connection: sqlite3.Connection, rollback: RollbackId, seq: int) -> None:
    earlier = connection.execute(
        "SELECT e.seq FROM step e JOIN step s ON s.rollback = e.rollback AND s.seq = ?2"
        " WHERE e.rollback = ?1 AND e.phase < s.phase AND e.state NOT IN (?3, ?4)",
        (rollback, seq, *_FINISHED),
    ).fetchone()
    if earlier is not None:
        raise PermanentError(f"step {seq} of {rollback} is ahead of its phase: {earlier['seq']}")


def _attempt(
    connection: sqlite3.Connection,
    rollback: RollbackId,
    seq: int,
    state: StepState,
    *,
    fence: int,
    error: str,
    now: float,
) -> None:
    if state is StepState.STARTED:
        connection.execute(
            "INSERT INTO attempt (rollback, seq, n, fence, started_at)"
            " SELECT rollback, seq, attempts, ?, ? FROM step WHERE rollback = ? AND seq = ?",
            (fence, now, rollback, seq),
        )
        return
    connection.execute(
        "UPDATE attempt SET finished_at = ?1, outcome = ?2, error = ?3 WHERE id ="
        " (SELECT max(id) FROM attempt WHERE rollback = ?4 AND seq = ?5)",
        (now, state.value, _clean(error), rollback, seq),
    )


def _audit(
    connection: sqlite3.Connection, plan: Plan, kind: str, now: float, data: dict[str, Json]
) -> None:
    audit.append(connection, kind, at=now, target=plan.target, rollback=plan.rollback, data=data)


def _clean(words: str) -> str:
    # An error text may hold bytes that are no text; SQLite would refuse the whole transition.
    return words.encode("utf-8", "replace").decode("utf-8")
