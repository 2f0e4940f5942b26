"""The demo's shop: a real table in a real PostgreSQL, and the migration that breaks it.

Its pages ask a function of the database for every price. A migration goes out with v2 whose new
function reads a table that nobody made: PL/pgSQL bodies are looked at when they run, so the
migration succeeds and every page fails, under v2 and under v1 alike.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final

import psycopg

DATABASE: Final = "shop"
_PAGE: Final = "SELECT name, price_of(id) FROM products ORDER BY id"
_VERSION, _NAME = "20260102090000", "discounts"
_PRICE: Final = """
CREATE OR REPLACE FUNCTION price_of(product integer) RETURNS numeric LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT price FROM products WHERE id = product);
END $$;
"""
_DISCOUNTED: Final = """
CREATE OR REPLACE FUNCTION price_of(product integer) RETURNS numeric LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT p.price * (1 - d.share) FROM products p JOIN discounts d ON d.product = p.id
          WHERE p.id = product);
END $$;
"""
_FIRST: Final = f"""
CREATE SCHEMA supabase_migrations;
CREATE TABLE supabase_migrations.schema_migrations
  (version text PRIMARY KEY, statements text[], name text);
CREATE TABLE products (id integer PRIMARY KEY, name text NOT NULL, price numeric NOT NULL);
INSERT INTO products SELECT n, 'product ' || n, n * 1.5 FROM generate_series(1, 20) AS n;
{_PRICE}
INSERT INTO supabase_migrations.schema_migrations VALUES ('20260101090000', '{{}}', 'shop');
"""  # noqa: S608 -- of constants
_APPLIED: Final = "INSERT INTO supabase_migrations.schema_migrations VALUES (%s, %s, %s)"


def open_shop(server_url: str, shop_url: str, migrations: Path) -> None:
    """The database as v1 has it, and the folder in which the pipeline keeps its files."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}")
    with psycopg.connect(shop_url, autocommit=True) as connection:
        connection.execute(_FIRST)
    migrations.mkdir(parents=True)
    (migrations / f"{_VERSION}_{_NAME}.sql").write_text(_DISCOUNTED, encoding="utf-8")
    (migrations / f"{_VERSION}_{_NAME}.rollback.sql").write_text(_PRICE, encoding="utf-8")


def migrate(shop_url: str) -> None:
    """What the pipeline does before it deploys v2."""
    with psycopg.connect(shop_url) as connection:
        connection.execute(_DISCOUNTED)
        connection.execute(_APPLIED, [_VERSION, [_DISCOUNTED], _NAME])


class Shelf:
    """A page's way to the database: one session, made anew when it is lost."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: psycopg.AsyncConnection[Any] | None = None

    async def page(self) -> str:
        """Why the page cannot be shown, with the server's own code; "" where it can."""
        try:
            if self._session is None or self._session.closed:
                self._session = await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, application_name="shop", connect_timeout=2
                )
            await (await self._session.execute(_PAGE)).fetchall()
        except psycopg.Error as error:
            if error.sqlstate is None and self._session is not None:
                with contextlib.suppress(psycopg.Error):
                    await self._session.close()
            first = str(error).partition("\n")[0]
            return f"postgres {error.sqlstate or 'gone'}: {first}"
        return ""
