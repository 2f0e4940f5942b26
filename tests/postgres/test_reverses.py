"""The files that take migrations back: by version and name, and all that is wrong with them."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbackd.core.database import MigrationTool
from rollbackd.postgres.reverses import MOST_BYTES, Found, changed, find
from rollbackd.postgres.sql_text import bare, statements
from rollbackd.postgres.words import Applied

T = MigrationTool


def step(version: str, name: str = "", tool: MigrationTool = T.SUPABASE) -> Applied:
    return Applied(tool=tool, version=version, name=name, order=0, table="h.t")


def written(folder: Path, name: str, text: str | bytes = "DROP TABLE a;") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems(folder: Path, text: str | bytes) -> list[str]:
    """What is wrong with one file, without its folder."""
    written(folder, "1_a.rollback.sql", text)
    found = find([step("1", "a")], [folder])
    assert len(found.reverses) == (not found.problems)
    return [str(each).removeprefix(f"{folder}/") for each in found.problems]


@pytest.mark.parametrize(
    ("file", "asked"),
    [
        ("20251015_a_b.rollback.sql", step("20251015", "a_b")),
        ("20251015_a_b.down.sql", step("20251015", "a_b")),
        ("20251015_a_b.down.sql", step("20251015")),
        ("20251015.rollback.sql", step("20251015")),
        ("20250101_init/down.sql", step("20250101", "init", T.PRISMA)),
        ("odd/down.sql", step("odd", "", T.PRISMA)),
        ("000012_a.down.sql", step("12", "", T.GOLANG_MIGRATE)),
        ("U1.1__first_table.sql", step("1.1", "first_table", T.FLYWAY)),
        ("U1_1__first_table.sql", step("1.1", "first_table", T.FLYWAY)),
        ("ae10_init.rollback.sql", step("ae10", "init", T.ALEMBIC)),
    ],
)
def test_each_tools_file_is_found(tmp_path: Path, file: str, asked: Applied) -> None:
    path = written(tmp_path, file)
    written(tmp_path, "20251015_other.rollback.sql" if asked.name else "2_other.rollback.sql")

    found = find([asked], [tmp_path])

    assert found.problems == ()
    (reverse,) = found.reverses
    assert (reverse.applied, reverse.where, reverse.text) == (asked, str(path), "DROP TABLE a;")
    assert len(reverse.sha256) == 64


def test_dbmates_down_part_keeps_its_lines(tmp_path: Path) -> None:
    text = "-- migrate:up\nCREATE TABLE a ();\n\n-- migrate:down\nDROP TABLE a;\nCOMMIT;\n"
    path = written(tmp_path, "20250101_a.sql", text)

    found = find([step("20250101", "", T.DBMATE)], [tmp_path])

    assert [str(each) for each in found.problems] == [
        f"{path}:6: COMMIT: it runs in a transaction of ours, take this line out"
    ]


def test_dbmate_may_say_without_a_transaction(tmp_path: Path) -> None:
    text = "-- migrate:down transaction:false\nVACUUM;\n-- migrate:up\nSELECT 1;\n"
    written(tmp_path, "20250101_a.sql", text)

    (reverse,) = find([step("20250101", "", T.DBMATE)], [tmp_path]).reverses

    assert not reverse.transactional
    assert reverse.text.strip() == "VACUUM;"


def test_what_the_history_keeps_is_used_where_there_is_no_file(tmp_path: Path) -> None:
    asked = step("1", "a")
    stored = {asked.key: ("DROP TABLE a;", "DROP TABLE b")}

    (reverse,) = find([asked], [tmp_path], stored).reverses
    assert reverse.text == "DROP TABLE a;\nDROP TABLE b;\n"
    assert reverse.where == "h.t 1_a, rollback"

    written(tmp_path, "1_a.rollback.sql", "SELECT 1")
    assert find([asked], [tmp_path], stored).reverses[0].text == "SELECT 1"


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    written(tmp_path, "20251015_a.rollback.sql")
    gone = tmp_path / "gone"

    found = find(
        [step("20251015", "b"), step("3", "c"), step("20251015", "a"), step("", "views", T.FLYWAY)],
        [tmp_path, gone],
    )

    assert [each.applied.name for each in found.reverses] == ["a"]
    said = "\n".join(map(str, found.problems))
    assert "there is no such folder" in said
    assert "20251015_b: nothing takes it back: no 20251015_b.rollback.sql" in said
    assert "3_c: nothing takes it back" in said
    assert "has no version" in said
    assert "rollback_dirs, which is empty" in str(find([step("1")], []).problems[0])


def test_two_files_for_one_version_are_refused(tmp_path: Path) -> None:
    written(tmp_path, "1_a.down.sql")
    written(tmp_path, "1_b.down.sql")

    (problem,) = find([step("1", "", T.DBMATE)], [tmp_path]).problems

    assert "several files take it back" in str(problem)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1_a.rollback.sql: holds no statement"),
        ("-- only\n/* a /* nested */ comment */ ;\n", "1_a.rollback.sql: holds no statement"),
        (b"SELECT 1;\nSELECT\0 2;", "1_a.rollback.sql:2: there is a NUL in it"),
        ("SELECT 1;\n".encode("utf-16"), "1_a.rollback.sql:1: there is a NUL in it"),
        ("SELECT 1;\nSELECT 'é'".encode("latin-1"), "1_a.rollback.sql:2: is not UTF-8"),
        ("SELECT 1;\n\\d+ a\n\\connect b", "1_a.rollback.sql:2: \\d+ is psql's own"),
        ("SELECT 1;\n  COPY a FROM stdin;", "1_a.rollback.sql:2: COPY FROM STDIN"),
        ("BEGIN;\nDROP TABLE a;\nROLLBACK;", "1_a.rollback.sql:1: BEGIN: "),
        ("START TRANSACTION;", "1_a.rollback.sql:1: START: "),
        ("SELECT 1;\nDO $x$ BEGIN\n\n COMMIT; END $x$;", "1_a.rollback.sql:4: COMMIT in a DO"),
        ("SELECT 1;\n\nDROP INDEX concurrently IF EXISTS i;", "1_a.rollback.sql:3: CONCURRENTLY"),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON a (b);", "1_a.rollback.sql:1: CONCURRENTLY"),
        ("ALTER TABLE a DETACH PARTITION b CONCURRENTLY", "1_a.rollback.sql:1: CONCURRENTLY"),
        ("-- x\nVACUUM FULL a", "1_a.rollback.sql:2: VACUUM cannot run in a transaction"),
        ("ALTER SYSTEM SET a = 1", "1_a.rollback.sql:1: ALTER SYSTEM"),
        ("SELECT 1;CREATE DATABASE x", "1_a.rollback.sql:1: CREATE DATABASE"),
        ("REINDEX DATABASE x", "1_a.rollback.sql:1: REINDEX DATABASE"),
        ("SELECT 1;\nDROP SCHEMA x CASCADE;", "1_a.rollback.sql:2: DROP SCHEMA"),
        ("SELECT 1;" * 10_000 + "\nCOMMIT", "1_a.rollback.sql:2: COMMIT: "),
        (b"x" * (MOST_BYTES + 1), "1_a.rollback.sql: is over 5 MB"),
        (
            "-- rollbackd: no-transaction\nVACUUM a;\nVACUUM b;",
            "1_a.rollback.sql:3: no-transaction: one statement",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    found = problems(tmp_path, text)

    assert found[0].startswith(says)


def test_every_line_that_is_wrong_is_told(tmp_path: Path) -> None:
    found = problems(tmp_path, "BEGIN;\n\\d+ a\n\\d b\n;COMMIT;")

    assert [line.split(":")[1] for line in found] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE a; -- COMMIT;",
        "SELECT 'a;\nCOMMIT; ''\n\\d';",
        "DO $$ BEGIN\n PERFORM 'COMMIT;'; -- COMMIT;\n END $$;",
        "SELECT 1 AS concurrently",
        "DO $rbd$ BEGIN NULL; $$;\nROLLBACK; $$ END $rbd$;",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC\n SELECT CASE WHEN true THEN 1 END; END;",
        'ALTER TABLE a RENAME "x;\nCOMMIT" TO b;',
        "SELECT E'it\\'s;\nCOMMIT;';",
        "PREPARE a AS SELECT 1;",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v; REINDEX TABLE a;",
        "/* BEGIN; /* COMMIT; */ \n\\d */ SELECT 1",
        "\ufeffSELECT 1",
        "SELECT 1;\r\nSELECT 2;\r\n",
    ],
)
def test_what_only_looks_wrong_is_not(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text) == []


def test_a_byte_order_mark_is_not_sent(tmp_path: Path) -> None:
    written(tmp_path, "1_a.rollback.sql", b"\xef\xbb\xbfSELECT 1")

    assert find([step("1", "a")], [tmp_path]).reverses[0].text == "SELECT 1"


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "down"
    folder.mkdir()
    secret = written(tmp_path, "secret.rollback.sql")
    (folder / "1_a.rollback.sql").symlink_to(secret)
    os.mkfifo(folder / "2_b.rollback.sql")

    found = find(
        [step("../secret"), step("1", "../../etc/x"), step("1", "a"), step("2", "b")], [folder]
    )

    assert found.reverses == ()
    said = [str(each) for each in found.problems]
    assert "cannot be a file's name" in said[0]
    assert "cannot be a file's name" in said[1]
    assert "leads out of" in said[2]
    assert "is no file" in said[3]


def test_a_file_that_changed_since_the_plan_is_told(tmp_path: Path) -> None:
    asked = [step("1", "a"), step("2", "b")]
    written(tmp_path, "1_a.rollback.sql")
    written(tmp_path, "2_b.rollback.sql")
    planned = find(asked, [tmp_path]).reverses
    assert changed(planned, find(asked, [tmp_path]).reverses) == ()

    written(tmp_path, "1_a.rollback.sql", "DROP TABLE b;")
    now = find(asked, [tmp_path])

    assert [each.message for each in changed(planned, now.reverses)] == [
        "changed since the plan was made"
    ]
    assert [each.message for each in changed(planned, Found().reverses)] == [
        "is not there any more"
    ] * 2


@given(
    st.lists(
        st.sampled_from(
            ["'", '"', "$$", "$a$", "--", "/*", "*/", ";", "\n", "x", "E'\\'", " ", "BEGIN ATOMIC"]
        )
    ).map("".join)
)
def test_whatever_the_text_lines_and_length_stay(text: str) -> None:
    blanked = bare(text)

    assert len(blanked) == len(text)
    assert [at for at, c in enumerate(blanked) if c == "\n"] == [
        at for at, c in enumerate(text) if c == "\n"
    ]
    for each in statements(text):
        assert text[each.start :].startswith(each.text)
        assert each.line == text.count("\n", 0, each.start) + 1


def test_fifty_thousand_statements_are_read_in_time(tmp_path: Path) -> None:
    written(tmp_path, "1_a.rollback.sql", "SELECT 1;\n" * 50_000)

    assert find([step("1", "a")], [tmp_path]).problems == ()
