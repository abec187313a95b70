-- cohort: the matrix on random orders against plain SQL, in every mode, time zone and order of rows
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;
SET LOCAL jit = off;

SELECT plan(25);

-- half the customers have a few orders, some many; a night in which Paris puts its clock back is among them
CREATE TEMP TABLE orders AS
SELECT i AS id, floor(random() ^ 2 * 120)::int AS customer, timestamptz '2023-09-14 22:30+00' + random() ^ 1.5 * interval '300 days' AS at
FROM (SELECT setseed(0.75)) seed, generate_series(1, 900) i;
INSERT INTO orders VALUES (0, NULL, '2024-01-01'), (-1, 7, NULL), (-2, 8, '2030-01-01');
INSERT INTO orders SELECT 3000 + i, 900 + i, timestamptz '2023-10-28 21:30+00' + i * interval '30 minutes' FROM generate_series(0, 12) i;

CREATE INDEX ON orders (customer, at);
ANALYZE orders;

-- The slow, obvious way. number() is the number of the period an instant is in, start() its first moment.
CREATE FUNCTION pg_temp.number(kind text, at timestamptz, zone text) RETURNS bigint LANGUAGE sql STABLE AS $$
	SELECT CASE kind
		WHEN 'month' THEN extract(year FROM at AT TIME ZONE zone) * 12 + extract(month FROM at AT TIME ZONE zone) - 1
		WHEN 'quarter' THEN extract(year FROM at AT TIME ZONE zone) * 4 + extract(quarter FROM at AT TIME ZONE zone) - 1
		WHEN 'week' THEN (date_trunc('week', at AT TIME ZONE zone)::date - date '2000-01-03') / 7
		WHEN 'day' THEN (at AT TIME ZONE zone)::date - date '2000-01-01'
		WHEN 'hour' THEN floor(extract(epoch FROM at) / 3600) END::bigint $$;
CREATE FUNCTION pg_temp.start(kind text, at timestamptz, zone text) RETURNS timestamp LANGUAGE sql STABLE AS $$
	SELECT CASE kind WHEN 'hour' THEN date_trunc('hour', at) AT TIME ZONE zone ELSE date_trunc(kind, at AT TIME ZONE zone) END $$;

CREATE FUNCTION pg_temp.want(kind text, zone text, as_of timestamptz, mode text, low int DEFAULT NULL, high int DEFAULT NULL)
RETURNS TABLE (cohort timestamp, period int, customers bigint, retained bigint, rate float8) LANGUAGE sql STABLE AS $$
	WITH firsts AS (
		SELECT customer, pg_temp.number(kind, min(at), zone) AS c, pg_temp.start(kind, min(at), zone) AS cohort
		FROM orders WHERE customer IS NOT NULL AND at <= as_of GROUP BY customer
	), active AS (
		SELECT DISTINCT f.customer, f.cohort, f.c, pg_temp.number(kind, o.at, zone) - f.c AS k
		FROM orders o JOIN firsts f USING (customer) WHERE o.at <= as_of
	), cells AS (
		SELECT f.cohort, g.k, count(*) AS customers
		FROM (SELECT *, pg_temp.number(kind, as_of + interval '1 microsecond', zone) - c AS n FROM firsts) f,
			generate_series(coalesce(low, 0), coalesce(low, greatest(f.n - 1, 0))) AS g(k)
		WHERE greatest(f.n - 1, 0) >= coalesce(high, g.k) GROUP BY f.cohort, g.k
	)
	SELECT cohort, k::int, customers, r, r::float8 / customers
	FROM (SELECT *, (SELECT count(DISTINCT a.customer) FROM active a WHERE a.cohort = c.cohort AND
			CASE WHEN c.k = 0 THEN a.k = 0
				WHEN mode = 'on' THEN a.k = c.k
				WHEN mode = 'on_or_after' THEN a.k >= c.k
				WHEN mode = 'within' THEN a.k BETWEEN 1 AND c.k
				ELSE a.k BETWEEN low AND high END) AS r
		FROM cells c) x
	ORDER BY 1, 2 $$;

SELECT set_eq(
	format('SELECT m.* FROM (SELECT loyalty.cohort_agg(customer, at, %L, %L, %L) AS s FROM orders) t, loyalty.cohort_matrix(s, %L) m', as_of, '1 ' || kind, zone, mode),
	format('SELECT * FROM pg_temp.want(%L, %L, %L, %L)', kind, zone, as_of, mode),
	concat_ws(' ', kind, zone, mode, as_of))
FROM (VALUES
	('month', 'UTC', '2024-05-20 10:00+00'), ('month', 'America/New_York', '2024-03-01 04:59:59.999999+00'), ('week', 'Europe/Paris', '2024-05-20 10:00+00'),
	('day', 'Asia/Kathmandu', '2023-10-20 00:00+00')) AS v(kind, zone, as_of), unnest(ARRAY['on', 'on_or_after', 'within']) AS mode;
-- a day of 25 hours: the hour that comes twice is two cohorts of one name
SELECT set_eq(
	$$SELECT m.* FROM (SELECT loyalty.cohort_agg(customer, at, '2023-10-30', '1 day', 'Europe/Paris') AS s FROM orders WHERE id >= 3000) t, loyalty.cohort_matrix(s) m$$,
	$$VALUES (timestamp '2023-10-28', 0, 1::bigint, 1::bigint, 1::float8), ('2023-10-28', 1, 1, 0, 0), ('2023-10-29', 0, 12, 12, 1)$$, 'the night the clock is put back');

SELECT set_eq(
	$$SELECT m.* FROM (SELECT loyalty.cohort_agg(customer, at, '2024-05-20', '1 month') AS s FROM orders) t, loyalty.cohort_matrix(s, 'bracket', '{"[1,2]","[3,6]","[0,1]"}') m$$,
	$$SELECT * FROM pg_temp.want('month', 'UTC', '2024-05-20', 'bracket', 1, 2) UNION ALL SELECT * FROM pg_temp.want('month', 'UTC', '2024-05-20', 'bracket', 3, 6)
		UNION ALL SELECT * FROM pg_temp.want('month', 'UTC', '2024-05-20', 'bracket', 0, 1)$$, 'brackets');

-- periods from each customer's own first order
CREATE FUNCTION pg_temp.want_own(step interval, zone text, as_of timestamptz) RETURNS TABLE (cohort timestamp, period int, customers bigint, retained bigint) LANGUAGE sql STABLE AS $$
	WITH firsts AS (
		SELECT customer, min(at) AT TIME ZONE zone AS f FROM orders WHERE customer IS NOT NULL AND at <= as_of GROUP BY customer
	), windows AS (
		SELECT customer, date_trunc('month', f) AS cohort, k, f + k * step AS low, f + (k + 1) * step AS high FROM firsts, generate_series(0, 70) k
	)
	SELECT cohort, k, count(*), count(*) FILTER (WHERE EXISTS (SELECT FROM orders o WHERE o.customer = w.customer AND o.at <= as_of AND o.at AT TIME ZONE zone >= low AND o.at AT TIME ZONE zone < high))
	FROM windows w WHERE k = 0 OR high <= (as_of + interval '1 microsecond') AT TIME ZONE zone GROUP BY cohort, k ORDER BY 1, 2 $$;
SELECT set_eq(
	$$SELECT m.cohort, m.period, m.customers, m.retained FROM (SELECT loyalty.cohort_agg(customer, at, '2024-03-20', '1 month', 'Europe/Paris', 'first') AS s FROM orders) t, loyalty.cohort_matrix(s) m$$,
	$$SELECT * FROM pg_temp.want_own('1 month', 'Europe/Paris', '2024-03-20')$$, 'months of one''s own');
SELECT set_eq(
	$$SELECT date_trunc('month', m.cohort), m.period, sum(m.customers)::bigint AS a, sum(m.retained)::bigint AS b FROM (SELECT loyalty.cohort_agg(customer, at, '2023-11-20', '1 day', 'UTC', 'first') AS s FROM orders) t, loyalty.cohort_matrix(s) m GROUP BY 1, 2$$,
	$$SELECT * FROM pg_temp.want_own('1 day', 'UTC', '2023-11-20')$$, 'days of one''s own');

-- an origin of one's own: weeks from Sunday, and trading months from the 26th
SELECT set_eq(
	$$SELECT m.cohort, m.period, m.retained FROM (SELECT loyalty.cohort_agg(customer, at, '2024-03-20', '7 days', 'UTC', '2024-01-07') AS s FROM orders) t, loyalty.cohort_matrix(s) m$$,
	$$SELECT m.cohort - interval '1 day', m.period, m.retained FROM (SELECT loyalty.cohort_agg(customer, at + interval '1 day', '2024-03-21', '7 days') AS s FROM orders) t, loyalty.cohort_matrix(s) m$$, 'weeks from Sunday');
SELECT set_eq(
	$$SELECT m.cohort, m.period, m.retained FROM (SELECT loyalty.cohort_agg(customer, at::timestamp, '2024-03-20', '1 month', '2024-01-26 04:00') AS s FROM orders) t, loyalty.cohort_matrix(s) m$$,
	$$WITH f AS (SELECT customer, at::timestamp AS at, CASE WHEN at::timestamp < date_trunc('month', at::timestamp) + interval '25 days 4 hours'
			THEN date_trunc('month', at::timestamp) - interval '1 month' ELSE date_trunc('month', at::timestamp) END + interval '25 days 4 hours' AS c FROM orders WHERE at <= '2024-03-20' AND customer IS NOT NULL),
		d AS (SELECT DISTINCT customer, c, min(c) OVER (PARTITION BY customer) AS cohort FROM f),
		n AS (SELECT cohort, k, cohort + k * interval '1 month' AS at FROM (SELECT DISTINCT cohort FROM d) x, generate_series(0, 20) k)
		SELECT cohort, k, (SELECT count(*) FROM d WHERE d.cohort = n.cohort AND d.c = n.at) FROM n WHERE k = 0 OR at + interval '1 month' <= '2024-03-20'$$, 'trading months');

-- any order, in parts, and by two workers
SELECT is(cohort_agg(customer, at, '2024-05-20', '1 week' ORDER BY id), cohort_agg(customer, at, '2024-05-20', '1 week' ORDER BY at DESC), 'the order of rows does not matter') FROM orders;
SELECT is(cohort_agg(customer, at, '2024-05-20', '1 day', 'UTC', 'first' ORDER BY id), cohort_agg(customer, at, '2024-05-20', '1 day', 'UTC', 'first' ORDER BY at DESC), 'neither for periods of one''s own') FROM orders;
SELECT is(cohort_agg(customer, at, '2024-05-20'), cohort_agg(customer::text, at, '2024-05-20'), 'nor the type of the customer') FROM orders;
SELECT is((SELECT rollup(s) FROM (SELECT cohort_agg(customer, at, '2024-05-20', '1 week') AS s FROM orders GROUP BY customer % 7) x),
	cohort_agg(customer, at, '2024-05-20', '1 week'), 'parts by customer roll up to the whole') FROM orders;
CREATE TABLE public.loyalty_test_orders AS SELECT customer, at FROM orders, generate_series(1, 10);
SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL max_parallel_workers_per_gather = 2;
SELECT is(ARRAY[cohort_agg(customer, at, '2024-05-20', '1 week', 'Europe/Paris'), cohort_agg(customer::text, at, '2024-05-20', '1 week', 'Europe/Paris', 'first')],
	(SELECT ARRAY[cohort_agg(customer, at, '2024-05-20', '1 week', 'Europe/Paris'), cohort_agg(customer::text, at, '2024-05-20', '1 week', 'Europe/Paris', 'first')] FROM orders), 'in parallel')
FROM public.loyalty_test_orders;
-- a window goes on with a state that was read
SELECT is((SELECT count(*) FROM (SELECT id, cohort_agg(customer, at, '2024-05-20') OVER (ORDER BY id) AS w FROM orders WHERE id BETWEEN 1 AND 150) x
	WHERE w IS DISTINCT FROM (SELECT cohort_agg(customer, at, '2024-05-20') FROM orders o WHERE o.id BETWEEN 1 AND x.id)), 0::bigint, 'growing frames');

-- the time to the next order, of those that are seen to the end of their periods
SELECT set_eq(
	$$SELECT c.duration, c.events, c.censored FROM (SELECT loyalty.cohort_agg(customer, at, '2024-05-20', '1 week') AS s FROM orders) t, loyalty.survival_curve(loyalty.time_to_next_purchase(s)) c$$,
	$$WITH w AS (SELECT DISTINCT customer, pg_temp.number('week', at, 'UTC') AS w FROM orders WHERE at < '2024-05-20' AND customer IS NOT NULL),
		g AS (SELECT lead(w) OVER (PARTITION BY customer ORDER BY w) - w AS gap, pg_temp.number('week', '2024-05-20', 'UTC') - 1 - w AS rest FROM w)
		SELECT coalesce(gap, rest)::float8, count(gap), count(*) - count(gap) FROM g GROUP BY 1$$, 'time to the next order');

SELECT * FROM finish();
ROLLBACK;
