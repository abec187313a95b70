-- From invoice lines to a shop: staged.orders and staged.refunds are what the shop's till
-- would have written, and shop.orders is its table, still empty.
\pset footer off
\pset pager off
\pset null '-'
SET client_min_messages = warning;

CREATE SCHEMA demo;
CREATE SCHEMA staged;
CREATE SCHEMA shop;
CREATE TABLE demo.steps (
	no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	step text NOT NULL,
	began timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE shop.orders (
	order_no text PRIMARY KEY,
	customer_id text,				-- NULL: a guest
	country text NOT NULL,
	ordered_at timestamptz NOT NULL,
	total numeric(12,2) NOT NULL CHECK (total >= 0),
	refunded numeric(12,2) NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND total),
	status text NOT NULL DEFAULT 'paid'
);

\set step 'Reading 541,909 invoice lines'
\ir step.sql
CREATE TABLE staged.lines (
	line_no bigint GENERATED ALWAYS AS IDENTITY,
	invoice_no text NOT NULL,
	stock_code text NOT NULL,
	quantity integer NOT NULL,
	invoiced_at timestamp NOT NULL,
	unit_price numeric NOT NULL,
	customer_id text,
	country text NOT NULL
);
\copy staged.lines (invoice_no, stock_code, quantity, invoiced_at, unit_price, customer_id, country) FROM PROGRAM 'gzip -dc demo/data/online_retail.csv.gz' (FORMAT csv, HEADER)
ANALYZE staged.lines;
SELECT count(*) AS lines, count(DISTINCT invoice_no) AS invoices, count(DISTINCT customer_id) AS customers,
	count(*) FILTER (WHERE customer_id IS NULL) AS guest_lines, sum(quantity * unit_price)::numeric(12,2) AS value
FROM staged.lines;

-- Points that died years ago would make a dull demo, so the year is moved to end now: by
-- whole weeks, so that a Tuesday stays a Tuesday, and by local time, so that nine in the
-- morning stays nine in the morning.
SELECT floor(extract(epoch FROM now() AT TIME ZONE 'Europe/London' - max(invoiced_at)) / 604800)::integer AS weeks
FROM staged.lines \gset
\echo All times below are moved by :weeks weeks, so that this year of data ends in the present.

\set step 'Orders: the invoices'
\ir step.sql
-- An invoice whose lines were sold and have a price. Left out are credit notes (below),
-- adjustments of bad debt, and lines without a price: stock that was written off.
CREATE TABLE staged.sales AS
SELECT line_no, invoice_no AS order_no, customer_id, country, stock_code, quantity, unit_price,
	invoiced_at + :weeks * interval '1 week' AS invoiced_at
FROM staged.lines
WHERE invoice_no ~ '^[0-9]' AND quantity > 0 AND unit_price > 0;
ANALYZE staged.sales;

CREATE TABLE staged.orders AS
SELECT order_no, min(customer_id) AS customer_id, min(country) AS country,
	min(invoiced_at) AT TIME ZONE 'Europe/London' AS ordered_at,
	sum(quantity * unit_price)::numeric(12,2) AS total
FROM staged.sales
GROUP BY order_no
ORDER BY ordered_at, order_no;
ANALYZE staged.orders;
SELECT CASE WHEN customer_id IS NULL THEN 'guest' ELSE 'known customer' END AS placed_by,
	count(*) AS orders, count(DISTINCT customer_id) AS customers, sum(total) AS total,
	(min(ordered_at) AT TIME ZONE 'Europe/London')::date AS first, (max(ordered_at) AT TIME ZONE 'Europe/London')::date AS last
FROM staged.orders
GROUP BY 1
ORDER BY 1 DESC;

\set step 'Refunds: the credit notes, each line traced to the order it undoes'
\ir step.sql
-- A credit note does not say which order it is about. Each of its lines is taken to undo
-- the same customer's latest earlier line of the same article that has enough left after
-- the returns before it. Since a return changes what is left for the next one, all
-- customers' first returns of an article are traced at once, then all second ones, and
-- so on: left_over holds a customer's purchases of an article, latest first.
CREATE TABLE staged.credits AS
SELECT line_no, invoice_no AS credit_note, customer_id, stock_code, -quantity AS quantity, unit_price,
	invoiced_at + :weeks * interval '1 week' AS invoiced_at,
	row_number() OVER (PARTITION BY customer_id, stock_code ORDER BY invoiced_at, line_no) AS nth
FROM staged.lines
WHERE invoice_no LIKE 'C%' AND quantity < 0;
ANALYZE staged.credits;

CREATE TABLE staged.traced AS
WITH RECURSIVE trace AS (
	SELECT customer_id, stock_code,
		array_agg(line_no ORDER BY invoiced_at DESC, line_no DESC) AS sales,
		array_agg(invoiced_at ORDER BY invoiced_at DESC, line_no DESC) AS sold_at,
		array_agg(quantity ORDER BY invoiced_at DESC, line_no DESC) AS left_over,
		0::bigint AS nth, NULL::bigint AS credit_line, NULL::bigint AS sale_line
	FROM staged.sales
	JOIN (SELECT DISTINCT customer_id, stock_code FROM staged.credits) AS c USING (customer_id, stock_code)
	GROUP BY customer_id, stock_code
	UNION ALL
	SELECT customer_id, stock_code, t.sales, t.sold_at,
		CASE WHEN i IS NULL THEN t.left_over
			ELSE t.left_over[:i - 1] || (t.left_over[i] - c.quantity) || t.left_over[i + 1:] END,
		c.nth, c.line_no, t.sales[i]
	FROM trace t JOIN staged.credits c USING (customer_id, stock_code)
	LEFT JOIN LATERAL (
		SELECT min(i) AS i FROM generate_subscripts(t.sales, 1) AS i
		WHERE t.sold_at[i] < c.invoiced_at AND t.left_over[i] >= c.quantity
	) AS latest ON true
	WHERE c.nth = t.nth + 1
)
SELECT credit_line, sale_line FROM trace WHERE sale_line IS NOT NULL;
ANALYZE staged.traced;

CREATE TABLE staged.returns AS
SELECT c.line_no, c.credit_note, c.customer_id,
	c.invoiced_at AT TIME ZONE 'Europe/London' AS returned_at,
	c.quantity * c.unit_price AS value,
	s.order_no,
	-- No more than was paid: some were credited at a higher price than they were bought at.
	CASE WHEN s.order_no IS NOT NULL THEN c.quantity * least(c.unit_price, s.unit_price) END AS refund
FROM staged.credits c
LEFT JOIN staged.traced t ON t.credit_line = c.line_no
LEFT JOIN staged.sales s ON s.line_no = t.sale_line;

CREATE TABLE staged.refunds AS
SELECT order_no, credit_note, min(returned_at) AS refunded_at, sum(refund)::numeric(12,2) AS amount
FROM staged.returns
WHERE order_no IS NOT NULL
GROUP BY order_no, credit_note
ORDER BY refunded_at, credit_note, order_no;

-- Every penny of the credit notes is in one of these rows. What could not be traced
-- (no earlier order within the year, or postage and discounts) stays aside.
CREATE TABLE staged.reconciliation AS
SELECT 1 AS no, 'credited to known customers' AS what, count(*) AS lines, sum(value) AS amount
FROM staged.returns WHERE customer_id IS NOT NULL
UNION ALL
SELECT 2, '  refunds of an order', count(*), sum(refund) FROM staged.returns WHERE order_no IS NOT NULL
UNION ALL
SELECT 3, '  credited above the price paid', count(*), sum(value - refund)
FROM staged.returns WHERE value > refund
UNION ALL
SELECT 4, '  no order found', count(*), sum(value)
FROM staged.returns WHERE customer_id IS NOT NULL AND order_no IS NULL
UNION ALL
SELECT 5, 'credited to guests, so untraceable', count(*), sum(value) FROM staged.returns WHERE customer_id IS NULL;

DO $$
DECLARE
	credited numeric := (SELECT -sum(quantity * unit_price) FROM staged.lines
						 WHERE invoice_no LIKE 'C%' AND quantity < 0 AND customer_id IS NOT NULL);
	accounted numeric := (SELECT sum(amount) FROM staged.reconciliation WHERE no IN (2, 3, 4));
	booked numeric := (SELECT sum(amount) FROM staged.refunds);
	beyond bigint := (SELECT count(*) FROM staged.orders o
					  JOIN (SELECT order_no, sum(amount) AS amount FROM staged.refunds GROUP BY order_no) r USING (order_no)
					  WHERE r.amount > o.total);
BEGIN
	IF credited <> accounted OR booked <> (SELECT amount FROM staged.reconciliation WHERE no = 2) OR beyond > 0 THEN
		RAISE EXCEPTION 'the refunds do not add up: % credited, % accounted for, % booked, % orders over-refunded',
			credited, accounted, booked, beyond;
	END IF;
END $$;
SELECT what, lines, amount::numeric(12,2) FROM staged.reconciliation ORDER BY no;
