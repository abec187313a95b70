-- retention: repeat_summary, retention_summary, their aggregates and errors
\i test/sql/include/begin.psql

-- text
SELECT '(customers:4,repeat_customers:2,orders:9)'::repeat_summary, '(orders:0, repeat_customers:0, customers:0)'::repeat_summary, repeat_summary(4, 2, 9);
SELECT '(start:200,retained:180,end:210)'::retention_summary, retention_summary(200, 180, 210);
SELECT pg_temp.failure(format('SELECT loyalty.repeat_summary(%s)', counts))
FROM unnest(ARRAY['-1, 0, 0', '2, 3, 9', '4, 2, 5', '4, 0, 5', '0, 0, 1']) AS counts;
SELECT pg_temp.failure(format('SELECT loyalty.retention_summary(%s)', counts)) FROM unnest(ARRAY['1, 2, 3', '3, 2, 1', '-1, -1, 3']) AS counts;
SELECT pg_temp.failure('SELECT ''(customers:4,orders:9)''::loyalty.repeat_summary');
SELECT pg_temp.failure('SELECT ''(start:1,retained:2,end:3)''::loyalty.retention_summary');

-- binary
SELECT repeat_summary_send(repeat_summary(4, 2, 9)), retention_summary_send(retention_summary(200, 180, 210));
SELECT pg_temp.receive('repeat_summary', repeat_summary_send(repeat_summary(4, 2, 9))), pg_temp.receive('retention_summary', retention_summary_send(retention_summary(200, 180, 210)));
SELECT pg_temp.receive('repeat_summary', '\x01' || int8send(2) || int8send(3) || int8send(9)), pg_temp.receive('retention_summary', '\x07' || int8send(2) || int8send(1) || int8send(9));

-- accessors; no customers, no rate
SELECT customers(s), repeat_customers(s), orders(s), repeat_purchase_rate(s), purchase_frequency(s) FROM unnest(ARRAY[repeat_summary(4, 2, 9), repeat_summary(0, 0, 0)]) s;
SELECT start_customers(s), retained(s), end_customers(s), lost(s), new_customers(s), retention_rate(s), churn_rate(s)
FROM unnest(ARRAY[retention_summary(200, 180, 210), retention_summary(0, 0, 5)]) s;
SELECT repeat_summary(4, 2, 9) = repeat_summary(4, 2, 9), repeat_summary(4, 2, 9) <> repeat_summary(4, 3, 9), retention_summary(3, 2, 5) = retention_summary(3, 2, 4);

-- the classical formulas
SELECT retention_rate(200, 210, 30), churn_rate(200, 210, 30), retention_rate(0, 5, 5), churn_rate(10, 3, 3);
SELECT pg_temp.failure(format('SELECT loyalty.retention_rate(%s)', counts)) FROM unnest(ARRAY['200, 210, 5', '200, 210, 211', '-1, 0, 0', '5, 5, -1']) AS counts;
SELECT pg_temp.failure('SELECT loyalty.churn_rate(200, 210, 5)');

-- orders: ann three on two days, bob two on one day, cid one, a guest
CREATE TABLE retention_orders (customer text, ordered date, at timestamptz);
INSERT INTO retention_orders SELECT c, d, d + time '12:00' FROM (VALUES
	('ann', date '2024-01-05'), ('ann', '2024-01-05'), ('ann', '2024-03-01'), ('bob', '2024-01-31'), ('bob', '2024-01-31'),
	('cid', '2024-02-10'), (NULL, '2024-02-01'), ('dee', NULL)) v(c, d);
SELECT repeat_agg(customer), repeat_purchase_rate(customer), purchase_frequency(customer) FROM retention_orders;
-- a day is an order: the row without a day is skipped
SELECT repeat_agg(customer, ordered), repeat_purchase_rate(customer, ordered), purchase_frequency(customer, ordered) FROM retention_orders;
SELECT repeat_agg(customer), repeat_purchase_rate(customer), purchase_frequency(customer) FROM retention_orders WHERE customer IS NULL;
SELECT repeat_agg(customer, ordered) FROM retention_orders WHERE false;

-- two periods: January, then February and March
SELECT retention_agg(customer, ordered, '[2024-01-01,2024-01-31]', '[2024-02-01,2024-03-31]'), retention_rate(customer, ordered, '[2024-01-01,2024-01-31]', '[2024-02-01,2024-03-31]'),
	churn_rate(customer, ordered, '[2024-01-01,2024-01-31]', '[2024-02-01,2024-03-31]') FROM retention_orders;
-- each kind of bound: bob's orders are on the border
SELECT retention_agg(customer, at, '[2024-01-01 00:00+00,2024-02-01 00:00+00)', '[2024-02-01 00:00+00,)'), retention_agg(customer, ordered + time '12:00', '(,2024-01-31 12:00]', '(2024-01-31 12:00,)'),
	retention_agg(customer, ordered + time '12:00', '(,2024-01-31 12:00)', '[2024-01-31 12:00,)') FROM retention_orders;
SELECT retention_agg(customer, ordered, 'empty', '[2024-01-01,2024-02-01)'), retention_rate(customer, ordered, 'empty', '[2024-01-01,2024-02-01)') FROM retention_orders;
SELECT retention_agg(customer, ordered, '[2020-01-01,2020-02-01)', '[2021-01-01,2021-02-01)'), retention_agg(customer, ordered, NULL, '[2024-01-01,2024-02-01)') FROM retention_orders;
SELECT pg_temp.failure(format('SELECT loyalty.retention_agg(customer, ordered, %L, %L) FROM retention_orders', a, b))
FROM (VALUES ('[2024-01-01,2024-02-01)', '[2024-01-31,2024-03-01)'), ('[2024-02-01,2024-03-01)', '[2024-01-01,2024-02-01)'), ('[2024-01-01,)', '[2024-02-01,)'), ('[2024-01-01,2024-02-01)', '(,)')) v(a, b);
SELECT pg_temp.failure($$SELECT loyalty.retention_rate(customer, at, '[2024-01-01 00:00+00,2024-02-01 00:00+00]', '[2024-02-01 00:00+00,)') FROM retention_orders$$);

-- each customer's own periods: thirty days from the first order, and the next thirty
SELECT retention_agg(customer, ordered, daterange(first, first + 30), daterange(first + 30, first + 60))
FROM (SELECT *, min(ordered) OVER (PARTITION BY customer) AS first FROM retention_orders) o;

-- customers of any type that can be hashed, by that type's equality
CREATE TYPE retention_colour AS ENUM ('red', 'green');
CREATE DOMAIN retention_id AS bigint;
SELECT repeat_agg(v::int2) AS int2, repeat_agg(v::retention_id) AS domain, repeat_agg(v::numeric) AS numeric, repeat_agg(v::text) AS text, repeat_agg(v::float8) AS float8
FROM unnest(ARRAY[1, 2, 2, -3, 1]) v;
SELECT repeat_agg(v) FROM unnest(ARRAY[1.0, 1.00, 2]) v;
SELECT repeat_agg(('00000000-0000-0000-0000-00000000000' || v)::uuid) AS uuid, repeat_agg((ARRAY['red', 'green'])[v]::retention_colour) AS enum,
	repeat_agg(v::text::char(10)) AS bpchar, repeat_agg(('user' || v)::name) AS name
FROM unnest(ARRAY[1, 2, 2]) v;
SELECT repeat_agg(v * interval '1 day') AS interval, repeat_agg(ARRAY[v, 7]) AS array, repeat_agg((v, 'x'::text)) AS row, repeat_agg(v > 1) AS boolean
FROM unnest(ARRAY[1, 2, 2]) v;
SELECT repeat_agg(repeat(v, 100000)), repeat_agg('x'::text, repeat(v, 100000)) FROM unnest(ARRAY['a', 'b', 'a']) v;
SELECT repeat_agg(v COLLATE "C") FROM unnest(ARRAY['a', 'A', 'a']) v;
SELECT pg_temp.failure($$SELECT loyalty.repeat_agg('(1,1)'::point)$$);

-- parallel equals serial equals count(DISTINCT); stored parts roll up to the whole when they share no customers
CREATE TABLE retention_many (id int, customer int, name text, at timestamp, invoice uuid) WITH (parallel_workers = 2);
INSERT INTO retention_many
SELECT i, c, 'customer ' || c, timestamp '2024-01-01' + (i * 37 % 366) * interval '1 day', md5((i % 5000)::text)::uuid
FROM generate_series(1, 20000) i, LATERAL (SELECT (i::bigint * i * 31 % 4001)::int AS c) x;
ANALYZE retention_many;
CREATE VIEW retention_all AS
SELECT repeat_agg(customer) AS by_row, repeat_agg(name) AS by_name, repeat_agg(customer, invoice) AS by_invoice, repeat_agg(name, at) AS by_day,
	repeat_purchase_rate(customer) AS rate, purchase_frequency(name, at) AS frequency,
	retention_agg(customer, at, '[2024-01-01,2024-02-01)', '[2024-06-01,2024-07-01)') AS kept, retention_agg(name, at, '[2024-01-01,2024-02-01)', '[2024-06-01,2024-07-01)') AS kept_by_name,
	retention_rate(name, at, '[2024-01-01,2024-02-01)', '[2024-06-01,2024-07-01)') AS retained, churn_rate(customer, at, '[2024-01-01,2024-02-01)', '[2024-06-01,2024-07-01)') AS churned
FROM retention_many;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT * FROM retention_all;
CREATE TABLE retention_parallel AS SELECT * FROM retention_all;
SET max_parallel_workers_per_gather = 0;
SELECT a = b AS same FROM (SELECT r::text AS a FROM retention_parallel r) p, (SELECT r::text AS b FROM retention_all r) s;
SELECT r.by_row = r.by_name AND r.by_row = repeat_summary(count(*), count(*) FILTER (WHERE n > 1), sum(n)::bigint) AS by_row,
	r.by_invoice = repeat_summary(count(*), count(*) FILTER (WHERE invoices > 1), sum(invoices)::bigint) AS by_invoice,
	r.by_day = repeat_summary(count(*), count(*) FILTER (WHERE days > 1), sum(days)::bigint) AS by_day,
	r.kept = r.kept_by_name AND r.kept = retention_summary(count(*) FILTER (WHERE s), count(*) FILTER (WHERE s AND e), count(*) FILTER (WHERE e)) AS kept,
	r.retained = retention_rate(r.kept) AND r.retained = count(*) FILTER (WHERE s AND e)::float8 / count(*) FILTER (WHERE s) AS retained,
	r.churned = count(*) FILTER (WHERE s AND NOT e)::float8 / count(*) FILTER (WHERE s) AS churned
FROM retention_parallel r, (
	SELECT count(*) AS n, count(DISTINCT invoice) AS invoices, count(DISTINCT at) AS days,
		bool_or(at >= '2024-01-01' AND at < '2024-02-01') AS s, bool_or(at >= '2024-06-01' AND at < '2024-07-01') AS e
	FROM retention_many GROUP BY customer) c
GROUP BY r.by_row, r.by_name, r.by_invoice, r.by_day, r.kept, r.kept_by_name, r.retained, r.churned;
CREATE TABLE retention_parts AS
SELECT customer % 7 AS segment, repeat_agg(customer, at) AS r, retention_agg(customer, at, '[2024-01-01,2024-02-01)', '[2024-06-01,2024-07-01)') AS k
FROM retention_many GROUP BY 1;
SELECT rollup(r) = (SELECT by_day FROM retention_parallel) AS repeat, rollup(k) = (SELECT kept FROM retention_parallel) AS kept FROM retention_parts;
SELECT rollup(r), rollup(k) FROM retention_parts WHERE false;
SELECT rollup(repeat_summary(0, 0, 0)), rollup(retention_summary(0, 0, 0));

-- rollup in moving frames
SELECT i, rollup(repeat_summary(i, i, 2 * i)) OVER w, rollup(retention_summary(10, i, 12)) OVER w
FROM generate_series(1, 4) i WINDOW w AS (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW);

DROP VIEW retention_all;
DROP TABLE retention_orders, retention_many, retention_parallel, retention_parts;
DROP TYPE retention_colour, retention_id;

-- reactivation: quiet in 2024, back in January 2025. ann was dormant and came back, bob was dormant, cid bought in 2024, dee is new, eve bought later only;
-- fay came back in the gap before the return period, so was not dormant
CREATE TABLE reactivation_orders (customer text, at date);
INSERT INTO reactivation_orders VALUES ('ann', '2023-12-31'), ('ann', '2025-01-01'), ('ann', '2025-01-02'), ('bob', '2020-01-01'), ('bob', '2025-02-01'), ('cid', '2023-05-05'), ('cid', '2024-01-01'), ('cid', '2025-01-31'),
	('dee', '2025-01-15'), ('eve', '2025-02-01'), (NULL, '2025-01-01'), ('ann', NULL);
SELECT reactivation_agg(customer, at, '[2024-01-01,2025-01-01)', '[2025-01-01,2025-02-01)'), reactivation_rate(customer, at, '[2024-01-01,2025-01-01)', '[2025-01-01,2025-02-01)') FROM reactivation_orders;
SELECT reactivation_agg(customer, at::timestamptz, '[2024-01-01,2025-01-01)', '[2025-01-01,2025-02-01)') = reactivation_agg(customer, at::timestamp, '[2024-01-01,2025-01-01)', '[2025-01-01,2025-02-01)') FROM reactivation_orders;
INSERT INTO reactivation_orders VALUES ('fay', '2023-01-01'), ('fay', '2025-01-10'), ('fay', '2025-01-20');
SELECT reactivation_agg(customer, at, '[2024-01-01,2025-01-01)', '[2025-01-16,2025-02-01)') FROM reactivation_orders;
-- nobody can be from before a period without a start; an empty period
SELECT reactivation_agg(customer, at, '(,2025-01-01)', '[2025-01-01,2025-02-01)'), reactivation_rate(customer, at, '(,2025-01-01)', '[2025-01-01,2025-02-01)'), reactivation_agg(customer, at, 'empty', '[2025-01-01,2025-02-01)') FROM reactivation_orders;
SELECT dormant(s), reactivated(s), active(s), reactivation_rate(s), reactivation_summary_send(s), pg_temp.receive('reactivation_summary', reactivation_summary_send(s)) FROM (SELECT reactivation_summary(4, 1, 9)) v(s);
SELECT rollup(s) FROM (VALUES (reactivation_summary(4, 1, 9)), (NULL), (reactivation_summary(1, 0, 0))) v(s);
SELECT pg_temp.failure('SELECT ' || a) FROM unnest(ARRAY['loyalty.reactivation_summary(1, 2, 3)', 'loyalty.reactivation_summary(3, 2, 1)', '''(dormant:-1,reactivated:0,active:0)''::loyalty.reactivation_summary',
	'loyalty.reactivation_agg(1, date ''2024-01-01'', ''[2024-01-01,2024-02-01)'', ''[2024-01-15,2024-03-01)'')']) a;
DROP TABLE reactivation_orders;

-- churn: 5 % a month is 46 % a year, not 60; and back
SELECT round(compound_churn(0.05, 12)::numeric, 12), round(1 - 0.95 ^ 12, 12), round(compound_churn(compound_churn(0.05, 12), 1 / 12.0)::numeric, 12), compound_churn(1, 3), compound_churn(1, 0), compound_churn(0, 99), compound_churn(0.3, 0);
-- 0.9 x 0.8 x 0.5; of small ones no digit is lost
SELECT compound_churn(c), compound_churn(c) FILTER (WHERE c < 0.2) FROM unnest(ARRAY[0.1, 0.2, NULL, 0.5]) c;
SELECT compound_churn(c), compound_churn(1e-17, 3), compound_churn(d) FROM unnest(ARRAY[0.1, 1], ARRAY[0, 0]) v(c, d);
SELECT compound_churn(c) FROM unnest('{}'::float8[]) c;
SELECT pg_temp.failure('SELECT loyalty.compound_churn(' || a || ')') FROM unnest(ARRAY['1.01', '-0.1', '''NaN''', '1.01, 2', '0.1, -1', '0.1, ''infinity''']) a;
