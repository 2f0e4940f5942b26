"""What a database rollback costs, in the words of its plan. Pure."""

from __future__ import annotations

from typing import Final

from rollbackd.core.database import DatabasePolicy
from rollbackd.postgres import checks
from rollbackd.postgres.agreed import Reversal
from rollbackd.postgres.words import Cost

_MOST_REASONS: Final = 4


def asks(cost: Cost) -> str:
    """Why only a person may say yes to it."""
    reasons = "; ".join(cost.reasons[:_MOST_REASONS])
    more = len(cost.reasons) - _MOST_REASONS
    said = f"the database rollback is {cost.harm.value.replace('_', ' ')}"
    return f"{said}: {reasons}" + (f"; and {more} more" if more > 0 else "") if reasons else said


def refuses(agreed: Reversal) -> str:
    """Why nobody may: what it leaves is not the schema it should come back to."""
    if not agreed.left:
        return ""
    more = len(agreed.left) - _MOST_REASONS
    listed = "; ".join(agreed.left[:_MOST_REASONS]) + (f"; and {more} more" if more > 0 else "")
    return f"the reverse SQL does not give the good release's schema back: {listed}"


def notes(cost: Cost, policy: DatabasePolicy) -> list[str]:
    """What a person should read before it runs."""
    lines = [f"database: {cost.harm.value.replace('_', ' ')}, rehearsed in {cost.seconds:.1f} s"]
    lines += [f"database: {reason}" for reason in cost.reasons]
    lines += [f"database: lost: {rows:,} rows of {t}" for t, rows in cost.rows_lost.items()]
    lines += [
        f"database: lost: {t}.{', '.join(columns)}" for t, columns in cost.columns_lost.items()
    ]
    if cost.residue:
        lines += [f"database: stays behind: {line}" for line in checks.lines(cost.residue)]
    if policy.migrates_at_boot:
        lines.append(
            "database: the app migrates when it boots: a restart of the bad release applies it anew"
        )
    return lines
