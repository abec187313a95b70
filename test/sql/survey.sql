-- survey: the type nps_summary, its aggregates and their errors
\i test/sql/include/begin.psql

-- text
SELECT '(promoters:10,passives:3,detractors:2)'::nps_summary;
SELECT ' ( detractors : 2 , promoters:10,passives: 3 ) '::nps_summary;
SELECT nps_summary(10, 3, 2), nps_summary(0, 0, 0), nps_summary(9223372036854775807, 0, 0);
SELECT input, pg_temp.failure(format('SELECT %L::loyalty.nps_summary', input))
FROM unnest(ARRAY[
	'', '()', '(promoters:1,passives:2)', '(promoters:1,passives:2,detractors:3', 'promoters:1,passives:2,detractors:3',
	'(promoters:1,passives:2,detractors:3) x', '(promoters:1,passives:2,detractors:3,extra:4)',
	'(promoters:1,promoters:1,passives:2,detractors:3)', '(promoters:1.5,passives:2,detractors:3)',
	'(promoters:,passives:2,detractors:3)', '(promoters 1,passives:2,detractors:3)',
	'(promoters:99999999999999999999,passives:2,detractors:3)', '(promoters:-1,passives:2,detractors:3)',
	'(promoters:9223372036854775807,passives:1,detractors:0)']) AS input;
SELECT pg_temp.failure('SELECT loyalty.nps_summary(1, -2, 3)');
SELECT pg_temp.failure('SELECT loyalty.nps_summary(9223372036854775807, 0, 1)');

-- binary
SELECT nps_summary_send(nps_summary(1, 2, 3));
SELECT pg_temp.receive('nps_summary', nps_summary_send(nps_summary(9223372036854775806, 0, 1)));
SELECT pg_temp.receive('nps_summary', '\x02' || substr(nps_summary_send(nps_summary(1, 2, 3)), 2));
SELECT pg_temp.receive('nps_summary', '\x00' || substr(nps_summary_send(nps_summary(1, 2, 3)), 2));
SELECT pg_temp.receive('nps_summary', '\x01' || int8send(-1) || int8send(2) || int8send(3));
SELECT pg_temp.receive('nps_summary', substr(nps_summary_send(nps_summary(1, 2, 3)), 1, 24));
SELECT pg_temp.receive('nps_summary', nps_summary_send(nps_summary(1, 2, 3)) || '\x00');

-- equality, and grouping by it
SELECT nps_summary(1, 2, 3) = '(detractors:3,passives:2,promoters:1)', nps_summary(1, 2, 3) <> nps_summary(1, 2, 4);
SET enable_sort = off;
SELECT s, count(*) FROM unnest(ARRAY[nps_summary(1, 2, 3), nps_summary(3, 2, 1), nps_summary(1, 2, 3)]) s GROUP BY s ORDER BY 2;
RESET enable_sort;

-- classes: one answer of each score
SELECT score, nps_agg(score) FROM generate_series(0, 10) score GROUP BY score ORDER BY score;

-- NULLs are skipped; no answer, no score
SELECT nps(score), nps_agg(score) FROM unnest(ARRAY[10, 9, 9, 8, 7, 6, 0, 10, NULL, 5]) score;
SELECT nps(score), nps_agg(score) FROM unnest(ARRAY[NULL, NULL]::int[]) score;
SELECT nps(score), nps_agg(score) FROM generate_series(1, 0) score;
SELECT rollup(s) FROM unnest(ARRAY[nps_summary(1, 2, 3), NULL, nps_summary(10, 20, 30)]) s;
SELECT rollup(s) FROM unnest(ARRAY[NULL, nps_summary(0, 0, 0)]) s;
SELECT nps(s), margin(s), standard_error(s), nps_interval(s), nps_test(s, s), responses(s) FROM nps_summary(0, 0, 0) s;
SELECT promoters(s), passives(s), detractors(s), responses(s) FROM nps_summary(50, 30, 20) s;

-- errors
SELECT pg_temp.failure('SELECT loyalty.nps(11)');
SELECT pg_temp.failure('SELECT loyalty.nps_agg(-1)');
SELECT pg_temp.failure('SELECT loyalty.nps(s) FROM unnest(ARRAY[0, 5, 2147483647]) s');
SELECT pg_temp.failure('SELECT loyalty.rollup(s) FROM unnest(ARRAY[loyalty.nps_summary(9223372036854775807, 0, 0), loyalty.nps_summary(0, 1, 0)]) s');
SELECT pg_temp.failure('SELECT loyalty.margin(loyalty.nps_summary(1, 1, 1), 95)');
SELECT pg_temp.failure('SELECT loyalty.margin(loyalty.nps_summary(1, 1, 1), ''NaN'')');
SELECT pg_temp.failure('SELECT loyalty.margin(loyalty.nps_summary(1, 1, 1), 0.95, ''bootstrap'')');
SELECT pg_temp.failure('SELECT loyalty.nps_test(loyalty.nps_summary(1, 1, 1), loyalty.nps_summary(1, 1, 1), 0.95, ''score'')');

-- called from SQL, the support functions leave their argument alone
CREATE TEMP TABLE stored (s nps_summary);
INSERT INTO stored VALUES (nps_summary(1, 1, 1));
SELECT nps_accum(s, 10), nps_accum_inv(s, 10), nps_combine(s, s), nps_combine_inv(s, s), s FROM stored;
SELECT s FROM stored;
SELECT pg_temp.failure('SELECT loyalty.nps_combine_inv(loyalty.nps_summary(1, 1, 1), loyalty.nps_summary(0, 0, 2))');
SELECT pg_temp.failure('SELECT loyalty.nps_accum_inv(loyalty.nps_summary(1, 1, 0), 0)');
SELECT pg_temp.failure('SELECT loyalty.nps_accum(loyalty.nps_summary(1, 1, 1), 11)');

-- parallel equals serial
CREATE TABLE survey_answers (id int, store int, score int) WITH (parallel_workers = 2);
INSERT INTO survey_answers SELECT i, i % 3, CASE WHEN i % 17 > 10 THEN NULL ELSE i % 17 END FROM generate_series(1, 17000) i;
ANALYZE survey_answers;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT nps_agg(score) FROM survey_answers;
SELECT nps_agg(score), nps(score) FROM survey_answers;
CREATE TABLE survey_monthly AS SELECT store, nps_agg(score) AS s FROM survey_answers GROUP BY store;
SET max_parallel_workers_per_gather = 0;
SELECT nps_agg(score), nps(score) FROM survey_answers;
-- stored parts roll up to the whole
SELECT rollup(s) = (SELECT nps_agg(score) FROM survey_answers) FROM survey_monthly;
SELECT count(*) FROM survey_monthly m
JOIN (SELECT store, nps_agg(score) s FROM survey_answers GROUP BY store) d ON d.store = m.store AND d.s = m.s;

-- moving frames: the first three by hand, all of them against the plain aggregate
SELECT id, score, nps(score) OVER w, nps_agg(score) OVER w
FROM (VALUES (1, 10), (2, NULL), (3, 3), (4, 8), (5, 9), (6, NULL), (7, NULL), (8, 0)) v(id, score)
WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) ORDER BY id;
WITH few AS MATERIALIZED (SELECT * FROM survey_answers WHERE id <= 300),
moving AS (
	SELECT id, nps(score) OVER w AS n, nps_agg(score) OVER w AS a
	FROM few
	WINDOW w AS (ORDER BY id ROWS BETWEEN 20 PRECEDING AND 5 PRECEDING))
SELECT count(*) AS frames,
	count(*) FILTER (WHERE (m.n, m.a) IS DISTINCT FROM (p.n, p.a)) AS different
FROM moving m, LATERAL (
	SELECT nps(score) AS n, nps_agg(score) AS a FROM few s WHERE s.id BETWEEN m.id - 20 AND m.id - 5) p;
WITH moving AS (
	SELECT i, rollup(nps_summary(i, 2 * i, i % 7)) OVER (ORDER BY i ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS r FROM generate_series(0, 50) i)
SELECT count(*) FILTER (WHERE r IS DISTINCT FROM (
	SELECT rollup(nps_summary(j, 2 * j, j % 7)) FROM generate_series(greatest(i - 2, 0), i) j)) AS different
FROM moving;

DROP TABLE survey_answers, survey_monthly;
