//! What the server is asked for its catalog, on PostgreSQL 13 to 18.
//!
//! Every name and operator is qualified, so that no object of a user's making can stand in. All results are read as
//! text. Temporary objects are left out: only the session that made them sees them.

/// Name and text of each query; [`Builder::row`](super::Builder::row) takes their rows.
///
/// They are to be run in one read-only transaction of isolation `REPEATABLE READ` with an empty `search_path`: otherwise the texts
/// of types and views come without the schemas that the session happens to search.
pub const QUERIES: &[(&str, &str)] = &[
    ("version", VERSION),
    ("relations", RELATIONS),
    ("domains", DOMAINS),
    ("vectors", VECTORS),
    ("columns", COLUMNS),
    ("generated", GENERATED),
    ("effects", EFFECTS),
    ("inherits", INHERITS),
    ("keys", KEYS),
    ("references", REFERENCES),
    ("views", VIEWS),
    ("functions", FUNCTIONS),
    ("operators", OPERATORS),
    ("casts", CASTS),
    ("search_paths", SEARCH_PATHS),
];

const VERSION: &str = "SELECT pg_catalog.current_setting('server_version_num')";

/// oid, schema, name, kind. The server's own are listed too: their names come before all others.
const RELATIONS: &str = "\
SELECT c.oid, n.nspname, c.relname, c.relkind
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
AND n.nspname OPERATOR(pg_catalog.<>) 'pg_toast'";

/// oid, and oid and category of the type below.
const DOMAINS: &str = "\
WITH RECURSIVE below(domain, type) AS (
SELECT oid, typbasetype FROM pg_catalog.pg_type WHERE typtype OPERATOR(pg_catalog.=) 'd'
UNION ALL
SELECT b.domain, t.typbasetype
FROM below b JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.type
WHERE t.typtype OPERATOR(pg_catalog.=) 'd')
SELECT b.domain, b.type, t.typcategory
FROM below b JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.type
WHERE t.typtype OPERATOR(pg_catalog.<>) 'd'";

/// oid of each type of pgvector.
const VECTORS: &str = "\
SELECT oid FROM pg_catalog.pg_type
WHERE typname IN ('vector', 'halfvec', 'sparsevec') AND typtype OPERATOR(pg_catalog.=) 'b'
AND oid OPERATOR(pg_catalog.>=) 16384";

/// relation, number, name, type, type with its modifier, category.
const COLUMNS: &str = "\
SELECT a.attrelid, a.attnum, a.attname, a.atttypid, pg_catalog.format_type(a.atttypid, a.atttypmod), t.typcategory
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
AND c.oid OPERATOR(pg_catalog.>=) 16384 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum";

/// relation, number of a generated column, numbers of the columns it is computed from.
const GENERATED: &str = "\
SELECT a.attrelid, a.attnum, pg_catalog.string_agg(s.refobjsubid::pg_catalog.text, ' ')
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid OPERATOR(pg_catalog.=) a.attrelid AND d.adnum OPERATOR(pg_catalog.=) a.attnum
LEFT JOIN pg_catalog.pg_depend s ON s.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid
AND s.objid OPERATOR(pg_catalog.=) d.oid AND s.refobjid OPERATOR(pg_catalog.=) a.attrelid
AND s.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
AND s.refobjsubid OPERATOR(pg_catalog.<>) a.attnum
WHERE a.attgenerated OPERATOR(pg_catalog.<>) '' AND NOT a.attisdropped
AND c.relpersistence OPERATOR(pg_catalog.<>) 't' AND c.oid OPERATOR(pg_catalog.>=) 16384
GROUP BY a.attrelid, a.attnum";

/// relation, `p` or `r`, function or relation: what runs and is read when rows of the relation are written, by rules and by
/// defaults of columns. Triggers are not listed: what they do is not shown to whoever writes.
const EFFECTS: &str = "\
SELECT d.adrelid, 'p', s.refobjid
FROM pg_catalog.pg_attrdef d
JOIN pg_catalog.pg_depend s ON s.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid
AND s.objid OPERATOR(pg_catalog.=) d.oid
WHERE s.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
AND s.refobjid OPERATOR(pg_catalog.>=) 16384
UNION
SELECT r.ev_class,
CASE WHEN s.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid THEN 'r' ELSE 'p' END,
s.refobjid
FROM pg_catalog.pg_rewrite r
JOIN pg_catalog.pg_depend s ON s.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid
AND s.objid OPERATOR(pg_catalog.=) r.oid
WHERE r.ev_type OPERATOR(pg_catalog.<>) '1' AND s.refobjid OPERATOR(pg_catalog.>=) 16384
AND s.refobjid OPERATOR(pg_catalog.<>) r.ev_class
AND (s.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
OR s.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid)";

/// child, parent.
const INHERITS: &str = "\
SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits ORDER BY inhrelid, inhseqno";

/// relation, numbers of the primary key's columns with spaces between.
const KEYS: &str = "\
SELECT k.conrelid, pg_catalog.array_to_string(k.conkey, ' ')
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.conrelid
WHERE k.contype OPERATOR(pg_catalog.=) 'p' AND NOT k.condeferrable
AND c.relpersistence OPERATOR(pg_catalog.<>) 't' AND c.oid OPERATOR(pg_catalog.>=) 16384";

/// relation, the relation that a foreign key of it refers to.
const REFERENCES: &str = "\
SELECT DISTINCT k.conrelid, k.confrelid FROM pg_catalog.pg_constraint k WHERE k.contype OPERATOR(pg_catalog.=) 'f'";

/// view, its query.
const VIEWS: &str = "\
SELECT c.oid, pg_catalog.pg_get_viewdef(c.oid)
FROM pg_catalog.pg_class c
WHERE c.relkind IN ('v', 'm') AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
AND c.oid OPERATOR(pg_catalog.>=) 16384";

/// oid, schema, name, language, body, kind, volatility, whether it runs as its owner, what an aggregate calls, the
/// relation whose rows come back or 0, the extension it belongs to, whether it is a trigger's, the settings it has of its own.
/// A body that the server keeps parsed is empty in `prosrc`; its whole definition is given instead.
const FUNCTIONS: &str = "\
SELECT p.oid, n.nspname, p.proname, l.lanname,
CASE WHEN l.lanname OPERATOR(pg_catalog.=) 'sql' AND p.prosrc OPERATOR(pg_catalog.=) ''
THEN pg_catalog.pg_get_functiondef(p.oid) ELSE p.prosrc END,
p.prokind, p.provolatile, p.prosecdef,
pg_catalog.concat_ws(' ', a.aggtransfn::pg_catalog.oid, a.aggfinalfn::pg_catalog.oid, a.aggcombinefn::pg_catalog.oid,
a.aggserialfn::pg_catalog.oid, a.aggdeserialfn::pg_catalog.oid, a.aggmtransfn::pg_catalog.oid,
a.aggminvtransfn::pg_catalog.oid, a.aggmfinalfn::pg_catalog.oid),
t.typrelid, x.extname, p.prorettype OPERATOR(pg_catalog.=) 'pg_catalog.trigger'::pg_catalog.regtype::pg_catalog.oid,
pg_catalog.array_to_string(p.proconfig, '\n')
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.prorettype
LEFT JOIN pg_catalog.pg_aggregate a ON a.aggfnoid::pg_catalog.oid OPERATOR(pg_catalog.=) p.oid
LEFT JOIN pg_catalog.pg_depend e ON e.deptype OPERATOR(pg_catalog.=) 'e'
AND e.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
AND e.objid OPERATOR(pg_catalog.=) p.oid
LEFT JOIN pg_catalog.pg_extension x ON x.oid OPERATOR(pg_catalog.=) e.refobjid
WHERE p.oid OPERATOR(pg_catalog.>=) 16384";

/// name, function.
const OPERATORS: &str = "\
SELECT oprname, oprcode::pg_catalog.oid FROM pg_catalog.pg_operator
WHERE oid OPERATOR(pg_catalog.>=) 16384";

/// source type, target type, function or 0.
const CASTS: &str = "\
SELECT castsource, casttarget, castfunc FROM pg_catalog.pg_cast
WHERE oid OPERATOR(pg_catalog.>=) 16384";

/// role or nothing, setting; those of this database after those of all.
const SEARCH_PATHS: &str = "\
SELECT r.rolname, pg_catalog.substr(o.setting, 13)
FROM pg_catalog.pg_db_role_setting s
CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) o(setting)
LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.setrole
LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase
WHERE pg_catalog.starts_with(o.setting, 'search_path=')
AND (s.setrole OPERATOR(pg_catalog.=) 0 OR r.rolname IS NOT NULL)
AND (s.setdatabase OPERATOR(pg_catalog.=) 0 OR d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
ORDER BY s.setdatabase OPERATOR(pg_catalog.<>) 0";

/// One row of one cell that differs after every change of what [`QUERIES`] return.
///
/// A row that is changed gets a newer transaction number than all it replaces, so number of rows and sum of those numbers
/// cannot both stay. `VACUUM` and `ANALYZE` change neither, nor do temporary tables. Relations themselves are hashed instead:
/// `TRUNCATE` renews their rows without changing what they are. On
/// 10,000 tables of 10 columns it takes a quarter of a second on a busy machine.
pub const FINGERPRINT: &str = "\
WITH relations AS MATERIALIZED (
SELECT oid, relname, relnamespace, relkind FROM pg_catalog.pg_class
WHERE oid OPERATOR(pg_catalog.>=) 16384 AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
AND relpersistence OPERATOR(pg_catalog.<>) 't')
SELECT pg_catalog.concat_ws(' ',
(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(
relname::pg_catalog.text, (oid::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32)
OPERATOR(pg_catalog.#) relnamespace::pg_catalog.int8
OPERATOR(pg_catalog.#) (pg_catalog.ascii(relkind::pg_catalog.text)::pg_catalog.int8 OPERATOR(pg_catalog.<<) 24))))
FROM relations),
(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(a.xmin::pg_catalog.text::pg_catalog.int8))
FROM pg_catalog.pg_attribute a JOIN relations c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
WHERE a.attnum OPERATOR(pg_catalog.>) 0),
(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(w.xmin::pg_catalog.text::pg_catalog.int8))
FROM pg_catalog.pg_rewrite w JOIN relations c ON c.oid OPERATOR(pg_catalog.=) w.ev_class),
(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(k.xmin::pg_catalog.text::pg_catalog.int8))
FROM pg_catalog.pg_constraint k JOIN relations c ON c.oid OPERATOR(pg_catalog.=) k.conrelid
WHERE k.contype IN ('p', 'f')),
(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(i.xmin::pg_catalog.text::pg_catalog.int8))
FROM pg_catalog.pg_inherits i JOIN relations c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid),
(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8))
FROM pg_catalog.pg_proc WHERE oid OPERATOR(pg_catalog.>=) 16384),
(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8))
FROM pg_catalog.pg_aggregate WHERE aggfnoid::pg_catalog.oid OPERATOR(pg_catalog.>=) 16384),
(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8))
FROM pg_catalog.pg_type WHERE oid OPERATOR(pg_catalog.>=) 16384 AND typtype IN ('b', 'd', 'e', 'r')
AND typcategory OPERATOR(pg_catalog.<>) 'A'),
(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8))
FROM pg_catalog.pg_operator WHERE oid OPERATOR(pg_catalog.>=) 16384),
(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8))
FROM pg_catalog.pg_cast WHERE oid OPERATOR(pg_catalog.>=) 16384),
(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8))
FROM pg_catalog.pg_namespace
WHERE nspname OPERATOR(pg_catalog.!~) '^pg_(toast_)?temp_'),
(SELECT pg_catalog.concat_ws(':', pg_catalog.count(*), pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8))
FROM pg_catalog.pg_db_role_setting))";
