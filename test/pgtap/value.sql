-- value: the summary and the formula on random orders against plain SQL
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;

SELECT plan(12);

-- average order 50, 4 a year, 3 years
SELECT is(simple_clv(50, 4, 3, 1), 600::float8, 'the formula in float8');
SELECT is(simple_clv(50.0, 4, 3, 1), 600::numeric, 'the formula in numeric');

CREATE TEMP TABLE lines AS
SELECT customer, customer || '-' || floor(random() * 4) AS invoice, round((random() * 120 - 20)::numeric, 2) AS amount, timestamptz '2023-01-01 00:00+00' + random() * interval '800 days' AS at, segment
FROM (SELECT setseed(0.75)) seed, LATERAL (SELECT floor(random() * 200)::int AS customer, (random() * 3)::int AS segment FROM generate_series(1, 2500)) c;
UPDATE lines SET amount = NULL WHERE customer = 7;

CREATE TEMP VIEW want AS
SELECT segment, order_summary(count(DISTINCT invoice) FILTER (WHERE amount >= 0), count(DISTINCT customer) FILTER (WHERE amount >= 0), sum(amount),
	min(at) FILTER (WHERE amount >= 0), max(at) FILTER (WHERE amount >= 0)) AS s
FROM lines WHERE amount IS NOT NULL GROUP BY segment;
SELECT results_eq('SELECT segment, order_agg(customer, amount, at, invoice)::text FROM lines GROUP BY 1 ORDER BY 1', 'SELECT segment, s::text FROM want ORDER BY 1', 'groups');
SELECT results_eq('SELECT segment, average_transaction_value(amount, invoice) FROM lines GROUP BY 1 ORDER BY 1', 'SELECT segment, revenue(s) / orders(s) FROM want ORDER BY 1', 'average transaction value');
SELECT is(order_agg(customer, amount, at, invoice ORDER BY at), order_agg(customer, amount, at, invoice ORDER BY amount), 'the order of rows does not matter') FROM lines;

-- the parts of the formula multiply to the whole
SELECT ok(abs(simple_clv(average_transaction_value(s), orders_per_year(s), 2.5, 0.4) / simple_clv(s, 2.5, 0.4) - 1) < 1e-15, 'average x orders per year x years x margin, segment ' || segment)
FROM want ORDER BY segment;
SELECT is(simple_clv(customer, amount, at, 2, 0.5), simple_clv(order_agg(customer, amount, at), 2, 0.5), 'one step is two steps') FROM lines;

-- customers of one part each: the parts are the whole, stored and toasted or not
CREATE TEMP TABLE parts AS SELECT order_agg(customer, amount, at, invoice) AS s FROM lines GROUP BY customer % 9;
INSERT INTO parts SELECT order_summary(0, 0, 1e2000 / 7);
SELECT is(rollup(s), (SELECT order_agg(customer, amount, at, invoice) FROM lines), 'rollup') FROM parts WHERE revenue(s) < 1e100;
SELECT is(revenue(rollup(s)) - 1e2000 / 7, (SELECT sum(amount) FROM lines), 'a long revenue') FROM parts;

SELECT * FROM finish();
ROLLBACK;
