-- score: random customers against the definition; the page's queries
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;

SELECT plan(9);

CREATE TEMP TABLE orders AS
SELECT customer_id, timestamptz '2023-01-01 00:00+00' + random() * interval '700 days' AS ordered_at, round((random() * 100)::numeric, 2) AS total
FROM (SELECT setseed(0.125)) seed, LATERAL (SELECT floor(random() * random() * 300)::int AS customer_id FROM generate_series(1, 2000)) c;

CREATE TEMP VIEW scores AS
SELECT customer_id, r, f, m, loyalty.rfm_segment(r, f, m) AS segment, days, spent
FROM (
	SELECT customer_id, count(DISTINCT ordered_at::date) AS days, sum(total) AS spent,
		loyalty.rfm_score() OVER (ORDER BY max(ordered_at)) AS r,
		loyalty.rfm_score() OVER (ORDER BY count(DISTINCT ordered_at::date)) AS f,
		loyalty.rfm_score() OVER (ORDER BY sum(total)) AS m
	FROM orders GROUP BY customer_id) s;

-- the definition, without a window: how many have no more
SELECT is((SELECT count(*) FROM scores s WHERE f <> ceil(5 * (SELECT count(*) FROM scores o WHERE o.days <= s.days)::numeric / (SELECT count(*) FROM scores))), 0::bigint, 'frequency');
SELECT is((SELECT count(*) FROM scores s WHERE m <> ceil(5 * (SELECT count(*) FROM scores o WHERE o.spent <= s.spent)::numeric / (SELECT count(*) FROM scores))), 0::bigint, 'monetary');
SELECT is((SELECT max(n) FROM (SELECT count(DISTINCT f) AS n FROM scores GROUP BY days) d), 1::bigint, 'equal customers have equal scores');
SELECT ok((SELECT bool_and(n BETWEEN total / 5 - 1 AND total / 5 + 1) FROM (SELECT count(*) AS n, (SELECT count(*) FROM scores) AS total FROM scores GROUP BY r) c), 'without ties the parts are even');
SELECT is((SELECT count(*) FROM scores WHERE segment IS NULL), 0::bigint, 'everybody has a segment');

-- by days since the last order, falling, the scores are the same
SELECT is((SELECT count(*) FROM (SELECT customer_id, rfm_score() OVER (ORDER BY timestamptz '2025-01-01 00:00+00' - max(ordered_at) DESC) AS r FROM orders GROUP BY customer_id) d JOIN scores s USING (customer_id) WHERE d.r <> s.r), 0::bigint, 'recency the other way round');
-- partitions are scored apart
SELECT is((SELECT count(*) FROM (SELECT half, v, rfm_score(3) OVER (PARTITION BY half ORDER BY v) AS s FROM generate_series(1, 2) half, generate_series(1, 9) v) p WHERE s <> (v + 2) / 3), 0::bigint, 'partitions');
-- thresholds against width_bucket
SELECT is((SELECT count(*) FROM scores WHERE rfm_threshold_score(days, '{2,3,5,8}') <> width_bucket(days, '{2,3,5,8}') + 1), 0::bigint, 'thresholds');
-- from rfm summaries
SELECT is((SELECT count(*) FROM (SELECT customer_id, rfm_score() OVER (ORDER BY frequency(rfm_agg(ordered_at, total, '2025-01-01'))) AS f FROM orders GROUP BY customer_id) d JOIN scores s USING (customer_id) WHERE d.f <> s.f), 0::bigint, 'from rfm');

SELECT * FROM finish();
ROLLBACK;
