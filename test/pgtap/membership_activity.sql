-- membership: members merged where points end by activity, 300 days after the last purchase or redemption
\ir include/begin.psql
SET LOCAL timezone = 'UTC';

SELECT create_program('act', validity => '300 days', activity => '{earn,redeem}', debt => 'negative') > 0, add_rule('act', 'base', points_per => 1) > 0;
CREATE TABLE public.act (id int PRIMARY KEY, who text, amount numeric, at timestamptz, refunded numeric NOT NULL DEFAULT 0);
SELECT attach('public.act', 'act', 'who', amount => 'amount', refunded => 'refunded', event_time => 'at') > 0;

CREATE FUNCTION pg_temp.day(n int) RETURNS timestamptz LANGUAGE sql AS $$ SELECT date_trunc('day', now()) + interval '1 day' * n + interval '1 hour' $$;
-- What is left of a member's lots, and after how many days from today it ends; events of more than a month between them are of several lots.
CREATE FUNCTION pg_temp.lots(who text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(format('%s:%s to %s', lot_no, trim_scale(remaining), l.expires_at::date - now()::date), ', ' ORDER BY lot_no), 'none')
	FROM loyalty.lots l WHERE l.program = 'act' AND l.member = who AND l.remaining > 0
$$;
CREATE FUNCTION pg_temp.clock(who text) RETURNS int LANGUAGE sql AS $$
	SELECT a.clock_end::date - now()::date FROM loyalty.account a WHERE a.member_key = who AND a.currency_id = (SELECT min(currency_id) FROM loyalty.currency)
$$;
CREATE FUNCTION pg_temp.has(who text) RETURNS numeric LANGUAGE sql AS $$ SELECT trim_scale(available) FROM loyalty.balances WHERE program = 'act' AND member = who $$;
CREATE FUNCTION pg_temp.chain(who text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(kind || ' ' || trim_scale(points) || coalesce(' forgave ' || trim_scale(forgiven), '') || CASE WHEN kind = 'expire' THEN ' on ' || (event_time::date - now()::date) ELSE '' END, ', ' ORDER BY entry_id)
	FROM loyalty.entries WHERE member = who AND entries.program = 'act'
$$;
CREATE FUNCTION pg_temp.merged(who text, into_whom text) RETURNS boolean LANGUAGE sql AS $$ SELECT loyalty.merge_members('act', who, into_whom) > 0 $$;
CREATE FUNCTION pg_temp.apart(who text) RETURNS boolean LANGUAGE sql AS $$ SELECT loyalty.unmerge_member('act', who) > 0 $$;
-- Orders of before time was made to pass have other hashes.
CREATE FUNCTION pg_temp.proved(name text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN NEXT pg_temp.balanced(name);
	RETURN NEXT public.is_empty($q$ SELECT * FROM loyalty.verify() $q$, 'verify() agrees: ' || name);
END $$;

-- ---- From now on there is one clock, the later of the two
INSERT INTO public.act VALUES (1, 'ann', 100, pg_temp.day(-200)), (2, 'bob', 10, pg_temp.day(-100)), (3, 'cid', 30, pg_temp.day(-50)), (4, 'dot', 5, pg_temp.day(-150));
SELECT is(ARRAY[pg_temp.clock('ann'), pg_temp.clock('bob'), pg_temp.clock('cid'), pg_temp.clock('dot')], '{101,201,251,151}', 'each to the midnight after the 300th day');
SELECT is(pg_temp.merged('ann', 'bob') AND pg_temp.merged('cid', 'dot'), true, 'merged');
SELECT is(pg_temp.lots('bob'), '1:10 to 201, 2:100 to 201', 'the survivor''s, which ends later: nobody loses by a merge, and to be merged is no activity');
SELECT is(pg_temp.lots('dot'), '1:5 to 251, 2:30 to 251', 'or the other''s');
SELECT is(ARRAY[pg_temp.lots('ann'), pg_temp.lots('cid')], '{none,none}', 'nothing is left where they were');
SELECT results_eq($$ SELECT balance('act', 'bob', date_trunc('day', pg_temp.day(201)) - interval '1 second')::numeric, balance('act', 'bob', date_trunc('day', pg_temp.day(201)))::numeric, balance('act', 'ann', pg_temp.day(-1))::numeric $$,
	$$ VALUES (110.0, 0.0, 100.0) $$, 'to the end and not after, and before the merge as it was');
SELECT pg_temp.proved('merged');

-- ---- What either key does moves it, for all points
INSERT INTO public.act VALUES (5, 'ann', 7, pg_temp.day(-10));
SELECT is(pg_temp.lots('bob'), '1:10 to 291, 2:100 to 291, 3:7 to 291', 'an order of the old key');
SELECT pg_temp.proved('by an order of the old key');
INSERT INTO public.act VALUES (6, 'ann', 3, pg_temp.day(-240));
SELECT is(pg_temp.lots('bob'), '1:10 to 291, 2:100 to 291, 3:7 to 291, 4:3 to 291', 'a late one sets nothing back');
CREATE TEMP TABLE paid AS SELECT redeem('act', 'bob', 20) AS by_bob;
SELECT is(pg_temp.lots('bob'), '2:90 to 301, 3:7 to 301, 4:3 to 301', 'a redemption');
UPDATE public.act SET refunded = 40 WHERE id = 1;
SELECT is(pg_temp.lots('bob'), '2:50 to 301, 3:7 to 301, 4:3 to 301', 'a refund takes the award''s, and is no activity');
SELECT is((SELECT sum(points) FROM points_liability WHERE program = 'act'), 95.0, '60 of bob and 35 of dot are owed');
SELECT pg_temp.proved('what either does');

-- ---- Apart: each has its own points, by the clock that they had together; then each by what it does
SELECT is(pg_temp.apart('ann'), true, 'apart');
SELECT is(pg_temp.lots('ann') || ' / ' || pg_temp.lots('bob'), '1:50 to 301, 2:7 to 301, 3:3 to 301 / none', 'into the lots they came from');
SELECT is(ARRAY[pg_temp.clock('ann'), pg_temp.clock('bob')], '{301,301}', 'what bob redeemed had moved it for both');
SELECT pg_temp.proved('apart');
SELECT pg_temp.pass_time('40 days');
INSERT INTO public.act VALUES (7, 'bob', 1, pg_temp.day(-1));
SELECT is(pg_temp.lots('ann') || ' / ' || pg_temp.lots('bob'), '1:50 to 261, 2:7 to 261, 3:3 to 261 / 5:1 to 300', 'bob''s next order is his');
SELECT pg_temp.proved('each by itself');
SELECT is(pg_temp.merged('ann', 'bob'), true, 'and once more');
SELECT is(pg_temp.has('bob') || ' to ' || pg_temp.clock('bob'), '61 to 300', 'the later again');
SELECT is(pg_temp.apart('ann'), true, 'and apart');
SELECT is(pg_temp.has('ann') || ' to ' || pg_temp.clock('ann') || ', ' || pg_temp.has('bob') || ' to ' || pg_temp.clock('bob'), '60 to 300, 1 to 300', 'the clock is the one they had');
SELECT pg_temp.proved('twice');

-- ---- Clocks that have run out are over, whosesoever runs on
INSERT INTO public.act VALUES (10, 'eva', 40, pg_temp.day(-250)), (11, 'fay', 6, pg_temp.day(-30)), (12, 'gil', 8, pg_temp.day(-30)), (13, 'hal', 9, pg_temp.day(-250)),
	(14, 'mia', 11, pg_temp.day(-250)), (15, 'ned', 12, pg_temp.day(-240));
SELECT pg_temp.pass_time('70 days');
SELECT is(pg_temp.merged('eva', 'fay') AND pg_temp.merged('gil', 'hal') AND pg_temp.merged('mia', 'ned'), true, 'merged');
SELECT is(pg_temp.chain('eva'), 'earn 40, expire -40 on -19, merge 0', 'what had died is booked, dated when it did');
SELECT is(pg_temp.lots('fay'), '1:6 to 201', 'and does not come to life where another clock runs');
SELECT is(pg_temp.lots('hal'), '1:9 to -19, 2:8 to 201', 'nor does what the survivor had');
SELECT is(pg_temp.has('hal'), 8.0, 'who can spend what came');
SELECT is(pg_temp.lots('ned') || ' / ' || pg_temp.chain('mia'), '1:12 to -9 / earn 11, expire -11 on -19, merge 0', 'of two that ran out each is dated its own');
INSERT INTO public.act VALUES (16, 'mia', 2, pg_temp.day(-100));
SELECT is(pg_temp.lots('ned'), '1:12 to -9, 2:2 to 201', 'the next order of either starts another');
SELECT pg_temp.proved('clocks that ran out');
SELECT is(_expire_accounts(array_agg(account_id ORDER BY account_id), now()), 2::bigint, 'the job books what is left: hal''s and ned''s') FROM account WHERE member_key IN ('eva', 'fay', 'gil', 'hal', 'mia', 'ned');
SELECT is((SELECT string_agg(member || ' ' || (event_time::date - now()::date), ', ' ORDER BY member) FROM entries WHERE kind = 'expire' AND member IN ('hal', 'ned')), 'hal -19, ned -9', 'dated when each ran out');
SELECT is(pg_temp.apart('eva') AND pg_temp.apart('gil') AND pg_temp.apart('mia'), true, 'apart');
SELECT is(ARRAY[pg_temp.lots('eva'), pg_temp.lots('gil'), pg_temp.lots('hal'), pg_temp.lots('mia'), pg_temp.lots('ned')], '{none,"1:8 to 201",none,"2:2 to 201",none}', 'nobody gets back what was dead');
SELECT pg_temp.proved('apart after clocks that ran out');

-- ---- One who has none
SELECT enrol('act', who) > 0 FROM unnest(ARRAY['ida', 'jon', 'kim']) who;
INSERT INTO public.act VALUES (20, 'lea', 5, pg_temp.day(-100));
SELECT is(pg_temp.merged('ida', 'jon') AND pg_temp.merged('kim', 'lea'), true, 'merged');
SELECT is(pg_temp.clock('jon'), NULL, 'none of two is none');
SELECT is(pg_temp.clock('lea'), 201, 'one who never did anything changes nothing');
INSERT INTO public.act VALUES (21, 'ida', 4, pg_temp.day(-100)), (22, 'kim', 1, pg_temp.day(-60));
SELECT is(pg_temp.lots('jon') || ' / ' || pg_temp.lots('lea'), '1:4 to 201 / 1:5 to 241, 2:1 to 241', 'an order of the old key starts it, or moves it');
SELECT is(pg_temp.apart('ida') AND pg_temp.apart('kim'), true, 'apart');
SELECT is(ARRAY[pg_temp.lots('ida'), pg_temp.lots('jon'), pg_temp.lots('kim'), pg_temp.lots('lea')], '{"1:4 to 201",none,"1:1 to 241","1:5 to 241"}', 'each its own');
SELECT pg_temp.proved('none');

-- ---- It runs out while they are merged, and another starts: points of the same month are not those that died
INSERT INTO public.act VALUES (30, 'ola', 50, pg_temp.day(-250)), (31, 'pia', 20, pg_temp.day(-200));
SELECT is(pg_temp.merged('ola', 'pia'), true, 'merged');
SELECT is(pg_temp.lots('pia'), '1:20 to 101, 2:50 to 101', 'hers and the other''s');
SELECT pg_temp.pass_time('110 days');
SELECT is(pg_temp.has('pia'), 0.0, 'all are dead');
INSERT INTO public.act VALUES (32, 'pia', 30, pg_temp.day(-250));
SELECT is(pg_temp.lots('pia'), '1:20 to -9, 2:50 to -9, 3:30 to 51', 'a late order is of the month in which ola''s dead ones were earned');
UPDATE public.act SET refunded = 15 WHERE id = 30;
SELECT is(pg_temp.chain('ola'), 'earn 50, merge -50, clock 0, reverse 0 forgave 15', 'a refund of what died takes nothing');
INSERT INTO public.act VALUES (33, 'ola', 4, pg_temp.day(-250));
SELECT is(pg_temp.lots('pia'), '1:20 to -9, 3:34 to 51', 'and an order of ola''s is alive; what the refund was let off for is booked');
UPDATE public.act SET refunded = 1 WHERE id = 33;
SELECT is(pg_temp.lots('pia'), '1:20 to -9, 3:33 to 51', 'a refund of that one does take it');
SELECT pg_temp.proved('another clock');
SELECT is(pg_temp.apart('ola'), true, 'apart');
SELECT is(pg_temp.lots('ola') || ' / ' || pg_temp.lots('pia'), '2:3 to 51 / 1:20 to -9, 3:30 to 51', 'ola gets 4 - 1, not pia''s 30 for her dead 50');
SELECT pg_temp.proved('apart after another clock');

-- The same of one who is merged into one who is merged.
INSERT INTO public.act VALUES (34, 'bea', 5, pg_temp.day(-250)), (35, 'dan', 3, pg_temp.day(-30));
SELECT enrol('act', 'cal') > 0, pg_temp.merged('bea', 'cal');
SELECT pg_temp.pass_time('60 days');
SELECT is(pg_temp.merged('cal', 'dan'), true, 'merged when all is dead');
INSERT INTO public.act VALUES (36, 'dan', 6, pg_temp.day(-250));
SELECT is(pg_temp.lots('dan'), '1:3 to 211, 2:6 to 211', 'a late order of the month of bea''s dead ones');
SELECT pg_temp.proved('merged into one who is merged');
SELECT is(pg_temp.apart('bea'), true, 'apart');
SELECT is(pg_temp.has('bea') || ' ' || pg_temp.has('dan'), '0 9', 'stays dan''s');
SELECT pg_temp.proved('apart from one who is merged');

-- ---- One into the next
INSERT INTO public.act VALUES (40, 'yan', 1, pg_temp.day(-200)), (41, 'zed', 2, pg_temp.day(-150)), (42, 'abe', 4, pg_temp.day(-250));
SELECT is(pg_temp.merged('yan', 'zed') AND pg_temp.merged('zed', 'abe'), true, 'merged');
SELECT is(pg_temp.has('abe') || ' to ' || pg_temp.clock('abe'), '7 to 151', 'the latest of three');
INSERT INTO public.act VALUES (43, 'yan', 8, pg_temp.day(-20));
SELECT is(pg_temp.has('abe') || ' to ' || pg_temp.clock('abe'), '15 to 281', 'what the first does is done for the last');
SELECT pg_temp.proved('three');
SELECT is(pg_temp.apart('zed'), true, 'out of the middle');
SELECT is(pg_temp.has('abe') || ' to ' || pg_temp.clock('abe') || ', ' || pg_temp.has('zed') || ' to ' || pg_temp.clock('zed'), '4 to 281, 11 to 281', 'with what the first brought');
SELECT pg_temp.proved('two and one');
SELECT is(pg_temp.apart('yan'), true, 'and the first');
SELECT is(pg_temp.lots('yan') || ' / ' || pg_temp.lots('zed'), '1:1 to 281, 2:8 to 281 / 1:2 to 281', 'each its own');
SELECT pg_temp.proved('three again');

-- ---- An old redemption is given back to where the points are, by that clock
INSERT INTO public.act VALUES (50, 'rex', 40, pg_temp.day(-100));
SELECT enrol('act', 'sam') > 0;
CREATE TEMP TABLE r AS SELECT redeem('act', 'rex', 15) AS spent;
SELECT is(pg_temp.merged('rex', 'sam'), true, 'merged');
SELECT is(giveback(spent, 5) > 0, true, 'given back') FROM r;
SELECT is(pg_temp.lots('sam'), '1:30 to 301', 'while it runs: alive');
SELECT pg_temp.pass_time('310 days');
INSERT INTO public.act VALUES (51, 'sam', 1, pg_temp.day(-10));
SELECT is(giveback(spent) > 0, true, 'given back when another runs') FROM r;
SELECT is(pg_temp.lots('sam'), '1:30 to -9, 2:1 to 291', 'dead');
SELECT is(pg_temp.chain('rex'), 'earn 40, redeem -15, merge -25, giveback 5, merge -5, clock 0, giveback 10, expire -10 on -9', 'since the clock that it was paid by is over');
SELECT pg_temp.proved('given back');

-- ---- Points of a day of their own that ends when the clock does are not those on the clock
INSERT INTO public.act VALUES (60, 'tom', 30, pg_temp.day(-100)), (61, 'vic', 20, pg_temp.day(-100));
SELECT enrol('act', 'uma') > 0, pg_temp.merged('tom', 'uma'), transfer('act', 'vic', 'uma', 20) > 0;
SELECT is(pg_temp.lots('uma'), '1:30 to 201, 2:20 to 201', 'of one month, and one end');
SELECT adjust('act', 'uma', -25, 'a mistake') > 0;
SELECT is(pg_temp.lots('uma'), '1:5 to 201, 2:20 to 201', 'of tom''s 5 are left');
SELECT is(pg_temp.apart('tom'), true, 'apart');
SELECT is(pg_temp.lots('tom') || ' / ' || pg_temp.lots('uma'), '1:5 to 201 / 2:20 to 201', 'a gift to uma stays hers');
SELECT pg_temp.proved('a day of their own');

-- ---- Extended, changed, closed
INSERT INTO public.act VALUES (70, 'wim', 10, pg_temp.day(-100)), (71, 'quin', 2, pg_temp.day(-100));
SELECT enrol('act', 'xan') > 0, pg_temp.merged('wim', 'xan'), extend('act', 'xan', (now() + interval '499 days')::date) > 0;
SELECT is(pg_temp.lots('xan'), '1:10 to 500', 'the clock of all is moved');
SELECT pg_temp.proved('extended');
SELECT is(pg_temp.apart('wim'), true, 'apart');
SELECT is(pg_temp.lots('wim'), '1:10 to 500', 'and goes along');
SELECT pg_temp.proved('apart after an extension');
SELECT enrol('act', 'rob') > 0, pg_temp.merged('quin', 'rob'), close_member('act', 'rob', forfeit => true);
SELECT is((SELECT string_agg(member || ' ' || kind || ' ' || trim_scale(points), ', ' ORDER BY entry_id) FROM entries WHERE member = 'rob'), 'rob merge 2, rob forfeit -2', 'what a clock keeps is forfeited by who closes');
INSERT INTO public.act VALUES (72, 'quin', 3, pg_temp.day(-1));
SELECT is(pg_temp.clock('rob'), 201, 'an order that earns nothing is no activity');
SELECT is(pg_temp.apart('quin'), true, 'apart');
INSERT INTO public.act VALUES (73, 'quin', 4, pg_temp.day(-50));
SELECT is(pg_temp.lots('quin') || ' / ' || pg_temp.lots('rob'), '2:4 to 251 / none', 'then it is');
SELECT pg_temp.proved('closed');

SELECT create_program('later') > 0, add_rule('later', 'base', points_per => 1) > 0, attach('public.act', 'later', 'who', amount => 'amount', refunded => 'refunded', event_time => 'at') > 0;
INSERT INTO public.act VALUES (80, 'ira', 10, pg_temp.day(-100)), (81, 'joy', 20, pg_temp.day(-60));
SELECT is(merge_members('later', 'ira', 'joy') > 0, true, 'merged where points never end');
SELECT lives_ok($$ SELECT change_currency('later', validity => '300 days', activity => '{earn}'), create_currency('later', 'miles', validity => '1 year', activity => '{earn}') $$, 'that a clock is kept from now on is no matter');
INSERT INTO public.act VALUES (82, 'ira', 5, pg_temp.day(-20));
SELECT is((SELECT string_agg(trim_scale(remaining) || ' to ' || coalesce((expires_at::date - now()::date)::text, 'no end'), ', ' ORDER BY lot_no) FROM lots WHERE program = 'later' AND member = 'joy'),
	'20 to no end, 10 to no end, 5 to 281', 'by that of the survivor, for what is new');
SELECT lives_ok($$ SELECT change_currency('later', activity => '{}') $$, 'nor that none is any more');
SELECT is(unmerge_member('later', 'ira') > 0, true, 'apart');
SELECT is((SELECT string_agg(member || ' ' || trim_scale(remaining) || ' to ' || coalesce((expires_at::date - now()::date)::text, 'no end'), ', ' ORDER BY member, lot_no) FROM lots WHERE program = 'later' AND remaining > 0),
	'ira 10 to no end, ira 5 to 281, joy 20 to no end', 'each its own');
SELECT pg_temp.proved('changed');

-- ---- The proof finds a clock that is not the one of what both did
CREATE FUNCTION pg_temp.behind(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	found text;
BEGIN
	BEGIN
		SET LOCAL session_replication_role = replica;
		EXECUTE statement;
		SET LOCAL session_replication_role = origin;
		found := (SELECT string_agg(DISTINCT regexp_replace(problem, '[0-9][-0-9:+. ]*[0-9+]|[0-9]', 'N', 'g'), '; ') FROM loyalty.verify('act'));
		RAISE EXCEPTION 'undo' USING ERRCODE = 'XX999';
	EXCEPTION WHEN SQLSTATE 'XX999' THEN
		RETURN coalesce(found, 'nothing');
	END;
END $$;
INSERT INTO public.act VALUES (90, 'tea', 10, pg_temp.day(-100)), (91, 'una', 20, pg_temp.day(-60)), (92, 'tea', 1, pg_temp.day(-20));
SELECT is(pg_temp.merged('tea', 'una'), true, 'merged');
SELECT is(pg_temp.behind('SELECT'), 'nothing', 'all is well');
SELECT is(pg_temp.behind($$ UPDATE account SET clock_end = pg_temp.day(241) - interval '1 hour', next_change = pg_temp.day(241) - interval '1 hour' WHERE member_key = 'una' $$),
	'its clock ends at N, by the entry at N', 'the clock that una''s own order says is not that of both');
SELECT is(pg_temp.behind($$ UPDATE account SET clock_end = clock_end + interval '1 day' WHERE member_key = 'una' $$), 'its clock ends at N, by the entry at N', 'nor is one that nobody''s does');
SELECT ok(pg_temp.behind($$ UPDATE account SET clock_end = NULL WHERE member_key = 'una' $$) LIKE '%it has lots that end by a clock, and no clock; its clock ends at no time, by the entry at N', 'nor none');
SELECT is(pg_temp.apart('tea'), true, 'apart');
SELECT is(pg_temp.behind('SELECT'), 'nothing', 'all is well');
SELECT is(ARRAY[pg_temp.clock('tea'), pg_temp.clock('una')], '{281,281}', 'tea''s order moved both');
SELECT is(pg_temp.behind($$ UPDATE account SET clock_end = clock_end - interval '1 day', next_change = next_change - interval '1 day' WHERE member_key = 'tea' $$),
	'its clock ends at N, by the entry at N', 'set back');
SELECT is(pg_temp.behind($$ UPDATE account SET clock_end = clock_end + interval '1 day' WHERE member_key = 'una' $$), 'its clock ends at N, by the entry at N', 'or forward');

-- Merged into who never had a clock when one's own has run out: its end is booked before the entry of the merge, and says so.
INSERT INTO public.act VALUES (98, 'yvo', 5, pg_temp.day(-290));
SELECT pg_temp.pass_time('20 days');
SELECT merge_members('act', 'yvo', 'yul') FROM enrol('act', 'yul');
SELECT is(pg_temp.behind('SELECT'), 'nothing', 'all is well');

-- Orders under both keys that come at once start one clock.
INSERT INTO public.act VALUES (93, 'vic', 0, pg_temp.day(-400)), (94, 'wes', 0, pg_temp.day(-400));
SELECT merge_members('act', 'vic', 'wes');
INSERT INTO public.act VALUES (95, 'wes', 10, pg_temp.day(-500)), (96, 'vic', 10, pg_temp.day(-250)), (97, 'wes', 10, pg_temp.day(-5));
SELECT is(balance('act', 'wes'), '30', 'each keeps the other''s alive');
INSERT INTO public.act SELECT 100 + n, 'x' || n, 0, pg_temp.day(-400) FROM generate_series(1, 6) n;
SELECT merge_members('act', 'x1', 'x3'), merge_members('act', 'x2', 'x3'), merge_members('act', 'x4', 'x6'), merge_members('act', 'x5', 'x6');
INSERT INTO public.act VALUES (111, 'x1', 10, pg_temp.day(-100)), (112, 'x2', 20, pg_temp.day(-5)), (114, 'x4', 10, pg_temp.day(-5)), (115, 'x5', 20, pg_temp.day(-100));
SELECT is(pg_temp.chain('x3') || ' / ' || pg_temp.chain('x6'), 'earn 0, merge 0, merge 0, merge 20, merge 10 / earn 0, merge 0, merge 0, merge 20, merge 10',
	'what they bring goes over in the order of the accounts, whichever came first');

-- Of a currency that is younger than the merge no entry says that the accounts are one.
SELECT create_currency('act', 'young', validity => '300 days', activity => '{earn}') > 0, add_rule('act', 'young', points_per => 1, currency => 'young', kind => 'young') > 0;
CREATE TABLE public.young (LIKE public.act INCLUDING ALL);
SELECT attach('public.young', 'act', 'who', 'amount', 'at', kind => 'young') > 0;
INSERT INTO public.young VALUES (1, 'yvo', 0, pg_temp.day(-60));
SELECT is(pg_temp.behind('SELECT'), 'nothing', 'all is well');

-- What waits under a merged key lives by the clock of who has the points.
SELECT create_currency('act', 'stays', validity => '300 days', confirm => true, activity => '{earn}') > 0, add_rule('act', 'stay', points_per => 1, currency => 'stays', kind => 'stay') > 0, enrol('act', 'lou') > 0;
CREATE TABLE public.stays (LIKE public.act INCLUDING ALL);
SELECT attach('public.stays', 'act', 'who', 'amount', 'at', kind => 'stay') > 0;
INSERT INTO public.stays VALUES (1, 'kit', 20, pg_temp.day(-5));
SELECT merge_members('act', 'kit', 'lou') > 0;
INSERT INTO public.stays VALUES (2, 'lou', 1, pg_temp.day(-3));
SELECT is((SELECT pending FROM account WHERE member_key = 'kit' AND state = 1 AND pending > 0), '20', 'kit''s stay waits');
SELECT is(pg_temp.behind('SELECT'), 'nothing', 'all is well');
SELECT is(pg_temp.behind($$ UPDATE account SET clock_end = clock_end - interval '1 day', next_change = next_change - interval '1 day' WHERE member_key = 'kit' AND pending > 0 $$),
	'its clock ends at N, by the entry at N; its clock ends at N, that of account N, which has its points, at N', 'a clock of its own is told');
SELECT is(pg_temp.behind($$ UPDATE account SET clock_end = clock_end - interval '1 day', next_change = next_change - interval '1 day' WHERE member_key = 'kit' AND pending > 0;
	UPDATE entry SET clock_end = entry.clock_end - interval '1 day' FROM account a WHERE a.account_id = entry.account_id AND a.member_key = 'kit' AND a.pending > 0 AND entry.kind = 'clock'; SELECT pg_temp.rehash() $$),
	'its clock ends at N, that of account N, which has its points, at N', 'be it by its entries');

SELECT * FROM finish();
ROLLBACK;
