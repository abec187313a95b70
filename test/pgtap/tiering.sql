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
-- >>> more
SELECT * FROM finish();
ROLLBACK;
