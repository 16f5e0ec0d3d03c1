--- insert values
INSERT INTO orders VALUES (7001, 3, '2025-09-01 00:00+00', 'open', 12.5, NULL)
--- insert into a governed table
INSERT INTO customers (id, name, email, ssn, credit, region_id, segment) VALUES (7002, 'Z', 'z@x.example', '903-03-0003', 4, 1, 'home')
--- insert many into a governed table
INSERT INTO payments VALUES (9001, 1, 'card', '4111111111111111', NULL, 5, '2025-01-01', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), (9002, 2, 'cash', NULL, NULL, 6, '2025-01-02', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12')
--- insert default values
INSERT INTO audit_log (actor, what) VALUES ('x', DEFAULT)
--- insert select of unmasked columns
INSERT INTO audit_log (actor, what) SELECT name, segment FROM customers WHERE id < 5
--- insert select from an ungoverned table
INSERT INTO audit_log (actor, what) SELECT title, sku FROM products
--- insert returning everything unmasked
INSERT INTO orders VALUES (7003, 3, '2025-09-01 00:00+00', 'open', 12.5, NULL) RETURNING *
--- insert returning star of a governed table
INSERT INTO hr.employees VALUES (7004, 1, 'N', 'clerk', 'it', 55555, 42, '2024-01-01', true, 'glad') RETURNING *
;; twin
INSERT INTO hr.employees VALUES (7004, 1, 'N', 'clerk', 'it', 0, 0, '2000-01-01', false, 'calm') RETURNING *
--- insert duplicate key
INSERT INTO regions VALUES (1, 'X', 'again')
--- insert violates foreign key
INSERT INTO orders VALUES (7005, 99999, now(), 'open', 1, NULL)
--- update a governed table by key
UPDATE customers SET segment = 'home', is_active = false WHERE id = 4
--- update a masked column to a constant
UPDATE customers SET email = 'changed@x.example', phone = NULL WHERE id = 4
--- update returning unmasked
UPDATE customers SET name = 'R' WHERE id = 4 RETURNING id, name
--- update returning masked
UPDATE customers SET name = 'R' WHERE id = 4 RETURNING id, email, ssn
--- update returning star with alias
UPDATE hr.employees AS e SET title = 'boss' WHERE e.id = 4 RETURNING e.*
--- update from an ungoverned table
UPDATE orders o SET note = r.title FROM regions r WHERE o.id = 3 AND r.id = 2
--- update from a governed table by key
UPDATE orders o SET note = c.segment FROM customers c WHERE c.id = o.customer_id AND o.id < 4
--- update of a governed target from another table
UPDATE customers c SET segment = 'vip' FROM orders o WHERE o.customer_id = c.id AND o.total > 460
--- update with a subquery
UPDATE orders SET note = (SELECT title FROM regions WHERE id = 1) WHERE id = 2
--- update row expression
UPDATE orders SET (status, note) = ('paid', 'row') WHERE id = 2
--- update where current of
DECLARE k CURSOR FOR SELECT id FROM orders WHERE id = 2 FOR UPDATE
;;
FETCH 1 FROM k
;;
UPDATE orders SET note = 'cursor' WHERE CURRENT OF k
--- delete by key
DELETE FROM order_items WHERE order_id = 5
--- delete from a governed table
DELETE FROM hr.employees WHERE id = 40
--- delete returning masked
DELETE FROM hr.employees WHERE id = 40 RETURNING id, salary
--- delete using
DELETE FROM order_items i USING orders o WHERE o.id = i.order_id AND o.status = 'returned' AND o.id < 40
--- delete with a subquery over a governed table
DELETE FROM documents WHERE customer_id IN (SELECT id FROM customers WHERE segment = 'home')
--- upsert on an ungoverned table
INSERT INTO stock VALUES (2, 9, '2025-06-03 00:00+00') ON CONFLICT (product_id) DO UPDATE SET amount = stock.amount + excluded.amount RETURNING amount
--- upsert on a governed table
INSERT INTO customers (id, name, email, ssn, credit, region_id, segment) VALUES (4, 'U', 'u@x.example', '904-04-0004', 4, 1, 'home') ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = excluded.email
--- upsert do nothing on a governed table
INSERT INTO customers (id, name, email, ssn, credit, region_id, segment) VALUES (4, 'U', 'u@x.example', '904-04-0004', 4, 1, 'home') ON CONFLICT (id) DO NOTHING
--- merge
MERGE INTO stock s USING (VALUES (1, 50), (2, 60)) AS v (id, amount) ON s.product_id = v.id WHEN MATCHED THEN UPDATE SET amount = v.amount WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.amount, now())
--- merge from a table
MERGE INTO stock s USING products p ON p.id = s.product_id AND p.price > 200 WHEN MATCHED THEN DELETE
--- writable cte
WITH gone AS (DELETE FROM order_items WHERE order_id = 9 RETURNING *) SELECT count(*), sum(quantity) FROM gone
--- writable cte over a governed table
WITH changed AS (UPDATE customers SET segment = 'x' WHERE id < 4 RETURNING id, email) SELECT * FROM changed ORDER BY id
--- insert with cte
WITH src AS (SELECT id, title FROM regions) INSERT INTO audit_log (actor, what) SELECT title, id::text FROM src
--- truncate
TRUNCATE audit_log
--- temp table as select unmasked
CREATE TEMP TABLE t1 AS SELECT id, segment FROM customers
;;
SELECT count(*) FROM t1
--- temp table as select masked
CREATE TEMP TABLE t2 AS SELECT id, email, credit FROM customers
;;
SELECT * FROM t2 ORDER BY id LIMIT 5
--- select into temp
SELECT id, ssn INTO TEMP t3 FROM customers WHERE id < 5
;;
SELECT * FROM t3 ORDER BY id
--- temp table and insert select
CREATE TEMP TABLE t4 (id int, email text)
;;
INSERT INTO t4 SELECT id, email FROM customers WHERE id < 5
;;
SELECT * FROM t4 ORDER BY id
--- temp table that hides a governed one
CREATE TEMP TABLE customers (id int, email text)
;;
INSERT INTO customers VALUES (1, 'mine')
;;
SELECT * FROM customers
;;
SELECT email FROM public.customers WHERE id = 1
--- create and drop a table
CREATE TABLE scratch (id int PRIMARY KEY, t text)
;;
INSERT INTO scratch VALUES (1, 'a')
;;
ALTER TABLE scratch ADD COLUMN n int DEFAULT 3
;;
SELECT * FROM scratch
;;
DROP TABLE scratch
--- create an index
CREATE INDEX by_status ON orders (status)
--- create table like
CREATE TEMP TABLE copy_of_regions (LIKE regions INCLUDING ALL)
;;
INSERT INTO copy_of_regions SELECT * FROM regions
;;
SELECT * FROM copy_of_regions ORDER BY id
--- create a view of ungoverned tables
CREATE TEMP VIEW cheap AS SELECT id, title FROM products WHERE price < 50
;;
SELECT count(*) FROM cheap
--- create a sequence
CREATE SEQUENCE counter START 5
;;
SELECT nextval('counter'), currval('counter')
--- generated column after insert
INSERT INTO products (id, category_id, sku, title, price) VALUES (500, 4, 'SKU-X', 'Odd chairs', 3) RETURNING search
--- refresh materialized view
REFRESH MATERIALIZED VIEW monthly_sales
--- copy in | copy "5\tfive\tFive\n6\tsix\tSix\n"
COPY regions FROM STDIN
--- copy in with columns | copy "bulk,one\nbulk,two\n"
COPY audit_log (actor, what) FROM STDIN (FORMAT csv)
--- copy in to a governed table | copy "8001\tQ\tq@x.example\t905-05-0005\t7\t1\thome\n"
COPY customers (id, name, email, ssn, credit, region_id, segment) FROM STDIN
