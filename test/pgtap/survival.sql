-- survival: the estimate on random durations against plain SQL, in any order, in parts and by workers
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;
SET LOCAL jit = off;

SELECT plan(8);

CREATE TABLE public.loyalty_test_members AS
SELECT i AS id, floor(random() ^ 2 * 60) AS days, random() < 0.4 AS ended FROM (SELECT setseed(0.5)) seed, generate_series(1, 4000) i;
CREATE TEMP TABLE serial AS SELECT survival_agg(days, ended) AS s FROM public.loyalty_test_members;

-- 1 - d/n by its logarithm, and Greenwood's sum
CREATE TEMP TABLE want AS
SELECT days, n, d, c, exp(sum(ln(1 - d / n::float8)) OVER w) AS survival, sqrt(sum(d / (n::float8 * (n - d))) OVER w) AS error
FROM (SELECT days, sum(count(*)) OVER (ORDER BY days DESC)::bigint AS n, count(*) FILTER (WHERE ended) AS d, count(*) FILTER (WHERE NOT ended) AS c FROM public.loyalty_test_members GROUP BY days) x
WHERE n > d WINDOW w AS (ORDER BY days);
SELECT is((SELECT count(*) FROM serial, survival_curve(s) c JOIN want w ON c.duration = w.days
	WHERE (c.at_risk, c.events, c.censored) = (w.n, w.d, w.c) AND abs(c.survival - w.survival) < 1e-12 AND abs(c.standard_error - w.survival * w.error) < 1e-12
		AND abs(c.low - greatest(w.survival - 1.959963984540054 * w.survival * w.error, 0)) < 1e-12), (SELECT count(*) FROM want), 'the curve');
SELECT is((SELECT count(DISTINCT days) FROM public.loyalty_test_members), (SELECT count(*) FROM serial, survival_curve(s)), 'each duration once');
SELECT is(survival_quantile(s), (SELECT min(days) FROM want WHERE survival <= 0.5), 'median') FROM serial;
-- the area under the curve, step by step
SELECT ok(abs(restricted_mean(s, 30) - (SELECT sum(survival(s, d::float8)) FROM generate_series(0, 29) d)) < 1e-10, 'restricted mean') FROM serial;
-- without censoring it is the plain share, and the mean the plain mean
SELECT ok(abs(survival(s, 20) - m.share) < 1e-12 AND abs(restricted_mean(s, 1000) - m.mean) < 1e-10, 'nobody censored')
FROM (SELECT survival_agg(days, true) AS s, avg((days > 20)::int)::float8 AS share, avg(days) AS mean FROM public.loyalty_test_members) m;

SELECT is(survival_agg(days, ended ORDER BY id DESC), (SELECT s FROM serial), 'the order of rows does not matter') FROM public.loyalty_test_members;
SELECT is((SELECT rollup(s) FROM (SELECT survival_agg(days, ended) AS s FROM public.loyalty_test_members GROUP BY id % 11) x), s, 'parts are the whole') FROM serial;
SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL max_parallel_workers_per_gather = 2;
SELECT is(survival_agg(days, ended), (SELECT s FROM serial), 'in parallel') FROM public.loyalty_test_members;

SELECT * FROM finish();
ROLLBACK;
