-- pool: several members' points pay together, soonest end first, and each gets its own back
\ir include/begin.psql

SELECT create_program('club', validity => '100 years', validity_rounding => 'year', decimals => 1, ladder => 'basic:0, silver:40') > 0;
SELECT create_currency('club', 'miles') > 0, create_program('other') > 0;
\ir include/orders.psql
SELECT enrol('club', m) > 0 FROM unnest('{ann,bob,cat,dan}'::text[]) WITH ORDINALITY u (m, n) ORDER BY n;

-- Who paid a redemption, or got what back by a giveback of it: member:lot:points, in that order.
CREATE FUNCTION pg_temp.payments(redemption bigint) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s:%s:%s', a.member_key, o.lot_no, trim_scale(- o.points::numeric)), ' ' ORDER BY y.payment_no)
	FROM loyalty.pool_payment y JOIN loyalty.account a ON a.account_id = y.payer_id
	JOIN loyalty.allocation o ON (o.account_id, o.entry_no, o.allocation_no) = (y.payer_id, y.payer_entry, y.allocation_no)
	WHERE y.account_id = redemption / 100000000 AND y.entry_no = redemption % 100000000
$$;
CREATE FUNCTION pg_temp.given(since bigint[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s:%s:%s', a.member_key, o.lot_no, trim_scale(o.points::numeric)), ' ' ORDER BY e.account_id, o.allocation_no)
	FROM loyalty.entry e JOIN loyalty.account a USING (account_id) JOIN loyalty.allocation o USING (account_id, entry_no)
	WHERE e.kind = 'giveback' AND e.account_id * 100000000 + e.entry_no <> ALL (since)
$$;
CREATE FUNCTION pg_temp.givebacks() RETURNS bigint[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(account_id * 100000000 + entry_no), '{}') FROM loyalty.entry WHERE kind = 'giveback'
$$;
-- Gives back and says who got what, the lowest account first.
CREATE FUNCTION pg_temp.back(redemption bigint, points loyalty.points DEFAULT NULL, grace interval DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	before bigint[] := pg_temp.givebacks();
BEGIN
	PERFORM loyalty.giveback(redemption, points, grace => grace);
	RETURN pg_temp.given(before);
END $$;
CREATE FUNCTION pg_temp.has(who text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s:%s', lot_no, trim_scale(remaining)), ' ' ORDER BY lot_no) FROM loyalty.lots WHERE member = who AND program = 'club' AND currency = 'points'
$$;
CREATE FUNCTION pg_temp.all_there_is() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	name text;
	rows text;
	answer text := '';
BEGIN
	FOREACH name IN ARRAY '{entry,lot,allocation,hold,account,request,pool,pool_member,pool_payment}'::text[] LOOP
		EXECUTE format('SELECT string_agg(x::text, '';'' ORDER BY x::text) FROM loyalty.%I x', name) INTO rows;
		answer := answer || coalesce(rows, '') || '|';
	END LOOP;
	RETURN md5(answer);
END $$;
-- Time can't be made to pass: lots are made to have died instead.
CREATE FUNCTION pg_temp.die(who text, no int, at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL session_replication_role = replica;
	UPDATE loyalty.lot l SET expires_at = at FROM loyalty.account a JOIN loyalty.currency c USING (currency_id)
	WHERE l.account_id = a.account_id AND a.member_key = who AND c.is_default AND l.lot_no = no;
	UPDATE loyalty.account a SET as_of = '-infinity', next_change = '-infinity' FROM loyalty.currency c
	WHERE c.currency_id = a.currency_id AND a.member_key = who AND c.is_default;
	PERFORM pg_temp.rehash();
	SET LOCAL session_replication_role = origin;
END $$;

-- ---- A household. Ends: ann 2121, bob 2122; then three of 2123, the earlier award first, then the lower account
INSERT INTO public.orders (id, who, amount, at) VALUES
	(1, 'ann', 10, '2020-05-01 12:00+00'), (2, 'ann', 30, '2022-05-02 12:00+00'),
	(3, 'bob', 20, '2021-05-01 12:00+00'), (4, 'bob', 30, '2022-05-01 12:00+00'),
	(5, 'cat', 7, '2022-05-02 12:00+00'), (6, 'ann', 500, '1900-05-01 12:00+00');
SELECT create_pool('club', 'home') > 0;
SELECT is((pool_balance('club', 'home'))::numeric, 0.0, 'nobody is in it');
SELECT join_pool('club', 'home', m) FROM unnest('{cat,ann,bob}'::text[]) m;
SELECT results_eq($$ SELECT pool_balance('club', 'home')::numeric, pool_balance('club', 'home', member => 'cat')::numeric $$,
	$$ VALUES (97.0, 97.0) $$, '40 + 50 + 7; what died long ago is not there');
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'home', 'cat', '97.1') $$, 'LY301', '0.1 points are missing.', 'more than they have together');
CREATE TEMP TABLE r AS SELECT redeem_pool('club', 'home', 'cat', 75, 'r1', 'a holiday') AS id;
SELECT is(pg_temp.payments(id), 'ann:2:10 bob:1:20 bob:2:30 ann:3:15', 'the soonest end of all, then the earlier award, then the lower account') FROM r;
SELECT results_eq($$ SELECT e.member::text COLLATE "default", e.kind, e.points, e.reason, e.entry_id = id, e.line = format('%s/%s/%s', id, pool_id, member_id)
	FROM r, entries e, loyalty.pool l, loyalty.member m WHERE e.kind = 'redeem' AND l.code = 'home' AND m.member = 'cat' AND m.program_id = l.program_id ORDER BY e.entry_id $$,
	$$ VALUES ('ann', 'redeem', -25.0, 'a holiday', true, true), ('bob', 'redeem', -50.0, 'a holiday', false, true) $$,
	'an entry of each who paid, the first of which names them all; and of nobody else');
SELECT results_eq($$ SELECT member::text COLLATE "default", paid_by::text COLLATE "default", redemption_id = id, points, returned, reason FROM pool_redemptions, r ORDER BY entry_id $$,
	$$ VALUES ('cat', 'ann', true, 25.0, 0.0, 'a holiday'), ('cat', 'bob', true, 50.0, 0.0, 'a holiday') $$, 'who redeemed, and who paid');
SELECT is(redeem_pool('club', 'home', 'cat', 75, 'r1', 'a holiday'), id, 'the same call answers the same') FROM r;
SELECT results_eq($$ SELECT member::text COLLATE "default", available, redeemed, tier FROM balances WHERE program = 'club' AND member <> 'dan' ORDER BY member $$,
	$$ VALUES ('ann', 15.0, 25.0, 'silver'), ('bob', 0.0, 50.0, 'silver'), ('cat', 7.0, 0.0, 'basic') $$, 'each spent its own, once; and no tier fell');
SELECT is((SELECT balance FROM statement('club', m, '-infinity', now() + interval '1 day') WHERE kind = 'closing'), balance('club', m)::numeric, 'the statement of ' || m || ' adds up')
FROM unnest('{ann,bob,cat}'::text[]) m;
SELECT is(balance_as_known('club', m, now(), now()), balance('club', m), 'as known now: ' || m) FROM unnest('{ann,bob,cat}'::text[]) m;
SELECT is((SELECT sum(points_redeemed) FROM kpi_daily WHERE program = 'club'), 75.0, 'the KPIs count it once');
SELECT results_eq($$ SELECT (SELECT sum(points) FROM points_liability WHERE program = 'club'), (SELECT sum(redeemed) FROM points_development('club')) $$,
	$$ VALUES (22.0, 75.0) $$, 'and so does the liability: 97 less 75 are outstanding');
SELECT pg_temp.balanced('after a redemption');
SELECT is_empty('SELECT * FROM verify()', 'verify() agrees: after a redemption');

-- ---- Each gets its own back, the last that paid first, in parts
SELECT is(pg_temp.back(id, 20), 'ann:3:15 bob:2:5', 'the last lot that paid is ann''s, the one before bob''s') FROM r;
CREATE TEMP TABLE g AS SELECT giveback(id, '3.5', 'g1', 'one ticket') AS id FROM r;
SELECT results_eq($$ SELECT e.member::text COLLATE "default", e.points, e.reason, x.line = p.line FROM g JOIN entries e ON e.entry_id = g.id
		JOIN loyalty.entry x ON x.account_id * 100000000 + x.entry_no = g.id JOIN entries p ON p.entry_id = (SELECT id FROM r) $$,
	$$ VALUES ('bob', 3.5, 'one ticket', true) $$, 'the next part goes on where the last one stopped, and names the redemption');
SELECT is(giveback(r.id, '3.5', 'g1', 'one ticket'), g.id, 'the same call answers the same') FROM r, g;
SELECT results_eq('SELECT pg_temp.has(m) FROM unnest(''{ann,bob,cat}''::text[]) m', $$ VALUES ('1:500 2:0 3:30'), ('1:0 2:8.5'), ('1:7') $$, '15 of 15, 5 + 3.5 of 30');
SELECT pg_temp.refused(format('SELECT giveback(%s, ''51.6'')', id), 'LY303', '51.5 points of this redemption are left to give back.', 'a tenth too many') FROM r;
SELECT pg_temp.refused(format('SELECT giveback(%s)', entry_id), 'LY004', NULL, 'a part of it is no redemption of its own') FROM pool_redemptions WHERE paid_by = 'bob';
SELECT pg_temp.refused(format('SELECT giveback(%s, 4, ''g1'', ''one ticket'')', id), 'LY305', NULL, 'the id of another giveback') FROM r;
SELECT results_eq($$ SELECT paid_by::text COLLATE "default", points, returned FROM pool_redemptions ORDER BY entry_id $$, $$ VALUES ('ann', 25.0, 15.0), ('bob', 50.0, 8.5) $$, 'the view tells');
SELECT is_empty('SELECT * FROM verify()', 'verify() agrees: given back in part');
SELECT is(pg_temp.back(id), 'ann:2:10 bob:2:21.5 bob:1:20', 'all the rest') FROM r;
SELECT results_eq($$ SELECT member::text COLLATE "default", lot_no, remaining, expires_at FROM lots WHERE state = 'live' ORDER BY 1, 2 $$,
	$$ VALUES ('ann', 2, 10.0, '2121-01-01 00:00+00'::timestamptz), ('ann', 3, 30.0, '2123-01-01 00:00+00'), ('bob', 1, 20.0, '2122-01-01 00:00+00'),
		('bob', 2, 30.0, '2123-01-01 00:00+00'), ('cat', 1, 7.0, '2123-01-01 00:00+00') $$, 'all as it was, with the ends they had');
SELECT pg_temp.refused(format('SELECT giveback(%s)', id), 'LY303', '0% points of this redemption are left to give back.', 'nothing is left') FROM r;
SELECT is(redeem_pool('club', 'home', 'cat', 75, 'r1', 'a holiday'), id, 'the first answer stays the answer') FROM r;
SELECT results_eq($$ SELECT (SELECT sum(points) FROM points_liability WHERE program = 'club'), (SELECT sum(redeemed) FROM points_development('club')) $$,
	$$ VALUES (97.0, 0.0) $$, 'outstanding again');
SELECT pg_temp.balanced('all given back');
SELECT is_empty('SELECT * FROM verify()', 'verify() agrees: all given back');

-- ---- Refused, without a trace
CREATE TEMP TABLE before AS SELECT pg_temp.all_there_is();
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'home', 'cat', 0) $$, 'LY304', NULL, 'no points');
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'home', 'cat', -1) $$, 'LY304', NULL, 'negative points');
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'home', 'cat', '0.05') $$, 'LY304', 'The currency has 1 decimals.', 'points too fine');
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'home', 'zoe', 1) $$, 'LY002', NULL, 'a stranger');
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'home', 'dan', 1) $$, 'LY361', NULL, 'who is not in the pool');
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'hame', 'cat', 1) $$, 'LY030', NULL, 'no such pool');
SELECT pg_temp.refused($$ SELECT redeem_pool('other', 'home', 'cat', 1) $$, 'LY030', NULL, 'the pool of another program');
SELECT pg_temp.refused($$ SELECT redeem_pool('clab', 'home', 'cat', 1) $$, 'LY001', NULL, 'no such program');
SELECT pg_temp.refused(format('SELECT redeem_pool(%s)', args), '22004', NULL, 'NULL: ' || args)
FROM unnest(ARRAY[$$NULL, 'home', 'cat', 1$$, $$'club', NULL, 'cat', 1$$, $$'club', 'home', NULL, 1$$, $$'club', 'home', 'cat', NULL$$]) args;
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'home', 'cat', 75, 'r1') $$, 'LY305', NULL, 'the id with another reason');
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'home', 'cat', 74, 'r1', 'a holiday') $$, 'LY305', NULL, 'with other points');
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'home', 'ann', 75, 'r1', 'a holiday') $$, 'LY305', NULL, 'by another member');
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', 1, 'r1') $$, 'LY305', NULL, 'of another call');
SELECT pg_temp.refused($$ SELECT create_pool('club', 'home') $$, 'LY009', NULL, 'a second pool of that code');
SELECT pg_temp.refused($$ SELECT create_pool('club', '') $$, 'LY110', NULL, 'a pool without a code');
SELECT pg_temp.refused($$ SELECT create_pool('club', 'x', 'dollars') $$, 'LY003', 'It was asked for "dollars".', 'of no such currency');
SELECT pg_temp.refused($$ SELECT create_pool('clab', 'x') $$, 'LY001', NULL, 'in no such program');
SELECT pg_temp.refused(format('SELECT join_pool(''club'', ''home'', %s)', args), state, NULL, 'join: ' || args)
FROM (VALUES ($$'zoe'$$, 'LY002'), ($$NULL$$, '22004'), ($$'dan', share => 1.1$$, 'LY110'), ($$'dan', share => -0.1$$, 'LY110'), ($$'dan', share => 'NaN'$$, 'LY110'),
	($$'dan', share => 0.00001$$, 'LY110'), ($$'dan', share => NULL$$, '22004'), ($$'dan', redeems => NULL$$, '22004'), ($$'dan', keep => NULL$$, '22004'),
	($$'dan', keep => -1$$, 'LY110'), ($$'dan', keep => '0.05'$$, 'LY110')) v (args, state);
SELECT pg_temp.refused($$ SELECT join_pool('club', 'hame', 'dan') $$, 'LY030', NULL, 'join: no such pool');
SELECT pg_temp.refused($$ SELECT leave_pool('club', 'home', 'dan') $$, 'LY361', NULL, 'leave: who is not in it');
SELECT pg_temp.refused($$ SELECT leave_pool('club', 'home', 'zoe') $$, 'LY002', NULL, 'leave: a stranger');
SELECT pg_temp.refused($$ SELECT close_pool('club', 'hame') $$, 'LY030', NULL, 'close: no such pool');
SELECT pg_temp.refused($$ SELECT pool_balance('club', 'hame') $$, 'LY030', NULL, 'balance: no such pool');
SELECT pg_temp.refused($$ SELECT pool_balance('club', 'home', member => 'zoe') $$, 'LY002', NULL, 'balance: of a stranger');
SELECT pg_temp.refused($$ SELECT pool_balance('club', 'home', member => 'dan') $$, 'LY361', NULL, 'balance: of who is not in it');
SELECT pg_temp.refused($$ SELECT pool_balance('club', 'home', NULL) $$, '22004', NULL, 'balance: at no time');
SELECT pg_temp.refused($$ DELETE FROM loyalty.pool_member $$, 'LY401', NULL, 'members are not deleted');
SELECT pg_temp.refused($$ TRUNCATE loyalty.pool $$, 'LY401', NULL, 'nor pools');
SELECT pg_temp.refused($$ UPDATE loyalty.pool_payment SET allocation_no = 1 $$, 'LY401', NULL, 'nor payments changed');
SELECT is(pg_temp.all_there_is(), b.all_there_is, 'a refusal leaves no trace') FROM before b;

-- ---- Permissions: bob lends half of what he has at a time, and keeps 20; cat lends nothing and does not redeem
SELECT join_pool('club', 'home', 'bob', share => 0.5, keep => 20), join_pool('club', 'home', 'cat', redeems => false, share => 0);
SELECT results_eq($$ SELECT m, pool_balance('club', 'home', member => m)::numeric FROM unnest('{ann,bob,cat}'::text[]) m $$,
	$$ VALUES ('ann', 65.0), ('bob', 90.0), ('cat', 0.0) $$, 'ann: 40 and half of 50; bob: 50 and 40; cat: none');
SELECT is(pool_balance('club', 'home')::numeric, 97.0, 'together they have what they have');
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'home', 'cat', 1) $$, 'LY362', NULL, 'no permission to redeem, not even her own');
SELECT is(redeem('club', 'cat', 1) > 0, true, 'which she can redeem without the pool');
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'home', 'ann', '65.1') $$, 'LY301', '0.1 points are missing.', 'a tenth more than ann is lent');
SELECT is(pg_temp.payments(redeem_pool('club', 'home', 'ann', 65)), 'ann:2:10 bob:1:20 bob:2:5 ann:3:30', 'bob pays 25, then ann the rest');
SELECT results_eq($$ SELECT pool_balance('club', 'home', member => 'ann')::numeric, pool_balance('club', 'home', member => 'bob')::numeric $$, $$ VALUES (5.0, 25.0) $$,
	'of his 25, half would be 12.5, but 20 stay: 5');
SELECT is(pg_temp.payments(redeem_pool('club', 'home', 'ann', 5)), 'bob:2:5', 'all of it is bob''s; ann''s account is not touched');
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'home', 'ann', '0.1') $$, 'LY301', '0.1 points are missing.', 'his 20 stay');
SELECT is(pg_temp.payments(redeem_pool('club', 'home', 'bob', 20)), 'bob:2:20', 'for him they are there');
SELECT results_eq($$ SELECT member::text COLLATE "default", redeems, share, keep, left_at IS NULL FROM pool_members WHERE pool = 'home' ORDER BY member, left_at NULLS LAST $$,
	$$ VALUES ('ann', true, 1.0, 0.0, true), ('bob', true, 1.0, 0.0, false), ('bob', true, 0.5, 20.0, true), ('cat', true, 1.0, 0.0, false), ('cat', false, 0.0, 0.0, true) $$,
	'what was permitted before is kept');
SELECT join_pool('club', 'home', 'bob', share => 0.5, keep => 20);
SELECT is(count(*), 2::bigint, 'the same permissions again are no change') FROM pool_members WHERE member = 'bob';
-- A share is no finer than the currency: a third of 10 is 3.3.
INSERT INTO public.orders (id, who, amount, at) VALUES (10, 'bob', 10, '2022-06-01 12:00+00');
SELECT join_pool('club', 'home', 'bob', share => 0.3333);
SELECT is(pool_balance('club', 'home', member => 'ann')::numeric, 3.3, 'rounded down');
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'home', 'ann', '3.4') $$, 'LY301', '0.1 points are missing.', 'as it is redeemed');
SELECT redeem_pool('club', 'home', 'ann', '3.3') > 0;
SELECT pg_temp.balanced('with permissions');
SELECT is_empty('SELECT * FROM verify()', 'verify() agrees: with permissions');

-- ---- Another pool; who left
SELECT create_pool('club', 'away') > 0, create_pool('club', 'fly', 'miles') > 0;
SELECT pg_temp.refused($$ SELECT join_pool('club', 'away', 'ann') $$, 'LY363', 'It is in pool "home"%', 'nobody is in two pools with the same points');
SELECT join_pool('club', 'fly', 'ann'), join_pool('club', 'fly', 'dan');
SELECT adjust('club', 'dan', 5, 'found', currency => 'miles') > 0;
SELECT is(pg_temp.payments(redeem_pool('club', 'fly', 'ann', 2)), 'dan:1:2', 'with points of another currency she is');
SELECT leave_pool('club', 'home', 'ann');
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'home', 'ann', 1) $$, 'LY361', NULL, 'who has left redeems no more');
SELECT pg_temp.refused($$ SELECT leave_pool('club', 'home', 'ann') $$, 'LY361', NULL, 'nor leaves again');
SELECT is(pool_balance('club', 'home', member => 'bob'), balance('club', 'bob'), 'nor are her points there: bob has his own alone');
SELECT join_pool('club', 'away', 'ann');
SELECT is(count(*), 3::bigint, 'three times in a pool, each told') FROM pool_members WHERE member = 'ann';
SELECT results_eq($$ SELECT pool::text COLLATE "default", members, closed_at IS NULL FROM pools WHERE program = 'club' ORDER BY pool $$, $$ VALUES ('away', 1::bigint, true), ('fly', 2, true), ('home', 2, true) $$, 'the pools');

-- ---- Holds, pending points, lots that died meanwhile
INSERT INTO public.orders (id, who, amount, at) VALUES (20, 'dan', 10, '2020-05-01 12:00+00'), (21, 'dan', 20, '2021-05-01 12:00+00'), (22, 'ann', 40, '2020-05-01 12:00+00');
SELECT leave_pool('club', 'away', 'ann'), join_pool('club', 'away', 'dan');
SELECT join_pool('club', 'away', 'ann');
SELECT hold('club', 'ann', 15, '1 day') > 0;
SELECT is(pool_balance('club', 'away', member => 'dan')::numeric, 55.0, '30 and 40, less what is held');
SELECT pg_temp.refused($$ SELECT redeem_pool('club', 'away', 'dan', '55.1') $$, 'LY301', '0.1 points are missing.', 'held points stay');
CREATE TEMP TABLE d AS SELECT redeem_pool('club', 'away', 'dan', 50) AS id;
SELECT is(pg_temp.payments(id), 'ann:4:25 dan:1:10 dan:2:15', 'ann''s free ones and dan''s of 2121, the lower account first; then 2122') FROM d;
SELECT pg_temp.die('dan', 1, '2021-07-01 00:00+00'), pg_temp.die('dan', 2, '2021-08-01 00:00+00');
SELECT is(pg_temp.back(id, 20), 'dan:2:15 dan:1:5', 'they get their own back') FROM d;
SELECT is(balance('club', 'dan')::numeric, 0.0, 'but dead, as they are by now');
SELECT results_eq($$ SELECT kind, points, event_time FROM entries WHERE member = 'dan' AND kind = 'expire' ORDER BY entry_id $$,
	$$ VALUES ('expire', -20.0, '2021-08-01 00:00+00'::timestamptz), ('expire', -5.0, '2021-07-01 00:00+00') $$, 'with what was left in them, when they died');
SELECT is(pg_temp.back(id, 10, '1 mon'), 'ann:4:5 dan:3:5', 'with a grace the dead ones live again, in a lot of their own; the living need none') FROM d;
SELECT is((SELECT expires_at FROM lots WHERE member = 'dan' AND currency = 'points' AND lot_no = 3), ((now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC', 'for as long as was granted');
SELECT is(pg_temp.back(id), 'ann:4:20', 'the rest') FROM d;
SELECT pg_temp.balanced('given back to the dead');
SELECT is_empty('SELECT * FROM verify()', 'verify() agrees: given back to the dead');
SELECT create_program('late', pending => '14 days') > 0, create_pool('late', 'home') > 0, enrol('late', 'ann') > 0, enrol('late', 'bob') > 0;
SELECT join_pool('late', 'home', 'ann'), join_pool('late', 'home', 'bob');
SELECT adjust('late', 'bob', 30, 'soon') > 0;
SELECT results_eq($$ SELECT pool_balance('late', 'home')::numeric, pool_balance('late', 'home', now() + interval '15 days', 'ann')::numeric $$, $$ VALUES (0.0, 30.0) $$,
	'pending points are not there yet, and will be');
SELECT pg_temp.refused($$ SELECT redeem_pool('late', 'home', 'ann', 1) $$, 'LY301', '1 points are missing.', 'nor are they paid with');

-- ---- At other times: ann and dan as if they had been in since June 2023, when ann had 80 and dan 30
SET LOCAL session_replication_role = replica;
UPDATE loyalty.pool_member m SET joined_at = '2023-06-01 00:00+00' FROM loyalty.pool l WHERE l.pool_id = m.pool_id AND l.code = 'away' AND m.left_at IS NULL;
SET LOCAL session_replication_role = origin;
SELECT results_eq($$ SELECT at, pool_balance('club', 'away', at)::numeric FROM unnest('{2023-05-31,2023-06-01,2121-06-01,2150-01-01}'::timestamptz[]) at $$,
	$$ VALUES ('2023-05-31'::timestamptz, 0.0), ('2023-06-01', 80.0), ('2121-06-01', 0.0), ('2150-01-01', 0.0) $$,
	'before they joined, since; when ann''s 40 of 2020 have ended, as all is spent that ended later; at the end');

-- ---- Debts
CREATE TABLE public.sales (LIKE public.orders INCLUDING ALL);
SELECT create_program('firm', debt => 'block') > 0, create_program('owing', debt => 'negative') > 0;
SELECT add_rule(p, 'base', points_per => 1) > 0, attach('public.sales', p, 'who', amount => 'amount', refunded => 'refunded', event_time => 'at') > 0,
	create_pool(p, 'home') > 0, enrol(p, 'eve') > 0, enrol(p, 'fay') > 0 FROM unnest('{firm,owing}'::text[]) p;
SELECT join_pool(p, 'home', m) FROM unnest('{firm,owing}'::text[]) p, unnest('{eve,fay}'::text[]) m;
-- eve has 100 and holds 60 of them, the order is taken back to 30: 40 are taken, 30 more are a debt, 60 come free.
INSERT INTO public.sales VALUES (1, 'eve', 100, 0, '2020-05-01 12:00+00'), (2, 'fay', 100, 0, '2020-05-01 12:00+00');
CREATE TEMP TABLE h AS SELECT hold(p, 'eve', 60, '1 day') AS id FROM unnest('{firm,owing}'::text[]) p;
UPDATE public.sales SET refunded = 70 WHERE id = 1;
SELECT release(id) FROM h;
SELECT results_eq($$ SELECT program, available, debt FROM balances WHERE member = 'eve' ORDER BY 1 $$, $$ VALUES ('firm', 30.0, 30.0), ('owing', 30.0, 30.0) $$, 'eve has 60 and owes 30');
SELECT pg_temp.refused($$ SELECT redeem_pool('firm', 'home', 'eve', 1) $$, 'LY302', NULL, 'who may not redeem may not redeem from a pool');
SELECT results_eq($$ SELECT p, m, pool_balance(p, 'home', member => m)::numeric FROM unnest('{firm,owing}'::text[]) p, unnest('{eve,fay}'::text[]) m $$,
	$$ VALUES ('firm', 'eve', 0.0), ('firm', 'fay', 100.0), ('owing', 'eve', 130.0), ('owing', 'fay', 130.0) $$, 'a blocked account lends nothing; else what is beyond the debt');
SELECT pg_temp.refused($$ SELECT redeem_pool('firm', 'home', 'fay', 101) $$, 'LY301', '1 points are missing.', 'fay has hers alone');
SELECT is(pg_temp.payments(redeem_pool('firm', 'home', 'fay', 100)), 'fay:1:100', 'and those all the same');
SELECT pg_temp.refused($$ SELECT redeem_pool('owing', 'home', 'fay', 131) $$, 'LY301', '1 points are missing.', 'the debt is eve''s to repay first');
SELECT is(pg_temp.payments(redeem_pool('owing', 'home', 'fay', 130)), 'eve:1:30 fay:1:100', '60 less 30, and 100');
CREATE TEMP TABLE owed AS SELECT redemption_id FROM pool_redemptions WHERE program = 'owing' AND paid_by = 'eve';
SELECT is(pg_temp.back(redemption_id, 110), 'eve:0:10 fay:1:100', 'what comes back to eve repays her debt first') FROM owed;
SELECT is(pg_temp.back(redemption_id), 'eve:0:20', 'all of it') FROM owed;
SELECT results_eq($$ SELECT available, debt FROM balances WHERE program = 'owing' AND member = 'eve' $$, $$ VALUES (30.0, 0.0) $$, '30 - 30 + 30');
SELECT pg_temp.balanced('with debts');
SELECT is_empty('SELECT * FROM verify()', 'verify() agrees: with debts');

-- ---- Many lots of many members: 40 of 5 each, all of different ends, by turns
SELECT create_program('many') > 0, create_pool('many', 'all') > 0;
SELECT enrol('many', format('m%s', n)) > 0 FROM generate_series(1, 40) n ORDER BY n;
SELECT join_pool('many', 'all', format('m%s', n)) FROM generate_series(40, 1, -1) n;
SELECT adjust('many', format('m%s', n), 10, 'x') > 0 FROM generate_series(1, 40) n;
CREATE TEMP TABLE many AS SELECT redeem_pool('many', 'all', 'm40', 395) AS id;
SELECT results_eq($$ SELECT count(*), sum(points), count(DISTINCT entry_id), min(points) FROM pool_redemptions, many WHERE redemption_id = id $$, $$ VALUES (40::bigint, 395.0, 40::bigint, 5.0) $$,
	'forty pay');
SELECT is((SELECT paid_by::text COLLATE "default" FROM pool_redemptions WHERE program = 'many' AND points = 5), 'm40', 'of one end and one time: by their accounts, the last a part');
SELECT giveback(id, 15) > 0 FROM many;
SELECT results_eq($$ SELECT paid_by::text COLLATE "default", returned FROM pool_redemptions WHERE program = 'many' AND returned > 0 ORDER BY 1 $$, $$ VALUES ('m39', 10.0), ('m40', 5.0) $$, 'the last two get back');
SELECT giveback(id) > 0 FROM many;
SELECT is(pool_balance('many', 'all')::numeric, 400.0, 'all is there again');

-- ---- Closed
SELECT close_pool('club', 'away');
SELECT pg_temp.refused(format('SELECT %s', call), 'LY360', 'Everybody left it%', 'closed: ' || call)
FROM unnest(ARRAY[$$redeem_pool('club', 'away', 'dan', 1)$$, $$join_pool('club', 'away', 'dan')$$, $$leave_pool('club', 'away', 'dan')$$, $$close_pool('club', 'away')$$]) call;
SELECT is(pool_balance('club', 'away')::numeric, 0.0, 'nobody is in it');
SELECT join_pool('club', 'home', 'dan');
CREATE TEMP TABLE z AS SELECT redeem_pool('club', 'home', 'bob', 1, 'last') AS id;
SELECT close_pool('club', 'home');
SELECT is(redeem_pool('club', 'home', 'bob', 1, 'last'), id, 'a repeated call gets its answer for ever') FROM z;
SELECT is(pg_temp.back(id), 'dan:3:1', 'what was redeemed can be given back') FROM z;
SELECT results_eq($$ SELECT members, closed_at = now() FROM pools WHERE pool = 'home' AND program = 'club' $$, $$ VALUES (0::bigint, true) $$, 'the view tells');
SELECT pg_temp.refused($$ SELECT create_pool('club', 'home') $$, 'LY009', NULL, 'its code is taken for ever');
SELECT pg_temp.balanced('at the end');
SELECT is_empty('SELECT * FROM verify()', 'verify() agrees: at the end');

-- ---- No damage stays hidden
CREATE FUNCTION pg_temp.damaged(damage text, want text, name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	found text;
BEGIN
	BEGIN
		SET LOCAL session_replication_role = replica;
		EXECUTE damage;
		SELECT string_agg(problem, '; ') INTO found FROM loyalty.verify();
		RAISE EXCEPTION 'undone';
	EXCEPTION WHEN raise_exception THEN
	END;
	RETURN public.ok(found LIKE want, name) || CASE WHEN found LIKE want THEN '' ELSE format(E'\n# got %s', coalesce(found, 'nothing')) END;
END $$;
SELECT pg_temp.damaged(format('UPDATE pool_payment SET %s WHERE account_id * 100000000 + entry_no = %s AND payment_no = 2', change, id), want, change)
FROM r, (VALUES ('payment_no = 9', '%its 4 payments are not in order%'), ('payer_entry = payer_entry + 1', '%not all that paid this redemption from a pool is there%'),
	('allocation_no = 7', '%not all that paid this redemption from a pool is there%'), ('entry_no = entry_no + 1', '%it paid with 2 lots for a pool, of which its payments have 1%')) v (change, want);
SELECT pg_temp.damaged(format('DELETE FROM pool_payment WHERE account_id * 100000000 + entry_no = %s', id), '%it paid with 2 lots for a pool, of which its payments have 0%', 'no payments') FROM r;
SELECT pg_temp.damaged(format('UPDATE pool_payment SET payment_no = - payment_no WHERE account_id * 100000000 + entry_no = %s', id), '%its 4 payments are not in order%', 'backwards') FROM r;
SELECT pg_temp.damaged(format($$ UPDATE pool_payment SET account_id = y.payer_id, entry_no = y.payer_entry FROM pool_payment y
	WHERE pool_payment.account_id * 100000000 + pool_payment.entry_no = %s AND y.account_id * 100000000 + y.entry_no = %1$s AND y.payment_no = 2 $$, id),
	'%this redemption from a pool is not named by its first entry%', 'named by another entry') FROM r;
SELECT pg_temp.damaged($$ UPDATE entry SET line = '1/1/1' WHERE line IS NOT NULL AND kind = 'redeem' AND account_id = (SELECT min(account_id) FROM pool_payment) $$,
	'%the hash is not that of%that is no redemption, pool and member%', 'what an entry names');
SELECT pg_temp.damaged($$ UPDATE entry SET line = 'x' WHERE line IS NOT NULL AND kind = 'giveback' $$, '%is of another redemption from a pool%', 'what a giveback names');
SELECT pg_temp.damaged($$ UPDATE request SET content = replace(content, 'member', 'pal') WHERE request_id = 'r1' $$, '%it did not answer that request%', 'the request');
CREATE TEMP TABLE few AS SELECT redeem_pool('many', 'all', 'm40', 25) AS id;
SELECT is(pg_temp.payments(id), 'm1:1:10 m2:1:10 m3:1:5', 'three pay') FROM few;
SELECT giveback(id, 5) > 0 FROM few;
SELECT pg_temp.damaged(format($$ UPDATE allocation o SET returned = 5 - o.returned FROM pool_redemptions v
	WHERE v.redemption_id = %s AND v.paid_by IN ('m1', 'm3') AND o.account_id * 100000000 + o.entry_no = v.entry_id $$, id),
	'%what paid this redemption last did not get back first%', 'who got back') FROM few;
SELECT pg_temp.damaged($$ UPDATE pool_member SET pool_id = (SELECT pool_id FROM pool WHERE code = 'fly') WHERE pool_id = (SELECT pool_id FROM pool WHERE code = 'all') $$,
	'%which is of another currency%', 'a pool of another currency');
SELECT pg_temp.damaged($$ ALTER TABLE pool_payment DISABLE TRIGGER loyalty_guard $$, '%table loyalty.pool_payment is not guarded%', 'the guard');
SELECT pg_temp.damaged($$ DROP INDEX pool_member_account_idx $$, '%unique index loyalty.pool_member_account_idx is not there%', 'the key');
SELECT is_empty('SELECT * FROM verify()', 'and all of it was undone');

-- Points that are passed on join the lot of their dates that pays first, though another has just got something back.
INSERT INTO public.orders (id, who, amount, at) VALUES (900, 'ula', 20, '2020-05-02 12:00+00'), (901, 'uwe', 17, '2020-05-02 12:00+00');
SELECT create_pool('club', 'twins') \g /dev/null
SELECT join_pool('club', 'twins', who) FROM unnest(ARRAY['ula', 'uwe']) who \g /dev/null
SELECT redeem_pool('club', 'twins', 'ula', 37) AS trip \gset
INSERT INTO public.orders (id, who, amount, at) VALUES (902, 'ula', 5, '2020-05-01 12:00+00');
SELECT merge_members('club', 'uwe', 'ula') \g /dev/null
SELECT giveback(:trip) \g /dev/null
SELECT is(pg_temp.has('ula'), '1:20 2:22', 'what the merged one paid goes to the lot that was earned first');
SELECT is_empty('SELECT * FROM verify()', 'the books hold');

SELECT * FROM finish();
ROLLBACK;
