-- confirm: awards that wait to be confirmed
\ir include/begin.psql
SET LOCAL timezone = 'UTC';

CREATE TABLE public.stay (id int PRIMARY KEY, who text, amount numeric, refunded numeric NOT NULL DEFAULT 0, at timestamptz DEFAULT now());
CREATE TABLE public.item (stay text, line int, who text, amount numeric, PRIMARY KEY (stay, line));
SELECT create_program('hotel', validity => '12 months', validity_rounding => 'month', confirm => true, ladder => 'basic:0, gold:100') > 0;
SELECT add_rule('hotel', 'base', points_per => 1) > 0;
SELECT attach('public.stay', 'hotel', 'who', amount => 'amount', refunded => 'refunded', event_time => 'at') > 0;

CREATE FUNCTION pg_temp.has(who text, code text DEFAULT 'hotel') RETURNS text LANGUAGE sql AS $$
	SELECT format('%s free, %s pending, %s debt, %s', trim_scale(available), trim_scale(pending), trim_scale(debt), coalesce(tier, 'no tier'))
	FROM loyalty.balances WHERE member = who AND program = code
$$;
CREATE FUNCTION pg_temp.entries(who text, after int DEFAULT 0) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s%s', e.kind, trim_scale(e.points::numeric), ' of ' || e.event), ', ' ORDER BY e.entry_no)
	FROM loyalty.entry e JOIN loyalty.account a USING (account_id) WHERE a.member_key = who AND e.entry_no > after
$$;
CREATE FUNCTION pg_temp.award(who text, of text, n int DEFAULT 1) RETURNS bigint LANGUAGE sql AS $$
	SELECT entry_id FROM loyalty.entries WHERE member = who AND event = of AND kind IN ('earn', 'rekey') AND points > 0 ORDER BY entry_id OFFSET n - 1 LIMIT 1
$$;

-- ---- An award waits, for whatever comes, but for what is said of it
INSERT INTO public.stay VALUES (1, 'ann', 100), (2, 'ann', 40);
SELECT is(pg_temp.has('ann'), '0 free, 140 pending, 0 debt, basic', 'points wait: not to be spent, and no step on the ladder');
SELECT results_eq($$ SELECT lot_no, valid_from, remaining, state COLLATE "default" FROM lots WHERE member = 'ann' ORDER BY 1 $$,
	$$ VALUES (1, 'infinity'::timestamptz, 100::numeric, 'pending'), (2, 'infinity', 40, 'pending') $$, 'each award by itself');
SELECT is(balance('hotel', 'ann', now() + interval '300 days')::numeric, 0.0, 'time alone does not confirm them');
SELECT results_eq($$ SELECT points, pending FROM points_liability WHERE program = 'hotel' $$, $$ VALUES (140::numeric, 140::numeric) $$, 'the shop owes them all the same');
SELECT pg_temp.refused($$ SELECT redeem('hotel', 'ann', 1) $$, 'LY301', '1 points%', 'they can''t be redeemed');

SELECT confirm(pg_temp.award('ann', '1'), 'she stayed') AS confirmed \gset
SELECT is(pg_temp.has('ann'), '100 free, 40 pending, 0 debt, gold', 'confirmed: live, and counted to the tier');
SELECT is(pg_temp.entries('ann', 2), 'confirm -100 of 1, confirm 100 of 1', 'by an entry that takes and one that gives');
SELECT is(:confirmed % 100000000, 4, 'the answer is the one that gives');
SELECT results_eq(format($$ SELECT reverses, reason FROM loyalty.entry WHERE account_id = %s / 100000000 AND entry_no = 3 $$, :confirmed),
	$$ VALUES (1, 'she stayed') $$, 'which says what was confirmed, and why');
SELECT results_eq($$ SELECT l.expires_at = p.expires_at, l.issued = p.issued, l.valid_from IS NULL FROM lots l, lots p WHERE l.member = 'ann' AND p.member = 'ann' AND l.lot_no = 3 AND p.lot_no = 1 $$,
	$$ VALUES (true, true, true) $$, 'they end when they were to end, and are of the month of the award');
SELECT is(confirm(pg_temp.award('ann', '1')), :confirmed::bigint, 'confirmed again: the same answer');
SELECT is((SELECT count(*) FROM entries WHERE member = 'ann'), 4::bigint, 'and nothing more is booked');
SELECT is((SELECT earned FROM balances WHERE member = 'ann'), 140::numeric, 'earned is not earned twice');
SELECT results_eq($$ SELECT issued, redeemed, expired FROM points_development('hotel') $$, $$ VALUES (140::numeric, 0::numeric, 0::numeric) $$, 'nor issued twice');
SELECT is((SELECT points FROM points_liability WHERE program = 'hotel'), 140::numeric, 'what the shop owes is what it owed');
SELECT is_empty($$ SELECT * FROM verify('hotel') $$, 'the proof holds');
SELECT pg_temp.balanced('a confirmation');

-- ---- When: at any moment, and as it was known then
INSERT INTO public.stay VALUES (3, 'ben', 50, 0, now() - interval '5 days');
SELECT pg_temp.pass_time('10 days');
SELECT confirm(pg_temp.award('ben', '3')) > 0;
SELECT results_eq($$ SELECT balance('hotel', 'ben', now() - interval '1 day')::numeric, balance('hotel', 'ben')::numeric, balance('hotel', 'ben', now() + interval '1 day')::numeric $$,
	$$ VALUES (0.0, 50.0, 50.0) $$, 'from the confirmation on, not from the award');
SELECT results_eq($$ SELECT balance_as_known('hotel', 'ben', now(), now() - interval '1 day')::numeric, balance_as_known('hotel', 'ben', now(), now())::numeric $$,
	$$ VALUES (0.0, 50.0) $$, 'before it nobody knew');
SELECT results_eq($$ SELECT kind COLLATE "default", points, balance FROM statement('hotel', 'ben', now() - interval '30 days', now() + interval '1 day') $$,
	$$ VALUES ('opening', NULL::numeric, 0::numeric), ('confirm', 50, 50), ('closing', NULL, 50) $$, 'the statement');

-- ---- The order changes before it and after it
INSERT INTO public.stay VALUES (4, 'cid', 100), (5, 'cid', 10);
UPDATE public.stay SET refunded = 30 WHERE id = 4;
SELECT is(pg_temp.has('cid'), '0 free, 80 pending, 0 debt, basic', 'a refund takes points that wait');
SELECT confirm(pg_temp.award('cid', '4')) > 0;
SELECT is(pg_temp.has('cid'), '70 free, 10 pending, 0 debt, basic', 'the rest is confirmed');
UPDATE public.stay SET refunded = 40 WHERE id = 4;
SELECT is(pg_temp.has('cid'), '60 free, 10 pending, 0 debt, basic', 'a later one takes points that are live');
UPDATE public.stay SET refunded = 20 WHERE id = 4;
SELECT is(pg_temp.has('cid'), '80 free, 10 pending, 0 debt, basic', 'and what is owed again is live, as the award is');
DELETE FROM public.stay WHERE id = 4;
SELECT is(pg_temp.has('cid'), '0 free, 10 pending, 0 debt, basic', 'all of it goes from its own lot, what waits stays');
SELECT ok(confirm(pg_temp.award('cid', '4')) = (SELECT max(entry_id) FROM entries WHERE member = 'cid' AND kind = 'confirm'), 'confirmed again when it is gone: still the same answer');
DELETE FROM public.stay WHERE id = 5;
SELECT pg_temp.refused($$ SELECT confirm(pg_temp.award('cid', '5')) $$, 'LY322', '%was taken back%', 'an award that was reversed can''t be confirmed');
INSERT INTO public.stay VALUES (5, 'cid', 12);
SELECT is(pg_temp.has('cid'), '0 free, 12 pending, 0 debt, basic', 'the key used again is a new award, which waits');
SELECT confirm(pg_temp.award('cid', '5', 2)) > 0;
SELECT is(pg_temp.has('cid'), '12 free, 0 pending, 0 debt, basic', 'and can be confirmed');
SELECT pg_temp.balanced('refunds of both');

-- Under another key, and with a part that repaid a debt.
INSERT INTO public.stay VALUES (6, 'dot', 60);
UPDATE public.stay SET id = 66 WHERE id = 6;
SELECT is(confirm(pg_temp.award('dot', '6')), confirm(pg_temp.award('dot', '66')), 'a row whose key changed: by the entry of either key');
SELECT is(pg_temp.entries('dot', 3), 'confirm -60 of 66, confirm 60 of 66', 'booked under the one it has');
UPDATE public.stay SET amount = 61 WHERE id = 66;
SELECT is(pg_temp.has('dot'), '61 free, 0 pending, 0 debt, basic', 'where what is added is live');

SELECT create_program('owe', debt => 'negative', confirm => true) > 0, add_rule('owe', 'base', points_per => 1) > 0;
CREATE TABLE public.trip (id int PRIMARY KEY, who text, amount numeric);
SELECT attach('public.trip', 'owe', 'who', amount => 'amount') > 0;
INSERT INTO public.trip VALUES (1, 'eve', 40), (2, 'eve', 100);
SELECT confirm(pg_temp.award('eve', '1')) > 0, redeem('owe', 'eve', 40) > 0;
DELETE FROM public.trip WHERE id = 1;
SELECT is(pg_temp.has('eve', 'owe'), '-40 free, 100 pending, 40 debt, no tier', 'a debt while points wait');
SELECT confirm(pg_temp.award('eve', '2')) > 0;
SELECT is(pg_temp.has('eve', 'owe'), '60 free, 0 pending, 0 debt, no tier', 'what is confirmed repays it first');
UPDATE public.trip SET id = 3 WHERE id = 2;
INSERT INTO public.trip VALUES (4, 'eve', 7);
SELECT confirm(pg_temp.award('eve', '4')) > 0;
UPDATE public.trip SET amount = 90 WHERE id = 3;
SELECT results_eq($$ SELECT lot_no, remaining FROM lots WHERE program = 'owe' AND member = 'eve' AND state = 'live' $$, $$ VALUES (4, 57::numeric) $$, 'ten of them taken back from where they are');
SELECT pg_temp.balanced('a debt');

-- ---- What does not wait
SELECT enrol('hotel', 'fay') > 0;
SELECT adjust('hotel', 'fay', 5, 'sorry') AS given \gset
SELECT is(pg_temp.has('fay'), '5 free, 0 pending, 0 debt, basic', 'points given by hand are confirmed by it');
SELECT pg_temp.refused(format('SELECT confirm(%s)', :given), 'LY004', '%event earned%', 'they are no award');
SELECT pg_temp.refused('SELECT confirm(4)', 'LY004', 'No entry%', 'no such entry');
SELECT pg_temp.refused('SELECT confirm(-1)', 'LY004', 'No entry%', 'no such number');
SELECT pg_temp.refused('SELECT confirm(NULL)', '22004', NULL, 'no number');
SELECT pg_temp.refused(format('SELECT confirm(%s)', :confirmed), 'LY004', '%event earned%', 'a confirmation is not confirmed');
INSERT INTO public.stay VALUES (7, 'gus', 0.5);
SELECT pg_temp.refused($$ SELECT confirm((SELECT entry_id FROM entries WHERE event = '7')) $$, 'LY321', 'It gave no points%', 'an award of nothing');

-- A change of policy is for what comes after it.
INSERT INTO public.stay VALUES (8, 'hal', 20);
SELECT change_currency('hotel', confirm => false);
INSERT INTO public.stay VALUES (9, 'hal', 3);
SELECT is(pg_temp.has('hal'), '3 free, 20 pending, 0 debt, basic', 'new awards are live, those that wait still do');
SELECT pg_temp.refused($$ SELECT confirm(pg_temp.award('hal', '9')) $$, 'LY321', 'Its points can be spent%', 'nothing waits there');
SELECT confirm(pg_temp.award('hal', '8')) > 0;
SELECT is(pg_temp.has('hal'), '23 free, 0 pending, 0 debt, basic', 'and can be confirmed');
SELECT change_currency('hotel', confirm => true);

-- ---- Another member's now: a new award
INSERT INTO public.stay VALUES (10, 'ida', 30);
SELECT confirm(pg_temp.award('ida', '10')) > 0;
UPDATE public.stay SET who = 'jan' WHERE id = 10;
SELECT is(pg_temp.has('ida') || '; ' || pg_temp.has('jan'), '0 free, 0 pending, 0 debt, basic; 0 free, 30 pending, 0 debt, basic', 'what moved waits where it is');

-- ---- Lines of an event by a rule that counts by events are one award
SELECT create_program('tour', confirm => true) > 0, add_rule('tour', 'ten', points_per => 0.1, stage => 'event') > 0;
SELECT attach('public.item', 'tour', 'who', amount => 'amount', event => 'stay') > 0;
INSERT INTO public.item VALUES ('x', 1, 'kim', 15), ('x', 2, 'kim', 19), ('y', 1, 'kim', 30);
SELECT is(pg_temp.has('kim', 'tour'), '0 free, 6 pending, 0 debt, no tier', 'floor(3.4) and 3');
INSERT INTO public.item VALUES ('x', 3, 'kim', 6);
SELECT is((SELECT string_agg(lot_no || ':' || trim_scale(remaining), ' ' ORDER BY lot_no) FROM lots WHERE program = 'tour'), '1:4 2:3', 'a line that comes later waits with the others');
SELECT confirm(pg_temp.award('kim', 'x', 2)) > 0;
SELECT is(pg_temp.has('kim', 'tour'), '4 free, 3 pending, 0 debt, no tier', 'confirmed together');
SELECT is(confirm(pg_temp.award('kim', 'x', 3)), confirm(pg_temp.award('kim', 'x', 1)), 'by any of its lines');
UPDATE public.item SET amount = 29 WHERE stay = 'x' AND line = 2;
SELECT is(pg_temp.has('kim', 'tour'), '5 free, 3 pending, 0 debt, no tier', 'another point for the event is live');
DELETE FROM public.item WHERE stay = 'x';
SELECT is(pg_temp.has('kim', 'tour'), '0 free, 3 pending, 0 debt, no tier', 'all lines gone, and nothing of the other event');
SELECT pg_temp.balanced('events of lines');

-- ---- What is not confirmed in time ends when it was to end, and was never earned for the tier
INSERT INTO public.stay VALUES (11, 'lea', 500), (15, 'liv', 500);
SELECT pg_temp.pass_time('14 months');
SELECT is(pg_temp.has('lea'), '0 free, 0 pending, 0 debt, basic', 'it is over by the clock');
SELECT is((SELECT state FROM lots WHERE member = 'lea'), 'expired', 'and shown to be');
SELECT pg_temp.refused($$ SELECT confirm(pg_temp.award('lea', '11')) $$, 'LY323', 'They ended at%', 'too late to be confirmed');
INSERT INTO public.stay VALUES (12, 'lea', 1);
SELECT is((SELECT tier FROM balances WHERE member = 'lea'), 'basic', 'no tier of it before its end is booked');
SELECT _expire_accounts(ARRAY[(SELECT account_id FROM account WHERE member_key = 'lea')], now()) AS lots;
SELECT is(pg_temp.entries('lea'), 'earn 500 of 11, earn 1 of 12, expire -500', 'booked');
SELECT pg_temp.refused($$ SELECT confirm(pg_temp.award('lea', '11')) $$, 'LY323', 'They ended at%', 'too late then, too');
INSERT INTO public.stay VALUES (13, 'lea', 60);
SELECT confirm(pg_temp.award('lea', '13')) > 0;
SELECT is((SELECT tier FROM balances WHERE member = 'lea'), 'basic', '60 points by now');
DELETE FROM public.stay WHERE id = 11;
INSERT INTO public.stay VALUES (14, 'lea', 40);
SELECT confirm(pg_temp.award('lea', '14')) > 0;
SELECT is((SELECT tier FROM balances WHERE member = 'lea'), 'gold', '100 points, with nothing taken twice for the stay that never was');
SELECT pg_temp.balanced('an end before the confirmation');
SELECT change_currency('hotel', confirm => false);
INSERT INTO public.stay VALUES (16, 'liv', 1);
SELECT is(pg_temp.has('liv'), '1 free, 0 pending, 0 debt, basic', 'nor where awards do not wait any more: before its end is booked');
SELECT _expire_accounts(ARRAY[(SELECT account_id FROM account WHERE member_key = 'liv')], now()) AS lots;
INSERT INTO public.stay VALUES (17, 'liv', 98);
SELECT is(pg_temp.has('liv'), '99 free, 0 pending, 0 debt, basic', 'and after it');
SELECT change_currency('hotel', confirm => true);

-- Nor by a first ladder that comes later.
SELECT create_program('ladderless', validity => '12 months', confirm => true) > 0, add_rule('ladderless', 'base', points_per => 1) > 0;
CREATE TABLE public.ladderless (id int PRIMARY KEY, who text, amount numeric, at timestamptz);
SELECT attach('public.ladderless', 'ladderless', 'who', amount => 'amount', event_time => 'at') > 0;
INSERT INTO public.ladderless VALUES (21, 'max', 500, now() - interval '400 days'), (22, 'max', 60, now()), (23, 'mel', 500, now());
SELECT _expire_accounts(ARRAY[(SELECT account_id FROM account WHERE member_key = 'max')], now()) AS lots;
SELECT confirm(pg_temp.award('max', '22')) > 0, confirm(pg_temp.award('mel', '23')) > 0;
SELECT set_ladder('ladderless', 'basic:0, gold:100');
SELECT results_eq($$ SELECT member COLLATE "default", tier, (tier_progress('ladderless', member)).metric FROM balances WHERE program = 'ladderless' ORDER BY 1 $$,
	$$ VALUES ('max', 'basic', 60::numeric), ('mel', 'gold', 500) $$, 'what was confirmed counts');

-- ---- A currency whose pending points count
SELECT create_program('early', confirm => true, pending_counts => true, ladder => 'basic:0, gold:100') > 0, add_rule('early', 'base', points_per => 1) > 0;
CREATE TABLE public.early (id int PRIMARY KEY, who text, amount numeric);
SELECT attach('public.early', 'early', 'who', amount => 'amount') > 0;
INSERT INTO public.early VALUES (1, 'mia', 100);
SELECT is(pg_temp.has('mia', 'early'), '0 free, 100 pending, 0 debt, gold', 'the tier at once');
SELECT confirm(pg_temp.award('mia', '1')) > 0;
SELECT is(pg_temp.has('mia', 'early'), '100 free, 0 pending, 0 debt, gold', 'and once');

-- ---- Both a confirmation and a clock
SELECT create_program('both', confirm => true, validity => '30 days', activity => '{earn}') > 0, add_rule('both', 'base', points_per => 1) > 0;
CREATE TABLE public.both (id int PRIMARY KEY, who text, amount numeric, at timestamptz);
SELECT attach('public.both', 'both', 'who', amount => 'amount', event_time => 'at') > 0;
INSERT INTO public.both VALUES (1, 'ned', 10, now());
SELECT confirm(pg_temp.award('ned', '1')) > 0;
INSERT INTO public.both VALUES (2, 'ned', 5, now() + interval '5 days');
SELECT is((SELECT string_agg(l.lot_no || ':' || trim_scale(l.remaining) || ':' || (l.expires_at::date - now()::date), ' ' ORDER BY l.lot_no) FROM lots l WHERE l.program = 'both'),
	'1:0:36 2:10:36 3:5:36', 'both lots end with the clock, which the last order set');

-- ---- What can't mean anything
SELECT pg_temp.refused($$ SELECT create_program('twice', pending => '1 day', confirm => true) $$, 'LY101', '%1 day%', 'a time and a confirmation');
SELECT pg_temp.refused($$ SELECT change_currency('hotel', pending => '1 day') $$, 'LY101', '%1 day%', 'nor by a change');

-- ---- The proof finds what was changed behind the ledger's back. Two savepoints that find nothing show that it finds no more.
CREATE FUNCTION pg_temp.problems() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(DISTINCT regexp_replace(problem, '[0-9.]+', 'N', 'g'), '; ') FROM loyalty.verify('early') WHERE problem NOT LIKE 'table %'
$$;
CREATE FUNCTION pg_temp.behind(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	found text;
BEGIN
	BEGIN
		SET LOCAL session_replication_role = replica;
		EXECUTE statement;
		SET LOCAL session_replication_role = origin;
		found := pg_temp.problems();
		RAISE EXCEPTION 'undo' USING ERRCODE = 'XX999';
	EXCEPTION WHEN SQLSTATE 'XX999' THEN
		RETURN coalesce(found, 'nothing');
	END;
END $$;
SELECT is(pg_temp.behind('SELECT'), 'nothing', 'all is well');
SELECT is(pg_temp.behind($$ UPDATE lot SET valid_from = '-infinity' WHERE lot_no = 1 AND account_id = (SELECT account_id FROM account WHERE member_key = 'mia') $$),
	'it confirms points that do not wait for it, or gives them another month or an earlier end; the hash is not that of the entry''s content and the hash before it', 'a lot that did not wait');
SELECT is(pg_temp.behind($$ UPDATE lot SET valid_from = 'infinity' WHERE lot_no = 2 AND account_id = (SELECT account_id FROM account WHERE member_key = 'mia') $$) LIKE '%points are live%', true, 'or waits still');
SELECT ok(pg_temp.behind($$ UPDATE entry SET reverses = NULL WHERE entry_no = 2 AND account_id = (SELECT account_id FROM account WHERE member_key = 'mia') $$) LIKE '%confirms what no entry took%', 'half of a pair');

-- The lot that a confirmation emptied can be extended by its number, and the books hold.
SELECT create_program('spa', validity => '1 month', confirm => true);
SELECT add_rule('spa', 'base', points_per => 1);
CREATE TABLE public.treatments (id int PRIMARY KEY, who text, amount int);
SELECT attach('public.treatments', 'spa', 'who', 'amount');
INSERT INTO public.treatments VALUES (1, 'una', 9);
SELECT confirm(e.entry_id) FROM entries e WHERE e.program = 'spa';
SELECT extend('spa', 'una', (current_date + interval '1 year')::date, lot => 1);
SELECT is_empty($$SELECT * FROM verify('spa')$$, 'an emptied lot that is extended is no fault of what was confirmed');
SELECT is((SELECT array_agg(format('%s %s', lot_no, remaining) ORDER BY lot_no) FROM lots WHERE program = 'spa'), '{"1 0","2 9"}', 'and nothing comes of it');

SELECT * FROM finish();
ROLLBACK;
