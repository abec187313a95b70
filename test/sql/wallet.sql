-- wallet: share of wallet, the Wallet Allocation Rule and errors
\i test/sql/include/begin.psql

-- text and binary
SELECT '(members:2,own:30,category:100,shares:0.7)'::wallet_summary;
SELECT input, pg_temp.failure(format('SELECT %L::loyalty.wallet_summary', input))
FROM unnest(ARRAY['(members:2,own:30,category:100)', '(members:-1,own:0,category:0,shares:0)', '(members:2,own:130,category:100,shares:0.7)', '(members:2,own:-1,category:100,shares:0.7)', '(members:2,own:30,category:100,shares:2.1)', '(members:0,own:0,category:1,shares:0)', '(members:1,own:0,category:0,shares:0)',
	'(members:1,own:NaN,category:1,shares:0)', '(members:1,own:0,category:1e400,shares:0)', 'x']) AS input;
SELECT wallet_summary_send('(members:2,own:30,category:100,shares:0.5)');
SELECT pg_temp.receive('wallet_summary', wallet_summary_send(s)) = s::text AS same FROM unnest(ARRAY['(members:2,own:30,category:100,shares:0.7)', '(members:1,own:0.1,category:0.3,shares:0.3333333333333333)']::wallet_summary[]) s;
SELECT pg_temp.receive('wallet_summary', '\x02' || substr(wallet_summary_send('(members:2,own:30,category:100,shares:0.5)'), 2));
SELECT pg_temp.receive('wallet_summary', '\x01' || int8send(1) || float8send(2) || float8send(1) || float8send(1));
SELECT a = b AS equal, a <> c AS unequal, wallet_summary_hash(a) = wallet_summary_hash(b) AS hash, wallet_summary_hash_extended(a, 7) = wallet_summary_hash_extended(b, 7) AS hash_extended
FROM (VALUES ('(members:2,own:0,category:100,shares:0)'::wallet_summary, '(shares:0,members:2,own:-0,category:100)'::wallet_summary, '(members:3,own:0,category:100,shares:0)'::wallet_summary)) v(a, b, c);

-- Ann spends 20 of 20 here, Bob 10 of 40, Cid none of 40, Dan nothing anywhere; Eve was not asked, of Fay only the rest is known.
-- Together 30 of 100; the mean of 1, 1/4 and 0 is 5/12
CREATE TABLE wallet_members (member text, own numeric, category numeric);
INSERT INTO wallet_members VALUES ('ann', 20, 20), ('bob', 10, 40), ('cid', 0, 40), ('dan', 0, 0), ('eve', 5, NULL), ('fay', NULL, 7);
SELECT s, members(s), own_spend(s), category_spend(s), share_of_wallet(s), round(mean_share_of_wallet(s)::numeric, 12) AS mean_share FROM (SELECT wallet_agg(own, category) AS s FROM wallet_members) t;
SELECT share_of_wallet(own, category) FROM wallet_members;
SELECT wallet_agg(own, category), share_of_wallet(own, category), mean_share_of_wallet(wallet_agg(own, category)) FROM wallet_members WHERE member IN ('dan', 'eve', 'fay');
SELECT call, pg_temp.failure('SELECT loyalty.wallet_agg' || call) FROM unnest(ARRAY['(3, 2)', '(-1, 2)', '(1, ''NaN'')', '(''NaN'', 1)', '(1, ''Infinity'')']) AS call;
SELECT pg_temp.failure('SELECT loyalty.wallet_agg(1, v) FROM unnest(ARRAY[1e308, 1e308]) v');
SELECT pg_temp.failure('SELECT loyalty.share_of_wallet(1, v) FROM unnest(ARRAY[1e308, 1e308]) v');
SELECT pg_temp.failure('SELECT loyalty.rollup(s) FROM unnest(ARRAY[''(members:9223372036854775807,own:1,category:1,shares:1)'', ''(members:1,own:1,category:1,shares:1)'']::loyalty.wallet_summary[]) s');
SELECT rollup(s), share_of_wallet(rollup(s)) FROM (SELECT wallet_agg(own, category) AS s FROM wallet_members GROUP BY member) t;
SELECT rollup(s) FROM (SELECT wallet_agg(own, category) AS s FROM wallet_members) t WHERE false;
-- called straight, the support functions leave their arguments alone
SELECT wallet_accum(s, 1, 2), wallet_combine(s, s), s FROM (SELECT '(members:1,own:1,category:2,shares:0.5)'::wallet_summary) v(s);

-- the Wallet Allocation Rule: (1 - rank / (n + 1)) x 2 / n. Of two brands 2/3 and 1/3, of three 1/2, 1/3 and 1/6, of one all
SELECT n, string_agg(round(wallet_allocation(rank, n)::numeric, 6)::text, ', ' ORDER BY rank) AS shares, round(sum(wallet_allocation(rank, n))::numeric, 12) AS total FROM generate_series(1, 4) n, generate_series(1, n) rank GROUP BY n ORDER BY n;
-- two brands that tie for the first of three places have rank 1.5: 5/12 each
SELECT round(wallet_allocation(1.5, 3)::numeric, 12), round(5 / 12.0, 12);
-- from ratings: 9 and 9 tie for the first two of three places, the second brand is not used
SELECT round(share::numeric, 12) FROM unnest(wallet_allocation('{9,NULL,7,9}'::float8[])) WITH ORDINALITY u(share, i) ORDER BY i;
SELECT wallet_allocation('{5}'), wallet_allocation('{}'), wallet_allocation('{NULL}'), wallet_allocation(ARRAY[3, 3, 3, 3]), wallet_allocation('[0:1]={1,2}'), wallet_allocation(NULL), wallet_allocation(NULL, 2);
SELECT call, pg_temp.failure('SELECT loyalty.wallet_allocation' || call) FROM unnest(ARRAY['(0, 2)', '(3, 2)', '(1, 0)', '(''NaN'', 2)', '(''{1,NaN}'')', '(''{{1,2},{3,4}}'')']) AS call;

-- parallel equals serial
CREATE TABLE wallet_many (own float8, category float8) WITH (parallel_workers = 2);
INSERT INTO wallet_many SELECT c * (i * 7919::bigint % 101) / 100.0, c FROM generate_series(1, 10000) i, LATERAL (SELECT (i::bigint * i % 1009) / 7.0 AS c) x;
ANALYZE wallet_many;
CREATE VIEW wallet_all AS SELECT wallet_agg(own, category) AS s, share_of_wallet(own, category) AS share FROM wallet_many;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT * FROM wallet_all;
CREATE TABLE wallet_parallel AS SELECT * FROM wallet_all;
SET max_parallel_workers_per_gather = 0;
SELECT members(p.s) = members(w.s) AS members, abs(p.share / w.share - 1) < 1e-14 AS share, abs(p.share / plain - 1) < 1e-12 AS as_plain_sql, abs(mean_share_of_wallet(p.s) / plain_mean - 1) < 1e-12 AS mean_as_plain_sql
FROM wallet_parallel p, wallet_all w, (SELECT sum(own) / sum(category) AS plain, avg(own / nullif(category, 0)) AS plain_mean FROM wallet_many) t;

DROP VIEW wallet_all;
DROP TABLE wallet_members, wallet_many, wallet_parallel;
