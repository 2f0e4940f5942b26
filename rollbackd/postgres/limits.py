"""The settings under which reverse SQL runs, in its rehearsal as in earnest."""

from __future__ import annotations

from typing import Final

from rollbackd.core.database import DatabasePolicy
from rollbackd.postgres.connection import Connection

_SET: Final = """
SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true),
  set_config('idle_in_transaction_session_timeout', '30s', true),
  set_config('search_path', %s, true)
"""


async def limit(
    connection: Connection, policy: DatabasePolicy, *, lock_seconds: float | None = None
) -> None:
    """Until the end of the transaction, or until reverse SQL says otherwise."""
    locks = policy.lock_timeout_seconds if lock_seconds is None else lock_seconds
    quoted = ('"' + name.replace('"', '""') + '"' for name in (*policy.schemas, "extensions"))
    await connection.execute(
        _SET,
        [
            f"{max(1, locks * 1000):.0f}ms",
            f"{max(1, policy.statement_timeout_seconds * 1000):.0f}ms",
            ", ".join(quoted),
        ],
    )
