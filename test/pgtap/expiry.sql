-- expiry: when lots end, and the booking of their ends. In a database of its own, since
-- expire() commits and a ledger can't be cleaned.
\set prior :DBNAME
SET client_min_messages = warning;
DROP DATABASE IF EXISTS loyalty_expiry;
CREATE DATABASE loyalty_expiry;
\c loyalty_expiry
SET client_min_messages = warning;
CREATE EXTENSION pgtap;
CREATE EXTENSION loyalty;
SET search_path = loyalty, public;
\ir ../harness/books.sql

SELECT no_plan();

CREATE FUNCTION pg_temp.open_shop(program text, zone text, validity interval, rounding text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM loyalty.create_program(program, zone, validity => validity, validity_rounding => rounding);
	PERFORM loyalty.add_rule(program, 'base', points_per => 1);
	EXECUTE format('CREATE TABLE public.%I (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who text, amount numeric, refunded numeric NOT NULL DEFAULT 0, at timestamptz)', program);
	PERFORM loyalty.attach(format('public.%I', program)::regclass, program, 'who', amount => 'amount', refunded => 'refunded', event_time => 'at');
END $$;
-- A member for each event, named by its time.
CREATE FUNCTION pg_temp.ends(program text, zone text, validity interval, rounding text, VARIADIC events timestamptz[])
	RETURNS TABLE (expires_at timestamptz) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.open_shop(program, zone, validity, rounding);
	EXECUTE format('INSERT INTO public.%I (who, amount, at) SELECT e, 1, e FROM unnest($1) e', program) USING events;
	RETURN QUERY SELECT l.expires_at FROM unnest(events) WITH ORDINALITY e (at, n)
		JOIN loyalty.lots l ON l.program = ends.program AND l.member = e.at::text ORDER BY n;
END $$;

-- ---- The exclusive midnight of the program's zone, whatever the session's is
SET timezone = 'Asia/Tokyo';
SELECT results_eq($$ SELECT pg_temp.ends('berlin', 'Europe/Berlin', '1 month', 'day',
	'2024-01-31 12:00+01', '2023-01-31 12:00+01', '2024-02-29 10:00+01', '2024-03-01 00:30+01', '2024-09-30 22:00+02', '2023-12-31 23:59:59.999999+01') $$,
	$$ VALUES ('2024-03-01 00:00+01'::timestamptz), -- clamped to 29 February
	          ('2023-03-01 00:00+01'),              -- clamped to the 28th
	          ('2024-03-30 00:00+01'),
	          ('2024-04-02 00:00+02'),              -- still February in UTC
	          ('2024-10-31 00:00+01'),              -- from summer time into winter
	          ('2024-02-01 00:00+01') $$, 'Berlin, a month');
SELECT results_eq($$ SELECT pg_temp.ends('berlin_days', 'Europe/Berlin', '30 days', 'day', '2024-02-29 23:00+01', '2024-03-01 12:00+01', '2024-09-27 12:00+02') $$,
	$$ VALUES ('2024-03-31 00:00+01'::timestamptz), -- the night the clock goes forward
	          ('2024-04-01 00:00+02'),
	          ('2024-10-28 00:00+01') $$, 'Berlin, 30 days across both changes of the clock');
SELECT results_eq($$ SELECT pg_temp.ends('auckland', 'Pacific/Auckland', '1 year', 'month',
	'2023-03-31 23:30+13', '2023-04-01 00:30+13', '2024-02-29 13:00+13', '2023-09-30 23:59+13') $$,
	$$ VALUES ('2024-04-01 00:00+13'::timestamptz), ('2024-05-01 00:00+12'), ('2025-03-01 00:00+13'), ('2024-10-01 00:00+13') $$,
	'Auckland, a year to the end of the month');
SELECT results_eq($$ SELECT member COLLATE "default", issued FROM lots WHERE program = 'auckland' ORDER BY earned_at $$,
	$$ VALUES ('2023-03-31 19:30:00+09', '2023-03-01'::date), ('2023-03-31 20:30:00+09', '2023-04-01'),
	          ('2023-09-30 19:59:00+09', '2023-09-01'), ('2024-02-29 09:00:00+09', '2024-02-01') $$, 'the month of issue is the local one');
SELECT results_eq($$ SELECT pg_temp.ends('new_york', 'America/New_York', '6 months', 'quarter',
	'2023-08-31 19:00-04', '2023-06-30 23:59-04', '2023-07-01 00:00-04') $$,
	$$ VALUES ('2024-04-01 00:00-04'::timestamptz), ('2024-01-01 00:00-05'), ('2024-04-01 00:00-04') $$, 'New York, six months to the end of the quarter');
SELECT results_eq($$ SELECT pg_temp.ends('halves', 'UTC', '1 day', 'half_year', '2023-06-29 23:00+00', '2023-06-30 01:00+00') $$,
	$$ VALUES ('2023-07-01 00:00+00'::timestamptz), ('2024-01-01 00:00+00') $$, 'a day to the end of the half-year');
SELECT results_eq($$ SELECT pg_temp.ends('years', 'UTC', '1 day', 'year', '2023-12-30 23:00+00', '2023-12-31 01:00+00') $$,
	$$ VALUES ('2024-01-01 00:00+00'::timestamptz), ('2025-01-01 00:00+00') $$, 'a day to the end of the year');
SELECT results_eq($$ SELECT pg_temp.ends('hours', 'UTC', '36 hours', 'day', '2023-05-01 11:59:59.999999+00', '2023-05-01 12:00+00') $$,
	$$ VALUES ('2023-05-03 00:00+00'::timestamptz), ('2023-05-04 00:00+00') $$, '36 hours, to the end of the day they run out on');
SELECT results_eq($$ SELECT pg_temp.ends('less', 'UTC', '2 days -12 hours', 'day', '2023-05-01 11:59:59.999999+00', '2023-05-01 12:00+00') $$,
	$$ VALUES ('2023-05-03 00:00+00'::timestamptz), ('2023-05-04 00:00+00') $$, 'two days less twelve hours are the same');
SELECT results_eq($$ SELECT pg_temp.ends('sao_paulo', 'America/Sao_Paulo', '30 days', 'day', '2018-10-04 12:00-03') $$,
	$$ VALUES ('2018-11-04 01:00-02'::timestamptz) $$, 'Sao Paulo, a day that has no midnight starts at one');
SELECT results_eq($$ SELECT pg_temp.ends('never', 'UTC', NULL, 'year', '2018-10-04 12:00-03') $$,
	$$ VALUES (NULL::timestamptz) $$, 'points without validity do not end');
RESET timezone;

-- ---- Booking: nothing before the end, all of it at the end, and never twice
CREATE FUNCTION pg_temp.booked(program text) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT e.member, e.points, e.event_time, e.lot_no FROM loyalty.entries e
	WHERE e.program = booked.program AND kind = 'expire' ORDER BY e.event_time, e.member
$$;
SELECT pg_temp.open_shop('job', 'UTC', '1 month', 'day');
INSERT INTO public.job (who, amount, at) SELECT who, amount, at::timestamptz FROM
	(VALUES ('a', 10, '2020-01-10 12:00+00'), ('a', 20, '2020-03-10 12:00+00'), ('b', 5, '2020-01-10 12:00+00'), ('c', 7, '2020-05-10 12:00+00')) v (who, amount, at);
CALL expire('job', '2020-02-10 23:59:59.999999+00');
SELECT is_empty($$ SELECT * FROM pg_temp.booked('job') AS (m text, p numeric, t timestamptz, l int) $$, 'not a moment early');
CALL expire('job', '2020-02-11 00:00+00');
SELECT results_eq($$ SELECT * FROM pg_temp.booked('job') AS (m text, p numeric, t timestamptz, l int) $$,
	$$ VALUES ('a', -10::numeric, '2020-02-11 00:00+00'::timestamptz, 1), ('b', -5, '2020-02-11 00:00+00', 1) $$, 'at the end: what died by then, dated when it did');
CALL expire('job', '2020-02-11 00:00+00');
CALL expire('job', '2020-04-01 00:00+00');
SELECT is((SELECT count(*) FROM entries WHERE program = 'job' AND kind = 'expire'), 2::bigint, 'again: nothing more');
CALL expire('job');
SELECT results_eq($$ SELECT * FROM pg_temp.booked('job') AS (m text, p numeric, t timestamptz, l int) $$,
	$$ VALUES ('a', -10::numeric, '2020-02-11 00:00+00'::timestamptz, 1), ('b', -5, '2020-02-11 00:00+00', 1),
	          ('a', -20, '2020-04-11 00:00+00', 2), ('c', -7, '2020-06-11 00:00+00', 1) $$, 'as of now: all that is dead');
CALL expire('job', '-infinity');
CALL expire('job');
SELECT is((SELECT count(*) FROM entries WHERE program = 'job' AND kind = 'expire'), 4::bigint, 'and again nothing more');
SELECT results_eq($$ SELECT member COLLATE "default", earned, expired, available FROM balances WHERE program = 'job' ORDER BY 1 $$,
	$$ VALUES ('a', 30::numeric, 30::numeric, 0::numeric), ('b', 5, 5, 0), ('c', 7, 7, 0) $$, 'the totals');
SELECT is((SELECT count(*) FROM entries WHERE program <> 'job' AND kind = 'expire'), 0::bigint, 'other programs are left alone');
SELECT pg_temp.balanced('after expire()');

-- A row that comes late is dead on arrival, in a lot of its own.
INSERT INTO public.job (who, amount, at) VALUES ('a', 3, '2020-01-10 13:00+00');
SELECT is(balance('job', 'a')::numeric, 0.0, 'dead on arrival');
CALL expire('job');
SELECT results_eq($$ SELECT lot_no, points, event_time FROM entries WHERE program = 'job' AND kind = 'expire' ORDER BY recorded_at DESC, entry_id DESC LIMIT 1 $$,
	$$ VALUES (3, -3::numeric, '2020-02-11 00:00+00'::timestamptz) $$, 'and booked so');

-- ---- The remainder only
SELECT pg_temp.open_shop('rest', 'UTC', '100 years', 'day');
INSERT INTO public.rest (who, amount, at) VALUES ('r', 50, '2020-01-10 12:00+00'), ('r', 30, '2021-01-10 12:00+00'), ('s', 8, '2020-01-10 12:00+00');
SELECT redeem('rest', 'r', 12) > 0, redeem('rest', 's', 8) > 0;
UPDATE public.rest SET refunded = 20 WHERE id = 1;
SELECT giveback(entry_id, 2) > 0 FROM entries WHERE program = 'rest' AND member = 'r' AND kind = 'redeem';
-- Time can't be made to pass: the lots are made to have died instead.
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE loyalty.lot l SET expires_at = '2021-06-01 00:00+00' WHERE expires_at = '2120-01-11 00:00+00';
UPDATE loyalty.account SET as_of = '-infinity', next_change = '-infinity' WHERE account_id IN (SELECT account_id FROM lots WHERE program = 'rest');
COMMIT;
SELECT is(balance('rest', 'r')::numeric, 30.0, 'dead before it is booked');
CALL expire('rest');
SELECT results_eq($$ SELECT * FROM pg_temp.booked('rest') AS (m text, p numeric, t timestamptz, l int) $$,
	$$ VALUES ('r', -20::numeric, '2021-06-01 00:00+00'::timestamptz, 1) $$, '50 - 12 redeemed + 2 given back - 20 refunded; nothing for a lot that was spent');
SELECT is(balance('rest', 'r')::numeric, 30.0, 'the other lot is untouched');
SELECT pg_temp.balanced('the remainder');

-- ---- Batches: each its own transaction
SELECT pg_temp.open_shop('ones', 'UTC', '1 month', 'day'), pg_temp.open_shop('twos', 'UTC', '1 month', 'day'), pg_temp.open_shop('many', 'UTC', '1 month', 'day');
INSERT INTO public.ones (who, amount, at) SELECT 'm' || i, i, '2020-01-10 12:00+00' FROM generate_series(1, 5) i;
INSERT INTO public.twos (who, amount, at) SELECT 'm' || i, i, '2020-01-10 12:00+00' FROM generate_series(1, 5) i;
INSERT INTO public.many (who, amount, at) SELECT 'm' || i, i, '2020-01-10 12:00+00' FROM generate_series(1, 5) i;
CALL expire('ones', batch => 1);
CALL expire('twos', batch => 2);
CALL expire('many');
SELECT results_eq($$ SELECT e.program, count(DISTINCT x.xmin::text), count(*), sum(e.points) FROM entries e
		JOIN loyalty.entry x ON e.entry_id = x.account_id * 100000000 + x.entry_no
		WHERE e.kind = 'expire' AND e.program IN ('ones', 'twos', 'many') GROUP BY 1 ORDER BY 1 $$,
	$$ VALUES ('many', 1::bigint, 5::bigint, -15::numeric), ('ones', 5, 5, -15), ('twos', 3, 5, -15) $$, 'one, three and five transactions');
SELECT results_eq($$ SELECT count(*) FROM lots WHERE state = 'expired' $$, $$ SELECT 6 + 3 + 4 + 3 + 2 + 2 + 2 + 2 + 1::bigint $$, 'dead lots of the programs above');
CALL expire();
SELECT is((SELECT count(*) FROM lots WHERE state = 'expired'), 0::bigint, 'without a program: all programs');
SELECT pg_temp.balanced('all expired');

-- ---- Refusals
SELECT pg_temp.refused($$ CALL expire('job', now() + interval '1 microsecond') $$, 'LY306', NULL, 'the future');
SELECT pg_temp.refused($$ CALL expire('job', 'infinity') $$, 'LY306', '%infinity%', 'the end of time');
SELECT pg_temp.refused($$ CALL expire('job', NULL) $$, 'LY306', '%NULL%', 'no moment');
SELECT pg_temp.refused($$ CALL expire('job', batch => 0) $$, 'LY306', '%0 accounts%', 'no accounts');
SELECT pg_temp.refused($$ CALL expire('job', batch => NULL) $$, 'LY306', '%NULL%', 'a batch of NULL');
SELECT pg_temp.refused($$ CALL expire('nowhere') $$, 'LY001', NULL, 'no such program');
INSERT INTO public.ones (who, amount, at) VALUES ('m1', 1, '2020-01-10 12:00+00');
SELECT throws_ok($$ CALL expire('ones') $$, '2D000', NULL, 'not within a transaction that others hold open');
SELECT is((SELECT count(*) FROM lots WHERE state = 'expired'), 1::bigint, 'which books nothing');

SELECT * FROM finish();
\c :prior
DROP DATABASE loyalty_expiry;
