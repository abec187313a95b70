-- weighted NPS, CSAT, CES and CLI on random answers against plain SQL, in parts and in parallel
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;

SELECT plan(12);

CREATE TABLE public.loyalty_test_answers AS
SELECT i AS id, (random() * 10)::int AS nps, exp(random() * 8 - 4) AS weight, (random() * 4)::int + 1 AS five, (random() * 6)::int + 1 AS seven, (random() * 5)::int + 1 AS a, (random() * 5)::int + 1 AS b, (random() * 5)::int + 1 AS c
FROM (SELECT setseed(0.125)) seed, generate_series(1, 20000) i;
CREATE FUNCTION pg_temp.near(a float8, b float8) RETURNS boolean LANGUAGE sql AS $$ SELECT abs(a - b) <= 1e-12 * greatest(abs(a), abs(b)) $$;

CREATE TEMP TABLE serial AS SELECT nps_agg(nps, weight) AS n, csat_agg(five) AS s, ces1_agg(five) AS e1, ces2_agg(seven) AS e2, cli_agg(a, b, c) AS l FROM public.loyalty_test_answers;
SELECT ok(pg_temp.near(nps(n), (SELECT 100 * sum(weight::numeric * CASE WHEN nps >= 9 THEN 1 WHEN nps <= 6 THEN -1 ELSE 0 END) / sum(weight::numeric) FROM public.loyalty_test_answers)::float8), 'weighted NPS') FROM serial;
SELECT ok(pg_temp.near(effective_responses(n), (SELECT sum(weight::numeric) ^ 2 / sum(weight::numeric ^ 2) FROM public.loyalty_test_answers)::float8), 'effective n') FROM serial;
-- the variance of the weighted {-1,0,1} variable over the effective n
SELECT ok(abs(standard_error(n) / (SELECT 100 * sqrt(sum(weight * (CASE WHEN nps >= 9 THEN 1 WHEN nps <= 6 THEN -1 ELSE 0 END - m) ^ 2) / sum(weight) / (sum(weight) ^ 2 / sum(weight ^ 2)))
	FROM public.loyalty_test_answers, (SELECT nps(n) / 100 AS m FROM serial) x) - 1) < 1e-10, 'standard error') FROM serial;
SELECT is(s, (SELECT csat_summary(count(*) FILTER (WHERE five >= 4), count(*) FILTER (WHERE five < 4)) FROM public.loyalty_test_answers), 'CSAT') FROM serial;
SELECT ok(pg_temp.near(ces2(e2), (SELECT avg(seven) FROM public.loyalty_test_answers)::float8) AND pg_temp.near(standard_error(e2), (SELECT stddev(seven) / sqrt(count(*)) FROM public.loyalty_test_answers)::float8), 'CES 2') FROM serial;
SELECT ok(pg_temp.near(ces1(e1), (SELECT avg(five) FROM public.loyalty_test_answers)::float8) AND pg_temp.near(easy_percent(e1), (SELECT 100.0 * count(*) FILTER (WHERE five <= 2) / count(*) FROM public.loyalty_test_answers)::float8), 'CES 1') FROM serial;
SELECT ok(pg_temp.near(cli(l), (SELECT avg((18 - a - b - c) / 15.0 * 100) FROM public.loyalty_test_answers)::float8)
	AND abs(standard_error(l) / (SELECT stddev((18 - a - b - c) / 15.0 * 100) / sqrt(count(*)) FROM public.loyalty_test_answers)::float8 - 1) < 1e-11, 'CLI') FROM serial;

-- parts
SELECT ok(pg_temp.near(nps(rollup(n)), (SELECT nps(n) FROM serial)) AND rollup(s) = (SELECT s FROM serial) AND rollup(e1) = (SELECT e1 FROM serial) AND rollup(e2) = (SELECT e2 FROM serial) AND pg_temp.near(cli(rollup(l)), (SELECT cli(l) FROM serial)), 'parts are the whole')
FROM (SELECT nps_agg(nps, weight) AS n, csat_agg(five) AS s, ces1_agg(five) AS e1, ces2_agg(seven) AS e2, cli_agg(a, b, c) AS l FROM public.loyalty_test_answers GROUP BY id % 13) x;

SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL max_parallel_workers_per_gather = 2;
CREATE FUNCTION pg_temp.workers() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	FOR line IN EXPLAIN SELECT nps_agg(nps, weight), cli(a, b, c), csat(five), ces1(five), ces2(seven) FROM public.loyalty_test_answers LOOP
		IF line LIKE '%Partial Aggregate%' THEN RETURN true; END IF;
	END LOOP;
	RETURN false;
END $$;
SELECT ok(pg_temp.workers(), 'workers share the rows');
SELECT ok(pg_temp.near(nps(p.n), nps(s.n)) AND pg_temp.near(effective_responses(p.n), effective_responses(s.n)), 'weighted NPS in parallel')
FROM (SELECT nps_agg(nps, weight) AS n FROM public.loyalty_test_answers) p, serial s;
SELECT ok(pg_temp.near(cli(p.l), cli(s.l)) AND pg_temp.near(standard_error(p.l), standard_error(s.l)), 'CLI in parallel') FROM (SELECT cli_agg(a, b, c) AS l FROM public.loyalty_test_answers) p, serial s;
SELECT ok(p.c = s.s AND p.e1 = s.e1 AND p.e2 = s.e2, 'counts in parallel') FROM (SELECT csat_agg(five) AS c, ces1_agg(five) AS e1, ces2_agg(seven) AS e2 FROM public.loyalty_test_answers) p, serial s;

SELECT * FROM finish();
ROLLBACK;
