-- survival: survival_summary, its aggregates, curve and errors
\i test/sql/include/begin.psql

-- Embury et al. (1977): remission of leukaemia, maintained group, in weeks; the example of R's survfit
CREATE TABLE aml (weeks float8, relapsed boolean);
INSERT INTO aml VALUES (9, true), (13, true), (13, false), (18, true), (23, true), (28, false), (31, true), (34, true), (45, false), (48, true), (161, false);
SELECT survival_agg(weeks, relapsed) AS s FROM aml \gset
SELECT :'s';
SELECT duration, at_risk, events, censored, round(survival::numeric, 4) AS survival, round(standard_error::numeric, 4) AS se, round(low::numeric, 4) AS low, round(high::numeric, 4) AS high
FROM survival_curve(:'s', method => 'log');
SELECT duration, round(low::numeric, 6) AS low, round(high::numeric, 6) AS high FROM survival_curve(:'s') WHERE events > 0;
SELECT duration, round(low::numeric, 6) AS low, round(high::numeric, 6) AS high FROM survival_curve(:'s', 0.9, 'log_log') WHERE events > 0;
SELECT subjects(:'s'), events(:'s'), survival_quantile(:'s'), survival_quantile(:'s', 0.25), survival_quantile(:'s', 0.9);
SELECT t, survival(:'s'::survival_summary, t) FROM unnest(ARRAY[0, 8.9, 9, 23, 161, 161.5]) t;
-- 9 weeks of 1, 4 of 10/11, and one of 9/11
SELECT restricted_mean(:'s', 14), 9 + 4 * 10 / 11.0 + 9 / 11.0, restricted_mean(:'s', 0), restricted_mean(:'s', 162);

-- all end at once, nobody ends, nobody at all; an end and a censoring at the same duration: the end comes first
SELECT * FROM survival_curve('(points:3=2/0)');
SELECT survival('(points:3=2/0)'::survival_summary, 99), restricted_mean('(points:3=2/0)', 99), survival_quantile('(points:3=0/2)'), survival('(points:3=0/2)'::survival_summary, 3), survival('(points:)'::survival_summary, 1);
SELECT * FROM survival_curve('(points:3=0/2)');
SELECT * FROM survival_curve('(points:)');
SELECT duration, at_risk, survival FROM survival_curve('(points:3=1/1)');
-- half is reached exactly by 0.75 * 2/3
SELECT survival_quantile('(points:1=1/0 2=1/0 3=2/0)');
SELECT survival_agg(weeks, relapsed) FROM aml WHERE false;
SELECT survival_agg(d, e) FROM (VALUES (1, NULL), (NULL, true), (2.5, true)) v(d, e);

-- memberships, in days: ended, running, ended after as_of, not begun by then, ended on the first day
SELECT survival_agg(started, ended, '2024-03-31') FROM (VALUES (date '2024-01-01', date '2024-01-31'), ('2024-02-01', NULL), ('2024-03-01', '2024-04-15'), ('2024-04-01', NULL),
	('2024-01-05', '2024-01-05'), (NULL, '2024-01-01'), ('2024-02-01', 'infinity')) v(started, ended);

-- rollup of parts is the whole
SELECT rollup(s) = :'s' FROM (SELECT survival_agg(weeks, relapsed) AS s FROM aml GROUP BY weeks::int % 3) x;
SELECT rollup(s) FROM (VALUES (NULL::survival_summary)) v(s);

-- text and binary
SELECT '(points:2=1/0 1.5=0/3 2=0/4)'::survival_summary, '(points:0.1=1/0)'::survival_summary = '(points:1e-1=1/0)', '(points:-0=1/0)'::survival_summary;
SELECT survival_summary_send('(points:2=1/3)'), pg_temp.receive('survival_summary', survival_summary_send(:'s')) = :'s';
SELECT pg_temp.receive('survival_summary', '\x02' || int8send(0)), pg_temp.receive('survival_summary', '\x01' || int8send(99)), pg_temp.receive('survival_summary', '\x01' || int8send(1) || float8send('NaN') || int8send(1) || int8send(0));
SELECT pg_temp.failure(format('SELECT %L::loyalty.survival_summary', t))
FROM unnest(ARRAY['(points:1)', '(points:x=1/2)', '(points:1=1/-2)', '(points:-1=1/2)', '(points:inf=1/2)', '(points:1=9223372036854775807/1)', '(points:1=1/99999999999999999999)', '(point:1=1/1)']) t;

-- errors
SELECT pg_temp.failure('SELECT loyalty.survival_agg(' || a || ')') FROM unnest(ARRAY['-1, true', '''NaN''::float8, true', '''infinity''::float8, false', 'date ''2024-02-01'', date ''2024-01-01'', date ''2024-05-01''',
	'date ''-infinity'', NULL::date, date ''2024-05-01''', 'date ''2024-02-01'', NULL::date, date ''infinity''']) a;
SELECT pg_temp.failure('SELECT loyalty.survival_quantile(''(points:1=1/1)'', 1)');
SELECT pg_temp.failure('SELECT loyalty.survival(''(points:1=1/1)''::loyalty.survival_summary, -1)');
SELECT pg_temp.failure('SELECT loyalty.survival_curve(''(points:1=1/1)'', 1.5)');
SELECT pg_temp.failure('SELECT loyalty.survival_curve(''(points:1=1/1)'', 0.95, ''exact'')');
DROP TABLE aml;
