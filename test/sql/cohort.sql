-- cohort: cohort_summary, cohort_agg, cohort_matrix, time_to_next_purchase and errors
\i test/sql/include/begin.psql
-- January: ann comes in January, February and April, bob in January only, cid in January and on the last day of March.
-- February: dee, who comes again in April. April, which is not over: eve.
CREATE TABLE cohort_orders (customer text, at date);
INSERT INTO cohort_orders VALUES ('ann', '2024-01-31'), ('ann', '2024-01-31'), ('ann', '2024-02-01'), ('ann', '2024-04-10'), ('bob', '2024-01-01'), ('bob', '2024-01-02'),
	('cid', '2024-01-15'), ('cid', '2024-03-31'), ('dee', '2024-02-29'), ('dee', '2024-04-01'), ('eve', '2024-04-15'), (NULL, '2024-01-01'), ('ann', NULL), ('fay', '2024-04-16');
SELECT cohort_agg(customer, at, '2024-04-15') AS s FROM cohort_orders \gset
SELECT :'s', customers(:'s'::cohort_summary);
SELECT * FROM cohort_matrix(:'s');
SELECT * FROM cohort_matrix(:'s', 'on_or_after') WHERE period > 0;
SELECT * FROM cohort_matrix(:'s', 'within') WHERE period > 0;
-- [2,3] of January ends with April, which is not over
SELECT * FROM cohort_matrix(:'s', 'bracket', '{"[1,2]","[2,)","[2,3]","[0,1]"}');
-- on the last day of a month, the month is over; of a timestamp only at its end
SELECT cohort, max(period) FROM cohort_matrix((SELECT cohort_agg(customer, at, '2024-03-31') FROM cohort_orders)) GROUP BY 1 ORDER BY 1;
SELECT as_of, (SELECT max(period) FROM cohort_matrix((SELECT cohort_agg(customer, at::timestamp, as_of) FROM cohort_orders)))
FROM unnest(ARRAY[timestamp '2024-03-31', '2024-03-31 23:59:59.999998', '2024-03-31 23:59:59.999999', '2024-04-01']) as_of;
-- each activity that is seen to its end: ann 1, then 2 censored at 1 (April is not over); bob 2 without; cid 2, then 0; dee 1 without
SELECT time_to_next_purchase(:'s'), time_to_next_purchase(:'s', true);
SELECT time_to_next_purchase(cohort_agg(customer, at, '2024-04-15')) FROM cohort_orders WHERE customer = 'eve';

-- quarters; ISO weeks (2024-12-30 belongs to the first week of 2025); weeks from Sunday
SELECT cohort_agg(customer, at, '2024-04-15', '3 months') FROM cohort_orders;
SELECT cohort, period, retained FROM (SELECT cohort_agg(1, at, '2025-01-12', '1 week') AS s FROM unnest(ARRAY[date '2024-12-29', '2024-12-30', '2025-01-05', '2025-01-06']) at) t, cohort_matrix(s);
SELECT cohort, period, retained FROM (SELECT cohort_agg(1, at, '2025-01-12', '1 week', '2023-01-01') AS s FROM unnest(ARRAY[date '2024-12-28', '2024-12-29', '2025-01-05', '2025-01-06']) at) t, cohort_matrix(s);
-- the same instants, of other days in other zones
SELECT zone, cohort_agg(1, at, '2024-04-05 12:00+00', '1 day', zone) FROM unnest(ARRAY[timestamptz '2024-04-01 22:30+00', '2024-04-02 23:30+00', '2024-04-03 03:30+00']) at, unnest(ARRAY['Europe/Paris', 'UTC', 'America/New_York']) zone GROUP BY zone ORDER BY zone;
-- when the clock is put forward, a calendar day has 23 hours; 24 hours have 24
SELECT p, cohort_agg(1, at, '2024-04-02 12:00+00', p::interval, 'Europe/Paris', 'first') FROM unnest(ARRAY[timestamptz '2024-03-30 12:00+00', '2024-03-31 11:30+00']) at, unnest(ARRAY['1 day', '24 hours']) p GROUP BY p ORDER BY p;
-- months of one's own: from 31 January the first ends with 29 February's same time
SELECT cohort_agg(1, at, '2024-05-30', '1 month', 'first') FROM unnest(ARRAY[date '2024-01-31', '2024-02-28', '2024-02-29', '2024-04-30']) at;
SELECT cohort_agg(1, at, timestamp '2024-03-01', '1 month', 'first') FROM unnest(ARRAY[timestamp '2024-01-31 10:00', '2024-02-29 09:59', '2024-02-29 10:00']) at;
SELECT cohort_agg(c, at, timestamp '2024-01-03', '1 hour') FROM (VALUES (1, timestamp '2024-01-02 10:59'), (1, '2024-01-02 11:00'), (2, '2024-01-02 10:00')) v(c, at);
-- nothing, one row, all equal, before year 1
SELECT cohort_agg(1, at, '2024-01-01') FROM unnest('{}'::date[]) at;
SELECT cohort_agg(1, date '2024-02-01', '2024-01-01'), cohort_agg(1, date '2024-01-01', '2024-01-01');
SELECT cohort_agg(1, date '2023-01-01', '2024-01-01') FROM generate_series(1, 1000);
SELECT cohort_agg(1, at, '0001-03-31') FROM unnest(ARRAY[date '0002-12-31 BC', '0001-01-01 BC', '0001-01-01']) at \gset early_
SELECT :'early_cohort_agg', :'early_cohort_agg'::cohort_summary::text = :'early_cohort_agg';

-- rollup
SELECT rollup(s) = :'s' FROM (SELECT cohort_agg(customer, at, '2024-04-15') AS s FROM cohort_orders GROUP BY customer) x;
-- a window takes back what leaves it: each frame is what its rows make by themselves
WITH part AS (SELECT customer, cohort_agg(customer, at, '2024-04-15') AS s FROM cohort_orders GROUP BY customer)
SELECT count(*) > 2 AS frames, bool_and(r = (SELECT rollup(q.s) FROM part q WHERE q.customer IN (w.customer, w.before))) AS same
FROM (SELECT customer, lag(customer) OVER o AS before, rollup(s) OVER (ORDER BY customer ROWS 1 PRECEDING) AS r FROM part WINDOW o AS (ORDER BY customer)) w;
SELECT pg_temp.failure(format('SELECT loyalty.cohort_summary_subtract(%L, %L)', replace(s, '0-0=3', '0-0=2'), s)), pg_temp.failure(format('SELECT loyalty.cohort_summary_subtract(%L, %L)', replace(s, '2024-04', '2024-05'), s))
FROM unnest(ARRAY['(as_of:2024-04-15,period:1 months,origin:calendar,cells:2024-01-01T00:00:00/3 0-0=3)']) s;
SELECT pg_temp.failure('SELECT loyalty.rollup(s) FROM (VALUES (''(as_of:2024-01-01,period:1 months,origin:calendar,cells:)''::loyalty.cohort_summary), (''(as_of:2024-01-02,period:1 months,origin:calendar,cells:)'')) v(s)');

-- text and binary
SELECT s, s::cohort_summary::text = s AS same, pg_temp.receive('cohort_summary', cohort_summary_send(s::cohort_summary)) = s AS sent FROM unnest(ARRAY[
	'(as_of:2024-04-15,period:1 months,origin:calendar,cells:2024-01-01T00:00:00/3 0-0=3 0-1=1 1-3=1)',
	'(as_of:2024-04-15T10:00:00.5+00:00,period:7 days,time_zone:Europe/Paris,origin:first,cells:2024-01-01T00:00:00/3 0-0=3 2024-01-01T00:00:00/4 0-0=1 0-9=1)',
	'(as_of:2024-04-15T00:00:00,period:3600000000 us,origin:2024-01-07T04:00:00,cells:)']) s;
SELECT cohort_summary_send('(as_of:2000-01-02,period:2 days,origin:first,cells:2000-01-01T00:00:00/1 0-0=5)');
SELECT pg_temp.failure('SELECT ''(as_of:' || f || ',origin:first,cells:)''::loyalty.cohort_summary') FROM unnest(ARRAY['2024-04-15,period:1 days,time_zone:a b', '2024-04-15 10:00,period:1 days']) f;
SELECT pg_temp.receive('cohort_summary', '\x02'), pg_temp.receive('cohort_summary', overlay(cohort_summary_send(:'s') placing '\x04' from 2)), pg_temp.receive('cohort_summary', overlay(cohort_summary_send(:'s') placing '\x7fff' from 39));
SELECT pg_temp.failure(format('SELECT %L::loyalty.cohort_summary', format('(as_of:2024-04-15,period:%s,origin:%s,cells:%s)', p, o, c)))
FROM (VALUES ('1 month', 'first', ''), ('0 days', 'first', ''), ('-1 months', 'first', ''), ('1 months', 'second', ''), ('1 months', 'infinity', ''), ('1 days', 'first', '0-0=1'), ('1 days', 'first', '2024-01-01/3 0-1=1'),
	('1 days', 'first', '2024-01-01/3 0-0=1 0-2=1 0-1=1'), ('1 days', 'first', '2024-01-01/3 0-0=1 0-1=1 0-1=1'), ('1 days', 'first', '2024-01-01/3 0-0=1 2-1=1'), ('1 days', 'first', '2024-01-01/3 0-0=0'),
	('1 days', 'first', '2024-01-01/3 0-0=5 0-1=2 1-2=3'), ('1 days', 'first', '2024-01-01/3 0-0=5 0-1=3 0-2=3'), ('1 days', 'first', '2024-01-01/x 0-0=5'), ('1 days', 'first', '2024-01-01/3 0-0=-5'),
	('1 days', 'first', '2024-01-01/3 0-0=99999999999999999999'), ('1 days', 'first', '2024-01-01/1000001 0-0=5'), ('1 days', 'first', '2024-01-01/1 0-0=9223372036854775807 2024-01-02/1 0-0=1'),
	('1 days', 'first', 'infinity/1 0-0=1')) v(p, o, c);

-- errors
SELECT pg_temp.failure('SELECT loyalty.cohort_agg(' || a || ')') FROM unnest(ARRAY['1, timestamptz ''2024-01-01'', timestamptz ''infinity''', '1, timestamptz ''-infinity'', timestamptz ''2024-01-01''', '1, date ''-infinity'', date ''2024-01-01''',
	'1, date ''2024-01-01'', ''2024-02-01'', ''1 month 1 day''', '1, date ''2024-01-01'', ''2024-02-01'', ''0 days''', '1, timestamptz ''2024-01-01'', ''2024-02-01'', ''1 day'', ''Nowhere/Land''', '1, timestamptz ''2024-01-01'', ''2024-02-01'', ''1 day'', ''''',
	'1, timestamptz ''2024-01-01'', ''2024-02-01'', ''1 day'', ''EST5EDT,M3.2.0,M11.1.0''',
	'1, date ''2024-01-01'', ''2024-02-01'', ''1 day'', ''last''', '1, date ''2024-01-01'', ''2024-02-01'', ''1 day'', ''2023-02-29''', '1, date ''2024-01-01'', ''2024-02-01'', ''1 day'', ''2023-02-28 24:00''', '1, date ''2024-01-01'', ''2024-02-01'', ''1 month'', ''2024-01-29''',
	'1, timestamp ''1990-01-01'', ''2024-02-01'', ''1 second''', '1, timestamp ''1990-01-01'', ''2024-02-01'', ''1 second'', ''first''', '''(1,2)''::point, date ''2024-01-01'', ''2024-02-01''']) a;
SELECT pg_temp.failure('SELECT loyalty.cohort_agg(1, at, at) FROM (VALUES (date ''2024-01-01''), (''2024-01-02'')) v(at)');
SELECT pg_temp.failure('SELECT loyalty.cohort_matrix(' || quote_literal(:'s') || ', ' || a || ')') FROM unnest(ARRAY['''rolling''', '''on'', ''{"[1,2]"}''', '''bracket''', '''bracket'', ''{"[-1,2]"}''', '''bracket'', ''{empty}''', '''bracket'', ''{NULL}''', '''bracket'', ''{"(,2]"}''']) a;
SELECT count(*) FROM cohort_matrix(NULL);
DROP TABLE cohort_orders;
