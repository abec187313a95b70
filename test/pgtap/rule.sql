-- Rules: what an event earns by them, their versions, and what is refused.
BEGIN;
\ir include/books.psql
SET search_path = shop, public, loyalty;
SET timezone = 'UTC';

SELECT plan(112);

-- Rounding, to each number of decimals. Half the amount, so that ties are met at every digit;
-- expected values by Python's decimal.quantize.

SELECT loyalty.create_program('rounded', currency => 'd0') AS x \gset
SELECT loyalty.create_currency('rounded', 'd' || d, decimals => d) FROM generate_series(1, 4) d \g /dev/null
SELECT loyalty.add_rule('rounded', rounding || d, points_per => 0.5, rounding => rounding, currency => 'd' || d)
FROM unnest(ARRAY['floor', 'ceil', 'half_up', 'half_even']) rounding, generate_series(0, 4) d \g /dev/null
CREATE TABLE amounts (n int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer text DEFAULT 'ann', total numeric);
SELECT loyalty.attach('amounts', 'rounded', 'customer', 'total') AS x \gset
INSERT INTO amounts (total) SELECT unnest('{0,0.0001,0.0003,0.1,0.125,0.25,0.27,0.5,0.7,1,3,4.9999,5,7,999999999999.9999}'::numeric[]);
SELECT is((SELECT array_agg(points ORDER BY event::int) FROM loyalty.entries WHERE rule = rounding || decimals), points,
          format('%s to %s decimals', rounding, decimals))
FROM (VALUES
    ('floor', 0, '{0,0,0,0,0,0,0,0,0,0,1,2,2,3,499999999999}'::numeric[]),
    ('floor', 1, '{0,0,0,0,0,0.1,0.1,0.2,0.3,0.5,1.5,2.4,2.5,3.5,499999999999.9}'),
    ('floor', 2, '{0,0,0,0.05,0.06,0.12,0.13,0.25,0.35,0.5,1.5,2.49,2.5,3.5,499999999999.99}'),
    ('floor', 3, '{0,0,0,0.05,0.062,0.125,0.135,0.25,0.35,0.5,1.5,2.499,2.5,3.5,499999999999.999}'),
    ('floor', 4, '{0,0,0.0001,0.05,0.0625,0.125,0.135,0.25,0.35,0.5,1.5,2.4999,2.5,3.5,499999999999.9999}'),
    ('ceil', 0, '{0,1,1,1,1,1,1,1,1,1,2,3,3,4,500000000000}'),
    ('ceil', 1, '{0,0.1,0.1,0.1,0.1,0.2,0.2,0.3,0.4,0.5,1.5,2.5,2.5,3.5,500000000000}'),
    ('ceil', 2, '{0,0.01,0.01,0.05,0.07,0.13,0.14,0.25,0.35,0.5,1.5,2.5,2.5,3.5,500000000000}'),
    ('ceil', 3, '{0,0.001,0.001,0.05,0.063,0.125,0.135,0.25,0.35,0.5,1.5,2.5,2.5,3.5,500000000000}'),
    ('ceil', 4, '{0,0.0001,0.0002,0.05,0.0625,0.125,0.135,0.25,0.35,0.5,1.5,2.5,2.5,3.5,500000000000}'),
    ('half_up', 0, '{0,0,0,0,0,0,0,0,0,1,2,2,3,4,500000000000}'),
    ('half_up', 1, '{0,0,0,0.1,0.1,0.1,0.1,0.3,0.4,0.5,1.5,2.5,2.5,3.5,500000000000}'),
    ('half_up', 2, '{0,0,0,0.05,0.06,0.13,0.14,0.25,0.35,0.5,1.5,2.5,2.5,3.5,500000000000}'),
    ('half_up', 3, '{0,0,0,0.05,0.063,0.125,0.135,0.25,0.35,0.5,1.5,2.5,2.5,3.5,500000000000}'),
    ('half_up', 4, '{0,0.0001,0.0002,0.05,0.0625,0.125,0.135,0.25,0.35,0.5,1.5,2.5,2.5,3.5,500000000000}'),
    ('half_even', 0, '{0,0,0,0,0,0,0,0,0,0,2,2,2,4,500000000000}'),
    ('half_even', 1, '{0,0,0,0,0.1,0.1,0.1,0.2,0.4,0.5,1.5,2.5,2.5,3.5,500000000000}'),
    ('half_even', 2, '{0,0,0,0.05,0.06,0.12,0.14,0.25,0.35,0.5,1.5,2.5,2.5,3.5,500000000000}'),
    ('half_even', 3, '{0,0,0,0.05,0.062,0.125,0.135,0.25,0.35,0.5,1.5,2.5,2.5,3.5,500000000000}'),
    ('half_even', 4, '{0,0,0.0002,0.05,0.0625,0.125,0.135,0.25,0.35,0.5,1.5,2.5,2.5,3.5,500000000000}')) v (rounding, decimals, points);
DELETE FROM amounts;
SELECT is((SELECT sum(available) FROM loyalty.balances WHERE program = 'rounded'), 0::numeric, 'and all back again');

SELECT loyalty.create_program('edges', decimals => 4) AS x \gset
SELECT loyalty.add_rule('edges', 'least', points_per => 0.000000001) AS x \gset
SELECT loyalty.add_rule('edges', 'most', points_per => 1000000000) AS x \gset
CREATE TABLE edges (id int PRIMARY KEY, customer text, total numeric);
SELECT loyalty.attach('edges', 'edges', 'customer', 'total') AS x \gset
INSERT INTO edges VALUES (1, 'ann', 0.0001);
SELECT is(t.has('ann', 'edges'), 100000::numeric, 'the largest factor, of the smallest amount');
UPDATE edges SET total = 922337;
SELECT is((SELECT sum(points) FROM loyalty.entries WHERE rule = 'least'), 0.0009::numeric, 'the smallest factor: 0.000922337');
SELECT is(t.refusal('UPDATE edges SET total = 922338'), 'LY201', 'more points than can be counted');
SELECT is(t.refusal('INSERT INTO edges VALUES (2, ''bob'', 922337203685477)'), 'LY201', 'by far');

-- Refunds, by rounding: 10 points for 3, one and two thirds back; 5 points for 2, half back.

SELECT loyalty.create_program('thirds') AS x \gset
SELECT loyalty.add_rule('thirds', rounding, bonus => 10, rounding => rounding, kind => 'ten') FROM unnest(ARRAY['floor', 'ceil', 'half_up', 'half_even']) rounding \g /dev/null
SELECT loyalty.add_rule('thirds', rounding || '5', bonus => 5, rounding => rounding, kind => 'five') FROM unnest(ARRAY['floor', 'ceil', 'half_up', 'half_even']) rounding \g /dev/null
CREATE TABLE tens (id int PRIMARY KEY, customer text, total int, refunded int);
CREATE TABLE fives (LIKE tens INCLUDING ALL);
SELECT loyalty.attach('tens', 'thirds', 'customer', 'total', refunded => 'refunded', kind => 'ten') AS x \gset
SELECT loyalty.attach('fives', 'thirds', 'customer', 'total', refunded => 'refunded', kind => 'five') AS x \gset
CREATE FUNCTION t.by_rule(program text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(points::text, ' ' ORDER BY rule_id) FROM (
        SELECT e.rule_id, sum(e.points) AS points FROM loyalty.entry e JOIN loyalty.rule r USING (rule_id)
        JOIN loyalty.program p ON p.program_id = r.program_id
        WHERE p.code = by_rule.program GROUP BY e.rule_id) s
$$;
INSERT INTO tens VALUES (1, 'ann', 3, 0);
UPDATE tens SET refunded = 1;
SELECT is(t.by_rule('thirds'), '7 6 7 7', 'a third refunded: 3.33 of 10 are taken, rounded as the rule says');
UPDATE tens SET refunded = 2;
SELECT is(t.by_rule('thirds'), '4 3 3 3', 'two thirds: 6.67');
UPDATE tens SET refunded = 3;
SELECT is(t.by_rule('thirds'), '0 0 0 0', 'all');
INSERT INTO fives VALUES (1, 'bob', 2, 1);
SELECT is(t.by_rule('thirds'), '0 0 0 0 3 2 2 3', 'half of 5 taken: 2, 3, 3, 2');
UPDATE fives SET total = 4, refunded = 1;
SELECT is(t.by_rule('thirds'), '0 0 0 0 4 3 4 4', 'a quarter of 5: 1.25');

-- Bonuses and how they are reversed

SELECT loyalty.create_program('bonus') AS x \gset
SELECT loyalty.add_rule('bonus', reversal, bonus => 50, reversal => reversal) FROM unnest(ARRAY['proportional', 'all_or_nothing', 'never']) reversal \g /dev/null
CREATE TABLE sales (id int PRIMARY KEY, customer text, total numeric, refunded numeric DEFAULT 0, status text DEFAULT 'paid', at timestamptz DEFAULT '2024-01-01 00:00+00');
SELECT loyalty.attach('sales', 'bonus', 'customer', 'total', event_time => 'at', refunded => 'refunded', status => 'status', earning => '{paid}') AS x \gset
INSERT INTO sales VALUES (1, 'ann', 100);
SELECT is(t.by_rule('bonus'), '50 50 50', 'a bonus does not hang on the amount');
UPDATE sales SET refunded = 30;
SELECT is(t.by_rule('bonus'), '35 50 50', 'three tenths refunded');
UPDATE sales SET refunded = 99.9999;
SELECT is(t.by_rule('bonus'), '1 50 50', 'nearly all: floor(49.99995) = 49');
UPDATE sales SET refunded = 100;
SELECT is(t.by_rule('bonus'), '0 0 50', 'all');
UPDATE sales SET refunded = 0;
SELECT is(t.by_rule('bonus'), '50 50 50', 'none');
UPDATE sales SET total = 250;
SELECT is(t.by_rule('bonus'), '50 50 50', 'another amount');
UPDATE sales SET status = 'void';
SELECT is(t.by_rule('bonus'), '0 0 50', 'void: what is never reversed stays');
UPDATE sales SET status = 'void', refunded = 20;
UPDATE sales SET status = 'paid', refunded = 0;
SELECT is(t.by_rule('bonus'), '50 50 50', 'paid again: it is not given twice');
SELECT is(t.has('ann', 'bonus'), 150::numeric, 'as the balance says');
UPDATE sales SET customer = 'bob';
SELECT is(ARRAY[t.has('ann', 'bonus'), t.has('bob', 'bonus')], ARRAY[0, 150]::numeric[], 'it moves to another member with its row');
UPDATE sales SET customer = 'ann', refunded = 125;
SELECT is(ARRAY[t.has('ann', 'bonus'), t.has('bob', 'bonus')], ARRAY[125, 0]::numeric[], 'and back, with half refunded');
UPDATE sales SET id = 2;
DELETE FROM sales;
SELECT is(t.has('ann', 'bonus'), 50::numeric, 'deleted: it stays');
INSERT INTO sales VALUES (2, 'ann', 10);
SELECT is(t.has('ann', 'bonus'), 200::numeric, 'a new row under the key has its own');
UPDATE sales SET total = 20;
SELECT is(t.has('ann', 'bonus'), 200::numeric, 'which it keeps');
UPDATE sales SET customer = NULL;
SELECT is(t.has('ann', 'bonus'), 100::numeric, 'a guest''s: as deleted');
DELETE FROM sales;
INSERT INTO sales VALUES (3, 'cat', 0);
SELECT is(t.has('cat', 'bonus'), 150::numeric, 'an amount of nothing has the bonus all the same');
DELETE FROM sales;
SELECT is(t.has('cat', 'bonus'), 50::numeric, 'and loses it as any other');
SELECT t.books_hold('bonuses');

-- Several rules, in several currencies

SELECT loyalty.create_program('mixed') AS x \gset
SELECT loyalty.create_currency('mixed', 'miles', decimals => 2) AS x \gset
SELECT loyalty.add_rule('mixed', 'base', points_per => 1) AS x \gset
SELECT loyalty.add_rule('mixed', 'tenth', points_per => 0.1, rounding => 'half_up') AS x \gset
SELECT loyalty.add_rule('mixed', 'fly', points_per => 0.5, currency => 'miles') AS x \gset
SELECT loyalty.add_rule('mixed', 'summer', bonus => '7.25', currency => 'miles', valid => '[2024-06-01 00:00+00, 2024-09-01 00:00+00)') AS x \gset
CREATE TABLE flights (id int PRIMARY KEY, customer text, total numeric, at timestamptz DEFAULT '2024-01-01 00:00+00');
SELECT loyalty.attach('flights', 'mixed', 'customer', 'total', event_time => 'at') AS x \gset
CREATE FUNCTION t.both(member text) RETURNS numeric[] LANGUAGE sql AS $$
    SELECT ARRAY[t.has(member, 'mixed'), t.has(member, 'mixed', 'miles')]
$$;
INSERT INTO flights VALUES (1, 'ann', 99.99);
SELECT is(t.both('ann'), '{109,49.99}'::numeric[], '99 + round(9.999), and 49.995 miles to two decimals');
INSERT INTO flights VALUES (2, 'ann', 1, '2024-07-01 00:00+00');
SELECT is(t.both('ann'), '{110,57.74}'::numeric[], '1 + round(0.1), and 0.50 + 7.25 miles');
UPDATE flights SET customer = 'bob', total = 2 WHERE id = 2;
SELECT is(ARRAY[t.both('ann'), t.both('bob')], '{{109,49.99},{2,8.25}}'::numeric[], 'a move takes the awards of all currencies along');
UPDATE flights SET at = '2024-08-31 23:59:59.999999+00' WHERE id = 1;
SELECT is(t.both('ann'), '{109,57.24}'::numeric[], 'a move in time gives those of its time');
UPDATE flights SET at = '2024-09-01 00:00+00';
SELECT is(ARRAY[t.both('ann'), t.both('bob')], '{{109,49.99},{2,1.00}}'::numeric[], 'and takes them');
SELECT is((SELECT count(*) FROM loyalty.account JOIN loyalty.currency USING (currency_id) WHERE code = 'miles'), 2::bigint, 'each has an account of miles');
INSERT INTO flights VALUES (3, NULL, 1);
DELETE FROM flights;
SELECT is(ARRAY[t.both('ann'), t.both('bob')], '{{0,0},{0,0}}'::numeric[], 'nothing is left in any currency');
SELECT t.books_hold('currencies');

-- When a rule is in force

SELECT loyalty.create_program('windows') AS x \gset
SELECT loyalty.add_rule('windows', 'r1', points_per => 1, valid => '[2024-01-01 00:00+00, 2024-02-01 00:00+00)') AS x \gset
SELECT loyalty.add_rule('windows', 'r2', points_per => 10, valid => '(2024-01-01 00:00+00, 2024-02-01 00:00+00]') AS x \gset
SELECT loyalty.add_rule('windows', 'r3', points_per => 100, valid => '(, 2024-01-01 00:00+00)') AS x \gset
SELECT loyalty.add_rule('windows', 'r4', points_per => 1000, valid => '[2024-02-01 00:00+00, infinity]') AS x \gset
SELECT loyalty.add_rule('windows', 'r5', points_per => 10000, valid => '(infinity,)') AS x \gset
SELECT loyalty.add_rule('windows', 'r6', points_per => 100000, valid => '[2024-01-15 12:00+00, 2024-01-15 12:00+00]') AS x \gset
CREATE TABLE moments (id int PRIMARY KEY, customer text, at timestamptz);
SELECT loyalty.attach('moments', 'windows', 'customer', event_time => 'at') AS x \gset
INSERT INTO moments VALUES
    (1, 'ann', '2023-12-31 23:59:59.999999+00'), (2, 'ann', '2024-01-01 00:00+00'), (3, 'ann', '2024-01-01 00:00:00.000001+00'),
    (4, 'ann', '2024-01-15 12:00+00'), (5, 'ann', '2024-01-31 23:59:59.999999+00'), (6, 'ann', '2024-02-01 00:00+00'),
    (7, 'ann', '2024-02-01 00:00:00.000001+00'), (8, 'ann', '9999-01-01 00:00+00'), (9, 'ann', '0001-01-01 00:00+00');
SELECT is(t.rows($$SELECT event::int, sum(points) FROM loyalty.entries WHERE program = 'windows' GROUP BY 1 ORDER BY 1$$),
    '(1,100) (2,1) (3,11) (4,100011) (5,11) (6,1010) (7,1000) (8,1000) (9,100)', 'bounds that are in and bounds that are not');

-- Versions

SELECT loyalty.create_program('versions') AS x \gset
SELECT loyalty.add_rule('versions', 'base', points_per => 1, rounding => 'ceil', kind => 'purchase') AS v1 \gset
CREATE TABLE bills (id int PRIMARY KEY, customer text, total numeric, at timestamptz);
SELECT loyalty.attach('bills', 'versions', 'customer', 'total', event_time => 'at') AS x \gset
INSERT INTO bills VALUES (1, 'ann', 10, '2024-07-01 00:00+00');
SELECT loyalty.change_rule('versions', 'base', points_per => 2, at => '2024-06-01 00:00+00') AS v2 \gset
SELECT is(t.has('ann', 'versions'), 10::numeric, 'history is not rewritten by a new version');
UPDATE bills SET total = 20 WHERE id = 1;
SELECT is(t.has('ann', 'versions'), 20::numeric, 'a row is re-rated by the version that is recorded for it');
INSERT INTO bills VALUES (2, 'bob', 10, '2024-05-31 23:59:59.999999+00'), (3, 'bob', 100, '2024-06-01 00:00+00');
SELECT is(t.has('bob', 'versions'), 210::numeric, 'late rows earn by the version of their time');
SELECT loyalty.change_rule('versions', 'base', bonus => 7, at => '2024-09-01 00:00+00') AS v3 \gset
SELECT loyalty.change_rule('versions', 'base', at => '2024-10-01 00:00+00', reversal => 'never') AS v4 \gset
INSERT INTO bills VALUES (4, 'cat', 10.5, '2024-08-31 00:00+00'), (5, 'cat', 10.5, '2024-09-30 00:00+00'), (6, 'cat', 10.5, '2024-11-01 00:00+00');
SELECT is(t.story('cat', 'versions'), 'earn 21, earn 7, earn 7', 'the third version gives a bonus, the fourth never takes it back');
DELETE FROM bills WHERE customer = 'cat';
SELECT is(t.has('cat', 'versions'), 7::numeric, 'each by its own');
SELECT loyalty.change_rule('versions', 'base', points_per => 0.5, at => '2025-01-01 00:00+00') AS v5 \gset
SELECT loyalty.end_rule('versions', 'base', '2025-02-01 00:00+00') AS x \gset
INSERT INTO bills VALUES (7, 'dot', 3, '2025-01-31 00:00+00'), (8, 'dot', 3, '2025-02-01 00:00+00');
SELECT is(t.story('dot', 'versions'), 'earn 2', 'rounding (up: 1.5) is kept by a change; after its end it earns nothing');
UPDATE bills SET at = '2024-06-15 00:00+00' WHERE customer = 'dot';
SELECT is(t.has('dot', 'versions'), 12::numeric, 'rows moved into another version''s time: twice 2 * 3');
SELECT is(t.rows($$SELECT version, points_per, bonus, rounding, reversal, kind, valid FROM loyalty.rule r JOIN loyalty.program p USING (program_id)
                   WHERE p.code = 'versions' ORDER BY version$$),
    '(1,1,,ceil,proportional,purchase,"(,""2024-06-01 00:00:00+00"")")'
    ' (2,2,,ceil,proportional,purchase,"[""2024-06-01 00:00:00+00"",""2024-09-01 00:00:00+00"")")'
    ' (3,,7,ceil,proportional,purchase,"[""2024-09-01 00:00:00+00"",""2024-10-01 00:00:00+00"")")'
    ' (4,,7,ceil,never,purchase,"[""2024-10-01 00:00:00+00"",""2025-01-01 00:00:00+00"")")'
    ' (5,0.5,,ceil,proportional,purchase,"[""2025-01-01 00:00:00+00"",""2025-02-01 00:00:00+00"")")',
    'versions follow each other');
-- What is never reversed goes along when its row comes under another version.
SELECT loyalty.add_rule('versions', 'gift', bonus => 5, reversal => 'never', valid => '[2030-01-01 00:00+00,)') AS x \gset
SELECT loyalty.change_rule('versions', 'gift', bonus => 9, at => '2031-01-01 00:00+00') AS x \gset
INSERT INTO bills VALUES (9, 'eli', 0, '2030-05-01 00:00+00');
UPDATE bills SET at = '2031-05-01 00:00+00' WHERE customer = 'eli';
SELECT is(t.has('eli', 'versions'), 9::numeric, 'a bonus of one version does not stay beside that of the next');
SELECT t.books_hold('versions');

-- A rule of another kind or program is nobody's business, and one that comes after does not look back.
SELECT loyalty.create_program('empty') AS x \gset
SELECT loyalty.attach('bills', 'empty', 'customer', 'total', event_time => 'at') AS x \gset
INSERT INTO bills VALUES (10, 'fay', 10, '2024-01-01 00:00+00');
SELECT is((SELECT count(*) FROM loyalty.entries WHERE program = 'empty'), 0::bigint, 'a program without rules gives nothing');
SELECT loyalty.add_rule('empty', 'base', points_per => 1) AS x \gset
UPDATE bills SET total = 11 WHERE id = 10;
SELECT is(t.has('fay', 'empty'), 0::numeric, 'a rule that comes later does not rate what was there');
SELECT ok(loyalty.backfill('bills', 'empty') > 0, 'a backfill does');
SELECT is(t.has('fay', 'empty'), 11::numeric, 'by the time of the row');

-- Bad input

CREATE FUNCTION t.counts() RETURNS text LANGUAGE sql AS $$
    SELECT format('%s %s', count(*), md5(string_agg(r::text, ',' ORDER BY rule_id))) FROM loyalty.rule r
$$;
SELECT t.counts() AS before \gset
SELECT is(t.refusal($$SELECT loyalty.add_rule('nowhere', 'x', points_per => 1)$$), 'LY001', 'a program that is not there');
SELECT is(t.refusal($$SELECT loyalty.add_rule(NULL, 'x', points_per => 1)$$), 'LY001', 'no program');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', '', points_per => 1)$$), 'LY102', 'a name of no letters');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', NULL, points_per => 1)$$), 'LY102', 'no name');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'base', points_per => 1)$$), 'LY009', 'a name that is taken');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'x')$$), 'LY102', 'a rule with nothing to give');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'x', points_per => 1, bonus => 1)$$), 'LY102', 'a rule with both');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'x', points_per => 0)$$), 'LY102', 'a factor of zero');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'x', points_per => -1)$$), 'LY102', 'a negative one');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'x', points_per => 'NaN')$$), 'LY102', 'not a number');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'x', points_per => 'Infinity')$$), 'LY102', 'an infinite one');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'x', points_per => 1000000000.1)$$), 'LY102', 'a huge one');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'x', points_per => 0.0000000001)$$), 'LY102', 'one too fine');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'x', points_per => 1.0000000000)$$), 'accepted', 'but not for zeros at its end');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'y', bonus => 0)$$), 'LY102', 'a bonus of nothing');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'y', bonus => -5)$$), 'LY102', 'a negative one');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'y', bonus => '0.5')$$), 'LY102', 'one finer than the currency');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'y', points_per => 1, rounding => 'up')$$), 'LY102', 'an unknown rounding');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'y', points_per => 1, rounding => NULL)$$), 'LY102', 'no rounding');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'y', points_per => 1, stage => 'order')$$), 'LY102', 'an unknown stage');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'y', points_per => 1, stage => NULL)$$), 'LY102', 'no stage');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'y', bonus => 1, reversal => 'maybe')$$), 'LY102', 'an unknown reversal');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'y', bonus => 1, reversal => NULL)$$), 'LY102', 'no reversal');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'y', points_per => 1, reversal => 'never')$$), 'LY102', 'points per unit that are never reversed');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'y', points_per => 1, valid => 'empty')$$), 'LY102', 'a rule for no time at all');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'y', points_per => 1, valid => '[2024-01-01 00:00+00,2024-01-01 00:00+00)')$$), 'LY102', 'from now until now');
SELECT is(t.refusal($$SELECT loyalty.add_rule('versions', 'y', points_per => 1, currency => 'gold')$$), 'LY003', 'a currency that is not there');
SELECT is(t.refusal($$SELECT loyalty.change_rule('versions', 'nothing', points_per => 1)$$), 'LY005', 'changing a rule that is not there');
SELECT is(t.refusal($$SELECT loyalty.change_rule('nowhere', 'base', points_per => 1)$$), 'LY001', 'of a program that is not there');
SELECT is(t.refusal($$SELECT loyalty.change_rule('versions', 'base', points_per => 1, at => '2024-12-31 00:00+00')$$), 'LY102', 'before its newest version');
SELECT is(t.refusal($$SELECT loyalty.change_rule('versions', 'base', points_per => 1, at => '2025-01-01 00:00+00')$$), 'LY102', 'at its very start');
SELECT is(t.refusal($$SELECT loyalty.change_rule('versions', 'base', points_per => 1, at => '2025-02-01 00:00+00')$$), 'LY102', 'at its end');
SELECT is(t.refusal($$SELECT loyalty.change_rule('versions', 'base', points_per => 1, at => '2026-01-01 00:00+00')$$), 'LY102', 'after it');
SELECT is(t.refusal($$SELECT loyalty.change_rule('versions', 'gift', bonus => 1, at => 'infinity')$$), 'LY102', 'at no time');
SELECT is(t.refusal($$SELECT loyalty.change_rule('versions', 'gift', bonus => 1, at => NULL)$$), 'LY102', 'at an unknown time');
SELECT is(t.refusal($$SELECT loyalty.change_rule('versions', 'gift', points_per => 1, bonus => 1, at => '2040-01-01 00:00+00')$$), 'LY102', 'to both');
SELECT is(t.refusal($$SELECT loyalty.change_rule('versions', 'gift', points_per => 1, reversal => 'never', at => '2040-01-01 00:00+00')$$), 'LY102', 'to points per unit that are never reversed');
SELECT is(t.refusal($$SELECT loyalty.end_rule('versions', 'nothing')$$), 'LY005', 'ending a rule that is not there');
SELECT is(t.refusal($$SELECT loyalty.end_rule('versions', 'gift', '2030-01-01 00:00+00')$$), 'LY102', 'before its newest version');
SELECT is(t.refusal($$SELECT loyalty.end_rule('versions', 'base', '2025-02-01 00:00+00')$$), 'LY102', 'a second time');
SET LOCAL session_replication_role = replica;
DELETE FROM loyalty.rule WHERE name = 'x';
RESET session_replication_role;
SELECT is(t.counts(), :'before', 'nothing of all that was kept');

SELECT * FROM finish();
ROLLBACK;
