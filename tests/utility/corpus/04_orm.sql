--- django list
SELECT "customers"."id", "customers"."name", "customers"."email", "customers"."phone", "customers"."ssn", "customers"."birth_date", "customers"."address", "customers"."credit", "customers"."region_id", "customers"."segment", "customers"."is_active" FROM "customers" ORDER BY "customers"."id" ASC LIMIT 21
--- django get | with ["42"]
SELECT "customers"."id", "customers"."name", "customers"."email" FROM "customers" WHERE "customers"."id" = $1::int LIMIT 21
--- django filter contains
SELECT "customers"."id", "customers"."name" FROM "customers" WHERE UPPER("customers"."name"::text) LIKE UPPER('%ad%') ORDER BY "customers"."id"
--- django select related
SELECT "orders"."id", "orders"."total", "customers"."id", "customers"."email", "regions"."id", "regions"."title" FROM "orders" INNER JOIN "customers" ON ("orders"."customer_id" = "customers"."id") INNER JOIN "regions" ON ("customers"."region_id" = "regions"."id") WHERE "orders"."status" = 'open' ORDER BY "orders"."id" ASC LIMIT 50
--- django prefetch
SELECT "orders"."id", "orders"."customer_id", "orders"."total" FROM "orders" WHERE "orders"."customer_id" IN (1, 2, 3, 18) ORDER BY "orders"."id"
--- django annotate count
SELECT "customers"."id", "customers"."name", "customers"."email", COUNT("orders"."id") AS "n" FROM "customers" LEFT OUTER JOIN "orders" ON ("customers"."id" = "orders"."customer_id") GROUP BY "customers"."id" ORDER BY "n" DESC, "customers"."id" LIMIT 10
--- django annotate with group by list
SELECT "customers"."id", "customers"."email", COUNT("orders"."id") AS "n" FROM "customers" LEFT OUTER JOIN "orders" ON ("customers"."id" = "orders"."customer_id") GROUP BY "customers"."id", "customers"."email" ORDER BY "customers"."id" LIMIT 10
--- django exists
SELECT 1 AS "a" FROM "customers" WHERE ("customers"."email" = 'a@b.example' AND "customers"."is_active") LIMIT 1
--- django aggregate over subquery
SELECT COUNT(*) FROM (SELECT DISTINCT "customers"."segment" AS "col1" FROM "customers" WHERE "customers"."credit" > 0) subquery
--- django F expression window
SELECT "orders"."id", ROW_NUMBER() OVER (PARTITION BY "orders"."customer_id" ORDER BY "orders"."id" ASC) AS "rn" FROM "orders" ORDER BY "orders"."id" LIMIT 10
--- django subquery outer ref
SELECT "customers"."id", (SELECT U0."total" FROM "orders" U0 WHERE U0."customer_id" = ("customers"."id") ORDER BY U0."ordered_at" DESC LIMIT 1) AS "latest" FROM "customers" ORDER BY "customers"."id" LIMIT 10
--- django json lookup
SELECT "customers"."id" FROM "customers" WHERE ("customers"."profile" -> 'theme') = '"dark"'::jsonb ORDER BY "customers"."id" LIMIT 10
--- django insert returning
INSERT INTO "orders" ("id", "customer_id", "ordered_at", "status", "total", "note") VALUES (5001, 3, '2025-09-01T10:00:00+00:00'::timestamptz, 'open', '19.90', NULL) RETURNING "orders"."id"
--- django insert of a governed row
INSERT INTO "customers" ("id", "name", "email", "ssn", "credit", "region_id", "segment") VALUES (5001, 'Nia', 'nia@x.example', '901-01-0001', 5, 1, 'home') RETURNING "customers"."id"
--- django bulk insert
INSERT INTO "audit_log" ("at", "actor", "what") VALUES ('2025-01-01T00:00:00+00:00', 'a', 'x'), ('2025-01-01T00:00:00+00:00', 'b', 'y')
--- django update by key
UPDATE "customers" SET "name" = 'Renamed', "email" = 'new@x.example' WHERE "customers"."id" = 7
--- django update expression
UPDATE "orders" SET "total" = ("orders"."total" * 2) WHERE "orders"."id" IN (1, 2, 3)
--- django delete by key
DELETE FROM "audit_log" WHERE "audit_log"."id" IN (1, 2)
--- django select for update
SELECT "customers"."id", "customers"."email" FROM "customers" WHERE "customers"."id" = 9 FOR UPDATE
--- sqlalchemy select
SELECT customers.id, customers.name, customers.email, customers.ssn AS customers_ssn FROM customers WHERE customers.segment = 'home' ORDER BY customers.id LIMIT 5 OFFSET 2
--- sqlalchemy anonymous alias
SELECT anon_1.customers_id AS anon_1_customers_id, anon_1.customers_email AS anon_1_customers_email, orders_1.id AS orders_1_id FROM (SELECT customers.id AS customers_id, customers.email AS customers_email FROM customers ORDER BY customers.id LIMIT 5) AS anon_1 LEFT OUTER JOIN orders AS orders_1 ON anon_1.customers_id = orders_1.customer_id ORDER BY anon_1.customers_id, orders_1.id
--- sqlalchemy selectin load
SELECT orders.customer_id AS orders_customer_id, orders.id AS orders_id FROM orders WHERE orders.customer_id IN (1, 2, 3) ORDER BY orders.id
--- sqlalchemy exists
SELECT customers.id FROM customers WHERE EXISTS (SELECT 1 FROM orders WHERE customers.id = orders.customer_id AND orders.status = 'returned') ORDER BY customers.id
--- sqlalchemy cte
WITH regional AS (SELECT customers.region_id AS region_id, sum(orders.total) AS total FROM orders JOIN customers ON customers.id = orders.customer_id GROUP BY customers.region_id) SELECT regions.title, regional.total FROM regional JOIN regions ON regions.id = regional.region_id ORDER BY regions.title
--- sqlalchemy insert returning masked
INSERT INTO customers (id, name, email, ssn, credit, region_id, segment, is_active, tags, profile, created_at) VALUES (5002, 'Ole', 'ole@x.example', '902-02-0002', 1, 2, 'home', true, '{}', '{}', '2025-01-01 00:00+00') RETURNING customers.id, customers.email
;; twin
INSERT INTO customers (id, name, email, ssn, credit, region_id, segment, is_active, tags, profile, created_at) VALUES (5002, 'Ole', 'ole@x.example', '902-02-0002', 1, 2, 'home', true, '{}', '{}', '2025-01-01 00:00+00') RETURNING customers.id, '***'::text AS email
--- sqlalchemy insertmanyvalues
INSERT INTO audit_log (actor, what) SELECT p0::TEXT, p1::TEXT FROM (VALUES ('a', 'x', 0), ('b', 'y', 1)) AS imp_sen(p0, p1, sen_counter) ORDER BY sen_counter RETURNING actor, actor AS actor__1
--- sqlalchemy upsert
INSERT INTO stock (product_id, amount, updated_at) VALUES (1, 5, '2025-06-02 00:00+00') ON CONFLICT (product_id) DO UPDATE SET amount = excluded.amount, updated_at = excluded.updated_at RETURNING stock.product_id, stock.amount
--- sqlalchemy upsert nothing
INSERT INTO stock (product_id, amount, updated_at) VALUES (1, 5, '2025-06-02 00:00+00') ON CONFLICT DO NOTHING
--- sqlalchemy update returning
UPDATE orders SET status = 'paid' WHERE orders.id = 16 RETURNING orders.id, orders.status
--- sqlalchemy version check
select pg_catalog.version() IS NOT NULL
--- sqlalchemy current schema
select current_schema()
--- sqlalchemy has table
SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE pg_catalog.pg_class.relname = 'customers' AND pg_catalog.pg_class.relkind = ANY (ARRAY['r', 'p', 'f', 'v', 'm']) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != 'pg_catalog'
--- hibernate entity
select c1_0.id,c1_0.address,c1_0.birth_date,c1_0.email,c1_0.name,c1_0.phone,c1_0.region_id from customers c1_0 where c1_0.id=7
--- hibernate entity by parameter | with ["7"]
select c1_0.id,c1_0.email,c1_0.name from customers c1_0 where c1_0.id=$1
--- hibernate join fetch
select c1_0.id,c1_0.email,o1_0.customer_id,o1_0.id,o1_0.status,o1_0.total from customers c1_0 left join orders o1_0 on c1_0.id=o1_0.customer_id where c1_0.id<5 order by c1_0.id,o1_0.id
--- hibernate page | with ["home", "10", "5"]
select c1_0.id,c1_0.email,c1_0.segment from customers c1_0 where c1_0.segment=$1 order by c1_0.id offset $2 rows fetch first $3 rows only
--- hibernate count
select count(c1_0.id) from customers c1_0 where c1_0.segment='home'
--- hibernate update | with ["Hib Ernate", "9"]
update customers set name=$1 where id=$2
--- hibernate lock
select c1_0.id,c1_0.credit from customers c1_0 where c1_0.id=3 for no key update
--- hibernate old dialect
select customer0_.id as id1_0_, customer0_.email as email2_0_, customer0_.ssn as ssn3_0_ from customers customer0_ inner join regions region1_ on customer0_.region_id=region1_.id where region1_.code='N' order by customer0_.id limit 5
--- hibernate polymorphic
select p1_0.id,case when p1_1.id is not null then 1 when p1_2.id is not null then 2 else 0 end,p1_0.name,p1_0.contact,p1_1.vat,p1_2.passport from parties p1_0 left join companies p1_1 on p1_0.id=p1_1.id left join persons p1_2 on p1_0.id=p1_2.id order by p1_0.id
--- activerecord find
SELECT "customers".* FROM "customers" WHERE "customers"."id" = 12 LIMIT 1
--- activerecord find by parameter | with ["12", "1"]
SELECT "customers".* FROM "customers" WHERE "customers"."id" = $1 LIMIT $2
--- activerecord where order
SELECT "customers".* FROM "customers" WHERE "customers"."segment" = 'corporate' AND "customers"."is_active" = TRUE ORDER BY "customers"."id" ASC LIMIT 10
--- activerecord joins group
SELECT COUNT(*) AS "count_all", "regions"."title" AS "regions_title" FROM "customers" INNER JOIN "regions" ON "regions"."id" = "customers"."region_id" GROUP BY "regions"."title" ORDER BY "regions"."title"
--- activerecord includes
SELECT "customers"."id" AS t0_r0, "customers"."email" AS t0_r1, "orders"."id" AS t1_r0, "orders"."total" AS t1_r1 FROM "customers" LEFT OUTER JOIN "orders" ON "orders"."customer_id" = "customers"."id" WHERE "customers"."id" IN (1, 2, 18) ORDER BY "customers"."id", "orders"."id"
--- activerecord pluck
SELECT "customers"."email" FROM "customers" WHERE "customers"."region_id" = 2
--- activerecord exists
SELECT 1 AS one FROM "customers" WHERE "customers"."email" = 'sentinel4@mail.example' LIMIT 1
--- activerecord insert returning
INSERT INTO "audit_log" ("at", "actor", "what") VALUES ('2025-01-02 00:00:00', 'ar', 'did') RETURNING "actor"
--- activerecord update
UPDATE "customers" SET "segment" = 'home' WHERE "customers"."id" = 12
--- activerecord delete
DELETE FROM "order_items" WHERE "order_items"."order_id" = 1 AND "order_items"."line" = 1
--- activerecord schema query
SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull, a.atttypid, a.atttypmod, c.collname, col_description(a.attrelid, a.attnum) AS comment, attidentity AS identity, attgenerated as attgenerated FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum LEFT JOIN pg_type t ON a.atttypid = t.oid LEFT JOIN pg_collation c ON a.attcollation = c.oid AND a.attcollation <> t.typcollation WHERE a.attrelid = '"customers"'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
--- prisma find many
SELECT "public"."customers"."id", "public"."customers"."email", "public"."customers"."ssn", "public"."customers"."birth_date" FROM "public"."customers" WHERE "public"."customers"."segment" = 'home' ORDER BY "public"."customers"."id" ASC LIMIT 10 OFFSET 0
--- prisma find many by parameter | with ["home", "10", "0"]
SELECT "public"."customers"."id", "public"."customers"."email" FROM "public"."customers" WHERE ("public"."customers"."segment" = $1 AND 1=1) ORDER BY "public"."customers"."id" ASC LIMIT $2 OFFSET $3
--- prisma relation lateral
SELECT "t1"."id", "t1"."email", "t2"."__prisma_data__" AS "orders" FROM "public"."customers" AS "t1" LEFT JOIN LATERAL (SELECT COALESCE(JSONB_AGG("__prisma_data__"), '[]') AS "__prisma_data__" FROM (SELECT "t4"."__prisma_data__" FROM (SELECT JSONB_BUILD_OBJECT('id', "t3"."id", 'total', "t3"."total") AS "__prisma_data__", "t3"."id" FROM "public"."orders" AS "t3" WHERE "t1"."id" = "t3"."customer_id") AS "t4" ORDER BY "t4"."id") AS "t5") AS "t2" ON TRUE WHERE "t1"."id" < 5 ORDER BY "t1"."id"
--- prisma aggregate
SELECT COUNT(*), AVG("credit") FROM (SELECT "public"."customers"."credit" FROM "public"."customers" WHERE 1=1 OFFSET 0) AS "sub"
--- prisma create returning
INSERT INTO "public"."stock" ("product_id","amount","updated_at") VALUES (1,2,'2025-01-01 00:00+00') ON CONFLICT ("product_id") DO UPDATE SET "amount" = 3 WHERE ("public"."stock"."product_id" = 1 AND 1=1) RETURNING "public"."stock"."product_id", "public"."stock"."amount"
--- prisma update
UPDATE "public"."customers" SET "name" = 'P' WHERE ("public"."customers"."id" = 3 AND 1=1)
--- prisma delete
DELETE FROM "public"."audit_log" WHERE ("public"."audit_log"."id" = 4 AND 1=1)
--- ef core first
SELECT c."id", c."email", c."name" FROM "customers" AS c WHERE c."id" = 5 LIMIT 1
--- ef core include
SELECT t."id", t."email", o."id", o."total" FROM (SELECT c."id", c."email" FROM "customers" AS c ORDER BY c."id" LIMIT 3) AS t LEFT JOIN "orders" AS o ON t."id" = o."customer_id" ORDER BY t."id", o."id"
--- ef core group
SELECT c."segment" AS "Key", count(*)::int AS "Count", COALESCE(sum(c."credit"), 0.0) AS "Credit" FROM "customers" AS c GROUP BY c."segment" ORDER BY c."segment"
--- ef core any
SELECT EXISTS (SELECT 1 FROM "customers" AS c WHERE c."segment" = 'none')
--- ef core exists scalar
SELECT c."id", EXISTS (SELECT 1 FROM "orders" AS o WHERE o."customer_id" = c."id") AS "Has" FROM "customers" AS c ORDER BY c."id" LIMIT 5
--- ef core insert
INSERT INTO "audit_log" ("actor", "at", "what") VALUES ('ef', '2025-01-01 00:00+00', 'did') RETURNING "what"
--- ef core update
UPDATE "orders" SET "status" = 'paid' WHERE "id" = 3
--- ef core like
SELECT c."id" FROM "customers" AS c WHERE c."name" LIKE '%Abb%' ORDER BY c."id"
--- gorm
SELECT * FROM "customers" WHERE "customers"."id" = 10 ORDER BY "customers"."id" LIMIT 1
--- gorm count
SELECT count(*) FROM "customers" WHERE segment = 'home' AND is_active
--- typeorm
SELECT "Customer"."id" AS "Customer_id", "Customer"."email" AS "Customer_email", "Customer"."tags" AS "Customer_tags" FROM "customers" "Customer" WHERE "Customer"."region_id" = 2 ORDER BY "Customer"."id" LIMIT 5
--- typeorm distinct pagination
SELECT DISTINCT "distinctAlias"."Customer_id" AS "ids_Customer_id" FROM (SELECT "Customer"."id" AS "Customer_id", "Customer"."email" AS "Customer_email", "o"."id" AS "o_id" FROM "customers" "Customer" LEFT JOIN "orders" "o" ON "o"."customer_id"="Customer"."id") "distinctAlias" ORDER BY "Customer_id" ASC LIMIT 5
--- knex
select "id", "email" from "customers" where "segment" = 'home' and "id" > 250 order by "id" asc limit 5
--- sequelize
SELECT "Customer"."id", "Customer"."email", "orders"."id" AS "orders.id", "orders"."total" AS "orders.total" FROM "customers" AS "Customer" LEFT OUTER JOIN "orders" AS "orders" ON "Customer"."id" = "orders"."customer_id" WHERE "Customer"."id" = 18 ORDER BY "orders"."id"
--- sequelize count
SELECT count(*) AS "count" FROM "customers" AS "Customer" WHERE "Customer"."is_active" = true
--- jooq
select "public"."customers"."id", "public"."customers"."email" from "public"."customers" where "public"."customers"."segment" = 'home' order by "public"."customers"."id" fetch next 5 rows only
--- diesel
SELECT "customers"."id", "customers"."email", "customers"."ssn" FROM "customers" WHERE ("customers"."id" = 5)
--- diesel by parameter | with ["5"]
SELECT "customers"."id", "customers"."email", "customers"."ssn" FROM "customers" WHERE ("customers"."id" = $1)
--- ecto
SELECT c0."id", c0."email", c0."phone" FROM "customers" AS c0 WHERE (c0."id" = ANY('{1,2,3}')) ORDER BY c0."id"
--- ecto preload
SELECT o0."id", o0."total", o0."customer_id" FROM "orders" AS o0 WHERE (o0."customer_id" = ANY('{1,18}')) ORDER BY o0."customer_id", o0."id"
--- drizzle
select "customers"."id", "customers"."email", "orders"."id" from "customers" inner join "orders" on "orders"."customer_id" = "customers"."id" where "customers"."id" = 18 order by "orders"."id"
