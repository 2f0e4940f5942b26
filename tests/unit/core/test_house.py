"""The house stays small enough to read."""

from pathlib import Path

import rollbackd

LONGEST = 300


def test_no_file_is_longer_than_a_person_reads_in_one_go() -> None:
    house = Path(rollbackd.__file__).parent

    lengths = {
        str(path.relative_to(house)): len(path.read_text(encoding="utf-8").splitlines())
        for path in house.rglob("*.py")
    }

    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}
