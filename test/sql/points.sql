-- points: exact fixed point with four decimals
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS loyalty;
RESET client_min_messages;
SET search_path = loyalty, public;

-- An expression's value, or its error with SQLSTATE, message and detail.
CREATE FUNCTION pg_temp.try(expression text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	value text;
	detail text;
BEGIN
	EXECUTE 'SELECT (' || expression || ')::text' INTO value;
	RETURN coalesce(value, 'NULL');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ' ' || SQLERRM || coalesce(' / ' || nullif(detail, ''), '');
END $$;

--
-- Text
--
SELECT input, pg_temp.try(format('%L::points', input))
FROM unnest(ARRAY[
	'125', '12.5', '-3.0001', '0', '-0', '+7', '  42  ', E'\t\n1.5\r\n', '.5', '5.', '-.0001', '000123.4500',
	'1.0000', '1.10000000000000000000', '0.00010', '00000000000000000000000000000001',
	'922337203685477.5807', '-922337203685477.5808', '-922337203685477.58080'
]) WITH ORDINALITY AS t (input, n) ORDER BY n;

SELECT input, pg_temp.try(format('%L::points', input))
FROM unnest(ARRAY[
	-- not a number without exponent
	'', ' ', '.', '-', '+', '-.', '1e3', '1E0', '1_000', '1,000', '0x10', '1 2', '- 1', '--1', '+-1', '1-', '1.2.3', 'abc', '1a', 'NaN',
	'Infinity', '-inf', '99999999999999999999x', '1.00001x',
	-- more decimals than there are
	'1.00001', '-0.00005', '0.12345',
	-- beyond the ends
	'922337203685477.5808', '-922337203685477.5809', '922337203685478', '9223372036854775807', '-9999999999999999999999999999',
	'922337203685477.58071', '922337203685477.58080001'
]) WITH ORDINALITY AS t (input, n) ORDER BY n;

SELECT '12.5'::text::points, points '12.5', '12.50'::varchar::points, '12.5'::points::text, '12.50'::points::varchar(10);
SELECT count(*) FROM (VALUES ('1'), ('1.00')) v (t) GROUP BY t::points;

-- Soft errors: the same verdicts where the server can ask without raising
CREATE FUNCTION pg_temp.soft(input text, type text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	verdict text;
BEGIN
	IF current_setting('server_version_num')::int >= 160000 THEN
		EXECUTE 'SELECT sql_error_code FROM pg_input_error_info($1, $2)' INTO verdict USING input, type;
	ELSE
		EXECUTE format('SELECT %L::%s', input, type);
	END IF;
	RETURN coalesce(verdict, 'valid');
EXCEPTION WHEN OTHERS THEN
	IF current_setting('server_version_num')::int >= 160000 THEN
		RAISE;
	END IF;
	RETURN SQLSTATE;
END $$;
SELECT input, pg_temp.soft(input, 'loyalty.points')
FROM unnest(ARRAY['1.5', 'x', '1.23456', '1e9', '1000000000000000']) WITH ORDINALITY AS t (input, n) ORDER BY n;

--
-- Casts
--
SELECT 1::smallint::points, (-2)::integer::points, 3::bigint::points, 4.25::numeric::points, 4.25000000::points;
SELECT expression, pg_temp.try(expression)
FROM unnest(ARRAY[
	'(-32768)::smallint::points', '(-2147483648)::integer::points', '2147483647::points',
	'922337203685477::points', '(-922337203685477)::points', '922337203685478::bigint::points', '(-922337203685478)::bigint::points',
	'9223372036854775807::points',
	'922337203685477.5807::points', '(-922337203685477.5808)::points', '922337203685477.5808::points', '(-922337203685477.5809)::points',
	'1e14::numeric::points', '1e15::numeric::points', '(-1e30)::numeric::points', '1e1000::numeric::points', '1e-4::numeric::points',
	'1e-5::numeric::points', '1e-1000::numeric::points', '0.00009999::points', '1000000000000.00001::points', '0e-900::numeric::points',
	$$'NaN'::numeric::points$$, $$'Infinity'::numeric::points$$, $$'-Infinity'::numeric::points$$,
	'1.5::float8::points', '1.5::float4::points', $$'5'::points::float8$$, 'true::points',
	$$'125'::points::numeric$$, $$'12.5'::points::numeric$$, $$'12.25'::points::numeric$$, $$'-0.0001'::points::numeric$$, $$'100.001'::points::numeric$$,
	$$'922337203685477.5807'::points::numeric$$, $$'-922337203685477.5808'::points::numeric$$, $$'0'::points::numeric$$,
	$$'7'::points::bigint$$, $$'-7'::points::bigint$$, $$'7.5'::points::bigint$$, $$'-0.0001'::points::bigint$$,
	$$'-922337203685477.5808'::points::bigint$$, $$'922337203685477'::points::bigint$$, $$'7'::points::integer$$
]) WITH ORDINALITY AS t (expression, n) ORDER BY n;

-- At assignment: exact or an error, both ways
CREATE TEMP TABLE assigned (p points, b bigint, n numeric(10, 2), t text);
INSERT INTO assigned VALUES (12.5, '12'::points, '12.25'::points, '3.5'::points);
INSERT INTO assigned (p) VALUES (12.34567);
INSERT INTO assigned (b) VALUES ('12.5'::points);
INSERT INTO assigned (p) VALUES (1.5::float8);
UPDATE assigned SET p = p * 1.5;
UPDATE assigned SET p = p * 0.00001;
TABLE assigned;

--
-- Which operator an expression means, where p is 12.5 points
--
CREATE FUNCTION pg_temp.meaning(expression text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	value text;
BEGIN
	EXECUTE format('SELECT (%1$s)::text || '' '' || pg_typeof(%1$s) FROM (SELECT loyalty.points ''12.5'' AS p) AS s', expression) INTO value;
	RETURN value;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

SELECT expression, pg_temp.meaning(expression)
FROM unnest(ARRAY[
	'p > 10', 'p > 10::bigint', 'p > 10::smallint', 'p > 10.5', $$p > '10.5'$$, '10 < p', '10.5 < p', $$'10.5' < p$$,
	'p = 12.5', 'p <> 12', $$p = '12.5000'$$, 'p >= 12.50001', 'p IN (1, 2)', 'p IN (12.5, 2)', $$p IN ('12.5', '2')$$,
	'p BETWEEN 12 AND 13', 'p BETWEEN 12.4 AND 13', 'p = ANY (ARRAY[1, 2])', $$p = ANY ('{12.5,2}')$$, 'p IS DISTINCT FROM 12',
	'p + 5', '5 + p', 'p + 5::bigint', 'p + 5::smallint', 'p + 0.5', $$p + '0.5'$$, 'p + p', 'p - 1', '1 - p', 'p - 0.25', 'p - p',
	'p * 2', '2 * p', 'p * 2::smallint', 'p * 2::bigint', '2::bigint * p', 'p * 1.5', '1.5 * p', $$p * '3'$$, $$p * '1.5'$$, 'p * p',
	'p / 2', '2 / p', 'p / 2.5', $$p / '2.5'$$, 'p / p', 'p % 5', '-p', '+p', '- - p', 'abs(-p)', '@ (-p)',
	'round(p)', 'floor(p)', 'trunc(p, 0)', 'greatest(p, 1)', 'least(p, 13.7)', $$greatest(p, '99')$$,
	'coalesce(p, 0)', 'coalesce(NULL, p)', 'coalesce(p, 0.0)', 'CASE WHEN false THEN p ELSE 0 END', 'nullif(p, 0)', $$nullif(p, '12.5')$$,
	'ARRAY[1, p]', 'ARRAY[p, 1.5]', $$p || ' points'$$,
	'p > 1.5::float8', 'p + 1.5::float8', 'coalesce(p, 1.5::float8)', $$p + interval '1 day'$$
]) WITH ORDINALITY AS t (expression, n) ORDER BY n;

SELECT pg_typeof(sum(p)), pg_typeof(avg(p)), pg_typeof(min(p)), pg_typeof(max(p)), pg_typeof(coalesce(sum(p), 0))
FROM (VALUES ('1'::points)) v (p);
SELECT pg_typeof(u) FROM (SELECT 1 UNION ALL SELECT '2.5'::points) v (u);

-- Without the schema on the path it is the same number, as numeric
SET search_path = public;
SELECT expression, pg_temp.meaning(expression)
FROM unnest(ARRAY['p > 10', $$p = '12.50'$$, 'p + 5', 'p * 2', 'p / 2', '-p', 'abs(-p)', 'sum(p)', 'max(p)', 'p IN (12.5)'])
	WITH ORDINALITY AS t (expression, n) ORDER BY n;
SET search_path = loyalty, public;

-- No expression over core's own types may change its meaning because we are on
-- the path. The path is set where the expression is parsed, in each EXECUTE.
CREATE FUNCTION pg_temp.core_meaning(expression text, path text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	meaning text;
BEGIN
	PERFORM set_config('search_path', path, true);
	EXECUTE format('SELECT pg_catalog.pg_typeof(%s)', expression) INTO meaning;
	RETURN meaning;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
WITH types (type) AS (
	SELECT unnest(ARRAY['NULL::smallint', 'NULL::integer', 'NULL::bigint', 'NULL::numeric', 'NULL::real', 'NULL::float8',
		'NULL::oid', 'NULL::money', 'NULL::text', 'NULL::date', 'NULL::timestamptz', 'NULL::interval', 'NULL::boolean', 'NULL::json', 'NULL'])
), expressions (expression) AS (
	SELECT format('%s %s %s', a.type, op, b.type)
	FROM types AS a, types AS b, unnest(ARRAY['+', '-', '*', '/', '=', '<>', '<', '>=']) AS op
	UNION ALL
	SELECT format('%s(%s)', f, type) FROM types, unnest(ARRAY['-', '+', 'abs', 'sum', 'avg', 'min', 'max']) AS f
)
SELECT count(*) AS expressions, count(*) FILTER (WHERE there ~ '^[a-z]') AS valid, count(*) FILTER (WHERE here <> there) AS changed
FROM (
	SELECT pg_temp.core_meaning(expression, 'loyalty, pg_catalog') AS here, pg_temp.core_meaning(expression, 'pg_catalog') AS there
	FROM expressions
) AS m;
SET search_path = loyalty, public;

--
-- Arithmetic at the ends
--
SELECT expression, pg_temp.try(expression)
FROM unnest(ARRAY[
	$$points '922337203685477.5807' + '0'$$, $$points '922337203685477.5807' + '0.0001'$$, $$points '-922337203685477.5808' + '-0.0001'$$,
	$$points '922337203685477.5807' + '-922337203685477.5808'$$,
	$$points '-922337203685477.5808' - '0.0001'$$, $$points '0' - '-922337203685477.5808'$$, $$points '-0.0001' - '-922337203685477.5808'$$,
	$$points '461168601842738.7903' * 2$$, $$points '461168601842738.7904' * 2$$, $$-2 * points '461168601842738.7904'$$,
	$$points '-922337203685477.5808' * -1$$, $$-1::bigint * points '-922337203685477.5808'$$, $$points '-922337203685477.5807' * -1$$,
	$$points '0.0001' * 9223372036854775807$$, $$points '0.0001' * (-9223372036854775808)$$, $$points '0.0002' * 9223372036854775807$$,
	$$- points '-922337203685477.5808'$$, $$- points '922337203685477.5807'$$, $$- points '0'$$,
	$$abs(points '-922337203685477.5808')$$, $$abs(points '-922337203685477.5807')$$, $$abs(points '3.5')$$,
	$$points '1' / '0'$$, $$points '0' / '0'$$, $$points '7.5' / '2.5'$$, $$points '1' / '3'$$, $$points '-922337203685477.5808' / '-1'$$,
	$$points '-922337203685477.5808' / '0.0001'$$, $$points '0' / '5'$$
]) WITH ORDINALITY AS t (expression, n) ORDER BY n;

--
-- Order, operator classes, indexes
--
SELECT opcname, amname, amvalidate(o.oid) FROM pg_opclass AS o JOIN pg_am AS a ON a.oid = opcmethod
WHERE opcintype = 'points'::regtype ORDER BY amname;
-- every comparison: commutator and negator that point back, estimators
SELECT oprname, c.oprcom = o.oid AS commutes, n.oprnegate = o.oid AS negates, o.oprrest, o.oprjoin, o.oprcanhash, o.oprcanmerge
FROM pg_operator AS o LEFT JOIN LATERAL (SELECT oprcom FROM pg_operator WHERE oid = o.oprcom) AS c ON true
	LEFT JOIN LATERAL (SELECT oprnegate FROM pg_operator WHERE oid = o.oprnegate) AS n ON true
WHERE o.oprleft = 'points'::regtype AND o.oprresult = 'boolean'::regtype ORDER BY oprname COLLATE "C";

CREATE TABLE points_edge (p points);
INSERT INTO points_edge VALUES ('0'), ('0.0001'), ('-0.0001'), ('1'), ('-1'), ('10'), ('9'), ('1.5'),
	('922337203685477.5807'), ('-922337203685477.5808'), (NULL);
SELECT p FROM points_edge ORDER BY p;
SELECT p FROM points_edge ORDER BY p DESC NULLS LAST LIMIT 3;
-- each operator says what numeric says of the same two numbers
SELECT count(*) AS pairs,
	count(*) FILTER (WHERE (a.p = b.p) <> (a.n = b.n) OR (a.p <> b.p) <> (a.n <> b.n) OR (a.p < b.p) <> (a.n < b.n)
		OR (a.p <= b.p) <> (a.n <= b.n) OR (a.p > b.p) <> (a.n > b.n) OR (a.p >= b.p) <> (a.n >= b.n)
		OR points_cmp(a.p, b.p) <> pg_catalog.numeric_cmp(a.n, b.n)
		OR (a.p = b.p AND points_hash(a.p) <> points_hash(b.p))) AS wrong
FROM (SELECT p, p::numeric AS n FROM points_edge WHERE p IS NOT NULL) AS a, (SELECT p, p::numeric AS n FROM points_edge WHERE p IS NOT NULL) AS b;

CREATE TABLE points_indexed (id integer, p points);
INSERT INTO points_indexed SELECT i, ((i * 37) % 1000)::points FROM generate_series(1, 5000) AS i;
CREATE INDEX points_btree ON points_indexed (p);
CREATE INDEX points_hashed ON points_indexed USING hash (p);
VACUUM ANALYZE points_indexed;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
-- how a plan shows an InitPlan differs between servers
CREATE FUNCTION pg_temp.plan_has(query text, pattern text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ pattern THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END $$;
SELECT pg_temp.plan_has('SELECT max(p) FROM points_indexed', 'Index Only Scan Backward using points_btree') AS max_by_index,
	pg_temp.plan_has('SELECT min(p) FROM points_indexed', 'Index Only Scan using points_btree') AS min_by_index;
SELECT min(p), max(p) FROM points_indexed;
EXPLAIN (COSTS OFF) SELECT count(*) FROM points_indexed WHERE p > 990;
SELECT count(*) FROM points_indexed WHERE p > 990;
EXPLAIN (COSTS OFF) SELECT count(*) FROM points_indexed WHERE p BETWEEN '10.5' AND '12';
SELECT count(*) FROM points_indexed WHERE p BETWEEN '10.5' AND '12';
EXPLAIN (COSTS OFF) SELECT id FROM points_indexed WHERE p > 990 ORDER BY p LIMIT 1;
DROP INDEX points_btree;
EXPLAIN (COSTS OFF) SELECT count(*) FROM points_indexed WHERE p = '37';
SELECT count(*) FROM points_indexed WHERE p = '37';
RESET enable_bitmapscan;
RESET enable_seqscan;

-- by hash, by sort, by merge, and over hash and range partitions
SET enable_sort = off;
SET enable_hashagg = on;
EXPLAIN (COSTS OFF) SELECT DISTINCT p FROM points_indexed;
SELECT count(*), sum(p) FROM (SELECT DISTINCT p FROM points_indexed) AS d;
SET enable_sort = on;
SET enable_hashagg = off;
SELECT count(*), sum(p) FROM (SELECT p FROM points_indexed GROUP BY p) AS d;
RESET enable_sort;
RESET enable_hashagg;
SET enable_hashjoin = off;
SET enable_nestloop = off;
SELECT count(*) FROM points_indexed AS a JOIN points_indexed AS b USING (p);
RESET enable_hashjoin;
SET enable_mergejoin = off;
SELECT count(*) FROM points_indexed AS a JOIN points_indexed AS b USING (p);
RESET enable_mergejoin;
RESET enable_nestloop;
CREATE TABLE points_parted (p points) PARTITION BY HASH (p);
CREATE TABLE points_parted_0 PARTITION OF points_parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE points_parted_1 PARTITION OF points_parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO points_parted SELECT p FROM points_indexed;
SELECT (SELECT count(*) FROM points_parted_0) > 0 AS some, (SELECT count(*) FROM points_parted_1) > 0 AS others, (SELECT count(*) FROM points_parted) AS "all";
CREATE TABLE points_ranged (p points) PARTITION BY RANGE (p);
CREATE TABLE points_ranged_low PARTITION OF points_ranged FOR VALUES FROM (MINVALUE) TO ('0.5');
CREATE TABLE points_ranged_high PARTITION OF points_ranged FOR VALUES FROM ('0.5') TO (MAXVALUE);
INSERT INTO points_ranged VALUES ('0.4999'), ('0.5'), (-3);
SELECT tableoid::regclass, p FROM points_ranged ORDER BY p;
DROP TABLE points_parted, points_ranged;

--
-- sum, avg, min, max
--
SELECT sum(p), avg(p), min(p), max(p), count(p) FROM points_edge WHERE p IS NULL;
SELECT sum(p), avg(p), min(p), max(p) FROM points_edge WHERE false;
SELECT sum(p), avg(p), min(p), max(p) FROM points_edge WHERE p BETWEEN -1 AND 10;	-- 20.5 of 8
SELECT sum(p) FROM points_edge;	-- 20.5 - 0.0001
SELECT sum(p), avg(p) FROM (VALUES ('0.1'::points), ('0.2')) AS v (p);
SELECT sum(p) FILTER (WHERE p > 0), sum(DISTINCT p) FROM (VALUES ('1.5'::points), ('1.5'), (-2)) AS v (p);

-- The way may leave the range, the total may not.
SELECT sum(p), avg(p) FROM (VALUES ('922337203685477.5807'::points), ('922337203685477.5807'), ('-922337203685477.5807')) AS v (p);
SELECT sum(p) FROM (VALUES ('-922337203685477.5808'::points), ('-922337203685477.5808'), ('922337203685477.5807'), ('0.0001')) AS v (p);
SELECT pg_temp.try($$(SELECT sum(p) FROM (VALUES ('922337203685477.5807'::points), ('0.0001')) AS v (p))$$);
SELECT pg_temp.try($$(SELECT sum(p) FROM (VALUES ('-922337203685477.5808'::points), ('-0.0001')) AS v (p))$$);
-- an average is never out of range: 2 and 3 times either end, and both ends
SELECT avg(p) FROM (VALUES ('922337203685477.5807'::points), ('922337203685477.5807')) AS v (p);
SELECT avg(p) FROM (VALUES ('-922337203685477.5808'::points), ('-922337203685477.5808'), ('-922337203685477.5808')) AS v (p);
SELECT avg(p) FROM (VALUES ('-922337203685477.5808'::points), ('922337203685477.5807')) AS v (p);

-- Moving windows
WITH v (n, p) AS (VALUES (1, '10'::points), (2, '20.5'), (3, NULL), (4, '-5'), (5, '0.0001'), (6, '1000'))
SELECT n, p, sum(p) OVER two AS sum_of_two, avg(p) OVER two AS avg_of_two, sum(p) OVER (ORDER BY n ROWS CURRENT ROW) AS itself,
	sum(p) OVER (ORDER BY n) AS running, min(p) OVER two, max(p) OVER two
FROM v WINDOW two AS (ORDER BY n ROWS 1 PRECEDING) ORDER BY n;
-- frames whose total leaves the range of 64 bits and comes back, with a borrow and a carry on the way
WITH v (n, p) AS (VALUES (1, '-922337203685477.5808'::points), (2, '-0.0001'), (3, '0.0001'), (4, '922337203685477.5807'), (5, '0.0001'), (6, '-0.0001'))
SELECT n, p, avg(p) OVER (ORDER BY n ROWS 1 PRECEDING) AS avg_of_two, sum(p) OVER (ORDER BY n ROWS CURRENT ROW) = p AS itself
FROM v ORDER BY n;
SELECT pg_temp.try($$(SELECT max(s) FROM (SELECT sum(p) OVER (ORDER BY p ROWS 1 PRECEDING) AS s FROM (VALUES ('922337203685477.5807'::points), ('0.0001')) AS v (p)) AS w)$$);
-- against the same frame without an inverse
SELECT count(*) AS frames, count(*) FILTER (WHERE moving IS DISTINCT FROM plain OR round(mean, 8) IS DISTINCT FROM round(plain / n, 8)) AS wrong
FROM (
	SELECT sum(p) OVER f AS moving, avg(p) OVER f AS mean, sum(p::numeric) OVER f AS plain, nullif(count(p) OVER f, 0) AS n
	FROM (SELECT id, CASE WHEN id % 7 > 3 THEN p - 500 END AS p FROM points_indexed) AS s
	WINDOW f AS (ORDER BY id ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING)
) AS w;

-- RANGE frames by points, which don't wrap at the end
SELECT p, count(*) OVER (ORDER BY p RANGE BETWEEN '0.0001' PRECEDING AND 8 FOLLOWING) AS near FROM points_edge WHERE p IS NOT NULL ORDER BY p;
SELECT pg_temp.try($$(SELECT max(s) FROM (SELECT sum(p) OVER (ORDER BY p RANGE '-1' PRECEDING) AS s FROM points_edge) AS w)$$);

-- In parallel: the sum of 0.25, 0.5, ... 25000 is 100000 * 100001 / 8
CREATE UNLOGGED TABLE points_many AS
	SELECT (i * 0.25)::points AS p, points '922337203685477.5807' AS top, CASE WHEN i % 2 = 0 THEN '922337203685477.5807' ELSE '-922337203685477.5806' END::points AS mixed
	FROM generate_series(1, 100000) AS i;
ANALYZE points_many;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
SET parallel_leader_participation = off;
EXPLAIN (COSTS OFF) SELECT sum(p), avg(p), min(p), max(p) FROM points_many;
SELECT sum(p), avg(p), min(p), max(p) FROM points_many;
-- each worker's part is beyond 64 bits
SELECT avg(top), sum(mixed) FROM points_many;
SELECT pg_temp.try('(SELECT sum(top) FROM points_many)');
SELECT n, sum(p) FROM (SELECT p, (p::numeric % 1) * 4 AS n FROM points_many) AS s GROUP BY round(n), n ORDER BY n;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;
RESET parallel_leader_participation;
DROP TABLE points_many;

--
-- JSON, arrays, records, domains, COPY
--
SELECT to_json('12.5'::points), to_jsonb('-3.0001'::points), jsonb_typeof(to_jsonb('7'::points)),
	jsonb_build_object('p', '922337203685477.5807'::points), json_agg(p) FROM (VALUES ('0.5'::points), (2)) AS v (p);
SELECT row_to_json(r), jsonb_path_match(to_jsonb(r), '$.p > 12 && $.a[0] == 1') FROM (SELECT '12.5'::points AS p, ARRAY['1'::points, NULL, '2.25'] AS a) AS r;
SELECT * FROM jsonb_to_record('{"p": 12.50, "q": "3", "r": null}') AS x (p points, q points, r points);
SELECT '{1,2.5,NULL,-0.0001}'::points[], ARRAY[1, 2]::points[], ARRAY['3.5'::points, 1] @> ARRAY['1'::points], '{2,1}'::points[] > '{1,2}';
SELECT unnest(ARRAY['2'::points, '10', '-1']) AS p ORDER BY p;
CREATE DOMAIN pg_temp.some_points AS points CHECK (VALUE > 0);
SELECT pg_temp.try('5::pg_temp.some_points + 1'), pg_temp.try('(-5)::points::pg_temp.some_points');
CREATE TEMP TABLE copied (p points, a points[]);
COPY copied FROM STDIN;
12.5	{1,2}
-922337203685477.5808	{}
\N	{NULL}
\.
COPY copied TO STDOUT;
COPY copied TO STDOUT (FORMAT csv);
COPY copied FROM STDIN;
1.23456	{}
\.

--
-- A few thousand pseudo-random values of all magnitudes; numeric is the oracle
--
CREATE TABLE points_fuzz AS
	SELECT i, raw, raw::numeric * 0.0001 AS n, trim_scale(raw::numeric * 0.0001)::text AS t
	FROM (
		SELECT i, ('x' || md5('points ' || i))::bit(64)::bigint >> (i % 64) AS raw FROM generate_series(1, 4000) AS i
		UNION ALL
		SELECT -n::integer, raw FROM unnest(ARRAY[0, 1, -1, 9999, 10000, -9999, -10000, 9223372036854775807, -9223372036854775808, 9223372036854775800])
			WITH ORDINALITY AS ends (raw, n)
	) AS r;
SELECT count(*) AS values, count(DISTINCT length(t)) > 18 AS all_lengths,
	count(*) FILTER (WHERE t::points::text <> t) AS text_differs,
	count(*) FILTER (WHERE points_send(t::points) <> int8send(raw)) AS bits_differ,
	count(*) FILTER (WHERE n::points <> t::points) AS from_numeric_differs,
	count(*) FILTER (WHERE t::points::numeric <> n OR t::points::numeric::text <> t) AS to_numeric_differs,
	count(*) FILTER (WHERE to_json(t::points)::text <> t) AS json_differs,
	count(*) FILTER (WHERE points_hash(t::points) <> hashint8(raw) OR points_hash_extended(t::points, i) <> hashint8extended(raw, i)) AS hash_differs
FROM points_fuzz;

-- arithmetic of pairs: numeric's result, or the error where that is no points value
CREATE FUNCTION pg_temp.sound(expression text, result numeric) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	value points;
BEGIN
	EXECUTE 'SELECT ' || expression INTO value;
	RETURN value::numeric = result;
EXCEPTION WHEN numeric_value_out_of_range THEN
	RETURN result NOT BETWEEN -922337203685477.5808 AND 922337203685477.5807;
END $$;
SELECT count(*) AS pairs,
	count(*) FILTER (WHERE abs(a.n + b.n) > 922337203685477.5808) > 20 AS some_overflow,
	count(*) FILTER (WHERE NOT pg_temp.sound(format('points %L + %L', a.t, b.t), a.n + b.n)) AS sum_wrong,
	count(*) FILTER (WHERE NOT pg_temp.sound(format('points %L - %L', a.t, b.t), a.n - b.n)) AS difference_wrong,
	count(*) FILTER (WHERE NOT pg_temp.sound(format('points %L * (%s)::bigint', a.t, b.raw), a.n * b.raw)) AS product_wrong,
	count(*) FILTER (WHERE NOT pg_temp.sound(format('-points %L', a.t), -a.n) OR NOT pg_temp.sound(format('abs(points %L)', a.t), abs(a.n))) AS sign_wrong,
	count(*) FILTER (WHERE points_cmp(a.t::points, b.t::points) <> numeric_cmp(a.n, b.n)) AS order_wrong
FROM points_fuzz AS a JOIN points_fuzz AS b ON b.i = (a.i * 7 + 1) % 1999 OR a.i < 0 AND b.i < 50
WHERE a.i <= 2000;

-- numerics of any scale: accepted exactly when they have four decimals and fit
CREATE FUNCTION pg_temp.number_sound(number numeric) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
	RETURN number::points::numeric = number;
EXCEPTION WHEN numeric_value_out_of_range THEN
	RETURN number <> round(number, 4) OR number NOT BETWEEN -922337203685477.5808 AND 922337203685477.5807;
END $$;
SELECT count(*) AS numbers, count(*) FILTER (WHERE NOT pg_temp.number_sound(number)) AS wrong
FROM (
	SELECT CASE WHEN i % 2 = 0 THEN raw ELSE raw % 1000 END * power(10::numeric, (i % 23) - 15) AS number FROM points_fuzz
) AS x;

-- texts of the alphabet of numbers: accepted exactly when the grammar says so
CREATE FUNCTION pg_temp.text_verdict(input text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	RETURN input::points::numeric;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
WITH random_texts (input) AS (
	SELECT translate(substr(md5('text ' || i), 1, 1 + i % 9), 'abcdef', '.+- 0.') FROM generate_series(1, 6000) AS i
), expected AS (
	SELECT input, CASE
		WHEN input !~ '^ *[+-]?([0-9]+\.?[0-9]*|\.[0-9]+) *$' THEN '22P02'
		WHEN input::numeric <> round(input::numeric, 4) THEN '22003'
		ELSE trim_scale(input::numeric)::text END AS verdict
	FROM random_texts
)
SELECT count(*) AS texts, count(*) FILTER (WHERE verdict = '22P02') > 1000 AS many_malformed, count(*) FILTER (WHERE verdict = '22003') > 10 AS some_too_fine,
	count(*) FILTER (WHERE verdict !~ '^22') > 1000 AS many_valid, count(*) FILTER (WHERE pg_temp.text_verdict(input) <> verdict) AS wrong
FROM expected;

-- binary out and in again
CREATE TEMP TABLE binary_out AS SELECT i, t::points AS p, ARRAY[t::points, NULL] AS a FROM points_fuzz;
CREATE TEMP TABLE binary_in (LIKE binary_out);
\copy binary_out TO 'build/regress/points.binary' (FORMAT binary)
\copy binary_in FROM 'build/regress/points.binary' (FORMAT binary)
SELECT count(*), count(*) FILTER (WHERE a.p <> b.p OR a.a <> b.a) AS differ FROM binary_out AS a JOIN binary_in AS b USING (i);

DROP TABLE points_edge, points_indexed, points_fuzz;
