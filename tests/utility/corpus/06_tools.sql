--- psql d tables
SELECT n.nspname as "Schema", c.relname as "Name", CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 't' THEN 'TOAST table' WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' WHEN 'I' THEN 'partitioned index' END as "Type", pg_catalog.pg_get_userbyid(c.relowner) as "Owner" FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam WHERE c.relkind IN ('r','p','v','m','S','f','') AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2
--- psql d lookup
SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname OPERATOR(pg_catalog.~) '^(customers)$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3
--- psql d columns
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull, (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation, a.attidentity, a.attgenerated FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'public.customers'::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
--- psql d indexes
SELECT c2.relname, i.indisprimary, i.indisunique, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true), pg_catalog.pg_get_constraintdef(con.oid, true), contype FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i LEFT JOIN pg_catalog.pg_constraint con ON (conrelid = i.indrelid AND conindid = i.indexrelid AND contype IN ('p','u','x')) WHERE c.oid = 'public.customers'::pg_catalog.regclass AND c.oid = i.indrelid AND i.indexrelid = c2.oid ORDER BY i.indisprimary DESC, c2.relname
--- psql d foreign keys
SELECT conname, conrelid::pg_catalog.regclass AS ontable, pg_catalog.pg_get_constraintdef(oid, true) AS condef FROM pg_catalog.pg_constraint c WHERE confrelid = 'public.customers'::pg_catalog.regclass AND contype = 'f' AND conparentid = 0 ORDER BY conname
--- psql dn
SELECT n.nspname AS "Name", pg_catalog.pg_get_userbyid(n.nspowner) AS "Owner" FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1
--- psql du
SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1
--- psql l
SELECT pg_catalog.count(*) > 0 FROM pg_catalog.pg_database d
--- psql dv definition
SELECT pg_catalog.pg_get_viewdef('public.active_customers'::pg_catalog.regclass::pg_catalog.oid, true)
--- psql df
SELECT p.proname as "Name", pg_catalog.pg_get_function_result(p.oid) as "Result", pg_catalog.pg_get_function_arguments(p.oid) as "Arguments" FROM pg_catalog.pg_proc p LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE pg_catalog.pg_function_is_visible(p.oid) AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema' ORDER BY 1
--- psql sf
SELECT pg_catalog.pg_get_functiondef('public.net(numeric,numeric)'::pg_catalog.regprocedure)
--- psql tab completion
SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') AND substring(pg_catalog.quote_ident(c.relname),1,4)='cust' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1 LIMIT 1000
--- psql dT
SELECT n.nspname, pg_catalog.format_type(t.oid, NULL) FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE (t.typrelid = 0 OR (SELECT c.relkind = 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid)) AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_type el WHERE el.oid = t.typelem AND el.typarray = t.oid) AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema' ORDER BY 1, 2
--- jdbc tables
SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM, c.relname AS TABLE_NAME, CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'PARTITIONED TABLE' WHEN 'v' THEN 'VIEW' ELSE NULL END AS TABLE_TYPE, d.description AS REMARKS FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_description d ON (c.oid = d.objoid AND d.objsubid = 0 and d.classoid = 'pg_class'::regclass) WHERE c.relnamespace = n.oid AND n.nspname LIKE 'public' AND c.relkind IN ('r', 'p', 'v') ORDER BY TABLE_TYPE, TABLE_SCHEM, TABLE_NAME
--- jdbc columns
SELECT * FROM (SELECT n.nspname,c.relname,a.attname,a.atttypid,a.attnotnull OR (t.typtype = 'd' AND t.typnotnull) AS attnotnull,a.atttypmod,a.attlen,t.typtypmod,row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum, nullif(a.attidentity, '') as attidentity,nullif(a.attgenerated, '') as attgenerated,pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS adsrc,dsc.description,t.typbasetype,t.typtype FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid) JOIN pg_catalog.pg_attribute a ON (a.attrelid=c.oid) JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid) LEFT JOIN pg_catalog.pg_attrdef def ON (a.attrelid=def.adrelid AND a.attnum = def.adnum) LEFT JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid) WHERE c.relkind in ('r','p','v','f','m') and a.attnum > 0 AND NOT a.attisdropped AND n.nspname LIKE 'public' AND c.relname LIKE 'customers') c WHERE true ORDER BY nspname,c.relname,attnum
--- jdbc primary keys
SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM, ct.relname AS TABLE_NAME, a.attname AS COLUMN_NAME, (information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, ci.relname AS PK_NAME FROM pg_catalog.pg_class ct JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid) JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid) JOIN pg_catalog.pg_index i ON (a.attrelid = i.indrelid) JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid) WHERE true AND n.nspname = 'public' AND ct.relname = 'customers' AND i.indisprimary ORDER BY COLUMN_NAME, KEY_SEQ
--- information schema columns
SELECT column_name, data_type, is_nullable, character_maximum_length FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'customers' ORDER BY ordinal_position
--- information schema tables
SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema IN ('public', 'hr') ORDER BY 1, 2
--- information schema constraints
SELECT tc.constraint_name, kcu.column_name, ccu.table_name FROM information_schema.table_constraints tc JOIN information_schema.key_column_usage kcu USING (constraint_schema, constraint_name) JOIN information_schema.constraint_column_usage ccu USING (constraint_schema, constraint_name) WHERE tc.constraint_type = 'FOREIGN KEY' ORDER BY 1, 2, 3
--- dbeaver preview
SELECT x.* FROM public.customers x ORDER BY x.id LIMIT 200
--- dbeaver row count
SELECT count(*) FROM public.customers x
--- datagrip table
SELECT t.* FROM public.customers t ORDER BY t.id LIMIT 501
--- pgadmin view data
SELECT * FROM public.payments ORDER BY id ASC LIMIT 100
--- relation size
SELECT pg_catalog.pg_table_size('public.regions'::regclass) > 0
--- npgsql type loading
SELECT ns.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid FROM (SELECT typ.oid, typ.typnamespace, typ.typname, typ.typtype, typ.typrelid, typ.typnotnull, typ.relkind, elemtyp.oid AS elemtypoid, elemtyp.typname AS elemtypname FROM (SELECT typ.oid, typnamespace, typname, typrelid, typnotnull, relkind, typelem AS elemoid, CASE WHEN proc.proname='array_recv' THEN 'a' ELSE typ.typtype END AS typtype FROM pg_type AS typ LEFT JOIN pg_class AS cls ON (cls.oid = typ.typrelid) LEFT JOIN pg_proc AS proc ON proc.oid = typ.typreceive) AS typ LEFT JOIN pg_type AS elemtyp ON elemtyp.oid = typ.elemoid) AS t JOIN pg_namespace AS ns ON (ns.oid = typnamespace) WHERE t.typname IN ('mood', 'text', 'int4') ORDER BY t.oid
--- asyncpg introspection
SELECT t.oid, ns.nspname, t.typname AS name, t.typtype AS kind FROM pg_catalog.pg_type AS t INNER JOIN pg_catalog.pg_namespace ns ON (ns.oid = t.typnamespace) WHERE t.oid = ANY (ARRAY[23, 25, 1700]::oid[]) ORDER BY 1
--- show settings
SHOW server_encoding
--- show search path
SHOW search_path
--- current user and database
SELECT current_user, session_user
--- set and show
SET LOCAL work_mem = '8MB'
;;
SHOW work_mem
--- set time zone
SET LOCAL TIME ZONE 'UTC'
;;
SELECT created_at, email FROM customers WHERE id = 1
--- set datestyle
SET LOCAL datestyle = 'German'
;;
SELECT birth_date, hired_on FROM customers c JOIN hr.employees e USING (id) WHERE id = 1
--- set search path
SET LOCAL search_path = hr, public
;;
SELECT name, salary FROM employees WHERE id < 4 ORDER BY id
--- set search path elsewhere
SET LOCAL search_path = hr
;;
SELECT email FROM public.customers WHERE id = 2
--- explain
EXPLAIN SELECT email FROM customers WHERE id = 5
--- explain verbose json
EXPLAIN (VERBOSE, FORMAT JSON) SELECT c.email, o.total FROM customers c JOIN orders o ON o.customer_id = c.id
--- explain costs off uses the index
EXPLAIN (COSTS OFF) SELECT id FROM orders WHERE customer_id = 5
--- explain analyze
EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) SELECT count(*) FROM orders
--- explain insert
EXPLAIN INSERT INTO audit_log (actor, what) VALUES ('a', 'b')
--- analyze
ANALYZE regions
--- lock table
LOCK TABLE orders IN ACCESS SHARE MODE
--- comment on
COMMENT ON TABLE regions IS 'sales regions'
--- notify without values
NOTIFY channel
--- listen
LISTEN channel
--- discard plans
DISCARD PLANS
--- deallocate
PREPARE d AS SELECT 1
;;
DEALLOCATE d
--- savepoints
SAVEPOINT a
;;
SELECT email FROM customers WHERE id = 1
;;
ROLLBACK TO a
;;
RELEASE a
--- two statements in one query | simple
SELECT id FROM regions WHERE id = 1; SELECT email FROM customers WHERE id = 1
--- three statements in one query | simple
SET LOCAL work_mem = '5MB'; SELECT email FROM customers WHERE id = 2; SELECT ssn FROM customers WHERE id = 3;
