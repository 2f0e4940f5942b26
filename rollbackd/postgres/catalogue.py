"""What is read from the catalogue for a fingerprint: one statement, one row an object.

Each part gives class, oid, number of the column, kind, full name, definition, owner, and the
privileges with the server's defaults spelled out. Objects of extensions are left out, and so are
column numbers: dropped columns leave gaps that a restored dump has not. Read are the schemas asked
for and every other one that a migration may have made: but not the platform's own, which change
without us, and none of those nobody asked for where they hold thousands of tables (a schema a
tenant).
Source: PostgreSQL's chapter "System Catalogs", for versions 15 to 17.
"""

from __future__ import annotations

from typing import Final

from rollbackd.postgres import catalogue_wide as wide

_COMMON: Final = f"""
WITH other AS MATERIALIZED (
  SELECT n.oid FROM pg_catalog.pg_namespace n
  WHERE n.nspname <> ALL (%(schemas)s::text[]) AND n.nspname <> ALL ({wide.PLATFORM})
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend d
      WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
), space AS MATERIALIZED (
  SELECT oid, nspname, nspowner, nspacl, quote_ident(nspname) AS name
  FROM pg_catalog.pg_namespace WHERE nspname = ANY (%(schemas)s::text[])
    OR oid IN (SELECT oid FROM other) AND {wide.MOST_RELATIONS} >= (
      SELECT count(*) FROM pg_class c JOIN other o ON o.oid = c.relnamespace)
), relation AS MATERIALIZED (
  SELECT c.*, s.name || '.' || quote_ident(c.relname) AS name
  FROM pg_class c JOIN space s ON s.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c', 'i', 'I') AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
      AND d.deptype = 'e')
), routine AS MATERIALIZED (
  SELECT p.*, s.name || '.' || quote_ident(p.proname)
    || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name
  FROM pg_proc p JOIN space s ON s.oid = p.pronamespace
  WHERE NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
      AND d.deptype = 'e')
), {wide.DOORS}, kind AS MATERIALIZED (
  SELECT t.*, s.name || '.' || quote_ident(t.typname) AS name
  FROM pg_type t JOIN space s ON s.oid = t.typnamespace
  WHERE t.typtype IN ('e', 'd', 'r') AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid
      AND d.deptype = 'e')
)
"""  # noqa: S608 - of constants

_SCHEMAS: Final = """
SELECT 'pg_namespace'::regclass::oid, oid, 0, 'schema', name, '', nspowner,
  coalesce(nspacl, acldefault('n', nspowner))::text[]
FROM space
"""

_TABLES: Final = """
SELECT 'pg_class'::regclass::oid, r.oid, 0,
  CASE r.relkind WHEN 'f' THEN 'foreign table' ELSE 'table' END, r.name,
  concat_ws('; ',
    CASE r.relpersistence WHEN 'u' THEN 'unlogged' END,
    'replica identity ' || nullif(CASE r.relreplident WHEN 'i' THEN (
        SELECT 'index ' || i.indexrelid::regclass::text FROM pg_index i
        WHERE i.indrelid = r.oid AND i.indisreplident)
      ELSE r.relreplident::text END, 'd'),
    'partition by ' || pg_get_partkeydef(r.oid),
    pg_get_expr(r.relpartbound, r.oid),
    'inherits ' || (SELECT string_agg(h.inhparent::regclass::text, ', ' ORDER BY h.inhseqno)
      FROM pg_inherits h WHERE h.inhrelid = r.oid),
    'of ' || nullif(r.reloftype, 0)::regtype::text,
    'server ' || (SELECT s.srvname || ' ' || coalesce(t.ftoptions::text, '')
      FROM pg_foreign_table t JOIN pg_foreign_server s ON s.oid = t.ftserver
      WHERE t.ftrelid = r.oid),
    'with ' || (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(r.reloptions) AS o),
    'toast with ' || (SELECT string_agg(o, ', ' ORDER BY o)
      FROM pg_class t, unnest(t.reloptions) AS o WHERE t.oid = r.reltoastrelid),
    'using ' || (SELECT nullif(m.amname, 'heap') FROM pg_am m WHERE m.oid = r.relam),
    'tablespace ' || (SELECT t.spcname FROM pg_tablespace t WHERE t.oid = r.reltablespace)),
  r.relowner, coalesce(r.relacl, acldefault('r', r.relowner))::text[]
FROM relation r WHERE r.relkind IN ('r', 'p', 'f')
"""

_ROW_SECURITY: Final = """
SELECT 0, r.oid, 0, 'rls', r.name,
  CASE WHEN NOT r.relrowsecurity AND r.relforcerowsecurity THEN 'off, forced'
    WHEN NOT r.relrowsecurity THEN 'off'
    WHEN r.relforcerowsecurity THEN 'on, forced' ELSE 'on' END, NULL, NULL
FROM relation r WHERE r.relkind IN ('r', 'p')
"""

_VIEWS: Final = """
SELECT 'pg_class'::regclass::oid, r.oid, 0,
  CASE r.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, r.name,
  concat_ws('; ', 'with ' || (
    SELECT string_agg(regexp_replace(o, '=(on|yes|1)$', '=true'), ', ' ORDER BY o)
    FROM unnest(r.reloptions) AS o), pg_get_viewdef(r.oid)),
  r.relowner, coalesce(r.relacl, acldefault('r', r.relowner))::text[]
FROM relation r WHERE r.relkind IN ('v', 'm')
"""

_SEQUENCES: Final = """
SELECT 'pg_class'::regclass::oid, r.oid, 0, 'sequence', r.name,
  concat_ws('; ', s.seqtypid::regtype::text, 'start ' || s.seqstart, 'by ' || s.seqincrement,
    'from ' || s.seqmin || ' to ' || s.seqmax, 'cache ' || s.seqcache,
    CASE WHEN s.seqcycle THEN 'cycle' END,
    CASE r.relpersistence WHEN 'u' THEN 'unlogged' END,
    (SELECT CASE d.deptype WHEN 'i' THEN 'identity of ' ELSE 'owned by ' END
        || d.refobjid::regclass::text || '.' || quote_ident(a.attname)
      FROM pg_depend d
      JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
      WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.deptype IN ('a', 'i')
        AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0)),
  r.relowner, coalesce(r.relacl, acldefault('s', r.relowner))::text[]
FROM relation r JOIN pg_sequence s ON s.seqrelid = r.oid
"""

_COLUMNS: Final = """
SELECT 'pg_class'::regclass::oid, r.oid, a.attnum, 'column',
  r.name || '.' || quote_ident(a.attname),
  concat_ws('; ', format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attnotnull THEN 'not null' ELSE 'null' END,
    'collate ' || CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text
      END,
    CASE WHEN r.relkind IN ('r', 'p') AND a.attstorage <> t.typstorage
      THEN 'storage ' || a.attstorage::text END,
    'compression ' || nullif(a.attcompression::text, ''),
    'statistics ' || nullif(a.attstattarget, -1),
    'options ' || array_to_string(a.attoptions, ', '),
    CASE a.attgenerated WHEN 'v' THEN 'virtual' END,
    CASE a.attidentity WHEN 'a' THEN 'identity always' WHEN 'd' THEN 'identity by default' END,
    CASE a.attgenerated WHEN '' THEN 'default ' ELSE 'generated ' END
      || pg_get_expr(d.adbin, d.adrelid)),
  NULL, a.attacl::text[]
FROM relation r
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f')
"""

_CONSTRAINTS: Final = """
SELECT 'pg_constraint'::regclass::oid, c.oid, 0, 'constraint',
  coalesce(r.name, k.name) || '.' || quote_ident(c.conname),
  coalesce('on (' || (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname)
    FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)) || '): ', '')
  || concat_ws('; ', pg_get_constraintdef(c.oid),
    'with ' || array_to_string(i.reloptions, ', '),
    'tablespace ' || (SELECT t.spcname FROM pg_tablespace t WHERE t.oid = i.reltablespace),
    (SELECT 'clustered' FROM pg_index x WHERE x.indexrelid = i.oid AND x.indisclustered),
    CASE WHEN c.contype = 'f' AND EXISTS (SELECT FROM pg_trigger g
      WHERE g.tgconstraint = c.oid AND g.tgenabled <> 'O') THEN 'not enforced' END),
  NULL::oid, NULL::text[]
FROM pg_constraint c
LEFT JOIN relation r ON r.oid = c.conrelid
LEFT JOIN pg_class i ON i.oid = c.conindid AND c.contype IN ('p', 'u', 'x')
LEFT JOIN kind k ON k.oid = c.contypid
WHERE coalesce(r.oid, k.oid) IS NOT NULL AND c.contype IN ('c', 'f', 'p', 'u', 'x')
"""

_INDEXES: Final = """
SELECT 'pg_class'::regclass::oid, r.oid, 0, 'index', r.name,
  concat_ws('; ', pg_get_indexdef(r.oid), CASE WHEN NOT i.indisvalid THEN 'not valid' END,
    'tablespace ' || (SELECT t.spcname FROM pg_tablespace t WHERE t.oid = r.reltablespace),
    CASE WHEN i.indisclustered THEN 'clustered' END), NULL, NULL
FROM pg_index i JOIN relation r ON r.oid = i.indexrelid
WHERE NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid
  AND c.contype IN ('p', 'u', 'x'))
"""

_FUNCTIONS: Final = """
SELECT 'pg_proc'::regclass::oid, p.oid, 0,
  CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END, p.name,
  concat_ws('; ', CASE WHEN p.prosecdef THEN 'security definer' ELSE 'security invoker' END,
    'returns ' || pg_get_function_result(p.oid),
    CASE WHEN p.prokind = 'a' THEN (
      SELECT concat_ws(' ', g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggtranstype::regtype,
        g.agginitval, g.aggkind, g.aggsortop)
      FROM pg_aggregate g WHERE g.aggfnoid = p.oid)
    ELSE pg_get_functiondef(p.oid) END),
  p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))::text[]
FROM routine p
"""

_TRIGGERS: Final = """
SELECT 'pg_trigger'::regclass::oid, t.oid, 0, 'trigger',
  coalesce(r.name, t.tgrelid::regclass::text) || '.' || quote_ident(t.tgname),
  pg_get_triggerdef(t.oid)
    || CASE t.tgenabled WHEN 'O' THEN '' ELSE '; enabled ' || t.tgenabled::text END,
  NULL, NULL
FROM pg_trigger t
LEFT JOIN relation r ON r.oid = t.tgrelid
LEFT JOIN routine p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal AND coalesce(r.oid, p.oid) IS NOT NULL
"""

_POLICIES: Final = """
SELECT 'pg_policy'::regclass::oid, p.oid, 0, 'policy', r.name || '.' || quote_ident(p.polname),
  concat_ws('; ', CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
    CASE p.polcmd WHEN '*' THEN 'all' WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert'
      WHEN 'w' THEN 'update' ELSE 'delete' END,
    'to ' || (SELECT string_agg(coalesce(quote_ident(o.rolname), 'PUBLIC'), ', '
        ORDER BY o.rolname)
      FROM unnest(p.polroles) AS role LEFT JOIN pg_roles o ON o.oid = role),
    'using ' || pg_get_expr(p.polqual, p.polrelid),
    'with check ' || pg_get_expr(p.polwithcheck, p.polrelid)), NULL, NULL
FROM pg_policy p JOIN (SELECT oid, name FROM relation UNION ALL SELECT oid, name FROM door_table) r
  ON r.oid = p.polrelid
"""

_RULES: Final = """
SELECT 'pg_rewrite'::regclass::oid, w.oid, 0, 'rule', r.name || '.' || quote_ident(w.rulename),
  pg_get_ruledef(w.oid)
    || CASE w.ev_enabled WHEN 'O' THEN '' ELSE '; enabled ' || w.ev_enabled::text END,
  NULL, NULL
FROM pg_rewrite w JOIN relation r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
"""

_TYPES: Final = """
SELECT 'pg_type'::regclass::oid, k.oid, 0,
  CASE k.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' ELSE 'type' END, k.name,
  CASE k.typtype
    WHEN 'e' THEN (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
      FROM pg_enum e WHERE e.enumtypid = k.oid)
    WHEN 'd' THEN concat_ws('; ', format_type(k.typbasetype, k.typtypmod),
      'collate ' || (SELECT k.typcollation::regcollation::text FROM pg_type b
        WHERE b.oid = k.typbasetype AND b.typcollation <> k.typcollation),
      CASE WHEN k.typnotnull THEN 'not null' END, 'default ' || k.typdefault)
    ELSE (SELECT concat_ws('; ', 'range of ' || g.rngsubtype::regtype::text,
        nullif(g.rngcanonical::text, '-'), nullif(g.rngsubdiff::text, '-'),
        g.rngmultitypid::regtype::text) FROM pg_range g WHERE g.rngtypid = k.oid) END,
  k.typowner, coalesce(k.typacl, acldefault('T', k.typowner))::text[]
FROM kind k
UNION ALL
SELECT 'pg_type'::regclass::oid, t.oid, 0, 'type', r.name,
  (SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', '
      ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped),
  t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))::text[]
FROM relation r JOIN pg_type t ON t.oid = r.reltype WHERE r.relkind = 'c'
"""

_DEFAULT_PRIVILEGES: Final = """
SELECT 'pg_default_acl'::regclass::oid, d.oid, 0, 'default privileges',
  CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
    WHEN 'T' THEN 'types' ELSE 'schemas' END || ' of ' || pg_get_userbyid(d.defaclrole)
    || coalesce(' in ' || s.name, ''), '', NULL, d.defaclacl::text[]
FROM pg_default_acl d LEFT JOIN space s ON s.oid = d.defaclnamespace
WHERE s.oid IS NOT NULL OR d.defaclnamespace = 0
"""

_PUBLICATIONS: Final = """
SELECT 0, r.oid, 0, 'publication', quote_ident(p.pubname) || ' of ' || r.name,
  concat_ws('; ', 'where ' || pg_get_expr(m.prqual, m.prrelid),
    'columns ' || (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname)
      FROM pg_attribute a WHERE a.attrelid = m.prrelid AND a.attnum = ANY (m.prattrs))), NULL, NULL
FROM pg_publication_rel m
JOIN pg_publication p ON p.oid = m.prpubid
JOIN relation r ON r.oid = m.prrelid
UNION ALL
SELECT 0, s.oid, 0, 'publication', quote_ident(p.pubname) || ' of schema ' || s.name, '', NULL, NULL
FROM pg_publication_namespace m
JOIN pg_publication p ON p.oid = m.pnpubid
JOIN space s ON s.oid = m.pnnspid
"""

# Without the version: a dump does not carry it, and a clone gets the one of its server.
_EXTENSIONS: Final = """
SELECT 'pg_extension'::regclass::oid, e.oid, 0, 'extension', quote_ident(e.extname),
  'in ' || n.nspname, NULL, NULL
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
"""

_STATISTICS: Final = """
SELECT 'pg_statistic_ext'::regclass::oid, x.oid, 0, 'statistics',
  s.name || '.' || quote_ident(x.stxname), pg_get_statisticsobjdef(x.oid), x.stxowner, NULL
FROM pg_statistic_ext x JOIN space s ON s.oid = x.stxnamespace
"""

OBJECTS: Final = _COMMON + "\nUNION ALL\n".join(
    (
        *(_SCHEMAS, _TABLES, _ROW_SECURITY, _VIEWS, _SEQUENCES, _COLUMNS, _CONSTRAINTS, _INDEXES),
        *(_FUNCTIONS, _TRIGGERS, _POLICIES, _RULES, _TYPES, _DEFAULT_PRIVILEGES, _PUBLICATIONS),
        *(_EXTENSIONS, _STATISTICS),
        *wide.PARTS,
    )
)

# Objects of the server itself have lower numbers, and thousands of comments; `public` is one of
# them that people comment on.
COMMENTS: Final = """
SELECT classoid, objoid, objsubid, description FROM pg_catalog.pg_description
WHERE objoid >= 16384 OR classoid = 'pg_catalog.pg_namespace'::regclass
"""

ROLES: Final = "SELECT oid, quote_ident(rolname) FROM pg_catalog.pg_roles"
