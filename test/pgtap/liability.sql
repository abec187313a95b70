-- liability: the estimators by published and hand-made values, and the ledger's points to the cent
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;
SET LOCAL timezone = 'America/New_York';

SELECT no_plan();

-- ---- Rates
SELECT is(redemption_rate(1000, 600), 0.6, 'redemption rate');
SELECT is(breakage_rate(1000, 100), 0.1, 'observed breakage');
SELECT is(redemption_rate(0, 0), NULL, 'of nothing there is no rate');
SELECT throws_ok('SELECT redemption_rate(10, 11)', 'LY502', 'points redeemed can''t exceed those issued');
SELECT throws_ok('SELECT breakage_rate(10, -1)', 'LY502', 'points expired can''t exceed those issued');
SELECT throws_ok($$ SELECT redemption_rate('NaN', 1) $$, 'LY502');

-- ---- The chain ladder: Taylor & Ashe 1983, whose reserves Mack prints (ASTIN Bulletin 23(2), 1993, table 1)
CREATE TEMP TABLE ashe AS SELECT '{
	{357848,1124788,1735330,2218270,2745596,3319994,3466336,3606286,3833515,3901463},
	{352118,1236139,2170033,3353322,3799067,4120063,4647867,4914039,5339085,NULL},
	{290507,1292306,2218525,3235179,3985995,4132918,4628910,4909315,NULL,NULL},
	{310608,1418858,2195047,3757447,4029929,4381982,4588268,NULL,NULL,NULL},
	{443160,1136350,2128333,2897821,3402672,3873311,NULL,NULL,NULL,NULL},
	{396132,1333217,2180715,2985752,3691712,NULL,NULL,NULL,NULL,NULL},
	{440832,1288463,2419861,3483130,NULL,NULL,NULL,NULL,NULL,NULL},
	{359480,1421128,2864498,NULL,NULL,NULL,NULL,NULL,NULL,NULL},
	{376686,1363294,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL},
	{344014,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL}}'::numeric[] AS triangle;
SELECT is((SELECT array_agg(round(f, 3)) FROM unnest(development_factors(triangle)) f), '{3.491,1.747,1.457,1.174,1.104,1.086,1.054,1.077,1.018}'::numeric[],
	'development factors as published') FROM ashe;
SELECT results_eq('SELECT cohort, age, round(ultimate - observed) FROM ashe, chain_ladder(triangle)',
	$$ VALUES (1, 9, 0::numeric), (2, 8, 94634), (3, 7, 469511), (4, 6, 709638), (5, 5, 984889), (6, 4, 1419459), (7, 3, 2177641),
	          (8, 2, 3920301), (9, 1, 4278972), (10, 0, 4625811) $$, 'reserves as published');
SELECT is(round(sum(ultimate - observed)), 18680856::numeric, 'and in all') FROM ashe, chain_ladder(triangle);
SELECT is(max(ultimate / observed) FILTER (WHERE cohort = 1), 1.05, 'the tail factor goes on from the last age') FROM ashe, chain_ladder(triangle, 1.05);
-- factors 320/210 and 180/150; used exposures 400 + 420/1.2 + 500*35/64 = 1023.4375, redeemed 470
SELECT results_eq($$ SELECT cohort, round(factor, 6), round(ultimate, 4), round(cape_cod, 4)
	FROM chain_ladder('{{100,150,180},{110,170,NULL},{120,NULL,NULL},{NULL,NULL,NULL}}', exposure => '{400,420,500,600}') $$,
	$$ VALUES (1, 1.000000, 180.0000, 180.0000), (2, 1.200000, 204.0000, 202.1466), (3, 1.828571, 219.4286, 224.0458), (4, NULL, NULL, 275.5420) $$,
	'Cape Cod by hand, and a cohort that has not been observed');
SELECT results_eq($$ SELECT ultimate FROM chain_ladder('{{0,10},{0,NULL}}') $$, 'VALUES (10::numeric), (NULL)', 'no growth can be told from nothing');
SELECT is_empty('SELECT * FROM chain_ladder(NULL)', 'no triangle, no cohorts');
SELECT throws_ok($$ SELECT * FROM chain_ladder('{1,2}') $$, 'LY502', 'a triangle has two dimensions');
SELECT throws_ok($$ SELECT * FROM chain_ladder('{}') $$, 'LY502', 'a triangle has two dimensions');
SELECT throws_ok($$ SELECT * FROM chain_ladder('{{1,NULL,2}}') $$, 'LY502', 'a cohort has a gap in its triangle');
SELECT throws_ok($$ SELECT * FROM chain_ladder('{{NULL,2}}') $$, 'LY502', 'a cohort has a gap in its triangle');
SELECT throws_ok($$ SELECT * FROM chain_ladder('{{-1,2}}') $$, 'LY502');
SELECT throws_ok($$ SELECT * FROM chain_ladder('{{1,2}}', 0.9) $$, 'LY502', 'a tail factor is at least 1');
SELECT throws_ok($$ SELECT * FROM chain_ladder('{{1,2}}', 1, '{1,2}') $$, 'LY502', 'every cohort needs an exposure of zero or more');

-- ---- Survival, with expiry as a competing end. By hand:
-- age 0: 0.2 redeemed of 1, 0.8 go on; age 1: 150/600 of them redeemed, 60/600 end: 0.2 and 0.08, 0.52 go on; age 2: 100/400, 300/400: 0.13, 0.39.
SELECT results_eq($$ SELECT age, ever_redeemed, outstanding, to_come FROM redemption_incidence('{1000,600,400}', '{200,150,100}', '{0,60,300}') $$,
	$$ VALUES (0, 0.2, 0.8, 0.53), (1, 0.4, 0.52, 0.4125), (2, 0.53, 0, 0.25) $$, 'cumulative incidence by hand');
-- Counting what expired as merely unseen (1 - Kaplan-Meier) would say 1 - 0.8 * 0.75 * 0.75 = 0.55.
SELECT results_eq($$ SELECT ever_redeemed, outstanding, to_come FROM redemption_incidence('{100,50}', '{10,10}', '{0,0}', 0.25) $$,
	$$ VALUES (0.1, 0.9, 0.46), (0.28, 0.72, 0.4) $$, 'a quarter of what outlives the table');
SELECT results_eq($$ SELECT ever_redeemed, to_come FROM redemption_incidence('{100,0}', '{-5,0}', '{0,0}', 0) $$,
	$$ VALUES (0::numeric, 0::numeric), (0, 0) $$, 'more came back than went, and an age without points');
SELECT throws_ok($$ SELECT * FROM redemption_incidence('{10}', '{8}', '{3}') $$, 'LY502', 'more points left than were at risk');
SELECT throws_ok($$ SELECT * FROM redemption_incidence('{10}', '{8,1}', '{3}') $$, 'LY502', 'each age needs points at risk, redeemed and expired');
SELECT throws_ok($$ SELECT * FROM redemption_incidence('{10}', '{1}', '{1}', 1.5) $$, 'LY502', 'a tail is a share between 0 and 1');

-- ---- IFRS 15, illustrative example 52, and the same with other numbers
SELECT ok(abs(goods - 91324.200913242) < 1e-8 AND abs(deferred - 8675.79908675799) < 1e-8, 'example 52: the split')
FROM ifrs15_allocation(100000, 10000, 1, 0.95);
SELECT ok(abs(ifrs15_recognised(deferred, 4500, 9500) - 4109.58904109589) < 1e-9 AND abs(ifrs15_recognised(deferred, 8500, 9700) - 7602.504354375559) < 1e-9,
	'example 52: revenue to date') FROM ifrs15_allocation(100000, 10000, 1, 0.95);
SELECT results_eq($$ SELECT s.* FROM ifrs15_allocation(100000, 10000, 1, 0.95) a, ifrs15_schedule(a.deferred, '{4500,4000}', '{9500,9700}', 0) s $$,
	$$ VALUES (1, 4500::numeric, 9500::numeric, 4110::numeric, 0::numeric, 4566::numeric), (2, 8500, 9700, 3493, -85, 1073) $$, 'example 52: 4,110 and 3,493');
SELECT is(array_agg(recognised), '{4175,3552}'::numeric[], 'a higher expectation: catch-up down') FROM ifrs15_schedule(9000, '{4500,4000}', '{9700,9900}', 0);
-- of the 4140, 4500/9200 of 9000 is 4402, 227 more than was booked
SELECT results_eq($$ SELECT recognised, catch_up FROM ifrs15_schedule(9000, '{4500,4000}', '{9700,9200}', 0) $$,
	'VALUES (4175::numeric, 0::numeric), (4140, 227)', 'a lower one: catch-up up');
SELECT results_eq($$ SELECT recognised, deferred FROM ifrs15_schedule(100, '{1,1,1,0}', '{3,3,3,3}') $$,
	'VALUES (33.33, 66.67), (33.34, 33.33), (33.33, 0.00), (0.00, 0.00)', 'thirds add up to the whole');
SELECT results_eq($$ SELECT recognised, deferred FROM ifrs15_schedule(100, '{10,0}', '{50,10}') $$,
	'VALUES (20.00, 80.00), (80.00, 0.00)', 'what nobody is expected to redeem any more is earned');
SELECT results_eq($$ SELECT period, line, account, debit, credit, memo FROM ifrs15_journal(100000, 10000, 1, '{4500,4000}', '{9500,9700}') $$,
	$$ VALUES (0, 1, 'receivables', 91324.20, 0::numeric, 'sale'), (0, 2, 'revenue', 0, 91324.20, 'sale'),
	          (0, 3, 'receivables', 8675.80, 0, 'points granted'), (0, 4, 'contract liability', 0, 8675.80, 'points granted'),
	          (1, 1, 'contract liability', 4109.59, 0, 'points redeemed'), (1, 2, 'revenue', 0, 4109.59, 'points redeemed'),
	          (2, 1, 'contract liability', 3577.65, 0, 'points redeemed'), (2, 2, 'revenue', 0, 3577.65, 'points redeemed'),
	          (2, 3, 'revenue', 84.73, 0, 'change of estimate'), (2, 4, 'contract liability', 0, 84.73, 'change of estimate') $$, 'journal');
SELECT is(sum(debit - credit), 0::numeric, 'and it balances, whatever the numbers')
FROM generate_series(1, 50) n, ifrs15_journal(n * 37.13, n * 7, 0.013 * n, ARRAY[n, n / 2.0, 1.5], ARRAY[n * 4.1, n * 5, n * 3 + 2], n % 5, n * 40) j;
SELECT results_eq($$ SELECT account, debit, credit FROM ifrs15_journal(50, 0, 1, '{0}', '{0}') $$,
	$$ VALUES ('receivables', 50.00, 0::numeric), ('revenue', 0, 50.00) $$, 'a sale without points');
SELECT results_eq($$ SELECT round(goods, 4), round(deferred, 4) FROM ifrs15_allocation(90, 100, 0.1, 0.5, 100) $$,
	'VALUES (85.7143, 4.2857)', 'the discount of a sale at 90 for goods of 100 is shared: 90*100/105 and 90*5/105');
SELECT results_eq('SELECT goods, deferred FROM ifrs15_allocation(0, 0, 1, 1)', 'VALUES (0::numeric, 0::numeric)', 'nothing sold');
SELECT throws_ok('SELECT * FROM ifrs15_allocation(100, 10, 1, 1.2)', 'LY502', 'a price can''t be allocated by these values');
SELECT throws_ok('SELECT ifrs15_recognised(100, 10, 9)', 'LY502', 'fewer points are expected to be redeemed than were redeemed');
SELECT throws_ok($$ SELECT * FROM ifrs15_schedule(100, '{1,2}', '{9}') $$, 'LY502', 'each period needs points redeemed and an expectation');

-- ---- The worked example of docs/liability.md. Redemptions happen now; here they are given their month.
CREATE TABLE public.sale (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who text, amount numeric, at timestamptz, refunded numeric NOT NULL DEFAULT 0);
CREATE FUNCTION pg_temp.redeemed(program text, member text, points loyalty.points, at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	made bigint := loyalty.redeem(program, member, points);
BEGIN
	SET LOCAL session_replication_role = replica;
	UPDATE loyalty.entry SET event_time = at WHERE account_id = made / 100000000 AND entry_no = made % 100000000;
	SET LOCAL session_replication_role = origin;
END $$;
-- A member a month, of points that live long enough to be redeemed now.
SELECT create_program('example', 'UTC');
SELECT add_rule('example', 'base', points_per => 1), attach('public.sale', 'example', 'who', 'amount', 'at', refunded => 'refunded');
INSERT INTO public.sale (who, amount, at) VALUES ('jan', 1000, '2024-01-15 12:00+00'), ('feb', 1000, '2024-02-15 12:00+00'), ('mar', 1000, '2024-03-15 12:00+00');
SELECT pg_temp.redeemed('example', 'jan', 200, '2024-01-20 12:00+00'), pg_temp.redeemed('example', 'jan', 300, '2024-02-20 12:00+00'),
	pg_temp.redeemed('example', 'jan', 100, '2024-03-20 12:00+00'), pg_temp.redeemed('example', 'feb', 100, '2024-02-25 12:00+00'),
	pg_temp.redeemed('example', 'feb', 240, '2024-03-25 12:00+00'), pg_temp.redeemed('example', 'mar', 300, '2024-03-31 23:59+00');
SELECT results_eq($$ SELECT * FROM points_development('example', '2024-04-01 00:00+00') $$,
	$$ VALUES ('2024-01-01'::date, 0, 1000::numeric, 200::numeric, 0::numeric), ('2024-01-01', 1, 0, 300, 0), ('2024-01-01', 2, 0, 100, 0),
	          ('2024-02-01', 0, 1000, 100, 0), ('2024-02-01', 1, 0, 240, 0), ('2024-03-01', 0, 1000, 300, 0) $$, 'development');
-- Factors 840/300 = 2.8 and 600/500 = 1.2.
SELECT results_eq($$ SELECT cohort, round(ultimate, 6), round(ultimate_redemption_rate, 6), round(ultimate_breakage_rate, 6), redemption_rate
	FROM breakage('example', 'chain_ladder', as_of => '2024-04-01 00:00+00') $$,
	$$ VALUES ('2024-01-01'::date, 600.000000, 0.600000, 0.400000, 0.6), ('2024-02-01', 408.000000, 0.408000, 0.592000, 0.34),
	          ('2024-03-01', 1000.000000, 1.000000, 0.000000, 0.3) $$, 'by the chain ladder: 300 * 3.36 would be more than there are');
-- Cape Cod: 1240 redeemed for 1000 + 1000/1.2 + 1000/3.36 = 2130.952381: 0.581899 each
SELECT results_eq($$ SELECT cohort, round(ultimate, 3) FROM breakage('example', 'cape_cod', as_of => '2024-04-01 00:00+00') $$,
	$$ VALUES ('2024-01-01'::date, 600.000), ('2024-02-01', 436.983), ('2024-03-01', 708.715) $$, 'by Cape Cod');
-- Hazards 600/3000, 540/1700, 100/500; tail 0: to come 1/5; 27/85 + 58/85*1/5 = 193/425; jan has been seen for all three.
SELECT results_eq($$ SELECT cohort, outstanding, round(ultimate, 4) FROM breakage('example', 'survival', 0, '2024-04-01 00:00+00') $$,
	$$ VALUES ('2024-01-01'::date, 400::numeric, 600.0000), ('2024-02-01', 660, 472.0000), ('2024-03-01', 700, 617.8824) $$, 'by survival');
SELECT is(round(ultimate_redemption_rate('example', 'survival', 0, '2024-04-01 00:00+00'), 6), 0.563294, 'in all, 1689.8824 of 3000');
SELECT results_eq($$ SELECT cohort, points, round(expected_points, 4), gross, breakage, liability FROM liability('example', 0.01, tail => 0, as_of => '2024-04-01 00:00+00') $$,
	$$ VALUES ('2024-01-01'::date, 400::numeric, 0.0000, 4.00, 4.00, 0.00), ('2024-02-01', 660, 132.0000, 6.60, 5.28, 1.32),
	          ('2024-03-01', 700, 317.8824, 7.00, 3.82, 3.18) $$, 'liability');
SELECT is(sum(liability), 17.60, 'without a tail known, all that is outstanding counts') FROM liability('example', 0.01, as_of => '2024-04-01 00:00+00');


-- 1000 of the 1040 are for the goods, 38.46 for the points; the rest of January's 400 is expected to break, so all of it is earned.
SELECT results_eq($$ SELECT cohort, sales, points_issued, allocated, points_redeemed, recognised, deferred, points
	FROM deferred_revenue('example', 0.05, 0.8, tail => 0, as_of => '2024-04-01 00:00+00') $$,
	$$ VALUES ('2024-01-01'::date, 1000::numeric, 1000::numeric, 38.46, 600::numeric, 38.46, 0.00, 400::numeric),
	          ('2024-02-01', 1000, 1000, 38.46, 340, 27.70, 10.76, 660), ('2024-03-01', 1000, 1000, 38.46, 300, 18.67, 19.79, 700) $$, 'deferred revenue');

-- Journals know what was recorded by the end of their month.
SELECT is_empty($$ SELECT * FROM liability_journal('example', '2024-03-05', 0.01, tail => 0) $$, 'nothing had been recorded then');
SET LOCAL session_replication_role = replica;
UPDATE loyalty.entry SET recorded_at = event_time;
SET LOCAL session_replication_role = origin;
-- On 1 March: hazards 300/2000 and 300/800; of February's 900, 337.5 were to come.
SELECT is(sum(liability), 3.38, 'the opening provision') FROM liability('example', 0.01, tail => 0, as_of => '2024-03-01 00:00+00');
SELECT results_eq($$ SELECT * FROM liability_journal('example', '2024-03-05', 0.01, tail => 0) $$,
	$$ VALUES (1, 'loyalty expense', 6.18, 0::numeric, 'points issued'), (2, 'loyalty provision', 0, 6.18, 'points issued'),
	          (3, 'loyalty provision', 6.40, 0, 'points redeemed'), (4, 'rewards given', 0, 6.40, 'points redeemed'),
	          (5, 'loyalty expense', 1.34, 0, 'change of estimate'), (6, 'loyalty provision', 0, 1.34, 'change of estimate') $$,
	'3.38 + 6.18 - 6.40 + 1.34 is the closing 4.50');
-- January: 38.46 * 500/600 less 38.46; February: 38.46 * 100/472 less 8.79.
SELECT results_eq($$ SELECT * FROM deferred_revenue_journal('example', '2024-03-31', 0.05, 0.8, tail => 0) $$,
	$$ VALUES (1, 'revenue', 38.46, 0::numeric, 'points granted'), (2, 'contract liability', 0, 38.46, 'points granted'),
	          (3, 'contract liability', 44.63, 0, 'points redeemed'), (4, 'revenue', 0, 44.63, 'points redeemed'),
	          (5, 'revenue', 7.05, 0, 'change of estimate'), (6, 'contract liability', 0, 7.05, 'change of estimate') $$,
	'29.67 + 38.46 - 44.63 + 7.05 is the closing 30.55');

-- ---- Errors
SELECT throws_ok($$ SELECT * FROM liability('nowhere', 1) $$, 'LY001');
SELECT throws_ok($$ SELECT * FROM liability('example', 1, currency => 'miles') $$, 'LY003');
SELECT throws_ok($$ SELECT * FROM liability('example', -1) $$, 'LY502', 'what a point costs is an amount of zero or more');
SELECT throws_ok($$ SELECT * FROM liability('example', NULL) $$, 'LY502', 'what a point costs is an amount of zero or more');
SELECT throws_ok($$ SELECT * FROM liability('example', 1, method => 'guess') $$, 'LY502', 'unknown method of estimating breakage');
SELECT throws_ok($$ SELECT * FROM liability('example', 1, tail => 2) $$, 'LY502', 'a tail is a share between 0 and 1');
SELECT throws_ok($$ SELECT * FROM breakage('example', 'chain_ladder', 0.5) $$, 'LY502', 'a tail factor is at least 1');
SELECT throws_ok($$ SELECT * FROM breakage('example', as_of => now() + interval '1 day') $$, 'LY306', 'points can''t be estimated as of then');
SELECT throws_ok($$ SELECT * FROM points_development('example', 'infinity') $$, 'LY306', 'points can''t be estimated as of then');
SELECT throws_ok($$ SELECT * FROM liability_journal('example', (now() + interval '40 days')::date, 1) $$, 'LY306', 'a journal of a month that has not begun');
SELECT throws_ok($$ SELECT * FROM liability_journal('example', NULL, 1) $$, 'LY306', 'a journal is that of a month');
SELECT throws_ok($$ SELECT * FROM deferred_revenue('example', 1, 1.5) $$, 'LY502', 'the redemption rate at issue is between 0 and 1');
SELECT create_program('empty');
SELECT is_empty($$ SELECT * FROM liability('empty', 1) $$, 'a program without points owes nothing');
SELECT is(ultimate_redemption_rate('empty'), NULL, 'and has no rate');
SELECT is_empty($$ SELECT * FROM deferred_revenue_journal('empty', now()::date, 1) $$, 'and no journal');

-- ---- A lot that dies while 60 of its 100 are held: they count until the hold ends
SELECT create_program('held', validity => '1 year'), enrol('held', 'ada');
SELECT adjust('held', 'ada', 100, 'present');
SELECT hold('held', 'ada', 60, '1 hour') AS hold_id \gset
SET LOCAL session_replication_role = replica;
UPDATE loyalty.entry SET event_time = now() - interval '9 days' WHERE account_id = :hold_id / 100000000;
UPDATE loyalty.lot SET expires_at = now() - interval '5 days' WHERE account_id = :hold_id / 100000000;
UPDATE loyalty.account SET next_change = '-infinity' WHERE account_id = :hold_id / 100000000;
SET LOCAL session_replication_role = origin;
SELECT is((SELECT array_agg(ARRAY[expired, outstanding]) FROM breakage('held', as_of => now() - d * interval '1 day')), want, format('%s days ago', d))
FROM (VALUES (7, '{{0,100}}'::numeric[]), (1, '{{40,60}}'), (0, '{{40,60}}')) v (d, want);
SELECT is((SELECT array_agg(ARRAY[points, held]) FROM points_liability WHERE program = 'held'), '{{60,60}}'::numeric[], 'the view has them too');
SELECT capture(:hold_id, 10);
SELECT is((SELECT array_agg(ARRAY[redeemed, expired, outstanding]) FROM breakage('held')), '{{10,40,50}}'::numeric[], 'captured in part');
SET LOCAL session_replication_role = replica;
UPDATE loyalty.hold SET ends_at = now() - interval '1 minute' WHERE account_id = :hold_id / 100000000;
SET LOCAL session_replication_role = origin;
SELECT is((SELECT array_agg(ARRAY[redeemed, expired, outstanding]) FROM breakage('held')), '{{10,90,0}}'::numeric[], 'ended by the clock');
SELECT is_empty($$ SELECT * FROM points_liability WHERE program = 'held' $$, 'and the view has them no more');

-- ---- A random history: what the liability counts is what the lots have left, to the last decimal
SELECT create_program('random', 'Pacific/Auckland', validity => '4 months', validity_rounding => 'month', debt => 'negative', decimals => 2);
SELECT create_currency('random', 'miles', validity => '45 days', pending => '10 days');
SELECT create_currency('random', 'stars', debt => 'forgive');
SELECT add_rule('random', 'base', points_per => 1.37, rounding => 'half_up'), add_rule('random', 'fixed', bonus => '2.5', reversal => 'all_or_nothing'),
	add_rule('random', 'miles', points_per => 3, currency => 'miles'), add_rule('random', 'stars', points_per => 0.5, currency => 'stars');
CREATE TABLE public.random_sale (id int PRIMARY KEY, who text, amount numeric, at timestamptz, refunded numeric NOT NULL DEFAULT 0);
SELECT attach('public.random_sale', 'random', 'who', 'amount', 'at', refunded => 'refunded');
DO $$
DECLARE
	what float8;
	who text;
	coin text;
	spent bigint;
	kept bigint;
	had numeric;
BEGIN
	PERFORM setseed(0.4242);
	FOR step IN 1 .. 1100 LOOP
		what := random();
		who := 'm' || floor(random() * 25);
		coin := (ARRAY['points', 'miles', 'stars'])[1 + floor(random() * 3)];
		IF what < 0.5 THEN
			INSERT INTO public.random_sale VALUES (step, who, round((random() * 200)::numeric, 2), now() - random() * interval '300 days');
		ELSIF what < 0.62 THEN
			UPDATE public.random_sale s SET refunded = round((random() * s.amount)::numeric, 2) WHERE s.id = (SELECT o.id FROM public.random_sale o ORDER BY random() LIMIT 1);
		ELSIF what < 0.65 THEN
			DELETE FROM public.random_sale s WHERE s.id = (SELECT o.id FROM public.random_sale o ORDER BY random() LIMIT 1);
		ELSIF what < 0.85 THEN
			had := (SELECT available FROM loyalty.balances b WHERE b.program = 'random' AND b.member = who AND b.currency = coin);
			IF had >= 2 THEN
				spent := loyalty.redeem('random', who, ceil((had - 1) * random()::numeric)::bigint, currency => coin);
			END IF;
		ELSIF what < 0.9 AND spent IS NOT NULL THEN
			PERFORM loyalty.giveback(spent);
			spent := NULL;
		ELSIF what < 0.94 AND EXISTS (SELECT FROM loyalty.balances b WHERE b.program = 'random' AND b.member = who) THEN
			PERFORM loyalty.adjust('random', who, floor(random() * 50)::bigint + 1, 'present', currency => coin);
		ELSIF what < 0.96 THEN
			had := (SELECT available FROM loyalty.balances b WHERE b.program = 'random' AND b.member = who AND b.currency = coin);
			IF had >= 4 THEN
				kept := loyalty.hold('random', who, floor(had / 2)::bigint, '1 hour', currency => coin);
				IF what < 0.95 THEN
					PERFORM loyalty.capture(kept, 1);
				END IF;
			END IF;
		ELSIF what < 0.98 THEN
			had := (SELECT available FROM loyalty.balances b WHERE b.program = 'random' AND b.member = who AND b.currency = coin);
			IF had >= 4 AND who <> 'm0' THEN
				PERFORM loyalty.enrol('random', 'm0'), loyalty.transfer('random', who, 'm0', floor(had / 3)::bigint, currency => coin);
			END IF;
		ELSIF what < 0.99 THEN
			PERFORM loyalty._expire_accounts(ARRAY(SELECT account_id FROM loyalty.account ORDER BY 1), now() - random() * interval '150 days');
		END IF;
	END LOOP;
END $$;
SELECT cmp_ok(count(*), '>', 30::bigint, 'the history has entries of kind ' || kind) FROM entries WHERE program = 'random' AND kind IN ('earn', 'reverse', 'redeem', 'expire', 'giveback') GROUP BY kind ORDER BY kind;
SELECT cmp_ok(count(*), '>', 3::bigint, 'the history has entries of kind ' || kind) FROM entries WHERE program = 'random' AND kind IN ('hold', 'transfer') GROUP BY kind ORDER BY kind;
SELECT cmp_ok(count(*), '>', 5::bigint, 'some lots are past their end and not booked') FROM lots WHERE program = 'random' AND state = 'expired';
SELECT is((SELECT sum(points) FROM liability('random', 0.0123, currency => c)),
	(SELECT sum(remaining) FROM lots WHERE program = 'random' AND currency = c AND state IN ('live', 'pending')), c || ': the liability''s points are what lots have left')
FROM unnest('{points,miles,stars}'::text[]) c;
SELECT is((SELECT sum(points) FROM liability('random', 0.0123, currency => c)),
	(SELECT sum(available + held + pending + debt) FROM balances WHERE program = 'random' AND currency = c), c || ': and what balances say')
FROM unnest('{points,miles,stars}'::text[]) c;
SELECT results_eq(format('SELECT cohort, points FROM liability(%L, 0.0123, currency => %L)', 'random', c),
	format('SELECT issued, sum(remaining) FROM lots WHERE program = %L AND currency = %L AND state IN (%L, %L) GROUP BY 1 HAVING sum(remaining) > 0 ORDER BY 1', 'random', c, 'live', 'pending'),
	c || ': month by month') FROM unnest('{points,miles,stars}'::text[]) c;
SELECT is((SELECT sum(redeemed) FROM breakage('random', currency => c)),
	(SELECT sum(redeemed) FROM balances WHERE program = 'random' AND currency = c), c || ': redeemed') FROM unnest('{points,miles,stars}'::text[]) c;
SELECT is((SELECT sum(expired) FROM breakage('random', currency => c)),
	(SELECT sum(expired + CASE WHEN state = 'expired' THEN remaining ELSE 0 END) FROM lots WHERE program = 'random' AND currency = c), c || ': expired')
FROM unnest('{points,miles,stars}'::text[]) c;
SELECT is((SELECT sum(points) FROM deferred_revenue('random', 0.01, currency => c)), (SELECT sum(points) FROM liability('random', 0.0123, currency => c)),
	c || ': the points that revenue is deferred for are the same') FROM unnest('{points,miles,stars}'::text[]) c;
SELECT is((SELECT sum(sales) FROM deferred_revenue('random', 0.01, currency => c)), (SELECT sum(amount - refunded) FROM public.random_sale),
	c || ': and so are the sales') FROM unnest('{points,miles,stars}'::text[]) c;
SELECT ok(bool_and(ultimate BETWEEN redeemed AND issued - expired AND outstanding >= 0 AND issued = redeemed + expired + outstanding),
	format('%s by %s: between what was and what can be redeemed', c, m)) FROM unnest('{points,miles,stars}'::text[]) c, unnest('{survival,chain_ladder,cape_cod}'::text[]) m,
	breakage('random', m, currency => c) GROUP BY c, m;
SELECT ok(bool_and(gross = round(points * 0.0123, 2) AND gross = breakage + liability AND breakage >= 0), c || ': gross is breakage and liability')
FROM unnest('{points,miles,stars}'::text[]) c, liability('random', 0.0123, 'survival', 0.1, currency => c) GROUP BY c;
-- All was recorded in the present month, so its journal books the whole provision.
SELECT is((SELECT sum(credit - debit) FROM liability_journal('random', (now() AT TIME ZONE 'Pacific/Auckland')::date, 0.0123, m, currency => c) WHERE account = 'loyalty provision'),
	(SELECT sum(liability) FROM liability('random', 0.0123, m, currency => c)), format('%s by %s: the journal''s provision', c, m))
FROM unnest('{points,miles,stars}'::text[]) c, unnest('{survival,chain_ladder,cape_cod}'::text[]) m;
SELECT is((SELECT sum(credit - debit) FROM deferred_revenue_journal('random', (now() AT TIME ZONE 'Pacific/Auckland')::date, 0.02, 0.9, m, currency => c) WHERE account = 'contract liability'),
	(SELECT sum(deferred) FROM deferred_revenue('random', 0.02, 0.9, m, currency => c)), format('%s by %s: the journal''s contract liability', c, m))
FROM unnest('{points,miles,stars}'::text[]) c, unnest('{survival,chain_ladder,cape_cod}'::text[]) m;
SELECT is(sum(debit - credit), 0::numeric, 'journals balance') FROM (
	SELECT debit, credit FROM unnest('{points,miles,stars}'::text[]) c, liability_journal('random', (now() AT TIME ZONE 'Pacific/Auckland')::date, 0.0123, currency => c)
	UNION ALL
	SELECT debit, credit FROM unnest('{points,miles,stars}'::text[]) c, deferred_revenue_journal('random', (now() AT TIME ZONE 'Pacific/Auckland')::date, 0.0123, currency => c)) j;
-- A moment of the past, as balance() tells it: stars are never pending, never owed and never end.
SELECT is((SELECT coalesce(sum(outstanding), 0) FROM breakage('random', as_of => at, currency => 'stars')),
	(SELECT sum(balance('random', member, at, 'stars')::numeric) FROM balances WHERE program = 'random' AND currency = 'stars'), format('stars %s days ago', d))
FROM unnest('{1,40,100,200,290}'::int[]) d, LATERAL (SELECT now() - d * interval '1 day' AS at) a;

SELECT finish();
ROLLBACK;
