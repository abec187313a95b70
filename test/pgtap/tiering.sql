-- tiering: what counts, in which window, and which tier it gives
--
-- now() stands still in a transaction, so purchases are placed around the start of
-- the current period, and times far back are asked of _tier_metric(account, at).
-- Times that would have to pass are damaged instead: see let_time_pass().
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;
SET LOCAL TimeZone = 'UTC';

SELECT no_plan();

-- A program and its shop: one point per unit of money, orders in table shop_<code>.
CREATE FUNCTION pg_temp.open_shop(code text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_rule(code, 'base', points_per => 1);
    EXECUTE format('CREATE TABLE public.shop_%1$s (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who text, amount numeric(12,2),
        refunded numeric(12,2) NOT NULL DEFAULT 0, status text NOT NULL DEFAULT ''paid'', at timestamptz NOT NULL DEFAULT now())', code);
    PERFORM attach(format('public.shop_%s', code)::regclass, code, member => 'who', amount => 'amount', event_time => 'at',
        status => 'status', earning => '{paid}', refunded => 'refunded');
END $$;

CREATE FUNCTION pg_temp.buy(code text, who text, amount numeric, at timestamptz DEFAULT now()) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    made int;
BEGIN
    EXECUTE format('INSERT INTO public.shop_%s (who, amount, at) VALUES ($1, $2, $3) RETURNING id', code) INTO made USING who, amount, at;
    RETURN made;
END $$;

CREATE FUNCTION pg_temp.account(code text, who text) RETURNS bigint LANGUAGE sql AS $$
    SELECT a.account_id FROM loyalty.account a JOIN loyalty.currency c USING (currency_id)
        JOIN loyalty.member m USING (member_id) JOIN loyalty.program p ON p.program_id = m.program_id
    WHERE p.code = $1 AND m.member = $2 AND c.is_default
$$;
CREATE FUNCTION pg_temp.tier(code text, who text) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(tier_name(tier), 'none') FROM loyalty.account WHERE account_id = pg_temp.account($1, $2)
$$;
CREATE FUNCTION pg_temp.until(code text, who text) RETURNS timestamptz LANGUAGE sql AS $$
    SELECT tier_until FROM loyalty.account WHERE account_id = pg_temp.account($1, $2)
$$;
CREATE FUNCTION pg_temp.metric(code text, who text, at timestamptz DEFAULT now()) RETURNS numeric LANGUAGE sql AS $$
    SELECT loyalty._tier_metric(pg_temp.account($1, $2), $3)::numeric
$$;
-- What review_tiers() does to an account; the procedure itself commits, see review_tiers.sql.
CREATE FUNCTION pg_temp.review(code text, who text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM loyalty._review_tiers(ARRAY[pg_temp.account(code, who)]);
    RETURN pg_temp.tier(code, who);
END $$;
-- Changes from number n on, as from>to reason metric.
CREATE FUNCTION pg_temp.history(code text, who text, n int DEFAULT 1) RETURNS text[] LANGUAGE sql AS $$
    SELECT coalesce(array_agg(format('%s>%s %s %s', coalesce(from_tier, 'none'), coalesce(to_tier, 'none'), reason, trim_scale(metric))
        ORDER BY change_no), '{}')
    FROM loyalty.tier_history WHERE program = $1 AND member = $2 AND change_no >= $3
$$;
-- Gives a member a tier of long ago: as if it had been reached at since and were kept until then.
CREATE FUNCTION pg_temp.let_time_pass(code text, who text, tier loyalty.tier, since timestamptz, until timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL session_replication_role = replica;
    UPDATE loyalty.account a SET tier = let_time_pass.tier, tier_since = since, tier_until = until
    WHERE a.account_id = pg_temp.account(code, who);
    DELETE FROM loyalty.tier_change h WHERE h.account_id = pg_temp.account(code, who);
    SET LOCAL session_replication_role = origin;
END $$;

-- ---------------------------------------------------------------- the start

SELECT create_program('free', ladder => 'member:0,silver:100,gold:500');
SELECT pg_temp.open_shop('free');
SELECT enrol('free', 'ann', '2020-02-03 04:05+00');
SELECT is(pg_temp.tier('free', 'ann'), 'member', 'a lowest threshold of 0 is held from enrolment');
SELECT is(tier_since, '2020-02-03 04:05+00'::timestamptz, '... and since it') FROM account WHERE account_id = pg_temp.account('free', 'ann');
SELECT is(pg_temp.until('free', 'ann'), NULL, '... for ever');
SELECT is(pg_temp.history('free', 'ann'), '{}', '... without a change');
SELECT results_eq($$SELECT tier, tier_rank, metric, next_tier, missing, tier_until, missing_to_keep FROM tier_progress('free', 'ann')$$,
    $$VALUES ('member', 1, 0::numeric, 'silver', 100::numeric, NULL::timestamptz, NULL::numeric)$$, 'progress without entries');

SELECT create_program('paid', ladder => 'bronze:100,silver:500');
SELECT pg_temp.open_shop('paid');
SELECT enrol('paid', 'ann');
SELECT is(pg_temp.tier('paid', 'ann'), 'none', 'no tier when the lowest threshold is above 0');
SELECT results_eq($$SELECT tier, tier_rank, metric, next_tier, missing FROM tier_progress('paid', 'ann')$$,
    $$VALUES (NULL, NULL::int, 0::numeric, 'bronze', 100::numeric)$$, 'the next tier of none is the first');
SELECT throws_ok($$SELECT * FROM tier_progress('paid', 'nobody')$$, 'LY002');
SELECT throws_ok($$SELECT * FROM tier_progress('nothing', 'ann')$$, 'LY001');

-- ---------------------------------------------------------------- up, by points

SELECT pg_temp.buy('free', 'ann', 99);
SELECT is(pg_temp.tier('free', 'ann'), 'member', '99 of 100 is not enough');
SELECT is(missing, 1::numeric, '... 1 is missing') FROM tier_progress('free', 'ann');
SELECT pg_temp.buy('free', 'ann', 1);
SELECT is(pg_temp.tier('free', 'ann'), 'silver', 'exactly the threshold reaches the tier, in the same transaction');
SELECT is(pg_temp.history('free', 'ann'), '{member>silver earned 100}', 'the change has its reason and metric');
SELECT is(tier_since, now(), 'held since now') FROM account WHERE account_id = pg_temp.account('free', 'ann');
SELECT pg_temp.buy('free', 'bob', 1000);
SELECT is(pg_temp.history('free', 'bob'), '{member>gold earned 1000}', 'steps may be jumped, also by who is enrolled by his purchase');
SELECT results_eq($$SELECT tier, tier_rank, metric, next_tier, missing, tier_until, missing_to_keep FROM tier_progress('free', 'bob')$$,
    $$VALUES ('gold', 3, 1000::numeric, NULL, NULL::numeric, NULL::timestamptz, NULL::numeric)$$, 'nothing is above the top, and a lifetime has no end');
INSERT INTO shop_free (who, amount) VALUES ('cy', 60), ('di', 99), ('cy', 40), (NULL, 1000);
SELECT is(pg_temp.tier('free', 'cy') || pg_temp.tier('free', 'di'), 'silvermember', 'two members in one statement, each by his own rows');

-- T: spending, expiry and adjustments leave the metric alone.
SELECT redeem('free', 'bob', 1000);
SELECT is(pg_temp.tier('free', 'bob') || pg_temp.metric('free', 'bob'), 'gold1000', 'redeeming does not lower');
SELECT adjust('free', 'ann', 400, 'goodwill');
SELECT is(pg_temp.tier('free', 'ann') || pg_temp.metric('free', 'ann'), 'silver100', 'an adjustment does not raise');
SELECT adjust('free', 'ann', -500, 'mistake');
SELECT is(pg_temp.tier('free', 'ann') || pg_temp.metric('free', 'ann'), 'silver100', '... nor lower');
SELECT is(pg_temp.review('free', 'ann') || pg_temp.review('free', 'bob') || pg_temp.review('free', 'di'), 'silvergoldmember', 'nor does a review');

SELECT create_program('short', ladder => 'member:0,silver:100', validity => '10 days');
SELECT pg_temp.open_shop('short');
SELECT pg_temp.buy('short', 'ann', 100, now() - interval '30 days');
SELECT loyalty._expire_accounts(ARRAY[pg_temp.account('short', 'ann')], now());
SELECT is(expired, 100::numeric, 'the points are gone') FROM balances WHERE program = 'short' AND member = 'ann';
SELECT is(pg_temp.review('short', 'ann') || pg_temp.metric('short', 'ann'), 'silver100', 'the tier stays when points expire');

-- Refunds: 120 less 20 is 100, less another is 99.
SELECT pg_temp.buy('free', 'eve', 120);
UPDATE shop_free SET refunded = 20 WHERE who = 'eve';
SELECT is(pg_temp.tier('free', 'eve') || pg_temp.metric('free', 'eve'), 'silver100', 'refunded down to the threshold');
UPDATE shop_free SET refunded = 21 WHERE who = 'eve';
SELECT is(pg_temp.history('free', 'eve'), '{member>silver earned 120,silver>member reversed 99}', 'refunded below it');
UPDATE shop_free SET amount = 600, refunded = 0 WHERE who = 'eve';
SELECT is(pg_temp.tier('free', 'eve'), 'gold', 'an amount corrected upwards counts');
UPDATE shop_free SET status = 'cancelled' WHERE who = 'eve';
SELECT is(pg_temp.tier('free', 'eve') || pg_temp.metric('free', 'eve'), 'member0', 'a cancelled order counts nothing');
DELETE FROM shop_free WHERE who = 'cy' AND amount = 40;
SELECT is(pg_temp.tier('free', 'cy'), 'member', 'nor does a deleted one');

-- An order given to another member.
SELECT pg_temp.buy('free', 'fay', 500);
SELECT enrol('free', 'gus');
UPDATE shop_free SET who = 'gus' WHERE who = 'fay';
SELECT is(pg_temp.history('free', 'fay'), '{member>gold earned 500,gold>member reversed 0}', 'an order that moves takes its tier along');
SELECT is(pg_temp.history('free', 'gus'), '{member>gold earned 500}', '... to whom it goes');

-- Points of a second currency are no points of the first.
SELECT create_currency('free', 'stars');
SELECT add_rule('free', 'stars', points_per => 10, currency => 'stars');
SELECT pg_temp.buy('free', 'hal', 99);
SELECT is(pg_temp.tier('free', 'hal') || pg_temp.metric('free', 'hal'), 'member99', '990 stars count nothing');
SELECT is((SELECT earned FROM balances WHERE program = 'free' AND member = 'hal' AND currency = 'stars'), 990::numeric, '... though they are there');
SELECT is((SELECT tier FROM balances WHERE program = 'free' AND member = 'hal' AND currency = 'stars'), NULL, '... on an account without a tier');

-- ---------------------------------------------------------------- up, by spend and by visits

SELECT create_program('spend', ladder => 'member:0,silver:100,gold:500', tier_metric => 'spend');
SELECT pg_temp.open_shop('spend');
SELECT add_rule('spend', 'triple', points_per => 3);
SELECT pg_temp.buy('spend', 'ann', 99.99);
SELECT is(pg_temp.tier('spend', 'ann') || pg_temp.metric('spend', 'ann'), 'member99.99', 'spend counts once, whatever rules gave points, to the cent');
SELECT pg_temp.buy('spend', 'ann', 0.01);
SELECT is(pg_temp.tier('spend', 'ann'), 'silver', 'a cent that earns no point is spent all the same');
UPDATE shop_spend SET refunded = 0.01 WHERE who = 'ann' AND amount = 0.01;
SELECT is(pg_temp.history('spend', 'ann'), '{member>silver earned 100,silver>member reversed 99.99}', '... and so is it when it is refunded');
SELECT pg_temp.buy('spend', 'bob', 500);
SELECT redeem('spend', 'bob', 2000);
UPDATE shop_spend SET refunded = 400.01 WHERE who = 'bob';
SELECT is(pg_temp.tier('spend', 'bob') || pg_temp.metric('spend', 'bob'), 'member99.99', 'refunds lower the spend, taken points or not');

SELECT create_program('visits', ladder => 'member:0,silver:2,gold:3', tier_metric => 'visits');
SELECT pg_temp.open_shop('visits');
SELECT add_rule('visits', 'bonus', bonus => 5);
SELECT pg_temp.buy('visits', 'ann', 100000);
SELECT is(pg_temp.tier('visits', 'ann') || pg_temp.metric('visits', 'ann'), 'member1', 'a row is one visit, by how many rules it earns');
INSERT INTO shop_visits (who, amount) VALUES ('ann', 1), ('bob', 1), ('ann', 0.5);
SELECT is(pg_temp.history('visits', 'ann'), '{member>gold earned 3}', 'the third visit');
UPDATE shop_visits SET amount = 2, refunded = 1 WHERE who = 'ann' AND amount = 1;
SELECT is(pg_temp.metric('visits', 'ann'), 3::numeric, 'a partial refund is a visit still');
DELETE FROM shop_visits WHERE who = 'ann' AND amount = 0.5;
SELECT is(pg_temp.tier('visits', 'ann') || pg_temp.metric('visits', 'ann'), 'silver2', 'a deleted row is none');
SELECT is(pg_temp.metric('visits', 'bob'), 1::numeric, 'each his own visits');

-- T: points spent before the refund must not save the tier: what was let off was earned no more.
SELECT pg_temp.buy('free', 'ida', 500);
SELECT redeem('free', 'ida', 500);
DELETE FROM shop_free WHERE who = 'ida';
SELECT is((SELECT sum(forgiven) FROM entries WHERE program = 'free' AND member = 'ida' AND currency = 'points'), 500::numeric, 'the debt is forgiven');
SELECT is(pg_temp.history('free', 'ida'), '{member>gold earned 500,gold>member reversed 0}', 'the tier is not');
SELECT pg_temp.buy('free', 'ira', 500);
SELECT redeem('free', 'ira', 500);
UPDATE shop_free SET status = 'cancelled' WHERE who = 'ira';
UPDATE shop_free SET status = 'paid' WHERE who = 'ira';
SELECT is(pg_temp.tier('free', 'ira') || pg_temp.metric('free', 'ira'), 'gold500', 'restored, it counts as before');

-- ---------------------------------------------------------------- windows

-- Starts of periods, by plain SQL: the nth after the one now in Berlin.
CREATE FUNCTION pg_temp.year_start(n int DEFAULT 0) RETURNS timestamptz LANGUAGE sql AS $$
    SELECT (date_trunc('year', now() AT TIME ZONE 'Europe/Berlin') + n * interval '1 year') AT TIME ZONE 'Europe/Berlin'
$$;
CREATE FUNCTION pg_temp.quarter_start(n int DEFAULT 0) RETURNS timestamptz LANGUAGE sql AS $$
    SELECT (date_trunc('quarter', now() AT TIME ZONE 'Europe/Berlin') + n * interval '3 months') AT TIME ZONE 'Europe/Berlin'
$$;
CREATE FUNCTION pg_temp.day_start(n int DEFAULT 0) RETURNS timestamptz LANGUAGE sql AS $$
    SELECT (date_trunc('day', now() AT TIME ZONE 'Europe/Berlin') + n * interval '1 day') AT TIME ZONE 'Europe/Berlin'
$$;
CREATE FUNCTION pg_temp.anniversary(enrolled date, every interval, n int DEFAULT 0) RETURNS timestamptz LANGUAGE sql AS $$
    SELECT (enrolled + every * (n + (SELECT max(i) FROM generate_series(0, 2000) i
        WHERE enrolled + every * i <= now() AT TIME ZONE 'Europe/Berlin'))) AT TIME ZONE 'Europe/Berlin'
$$;

-- A calendar year, in the program's zone.
SELECT create_program('year', 'Europe/Berlin', 'member:0,silver:100,gold:500', tier_window => 'calendar', tier_grace => '10 days');
SELECT pg_temp.open_shop('year');
SELECT pg_temp.buy('year', 'ann', 99, pg_temp.year_start() - interval '1 us');
SELECT is(pg_temp.tier('year', 'ann') || pg_temp.metric('year', 'ann'), 'member0', 'a late row of last year does not count this year');
SELECT is(pg_temp.metric('year', 'ann', pg_temp.year_start(-1)), 99::numeric, '... but counts in its own');
SELECT pg_temp.buy('year', 'ann', 99, pg_temp.year_start());
SELECT is(pg_temp.tier('year', 'ann') || pg_temp.metric('year', 'ann'), 'member99', 'the first moment of the year counts');
SELECT pg_temp.buy('year', 'ann', 1);
SELECT is(pg_temp.tier('year', 'ann'), 'silver', '... and makes 100 with one more');
SELECT is(pg_temp.until('year', 'ann'), pg_temp.year_start(2) + interval '10 days', 'kept until the end of next year, and ten days');
SELECT results_eq($$SELECT tier, metric, next_tier, missing, missing_to_keep FROM tier_progress('year', 'ann')$$,
    $$VALUES ('silver', 100::numeric, 'gold', 400::numeric, 0::numeric)$$, 'progress of this year');
SELECT pg_temp.buy('year', 'ann', 400, pg_temp.year_start(1));
SELECT is(pg_temp.tier('year', 'ann') || pg_temp.metric('year', 'ann'), 'silver100', 'what is dated next year does not count yet');
SELECT is(pg_temp.metric('year', 'ann', pg_temp.year_start(1)), 400::numeric, '... but then');
DELETE FROM shop_year WHERE who = 'ann' AND at < pg_temp.year_start();
SELECT is(pg_temp.tier('year', 'ann') || pg_temp.metric('year', 'ann'), 'silver100', 'what is taken back of last year is last year''s');
SELECT is(pg_temp.metric('year', 'ann', pg_temp.year_start(-1)), 0::numeric, '... where it counted');
-- What last year reached is kept this year, however late it is booked: until its end, and ten days.
SELECT pg_temp.buy('year', 'eve', 500, pg_temp.year_start() - interval '1 us');
SELECT is(pg_temp.history('year', 'eve'), '{member>gold earned 500}', 'a late row lifts to what its own year reaches');
SELECT is(pg_temp.until('year', 'eve'), pg_temp.year_start(1) + interval '10 days', '... which is kept to the end of this one');
SELECT is(metric || ' ' || missing_to_keep, '0 500', '... and must be reached in it to be kept on') FROM tier_progress('year', 'eve');
SELECT pg_temp.buy('year', 'eve', 10);
UPDATE shop_year SET refunded = 10 WHERE who = 'eve' AND amount = 10;
SELECT is(pg_temp.tier('year', 'eve') || pg_temp.review('year', 'eve'), 'goldgold', 'a refund of this year leaves it');
UPDATE shop_year SET refunded = 300 WHERE who = 'eve' AND amount = 500;
SELECT is(pg_temp.history('year', 'eve', 2), '{gold>silver reversed 0}', 'one of that row takes it down to what last year still reaches');
SELECT is(pg_temp.until('year', 'eve'), pg_temp.year_start(1) + interval '10 days', '... for as long');
DELETE FROM shop_year WHERE who = 'eve';
SELECT is(pg_temp.tier('year', 'eve'), 'member', '... and altogether');
SELECT pg_temp.buy('year', 'fay', 500, pg_temp.year_start(-1) - interval '1 us');
SELECT is(pg_temp.tier('year', 'fay'), 'member', 'the year before the last is over');
-- Midnight in Berlin is 23:00 in UTC; the metric is asked at a moment of each year.
SELECT pg_temp.buy('year', 'old', 1, '2019-12-31 22:59:59.999999+00');
SELECT pg_temp.buy('year', 'old', 10, '2019-12-31 23:00+00');
SELECT pg_temp.buy('year', 'old', 100, '2020-12-31 22:59:59+00');
SELECT is(ARRAY[pg_temp.metric('year', 'old', '2019-06-01'), pg_temp.metric('year', 'old', '2020-02-29 12:00+00'), pg_temp.metric('year', 'old', '2021-01-01')],
    '{1,110,0}'::numeric[], 'years turn at midnight in the program''s zone');

-- Quarters.
SELECT create_program('quarter', 'Europe/Berlin', 'member:0,silver:100', tier_window => 'calendar', tier_period => '3 months');
SELECT pg_temp.open_shop('quarter');
SELECT pg_temp.buy('quarter', 'ann', 99, pg_temp.quarter_start());
SELECT pg_temp.buy('quarter', 'ann', 1, pg_temp.quarter_start() - interval '1 us');
SELECT is(pg_temp.tier('quarter', 'ann') || pg_temp.metric('quarter', 'ann'), 'member99', 'this quarter only');
SELECT pg_temp.buy('quarter', 'ann', 1);
SELECT is(pg_temp.until('quarter', 'ann'), pg_temp.quarter_start(2), 'kept until the end of the next quarter');
SELECT pg_temp.buy('quarter', 'old', 1, '2024-03-31 21:59:59+00');
SELECT pg_temp.buy('quarter', 'old', 10, '2024-03-31 22:00+00');
SELECT is(ARRAY[pg_temp.metric('quarter', 'old', '2024-01-01'), pg_temp.metric('quarter', 'old', '2024-06-30 21:00+00'), pg_temp.metric('quarter', 'old', '2024-06-30 22:00+00')],
    '{1,10,0}'::numeric[], 'the quarter from April on starts in summer time');

-- Anniversaries of the 31st: 28 or 29 February, 31 March, 30 April.
SELECT create_program('monthly', 'Europe/Berlin', 'member:0,silver:100', tier_window => 'anniversary', tier_period => '1 month');
SELECT pg_temp.open_shop('monthly');
SELECT enrol('monthly', 'ann', '2020-01-31 12:00+01');
SELECT pg_temp.buy('monthly', 'ann', v, t) FROM (VALUES (1, '2019-01-01 00:00+00'::timestamptz), (2, '2020-02-28 23:59:59+01'), (4, '2020-02-29 00:00+01'),
    (8, '2020-03-30 23:59:59+02'), (16, '2020-03-31 00:00+02'), (32, '2020-04-30 00:00+02'), (64, '2021-02-27 23:59:59+01'), (128, '2021-02-28 00:00+01')) v(v, t);
SELECT is(ARRAY(SELECT pg_temp.metric('monthly', 'ann', t::timestamptz) FROM unnest('{2020-01-31, 2020-02-29, 2020-03-30 12:00, 2020-03-31, 2020-04-30, 2021-01-31, 2021-03-30}'::text[]) t),
    '{3,12,12,16,32,64,128}'::numeric[], 'months from the 31st on; what is before the enrolment counts to the first');
SELECT results_eq($$SELECT (bucket AT TIME ZONE 'Europe/Berlin')::text, metric::numeric FROM tier_progress_bucket WHERE account_id = pg_temp.account('monthly', 'ann') ORDER BY bucket$$,
    $$VALUES ('2020-01-31 00:00:00', 3::numeric), ('2020-02-29 00:00:00', 12), ('2020-03-31 00:00:00', 16), ('2020-04-30 00:00:00', 32),
        ('2021-01-31 00:00:00', 64), ('2021-02-28 00:00:00', 128)$$, '... one bucket each');
SELECT pg_temp.buy('monthly', 'ann', 99, pg_temp.anniversary('2020-01-31', '1 month') - interval '1 us');
SELECT is(pg_temp.tier('monthly', 'ann'), 'member', 'the moment before the anniversary was last month');
SELECT pg_temp.buy('monthly', 'ann', 100, pg_temp.anniversary('2020-01-31', '1 month'));
SELECT is(pg_temp.tier('monthly', 'ann'), 'silver', 'the anniversary is this month');
SELECT is(pg_temp.until('monthly', 'ann'), pg_temp.anniversary('2020-01-31', '1 month', 2), '... until the one after next');

-- Years from 29 February on.
SELECT create_program('leap', 'Europe/Berlin', 'member:0,silver:100', tier_window => 'anniversary');
SELECT pg_temp.open_shop('leap');
SELECT enrol('leap', 'ann', '2016-02-29 12:00+01');
SELECT pg_temp.buy('leap', 'ann', v, t) FROM (VALUES (1, '2017-02-27 23:59:59+01'::timestamptz), (2, '2017-02-28 00:00+01'), (4, '2020-02-28 23:59:59+01'), (8, '2020-02-29 00:00+01')) v(v, t);
SELECT is(ARRAY(SELECT pg_temp.metric('leap', 'ann', t::timestamptz) FROM unnest('{2016-03-01, 2017-03-01, 2020-02-28, 2020-02-29}'::text[]) t),
    '{1,2,4,8}'::numeric[], 'years from 29 February on');
SELECT pg_temp.buy('leap', 'ann', 100);
SELECT is(pg_temp.until('leap', 'ann'), pg_temp.anniversary('2016-02-29', '1 year', 2), '... kept until the anniversary after next');

-- The last 30 days, today included.
SELECT create_program('days', 'Europe/Berlin', 'member:0,silver:100', tier_window => 'rolling', tier_period => '30 days', tier_grace => '1 day');
SELECT pg_temp.open_shop('days');
SELECT pg_temp.buy('days', 'ann', 99, pg_temp.day_start(-29));
SELECT pg_temp.buy('days', 'ann', 1, pg_temp.day_start(-29) - interval '1 us');
SELECT is(pg_temp.tier('days', 'ann') || pg_temp.metric('days', 'ann'), 'member99', 'the 29th day before today counts, the 30th does not');
SELECT pg_temp.buy('days', 'ann', 1);
SELECT is(pg_temp.tier('days', 'ann'), 'silver', 'today does');
SELECT is(pg_temp.until('days', 'ann'), pg_temp.day_start(32), 'kept today, for 30 days, and one of grace');
-- The last month: on 31 March the one from 1 March on, for the day a month before it is 29 February;
-- on 30 April the one from 31 March on.
SELECT create_program('months', 'Europe/Berlin', 'member:0,silver:100', tier_window => 'rolling', tier_period => '1 month');
SELECT pg_temp.open_shop('months');
SELECT pg_temp.buy('months', 'ann', v, t) FROM (VALUES (1, '2024-02-29 23:59:59+01'::timestamptz), (2, '2024-03-01 00:00+01'), (4, '2024-03-31 23:59:59+02'), (8, '2024-04-01 00:00+02')) v(v, t);
SELECT is(ARRAY(SELECT pg_temp.metric('months', 'ann', t::timestamptz) FROM unnest('{2024-03-28 23:00+01, 2024-03-31 12:00+02, 2024-04-01 00:00+02, 2024-04-30 23:00+02, 2024-05-01 00:00+02}'::text[]) t),
    '{3,6,12,12,0}'::numeric[], 'rolling months clamp');

-- A lowest step that asks for something is kept for its time only, as any other.
SELECT create_program('asks', 'Europe/Berlin', 'bronze:100,silver:500', tier_window => 'calendar');
SELECT pg_temp.open_shop('asks');
SELECT pg_temp.buy('asks', 'ann', 100);
SELECT is(pg_temp.until('asks', 'ann'), pg_temp.year_start(2), 'a lowest step above 0 has an end');
SELECT is(missing_to_keep, 0::numeric, '... and can be kept') FROM tier_progress('asks', 'ann');
SELECT pg_temp.let_time_pass('asks', 'ann', '1:bronze', pg_temp.year_start(-2), pg_temp.year_start(-0));
SELECT is(pg_temp.review('asks', 'ann'), 'bronze', 'this year''s 100 keep it');
DELETE FROM shop_asks;
SELECT pg_temp.let_time_pass('asks', 'ann', '1:bronze', pg_temp.year_start(-2), pg_temp.year_start(-0));
SELECT is(pg_temp.review('asks', 'ann'), 'none', 'without them it is lost');
SELECT is(pg_temp.history('asks', 'ann'), '{bronze>none review 0}', '... in a review');
SELECT is(pg_temp.until('asks', 'ann'), NULL, '... and none has no end');

-- ---------------------------------------------------------------- pending

SELECT create_program('waits', 'Europe/Berlin', 'member:0,silver:100', pending => '14 days');
SELECT pg_temp.open_shop('waits');
SELECT pg_temp.buy('waits', 'ann', 100);
SELECT pg_temp.buy('waits', 'ann', 99, now() - interval '20 days');
SELECT is(pg_temp.tier('waits', 'ann') || pg_temp.metric('waits', 'ann'), 'member99', 'pending points do not count');
SELECT pg_temp.buy('waits', 'ann', 1, now() - interval '20 days');
SELECT is(pg_temp.tier('waits', 'ann') || pg_temp.metric('waits', 'ann'), 'silver100', '... those that are past it do');
-- Pending points that ripen: nobody books anything then, so the review finds them.
SELECT pg_temp.buy('waits', 'bob', 100);
SELECT is(pg_temp.review('waits', 'bob'), 'member', 'a review counts no pending points either');
SET LOCAL session_replication_role = replica;
UPDATE loyalty.lot SET valid_from = now() - interval '1 day' WHERE account_id = pg_temp.account('waits', 'bob');
UPDATE loyalty.account SET as_of = now() - interval '2 days', next_change = now() - interval '1 day' WHERE account_id = pg_temp.account('waits', 'bob');
SET LOCAL session_replication_role = origin;
SELECT is(pg_temp.review('waits', 'bob'), 'silver', '... but those that ripened');
SELECT is(pg_temp.history('waits', 'bob'), '{member>silver review 100}', '... as its own change');
-- Those that ripen when their year is over lift to what it reaches then.
SELECT create_program('ripens', 'Europe/Berlin', 'member:0,silver:100', pending => '3 years', tier_window => 'calendar');
SELECT pg_temp.open_shop('ripens');
SELECT pg_temp.buy('ripens', 'ann', 100, pg_temp.year_start() - interval '1 us');
SELECT is(pg_temp.review('ripens', 'ann'), 'member', 'pending over the turn of the year');
SET LOCAL session_replication_role = replica;
UPDATE loyalty.lot SET valid_from = now() - interval '1 day' WHERE account_id = pg_temp.account('ripens', 'ann');
UPDATE loyalty.account SET as_of = now() - interval '2 days', next_change = now() - interval '1 day' WHERE account_id = pg_temp.account('ripens', 'ann');
SET LOCAL session_replication_role = origin;
SELECT is(pg_temp.review('ripens', 'ann') || pg_temp.until('ripens', 'ann'), 'silver' || pg_temp.year_start(1), '... they lift all the same, for this year');
SELECT is(pg_temp.history('ripens', 'ann'), '{member>silver review 100}', '... by last year''s metric');
SELECT create_program('counts', 'Europe/Berlin', 'member:0,silver:100', pending => '14 days', pending_counts => true);
SELECT pg_temp.open_shop('counts');
SELECT pg_temp.buy('counts', 'ann', 100);
SELECT is(pg_temp.tier('counts', 'ann') || pg_temp.metric('counts', 'ann'), 'silver100', 'but where the currency counts them');
-- Pending of another period takes nothing off this one's.
SELECT create_program('waitsyear', 'Europe/Berlin', 'member:0,silver:100', pending => '3 years', tier_window => 'calendar');
SELECT pg_temp.open_shop('waitsyear');
SELECT pg_temp.buy('waitsyear', 'ann', 1000, pg_temp.year_start(-1));
UPDATE loyalty.currency SET pending = NULL WHERE program_id = (SELECT program_id FROM loyalty.program WHERE code = 'waitsyear');
SELECT pg_temp.buy('waitsyear', 'ann', 100);
SELECT is(pg_temp.tier('waitsyear', 'ann') || pg_temp.metric('waitsyear', 'ann'), 'silver100', 'last year''s pending points are not this year''s');
SELECT is(pg_temp.metric('waitsyear', 'ann', pg_temp.year_start(-1)), 0::numeric, '... but last year''s');

-- ---------------------------------------------------------------- down

-- Two years back gold was reached; it was kept until the end of last year. Then three ways down.
SELECT create_program(way, 'Europe/Berlin', 'member:0,silver:100,gold:500,ruby:1000', tier_window => 'calendar', tier_down => way)
FROM unnest('{requalify,one_step,never}'::text[]) way;
SELECT pg_temp.open_shop(way) FROM unnest('{requalify,one_step,never}'::text[]) way;
SELECT enrol(way, who) FROM unnest('{requalify,one_step,never}'::text[]) way, unnest('{none,same,less,back,four}'::text[]) who;
SELECT pg_temp.buy(way, who, amount, pg_temp.year_start(-1)) FROM unnest('{requalify,one_step,never}'::text[]) way,
    (VALUES ('same', 500), ('less', 100)) v(who, amount);
SELECT pg_temp.let_time_pass(way, who, '3:gold', pg_temp.year_start(-2), pg_temp.year_start(CASE who WHEN 'four' THEN -3 ELSE 0 END))
FROM unnest('{requalify,one_step,never}'::text[]) way, unnest('{none,same,less,four}'::text[]) who;
SELECT pg_temp.let_time_pass(way, 'back', '4:ruby', pg_temp.year_start(-2), pg_temp.year_start()) FROM unnest('{requalify,one_step,never}'::text[]) way;

SELECT is(pg_temp.review('requalify', 'none'), 'member', 'requalify: nothing was bought');
SELECT is(pg_temp.history('requalify', 'none'), '{gold>member review 0}', '... down all the way');
SELECT is((changed_at, recorded_at), (pg_temp.year_start(), now()), '... at the end of the year, recorded now') FROM tier_history WHERE program = 'requalify' AND member = 'none';
SELECT is(tier_since, pg_temp.year_start(), '... since then') FROM account WHERE account_id = pg_temp.account('requalify', 'none');
SELECT is(pg_temp.until('requalify', 'none'), NULL, '... and the lowest has no end');
SELECT is(pg_temp.review('requalify', 'same'), 'gold', 'requalify: last year''s 500 keep gold');
SELECT is(pg_temp.until('requalify', 'same'), pg_temp.year_start(1), '... for this year');
SELECT is(pg_temp.history('requalify', 'same'), '{}', '... which is no change');
SELECT is(missing_to_keep, 500::numeric, '... and 500 are missing to keep it on') FROM tier_progress('requalify', 'same');
SELECT is(pg_temp.review('requalify', 'less') || pg_temp.until('requalify', 'less'), 'silver' || pg_temp.year_start(1), 'requalify: last year''s 100 give silver, for this year');
SELECT is(pg_temp.history('requalify', 'less'), '{gold>silver review 100}', '... with last year''s metric');
SELECT is(pg_temp.review('requalify', 'less') || array_length(pg_temp.history('requalify', 'less'), 1), 'silver1', 'a second review changes nothing');

SELECT is(pg_temp.review('one_step', 'none') || pg_temp.until('one_step', 'none'), 'silver' || pg_temp.year_start(1), 'one_step: to silver, for this year');
SELECT is(pg_temp.review('one_step', 'none'), 'silver', '... and not one step more a day later');
SELECT is(pg_temp.review('one_step', 'four'), 'member', 'one_step: four ends missed are made up for');
SELECT results_eq($$SELECT from_tier, to_tier, changed_at FROM tier_history WHERE program = 'one_step' AND member = 'four' ORDER BY change_no$$,
    $$VALUES ('gold', 'silver', pg_temp.year_start(-3)), ('silver', 'member', pg_temp.year_start(-2))$$, '... each at its own time');
SELECT is(pg_temp.review('one_step', 'back') || pg_temp.review('one_step', 'same') || pg_temp.review('one_step', 'less'), 'goldgoldsilver', 'one_step from ruby, kept, and to what was reached');

SELECT is(pg_temp.review('never', who) || pg_temp.until('never', who), CASE who WHEN 'back' THEN 'ruby' ELSE 'gold' END || pg_temp.year_start(1), 'never: ' || who)
FROM unnest('{none,same,less,back,four}'::text[]) who;

-- Without a review the member's next entry lowers, and so does spending in it.
SELECT pg_temp.buy('requalify', 'back', 100);
SELECT is(pg_temp.tier('requalify', 'back') || pg_temp.until('requalify', 'back'), 'silver' || pg_temp.year_start(1), 'the next purchase does it too, and counts');

-- Grace: the next year has begun, the old one decides.
SELECT pg_temp.buy('year', 'bob', 500, pg_temp.year_start(-3));
SELECT pg_temp.let_time_pass('year', 'bob', '3:gold', pg_temp.year_start(-4), pg_temp.year_start(-2) + interval '10 days');
SELECT is(pg_temp.review('year', 'bob'), 'member', 'the year that ended before the grace decides');
SELECT is(changed_at, pg_temp.year_start(-1) + interval '10 days', '... and the tier is lost at the end of the next grace') FROM tier_history WHERE program = 'year' AND member = 'bob';
-- A month and 30 days after 1 January is 3 March (2 March in a leap year), and a month and 30 days before it is January.
SELECT create_program('grace', 'Europe/Berlin', 'member:0,silver:100', tier_window => 'calendar', tier_grace => '1 month 30 days');
SELECT pg_temp.open_shop('grace');
SELECT pg_temp.buy('grace', 'ann', 100, pg_temp.year_start(-3));
SELECT pg_temp.let_time_pass('grace', 'ann', '2:silver', pg_temp.year_start(-4), pg_temp.year_start(-2) + interval '1 month 30 days');
SELECT pg_temp.review('grace', 'ann');
SELECT is(changed_at, pg_temp.year_start(-1) + interval '1 month 30 days', 'grace of months and days') FROM tier_history WHERE program = 'grace' AND member = 'ann';

-- Rolling: what is kept at an end is kept for a period more, so two steps take two periods.
SELECT create_program('roll', 'Europe/Berlin', 'member:0,silver:100,gold:500', tier_window => 'rolling', tier_period => '30 days', tier_down => 'one_step');
SELECT pg_temp.open_shop('roll');
SELECT enrol('roll', 'ann');
SELECT pg_temp.let_time_pass('roll', 'ann', '3:gold', pg_temp.day_start(-40), pg_temp.day_start(-9));
SELECT is(pg_temp.review('roll', 'ann') || pg_temp.until('roll', 'ann'), 'silver' || pg_temp.day_start(21), 'a step down, for 30 days');
SELECT pg_temp.let_time_pass('roll', 'ann', '3:gold', pg_temp.day_start(-70), pg_temp.day_start(-39));
SELECT is(pg_temp.review('roll', 'ann'), 'member', '... and the next after these');
SELECT results_eq($$SELECT to_tier, changed_at FROM tier_history WHERE program = 'roll' AND member = 'ann' ORDER BY change_no$$,
    $$VALUES ('silver', pg_temp.day_start(-39)), ('member', pg_temp.day_start(-9))$$, '... at its own time');
SELECT pg_temp.buy('roll', 'bob', 100, pg_temp.day_start(-20));
SELECT pg_temp.let_time_pass('roll', 'bob', '2:silver', pg_temp.day_start(-40), pg_temp.day_start(-9));
SELECT is(pg_temp.review('roll', 'bob') || pg_temp.until('roll', 'bob'), 'silver' || pg_temp.day_start(21), 'kept by what the last period held');

-- Refunds take only what the current period gave.
SELECT enrol('requalify', who) FROM unnest('{kept,lost}'::text[]) who;
SELECT pg_temp.let_time_pass('requalify', 'kept', '2:silver', pg_temp.year_start(-1), pg_temp.year_start(1));
SELECT pg_temp.buy('requalify', 'kept', 500);
SELECT is(pg_temp.tier('requalify', 'kept'), 'gold', 'silver of last year, gold of this');
DELETE FROM shop_requalify WHERE who = 'kept';
SELECT is(pg_temp.history('requalify', 'kept'), '{silver>gold earned 500,gold>silver reversed 0}', 'taken back: silver again, not member');
SELECT pg_temp.buy('requalify', 'kept', 50);
DELETE FROM shop_requalify WHERE who = 'kept';
SELECT is(pg_temp.tier('requalify', 'kept'), 'silver', 'a refund leaves what an earlier period gave');
-- What a review took this very year was not held when it began to count.
SELECT pg_temp.let_time_pass('requalify', 'lost', '3:gold', pg_temp.year_start(-2), pg_temp.year_start());
SELECT pg_temp.review('requalify', 'lost');
SELECT pg_temp.buy('requalify', 'lost', 100);
DELETE FROM shop_requalify WHERE who = 'lost';
SELECT is(pg_temp.history('requalify', 'lost'), '{gold>member review 0,member>silver earned 100,silver>member reversed 0}', 'lost at the start of the year: a refund finds no older tier');
INSERT INTO shop_requalify (who, amount) VALUES ('two', 100), ('two', 400);
DELETE FROM shop_requalify WHERE who = 'two' AND amount = 400;
SELECT is(pg_temp.history('requalify', 'two'), '{member>gold earned 500,gold>silver reversed 100}', 'a refund of one of two');
SELECT pg_temp.buy('never', 'two', 500);
DELETE FROM shop_never WHERE who = 'two';
SELECT is(pg_temp.tier('never', 'two'), 'gold', 'never: nor by a refund');

-- ---------------------------------------------------------------- ladders

SELECT create_program('ladder', 'Europe/Berlin', 'member:0,silver:100,gold:500', tier_window => 'calendar');
SELECT pg_temp.open_shop('ladder');
INSERT INTO shop_ladder (who, amount) VALUES ('ann', 500), ('bob', 300), ('cy', 100), ('di', 1);
SELECT enrol('ladder', 'eve');
SELECT pg_temp.let_time_pass('ladder', 'eve', '3:gold', pg_temp.year_start(-1), pg_temp.year_start(1));

-- T: a step between two others.
SELECT set_ladder('ladder', 'member:0,silver:100,plus:300,gold:500');
SELECT is(array_agg(pg_temp.tier('ladder', who) ORDER BY who), '{gold,plus,silver,member,gold}', 'a step between two: carried over by name, and up at once')
FROM unnest('{ann,bob,cy,di,eve}'::text[]) who;
SELECT is(loyalty.tier_rank(tier), 4, 'gold is fourth now') FROM account WHERE account_id = pg_temp.account('ladder', 'ann');
SELECT is(pg_temp.history('ladder', 'ann', 2), '{gold>gold ladder 500}', '... which is in the history');
SELECT is(pg_temp.history('ladder', 'bob', 2), '{silver>plus review 300}', 'who reaches the new step has it');
SELECT is(pg_temp.until('ladder', 'eve'), pg_temp.year_start(1), 'last year''s gold ends when it would have');
SELECT is(tier_since, pg_temp.year_start(-1), '... and is held since it was reached') FROM account WHERE account_id = pg_temp.account('ladder', 'eve');
SELECT results_eq($$SELECT tier, tier_rank, metric, next_tier, missing, missing_to_keep FROM tier_progress('ladder', 'bob')$$,
    $$VALUES ('plus', 3, 300::numeric, 'gold', 200::numeric, 0::numeric)$$, 'progress on the new ladder');
-- A refund after it goes down to the new step, and not below what was carried over of last year.
UPDATE shop_ladder SET refunded = 150 WHERE who = 'ann';
SELECT is(pg_temp.tier('ladder', 'ann'), 'plus', 'a refund stops at the new step');
SELECT pg_temp.buy('ladder', 'eve', 10);
UPDATE shop_ladder SET refunded = 5 WHERE who = 'eve';
SELECT is(pg_temp.tier('ladder', 'eve'), 'gold', '... and leaves what is of last year');
UPDATE shop_ladder SET refunded = 0 WHERE who = 'ann';
-- Thresholds: lowered ones raise at once, raised ones lower nobody before his end.
SELECT set_ladder('ladder', 'member:0,silver:100,plus:200,gold:1000');
SELECT is(pg_temp.tier('ladder', 'ann') || pg_temp.tier('ladder', 'bob'), 'goldplus', 'a raised threshold lowers nobody');
SELECT is(missing_to_keep, 500::numeric, '... but to keep it more is missing') FROM tier_progress('ladder', 'ann');
SELECT set_ladder('ladder', 'member:0,silver:1,plus:200,gold:1000');
SELECT is(pg_temp.tier('ladder', 'di'), 'silver', 'a lowered one raises');
-- A step that goes, and one with another name: a tier of last year becomes what asks for no more than it did.
SELECT create_program('steps', 'Europe/Berlin', 'member:0,silver:100,gold:500', tier_window => 'calendar');
SELECT pg_temp.open_shop('steps');
SELECT enrol('steps', who) FROM unnest('{ann,bob,cy}'::text[]) who;
SELECT pg_temp.let_time_pass('steps', who, '3:gold', pg_temp.year_start(-1), pg_temp.year_start(1)) FROM unnest('{ann,bob,cy}'::text[]) who;
SELECT pg_temp.buy('steps', 'bob', 450);
SELECT set_ladder('steps', 'member:0,silver:100,or:500');
SELECT is(pg_temp.history('steps', 'ann'), '{gold>or ladder 0}', 'renamed, a step is still the step');
SELECT is((tier_since, tier_until), (pg_temp.year_start(-1), pg_temp.year_start(1)), '... held since when it was, and until') FROM account WHERE account_id = pg_temp.account('steps', 'ann');
SELECT pg_temp.buy('steps', 'ann', 20);
DELETE FROM shop_steps WHERE who = 'ann';
SELECT is(pg_temp.tier('steps', 'ann'), 'or', '... and a refund leaves it');
SELECT set_ladder('steps', 'member:0,silver:100,gold:400,ruby:600');
SELECT is(pg_temp.tier('steps', 'ann') || pg_temp.until('steps', 'ann'), 'gold' || pg_temp.year_start(1), 'another name and a lower threshold: what 500 reaches');
SELECT is(pg_temp.tier('steps', 'bob') || pg_temp.until('steps', 'bob'), 'gold' || pg_temp.year_start(2), '... and who has reached it himself keeps it as long as that');
SELECT set_ladder('steps', 'member:0,silver:100,ruby:600');
SELECT is(pg_temp.tier('steps', 'ann') || pg_temp.until('steps', 'ann'), 'silver' || pg_temp.year_start(1), 'gone: the step below, for its time');
SELECT set_ladder('steps', 'member:0,plus:200');
SELECT is(pg_temp.tier('steps', 'ann') || pg_temp.tier('steps', 'bob'), 'memberplus', 'nothing below but what asks for nothing; the metric may reach more');
SELECT set_ladder('ladder', 'member:0,silver:1,gold:1000');
SELECT is(pg_temp.tier('ladder', 'bob'), 'silver', 'a step that is gone: the one below');
SELECT set_ladder('ladder', 'member:0,silver:1,or:400');
SELECT is(pg_temp.tier('ladder', 'ann'), 'or', 'a step renamed');
SELECT is(pg_temp.until('ladder', 'ann'), pg_temp.year_start(2), '... for its time');
SELECT is((SELECT count(*) FROM account a JOIN member m USING (member_id) JOIN program p USING (program_id)
    WHERE p.code = 'ladder' AND loyalty.tier_rank(a.tier) <> (SELECT rank FROM loyalty.tiers(p.ladder) t WHERE t.name = loyalty.tier_name(a.tier))),
    0::bigint, 'ranks are those of the ladder');
-- The lowest step asks for something from now on: it is kept for its time only, too.
SELECT enrol('ladder', 'fay');
SELECT is(pg_temp.until('ladder', 'fay'), NULL, 'the lowest has no end while it asks for nothing');
SELECT set_ladder('ladder', 'member:1,silver:100,or:400');
SELECT is(pg_temp.tier('ladder', 'fay') || pg_temp.until('ladder', 'fay'), 'member' || pg_temp.year_start(2), '... and one when it asks for something');
SELECT throws_ok($$SELECT set_ladder('ladder', NULL)$$, 'LY101');
SELECT throws_ok($$SELECT set_ladder('nothing', 'member:0')$$, 'LY001');

-- A program's first ladder: existing members are counted from the ledger. Programs that had the ladder
-- from the start, on the same table, say what must come out.
SELECT create_program('late', 'Europe/Berlin');
SELECT enrol('late', 'ann');
SELECT is((SELECT tier FROM tier_progress('late', 'ann')), NULL, 'no ladder, no tier');
SELECT set_ladder('late', 'member:0,silver:100');
SELECT is(pg_temp.tier('late', 'ann'), 'member', 'a first ladder gives the tier that asks for nothing');

CREATE TABLE public.shop_late (id int PRIMARY KEY, who text, amount numeric(12,2), refunded numeric(12,2) NOT NULL DEFAULT 0,
    status text NOT NULL DEFAULT 'paid', at timestamptz NOT NULL);
CREATE TEMP TABLE late_program AS SELECT metric || '_' || win AS code, metric, win
    FROM unnest('{points,spend,visits}'::text[]) metric, unnest('{lifetime,calendar,anniversary,rolling}'::text[]) win;
SELECT create_program(v || '_' || code, 'Europe/Berlin', CASE v WHEN 'early' THEN 'member:0,silver:100,gold:500'::ladder END,
    tier_metric => metric, tier_window => win) FROM late_program, unnest('{early,late}'::text[]) v;
SELECT add_rule(v || '_' || code, 'base', points_per => 1), add_rule(v || '_' || code, 'plus', bonus => 5) FROM late_program, unnest('{early,late}'::text[]) v;
SELECT enrol(v || '_' || code, 'ann', pg_temp.year_start(-3) + interval '40 days'), enrol(v || '_' || code, 'fay', pg_temp.year_start(-3) + interval '40 days')
FROM late_program, unnest('{early,late}'::text[]) v;
SELECT attach('public.shop_late', v || '_' || code, 'who', 'amount', 'at', status => 'status', earning => '{paid}', refunded => 'refunded')
FROM late_program, unnest('{early,late}'::text[]) v;
INSERT INTO public.shop_late (id, who, amount, at) VALUES (1, 'ann', 300, now()), (2, 'ann', 80, pg_temp.year_start(-1)), (3, 'ann', 9, pg_temp.year_start(-2) + interval '39 days'),
    (4, 'bob', 600, now()), (5, 'bob', 40, now()), (6, 'cy', 120, now()), (7, 'cy', 90, pg_temp.year_start(-1) + interval '50 days'), (8, 'eve', 0, now()),
    (9, 'fay', 500, pg_temp.year_start(-1) + interval '60 days');
-- Refunded, spent before, cancelled and paid after all, deleted, given to another member, another key twice.
SELECT redeem(v || '_' || code, 'ann', 350) FROM late_program, unnest('{early,late}'::text[]) v;
UPDATE public.shop_late SET refunded = 50 WHERE id = 1;
UPDATE public.shop_late SET status = 'cancelled' WHERE id = 4;
UPDATE public.shop_late SET status = 'paid' WHERE id = 4;
DELETE FROM public.shop_late WHERE id = 5;
UPDATE public.shop_late SET who = 'di' WHERE id = 6;
UPDATE public.shop_late SET id = 70 WHERE id = 7;
UPDATE public.shop_late SET id = 71 WHERE id = 70;
UPDATE public.shop_late SET refunded = 10 WHERE id = 71;
SELECT is_empty($$SELECT program FROM tier_history WHERE program LIKE 'late\_%'$$, 'nothing is counted without a ladder');
SELECT set_ladder('late_' || code, 'member:0,silver:100,gold:500') FROM late_program;
CREATE FUNCTION pg_temp.counted(version text) RETURNS TABLE (program text, member text, bucket timestamptz, metric numeric) LANGUAGE sql AS $$
    SELECT substr(p.code, length(version) + 2), m.member::text, b.bucket, b.metric::numeric FROM loyalty.tier_progress_bucket b JOIN loyalty.account a USING (account_id)
        JOIN loyalty.member m USING (member_id) JOIN loyalty.program p USING (program_id)
    WHERE p.code LIKE version || '\_%' AND b.metric <> 0 ORDER BY 1, 2, 3
$$;
SELECT results_eq($$SELECT * FROM pg_temp.counted('late')$$, $$SELECT * FROM pg_temp.counted('early')$$, 'what is counted late is what was counted early');
SELECT is((SELECT count(DISTINCT program) FROM pg_temp.counted('late')), 12::bigint, '... of all metrics and windows');
-- By hand: 300 - 50 + 80 + 9 and three bonuses, of which a refund takes floor(5 * 50 / 300) = 0.
SELECT results_eq($$SELECT program, member, metric FROM pg_temp.counted('late') WHERE program LIKE '%lifetime'$$,
    $$VALUES ('points_lifetime', 'ann', 354::numeric), ('points_lifetime', 'bob', 605), ('points_lifetime', 'cy', 85), ('points_lifetime', 'di', 125), ('points_lifetime', 'eve', 5),
        ('points_lifetime', 'fay', 505), ('spend_lifetime', 'ann', 339), ('spend_lifetime', 'bob', 600), ('spend_lifetime', 'cy', 80), ('spend_lifetime', 'di', 120), ('spend_lifetime', 'fay', 500),
        ('visits_lifetime', 'ann', 3), ('visits_lifetime', 'bob', 1), ('visits_lifetime', 'cy', 1), ('visits_lifetime', 'di', 1), ('visits_lifetime', 'eve', 1), ('visits_lifetime', 'fay', 1)$$,
    '... as reckoned by hand');
SELECT results_eq($$SELECT member, metric FROM pg_temp.counted('late') WHERE program = 'spend_anniversary' AND member = 'ann'$$,
    $$VALUES ('ann', 9::numeric), ('ann', 80), ('ann', 250)$$, '... each order in its member''s own year');
SELECT is(array_agg(pg_temp.tier('late_spend_' || win, who) ORDER BY win, who), '{silver,gold,member,silver,gold,member}', 'the tiers, of the calendar year and of a lifetime')
FROM unnest('{calendar,lifetime}'::text[]) win, unnest('{ann,bob,cy}'::text[]) who;
-- Gold of last year, had the ladder been there, would be kept until the end of this one.
SELECT is(pg_temp.tier('late_points_calendar', 'fay') || pg_temp.until('late_points_calendar', 'fay'), 'gold' || pg_temp.year_start(1), 'what last year reached is kept this year');
SELECT is(pg_temp.history('late_points_calendar', 'fay'), '{none>gold review 505}', '... as a change of its own');
SELECT is(pg_temp.tier('late_points_calendar', 'bob') || pg_temp.until('late_points_calendar', 'bob'), 'gold' || pg_temp.year_start(2), 'what this year reached, next year, too');
SELECT set_ladder('late_points_lifetime', 'member:0,silver:100,gold:500,ruby:600');
SELECT is(pg_temp.tier('late_points_lifetime', 'bob') || pg_temp.metric('late_points_lifetime', 'bob'), 'ruby605', 'the next ladder counts nothing anew');
UPDATE public.shop_late SET refunded = 100 WHERE id = 4;
SELECT is(pg_temp.metric('late_spend_rolling', 'bob'), 500::numeric, 'and what comes goes on from there');

-- An order that was given another date before there was a ladder: the ledger has it by its first one.
SELECT create_program('redated', tier_window => 'calendar', tier_metric => 'spend');
SELECT pg_temp.open_shop('redated');
SELECT pg_temp.buy('redated', 'ann', 50, date_trunc('year', now()) - interval '1 day');
UPDATE shop_redated SET at = now();
SELECT set_ladder('redated', 'member:0,silver:100');
SELECT is(pg_temp.metric('redated', 'ann') || ' ' || pg_temp.metric('redated', 'ann', date_trunc('year', now()) - interval '1 day'), '0 50', 'an order redated before the ladder');

-- ---------------------------------------------------------------- purchases that change their time

-- 100 bought this year, moved back a year, and taken back: nothing is left anywhere.
SELECT create_program('moved', ladder => 'member:0, silver:100', tier_window => 'calendar');
SELECT pg_temp.open_shop('moved');
SELECT pg_temp.buy('moved', 'ann', 100, date_trunc('year', now()));
SELECT is(pg_temp.tier('moved', 'ann'), 'silver', 'bought this year');
UPDATE public.shop_moved SET at = at - interval '1 month';
SELECT results_eq($$SELECT p.metric FROM tier_progress('moved', 'ann') p$$, ARRAY[0::numeric], 'moved to last year, it counts there');
SELECT is((SELECT sum(b.metric) FROM tier_progress_bucket b JOIN account a USING (account_id) JOIN member m USING (member_id)
    JOIN program p USING (program_id) WHERE p.code = 'moved'), '100', 'and once');
DELETE FROM public.shop_moved;
SELECT is((SELECT count(*) FROM tier_progress_bucket b JOIN account a USING (account_id) JOIN member m USING (member_id)
    JOIN program p USING (program_id) WHERE p.code = 'moved' AND b.metric <> 0), 0::bigint, 'deleted, it counts nowhere');

-- A bonus that is never taken back: visits follow the row all the same.
SELECT create_program('visited', ladder => 'member:0, regular:1', tier_metric => 'visits');
SELECT add_rule('visited', 'welcome', bonus => 5, reversal => 'never');
CREATE TABLE public.visit (id int PRIMARY KEY, who text, status text);
SELECT attach('public.visit', 'visited', 'who', status => 'status', earning => '{paid}');
CREATE FUNCTION pg_temp.visits() RETURNS numeric LANGUAGE sql AS $$SELECT p.metric FROM loyalty.tier_progress('visited', 'ann') p$$;
INSERT INTO public.visit VALUES (1, 'ann', 'paid');
SELECT is(pg_temp.visits(), 1::numeric, 'paid: a visit');
UPDATE public.visit SET status = 'cancelled';
SELECT is(pg_temp.visits(), 0::numeric, 'cancelled: none');
UPDATE public.visit SET status = 'paid';
SELECT is(pg_temp.visits(), 1::numeric, 'paid after all: one again');
UPDATE public.visit SET status = 'cancelled';
DELETE FROM public.visit;
SELECT is(pg_temp.visits(), 0::numeric, 'cancelled and deleted: none, not less');

-- ---------------------------------------------------------------- the ledger's own

SELECT throws_ok($$DELETE FROM loyalty.tier_change$$, 'LY401');
SELECT throws_ok($$UPDATE loyalty.tier_progress_bucket SET metric = 0$$, 'LY401');
SELECT is((SELECT count(*) FROM (SELECT a.account_id, a.tier, (SELECT h.to_tier FROM tier_change h WHERE h.account_id = a.account_id ORDER BY change_no DESC LIMIT 1) AS last
    FROM account a WHERE EXISTS (SELECT FROM tier_change h WHERE h.account_id = a.account_id)) t WHERE tier IS DISTINCT FROM last), 0::bigint,
    'the last change of each account says its tier');
SELECT throws_ok($$CALL review_tiers(batch => 0)$$, 'LY306');
SELECT throws_ok($$CALL review_tiers('nothing')$$, 'LY001');

SELECT * FROM finish();
ROLLBACK;
