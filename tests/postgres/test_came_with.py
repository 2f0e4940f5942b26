"""Which migrations came with a release, from two histories and, for heads, from the files."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbackd.core.database import MigrationTool
from rollbackd.core.errors import PlanRefused
from rollbackd.postgres.came_with import HistoryProblem, HistoryRefused, came_with
from rollbackd.postgres.lineage import lineage
from rollbackd.postgres.words import Applied


def history(*versions: str, tool: MigrationTool = MigrationTool.SUPABASE) -> list[Applied]:
    return [
        Applied(tool=tool, version=version, name="", order=order, checksum=f"sum of {version}")
        for order, version in enumerate(versions)
    ]


def versions(found: tuple[Applied, ...] | list[Applied]) -> list[str]:
    return [each.version for each in found]


def problem(now: list[Applied], at_good: list[Applied]) -> HistoryProblem:
    with pytest.raises(HistoryRefused) as refused:
        came_with(now, at_good)
    return refused.value.problem


def test_what_is_new_came_newest_first() -> None:
    assert versions(came_with(history("1", "2", "3", "4"), history("1", "2"))) == ["4", "3"]
    assert came_with(history("1"), history("1")) == ()
    assert versions(came_with(history("1", "2"), [])) == ["2", "1"]


def test_two_versions_of_one_day_are_told_apart_by_name() -> None:
    first, second = (
        dataclasses.replace(history("20251015")[0], name=name, order=order)
        for order, name in enumerate(("a", "b"))
    )

    assert came_with([first, second], [first]) == (second,)


def test_two_tools_do_not_meddle() -> None:
    prisma = history("1", "2", tool=MigrationTool.PRISMA)
    found = came_with([*history("1", "2"), *prisma], [*history("1", "2"), *prisma[:1]])

    assert found == (prisma[1],)


def test_what_does_not_add_up_is_named() -> None:
    one, two, three = history("1", "2", "3")

    assert problem([one], [one, two]) is HistoryProblem.VANISHED
    assert problem([], [one]) is HistoryProblem.VANISHED
    edited = dataclasses.replace(two, checksum="another")
    assert problem([one, edited], [one, two]) is HistoryProblem.DIVERGED
    assert problem([one, two, three], [one, three]) is HistoryProblem.OUT_OF_ORDER
    assert problem([one, dataclasses.replace(one, order=1)], []) is HistoryProblem.DUPLICATE
    failed = dataclasses.replace(two, failed=True)
    assert problem([one, failed], [one, failed]) is HistoryProblem.FAILED_BEFORE
    repeatable = dataclasses.replace(one, tool=MigrationTool.FLYWAY, version="", name="views")
    again = dataclasses.replace(repeatable, checksum="x")
    assert problem([again], [repeatable]) is HistoryProblem.AGAIN


def test_a_sum_that_one_side_lacks_is_not_compared() -> None:
    (one,) = history("1")

    assert came_with([one], [dataclasses.replace(one, checksum="")]) == ()


def test_a_failed_one_that_came_is_given_as_failed() -> None:
    one, two = history("1", "2", tool=MigrationTool.PRISMA)
    failed = dataclasses.replace(two, failed=True)

    assert came_with([one, failed], [one]) == (failed,)


@given(st.lists(st.integers(0, 99).map(str), unique=True), st.integers(0, 99))
def test_whatever_was_added_last_comes_back_in_reverse(names: list[str], at: int) -> None:
    now = history(*names)

    assert list(came_with(now, now[:at])) == now[at:][::-1]


def golang(version: str) -> list[Applied]:
    return history(version, tool=MigrationTool.GOLANG_MIGRATE)


def test_golang_migrate_is_filled_up_from_its_files(tmp_path: Path) -> None:
    for name in ("000001_a.up.sql", "000002_b.up.sql", "000002_b.down.sql", "10_c.up.sql"):
        (tmp_path / name).touch()
    (tmp_path / "11_later.up.sql").touch()

    now = lineage(golang("10"), [tmp_path])
    found = came_with(now, golang("1"))

    assert [(each.version, each.before) for each in found] == [("10", "2"), ("2", "1")]
    assert now[0].before == ""


def test_alembic_is_filled_up_from_its_scripts(tmp_path: Path) -> None:
    (tmp_path / "aa_first.py").write_text("revision = 'aa'\ndown_revision = None\n")
    (tmp_path / "bb_second.py").write_text('revision: str = "bb"\ndown_revision: str = "aa"\n')
    (tmp_path / "env.py").write_text("nothing")
    head = history("bb", tool=MigrationTool.ALEMBIC)

    now = lineage(head, [tmp_path, tmp_path / "nowhere"])

    assert [(each.version, each.name, each.before) for each in now] == [
        ("aa", "first", ""),
        ("bb", "second", "aa"),
    ]
    assert came_with(now, history("aa", tool=MigrationTool.ALEMBIC)) == (now[1],)


def test_joined_branches_have_no_one_way_back(tmp_path: Path) -> None:
    (tmp_path / "cc_join.py").write_text("revision = 'cc'\ndown_revision = ('aa', 'bb')\n")

    with pytest.raises(PlanRefused, match="joins aa and bb"):
        lineage(history("cc", tool=MigrationTool.ALEMBIC), [tmp_path])


def test_without_files_only_the_head_is_known(tmp_path: Path) -> None:
    assert lineage(golang("10"), [tmp_path]) == tuple(golang("10"))
    assert problem(golang("10"), golang("1")) is HistoryProblem.VANISHED
    others = history("1", "2")
    assert lineage(others, [tmp_path]) == tuple(others)
