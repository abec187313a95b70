-- giveback: the lots that paid get back what they paid, the last one first, and no longer life
\ir include/begin.psql

SELECT create_program('club', validity => '100 years', validity_rounding => 'year', decimals => 1) > 0;
\ir include/orders.psql

CREATE FUNCTION pg_temp.left_in(who text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(lot_no || ':' || remaining, ' ' ORDER BY lot_no) FROM loyalty.lots WHERE member = who
$$;
-- Time can't be made to pass: lots are made to have died instead.
CREATE FUNCTION pg_temp.die(who text, nos int[], at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL session_replication_role = replica;
	UPDATE loyalty.lot l SET expires_at = at FROM loyalty.account a JOIN loyalty.member m USING (member_id)
	WHERE l.account_id = a.account_id AND m.member = who AND l.lot_no = ANY (nos);
	UPDATE loyalty.account a SET as_of = '-infinity', next_change = '-infinity' FROM loyalty.member m
	WHERE m.member_id = a.member_id AND m.member = who;
	PERFORM pg_temp.rehash();
	SET LOCAL session_replication_role = origin;
END $$;

-- ---- In parts
INSERT INTO public.orders (id, who, amount, at) VALUES (1, 'ann', 10, '2020-05-01 12:00+00'), (2, 'ann', 20, '2021-05-01 12:00+00'),
	(3, 'ann', 30, '2022-05-01 12:00+00');
CREATE TEMP TABLE spent AS SELECT redeem('club', 'ann', 45) AS id;
SELECT is(pg_temp.paid(id), '1:-10 2:-20 3:-15', 'three lots pay') FROM spent;
CREATE TEMP TABLE back AS SELECT giveback(id, 20, reason => 'one of two') AS id FROM spent;
SELECT is(pg_temp.paid(id), '3:15 2:5', 'the last that paid is the first to get back') FROM back;
SELECT results_eq($$ SELECT e.kind, e.points, e.reason, e.reverses FROM entries e JOIN back ON entry_id = back.id $$,
	$$ SELECT 'giveback', 20.0, 'one of two', id FROM spent $$, 'its entry says what it undoes, and why');
SELECT is(pg_temp.left_in('ann'), '1:0 2:5 3:30', 'what is in the lots');
SELECT pg_temp.balanced('a part given back');
SELECT is(pg_temp.paid(giveback(id, '3.5')), '2:3.5', 'the next part goes on where the last one stopped') FROM spent;
SELECT pg_temp.refused(format('SELECT giveback(%s, ''21.6'')', id), 'LY303', '21.5 points of this redemption are left to give back.', 'a tenth too many') FROM spent;
SELECT is(pg_temp.left_in('ann'), '1:0 2:8.5 3:30', 'a refusal gives nothing') FROM spent;
SELECT is(pg_temp.paid(giveback(id)), '2:11.5 1:10', 'without points: all that is left') FROM spent;
SELECT is(pg_temp.left_in('ann'), '1:10 2:20 3:30', 'all as it was');
SELECT results_eq($$ SELECT expires_at FROM lots WHERE member = 'ann' ORDER BY lot_no $$,
	$$ VALUES ('2121-01-01 00:00+00'::timestamptz), ('2122-01-01 00:00+00'), ('2123-01-01 00:00+00') $$, 'with the ends they had');
SELECT results_eq($$ SELECT available, earned, redeemed FROM balances WHERE member = 'ann' $$, $$ VALUES (60.0, 60.0, 0.0) $$, 'and the totals');
SELECT pg_temp.refused(format('SELECT giveback(%s)', id), 'LY303', '0% points of this redemption are left to give back.', 'nothing is left') FROM spent;
SELECT pg_temp.refused(format('SELECT giveback(%s, ''0.1'')', id), 'LY303', '0% points of this redemption are left to give back.', 'not even a tenth') FROM spent;
SELECT pg_temp.refused(format('SELECT giveback(%s, ''922337203685477.5'')', id), 'LY303', NULL, 'nor everything') FROM spent;
SELECT pg_temp.balanced('all given back');
SELECT is(pg_temp.paid(redeem('club', 'ann', 60)), '1:-10 2:-20 3:-30', 'they can be spent again');
SELECT is(pg_temp.paid(giveback((SELECT max(entry_id) FROM entries WHERE member = 'ann'))), '3:30 2:20 1:10', 'whole at once');

-- ---- What can't be given back
SELECT pg_temp.refused(format('SELECT giveback(%s, 0)', id), 'LY304', NULL, 'zero points') FROM spent;
SELECT pg_temp.refused(format('SELECT giveback(%s, -1)', id), 'LY304', NULL, 'negative points') FROM spent;
SELECT pg_temp.refused(format('SELECT giveback(%s, ''0.05'')', id), 'LY304', 'The currency has 1 decimals.', 'too fine points') FROM spent;
SELECT pg_temp.refused('SELECT giveback(NULL)', '22004', NULL, 'NULL');
SELECT pg_temp.refused(format('SELECT giveback(%s)', e), 'LY004', NULL, format('entry %s', e))
FROM unnest('{0,-1,1,-100000001,99999999,100000000,9223372036854775807,-9223372036854775808}'::bigint[]) e;
SELECT pg_temp.refused(format('SELECT giveback(%s)', id + 50), 'LY004', NULL, 'no such entry of that account') FROM spent;
SELECT pg_temp.refused(format('SELECT giveback(%s)', id / 100000000 * 100000000), 'LY004', NULL, 'an account is no entry') FROM spent;
SELECT pg_temp.refused(format('SELECT giveback(%s)', id), 'LY004', NULL, 'a giveback') FROM back;
SELECT pg_temp.refused(format('SELECT giveback(%s)', min(entry_id)), 'LY004', NULL, 'an award') FROM entries WHERE kind = 'earn';
SELECT pg_temp.refused(format('SELECT giveback(%s)', adjust('club', 'ann', -1, 'x')), 'LY004', NULL, 'an adjustment');
SELECT pg_temp.refused(format('SELECT giveback(%s, grace => %L)', id, g), 'LY306', NULL, format('a grace of %s', g))
FROM spent, unnest('{0,-1 day,1 mon -1 day}'::interval[]) g;

-- ---- Request ids
INSERT INTO public.orders (id, who, amount, at) VALUES (10, 'bob', 100, '2020-05-01 12:00+00');
CREATE TEMP TABLE bob AS SELECT redeem('club', 'bob', 50, 'b1') AS r1, redeem('club', 'bob', 50, 'b2') AS r2;
CREATE TEMP TABLE bob_back AS SELECT giveback(r1, 20, 'g1', 'lost') AS g1 FROM bob;
SELECT is(giveback(r1, 20, 'g1', 'lost'), g1, 'the same call answers the same') FROM bob, bob_back;
SELECT is(balance('club', 'bob')::numeric, 20.0, 'and gives nothing twice');
SELECT pg_temp.refused(format('SELECT giveback(%s, 21, ''g1'', ''lost'')', r1), 'LY305', NULL, 'other points') FROM bob;
SELECT pg_temp.refused(format('SELECT giveback(%s, NULL, ''g1'', ''lost'')', r1), 'LY305', NULL, 'all points') FROM bob;
SELECT pg_temp.refused(format('SELECT giveback(%s, 20, ''g1'', ''found'')', r1), 'LY305', NULL, 'another reason') FROM bob;
SELECT pg_temp.refused(format('SELECT giveback(%s, 20, ''g1'')', r1), 'LY305', NULL, 'no reason') FROM bob;
SELECT pg_temp.refused(format('SELECT giveback(%s, 20, ''g1'', ''lost'', ''1 day'')', r1), 'LY305', NULL, 'a grace') FROM bob;
SELECT pg_temp.refused(format('SELECT giveback(%s, 20, ''g1'', ''lost'')', r2), 'LY305', NULL, 'another redemption') FROM bob;
SELECT pg_temp.refused(format('SELECT giveback(%s, 20, ''b1'', ''lost'')', r1), 'LY305', NULL, 'the id of the redemption') FROM bob;
SELECT giveback(r1) > 0 FROM bob;
SELECT is(giveback(r1, 20, 'g1', 'lost'), g1, 'also when nothing is left to give back') FROM bob, bob_back;
SELECT giveback(r2, 50, 'g2', grace => '1 mon') > 0 FROM bob;
SELECT pg_temp.refused(format('SELECT giveback(%s, 50, ''g2'', grace => ''30 days'')', r2), 'LY305', NULL, 'another grace') FROM bob;
SELECT is(giveback(r2, 50, 'g2', grace => '1 mon'), max(entry_id), 'the same grace') FROM bob, entries WHERE member = 'bob' GROUP BY r2;
SELECT is(balance('club', 'bob')::numeric, 100.0, 'all is back once');
SELECT pg_temp.balanced('after repeated calls');

-- ---- Lots that died meanwhile: lot 1 whole, lot 2 with 5 of it never spent
INSERT INTO public.orders (id, who, amount, at) VALUES (20, 'cyd', 10, '2020-05-01 12:00+00'), (21, 'cyd', 20, '2021-05-01 12:00+00'),
	(22, 'cyd', 30, '2022-05-01 12:00+00');
CREATE TEMP TABLE cyd AS SELECT redeem('club', 'cyd', 25) AS r1, redeem('club', 'cyd', 12) AS r2;
SELECT results_eq($$ SELECT pg_temp.paid(r1), pg_temp.paid(r2) FROM cyd $$, $$ VALUES ('1:-10 2:-15', '2:-5 3:-7') $$, 'who paid');
SELECT giveback(r1, 5) > 0 FROM cyd;
SELECT is(pg_temp.left_in('cyd'), '1:0 2:5 3:23', 'before they die');
SELECT pg_temp.die('cyd', '{1}', '2021-06-01 00:00+00'), pg_temp.die('cyd', '{2}', '2021-07-01 00:00+00');
SELECT is(balance('club', 'cyd')::numeric, 23.0, 'dead is dead, though nothing is booked');
CREATE TEMP TABLE cyd_back AS SELECT giveback(r1) AS g1 FROM cyd;
SELECT is(pg_temp.paid(g1), '2:10 1:10', 'they get back what they paid') FROM cyd_back;
SELECT is(balance('club', 'cyd')::numeric, 23.0, 'but not to be spent');
SELECT results_eq($$ SELECT e.kind, e.points, e.lot_no, e.event_time FROM entries e, cyd_back WHERE entry_id > g1 AND member = 'cyd' ORDER BY entry_id $$,
	$$ VALUES ('expire', -15.0, 2, '2021-07-01 00:00+00'::timestamptz), ('expire', -10.0, 1, '2021-06-01 00:00+00') $$,
	'they expired, with what was in them, when they died');
SELECT is(pg_temp.paid(giveback(r2)), '3:7 2:5', 'the living lot gets its own back, the dead one too') FROM cyd;
SELECT is(pg_temp.left_in('cyd'), '1:0 2:0 3:30', 'only that of the living one stays');
SELECT results_eq($$ SELECT available, earned, redeemed, expired FROM balances WHERE member = 'cyd' $$, $$ VALUES (30.0, 60.0, 0.0, 30.0) $$, 'the totals');
SELECT pg_temp.refused(format('SELECT giveback(%s, grace => ''1 day'')', r1), 'LY303', '0%', 'given back dead is given back') FROM cyd;
SELECT pg_temp.balanced('dead lots given back');

-- ---- Grace: a new lot for what would come back dead, and no longer life for what would not
INSERT INTO public.orders (id, who, amount, at) VALUES (30, 'dee', 10, '2020-05-01 12:00+00'), (31, 'dee', 20, '2021-05-01 12:00+00');
CREATE TEMP TABLE dee AS SELECT redeem('club', 'dee', 25) AS r1;
SELECT pg_temp.die('dee', '{1}', '2021-06-01 00:00+00');
SELECT is(pg_temp.paid(giveback(r1, grace => '36 hours')), '2:15 3:10', 'a living lot, and a new one for the dead') FROM dee;
SELECT results_eq($$ SELECT lot_no, issued, valid_from, expires_at, remaining, state FROM lots WHERE member = 'dee' ORDER BY 1 $$,
	$$ VALUES (1, '2020-05-01'::date, NULL::timestamptz, '2021-06-01 00:00+00'::timestamptz, 0.0, 'used'),
	          (2, '2021-05-01', NULL, '2122-01-01 00:00+00', 20.0, 'live'), (3, '2020-05-01', NULL, now() + interval '36 hours', 10.0, 'live') $$,
	'the grace counts from now; the month of issue stays');
SELECT is(balance('club', 'dee')::numeric, 30.0, 'all can be spent');
SELECT is(balance('club', 'dee', now() + interval '36 hours')::numeric, 20.0, 'until the grace is over');
SELECT is(balance('club', 'dee', now() + interval '35:59:59.999999')::numeric, 30.0, 'not before');
SELECT is(pg_temp.paid(redeem('club', 'dee', 12)), '3:-10 2:-2', 'the grace ends soonest');
SELECT pg_temp.refused(format('SELECT giveback(%s, grace => ''1 day'')', r1), 'LY303', '0%', 'once') FROM dee;
SELECT pg_temp.balanced('after a grace');

-- ---- Into debt
CREATE TABLE public.sales (LIKE public.orders INCLUDING ALL);
SELECT create_program('owing', debt => 'negative', validity => '100 years') > 0;
SELECT add_rule('owing', 'base', points_per => 1) > 0;
SELECT attach('public.sales', 'owing', 'who', amount => 'amount', refunded => 'refunded', event_time => 'at') > 0;
INSERT INTO public.sales VALUES (1, 'eve', 100, 0, '2020-05-01 12:00+00');
CREATE TEMP TABLE eve AS SELECT redeem('owing', 'eve', 70) AS r1;
UPDATE public.sales SET refunded = 80 WHERE id = 1;
SELECT is(balance('owing', 'eve')::numeric, -50.0, '80 taken of 30');
SELECT is(pg_temp.paid(giveback(r1, 20)), '0:20', 'a part repays the debt') FROM eve;
SELECT is(pg_temp.paid(giveback(r1, 40)), '0:30 1:10', 'what is more than the debt goes to the lot') FROM eve;
SELECT is(balance('owing', 'eve')::numeric, 10.0, '100 - 80 - 10 still redeemed');
SELECT pg_temp.balanced('given back into debt');
SELECT is(pg_temp.paid(giveback(r1)), '1:10', 'the rest') FROM eve;
SELECT results_eq($$ SELECT available, debt, earned, redeemed FROM balances WHERE member = 'eve' $$, $$ VALUES (20::numeric, 0::numeric, 20::numeric, 0::numeric) $$,
	'as if nothing had been redeemed');
INSERT INTO public.sales VALUES (2, 'fay', 100, 0, '2020-05-01 12:00+00');
CREATE TEMP TABLE fay AS SELECT redeem('owing', 'fay', 100) AS r1;
UPDATE public.sales SET refunded = 60 WHERE id = 2;
SELECT pg_temp.die('fay', '{1}', '2021-06-01 00:00+00');
SELECT giveback(r1, 50) > 0 FROM fay;
SELECT is(balance('owing', 'fay')::numeric, -60.0, 'points that come back dead repay nothing');
SELECT is(pg_temp.paid(giveback(r1, grace => '1 day')), '0:50', 'those with a grace do') FROM fay;
SELECT is(balance('owing', 'fay')::numeric, -10.0, 'the rest is owed');
SELECT pg_temp.balanced('debts');

-- ---- Of purchases undone while their points were spent: what was forgiven is taken when it comes back
CREATE TABLE public.basket (id text, line int, who text, amount numeric, refunded numeric NOT NULL DEFAULT 0, status text NOT NULL DEFAULT 'paid', at timestamptz,
	PRIMARY KEY (id, line));
SELECT create_program('kind', validity => '100 years', ladder => 'none:0, some:100') > 0;
SELECT add_rule('kind', 'base', points_per => 1) > 0;
SELECT attach('public.basket', 'kind', 'who', amount => 'amount', refunded => 'refunded', status => 'status', earning => '{paid}', event_time => 'at') > 0;
CREATE FUNCTION pg_temp.buy(id text, who text, amount numeric, at timestamptz DEFAULT '2020-05-01 12:00+00') RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.basket (id, line, who, amount, at) VALUES (id, 1, who, amount, at)
$$;
-- Entries after the giveback, as kind points forgiven event.
CREATE FUNCTION pg_temp.after(entry bigint) RETURNS text[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(format('%s %s %s %s', kind, trim_scale(points), trim_scale(forgiven), event) ORDER BY entry_id), '{}') FROM loyalty.entries
	WHERE entry_id > entry AND entry_id / 100000000 = entry / 100000000
$$;
SELECT pg_temp.buy('g1', 'gus', 100);
CREATE TEMP TABLE gus AS SELECT redeem('kind', 'gus', 100) AS r1;
UPDATE public.basket SET status = 'cancelled' WHERE who = 'gus';
SELECT is((SELECT forgiven FROM entries WHERE member = 'gus' AND kind = 'reverse'), 100::numeric, 'spent and cancelled: all is forgiven');
CREATE TEMP TABLE gus_back AS SELECT giveback(r1) AS g1 FROM gus;
SELECT is(pg_temp.paid(g1), '1:100', 'what paid gets it back') FROM gus_back;
SELECT is(pg_temp.after(g1), '{"reverse -100 -100 g1,1"}', '... and gives it for the purchase, which is forgiven no more') FROM gus_back;
SELECT results_eq($$ SELECT available, earned, redeemed FROM balances WHERE member = 'gus' $$, $$ VALUES (0::numeric, 0::numeric, 0::numeric) $$, 'bought nothing, spent nothing, has nothing');
SELECT is((SELECT tier || trim_scale(metric) FROM tier_progress('kind', 'gus')), 'none0', 'the tier had lost it already');
UPDATE public.basket SET status = 'paid' WHERE who = 'gus';
SELECT is(balance('kind', 'gus')::numeric || (SELECT tier FROM tier_progress('kind', 'gus')), '100some', 'paid after all, it earns all of it again');
SELECT pg_temp.balanced('forgiven and made up for');

-- In parts, of a partial refund: of 100 spent 60 are owed.
SELECT pg_temp.buy('h1', 'hal', 100);
CREATE TEMP TABLE hal AS SELECT redeem('kind', 'hal', 100) AS r1;
UPDATE public.basket SET refunded = 60 WHERE who = 'hal';
SELECT is(pg_temp.after(giveback(r1, 25)), '{"reverse -25 -25 h1,1"}', 'the first 25 of 60') FROM hal;
SELECT is(balance('kind', 'hal')::numeric, 0.0, '... none is to be spent');
UPDATE public.basket SET refunded = 50 WHERE who = 'hal';
SELECT is(pg_temp.after(giveback(r1, 30)), '{"reverse -25 -25 h1,1"}', '10 were refunded too much: 25 are left of 50') FROM hal;
SELECT is(pg_temp.after(giveback(r1)), '{}', 'the rest is the member''s') FROM hal;
SELECT results_eq($$ SELECT available, earned, redeemed FROM balances WHERE member = 'hal' $$, $$ VALUES (50::numeric, 50::numeric, 0::numeric) $$, 'half a purchase');
SELECT pg_temp.balanced('in parts');

-- Another purchase of the same day, and of another: each has its own. Lot 1 is of i1 and i2, lot 2 of i3, which the refund of i1 takes too.
SELECT pg_temp.buy('i1', 'ida', 100), pg_temp.buy('i2', 'ida', 100), pg_temp.buy('i3', 'ida', 40, '2021-05-01 12:00+00');
CREATE TEMP TABLE ida AS SELECT redeem('kind', 'ida', 190) AS r1;
DELETE FROM public.basket WHERE id = 'i1';
SELECT is(pg_temp.left_in('ida'), '1:0 2:0', '10 of the lot, 40 of the other, 50 forgiven');
SELECT is(pg_temp.after(giveback(r1)), '{"reverse -50 -50 i1,1"}', '190 come back, 50 are owed') FROM ida;
SELECT is(balance('kind', 'ida')::numeric, 140.0, 'the other two purchases');
-- An order whose key changed, two that share a lot, and what never earned.
SELECT pg_temp.buy('j2', 'joe', 30), pg_temp.buy('j1', 'joe', 20), pg_temp.buy('j3', 'joe', 50);
CREATE TEMP TABLE joe AS SELECT redeem('kind', 'joe', 100) AS r1;
UPDATE public.basket SET amount = 0 WHERE id IN ('j1', 'j2');
UPDATE public.basket SET id = 'j0' WHERE id = 'j2';
SELECT is(pg_temp.after(giveback(r1, 45)), '{"reverse -30 -30 j0,1","reverse -15 -15 j1,1"}', 'by their keys of today') FROM joe;
SELECT is(pg_temp.after(giveback(r1)), '{"reverse -5 -5 j1,1"}', '... and the rest') FROM joe;
SELECT is(balance('kind', 'joe')::numeric, 50.0, 'the third');
-- A key used again is another purchase: what the first was forgiven stays so.
SELECT pg_temp.buy('k1', 'kim', 100);
CREATE TEMP TABLE kim AS SELECT redeem('kind', 'kim', 100) AS r1;
DELETE FROM public.basket WHERE id = 'k1';
SELECT pg_temp.buy('k1', 'kim', 100, '2022-05-01 12:00+00');
CREATE TEMP TABLE kim2 AS SELECT redeem('kind', 'kim', 100) AS r2;
SELECT is(pg_temp.after(giveback(r2)), '{}', 'the second purchase was never undone') FROM kim2;
SELECT is(balance('kind', 'kim')::numeric, 100.0, 'and is the member''s');
SELECT pg_temp.balanced('shared lots and keys');
-- Dead meanwhile: it comes back dead, or with a grace, and then it is owed.
SELECT pg_temp.buy('l1', 'lea', 100);
CREATE TEMP TABLE lea AS SELECT redeem('kind', 'lea', 100) AS r1;
DELETE FROM public.basket WHERE id = 'l1';
SELECT pg_temp.die('lea', '{1}', '2021-06-01 00:00+00');
SELECT is(pg_temp.after(giveback(r1, 10)), '{"expire -10  "}', 'dead is dead') FROM lea;
SELECT is(pg_temp.after(giveback(r1, grace => '1 day')), '{"reverse -90 -90 l1,1"}', 'a grace gives life to nothing that is owed') FROM lea;
SELECT is(balance('kind', 'lea')::numeric, 0.0, 'nothing');
-- What had died before the purchase was undone was not spent, and is not owed: 40 dead, 60 spent of 100.
SELECT pg_temp.buy('m1', 'max', 100);
CREATE TEMP TABLE max AS SELECT redeem('kind', 'max', 60) AS r1;
SELECT pg_temp.die('max', '{1}', '2021-06-01 00:00+00');
UPDATE public.basket SET refunded = 30 WHERE id = 'm1';
SELECT is(pg_temp.after(giveback(r1, 20, grace => '1 day')), '{}', '30 of the 40 that died') FROM max;
SELECT is(balance('kind', 'max')::numeric, 20.0, 'the 20 live');
UPDATE public.basket SET refunded = 70 WHERE id = 'm1';
SELECT is(balance('kind', 'max')::numeric, 0.0, '10 more that died, 20 that live, 10 forgiven');
SELECT is(pg_temp.after(giveback(r1, grace => '1 day')), '{"reverse -10 -10 m1,1"}', '... and made up for') FROM max;
SELECT is(balance('kind', 'max')::numeric, 30.0, '100 less 70 refunded; the 40 that died are part of these');
-- ---- Of one who was merged, and whose points were spent or died with the other's
CREATE FUNCTION pg_temp.entries_of(who text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', kind, trim_scale(points), 'forgave ' || trim_scale(forgiven)), ', ' ORDER BY entry_id)
	FROM loyalty.entries WHERE member = who AND program = 'kind'
$$;
-- 50 of oda's and 100 of pat's, 60 spent by pat: 90 die in pat's lot. What was bought for 50 is undone: oda's had died.
SELECT pg_temp.buy('o1', 'oda', 50), pg_temp.buy('p1', 'pat', 100);
CREATE TEMP TABLE pat AS SELECT redeem('kind', 'pat', 60) AS r1;
SELECT merge_members('kind', 'oda', 'pat') > 0;
SELECT pg_temp.die('oda', '{1}', '2021-06-01 00:00+00'), pg_temp.die('pat', '{1}', '2021-06-01 00:00+00');
DELETE FROM public.basket WHERE id = 'o1';
SELECT is(pg_temp.entries_of('oda'), 'earn 50, merge -50, reverse 0 forgave 50', 'dead where they went');
SELECT is(pg_temp.after(giveback(r1, 20, grace => '1 day')), '{}', 'nothing is owed of what died') FROM pat;
SELECT is(pg_temp.entries_of('oda'), 'earn 50, merge -50, reverse 0 forgave 50', 'nor where it was earned');
SELECT is(balance('kind', 'pat')::numeric, 20.0, 'so they live');
-- 30 of pat's 100 stand: 40 more had died, 20 that live go, 10 are forgiven.
UPDATE public.basket SET refunded = 70 WHERE id = 'p1';
SELECT is(pg_temp.after(giveback(r1, grace => '1 day')), '{"reverse -10 -10 p1,1"}', 'those, and no more') FROM pat;
SELECT is(balance('kind', 'pat')::numeric, 30.0, '50 and 100 less 50 and 70');
SELECT pg_temp.balanced('died after a merge');
-- 50 of quy's, spent by ray, and undone; they come back under another date than they were earned for.
SELECT pg_temp.buy('q1', 'quy', 50), enrol('kind', 'ray') > 0;
SELECT merge_members('kind', 'quy', 'ray') > 0;
CREATE TEMP TABLE ray AS SELECT redeem('kind', 'ray', 50) AS r1;
DELETE FROM public.basket WHERE id = 'q1';
SELECT pg_temp.die('quy', '{1}', '2021-06-01 00:00+00'), pg_temp.die('ray', '{1}', '2021-06-01 00:00+00');
SELECT is(pg_temp.after(giveback(r1, 30, grace => '1 day')), '{"merge -30  "}', 'it goes where it was earned') FROM ray;
SELECT is(pg_temp.entries_of('quy'), 'earn 50, merge -50, reverse 0 forgave 50, merge 30, reverse -30 forgave -30', 'to be taken there');
SELECT is(pg_temp.after(giveback(r1)), '{"expire -20  "}', 'the dead owe nothing') FROM ray;
SELECT is(balance('kind', 'ray')::numeric, 0.0, 'nothing is left');
SELECT pg_temp.balanced('spent after a merge');
-- Spent by sam before he was merged into tea, who has 40 more of those dates: 50 of 90 die with tea.
SELECT pg_temp.buy('s1', 'sam', 50), pg_temp.buy('s2', 'sam', 50), pg_temp.buy('t1', 'tea', 40);
CREATE TEMP TABLE sam AS SELECT redeem('kind', 'sam', 90) AS r1;
SELECT merge_members('kind', 'sam', 'tea') > 0;
SELECT pg_temp.die('sam', '{1}', '2021-06-01 00:00+00'), pg_temp.die('tea', '{1}', '2021-06-01 00:00+00');
DELETE FROM public.basket WHERE id = 's1';
SELECT is(pg_temp.entries_of('sam'), 'earn 50, earn 50, redeem -90, merge -10, reverse 0 forgave 50', 'all 50 are let off: tea''s lot has died');
SELECT is(pg_temp.after(giveback(r1, grace => '1 day')), '{"merge -90  "}', '50 of those dates had died and are let off, so none of the 90 is owed') FROM sam;
SELECT is(balance('kind', 'tea')::numeric, 90.0, '140 less the 50 undone; the 50 that died are those');
SELECT pg_temp.balanced('spent before a merge');
-- A bonus that is never taken back is not owed.
SELECT add_rule('kind', 'welcome', bonus => 7, reversal => 'never') > 0;
SELECT pg_temp.buy('n1', 'nel', 10);
CREATE TEMP TABLE nel AS SELECT redeem('kind', 'nel', 17) AS r1;
UPDATE public.basket SET status = 'cancelled' WHERE id = 'n1';
SELECT is(pg_temp.after(giveback(r1)), '{"reverse -10 -10 n1,1"}', 'the bonus stays') FROM nel;
SELECT is(balance('kind', 'nel')::numeric, 7.0, '7 of 17');
SELECT pg_temp.balanced('at the end');

SELECT * FROM finish();
ROLLBACK;
