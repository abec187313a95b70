-- survey, the rest: weighted NPS, CSAT, CES 1 and 2, CLI; their types and errors
\i test/sql/include/begin.psql
-- weighted NPS: promoters 3, detractors 0.5 of 4.5; n = 4.5^2 / (4 + 1 + 0.25 + 1) = 3.24
CREATE TABLE rating_nps (score int, weight float8);
INSERT INTO rating_nps VALUES (10, 2), (9, 1), (3, 0.5), (8, 1), (7, 0), (NULL, 3), (1, NULL);
SELECT nps_agg(score, weight) AS s FROM rating_nps \gset
SELECT :'s', nps(score, weight), nps(score, weight) = 2.5 / 4.5 * 100 AS same FROM rating_nps;
SELECT promoters(s), passives(s), detractors(s), responses(s), effective_responses(s) FROM (SELECT :'s'::weighted_nps_summary) t(s);
-- v = 3.5/4.5 - (2.5/4.5)^2 = 38/81, standard error 100 sqrt(v / 3.24)
SELECT round(standard_error(:'s'::weighted_nps_summary)::numeric, 9), round((100 * sqrt(38 / 81.0 / 3.24))::numeric, 9), round(margin(:'s'::weighted_nps_summary, 0.95, 'wald')::numeric, 9);
-- with equal weights, whatever they are, it is the plain one
SELECT w, nps_interval(nps_agg(s, w::float8)) = nps_interval(nps_agg(s)), (nps_interval(nps_agg(s, w::float8), 0.9, 'score')).low - (nps_interval(nps_agg(s), 0.9, 'score')).low AS zero, effective_responses(nps_agg(s, w::float8))
FROM unnest('{10,9,8,1,0,5,9}'::int[]) s, unnest(ARRAY[1, 0.5, 4]) w GROUP BY w ORDER BY w;
SELECT round(difference::numeric, 9) AS difference, round(standard_error::numeric, 9) AS se, round(z::numeric, 9) AS z, round(p_value::numeric, 9) AS p, round(low::numeric, 9) AS low, round(high::numeric, 9) AS high
FROM nps_test('(promoters:50,passives:30,detractors:20,squares:100,responses:100)'::weighted_nps_summary, '(promoters:80,passives:60,detractors:60,squares:400,responses:100)'::weighted_nps_summary, 0.95, 'wald');
SELECT nps_agg(score, weight), nps(score, weight) FROM rating_nps WHERE weight IS NULL OR weight = 0;
SELECT rollup(s) = :'s' FROM (SELECT nps_agg(score, weight) AS s FROM rating_nps GROUP BY score) x;
SELECT weighted_nps_summary_send('(promoters:1,passives:0,detractors:0,squares:1,responses:1)'), pg_temp.receive('weighted_nps_summary', weighted_nps_summary_send(:'s')) = :'s';
SELECT pg_temp.failure(format('SELECT ''(promoters:%s,passives:%s,detractors:0,squares:%s,responses:%s)''::loyalty.weighted_nps_summary', p, q, s, n))
FROM (VALUES ('-1', '2', '3', 2), ('NaN', '1', '1', 1), ('1e200', '0', '1', 1), ('0', '0', '0', 1), ('1', '0', '1', 0), ('3', '0', '10', 2), ('3', '0', '4', 2), ('1', '1', '2', -2)) v(p, q, s, n);
SELECT pg_temp.failure('SELECT loyalty.nps(' || a || ')') FROM unnest(ARRAY['11, 1.0', '-1, 1.0', '9, -1.0', '9, ''NaN''', '9, ''infinity''']) a;
SELECT pg_temp.failure('SELECT loyalty.nps_agg(9, 1e200)'), pg_temp.failure('SELECT loyalty.nps_agg(9, 1e-200)');
DROP TABLE rating_nps;

-- CSAT; Delighted's example, 74 of 107
SELECT csat(s), low, high FROM (SELECT csat_summary(74, 33)) t(s), csat_interval(s);
SELECT csat_agg(score), csat(score), satisfied(csat_agg(score)), responses(csat_agg(score)) FROM unnest('{5,4,4,3,1,NULL}'::int[]) score;
SELECT csat_agg(score, 9, 10), csat(score, 9, 10) FROM unnest('{10,9,8,1,NULL}'::int[]) score;
-- all, none and nobody; Wilson by hand for 1 of 1: 1 / (1 + z^2)
SELECT csat_interval(csat_summary(0, 5)), csat_interval(csat_summary(5, 0)), csat_interval(csat_summary(0, 0)), csat(csat_summary(0, 0));
SELECT low - 100 / (1 + 1.959963984540054 ^ 2) < 1e-12, high FROM csat_interval(csat_summary(1, 0));
SELECT csat(score) FROM unnest('{}'::int[]) score;
SELECT i, csat(score) OVER (ORDER BY i ROWS 1 PRECEDING) FROM unnest('{5,1,NULL,NULL,4}'::int[]) WITH ORDINALITY v(score, i);
SELECT rollup(s) FROM (VALUES (csat_summary(1, 2)), (NULL), (csat_summary(3, 4))) v(s);
SELECT csat_summary_send(csat_summary(1, 2)), pg_temp.receive('csat_summary', csat_summary_send(csat_summary(1, 2))), csat_summary(1, 2) = '(unsatisfied:2,satisfied:1)', pg_temp.receive('csat_summary', '\x09');
SELECT pg_temp.failure('SELECT loyalty.' || a) FROM unnest(ARRAY['csat(0)', 'csat(6)', 'csat(11, 9, 10)', 'csat(1, 1, 5)', 'csat(1, 6, 5)', 'csat_summary(-1, 2)', 'csat_summary(9223372036854775807, 1)', 'csat_interval(loyalty.csat_summary(1, 2), 1)']) a;

-- CES 2.0: 1 to 7, high is easy; CES 1.0: 1 to 5, low is easy. Standard error: the sample's.
SELECT ces2_agg(s), ces2(s), easy_percent(ces2_agg(s)), abs(standard_error(ces2_agg(s)) / (stddev(s) / sqrt(count(s)))::float8 - 1) < 1e-12 FROM unnest('{7,6,5,4,1,NULL}'::int[]) s;
SELECT ces1_agg(s), ces1(s), easy_percent(ces1_agg(s)), abs(standard_error(ces1_agg(s)) / (stddev(s) / sqrt(count(s)))::float8 - 1) < 1e-12 FROM unnest('{5,1,2,2,3,NULL}'::int[]) s;
SELECT easy_interval(ces2_agg(s)) = csat_interval(csat_summary(3, 2)), standard_error(ces2_agg(s)) FROM unnest('{7,7,7,1,1}'::int[]) s;
SELECT standard_error(ces2_agg(7)), easy_percent(ces2_agg(4)), standard_error(ces2_agg(s)) FROM unnest('{7,7}'::int[]) s;
SELECT ces2(s), ces1_agg(s) FROM unnest('{}'::int[]) s;
SELECT i, ces2_agg(s) OVER (ORDER BY i ROWS 1 PRECEDING), ces1(s) OVER (ORDER BY i ROWS 1 PRECEDING) FROM unnest('{5,1,NULL,NULL,4}'::int[]) WITH ORDINALITY v(s, i);
SELECT rollup(s) = (SELECT ces2_agg(v) FROM unnest('{7,3,3,1}'::int[]) v) FROM (SELECT ces2_agg(v) AS s FROM unnest('{7,3,3,1}'::int[]) v GROUP BY v) x;
SELECT responses(s), responses(t), pg_temp.receive('ces1_summary', ces1_summary_send(s)), pg_temp.receive('ces2_summary', ces2_summary_send(t)), pg_temp.receive('ces2_summary', overlay(ces2_summary_send(t) placing '\x02' from 1))
FROM (SELECT ces1_agg(2) AS s, ces2_agg(6) AS t) x;
SELECT pg_temp.failure('SELECT ' || a) FROM unnest(ARRAY['loyalty.ces2(8)', 'loyalty.ces2(0)', 'loyalty.ces1(6)', '''(responses:1,total:8,squares:64,easy:1)''::loyalty.ces2_summary', '''(responses:2,total:8,squares:31,easy:1)''::loyalty.ces2_summary',
	'''(responses:2,total:8,squares:32,easy:3)''::loyalty.ces2_summary', '''(responses:2,total:1,squares:1,easy:0)''::loyalty.ces1_summary', '''(responses:9223372036854775807,total:1,squares:1,easy:0)''::loyalty.ces1_summary']) a;

-- CLI: (100 + 100 + 80) / 3; the scale may run either way; one customer first, then their mean
SELECT customer_loyalty_index(1, 1, 2), customer_loyalty_index(6, 6, 6), customer_loyalty_index(1, 1, 1), customer_loyalty_index(10, 9, 7, 10, 0), customer_loyalty_index(1, NULL, 1), customer_loyalty_index(-2, 0, 2, 2, -2);
SELECT cli_agg(a, b, c), cli(a, b, c), customers(cli_agg(a, b, c)), standard_error(cli_agg(a, b, c)) FROM (VALUES (1, 1, 1), (6, 6, 6), (1, 6, 1), (3, NULL, 1)) v(a, b, c);
SELECT cli(a, b, c, 10, 0), cli_agg(a, b, c, 10, 0) FROM (VALUES (10, 10, 10), (5, 5, 5)) v(a, b, c);
SELECT cli(1, NULL, 1), standard_error(cli_agg(1, 1, 1));
SELECT rollup(s) FROM (SELECT cli_agg(1, 1, 1) UNION ALL SELECT NULL UNION ALL SELECT cli_agg(6, 6, 6)) v(s);
SELECT i, cli(a, a, a) OVER (ORDER BY i ROWS 1 PRECEDING) FROM unnest('{1,6,NULL,NULL,6}'::int[]) WITH ORDINALITY v(a, i);
SELECT cli_summary_send('(customers:2,mean:50,squares:5000)'), pg_temp.receive('cli_summary', cli_summary_send('(customers:2,mean:50,squares:5000)')), pg_temp.receive('cli_summary', '\x01' || int8send(1) || float8send('NaN') || float8send(0));
SELECT pg_temp.failure('SELECT ' || a) FROM unnest(ARRAY['loyalty.cli(7, 1, 1)', 'loyalty.cli(1, 0, 1)', 'loyalty.cli(11, 1, 1, 10, 0)', 'loyalty.cli(1, 1, 1, 5, 5)', '''(customers:-1,mean:0,squares:0)''::loyalty.cli_summary', '''(customers:2,mean:101,squares:0)''::loyalty.cli_summary',
	'''(customers:2,mean:50,squares:5001)''::loyalty.cli_summary', '''(customers:1,mean:50,squares:1)''::loyalty.cli_summary', '''(customers:0,mean:50,squares:0)''::loyalty.cli_summary']) a;
