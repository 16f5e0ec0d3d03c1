--- copy table out
COPY regions TO STDOUT
--- copy governed table out
COPY customers TO STDOUT
--- copy governed columns out
COPY customers (id, email, ssn) TO STDOUT
--- copy unmasked columns out
COPY customers (id, segment) TO STDOUT
--- copy csv with header
COPY customers (id, email, birth_date) TO STDOUT WITH (FORMAT csv, HEADER)
--- copy csv force quote
COPY payments (id, card_number) TO STDOUT (FORMAT csv, FORCE_QUOTE *, NULL 'nil', DELIMITER ';')
--- copy old syntax
COPY public.customers (id, phone) TO STDOUT CSV HEADER
--- copy query out
COPY (SELECT id, email FROM customers WHERE id < 10 ORDER BY id) TO STDOUT
--- copy query with join
COPY (SELECT o.id, c.email FROM orders o JOIN customers c ON c.id = o.customer_id ORDER BY o.id LIMIT 50) TO STDOUT (FORMAT csv)
--- copy binary
COPY regions TO STDOUT (FORMAT binary)
--- copy governed binary
COPY hr.employees TO STDOUT (FORMAT binary)
--- copy quoted name
COPY "public"."customers" ("id", "email", "name") TO STDOUT
--- copy view rows
COPY (SELECT * FROM active_customers ORDER BY id) TO STDOUT
--- copy inheritance parent
COPY parties TO STDOUT
--- copy inheritance child
COPY persons TO STDOUT
--- copy partition
COPY events_2025_q1 TO STDOUT
--- copy schema table
COPY hr.employees (id, salary, remote, feeling, hired_on, national_id) TO STDOUT
--- copy bytea and inet
COPY documents (id, scan) TO STDOUT
--- cursor
DECLARE c1 CURSOR FOR SELECT id, email FROM customers ORDER BY id
;;
FETCH 3 FROM c1
;;
MOVE 2 FROM c1
;;
FETCH FORWARD 2 FROM c1
;;
CLOSE c1
--- scroll cursor
DECLARE c2 SCROLL CURSOR FOR SELECT id, ssn FROM customers ORDER BY id
;;
FETCH LAST FROM c2
;;
FETCH PRIOR FROM c2
;;
FETCH ABSOLUTE 1 FROM c2
--- cursor with hold
DECLARE c3 CURSOR WITH HOLD FOR SELECT id, phone FROM customers ORDER BY id
;;
FETCH ALL FROM c3
--- binary cursor
DECLARE c4 BINARY CURSOR FOR SELECT id, credit FROM customers ORDER BY id
;;
FETCH 2 FROM c4
--- cursor over a join
DECLARE c5 NO SCROLL CURSOR FOR SELECT c.email, o.total FROM customers c JOIN orders o ON o.customer_id = c.id ORDER BY o.id
;;
FETCH 5 c5
--- prepare and execute
PREPARE p1 (int) AS SELECT id, email FROM customers WHERE id = $1
;;
EXECUTE p1 (5)
;;
EXECUTE p1 (6)
;;
DEALLOCATE p1
--- prepare without types
PREPARE p2 AS SELECT id, ssn FROM customers WHERE segment = $1 ORDER BY id LIMIT $2
;;
EXECUTE p2 ('home', 3)
--- prepare an update
PREPARE p3 (text, int) AS UPDATE orders SET note = $1 WHERE id = $2
;;
EXECUTE p3 ('n', 4)
--- temp table from execute
PREPARE p4 AS SELECT id, title FROM regions
;;
CREATE TEMP TABLE p4t AS EXECUTE p4
;;
SELECT * FROM p4t ORDER BY id
--- explain execute
PREPARE p5 (int) AS SELECT email FROM customers WHERE id = $1
;;
EXPLAIN EXECUTE p5 (3)
--- parameter of a masked comparison | with ["sentinel5@mail.example"]
SELECT id FROM customers WHERE email = $1
--- parameters of several types | with ["5", "2025-01-01", "12.5", "true"]
SELECT c.id, c.credit FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id < $1 AND o.ordered_at > $2 AND o.total > $3 AND c.is_active = $4 ORDER BY o.id
--- parameter array | with ["{1,2,3}"]
SELECT id, email FROM customers WHERE id = ANY ($1) ORDER BY id
--- parameter null | with [null]
SELECT id, phone FROM customers WHERE $1::text IS NULL AND id < 4 ORDER BY id
--- parameter compared with a masked date | with ["1990-01-01"]
SELECT count(*) FROM customers WHERE birth_date < $1
--- parameter compared with a masked number | with ["100"]
SELECT count(*) FROM hr.employees WHERE salary > $1 AND national_id > 3
--- parameter beside a masked enum | with ["calm"]
SELECT count(*) FROM hr.employees WHERE feeling = $1
--- parameter beside a masked uuid | with ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]
SELECT count(*) FROM payments WHERE receipt = $1
--- parameter beside a masked inet | with ["10.0.0.0/8"]
SELECT count(*) FROM events WHERE source << $1
--- parameter of a limit | with ["3"]
SELECT id, ssn FROM customers ORDER BY id LIMIT $1
--- parameter in an insert | with ["7100", "Para", "p@x.example", "906-06-0006"]
INSERT INTO customers (id, name, email, ssn, credit, region_id, segment) VALUES ($1, $2, $3, $4, 1, 1, 'home')
--- parameter in a case | with ["7"]
SELECT id, CASE WHEN id = $1::int THEN email ELSE name END FROM customers WHERE id < 9 ORDER BY id
--- typed error parameter | with ["seven"]
SELECT id FROM customers WHERE id = $1
--- error position
SELECT id, email FORM customers
--- unknown function
SELECT id, nofunc(email) FROM customers
--- wrong type
SELECT id FROM customers WHERE credit = 'abc'
--- ambiguous column
SELECT id FROM customers c JOIN orders o ON o.customer_id = c.id
--- missing group by
SELECT email, count(*) FROM customers GROUP BY segment
