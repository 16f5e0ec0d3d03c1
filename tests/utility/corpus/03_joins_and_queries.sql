--- inner join
SELECT o.id, c.email FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id < 6 ORDER BY o.id
--- inner join of three
SELECT o.id, c.email, p.card_number FROM orders o JOIN customers c ON c.id = o.customer_id JOIN payments p ON p.order_id = o.id ORDER BY o.id LIMIT 20
--- left join
SELECT c.id, c.phone, o.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND o.status = 'open' WHERE c.id < 20 ORDER BY c.id, o.id
--- right join
SELECT o.id, c.ssn FROM customers c RIGHT JOIN orders o ON o.customer_id = c.id WHERE o.id < 5 ORDER BY o.id
--- full join
SELECT c.id, o.id, c.email FROM customers c FULL JOIN orders o ON o.customer_id = c.id AND o.id < 10 WHERE c.id < 30 OR o.id < 5 ORDER BY c.id, o.id
--- join using
SELECT id, c.email, a.segment FROM customers c JOIN active_customers a USING (id) WHERE id < 9 ORDER BY id
--- join using with alias
SELECT u.id, c.email FROM customers c JOIN active_customers a USING (id) AS u WHERE u.id < 9 ORDER BY u.id
--- natural join
SELECT * FROM (SELECT id, email FROM customers) x NATURAL JOIN (SELECT id, name FROM customers) y WHERE id < 5 ORDER BY id
--- natural join of tables
SELECT count(*) FROM regions NATURAL JOIN categories
--- parenthesised join with alias
SELECT j.email, j.total FROM (customers c JOIN orders o ON o.customer_id = c.id) AS j (id, name, email, phone, ssn, birth_date, address, credit, region_id, segment, is_active, tags, profile, created_at, full_name, oid, customer_id, ordered_at, status, total, note) WHERE oid < 5 ORDER BY oid
--- comma join
SELECT c.email, o.total FROM customers c, orders o WHERE c.id = o.customer_id AND o.total > 450 ORDER BY o.id
--- join with ON masked column
SELECT count(*) FROM customers a JOIN customers b ON a.email = b.email
--- lateral
SELECT c.id, c.email, l.total FROM customers c CROSS JOIN LATERAL (SELECT total FROM orders o WHERE o.customer_id = c.id ORDER BY o.id LIMIT 1) l WHERE c.id < 40 ORDER BY c.id
--- lateral that reads a masked column
SELECT c.id, l.* FROM customers c, LATERAL (SELECT c.email AS e, upper(c.ssn) AS s) l WHERE c.id < 5 ORDER BY c.id
--- lateral function
SELECT c.id, t.tag FROM customers c, unnest(c.tags) AS t (tag) WHERE c.id < 30 ORDER BY c.id, t.tag
--- lateral over a masked column
SELECT c.id, p FROM customers c, regexp_split_to_table(c.email, '@') p WHERE c.id < 5 ORDER BY c.id, p
--- jsonb expansion
SELECT c.id, k, v FROM customers c, jsonb_each_text(c.profile) AS e (k, v) WHERE c.id < 4 ORDER BY c.id, k
--- jsonb expansion of a masked column
SELECT count(*) FROM customers c WHERE jsonb_typeof(c.address) = 'object'
--- with ordinality
SELECT c.id, t, n FROM customers c, unnest(c.tags) WITH ORDINALITY AS u (t, n) WHERE c.id < 30 ORDER BY c.id, n
--- rows from
SELECT * FROM ROWS FROM (generate_series(1, 3), unnest(ARRAY['a', 'b', 'c'])) AS r (n, t) ORDER BY n
--- generate series
SELECT d::date, count(o.id) FROM generate_series(date '2025-01-01', date '2025-01-10', interval '1 day') d LEFT JOIN orders o ON (o.ordered_at AT TIME ZONE 'UTC')::date = d::date GROUP BY d ORDER BY d
--- scalar subquery
SELECT o.id, (SELECT c.email FROM customers c WHERE c.id = o.customer_id) FROM orders o WHERE o.id < 6 ORDER BY o.id
--- correlated exists
SELECT c.id FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND o.total > 460) ORDER BY c.id
--- in subquery
SELECT id, total FROM orders WHERE customer_id IN (SELECT id FROM customers WHERE segment = 'home' AND is_active) ORDER BY id LIMIT 20
--- not in subquery over masked
SELECT count(*) FROM customers WHERE email NOT IN (SELECT contact FROM parties)
--- any and all
SELECT id FROM products WHERE price >= ALL (SELECT price FROM products) OR id = ANY (ARRAY[1, 2]) ORDER BY id
--- array subquery
SELECT r.id, ARRAY(SELECT c.email FROM customers c WHERE c.region_id = r.id ORDER BY c.id LIMIT 2) FROM regions r ORDER BY r.id
--- from subquery
SELECT s.email, s.n FROM (SELECT email, count(*) AS n FROM customers GROUP BY email) s
--- nested subqueries
SELECT x.e FROM (SELECT y.e FROM (SELECT email AS e, id FROM customers WHERE id < 4) y ORDER BY y.id) x
--- subquery alias named like a table
SELECT customers.e FROM (SELECT email AS e FROM customers WHERE id < 4 ORDER BY id) customers
--- alias named like another table
SELECT orders.email FROM customers orders WHERE orders.id < 4 ORDER BY orders.id
--- cte
WITH c AS (SELECT id, email, region_id FROM customers WHERE id < 20) SELECT r.title, c.email FROM c JOIN regions r ON r.id = c.region_id ORDER BY c.id
--- cte named like a governed table
WITH customers AS (SELECT 1 AS id, 'mine' AS email) SELECT * FROM customers
--- cte named like a governed table over it
WITH customers AS (SELECT id, email FROM public.customers WHERE id < 4) SELECT * FROM customers ORDER BY id
--- cte that reads the table it hides
WITH customers AS (SELECT id, email FROM customers WHERE id < 4) SELECT * FROM customers ORDER BY id
--- cte with column list
WITH c (a, b) AS (SELECT id, ssn FROM customers) SELECT a, b FROM c WHERE a < 4 ORDER BY a
--- materialized cte
WITH c AS MATERIALIZED (SELECT * FROM customers) SELECT id, phone FROM c WHERE id < 4 ORDER BY id
--- not materialized cte
WITH c AS NOT MATERIALIZED (SELECT * FROM customers) SELECT id, phone FROM c WHERE id < 4 ORDER BY id
--- chained ctes
WITH a AS (SELECT id, email FROM customers WHERE id < 10), b AS (SELECT a.*, o.total FROM a JOIN orders o ON o.customer_id = a.id) SELECT id, email, sum(total) FROM b GROUP BY id, email ORDER BY id
--- recursive cte
WITH RECURSIVE t AS (SELECT id, manager_id, name, 0 AS depth, salary FROM hr.employees WHERE manager_id IS NULL UNION ALL SELECT e.id, e.manager_id, e.name, t.depth + 1, e.salary FROM hr.employees e JOIN t ON e.manager_id = t.id) SELECT * FROM t ORDER BY depth, id
--- recursive cte with search
WITH RECURSIVE t AS (SELECT id, parent_id, title FROM categories WHERE parent_id IS NULL UNION ALL SELECT k.id, k.parent_id, k.title FROM categories k JOIN t ON k.parent_id = t.id) SEARCH DEPTH FIRST BY id SET path SELECT id, title, path FROM t ORDER BY path
--- recursive cte with cycle
WITH RECURSIVE t (id, parent_id) AS (SELECT id, parent_id FROM categories WHERE id = 7 UNION ALL SELECT k.id, k.parent_id FROM categories k JOIN t ON k.id = t.parent_id) CYCLE id SET looped USING path SELECT id, looped FROM t ORDER BY id
--- union
SELECT email FROM customers UNION SELECT contact FROM parties ORDER BY 1
--- union all
SELECT id, email FROM customers WHERE id < 3 UNION ALL SELECT id, contact FROM parties WHERE id < 3 ORDER BY 1, 2
--- intersect
SELECT customer_id FROM orders WHERE status = 'open' INTERSECT SELECT id FROM customers WHERE segment = 'home' ORDER BY 1
--- except
SELECT id FROM customers EXCEPT ALL SELECT customer_id FROM orders ORDER BY 1
--- union of tables
TABLE regions UNION ALL SELECT id, code, title FROM regions ORDER BY 1
--- group by masked
SELECT email, count(*) FROM customers GROUP BY email
--- group by expression of masked
SELECT extract(decade FROM birth_date) AS d, count(*) FROM customers GROUP BY 1 ORDER BY 1
--- group by primary key with joins
SELECT c.id, c.email, c.segment, count(*) FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.id ORDER BY c.id LIMIT 10
--- group by alias
SELECT upper(segment) AS s, avg(credit) FROM customers GROUP BY s ORDER BY s
--- having
SELECT region_id, count(*) FROM customers GROUP BY region_id HAVING count(*) > 70 ORDER BY region_id
--- having over masked
SELECT region_id FROM customers GROUP BY region_id HAVING max(credit) > 100 ORDER BY region_id
--- grouping sets
SELECT segment, region_id, count(*), sum(credit), grouping(segment, region_id) FROM customers GROUP BY GROUPING SETS ((segment), (region_id), ()) ORDER BY 1, 2
--- rollup
SELECT segment, is_active, count(*) FROM customers GROUP BY ROLLUP (segment, is_active) ORDER BY 1, 2
--- cube
SELECT status, method, sum(amount) FROM payments p JOIN orders o ON o.id = p.order_id GROUP BY CUBE (status, method) ORDER BY 1, 2
--- filter clause
SELECT count(*) FILTER (WHERE is_active), count(*) FILTER (WHERE phone IS NULL) FROM customers
--- ordered set aggregates
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total), mode() WITHIN GROUP (ORDER BY status) FROM orders
--- ordered set aggregate over masked
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY salary) FROM hr.employees
--- window row number
SELECT id, segment, row_number() OVER (PARTITION BY segment ORDER BY id) FROM customers ORDER BY id LIMIT 20
--- window over masked
SELECT id, rank() OVER (ORDER BY salary DESC), sum(salary) OVER (PARTITION BY department) FROM hr.employees ORDER BY id
--- window lag
SELECT id, lag(total) OVER w, first_value(id) OVER w FROM orders WINDOW w AS (PARTITION BY customer_id ORDER BY id) ORDER BY id LIMIT 20
--- window frame
SELECT id, avg(total) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM orders ORDER BY id LIMIT 20
--- window ntile
SELECT id, ntile(4) OVER (ORDER BY id) FROM customers ORDER BY id LIMIT 10
--- top n per group
SELECT * FROM (SELECT o.*, row_number() OVER (PARTITION BY customer_id ORDER BY total DESC, id) AS rn FROM orders o) x WHERE rn = 1 ORDER BY customer_id LIMIT 10
--- full text search
SELECT id, title FROM documents WHERE words @@ to_tsquery('english', 'lamp & delivery') ORDER BY id
--- full text rank and headline
SELECT id, ts_rank(words, q) > 0, ts_headline('english', body, q) FROM documents, plainto_tsquery('english', 'quick agreement') q WHERE words @@ q ORDER BY id LIMIT 5
--- range type
SELECT id, lower(valid), upper(valid) FROM documents WHERE valid && daterange('2024-01-10', '2024-01-20') ORDER BY id
--- regular expression
SELECT id, regexp_replace(name, '(\w+) (\w+)', '\2, \1') FROM customers WHERE name ~ '^A' ORDER BY id LIMIT 5
--- date trunc
SELECT date_trunc('month', ordered_at, 'UTC') AS m, count(*) FROM orders GROUP BY 1 ORDER BY 1
--- at time zone
SELECT id, ordered_at AT TIME ZONE 'Europe/Berlin' FROM orders ORDER BY id LIMIT 5
--- to_char
SELECT id, to_char(ordered_at AT TIME ZONE 'UTC', 'YYYY-MM'), to_char(credit, '999D99') FROM orders o JOIN customers c USING (id) ORDER BY id LIMIT 5
--- jsonb_build_object
SELECT jsonb_build_object('id', id, 'email', email, 'zip', address ->> 'zip') FROM customers ORDER BY id LIMIT 5
--- jsonb_agg nested
SELECT c.id, jsonb_agg(jsonb_build_object('order', o.id, 'total', o.total) ORDER BY o.id) FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id < 30 GROUP BY c.id ORDER BY c.id
--- json_object_agg
SELECT json_object_agg(id, email ORDER BY id) FROM customers WHERE id < 5
--- xml
SELECT xmlforest(id, email)::text FROM customers WHERE id < 3 ORDER BY id
--- user function sql
SELECT id, net(total) FROM orders ORDER BY id LIMIT 5
--- user function plpgsql
SELECT order_id, order_size(count(*)) FROM order_items GROUP BY order_id ORDER BY order_id LIMIT 5
--- view with a masked column
SELECT * FROM active_customers ORDER BY id LIMIT 10
--- view that groups
SELECT * FROM customer_totals ORDER BY total DESC, id LIMIT 10
--- view with an expression over a masked column
SELECT * FROM contact_list ORDER BY id LIMIT 10
--- view without masked columns
SELECT * FROM revenue_by_region ORDER BY code
--- view joined to a table
SELECT a.email, r.title FROM active_customers a JOIN regions r ON r.id = a.region_id WHERE a.id < 10 ORDER BY a.id
--- view of a schema
SELECT * FROM hr.directory ORDER BY id
--- materialized view
SELECT * FROM monthly_sales ORDER BY month
--- partitioned table
SELECT id, source, kind FROM events ORDER BY id LIMIT 10
--- partition by name
SELECT id, source FROM events_2025_q1 ORDER BY id LIMIT 10
--- partitioned table pruned
SELECT count(*), count(DISTINCT source) FROM events WHERE happened_at >= '2025-02-01' AND happened_at < '2025-03-01'
--- inheritance parent
SELECT id, name, contact FROM parties ORDER BY id
--- inheritance child
SELECT id, contact, passport FROM persons ORDER BY id
--- inheritance child without its own mask
SELECT id, contact, vat FROM companies ORDER BY id
--- inheritance parent with tableoid
SELECT tableoid::regclass::text, count(*) FROM parties GROUP BY 1 ORDER BY 1
--- pivot
SELECT customer_id, sum(total) FILTER (WHERE status = 'paid') AS paid, sum(total) FILTER (WHERE status = 'open') AS open FROM orders GROUP BY customer_id ORDER BY customer_id LIMIT 10
--- gaps
SELECT id, id - lag(id) OVER (ORDER BY id) AS gap FROM payments ORDER BY id LIMIT 10
--- anti join
SELECT c.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id WHERE o.id IS NULL ORDER BY c.id
--- overlaps
SELECT count(*) FROM payments WHERE (paid_at, paid_at + interval '1 day') OVERLAPS (timestamp '2025-02-01', timestamp '2025-02-03')
--- between symmetric
SELECT id FROM products WHERE price BETWEEN SYMMETRIC 100 AND 50 ORDER BY id
--- is distinct from
SELECT count(*) FROM customers WHERE phone IS DISTINCT FROM '***'
--- similar to
SELECT id FROM products WHERE sku SIMILAR TO 'SKU-00(1|2)%' ORDER BY id
--- ilike any
SELECT id FROM products WHERE title ILIKE ANY (ARRAY['%lamp%', '%desk%']) ORDER BY id
--- generate subscripts
SELECT id, tags[generate_subscripts(tags, 1)] FROM customers WHERE cardinality(tags) = 2 ORDER BY 1, 2 LIMIT 6
--- set returning in select
SELECT id, unnest(tags) FROM customers WHERE id < 20 ORDER BY 1, 2
--- cast error in ordinary work
SELECT title::integer FROM regions
--- missing column
SELECT nothing FROM customers
--- missing table
SELECT * FROM nowhere
--- division by zero
SELECT 1 / 0
