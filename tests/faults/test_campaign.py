"""kill -9 and SIGSTOP at random moments of real rollbacks of real apps.

FAULT_KILLS says how many kills each app gets (`make faults`: 110, so 220 in all). Every rollback
must have ended, with nothing applied twice and nothing of ours left on the app.
"""

import os
from pathlib import Path

import pytest

from tests.faults.campaign import campaign

pytestmark = [pytest.mark.process, pytest.mark.slow]

KILLS = int(os.environ.get("FAULT_KILLS", "6"))
FREEZES = int(os.environ.get("FAULT_FREEZES", "1"))


@pytest.mark.timeout(0)
async def test_killed_at_random_moments_a_rollback_of_three_machines_ends_well(
    tmp_path: Path,
) -> None:
    """Without the read-back of a started step (`StepTaker._read_back` answering NOT_DONE) updates
    are still guarded by the machine's version, but the release record is posted twice.
    """
    async with campaign(tmp_path, machines=3) as fight:
        while fight.faults["kill"] < KILLS:
            await fight.round(kills=8, longest=3.0)

        assert fight.rounds >= KILLS / 8


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_killed_at_random_moments_a_rollback_of_twelve_machines_ends_well(
    tmp_path: Path,
) -> None:
    async with campaign(tmp_path, machines=12) as fight:
        while fight.faults["kill"] < KILLS:
            await fight.round(kills=12, longest=4.0)

        assert fight.rounds >= KILLS / 12


@pytest.mark.slow
@pytest.mark.parametrize("machines", [3, 12])
@pytest.mark.timeout(0)
async def test_frozen_while_another_takes_over_it_does_no_harm_when_it_wakes(
    tmp_path: Path, machines: int
) -> None:
    async with campaign(tmp_path, machines=machines) as fight:
        for _ in range(FREEZES):
            await fight.frozen_round(latest=machines, seconds=fight.chance.uniform(5, 30))

        assert fight.rounds == FREEZES
