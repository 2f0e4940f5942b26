"""Whether a database can be replaced by one that was made beside it: all that a dump of some
schemas does not carry has to be the same there, or not there at all. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from psycopg import sql

from rollbackd.postgres import checks
from rollbackd.postgres.connection import Connection
from rollbackd.postgres.fingerprint import compare, fingerprint
from rollbackd.postgres.inside import outside
from rollbackd.postgres.scratch import allowed

_MOST: Final = 3

_OWNED: Final = """
SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()
"""
_THIS: Final = "(SELECT oid FROM pg_database WHERE datname = current_database())"
_STAYS: Final = (
    (
        "replication slots belong to it",
        "SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()",
    ),
    (
        "it is subscribed to another one",
        f"SELECT subname::text FROM pg_subscription WHERE subdbid = {_THIS}",  # noqa: S608 -- of constants
    ),
    ("it is published", "SELECT pubname::text FROM pg_publication"),
    ("it holds large objects", "SELECT oid::text FROM pg_largeobject_metadata LIMIT 4"),
    (
        "it has security labels",
        f"SELECT provider FROM pg_shseclabel WHERE objoid = {_THIS}",  # noqa: S608 -- as above
    ),
    (
        "a role is set for its sessions",
        (
            f"SELECT s FROM pg_db_role_setting, unnest(setconfig) s WHERE setdatabase = {_THIS}"  # noqa: S608 -- as above
            " AND s ~ '^(role|session_authorization)='"
        ),
    ),
)
_OUTSIDE: Final = """
SELECT nspname::text FROM pg_namespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND nspname <> ALL (%s) ORDER BY 1
"""
_TABLES: Final = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname = ANY (%s)
"""
# What a fingerprint has not in it. By name; of extensions only which, and of which version.
_OTHERS: Final = """
SELECT i.type || ' ' || i.identity FROM (
  SELECT 'pg_operator'::regclass::oid AS class, oid FROM pg_operator
  UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass
  UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily
  UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation
  UNION ALL SELECT 'pg_conversion'::regclass, oid FROM pg_conversion
  UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config
  UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict
  UNION ALL SELECT 'pg_ts_parser'::regclass, oid FROM pg_ts_parser
  UNION ALL SELECT 'pg_ts_template'::regclass, oid FROM pg_ts_template
  UNION ALL SELECT 'pg_cast'::regclass, oid FROM pg_cast
  UNION ALL SELECT 'pg_transform'::regclass, oid FROM pg_transform
  UNION ALL SELECT 'pg_language'::regclass, oid FROM pg_language
  UNION ALL SELECT 'pg_am'::regclass, oid FROM pg_am
  UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper
  UNION ALL SELECT 'pg_foreign_server'::regclass, oid FROM pg_foreign_server
  UNION ALL SELECT 'pg_user_mapping'::regclass, umid FROM pg_user_mappings
  UNION ALL SELECT 'pg_event_trigger'::regclass, oid FROM pg_event_trigger
) o, pg_identify_object(o.class, o.oid, 0) AS i
WHERE o.oid >= 16384 AND NOT EXISTS (
  SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')
UNION ALL SELECT 'extension ' || extname || ' ' || extversion FROM pg_extension
"""
# The same in all versions by its names: they call the locale differently.
_DATABASE: Final = """
SELECT to_jsonb(d) - ARRAY['oid', 'datname', 'datdba', 'datacl', 'datconnlimit', 'datfrozenxid',
  'datminmxid', 'datistemplate', 'datallowconn', 'dathasloginevt']
FROM pg_database d WHERE datname = current_database()
"""


async def why_not(live: Connection) -> tuple[str, ...]:
    """What keeps this role from replacing this database, whatever takes its place."""
    if not await allowed(live):
        return ("the role may not create databases",)
    if await _one(live, _OWNED) is not True:
        return ("the role does not own the database",)
    found = []
    for why, query in _STAYS:
        names = [str(name) for (name,) in await (await live.execute(query.encode())).fetchall()]
        if names:
            found.append(f"{why}: {', '.join(names[:_MOST])}")
    return tuple(found)


async def unlike(live: Connection, made: Connection, schemas: Collection[str]) -> tuple[str, ...]:
    """In what the one made beside it differs outside of `schemas`, one line each, the first few."""
    others = [name for (name,) in await _rows(live, _OUTSIDE, [sorted(schemas)])]
    now = outside(await fingerprint(live, others), schemas)
    then = outside(await fingerprint(made, others), schemas)
    found = list(checks.lines(compare(now, then)))
    here = {name for (name,) in await _rows(live, _OTHERS)}
    there = {name for (name,) in await _rows(made, _OTHERS)}
    found += [f"{name} is missing" for name in sorted(here - there)]
    found += [f"{name} is left over" for name in sorted(there - here)]
    tables = [name for (name,) in await _rows(live, _TABLES, [others])]
    rows, kept = await checks.count(live, tables), await checks.count(made, tables)
    found += [
        f"{table} has {count} rows, and is not in the snapshot"
        for table, count in rows.items()
        if count != kept.get(table, 0)
    ]
    if await _one(live, _DATABASE) != await _one(made, _DATABASE):
        found.append("its encoding, locale or tablespace is not the server's own")
    return tuple(found)


async def _rows(connection: Connection, query: str, values: Any = None) -> list[Any]:
    return await (await connection.execute(sql.SQL(query), values)).fetchall()


async def _one(connection: Connection, query: str) -> object:
    row = await (await connection.execute(query.encode())).fetchone()
    return row[0] if row else None
