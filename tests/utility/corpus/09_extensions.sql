--- citext equality
SELECT id, code FROM labels WHERE code = 'LABEL-7'
--- citext joined to text
SELECT l.id, c.email FROM labels l JOIN customers c ON c.id = l.id WHERE l.code LIKE 'label-1%' ORDER BY l.id
--- citext grouped
SELECT lower(code::text) AS c, count(*) FROM labels GROUP BY code ORDER BY 1
--- hstore value
SELECT id, extra -> 'rank' FROM labels WHERE extra ? 'tone' ORDER BY id
--- hstore containment
SELECT count(*) FROM labels WHERE extra @> 'rank=>2'
--- hstore to json
SELECT id, hstore_to_jsonb(extra) FROM labels ORDER BY id LIMIT 5
--- trigram match
SELECT id, name FROM customers WHERE name % 'Ada Abot' ORDER BY id
--- trigram similarity
SELECT id, similarity(name, 'Grace Gupta') > 0.5 FROM customers ORDER BY id LIMIT 20
--- trigram similarity of a masked column
SELECT id, similarity(email, 'sentinel7@mail.example') FROM customers ORDER BY id LIMIT 20
--- trigram order
SELECT id, email FROM customers ORDER BY name <-> 'Hugo Costa', id LIMIT 5
--- ilike that uses the trigram index
SELECT id, phone FROM customers WHERE name ILIKE '%gupta%' ORDER BY id
--- create and use in one query | simple
CREATE TEMP TABLE one_query (id int, t text); INSERT INTO one_query VALUES (1, 'a'), (2, 'b'); SELECT * FROM one_query ORDER BY id
--- create and join in one query | simple
CREATE TEMP TABLE wanted (id int); INSERT INTO wanted VALUES (3), (5); SELECT c.id, c.email FROM wanted w JOIN customers c ON c.id = w.id ORDER BY c.id
--- table of an open transaction
CREATE TABLE fresh (id int, owner int)
;;
INSERT INTO fresh VALUES (1, 7)
;;
SELECT f.id, c.phone FROM fresh f JOIN customers c ON c.id = f.owner
--- schema of an open transaction
CREATE SCHEMA lab
;;
CREATE TABLE lab.results (id int, score numeric)
;;
INSERT INTO lab.results SELECT id, length(name) FROM customers WHERE id < 4
;;
SELECT * FROM lab.results ORDER BY id
--- temp table with an index and analyze
CREATE TEMP TABLE big AS SELECT g AS id, g % 7 AS k FROM generate_series(1, 1000) g
;;
CREATE INDEX ON big (k)
;;
ANALYZE big
;;
SELECT k, count(*) FROM big GROUP BY k ORDER BY k
--- do nothing block
SELECT pg_catalog.pg_backend_pid() > 0
--- advisory lock
SELECT pg_try_advisory_xact_lock(42)
--- generate a uuid
SELECT gen_random_uuid() IS NOT NULL
--- random sample
SELECT count(*) FROM (SELECT id FROM customers ORDER BY random() LIMIT 5) s
--- row number of everything
SELECT row_number() OVER () AS n, t.* FROM (SELECT id, email FROM customers ORDER BY id LIMIT 4) t
--- settings through a function
SELECT current_setting('server_version_num')::int > 130000, current_setting('search_path')
--- has privileges
SELECT has_table_privilege('public.customers', 'select'), has_schema_privilege('hr', 'usage')
--- sizes
SELECT pg_size_pretty(pg_relation_size('public.regions')) IS NOT NULL
--- format and quoting
SELECT format('%s of %s', name, segment), quote_ident(name), quote_literal(email) FROM customers ORDER BY id LIMIT 3
--- to_jsonb of a masked row in an array
SELECT jsonb_agg(to_jsonb(c) - 'profile' ORDER BY c.id) FROM customers c WHERE c.id < 3
--- interval arithmetic over unmasked
SELECT id, age(timestamp '2025-06-01', paid_at), justify_interval(interval '40 days') FROM payments ORDER BY id LIMIT 5
--- string aggregation with filter
SELECT region_id, string_agg(name, ', ' ORDER BY id) FILTER (WHERE id < 20) FROM customers GROUP BY region_id ORDER BY region_id
