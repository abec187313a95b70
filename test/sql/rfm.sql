-- rfm: the type, its aggregates and their errors
\i test/sql/include/begin.psql

-- text
SELECT '(frequency:2,recency:30.43,age:38.86,monetary:22.35)'::rfm, '( age:5, frequency:0, recency:0 )'::rfm;
SELECT rfm(2, 213, 272, 22.345), rfm(1, 12, 272), rfm(0, 0, 272), rfm(0, 0, 0, 0), rfm(3, 0.1, 1e300, -4.5), rfm(9223372036854775807, 1e-300, 1);
SELECT rfm(NULL, 1, 2), rfm(1, NULL, 2), rfm(1, 1, NULL), rfm(1, 1, 2, NULL);
SELECT frequency(r), recency(r), age(r), monetary(r) FROM unnest(ARRAY[rfm(2, 213, 272, 22.345), rfm(0, 0, 272)]) r;
SELECT input, pg_temp.failure(format('SELECT %L::loyalty.rfm', input))
FROM unnest(ARRAY[
	'(frequency:1,recency:1)', '(frequency:1,recency:1,age:x)', '(frequency:1,recency:1,age:2 weeks)', '(frequency:1.5,recency:1,age:2)',
	'(frequency:1,recency:1,age:1e999)', '(frequency:1,recency:1e-999,age:2)', '(frequency:1,recency:1,age:2,monetary:)',
	'(frequency:-1,recency:1,age:2)', '(frequency:1,recency:-1,age:2)', '(frequency:1,recency:3,age:2)', '(frequency:0,recency:1,age:2)',
	'(frequency:1,recency:0,age:2)', '(frequency:0,recency:0,age:2,monetary:5)', '(frequency:1,recency:1,age:Infinity)',
	'(frequency:1,recency:NaN,age:2)', '(frequency:1,recency:1,age:2,monetary:NaN)']) AS input;
SELECT pg_temp.failure('SELECT loyalty.rfm(-1, 1, 2)');

-- text is exact whatever the session shows of other floats
SET extra_float_digits = 0;
SELECT rfm(1, 0.1::float8 + 0.2, 1.0::float8 / 3 + 1, 1e22);
SELECT count(*) AS values, count(*) FILTER (WHERE r::text::rfm = r) AS same
FROM (SELECT rfm(i, sqrt(i::float8), exp(i / 3.0::float8), CASE WHEN i % 3 > 0 THEN sin(i::float8) END) AS r FROM generate_series(1, 100) i) t;
RESET extra_float_digits;

-- binary: version, flags, and the numbers
SELECT rfm_send(rfm(2, 1.5, 3, 0.25)), rfm_send(rfm(2, 1.5, 3));
SELECT pg_temp.receive('rfm', rfm_send(rfm(2, 0.1::float8 + 0.2, 3, -0.25))), pg_temp.receive('rfm', rfm_send(rfm(0, 0, 3)));
SELECT pg_temp.receive('rfm', '\x02' || substr(rfm_send(rfm(2, 1, 3)), 2));
SELECT pg_temp.receive('rfm', '\x0102' || substr(rfm_send(rfm(2, 1, 3)), 3));
SELECT pg_temp.receive('rfm', '\x0100' || int8send(0) || float8send(1) || float8send(2));
SELECT pg_temp.receive('rfm', '\x0100' || int8send(1) || float8send('NaN') || float8send(2));
SELECT pg_temp.receive('rfm', '\x0101' || int8send(1) || float8send(1) || float8send(2));

-- equality
SELECT rfm(2, 1, 3) = rfm(2, 1, 3), rfm(2, 1, 3) = rfm(2, 1, 3, 0), rfm(0, -0.0, 3, 0) = rfm(0, 0, 3), rfm(2, 1, 3) <> rfm(2, 1, 4);
SELECT r, count(*) FROM unnest(ARRAY[rfm(1, 2, 3, 4), rfm(1, 2, 3), rfm(1, 2, 3, 4)]) r GROUP BY r ORDER BY 2;

-- a case worked out by hand
CREATE TABLE rfm_purchases (customer text, at timestamptz, amount numeric);
INSERT INTO rfm_purchases VALUES
	('ann', '2024-01-10 09:00+00', 10), ('ann', '2024-01-01 18:00+00', 5), ('ann', '2024-01-01 10:00+00', 20),
	('ann', '2024-01-03 00:00+00', 30), ('ann', '2024-01-10 23:59+00', NULL), ('ann', '2024-03-01 00:00+00', 1000), ('ann', NULL, 7),
	('bob', '2024-01-31 00:00+00', 12.5),
	('cid', '2024-01-31 00:01+00', 1),
	('dee', '2024-01-30 12:00+00', NULL), ('dee', '2024-01-31 00:00+00', NULL), ('dee', '2024-01-29 00:00+00', 3);
-- ann: days 1, 3 and 10; (30 + 10) / 2; cid has not bought by then; dee's repeats have no amounts
SELECT customer, rfm_agg(at, amount, '2024-01-31 00:00+00') FROM rfm_purchases GROUP BY customer ORDER BY customer;
SELECT customer, rfm_agg(at, amount, '2024-01-31 00:00+00', '1 week') FROM rfm_purchases GROUP BY customer ORDER BY customer;
SELECT customer, rfm_agg(at, amount, '2024-04-30 00:00+00', '1 month') FROM rfm_purchases GROUP BY customer ORDER BY customer;
SELECT customer, rfm_agg(at, amount, '2024-01-31 00:00+00', '1 hour') FROM rfm_purchases WHERE customer = 'ann' GROUP BY customer;
SELECT rfm_agg(at, NULL, '2024-01-31 00:00+00') FROM rfm_purchases WHERE customer = 'ann';
SELECT rfm_agg(at, amount, NULL), rfm_agg(at, amount, '2024-01-31', NULL), rfm_agg(NULL, amount, '2024-01-31 00:00+00'::timestamptz) FROM rfm_purchases;
SELECT rfm_agg(at, amount, '2024-01-31') FROM rfm_purchases WHERE false;

-- integer, numeric and real amounts; date and timestamp columns count days as they are written
SELECT rfm_agg(d, 1, '2024-05-01'), rfm_agg(d, 1.5::numeric, '2024-05-01'), rfm_agg(d::timestamp, 2::real, '2024-05-01'), rfm_agg(d::timestamp, 3::bigint, '2024-05-01', '1 month')
FROM unnest('{2024-03-30, 2024-03-31, 2024-04-01}'::date[]) d;

-- the day is the zone's day: 23:30 UTC is half past midnight in London's summer; the session's zone does not matter
SET TimeZone = 'Pacific/Auckland';
SELECT rfm_agg(at, 1, '2024-04-10 12:00+00'), rfm_agg(at, 1, '2024-04-10 12:00+00', '1 day', 'Europe/London'), rfm_agg(at, 1, '2024-04-10 12:00+00', '1 day', 'UTC')
FROM unnest('{2024-03-30 23:30+00, 2024-03-31 23:30+00, 2024-04-01 00:30+00}'::timestamptz[]) at;
SELECT rfm_agg(d, 1, '2024-04-10') FROM unnest('{2024-04-06, 2024-04-07, 2024-04-08}'::date[]) d;
RESET TimeZone;

-- errors
SELECT pg_temp.failure(format('SELECT loyalty.rfm_agg(at, amount, %s) FROM rfm_purchases', arguments))
FROM unnest(ARRAY[
	$$'infinity'$$, $$at$$, $$'2024-01-31', '0 days'$$, $$'2024-01-31', '-1 day'$$, $$'2024-01-31', '1 day 1 hour'$$,
	$$'2024-01-31', '1 month 1 day'$$, $$'2024-01-31', (1 + (amount > 20)::int) * interval '1 day'$$, $$'2024-01-31', '1 day', 'Mars/Olympus'$$,
	$$'2024-01-31', '1 day', ''$$, $$'2024-01-31', '1 microsecond'$$]) AS arguments;
SELECT pg_temp.failure($$SELECT loyalty.rfm_agg('-infinity'::timestamptz, 1, '2024-01-31')$$);
SELECT pg_temp.failure($$SELECT loyalty.rfm_agg('-infinity'::date, 1, '2024-01-31')$$);
SELECT pg_temp.failure($$SELECT loyalty.rfm_agg('2024-01-01'::date, 1, '5000000-01-01')$$);
SELECT pg_temp.failure($$SELECT loyalty.rfm_agg('2024-01-01'::date, 'NaN', '2024-01-31')$$);
SELECT pg_temp.failure($$SELECT loyalty.rfm_agg('2024-01-01'::date, '-Infinity', '2024-01-31')$$);
SELECT pg_temp.failure($$SELECT loyalty.rfm_agg(d::date, 1e308, '2024-01-31') FROM generate_series(timestamp '2024-01-01', '2024-01-05', '1 day') d$$);
SELECT rfm_agg('infinity'::date, 1, '2024-01-31');

-- parallel equals serial, in one group and in many
CREATE TABLE rfm_many (customer int, at timestamptz, amount float8) WITH (parallel_workers = 2);
INSERT INTO rfm_many
SELECT i % 97, timestamptz '2020-01-01 00:00+00' + (i * 7919 % 900) * interval '1 day' + (i % 86400) * interval '1 second', (i * 31 % 1000) / 8.0
FROM generate_series(1, 20000) i;
ANALYZE rfm_many;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT rfm_agg(at, amount, '2022-01-01') FROM rfm_many;
CREATE TABLE rfm_parallel AS
SELECT customer, rfm_agg(at, amount, '2022-01-01') AS day, rfm_agg(at, amount, '2022-01-01', '1 week', 'America/St_Johns') AS week
FROM rfm_many GROUP BY customer
UNION ALL SELECT NULL, rfm_agg(at, amount, '2022-01-01'), rfm_agg(at, amount, '2022-01-01', '1 week', 'America/St_Johns') FROM rfm_many;
SET max_parallel_workers_per_gather = 0;
-- amounts are eighths, so the sums are exact whatever their order
SELECT count(*), count(*) FILTER (WHERE s.day = p.day AND s.week = p.week) AS same
FROM rfm_parallel p JOIN (
	SELECT customer, rfm_agg(at, amount, '2022-01-01') AS day, rfm_agg(at, amount, '2022-01-01', '1 week', 'America/St_Johns') AS week
	FROM rfm_many GROUP BY customer
	UNION ALL SELECT NULL, rfm_agg(at, amount, '2022-01-01'), rfm_agg(at, amount, '2022-01-01', '1 week', 'America/St_Johns') FROM rfm_many) s
ON s.customer IS NOT DISTINCT FROM p.customer;

-- a growing frame
SELECT d, rfm_agg(d, i, '2024-01-31') OVER (ORDER BY i)
FROM (VALUES (1, date '2024-01-05'), (2, '2024-01-03'), (3, '2024-01-05'), (4, '2024-01-01')) v(i, d);

DROP TABLE rfm_purchases, rfm_many, rfm_parallel;
