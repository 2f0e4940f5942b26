"""What an app feels though no schema of its own holds it: roles, settings, publications, casts,
event triggers, foreign servers, and who may do what with the platform's own tables.

Parts of `catalogue`'s statement, of the same shape. Cluster-wide things count where they have to do
with this database: others may share the server.
"""

from __future__ import annotations

from typing import Final

MOST_RELATIONS: Final = 3000  # in schemas that nobody asked for
# Supabase's own schemas, as its CLI leaves them out of a dump (pkg/migration/dump.go), and those
# of its extensions. What migrations put there is in DOORS.
PLATFORM: Final = """ARRAY['auth', 'storage', 'realtime', '_realtime', 'supabase_functions',
  'supabase_migrations', 'extensions', 'graphql', 'graphql_public', 'vault', 'pgsodium',
  'pgsodium_masks', 'pgbouncer', 'pgtle', 'net', 'cron', 'pgmq', 'repack', 'tiger', 'tiger_data',
  'topology', 'dbdev', 'etl', '_analytics', '_supavisor', '_timescaledb_internal']"""

# Tables of the platform, on which migrations put policies, and what roles may do with them.
DOORS: Final = f"""door AS MATERIALIZED (
  SELECT oid, nspname, nspacl, nspowner, quote_ident(nspname) AS name FROM pg_namespace
  WHERE nspname = ANY ({PLATFORM}) AND nspname <> ALL (%(schemas)s::text[])
), door_table AS MATERIALIZED (
  SELECT c.oid, c.relacl, c.relowner, c.relrowsecurity,
    d.name || '.' || quote_ident(c.relname) AS name
  FROM pg_class c JOIN door d ON d.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND d.nspname <> 'supabase_migrations'
), here AS MATERIALIZED (
  SELECT oid, datdba, datacl FROM pg_database WHERE datname = current_database()
), concerned AS MATERIALIZED (
  SELECT DISTINCT s.refobjid AS oid FROM pg_shdepend s JOIN here ON here.oid = s.dbid
  WHERE s.refclassid = 'pg_authid'::regclass
)"""  # noqa: S608 - of constants

_DOORS: Final = """
SELECT 0, d.oid, 0, 'platform schema', d.name, '', NULL::oid,
  coalesce(d.nspacl, acldefault('n', d.nspowner))::text[]
FROM door d
UNION ALL
SELECT 0, t.oid, 0, 'platform table', t.name, '', NULL,
  coalesce(t.relacl, acldefault('r', t.relowner))::text[]
FROM door_table t
UNION ALL
SELECT 0, t.oid, 0, 'rls', t.name, CASE WHEN t.relrowsecurity THEN 'on' ELSE 'off' END, NULL, NULL
FROM door_table t WHERE EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = t.oid)
"""

_UNPOPULATED: Final = """
SELECT 0, r.oid, 0, 'unpopulated', r.name, '', NULL, NULL
FROM relation r WHERE r.relkind = 'm' AND NOT r.relispopulated
"""

# Of those that own something here or may do something, or are members of such: others may share the
# server. One without a power of its own is told of by its rights alone.
_ROLES: Final = """
SELECT 0, r.oid, 0, 'role', quote_ident(r.rolname), r.powers, NULL, NULL
FROM (SELECT o.oid, o.rolname, concat_ws('; ',
    CASE WHEN o.rolsuper THEN 'superuser' END, CASE WHEN o.rolcreaterole THEN 'createrole' END,
    CASE WHEN o.rolcreatedb THEN 'createdb' END, CASE WHEN o.rolcanlogin THEN 'login' END,
    CASE WHEN o.rolreplication THEN 'replication' END,
    CASE WHEN o.rolbypassrls THEN 'bypassrls' END,
    'member of ' || (SELECT string_agg(DISTINCT g.rolname || CASE WHEN m.admin_option
          THEN ' with admin' ELSE '' END, ', ')
      FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = o.oid)) AS powers
  FROM pg_roles o WHERE o.rolname !~ '^pg_' AND o.rolvaliduntil IS NULL AND (
    o.oid IN (SELECT oid FROM concerned) OR EXISTS (SELECT FROM pg_auth_members m
      WHERE m.member = o.oid AND m.roleid IN (SELECT oid FROM concerned)))) r
WHERE r.powers <> ''
"""

# Only what is set, and whether it is the same: a value may be a secret.
_SETTINGS: Final = """
SELECT 0, 0::oid, 0, 'settings',
  CASE WHEN s.setrole = 0 THEN 'all' ELSE quote_ident(pg_get_userbyid(s.setrole)) END
    || CASE WHEN s.setdatabase = 0 THEN '' ELSE ' in this database' END,
  (SELECT string_agg(split_part(c, '=', 1) || ' (' || left(md5(c), 8) || ')', ', ' ORDER BY c)
    FROM unnest(s.setconfig) AS c), NULL, NULL
FROM pg_db_role_setting s WHERE s.setdatabase IN (0, (SELECT oid FROM here))
  AND (s.setrole = 0 OR s.setrole IN (SELECT oid FROM concerned))
"""

_DATABASE: Final = """
SELECT 0, oid, 0, 'database', 'itself', '', NULL, coalesce(datacl, acldefault('d', datdba))::text[]
FROM here
"""

_PUBLICATIONS: Final = """
SELECT 'pg_publication'::regclass::oid, p.oid, 0, 'publication', quote_ident(p.pubname),
  concat_ws(', ', CASE WHEN p.puballtables THEN 'all tables' END,
    CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
    CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END,
    CASE WHEN p.pubviaroot THEN 'via root' END), p.pubowner, NULL
FROM pg_publication p
"""

_EVENT_TRIGGERS: Final = """
SELECT 'pg_event_trigger'::regclass::oid, e.oid, 0, 'event trigger', quote_ident(e.evtname),
  concat_ws('; ', e.evtevent, array_to_string(e.evttags, ', '), e.evtfoid::regprocedure::text,
    CASE e.evtenabled WHEN 'O' THEN NULL ELSE 'enabled ' || e.evtenabled::text END),
  e.evtowner, NULL
FROM pg_event_trigger e JOIN routine p ON p.oid = e.evtfoid
"""

_CASTS: Final = """
SELECT 'pg_cast'::regclass::oid, c.oid, 0, 'cast',
  format_type(c.castsource, NULL) || ' as ' || format_type(c.casttarget, NULL),
  concat_ws('; ', nullif(c.castfunc::regprocedure::text, '-'), c.castmethod::text,
    c.castcontext::text), NULL, NULL
FROM pg_cast c WHERE c.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d
  WHERE d.classid = 'pg_cast'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'i'))
"""

_FOREIGN: Final = """
SELECT 'pg_foreign_data_wrapper'::regclass::oid, w.oid, 0, 'foreign data wrapper',
  quote_ident(w.fdwname), '', w.fdwowner, coalesce(w.fdwacl, acldefault('F', w.fdwowner))::text[]
FROM pg_foreign_data_wrapper w WHERE NOT EXISTS (SELECT FROM pg_depend d
  WHERE d.classid = 'pg_foreign_data_wrapper'::regclass AND d.objid = w.oid AND d.deptype = 'e')
UNION ALL
SELECT 'pg_foreign_server'::regclass::oid, s.oid, 0, 'foreign server', quote_ident(s.srvname),
  concat_ws('; ', w.fdwname, left(md5(s.srvoptions::text), 8)), s.srvowner,
  coalesce(s.srvacl, acldefault('S', s.srvowner))::text[]
FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
UNION ALL
SELECT 0, u.umid, 0, 'user mapping', quote_ident(u.usename) || ' on ' || quote_ident(u.srvname), '',
  NULL, NULL
FROM pg_user_mappings u
"""

_LANGUAGE: Final = """
SELECT 'pg_operator'::regclass::oid, o.oid, 0, 'operator', o.oid::regoperator::text,
  o.oprcode::text, o.oprowner, NULL
FROM pg_operator o JOIN space s ON s.oid = o.oprnamespace WHERE NOT EXISTS (SELECT FROM pg_depend d
  WHERE d.classid = 'pg_operator'::regclass AND d.objid = o.oid AND d.deptype = 'e')
UNION ALL
SELECT 'pg_opclass'::regclass::oid, o.oid, 0, 'operator class', s.name || '.' ||
  quote_ident(o.opcname), o.opcintype::regtype::text, o.opcowner, NULL
FROM pg_opclass o JOIN space s ON s.oid = o.opcnamespace WHERE NOT EXISTS (SELECT FROM pg_depend d
  WHERE d.classid = 'pg_opclass'::regclass AND d.objid = o.oid AND d.deptype = 'e')
UNION ALL
SELECT 'pg_collation'::regclass::oid, c.oid, 0, 'collation', s.name || '.' ||
  quote_ident(c.collname), concat_ws('; ', c.collprovider::text, c.collcollate,
    CASE WHEN NOT c.collisdeterministic THEN 'not deterministic' END), c.collowner, NULL
FROM pg_collation c JOIN space s ON s.oid = c.collnamespace WHERE NOT EXISTS (
  SELECT FROM pg_depend d
  WHERE d.classid = 'pg_collation'::regclass AND d.objid = c.oid AND d.deptype = 'e')
UNION ALL
SELECT 'pg_ts_config'::regclass::oid, c.oid, 0, 'text search configuration', s.name || '.' ||
  quote_ident(c.cfgname), (SELECT string_agg(concat_ws(' ', m.maptokentype, m.mapseqno,
      m.mapdict::regdictionary), ', ' ORDER BY m.maptokentype, m.mapseqno)
    FROM pg_ts_config_map m WHERE m.mapcfg = c.oid), c.cfgowner, NULL
FROM pg_ts_config c JOIN space s ON s.oid = c.cfgnamespace WHERE NOT EXISTS (SELECT FROM pg_depend d
  WHERE d.classid = 'pg_ts_config'::regclass AND d.objid = c.oid AND d.deptype = 'e')
UNION ALL
SELECT 'pg_ts_dict'::regclass::oid, t.oid, 0, 'text search dictionary', s.name || '.' ||
  quote_ident(t.dictname), t.dictinitoption, t.dictowner, NULL
FROM pg_ts_dict t JOIN space s ON s.oid = t.dictnamespace WHERE NOT EXISTS (SELECT FROM pg_depend d
  WHERE d.classid = 'pg_ts_dict'::regclass AND d.objid = t.oid AND d.deptype = 'e')
"""

PARTS: Final = (
    *(_DOORS, _UNPOPULATED, _ROLES, _SETTINGS, _DATABASE, _PUBLICATIONS, _EVENT_TRIGGERS, _CASTS),
    *(_FOREIGN, _LANGUAGE),
)
