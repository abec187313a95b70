-- redeem, adjust: which lots pay, what is refused, what a repeated call answers
\ir include/begin.psql

-- Points live for a century, to the end of a year: what was earned in 2020 is spendable
-- until 2121, what was earned in 1900 has been dead since 2001.
SELECT create_program('club', validity => '100 years', validity_rounding => 'year') > 0;
\ir include/orders.psql

-- ---- Order: booked in the order 1 (2022), 2 (June 2020), 3 (March 2020), 4 (2021), 5 (dead).
-- Lots 2 and 3 end together; the earlier award pays first though it was booked later.
INSERT INTO public.orders (id, who, amount, at) VALUES (1, 'ann', 10, '2022-05-01 12:00+00');
INSERT INTO public.orders (id, who, amount, at) VALUES (2, 'ann', 20, '2020-06-01 12:00+00');
INSERT INTO public.orders (id, who, amount, at) VALUES (3, 'ann', 30, '2020-03-01 12:00+00');
INSERT INTO public.orders (id, who, amount, at) VALUES (4, 'ann', 40, '2021-05-01 12:00+00');
INSERT INTO public.orders (id, who, amount, at) VALUES (5, 'ann', 500, '1900-05-01 12:00+00');
SELECT results_eq($$ SELECT lot_no, expires_at, remaining, state FROM lots WHERE member = 'ann' ORDER BY 1 $$,
	$$ VALUES (1, '2123-01-01 00:00+00'::timestamptz, 10::numeric, 'live'), (2, '2121-01-01 00:00+00', 20, 'live'),
	          (3, '2121-01-01 00:00+00', 30, 'live'), (4, '2122-01-01 00:00+00', 40, 'live'),
	          (5, '2001-01-01 00:00+00', 500, 'expired') $$, 'five lots, one of them dead and not booked');
SELECT is(balance('club', 'ann')::numeric, 100.0, 'the dead lot counts for nothing');
SELECT is(pg_temp.paid(redeem('club', 'ann', 25)), '3:-25', 'soonest end first; of equal ends the earlier award');
SELECT is(pg_temp.paid(redeem('club', 'ann', 30)), '3:-5 2:-20 4:-5', 'then what is left of it, the later award, the next end');
SELECT is(balance('club', 'ann')::numeric, 45.0, '100 - 25 - 30');
SELECT pg_temp.balanced('after two redemptions');

-- ---- Too many, by one; nothing changes.
CREATE TEMP TABLE before AS SELECT (SELECT count(*) FROM entry) AS entries, (SELECT count(*) FROM allocation) AS allocations,
	(SELECT count(*) FROM request) AS requests, (SELECT sum(remaining::numeric) FROM lot) AS points,
	(SELECT string_agg(a::text, ';' ORDER BY account_id) FROM account a) AS accounts;
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', 46, 'one-too-many') $$, 'LY301', '1 points are missing.', 'one too many');
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', 545) $$, 'LY301', '500 points are missing.', 'the dead lot does not pay');
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', 9000000000000::bigint) $$, 'LY301', '8999999999955 points are missing.', 'very many too many');
SELECT pg_temp.refused($$ SELECT adjust('club', 'ann', -46, 'mistake') $$, 'LY301', '1 points are missing.', 'an adjustment takes no more than there is');
SELECT results_eq('TABLE before', $$ SELECT (SELECT count(*) FROM entry) AS entries, (SELECT count(*) FROM allocation) AS allocations,
	(SELECT count(*) FROM request) AS requests, (SELECT sum(remaining::numeric) FROM lot) AS points,
	(SELECT string_agg(a::text, ';' ORDER BY account_id) FROM account a) AS accounts $$, 'a refusal leaves no trace');
SELECT is(pg_temp.paid(redeem('club', 'ann', 45, 'one-too-many')), '4:-35 1:-10', 'all there is, under the id that was refused');
SELECT is(balance('club', 'ann')::numeric, 0.0, 'nothing left');
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', 1) $$, 'LY301', '1 points are missing.', 'nothing can be taken from nothing');
SELECT pg_temp.balanced('after the last point');

-- ---- What is no amount of points, nobody, nothing
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', 0) $$, 'LY304', NULL, 'zero points');
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', -5) $$, 'LY304', NULL, 'negative points');
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', '0.5') $$, 'LY304', 'The currency has 0 decimals.', 'half a point of a currency without decimals');
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', '-922337203685477.5808') $$, 'LY304', NULL, 'the least points there are');
SELECT pg_temp.refused($$ SELECT adjust('club', 'ann', 0, 'nothing') $$, 'LY304', 'It is of 0 points.', 'an adjustment by nothing');
SELECT pg_temp.refused($$ SELECT adjust('club', 'ann', '-0.5', 'half') $$, 'LY304', 'The currency has 0 decimals.', 'an adjustment by half a point');
SELECT pg_temp.refused($$ SELECT adjust('club', 'ann', 5, NULL) $$, 'LY304', NULL, 'an adjustment without a reason');
SELECT pg_temp.refused($$ SELECT adjust('club', 'ann', 5, '') $$, 'LY304', NULL, 'an adjustment with an empty reason');
SELECT throws_ok($$ SELECT adjust('club', 'ann', '-922337203685477.5808', 'all') $$, '22003', NULL, 'an adjustment that has no opposite');
SELECT pg_temp.refused($$ SELECT redeem('nowhere', 'ann', 1) $$, 'LY001', NULL, 'no such program');
SELECT pg_temp.refused($$ SELECT redeem('Club', 'ann', 1) $$, 'LY001', NULL, 'codes are compared byte by byte');
SELECT pg_temp.refused($$ SELECT redeem('club', 'nobody', 1) $$, 'LY002', NULL, 'no such member');
SELECT pg_temp.refused($$ SELECT redeem('club', 'Ann', 1) $$, 'LY002', NULL, 'members are compared byte by byte');
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', 1, currency => 'gems') $$, 'LY003', '%gems%', 'no such currency');
SELECT pg_temp.refused($$ SELECT adjust('nowhere', 'ann', 1, 'x') $$, 'LY001', NULL, 'adjust: no such program');
SELECT pg_temp.refused($$ SELECT adjust('club', 'nobody', 1, 'x') $$, 'LY002', NULL, 'adjust: no such member');
SELECT pg_temp.refused($$ SELECT adjust('club', 'ann', 1, 'x', currency => 'gems') $$, 'LY003', '%gems%', 'adjust: no such currency');
SELECT pg_temp.refused($$ SELECT redeem(NULL, 'ann', 1) $$, '22004', NULL, 'NULL program');
SELECT pg_temp.refused($$ SELECT redeem('club', NULL, 1) $$, '22004', NULL, 'NULL member');
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', NULL) $$, '22004', NULL, 'NULL points');
SELECT pg_temp.refused($$ SELECT adjust('club', 'ann', NULL, 'x') $$, '22004', NULL, 'adjust: NULL points');

-- ---- Pending lots: two centuries pending, of three
CREATE TABLE public.stays (id int PRIMARY KEY, who text, amount numeric, at timestamptz);
SELECT create_program('inn', pending => '200 years', validity => '300 years') > 0;
SELECT add_rule('inn', 'base', points_per => 1) > 0;
SELECT attach('public.stays', 'inn', 'who', amount => 'amount', event_time => 'at') > 0;
INSERT INTO public.stays VALUES (1, 'ann', 70, '2020-05-01 12:00+00'), (2, 'ann', 7, '1800-05-01 12:00+00'), (3, 'ann', 9, '1700-05-01 12:00+00');
SELECT results_eq($$ SELECT available, pending FROM balances WHERE program = 'inn' $$, $$ VALUES (7::numeric, 70::numeric) $$,
	'one lot lives, one is pending, one is dead');
SELECT pg_temp.refused($$ SELECT redeem('inn', 'ann', 8) $$, 'LY301', '1 points are missing.', 'pending points can''t be spent');
SELECT pg_temp.refused($$ SELECT adjust('inn', 'ann', -8, 'mistake') $$, 'LY301', '1 points are missing.', 'nor taken by hand');
SELECT is(pg_temp.paid(redeem('inn', 'ann', 7)), '2:-7', 'the live lot pays: the second, as awards are booked in the order of their events');
SELECT pg_temp.balanced('with a pending and a dead lot');

-- ---- Request ids
SELECT enrol('club', 'bob') > 0, enrol('inn', 'bob') > 0;
INSERT INTO public.orders (id, who, amount, at) VALUES (10, 'bob', 100, '2020-05-01 12:00+00'), (11, 'cyd', 100, '2020-05-01 12:00+00');
INSERT INTO public.stays VALUES (10, 'bob', 100, '1800-05-01 12:00+00');
CREATE TEMP TABLE said AS SELECT redeem('club', 'bob', 60, 'r1', 'mug') AS id;
SELECT is(redeem('club', 'bob', 60, 'r1', 'mug'), id, 'the same call answers the same') FROM said;
SELECT is(balance('club', 'bob')::numeric, 40.0, 'and takes nothing twice');
SELECT redeem('club', 'bob', 40, 'r2') > 0;
SELECT is(redeem('club', 'bob', 60, 'r1', 'mug'), id, 'also when there are no points left') FROM said;
SELECT is(redeem('club', 'bob', '60.0', 'r1', 'mug', 'points'), id, 'however the points are written, the currency named or not') FROM said;
SELECT giveback(id) > 0 FROM said;
SELECT is(redeem('club', 'bob', 60, 'r1', 'mug'), id, 'also when it was given back') FROM said;
SELECT is(balance('club', 'bob')::numeric, 60.0, 'that changed nothing');
SELECT pg_temp.refused($$ SELECT redeem('club', 'bob', 59, 'r1', 'mug') $$, 'LY305', NULL, 'other points');
SELECT pg_temp.refused($$ SELECT redeem('club', 'bob', 60, 'r1', 'cup') $$, 'LY305', NULL, 'another reason');
SELECT pg_temp.refused($$ SELECT redeem('club', 'bob', 60, 'r1') $$, 'LY305', NULL, 'no reason');
SELECT pg_temp.refused($$ SELECT redeem('club', 'bob', 40, 'r2', '') $$, 'LY305', NULL, 'an empty reason instead of none');
SELECT pg_temp.refused($$ SELECT redeem('club', 'cyd', 60, 'r1', 'mug') $$, 'LY305', NULL, 'another member');
SELECT pg_temp.refused($$ SELECT adjust('club', 'bob', -60, 'mug', 'r1') $$, 'LY305', NULL, 'another call');
SELECT pg_temp.refused($$ SELECT giveback((SELECT id FROM said), 60, 'r1', 'mug') $$, 'LY305', NULL, 'its own giveback');
SELECT isnt(redeem('inn', 'bob', 60, 'r1', 'mug'), id, 'the same id in another program is another call') FROM said;
SELECT is(balance('inn', 'bob')::numeric, 40.0, 'which takes points there');
SELECT is(balance('club', 'cyd')::numeric, 100.0, 'and none of those that were refused');
CREATE TEMP TABLE added AS SELECT adjust('club', 'cyd', 5, 'sorry', 'a1') AS id;
SELECT is(adjust('club', 'cyd', 5, 'sorry', 'a1'), id, 'a repeated adjustment answers the same') FROM added;
SELECT pg_temp.refused($$ SELECT redeem('club', 'bob', 1, '') $$, 'LY312', NULL, 'an empty id is none');
SELECT pg_temp.refused($$ SELECT adjust('club', 'cyd', -5, 'sorry', '') $$, 'LY312', NULL, 'nor of an adjustment');
SELECT pg_temp.refused($$ SELECT adjust('club', 'cyd', -5, 'sorry', 'a1') $$, 'LY305', NULL, 'the other direction is another call');
SELECT is(balance('club', 'cyd')::numeric, 105.0, 'given once');
SELECT results_eq($$ SELECT kind, points, reason FROM entries JOIN added ON entry_id = id $$,
	$$ VALUES ('adjust', 5::numeric, 'sorry') $$, 'the entry keeps the reason');
SELECT is(redeem('club', 'cyd', 5) <> redeem('club', 'cyd', 5), true, 'without an id two calls are two redemptions');
SELECT is(balance('club', 'cyd')::numeric, 95.0, '105 - 5 - 5');
SELECT pg_temp.balanced('after repeated calls');

-- ---- Adjustments down take as a redemption does, and count as neither earned nor redeemed
INSERT INTO public.orders (id, who, amount, at) VALUES (20, 'dee', 10, '2021-05-01 12:00+00'), (21, 'dee', 10, '2020-05-01 12:00+00');
SELECT is(pg_temp.paid(adjust('club', 'dee', -12, 'fraud')), (SELECT format('%s:-10 %s:-2', max(lot_no) FILTER (WHERE expires_at < '2122-01-01'),
	max(lot_no) FILTER (WHERE expires_at >= '2122-01-01')) FROM lots WHERE program = 'club' AND member = 'dee'), 'soonest end first');
SELECT results_eq($$ SELECT available, earned, redeemed, expired FROM balances WHERE member = 'dee' $$,
	$$ VALUES (8::numeric, 20::numeric, 0::numeric, 0::numeric) $$, 'totals after an adjustment');

-- ---- Debt: a refund of spent points
CREATE TABLE public.sales (LIKE public.orders INCLUDING ALL);
SELECT create_program('owing', debt => 'negative') > 0, create_program('strict', debt => 'block') > 0, create_program('kind') > 0;
SELECT add_rule(p, 'base', points_per => 1) > 0, attach('public.sales', p, 'who', amount => 'amount', refunded => 'refunded', event_time => 'at') > 0
FROM unnest('{owing,strict,kind}'::text[]) p;
INSERT INTO public.sales VALUES (1, 'ann', 100, 0, '2020-05-01 12:00+00');
SELECT redeem('owing', 'ann', 80) > 0, redeem('strict', 'ann', 80) > 0, redeem('kind', 'ann', 80) > 0;
UPDATE public.sales SET refunded = 50 WHERE id = 1;
SELECT results_eq($$ SELECT program, available, debt FROM balances WHERE program IN ('owing', 'strict', 'kind') ORDER BY 1 $$,
	$$ VALUES ('kind', 0::numeric, 0::numeric), ('owing', -30, 30), ('strict', -30, 30) $$, '50 taken of 20: 30 owed, or let off');
SELECT pg_temp.refused($$ SELECT redeem('strict', 'ann', 1) $$, 'LY302', NULL, 'blocked');
SELECT pg_temp.refused($$ SELECT redeem('owing', 'ann', 1) $$, 'LY301', '31 points are missing.', 'in debt: what is missing includes the debt');
SELECT pg_temp.refused($$ SELECT adjust('strict', 'ann', -1, 'x') $$, 'LY301', '31 points are missing.', 'an adjustment takes no points that are owed');
SELECT pg_temp.balanced('in debt');
SELECT is(pg_temp.paid(adjust('owing', 'ann', 10, 'part')), '0:10', 'a credit repays the debt');
SELECT results_eq($$ SELECT available, debt FROM balances WHERE program = 'owing' $$, $$ VALUES (-20::numeric, 20::numeric) $$, 'in part');
INSERT INTO public.sales VALUES (2, 'ann', 25, 0, '2020-06-01 12:00+00');
SELECT results_eq($$ SELECT program, available, debt FROM balances WHERE program IN ('owing', 'strict', 'kind') ORDER BY 1 $$,
	$$ VALUES ('kind', 25::numeric, 0::numeric), ('owing', 5, 0), ('strict', -5, 5) $$, 'the next award repays before it opens a lot');
SELECT pg_temp.refused($$ SELECT redeem('strict', 'ann', 1) $$, 'LY302', NULL, 'blocked until all is repaid');
SELECT is(pg_temp.paid(adjust('strict', 'ann', 5, 'rest')), '0:5', 'exactly the debt opens no lot');
SELECT pg_temp.refused($$ SELECT redeem('strict', 'ann', 1) $$, 'LY301', '1 points are missing.', 'no longer blocked, only empty');
SELECT adjust('strict', 'ann', 1, 'one') > 0;
SELECT ok(redeem('strict', 'ann', 1) > 0, 'and spends again');
SELECT pg_temp.balanced('debts repaid');

-- ---- A transaction that only reads moves no point
SELECT throws_ok(format('DO $do$ BEGIN SET LOCAL transaction_read_only = on; PERFORM loyalty.%s; END $do$', call), '25006',
	'cannot execute a posting of points in a read-only transaction', 'read only: ' || call)
FROM unnest(ARRAY[$$redeem('club', 'bob', 1)$$, $$adjust('club', 'bob', 1, 'no')$$, $$giveback(entry_id) FROM loyalty.entries WHERE kind = 'redeem' LIMIT 1$$]) call;

-- ---- Currencies of one program do not mix
SELECT create_currency('club', 'miles', decimals => 2) > 0;
SELECT is(balance('club', 'bob', currency => 'miles')::numeric, 0.0, 'no account yet');
SELECT pg_temp.refused($$ SELECT redeem('club', 'bob', '0.01', currency => 'miles') $$, 'LY301', '0.01 points are missing.', 'points do not pay for miles');
SELECT adjust('club', 'bob', '7.25', 'miles', currency => 'miles') > 0;
SELECT pg_temp.refused($$ SELECT redeem('club', 'bob', '7.255', currency => 'miles') $$, 'LY304', 'The currency has 2 decimals.', 'finer than the currency');
SELECT pg_temp.refused($$ SELECT redeem('club', 'bob', '7.26', currency => 'miles') $$, 'LY301', '0.01 points are missing.', 'a hundredth too many');
SELECT ok(redeem('club', 'bob', '7.25', 'm1', currency => 'miles') > 0, 'exactly all');
SELECT pg_temp.refused($$ SELECT redeem('club', 'bob', '7.25', 'm1') $$, 'LY304', NULL, 'not in points: too fine');
SELECT results_eq($$ SELECT currency, available FROM balances WHERE program = 'club' AND member = 'bob' ORDER BY 1 $$,
	$$ VALUES ('miles', 0::numeric), ('points', 60) $$, 'each for itself');
SELECT adjust('club', 'bob', 5, 'x', currency => 'miles') > 0;
SELECT ok(redeem('club', 'bob', 5, 'm2', currency => 'miles') > 0, 'five miles');
SELECT pg_temp.refused($$ SELECT redeem('club', 'bob', 5, 'm2') $$, 'LY305', NULL, 'five points under the same id');
SELECT pg_temp.balanced('at the end');

SELECT * FROM finish();
ROLLBACK;
