-- hold, capture, release: points reserved for a time are nobody else's, and are free again by the clock
\ir include/begin.psql

SELECT create_program('club', validity => '100 years', validity_rounding => 'year', decimals => 1) > 0;
\ir include/orders.psql

CREATE FUNCTION pg_temp.keeps(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(lot_no || ':' || points::numeric, ' ' ORDER BY lot_no) FROM loyalty.hold
	WHERE account_id = id / 100000000 AND hold_no = id % 100000000
$$;
CREATE FUNCTION pg_temp.has(who text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s free, %s held, %s redeemed, %s expired', trim_scale(available), trim_scale(held), trim_scale(redeemed), trim_scale(expired))
	FROM loyalty.balances WHERE member = who
$$;
CREATE FUNCTION pg_temp.state(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s %s of %s', state, trim_scale(captured), trim_scale(points)) FROM loyalty.holds WHERE hold_id = id
$$;
-- Time can't be made to pass: the ends of a member's holds and lots are moved nearer instead.
CREATE FUNCTION pg_temp.pass(who text, span interval) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL session_replication_role = replica;
	UPDATE loyalty.hold h SET ends_at = ends_at - span FROM loyalty.account a JOIN loyalty.member m USING (member_id)
	WHERE h.account_id = a.account_id AND m.member = who;
	UPDATE loyalty.account a SET as_of = now() - interval '1 second', next_change = now() FROM loyalty.member m
	WHERE m.member_id = a.member_id AND m.member = who;
	PERFORM pg_temp.rehash();
	SET LOCAL session_replication_role = origin;
END $$;
CREATE FUNCTION pg_temp.die(who text, no int, at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL session_replication_role = replica;
	UPDATE loyalty.lot l SET expires_at = at FROM loyalty.account a JOIN loyalty.member m USING (member_id)
	WHERE l.account_id = a.account_id AND m.member = who AND l.lot_no = no;
	SET LOCAL session_replication_role = origin;
	PERFORM pg_temp.pass(who, '0');
END $$;
-- What was moved so has an end that does not fit its entry.
CREATE FUNCTION pg_temp.proved(name text) RETURNS text LANGUAGE sql AS $$
	SELECT public.is_empty($v$ SELECT v.* FROM loyalty.verify() v WHERE v.problem NOT LIKE 'it ended at %, before it was made' $v$, 'verify() agrees: ' || name)
$$;

-- ---- The lots that redeem would take: soonest end first
INSERT INTO public.orders (id, who, amount, at) VALUES (1, 'ann', 30, '2022-05-01 12:00+00'), (2, 'ann', 10, '2020-05-01 12:00+00'),
	(3, 'ann', 20, '2021-05-01 12:00+00'), (4, 'ann', 500, '1900-05-01 12:00+00');
SELECT results_eq($$ SELECT lot_no, expires_at FROM lots WHERE member = 'ann' AND state = 'live' ORDER BY expires_at $$,
	$$ VALUES (2, '2121-01-01 00:00+00'::timestamptz), (3, '2122-01-01 00:00+00'), (4, '2123-01-01 00:00+00') $$, 'three lots live, one is dead');
CREATE TEMP TABLE h AS SELECT hold('club', 'ann', 25, '10 minutes', 'h1', 'a basket') AS h1;
SELECT is(pg_temp.keeps(h1), '2:10 3:15', 'the soonest ends are held') FROM h;
SELECT is(pg_temp.has('ann'), '35 free, 25 held, 0 redeemed, 0 expired', 'and are not free');
SELECT is(balance('club', 'ann')::numeric, 35.0, 'balance() says so too');
SELECT results_eq($$ SELECT lot_no, remaining, held FROM lots WHERE member = 'ann' ORDER BY 1 $$,
	$$ VALUES (1, 500.0, 0.0), (2, 10.0, 10.0), (3, 20.0, 15.0), (4, 30.0, 0.0) $$, 'nothing has left its lot');
SELECT results_eq($$ SELECT e.kind, e.points, e.base, e.reason FROM entries e JOIN h ON entry_id = h1 $$, $$ VALUES ('hold', 0.0, 25.0, 'a basket') $$,
	'its entry moves nothing and says how much');
SELECT results_eq($$ SELECT program, currency, held_at, ends_at, released_at, points, captured, state, reason FROM holds, h WHERE hold_id = h1 AND member = 'ann' $$,
	$$ VALUES ('club', 'points', now(), now() + interval '10 minutes', NULL::timestamptz, 25.0, 0.0, 'live', 'a basket') $$, 'holds shows it');
SELECT is(next_change, now() + interval '10 minutes', 'until then a balance is one probe') FROM account JOIN member USING (member_id) WHERE member = 'ann';
SELECT is(hold('club', 'ann', 25, '10 minutes', 'h1', 'a basket'), h1, 'the same call answers the same') FROM h;
SELECT is(pg_temp.has('ann'), '35 free, 25 held, 0 redeemed, 0 expired', 'and holds nothing twice');
SELECT pg_temp.balanced('with a hold');
SELECT pg_temp.proved('with a hold');

-- ---- Nobody else gets them
CREATE FUNCTION pg_temp.all_there_is() RETURNS text LANGUAGE sql AS $$
	SELECT md5(concat((SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.entry x), (SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.lot x),
		(SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.hold x), (SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.allocation x),
		(SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.account x), (SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.request x)))
$$;
CREATE TEMP TABLE before AS SELECT pg_temp.all_there_is();
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', '35.1', 'r') $$, 'LY301', '0.1 points are missing.', 'a redemption gets only what is free');
SELECT pg_temp.refused($$ SELECT hold('club', 'ann', '35.1', '1 day', 'r') $$, 'LY301', '0.1 points are missing.', 'a hold too');
SELECT pg_temp.refused($$ SELECT adjust('club', 'ann', '-35.1', 'mistake', 'r') $$, 'LY301', '0.1 points are missing.', 'an adjustment too');
SELECT pg_temp.refused($$ SELECT hold('club', 'ann', 25, '10 minutes', 'h1') $$, 'LY305', NULL, 'the id with another reason');
SELECT pg_temp.refused($$ SELECT hold('club', 'ann', 25, '11 minutes', 'h1', 'a basket') $$, 'LY305', NULL, 'with another time');
SELECT pg_temp.refused($$ SELECT hold('club', 'ann', 24, '10 minutes', 'h1', 'a basket') $$, 'LY305', NULL, 'with other points');
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', 25, 'h1', 'a basket') $$, 'LY305', NULL, 'of another call');
SELECT pg_temp.refused($$ SELECT hold('club', 'ann', 0, '1 day') $$, 'LY304', NULL, 'no points');
SELECT pg_temp.refused($$ SELECT hold('club', 'ann', -1, '1 day') $$, 'LY304', NULL, 'negative points');
SELECT pg_temp.refused($$ SELECT hold('club', 'ann', '0.05', '1 day') $$, 'LY304', 'The currency has 1 decimals.', 'points too fine');
SELECT pg_temp.refused(format('SELECT hold(''club'', ''ann'', 1, %L)', t), 'LY306', NULL, format('a time of %s', t))
FROM unnest('{0,-1 day,1 mon -1 day}'::interval[]) t;
SELECT pg_temp.refused($$ SELECT hold('club', 'zoe', 1, '1 day') $$, 'LY002', NULL, 'a stranger');
SELECT pg_temp.refused($$ SELECT hold('clab', 'ann', 1, '1 day') $$, 'LY001', NULL, 'a wrong program');
SELECT pg_temp.refused($$ SELECT hold('club', 'ann', 1, '1 day', currency => 'miles') $$, 'LY003', NULL, 'a wrong currency');
SELECT pg_temp.refused(format('SELECT hold(%s)', args), '22004', NULL, 'NULL: ' || args)
FROM unnest(ARRAY[$$NULL, 'ann', 1, '1 day'$$, $$'club', NULL, 1, '1 day'$$, $$'club', 'ann', NULL, '1 day'$$, $$'club', 'ann', 1, NULL$$]) args;

-- ---- Captured in parts
SELECT pg_temp.refused(format('SELECT capture(%s, ''25.1'', ''c'')', h1), 'LY308', '25 points of this hold are left to capture.', 'more than is held') FROM h;
SELECT pg_temp.refused(format('SELECT capture(%s, 0)', h1), 'LY304', NULL, 'no points') FROM h;
SELECT pg_temp.refused(format('SELECT capture(%s, ''0.01'')', h1), 'LY304', NULL, 'points too fine') FROM h;
SELECT pg_temp.refused(format('SELECT capture(%s, 1, ''h1'')', h1), 'LY305', NULL, 'the id of the hold') FROM h;
SELECT pg_temp.refused('SELECT capture(NULL)', '22004', NULL, 'NULL is no hold');
SELECT pg_temp.refused('SELECT release(NULL)', '22004', NULL, 'and can''t be released');
SELECT pg_temp.refused(format('SELECT %s(%s)', f, e), 'LY004', NULL, format('%s of %s', f, e))
FROM unnest('{0,-1,1,-100000001,99999999,100000000,9223372036854775807,-9223372036854775808}'::bigint[]) e, unnest('{capture,release}'::text[]) f;
SELECT pg_temp.refused(format('SELECT %s(%s)', f, min(entry_id)), 'LY004', NULL, f || ' of an award')
FROM entries, unnest('{capture,release}'::text[]) f WHERE kind = 'earn' GROUP BY f;
SELECT is(pg_temp.all_there_is(), b.all_there_is, 'a refusal leaves no trace') FROM before b;

CREATE TEMP TABLE c AS SELECT capture(h1, 12, 'c1', 'shipped') AS c1 FROM h;
SELECT is(pg_temp.paid(c1), '2:-10 3:-2', 'the soonest end pays first') FROM c;
SELECT results_eq($$ SELECT e.kind, e.points, e.reverses, e.reason FROM entries e JOIN c ON entry_id = c1 $$, $$ SELECT 'redeem', -12.0, h1, 'shipped' FROM h $$,
	'a redemption that names its hold');
SELECT is(pg_temp.has('ann'), '35 free, 13 held, 12 redeemed, 0 expired', 'the rest is held on');
SELECT is(capture(h1, 12, 'c1', 'shipped'), c1, 'the same call answers the same') FROM h, c;
SELECT pg_temp.refused(format('SELECT capture(%s, 12, ''c1'')', h1), 'LY305', NULL, 'with another reason it is refused') FROM h;
SELECT pg_temp.refused(format('SELECT capture(%s, NULL, ''c1'', ''shipped'')', h1), 'LY305', NULL, 'with all points too') FROM h;
SELECT pg_temp.refused(format('SELECT capture(%s, 14)', h1), 'LY308', '13 points of this hold are left to capture.', 'not more than is left') FROM h;
SELECT is(pg_temp.state(h1), 'live 12 of 25', 'it lives') FROM h;
SELECT is(pg_temp.paid(capture(h1, '0.5')), '3:-0.5', 'a little more') FROM h;
SELECT is(pg_temp.paid(capture(h1)), '3:-12.5', 'all that is left') FROM h;
SELECT is(pg_temp.has('ann'), '35 free, 0 held, 25 redeemed, 0 expired', 'all is redeemed');
SELECT pg_temp.refused(format('SELECT capture(%s)', h1), 'LY308', '0 points of this hold are left to capture.', 'nothing is left') FROM h;
SELECT is(release(h1)::numeric, 0.0, 'nor to be released') FROM h;
SELECT is(pg_temp.state(h1), 'captured 25 of 25', 'it is captured') FROM h;
SELECT is(capture(h1, 12, 'c1', 'shipped'), c1, 'the first capture still answers the same') FROM h, c;
SELECT pg_temp.balanced('captured');
SELECT pg_temp.proved('captured');

-- ---- A capture is given back to its lots, and is free then
SELECT is(pg_temp.paid(giveback(c1, 7)), '3:2 2:5', 'the last that paid is the first to get back') FROM c;
SELECT is(pg_temp.has('ann'), '42 free, 0 held, 18 redeemed, 0 expired', 'what came back is free');
SELECT pg_temp.refused(format('SELECT giveback(%s, 6)', c1), 'LY303', '5%', 'never more than was captured') FROM c;
SELECT pg_temp.refused(format('SELECT giveback(%s)', h1), 'LY004', NULL, 'a hold can''t be given back') FROM h;
SELECT pg_temp.proved('given back');

-- ---- Released
CREATE TEMP TABLE r AS SELECT hold('club', 'ann', 40, '1 day') AS h2;
SELECT is(pg_temp.has('ann'), '2 free, 40 held, 18 redeemed, 0 expired', 'held again');
SELECT capture(h2, 3) > 0 FROM r;
SELECT is(release(h2)::numeric, 37.0, 'a release says what it set free') FROM r;
SELECT is(pg_temp.has('ann'), '39 free, 0 held, 21 redeemed, 0 expired', 'free');
SELECT is(release(h2)::numeric, 0.0, 'once') FROM r;
SELECT is(pg_temp.state(h2), 'released 3 of 40', 'what it was') FROM r;
SELECT is(released_at, now(), 'and when it ended') FROM holds, r WHERE hold_id = h2;
SELECT pg_temp.refused(format('SELECT capture(%s, 1)', h2), 'LY310', 'It was released at %', 'what was released can''t be captured') FROM r;
SELECT results_eq($$ SELECT points, event_time, recorded_at, reverses FROM entries WHERE member = 'ann' AND kind = 'release' $$,
	$$ SELECT 0.0, now(), now(), h2 FROM r $$, 'an entry says so, of no points');
SELECT pg_temp.proved('released');

-- ---- A hold ends by the clock alone
CREATE TEMP TABLE e AS SELECT hold('club', 'ann', 20, '1 day', 'e1') AS h3, hold('club', 'ann', 10, '2 days') AS h4;
SELECT is(pg_temp.has('ann'), '9 free, 30 held, 21 redeemed, 0 expired', 'two holds');
SELECT is(balance('club', 'ann', now() + interval '1 day' - interval '1 microsecond')::numeric, 9.0, 'until the first one ends');
SELECT is(balance('club', 'ann', now() + interval '1 day')::numeric, 29.0, 'its points are free that moment');
SELECT is(balance('club', 'ann', now() + interval '2 days')::numeric, 39.0, 'then the other''s');
SELECT pg_temp.pass('ann', '1 day');
SELECT is(pg_temp.has('ann'), '29 free, 10 held, 21 redeemed, 0 expired', 'no job has run, and the first is over');
SELECT is(balance('club', 'ann')::numeric, 29.0, 'for balance() too');
SELECT is(sum(held), 10.0, 'and for the lots') FROM lots WHERE member = 'ann';
SELECT is(pg_temp.state(h3) || ', ' || pg_temp.state(h4), 'expired 0 of 20, live 0 of 10', 'what they are') FROM e;
SELECT pg_temp.refused(format('SELECT capture(%s)', h3), 'LY309', 'It ended at %', 'what is over can''t be captured') FROM e;
SELECT is(release(h3)::numeric, 0.0, 'nor released') FROM e;
SELECT is(hold('club', 'ann', 20, '1 day', 'e1'), h3, 'its request still answers the same') FROM e;
SELECT redeem('club', 'ann', 29) > 0;
SELECT is(pg_temp.has('ann'), '0 free, 10 held, 50 redeemed, 0 expired', 'others can have its points');
SELECT pg_temp.refused($$ SELECT redeem('club', 'ann', '0.1') $$, 'LY301', '0.1 points are missing.', 'but not those of the other');
SELECT is(pg_temp.paid(capture(h4)), '4:-10', 'which are there') FROM e;
SELECT pg_temp.balanced('after a hold is over');
SELECT pg_temp.proved('after a hold is over');

-- ---- A lot that dies while held
INSERT INTO public.orders (id, who, amount, at) VALUES (10, 'bob', 100, '2020-05-01 12:00+00'), (11, 'bob', 50, '2022-05-01 12:00+00');
CREATE TEMP TABLE b AS SELECT hold('club', 'bob', 60, '7 days') AS h1, hold('club', 'bob', 30, '14 days') AS h2;
SELECT pg_temp.die('bob', 1, '2021-06-01 00:00+00');
SELECT is(pg_temp.has('bob'), '50 free, 0 held, 0 redeemed, 0 expired', 'the dead are neither free nor held of what lives');
SELECT is(_expire_accounts(ARRAY[(SELECT account_id FROM account JOIN member USING (member_id) WHERE member = 'bob')], now()), 1::bigint, 'the job books an end');
SELECT is(pg_temp.has('bob'), '50 free, 0 held, 0 redeemed, 10 expired', 'of what nobody held');
SELECT is(_expiring_accounts('club', now(), 0, 10), ARRAY[(SELECT account_id FROM account JOIN member USING (member_id) WHERE member = 'ann')],
	'and does not come back for the rest: only for the 500 of ann');
SELECT is(pg_temp.paid(capture(h1, 35)), '1:-35', 'a captured hold honours points that died while held') FROM b;
SELECT is(release(h1)::numeric, 25.0, 'on release they are released dead') FROM b;
SELECT is(pg_temp.has('bob'), '50 free, 0 held, 35 redeemed, 35 expired', 'and expire');
SELECT results_eq($$ SELECT e.points, e.event_time FROM entries e WHERE member = 'bob' AND kind = 'expire' ORDER BY entry_id $$,
	$$ VALUES (-10.0, '2021-06-01 00:00+00'::timestamptz), (-25.0, '2021-06-01 00:00+00') $$, 'dated when they died');
SELECT pg_temp.proved('a lot died');
SELECT is(_expiring_accounts('club', now(), 0, 10), ARRAY[(SELECT account_id FROM account JOIN member USING (member_id) WHERE member = 'ann')],
	'the other hold still keeps its 30');
SELECT pg_temp.pass('bob', '14 days');
SELECT is(cardinality(_expiring_accounts('club', now(), 0, 10)), 2, 'when it is over the job comes, though nothing wrote that down');
SELECT is(_expire_accounts(ARRAY[(SELECT account_id FROM account JOIN member USING (member_id) WHERE member = 'bob')], now()), 1::bigint, 'and books the rest');
SELECT is(pg_temp.has('bob'), '50 free, 0 held, 35 redeemed, 65 expired', '35 + 65 of the 100');
SELECT pg_temp.proved('all of it is booked');
SELECT pg_temp.balanced('after a lot died');

-- A giveback of what was captured dead comes back dead.
INSERT INTO public.orders (id, who, amount, at) VALUES (12, 'cem', 40, '2020-05-01 12:00+00');
CREATE TEMP TABLE m AS SELECT hold('club', 'cem', 40, '7 days') AS h1;
SELECT pg_temp.die('cem', 1, '2021-06-01 00:00+00');
CREATE TEMP TABLE mc AS SELECT capture(h1, 30) AS c1 FROM m;
SELECT giveback(c1, 20) > 0 FROM mc;
SELECT is(pg_temp.has('cem'), '0 free, 0 held, 10 redeemed, 20 expired', 'it expires at once, and the 10 that are held stay');
SELECT is(pg_temp.paid(capture(h1)), '1:-10', 'to be captured') FROM m;
SELECT pg_temp.proved('given back dead');

-- ---- Refunds leave held points alone: they are promised
INSERT INTO public.orders (id, who, amount, at) VALUES (20, 'dee', 30, '2020-05-01 12:00+00'), (21, 'dee', 30, '2021-05-01 12:00+00');
CREATE TEMP TABLE d AS SELECT hold('club', 'dee', 40, '1 day') AS h1;
UPDATE public.orders SET refunded = 30 WHERE id = 20;
SELECT is(pg_temp.has('dee'), '0 free, 40 held, 0 redeemed, 0 expired', 'the other order''s free 20 are taken, 10 let off');
SELECT is(forgiven, 10.0, 'as the policy says') FROM entries WHERE member = 'dee' AND kind = 'reverse';
SELECT is(pg_temp.paid(capture(h1)), '1:-30 2:-10', 'the hold is kept') FROM d;
SELECT pg_temp.proved('a refund beside a hold');

-- ---- Debts
SELECT create_program('firm', debt => 'block') > 0, create_program('owing', debt => 'negative') > 0;
SELECT add_rule(p, 'base', points_per => 1) > 0, attach('public.orders', p, 'who', amount => 'amount', refunded => 'refunded', event_time => 'at') > 0
FROM unnest('{firm,owing}'::text[]) p;
INSERT INTO public.orders (id, who, amount, at) VALUES (30, 'eve', 50, '2020-05-01 12:00+00');
CREATE TEMP TABLE f AS SELECT hold('firm', 'eve', 30, '1 day') AS firm, hold('owing', 'eve', 30, '1 day') AS owing;
UPDATE public.orders SET refunded = 50 WHERE id = 30;
SELECT results_eq($$ SELECT program, available, held, debt FROM balances WHERE member = 'eve' AND program <> 'club' ORDER BY 1 $$,
	$$ VALUES ('firm', -30::numeric, 30::numeric, 30::numeric), ('owing', -30, 30, 30) $$, '20 were free, 30 are owed');
SELECT pg_temp.refused($$ SELECT hold('firm', 'eve', 1, '1 day') $$, 'LY302', NULL, 'where a debt blocks, nothing is held');
SELECT pg_temp.refused($$ SELECT hold('owing', 'eve', 1, '1 day') $$, 'LY301', '31 points are missing.', 'elsewhere the debt counts');
SELECT capture(firm) > 0, capture(owing, 10) > 0 FROM f;
SELECT is(release(owing)::numeric, 20.0, 'promised before, captured or released after') FROM f;
SELECT results_eq($$ SELECT program, available, held, debt FROM balances WHERE member = 'eve' AND program <> 'club' ORDER BY 1 $$,
	$$ VALUES ('firm', -30::numeric, 0::numeric, 30::numeric), ('owing', -10, 0, 30) $$, 'the debt stays');
SELECT pg_temp.proved('debts');

-- ---- Where it is forgiven: an order undone while its points are held leaves none free when the hold ends
CREATE FUNCTION pg_temp.kind_ones() RETURNS int[] LANGUAGE sql AS $$
	SELECT array_agg(currency_id) FROM loyalty.currency JOIN loyalty.program p USING (program_id) WHERE p.code IN ('club', 'brief')
$$;
CREATE FUNCTION pg_temp.free(who text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s free, %s held, %s redeemed, %s expired', trim_scale(available), trim_scale(held), trim_scale(redeemed), trim_scale(expired))
	FROM loyalty.balances WHERE member = who AND program = 'club'
$$;
CREATE FUNCTION pg_temp.open_holds(who text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s of %s', trim_scale(h.owed::numeric), trim_scale((h.points - h.captured)::numeric)), ', ' ORDER BY h.hold_no, h.lot_no)
	FROM loyalty.hold h JOIN loyalty.account a USING (account_id) WHERE h.open AND a.member_key = who AND a.currency_id = ANY (pg_temp.kind_ones())
$$;
CREATE FUNCTION pg_temp.last(who text, n int DEFAULT 1) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(what, ', ' ORDER BY entry_no)
	FROM (SELECT e.entry_no, format('%s %s forgiven %s', e.kind, trim_scale(e.points::numeric), coalesce(trim_scale(e.forgiven::numeric), 0)) AS what
		FROM loyalty.entry e JOIN loyalty.account a USING (account_id) WHERE a.member_key = who AND a.currency_id = ANY (pg_temp.kind_ones()) AND e.kind <> 'waive' ORDER BY e.entry_no DESC LIMIT n) e
$$;
-- What is owed is said by an entry each time it changes: of which hold and lot, and how much it is from then on.
CREATE FUNCTION pg_temp.waived(who text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s of hold %s, lot %s', coalesce(trim_scale(e.base::numeric), 0), (SELECT count(*) FROM loyalty.entry h WHERE h.account_id = e.account_id AND h.kind = 'hold' AND h.entry_no <= e.reverses), e.lot_no), '; ' ORDER BY e.entry_no)
	FROM loyalty.entry e JOIN loyalty.account a USING (account_id) WHERE a.member_key = who AND a.currency_id = ANY (pg_temp.kind_ones()) AND e.kind = 'waive'
$$;
INSERT INTO public.orders (id, who, amount, at) VALUES (100, 'oda', 100, now());
CREATE TEMP TABLE o AS SELECT hold('club', 'oda', 100, '1 day') AS h;
UPDATE public.orders SET refunded = 100 WHERE id = 100;
SELECT is(pg_temp.last('oda') || '; ' || pg_temp.open_holds('oda'), 'reverse 0 forgiven 100; 100 of 100', 'let off, since it was promised, and owed');
SELECT results_eq($$ SELECT balance('club', 'oda')::numeric, balance('club', 'oda', now() + interval '2 days')::numeric $$, $$ VALUES (0.0, 0.0) $$, 'nothing will be free when the hold ends');
SELECT is(release(h)::numeric, 100.0, 'released') FROM o;
SELECT is(pg_temp.free('oda'), '0 free, 0 held, 0 redeemed, 0 expired', 'nothing is free');
SELECT is(pg_temp.last('oda'), 'reverse -100 forgiven -100', 'what was let off is taken');
SELECT is(pg_temp.waived('oda'), '100 of hold 1, lot 1; 0 of hold 1, lot 1', 'and no longer owed');
SELECT pg_temp.proved('held, refunded, released');

-- The hold ends by the clock: the same, whether anybody has come by or not.
INSERT INTO public.orders (id, who, amount, at) VALUES (101, 'pia', 100, now() - interval '5 days');
SELECT hold('club', 'pia', 100, '1 day') > 0;
UPDATE public.orders SET refunded = 60 WHERE id = 101;
SELECT is(pg_temp.open_holds('pia'), '60 of 100', '60 are owed');
SELECT pg_temp.pass('pia', '2 days');
SELECT results_eq($$ SELECT balance('club', 'pia')::numeric, (SELECT available FROM balances WHERE program = 'club' AND member = 'pia'), (SELECT remaining - held FROM lots WHERE program = 'club' AND member = 'pia'),
		balance_as_known('club', 'pia', now(), now())::numeric, (SELECT balance FROM statement('club', 'pia', now() - interval '30 days', now() + interval '1 day') WHERE kind = 'closing') $$,
	$$ VALUES (40.0, 40::numeric, 40::numeric, 40.0, 40::numeric) $$, 'over, and nobody came by: 40 are free');
SELECT pg_temp.refused($$ SELECT redeem('club', 'pia', 41) $$, 'LY301', '1 points are missing.', 'and no more');
SELECT redeem('club', 'pia', 5) > 0;
SELECT is(pg_temp.last('pia', 2), 'reverse -60 forgiven -60, redeem -5 forgiven 0', 'the next posting takes them first');
SELECT results_eq($$ SELECT event_time = (SELECT ends_at FROM holds WHERE member = 'pia') FROM entries WHERE program = 'club' AND member = 'pia' AND points = -60 $$, $$ VALUES (true) $$, 'dated when the hold ended');
SELECT results_eq($$ SELECT balance('club', 'pia')::numeric, balance_as_known('club', 'pia', now(), now())::numeric $$, $$ VALUES (35.0, 35.0) $$, 'the balance is what it was, less the 5');

-- What is captured is spent, and stays let off; the rest is taken. What comes back of it is taken, too.
INSERT INTO public.orders (id, who, amount, at) VALUES (102, 'quin', 100, now());
CREATE TEMP TABLE oc AS SELECT hold('club', 'quin', 100, '1 day') AS h;
DELETE FROM public.orders WHERE id = 102;
CREATE TEMP TABLE occ AS SELECT capture(h, 30) AS c FROM oc;
SELECT is(pg_temp.open_holds('quin'), '70 of 70', 'captured: no more owed than is left') FROM oc;
SELECT is(release(h)::numeric, 70.0, 'the rest is released') FROM oc;
SELECT is(pg_temp.free('quin') || '; ' || pg_temp.last('quin'), '0 free, 0 held, 30 redeemed, 0 expired; reverse -70 forgiven -70', 'and taken');
SELECT is(giveback(c, 10) IS NOT NULL, true, 'ten come back') FROM occ;
SELECT is(pg_temp.free('quin') || '; ' || pg_temp.last('quin'), '0 free, 0 held, 20 redeemed, 0 expired; reverse -10 forgiven -10', 'and are taken');

-- Of a lot of two orders only what is not free is owed, by the hold that ends first; captured from that, by the next.
INSERT INTO public.orders (id, who, amount, at) VALUES (103, 'rosa', 100, now()), (104, 'rosa', 50, now());
CREATE TEMP TABLE od AS SELECT hold('club', 'rosa', 60, '2 days') AS late, hold('club', 'rosa', 60, '1 day') AS soon;
DELETE FROM public.orders WHERE id = 103;
SELECT is(pg_temp.last('rosa') || '; ' || pg_temp.open_holds('rosa'), 'reverse -30 forgiven 70; 10 of 60, 60 of 60', '30 were free, 70 are owed');
SELECT capture(soon, 45) > 0 FROM od;
SELECT is(pg_temp.open_holds('rosa'), '55 of 60, 15 of 15', 'what is captured of one is owed by the other');
SELECT is(pg_temp.waived('rosa'), '10 of hold 1, lot 1; 60 of hold 2, lot 1; 55 of hold 1, lot 1; 15 of hold 2, lot 1', 'as the entries say');
SELECT is(release(late)::numeric, 60.0, 'that is released before') FROM od;
SELECT is(pg_temp.open_holds('rosa') || '; ' || pg_temp.free('rosa'), '10 of 15; 0 free, 15 held, 45 redeemed, 0 expired', '60 of 70 taken from it');
SELECT is(release(soon)::numeric, 15.0, 'then the first') FROM od;
SELECT is(pg_temp.free('rosa'), '5 free, 0 held, 45 redeemed, 0 expired', '50 of the second order, less 45 redeemed');

-- Of two that are over when somebody comes by, what is owed of the one that ended first is taken first.
INSERT INTO public.orders (id, who, amount, at) VALUES (106, 'vera', 100, now() - interval '40 days');
SELECT hold('club', 'vera', 100, '2 days') > 0;
INSERT INTO public.orders (id, who, amount, at) VALUES (107, 'vera', 60, now());
SELECT hold('club', 'vera', 60, '1 day') > 0;
DELETE FROM public.orders WHERE id IN (106, 107);
SELECT pg_temp.pass('vera', '3 days');
INSERT INTO public.orders (id, who, amount, at) VALUES (108, 'vera', 7, now());
SELECT is(pg_temp.last('vera', 3), 'reverse -60 forgiven -60, reverse -100 forgiven -100, earn 7 forgiven 0', 'in the order in which they ended');

-- A refund undone is not owed; nor what dies while it is held; nor a bonus that is never taken back.
INSERT INTO public.orders (id, who, amount, at) VALUES (105, 'saul', 100, now());
CREATE TEMP TABLE oe AS SELECT hold('club', 'saul', 100, '1 day') AS h;
UPDATE public.orders SET refunded = 80 WHERE id = 105;
UPDATE public.orders SET refunded = 25 WHERE id = 105;
SELECT is(pg_temp.open_holds('saul'), '25 of 100', 'no more than is let off');
SELECT is(release(h)::numeric, 100.0, 'released') FROM oe;
SELECT is(pg_temp.free('saul'), '75 free, 0 held, 0 redeemed, 0 expired', '75 are hers');
SELECT create_program('brief', validity => '30 days') > 0, add_rule('brief', 'base', points_per => 1) > 0, add_rule('brief', 'gift', bonus => 9, reversal => 'never') > 0;
CREATE TABLE public.brief (id int PRIMARY KEY, who text, amount numeric);
SELECT attach('public.brief', 'brief', 'who', amount => 'amount') > 0;
INSERT INTO public.brief VALUES (1, 'tess', 40);
CREATE TEMP TABLE oflo AS SELECT hold('brief', 'tess', 49, '60 days') AS h;
DELETE FROM public.brief WHERE id = 1;
SELECT is(pg_temp.open_holds('tess'), '40 of 49', 'the gift is not owed');
SELECT pg_temp.pass_time('40 days');
SELECT is(release(h)::numeric, 49.0, 'released when they have died') FROM oflo;
SELECT is((SELECT expired FROM balances WHERE program = 'brief'), 49::numeric, 'the dead are not taken');
-- But for what was moved in time behind its back.
SELECT is_empty($$ SELECT problem FROM verify() WHERE problem NOT LIKE 'it ended at %' AND problem NOT LIKE 'its totals are as of %' $$, 'the proof holds');
SELECT pg_temp.balanced('what is owed');

-- ---- The same of an order of who was merged into the one who holds: its points are in the survivor's lot of its dates
INSERT INTO public.orders (id, who, amount, at) VALUES (120, 'abe', 100, now());
SELECT enrol('club', 'bea') > 0, merge_members('club', 'abe', 'bea') > 0;
CREATE TEMP TABLE ma AS SELECT hold('club', 'bea', 100, '1 day') AS h;
UPDATE public.orders SET refunded = 100 WHERE id = 120;
SELECT is(pg_temp.last('abe') || '; ' || pg_temp.open_holds('bea'), 'reverse 0 forgiven 100; 100 of 100', 'let off, and owed by the survivor''s hold');
UPDATE public.orders SET refunded = 60 WHERE id = 120;
SELECT is(pg_temp.open_holds('bea'), '60 of 100', 'no more than is let off');
SELECT results_eq($$ SELECT balance('club', 'bea')::numeric, balance('club', 'bea', now() + interval '2 days')::numeric $$, $$ VALUES (0.0, 40.0) $$, '40 will be free when the hold ends');
SELECT is(release(h)::numeric, 100.0, 'released') FROM ma;
SELECT is(pg_temp.free('bea') || '; ' || pg_temp.last('abe', 2), '40 free, 0 held, 0 redeemed, 0 expired; merge 60 forgiven 0, reverse -60 forgiven -60', 'they are brought back and taken');
SELECT pg_temp.balanced('a merged member''s order');
SELECT is_empty($$ SELECT problem FROM verify() WHERE problem NOT LIKE 'it ended at %' AND problem NOT LIKE 'its totals are as of %' $$, 'verify() agrees: a merged member''s order');

-- It ends by the clock; with one between the two; what was free is taken at once.
INSERT INTO public.orders (id, who, amount, at) VALUES (121, 'cy', 100, now() - interval '5 days'), (122, 'eli', 30, now() - interval '5 days');
SELECT enrol('club', 'dot') > 0, merge_members('club', 'cy', 'dot') > 0, merge_members('club', 'dot', 'eli') > 0, hold('club', 'eli', 120, '1 day') > 0;
DELETE FROM public.orders WHERE id = 121;
SELECT is(pg_temp.last('cy') || '; ' || pg_temp.open_holds('eli'), 'reverse -10 forgiven 90; 90 of 120', '10 of 130 were free');
SELECT pg_temp.pass('eli', '2 days');
SELECT is(balance('club', 'eli')::numeric, 30.0, 'over, and nobody came by');
SELECT pg_temp.refused($$ SELECT redeem('club', 'eli', 31) $$, 'LY301', '1 points are missing.', 'what is owed is nobody''s');
SELECT redeem('club', 'eli', 5) > 0;
SELECT is(pg_temp.free('eli') || '; ' || pg_temp.last('cy', 2) || '; ' || pg_temp.last('eli', 2), '25 free, 0 held, 5 redeemed, 0 expired; merge 90 forgiven 0, reverse -90 forgiven -90; merge -90 forgiven 0, redeem -5 forgiven 0', 'through the one between');
SELECT results_eq($$ SELECT count(*), bool_and(event_time = (SELECT ends_at FROM holds WHERE member = 'eli')) FROM entries WHERE program = 'club' AND member IN ('cy', 'dot', 'eli') AND abs(points) = 90 $$,
	$$ VALUES (5::bigint, true) $$, 'all dated when the hold ended');

-- The lot dies after the hold is over, before anybody comes by: what was owed was alive then, and is taken.
INSERT INTO public.orders (id, who, amount, at) VALUES (126, 'mae', 100, now() - interval '5 days');
SELECT enrol('club', 'ned') > 0, merge_members('club', 'mae', 'ned') > 0, hold('club', 'ned', 100, '1 day') > 0;
UPDATE public.orders SET refunded = 70 WHERE id = 126;
SELECT pg_temp.die('mae', 1, now() - interval '12 hours'), pg_temp.die('ned', 1, now() - interval '12 hours'), pg_temp.pass('ned', '2 days');
INSERT INTO public.orders (id, who, amount, at) VALUES (127, 'ned', 5, now());
SELECT _expire_accounts(ARRAY(SELECT account_id FROM account WHERE member_key IN ('mae', 'ned') AND merged_into IS NULL ORDER BY 1), now());
SELECT is(pg_temp.free('ned') || '; ' || pg_temp.last('mae', 2), '5 free, 0 held, 0 redeemed, 30 expired; merge 70 forgiven 0, reverse -70 forgiven -70', 'of 100 that died 70 had gone before');

-- What is captured is spent, and stays let off; what comes back of it is taken, too.
INSERT INTO public.orders (id, who, amount, at) VALUES (123, 'flo', 100, now());
SELECT enrol('club', 'gil') > 0, merge_members('club', 'flo', 'gil') > 0;
CREATE TEMP TABLE mc2 AS SELECT hold('club', 'gil', 100, '1 day') AS h;
DELETE FROM public.orders WHERE id = 123;
CREATE TEMP TABLE mcc AS SELECT capture(h, 30) AS c FROM mc2;
SELECT is(pg_temp.open_holds('gil'), '70 of 70', 'captured: no more owed than is left');
SELECT is(release(h)::numeric, 70.0, 'the rest is released') FROM mc2;
SELECT is(pg_temp.free('gil') || '; ' || pg_temp.last('flo'), '0 free, 0 held, 30 redeemed, 0 expired; reverse -70 forgiven -70', 'and taken');
SELECT is(giveback(c, 10) IS NOT NULL, true, 'ten come back') FROM mcc;
SELECT is(pg_temp.free('gil') || '; ' || pg_temp.last('flo'), '0 free, 0 held, 20 redeemed, 0 expired; reverse -10 forgiven -10', 'and are taken');

-- Taken apart while the points are held, the hold is the survivor's, as a redemption is: it owes for the survivor's orders only.
INSERT INTO public.orders (id, who, amount, at) VALUES (124, 'hew', 100, now()), (125, 'ina', 50, now());
SELECT merge_members('club', 'hew', 'ina') > 0;
CREATE TEMP TABLE mu AS SELECT hold('club', 'ina', 150, '1 day') AS h;
DELETE FROM public.orders WHERE id IN (124, 125);
SELECT is(pg_temp.open_holds('ina'), '150 of 150', 'owed for the orders of both');
SELECT unmerge_member('club', 'hew') > 0;
SELECT is(pg_temp.open_holds('ina'), '50 of 150', 'taken apart: for the survivor''s own');
SELECT is(balance('club', 'ina', now() + interval '2 days')::numeric, 100.0, 'and foreseen so');
SELECT is(release(h)::numeric, 150.0, 'released') FROM mu;
SELECT is(pg_temp.free('ina') || '; ' || pg_temp.free('hew') || '; ' || pg_temp.last('hew', 2), '100 free, 0 held, 0 redeemed, 0 expired; 0 free, 0 held, 0 redeemed, 0 expired; reverse 0 forgiven 100, merge 0 forgiven 0', 'the points stay the survivor''s');

-- An award that waits is nobody's to hold; confirmed, its points go where they can be held.
SELECT create_program('slow', confirm => true) > 0, add_rule('slow', 'base', points_per => 1) > 0;
CREATE TABLE public.slow (id int PRIMARY KEY, who text, amount numeric);
SELECT attach('public.slow', 'slow', 'who', amount => 'amount') > 0;
INSERT INTO public.slow VALUES (1, 'kit', 40), (2, 'kit', 7);
SELECT enrol('slow', 'lea') > 0, merge_members('slow', 'kit', 'lea') > 0;
SELECT confirm(entry_id) > 0 FROM entries WHERE program = 'slow' AND event = '1';
CREATE TEMP TABLE mw AS SELECT hold('slow', 'lea', 40, '1 day') AS h;
DELETE FROM public.slow;
SELECT results_eq($$ SELECT h.owed::numeric, (SELECT sum(e.forgiven::numeric) FROM entries e WHERE program = 'slow') FROM hold h, mw WHERE (account_id, hold_no) = (mw.h / 100000000, mw.h % 100000000) $$,
	$$ VALUES (40::numeric, 40::numeric) $$, 'what waited is taken, what was confirmed and is held is owed');
SELECT is(release(h)::numeric, 40.0, 'released') FROM mw;
SELECT results_eq($$ SELECT count(*), sum(available), sum(pending), sum(held) FROM balances WHERE program = 'slow' $$, $$ VALUES (2::bigint, 0::numeric, 0::numeric, 0::numeric) $$, 'nothing is left');
SELECT pg_temp.balanced('merged and held');
SELECT is_empty($$ SELECT problem FROM verify() WHERE problem NOT LIKE 'it ended at %' AND problem NOT LIKE 'its totals are as of %' $$, 'verify() agrees: merged and held');

-- ---- The past
INSERT INTO public.orders (id, who, amount, at) VALUES (40, 'fay', 100, now() - interval '50 days');
CREATE TEMP TABLE p AS SELECT hold('club', 'fay', 60, '20 days') AS h1;
CREATE TEMP TABLE pc AS SELECT capture(h1, 10) AS c1 FROM p;
SELECT release(h1)::numeric FROM p;
-- As if held 40 days ago, captured in part 30 days ago, released 25 days ago.
SET LOCAL session_replication_role = replica;
UPDATE hold SET ends_at = ends_at - interval '40 days', released_at = now() - interval '25 days' FROM p WHERE (account_id, hold_no) = (h1 / 100000000, h1 % 100000000);
UPDATE entry SET event_time = now() - CASE kind WHEN 'hold' THEN interval '40 days' ELSE interval '30 days' END FROM p
WHERE account_id = h1 / 100000000 AND kind IN ('hold', 'redeem');
SET LOCAL session_replication_role = origin;
SELECT results_eq($$ SELECT balance('club', 'fay', now() - interval '1 day' * d)::numeric FROM unnest('{41,40,31,30,26,25,0}'::int[]) WITH ORDINALITY u (d, n) ORDER BY n $$,
	$$ VALUES (100.0), (40.0), (40.0), (40.0), (40.0), (90.0), (90.0) $$, 'what was held then was not to be spent');
SET LOCAL session_replication_role = replica;
UPDATE hold SET released_at = NULL FROM p WHERE (account_id, hold_no) = (h1 / 100000000, h1 % 100000000);
SET LOCAL session_replication_role = origin;
SELECT results_eq($$ SELECT balance('club', 'fay', now() - interval '1 day' * d)::numeric FROM unnest('{21,20}'::int[]) WITH ORDINALITY u (d, n) ORDER BY n $$,
	$$ VALUES (40.0), (90.0) $$, 'a hold that nobody released ended by itself');

-- ---- Guarded
SELECT throws_ok('UPDATE hold SET points = 1', 'LY401');
SELECT throws_ok('DELETE FROM hold', 'LY401');
SELECT throws_ok('TRUNCATE hold', 'LY401');

-- What was told while a hold that was over owed points to a refund, and nobody had booked that yet.
SELECT create_program('told') > 0;
SELECT add_rule('told', 'base', points_per => 1) > 0;
CREATE TABLE public.told (id int PRIMARY KEY, who text, amount numeric, refunded numeric NOT NULL DEFAULT 0, at timestamptz);
SELECT attach('public.told', 'told', 'who', amount => 'amount', refunded => 'refunded', event_time => 'at') > 0;
INSERT INTO public.told VALUES (1, 'tom', 100, 0, now());
SELECT hold('told', 'tom', 60, '1 day') > 0;
SELECT pg_temp.pass_time('6 hours');
UPDATE public.told SET refunded = 100;
SELECT pg_temp.pass_time('48 hours');
SELECT is(balance('told', 'tom'), '0', 'the hold ended 30 hours ago: its 60 go back to the refund, 40 did at once');
SELECT is(balance_as_known('told', 'tom', now() - interval '20 hours', now() - known), told::points, format('of 20 hours ago %s ago %s were told, and nothing is booked', known, told))
FROM (VALUES (interval '50 hours', 100), ('40 hours', 0)) v (known, told);
SELECT adjust('told', 'tom', 5, 'x') > 0;
SELECT is(balance('told', 'tom'), '5', 'which the next posting booked');
SELECT is(balance_as_known('told', 'tom', now() - known, now() - known), told::points, format('%s ago %s were told', known, told))
FROM (VALUES (interval '50 hours', 40), ('40 hours', 0), ('20 hours', 0), ('1 hour', 0)) v (known, told);
SELECT is(balance_as_known('told', 'tom', now() - interval '20 hours', now() - known), told::points, format('of 20 hours ago %s ago %s were told', known, told))
FROM (VALUES (interval '50 hours', 100), ('40 hours', 0)) v (known, told);

SELECT * FROM finish();
ROLLBACK;
