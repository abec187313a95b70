-- breadth: random baskets against plain SQL
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;

SELECT plan(14);

CREATE TEMP TABLE lines AS
SELECT customer, region, CASE WHEN random() < 0.95 THEN 'category ' || floor(random() * random() * 12) END AS category, round((random() * 50)::numeric, 2) AS price, random() < 0.5 AS early
FROM (SELECT setseed(0.3)) seed, LATERAL (SELECT customer, customer % 3 AS region FROM (SELECT floor(random() * 400)::int AS customer FROM generate_series(1, 3000)) c) m;
CREATE TEMP VIEW breadths AS
SELECT region, customer, count(DISTINCT category) AS n FROM lines WHERE category IS NOT NULL GROUP BY region, customer;

SELECT ok(abs(cross_sell_breadth(customer, category) - (SELECT avg(n) FROM breadths b WHERE b.region = l.region)) < 1e-12, 'mean, region ' || region) FROM lines l GROUP BY region ORDER BY region;
SELECT is(median_breadth(breadth_agg(customer, category)), (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n) FROM breadths b WHERE b.region = l.region), 'median, region ' || region) FROM lines l GROUP BY region ORDER BY region;
SELECT is(multi_category_share(breadth_agg(customer, category), 4), (SELECT (count(*) FILTER (WHERE n >= 4))::float8 / count(*) FROM breadths b WHERE b.region = l.region), 'share with four, region ' || region) FROM lines l GROUP BY region ORDER BY region;
SELECT is(multi_category_share(breadth_agg(customer, category)), repeat_purchase_rate(customer, category), 'two categories are two orders by another name') FROM lines;

-- stored, the parts roll up; a toasted histogram reads back
CREATE TEMP TABLE parts AS SELECT breadth_agg(customer, category) AS s FROM lines GROUP BY region;
SELECT is(rollup(s), (SELECT breadth_agg(customer, category) FROM lines), 'rolled up from a table') FROM parts;
INSERT INTO parts SELECT ('(' || string_agg(i || ':' || i * 7919 % 10007 + 1, ',' ORDER BY i) || ')')::breadth_summary FROM generate_series(1, 2000) i;
SELECT is(max(cross_sell_breadth(s)), (SELECT sum(i * (i * 7919 % 10007 + 1))::float8 / sum(i * 7919 % 10007 + 1) FROM generate_series(1, 2000) i)) FROM parts;

-- up-sell, in plain SQL
CREATE TEMP VIEW prices AS SELECT customer, avg(price) FILTER (WHERE early) AS before, avg(price) FILTER (WHERE NOT early) AS after FROM lines GROUP BY customer;
SELECT is(upsell_rate(before, after), (SELECT avg((after > before)::int)::float8 FROM prices), 'raised') FROM prices;
SELECT ok(abs(upsell_gain(upsell_agg(before, after)) - (SELECT sum(greatest(after - before, 0)) / sum(before) FROM prices WHERE before IS NOT NULL AND after IS NOT NULL)) < 1e-12, 'gain') FROM prices;

SELECT * FROM finish();
ROLLBACK;
