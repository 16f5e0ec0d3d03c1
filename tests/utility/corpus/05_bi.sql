--- metabase count by month
SELECT CAST(DATE_TRUNC('month', "public"."orders"."ordered_at" AT TIME ZONE 'UTC') AS DATE) AS "ordered_at", COUNT(*) AS "count" FROM "public"."orders" GROUP BY CAST(DATE_TRUNC('month', "public"."orders"."ordered_at" AT TIME ZONE 'UTC') AS DATE) ORDER BY 1 ASC
--- metabase raw rows
SELECT "public"."customers"."id" AS "id", "public"."customers"."name" AS "name", "public"."customers"."email" AS "email", "public"."customers"."phone" AS "phone", "public"."customers"."ssn" AS "ssn", "public"."customers"."birth_date" AS "birth_date", "public"."customers"."address" AS "address", "public"."customers"."credit" AS "credit" FROM "public"."customers" ORDER BY 1 LIMIT 2000
--- metabase joined question
SELECT "source"."Customers__segment" AS "Customers__segment", SUM("source"."total") AS "sum" FROM (SELECT "public"."orders"."id" AS "id", "public"."orders"."total" AS "total", "Customers"."id" AS "Customers__id", "Customers"."email" AS "Customers__email", "Customers"."segment" AS "Customers__segment" FROM "public"."orders" LEFT JOIN "public"."customers" AS "Customers" ON "public"."orders"."customer_id" = "Customers"."id") AS "source" GROUP BY "source"."Customers__segment" ORDER BY "source"."Customers__segment" ASC
--- metabase binning
SELECT FLOOR(("public"."orders"."total" / 50.0)) * 50.0 AS "total", COUNT(*) AS "count" FROM "public"."orders" GROUP BY FLOOR(("public"."orders"."total" / 50.0)) * 50.0 ORDER BY 1
--- metabase distinct values
SELECT "public"."customers"."segment" AS "segment" FROM "public"."customers" GROUP BY "public"."customers"."segment" ORDER BY "public"."customers"."segment" ASC LIMIT 1000
--- metabase fingerprint sample
SELECT "public"."customers"."id" AS "id", SUBSTRING("public"."customers"."email", 1, 1234) AS "substring1", SUBSTRING("public"."customers"."phone", 1, 1234) AS "substring2" FROM "public"."customers" ORDER BY 1 LIMIT 100
--- metabase sync tables
SELECT n.nspname AS schema, c.relname AS name, CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'PARTITIONED TABLE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE NULL END AS type, d.description FROM pg_catalog.pg_class AS c INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid LEFT JOIN pg_catalog.pg_description AS d ON c.oid = d.objoid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass WHERE (c.relnamespace = n.oid) AND (n.nspname !~ '^pg_') AND (n.nspname <> 'information_schema') AND c.relkind IN ('r', 'p', 'v', 'f', 'm') ORDER BY 1, 2
--- metabase field filter on masked
SELECT COUNT(*) AS "count" FROM "public"."customers" WHERE (LOWER("public"."customers"."email") LIKE '%mail%')
--- tableau connect sample
SELECT * FROM (SELECT * FROM "public"."customers") "T" ORDER BY "id" LIMIT 100
--- tableau extract
SELECT "customers"."segment" AS "segment", CAST("customers"."email" AS TEXT) AS "email", SUM("orders"."total") AS "sum:total:ok" FROM "public"."customers" "customers" INNER JOIN "public"."orders" "orders" ON ("customers"."id" = "orders"."customer_id") GROUP BY 1, 2 ORDER BY 1
--- tableau date part
SELECT CAST(EXTRACT(YEAR FROM "orders"."ordered_at" AT TIME ZONE 'UTC') AS INTEGER) AS "yr", CAST(EXTRACT(QUARTER FROM "orders"."ordered_at" AT TIME ZONE 'UTC') AS INTEGER) AS "qr", AVG(CAST("orders"."total" AS DOUBLE PRECISION)) AS "avg" FROM "public"."orders" "orders" GROUP BY 1, 2 ORDER BY 1, 2
--- tableau temp table
CREATE LOCAL TEMPORARY TABLE "#Tableau_1_Connect" ("COL" INTEGER) ON COMMIT PRESERVE ROWS
;;
INSERT INTO "#Tableau_1_Connect" VALUES (1)
;;
SELECT "COL" FROM "#Tableau_1_Connect"
;;
DROP TABLE "#Tableau_1_Connect"
--- tableau level of detail
SELECT "t0"."segment" AS "segment", AVG("t0"."x") AS "avg" FROM (SELECT "customers"."segment" AS "segment", "customers"."id" AS "id", SUM("orders"."total") AS "x" FROM "public"."customers" "customers" JOIN "public"."orders" "orders" ON "customers"."id" = "orders"."customer_id" GROUP BY 1, 2) "t0" GROUP BY 1 ORDER BY 1
--- superset table chart
SELECT segment AS segment, region_id AS region_id, COUNT(*) AS "COUNT(*)", AVG(credit) AS "AVG(credit)" FROM public.customers GROUP BY segment, region_id ORDER BY "COUNT(*)" DESC, segment, region_id LIMIT 1000
--- superset time series
SELECT DATE_TRUNC('week', ordered_at AT TIME ZONE 'UTC') AS __timestamp, status AS status, SUM(total) AS "SUM(total)" FROM public.orders JOIN (SELECT status AS status__, SUM(total) AS mme_inner__ FROM public.orders GROUP BY status ORDER BY mme_inner__ DESC LIMIT 3) AS series_limit ON status = status__ GROUP BY status, DATE_TRUNC('week', ordered_at AT TIME ZONE 'UTC') ORDER BY 1, 2
--- superset virtual dataset
SELECT email AS email, COUNT(*) AS n FROM (SELECT c.email, o.total FROM customers c JOIN orders o ON o.customer_id = c.id) AS virtual_table GROUP BY email ORDER BY n DESC LIMIT 100
--- superset sql lab limit
SELECT * FROM (SELECT id, email, phone FROM customers ORDER BY id) AS inner_qry LIMIT 10
--- power bi direct query
select "_"."segment", "_"."a0" from (select "rows"."segment" as "segment", sum("rows"."credit") as "a0" from (select "id", "segment", "credit" from "public"."customers" "$Table") "rows" group by "segment") "_" order by "_"."segment"
--- power bi preview
select "$Table"."id" as "id", "$Table"."email" as "email", "$Table"."ssn" as "ssn", "$Table"."birth_date" as "birth_date" from "public"."customers" "$Table" order by 1 limit 1000
--- power bi folded join
select "$Outer"."id", "$Outer"."email", "$Inner"."title" from (select "id", "email", "region_id" from "public"."customers") "$Outer" left outer join (select "id" as "id2", "title" from "public"."regions") "$Inner" on ("$Outer"."region_id" = "$Inner"."id2") order by 1 limit 20
--- looker derived table
WITH customer_facts AS (SELECT o.customer_id, count(*) AS lifetime_orders, sum(o.total) AS lifetime_total, min(o.ordered_at) AS first_order FROM orders o GROUP BY 1) SELECT customers.email AS "customers.email", COALESCE(SUM(customer_facts.lifetime_total), 0) AS "customer_facts.total" FROM public.customers AS customers LEFT JOIN customer_facts ON customers.id = customer_facts.customer_id GROUP BY 1 ORDER BY 2 DESC LIMIT 500
--- looker symmetric aggregate
SELECT customers.segment AS "s", COALESCE(COALESCE(CAST((SUM(DISTINCT (CAST(FLOOR(COALESCE(orders.total, 0) * (1000000 * 1.0)) AS DECIMAL(65, 0))) + ('x' || MD5(orders.id::varchar))::bit(64)::bigint::DECIMAL(65) * 18446744073709551616 + ('x' || SUBSTR(MD5(orders.id::varchar), 17))::bit(64)::bigint::DECIMAL(65)) - SUM(DISTINCT ('x' || MD5(orders.id::varchar))::bit(64)::bigint::DECIMAL(65) * 18446744073709551616 + ('x' || SUBSTR(MD5(orders.id::varchar), 17))::bit(64)::bigint::DECIMAL(65))) AS DOUBLE PRECISION) / CAST((1000000 * 1.0) AS DOUBLE PRECISION), 0), 0) AS "t" FROM orders LEFT JOIN customers ON orders.customer_id = customers.id GROUP BY 1 ORDER BY 1
--- cohort analysis
WITH first_orders AS (SELECT customer_id, date_trunc('month', min(ordered_at) AT TIME ZONE 'UTC') AS cohort FROM orders GROUP BY 1), activity AS (SELECT f.cohort, date_trunc('month', o.ordered_at AT TIME ZONE 'UTC') AS month, o.customer_id FROM orders o JOIN first_orders f USING (customer_id)) SELECT cohort, month, count(DISTINCT customer_id) FROM activity GROUP BY 1, 2 ORDER BY 1, 2
--- retention funnel
SELECT count(DISTINCT v.customer_id) AS viewed, count(DISTINCT b.customer_id) AS bought FROM events v LEFT JOIN events b ON b.customer_id = v.customer_id AND b.kind = 'buy' AND b.happened_at > v.happened_at WHERE v.kind = 'view'
--- running total
SELECT m, sum(t) OVER (ORDER BY m) FROM (SELECT date_trunc('month', ordered_at AT TIME ZONE 'UTC') AS m, sum(total) AS t FROM orders GROUP BY 1) x ORDER BY m
--- year over year
SELECT extract(month FROM ordered_at AT TIME ZONE 'UTC') AS m, sum(total) FILTER (WHERE extract(year FROM ordered_at AT TIME ZONE 'UTC') = 2025) AS this_year FROM orders GROUP BY 1 ORDER BY 1
--- salary bands
SELECT width_bucket(salary, 0, 100000, 5) AS band, count(*) FROM hr.employees GROUP BY 1 ORDER BY 1
--- share of total
SELECT segment, count(*), round(100.0 * count(*) / sum(count(*)) OVER (), 2) FROM customers GROUP BY segment ORDER BY segment
--- median by group
SELECT department, percentile_cont(0.5) WITHIN GROUP (ORDER BY salary) FROM hr.employees GROUP BY department ORDER BY department
--- abc analysis
SELECT id, total, CASE WHEN cum <= 0.8 THEN 'A' WHEN cum <= 0.95 THEN 'B' ELSE 'C' END FROM (SELECT id, total, sum(total) OVER (ORDER BY total DESC, id) / sum(total) OVER () AS cum FROM customer_totals) x ORDER BY total DESC, id LIMIT 30
--- basket pairs
SELECT a.product_id, b.product_id, count(*) FROM order_items a JOIN order_items b ON a.order_id = b.order_id AND a.product_id < b.product_id GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 10
--- sessionisation
SELECT customer_id, count(*) FILTER (WHERE gap IS NULL OR gap > interval '1 day') FROM (SELECT customer_id, happened_at - lag(happened_at) OVER (PARTITION BY customer_id ORDER BY happened_at) AS gap FROM events) x GROUP BY 1 ORDER BY 1 LIMIT 10
--- events by network
SELECT network(set_masklen(source::cidr, 16)) AS net, count(*) FROM events GROUP BY 1 ORDER BY 1
--- grafana time bucket
SELECT floor(extract(epoch FROM happened_at) / 86400) * 86400 AS "time", count(*) AS value FROM events WHERE happened_at BETWEEN '2025-01-05T00:00:00Z' AND '2025-02-05T00:00:00Z' GROUP BY 1 ORDER BY 1
--- redash parameters inlined
SELECT c.segment, o.status, count(*) FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.ordered_at::date BETWEEN '2025-01-01' AND '2025-12-31' GROUP BY c.segment, o.status ORDER BY 1, 2
--- dbt compiled model
with source as (select * from "public"."customers"), renamed as (select id as customer_id, email, lower(segment) as segment from source) select segment, count(*) as customers, count(distinct email) as emails from renamed group by 1 order by 1
--- dbt test unique
select count(*) as failures, count(*) != 0 as should_warn, count(*) != 0 as should_error from (select id as unique_field, count(*) as n_records from "public"."customers" where id is not null group by id having count(*) > 1) dbt_internal_test
--- dbt test relationships
with child as (select customer_id as from_field from "public"."orders" where customer_id is not null), parent as (select id as to_field from "public"."customers") select count(*) from child left join parent on child.from_field = parent.to_field where parent.to_field is null
--- pandas read
SELECT * FROM payments ORDER BY id LIMIT 50
--- data profile
SELECT count(*) AS n, count(email) AS email_n, count(DISTINCT email) AS email_d, min(length(email)) AS l0, max(length(email)) AS l1 FROM customers
