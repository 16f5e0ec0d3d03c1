-- A shop whose customers, employees and payments carry personal data. Everything is made from series, so two databases
-- filled by this file are alike. What is masked is listed in masked.json.
-- Extensions that many databases have: their operators share the names of built-in ones.
CREATE EXTENSION citext;
CREATE EXTENSION hstore;
CREATE EXTENSION pg_trgm;
CREATE TYPE mood AS ENUM ('calm', 'cross', 'glad');

CREATE TABLE regions (
    id integer PRIMARY KEY,
    code varchar(8) NOT NULL UNIQUE,
    title text NOT NULL
);
CREATE TABLE customers (
    id integer PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL,
    phone varchar(20),
    ssn char(11) NOT NULL,
    birth_date date,
    address jsonb,
    credit numeric(10, 2) NOT NULL,
    region_id integer NOT NULL REFERENCES regions,
    segment varchar(12) NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    tags text[] NOT NULL DEFAULT '{}',
    profile jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    "Full Name" text GENERATED ALWAYS AS (upper(name)) STORED
);
CREATE TABLE categories (
    id integer PRIMARY KEY,
    parent_id integer REFERENCES categories,
    title text NOT NULL
);
CREATE TABLE products (
    id integer PRIMARY KEY,
    category_id integer NOT NULL REFERENCES categories,
    sku text NOT NULL UNIQUE,
    title text NOT NULL,
    price numeric(10, 2) NOT NULL,
    attributes jsonb NOT NULL DEFAULT '{}',
    search tsvector GENERATED ALWAYS AS (to_tsvector('english', title)) STORED
);
CREATE TABLE orders (
    id integer PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers,
    ordered_at timestamptz NOT NULL,
    status text NOT NULL,
    total numeric(12, 2) NOT NULL,
    note text
);
CREATE TABLE order_items (
    order_id integer NOT NULL REFERENCES orders,
    line integer NOT NULL,
    product_id integer NOT NULL REFERENCES products,
    quantity integer NOT NULL,
    price numeric(10, 2) NOT NULL,
    PRIMARY KEY (order_id, line)
);
CREATE TABLE payments (
    id bigint PRIMARY KEY,
    order_id integer NOT NULL REFERENCES orders,
    method text NOT NULL,
    card_number varchar(19),
    iban text,
    amount numeric(12, 2) NOT NULL,
    paid_at timestamp NOT NULL,
    receipt uuid NOT NULL
);
CREATE SCHEMA hr;
CREATE TABLE hr.employees (
    id integer PRIMARY KEY,
    manager_id integer REFERENCES hr.employees,
    name text NOT NULL,
    title text NOT NULL,
    department text NOT NULL,
    salary numeric(10, 2) NOT NULL,
    national_id bigint NOT NULL,
    hired_on date NOT NULL,
    remote boolean NOT NULL,
    feeling mood NOT NULL
);
-- Partitions: the parent's masks hold for each.
CREATE TABLE events (
    id bigint NOT NULL,
    customer_id integer NOT NULL,
    happened_at timestamptz NOT NULL,
    kind text NOT NULL,
    source inet,
    payload jsonb NOT NULL
) PARTITION BY RANGE (happened_at);
CREATE TABLE events_2025_q1 PARTITION OF events FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2025-04-01 00:00+00');
CREATE TABLE events_2025_q2 PARTITION OF events FOR VALUES FROM ('2025-04-01 00:00+00') TO ('2025-07-01 00:00+00');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
-- Inheritance.
CREATE TABLE parties (id integer NOT NULL, name text NOT NULL, contact text);
CREATE TABLE companies (vat text, employees integer) INHERITS (parties);
CREATE TABLE persons (passport text) INHERITS (parties);

CREATE TABLE documents (
    id integer PRIMARY KEY,
    customer_id integer REFERENCES customers,
    title text NOT NULL,
    body text NOT NULL,
    lang regconfig NOT NULL DEFAULT 'english',
    words tsvector,
    scan bytea,
    valid daterange
);
CREATE TABLE audit_log (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), actor text NOT NULL, what text NOT NULL);
CREATE TABLE labels (id integer PRIMARY KEY, code citext NOT NULL UNIQUE, extra hstore NOT NULL);
CREATE TABLE stock (product_id integer PRIMARY KEY REFERENCES products, amount integer NOT NULL, updated_at timestamptz NOT NULL);

CREATE VIEW active_customers AS SELECT id, name, email, region_id, segment FROM customers WHERE is_active;
CREATE VIEW customer_totals AS
SELECT c.id, c.name, c.segment, count(o.id) AS orders, coalesce(sum(o.total), 0) AS total
FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.id, c.name, c.segment;
CREATE VIEW contact_list AS SELECT c.id, c.name || ' <' || c.email || '>' AS contact, c.phone FROM customers c;
CREATE VIEW revenue_by_region AS
SELECT r.code, r.title, sum(o.total) AS revenue
FROM regions r JOIN customers c ON c.region_id = r.id JOIN orders o ON o.customer_id = c.id
WHERE o.status <> 'returned' GROUP BY r.code, r.title;
CREATE VIEW hr.directory AS SELECT id, name, title, department FROM hr.employees;
CREATE MATERIALIZED VIEW monthly_sales AS
SELECT date_trunc('month', ordered_at AT TIME ZONE 'UTC') AS month, count(*) AS orders, sum(total) AS total FROM orders GROUP BY 1;

CREATE FUNCTION net(gross numeric, rate numeric DEFAULT 0.19) RETURNS numeric LANGUAGE sql IMMUTABLE
    AS 'SELECT round(gross / (1 + rate), 2)';
CREATE FUNCTION order_size(items bigint) RETURNS text LANGUAGE plpgsql IMMUTABLE
    AS $$BEGIN RETURN CASE WHEN items > 2 THEN 'large' ELSE 'small' END; END$$;

INSERT INTO regions SELECT n, (ARRAY['N', 'S', 'E', 'W'])[n], (ARRAY['North', 'South', 'East', 'West'])[n] FROM generate_series(1, 4) n;
INSERT INTO customers (id, name, email, phone, ssn, birth_date, address, credit, region_id, segment, is_active, tags, profile, created_at)
SELECT n,
    (ARRAY['Ada', 'Ben', 'Chloe', 'Dev', 'Elif', 'Femi', 'Grace', 'Hugo'])[1 + n % 8] || ' '
        || (ARRAY['Abbott', 'Baker', 'Costa', 'Diaz', 'Evans', 'Fischer', 'Gupta'])[1 + n % 7],
    'sentinel' || n || '@mail.example',
    CASE WHEN n % 9 = 0 THEN NULL ELSE '+1-202-555-' || lpad((n * 13 % 10000)::text, 4, '0') END,
    lpad((900 + n % 90)::text, 3, '0') || '-' || lpad((n % 90 + 10)::text, 2, '0') || '-' || lpad((n * 7 % 10000)::text, 4, '0'),
    CASE WHEN n % 11 = 0 THEN NULL ELSE date '1950-03-01' + n * 97 END,
    jsonb_build_object('street', 'Sentinel Way ' || n, 'zip', lpad((n * 31 % 99999)::text, 5, '0')),
    100 + n * 7.25,
    1 + n % 4,
    (ARRAY['consumer', 'corporate', 'home'])[1 + n % 3],
    n % 10 <> 0,
    CASE WHEN n % 5 = 0 THEN ARRAY['vip', 'news'] WHEN n % 3 = 0 THEN ARRAY['news'] ELSE '{}' END,
    jsonb_build_object('theme', (ARRAY['dark', 'light'])[1 + n % 2], 'logins', n % 50, 'flags', jsonb_build_array(n % 3, n % 7)),
    timestamptz '2024-01-01 00:00+00' + n * interval '19 hours'
FROM generate_series(1, 300) n;
INSERT INTO categories VALUES (1, NULL, 'All'), (2, 1, 'Furniture'), (3, 1, 'Lighting'), (4, 2, 'Chairs'), (5, 2, 'Desks'), (6, 3, 'Lamps'), (7, 3, 'Bulbs');
INSERT INTO products (id, category_id, sku, title, price, attributes)
SELECT n, 4 + n % 4, 'SKU-' || lpad(n::text, 4, '0'),
    (ARRAY['Wooden', 'Steel', 'Bright', 'Soft', 'Large'])[1 + n % 5] || ' ' || (ARRAY['lamp', 'chair', 'desk', 'shelf'])[1 + n % 4] || ' ' || n,
    5 + n * 3.5, jsonb_build_object('colour', (ARRAY['red', 'oak', 'white'])[1 + n % 3], 'weight', n * 1.5)
FROM generate_series(1, 60) n;
INSERT INTO orders
SELECT n, 1 + n * 17 % 299, timestamptz '2025-01-01 08:00+00' + n * interval '5 hours',
    (ARRAY['paid', 'shipped', 'returned', 'open'])[1 + n / 4 % 4], 20 + n % 180 * 2.5, CASE WHEN n % 6 = 0 THEN 'gift ' || n END
FROM generate_series(1, 900) n;
INSERT INTO order_items
SELECT o.id, l, 1 + (o.id * 7 + l) % 60, 1 + (o.id + l) % 4, 5 + (o.id * 7 + l) % 60 * 3.5
FROM orders o, generate_series(1, 1 + o.id % 3) l ORDER BY 1, 2;
INSERT INTO payments
SELECT 1000 + o.id, o.id, (ARRAY['card', 'sepa', 'cash'])[1 + o.id % 3],
    CASE WHEN o.id % 3 = 0 THEN '4' || lpad((o.id * 7919 % 1000000000)::text, 15, '0') END,
    CASE WHEN o.id % 3 = 1 THEN 'DE' || lpad((o.id * 104729::bigint % 100000000000)::text, 20, '0') END,
    o.total, (o.ordered_at AT TIME ZONE 'UTC') + interval '1 day', md5(o.id::text)::uuid
FROM orders o WHERE o.status <> 'open' ORDER BY o.id;
INSERT INTO hr.employees
SELECT n, CASE WHEN n > 1 THEN n / 4 + CASE WHEN n < 4 THEN 1 ELSE 0 END END, (ARRAY['Iris', 'Jon', 'Kim', 'Leo'])[1 + n % 4] || ' ' || n,
    (ARRAY['clerk', 'lead', 'engineer'])[1 + n % 3], (ARRAY['sales', 'it', 'hr'])[1 + n % 3],
    30000 + n * 731.5, 7700000000 + n * 7, date '2010-01-01' + n * 41, n % 2 = 0, (ARRAY['calm', 'cross', 'glad'])[1 + n % 3]::mood
FROM generate_series(1, 40) n;
INSERT INTO events
SELECT n, 1 + n * 11 % 299, timestamptz '2025-01-05 00:00+00' + n * interval '6 hours', (ARRAY['login', 'view', 'buy'])[1 + n % 3],
    ('10.77.' || n % 200 || '.' || n % 250)::inet, jsonb_build_object('page', n % 20, 'ms', n * 3 % 700)
FROM generate_series(1, 1000) n;
INSERT INTO parties SELECT n, 'party ' || n, 'contact-sentinel-' || n FROM generate_series(1, 5) n;
INSERT INTO companies SELECT n, 'company ' || n, 'contact-sentinel-' || n, 'VAT' || n, n * 3 FROM generate_series(6, 12) n;
INSERT INTO persons SELECT n, 'person ' || n, 'contact-sentinel-' || n, 'PASS-SENTINEL-' || n FROM generate_series(13, 20) n;
INSERT INTO documents (id, customer_id, title, body, scan, valid)
SELECT n, 1 + n % 299, 'Contract ' || n, 'The quick agreement number ' || n || ' about ' || (ARRAY['lamps', 'chairs', 'desks'])[1 + n % 3] || ' and delivery',
    decode(md5('sentinel' || n), 'hex'), daterange(date '2024-01-01' + n, date '2024-01-01' + n + 90)
FROM generate_series(1, 50) n;
UPDATE documents SET words = to_tsvector(lang, body);
INSERT INTO labels SELECT n, 'Label-' || n, hstore('rank', (n % 4)::text) || hstore('tone', 'tone' || n) FROM generate_series(1, 30) n;
INSERT INTO stock SELECT id, id * 3 % 40, timestamptz '2025-06-01 00:00+00' FROM products;
INSERT INTO audit_log (at, actor, what) SELECT timestamptz '2025-01-01 00:00+00' + n * interval '1 day', 'user' || n % 4, 'did ' || n FROM generate_series(1, 30) n;
CREATE INDEX customers_by_region ON customers (region_id);
CREATE INDEX orders_by_customer ON orders (customer_id);
CREATE INDEX customers_by_name ON customers USING gin (name gin_trgm_ops);
CREATE INDEX documents_by_words ON documents USING gin (words);
REFRESH MATERIALIZED VIEW monthly_sales;
VACUUM FULL;
ANALYZE;
