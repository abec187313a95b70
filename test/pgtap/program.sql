-- program, currency, member: what is made, and what is refused and how
\ir include/begin.psql

-- ---- What is made
SELECT ok(create_program('club', 'Europe/Berlin', 'bronze:0, silver:100', '1 year', 'month', '14 days', 'negative', 2, 'stars') > 0, 'a program');
SELECT results_eq($$ SELECT time_zone, tier_metric, tier_window, tier_period, tier_down, tier_grace FROM program WHERE code = 'club' $$,
	$$ VALUES ('Europe/Berlin', 'points', 'lifetime', '1 year'::interval, 'requalify', '0'::interval) $$, 'with its zone and the usual tiers');
SELECT ok(create_currency('club', 'miles') > 0, 'a second currency');
SELECT results_eq($$ SELECT code, is_default, decimals, validity, validity_rounding, pending, debt FROM currency
		WHERE program_id = _program_id('club') ORDER BY currency_id $$,
	$$ VALUES ('stars', true, 2, '1 year'::interval, 'month', '14 days'::interval, 'negative'), ('miles', false, 0, NULL, 'day', NULL, 'forgive') $$,
	'the first is the default one');
SELECT ok(create_program('other', currency => 'miles') > 0, 'another program may use the same codes');

-- ---- Members
CREATE TEMP TABLE ann AS SELECT enrol('club', 'ann', '2020-01-01 00:00+00') AS id;
SELECT is(enrol('club', 'ann', '2021-01-01 00:00+00'), id, 'to enrol again finds who is enrolled') FROM ann;
SELECT results_eq($$ SELECT member COLLATE "default", enrolled_at FROM member JOIN ann ON id = member_id $$,
	$$ VALUES ('ann', '2020-01-01 00:00+00'::timestamptz) $$, 'since the first time');
SELECT isnt(enrol('other', 'ann'), id, 'each program has its own members') FROM ann;
SELECT isnt(enrol('club', 'Ann'), id, 'keys are compared byte by byte') FROM ann;
SELECT isnt(enrol('club', ' ann'), id, 'spaces and all') FROM ann;
CREATE TEMP TABLE bob AS SELECT enrol('club', 'bob', NULL) AS id;
SELECT is(enrolled_at, now(), 'no time means now') FROM member JOIN bob ON id = member_id;
SELECT results_eq($$ SELECT tier, tier_rank, available FROM balances WHERE program = 'club' AND member = 'ann' $$,
	$$ VALUES ('bronze', 1, 0.0) $$, 'the tier that asks for nothing is held from the start');
SELECT is((SELECT available FROM balances WHERE program = 'other'), 0.0, 'a member has an account from the start');
SELECT pg_temp.refused($$ SELECT enrol('nowhere', 'ann') $$, 'LY001', NULL, 'enrol: no such program');
SELECT pg_temp.refused($$ SELECT enrol(NULL, 'ann') $$, 'LY001', NULL, 'enrol: NULL program');
SELECT pg_temp.refused($$ SELECT enrol('club', '') $$, 'LY002', NULL, 'enrol: an empty key');
SELECT pg_temp.refused($$ SELECT enrol('club', NULL) $$, 'LY002', NULL, 'enrol: a NULL key');

-- ---- Programs and currencies that can't be
SELECT pg_temp.refused(format('SELECT create_program(%s)', args), state, detail, args) FROM (VALUES
	($$''$$, 'LY101', NULL),
	($$NULL$$, 'LY101', NULL),
	($$'club'$$, 'LY009', NULL),
	($$'x', 'Europe/Atlantis'$$, 'LY101', '%Europe/Atlantis%'),
	($$'x', '+02:00'$$, 'LY101', '%+02:00%'),
	($$'x', ''$$, 'LY101', NULL),
	($$'x', NULL$$, 'LY101', '%NULL%'),
	($$'x', validity => '0'$$, 'LY101', '%00:00:00%'),
	($$'x', validity => '-1 day'$$, 'LY101', '%-1 days%'),
	($$'x', validity => '300000 years'$$, 'LY101', '%300000 years and pending for no time.'),
	($$'x', validity => '1 day', validity_rounding => 'week'$$, 'LY101', '%week%'),
	($$'x', validity_rounding => NULL$$, 'LY101', '%NULL%'),
	($$'x', pending => '0'$$, 'LY101', '%00:00:00%'),
	($$'x', pending => '-1 day'$$, 'LY101', '%-1 days%'),
	($$'x', validity => '14 days', pending => '14 days'$$, 'LY101', '%14 days%'),
	($$'x', validity => '1 mon', pending => '2 mons'$$, 'LY101', '%2 mons%'),
	($$'x', debt => 'free'$$, 'LY101', '%free%'),
	($$'x', debt => NULL$$, 'LY101', '%NULL%'),
	($$'x', decimals => -1$$, 'LY101', '%-1%'),
	($$'x', decimals => 5$$, 'LY101', '%5%'),
	($$'x', decimals => NULL$$, 'LY101', '%NULL%'),
	($$'x', currency => ''$$, 'LY101', NULL),
	($$'x', currency => NULL$$, 'LY101', NULL),
	($$'x', tier_metric => 'fame'$$, 'LY101', '%fame%'),
	($$'x', tier_metric => NULL$$, 'LY101', '%NULL%'),
	($$'x', tier_window => 'weekly'$$, 'LY101', '%weekly%'),
	($$'x', tier_window => NULL$$, 'LY101', '%NULL%'),
	($$'x', tier_down => 'fall'$$, 'LY101', '%fall%'),
	($$'x', tier_down => NULL$$, 'LY101', '%NULL%'),
	($$'x', tier_period => '0'$$, 'LY101', NULL),
	($$'x', tier_period => '-1 year'$$, 'LY101', NULL),
	($$'x', tier_period => '36 hours'$$, 'LY101', NULL),
	($$'x', tier_period => NULL$$, 'LY101', '%NULL%'),
	($$'x', tier_grace => '-1 day'$$, 'LY101', '%-1 days%'),
	($$'x', tier_grace => NULL$$, 'LY101', '%NULL%'),
	($$'x', tier_window => 'calendar', tier_period => '5 mons'$$, 'LY101', '%5 mons%'),
	($$'x', tier_window => 'calendar', tier_period => '2 years'$$, 'LY101', '%2 years%'),
	($$'x', tier_window => 'calendar', tier_period => '30 days'$$, 'LY101', '%30 days%'),
	($$'x', tier_window => 'anniversary', tier_period => '1 mon 1 day'$$, 'LY101', '%1 mon 1 day%')
) v (args, state, detail);
SELECT pg_temp.refused(format('SELECT create_currency(%s)', args), state, detail, args) FROM (VALUES
	($$'nowhere', 'x'$$, 'LY001', NULL),
	($$NULL, 'x'$$, 'LY001', NULL),
	($$'club', ''$$, 'LY101', NULL),
	($$'club', NULL$$, 'LY101', NULL),
	($$'club', 'miles'$$, 'LY009', NULL),
	($$'club', 'x', validity => '0'$$, 'LY101', '%00:00:00%'),
	($$'club', 'x', validity => '1 day', validity_rounding => 'decade'$$, 'LY101', '%decade%'),
	($$'club', 'x', pending => '-1 mon'$$, 'LY101', '%-1 mons%'),
	($$'club', 'x', validity => '7 days', pending => '14 days'$$, 'LY101', '%14 days%'),
	($$'club', 'x', debt => 'Block'$$, 'LY101', '%Block%'),
	($$'club', 'x', decimals => 7$$, 'LY101', '%7%')
) v (args, state, detail);
SELECT is((SELECT count(*) FROM program WHERE code = 'x'), 0::bigint, 'what was refused is not there');
SELECT is((SELECT count(*) FROM currency WHERE code = 'x'), 0::bigint, 'nor are its currencies');

-- ---- What may be
SELECT ok(create_program('ok ' || n, zone, validity => validity, pending => pending, decimals => decimals, debt => debt, tier_window => win, tier_period => period) > 0, format('program %s', n))
FROM (VALUES (1, 'europe/berlin', '1 day'::interval, '23 hours'::interval, 4, 'block', 'rolling', '365 days'::interval),
	(2, 'UTC', '1 mon', '27 days', 0, 'forgive', 'calendar', '3 mons'), (3, 'Pacific/Auckland', NULL, '10 years', 1, 'negative', 'anniversary', '1 year')) v (n, zone, validity, pending, decimals, debt, win, period);
SELECT is((SELECT count(*) FROM program WHERE code LIKE 'ok _'), 3::bigint, 'three more');
SELECT pg_temp.balanced('of accounts without entries');

-- ---- Validity and pending in other units: longer for an event of any day, of leap years and of 2096 to 2104, which has none in 2100
SELECT pg_temp.refused(format($$ SELECT create_currency('club', 'never', validity => %L, pending => %L) $$, validity, pending), 'LY101', '%' || day || '%',
	validity || ' may be over within ' || pending)
FROM (VALUES ('61 days', '2 mons', '2000-03-01'), -- to 1 May
	('62 days', '2 mons', '2000-07-01'), ('31 days', '1 mon', '2000-01-01'), ('1 mon', '28 days', '2001-01-31'), ('1 mon', '29 days', '2000-01-31'),
	('365 days', '1 year', '2000-01-01'), ('366 days', '1 year', '2000-01-01'), ('1 year', '365 days', '2000-02-29'),
	('8 years', '2921 days', '2096-01-01'), ('7 years', '2555 days', '2096-02-29'), ('24:00:00', '1 day', '2000-01-01')) v (validity, pending, day);
SELECT ok(create_currency('club', format('%s after %s', validity, pending), validity => validity::interval, pending => pending::interval) > 0, format('%s is always longer than %s', validity, pending))
FROM (VALUES ('63 days', '2 mons'), ('32 days', '1 mon'), ('1 mon', '27 days'), ('367 days', '1 year'), ('1 year', '364 days'), ('12 mons', '361 days'),
	('8 years', '2920 days'), ('7 years', '2554 days'), ('1 mon 1 day', '1 mon'), ('25:00:00', '1 day'), ('1 mon', '2 weeks')) v (validity, pending);

-- ---- Time zones: those that pg_timezone_names lists, in any case, and nothing else that the server would take
SELECT is_empty($$ SELECT name FROM pg_timezone_names WHERE NOT (_is_time_zone(name) AND _is_time_zone(upper(name)) AND _is_time_zone(lower(name))) $$, 'each name');
CREATE TEMP TABLE zone AS SELECT lower(name) AS name FROM pg_timezone_names;
SELECT is_empty($$ SELECT abbrev FROM pg_timezone_abbrevs WHERE _is_time_zone(abbrev) AND lower(abbrev) NOT IN (TABLE zone) $$, 'no abbreviation');
SELECT ok(NOT _is_time_zone(name), format('%L is no name', name)) FROM unnest(ARRAY['CEST', '+02:00', '-5', '5', 'UTC+3', 'UTC0', 'FOO5', 'foo5bar', 'EST5',
	'<+02>-2', 'EST5EDT4', 'CET-1CEST,M3.5.0,M10.5.0/3', 'Europe', 'Europe/', '/Europe/Berlin', '../zoneinfo/UTC', 'Europe/../UTC', ' UTC', 'UTC ', 'utc\', '',
	'.', 'zone.tab', repeat('x', 10000), 'interval ''1 hour''']) name;

-- ---- A day with two midnights begins at the first: Havana, 6 November 2022, 01:00 becomes 00:00
SELECT create_program('havana', 'America/Havana', validity => '30 days');
SELECT add_rule('havana', 'base', points_per => 1);
CREATE TABLE public.havana (id int PRIMARY KEY, who text, amount int, at timestamptz);
SELECT attach('public.havana', 'havana', 'who', 'amount', 'at');
INSERT INTO public.havana VALUES (1, 'ann', 1, '2022-10-06 16:00+00'), (2, 'bob', 1, '2022-11-06 03:30+00'), (3, 'cid', 1, '2022-11-06 04:30+00'), (4, 'dee', 1, '2022-11-06 05:30+00');
SELECT is((SELECT string_agg(extract(epoch FROM expires_at)::bigint::text, ',' ORDER BY account_id) FROM lots WHERE program = 'havana'),
	-- ann's 2022-11-06 04:00, bob's 2022-12-06 05:00, cid's and dee's 2022-12-07 05:00 in UTC
	'1667707200,1670302800,1670389200,1670389200',
	'the day ends at its first midnight, whichever event asks');

-- ---- What would only fail later
SELECT throws_ok($$SELECT create_program('x', validity => '300000 years')$$, 'LY101');
SELECT throws_ok($$SELECT enrol('havana', 'eve', 'infinity')$$, 'LY306');

-- ---- What entries name stays
SELECT throws_ok(format('%s loyalty.%I', verb, name), 'LY401', format('rows of table "%s" can''t be removed', name), format('%s %s', verb, name))
FROM unnest(ARRAY['DELETE FROM', 'TRUNCATE']) verb, unnest(ARRAY['program', 'currency', 'source']) name;
SELECT is_empty($$SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype = 'f' AND connamespace = 'loyalty'::regnamespace$$,
	'no foreign key: a parallel restore fills the tables in any order');

SELECT * FROM finish();
ROLLBACK;
