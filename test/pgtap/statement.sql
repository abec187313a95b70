-- statement: what came and went adds up to the balances at both ends; balance_as_known: by what was recorded then.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;
SET LOCAL timezone = 'UTC';

SELECT no_plan();

CREATE TABLE public.orders (id int PRIMARY KEY, who text, amount numeric, at timestamptz);
SELECT create_program('club', validity => '1 month');
SELECT create_program('york', 'America/New_York', pending => '14 days', decimals => 2);
SELECT create_program('firm', debt => 'negative');
SELECT create_currency('club', 'miles');
SELECT add_rule(p, 'base', points_per => 1) FROM unnest(ARRAY['club', 'york', 'firm']) p;
SELECT attach('public.orders', 'club', 'who', 'amount', 'at', key => '{id}');
CREATE TABLE public.york (LIKE public.orders INCLUDING ALL);
SELECT attach('public.york', 'york', 'who', 'amount', 'at');
CREATE TABLE public.firm (LIKE public.orders INCLUDING ALL);
SELECT attach('public.firm', 'firm', 'who', 'amount', 'at');

-- A statement as lines of text.
CREATE FUNCTION pg_temp.lines(program text, member text, "from" timestamptz, "to" timestamptz) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', s.day, s.kind, s.points, '=', s.balance), ', ' ORDER BY s.n)
    FROM (SELECT row_number() OVER () AS n, s.* FROM loyalty.statement(program, member, "from", "to") s) s
$$;

-- By hand: 100 live through 10 February, 50 of 31 January through 29 February, 30 through 1 March.
INSERT INTO public.orders VALUES (1, 'ann', 100, '2024-01-10 12:00+00'), (2, 'ann', 50, '2024-01-31 23:59+00'), (3, 'ann', 30, '2024-02-01 00:00+00');
CREATE TEMP TABLE month ("from" timestamptz, "to" timestamptz, lines text);
INSERT INTO month VALUES
    ('2023-12-01', '2024-01-01', '2023-12-01 opening = 0, 2023-12-31 closing = 0'),
    ('2024-01-01', '2024-02-01', '2024-01-01 opening = 0, 2024-01-10 earn 100 = 100, 2024-01-31 earn 50 = 150, 2024-01-31 closing = 150'),
    ('2024-02-01', '2024-03-01', '2024-02-01 opening = 150, 2024-02-01 earn 30 = 180, 2024-02-11 expire -100 = 80, 2024-02-29 closing = 80'),
    ('2024-03-01', '2024-04-01', '2024-03-01 opening = 80, 2024-03-01 expire -50 = 30, 2024-03-02 expire -30 = 0, 2024-03-31 closing = 0'),
    ('-infinity', 'infinity', '-infinity opening = 0, 2024-01-10 earn 100 = 100, 2024-01-31 earn 50 = 150, 2024-02-01 earn 30 = 180, '
     '2024-02-11 expire -100 = 80, 2024-03-01 expire -50 = 30, 2024-03-02 expire -30 = 0, infinity closing = 0');
SELECT is(pg_temp.lines('club', 'ann', "from", "to"), lines, format('from %s to %s', "from", "to")) FROM month;
SELECT _expire_accounts(array_agg(account_id), now()) FROM account;
SELECT is((SELECT count(*) FROM entries WHERE kind = 'expire'), 3::bigint, 'the ends are booked');
SELECT is(pg_temp.lines('club', 'ann', "from", "to"), lines, format('booked: from %s to %s', "from", "to")) FROM month;

-- A refund of what is dead moves nothing; several of a day and kind are one line; what comes to nothing is none.
UPDATE public.orders SET amount = 40 WHERE id = 1;
INSERT INTO public.orders VALUES (4, 'ann', 10, '2024-01-10 13:00+00'), (5, 'ann', 0, '2024-01-11 13:00+00');
SELECT is(pg_temp.lines('club', 'ann', '2024-01-01', '2024-02-01'),
    '2024-01-01 opening = 0, 2024-01-10 earn 110 = 110, 2024-01-31 earn 50 = 160, 2024-01-31 closing = 160', 'a late order and a refund');

-- Days are the program's: 03:00 in UTC is the evening before in New York. Pending points come when they can be spent.
INSERT INTO public.york VALUES (1, 'bea', 12.34, '2024-03-01 03:00+00'), (2, 'bea', 5, '2024-03-02 12:00+00'), (3, 'bea', 7, '2024-03-05 12:00+00');
DELETE FROM public.york WHERE id = 2;
SELECT is(pg_temp.lines('york', 'bea', '2024-03-01 00:00-05', '2024-04-01 00:00-04'),
    '2024-03-01 opening = 0, 2024-03-14 earn 12.34 = 12.34, 2024-03-16 earn 5 = 17.34, 2024-03-19 earn 7 = 24.34, 2024-03-31 closing = 24.34',
    'pending ones, before what was taken back since');
SELECT is(pg_temp.lines('york', 'bea', now() - interval '1 hour', now() + interval '1 hour'),
    format('%s opening = 24.34, %s reverse -5 = 19.34, %s closing = 19.34', ((now() - interval '1 hour') AT TIME ZONE 'America/New_York')::date,
           (now() AT TIME ZONE 'America/New_York')::date, ((now() + interval '59 minutes 59.999999 seconds') AT TIME ZONE 'America/New_York')::date),
    'the reversal is of now');

-- Into debt and out of it
INSERT INTO public.firm VALUES (1, 'cid', 100, '2024-05-01 10:00+00');
SELECT redeem('firm', 'cid', 80);
DELETE FROM public.firm WHERE id = 1;
INSERT INTO public.firm VALUES (2, 'cid', 70, '2024-06-01 10:00+00');
SELECT giveback((SELECT max(entry_id) FROM entries WHERE kind = 'redeem'), 15);
SELECT is(pg_temp.lines('firm', 'cid', '2024-05-01', '2024-07-01'),
    '2024-05-01 opening = 0, 2024-05-01 earn 100 = 100, 2024-06-01 earn 70 = 170, 2024-06-30 closing = 170', 'two awards, one late');
SELECT is(pg_temp.lines('firm', 'cid', date_trunc('day', now()), date_trunc('day', now()) + interval '1 day'),
    format('%1$s opening = 170, %1$s giveback 15 = 185, %1$s redeem -80 = 105, %1$s reverse -100 = 5, %1$s closing = 5', now()::date), 'a debt between');
SELECT is(balance('firm', 'cid'), '5', '100 - 80 - 100 + 70 + 15');

-- Held points can't be spent until they are released, captured, or the hold ends; they die with their lot.
INSERT INTO public.firm VALUES (3, 'fay', 100, '2024-05-01 10:00+00');
SELECT capture(hold('firm', 'fay', 60, '1 day'), 25);
SELECT release(hold('firm', 'fay', 8, '1 day'));
SELECT is(pg_temp.lines('firm', 'fay', date_trunc('day', now()), date_trunc('day', now()) + interval '2 days'),
    format('%1$s opening = 100, %1$s hold -68 = 32, %1$s redeem -25 = 7, %1$s release 33 = 40, %2$s release 35 = 75, %2$s closing = 75', now()::date, now()::date + 1),
    'held, captured in part, released by time');
INSERT INTO public.orders VALUES (20, 'gus', 100, now());
SELECT hold('club', 'gus', 60, '50 days');
SELECT is(pg_temp.lines('club', 'gus', date_trunc('day', now()), '2100-01-01'),
    format('%1$s opening = 0, %1$s earn 100 = 100, %1$s hold -60 = 40, %2$s expire -40 = 0, 2099-12-31 closing = 0', now()::date,
           (now() + interval '1 month')::date + 1), 'dead before the hold ends');

-- One that is enrolled and has nothing; another currency
SELECT enrol('club', 'dan');
SELECT is(pg_temp.lines('club', 'dan', '2024-01-01', '2024-02-01'), '2024-01-01 opening = 0, 2024-01-31 closing = 0', 'nothing');
SELECT adjust('club', 'dan', 3, 'found', currency => 'miles');
SELECT is(pg_temp.lines('club', 'dan', '-infinity', 'infinity'), '-infinity opening = 0, infinity closing = 0', 'nothing of the first currency');
SELECT results_eq($$SELECT kind, points, balance FROM statement('club', 'dan', '-infinity', 'infinity', 'miles')$$,
    $$VALUES ('opening', NULL, 0::numeric), ('adjust', 3::numeric, 3), ('closing', NULL, 3)$$, 'and three miles');
SELECT results_eq($$SELECT sum(points), max(balance) FILTER (WHERE kind = 'closing') FROM statement(member => 'dan', program => 'club',
                    "from" => '-infinity', "to" => 'infinity', currency => 'miles')$$, 'VALUES (3::numeric, 3::numeric)', 'the arguments have their names');

-- Every statement of every account ties to balance(): before, at and after each moment at which anything happens.
CREATE TEMP TABLE moment AS
    SELECT DISTINCT m.at + shift AS at FROM (SELECT event_time FROM entry UNION SELECT valid_from FROM lot UNION SELECT expires_at FROM lot
        UNION SELECT ends_at FROM hold UNION SELECT now() UNION SELECT now() + interval '10 years') m (at), unnest(ARRAY[interval '0', '1 microsecond', '-1 microsecond']) shift
    WHERE isfinite(m.at);
SELECT cmp_ok((SELECT count(*) FROM moment), '>', 40::bigint, 'there are many moments');
SELECT is_empty($$
    SELECT a.*, m.at, s.balance FROM (VALUES ('club', 'ann'), ('york', 'bea'), ('firm', 'cid'), ('club', 'dan'), ('firm', 'fay'), ('club', 'gus')) a (program, member), moment m,
        LATERAL statement(a.program, a.member, '-infinity', m.at) s
    WHERE s.kind = 'closing' AND s.balance <> balance(a.program, a.member, m.at - interval '1 microsecond')::numeric$$, 'closing is what balance() says');
SELECT is_empty($$
    SELECT a.*, m.at FROM (VALUES ('club', 'ann'), ('york', 'bea'), ('firm', 'cid'), ('club', 'dan'), ('firm', 'fay'), ('club', 'gus')) a (program, member), moment m,
        LATERAL (SELECT sum(s.balance) FILTER (WHERE s.kind = 'opening') AS opening, coalesce(sum(s.points), 0) AS points,
                        sum(s.balance) FILTER (WHERE s.kind = 'closing') AS closing
                 FROM statement(a.program, a.member, m.at, now() + interval '20 years') s) s
    WHERE s.opening <> balance(a.program, a.member, m.at - interval '1 microsecond')::numeric OR s.opening + s.points <> s.closing
       OR s.closing <> balance(a.program, a.member, now() + interval '20 years' - interval '1 microsecond')::numeric$$,
    'opening is, and opening and points are the closing');

-- ---------------------------------------------------------------- as known

-- What was recorded when, by hand: order 10 on time, 11 a month late, the refund of 10 and the end of both lots later.
INSERT INTO public.orders VALUES (10, 'eve', 100, '2024-01-10 12:00+00'), (11, 'eve', 20, '2024-01-15 12:00+00');
UPDATE public.orders SET amount = 70 WHERE id = 10;
SELECT _expire_accounts(array_agg(account_id), now()) FROM account JOIN member USING (member_id) WHERE member = 'eve';
SET LOCAL session_replication_role = replica;
UPDATE entry SET recorded_at = CASE WHEN event = '10' AND kind = 'earn' THEN '2024-01-10 12:00+00' WHEN event = '11' THEN '2024-02-12 09:00+00'
                                    WHEN kind = 'reverse' THEN '2024-03-01 09:00+00' ELSE '2024-03-05 00:30+00' END::timestamptz
WHERE account_id = (SELECT account_id FROM account JOIN member USING (member_id) WHERE member = 'eve');
SET LOCAL session_replication_role = origin;
SELECT is(balance_as_known('club', 'eve', at::timestamptz, known_at::timestamptz), points::points, format('at %s as known at %s', at, known_at))
FROM (VALUES ('2024-01-20', '2024-01-20', 100),                         -- the late order is not known
             ('2024-01-20', '2024-02-12 09:00+00', 120),                -- now it is
             ('2024-01-20', '2024-02-12 08:59:59.999999+00', 100),
             ('2024-01-12', '2024-02-20', 100),                         -- and had not happened before its day
             ('2024-02-11', '2024-02-10', 0),                           -- known to end, before it did
             ('2024-02-10 23:59:59.999999+00', '2024-01-31', 100),
             ('2024-02-15 23:59:59.999999+00', '2024-02-20', 20),       -- of the late one the end is 16 February
             ('2024-02-16', '2024-02-20', 0),
             ('2024-02-16', '2025-01-01', 0),                           -- booking the ends changes nothing
             ('2024-01-20', '2025-01-01', 120),
             ('2024-01-20', '-infinity', 0), ('2024-01-20', 'infinity', 120), ('-infinity', 'infinity', 0), ('infinity', 'infinity', 0)) v (at, known_at, points);
SELECT is_empty($$
    SELECT a.*, m.at FROM (VALUES ('club', 'ann'), ('york', 'bea'), ('firm', 'cid'), ('club', 'dan'), ('firm', 'fay'), ('club', 'gus')) a (program, member), (TABLE moment UNION ALL VALUES ('infinity'::timestamptz), ('-infinity')) m
    WHERE balance_as_known(a.program, a.member, m.at, 'infinity') <> balance(a.program, a.member, m.at)
       OR balance_as_known(a.program, a.member, m.at, now()) <> balance(a.program, a.member, m.at)$$, 'all that is known by now is what balance() goes by');
SELECT is(balance_as_known('club', 'dan', now(), now(), 'miles'), '3', 'another currency');
SELECT is(balance_as_known('club', 'dan', now(), now()), '0', 'a member without an account');
SELECT is(balance_as_known('club', 'dan', NULL, now()), NULL, 'NULL is not known');
SELECT is(balance_as_known(program => 'club', member => 'dan', at => now(), known_at => now() - interval '1 second', currency => 'miles'), '0', 'before it was recorded');

-- ---------------------------------------------------------------- refusals

SELECT throws_ok(format('SELECT * FROM statement(%s)', args), state, NULL, args)
FROM (VALUES ($$'shoe', 'ann', '2024-01-01', '2024-02-01'$$, 'LY001'), ($$'club', 'zoe', '2024-01-01', '2024-02-01'$$, 'LY002'),
             ($$'club', 'ann', '2024-01-01', '2024-02-01', 'gold'$$, 'LY003'), ($$'club', 'ann', '2024-02-01', '2024-02-01'$$, 'LY306'),
             ($$'club', 'ann', '2024-02-01', '2024-01-01'$$, 'LY306'), ($$'club', 'ann', NULL, '2024-01-01'$$, 'LY306')) v (args, state);
SELECT throws_ok(format('SELECT balance_as_known(%s, now(), now(), %L)', args, currency), state, NULL, args)
FROM (VALUES ($$'shoe', 'ann'$$, NULL, 'LY001'), ($$'club', 'zoe'$$, NULL, 'LY002'), ($$'club', 'ann'$$, 'gold', 'LY003')) v (args, currency, state);
CREATE ROLE loyalty_test_nobody;
SET LOCAL ROLE loyalty_test_nobody;
SELECT public.throws_ok($$SELECT * FROM loyalty.statement('club', 'ann', '2024-01-01', '2024-02-01')$$, '42501', NULL, 'nobody gets one without a grant');
SELECT public.throws_ok($$SELECT loyalty.balance_as_known('club', 'ann', '2024-01-01', '2024-01-01')$$, '42501', NULL, 'nor a balance as known');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
