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

-- ---- Two keys of one person are one in all of them, from the merge until they are taken apart
CREATE TABLE public.visit (id int PRIMARY KEY, who text, amount numeric, at timestamptz, refunded numeric NOT NULL DEFAULT 0);
SELECT create_program('one', 'UTC');
SELECT create_currency('one', 'miles');
SELECT add_rule('one', 'base', points_per => 1), add_rule('one', 'miles', points_per => 2, currency => 'miles');
SELECT attach('public.visit', 'one', 'who', 'amount', 'at', refunded => 'refunded');
SELECT enrol('one', 'eve@old', '2024-01-05 12:00+00'), enrol('one', 'fay', '2024-01-20 12:00+00'), enrol('one', 'eve@new', '2024-02-10 12:00+00'),
	enrol('one', 'eve@last', '2024-04-01 12:00+00');
INSERT INTO public.visit VALUES
	(1, 'eve@old', 100, '2024-01-10 12:00+00'), (2, 'fay', 10, '2024-01-25 12:00+00'), (3, 'eve@new', 60, '2024-02-12 12:00+00'),
	(4, 'eve@old', 40, '2024-03-05 12:00+00'), (5, 'eve@new', 20, '2024-03-05 18:00+00'), (6, 'fay', 30, '2024-03-06 12:00+00');
SELECT redeem('one', 'eve@old', 30);
CREATE TEMP VIEW one_month AS SELECT month, new_members, members, active_members, retained_members, retention_rate, orders, purchase_frequency, revenue, points_issued, points_redeemed
	FROM kpi_monthly WHERE program = 'one' AND currency = 'points';
CREATE TEMP VIEW one_cohort AS SELECT currency, cohort, period, members, retained FROM cohort_retention WHERE program = 'one' AND period < 3;
CREATE TEMP VIEW one_member AS SELECT member, enrolled_at, orders, revenue, average_order, first_order_at, last_order_at, available, earned, redeemed, expired FROM member_360 WHERE program = 'one';
CREATE TEMP VIEW one_campaign AS SELECT rule, members, orders, revenue, points FROM campaign_results WHERE program = 'one';
CREATE TEMP VIEW one_day AS SELECT currency, day, new_members, active_members, orders, revenue, points_issued, points_redeemed, redemptions FROM kpi_daily WHERE program = 'one';
CREATE TEMP TABLE two_month AS TABLE one_month;
CREATE TEMP TABLE two_cohort AS TABLE one_cohort;
CREATE TEMP TABLE two_member AS TABLE one_member;
CREATE TEMP TABLE two_campaign AS TABLE one_campaign;
CREATE TEMP TABLE two_day AS TABLE one_day;
SELECT results_eq($$ SELECT month, new_members, members, active_members, retained_members, round(retention_rate, 4), orders, round(purchase_frequency, 4), revenue FROM one_month WHERE month < '2024-04-01' ORDER BY 1 $$, $$ VALUES
	('2024-01-01'::date, 2::bigint, 2::bigint, 2::bigint, 0::bigint, NULL::numeric, 2::bigint, 1.0, 110::numeric), ('2024-02-01', 1, 3, 1, 0, 0.0, 1, 1.0, 60), ('2024-03-01', 0, 3, 3, 1, 1.0, 3, 1.0, 90) $$, 'two keys are two members');
SELECT results_eq($$ SELECT cohort, period, members, retained FROM one_cohort WHERE currency = 'points' ORDER BY 1, 2 $$, $$ VALUES
	('2024-01-01'::date, 0, 2::bigint, 2::bigint), ('2024-01-01', 1, 2, 0), ('2024-01-01', 2, 2, 2), ('2024-02-01', 0, 1, 1), ('2024-02-01', 1, 1, 1), ('2024-02-01', 2, 1, 0) $$, 'of two cohorts');
SELECT merge_members('one', 'eve@old', 'eve@new');
-- eve was there in January, February and March; both her keys on 5 March
SELECT results_eq($$ SELECT month, new_members, members, active_members, retained_members, round(retention_rate, 4), orders, round(purchase_frequency, 4), revenue FROM one_month WHERE month < '2024-04-01' ORDER BY 1 $$, $$ VALUES
	('2024-01-01'::date, 2::bigint, 2::bigint, 2::bigint, 0::bigint, NULL::numeric, 2::bigint, 1.0, 110::numeric), ('2024-02-01', 0, 2, 1, 1, 0.5, 1, 1.0, 60), ('2024-03-01', 0, 2, 2, 1, 1.0, 3, 1.5, 90) $$, 'merged, they are one');
SELECT results_eq($$ SELECT DISTINCT month, members FROM kpi_monthly WHERE program = 'one' AND month < '2024-04-01' ORDER BY 1 $$, $$ VALUES ('2024-01-01'::date, 2::bigint), ('2024-02-01', 2), ('2024-03-01', 2) $$, 'with either currency');
SELECT results_eq(format('SELECT cohort, period, members, retained FROM one_cohort WHERE currency = %L ORDER BY 1, 2', c), $$ VALUES
	('2024-01-01'::date, 0, 2::bigint, 2::bigint), ('2024-01-01', 1, 2, 1), ('2024-01-01', 2, 2, 2) $$, 'of the cohort of her first order: ' || c) FROM unnest('{points,miles}'::text[]) c;
SELECT results_eq($$ SELECT day, new_members, active_members, orders, revenue FROM one_day WHERE currency = 'points' AND day < '2024-05-01' ORDER BY 1 $$, $$ VALUES
	('2024-01-05'::date, 1::bigint, 0::bigint, 0::bigint, 0::numeric), ('2024-01-10', 0, 1, 1, 100), ('2024-01-20', 1, 0, 0, 0), ('2024-01-25', 0, 1, 1, 10), ('2024-02-12', 0, 1, 1, 60),
	('2024-03-05', 0, 1, 2, 60), ('2024-03-06', 0, 1, 1, 30), ('2024-04-01', 1, 0, 0, 0) $$, 'enrolled once, on the first day; one on 5 March');
SELECT results_eq('SELECT * FROM one_member ORDER BY member', $$ VALUES
	('eve@last'::text COLLATE "C", '2024-04-01 12:00+00'::timestamptz, 0::bigint, 0::numeric, NULL::numeric, NULL::timestamptz, NULL::timestamptz, 0::numeric, 0::numeric, 0::numeric, 0::numeric),
	('eve@new', '2024-01-05 12:00+00', 4, 220, 55, '2024-01-10 12:00+00', '2024-03-05 18:00+00', 190, 220, 30, 0),
	('fay', '2024-01-20 12:00+00', 2, 40, 20, '2024-01-25 12:00+00', '2024-03-06 12:00+00', 40, 40, 0, 0) $$, 'one row, with what both did');
SELECT results_eq('SELECT * FROM one_campaign ORDER BY rule', $$ VALUES ('base', 2::bigint, 6::bigint, 260::numeric, 260::numeric), ('miles', 2, 6, 260, 520) $$, 'campaigns reached two');
CALL refresh_clv_by_member();
-- Days of 2024 from 10 January: 33 to 12 February, 55 to 5 March, on which she spent 40 and 20
SELECT results_eq($$ SELECT member COLLATE "default", frequency, recency, monetary FROM clv_by_member WHERE program = 'one' ORDER BY member $$,
	$$ VALUES ('eve@new', 2::bigint, 55::numeric, 60::numeric), ('fay', 1, 41, 30) $$, 'and one customer of the model');
SELECT merge_members('one', 'eve@new', 'eve@last');
SELECT results_eq($$ SELECT member COLLATE "default", merged_into COLLATE "default", counts_as COLLATE "default" FROM members WHERE program = 'one' ORDER BY member $$,
	$$ VALUES ('eve@last', NULL, 'eve@last'), ('eve@new', 'eve@last', 'eve@last'), ('eve@old', 'eve@new', 'eve@last'), ('fay', NULL, 'fay') $$, 'through two merges');
SELECT results_eq($$ SELECT member COLLATE "default", enrolled_at, orders, revenue, available, earned FROM one_member WHERE member <> 'fay' $$,
	$$ VALUES ('eve@last', '2024-01-05 12:00+00'::timestamptz, 4::bigint, 220::numeric, 190::numeric, 220::numeric) $$, 'counts as the last');
SELECT is((SELECT sum(new_members) FROM one_day WHERE currency = 'points'), 2::numeric, 'two persons were enrolled');
SELECT is((SELECT members FROM one_campaign WHERE rule = 'base'), 2::bigint, 'and reached');
-- A value of before is nobody's until the next refresh.
SELECT results_eq($$ SELECT member COLLATE "default", frequency FROM churn_risk WHERE program = 'one' $$, $$ VALUES ('fay', 1::bigint) $$, 'the list of whom to call leaves out who was merged since');
SELECT unmerge_member('one', 'eve@new'), unmerge_member('one', 'eve@old');
SELECT results_eq('TABLE one_month ORDER BY month', 'TABLE two_month ORDER BY month', 'taken apart they are two again: kpi_monthly');
-- The merges themselves are in a row of today that adds up to nothing.
SELECT results_eq($$ SELECT * FROM one_day WHERE active_members + points_redeemed + new_members > 0 ORDER BY currency, day $$,
	$$ SELECT * FROM two_day WHERE active_members + points_redeemed + new_members > 0 ORDER BY currency, day $$, 'kpi_daily');
SELECT results_eq('TABLE one_cohort ORDER BY currency, cohort, period', 'TABLE two_cohort ORDER BY currency, cohort, period', 'cohort_retention');
SELECT results_eq('TABLE one_member ORDER BY member', 'TABLE two_member ORDER BY member', 'member_360');
SELECT results_eq('TABLE one_campaign ORDER BY rule', 'TABLE two_campaign ORDER BY rule', 'campaign_results');
CALL refresh_clv_by_member();
SELECT results_eq($$ SELECT member COLLATE "default", frequency FROM clv_by_member WHERE program = 'one' ORDER BY member $$,
	$$ VALUES ('eve@new', 1::bigint), ('eve@old', 1), ('fay', 1) $$, 'clv_by_member');
SELECT is_empty($$ SELECT * FROM loyalty._person $$, 'nobody counts as another');
SELECT merge_members('one', 'eve@old', 'eve@new', 'again');
UPDATE public.visit SET who = 'eve@new' WHERE id = 1;
SELECT results_eq($$ SELECT orders, revenue, first_order_at FROM one_member WHERE member = 'eve@new' $$, $$ VALUES (4::bigint, 220::numeric, '2024-01-10 12:00+00'::timestamptz) $$, 'an order that goes from key to key is one');

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

-- ---- A source without amounts: its rows earn by ones, and are no money. 50 spent in the shop are; a visit made and undone is nothing.
SELECT create_program('gym', tier_metric => 'spend', ladder => 'guest:0,friend:40,star:52') > 0, add_rule('gym', 'present', bonus => 5, kind => 'visit') > 0, add_rule('gym', 'each', points_per => 2, kind => 'visit') > 0, add_rule('gym', 'shop', points_per => 1, kind => 'purchase') > 0;
SELECT create_program('late', tier_metric => 'spend') > 0, add_rule('late', 'each', points_per => 2) > 0;
CREATE TABLE public.gym_visit (id int PRIMARY KEY, who text, state text DEFAULT 'in');
CREATE TABLE public.gym_sale (id int PRIMARY KEY, who text, amount int);
SELECT attach('public.gym_visit', 'gym', 'who', status => 'state', earning => '{in}', kind => 'visit') > 0, attach('public.gym_sale', 'gym', 'who', 'amount') > 0,
       attach('public.gym_visit', 'late', 'who', status => 'state', earning => '{in}', kind => 'visit') > 0, attach('public.gym_sale', 'late', 'who', 'amount') > 0;
INSERT INTO public.gym_visit VALUES (1, 'ida'), (2, 'ida'), (3, 'ida');
INSERT INTO public.gym_sale VALUES (1, 'ida', 50);
UPDATE public.gym_visit SET state = 'out' WHERE id = 3;
SELECT is((SELECT available || ' ' || tier FROM balances WHERE program = 'gym' AND member = 'ida'), '64 friend', 'two visits of 5 + 2 and 50: 64 points, of 50 spent');
SELECT is((SELECT metric FROM tier_progress('gym', 'ida')), 50.0, 'the metric is money');
SELECT results_eq($$ SELECT sum(orders)::int, sum(revenue)::numeric FROM kpi_daily WHERE program = 'gym' $$, $$ VALUES (3, 50.0) $$, 'three rows that earned, 50 of revenue');
SELECT results_eq($$ SELECT rule, revenue FROM campaign_results WHERE program = 'gym' ORDER BY rule COLLATE "C" $$, $$ VALUES ('each', 0.0), ('present', 0), ('shop', 50) $$, 'of the shop''s rule');
SELECT is((SELECT sum(sales) FROM deferred_revenue('gym', 0.05)), 50.0, 'and that was sold');
DELETE FROM public.gym_visit WHERE id = 2;
SELECT add_rule('gym', 'half', points_per => 0.5, kind => 'try') > 0;
CREATE TABLE public.gym_try (id int PRIMARY KEY, who text);
SELECT attach('public.gym_try', 'gym', 'who', kind => 'try') > 0;
INSERT INTO public.gym_try VALUES (1, 'ida');
SELECT results_eq($$ SELECT sum(orders)::int, sum(revenue)::numeric FROM kpi_daily WHERE program = 'gym' $$, $$ VALUES (3, 50.0) $$, 'one that was deleted is none, one that earned nothing is one');
SELECT set_ladder('late', 'guest:0,friend:40,star:52');
SELECT is((SELECT metric FROM tier_progress('late', 'ida')), 50.0, 'and so it is where it is counted afterwards');

SELECT finish();
ROLLBACK;
