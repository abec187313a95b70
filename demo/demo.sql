\set step 'A program: one point per pound, three points in a campaign, valid for 12 months, four tiers'
\ir step.sql
CREATE EXTENSION loyalty;
SELECT create_program('club', 'Europe/London', ladder => 'bronze:0, silver:1000, gold:5000, platinum:20000',
	validity => '12 months', tier_window => 'rolling', tier_period => '12 months') AS program \gset
SELECT add_rule('club', 'a point per pound', points_per => 1) AS rule \gset
-- September in the data's own calendar.
SELECT add_rule('club', 'two more in the campaign', points_per => 2,
	valid => tstzrange((timestamp '2011-09-01' + :weeks * interval '1 week') AT TIME ZONE 'Europe/London',
					   (timestamp '2011-10-01' + :weeks * interval '1 week') AT TIME ZONE 'Europe/London')) AS rule \gset
SELECT attach('orders', 'club', member => 'customer_id', amount => 'total', event_time => 'ordered_at',
	refunded => 'refunded') AS source \gset
SELECT name AS rule, points_per, (lower(valid) AT TIME ZONE 'Europe/London')::date AS "from",
	(upper(valid) AT TIME ZONE 'Europe/London')::date AS "until before", rounding
FROM loyalty.rule ORDER BY rule_id;

\set step 'Loading the orders with COPY: each earns in the transaction that writes it'
\ir step.sql
\copy shop.orders (order_no, customer_id, country, ordered_at, total) FROM PROGRAM 'psql -XAtqc "COPY staged.orders TO STDOUT"'
SELECT (SELECT count(*) FROM orders) AS orders, count(*) AS entries, count(DISTINCT member) AS members,
	sum(points) AS points, (SELECT count(*) FROM lots) AS lots
FROM entries;

\set step 'Booking the returns, month by month: UPDATE orders SET refunded = refunded + ...'
\ir step.sql
SELECT format($$
	UPDATE orders o SET refunded = o.refunded + r.amount
	FROM (SELECT order_no, sum(amount) AS amount FROM staged.refunds
		  WHERE refunded_at >= %1$L AND refunded_at < %1$L::timestamptz + interval '1 month' GROUP BY order_no) AS r
	WHERE r.order_no = o.order_no$$, month)
FROM (SELECT DISTINCT date_trunc('month', refunded_at) AS month FROM staged.refunds) AS m ORDER BY month
\gexec
UPDATE orders SET status = 'returned' WHERE refunded = total AND total > 0;
-- What autovacuum would do within a minute.
ANALYZE orders, loyalty.account, loyalty.member, loyalty.entry, loyalty.lot, loyalty.allocation;
SELECT count(*) FILTER (WHERE refunded > 0) AS refunded, count(*) FILTER (WHERE status = 'returned') AS of_them_whole,
	sum(refunded) AS amount, (SELECT sum(amount) FROM staged.refunds) AS credited,
	(SELECT -sum(points) FROM entries WHERE kind = 'reverse') AS points_taken_back
FROM orders;

\set step 'Booking the end of the points that are past it'
\ir step.sql
CALL loyalty.expire('club');
SELECT count(DISTINCT member) AS members, count(*) AS lots, sum(expired) AS points_expired
FROM lots WHERE expired > 0;

\set step 'Points issued and clawed back, by month of the order'
\ir step.sql
-- reckoned: from the orders alone. Each rule rounds an order's award down, and what is taken
-- for a refund too; what had expired before its order came back is not taken again.
CREATE VIEW demo.reckoned AS
SELECT date_trunc('month', o.ordered_at AT TIME ZONE 'Europe/London')::date AS month,
	sum(floor(o.total * r.points_per)) AS issued,
	sum(CASE WHEN o.refunded > 0 THEN floor(floor(o.total * r.points_per) * o.refunded / o.total) ELSE 0 END) AS taken
FROM orders o JOIN loyalty.rule r ON r.valid @> o.ordered_at
WHERE o.customer_id IS NOT NULL
GROUP BY 1;

CREATE VIEW demo.booked AS
SELECT date_trunc('month', o.ordered_at AT TIME ZONE 'Europe/London')::date AS month,
	count(DISTINCT o.order_no) AS orders,
	sum(e.points) FILTER (WHERE e.kind = 'earn') AS issued,
	coalesce(-sum(e.points) FILTER (WHERE e.kind = 'reverse'), 0) AS clawed_back,
	coalesce(sum(e.forgiven), 0) AS let_off
FROM entries e JOIN orders o ON o.order_no = e.event
GROUP BY 1;

SELECT coalesce(to_char(month, 'YYYY-MM'), 'all') AS month, sum(orders) AS orders, sum(b.issued) AS issued,
	sum(clawed_back) AS clawed_back, sum(let_off) AS let_off,
	sum(r.issued) AS issued_reckoned, sum(r.taken) AS taken_reckoned,
	bool_and(b.issued = r.issued AND b.clawed_back + b.let_off = r.taken) AS agree
FROM demo.booked b JOIN demo.reckoned r USING (month)
GROUP BY GROUPING SETS ((month), ())
ORDER BY grouping(month), month;

DO $$
BEGIN
	IF EXISTS (SELECT FROM demo.booked b FULL JOIN demo.reckoned r USING (month)
			   WHERE (b.issued, b.clawed_back + b.let_off) IS DISTINCT FROM (r.issued, r.taken)) THEN
		RAISE EXCEPTION 'the ledger and the orders do not agree';
	END IF;
END $$;

\set step 'Members per tier'
\ir step.sql
SELECT tier, count(*) AS members, round(100.0 * count(*) / sum(count(*)) OVER (), 1) AS percent,
	sum(available) AS points_available, round(avg(earned)) AS earned_on_average
FROM balances
GROUP BY tier, tier_rank
ORDER BY tier_rank DESC;

\set step 'The ten richest balances'
\ir step.sql
SELECT b.member, b.available, b.tier, b.earned, b.expired, p.metric AS counts_for_tier, p.tier_until::date AS tier_until
FROM (SELECT * FROM balances ORDER BY available DESC, member LIMIT 10) b, tier_progress('club', b.member) p
ORDER BY b.available DESC, b.member;

\set step 'One redemption and the lots it used, soonest expiry first'
\ir step.sql
-- The member with most lots among those, and a bit more than the three lots that die first.
SELECT member, sum(remaining) FILTER (WHERE n <= 3) + 100 AS points
FROM (SELECT member, remaining, row_number() OVER (PARTITION BY member ORDER BY expires_at, earned_at, lot_no) AS n
	  FROM lots WHERE state = 'live') l
WHERE member IN (SELECT member FROM balances ORDER BY available DESC, member LIMIT 10)
GROUP BY member ORDER BY max(n) DESC, member LIMIT 1 \gset
SELECT redeem('club', :'member', :points, request_id => 'demo-1', reason => 'voucher') AS entry_id \gset
\echo Member :member redeems :points points: entry :entry_id, and the same when the call is repeated:
SELECT redeem('club', :'member', :points, request_id => 'demo-1', reason => 'voucher') AS entry_id,
	balance('club', :'member') AS balance_after;
SELECT f.lot_no, to_char(l.expires_at AT TIME ZONE 'Europe/London', 'YYYY-MM-DD HH24:MI') AS expires_at,
	-f.points::numeric AS taken, l.remaining AS left_in_lot
FROM loyalty._effect f JOIN lots l USING (account_id, lot_no)
WHERE f.account_id = :entry_id / 100000000 AND f.entry_no = :entry_id % 100000000
ORDER BY l.expires_at, l.earned_at, f.lot_no;

\set step 'What expires next: the 13 weeks to come'
\ir step.sql
SELECT to_char(w, 'YYYY-MM-DD') AS week_of, count(DISTINCT l.member) AS members, coalesce(sum(l.remaining), 0) AS points_that_die
FROM generate_series(date_trunc('week', now()), date_trunc('week', now()) + interval '12 weeks', interval '1 week') AS w
LEFT JOIN lots l ON l.state IN ('live', 'pending') AND l.expires_at >= w AND l.expires_at < w + interval '1 week'
GROUP BY w
ORDER BY w;

\set step 'Liability by month of issue, at half a penny a point'
\ir step.sql
SELECT coalesce(to_char(month, 'YYYY-MM'), 'all') AS issued_in, sum(points) AS outstanding,
	(sum(points) * 0.005)::numeric(12,2) AS liability
FROM (SELECT date_trunc('month', issued)::date AS month, remaining AS points
	  FROM lots WHERE state IN ('live', 'pending')) AS l
GROUP BY GROUPING SETS ((month), ())
ORDER BY grouping(month), month;

\set step 'Do the books add up?'
\ir step.sql
SELECT sum(points) FILTER (WHERE kind = 'earn') AS issued, -sum(points) FILTER (WHERE kind = 'reverse') AS clawed_back,
	-sum(points) FILTER (WHERE kind = 'redeem') AS redeemed, -sum(points) FILTER (WHERE kind = 'expire') AS expired,
	sum(points) AS left_over, (SELECT sum(available + pending) FROM balances) AS balances,
	(SELECT sum(remaining) FROM lots) AS lots
FROM entries;
DO $$
BEGIN
	IF (SELECT sum(points) FROM entries) <> (SELECT sum(available + pending) FROM balances)
	   OR (SELECT sum(points) FROM entries) <> (SELECT sum(remaining) FROM lots) THEN
		RAISE EXCEPTION 'the books do not add up';
	END IF;
END $$;
SELECT to_regprocedure('loyalty.verify(text)') IS NOT NULL AS can_verify \gset
\if :can_verify
\echo verify() proves it for every account, and that no entry was changed since it was written:
SELECT count(*) AS problems FROM verify();
\endif

\set step 'Repeat purchase rate, and retention from one half-year to the next'
\ir step.sql
-- Each order is a row; guests (NULL) are not counted, and neither are orders that were returned whole.
CREATE VIEW demo.purchases AS
SELECT order_no, customer_id, ordered_at, total - refunded AS amount FROM orders WHERE customer_id IS NOT NULL AND status = 'paid';
SELECT customers(r), repeat_customers(r), orders(r), round((100 * repeat_purchase_rate(r))::numeric, 1) AS repeat_percent,
	round(purchase_frequency(r)::numeric, 2) AS orders_each
FROM (SELECT repeat_agg(customer_id) AS r FROM demo.purchases) AS t;
SELECT start_customers(r) AS in_first_half, retained(r) AS of_them_in_second, new_customers(r) AS new_in_second,
	round((100 * retention_rate(r))::numeric, 1) AS retention_percent
FROM (SELECT retention_agg(customer_id, ordered_at,
		tstzrange(last - interval '12 months', last - interval '6 months', '(]'),
		tstzrange(last - interval '6 months', last, '(]')) AS r
	  FROM demo.purchases, (SELECT max(ordered_at) AS last FROM demo.purchases) AS m) AS t;

\set step 'Net Promoter Score with its margin, of SIMULATED scores'
\ir step.sql
SELECT coalesce(tier, 'all') AS tier, responses(s), promoters(s), passives(s), detractors(s),
	round(nps(s)::numeric, 1) AS nps, '±' || round(margin(s)::numeric, 1) AS margin_at_95_percent
FROM (SELECT b.tier, min(b.tier_rank) AS tier_rank, nps_agg(v.score) AS s
	  FROM shop.surveys v JOIN balances b ON b.member = v.customer_id
	  GROUP BY GROUPING SETS ((b.tier), ())) AS t
ORDER BY tier IS NULL, tier_rank DESC;

\set step 'Cohorts: of each month''s new customers, the percentage who bought 1, 2, ... months later'
\ir step.sql
SELECT string_agg(format('max(percent) FILTER (WHERE later = %s) AS "%s"', n, '+' || n), ', ' ORDER BY n) AS columns
FROM generate_series(1, 12) AS n \gset
SELECT to_char(cohort, 'YYYY-MM') AS joined, max(customers) FILTER (WHERE later = 0) AS customers, :columns
FROM (
	SELECT cohort, later, count(*) AS customers,
		100 * count(*) / first_value(count(*)) OVER (PARTITION BY cohort ORDER BY later) AS percent
	FROM (
		SELECT DISTINCT customer_id, cohort,
			(extract(year FROM age(month, cohort)) * 12 + extract(month FROM age(month, cohort)))::integer AS later
		FROM (SELECT customer_id, month, min(month) OVER (PARTITION BY customer_id) AS cohort
			  FROM (SELECT customer_id, date_trunc('month', ordered_at AT TIME ZONE 'Europe/London') AS month
					FROM demo.purchases) AS bought) AS joined
	) AS active
	GROUP BY cohort, later
) AS cohorts
GROUP BY cohort
ORDER BY cohort;

\set step 'Customer lifetime value over three years: average order x orders a year x years'
\ir step.sql
-- Those who bought at least five times: a rate from one or two orders says little.
SELECT customer_id, orders(o), revenue(o), round(average_transaction_value(o), 2) AS average_order,
	round(orders_per_year(o, interval '1 year'), 1) AS orders_a_year,
	round(simple_clv(o, years => 3, observed => interval '1 year'), 2) AS clv,
	round(simple_clv(o, years => 3, margin => 0.3, observed => interval '1 year'), 2) AS "at a margin of 30 %"
FROM (SELECT customer_id, order_agg(customer_id, amount, ordered_at) AS o FROM demo.purchases GROUP BY 1) AS t
WHERE orders(o) >= 5
ORDER BY clv DESC, customer_id
LIMIT 10;
