-- value: order_summary, its aggregates, the simple formula and errors
\i test/sql/include/begin.psql

-- text: times are shown in UTC whatever the session's zone
SET TimeZone = 'Asia/Tokyo';
SET DateStyle = 'SQL, DMY';
SELECT order_summary(3, 2, 120.50, '2010-12-01 08:26+00', '2011-12-09 12:50:00.25+00'), order_summary(0, 0, 0), order_summary(0, 0, -9.99);
SELECT '(orders:3,customers:2,revenue:120.50,first:2010-12-01T08:26:00+00:00,last:2011-12-09T12:50:00.25+00:00)'::order_summary;
SELECT s, s::text::order_summary = s AS same FROM order_summary(1, 1, 1e20, '0044-03-15 00:00+00 BC', '20000-01-01 00:00+00') s;
SELECT first_order(s), last_order(s) FROM order_summary(2, 1, 1, '2011-01-01 00:00+00', '2011-07-01 00:00+00') s;
RESET TimeZone;
RESET DateStyle;
SELECT input, pg_temp.failure(format('SELECT %L::loyalty.order_summary', input))
FROM unnest(ARRAY[
	'(orders:1,customers:1,revenue:1)', '(orders:1,customers:1,revenue:x,first:2010-12-01Z,last:2010-12-01Z)', '(orders:1,customers:1,revenue:NaN,first:2010-12-01Z,last:2010-12-01Z)',
	'(orders:1,customers:2,revenue:1,first:2010-12-01Z,last:2010-12-01Z)', '(orders:1,customers:0,revenue:1,first:2010-12-01Z,last:2010-12-01Z)', '(orders:-1,customers:0,revenue:1)',
	'(orders:0,customers:0,revenue:1,first:2010-12-01Z)', '(orders:1,customers:1,revenue:1,first:2010-12-02Z,last:2010-12-01Z)', '(orders:1,customers:1,revenue:1,first:infinity,last:infinity)',
	'(orders:1,customers:1,revenue:1,first:soon,last:2010-12-01Z)']) AS input;
SELECT order_summary(NULL, 1, 1), order_summary(1, 1, NULL);

-- binary
SELECT order_summary_send(order_summary(3, 2, 120.50, '2000-01-01 00:00+00', '2000-01-01 00:00:01+00'));
SELECT pg_temp.receive('order_summary', order_summary_send(s)) = s::text AS same
FROM unnest(ARRAY[order_summary(3, 2, 120.50, '2000-01-01 00:00+00', '2000-01-01 00:00:01+00'), order_summary(0, 0, -0.0001), order_summary(1, 1, 1e100, '2011-01-01', '2011-01-01')]) s;
SELECT pg_temp.receive('order_summary', '\x02' || substr(order_summary_send(order_summary(0, 0, 1)), 2));
SELECT pg_temp.receive('order_summary', '\x01' || int8send(1) || int8send(2) || int8send(0) || int8send(0) || numeric_send(5));
SELECT pg_temp.receive('order_summary', '\x01' || int8send(1) || int8send(1) || int8send(0) || '\x7ffffffffffffffe' || numeric_send(5));

-- equality is of the values
SELECT a = b AS equal, a <> c AS unequal, order_summary_hash(a) = order_summary_hash(b) AS hash, order_summary_hash_extended(a, 7) = order_summary_hash_extended(b, 7) AS hash_extended
FROM (VALUES (order_summary(1, 1, 1.5, '2011-01-01', '2011-01-01'), order_summary(1, 1, 1.500, '2011-01-01', '2011-01-01'), order_summary(1, 1, 1.6, '2011-01-01', '2011-01-01'))) v(a, b, c);

-- Orders: ann two, the first of two lines; bob one and a return; a guest; an order without amount. Half a year lies between
-- the first order and the last.
CREATE TABLE value_orders (customer text, invoice int, amount numeric, at timestamptz);
INSERT INTO value_orders VALUES
	('ann', 1, 10.10, '2024-01-01 00:00+00'), ('ann', 1, 5.05, '2024-01-01 00:00+00'), ('ann', 2, 20, '2024-05-01 00:00+00'),
	('bob', 3, 40.85, '2024-07-01 15:00+00'), ('bob', 4, -10, '2024-09-01 00:00+00'), (NULL, 5, 1000, '2024-08-01 00:00+00'), ('bob', 6, NULL, '2024-12-01 00:00+00');
-- invoices: 3 of 2 customers, 66.00 net; 182.625 days, half of 365.25
SELECT s, revenue(s), orders(s), customers(s) FROM (SELECT order_agg(customer, amount, at, invoice) AS s FROM value_orders) t;
SELECT average_transaction_value(s), purchase_frequency(s), revenue_per_customer(s), orders_per_year(s)
FROM (SELECT order_agg(customer, amount, at, invoice) AS s FROM value_orders) t;
SELECT order_agg(customer, amount, at) FROM value_orders;
-- 22 x 3 a year x 4 years, at a margin of a quarter; in a year's view half of that
SELECT simple_clv(s, 4), simple_clv(s, 4, 0.25), simple_clv(average_transaction_value(s), orders_per_year(s), 4, 0.25), simple_clv(s, 4, 0.25, '1 year'), orders_per_year(s, '6 months')
FROM (SELECT order_agg(customer, amount, at, invoice) AS s FROM value_orders) t;
-- in one call each row is an order: 16.5 x 4 a year
SELECT simple_clv(customer, amount, at, 4), simple_clv(customer, amount, at, 4, 0.25) FROM value_orders;
-- the guest's order counts where no customer is asked for: 1066 / 4 and / 5
SELECT average_transaction_value(amount, invoice), average_transaction_value(amount) FROM value_orders;
SELECT average_transaction_value(amount) FILTER (WHERE amount > 0) FROM value_orders WHERE customer IS NOT NULL;

-- no orders
SELECT order_agg(customer, amount, at), average_transaction_value(amount), simple_clv(customer, amount, at, 4) FROM value_orders WHERE false;
SELECT order_agg(customer, amount, at), average_transaction_value(amount), simple_clv(customer, amount, at, 4) FROM value_orders WHERE invoice = 4;
SELECT average_transaction_value(s), purchase_frequency(s), revenue_per_customer(s), orders_per_year(s), simple_clv(s, 4), first_order(s), last_order(s) FROM order_summary(0, 0, -10) s;
-- one moment is no time to see how often they buy, unless it is said how long they were watched
SELECT simple_clv(customer, amount, at, 4), orders_per_year(order_agg(customer, amount, at)), simple_clv(order_agg(customer, amount, at), 4, 1, '73.05 days') FROM value_orders WHERE invoice = 3;

-- amounts of any number type, exactly; a float counts as the decimal that it shows
SELECT revenue(order_agg(1, v::smallint, now())), revenue(order_agg(1, v, now())), revenue(order_agg(1, v::bigint * 5000000000000000001, now())), revenue(order_agg(1, v + 0.1, now())),
	revenue(order_agg(1, v::real / 10, now())), revenue(order_agg(1, v::float8 / 10, now())), revenue(order_agg(1, v::numeric::money, now()))
FROM unnest(ARRAY[1, 1, 1]) v;
SELECT average_transaction_value(v) FROM unnest(ARRAY[0.1, 0.2]::float8[]) v;
SELECT pg_temp.failure($$SELECT loyalty.average_transaction_value('x'::text)$$);
SELECT pg_temp.failure($$SELECT loyalty.average_transaction_value(true)$$);
SELECT pg_temp.failure($$SELECT loyalty.average_transaction_value('NaN'::float8)$$);
SELECT pg_temp.failure($$SELECT loyalty.order_agg(1, 'Infinity'::numeric, now())$$);
SELECT pg_temp.failure($$SELECT loyalty.order_agg(1, 1, 'infinity')$$);

-- the scalar formula, and what it refuses
SELECT simple_clv(50, 4, 3), simple_clv(50.00, 4, 3), simple_clv(50::numeric, 4, 3, 0.3), simple_clv(50::float8, 4, 3, 0.5), simple_clv(-5.0, 4, 3), simple_clv(NULL, 4, 3);
SELECT call, pg_temp.failure(format('SELECT loyalty.simple_clv(%s)', call))
FROM unnest(ARRAY['50, 4, 3, 30', '50.0, 4, 3, 30', '50, -4, 3', '50.0, -4, 3', '50, 4, -3', '50.0, 4, -3', '''NaN''::float8, 4, 3', '''NaN''::numeric, 4, 3', '1e300::float8, 1e300::float8, 3', '50, 4, 3, ''-Infinity''::float8',
	'loyalty.order_summary(0, 0, 0), -1', 'loyalty.order_summary(0, 0, 0), 1, 2', 'loyalty.order_summary(0, 0, 0), 1, 1, ''0 days''', 'loyalty.order_summary(0, 0, 0), 1, 1, ''170000000 years''']) AS call;
SELECT pg_temp.failure('SELECT loyalty.simple_clv(customer, amount, at, invoice) FROM value_orders');
SELECT pg_temp.failure('SELECT loyalty.simple_clv(customer, amount, at, 1, 1.5) FROM value_orders');
SELECT pg_temp.failure('SELECT loyalty.simple_clv(customer, amount, at, ''NaN'') FROM value_orders');

-- under contract: note 024 of Fader & Hardie, 100 a period, 80 %, 10 %: 110/.3, 80/.3, 100/.3
SELECT timing, round(contractual_clv(100, 0.8, 0.1, timing)::numeric, 10) AS endless, round(discounted_clv(100, 2, 0.8, 0.1, timing)::numeric, 10) AS two, round(discounted_clv(100, 100000, 0.8, 0.1, timing)::numeric, 10) AS many
FROM unnest(ARRAY['begin', 'residual', 'end']) timing;
-- two periods: 100 + 80/1.1; 80/1.1 + 64/1.21; 100/1.1 + 80/1.21
SELECT round(100 + 80 / 1.1, 10), round(80 / 1.1 + 64 / 1.21, 10), round(100 / 1.1 + 80 / 1.21, 10);
-- nothing discounted, nobody leaves; nobody stays; a retention and a discount that hardly differ from 1 and 0
SELECT discounted_clv(100, 12), discounted_clv(100, 0), discounted_clv(100, 5, 0), discounted_clv(100, 5, 0, 0.1, 'residual'), contractual_clv(100, 0, 0), contractual_clv(-3, 0.5, 0);
SELECT round(discounted_clv(1, 1000, 1 - 1e-15)::numeric, 9) AS thousand, round(discounted_clv(1, 3, 1, 1e-12)::numeric, 9) AS three;
-- 12 months of that are 10 % a year
SELECT round(period_discount(0.1, 12)::numeric, 12), round((power(1 + period_discount(0.1, 12), 12) - 1)::numeric, 14), period_discount(0.25, 1), period_discount(0, 12);
SELECT call, pg_temp.failure(format('SELECT loyalty.%s', call))
FROM unnest(ARRAY['contractual_clv(100, 1, 0)', 'contractual_clv(100, 1.1, 0.1)', 'contractual_clv(100, 80, 0.1)', 'contractual_clv(100, 0.8, -0.1)', 'contractual_clv(''NaN'', 0.8, 0.1)', 'contractual_clv(100, 0.8, 0.1, ''middle'')', 'discounted_clv(100, -1)', 'discounted_clv(1e308, 10)', 'period_discount(-0.1, 12)', 'period_discount(0.1, 0)']) AS call;

-- parallel equals serial equals plain SQL; stored parts roll up to the whole when they share no customers
CREATE TABLE value_many (customer int, invoice text, amount numeric, at timestamptz) WITH (parallel_workers = 2);
INSERT INTO value_many
SELECT c, 'invoice ' || c || '/' || i % 3, (i * 7919 % 20011 - 1000) / 100.0, timestamptz '2024-01-01 00:00+00' + (i * 37 % 366) * interval '1 day'
FROM generate_series(1, 20000) i, LATERAL (SELECT (i::bigint * i * 31 % 4001)::int AS c) x;
ANALYZE value_many;
CREATE VIEW value_all AS
SELECT order_agg(customer, amount, at) AS by_row, order_agg(customer, amount, at, invoice) AS by_invoice, average_transaction_value(amount) AS atv, average_transaction_value(amount, invoice) AS atv_by_invoice,
	simple_clv(customer, amount, at, 3) AS clv, simple_clv(invoice, amount, at, 3, 0.2) AS clv_with_margin
FROM value_many;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT * FROM value_all;
CREATE TABLE value_parallel AS SELECT * FROM value_all;
SET max_parallel_workers_per_gather = 0;
SELECT a = b AS same FROM (SELECT r::text AS a FROM value_parallel r) p, (SELECT r::text AS b FROM value_all r) s;
SELECT p.by_row = order_summary(s.rows, s.customers, s.revenue, s.first, s.last) AS by_row,
	p.by_invoice = order_summary(s.invoices, s.customers, s.revenue, s.first, s.last) AS by_invoice,
	p.atv = s.revenue / s.rows AS atv, p.atv_by_invoice = s.revenue / s.invoices AS atv_by_invoice,
	abs(p.clv - s.revenue / s.customers / s.years * 3) < 1e-12 AS clv, abs(p.clv_with_margin - s.revenue / s.invoices / s.years * 3 * 0.2) < 1e-12 AS clv_with_margin
FROM value_parallel p, (
	SELECT *, extract(epoch FROM last - first) / 86400 / 365.25 AS years
	FROM (
		SELECT count(*) FILTER (WHERE amount >= 0) AS rows, count(DISTINCT customer) FILTER (WHERE amount >= 0) AS customers, count(DISTINCT invoice) FILTER (WHERE amount >= 0) AS invoices,
			sum(amount) AS revenue, min(at) FILTER (WHERE amount >= 0) AS first, max(at) FILTER (WHERE amount >= 0) AS last
		FROM value_many) t) s;
CREATE TABLE value_parts AS SELECT customer % 7 AS segment, order_agg(customer, amount, at, invoice) AS s FROM value_many GROUP BY 1;
SELECT rollup(s) = (SELECT by_invoice FROM value_parallel) AS rolled_up FROM value_parts;
SELECT rollup(s) FROM value_parts WHERE false;
SELECT rollup(s) FROM unnest(ARRAY[order_summary(0, 0, -3), NULL, order_summary(1, 1, 5, '2024-01-02 00:00+00', '2024-01-02 00:00+00'), order_summary(2, 1, 0.5, '2024-01-01 00:00+00', '2024-01-01 12:00+00')]) s;

DROP VIEW value_all;
DROP TABLE value_orders, value_many, value_parallel, value_parts;
