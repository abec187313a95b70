-- retention: rates on random orders against plain SQL, in groups, windows and any order of rows
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;

SELECT plan(15);

-- the classical definition: 200 at the start, 210 at the end, 30 of them new
SELECT is(retention_rate(200, 210, 30), 0.9::float8, 'classical retention');
SELECT is(churn_rate(200, 210, 30), 0.1::float8, 'classical churn');
SELECT is(retention_rate(retention_summary(200, 180, 210)), retention_rate(200, 210, 30), 'the summary and the formula agree');

CREATE TEMP TABLE orders AS
SELECT i AS id, 'c' || floor(random() * 400) AS customer, (random() * 4)::int AS segment, date '2024-01-01' + (random() ^ 2 * 360)::int AS day
FROM (SELECT setseed(0.25)) seed, generate_series(1, 3000) i;
UPDATE orders SET customer = NULL WHERE id % 50 = 0;

CREATE TEMP VIEW got AS
SELECT segment, repeat_agg(customer) AS r, repeat_agg(customer, day) AS d, retention_agg(customer, day, '[2024-01-01,2024-03-01)', '[2024-03-01,2024-06-01)') AS k,
	repeat_purchase_rate(customer, day) AS rate, purchase_frequency(customer) AS frequency, retention_rate(customer, day, '[2024-01-01,2024-03-01)', '[2024-03-01,2024-06-01)') AS kept
FROM orders GROUP BY segment;
CREATE TEMP VIEW want AS
SELECT segment, repeat_summary(count(*), count(*) FILTER (WHERE n > 1), sum(n)::bigint) AS r, repeat_summary(count(*), count(*) FILTER (WHERE days > 1), sum(days)::bigint) AS d,
	retention_summary(count(*) FILTER (WHERE s), count(*) FILTER (WHERE s AND e), count(*) FILTER (WHERE e)) AS k,
	count(*) FILTER (WHERE days > 1) / count(*)::float8 AS rate, sum(n)::float8 / count(*) AS frequency, count(*) FILTER (WHERE s AND e) / count(*) FILTER (WHERE s)::float8 AS kept
FROM (SELECT segment, customer, count(*) AS n, count(DISTINCT day) AS days, bool_or(day < '2024-03-01') AS s, bool_or(day >= '2024-03-01' AND day < '2024-06-01') AS e
	FROM orders WHERE customer IS NOT NULL GROUP BY segment, customer) c
GROUP BY segment;
SELECT results_eq('SELECT segment, r::text, d::text, k::text, rate, frequency, kept FROM got ORDER BY segment', 'SELECT segment, r::text, d::text, k::text, rate, frequency, kept FROM want ORDER BY segment', 'groups');

-- a segment's customers are in other segments too: rolling up counts them again, and the docs say so
SELECT ok(customers(rollup(r)) > (SELECT customers(repeat_agg(customer)) FROM orders), 'rollup adds, it does not merge') FROM got;
-- customers of one segment each: the parts are the whole
SELECT is(rollup(r), (SELECT repeat_agg(customer) FROM orders), 'parts by customer roll up to the whole')
FROM (SELECT repeat_agg(customer) AS r FROM orders GROUP BY left(customer, 2)) t;

SELECT is(repeat_agg(customer, day ORDER BY id), repeat_agg(customer, day ORDER BY id DESC), 'the order of rows does not matter') FROM orders;

-- a growing frame: the state goes on after it was read
SELECT is((SELECT count(*) FROM (
	SELECT id, repeat_agg(customer, day) OVER (ORDER BY id) AS w FROM orders WHERE id <= 120) x
	WHERE w IS DISTINCT FROM (SELECT repeat_agg(customer, day) FROM orders o WHERE o.id <= x.id)), 0::bigint, 'growing frames');
SELECT is((SELECT count(*) FROM (
	SELECT id, retention_agg(customer, day, '[2024-01-01,2024-02-01)', '[2024-02-01,)') OVER (ORDER BY id ROWS 40 PRECEDING) AS w FROM orders WHERE id <= 120) x
	WHERE w IS DISTINCT FROM (SELECT retention_agg(customer, day, '[2024-01-01,2024-02-01)', '[2024-02-01,)') FROM orders o WHERE o.id BETWEEN x.id - 40 AND x.id)), 0::bigint, 'sliding frames');

-- FILTER and DISTINCT are the server's
SELECT is(orders(repeat_agg(DISTINCT customer)), customers(repeat_agg(customer)), 'DISTINCT') FROM orders;
SELECT is(repeat_agg(customer) FILTER (WHERE segment = 1), (SELECT r FROM got WHERE segment = 1), 'FILTER') FROM orders;

-- who was quiet and came back, against plain SQL, by workers and in growing frames
CREATE TEMP VIEW back AS
SELECT reactivation_agg(customer, day, '[2024-03-01,2024-06-01)', '[2024-06-01,2024-09-01)') AS got,
	(SELECT reactivation_summary(count(*) FILTER (WHERE b AND NOT q), count(*) FILTER (WHERE b AND NOT q AND r), count(*) FILTER (WHERE r))
		FROM (SELECT bool_or(day < '2024-03-01') AS b, bool_or(day >= '2024-03-01' AND day < '2024-06-01') AS q, bool_or(day >= '2024-06-01' AND day < '2024-09-01') AS r FROM orders WHERE customer IS NOT NULL GROUP BY customer) c) AS want
FROM orders;
SELECT is(got, want, 'reactivation') FROM back;
SELECT is((SELECT rollup(s) FROM (SELECT reactivation_agg(customer, day, '[2024-03-01,2024-06-01)', '[2024-06-01,2024-09-01)') AS s FROM orders GROUP BY customer) x), want, 'reactivation in parts') FROM back;
SELECT is((SELECT count(*) FROM (
	SELECT id, reactivation_agg(customer, day, '[2024-02-01,2024-03-01)', '[2024-03-01,)') OVER (ORDER BY id) AS w FROM orders WHERE id <= 120) x
	WHERE w IS DISTINCT FROM (SELECT reactivation_agg(customer, day, '[2024-02-01,2024-03-01)', '[2024-03-01,)') FROM orders o WHERE o.id <= x.id)), 0::bigint, 'reactivation in growing frames');

-- under a collation that ignores case, customers are equal that differ in bytes
SELECT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i') AS icu \gset
\if :icu
CREATE COLLATION public.loyalty_test_careless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
SELECT is(repeat_agg(v COLLATE public.loyalty_test_careless), repeat_summary(2, 1, 3), 'collation') FROM unnest(ARRAY['ann', 'ANN', 'bob']) v;
\else
SELECT skip('built without ICU', 1);
\endif

SELECT * FROM finish();
ROLLBACK;
