-- kpi: the views for BI tools, on a shop small enough to be counted by hand
BEGIN;
SET LOCAL client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;
SET LOCAL timezone = 'Pacific/Auckland';

SELECT no_plan();

CREATE TEMP TABLE kpi_view AS SELECT v AS name, ('loyalty.' || v)::regclass AS relation
FROM unnest('{kpi_daily,kpi_monthly,cohort_retention,member_360,tier_distribution,points_liability,campaign_results,clv_by_member}'::text[]) v;

-- ---- Any driver can read them, and knows what it reads
SELECT is((SELECT string_agg(format('%s is %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ') FROM pg_attribute a
	WHERE a.attrelid = relation AND a.attnum > 0 AND format_type(a.atttypid, NULL) <> ALL
		('{numeric,bigint,integer,text,timestamp with time zone,date,boolean}')), NULL, name || ': standard types only') FROM kpi_view;
SELECT is((SELECT string_agg(a.attname, ', ') FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND col_description(relation, a.attnum) IS NULL),
	NULL, name || ': a comment on every column') FROM kpi_view;
SELECT ok(obj_description(relation) IS NOT NULL, name || ': a comment') FROM kpi_view;
SELECT is((SELECT string_agg(c.relname || '.' || a.attname, ', ') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind IN ('v', 'm') AND c.relname !~ '^_' AND a.attnum > 0
		AND col_description(c.oid, a.attnum) IS NULL), NULL, 'and on every column of the other views');

-- ---- A shop: two rules that rate every line, orders of several lines, a second currency
CREATE TABLE public.line (id int PRIMARY KEY, order_no text, who text, amount numeric, at timestamptz, refunded numeric NOT NULL DEFAULT 0);
SELECT create_program('kpi', 'Europe/Berlin', ladder => 'bronze:0, silver:150, gold:1000', validity => '20 years', debt => 'negative');
SELECT create_currency('kpi', 'miles', pending => '100 years');
SELECT add_rule('kpi', 'base', points_per => 1), add_rule('kpi', 'bonus', bonus => 10), add_rule('kpi', 'miles', points_per => 0.5, currency => 'miles'),
	add_rule('kpi', 'february', points_per => 1, valid => '[2024-02-10 00:00+01,2024-02-18 00:00+01)');
SELECT attach('public.line', 'kpi', 'who', 'amount', 'at', refunded => 'refunded', event => 'order_no');
SELECT enrol('kpi', 'ada', '2024-01-05 12:00+00'), enrol('kpi', 'bob', '2024-01-31 23:15+00'), enrol('kpi', 'cyd', '2024-02-20 12:00+00'), enrol('kpi', 'dan', '2024-03-01 12:00+00');
INSERT INTO public.line VALUES
	(1, 'A1', 'ada', 60, '2024-01-10 12:00+00'), (2, 'A1', 'ada', 40, '2024-01-10 12:00+00'),
	(3, 'A2', 'ada', 50, '2024-01-31 23:30+00'),     -- February in Berlin
	(4, 'B1', 'bob', 200, '2024-02-15 12:00+00'), (5, 'B2', 'bob', 30, '2024-03-05 12:00+00'),
	(6, 'C1', 'cyd', 10, '2024-02-20 12:00+00'), (7, 'G1', NULL, 999, '2024-02-20 12:00+00');
UPDATE public.line SET refunded = 30 WHERE id = 5;
DELETE FROM public.line WHERE id = 6;
UPDATE public.line SET amount = 70 WHERE id = 1;      -- 10 more
CREATE FUNCTION pg_temp.at(entry_id bigint, at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL session_replication_role = replica;
	UPDATE loyalty.entry SET event_time = at WHERE account_id = entry_id / 100000000 AND entry_no = entry_id % 100000000;
	SET LOCAL session_replication_role = origin;
END $$;
SELECT pg_temp.at(redeem('kpi', 'ada', 70), '2024-02-15 18:00+00');

-- Points are of the day they were booked for, so today has what was changed today.
SELECT results_eq($$ SELECT day, new_members, active_members, orders, revenue, refunded, average_order, points_issued, points_redeemed, points_expired, redemptions
	FROM kpi_daily WHERE program = 'kpi' AND currency = 'points' AND day < '2025-01-01' ORDER BY day $$, $$ VALUES
	('2024-01-05'::date, 1::bigint, 0::bigint, 0::bigint, 0::numeric, 0::numeric, NULL::numeric, 0::numeric, 0::numeric, 0::numeric, 0::bigint),
	('2024-01-10', 0, 1, 1, 110, 0, 110, 120, 0, 0, 0),
	('2024-02-01', 1, 1, 1, 50, 0, 50, 60, 0, 0, 0),
	('2024-02-15', 0, 1, 1, 200, 0, 200, 410, 70, 0, 1),
	('2024-02-20', 1, 0, 0, 0, 0, NULL, 20, 0, 0, 0),
	('2024-03-01', 1, 0, 0, 0, 0, NULL, 0, 0, 0, 0),
	('2024-03-05', 0, 1, 1, 0, 30, 0, 40, 0, 0, 0) $$, 'kpi_daily');
SELECT results_eq($$ SELECT points_issued FROM kpi_daily WHERE program = 'kpi' AND currency = 'points' AND day > '2025-01-01' $$,
	'VALUES (-50::numeric)', 'today: 10 more of line 1, 40 taken back for line 5, 20 for line 6');
SELECT results_eq($$ SELECT day, new_members, orders, revenue, points_issued FROM kpi_daily WHERE program = 'kpi' AND currency = 'miles' AND day < '2025-01-01' AND orders > 0 ORDER BY day $$,
	$$ VALUES ('2024-01-10'::date, 0::bigint, 1::bigint, 110::numeric, 50::numeric), ('2024-02-01', 0, 1, 50, 25), ('2024-02-15', 0, 1, 200, 100), ('2024-03-05', 0, 1, 0, 15) $$,
	'and of the other currency');
SELECT results_eq($$ SELECT month, new_members, members, active_members, active_rate, retained_members, retention_rate, orders, purchase_frequency, revenue, refunded, average_order,
		points_issued, points_redeemed, points_expired, redemptions
	FROM kpi_monthly WHERE program = 'kpi' AND currency = 'points' AND month < '2025-01-01' ORDER BY month $$, $$ VALUES
	('2024-01-01'::date, 1::bigint, 1::bigint, 1::bigint, 1::numeric, 0::bigint, NULL::numeric, 1::bigint, 1::numeric, 110::numeric, 0::numeric, 110::numeric, 120::numeric, 0::numeric, 0::numeric, 0::bigint),
	('2024-02-01', 2, 3, 2, round(2/3::numeric, 20), 1, 1, 2, 1, 250, 0, 125, 490, 70, 0, 1),
	('2024-03-01', 1, 4, 1, 0.25, 1, 0.5, 1, 1, 0, 30, 0, 40, 0, 0, 0) $$, 'kpi_monthly');
SELECT results_eq($$ SELECT sum(orders), sum(revenue), sum(refunded), sum(points_issued), sum(points_redeemed) FROM kpi_daily WHERE program = 'kpi' AND currency = 'points' $$,
	$$ SELECT sum(orders), sum(revenue), sum(refunded), sum(points_issued), sum(points_redeemed) FROM kpi_monthly WHERE program = 'kpi' AND currency = 'points' $$, 'days add up to months');
SELECT results_eq($$ SELECT cohort, period, members, retained, retention_rate FROM cohort_retention WHERE program = 'kpi' AND currency = 'points' AND period < 3 ORDER BY 1, 2 $$, $$ VALUES
	('2024-01-01'::date, 0, 1::bigint, 1::bigint, 1::numeric), ('2024-01-01', 1, 1, 1, 1), ('2024-01-01', 2, 1, 0, 0),
	('2024-02-01', 0, 1, 1, 1), ('2024-02-01', 1, 1, 1, 1), ('2024-02-01', 2, 1, 0, 0) $$, 'cohort_retention');
SELECT is((SELECT max(cohort + period * interval '1 month') FROM cohort_retention WHERE program = 'kpi'),
	date_trunc('month', now() AT TIME ZONE 'Europe/Berlin') - interval '1 month', 'no month that is not over');
SELECT results_eq($$ SELECT tier, tier_rank, threshold, members, round(share, 4) FROM tier_distribution WHERE program = 'kpi' ORDER BY tier_rank $$,
	$$ VALUES ('bronze', 1, 0::numeric, 2::bigint, 0.5), ('silver', 2, 150, 2, 0.5), ('gold', 3, 1000, 0, 0) $$, 'tier_distribution');
SELECT results_eq($$ SELECT rule, valid_from, valid_to, versions, members, orders, revenue, points, points_per_order FROM campaign_results WHERE program = 'kpi' ORDER BY rule $$, $$ VALUES
	('base', NULL::timestamptz, NULL::timestamptz, 1::bigint, 2::bigint, 4::bigint, 360::numeric, 360::numeric, 90::numeric),
	('bonus', NULL, NULL, 1, 2, 4, 360, 40, 10),
	('february', '2024-02-10 00:00+01', '2024-02-18 00:00+01', 1, 1, 1, 200, 200, 200),
	('miles', NULL, NULL, 1, 2, 4, 360, 180, 45) $$, 'campaign_results');

-- ---- The same by plain SQL, of orders of many lines, rated by several rules, changed, refunded, deleted
CREATE TABLE public.many (id int PRIMARY KEY, order_no text, who text, amount numeric, at timestamptz, refunded numeric NOT NULL DEFAULT 0);
SELECT create_program('many', 'America/Sao_Paulo', debt => 'negative');
SELECT create_currency('many', 'stars');
SELECT add_rule('many', 'base', points_per => 1), add_rule('many', 'plus', points_per => 0.25), add_rule('many', 'odd', bonus => 5, valid => '[2024-02-01 00:00+00,)'),
	add_rule('many', 'stars', points_per => 3, currency => 'stars');
SELECT attach('public.many', 'many', 'who', 'amount', 'at', refunded => 'refunded', event => 'order_no');
INSERT INTO public.many SELECT i, nullif('o' || i / 3, 'o7'), 'm' || i / 3 % 40, i % 90 + 0.5, '2023-11-20 00:00+00'::timestamptz + i * interval '3 hours 7 minutes' FROM generate_series(1, 1000) i;
UPDATE public.many SET refunded = amount * (id % 3) / 4 WHERE id % 5 = 0;
UPDATE public.many SET amount = amount + 4 WHERE id % 8 = 0;
DELETE FROM public.many WHERE id % 7 = 0 OR id BETWEEN 301 AND 330;
SELECT count(redeem('many', 'm' || m, 3)) FROM generate_series(0, 39, 4) m;
CREATE TEMP VIEW plain_order AS
	SELECT l.account_id, min(l.ordered_at) AS ordered_at, loyalty.sum(l.amount) AS amount, loyalty.sum(l.refunded) AS refunded
	FROM (SELECT r.account_id, r.event, r.source_id, r.line, min(r.ordered_at) AS ordered_at, loyalty.max(r.amount) AS amount, loyalty.max(r.refunded) AS refunded
		FROM (SELECT e.account_id, e.event, e.source_id, e.line, e.rule_id, min(e.event_time) AS ordered_at, coalesce(loyalty.sum(e.base), 0) AS amount,
				coalesce(loyalty.sum(e.refunded), 0) AS refunded, count(e.base) > 0 AS has_amount, coalesce(loyalty.sum(e.points), 0) AS points
			FROM loyalty.entry e WHERE e.source_id IS NOT NULL GROUP BY e.account_id, e.event, e.source_id, e.line, e.rule_id) r
		GROUP BY r.account_id, r.event, r.source_id, r.line
		HAVING loyalty.max(r.amount) > 0 OR NOT bool_or(r.has_amount) AND loyalty.max(r.points) > 0) l
	GROUP BY l.account_id, l.event, l.source_id;
SELECT cmp_ok((SELECT count(*) FROM plain_order), '>', 500::bigint, 'orders enough');
SELECT results_eq('SELECT * FROM loyalty._order ORDER BY 1, 2, 3, 4', 'SELECT * FROM plain_order ORDER BY 1, 2, 3, 4', 'orders, as nested groupings find them');
CREATE FUNCTION pg_temp.plain_kpi(unit text) RETURNS TABLE (currency text, starts date, active bigint, retained bigint, orders numeric, revenue numeric, refunded numeric,
	issued numeric, redeemed numeric, redemptions bigint) LANGUAGE sql AS $$
	WITH o AS (
		SELECT a.currency_id, a.account_id, date_trunc(unit, ordered_at AT TIME ZONE 'America/Sao_Paulo')::date AS starts, count(*) AS orders,
			sum(amount::numeric - refunded::numeric) AS revenue, sum(refunded::numeric) AS refunded
		FROM plain_order JOIN loyalty.account a USING (account_id) GROUP BY 1, 2, 3),
	bought AS (
		SELECT currency_id, starts, count(*) AS active, count(*) FILTER (WHERE before = (starts - ('1 ' || unit)::interval)) AS retained, sum(orders) AS orders, sum(revenue) AS revenue, sum(refunded) AS refunded
		FROM (SELECT *, lag(starts) OVER (PARTITION BY account_id ORDER BY starts) AS before FROM o) b GROUP BY 1, 2),
	moved AS (
		SELECT a.currency_id, date_trunc(unit, event_time AT TIME ZONE 'America/Sao_Paulo')::date AS starts, coalesce(sum(points::numeric) FILTER (WHERE kind <> 'redeem'), 0) AS issued,
			coalesce(-sum(points::numeric) FILTER (WHERE kind = 'redeem'), 0) AS redeemed, count(*) FILTER (WHERE kind = 'redeem') AS redemptions
		FROM loyalty.entry JOIN loyalty.account a USING (account_id) GROUP BY 1, 2)
	SELECT c.code, m.starts, coalesce(active, 0), coalesce(retained, 0), coalesce(orders, 0), coalesce(revenue, 0), coalesce(refunded, 0), issued, redeemed, redemptions
	FROM moved m LEFT JOIN bought b USING (currency_id, starts) JOIN loyalty.currency c USING (currency_id) JOIN loyalty.program p USING (program_id) WHERE p.code = 'many'
$$;
SELECT results_eq($$ SELECT currency, day, active_members, orders::numeric, revenue, refunded, points_issued, points_redeemed, redemptions FROM kpi_daily WHERE program = 'many' AND new_members = 0 ORDER BY 1, 2 $$,
	$$ SELECT currency, starts, active, orders, revenue, refunded, issued, redeemed, redemptions FROM pg_temp.plain_kpi('day') p
	WHERE (currency, starts) NOT IN (SELECT currency, day FROM kpi_daily WHERE program = 'many' AND new_members > 0) ORDER BY 1, 2 $$, 'kpi_daily, as plain SQL has it');
SELECT results_eq($$ SELECT currency, month, active_members, retained_members, orders::numeric, revenue, refunded, points_issued, points_redeemed, redemptions FROM kpi_monthly WHERE program = 'many' ORDER BY 1, 2 $$,
	$$ SELECT * FROM pg_temp.plain_kpi('month') ORDER BY 1, 2 $$, 'kpi_monthly, as plain SQL has it');

-- ---- A debt, and what is outstanding
SELECT redeem('kpi', 'bob', 400);
DELETE FROM public.line WHERE id = 4;                 -- 410 to be taken, 10 are left
SELECT results_eq($$ SELECT issued, lots, points, pending, held, debt FROM points_liability WHERE program = 'kpi' ORDER BY currency, issued $$, $$ VALUES
	('2024-01-01'::date, 1::bigint, 55::numeric, 55::numeric, 0::numeric, 0::numeric), ('2024-02-01', 1, 25, 25, 0, 0),
	('2024-01-01', 1, 60, 0, 0, 0), ('2024-02-01', 1, 60, 0, 0, 0), (NULL, 0, 0, 0, 0, 400) $$, 'points_liability');
SELECT is((SELECT sum(points) FROM points_liability WHERE program = 'kpi' AND currency = c), (SELECT sum(points) FROM liability('kpi', 1, currency => c)), c || ': as liability() has it')
FROM unnest('{points,miles}'::text[]) c;

-- ---- All about a member
SELECT results_eq($$ SELECT member COLLATE "default", enrolled_at, tier, tier_rank, orders, revenue, average_order, first_order_at, last_order_at, available, debt, earned, redeemed, p_alive
	FROM member_360 WHERE program = 'kpi' ORDER BY member $$, $$ VALUES
	('ada', '2024-01-05 12:00+00'::timestamptz, 'silver', 2, 2::bigint, 160::numeric, 80::numeric, '2024-01-10 12:00+00'::timestamptz, '2024-01-31 23:30+00'::timestamptz, 120::numeric, 0::numeric, 190::numeric, 70::numeric, NULL::numeric),
	('bob', '2024-01-31 23:15+00', 'bronze', 1, 1, 0, 0, '2024-03-05 12:00+00', '2024-03-05 12:00+00', -400, 400, 0, 400, NULL),
	('cyd', '2024-02-20 12:00+00', 'bronze', 1, 0, 0, NULL, NULL, NULL, 0, 0, 0, 0, NULL),
	('dan', '2024-03-01 12:00+00', 'bronze', 1, 0, 0, NULL, NULL, NULL, 0, 0, 0, 0, NULL) $$, 'member_360');
SELECT results_eq($$ SELECT member COLLATE "default", available, pending, held, debt, earned, redeemed, expired, tier, tier_rank FROM member_360 WHERE program = 'kpi' ORDER BY member $$,
	$$ SELECT member COLLATE "default", available, pending, held, debt, earned, redeemed, expired, tier, tier_rank FROM balances WHERE program = 'kpi' AND currency = 'points' ORDER BY member $$, 'as balances have it');
SELECT is(days_since_order, (now() AT TIME ZONE 'Europe/Berlin')::date - '2024-02-01', 'days of the program''s calendar') FROM member_360 WHERE program = 'kpi' AND member = 'ada';
SELECT is(next_expiry_at, '2044-01-11 00:00+01'::timestamptz, 'what ends next') FROM member_360 WHERE program = 'kpi' AND member = 'ada';

-- ---- Lifetime value, against the models asked with the shop's own table
CREATE TABLE public.purchase (id int PRIMARY KEY, who text, amount numeric, at timestamptz, refunded numeric NOT NULL DEFAULT 0);
SELECT create_program('value', 'America/New_York');
SELECT add_rule('value', 'base', points_per => 1), add_rule('value', 'twice', points_per => 2);
SELECT attach('public.purchase', 'value', 'who', 'amount', 'at', refunded => 'refunded');
-- Customers buy on some days with a rate of their own and leave one day.
INSERT INTO public.purchase
SELECT row_number() OVER (ORDER BY c, d), 'c' || c, round((20 + 60 * random() * (1 + c % 3))::numeric, 2), now() - (700 - d) * interval '1 day' + random() * interval '1 hour'
FROM (SELECT setseed(0.3)) seed, LATERAL (SELECT c, random() * 0.05 AS rate, (c % 200) + (random() * 300)::int AS gone FROM generate_series(1, 250) c) customer,
	LATERAL generate_series(c % 200, 690) d
WHERE d = c % 200 OR d <= gone AND random() < rate;
UPDATE public.purchase SET refunded = round(amount / 2, 2) WHERE id % 10 = 0;
UPDATE public.purchase SET refunded = amount WHERE id % 17 = 0;
CALL refresh_clv_by_member();
CREATE TEMP TABLE want AS
WITH h AS MATERIALIZED (SELECT who, rfm_agg(at, (amount - refunded)::float8, now(), '1 day', 'America/New_York') AS r FROM public.purchase WHERE amount > refunded GROUP BY who),
	f AS MATERIALIZED (SELECT clv_fit(r, 'mbgnbd', true) AS m FROM h)
SELECT who, frequency(r) AS frequency, recency(r)::numeric AS recency, age(r)::numeric AS age, monetary(r)::numeric AS monetary, p_alive(m, r)::numeric AS p_alive,
	expected_purchases(m, r, 365.25)::numeric AS purchases, expected_spend(m, r)::numeric AS spend, clv(m, r, 365.25, 365.25 / 12, power(1.1, 1.0 / 12) - 1)::numeric AS clv
FROM h, f;
SELECT cmp_ok(count(*), '>', 200::bigint, 'there are customers') FROM want;
SELECT results_eq($$ SELECT member COLLATE "default", frequency, recency, age, round(monetary, 6), round(p_alive, 9), round(expected_purchases, 6), round(expected_spend, 4), round(clv, 2) FROM clv_by_member WHERE program = 'value' ORDER BY member COLLATE "C" $$,
	$$ SELECT who, frequency, recency, age, round(monetary, 6), round(p_alive, 9), round(purchases, 6), round(spend, 4), round(clv, 2) FROM want ORDER BY who COLLATE "C" $$, 'clv_by_member');
SELECT ok(bool_and(clv > 0 AND p_alive BETWEEN 0 AND 1 AND computed_at = now()), 'values, and when') FROM clv_by_member WHERE program = 'value';
SELECT results_eq($$ SELECT m.member COLLATE "default", m.p_alive, m.clv FROM member_360 m JOIN clv_by_member v USING (program, member) WHERE program = 'value' AND m.clv IS DISTINCT FROM v.clv $$,
	$$ SELECT NULL::text, NULL::numeric, NULL::numeric WHERE false $$, 'member_360 has them too');

-- ---- Who is granted a view needs nothing else
CREATE ROLE loyalty_kpi_reader;
GRANT SELECT ON loyalty.kpi_daily, loyalty.kpi_monthly, loyalty.cohort_retention, loyalty.member_360, loyalty.tier_distribution, loyalty.points_liability,
	loyalty.campaign_results, loyalty.clv_by_member TO loyalty_kpi_reader;
GRANT SELECT ON kpi_view TO loyalty_kpi_reader;
SET LOCAL ROLE loyalty_kpi_reader;
SELECT lives_ok('SELECT * FROM ' || relation, 'granted: ' || name) FROM kpi_view;
SELECT throws_ok('SELECT * FROM loyalty._order', '42501');
SELECT throws_ok('CALL loyalty.refresh_clv_by_member()', '42501');
SELECT throws_ok($$ SELECT * FROM loyalty.liability('kpi', 1) $$, '42501');
SELECT throws_ok($$ SELECT * FROM loyalty.breakage('kpi') $$, '42501');
RESET ROLE;

SELECT finish();
ROLLBACK;
