-- membership: two members who are one person, members who are members no more, erased persons
\ir include/begin.psql

SELECT create_program('club', validity => '100 years', validity_rounding => 'year', debt => 'negative', ladder => 'basic:0, silver:50, gold:120') > 0;
SELECT create_currency('club', 'miles') > 0, create_program('other') > 0;
\ir include/orders.psql

CREATE FUNCTION pg_temp.has(who text, program text DEFAULT 'club', currency text DEFAULT 'points') RETURNS text LANGUAGE sql AS $$
	SELECT format('%s free, %s pending, %s debt, %s earned, %s redeemed, %s expired', trim_scale(available), trim_scale(pending),
		trim_scale(debt), trim_scale(earned), trim_scale(redeemed), trim_scale(expired))
	FROM loyalty.balances WHERE member = who AND balances.program = $2 AND balances.currency = $3
$$;
-- The member's entries, one after the other; of the first currency.
CREATE FUNCTION pg_temp.chain(who text, program text DEFAULT 'club') RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(kind || ' ' || trim_scale(points) || coalesce(' forgave ' || trim_scale(forgiven), ''), ', ' ORDER BY entry_id)
	FROM loyalty.entries WHERE member = who AND entries.program = $2 AND currency = 'points'
$$;
CREATE FUNCTION pg_temp.all_there_is() RETURNS text LANGUAGE sql AS $$
	SELECT md5(concat((SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.entry x), (SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.lot x),
		(SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.allocation x), (SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.account x),
		(SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.member x), (SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.member_change x),
		(SELECT string_agg(x::text, ';' ORDER BY x::text) FROM loyalty.request x)))
$$;
CREATE FUNCTION pg_temp.proved(name text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN NEXT pg_temp.balanced(name);
	RETURN NEXT public.is_empty('SELECT * FROM loyalty.verify()', 'verify() agrees: ' || name);
END $$;

CREATE FUNCTION pg_temp.verified(name text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN NEXT public.is_empty('SELECT * FROM loyalty.verify()', 'verify() agrees: ' || name);
	RETURN NEXT public.is_empty('SELECT * FROM loyalty.verify_archive()', 'verify_archive() agrees: ' || name);
END $$;

-- ---- Ann, who is bob as well
INSERT INTO public.orders VALUES (1, 'ann', 60, 0, '2020-05-01 12:00+00'), (2, 'ann', 30, 0, '2021-05-01 12:00+00'), (3, 'bob', 40, 0, '2020-06-01 12:00+00');
CREATE TEMP TABLE t AS SELECT redeem('club', 'ann', 10) AS spent;
CREATE TEMP TABLE m AS SELECT merge_members('club', 'ann', 'bob', 'm1', 'called us') AS merged;
SELECT is(pg_temp.has('ann'), '0 free, 0 pending, 0 debt, 90 earned, 10 redeemed, 0 expired', 'nothing is left of 60 + 30 - 10');
SELECT is(pg_temp.has('bob'), '120 free, 0 pending, 0 debt, 40 earned, 0 redeemed, 0 expired', 'bob has 80 beside his 40, which he earned');
SELECT is(pg_temp.paid(merged), '1:-50 2:-30', 'all lots are passed on') FROM m;
SELECT results_eq($$ SELECT lot_no, issued, expires_at, remaining FROM lots WHERE member = 'bob' ORDER BY 1 $$,
	$$ VALUES (1, '2020-06-01'::date, '2121-01-01 00:00+00'::timestamptz, 40.0), (2, '2020-05-01', '2121-01-01 00:00+00', 50.0), (3, '2021-05-01', '2122-01-01 00:00+00', 30.0) $$,
	'with their month and their end');
SELECT results_eq($$ SELECT f.points, g.member::text COLLATE "default", g.points, g.line = f.entry_id::text, f.line = g.entry_id::text, f.reason, g.reason, f.event COLLATE "default", f.event_time = g.event_time
	FROM m JOIN entries f ON f.entry_id = merged JOIN entries g ON g.kind = 'merge' AND g.member = 'bob' AND g.currency = 'points' $$,
	$$ VALUES (-80.0, 'bob'::text, 80.0, true, true, 'called us', 'called us', 'm1', true) $$, 'two entries that name each other and sum to zero');
SELECT is(merge_members('club', 'ann', 'bob', 'm1', 'called us'), merged, 'the same call answers the same') FROM m;
SELECT results_eq($$ SELECT member::text COLLATE "default", state, merged_into::text COLLATE "default" FROM members WHERE program = 'club' ORDER BY 1 $$, $$ VALUES ('ann'::text, 'merged', 'bob'::text), ('bob', 'open', NULL) $$, 'members says so');
SELECT is((SELECT array_agg(member::text || ' ' || currency || ' ' || kind || ' ' || trim_scale(points) ORDER BY member, kind) FROM entries WHERE currency = 'miles'),
	'{ann miles merge 0,bob miles merge 0}', 'the other currency is merged, though there is nothing');
SELECT is(tier || ' ' || (SELECT metric FROM tier_progress('club', 'bob')), 'gold 130', '90 + 40 of both are gold') FROM balances WHERE program = 'club' AND member = 'bob' AND currency = 'points';
SELECT is(tier, NULL, 'and who was merged holds none') FROM balances WHERE program = 'club' AND member = 'ann' AND currency = 'points';
SELECT results_eq($$ SELECT from_tier, to_tier, reason, metric FROM tier_history WHERE member = 'bob' ORDER BY change_no $$,
	$$ VALUES ('basic', 'silver', 'merged', 130.0), ('silver', 'gold', 'earned', 130.0) $$, 'the higher of the two tiers, then what both reach');
SELECT is((SELECT array_agg(tier || ' ' || members ORDER BY tier_rank) FROM tier_distribution WHERE program = 'club'), '{basic 0,silver 0,gold 1}', 'one person in one tier');
SELECT is(balance('club', 'ann', '2021-01-01')::numeric || ' ' || balance('club', 'bob', '2021-01-01')::numeric, '60 40', 'the past is what it was');
SELECT is((SELECT sum(points) FROM points_liability WHERE program = 'club'), 120.0, 'the program owes what it owed: 60 + 30 - 10 + 40');
SELECT is((SELECT sum(points_issued) FROM kpi_daily WHERE program = 'club' AND currency = 'points'), 130.0, 'and has issued what it had');
SELECT results_eq($$ SELECT kind, trim_scale(points), trim_scale(balance) FROM statement('club', 'ann', '2020-01-01', now() + interval '1 day') $$,
	$$ VALUES ('opening', NULL::numeric, 0.0), ('earn', 60, 60), ('earn', 30, 90), ('merge', -80, 10), ('redeem', -10, 0), ('closing', NULL, 0) $$, 'her statement adds up');
SELECT pg_temp.proved('merged');

-- ---- What the old key does is the survivor's
INSERT INTO public.orders VALUES (4, 'ann', 25, 0, '2021-07-01 12:00+00');
SELECT is(pg_temp.has('bob'), '145 free, 0 pending, 0 debt, 40 earned, 0 redeemed, 0 expired', 'a later order of the old key');
SELECT is((SELECT metric FROM tier_progress('club', 'bob')), 155.0, 'counts for his tier');
UPDATE public.orders SET refunded = 60 WHERE id = 1;
SELECT is((SELECT array_agg(lot_no || ':' || trim_scale(remaining) ORDER BY lot_no) FROM lots WHERE member = 'bob'), '{1:30,2:0,3:30,4:25}',
	'the refund takes the 50 that came of the order, and 10 that end soonest');
SELECT is(tier || ' ' || (SELECT metric FROM tier_progress('club', 'bob')), 'silver 95', '155 - 60 are silver') FROM balances WHERE program = 'club' AND member = 'bob' AND currency = 'points';
CREATE TEMP TABLE g AS SELECT giveback(spent, 4) AS back FROM t;
SELECT is(reverses, spent, 'an old redemption is given back in its own chain') FROM t, g JOIN entries ON entry_id = back;
SELECT giveback(spent) > 0 FROM t;
SELECT pg_temp.refused(format('SELECT giveback(%s)', spent), 'LY303', '0 points%', 'and no more than was taken') FROM t;
SELECT is(pg_temp.has('bob'), '95 free, 0 pending, 0 debt, 40 earned, 0 redeemed, 0 expired', 'to who has the points: 145 - 60 + 10');
SELECT is(pg_temp.chain('ann'), 'earn 60, earn 30, redeem -10, merge -80, earn 25, merge -25, merge 60, reverse -60, giveback 4, merge -4, giveback 6, merge -6',
	'each of her orders is in her chain');
SELECT pg_temp.proved('after the merge');

-- ---- Taken apart: 50 are spent, of those that end soonest
SELECT is(pg_temp.paid(redeem('club', 'bob', 50)), '1:-30 5:-10 3:-10', 'bob spends 50');
CREATE TEMP TABLE u AS SELECT unmerge_member('club', 'ann', 'u1') AS apart;
SELECT is(unmerge_member('club', 'ann', 'u1'), apart, 'the same call answers the same') FROM u;
SELECT is(pg_temp.has('ann'), '45 free, 0 pending, 0 debt, 55 earned, 0 redeemed, 0 expired', 'the 20 and the 25 that are left of her lots go back');
SELECT is(pg_temp.has('bob'), '0 free, 0 pending, 0 debt, 40 earned, 50 redeemed, 0 expired', 'what he spent he spent');
SELECT is((SELECT array_agg(lot_no || ':' || trim_scale(remaining) || ' ' || issued ORDER BY lot_no) FROM lots WHERE member = 'ann' AND state = 'live'), '{"2:20 2021-05-01","3:25 2021-07-01"}',
	'into the lots they came from');
SELECT is(reverses, merged, 'the entry names the one it undoes') FROM m, u JOIN entries ON entry_id = apart;
SELECT is(array_agg(member::text || ' ' || tier ORDER BY member), '{"ann silver","bob basic"}', 'each has a tier by what it did: 55 and 40') FROM balances WHERE currency = 'points' AND program = 'club';
SELECT is((SELECT array_agg(tier || ' ' || members ORDER BY tier_rank) FROM tier_distribution WHERE program = 'club'), '{basic 1,silver 1,gold 0}', 'two persons in two tiers');
UPDATE public.orders SET refunded = 5 WHERE id = 4;
SELECT is(pg_temp.has('ann'), '40 free, 0 pending, 0 debt, 50 earned, 0 redeemed, 0 expired', 'an order of the time between is hers');
SELECT pg_temp.proved('taken apart');

-- ---- Debts
INSERT INTO public.orders VALUES (10, 'cid', 30, 0, '2020-05-01'), (11, 'dan', 100, 0, '2020-05-01'), (12, 'eve', 30, 0, '2020-05-01'), (13, 'fay', 10, 0, '2020-05-01'), (14, 'gus', 100, 0, '2020-05-01');
SELECT redeem('club', 'cid', 30) > 0, redeem('club', 'eve', 30) > 0;
UPDATE public.orders SET refunded = 30 WHERE id IN (10, 12);
SELECT is(pg_temp.has('cid'), '-30 free, 0 pending, 30 debt, 0 earned, 30 redeemed, 0 expired', 'cid owes 30');
SELECT is(pg_temp.paid(merge_members('club', 'cid', 'dan')), '0:30', 'a debt goes along');
SELECT is(pg_temp.has('dan'), '70 free, 0 pending, 0 debt, 100 earned, 0 redeemed, 0 expired', 'and is settled with what is there');
SELECT unmerge_member('club', 'cid') > 0;
SELECT is(pg_temp.has('cid') || ' / ' || pg_temp.has('dan'), '0 free, 0 pending, 0 debt, 0 earned, 30 redeemed, 0 expired / 70 free, 0 pending, 0 debt, 100 earned, 0 redeemed, 0 expired', 'what was settled stays settled');
SELECT is(pg_temp.paid(merge_members('club', 'eve', 'fay')), '0:30', 'another into one who has less');
SELECT is(pg_temp.has('fay'), '-20 free, 0 pending, 20 debt, 10 earned, 0 redeemed, 0 expired', 'who owes the rest');
SELECT unmerge_member('club', 'eve') > 0;
SELECT is(pg_temp.has('eve') || ' / ' || pg_temp.has('fay'), '-20 free, 0 pending, 20 debt, 0 earned, 30 redeemed, 0 expired / 0 free, 0 pending, 0 debt, 10 earned, 0 redeemed, 0 expired', 'until they come apart');
SELECT is(pg_temp.paid(merge_members('club', 'gus', 'eve')), '1:-100', 'points into a debt');
SELECT is(pg_temp.has('eve'), '80 free, 0 pending, 0 debt, 0 earned, 30 redeemed, 0 expired', 'repay it first');
SELECT pg_temp.proved('debts');

-- ---- A refund of what the survivor has spent
INSERT INTO public.orders VALUES (20, 'gil', 50, 0, '2020-05-01');
SELECT enrol('club', 'hal') > 0, merge_members('club', 'gil', 'hal') > 0, redeem('club', 'hal', 50) > 0;
UPDATE public.orders SET refunded = 50 WHERE id = 20;
SELECT is(pg_temp.has('hal'), '-50 free, 0 pending, 50 debt, 0 earned, 50 redeemed, 0 expired', 'is his debt');
INSERT INTO public.orders VALUES (21, 'gil', 60, 0, '2020-05-01');
SELECT is(pg_temp.has('hal'), '10 free, 0 pending, 0 debt, 0 earned, 50 redeemed, 0 expired', 'which a later order of either key repays');
SELECT is(pg_temp.chain('gil'), 'earn 50, merge -50, reverse -50, merge 50, earn 60, merge -60', 'by way of gil''s chain');
-- Both orders, in one statement, of both keys; the credit comes first.
INSERT INTO public.orders VALUES (22, 'hal', 5, 0, '2020-05-01');
UPDATE public.orders SET refunded = CASE id WHEN 21 THEN 60 ELSE refunded END, amount = CASE id WHEN 22 THEN 50 ELSE amount END WHERE id IN (21, 22);
SELECT is(pg_temp.has('hal'), '0 free, 0 pending, 0 debt, 50 earned, 50 redeemed, 0 expired', '10 + 50 - 60: nothing is owed');
UPDATE public.orders SET who = 'hal' WHERE id = 20;
UPDATE public.orders SET who = 'gil', refunded = 0 WHERE id = 22;
SELECT is(pg_temp.has('hal'), '0 free, 0 pending, 0 debt, 0 earned, 50 redeemed, 0 expired', 'an order that changes from one key to the other moves nothing');
DELETE FROM public.orders WHERE id = 22;
SELECT is(pg_temp.has('hal'), '-50 free, 0 pending, 50 debt, 0 earned, 50 redeemed, 0 expired', 'and is taken back once');
UPDATE public.orders SET refunded = 0 WHERE id = 21;
SELECT is(pg_temp.has('hal'), '10 free, 0 pending, 0 debt, 0 earned, 50 redeemed, 0 expired', 'a refund undone');
UPDATE public.orders SET who = 'zoe' WHERE id = 21;
SELECT is(pg_temp.has('hal') || ' / ' || pg_temp.has('zoe'), '-50 free, 0 pending, 50 debt, 0 earned, 50 redeemed, 0 expired / 60 free, 0 pending, 0 debt, 60 earned, 0 redeemed, 0 expired',
	'an order that was another''s after all');
SELECT pg_temp.proved('refunds after a merge');

-- ---- What was let off is made up for when the survivor gets it back; with one between as well
SELECT create_program('mild') > 0, add_rule('mild', 'base', points_per => 1) > 0;
CREATE TABLE public.fares (LIKE public.orders INCLUDING ALL);
SELECT attach('public.fares', 'mild', 'who', amount => 'amount', refunded => 'refunded', event_time => 'at') > 0;
INSERT INTO public.fares VALUES (1, 'yan', 50, 0, '2020-05-01');
SELECT enrol('mild', 'mid') > 0, enrol('mild', 'zed') > 0, merge_members('mild', 'yan', 'mid') > 0, merge_members('mild', 'mid', 'zed') > 0;
CREATE TEMP TABLE z AS SELECT redeem('mild', 'zed', 50) AS spent;
UPDATE public.fares SET refunded = 50 WHERE id = 1;
SELECT is(pg_temp.chain('yan', 'mild'), 'earn 50, merge -50, reverse 0 forgave 50', 'forgiven while it was spent');
SELECT giveback(spent, 20) > 0 FROM z;
SELECT is(pg_temp.chain('yan', 'mild'), 'earn 50, merge -50, reverse 0 forgave 50, merge 20, reverse -20 forgave -20', 'what comes back is taken');
SELECT giveback(spent) > 0 FROM z;
SELECT is(pg_temp.has('zed', 'mild') || ' / ' || pg_temp.has('yan', 'mild'), '0 free, 0 pending, 0 debt, 0 earned, 0 redeemed, 0 expired / 0 free, 0 pending, 0 debt, 0 earned, 0 redeemed, 0 expired', 'nothing is left of what was undone twice');
SELECT pg_temp.proved('made up for');

-- ---- What died where it went is not taken again: two lots are made to have ended yesterday
INSERT INTO public.orders VALUES (30, 'ivy', 50, 0, '2020-05-01'), (31, 'jon', 20, 0, '2021-05-01');
SELECT merge_members('club', 'ivy', 'jon') > 0;
ALTER TABLE lot DISABLE TRIGGER loyalty_guard;
ALTER TABLE account DISABLE TRIGGER loyalty_guard;
UPDATE lot SET expires_at = now() - interval '1 day' WHERE issued = '2020-05-01' AND account_id IN (SELECT account_id FROM account WHERE member_key IN ('ivy', 'jon'));
UPDATE account SET as_of = now() - interval '2 days', next_change = CASE member_key WHEN 'jon' THEN now() - interval '1 day' ELSE next_change END WHERE member_key IN ('ivy', 'jon') AND currency_id = (SELECT currency_id FROM currency JOIN program p USING (program_id) WHERE p.code = 'club' AND is_default);
ALTER TABLE lot ENABLE TRIGGER loyalty_guard;
ALTER TABLE account ENABLE TRIGGER loyalty_guard;
SET LOCAL session_replication_role = replica;
SELECT pg_temp.rehash();
SET LOCAL session_replication_role = origin;
UPDATE public.orders SET refunded = 30 WHERE id = 30;
SELECT is(pg_temp.chain('ivy'), 'earn 50, merge -50, reverse 0 forgave 30', 'let off');
SELECT is(pg_temp.has('jon'), '20 free, 0 pending, 0 debt, 20 earned, 0 redeemed, 50 expired', 'the others stay');
UPDATE public.orders SET refunded = 50 WHERE id = 30;
SELECT is(pg_temp.chain('ivy'), 'earn 50, merge -50, reverse 0 forgave 30, reverse 0 forgave 20', 'to the last');
UPDATE public.orders SET refunded = 0 WHERE id = 30;
UPDATE public.orders SET refunded = 50 WHERE id = 30;
SELECT is(pg_temp.chain('ivy'), 'earn 50, merge -50, reverse 0 forgave 30, reverse 0 forgave 20, earn 0 forgave -50, reverse 0 forgave 50', 'owed again, and let off again');
SELECT is(pg_temp.has('jon'), '20 free, 0 pending, 0 debt, 20 earned, 0 redeemed, 50 expired', 'of the dead ones alone');
SELECT pg_temp.proved('expired after a merge');

-- ---- Points that wait
SELECT create_program('slow', pending => '30 days', validity => '1 year') > 0, add_rule('slow', 'base', points_per => 1) > 0;
SELECT attach('public.orders', 'slow', 'who', amount => 'amount', refunded => 'refunded', event_time => 'at') > 0;
INSERT INTO public.orders VALUES (40, 'kim', 40, 0, now()), (41, 'lee', 7, 0, now());
SELECT merge_members('slow', 'kim', 'lee') > 0;
SELECT is(pg_temp.has('lee', 'slow'), '0 free, 47 pending, 0 debt, 7 earned, 0 redeemed, 0 expired', 'wait where they go');
SELECT is(balance('slow', 'lee', now() + interval '31 days')::numeric, 47.0, 'and can be spent after');
UPDATE public.orders SET refunded = 10 WHERE id = 40;
SELECT is(pg_temp.has('lee', 'slow'), '0 free, 37 pending, 0 debt, 7 earned, 0 redeemed, 0 expired', 'a refund takes them as they are');
SELECT unmerge_member('slow', 'kim') > 0;
SELECT is(pg_temp.has('kim', 'slow') || ' / ' || pg_temp.has('lee', 'slow'), '0 free, 30 pending, 0 debt, 30 earned, 0 redeemed, 0 expired / 0 free, 7 pending, 0 debt, 7 earned, 0 redeemed, 0 expired',
	'and they go back as they are');
SELECT pg_temp.proved('pending');

-- ---- One into the next
INSERT INTO public.orders VALUES (50, 'mia', 10, 0, '2020-05-01'), (51, 'noa', 20, 0, '2020-05-01'), (52, 'oli', 30, 0, '2020-05-01');
SELECT merge_members('club', 'mia', 'noa') > 0, merge_members('club', 'noa', 'oli') > 0;
SELECT is((SELECT metric FROM tier_progress('club', 'oli')), 60.0, 'all three count: 10 + 20 + 30');
INSERT INTO public.orders VALUES (53, 'mia', 5, 0, '2020-05-01');
SELECT is(pg_temp.has('oli'), '65 free, 0 pending, 0 debt, 30 earned, 0 redeemed, 0 expired', 'all points pass on');
SELECT is(pg_temp.chain('mia') || ' / ' || pg_temp.chain('noa'), 'earn 10, merge -10, earn 5, merge -5 / earn 20, merge 10, merge -30, merge 5, merge -5', 'from one to the next');
UPDATE public.orders SET refunded = 4 WHERE id = 50;
SELECT is(pg_temp.has('oli'), '61 free, 0 pending, 0 debt, 30 earned, 0 redeemed, 0 expired', 'and back the same way');
SELECT unmerge_member('club', 'mia') > 0;
SELECT is(pg_temp.has('mia') || ' / ' || pg_temp.has('oli'), '11 free, 0 pending, 0 debt, 11 earned, 0 redeemed, 0 expired / 50 free, 0 pending, 0 debt, 30 earned, 0 redeemed, 0 expired', 'the first one leaves');
SELECT is((SELECT metric FROM tier_progress('club', 'oli')) || ' ' || (SELECT metric FROM tier_progress('club', 'mia')), '50 11', 'with what it counted');
SELECT merge_members('club', 'mia', 'oli') > 0;
SELECT is((SELECT array_agg(member::text || ' into ' || merged_into ORDER BY member) FROM members WHERE merged_into = 'oli'), '{"mia into oli","noa into oli"}', 'two into one');
SELECT merge_members('club', 'oli', 'bob') > 0, unmerge_member('club', 'noa') > 0;
SELECT is(pg_temp.has('noa') || ' / ' || pg_temp.has('bob'), '20 free, 0 pending, 0 debt, 20 earned, 0 redeemed, 0 expired / 41 free, 0 pending, 0 debt, 40 earned, 50 redeemed, 0 expired', 'out of the middle');
SELECT unmerge_member('club', 'oli') > 0;
SELECT is(pg_temp.has('oli') || ' / ' || pg_temp.has('bob'), '41 free, 0 pending, 0 debt, 30 earned, 0 redeemed, 0 expired / 0 free, 0 pending, 0 debt, 40 earned, 50 redeemed, 0 expired', 'with whom is merged into it');
SELECT is((SELECT metric FROM tier_progress('club', 'bob')) || ' ' || (SELECT metric FROM tier_progress('club', 'oli')), '40 41', 'each by its own again: 40, and 30 + 11');
SELECT pg_temp.proved('one into the next');

-- ---- Refused, without a trace
SELECT hold('club', 'dan', 20, '1 day') > 0, hold('club', 'ann', 1, '1 day') > 0;
CREATE TEMP TABLE before AS SELECT pg_temp.all_there_is();
SELECT pg_temp.refused($$ SELECT merge_members('club', 'dan', 'dan') $$, 'LY342', NULL, 'with itself');
SELECT pg_temp.refused($$ SELECT merge_members('club', 'mia', 'bob') $$, 'LY340', NULL, 'one who is merged');
SELECT pg_temp.refused($$ SELECT merge_members('club', 'bob', 'mia') $$, 'LY340', NULL, 'into one who is merged');
SELECT pg_temp.refused($$ SELECT merge_members('club', 'dan', 'bob') $$, 'LY343', NULL, 'one whose points are held');
SELECT pg_temp.refused($$ SELECT merge_members('club', 'stranger', 'bob') $$, 'LY002', NULL, 'a stranger');
SELECT pg_temp.refused($$ SELECT merge_members('club', 'bob', 'stranger') $$, 'LY002', NULL, 'into a stranger');
SELECT pg_temp.refused($$ SELECT merge_members('other', 'ann', 'bob') $$, 'LY002', NULL, 'members of another program');
SELECT pg_temp.refused($$ SELECT merge_members('slow', 'mia', 'ann') $$, 'LY002', NULL, 'across programs');
SELECT pg_temp.refused($$ SELECT merge_members('clab', 'ann', 'bob') $$, 'LY001', NULL, 'no such program');
SELECT pg_temp.refused($$ SELECT merge_members('club', NULL, 'bob') $$, '22004', NULL, 'nobody');
SELECT pg_temp.refused($$ SELECT merge_members('club', 'zoe', 'bob', 'm1', 'called us') $$, 'LY305', NULL, 'the id of another call');
SELECT pg_temp.refused($$ SELECT merge_members('club', 'ann', 'bob', 'm1', 'wrote') $$, 'LY305', NULL, 'with another reason');
SELECT pg_temp.refused($$ SELECT unmerge_member('club', 'bob') $$, 'LY345', NULL, 'to take apart who is not merged');
SELECT pg_temp.refused($$ SELECT unmerge_member('club', 'mia', 'u1') $$, 'LY305', NULL, 'the id of another call');
SELECT pg_temp.refused($$ SELECT redeem('club', 'mia', 1) $$, 'LY340', NULL, 'to redeem by the old key');
SELECT pg_temp.refused($$ SELECT adjust('club', 'mia', 1, 'x') $$, 'LY340', NULL, 'to adjust by it');
SELECT pg_temp.refused($$ SELECT hold('club', 'mia', 1, '1 day') $$, 'LY340', NULL, 'to hold by it');
SELECT pg_temp.refused($$ SELECT transfer('club', 'mia', 'zoe', 1) $$, 'LY340', NULL, 'to give by it');
SELECT pg_temp.refused($$ SELECT transfer('club', 'zoe', 'mia', 1) $$, 'LY340', NULL, 'to give to it');
SELECT pg_temp.refused($$ SELECT close_member('club', 'mia') $$, 'LY340', NULL, 'to close who is merged');
SELECT pg_temp.refused($$ SELECT reopen_member('club', 'mia') $$, 'LY340', NULL, 'to reopen');
SELECT pg_temp.refused($$ SELECT erase_member('club', 'mia') $$, 'LY340', NULL, 'to erase');
SELECT pg_temp.refused($$ SELECT reopen_member('club', 'zoe') $$, 'LY346', NULL, 'to reopen who is not closed');
SELECT pg_temp.refused($$ SELECT close_member('club', 'zoe') $$, 'LY344', '60 points of currency "points" are left.', 'to close who has points');
SELECT pg_temp.refused($$ SELECT close_member('club', 'dan', forfeit => true) $$, 'LY343', NULL, 'to close whose points are held');
SELECT pg_temp.refused($$ SELECT erase_member('club', 'dan') $$, 'LY343', NULL, 'or erase');
SELECT pg_temp.refused($$ SELECT erase_member('club', 'stranger') $$, 'LY002', NULL, 'a stranger');
SELECT is(pg_temp.all_there_is(), b.all_there_is, 'a refusal leaves no trace') FROM before b;

-- ---- Closed
INSERT INTO public.orders VALUES (60, 'pia', 80, 0, '2020-05-01'), (61, 'quin', 50, 0, '2020-05-01');
CREATE TEMP TABLE p AS SELECT redeem('club', 'pia', 20) AS spent;
SELECT adjust('club', 'pia', 5, 'sorry', currency => 'miles') > 0;
SELECT lives_ok($$ SELECT close_member('club', 'pia', 'asked for it', forfeit => true) $$, 'what is left is forfeited');
SELECT is(pg_temp.has('pia') || ' / ' || pg_temp.has('pia', currency => 'miles'), '0 free, 0 pending, 0 debt, 80 earned, 20 redeemed, 60 expired / 0 free, 0 pending, 0 debt, 0 earned, 0 redeemed, 5 expired',
	'in each currency');
SELECT is((SELECT sum(points_expired) FROM kpi_daily WHERE program = 'club' AND currency = 'points'), 110.0, 'as points that ended: 50 of jon''s and 60');
SELECT results_eq($$ SELECT state, tier FROM members JOIN balances USING (program, member) WHERE program = 'club' AND member = 'pia' AND currency = 'points' $$, $$ VALUES ('closed', NULL::text) $$, 'closed, without a tier');
SELECT pg_temp.refused(q, 'LY341', NULL, 'closed: ' || q) FROM unnest(ARRAY[$$SELECT redeem('club', 'pia', 1)$$, $$SELECT adjust('club', 'pia', 1, 'x')$$, $$SELECT hold('club', 'pia', 1, '1 day')$$,
	$$SELECT transfer('club', 'zoe', 'pia', 1)$$, $$SELECT transfer('club', 'pia', 'zoe', 1)$$, $$SELECT merge_members('club', 'pia', 'zoe')$$, $$SELECT merge_members('club', 'zoe', 'pia')$$,
	$$SELECT close_member('club', 'pia')$$]) q;
INSERT INTO public.orders VALUES (62, 'pia', 30, 0, '2020-05-01');
UPDATE public.orders SET who = 'pia' WHERE id = 61;
SELECT is(pg_temp.chain('pia'), 'earn 80, redeem -20, forfeit -60', 'orders that come, or come over, earn nothing and fail nothing');
SELECT is(pg_temp.chain('quin'), 'earn 50, reverse -50', 'though the other has lost it');
UPDATE public.orders SET refunded = 5 WHERE id = 62;
UPDATE public.orders SET refunded = 70 WHERE id = 60;
SELECT is(pg_temp.chain('pia'), 'earn 80, redeem -20, forfeit -60, reverse -10 forgave 60, waive 0', 'a refund takes what was not forfeited, for which nothing is left');
UPDATE public.orders SET amount = 110, refunded = 0 WHERE id = 60;
SELECT is(pg_temp.chain('pia'), 'earn 80, redeem -20, forfeit -60, reverse -10 forgave 60, waive 0, earn 40 forgave -60, forfeit -30, waive 0', 'what comes to an earlier order repays, and is forfeited');
SELECT giveback(spent) > 0 FROM p;
SELECT is(pg_temp.has('pia'), '0 free, 0 pending, 0 debt, 110 earned, 0 redeemed, 110 expired', 'what is given back is, too');
SELECT pg_temp.proved('closed');
SELECT lives_ok($$ SELECT reopen_member('club', 'pia') $$, 'reopened');
INSERT INTO public.orders VALUES (63, 'pia', 9, 0, '2020-05-01');
SELECT is(pg_temp.has('pia'), '9 free, 0 pending, 0 debt, 119 earned, 0 redeemed, 110 expired', 'and earning');
UPDATE public.orders SET refunded = 7 WHERE id = 62;
SELECT is(pg_temp.has('pia'), '9 free, 0 pending, 0 debt, 119 earned, 0 redeemed, 110 expired', 'what came when closed stays without points');
SELECT is(tier, 'silver', 'with the tier of before') FROM balances WHERE program = 'club' AND member = 'pia' AND currency = 'points';
SELECT lives_ok($$ SELECT redeem('club', 'pia', 9), close_member('club', 'pia') $$, 'with nothing left there is nothing to forfeit');
-- Closed with one merged into it
SELECT enrol('club', 'rex') > 0, merge_members('club', 'rex', 'quin') > 0;
SELECT lives_ok($$ SELECT close_member('club', 'quin') $$, 'the survivor closes');
INSERT INTO public.orders VALUES (64, 'rex', 9, 0, '2020-05-01');
SELECT is(pg_temp.chain('rex'), 'merge 0', 'and so does whoever was merged into it');
SELECT lives_ok($$ SELECT unmerge_member('club', 'rex') $$, 'until it is taken apart');
INSERT INTO public.orders VALUES (65, 'rex', 9, 0, '2020-05-01');
SELECT is(pg_temp.has('rex'), '9 free, 0 pending, 0 debt, 9 earned, 0 redeemed, 0 expired', 'then it earns');
SELECT pg_temp.proved('closed and reopened');

-- ---- A currency that comes later
SELECT create_currency('club', 'stars') > 0, add_rule('club', 'star', points_per => 2, currency => 'stars') > 0;
INSERT INTO public.orders VALUES (70, 'mia', 10, 0, now()), (71, 'pia', 10, 0, now());
SELECT is(pg_temp.has('oli', currency => 'stars') || ' / ' || pg_temp.has('mia', currency => 'stars'), '20 free, 0 pending, 0 debt, 0 earned, 0 redeemed, 0 expired / 0 free, 0 pending, 0 debt, 20 earned, 0 redeemed, 0 expired',
	'is merged as the others');
SELECT is(pg_temp.has('pia', currency => 'stars'), '0 free, 0 pending, 0 debt, 0 earned, 0 redeemed, 0 expired', 'and closed as they are');
SELECT pg_temp.proved('a later currency');

-- ---- A first ladder counts for the survivor
INSERT INTO public.orders VALUES (80, 'sam', 30, 0, '2020-05-01'), (81, 'tea', 40, 0, '2020-05-01');
SELECT merge_members('slow', 'sam', 'tea') > 0;
SELECT set_ladder('slow', 'low:0, high:70') IS NOT NULL;
SELECT is((SELECT tier || ' ' || trim_scale(metric) FROM tier_progress('slow', 'tea')), 'high 70', '30 + 40');
SELECT unmerge_member('slow', 'sam') > 0;
SELECT is((SELECT tier || ' ' || trim_scale(metric) FROM tier_progress('slow', 'tea')) || ', ' || (SELECT tier || ' ' || trim_scale(metric) FROM tier_progress('slow', 'sam')), 'low 40, low 30', 'apart again');
SELECT pg_temp.proved('a first ladder');

-- ---- By anniversaries, the one's year counts where it began for the other
SELECT create_program('year', ladder => 'low:0, high:70', tier_window => 'anniversary') > 0, add_rule('year', 'base', points_per => 1) > 0;
SELECT attach('public.orders', 'year', 'who', amount => 'amount', refunded => 'refunded', event_time => 'at') > 0;
SELECT enrol('year', 'una', '2019-03-01') > 0, enrol('year', 'vic', '2018-01-01') > 0;
INSERT INTO public.orders VALUES (90, 'una', 30, 0, '2020-02-01'), (91, 'vic', 40, 0, '2019-06-01');
SELECT merge_members('year', 'una', 'vic') > 0;
SELECT results_eq($$ SELECT b.bucket, b.metric::numeric FROM tier_progress_bucket b JOIN account a USING (account_id) WHERE a.member_key = 'vic' AND a.currency_id = (SELECT currency_id FROM currency JOIN program USING (program_id) WHERE program.code = 'year') $$,
	$$ VALUES ('2019-01-01 00:00+00'::timestamptz, 70.0) $$, 'una''s year from March 2019 in vic''s 2019');
UPDATE public.orders SET refunded = 10 WHERE id = 90;
SELECT is((SELECT array_agg(trim_scale(b.metric::numeric)) FROM tier_progress_bucket b JOIN account a USING (account_id) WHERE a.member_key = 'vic' AND a.currency_id = (SELECT currency_id FROM currency JOIN program USING (program_id) WHERE program.code = 'year')),
	ARRAY[60.0], 'and a refund is taken off there');
SELECT pg_temp.proved('anniversaries');

-- Tables of ours of which a row matches, and how many.
CREATE FUNCTION pg_temp.tables_with(pattern text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	name text;
	found bigint;
BEGIN
	FOR name IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind IN ('r', 'm') LOOP
		EXECUTE format('SELECT count(*) FROM loyalty.%I x WHERE x::text ~ %L', name, pattern) INTO found;
		IF found > 0 THEN
			RETURN NEXT name || ' ' || found;
		END IF;
	END LOOP;
END $$;

-- ---- Erased: the keys, the reasons, and what waits; not a line of the ledger
CREATE TABLE public.tickets (LIKE public.orders INCLUDING ALL);
SELECT attach('public.tickets', 'other', 'who', amount => 'amount', event_time => 'at', on_error => 'defer') > 0, add_rule('other', 'base', points_per => 1) > 0;
INSERT INTO public.tickets VALUES (100, 'wim', 30, 0, '2020-05-01'), (101, 'xan', 40, 0, '2020-05-01');
INSERT INTO public.tickets VALUES (102, 'wim', 1, 0, '2020-05-01'), (103, 'wim', 1, 0, '2020-05-01');
INSERT INTO deferred SELECT source_id, '104', '', 'wim', 'LY201', 'x', now() FROM source s JOIN program p USING (program_id) WHERE p.code = 'other';
SELECT redeem('other', 'wim', 5, 'r1', 'wim asked') > 0, adjust('other', 'xan', 1, 'xan is nice', 'a1') > 0;
SELECT merge_members('other', 'wim', 'xan', 'mx', 'wim is xan') > 0;
INSERT INTO public.tickets VALUES (106, 'ned', 2, 0, '2020-05-01');
SELECT transfer('other', 'ned', 'xan', 1, reason => 'for wim') > 0, transfer('other', 'xan', 'ned', 1, reason => 'from xan') > 0;
CREATE TEMP TABLE kept AS SELECT account_id, entry_no, points, hash FROM entry;
SELECT number > 0 FROM checkpoint();
CREATE TEMP TABLE proofs AS SELECT proof(entry_id) AS proof, (SELECT root FROM checkpoints ORDER BY number DESC LIMIT 1) AS root FROM entries WHERE program = 'other' AND member IN ('wim', 'xan');
CREATE TEMP TABLE e AS SELECT erase_member('other', 'xan') AS erased;
SELECT is_empty($$ SELECT * FROM pg_temp.tables_with('wim|xan') $$, 'no table of ours has the keys, or a reason that names the person');
SELECT is_empty($$ SELECT FROM member m JOIN program p USING (program_id) WHERE p.code = 'other' AND member IN ('wim', 'xan') $$, 'nor has member');
SELECT is_empty($$ SELECT FROM request JOIN program p USING (program_id) WHERE p.code = 'other' AND content ~ 'reason' $$, 'nor a request');
SELECT is_empty($$ SELECT FROM kept k LEFT JOIN entry e USING (account_id, entry_no) WHERE e.hash IS DISTINCT FROM k.hash OR e.points <> k.points $$, 'each line is what it was, its hash too');
SELECT is((SELECT count(*) FROM proofs WHERE verify_proof(proof, root)), 10::bigint, 'what was proved before is proved: wim''s 5 entries, xan''s 5');
SELECT is((SELECT count(*) FROM entries n WHERE program = 'other' AND member ~ '^erased:' AND verify_proof(proof(n.entry_id, (SELECT max(number) FROM checkpoints)), (SELECT root FROM checkpoints ORDER BY number DESC LIMIT 1))
	AND kind <> 'forfeit'), 10::bigint, 'and can be proved anew');
SELECT is_empty($$ SELECT FROM kept k JOIN entry e USING (account_id, entry_no) LEFT JOIN entry b ON b.account_id = e.account_id AND b.entry_no = e.entry_no - 1
	JOIN account a ON a.account_id = e.account_id JOIN currency USING (currency_id) JOIN program p USING (program_id)
	WHERE p.code = 'other' AND encode(_entry_bytes(b.hash, e.account_id, e.entry_no, e.lot_no, e.points, e.event_time, e.recorded_at, e.actor_id, e.base, e.refunded, e.forgiven, e.source_id, e.rule_id, e.reverses, e.kind, e.event, e.line), 'escape') ~ 'wim|xan' $$,
	'nothing that identifies is hashed');
SELECT results_eq($$ SELECT state, count(*) FROM members WHERE program = 'other' AND member ~ '^erased:[0-9a-f-]{36}$' GROUP BY 1 $$, $$ VALUES ('erased', 2::bigint) $$, 'both keys of the person');
SELECT is((SELECT sum(available) FROM balances WHERE program = 'other' AND member ~ '^erased:'), 0.0, 'what was left, 30 + 2 - 5 + 41, is forfeited');
SELECT is((SELECT -sum(points) FROM entries WHERE program = 'other' AND kind = 'forfeit'), 68.0, 'in an entry');
SELECT pg_temp.proved('erased');
SELECT pg_temp.refused($$ SELECT balance_as_known('other', 'wim', now(), now()) $$, 'LY002', NULL, 'nobody knows the key');
SELECT pg_temp.refused(format('SELECT reopen_member(%L, %L)', 'other', member), 'LY341', NULL, 'an erased member is not reopened') FROM (SELECT member FROM members WHERE program = 'other' AND merged_into IS NULL AND state = 'erased') x;
-- The shop's own rows, later: a change of one that has its key still makes a member of that key, who has nothing.
UPDATE public.tickets SET who = NULL WHERE id = 102;
SELECT is_empty($$ SELECT FROM members WHERE program = 'other' AND member IN ('wim', 'xan') $$, 'a row that is made anonymous moves nothing');
UPDATE public.tickets SET amount = 5 WHERE id = 103;
SELECT is(pg_temp.has('wim', 'other'), '0 free, 0 pending, 0 debt, 0 earned, 0 redeemed, 0 expired', 'an update of a row that still has the key enrols it anew, with nothing');
INSERT INTO public.tickets VALUES (105, 'wim', 3, 0, '2020-05-01');
SELECT is(pg_temp.has('wim', 'other'), '3 free, 0 pending, 0 debt, 3 earned, 0 redeemed, 0 expired', 'who orders again is somebody new');
SELECT pg_temp.proved('after erasing');

SELECT throws_ok(q, 'LY401', NULL, 'refused: ' || q) FROM unnest(ARRAY['DELETE FROM member_change', 'TRUNCATE member_change', 'UPDATE member_change SET kind = kind']) q;

-- ---- What was merged, taken apart and forfeited adds up by month of issue, too
SELECT results_eq($$ SELECT sum(issued) - sum(redeemed) - sum(expired) FROM points_development('club') $$,
	$$ SELECT sum(remaining) FROM lots WHERE program = 'club' AND currency = 'points' AND state <> 'expired' $$, 'issued - redeemed - expired is what is outstanding');
SELECT is((SELECT sum(expired) FROM points_development('club')), 160.0, '50 of jon''s that died; 60, 30 and 20 of pia''s that were forfeited');
SELECT results_eq($$ SELECT sum(expired) FROM points_development('club') $$, $$ SELECT -sum(points) FROM entries WHERE program = 'club' AND currency = 'points' AND kind IN ('expire', 'forfeit') $$,
	'and what expired is what the entries say');
SELECT is((SELECT sum(points_expired) FROM kpi_monthly WHERE program = 'club' AND currency = 'points'), (SELECT sum(expired) FROM points_development('club')), 'in the months, too');

-- ---- What waits to be confirmed goes on when it is; for what ends by activity see membership_activity
SELECT create_program('hotel', confirm => true) > 0, create_program('cafe', validity => '100 years', activity => '{earn}') > 0;
SELECT add_rule(p, 'base', points_per => 1) > 0 FROM unnest(ARRAY['hotel', 'cafe']) p;
CREATE TABLE public.stays (id int PRIMARY KEY, who text, amount numeric, refunded numeric NOT NULL DEFAULT 0);
SELECT attach('public.stays', p, 'who', amount => 'amount', refunded => 'refunded') > 0 FROM unnest(ARRAY['hotel', 'cafe']) p;
INSERT INTO public.stays VALUES (1, 'ann', 40), (2, 'bob', 10), (3, 'cay', 7);
CREATE FUNCTION pg_temp.award(stay int) RETURNS bigint LANGUAGE sql AS $$
	SELECT min(entry_id) FROM loyalty.entries WHERE program = 'hotel' AND kind = 'earn' AND event = stay::text
$$;
CREATE FUNCTION pg_temp.all_of_360(who text, of_program text DEFAULT 'hotel') RETURNS text LANGUAGE sql AS $$
	SELECT format('%s free, %s pending, %s earned', trim_scale(available), trim_scale(pending), trim_scale(earned))
	FROM loyalty.member_360 WHERE member = who AND program = of_program
$$;
SELECT is(merge_members('hotel', 'ann', 'bob') > 0, true, 'ann is bob');
SELECT is(pg_temp.has('ann', 'hotel') || '; ' || pg_temp.has('bob', 'hotel'), '0 free, 40 pending, 0 debt, 40 earned, 0 redeemed, 0 expired; 0 free, 10 pending, 0 debt, 10 earned, 0 redeemed, 0 expired', 'what waits does so where it was earned');
SELECT is(pg_temp.all_of_360('bob'), '0 free, 50 pending, 50 earned', 'for the person it counts together');
CREATE TEMP TABLE confirmed AS SELECT confirm(pg_temp.award(1)) AS entry;
SELECT is(pg_temp.chain('ann', 'hotel'), 'earn 40, merge 0, confirm -40, confirm 40, merge -40', 'confirmed, and passed on');
SELECT is(pg_temp.has('bob', 'hotel'), '40 free, 10 pending, 0 debt, 10 earned, 0 redeemed, 0 expired', 'where the points are');
SELECT is(confirm(pg_temp.award(1)), entry, 'once') FROM confirmed;
UPDATE public.stays SET refunded = 15 WHERE id = 1;
SELECT is(pg_temp.has('bob', 'hotel'), '25 free, 10 pending, 0 debt, 10 earned, 0 redeemed, 0 expired', 'a refund of what was confirmed takes it where it is');
INSERT INTO public.stays VALUES (4, 'ann', 10), (5, 'ann', 30);
UPDATE public.stays SET refunded = 10 WHERE id = 4;
SELECT is(pg_temp.has('ann', 'hotel') || '; ' || pg_temp.has('bob', 'hotel'), '0 free, 30 pending, 0 debt, 55 earned, 0 redeemed, 0 expired; 25 free, 10 pending, 0 debt, 10 earned, 0 redeemed, 0 expired', 'one of what waits takes just that, though bob''s 10 are of the same day');
SELECT throws_ok(format('SELECT confirm(%s)', pg_temp.award(4)), 'LY322', NULL, 'which is nothing any more');
SELECT throws_ok($$ SELECT extend('hotel', 'ann', 'infinity') $$, 'LY340', NULL, 'a merged key has no points to extend');
SELECT pg_temp.proved('what waits while they are merged');
SELECT is(unmerge_member('hotel', 'ann') > 0, true, 'apart');
SELECT is(pg_temp.has('ann', 'hotel') || '; ' || pg_temp.has('bob', 'hotel'), '25 free, 30 pending, 0 debt, 55 earned, 0 redeemed, 0 expired; 0 free, 10 pending, 0 debt, 10 earned, 0 redeemed, 0 expired', 'each its own');
SELECT is(confirm(pg_temp.award(2)) > 0, true, 'bob''s 10');
SELECT is(merge_members('hotel', 'ann', 'bob') > 0, true, 'together again');
SELECT throws_ok($$ SELECT close_member('hotel', 'bob') $$, 'LY344', NULL, 'what waits is left, too');
SELECT is((SELECT close_member('hotel', 'bob', forfeit => true)::text), '', 'bob leaves');
SELECT is(pg_temp.chain('ann', 'hotel'), 'earn 40, merge 0, confirm -40, confirm 40, merge -40, merge 15, reverse -15, earn 10, earn 30, reverse -10, merge 25, merge -25, forfeit -30', 'and what waited is forfeited where it was');
SELECT throws_ok(format('SELECT confirm(%s)', pg_temp.award(5)), 'LY322', NULL, 'nothing is left to be confirmed, of the merged key either');
UPDATE public.stays SET amount = 50 WHERE id = 5;
SELECT is(pg_temp.has('ann', 'hotel') || '; ' || pg_temp.has('bob', 'hotel'), '0 free, 0 pending, 0 debt, 75 earned, 0 redeemed, 50 expired; 0 free, 0 pending, 0 debt, 10 earned, 0 redeemed, 35 expired', 'what comes to it is forfeited at once');
SELECT pg_temp.proved('closed with what waits');

-- The tier does not count what waits, wherever it does; and the job books the end of what waited in vain.
SELECT create_program('spa', validity => '100 years', confirm => true, ladder => 'in:0, up:50') > 0, add_rule('spa', 'base', points_per => 1) > 0;
SELECT attach('public.stays', 'spa', 'who', amount => 'amount', refunded => 'refunded') > 0;
CREATE FUNCTION pg_temp.tier_of(who text) RETURNS text LANGUAGE sql AS $$ SELECT tier || ' ' || trim_scale(metric) FROM tier_progress('spa', who) $$;
INSERT INTO public.stays VALUES (11, 'sue', 40), (12, 'tom', 30), (13, 'sue', 6);
SELECT count(confirm(entry_id)) FROM entries WHERE program = 'spa' AND kind = 'earn' AND event = '12';
SELECT is(merge_members('spa', 'sue', 'tom') > 0, true, 'sue is tom');
SELECT is(pg_temp.tier_of('tom'), 'in 30', '76 less the 46 that wait');
SELECT count(confirm(entry_id)) FROM entries WHERE program = 'spa' AND kind = 'earn' AND event = '11';
SELECT is(pg_temp.tier_of('tom'), 'up 70', '40 more');
INSERT INTO public.stays VALUES (14, 'una', 60);
SELECT enrol('spa', 'vic') > 0, merge_members('spa', 'una', 'vic') > 0, change_currency('spa', confirm => false) IS NULL;
INSERT INTO public.stays VALUES (15, 'vic', 5);
SELECT is(pg_temp.tier_of('vic'), 'in 5', 'nor where new awards do not wait any more');
SELECT count(confirm(entry_id)) FROM entries WHERE program = 'spa' AND kind = 'earn' AND event = '14';
SELECT is(pg_temp.tier_of('vic'), 'up 65', 'until it is confirmed');
SELECT change_currency('spa', confirm => true);
SET LOCAL session_replication_role = replica;
CREATE TEMP TABLE sues AS SELECT a.account_id FROM loyalty.account a JOIN loyalty.currency c USING (currency_id) JOIN loyalty.program p USING (program_id)
WHERE a.member_key = 'sue' AND p.code = 'spa';
UPDATE loyalty.lot l SET expires_at = '2021-01-01 00:00+00' WHERE l.account_id IN (TABLE sues) AND l.valid_from = 'infinity' AND l.open;
UPDATE loyalty.account a SET as_of = '-infinity', next_change = '-infinity' WHERE a.account_id IN (TABLE sues);
SELECT pg_temp.rehash();
SET LOCAL session_replication_role = origin;
SELECT is((SELECT sum(_expire_accounts(a, now())) FROM _expiring_accounts('spa', now(), 0, 100) a), 1::numeric, 'one lot has ended');
SELECT is(pg_temp.has('sue', 'spa') || '; ' || pg_temp.has('tom', 'spa'), '0 free, 0 pending, 0 debt, 46 earned, 0 redeemed, 6 expired; 70 free, 0 pending, 0 debt, 30 earned, 0 redeemed, 0 expired', 'of the merged key');
SELECT is(pg_temp.tier_of('tom'), 'up 70', 'it never counted');
SELECT is(unmerge_member('spa', 'sue') > 0, true, 'apart');
SELECT is(pg_temp.tier_of('tom') || ', ' || pg_temp.tier_of('sue'), 'in 30, in 40', 'each by its own');

-- Who closes forfeits what waits and what a clock keeps; neither counts for anything, and nothing comes back.
SELECT close_member('hotel', 'cay', forfeit => true), close_member('cafe', 'cay', forfeit => true);
SELECT is(pg_temp.has('cay', 'hotel') || '; ' || pg_temp.has('cay', 'cafe'), '0 free, 0 pending, 0 debt, 7 earned, 0 redeemed, 7 expired; 0 free, 0 pending, 0 debt, 7 earned, 0 redeemed, 7 expired', 'forfeited');
SELECT throws_ok(format('SELECT confirm(%s)', entry_id), 'LY322', NULL, 'nothing is left to be confirmed') FROM entries WHERE program = 'hotel' AND kind = 'earn' AND member = 'cay';
SELECT throws_ok($$ SELECT extend('cafe', 'cay', 'infinity') $$, 'LY341', NULL, 'nor to be extended');
UPDATE public.stays SET refunded = 2 WHERE id = 3;
SELECT is(pg_temp.has('cay', 'hotel'), '0 free, 0 pending, 0 debt, 7 earned, 0 redeemed, 7 expired', 'a refund of what was forfeited takes nothing');
SELECT set_ladder('hotel', 'basic:0, guest:5');
SELECT is((SELECT coalesce(sum(b.metric::numeric), 0) FROM loyalty.tier_progress_bucket b JOIN loyalty.account a USING (account_id) WHERE a.member_key = 'cay'), 0.0, 'and it was never earned');
SELECT pg_temp.proved('what waits, what ends by activity');

-- ---- In pools
SELECT create_program('house') > 0;
SELECT enrol('house', who) > 0 FROM unnest(ARRAY['ann', 'bob', 'cay', 'dee']) who;
SELECT adjust('house', who, 10, 'present') > 0 FROM unnest(ARRAY['ann', 'bob', 'cay', 'dee']) who;
SELECT create_pool('house', 'home') > 0;
SELECT join_pool('house', 'home', who) FROM unnest(ARRAY['ann', 'bob', 'cay']) who;
CREATE TEMP TABLE home AS SELECT redeem_pool('house', 'home', 'ann', 24, 'trip', 'secret trip') AS trip;
SELECT is((SELECT string_agg(member || ' ' || trim_scale(available), ', ' ORDER BY member) FROM balances WHERE program = 'house'), 'ann 0, bob 0, cay 6, dee 10', 'all end alike: the lower account pays first');
SELECT is(merge_members('house', 'bob', 'dee') > 0, true, 'bob is dee');
SELECT throws_ok($$ SELECT redeem_pool('house', 'home', 'bob', 1) $$, 'LY340', NULL, 'a merged member does not redeem from its pool');
SELECT is(pool_balance('house', 'home')::numeric || ' ' || pool_balance('house', 'home', member => 'ann')::numeric || ' ' || pool_balance('house', 'home', member => 'bob')::numeric, '6 6 0', 'nor is anything of it there');
SELECT throws_ok($$ SELECT redeem_pool('house', 'home', 'ann', 7) $$, 'LY301', NULL, 'what dee has is not the pool''s');
SELECT is(unmerge_member('house', 'bob') > 0, true, 'apart again');
SELECT is(close_member('house', 'cay', forfeit => true)::text, '', 'cay leaves');
SELECT throws_ok($$ SELECT redeem_pool('house', 'home', 'cay', 1) $$, 'LY341', NULL, 'who is closed does not redeem from its pool');
SELECT is(pool_balance('house', 'home')::numeric, 0.0, 'nor lend');
SELECT is(giveback(trip, 14, reason => 'no secret trip') > 0, true, 'given back: 4 of cay, and 10 of bob') FROM home;
SELECT is((SELECT string_agg(member || ' ' || trim_scale(available), ', ' ORDER BY member) FROM balances WHERE program = 'house'), 'ann 0, bob 10, cay 0, dee 10', 'what cay gets is forfeited at once');
SELECT is(pg_temp.chain('cay', 'house'), 'adjust 10, redeem -4, forfeit -6, giveback 4, forfeit -4', 'and says so');
SELECT is(leave_pool('house', 'home', 'cay')::text, '', 'a closed member can leave');
SELECT throws_ok($$ SELECT join_pool('house', 'home', 'cay') $$, 'LY341', 'the member is closed', 'but not join again');
SELECT is(merge_members('house', 'dee', 'bob') > 0, true, 'dee is bob');
SELECT throws_ok($$ SELECT join_pool('house', 'home', 'dee') $$, 'LY340', 'the member was merged into another', 'nor one who is merged');
SELECT is(redeem_pool('house', 'home', 'ann', 20) > 0, true, 'who has the points of another lends them, too');
SELECT is(erase_member('house', 'ann') > 0, true, 'ann is forgotten');
SELECT is((SELECT count(*) FROM loyalty.entry e WHERE e.reason ~ 'secret trip') + (SELECT count(*) FROM loyalty.request q WHERE q.content ~ 'secret trip'), 0::bigint, 'with the reason why the others paid');
-- Of three who paid one is merged into another of them, who is merged into a fourth.
SELECT create_program('villa') > 0;
SELECT enrol('villa', who) > 0, adjust('villa', who, 10, 'present') > 0 FROM unnest(ARRAY['dee', 'ann', 'bob', 'cay']) who;
SELECT create_pool('villa', 'home') > 0;
SELECT join_pool('villa', 'home', who) FROM unnest(ARRAY['ann', 'bob', 'cay']) who;
CREATE TEMP TABLE villa AS SELECT redeem_pool('villa', 'home', 'ann', 30) AS trip;
SELECT is(merge_members('villa', 'bob', 'cay') > 0 AND merge_members('villa', 'cay', 'dee') > 0, true, 'all three are dee');
SELECT is(giveback(trip, 12) > 0, true, '10 of cay''s and 2 of bob''s') FROM villa;
SELECT is(pg_temp.has('dee', 'villa'), '22 free, 0 pending, 0 debt, 0 earned, 0 redeemed, 0 expired', 'are dee''s, to whom both belong');
SELECT is(giveback(trip) > 0, true, '8 of bob''s, and ann''s') FROM villa;
SELECT is(pg_temp.chain('bob', 'villa'), 'adjust 10, redeem -10, merge 0, giveback 2, merge -2, giveback 8, merge -8', 'to the lot that paid, and on');
SELECT is(pg_temp.chain('cay', 'villa'), 'adjust 10, redeem -10, merge 0, merge 0, giveback 10, merge 2, merge -12, merge 8, merge -8', 'through cay');
SELECT is(pg_temp.has('dee', 'villa') || ' / ' || pg_temp.has('ann', 'villa'), '30 free, 0 pending, 0 debt, 0 earned, 0 redeemed, 0 expired / 10 free, 0 pending, 0 debt, 0 earned, 0 redeemed, 0 expired', 'each has its own');
SELECT throws_ok(format('SELECT giveback(%s)', trip), 'LY303', NULL, 'all of it') FROM villa;
SELECT pg_temp.proved('pools');

-- ---- What of a merge is archived
SELECT create_program('vault') > 0;
SELECT add_rule('vault', 'base', points_per => 1) > 0;
CREATE TABLE public.old (id int PRIMARY KEY, who text, amount numeric, refunded numeric NOT NULL DEFAULT 0, at timestamptz);
SELECT attach('public.old', 'vault', 'who', amount => 'amount', refunded => 'refunded', event_time => 'at') > 0;
INSERT INTO public.old VALUES (1, 'ann', 60, 0, '2020-05-01 12:00+00'), (2, 'bob', 40, 0, '2020-06-01 12:00+00'), (3, 'cay', 9, 0, '2020-06-01 12:00+00');
SELECT merge_members('vault', 'ann', 'bob', 'mv', 'secret words') > 0 AS merged;
SELECT close_member('vault', 'cay', 'left us', forfeit => true);
SELECT transfer('vault', 'bob', 'dee', 5, 'gift', reason => 'secret gift') > 0 FROM enrol('vault', 'dee');
SELECT number > 0 FROM checkpoint();
-- All that a checkpoint saw goes, whatever its time: archive() commits, so its parts are called.
CREATE TEMP TABLE gone AS SELECT h.account_id, max(h.entries) AS entries FROM loyalty.checkpoint_head h
	JOIN loyalty.account a USING (account_id) JOIN loyalty.currency c USING (currency_id) JOIN loyalty.program p USING (program_id)
	WHERE p.code = 'vault' GROUP BY h.account_id;
SELECT is(_archive_accounts(array_agg(account_id ORDER BY account_id), array_agg(entries ORDER BY account_id), now()), 8::bigint,
	'earn, merge of ann; earn, merge, transfer of bob; earn, forfeit of cay; transfer of dee') FROM gone;
SELECT pg_temp.verified('archived, merged ones too');
UPDATE public.old SET refunded = 20 WHERE id = 1;
SELECT is(pg_temp.has('bob', 'vault'), '75 free, 0 pending, 0 debt, 40 earned, 0 redeemed, 0 expired', 'an archived order of the old key is refunded: 60 + 40 - 5 - 20');
SELECT is(unmerge_member('vault', 'ann') > 0, true, 'a merge that is archived is undone');
SELECT is(pg_temp.has('ann', 'vault') || '; ' || pg_temp.has('bob', 'vault'), '40 free, 0 pending, 0 debt, 40 earned, 0 redeemed, 0 expired; 35 free, 0 pending, 0 debt, 40 earned, 0 redeemed, 0 expired', '60 - 20 and 40 - 5');
SELECT pg_temp.verified('taken apart');
SELECT is(erase_member('vault', 'bob') > 0, true, 'erased');
SELECT is((SELECT count(*) FROM loyalty._book e WHERE e.reason ~ 'secret'), 0::bigint, 'the reasons in the archive, too, and on the other side');
SELECT is((SELECT count(*) FROM loyalty.request q WHERE q.content ~ 'secret'), 0::bigint, 'and of requests');
SELECT pg_temp.verified('erased');
SELECT merge_members('vault', 'ann', 'dee') > 0 AS merged;
SELECT discard_archive() > 0;
SELECT throws_ok($$ UPDATE public.old SET refunded = 30 WHERE id = 1 $$, 'LY020', NULL, 'once it is discarded, a refund is refused');
SELECT throws_ok($$ SELECT unmerge_member('vault', 'ann') $$, 'LY020', NULL, 'and taking apart');
SELECT is_empty('SELECT * FROM loyalty.verify()', 'verify() agrees: discarded');

-- ---- verify() finds what is not as it should be
CREATE FUNCTION pg_temp.finds(name text, change text, want text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	found text;
BEGIN
	BEGIN
		ALTER TABLE loyalty.account DISABLE TRIGGER loyalty_guard;
		ALTER TABLE loyalty.entry DISABLE TRIGGER loyalty_guard;
		EXECUTE change;
		ALTER TABLE loyalty.account ENABLE TRIGGER loyalty_guard;
		ALTER TABLE loyalty.entry ENABLE TRIGGER loyalty_guard;
		found := (SELECT string_agg(problem, ' | ') FROM loyalty.verify() WHERE problem ~ want);
		RAISE EXCEPTION 'undone' USING ERRCODE = 'P0099';
	EXCEPTION WHEN SQLSTATE 'P0099' THEN
	END;
	RETURN public.ok(found IS NOT NULL, name);
END $$;
SELECT pg_temp.finds('a state that is none', $$ UPDATE loyalty.account SET state = 7 WHERE member_key = 'zoe' $$, '^its state is 7, and it is merged into account NULL$');
SELECT pg_temp.finds('merged into nobody', $$ UPDATE loyalty.account SET merged_into = 999999 WHERE member_key = 'mia' $$, '^the account it is merged into, 999999, is not there$');
SELECT pg_temp.finds('merged in a circle', $$ UPDATE loyalty.account SET merged_into = account_id WHERE member_key = 'mia' $$, '^the accounts it is merged into end nowhere$');
SELECT pg_temp.finds('merged into another than the entries say', $$ UPDATE loyalty.account a SET merged_into = b.account_id FROM loyalty.account b WHERE a.member_key = 'mia' AND b.member_key = 'zoe' AND a.currency_id = b.currency_id $$, '^no entry says that it is merged into account [0-9]+$');
SELECT pg_temp.finds('closed with points', $$ UPDATE loyalty.account SET state = 2 WHERE member_key = 'zoe' $$, '^it is closed and has points$');
SELECT pg_temp.finds('reopened in part', $$ UPDATE loyalty.account SET state = 0 WHERE member_key = 'pia' AND currency_id = (SELECT min(currency_id) FROM loyalty.currency WHERE code = 'miles') $$, '^not all accounts of its member');
SELECT pg_temp.finds('reopened', $$ UPDATE loyalty.account SET state = 0 WHERE member_key = 'pia' $$, '^its state is 0, by what became of its member it is 2$');
SELECT pg_temp.finds('reopened once erased', $$ UPDATE loyalty.account SET state = 0 WHERE state = 2 AND member_key LIKE 'erased:%' $$, '^its state is 0, by what became of its member it is 2$');
SELECT pg_temp.finds(format('nobody knows of the %s', change), format($$ ALTER TABLE loyalty.member_change DISABLE TRIGGER loyalty_guard; DELETE FROM loyalty.member_change WHERE kind = %L $$, change),
	format('^its state is %s, by what became of its member it is 0$', state))
FROM (VALUES ('merge', 1), ('close', 2), ('erase', 2)) c (change, state);
SELECT pg_temp.finds('a merge whose other side is gone', $$ DELETE FROM loyalty.entry WHERE kind = 'merge' AND account_id = (SELECT account_id FROM loyalty.account WHERE member_key = 'ann' AND currency_id = (SELECT min(currency_id) FROM loyalty.currency)) $$, '^the other side of the merge, entry [0-9]+, is not there$');

SELECT * FROM finish();
ROLLBACK;
