-- breadth: breadth_summary, upsell_summary, their aggregates and errors
\i test/sql/include/begin.psql

-- text and binary
SELECT '(1:3,2:1,5:1)'::breadth_summary, ' ( 1: 3, 2:4 ) '::breadth_summary;
SELECT input, pg_temp.failure(format('SELECT %L::loyalty.breadth_summary', input))
FROM unnest(ARRAY['', '()', '(1)', '(1:2', '(1:2,)', '(1:2)x', '(a:1)', '(1:b)', '(0:1)', '(1:0)', '(1:-1)', '(2:1,1:1)', '(1:1,1:1)', '(1:9223372036854775807,2:1)', '(1:9223372036854775808)']) AS input;
SELECT breadth_summary_send('(1:3,2:1)');
SELECT pg_temp.receive('breadth_summary', breadth_summary_send(s)) = s::text AS same FROM unnest(ARRAY['(1:3,2:1)', '(7:1)', '(1:1,4000000000:2)']::breadth_summary[]) s;
SELECT pg_temp.receive('breadth_summary', payload) FROM unnest(ARRAY['\x02'::bytea, '\x01' || int4send(0), '\x01' || int4send(-1), '\x01' || int4send(100000000) || int8send(1), '\x01' || int4send(1) || int8send(1) || int8send(0)]) payload;
SELECT a = b AS equal, a <> c AS unequal, breadth_summary_hash(a) = breadth_summary_hash(b) AS hash, breadth_summary_hash_extended(a, 7) = breadth_summary_hash_extended(b, 7) AS hash_extended
FROM (VALUES ('(1:3,2:1)'::breadth_summary, '(1:3, 2:1)'::breadth_summary, '(1:3,2:2)'::breadth_summary)) v(a, b, c);

-- Ann buys books and music, music twice; Bob books; Cid all three; Dan books. A guest's row, and one without a category, are skipped
CREATE TABLE breadth_lines (customer text, category text);
INSERT INTO breadth_lines VALUES ('ann', 'books'), ('ann', 'music'), ('ann', 'music'), ('bob', 'books'), ('cid', 'toys'), ('cid', 'books'), ('cid', 'music'), ('dan', 'books'), (NULL, 'toys'), ('eve', NULL);
-- 2 + 1 + 3 + 1 categories of 4 customers; in the middle 1 and 2
SELECT s, customers(s), cross_sell_breadth(s), median_breadth(s), multi_category_share(s), multi_category_share(s, 3), multi_category_share(s, 4), multi_category_share(s, 1) FROM (SELECT breadth_agg(customer, category) AS s FROM breadth_lines) t;
SELECT cross_sell_breadth(customer, category), median_breadth(breadth_agg(customer, category) FILTER (WHERE customer <> 'dan')) AS median_of_three FROM breadth_lines;
SELECT d.* FROM (SELECT breadth_agg(customer, category) AS s FROM breadth_lines) t, breadth_distribution(s) d;
SELECT breadth_agg(customer, category), cross_sell_breadth(customer, category) FROM breadth_lines WHERE customer IS NULL;
SELECT pg_temp.failure('SELECT loyalty.multi_category_share(''(1:1)'', 0)');
SELECT pg_temp.failure('SELECT loyalty.breadth_agg(1, v) FROM unnest(ARRAY[point(1, 2)]) v');
-- distinct by the type's equality
SELECT breadth_agg(1, v), breadth_agg(v, v::text) FROM unnest(ARRAY[1.0, 1.00]) v;
SELECT rollup(s) FROM unnest(ARRAY['(1:3,4:1)', NULL, '(2:5,4:2,9:1)', '(1:1)']::breadth_summary[]) s;
SELECT rollup(s) FROM (SELECT breadth_agg(customer, category) AS s FROM breadth_lines) t WHERE false;
-- a window takes back what leaves it
SELECT i, rollup(s) OVER (ORDER BY i ROWS 1 PRECEDING) FROM unnest(ARRAY['(1:3,4:1)', NULL, NULL, '(2:5,4:2,9:1)', '(1:1,4:2)', '(4:1)', '(9:7)']::breadth_summary[]) WITH ORDINALITY u(s, i);
SELECT pg_temp.failure(format('SELECT loyalty.breadth_summary_subtract(%L, %L)', a, b)) FROM (VALUES ('(1:3)', '(1:4)'), ('(1:3)', '(2:1)')) v(a, b);
SELECT pg_temp.failure('SELECT loyalty.rollup(s) FROM unnest(ARRAY[''(1:9223372036854775807)'', ''(2:1)'']::loyalty.breadth_summary[]) s');
SELECT cross_sell_breadth(s), median_breadth(s) FROM unnest(ARRAY['(1:4611686018427387904,3:4611686018427387903)']::breadth_summary[]) s;

-- up-sell: text, binary
SELECT '(members:4,raised:2,lowered:1,before:40,after:45,gained:8)'::upsell_summary;
SELECT input, pg_temp.failure(format('SELECT %L::loyalty.upsell_summary', input))
FROM unnest(ARRAY['(members:4)', '(members:4,raised:3,lowered:2,before:40,after:45,gained:8)', '(members:4,raised:2,lowered:1,before:-40,after:45,gained:8)', '(members:4,raised:0,lowered:1,before:40,after:45,gained:8)', '(members:-4,raised:2,lowered:1,before:40,after:45,gained:8)', '(members:9223372036854775807,raised:9223372036854775807,lowered:1,before:1,after:1,gained:0)']) AS input;
SELECT pg_temp.receive('upsell_summary', upsell_summary_send(s)) = s::text AS same FROM unnest(ARRAY['(members:4,raised:2,lowered:1,before:40,after:45,gained:8)']::upsell_summary[]) s;
SELECT a = b AS equal, a <> c AS unequal, upsell_summary_hash(a) = upsell_summary_hash(b) AS hash
FROM (VALUES ('(members:1,raised:0,lowered:1,before:4,after:3,gained:0)'::upsell_summary, '(members:1,raised:0,lowered:1,before:4.0,after:3,gained:0)'::upsell_summary, '(members:1,raised:0,lowered:1,before:4,after:2,gained:0)'::upsell_summary)) v(a, b, c);
-- means of 10, 10, 10 and 10 before, 15, 13, 10 and 7 after: two of four buy dearer, by 8 of 40; one member was not there before
CREATE TABLE upsell_members (before numeric, after numeric);
INSERT INTO upsell_members VALUES (10, 15), (10, 13), (10, 10), (10, 7), (NULL, 99);
SELECT s, members(s), raised(s), lowered(s), upsell_rate(s), upsell_gain(s) FROM (SELECT upsell_agg(before, after) AS s FROM upsell_members) t;
SELECT upsell_rate(before, after), upsell_agg(before, after) FILTER (WHERE before > 10), upsell_rate(before, after) FILTER (WHERE before > 10) FROM upsell_members;
SELECT upsell_rate(s), upsell_gain(s) FROM (SELECT upsell_agg(0, 5) AS s) t;
SELECT rollup(s) = (SELECT upsell_agg(before, after) FROM upsell_members) AS same FROM (SELECT upsell_agg(before, after) AS s FROM upsell_members GROUP BY after) t;
SELECT call, pg_temp.failure('SELECT loyalty.upsell_agg' || call) FROM unnest(ARRAY['(-1, 2)', '(1, -2)', '(1, ''NaN'')', '(''Infinity'', 1)']) AS call;

-- parallel equals serial equals plain SQL; parts that share no customers roll up to the whole
CREATE TABLE breadth_many (customer int, category text, before float8, after float8) WITH (parallel_workers = 2);
INSERT INTO breadth_many SELECT c, 'category ' || (i * 31::bigint * i + c) % (c % 12 + 1), c / 3.0, i / 7.0 FROM generate_series(1, 20000) i, LATERAL (SELECT (i::bigint * i * 7 % 2003)::int AS c) x;
ANALYZE breadth_many;
CREATE VIEW breadth_all AS SELECT breadth_agg(customer, category) AS s, cross_sell_breadth(category, customer) AS turned, upsell_agg(before, after) AS u FROM breadth_many;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT * FROM breadth_all;
CREATE TABLE breadth_parallel AS SELECT * FROM breadth_all;
SET max_parallel_workers_per_gather = 0;
SELECT p.s = a.s AS breadth, p.turned = a.turned AS turned, raised(p.u) = raised(a.u) AS raised, abs(upsell_gain(p.u) / upsell_gain(a.u) - 1) < 1e-14 AS gain FROM breadth_parallel p, breadth_all a;
SELECT d = plain AS same FROM (SELECT array_agg((categories, customers)::text) AS d FROM breadth_parallel, breadth_distribution(s)) p,
	(SELECT array_agg((n, customers)::text ORDER BY n) AS plain FROM (SELECT n, count(*) AS customers FROM (SELECT count(DISTINCT category) AS n FROM breadth_many GROUP BY customer) c GROUP BY n) h) q;
SELECT median_breadth(s) = median AS median, abs(cross_sell_breadth(s) - mean) < 1e-12 AS mean FROM breadth_parallel, (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n) AS median, avg(n) AS mean FROM (SELECT count(DISTINCT category) AS n FROM breadth_many GROUP BY customer) c) q;
SELECT rollup(part) = (SELECT s FROM breadth_parallel) AS rolled_up FROM (SELECT breadth_agg(customer, category) AS part FROM breadth_many GROUP BY customer % 7) t;

DROP VIEW breadth_all;
DROP TABLE breadth_lines, upsell_members, breadth_many, breadth_parallel;
