-- score: RFM scores and segments
\i test/sql/include/begin.psql

-- ten customers: ties share a score, ceil(5 x the share of customers up to there); NTILE splits them
SELECT orders, rfm_score() OVER w AS ties, ceil(5 * cume_dist() OVER w) AS by_cume_dist, rfm_score(5, 'ntile') OVER w AS ntile, ntile(5) OVER w AS core_ntile
FROM unnest(ARRAY[1, 1, 1, 1, 1, 2, 2, 3, 4, 9]) orders WINDOW w AS (ORDER BY orders) ORDER BY orders, ntile;
-- fewer customers than scores, one customer, and one score
SELECT v, rfm_score() OVER (ORDER BY v) AS ties, rfm_score(5, 'ntile') OVER (ORDER BY v) AS ntile, rfm_score(1) OVER (ORDER BY v) AS one, rfm_score(1000) OVER (ORDER BY v) AS thousand FROM generate_series(1, 3) v;
SELECT rfm_score() OVER (ORDER BY v), rfm_score(5, 'ntile') OVER (ORDER BY v), rfm_score() OVER () FROM generate_series(1, 1) v;
-- all alike
SELECT DISTINCT rfm_score() OVER (ORDER BY 7) AS alike, rfm_score() OVER () AS unordered FROM generate_series(1, 9);
-- 3 of 5 and 7 of 10 are whole products, whatever 0.6 and 0.7 are
SELECT s, count(*) FROM (SELECT rfm_score(10) OVER (ORDER BY v) AS s FROM generate_series(1, 1000) v) t GROUP BY s ORDER BY s;
-- against the definition in numbers without rounding
SELECT scores, count(*) AS customers, bool_and(s = (scores * upto + 996) / 997) AS as_defined, bool_and(t = nt) AS as_ntile
FROM (
	SELECT scores, rfm_score(scores) OVER (p ORDER BY v) AS s, rfm_score(scores, 'ntile') OVER (p ORDER BY v, i) AS t, ntile(scores) OVER (p ORDER BY v, i) AS nt, count(*) OVER (p ORDER BY v) AS upto
	FROM generate_series(1, 997) i, LATERAL (SELECT (i::bigint * i * 7919 % 211)::int AS v) x, unnest(ARRAY[3, 5, 7, 100]) scores WINDOW p AS (PARTITION BY scores)) t
GROUP BY scores ORDER BY scores;
-- days with an order of the 2357 customers of the CDNOW sample to 1998-06-30 (Fader & Hardie). By pandas: 1218 score 3, 612 score 4, 527 score 5
SELECT s, count(*)
FROM (
	SELECT rfm_score() OVER (ORDER BY orders) AS s
	FROM (VALUES (1, 1218), (2, 403), (3, 209), (4, 149), (5, 95), (6, 60), (7, 64), (8, 36), (9, 22), (10, 13), (11, 11), (12, 11), (13, 12), (14, 6), (15, 7), (16, 9), (17, 5), (18, 1), (19, 2), (20, 2), (21, 2), (22, 5), (23, 1), (24, 3), (26, 1), (28, 1), (29, 1), (30, 1), (32, 1), (33, 2), (41, 1), (42, 2), (44, 1)) v(orders, customers),
		generate_series(1, customers)) t
GROUP BY s ORDER BY s;
-- recency by the time of the last order, over aggregates; nested: frequency within recency
SELECT customer, rfm_score(2) OVER (ORDER BY max(at)) AS r, rfm_score(2) OVER (ORDER BY count(*)) AS f, rfm_score(2) OVER (ORDER BY sum(amount)) AS m
FROM (VALUES ('ann', date '2024-01-01', 10), ('ann', date '2024-03-01', 10), ('bob', date '2024-02-01', 50), ('cid', date '2024-04-01', 5), ('dan', date '2024-01-15', 7)) v(customer, at, amount)
GROUP BY customer ORDER BY customer;
SELECT pg_temp.failure('SELECT loyalty.rfm_score(0) OVER ()');
SELECT pg_temp.failure('SELECT loyalty.rfm_score(1001) OVER ()');
SELECT pg_temp.failure('SELECT loyalty.rfm_score(5, ''rank'') OVER ()');
SELECT rfm_score(NULL) OVER (), rfm_score(5, NULL) OVER ();

-- fixed thresholds: frequency 1, 2-3, 4-6, 7-9, 10 and more; recency in days, where less is better
SELECT v, rfm_threshold_score(v, '{2,4,7,10}') AS f, rfm_threshold_score(v * 30, '{365,180,90,30}') AS r FROM unnest(ARRAY[0, 1, 2, 3, 4, 6, 7, 9, 10, 99]) v;
SELECT rfm_threshold_score(5, '{}'), rfm_threshold_score(5, '{5}'), rfm_threshold_score(4, '{5}'), rfm_threshold_score('Infinity', '{1,2}'), rfm_threshold_score(NULL, '{1}');
SELECT call, pg_temp.failure(format('SELECT loyalty.rfm_threshold_score(%s)', call)) FROM unnest(ARRAY['''NaN'', ''{1}''', '1, ''{1,1}''', '1, ''{1,3,2}''', '1, ''{3,2,2}''', '1, ''{NaN}''', '1, ''{1,NULL}''', '1, ''{{1,2},{3,4}}''']) AS call;

-- segments: every pair of scores has one, and only one
SELECT r, string_agg(segment, ', ' ORDER BY fm) AS "fm 1 to 5" FROM generate_series(1, 5) r, generate_series(1, 5) fm LEFT JOIN LATERAL (SELECT segment FROM rfm_segments() WHERE r BETWEEN r_low AND r_high AND fm BETWEEN fm_low AND fm_high) s ON true GROUP BY r ORDER BY r DESC;
SELECT count(*), bool_and(rfm_segment(r, f, m) = segment) AS same
FROM generate_series(1, 5) r, generate_series(1, 5) f, generate_series(1, 5) m, rfm_segments() WHERE r BETWEEN r_low AND r_high AND round((f + m) / 2.0) BETWEEN fm_low AND fm_high;
SELECT rfm_segment(5, 5, 5), rfm_segment(1, 5, 4), rfm_segment(5, 1, 1), rfm_segment(1, 1, 1), rfm_segment(3, 3, 2), rfm_segment(NULL, 1, 1);
SELECT pg_temp.failure('SELECT loyalty.rfm_segment(5, 6, 1)');
SELECT pg_temp.failure('SELECT loyalty.rfm_segment(0, 1, 1)');
