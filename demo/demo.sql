\set step 'Loading the orders with COPY'
\ir step.sql
\copy shop.orders (order_no, customer_id, country, ordered_at, total) FROM PROGRAM 'psql -XAtqc "COPY staged.orders TO STDOUT"'

\set step 'Booking the refunds'
\ir step.sql
UPDATE shop.orders o
SET refunded = r.amount, status = CASE WHEN r.amount = o.total THEN 'returned' ELSE o.status END
FROM (SELECT order_no, sum(amount) AS amount FROM staged.refunds GROUP BY order_no) AS r
WHERE r.order_no = o.order_no;

\set step 'The year in the shop'
\ir step.sql
SELECT to_char(ordered_at AT TIME ZONE 'Europe/London', 'YYYY-MM') AS month, count(*) AS orders,
	count(DISTINCT customer_id) AS customers, count(*) FILTER (WHERE customer_id IS NULL) AS by_guests,
	sum(total) AS sold, sum(refunded) AS refunded
FROM shop.orders
GROUP BY 1
ORDER BY 1;
