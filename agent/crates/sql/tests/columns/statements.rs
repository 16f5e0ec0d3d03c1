//! The statements compared, and the schema they run on.

pub(crate) const SCHEMA: &str = "
CREATE SCHEMA app;
SET search_path = app, public;
CREATE DOMAIN amount AS numeric;
CREATE TYPE address AS (street text, zip text);
CREATE TABLE customers (id int PRIMARY KEY, name text, email text, ssn text UNIQUE, salary amount, city text,
  meta jsonb, tags text[], home address, born date);
CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, total numeric, placed timestamptz, note text, region text);
CREATE TABLE items (id int, order_id int, product int, qty int, price numeric, PRIMARY KEY (id));
CREATE TABLE products (id int PRIMARY KEY, name text, price numeric, attrs jsonb);
CREATE TABLE notes (id int, note text);
CREATE TABLE public.notes (id int, body text);
CREATE TABLE public.towns (city text, country text, zip text);
CREATE TABLE staff (id int PRIMARY KEY, boss int, name text, pay numeric);
CREATE TABLE base (id int);
CREATE TABLE events (id int, at date, kind text, who text) PARTITION BY RANGE (at);
CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE animals (id int, label text);
CREATE TABLE dogs (breed text) INHERITS (animals);
CREATE VIEW contacts AS SELECT id, name, upper(email) AS mail FROM customers WHERE city <> 'nowhere';
CREATE VIEW big_spenders AS SELECT c.name, sum(o.total) AS spent FROM contacts c JOIN orders o ON o.customer = c.id GROUP BY c.name;
CREATE VIEW upper_names AS SELECT upper(name) AS name FROM customers;
CREATE MATERIALIZED VIEW totals AS SELECT customer, sum(total) AS total FROM orders GROUP BY customer;
CREATE VIEW org AS WITH RECURSIVE r(id, depth) AS (SELECT id, 0 FROM staff WHERE boss IS NULL
  UNION ALL SELECT s.id + 0 * s.boss, depth + 1 FROM staff s JOIN r ON r.id = s.boss) SELECT * FROM r;
CREATE SEQUENCE numbers;
CREATE FUNCTION spent_by(int) RETURNS numeric LANGUAGE sql BEGIN ATOMIC SELECT sum(total) FROM orders WHERE customer = $1; END;
CREATE FUNCTION all_customers() RETURNS SETOF customers LANGUAGE sql AS 'SELECT * FROM app.customers';
CREATE FUNCTION label_of(customers) RETURNS text LANGUAGE sql AS 'SELECT $1.name';
";

/// Each can be the query of a view.
pub(crate) const STATEMENTS: &[&str] = &[
    // One relation.
    "SELECT id FROM customers",
    "SELECT * FROM customers",
    "SELECT c.* FROM customers c",
    "SELECT c.id, c.ssn AS s FROM app.customers AS c",
    "SELECT app.customers.ssn FROM app.customers",
    "SELECT customers.id FROM customers WHERE email LIKE 'a%'",
    "SELECT id FROM ONLY customers",
    "SELECT id FROM customers *",
    "TABLE notes",
    "SELECT note FROM notes",
    "SELECT body FROM public.notes",
    "SELECT country FROM towns",
    "SELECT count(*) FROM customers",
    "SELECT count(ssn) FROM customers",
    "SELECT count(*) FILTER (WHERE salary > 10) FROM customers",
    "SELECT 1 AS one FROM customers",
    "SELECT ctid, tableoid, xmin FROM customers",
    "SELECT id FROM customers WHERE ctid IS NOT NULL",
    "SELECT 'x' AS x",
    "VALUES (1, 'a'), (2, 'b')",
    "SELECT DISTINCT city FROM customers",
    "SELECT DISTINCT ON (city) id, name FROM customers ORDER BY city, born",
    "SELECT id FROM customers ORDER BY salary DESC NULLS LAST LIMIT 3 OFFSET 1",
    "SELECT id FROM customers ORDER BY 1",
    "SELECT name AS n FROM customers ORDER BY n",
    "SELECT name AS city, city AS town FROM customers ORDER BY city",
    "SELECT upper(name) AS city, count(*) FROM customers GROUP BY city, name",
    "SELECT city, count(*) FROM customers GROUP BY city HAVING max(salary) > 1",
    "SELECT city, count(*) FROM customers GROUP BY 1 HAVING count(ssn) > 1 ORDER BY 2",
    "SELECT city, born, count(*) FROM customers GROUP BY GROUPING SETS ((city), (born), ())",
    "SELECT city, grouping(city) AS g FROM customers GROUP BY ROLLUP (city, born)",
    "SELECT city FROM customers GROUP BY CUBE (city, (born, email))",
    "SELECT id, name FROM customers GROUP BY id",
    "SELECT CASE WHEN salary > 5 THEN name ELSE email END AS c FROM customers",
    "SELECT coalesce(name, email, 'x') AS c, nullif(city, 'a') AS n, greatest(name, ssn) AS g FROM customers",
    "SELECT meta -> 'a' AS a, meta ->> 'b' AS b FROM customers WHERE meta @> '{}'",
    "SELECT tags[1] AS t, array_length(tags, 1) AS l FROM customers WHERE 'x' = ANY (tags)",
    "SELECT (home).zip FROM customers",
    "SELECT (c.home).street AS s, (home).* FROM customers c",
    "SELECT ROW(id, name)::text AS r FROM customers",
    "SELECT ARRAY[name, email] AS a FROM customers",
    "SELECT name COLLATE \"C\" AS n FROM customers ORDER BY email COLLATE \"C\"",
    "SELECT salary::int + 1 AS s, CAST(born AS text) AS b FROM customers",
    "SELECT extract(year FROM born) AS y, substring(name FROM 1 FOR 2) AS s, trim(email) AS t FROM customers",
    "SELECT id FROM customers WHERE name IS NOT NULL AND (city = 'a' OR NOT email = 'b')",
    "SELECT id FROM customers WHERE born BETWEEN '2000-01-01' AND '2001-01-01' AND id IN (1, 2)",
    "SELECT id FROM customers WHERE (name, city) = ('a', 'b')",
    "SELECT id FROM customers WHERE (id, name) IN (SELECT customer, note FROM orders)",
    "SELECT string_agg(name, ',' ORDER BY born) AS s FROM customers",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY salary) AS p FROM customers",
    "SELECT format('%s', ssn) AS f, md5(email) AS m FROM customers",
    "SELECT xmlelement(name a, xmlattributes(name AS n), email) AS x FROM customers",
    "SELECT xmlforest(name, email) AS x FROM customers",
    "SELECT json_build_object('a', name) AS j FROM customers",
    "SELECT id FROM customers TABLESAMPLE BERNOULLI (10)",
    "SELECT id FROM customers c WHERE c.name ~ 'a' AND c.email ILIKE 'b' AND c.city SIMILAR TO 'c'",
    "SELECT id FROM customers WHERE name IS DISTINCT FROM email",
    "SELECT last_value FROM numbers",
    "SELECT id FROM animals",
    "SELECT breed, label FROM dogs",
    "SELECT kind FROM events WHERE at > '2024-02-01'",
    "SELECT who FROM events_2024",
    "SELECT mail FROM contacts",
    "SELECT * FROM big_spenders",
    "SELECT total FROM totals",
    // Whole rows.
    "SELECT c FROM notes c",
    "SELECT row_to_json(n) AS j FROM notes n",
    "SELECT to_jsonb(notes) AS j FROM notes",
    "SELECT n::text AS t FROM notes n",
    "SELECT (n).note FROM notes n",
    "SELECT (n).* FROM notes n",
    "SELECT note(n) FROM notes n",
    "SELECT c.label_of FROM customers c",
    "SELECT label_of(c) FROM customers c",
    "SELECT ssn(c) FROM customers c",
    "SELECT count(n) FROM notes n",
    "SELECT ROW(n.*)::text AS r FROM notes n",
    "SELECT n IS NULL AS x FROM notes n",
    "SELECT array_agg(n) AS a FROM notes n",
    "SELECT json_agg(x) AS j FROM (SELECT id, name FROM customers) x",
    // Aliases.
    "SELECT a, b FROM notes AS n(a, b)",
    "SELECT n.a, n.note FROM notes AS n(a)",
    "SELECT n.id FROM notes AS n(note, id)",
    "SELECT x.ssn FROM customers x WHERE x.id = 1",
    "SELECT email AS ssn FROM customers ORDER BY ssn",
    "SELECT \"name\" FROM \"app\".\"customers\"",
    // Joins.
    "SELECT c.name, o.total FROM customers c JOIN orders o ON o.customer = c.id",
    "SELECT c.name, o.total FROM customers c, orders o WHERE o.customer = c.id AND c.city = 'x'",
    "SELECT c.name, o.total FROM customers c LEFT JOIN orders o ON o.customer = c.id AND o.total > 10",
    "SELECT c.name, o.total FROM customers c FULL JOIN orders o ON o.customer = c.id WHERE o.id IS NULL",
    "SELECT c.name, o.total FROM customers c CROSS JOIN orders o",
    "SELECT id, name, note FROM customers JOIN notes USING (id)",
    "SELECT id, name, note FROM customers LEFT JOIN notes USING (id)",
    "SELECT id, name, note FROM customers FULL JOIN notes USING (id)",
    "SELECT customers.id AS a, notes.id AS b FROM customers JOIN notes USING (id)",
    "SELECT * FROM notes JOIN products USING (id)",
    "SELECT name, country FROM customers NATURAL JOIN towns",
    "SELECT * FROM notes NATURAL LEFT JOIN products",
    "SELECT j.id, j.note FROM (notes JOIN products USING (id)) AS j",
    "SELECT j.a, j.b FROM (notes n JOIN products p ON n.id = p.id) AS j(a, b)",
    "SELECT u.id, n.note FROM notes n JOIN products p USING (id) AS u",
    "SELECT a.name, b.name AS boss FROM staff a JOIN staff b ON a.boss = b.id",
    "SELECT c.name, i.qty FROM customers c JOIN orders o ON o.customer = c.id JOIN items i ON i.order_id = o.id",
    "SELECT c.name FROM customers c JOIN (orders o JOIN items i ON i.order_id = o.id) ON o.customer = c.id",
    "SELECT c.name FROM customers c WHERE c.id = (SELECT max(customer) FROM orders)",
    "SELECT total, price FROM orders o JOIN items ON order_id = o.id",
    "SELECT country, total FROM towns JOIN orders ON region = country",
    "SELECT t.city FROM towns t JOIN customers c ON t.city = c.city AND t.zip = (c.home).zip",
    "SELECT n.id FROM notes n JOIN public.notes p ON n.id = p.id WHERE p.body <> n.note",
    "SELECT notes.note FROM notes, public.towns WHERE towns.city = notes.note",
    // Sub-selects.
    "SELECT id FROM customers WHERE id IN (SELECT customer FROM orders WHERE total > 5)",
    "SELECT id FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer = c.id)",
    "SELECT id FROM customers c WHERE EXISTS (SELECT FROM orders WHERE customer = c.id AND note = name)",
    "SELECT id FROM customers WHERE NOT EXISTS (SELECT * FROM notes WHERE notes.id = customers.id)",
    "SELECT id, (SELECT max(total) FROM orders o WHERE o.customer = c.id) AS m FROM customers c",
    "SELECT ARRAY(SELECT note FROM notes ORDER BY id) AS a",
    "SELECT id FROM customers WHERE salary > ALL (SELECT pay FROM staff)",
    "SELECT id FROM customers WHERE salary = ANY (SELECT pay FROM staff WHERE boss = customers.id)",
    "SELECT x.s FROM (SELECT ssn AS s, email FROM customers) x",
    "SELECT x.s FROM (SELECT ssn, email FROM customers) AS x(s, e) WHERE e = 'a'",
    "SELECT s FROM (SELECT * FROM (SELECT id AS s FROM notes) a) b",
    "SELECT n FROM (SELECT count(*) AS n, city FROM customers GROUP BY city) x WHERE n > 1",
    "SELECT max FROM (SELECT max(total) FROM orders) x",
    "SELECT x.count FROM (SELECT count(*) FROM notes) x",
    "SELECT c.name, l.total FROM customers c, LATERAL (SELECT total FROM orders o WHERE o.customer = c.id LIMIT 1) l",
    "SELECT c.name, l.total FROM customers c LEFT JOIN LATERAL (SELECT total FROM orders WHERE customer = c.id) l ON true",
    "SELECT a.id FROM notes a, (SELECT id FROM orders WHERE note = 'x') b WHERE a.id = b.id",
    "SELECT id FROM orders WHERE customer = (SELECT id FROM customers WHERE name = orders.note)",
    "SELECT id FROM orders o WHERE total > (SELECT avg(i.price) FROM items i WHERE i.order_id = o.id AND i.product IN (SELECT p.id FROM products p WHERE p.name = o.note))",
    "SELECT v.column2 FROM (VALUES (1, 'a')) v JOIN notes ON notes.id = v.column1",
    "SELECT v.b FROM (VALUES (1, 'a')) AS v(a, b), notes WHERE note = b",
    "SELECT (SELECT note) AS n FROM notes",
    "SELECT (SELECT x.id FROM (SELECT c.id) x) AS y FROM customers c",
    // Common table expressions.
    "WITH x AS (SELECT id, ssn FROM customers) SELECT ssn FROM x",
    "WITH x AS MATERIALIZED (SELECT id, ssn FROM customers) SELECT id FROM x WHERE ssn = 'a'",
    "WITH x(a, b) AS (SELECT id, name FROM customers) SELECT b FROM x ORDER BY a",
    "WITH x AS (SELECT id FROM customers), y AS (SELECT * FROM x) SELECT y.*, total FROM y JOIN orders ON orders.customer = y.id",
    "WITH customers AS (SELECT id AS ssn FROM notes) SELECT ssn FROM customers",
    "WITH customers AS (SELECT id AS ssn FROM customers) SELECT ssn FROM customers",
    "WITH x AS (SELECT id FROM notes) SELECT name FROM app.customers WHERE id IN (SELECT id FROM x)",
    "WITH RECURSIVE r AS (SELECT id, boss FROM staff WHERE boss IS NULL UNION ALL SELECT s.id, s.boss FROM staff s JOIN r ON s.boss = r.id) SELECT * FROM r",
    "WITH RECURSIVE r(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT note, n FROM notes, r WHERE id = n",
    "WITH RECURSIVE b AS (SELECT * FROM a), a AS (SELECT ssn FROM customers) SELECT * FROM b",
    "WITH RECURSIVE r(i, b) AS (SELECT id, boss FROM staff UNION ALL SELECT s.id, s.boss FROM staff s, r WHERE s.boss = r.i) SEARCH DEPTH FIRST BY i SET ord SELECT i FROM r ORDER BY ord",
    "WITH RECURSIVE r(i, b) AS (SELECT id, boss FROM staff UNION ALL SELECT s.id, s.boss FROM staff s, r WHERE s.boss = r.i) CYCLE i SET looped USING path SELECT i, looped FROM r",
    "SELECT * FROM (WITH x AS (SELECT note FROM notes) SELECT * FROM x) y",
    "SELECT (WITH x AS (SELECT c.name) SELECT name FROM x) AS n FROM customers c",
    // Set operations.
    "SELECT id FROM customers UNION SELECT id FROM notes",
    "SELECT name FROM customers UNION ALL SELECT note FROM notes ORDER BY name",
    "SELECT name, id FROM customers INTERSECT SELECT note, id FROM notes",
    "SELECT id FROM customers EXCEPT (SELECT id FROM notes UNION SELECT id FROM orders)",
    "(SELECT id FROM customers ORDER BY born LIMIT 1) UNION ALL (SELECT id FROM notes LIMIT 1)",
    "SELECT u.x FROM (SELECT name AS x FROM customers UNION SELECT note FROM notes) u WHERE x > 'a'",
    "WITH x AS (SELECT 1 AS a) SELECT a FROM x UNION SELECT id FROM notes",
    "TABLE notes UNION TABLE notes",
    // Windows.
    "SELECT rank() OVER (PARTITION BY city ORDER BY salary) AS r FROM customers",
    "SELECT sum(total) OVER w AS s FROM orders WINDOW w AS (PARTITION BY customer ORDER BY placed)",
    "SELECT lag(total, 1) OVER (w ORDER BY id) AS l FROM orders WINDOW w AS (PARTITION BY region)",
    "SELECT first_value(name) OVER (ORDER BY born ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS f FROM customers",
    // Functions in FROM.
    "SELECT g FROM generate_series(1, 3) g",
    "SELECT c.id, t FROM customers c, unnest(c.tags) t",
    "SELECT c.id, t.tag FROM customers c CROSS JOIN LATERAL unnest(c.tags) AS t(tag)",
    "SELECT e.key, e.value FROM customers c, jsonb_each(c.meta) e",
    "SELECT k FROM customers, jsonb_object_keys(meta) AS k WHERE k = name",
    "SELECT u.o FROM customers, unnest(tags) WITH ORDINALITY AS u(t, o)",
    "SELECT x.a FROM products p, jsonb_to_record(p.attrs) AS x(a int, b text) WHERE x.b = p.name",
    "SELECT ssn FROM all_customers()",
    "SELECT (all_customers()).ssn",
    "SELECT a, b FROM ROWS FROM (generate_series(1, 2), generate_series(3, 4)) AS x(a, b)",
    "SELECT x.v FROM products, xmltable('/r' PASSING (name::xml) COLUMNS v text PATH 'v') x",
    "SELECT spent_by(id) FROM customers",
    "SELECT regexp_split_to_table(name, ' ') AS w FROM customers",
    // System relations beside ours.
    "SELECT relname FROM pg_class",
    "SELECT c.relname, n.note FROM pg_catalog.pg_class c JOIN notes n ON n.note = c.relname",
    "SELECT table_name, note FROM information_schema.tables, notes WHERE note = table_name",
];
