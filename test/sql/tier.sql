-- tier: the ladder and its steps
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
-- Text of a ladder
--
SELECT input, pg_temp.try(format('%L::ladder', input))
FROM unnest(ARRAY[
	'bronze:0, silver:1000, gold:5000', 'a:0', '  very gold  :  0.50 ,next one:+7', 'x:0,y:0.0001', 'Gold:1,gold:2', 'été:1,名:2',
	'"q":1, it''s:2', 'top:922337203685477.5807', repeat('n', 63) || ':5'
]) WITH ORDINALITY AS t (input, n) ORDER BY n;
SELECT input, pg_temp.try(format('%L::ladder', input))
FROM unnest(ARRAY[
	-- not a list of name:threshold
	'', ' ', 'bronze', 'bronze:0,', ',bronze:0', 'a:0,,b:1', 'a:', 'a:x', 'a:1e3', 'a:b:1', 'a:1 2', 'a:0;b:1', 'a=0',
	-- no threshold
	'a:1.00001', 'a:1e', 'a:0, b:922337203685478', 'a:-1', 'a:-0.0001, b:5',
	-- not rising
	'a:0, b:0', 'a:5, b:3', 'a:1, b:2, c:1.9999',
	-- names
	':0', '  :0', 'a:0, a:1', 'a:0, b:1, a :2', E'a\tb:0', repeat('n', 64) || ':5', repeat('é', 32) || ':5'
]) WITH ORDINALITY AS t (input, n) ORDER BY n;
-- how many steps
SELECT n, pg_temp.try(format('(SELECT count(*) FROM tiers(%L))', (SELECT string_agg('t' || i || ':' || i, ',') FROM generate_series(1, n) AS i)))
FROM (VALUES (1000), (1001)) AS v (n);

--
-- Text of a tier
--
SELECT input, pg_temp.try(format('%L::tier', input))
FROM unnest(ARRAY['3:gold', ' 03 :  very gold ', '1:a', '1000:top', '1:"x"',
	'', 'gold', '3', '3:', ':gold', '3: ', '-3:gold', '+3:gold', '3.0:gold', '3 1:gold', 'x:gold', '0:gold', '1001:gold', '99999999999999999999:gold', '4294967297:gold',
	'3:a:b', '3:a,b', E'3:a\nb', '3:' || repeat('n', 63), '3:' || repeat('n', 64)]) WITH ORDINALITY AS t (input, n) ORDER BY n;
SELECT tier_rank('3:gold'), tier_name('3:gold'), tier_name('12:Très bien'), tier_rank(NULL), tier_name(NULL);

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
SELECT left(input, 12) AS input, pg_temp.soft(input, 'loyalty.ladder') AS ladder, pg_temp.soft(input, 'loyalty.tier') AS tier
FROM unnest(ARRAY['1:2', 'a', 'a:x', 'a:1.23456', 'a:-1', 'a:2,b:1', 'a:1,a:2', ':1', 'a' || repeat(',a', 1000), '0:x', '1:', '1:' || repeat('n', 64)])
	WITH ORDINALITY AS t (input, n) ORDER BY n;

--
-- Which tier
--
CREATE TABLE tier_ladders (name text, ladder ladder);
INSERT INTO tier_ladders VALUES ('from zero', 'bronze:0, silver:1000, gold:5000'), ('from one', 'only:1');
SELECT p, (SELECT tier_for(ladder, p) FROM tier_ladders WHERE name = 'from zero') AS from_zero, (SELECT tier_for(ladder, p) FROM tier_ladders WHERE name = 'from one') AS from_one
FROM unnest('{-922337203685477.5808,-1,-0.0001,0,0.0001,0.9999,1,999.9999,1000,1000.0001,4999.9999,5000,922337203685477.5807,NULL}'::points[]) AS p;
SELECT tier_for(NULL, 5), tier_for('a:0', NULL), tier_for('a:0', 7::smallint), tier_for('a:0', '0.5');
-- the price of being strict: a numeric is not taken silently
SELECT pg_temp.try($$tier_for('a:0', 12.5)$$), pg_temp.try($$tier_for('a:0', 12.5::points)$$);

SELECT t AS tier, next_tier(ladder, t), threshold(ladder, t) FROM tier_ladders, unnest('{NULL,1:bronze,2:silver,3:gold}'::tier[]) AS t WHERE name = 'from zero';
SELECT next_tier(NULL, '1:a'), next_tier('a:0', NULL), next_tier('a:0', '1:a'), threshold(NULL, '1:a'), threshold('a:0', NULL);
-- what is left to the next one
SELECT p, threshold(ladder, next_tier(ladder, tier_for(ladder, p))) - p AS missing
FROM tier_ladders, unnest('{-3,0,999.5,1000,4999.9999,5000}'::points[]) AS p WHERE name = 'from zero';
-- a tier is known by its name: a step put in below it moves its rank only
SELECT next_tier('bronze:0, copper:500, silver:1000, gold:5000', '2:silver'), threshold('bronze:0, copper:500, silver:1500, gold:5000', '2:silver'),
	tier_for('bronze:0, copper:500, silver:1500, gold:5000', 1500);
SELECT pg_temp.try($$next_tier('a:0, b:1', '1:c')$$), pg_temp.try($$threshold('a:0, b:1', '2:B')$$);

SELECT * FROM tiers('bronze:0, very silver:1000.5, gold:5000');
SELECT l.name, t.* FROM tier_ladders AS l, tiers(l.ladder) AS t ORDER BY l.name, t.rank;
SELECT count(*) FROM tiers(NULL);
SELECT pg_typeof(rank), pg_typeof(name), pg_typeof(threshold) FROM tiers('a:0');

--
-- Order and equality
--
SELECT opcname, amname, opcintype::regtype, amvalidate(o.oid) FROM pg_opclass AS o JOIN pg_am AS a ON a.oid = opcmethod
WHERE opcintype IN ('tier'::regtype, 'ladder'::regtype) ORDER BY opcintype::regtype::text, amname;
SELECT o.oprleft::regtype AS type, oprname, c.oprcom = o.oid AS commutes, n.oprnegate = o.oid AS negates, o.oprrest, o.oprjoin, o.oprcanhash, o.oprcanmerge
FROM pg_operator AS o LEFT JOIN LATERAL (SELECT oprcom FROM pg_operator WHERE oid = o.oprcom) AS c ON true
	LEFT JOIN LATERAL (SELECT oprnegate FROM pg_operator WHERE oid = o.oprnegate) AS n ON true
WHERE o.oprleft IN ('tier'::regtype, 'ladder'::regtype) ORDER BY o.oprleft::regtype::text, oprname COLLATE "C";

CREATE TABLE tier_sorted (t tier);
INSERT INTO tier_sorted VALUES ('10:a'), ('2:b'), ('2:a'), ('2:aa'), ('2:B'), ('1:z'), (NULL), ('2:b'), ('1000:x'), ('2:é');
SELECT t FROM tier_sorted ORDER BY t;
SELECT t, count(*) FROM tier_sorted GROUP BY t HAVING count(*) > 1;
SELECT a AS left, b AS right, a = b AS eq, a <> b AS ne, a < b AS lt, a <= b AS le, a > b AS gt, a >= b AS ge, tier_cmp(a, b) < 0 AS before,
	tier_hash(a) = tier_hash(b) AS same_hash, tier_hash_extended(a, 42) = tier_hash_extended(b, 42) AS same_hash_extended
FROM (VALUES ('2:gold'::tier, '10:gold'::tier), ('2:gold', '2:gold'), ('2:gold', '2:golden'), ('3:a', '2:b')) AS v (a, b);
SELECT tier '2:silver' >= '2:silver' AND tier '3:gold' > '2:silver' AS compared_with_literals;
-- a value in a tuple, with its short header, is the same value
SELECT count(*) FROM tier_sorted WHERE t = '2:b' AND tier_hash(t) = tier_hash('2:b') AND tier_cmp(t, '2:b') = 0 AND tier_rank(t) = 2 AND tier_name(t) = 'b';
CREATE INDEX ON tier_sorted (t);
CREATE INDEX ON tier_sorted USING hash (t);
SET enable_seqscan = off;
SELECT t FROM tier_sorted WHERE t >= '2:aa' AND t < '10:a' ORDER BY t;
SELECT count(*) FROM tier_sorted WHERE t = '2:b';
RESET enable_seqscan;

-- ladders: equal when they say the same; the order has no meaning but is one
SELECT a = b AS eq, a <> b AS ne, a < b AS lt, a <= b AS le, a > b AS gt, a >= b AS ge, ladder_cmp(a, b), ladder_hash(a) = ladder_hash(b) AS same_hash,
	ladder_hash_extended(a, 42) = ladder_hash_extended(b, 42) AS same_hash_extended
FROM (VALUES ('a:0, b:1'::ladder, ' a : 0.000 ,b:01'::ladder), ('a:0, b:1', 'a:0, b:1.5'), ('a:0, b:1', 'a:0, c:1'), ('a:0, b:1', 'a:0'), ('ab:0, c:1', 'a:0, bc:1')) AS v (a, b);
SELECT DISTINCT l FROM (VALUES ('a:0,b:1'::ladder), ('a:0, b:1'), ('a:0')) AS v (l) ORDER BY l;
SELECT count(*) FROM tier_ladders AS a JOIN tier_ladders AS b USING (ladder);
-- big enough to be stored out of line
INSERT INTO tier_ladders SELECT 'big', string_agg(md5('step ' || i) || ':' || i * 0.5, ',')::ladder FROM generate_series(1, 1000) AS i;
SELECT pg_column_size(ladder) > 20000 AS big, tier_for(ladder, '250.4999') = ('500:' || md5('step 500'))::tier AS found, ladder = ladder::text::ladder AS itself,
	threshold(ladder, ('1:' || md5('step 1000'))::tier), (SELECT sum(threshold) FROM tiers(ladder)) AS sum
FROM tier_ladders WHERE name = 'big';
SELECT count(*), count(DISTINCT ladder) FROM (SELECT ladder FROM tier_ladders UNION ALL SELECT ladder FROM tier_ladders) AS twice;

--
-- A few hundred pseudo-random ladders; their steps as rows are the oracle
--
CREATE TABLE tier_steps AS
	SELECT l, rank, name, sum(increment) OVER (PARTITION BY l ORDER BY rank) AS threshold
	FROM (
		SELECT l, rank::integer, substr(md5('name ' || l || ' ' || rank), 1, 3 + (l * rank) % 30) || rank AS name,
			(('x' || substr(md5('threshold ' || l || ' ' || rank), 1, 7))::bit(28)::integer % (10 ^ (1 + rank % 7))::integer)::numeric * 0.0001 + 0.0001 AS increment
		FROM generate_series(1, 300) AS l, generate_series(1, 1 + l % 40) AS rank
	) AS s;
CREATE INDEX ON tier_steps (l, threshold);
ANALYZE tier_steps;
CREATE TABLE tier_fuzz AS
	SELECT l, string_agg(name || ':' || trim_scale(threshold), ', ' ORDER BY rank) AS canonical,
		string_agg(repeat(' ', l % 3) || name || repeat(' ', rank % 2) || ':' || threshold || repeat('0', l % 5), ',' ORDER BY rank)::ladder AS ladder
	FROM tier_steps GROUP BY l;
SELECT count(*) AS ladders, count(*) FILTER (WHERE ladder::text <> canonical) AS text_differs,
	count(*) FILTER (WHERE canonical::ladder <> ladder OR ladder_hash(canonical::ladder) <> ladder_hash(ladder)) AS value_differs
FROM tier_fuzz;
SELECT count(*) AS steps, count(*) FILTER (WHERE (f.l, f.rank, f.name, f.threshold::numeric) IS DISTINCT FROM (s.l, s.rank, s.name, s.threshold)) AS wrong
FROM (SELECT l, t.* FROM tier_fuzz, tiers(ladder) AS t) AS f FULL JOIN tier_steps AS s USING (l, rank);
-- on each threshold, a ten-thousandth below and one above
SELECT count(*) AS probes, count(*) FILTER (WHERE found IS NULL) AS below_the_first, count(*) FILTER (WHERE found IS DISTINCT FROM expected) AS wrong
FROM (
	SELECT tier_for(f.ladder, probe::points)::text AS found,
		(SELECT s.rank || ':' || s.name FROM tier_steps AS s WHERE s.l = f.l AND s.threshold <= probe ORDER BY s.threshold DESC LIMIT 1) AS expected
	FROM tier_fuzz AS f JOIN tier_steps AS p USING (l), LATERAL unnest(ARRAY[p.threshold - 0.0001, p.threshold, p.threshold + 0.0001]) AS probe
	WHERE f.l <= 100
) AS probes;
SELECT count(*) AS steps, count(*) FILTER (WHERE threshold(f.ladder, format('%s:%s', s.rank, s.name)::tier)::numeric <> s.threshold) AS threshold_wrong,
	count(*) FILTER (WHERE next_tier(f.ladder, format('%s:%s', s.rank, s.name)::tier)::text IS DISTINCT FROM
		(SELECT n.rank || ':' || n.name FROM tier_steps AS n WHERE n.l = s.l AND n.rank = s.rank + 1)) AS next_wrong
FROM tier_fuzz AS f JOIN tier_steps AS s USING (l) WHERE s.l <= 100;

--
-- Binary
--
SELECT tier_send('3:gold'), ladder_send('bronze:0, or:0.5');
CREATE TEMP TABLE tier_out AS SELECT l, ladder, ARRAY(SELECT tier_for(ladder, threshold) FROM tiers(ladder)) AS tiers FROM tier_fuzz UNION ALL SELECT 0, ladder, NULL FROM tier_ladders WHERE name = 'big';
CREATE TEMP TABLE tier_in (LIKE tier_out);
\copy tier_out TO 'build/regress/tier.binary' (FORMAT binary)
\copy tier_in FROM 'build/regress/tier.binary' (FORMAT binary)
SELECT count(*), sum(cardinality(b.tiers)) AS tiers, count(*) FILTER (WHERE a.ladder <> b.ladder OR a.tiers <> b.tiers) AS differ FROM tier_out AS a JOIN tier_in AS b USING (l);

-- A binary COPY does not say of which type its bytes are: bytes written as
-- bytea are read as a ladder, or a tier.
CREATE TEMP TABLE wire (bytes bytea);
INSERT INTO wire VALUES (NULL);
CREATE TEMP TABLE ladder_wire (l ladder);
CREATE TEMP TABLE tier_wire (t tier);
\set SHOW_CONTEXT never
\set one_step '''\\x010001''::bytea || int8send(10000) || '
-- a good one
UPDATE wire SET bytes = :one_step '\x676f6c6400';
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
TABLE ladder_wire;
-- version
UPDATE wire SET bytes = '\x020001'::bytea || int8send(0) || '\x6100';
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
-- no step, too many steps, fewer than announced, more than announced
UPDATE wire SET bytes = '\x010000';
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = '\x01ffff';
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = '\x010002'::bytea || int8send(0) || '\x6100';
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = :one_step '\x610000';
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
-- names: empty, with a colon, a comma, a blank at an end, a control character, too long, twice, unterminated, not of the encoding
UPDATE wire SET bytes = :one_step '\x00';
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = :one_step '\x613a6200';
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = :one_step '\x612c6200';
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = :one_step '\x612000';
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = :one_step '\x617f6200';
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = :one_step convert_to(repeat('n', 64), 'UTF8') || '\x00';
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = '\x010002'::bytea || int8send(0) || '\x6100'::bytea || int8send(1) || '\x6100'::bytea;
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = :one_step '\x616263';
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = :one_step '\xc36100';
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
-- thresholds: negative, not rising
UPDATE wire SET bytes = '\x010001'::bytea || int8send(-1) || '\x6100'::bytea;
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = '\x010002'::bytea || int8send(5) || '\x6100'::bytea || int8send(5) || '\x6200'::bytea;
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy ladder_wire FROM 'build/regress/tier.binary' (FORMAT binary)
-- a tier: good, version, rank 0, -1 and 1001, empty name, more than it needs
UPDATE wire SET bytes = '\x01'::bytea || int4send(3) || '\x676f6c6400'::bytea;
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy tier_wire FROM 'build/regress/tier.binary' (FORMAT binary)
TABLE tier_wire;
UPDATE wire SET bytes = '\x00'::bytea || int4send(3) || '\x676f6c6400'::bytea;
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy tier_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = '\x01'::bytea || int4send(0) || '\x676f6c6400'::bytea;
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy tier_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = '\x01'::bytea || int4send(-1) || '\x676f6c6400'::bytea;
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy tier_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = '\x01'::bytea || int4send(1001) || '\x676f6c6400'::bytea;
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy tier_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = '\x01'::bytea || int4send(3) || '\x00'::bytea;
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy tier_wire FROM 'build/regress/tier.binary' (FORMAT binary)
UPDATE wire SET bytes = '\x01'::bytea || int4send(3) || '\x610061'::bytea;
\copy wire TO 'build/regress/tier.binary' (FORMAT binary)
\copy tier_wire FROM 'build/regress/tier.binary' (FORMAT binary)
\set SHOW_CONTEXT errors

--
-- COPY, arrays, records, JSON
--
CREATE TEMP TABLE tier_copied (t tier, l ladder, a tier[]);
COPY tier_copied FROM STDIN;
3:gold	bronze:0, gold:5000	{1:a,"2:b c"}
\N	\N	{}
\.
COPY tier_copied TO STDOUT;
COPY tier_copied TO STDOUT (FORMAT csv);
SELECT to_jsonb(c) FROM tier_copied AS c;
SELECT '3:gold'::tier::text, 'a:0'::ladder::text, '3:gold'::text::tier, 'a:0'::text::ladder;

DROP TABLE tier_ladders, tier_sorted, tier_steps, tier_fuzz;
