-- rfm: rfm_agg against published customers and against plain SQL on random purchases
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;

SELECT plan(32);

-- Three customers of the CDNOW sample to 1997-09-30. Fader & Hardie's sheet has, in weeks with two decimals, x, t_x, T and
-- mean repeat spend: (2, 30.43, 38.86, 22.35), (1, 1.71, 38.86, 11.77), (0, 0, 38.86, -).
CREATE TEMP TABLE cdnow (id int, at date, amount numeric);
INSERT INTO cdnow VALUES
	(1, '1997-01-01', 29.33), (1, '1997-01-18', 29.73), (1, '1997-08-02', 14.96), (1, '1997-12-12', 26.48),
	(2, '1997-01-01', 63.34), (2, '1997-01-13', 11.77),
	(3, '1997-01-01', 6.79);
SELECT is(rfm_agg(at, amount, '1997-09-30'), want, 'CDNOW customer ' || id)
FROM cdnow JOIN (VALUES (1, rfm(2, 213, 272, 22.345)), (2, rfm(1, 12, 272, 11.77)), (3, rfm(0, 0, 272))) w(n, want) ON n = id
GROUP BY id, want ORDER BY id;

-- Random purchases: some days twice, some amounts unknown, amounts in eighths so that sums are exact. The years hold the day
-- that Samoa skipped (2011-12-30) and Newfoundland's clock changes at one minute past midnight.
CREATE TEMP TABLE purchases AS
SELECT customer, at, CASE WHEN random() < 0.9 THEN floor(random() * 8000) / 8 - 100 END AS amount
FROM (
	SELECT setseed(0.5)) seed,
	LATERAL (SELECT i % 60 AS customer, timestamptz '2009-01-01 00:00+00' + random() ^ 3 * interval '1700 days' AS at FROM generate_series(1, 3000) i) t;
INSERT INTO purchases SELECT customer, at + random() * interval '2 hours', 1 FROM purchases WHERE random() < 0.3;
INSERT INTO purchases SELECT customer, NULL, 5 FROM generate_series(0, 70) customer;

-- The number of a unit, in SQL: calendar units in the zone, clock time without one.
CREATE FUNCTION pg_temp.unit_number(at timestamptz, unit interval, zone text) RETURNS bigint LANGUAGE sql AS $$
	SELECT CASE
		WHEN extract(month FROM unit) + extract(year FROM unit) > 0 THEN
			floor((extract(year FROM at AT TIME ZONE zone) * 12 + extract(month FROM at AT TIME ZONE zone) - 1) /
				(extract(year FROM unit) * 12 + extract(month FROM unit)))::bigint
		WHEN extract(day FROM unit) > 0 THEN
			floor(((at AT TIME ZONE zone)::date - date '2000-01-03') / extract(day FROM unit))::bigint
		ELSE floor((extract(epoch FROM at) - extract(epoch FROM timestamptz '2000-01-03 00:00+00')) / extract(epoch FROM unit))::bigint
	END
$$;

CREATE FUNCTION pg_temp.oracle(as_of timestamptz, unit interval, zone text) RETURNS TABLE (customer int, r rfm) LANGUAGE sql AS $$
	WITH units AS (
		SELECT customer, pg_temp.unit_number(at, $2, $3) AS n, sum(amount) AS spend
		FROM purchases WHERE at <= $1 GROUP BY 1, 2),
	first AS (SELECT customer, min(n) AS n FROM units GROUP BY 1)
	SELECT u.customer, rfm(count(*) - 1, max(u.n) - min(u.n), pg_temp.unit_number($1, $2, $3) - min(u.n),
		sum(u.spend) FILTER (WHERE u.n > f.n) / nullif(count(*) - 1, 0))
	FROM units u JOIN first f USING (customer) GROUP BY 1
$$;

SELECT is(
	(SELECT count(*) FROM (
		SELECT customer, rfm_agg(at, amount, as_of, unit, zone) AS r FROM purchases GROUP BY customer) a
		FULL JOIN pg_temp.oracle(as_of, unit, zone) o USING (customer)
		WHERE a.r IS DISTINCT FROM o.r),
	0::bigint, format('%s in %s to %s', unit, zone, as_of))
FROM unnest('{2011-12-31 12:00+00, 2013-06-15 12:00+00}'::timestamptz[]) as_of,
	(VALUES (interval '1 day', 'UTC'), ('1 day', 'Pacific/Apia'), ('1 day', 'America/St_Johns'), ('1 day', 'Asia/Kolkata'), ('3 days', 'Europe/Berlin'),
		('1 week', 'America/New_York'), ('1 month', 'Pacific/Apia'), ('3 months', 'UTC'), ('1 year', 'Europe/Berlin'), ('1 hour', 'UTC'),
		('24 hours', 'America/New_York'), ('00:15', 'Asia/Kolkata')) u(unit, zone);

-- The shorter forms are the longer ones with '1 day' and 'UTC'.
SELECT is(
	(SELECT count(*) FROM (SELECT rfm_agg(at, amount, '2012-01-01 00:00+00') AS a, rfm_agg(at, amount, '2012-01-01 00:00+00', '1 day') AS b,
			rfm_agg(at, amount, '2012-01-01 00:00+00', '1 day', 'UTC') AS c, rfm_agg(at AT TIME ZONE 'UTC', amount, '2012-01-01 00:00') AS d
		FROM purchases GROUP BY customer) t
	WHERE a IS DISTINCT FROM b OR a IS DISTINCT FROM c OR a IS DISTINCT FROM d), 0::bigint, 'defaults');

-- The order of rows does not matter: nor in what is a long list of units.
SELECT is(rfm_agg(at, amount, '2013-06-15' ORDER BY at), rfm_agg(at, amount, '2013-06-15' ORDER BY at DESC), 'ascending or descending') FROM purchases;
SELECT is(rfm_agg(at, amount, '2013-06-15' ORDER BY at), rfm_agg(at, amount, '2013-06-15' ORDER BY md5(at::text)), 'ascending or shuffled') FROM purchases;

-- Amounts that cancel: a naive sum of doubles loses the 3.
SELECT is(monetary(rfm_agg(d, m, '2024-02-01')), 1::float8, 'sums are compensated')
FROM (VALUES (date '2024-01-01', 0), ('2024-01-02', 1e16), ('2024-01-03', 3), ('2024-01-04', -1e16)) v(d, m);

-- An observation at the very moment of the only purchase.
SELECT is(rfm_agg(now(), 1, now()), rfm(0, 0, 0), 'as_of itself is included');
SELECT * FROM finish();
ROLLBACK;
