--- q01 pricing summary
SELECT status, sum(oi.quantity) AS sum_qty, sum(oi.price) AS sum_base_price, sum(oi.price * (1 - 0.05)) AS sum_disc_price,
    avg(oi.quantity) AS avg_qty, avg(oi.price) AS avg_price, count(*) AS count_order
FROM orders o JOIN order_items oi ON oi.order_id = o.id
WHERE o.ordered_at <= timestamptz '2025-06-01 00:00+00' - interval '90' day
GROUP BY status ORDER BY status
--- q02 minimum cost
SELECT c.name, p.title, p.price FROM products p, categories c0, customers c
WHERE p.category_id = c0.id AND c.id = p.id AND p.price = (SELECT min(p2.price) FROM products p2 WHERE p2.category_id = p.category_id)
ORDER BY p.price DESC, c.name, p.id LIMIT 100
--- q03 shipping priority
SELECT o.id, sum(oi.price * oi.quantity) AS revenue, o.ordered_at
FROM customers c, orders o, order_items oi
WHERE c.segment = 'consumer' AND c.id = o.customer_id AND oi.order_id = o.id AND o.ordered_at < timestamptz '2025-03-15 00:00+00'
GROUP BY o.id, o.ordered_at ORDER BY revenue DESC, o.ordered_at LIMIT 10
--- q04 order priority checking
SELECT status, count(*) AS order_count FROM orders
WHERE ordered_at >= timestamptz '2025-02-01 00:00+00' AND ordered_at < timestamptz '2025-02-01 00:00+00' + interval '3' month
    AND EXISTS (SELECT * FROM order_items WHERE order_id = orders.id AND price < 100)
GROUP BY status ORDER BY status
--- q05 local supplier volume
SELECT r.title, sum(oi.price * oi.quantity) AS revenue FROM customers c, orders o, order_items oi, regions r
WHERE c.id = o.customer_id AND oi.order_id = o.id AND c.region_id = r.id GROUP BY r.title ORDER BY revenue DESC
--- q06 forecasting revenue change
SELECT sum(oi.price * 0.06) AS revenue FROM order_items oi JOIN orders o ON o.id = oi.order_id
WHERE o.ordered_at >= date '2025-01-01' AND o.ordered_at < date '2025-01-01' + interval '1' year AND oi.quantity < 24
--- q07 volume shipping
SELECT supp, cust, l_year, sum(volume) AS revenue FROM (
    SELECT r1.title AS supp, r2.title AS cust, extract(year FROM o.ordered_at AT TIME ZONE 'UTC') AS l_year, oi.price AS volume
    FROM order_items oi, orders o, customers c, regions r1, regions r2
    WHERE oi.order_id = o.id AND o.customer_id = c.id AND c.region_id = r2.id AND ((r1.code = 'N' AND r2.code = 'S') OR (r1.code = 'S' AND r2.code = 'N'))
) AS shipping GROUP BY supp, cust, l_year ORDER BY supp, cust, l_year
--- q08 market share
SELECT o_month, sum(CASE WHEN title = 'North' THEN volume ELSE 0 END) / sum(volume) AS mkt_share FROM (
    SELECT date_trunc('month', o.ordered_at AT TIME ZONE 'UTC') AS o_month, oi.price AS volume, r.title
    FROM order_items oi, orders o, customers c, regions r WHERE oi.order_id = o.id AND o.customer_id = c.id AND c.region_id = r.id
) AS all_regions GROUP BY o_month ORDER BY o_month
--- q09 product type profit
SELECT cat, o_year, sum(amount) AS sum_profit FROM (
    SELECT k.title AS cat, extract(year FROM o.ordered_at AT TIME ZONE 'UTC') AS o_year, oi.price * oi.quantity - net(oi.price) AS amount
    FROM products p, order_items oi, orders o, categories k WHERE p.id = oi.product_id AND o.id = oi.order_id AND k.id = p.category_id AND p.title LIKE '%lamp%'
) AS profit GROUP BY cat, o_year ORDER BY cat, o_year DESC
--- q10 returned items with contact
SELECT c.id, c.name, sum(oi.price * oi.quantity) AS revenue, c.credit, c.address, c.phone, c.email
FROM customers c, orders o, order_items oi
WHERE c.id = o.customer_id AND oi.order_id = o.id AND o.status = 'returned'
GROUP BY c.id, c.name, c.credit, c.phone, c.address, c.email ORDER BY revenue DESC, c.id LIMIT 20
--- q10 grouped by key only
SELECT c.id, c.name, sum(oi.price * oi.quantity) AS revenue, c.credit, c.phone
FROM customers c JOIN orders o ON c.id = o.customer_id JOIN order_items oi ON oi.order_id = o.id
GROUP BY c.id ORDER BY revenue DESC, c.id LIMIT 20
--- q11 important stock
SELECT s.product_id, sum(s.amount * p.price) AS value FROM stock s, products p WHERE s.product_id = p.id
GROUP BY s.product_id HAVING sum(s.amount * p.price) > (SELECT sum(s2.amount * p2.price) * 0.001 FROM stock s2, products p2 WHERE s2.product_id = p2.id)
ORDER BY value DESC, s.product_id
--- q12 shipping modes
SELECT p.method, sum(CASE WHEN o.status = 'paid' OR o.status = 'shipped' THEN 1 ELSE 0 END) AS high, sum(CASE WHEN o.status <> 'paid' AND o.status <> 'shipped' THEN 1 ELSE 0 END) AS low
FROM orders o, payments p WHERE o.id = p.order_id AND p.method IN ('card', 'sepa') GROUP BY p.method ORDER BY p.method
--- q13 customer distribution
SELECT c_count, count(*) AS custdist FROM (
    SELECT c.id, count(o.id) FROM customers c LEFT OUTER JOIN orders o ON c.id = o.customer_id AND o.note NOT LIKE '%special%' GROUP BY c.id
) AS c_orders (c_id, c_count) GROUP BY c_count ORDER BY custdist DESC, c_count DESC
--- q14 promotion effect
SELECT 100.00 * sum(CASE WHEN p.title LIKE 'Bright%' THEN oi.price ELSE 0 END) / sum(oi.price) AS promo FROM order_items oi, products p WHERE oi.product_id = p.id
--- q15 top supplier with
WITH revenue (product, total) AS (SELECT product_id, sum(price * quantity) FROM order_items GROUP BY product_id)
SELECT p.id, p.title, r.total FROM products p, revenue r WHERE p.id = r.product AND r.total = (SELECT max(total) FROM revenue) ORDER BY p.id
--- q16 parts relationship
SELECT p.category_id, count(DISTINCT oi.order_id) AS cnt FROM order_items oi, products p
WHERE p.id = oi.product_id AND p.title NOT LIKE 'Steel%' AND oi.order_id NOT IN (SELECT id FROM orders WHERE note LIKE '%gift%')
GROUP BY p.category_id ORDER BY cnt DESC, p.category_id
--- q17 small quantity order
SELECT sum(oi.price) / 7.0 AS avg_yearly FROM order_items oi, products p WHERE p.id = oi.product_id AND oi.quantity < (SELECT 1.2 * avg(quantity) FROM order_items WHERE product_id = p.id)
--- q18 large volume customers
SELECT c.name, c.id, o.id, o.ordered_at, o.total, sum(oi.quantity) FROM customers c, orders o, order_items oi
WHERE o.id IN (SELECT order_id FROM order_items GROUP BY order_id HAVING sum(quantity) > 7) AND c.id = o.customer_id AND o.id = oi.order_id
GROUP BY c.name, c.id, o.id, o.ordered_at, o.total ORDER BY o.total DESC, o.id LIMIT 100
--- q19 discounted revenue
SELECT sum(oi.price * (1 - 0.1)) AS revenue FROM order_items oi, products p
WHERE (p.id = oi.product_id AND p.attributes ->> 'colour' = 'red' AND oi.quantity BETWEEN 1 AND 3) OR (p.id = oi.product_id AND p.attributes ->> 'colour' = 'oak' AND oi.quantity >= 2)
--- q20 potential promotion
SELECT c.name, c.address FROM customers c WHERE c.id IN (
    SELECT o.customer_id FROM orders o WHERE o.id IN (SELECT oi.order_id FROM order_items oi WHERE oi.quantity > 2)
) AND c.segment = 'home' ORDER BY c.name, c.id
--- q21 waiting orders
SELECT c.name, count(*) AS numwait FROM customers c, orders o1 WHERE o1.customer_id = c.id AND o1.status = 'open'
    AND EXISTS (SELECT * FROM orders o2 WHERE o2.customer_id = o1.customer_id AND o2.id <> o1.id)
    AND NOT EXISTS (SELECT * FROM orders o3 WHERE o3.customer_id = o1.customer_id AND o3.id <> o1.id AND o3.status = 'returned')
GROUP BY c.name ORDER BY numwait DESC, c.name LIMIT 100
--- q22 global sales opportunity
SELECT cntrycode, count(*) AS numcust, sum(credit) AS totacctbal FROM (
    SELECT substring(phone FROM 1 FOR 2) AS cntrycode, credit FROM customers
    WHERE substring(phone FROM 1 FOR 2) IN ('+1', '13', '**') AND credit >= (SELECT avg(credit) FROM customers WHERE credit >= 0.00)
        AND NOT EXISTS (SELECT * FROM orders WHERE orders.customer_id = customers.id AND orders.note = 'x')
) AS custsale GROUP BY cntrycode ORDER BY cntrycode
