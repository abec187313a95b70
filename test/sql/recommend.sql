-- recommend: basket_summary, its aggregates and its errors; the neighbours are in test/pgtap
\i test/sql/include/begin.psql

-- text: items in the order of their bytes, items of a basket by number, baskets in order
SELECT '("tea","cake"|2 1|1)'::basket_summary, ' ( "b" , "a" | 1 |2  | 1 ) '::basket_summary AS blanks, '("a\"b","c\\d","","é|(1)"|1 2 3 4)'::basket_summary AS quotes;
SELECT input, pg_temp.failure(format('SELECT %L::loyalty.basket_summary', input))
FROM unnest(ARRAY['', '()', '("a")', '("a"', '("a"|1', '("a"|1)x', '("a|1)', '("a\', '(a|1)', '("a",|1)', '("a"|x)', '("a"|-1)', '("a"|1x)', '("a"|1,1)',
	'("a"|)', '("a"||1)', '("a"|0)', '("a"|2)', '("a"|99999999999999999999)', '("a"|1 1)', '("a","a"|1 2)', '("a","b"|1)']) AS input;
-- binary: version, items with their lengths, baskets with their sizes, numbers from 0
SELECT basket_summary_send('("a","tea"|1 2|2)');
SELECT pg_temp.receive('basket_summary', basket_summary_send(s)) = s::text AS same FROM unnest(ARRAY['("a","tea"|1 2|2)', '("a\"b","c\\d","","é|(1)"|1 2 3 4)']::basket_summary[]) s;
SELECT pg_temp.receive('basket_summary', '\x01' || int4send(2) || int4send(1) || 'b' || int4send(1) || 'a' || int4send(1) || int4send(2) || int4send(1) || int4send(0)) AS put_in_order;
SELECT pg_temp.receive('basket_summary', payload) FROM unnest(ARRAY['\x02'::bytea, '\x01' || int4send(-1) || int4send(-1), '\x01' || int4send(100000000) || int4send(1) || 'a', '\x01' || int4send(1) || int4send(-1),
	'\x01' || int4send(1) || int4send(1) || 'a' || int4send(1) || int4send(1) || int4send(1), '\x01' || int4send(1) || int4send(1) || 'a' || int4send(1) || int4send(1) || int4send(-1),
	'\x01' || int4send(1) || int4send(1) || 'a' || int4send(1) || int4send(0), '\x01' || int4send(1) || int4send(1) || 'a' || int4send(1) || int4send(2) || int4send(0) || int4send(0)]) payload;
SELECT a = b AS equal, a <> c AS unequal, basket_summary_hash(a) = basket_summary_hash(b) AS hash, basket_summary_hash_extended(a, 7) = basket_summary_hash_extended(b, 7) AS hash_extended
FROM (VALUES ('("a","b"|1|2)'::basket_summary, '("b","a"|1|2)'::basket_summary, '("a","b"|1 2)'::basket_summary)) v(a, b, c);

-- An item that is twice in a basket is in it once; NULL is no item, and nothing is no basket
SELECT basket_agg(items), baskets(basket_agg(items)) FROM (VALUES (ARRAY['tea', 'milk', 'tea']), (ARRAY['milk', NULL]), (ARRAY[NULL]), ('{}'), (NULL), ('{{cake,tea},{milk,cake}}')) v(items);
SELECT basket_agg(items) FROM (VALUES (NULL::text[]), ('{}')) v(items);
SELECT rollup(s) FROM (VALUES (NULL::basket_summary), ('("b","c"|1 2)'), ('("a","b"|1|1 2|2)')) v(s);
SELECT rollup(NULL::basket_summary), baskets(NULL);
SELECT * FROM similar_items(NULL);
SELECT pg_temp.failure(format('SELECT * FROM loyalty.similar_items(''("a"|1)'', %s)', arguments)) FROM unnest(ARRAY['-1', '''NaN''', '''Infinity''', 'NULL', 'neighbours => 0', 'min_together => 0', 'max_basket => 1', 'max_basket => NULL']) arguments;

-- parallel equals serial, in whatever order; parts roll up to the whole
CREATE TABLE recommend_baskets (b int, items text[]) WITH (parallel_workers = 2);
INSERT INTO recommend_baskets SELECT b, array_agg('i' || b * b * n % 97 % 41) FROM generate_series(1, 3000) b, generate_series(1, 1 + b % 5) n GROUP BY b ORDER BY b * 7919 % 3001;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT basket_agg(items) FROM recommend_baskets;
CREATE TABLE recommend_parallel AS SELECT basket_agg(items) AS s FROM recommend_baskets;
SET max_parallel_workers_per_gather = 0;
SELECT s = (SELECT basket_agg(items ORDER BY b) FROM recommend_baskets) AS same, baskets(s) FROM recommend_parallel;
SELECT rollup(part) = (SELECT s FROM recommend_parallel) AS rolled_up, count(*) AS parts FROM (SELECT basket_agg(items) AS part FROM recommend_baskets GROUP BY b % 7) t;
SELECT s::text::basket_summary = s AS read_back, pg_temp.receive('basket_summary', basket_summary_send(s)) = s::text AS received FROM recommend_parallel;

-- What is no table of neighbours is refused
SELECT pg_temp.failure(format('SELECT * FROM loyalty._recommend(%L, %L, 1)', near, '{a}'))
FROM unnest(ARRAY['\x'::bytea, '\x0000000000000000', '\xffffffffffffffffffffffff00000000', '\x01000000000000000100000000000000ffffff7f0000000061', '\x0100000001000000010000000000000000000000000000000000000005000000010000000100000061']) near;
SELECT count(*) FROM _recommend((SELECT _neighbours_agg(v.item, v.other, v.n) FROM (VALUES ('a', 'b', 1), (NULL, 'b', 1), ('a', NULL, 1), ('a', 'c', NULL)) v(item, other, n)), '{a,NULL,a,x}', 10);
DROP TABLE recommend_baskets, recommend_parallel;
