"""Reading a source of numbers: whatever goes wrong with it is a miss, never a sample."""

from __future__ import annotations

from rollbackd.core.facts import MissReason
from rollbackd.core.ports import Missed
from rollbackd.probes.blame import Failed
from rollbackd.probes.http_exchange import Answer

_UNAUTHORIZED = {401, 403}
_BAD_BODY = {"body over the limit", "truncated body", "malformed HTTP"}


def readable(seen: Answer | Failed | Missed) -> Answer | Missed:
    """The answer if it is one with a 2xx, else the miss it makes."""
    match seen:
        case Missed():
            return seen
        case Failed(why=why):
            bad_body = why in _BAD_BODY
            reason = MissReason.SOURCE_BAD_BODY if bad_body else MissReason.SOURCE_UNREACHABLE
            return Missed(reason=reason, detail=why)
        case Answer(status=status) if status in _UNAUTHORIZED:
            return Missed(reason=MissReason.SOURCE_UNAUTHORIZED, detail=f"status {status}")
        case Answer(status=status) if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's 2xx
            return Missed(reason=MissReason.SOURCE_ERROR, detail=f"status {status}")
        case Answer():
            return seen
