-- balance: at any moment, past, now or future, alone and in the views
\ir include/begin.psql

SELECT create_program('club', validity => '100 years', debt => 'negative') > 0;
\ir include/orders.psql

CREATE FUNCTION pg_temp.balances_at(program text, who text, VARIADIC moments text[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(loyalty.balance(program, who, m::timestamptz)::numeric::text, ' ' ORDER BY n)
	FROM unnest(moments) WITH ORDINALITY u (m, n)
$$;

-- Lots: 10 [2020-01-10, 2120-01-11), 20 [2020-03-10, 2120-03-11), 40 [1900-01-10, 2000-01-11)
INSERT INTO public.orders (id, who, amount, at) VALUES (1, 'ann', 10, '2020-01-10 12:00+00'), (2, 'ann', 20, '2020-03-10 12:00+00'),
	(3, 'ann', 40, '1900-01-10 12:00+00');
CREATE TEMP TABLE story (n int GENERATED ALWAYS AS IDENTITY, past text, future text);
CREATE FUNCTION pg_temp.past() RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.balances_at('club', 'ann', '-infinity', '1900-01-10 11:59:59.999999+00', '1900-01-10 12:00+00', '2000-01-10 23:59:59.999999+00',
		'2000-01-11 00:00+00', '2020-01-10 11:59:59.999999+00', '2020-01-10 12:00+00', '2020-03-10 11:59:59.999999+00', '2020-03-10 12:00+00',
		(now() - interval '1 microsecond')::text)
$$;
CREATE FUNCTION pg_temp.future() RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.balances_at('club', 'ann', now()::text, '2120-01-10 23:59:59.999999+00', '2120-01-11 00:00+00',
		'2120-03-10 23:59:59.999999+00', '2120-03-11 00:00+00', 'infinity')
$$;
SELECT is(pg_temp.past(), '0 0 40 40 0 0 10 10 30 30', 'the past, to the microsecond');
SELECT is(pg_temp.future(), '30 30 20 20 0 0', 'the future, to the microsecond');
SELECT redeem('club', 'ann', 12) > 0;
SELECT is(pg_temp.past(), '0 0 40 40 0 0 10 10 30 30', 'a redemption leaves the past alone');
SELECT is(pg_temp.future(), '18 18 18 18 0 0', 'and takes 10 of what ends first, 2 of the rest');
SELECT pg_temp.balanced('after a redemption');
SELECT _expire_accounts(array_agg(account_id), now()) FROM account JOIN member USING (member_id) WHERE member = 'ann';
SELECT is((SELECT count(*) FROM entries WHERE member = 'ann' AND kind = 'expire'), 1::bigint, 'the dead lot is booked');
SELECT is(pg_temp.past(), '0 0 40 40 0 0 10 10 30 30', 'which leaves the past alone');
SELECT is(pg_temp.future(), '18 18 18 18 0 0', 'and the future');
SELECT giveback((SELECT entry_id FROM entries WHERE member = 'ann' AND kind = 'redeem'), 5) > 0;
SELECT is(pg_temp.past(), '0 0 40 40 0 0 10 10 30 30', 'so does a giveback');
SELECT is(pg_temp.future(), '23 23 20 20 0 0', 'of 2 to the last that paid and 3 to the first');
UPDATE public.orders SET refunded = 15 WHERE id = 2;
SELECT is(pg_temp.past(), '0 0 40 40 0 0 10 10 30 30', 'a refund, too, happens when it happens');
SELECT is(pg_temp.future(), '8 8 5 5 0 0', '15 of the 20 that came of that order');
SELECT redeem('club', 'ann', 8) > 0;
UPDATE public.orders SET refunded = 20 WHERE id = 2;
SELECT is(pg_temp.past(), '0 0 40 40 0 0 10 10 30 30', 'a debt did not exist before it came to be');
SELECT is(pg_temp.future(), '-5 -5 -5 -5 -5 -5', 'and stays until it is repaid');
SELECT pg_temp.balanced('in debt');
INSERT INTO public.orders (id, who, amount, at) VALUES (4, 'ann', 100, '2020-02-10 12:00+00');
SELECT is(pg_temp.future(), '95 95 95 0 0 0', 'an award repays it and leaves the rest, which ends 2120-02-11');
SELECT pg_temp.balanced('out of debt');

-- ---- A late row shows in the past as known now
INSERT INTO public.orders (id, who, amount, at) VALUES (10, 'bob', 10, '2020-01-10 12:00+00');
SELECT is(pg_temp.balances_at('club', 'bob', '2019-06-01', '2020-06-01'), '0 10', 'before the late row');
INSERT INTO public.orders (id, who, amount, at) VALUES (11, 'bob', 5, '2019-01-10 12:00+00');
SELECT is(pg_temp.balances_at('club', 'bob', '2019-01-10 11:59:59.999999+00', '2019-06-01', '2020-06-01', now()::text), '0 5 15 15', 'after it');

-- ---- Lots that begin: pending 200 years of 300
CREATE TABLE public.stays (id int PRIMARY KEY, who text, amount numeric, at timestamptz);
SELECT create_program('inn', pending => '200 years', validity => '300 years') > 0;
SELECT add_rule('inn', 'base', points_per => 1) > 0;
SELECT attach('public.stays', 'inn', 'who', amount => 'amount', event_time => 'at') > 0;
INSERT INTO public.stays VALUES (1, 'ann', 70, '2020-05-01 12:00+00'), (2, 'ann', 7, '1800-05-01 12:00+00'), (3, 'ann', 9, '1700-05-01 12:00+00');
SELECT is(pg_temp.balances_at('inn', 'ann', '1900-05-01 11:59:59.999999+00', '1900-05-01 12:00+00', '2000-05-01 11:59:59.999999+00', '2000-05-01 12:00+00',
	'2000-05-01 23:59:59.999999+00', '2000-05-02 00:00+00'), '0 9 9 16 16 7', 'lots that began in the past');
SELECT is(pg_temp.balances_at('inn', 'ann', now()::text, '2100-05-01 23:59:59.999999+00', '2100-05-02 00:00+00', '2220-05-01 11:59:59.999999+00', '2220-05-01 12:00+00',
	'2320-05-01 23:59:59.999999+00', '2320-05-02 00:00+00'), '7 7 0 0 70 70 0', 'lots that will begin');
SELECT results_eq($$ SELECT available, pending, held, debt FROM balances WHERE program = 'inn' $$, $$ VALUES (7::numeric, 70::numeric, 0::numeric, 0::numeric) $$, 'the view');
SELECT results_eq($$ SELECT lot_no, valid_from, expires_at, state FROM lots WHERE program = 'inn' ORDER BY lot_no $$,
	$$ VALUES (1, '1900-05-01 12:00+00'::timestamptz, '2000-05-02 00:00+00'::timestamptz, 'expired'),
	          (2, '2000-05-01 12:00+00', '2100-05-02 00:00+00', 'live'), (3, '2220-05-01 12:00+00', '2320-05-02 00:00+00', 'pending') $$, 'the lots');
SELECT redeem('inn', 'ann', 3) > 0;
SELECT is(pg_temp.balances_at('inn', 'ann', '2000-05-02 00:00+00', now()::text, '2220-05-01 12:00+00'), '7 4 70', 'after a redemption');
SELECT pg_temp.balanced('pending');

-- ---- Points that never end
SELECT create_program('forever') > 0;
SELECT enrol('forever', 'ann') > 0;
SELECT is(pg_temp.balances_at('forever', 'ann', '-infinity', '2020-01-01', now()::text, 'infinity'), '0 0 0 0', 'nothing yet');
SELECT adjust('forever', 'ann', 6, 'welcome') > 0;
SELECT is(pg_temp.balances_at('forever', 'ann', '-infinity', '2020-01-01', now()::text, '9999-01-01', 'infinity'), '0 0 6 6 6', 'never ends means never');

-- ---- Currencies never mix
SELECT create_currency('club', 'miles', decimals => 2) > 0;
SELECT is(balance('club', 'bob', currency => 'miles')::numeric, 0.0, 'no account of that currency yet');
SELECT adjust('club', 'bob', '1.25', 'miles', currency => 'miles') > 0;
SELECT results_eq($$ SELECT balance('club', 'bob')::numeric, balance('club', 'bob', currency => 'points')::numeric, balance('club', 'bob', currency => 'miles')::numeric $$,
	$$ VALUES (15.0, 15.0, 1.25) $$, 'each currency for itself');
SELECT results_eq($$ SELECT currency, available, (SELECT sum(points) FROM entries e WHERE (e.program, e.member, e.currency) = (b.program, b.member, b.currency)),
		(SELECT sum(remaining) FROM lots l WHERE (l.program, l.member, l.currency) = (b.program, b.member, b.currency))
	FROM balances b WHERE program = 'club' AND member = 'bob' ORDER BY 1 $$,
	$$ VALUES ('miles', 1.25, 1.25, 1.25), ('points', 15.0, 15.0, 15.0) $$, 'in the views as well');

-- ---- An order dated in the future: a row says that it happened, so it counts at once, and to the end of its own time
SELECT create_program('ahead', validity => '1 year') > 0;
SELECT create_program('waiting', validity => '1 year', pending => '1 day', ladder => 'none:0, some:100') > 0;
SELECT add_rule(p, 'base', points_per => 1) > 0 FROM unnest(ARRAY['ahead', 'waiting']) p;
CREATE TABLE public.booking (id int PRIMARY KEY, who text, amount numeric, at timestamptz);
SELECT attach('public.booking', p, 'who', amount => 'amount', event_time => 'at') > 0 FROM unnest(ARRAY['ahead', 'waiting']) p;
INSERT INTO public.booking VALUES (1, 'ann', 100, now() + interval '720 hours');
SELECT is(pg_temp.balances_at('ahead', 'ann', (now() - interval '1 microsecond')::text, now()::text, (now() + interval '1 day')::text), '0 100 100', 'not before it was booked, but from then on');
SELECT ok(redeem('ahead', 'ann', 40) > 0, '... it is spent before its date');
SELECT results_eq($$ SELECT expires_at FROM lots WHERE program = 'ahead' $$,
	$$ SELECT (date_trunc('day', (now() + interval '720 hours') AT TIME ZONE 'UTC' + interval '1 year') + interval '1 day') AT TIME ZONE 'UTC' $$, '... and expires as of its date');
SELECT is(pg_temp.balances_at('waiting', 'ann', now()::text, (now() + interval '744 hours' - interval '1 microsecond')::text, (now() + interval '744 hours')::text), '0 0 100', 'what shall wait for its date is pending');
SELECT is((SELECT tier || metric FROM tier_progress('waiting', 'ann')), 'none0', '... for the tier, too');
SELECT pg_temp.balanced('dated in the future');

-- ---- NULL and the unknown
SELECT ok(balance(NULL, 'ann') IS NULL AND balance('club', NULL) IS NULL AND balance('club', 'ann', NULL) IS NULL, 'NULL of NULL');
SELECT pg_temp.refused($$ SELECT balance('nowhere', 'ann') $$, 'LY001', NULL, 'no such program');
SELECT pg_temp.refused($$ SELECT balance('club', 'nobody') $$, 'LY002', NULL, 'no such member');
SELECT pg_temp.refused($$ SELECT balance('forever', 'bob') $$, 'LY002', NULL, 'a member of another program');
SELECT pg_temp.refused($$ SELECT balance('club', 'ann', currency => 'gems') $$, 'LY003', '%gems%', 'no such currency');
SELECT pg_temp.balanced('at the end');

SELECT * FROM finish();
ROLLBACK;
