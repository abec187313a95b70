-- wallet: random members against plain SQL, the rule against ranks that windows compute
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;

SELECT plan(10);

CREATE TEMP TABLE members AS
SELECT i, i % 3 AS region, category * share AS own, category
FROM (SELECT setseed(0.5)) seed, LATERAL (SELECT i, floor(random() * 20) * 10 AS category, random() AS share FROM generate_series(1, 2000) i) m;

SELECT ok(abs(share_of_wallet(own, category) - sum(own) / sum(category)) < 1e-14, 'ratio of sums, region ' || region) FROM members GROUP BY region ORDER BY region;
SELECT ok(abs(mean_share_of_wallet(wallet_agg(own, category)) - avg(own / nullif(category, 0))) < 1e-14, 'mean of ratios, region ' || region) FROM members GROUP BY region ORDER BY region;
SELECT is(members(wallet_agg(own, category)), count(*) FILTER (WHERE category > 0), 'members with a wallet') FROM members;
CREATE TEMP TABLE parts AS SELECT wallet_agg(own, category) AS s FROM members GROUP BY region;
SELECT ok(abs(share_of_wallet(rollup(s)) - (SELECT sum(own) / sum(category) FROM members)) < 1e-14, 'rolled up from a table') FROM parts;

-- 300 customers rate up to 6 brands from 1 to 4: many ties
CREATE TEMP TABLE ratings AS
SELECT customer, brand, CASE WHEN random() < 0.7 THEN floor(random() * 4) + 1 END AS rating
FROM (SELECT setseed(0.75)) seed, LATERAL (SELECT customer, brand FROM generate_series(1, 300) customer, generate_series(1, 6) brand) c;
CREATE TEMP VIEW ranked AS
SELECT customer, brand, wallet_allocation(rank() OVER (PARTITION BY customer ORDER BY rating DESC) + (count(*) OVER (PARTITION BY customer, rating) - 1) / 2.0, (count(*) OVER (PARTITION BY customer))::int) AS share
FROM ratings WHERE rating IS NOT NULL;
SELECT is((SELECT count(*) FROM ranked r FULL JOIN (
	SELECT customer, u.brand, share FROM (SELECT customer, wallet_allocation(array_agg(rating ORDER BY brand)) AS shares FROM ratings GROUP BY customer) c, unnest(shares) WITH ORDINALITY u(share, brand) WHERE share IS NOT NULL) a USING (customer, brand)
	WHERE abs(r.share - a.share) < 1e-14 IS NOT TRUE), 0::bigint, 'from ratings as from ranks');
SELECT ok(bool_and(abs(total - 1) < 1e-14), 'the shares of each customer add up to 1') FROM (SELECT sum(share) AS total FROM ranked GROUP BY customer) t;

SELECT * FROM finish();
ROLLBACK;
