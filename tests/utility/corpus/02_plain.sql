--- all columns
SELECT * FROM customers ORDER BY id
--- all columns of an alias
SELECT c.* FROM customers c ORDER BY c.id
--- all columns twice
SELECT c.*, c.* FROM customers AS c ORDER BY c.id LIMIT 5
--- named masked columns
SELECT id, email, phone, ssn, birth_date, address, credit FROM customers ORDER BY id
--- one masked column
SELECT email FROM customers
--- unmasked columns only
SELECT id, name, segment FROM customers ORDER BY id
--- schema qualified
SELECT public.customers.email FROM public.customers WHERE public.customers.id < 10 ORDER BY public.customers.id
--- schema qualified star
SELECT public.customers.* FROM public.customers ORDER BY public.customers.id LIMIT 3
--- quoted names
SELECT "c"."email", "c"."Full Name" FROM "public"."customers" AS "c" ORDER BY "c"."id" LIMIT 10
--- upper case names
SELECT ID, EMAIL, SSN FROM CUSTOMERS ORDER BY ID LIMIT 10
--- table command
TABLE regions
--- table command on a governed table
TABLE customers ORDER BY id LIMIT 10
--- only
SELECT id, email FROM ONLY customers ORDER BY id LIMIT 4
--- only in parentheses
SELECT id, contact FROM ONLY (parties) ORDER BY id
--- star behind the name
SELECT id, contact FROM parties * ORDER BY id
--- column aliases
SELECT email AS e, phone "the phone", ssn ssn2 FROM customers ORDER BY id LIMIT 5
--- table alias with columns
SELECT a, b, c FROM customers AS t (a, b, c) ORDER BY a LIMIT 5
--- distinct masked
SELECT DISTINCT email FROM customers
--- distinct unmasked
SELECT DISTINCT segment FROM customers ORDER BY segment
--- distinct on
SELECT DISTINCT ON (segment) segment, id, email FROM customers ORDER BY segment, id
--- count star
SELECT count(*) FROM customers
--- count column
SELECT count(phone), count(DISTINCT phone), count(birth_date) FROM customers
--- aggregates over masked columns
SELECT min(credit), max(credit), avg(credit), sum(credit), stddev(credit), count(credit) FROM customers
--- aggregates of text
SELECT min(email), max(ssn), string_agg(phone, ',' ORDER BY id) FROM customers WHERE id < 5
--- array aggregate
SELECT region_id, array_agg(email ORDER BY id) FROM customers GROUP BY region_id ORDER BY region_id
--- where on unmasked
SELECT id, email FROM customers WHERE segment = 'home' AND id > 250 ORDER BY id
--- where equals masked
SELECT id, name FROM customers WHERE email = 'sentinel7@mail.example'
--- where masked equals the mask
SELECT count(*) FROM customers WHERE email = '***'
--- where like masked
SELECT id FROM customers WHERE ssn LIKE '9%'
--- where masked range
SELECT id FROM customers WHERE birth_date BETWEEN date '1960-01-01' AND date '1970-01-01' ORDER BY id
--- where masked is null
SELECT count(*) FROM customers WHERE phone IS NULL
--- where masked is not null
SELECT count(*) FROM customers WHERE birth_date IS NOT NULL AND phone IS NOT NULL
--- where in list
SELECT id FROM customers WHERE email IN ('a', 'b', '***') ORDER BY id LIMIT 3
--- or and not
SELECT id FROM customers WHERE NOT (segment = 'home' OR is_active) ORDER BY id
--- order by masked then key
SELECT id, email FROM customers ORDER BY email, id LIMIT 20
--- order by ordinal
SELECT id, credit FROM customers ORDER BY 2 DESC, 1 LIMIT 10
--- order by expression
SELECT id FROM customers ORDER BY upper(name), id LIMIT 10
--- order by output alias that hides a column
SELECT id, name AS email FROM customers ORDER BY email, id LIMIT 10
--- limit and offset
SELECT id, ssn FROM customers ORDER BY id LIMIT 5 OFFSET 10
--- fetch first
SELECT id, ssn FROM customers ORDER BY id OFFSET 2 ROWS FETCH FIRST 3 ROWS ONLY
--- fetch with ties
SELECT segment FROM customers ORDER BY segment FETCH FIRST 1 ROWS WITH TIES
--- case
SELECT id, CASE WHEN credit > 500 THEN 'high' WHEN credit > 0 THEN 'some' ELSE 'none' END FROM customers ORDER BY id LIMIT 10
--- coalesce nullif greatest
SELECT id, coalesce(phone, 'none'), nullif(email, '***'), greatest(credit, 5) FROM customers ORDER BY id LIMIT 10
--- string functions
SELECT id, lower(email), length(ssn), substr(phone, 1, 3), split_part(email, '@', 2), email || '!' FROM customers ORDER BY id LIMIT 10
--- casts
SELECT id, ssn::varchar, credit::text, credit::integer, birth_date::timestamp, address::text FROM customers ORDER BY id LIMIT 10
--- arithmetic
SELECT id, credit * 2 + 1, credit / 3 FROM customers ORDER BY id LIMIT 10
--- date arithmetic
SELECT id, birth_date + 1, birth_date - date '2000-01-01', extract(year FROM birth_date) FROM customers ORDER BY id LIMIT 10
--- json access
SELECT id, address ->> 'zip', address -> 'street', profile ->> 'theme' FROM customers ORDER BY id LIMIT 10
--- whole row
SELECT c FROM customers c WHERE id < 4 ORDER BY id
--- whole row to json
SELECT row_to_json(c) FROM customers c WHERE id < 4 ORDER BY id
--- to_jsonb of whole row
SELECT to_jsonb(customers) FROM customers WHERE id < 4 ORDER BY id
--- json_agg of whole rows
SELECT json_agg(c ORDER BY c.id) FROM customers c WHERE id < 4
--- field of a whole row
SELECT (c).email, (c).id FROM customers c WHERE id < 4 ORDER BY id
--- expanded whole row
SELECT (c).* FROM customers c WHERE id < 4 ORDER BY id
--- attribute notation
SELECT email(c) FROM customers c WHERE id < 4 ORDER BY id
--- row constructor
SELECT ROW(id, email, credit) FROM customers WHERE id < 4 ORDER BY id
--- row comparison
SELECT id FROM customers WHERE (id, segment) > (298, 'a') ORDER BY id
--- count of whole rows
SELECT count(c) FROM customers c
--- masked array from scalars
SELECT ARRAY[email, ssn] FROM customers WHERE id < 4 ORDER BY id
--- unmasked array
SELECT id, tags, tags[1], cardinality(tags) FROM customers WHERE 'vip' = ANY (tags) ORDER BY id LIMIT 10
--- jsonb operators
SELECT id FROM customers WHERE profile @> '{"theme": "dark"}' AND profile ? 'logins' ORDER BY id LIMIT 10
--- json path
SELECT id, jsonb_path_query_array(profile, '$.flags[*] ? (@ > 3)') FROM customers ORDER BY id LIMIT 10
--- for update
SELECT id, email FROM customers WHERE id = 5 FOR UPDATE
--- for share skip locked
SELECT id, email FROM customers WHERE id IN (5, 6) ORDER BY id FOR SHARE SKIP LOCKED
--- for update of alias
SELECT c.id, c.email, o.id FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id = 18 ORDER BY o.id FOR UPDATE OF o
--- for no key update of a governed alias
SELECT c.id, c.email FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id = 18 ORDER BY o.id FOR NO KEY UPDATE OF c NOWAIT
--- tablesample
SELECT count(*) >= 0 FROM customers TABLESAMPLE SYSTEM (100)
--- tablesample repeatable
SELECT id, email FROM customers TABLESAMPLE BERNOULLI (100) REPEATABLE (7) ORDER BY id LIMIT 5
--- system columns
SELECT tableoid::regclass, id, email FROM customers ORDER BY id LIMIT 3
--- ctid
SELECT count(ctid), count(xmin) FROM customers
--- boolean column masked
SELECT id, remote, NOT remote FROM hr.employees ORDER BY id
--- enum column masked
SELECT id, feeling, feeling::text, feeling = 'calm' FROM hr.employees ORDER BY id
--- bigint column masked
SELECT id, national_id, national_id % 10 FROM hr.employees ORDER BY id
--- numeric column masked
SELECT department, avg(salary), max(salary) FROM hr.employees GROUP BY department ORDER BY department
--- inet column masked
SELECT id, source, host(source), masklen(source) FROM events ORDER BY id LIMIT 10
--- uuid column masked
SELECT id, receipt, receipt::text FROM payments ORDER BY id LIMIT 10
--- bytea column masked
SELECT id, scan, length(scan), encode(scan, 'hex') FROM documents ORDER BY id LIMIT 10
--- varchar column masked
SELECT id, card_number, right(card_number, 4), iban FROM payments ORDER BY id LIMIT 10
--- timestamps beside masks
SELECT id, paid_at, card_number FROM payments WHERE paid_at < '2025-02-01' ORDER BY id LIMIT 10
--- self join
SELECT e.name, m.name AS manager, e.salary - m.salary AS gap FROM hr.employees e LEFT JOIN hr.employees m ON e.manager_id = m.id ORDER BY e.id
--- self join on a masked column
SELECT count(*) FROM hr.employees a JOIN hr.employees b ON a.salary = b.salary AND a.id < b.id
--- cross join
SELECT count(*) FROM regions, categories
--- select without from
SELECT 1 + 1, 'x' AS y, now() > timestamptz '2020-01-01'
--- values
VALUES (1, 'a'), (2, 'b') ORDER BY 1
--- empty select list
SELECT FROM customers WHERE id = 1
--- constant from a governed table
SELECT 1 FROM customers WHERE id <= 2
--- exists
SELECT EXISTS (SELECT 1 FROM customers WHERE id = 3)
--- collate
SELECT name COLLATE "C" FROM customers ORDER BY name COLLATE "C", id LIMIT 5
--- comments and odd spacing
SELECT/* a /* nested */ comment */id,-- the mail
  email FROM   customers  /* t */ ORDER   BY id LIMIT 2
--- parentheses everywhere
((SELECT ((email)) FROM ((customers c JOIN regions r ON ((r.id = c.region_id)))) WHERE ((c.id) = (3))))
--- unicode text
SELECT id, 'größe – 寸法' AS label, email FROM customers WHERE id = 1
--- unicode ahead of a reference
SELECT 'ñandú 🦩' AS "ключ", c.ssn FROM customers c WHERE c.id = 2
