CREATE TABLE customers (
    id integer PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    ssn text NOT NULL,
    region text NOT NULL,
    joined date NOT NULL
);
CREATE TABLE products (
    id integer PRIMARY KEY,
    title text NOT NULL,
    price numeric(10, 2) NOT NULL
);
CREATE TABLE orders (
    id integer PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers,
    product_id integer NOT NULL REFERENCES products,
    quantity integer NOT NULL,
    ordered_at timestamptz NOT NULL,
    status text NOT NULL
);
INSERT INTO customers
SELECT n,
    (ARRAY['Ada', 'Ben', 'Chloe', 'Dev', 'Elif', 'Femi', 'Grace', 'Hugo'])[1 + n % 8] || ' '
        || (ARRAY['Abbott', 'Baker', 'Costa', 'Diaz', 'Evans', 'Fischer', 'Gupta'])[1 + n % 7],
    'customer' || n || '@shop.example',
    lpad((100 + n % 800)::text, 3, '0') || '-' || lpad((n % 90 + 10)::text, 2, '0') || '-' || lpad((n * 7 % 10000)::text, 4, '0'),
    (ARRAY['north', 'south', 'east', 'west'])[1 + n % 4],
    date '2024-01-01' + n % 700
FROM generate_series(1, 200) AS n;
INSERT INTO products
SELECT n, (ARRAY['Lamp', 'Chair', 'Desk', 'Shelf', 'Rug'])[1 + n % 5] || ' ' || n, (5 + n * 3.5)::numeric(10, 2)
FROM generate_series(1, 20) AS n;
INSERT INTO orders
SELECT n, 1 + n * 17 % 199, 1 + n * 7 % 19, 1 + n % 4,
    timestamptz '2025-01-01 08:00+00' + n * interval '7 hours',
    (ARRAY['paid', 'shipped', 'returned', 'open'])[1 + n / 4 % 4]
FROM generate_series(1, 1000) AS n;
CREATE INDEX orders_by_customer ON orders (customer_id);
CREATE VIEW revenue AS
SELECT c.region, sum(o.quantity * p.price) AS revenue
FROM orders o JOIN customers c ON c.id = o.customer_id JOIN products p ON p.id = o.product_id
WHERE o.status <> 'returned'
GROUP BY c.region;
ANALYZE;
