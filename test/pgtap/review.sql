-- review: the value at stake and the flags, by hand
BEGIN;
SET LOCAL client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;
SET LOCAL timezone = 'UTC';

SELECT no_plan();

-- ---- Value at stake: p_alive of this customer is known in closed form, and clv is p_alive times the rest
-- BG/NBD: 1 / (1 + a/(b+x-1) ((alpha+T)/(alpha+t_x))^(r+x)) with r 1, alpha 10, a 1, b 2, x 1, t_x 10, T 30: 1 / (1 + 1/2 * 2^2) = 1/3
CREATE TEMP TABLE one AS SELECT with_spend(bgnbd(1, 10, 1, 2), gamma_gamma(6, 4, 15)) AS m, rfm(1, 10, 30, 25) AS r;
SELECT is(round(p_alive(m, r)::numeric, 12), 0.333333333333, 'a third') FROM one;
SELECT is(round((value_at_stake(m, r, 360, 30, 0.01) / clv(m, r, 360, 30, 0.01))::numeric, 12), 2.000000000000, 'so two thirds are at stake') FROM one;
SELECT is(round((value_at_stake(m, r, 360, 30, 0.01, 0.25) / value_at_stake(m, r, 360, 30, 0.01))::numeric, 12), 0.25, 'times the margin') FROM one;
SELECT is(value_at_stake(m, rfm(0, 0, 30), 360, 30, 0.01), 0::float8, 'by the BG/NBD who bought once is alive') FROM one;
SELECT is(value_at_stake(NULL, r, 360, 30, 0.01), NULL, 'no model') FROM one;

-- ---- The list: columns, comments, and sums that agree
SELECT is((SELECT string_agg(a.attname, ', ') FROM pg_attribute a WHERE a.attrelid = 'loyalty.churn_risk'::regclass AND a.attnum > 0
	AND (col_description(a.attrelid, a.attnum) IS NULL
		OR format_type(a.atttypid, NULL) <> ALL ('{numeric,bigint,integer,text,timestamp with time zone,date,boolean}'))), NULL, 'standard types, each with a comment');
CREATE TABLE public.buy (id int PRIMARY KEY, who text, amount numeric, at timestamptz);
SELECT create_program('risk', ladder => 'bronze:0, silver:100');
SELECT add_rule('risk', 'base', points_per => 1), attach('public.buy', 'risk', 'who', 'amount', 'at');
INSERT INTO public.buy
SELECT row_number() OVER (ORDER BY c, d), 'c' || c, 20 + c % 50, now() - (400 - d) * interval '1 day'
FROM (SELECT setseed(0.2)) seed, LATERAL (SELECT c, 0.02 + random() * 0.1 AS rate, (random() * 500)::int AS gone FROM generate_series(1, 150) c) customer, generate_series(1, 399) d
WHERE d = 1 OR d <= gone AND random() < rate;
CALL refresh_clv_by_member();
SELECT is((SELECT count(*) FROM churn_risk WHERE program = 'risk'), 150::bigint, 'every customer is in it');
SELECT ok(bool_and(abs(value_at_stake + clv - value_if_active) < 1e-9 AND abs(p_left + p_alive - 1) < 1e-12 AND value_at_stake >= 0), 'the parts are the whole') FROM churn_risk WHERE program = 'risk';
SELECT is(c.days_since_order, (now()::date - (SELECT max(at)::date FROM public.buy WHERE who = c.member))::numeric, 'days since the last order') FROM churn_risk c WHERE program = 'risk' AND member = 'c7';
WITH h AS MATERIALIZED (SELECT who, rfm_agg(at, amount::float8, now()) AS r FROM public.buy GROUP BY who), f AS MATERIALIZED (SELECT clv_fit(r, 'mbgnbd', true) AS m FROM h)
SELECT ok(bool_and(abs(c.value_at_stake::float8 / value_at_stake(m, r, 365.25, 365.25 / 12, power(1.1, 1.0 / 12) - 1) - 1) < 1e-6), 'as the function has it')
FROM h, f, churn_risk c WHERE c.program = 'risk' AND c.member = h.who AND c.p_left > 1e-6;

-- ---- Flags
CREATE TABLE public.event (who text, at timestamptz, amount numeric, refunded numeric, device text);
INSERT INTO public.event
-- fay: four within an hour, the fifth later; gus: four in two hours
SELECT 'fay', timestamptz '2024-01-01 10:00+00' + m * interval '1 minute', 10, 0, 'd1' FROM unnest('{0,20,40,60,200}'::int[]) m
UNION ALL SELECT 'gus', timestamptz '2024-01-01 10:00+00' + m * interval '1 minute', 10, 0, 'd2' FROM unnest('{0,40,80,120}'::int[]) m
-- hal: 25 of 40; ivy: half, which is not more than half; jon: all, of two orders only
UNION ALL VALUES ('hal', timestamptz '2024-02-01', 10, 10, 'd3'), ('hal', '2024-02-02', 10, 10, 'd3'), ('hal', '2024-02-03', 20, 5, NULL),
	('ivy', '2024-02-01', 10, 10, 'd3'), ('ivy', '2024-02-02', 10, 0, 'd3'), ('ivy', '2024-02-03', 0, 0, 'd3'),
	('jon', '2024-02-01', 10, 10, 'd3'), ('jon', '2024-02-02', 10, 10, 'd1'), (NULL, '2024-02-02', 10, 10, 'd3'), ('kim', NULL, 10, 10, 'd3');
SELECT results_eq($$ SELECT member, flag, value, threshold, detail FROM review_flags('public.event', 'who', 'at', 'amount', 'refunded', 'device', max_velocity => 3, max_sharing => 2) $$, $$ VALUES
	('fay', 'velocity', 4::numeric, 3::numeric, '4 events within 01:00:00 until 2024-01-01 11:00:00+00'),
	('hal', 'refund ratio', 0.625, 0.5, '25 of 40 refunded, in 3 of 3 orders'), ('hal', 'shared device', 3, 2, '3 members used d3'),
	('ivy', 'shared device', 3, 2, '3 members used d3'), ('jon', 'shared device', 3, 2, '3 members used d3') $$, 'flags');
SELECT is_empty($$ SELECT * FROM review_flags('public.event', 'who', 'at', 'amount', 'refunded', 'device', max_velocity => 4, max_refund_ratio => 0.625) $$, 'at the threshold is not above it');
SELECT results_eq($$ SELECT member, value FROM review_flags('public.event', 'who', 'at', max_velocity => 2, velocity_window => '2 hours') $$,
	'VALUES (''fay'', 4::numeric), (''gus'', 4)', 'a longer window, and no other columns');
SELECT results_eq($$ SELECT member, value FROM review_flags('public.event', 'who', 'at', 'amount', 'refunded', min_orders => 2) $$,
	'VALUES (''hal'', 0.6250), (''jon'', 1.0000)', 'two orders are enough');
SELECT is_empty($$ SELECT * FROM review_flags('public.event', 'who', 'at', 'amount', 'refunded', max_velocity => 3, since => '2024-02-02') $$, 'only what is new');
SELECT throws_ok($$ SELECT * FROM review_flags('public.event', 'who', 'at', 'amount') $$, 'LY502', 'a review needs a table, its members and their times');
SELECT throws_ok($$ SELECT * FROM review_flags('public.event', 'who', 'at', max_velocity => 0) $$, 'LY502', 'thresholds of a review that can''t be used');
SELECT throws_ok($$ SELECT * FROM review_flags('public.event', 'who', 'at', velocity_window => '-1 hour') $$, 'LY502', 'thresholds of a review that can''t be used');
SELECT throws_ok($$ SELECT * FROM review_flags('public.event', 'who', 'when') $$, '42703');
CREATE ROLE loyalty_auditor;
SET LOCAL ROLE loyalty_auditor;
SELECT throws_ok($$ SELECT * FROM review_flags('public.event', 'who', 'at') $$, '42501');
SELECT throws_ok('SELECT * FROM churn_risk', '42501');
RESET ROLE;

SELECT finish();
ROLLBACK;
