-- engagement: stickiness, baselines, scores and errors
\i test/sql/include/begin.psql
-- stickiness: of 4 days ann is there on 3, bob on 1, cid before and after only; 4 member days of 8
CREATE TABLE engagement_visits (member text, at date);
INSERT INTO engagement_visits VALUES ('ann', '2024-02-28'), ('ann', '2024-02-28'), ('ann', '2024-02-29'), ('ann', '2024-03-02'), ('bob', '2024-03-01'), ('cid', '2024-02-27'), ('cid', '2024-03-03'), (NULL, '2024-02-28'), ('ann', NULL), ('bob', 'infinity');
SELECT stickiness_agg(member, at, '[2024-02-28,2024-03-02]') AS s FROM engagement_visits \gset
SELECT :'s', members(s), active_days(s), possible_days(s), daily_active(s), stickiness(s) FROM (SELECT :'s'::stickiness_summary) t(s);
SELECT stickiness(member, at, '[2024-02-28,2024-03-03)'), stickiness(member, at::timestamp + interval '23:59', '[2024-02-28,2024-03-03)'), stickiness(member, at, '[2024-05-01,2024-06-01)') FROM engagement_visits WHERE isfinite(at) OR at IS NULL;
SELECT stickiness_agg(1, date '2024-01-01', '[2024-01-01,2024-01-02)'), stickiness(1, date '2024-01-01', '[2024-01-01,2024-02-01)') * 31;
-- 22:30 UTC is the next day in Paris, and the clock was put forward there in that night
SELECT stickiness_agg(1, at, '[2024-03-31,2024-04-02)'), stickiness_agg(1, at, '[2024-03-31,2024-04-02)', 'Europe/Paris'), stickiness_agg(1, at, '[2024-03-31,2024-04-02)', 'America/New_York')
FROM unnest(ARRAY[timestamptz '2024-03-30 22:59+00', '2024-03-30 23:30+00', '2024-03-31 22:30+00']) at;
SELECT rollup(s) = :'s' FROM (SELECT stickiness_agg(member, at, '[2024-02-28,2024-03-02]') AS s FROM engagement_visits GROUP BY member) x;
SELECT stickiness_summary(2, 4, 8) = '(members:2,active_days:4,possible_days:8)', stickiness_summary_send(stickiness_summary(2, 4, 8)), pg_temp.receive('stickiness_summary', stickiness_summary_send(:'s')), daily_active(stickiness_summary(0, 0, 0));
SELECT pg_temp.failure('SELECT loyalty.stickiness_summary(' || a || ')') FROM unnest(ARRAY['2, 1, 8', '2, 9, 8', '0, 0, 8', '-1, 0, 0']) a;
SELECT pg_temp.failure('SELECT loyalty.stickiness(' || a || ')') FROM unnest(ARRAY['1, date ''2024-01-01'', ''empty''', '1, date ''2024-01-01'', ''[2024-01-01,)''', '1, date ''2024-01-01'', ''[2024-01-01,infinity]''', '1, timestamptz ''2024-01-01'', ''[2024-01-01,2024-02-01)'', ''Nowhere''',
	'1, timestamptz ''2024-01-01'', ''[2024-01-01,2024-02-01)'', ''''', '''(1,2)''::point, date ''2024-01-01'', ''[2024-01-01,2024-02-01)''']) a;
SELECT pg_temp.failure('SELECT loyalty.stickiness(1, lower(p), p) FROM (VALUES (daterange ''[2024-01-01,2024-02-01)''), (''[2024-01-01,2024-03-01)'')) v(p)');

-- in parallel, against plain SQL
CREATE TABLE engagement_many AS SELECT i % 257 AS member, date '2024-01-01' + (i * i % 97)::int AS at FROM generate_series(1::bigint, 30000) i;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
SELECT stickiness_agg(member, at, '[2024-01-10,2024-03-10)') = (SELECT stickiness_summary(count(DISTINCT member), count(DISTINCT (member, at)), count(DISTINCT member) * 60) FROM engagement_many WHERE at >= '2024-01-10' AND at < '2024-03-10'),
	stickiness_agg(member::text, at, '[2024-01-10,2024-03-10)') = stickiness_agg(member, at, '[2024-01-10,2024-03-10)') FROM engagement_many;
DROP TABLE engagement_visits;

-- a baseline: visits 0 to 100, orders all 3
SELECT engagement_baseline_agg(ARRAY[i, 3]) AS b FROM generate_series(0, 100) i \gset
SELECT members(b), components(b), baseline_quantile(b, 1, 0.25), baseline_quantile(b, 1, 0.005), baseline_quantile(b, 2, 1) FROM (SELECT :'b'::engagement_baseline) t(b);
SELECT v, round(engagement_score(:'b', ARRAY[v, 3], ARRAY[1, 0])::numeric, 9) AS minmax, round(engagement_score(:'b', ARRAY[v, 3], ARRAY[1, 0], 'capped')::numeric, 9) AS capped, round(engagement_score(:'b', ARRAY[v, 3], ARRAY[1, 0], 'percentile')::numeric, 9) AS percentile
FROM unnest(ARRAY[-5, 0, 5, 27.5, 95, 100, 1000]) v;
-- where all are alike, who is like all has half
SELECT engagement_score(:'b', '{0,2}', '{0,1}'), engagement_score(:'b', '{0,3}', '{0,1}'), engagement_score(:'b', '{0,4}', '{0,1}', 'percentile'), engagement_score(:'b', '{0,3}', '{0,1}', 'percentile'), engagement_score(:'b', '{0,3}', '{0,1}', 'capped');
-- weights: equal by default, 0.25 * 40 + 0.75 * 50; one third thrice is 1
SELECT engagement_score(:'b', '{40,3}'), engagement_score(:'b', '{40,3}', '{0.25,0.75}'), engagement_score(engagement_baseline('{0,0,0}', '{1,1,1}'), '{1,1,1}', ARRAY[1/3.0, 1/3.0, 1/3.0]), engagement_score(engagement_baseline('{0,0,0}', '{1,1,1}'), '{1,1,1}');
-- a component that is missing; nothing at all; bounds of one's own, capped and in per cents as if evenly spread
SELECT engagement_score(:'b', '{40,NULL}'), engagement_score(NULL, '{40,3}'), engagement_score(:'b', NULL), engagement_score(:'b', '{40,3}', NULL, NULL);
SELECT engagement_baseline('{0,10}', '{4,20}'), engagement_score(engagement_baseline('{0,10}', '{4,20}'), '{1,20}'), engagement_score(engagement_baseline('{0,10}', '{4,20}'), '{1,25}', method => 'percentile'), engagement_score(engagement_baseline('{0}', '{100}'), '{50.5}', method => 'capped');
-- ties: of 0 0 0 1 the quarters from 0 to 0.67 are 0; frozen: who is scored does not change it
SELECT engagement_score(b, '{0}', method => 'percentile'), engagement_score(b, '{1}', method => 'percentile') FROM (SELECT '(members:4,quantiles:0 0 0 1)'::engagement_baseline) t(b);
-- a single member; a NULL says nothing of its component
SELECT engagement_score(engagement_baseline_agg('{7}'), '{7}'), members(engagement_baseline_agg('{7}')) ;
SELECT members(b), baseline_quantile(b, 1, 1), baseline_quantile(b, 2, 0) FROM (SELECT engagement_baseline_agg(v) FROM (VALUES ('{1,NULL}'::float8[]), ('{NULL,5}'), (NULL), ('{2,6}')) x(v)) t(b);
SELECT engagement_baseline_agg(v) FROM unnest('{}'::int[]) i, LATERAL (SELECT ARRAY[i]) x(v);
-- the order of rows does not matter, nor do workers; quantiles are percentile_cont's
SELECT engagement_baseline_agg(ARRAY[member * 1.1, at - date '2024-01-01']) = (SELECT engagement_baseline_agg(ARRAY[member * 1.1, at - date '2024-01-01'] ORDER BY at, member DESC) FROM engagement_many),
	abs(baseline_quantile(engagement_baseline_agg(ARRAY[member * 1.1, 0]), 1, 0.37) - (SELECT percentile_cont(0.37) WITHIN GROUP (ORDER BY member * 1.1) FROM engagement_many)) < 1e-9 FROM engagement_many;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather;
DROP TABLE engagement_many;

-- text, binary, errors
SELECT '(members:3,quantiles:0 5 10;-1 -0 4)'::engagement_baseline, pg_temp.receive('engagement_baseline', engagement_baseline_send(:'b')) = :'b', engagement_baseline_send('(members:3,quantiles:0 1)'), '(members:3,quantiles:0 1)'::engagement_baseline = '(members:3,quantiles:0.0 1e0)';
SELECT pg_temp.receive('engagement_baseline', '\x01' || int8send(1) || int4send(1) || int4send(102)), pg_temp.receive('engagement_baseline', '\x01' || int8send(1) || int4send(1) || int4send(2) || float8send(1) || float8send(0)), pg_temp.receive('engagement_baseline', '\x00');
SELECT pg_temp.failure(format('SELECT ''(members:%s,quantiles:%s)''::loyalty.engagement_baseline', m, q)) FROM (VALUES (-1, '0 1'), (1, ''), (1, '0'), (1, '0 1;0 1 2'), (1, '1 0'), (1, '0 inf'), (1, '0 NaN'), (1, '0 x')) v(m, q);
SELECT pg_temp.failure('SELECT loyalty.engagement_score(loyalty.engagement_baseline(''{0,0}'', ''{1,1}''), ' || a || ')') FROM unnest(ARRAY['''{1}''', '''{1,NaN}''', '''{1,1}'', ''{1}''', '''{1,1}'', ''{0.5,0.6}''', '''{1,1}'', ''{1.5,-0.5}''', '''{1,1}'', ''{1,NULL}''', '''{1,1}'', NULL, ''zscore''', '''{{1,1}}''']) a;
SELECT pg_temp.failure('SELECT loyalty.' || a) FROM unnest(ARRAY['engagement_baseline(''{1}'', ''{0}'')', 'engagement_baseline(''{1}'', ''{2,3}'')', 'engagement_baseline(''{}'', ''{}'')', 'engagement_baseline(''{NULL}'', ''{1}'')', 'engagement_baseline_agg(v) FROM (VALUES (''{1}''::float8[]), (''{1,2}'')) x(v)', 'engagement_baseline_agg(''{}'')',
	'engagement_baseline_agg(''{1,NULL}'')', 'engagement_baseline_agg(''{infinity}'')', 'baseline_quantile(''(members:1,quantiles:0 1)'', 2, 0.5)', 'baseline_quantile(''(members:1,quantiles:0 1)'', 1, 1.5)']) a;
