-- transfer: points change hands, soonest end first, and keep their dates
\ir include/begin.psql

SELECT create_program('club', validity => '100 years', validity_rounding => 'year', decimals => 1, ladder => 'basic:0, silver:50') > 0;
SELECT create_currency('club', 'miles') > 0, create_program('other') > 0;
\ir include/orders.psql

CREATE FUNCTION pg_temp.has(who text, currency text DEFAULT 'points') RETURNS text LANGUAGE sql AS $$
	SELECT format('%s free, %s earned, %s redeemed', trim_scale(available), trim_scale(earned), trim_scale(redeemed))
	FROM loyalty.balances WHERE member = who AND program = 'club' AND balances.currency = $2
$$;
CREATE FUNCTION pg_temp.all_there_is() RETURNS text LANGUAGE sql AS $$
	SELECT md5(concat((SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.entry x), (SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.lot x),
		(SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.allocation x), (SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.account x),
		(SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.request x)))
$$;

-- ---- Two lots of ann's to bob, who has one that ends with her first
INSERT INTO public.orders (id, who, amount, at) VALUES (1, 'ann', 10, '2020-05-01 12:00+00'), (2, 'ann', 30, '2021-06-01 12:00+00');
INSERT INTO public.orders (id, who, amount, at) VALUES (3, 'ann', 500, '1900-05-01 12:00+00'), (4, 'bob', 5, '2020-05-07 12:00+00');
CREATE TEMP TABLE t AS SELECT transfer('club', 'ann', 'bob', 25, 't1', 'a birthday') AS t1;
SELECT is(pg_temp.paid(t1), '1:-10 2:-15', 'the soonest ends go') FROM t;
SELECT results_eq($$ SELECT lot_no, issued, expires_at, credited, remaining, state FROM lots WHERE member = 'bob' ORDER BY 1 $$,
	$$ VALUES (1, '2020-05-01'::date, '2121-01-01 00:00+00'::timestamptz, 15.0, 15.0, 'live'), (2, '2021-06-01', '2122-01-01 00:00+00', 15.0, 15.0, 'live') $$,
	'they keep their month and their end: into the lot that has both, and a new one');
SELECT is(pg_temp.has('ann'), '15 free, 540 earned, 0 redeemed', 'ann has 40 - 25; she earned what she did, the dead 500 too');
SELECT is(pg_temp.has('bob'), '30 free, 5 earned, 0 redeemed', 'bob has 5 + 25, and earned 5') ;
SELECT is(tier, 'basic', 'points received count for no tier') FROM balances WHERE member = 'bob' AND currency = 'points';
CREATE TEMP TABLE sides AS SELECT e.* FROM entries e WHERE kind = 'transfer';
SELECT results_eq($$ SELECT g.member::text COLLATE "default", g.points, g.line = t1::text, f.line = g.entry_id::text, f.points, f.reason, g.reason, f.event_time = g.event_time
	FROM t JOIN sides f ON f.entry_id = t1 JOIN sides g ON g.entry_id <> t1 $$,
	$$ VALUES ('bob'::text, 25.0, true, true, -25.0, 'a birthday', 'a birthday', true) $$, 'two entries that name each other and sum to zero');
SELECT is(transfer('club', 'ann', 'bob', 25, 't1', 'a birthday'), t1, 'the same call answers the same') FROM t;
SELECT is(pg_temp.has('bob'), '30 free, 5 earned, 0 redeemed', 'and moves nothing twice');
SELECT pg_temp.balanced('after a transfer');
SELECT is_empty('SELECT * FROM verify()', 'verify() agrees: after a transfer');

-- ---- Refused, without a trace
CREATE TEMP TABLE before AS SELECT pg_temp.all_there_is();
SELECT pg_temp.refused($$ SELECT transfer('club', 'ann', 'bob', '15.1', 't2') $$, 'LY301', '0.1 points are missing.', 'more than there is');
SELECT pg_temp.refused($$ SELECT transfer('club', 'ann', 'ann', 1, 't2') $$, 'LY311', NULL, 'to oneself');
SELECT pg_temp.refused($$ SELECT transfer('club', 'ann', 'bob', 0) $$, 'LY304', NULL, 'no points');
SELECT pg_temp.refused($$ SELECT transfer('club', 'ann', 'bob', -1) $$, 'LY304', NULL, 'negative points');
SELECT pg_temp.refused($$ SELECT transfer('club', 'ann', 'bob', '0.05') $$, 'LY304', 'The currency has 1 decimals.', 'points too fine');
SELECT pg_temp.refused($$ SELECT transfer('club', 'zoe', 'bob', 1) $$, 'LY002', NULL, 'from a stranger');
SELECT pg_temp.refused($$ SELECT transfer('club', 'ann', 'zoe', 1) $$, 'LY002', NULL, 'to a stranger');
SELECT pg_temp.refused($$ SELECT transfer('other', 'ann', 'bob', 1) $$, 'LY002', NULL, 'members of another program');
SELECT pg_temp.refused($$ SELECT transfer('clab', 'ann', 'bob', 1) $$, 'LY001', NULL, 'no such program');
SELECT pg_temp.refused($$ SELECT transfer('club', 'ann', 'bob', 1, currency => 'dollars') $$, 'LY003', NULL, 'no such currency');
SELECT pg_temp.refused(format('SELECT transfer(%s)', args), '22004', NULL, 'NULL: ' || args)
FROM unnest(ARRAY[$$NULL, 'ann', 'bob', 1$$, $$'club', NULL, 'bob', 1$$, $$'club', 'ann', NULL, 1$$, $$'club', 'ann', 'bob', NULL$$]) args;
SELECT pg_temp.refused($$ SELECT transfer('club', 'ann', 'bob', 25, 't1') $$, 'LY305', NULL, 'the id with another reason');
SELECT pg_temp.refused($$ SELECT transfer('club', 'ann', 'bob', 24, 't1', 'a birthday') $$, 'LY305', NULL, 'with other points');
SELECT pg_temp.refused($$ SELECT transfer('club', 'bob', 'ann', 25, 't1', 'a birthday') $$, 'LY305', NULL, 'the other way');
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', 15, 't1') $$, 'LY305', NULL, 'of another call');
SELECT is(pg_temp.all_there_is(), b.all_there_is, 'a refusal leaves no trace') FROM before b;

-- ---- Held points stay; the account with the higher id gives to the one with the lower
SELECT hold('club', 'bob', 20, '1 day') > 0;
SELECT pg_temp.refused($$ SELECT transfer('club', 'bob', 'ann', 11) $$, 'LY301', '1 points are missing.', 'what is held can''t be given away');
SELECT is(pg_temp.paid(transfer('club', 'bob', 'ann', 10)), '2:-10', 'what is free can');
SELECT is(pg_temp.has('ann'), '25 free, 540 earned, 0 redeemed', 'and comes back to its lot');
SELECT results_eq($$ SELECT lot_no, remaining, credited FROM lots WHERE member = 'ann' AND state = 'live' $$, $$ VALUES (2, 25.0, 40.0) $$, '15 + 10');
SELECT is_empty('SELECT * FROM verify()', 'verify() agrees: beside a hold');

-- ---- A currency of which neither has an account yet
SELECT pg_temp.refused($$ SELECT transfer('club', 'bob', 'ann', 1, currency => 'miles') $$, 'LY301', '1 points are missing.', 'nothing to give');
SELECT adjust('club', 'ann', 7, 'found', currency => 'miles') > 0;
SELECT transfer('club', 'ann', 'bob', 3, currency => 'miles') > 0;
SELECT is(pg_temp.has('ann', 'miles') || '; ' || pg_temp.has('bob', 'miles'), '4 free, 0 earned, 0 redeemed; 3 free, 0 earned, 0 redeemed', 'the receiver''s account is opened');
SELECT is(balance('club', 'bob', 'infinity', 'miles')::numeric, 3.0, 'points that never end still don''t');

-- ---- A refund after the gift: ann's points are gone, bob's are his
UPDATE public.orders SET refunded = 30 WHERE id = 2;
SELECT is(pg_temp.has('ann'), '0 free, 515 earned, 0 redeemed', 'hers are taken, and the rest let off');
SELECT is(pg_temp.has('bob'), '0 free, 5 earned, 0 redeemed', 'bob''s 20 are held');
SELECT is_empty('SELECT * FROM verify()', 'verify() agrees: after a refund');

-- ---- Debts
CREATE TABLE public.sales (LIKE public.orders INCLUDING ALL);
SELECT create_program('firm', debt => 'block') > 0, create_program('owing', debt => 'negative') > 0;
SELECT add_rule(p, 'base', points_per => 1) > 0, attach('public.sales', p, 'who', amount => 'amount', refunded => 'refunded', event_time => 'at') > 0
FROM unnest('{firm,owing}'::text[]) p;
INSERT INTO public.sales VALUES (1, 'eve', 50, 0, '2020-05-01 12:00+00'), (2, 'fay', 100, 0, '2020-05-01 12:00+00');
SELECT redeem('firm', 'eve', 50) > 0, redeem('owing', 'eve', 50) > 0;
UPDATE public.sales SET refunded = 40 WHERE id = 1;
SELECT is(pg_temp.paid(e.entry_id), '0:30', 'what is received repays the debt first')
FROM entries e, transfer('owing', 'fay', 'eve', 30) t WHERE e.line = t::text;
SELECT is(pg_temp.paid(e.entry_id), '0:10 2:5', 'and only the rest is a lot')
FROM entries e, transfer('owing', 'fay', 'eve', 15) t WHERE e.line = t::text;
SELECT results_eq($$ SELECT available, debt FROM balances WHERE program = 'owing' AND member = 'eve' $$, $$ VALUES (5::numeric, 0::numeric) $$, '-40 + 30 + 15');
SELECT pg_temp.refused($$ SELECT transfer('firm', 'eve', 'fay', 1) $$, 'LY302', NULL, 'who may not redeem may not give away');
SELECT transfer('firm', 'fay', 'eve', 40) > 0;
SELECT results_eq($$ SELECT available, debt FROM balances WHERE program = 'firm' AND member = 'eve' $$, $$ VALUES (0::numeric, 0::numeric) $$, 'but may be helped');
SELECT is(sum(points), 0.0, 'a transfer makes and loses nothing') FROM entries WHERE kind = 'transfer';
SELECT pg_temp.balanced('at the end');
SELECT is_empty('SELECT * FROM verify()', 'verify() agrees: at the end');

SELECT * FROM finish();
ROLLBACK;
