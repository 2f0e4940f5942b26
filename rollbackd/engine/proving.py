"""The proofs in the making: one per target, from the switch until its windows say yes or no."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from rollbackd.core.model import RollbackOutcome, TargetName, Verdict
from rollbackd.core.proof import Proof, Proved


@dataclass(slots=True)
class _Pending:
    proof: Proof
    proved: asyncio.Future[Proved]


class Proving:
    """Fed by every tick, waited for by the runner."""

    def __init__(self) -> None:
        self._pending: dict[TargetName, _Pending] = {}

    def begin(self, target: TargetName, proof: Proof) -> None:
        """From now on verdicts count. A proof already begun for this target is replaced, and who
        waits for it waits for this one: a resumed rollback tells of its switch once more.
        """
        pending = self._pending.get(target)
        if pending is not None and not pending.proved.done():
            pending.proof = proof
            return
        self._pending[target] = _Pending(proof, asyncio.get_running_loop().create_future())

    def begun(self, target: TargetName) -> bool:
        return target in self._pending

    def look(self, target: TargetName, verdicts: Sequence[Verdict], now: float) -> None:
        pending = self._pending.get(target)
        if pending is None or pending.proved.done():
            return
        proved = pending.proof.look(verdicts, now)
        if proved is not None:
            pending.proved.set_result(proved)

    async def wait(self, target: TargetName) -> Proved:
        return await asyncio.shield(self._pending[target].proved)

    def give_up(self, target: TargetName) -> None:
        """Nobody looks at the target any more: it will not be proved."""
        pending = self._pending.pop(target, None)
        if pending is not None and not pending.proved.done():
            pending.proved.set_result(Proved(outcome=RollbackOutcome.RECOVERED_UNPROVEN))

    def end(self, target: TargetName) -> None:
        """The rollback is over, one way or the other."""
        pending = self._pending.pop(target, None)
        if pending is not None:
            pending.proved.cancel()
