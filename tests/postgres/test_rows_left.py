"""What a migration wrote and its reverse does not mention is told."""

from pathlib import Path

import pytest

from rollbackd.postgres.rows_left import left
from tests.postgres.shop import BACK, CHEAPER, LOUD, QUIET, Shop, house, order


@pytest.mark.parametrize(
    ("up", "down", "told"),
    [
        ("INSERT INTO storage.buckets VALUES ('a')", "SELECT 1", ["wrote rows to storage.buckets"]),
        ("-- seed\ninsert into kinds values (1); INSERT INTO kinds VALUES (2)", "SELECT 1",
         ["wrote rows to kinds"]),
        ('UPDATE "Session" SET a = 1', "DROP TABLE x", ['changed rows of "Session"']),
        ("DELETE FROM ONLY old.logs; TRUNCATE TABLE tmp", "SELECT 1",
         ["deleted rows of old.logs", "emptied tmp"]),
        ("SELECT cron.schedule('nightly', '0 3 * * *', 'SELECT 1')", "SELECT 1",
         ["made a job of cron"]),
        ("SELECT cron.schedule('nightly', '0 3 * * *', 'SELECT 1')",
         "SELECT cron.unschedule('nightly')", []),
        ("CREATE TABLE kinds (n int); INSERT INTO kinds VALUES (1)", "DROP TABLE kinds", []),
        (LOUD, QUIET, []),
        ("DO $$ BEGIN INSERT INTO a VALUES (1); END $$; SELECT 'INSERT INTO b'", "SELECT 1", []),
    ],
)  # fmt: skip
def test_what_is_not_mentioned_is_left(up: str, down: str, told: list[str]) -> None:
    assert list(left(up, down)) == told


@pytest.mark.process
async def test_a_plan_tells_it_by_file_and_by_what_the_history_keeps(
    database: str, tmp_path: Path
) -> None:
    shop = Shop(database, tmp_path / "reverse")
    async with house(shop, tmp_path / "state") as made:
        shop.release("2", "cheaper", CHEAPER + "UPDATE products SET name = 'x'", BACK)
        plan = await made.runner.dry_run(order())

    assert "database: 2_cheaper changed rows of products, and its reverse does not" in plan.notes
