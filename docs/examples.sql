-- The tables that the examples of these pages read, with a shop's two years up to now: see examples.md.
-- They are made in the first schema of the search_path. The numbers are made up, and the same whenever it is run.

-- A number between 0 and 1 that looks like chance.
CREATE FUNCTION pg_temp.chance(text) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT (('x' || substr(md5($1), 1, 8))::bit(32)::bigint + 0.5) / 4294967296 $$;

-- Who bought when: first some day of these years, then again after a time of their own, until they leave. One of twenty is a guest.
CREATE TABLE orders AS
SELECT row_number() OVER (ORDER BY bought, customer) AS order_no, CASE WHEN customer % 20 > 0 THEN customer END AS customer_id,
	(ARRAY['France', 'Germany', 'Spain'])[customer % 3 + 1] AS country, now() - interval '720 days' + bought * interval '1 day' AS ordered_at,
	round((15 + 60 * pg_temp.chance('total' || customer) * (0.5 + pg_temp.chance(format('total%s/%s', customer, n))))::numeric, 2) AS total
FROM (
	SELECT customer, n, joined, lives, joined + sum(CASE WHEN n = 0 THEN 0 ELSE -ln(pg_temp.chance(format('%s/%s', customer, n))) * pause END)
		OVER (PARTITION BY customer ORDER BY n) AS bought
	FROM (
		SELECT customer, 700 * pg_temp.chance('joined' || customer) AS joined, -300 * ln(pg_temp.chance('lives' || customer)) AS lives,
			15 + 120 * pg_temp.chance('pause' || customer) AS pause
		FROM generate_series(1, 400) AS customer) AS people, generate_series(0, 40) AS n) AS purchases
WHERE bought < 720 AND (n = 0 OR bought < joined + lives);

CREATE TABLE order_lines AS
SELECT order_no AS invoice, customer_id, country, ordered_at,
	(ARRAY['books', 'games', 'music', 'toys'])[1 + floor(4 * pg_temp.chance(format('category%s/%s', order_no, n)))::int] AS category,
	round(total / 4, 2) AS price, 1 + (order_no + n) % 3 AS quantity
FROM orders, generate_series(1, 2) AS n;

CREATE TABLE customers AS SELECT DISTINCT customer_id, country FROM orders WHERE customer_id IS NOT NULL;

CREATE TABLE answers AS
SELECT (ARRAY['Lyon', 'Ulm'])[n % 2 + 1] AS store, (10 - floor(11 * pg_temp.chance('score' || n) ^ 2))::int AS score
FROM generate_series(1, 200) AS n;

CREATE TABLE memberships AS
SELECT plan, joined, CASE WHEN joined + stays < current_date THEN joined + stays END AS cancelled
FROM (
	SELECT (ARRAY['monthly', 'yearly'])[n % 2 + 1] AS plan, current_date - (30 + 900 * pg_temp.chance('member' || n))::int AS joined,
		(-600 * ln(pg_temp.chance('stays' || n)))::int AS stays
	FROM generate_series(1, 300) AS n) AS members;

CREATE TABLE visits AS
SELECT n AS member_id, (ARRAY['free', 'paid'])[n % 2 + 1] AS plan, now() - 60 * pg_temp.chance(format('seen%s/%s', n, v)) * interval '1 day' AS seen_at
FROM generate_series(1, 100) AS n, generate_series(1, 1 + n % 20) AS v;

CREATE TABLE member_activity AS
SELECT n AS member_id, floor(40 * pg_temp.chance('visits' || n)) AS visits, floor(8 * pg_temp.chance('orders' || n)) AS orders,
	floor(4 * pg_temp.chance('reviews' || n)) AS reviews
FROM generate_series(1, 200) AS n;
