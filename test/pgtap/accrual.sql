-- What rows of attached tables earn: every way a row comes, changes and goes.
BEGIN;
\ir include/books.psql
SET search_path = shop, public, loyalty;
SET timezone = 'UTC';

SELECT plan(281);

-- Program club gives a point for each unit, floored; nothing expires.
SELECT loyalty.create_program('club') AS club \gset
SELECT loyalty.add_rule('club', 'base', points_per => 1) AS base \gset
CREATE TABLE orders (
    id int PRIMARY KEY,
    customer text,
    at timestamptz NOT NULL DEFAULT '2024-05-01 12:00+00',
    total numeric(12,2),
    refunded numeric(12,2) NOT NULL DEFAULT 0,
    status text NOT NULL DEFAULT 'paid'
);
SELECT loyalty.attach('orders', 'club', 'customer', 'total', event_time => 'at', refunded => 'refunded',
                      status => 'status', earning => ARRAY['paid', 'shipped']) AS orders \gset

-- INSERT in its forms

INSERT INTO orders (id, customer, total) VALUES (1, 'ann', 12.99);
SELECT is(t.has('ann'), 12::numeric, 'a row earns its floored amount');
SELECT is(
    t.rows($$SELECT kind, points, source, event, line, rule, rule_version, base, refunded, forgiven, event_time
             FROM loyalty.entries WHERE member = 'ann'$$),
    '(earn,12,orders,1,,base,1,12.99,,,"2024-05-01 12:00:00+00")',
    'its entry says by what it earned');

INSERT INTO orders (id, customer, total) VALUES (2, 'bea', 10.50), (3, 'cid', 0.99), (4, 'bea', 10.50), (5, NULL, 100), (6, 'dan', NULL);
SELECT is(t.has('bea'), 20::numeric, 'each row is rounded by itself');
SELECT is(t.story('cid'), 'earn 0', 'a row that earns nothing by its rule is booked all the same');
SELECT is(t.story('dan'), 'earn 0', 'an amount of NULL is nothing');
SELECT is((SELECT count(*) FROM loyalty.entries WHERE event = '5'), 0::bigint, 'a guest earns nothing');
SELECT is((SELECT count(*) FROM loyalty.member), 4::bigint, 'and is nobody; the others were enrolled by their rows');

-- The numbers 0.1, 0.2 ... 100.0 floored: 0 nine times, 1 to 99 ten times each, 100 once.
INSERT INTO orders (id, customer, total) SELECT 1000 + g, 'eve', g / 10.0 FROM generate_series(1, 1000) g;
SELECT is(t.has('eve'), 49600::numeric, 'INSERT ... SELECT of a thousand rows');
SELECT is((SELECT count(*) FROM loyalty.entries WHERE member = 'eve'), 1000::bigint, 'each has its entry');
SELECT is((SELECT count(*) FROM loyalty.lots WHERE member = 'eve'), 1::bigint, 'and all share a lot');

COPY orders (id, customer, total, status) FROM stdin;
11	fay	1.99	paid
12	fay	2.99	cart
13	\N	3.99	paid
14	gus	4.99	shipped
\.
SELECT is(t.has('fay'), 1::numeric, 'COPY: a row with a status that does not earn earns nothing');
SELECT is(t.has('gus'), 4::numeric, 'COPY: another earning status does');

INSERT INTO orders (id, customer, total) VALUES (21, 'hal', 100);
INSERT INTO orders (id, customer, total) VALUES (21, 'hal', 999), (22, 'hal', 7.5) ON CONFLICT DO NOTHING;
SELECT is(t.has('hal'), 107::numeric, 'ON CONFLICT DO NOTHING: only what was inserted earns');
INSERT INTO orders (id, customer, total) VALUES (21, 'hal', 150), (23, 'hal', 50)
    ON CONFLICT (id) DO UPDATE SET total = EXCLUDED.total;
SELECT is(t.has('hal'), 207::numeric, 'ON CONFLICT DO UPDATE: 150 + 7 + 50');
INSERT INTO orders (id, customer, total) VALUES (21, 'hal', 1) ON CONFLICT (id) DO UPDATE SET total = 1 WHERE false;
SELECT is(t.has('hal'), 207::numeric, 'ON CONFLICT DO UPDATE that a WHERE stops changes nothing');

INSERT INTO orders (id, customer, total) VALUES (31, 'ivy', 10), (32, 'ivy', 20), (33, 'ivy', 30);
MERGE INTO orders o
    USING (VALUES (31, 11), (32, NULL), (34, 40), (33, 30)) v (id, total) ON o.id = v.id
    WHEN MATCHED AND v.total IS NULL THEN DELETE
    WHEN MATCHED AND v.total <> o.total THEN UPDATE SET total = v.total
    WHEN MATCHED THEN DO NOTHING
    WHEN NOT MATCHED THEN INSERT (id, customer, total) VALUES (v.id, 'ivy', v.total);
SELECT is(t.has('ivy'), 81::numeric, 'MERGE inserts, updates and deletes: 11 + 30 + 40');
SELECT is((SELECT count(*) FROM loyalty.entries WHERE member = 'ivy'), 6::bigint, 'and leaves alone what it leaves alone');

WITH gone AS (DELETE FROM orders WHERE id = 34 RETURNING *)
INSERT INTO orders SELECT 35, 'ivy', at, total + 5 FROM gone;
SELECT is(t.has('ivy'), 86::numeric, 'two changing statements in one WITH');
SELECT t.books_hold('inserting');

-- UPDATE of the amount, and DELETE

INSERT INTO orders (id, customer, total) VALUES (41, 'jim', 100.50);
UPDATE orders SET total = 150 WHERE id = 41;
SELECT is(t.story('jim'), 'earn 100, earn 50', 'a raised amount books the difference');
UPDATE orders SET total = 30.99 WHERE id = 41;
SELECT is(t.story('jim'), 'earn 100, earn 50, reverse -120', 'a lowered one takes it back');
UPDATE orders SET total = 30.01 WHERE id = 41;
SELECT is(t.story('jim'), 'earn 100, earn 50, reverse -120, earn 0', 'the same points from another base: the base is booked');
SELECT is((SELECT sum(base) FROM loyalty.entries WHERE member = 'jim'), 30.01, 'so the bases add up to the amount');
UPDATE orders SET total = total, at = at WHERE id = 41;
SELECT is((SELECT count(*) FROM loyalty.entries WHERE member = 'jim'), 4::bigint, 'an UPDATE of nothing books nothing');
UPDATE orders SET total = NULL WHERE id = 41;
SELECT is(t.has('jim'), 0::numeric, 'the amount gone, its points are gone');
UPDATE orders SET total = 8 WHERE id = 41;
DELETE FROM orders WHERE id = 41;
SELECT is(t.story('jim'), 'earn 100, earn 50, reverse -120, earn 0, reverse -30, earn 8, reverse -8', 'DELETE takes all back');
SELECT is((SELECT count(*) FROM loyalty.lots WHERE member = 'jim'), 1::bigint, 'all of it in the one lot');

INSERT INTO orders (id, customer, total) SELECT g, 'kim', g - 50 FROM generate_series(51, 60) g;
UPDATE orders SET total = total * 2 WHERE customer = 'kim';
SELECT is(t.has('kim'), 110::numeric, 'UPDATE of many rows: twice 1 + 2 + ... + 10');
DELETE FROM orders WHERE customer = 'kim' AND id % 2 = 0;
SELECT is(t.has('kim'), 50::numeric, 'DELETE of some: twice 1 + 3 + 5 + 7 + 9');
SELECT t.books_hold('amounts');

-- The refunded amount

INSERT INTO orders (id, customer, total) VALUES (61, 'lea', 9.99);
UPDATE orders SET refunded = 0.99 WHERE id = 61;
SELECT is(t.has('lea'), 9::numeric, 'a tenth of 9.99 back: floor(9 * 0.99 / 9.99) = 0 points are taken');
UPDATE orders SET refunded = 1.98 WHERE id = 61;
SELECT is(t.has('lea'), 8::numeric, 'two tenths: floor(1.78) = 1 is taken');
UPDATE orders SET refunded = 2.97 WHERE id = 61;
SELECT is(t.has('lea'), 7::numeric, 'three: floor(2.67) = 2');
UPDATE orders SET refunded = 3.96 WHERE id = 61;
UPDATE orders SET refunded = 4.95 WHERE id = 61;
SELECT is(t.has('lea'), 5::numeric, 'five: floor(4.45) = 4');
UPDATE orders SET refunded = 5.94 WHERE id = 61;
UPDATE orders SET refunded = 6.93 WHERE id = 61;
UPDATE orders SET refunded = 7.92 WHERE id = 61;
UPDATE orders SET refunded = 8.91 WHERE id = 61;
SELECT is(t.has('lea'), 1::numeric, 'nine: floor(8.02) = 8');
UPDATE orders SET refunded = 9.99 WHERE id = 61;
SELECT is(t.has('lea'), 0::numeric, 'ten: all is taken, by the sum of what is refunded and not refund by refund');
UPDATE orders SET refunded = 0 WHERE id = 61;
SELECT is(t.has('lea'), 9::numeric, 'a refund undone gives them again');

INSERT INTO orders (id, customer, total, refunded) VALUES (62, 'mia', 100, 25);
SELECT is(t.has('mia'), 75::numeric, 'a row that comes refunded in part');
UPDATE orders SET total = 50 WHERE id = 62;
SELECT is(t.has('mia'), 25::numeric, 'the amount lowered below a refund that stays: 50 - floor(50 * 25 / 50)');
UPDATE orders SET total = 200, refunded = 200 WHERE id = 62;
SELECT is(t.has('mia'), 0::numeric, 'amount and refund in one UPDATE: refunded in full');
DELETE FROM orders WHERE id = 62;
SELECT is(t.has('mia'), 0::numeric, 'deleting what was refunded takes no more');
SELECT is((SELECT coalesce(sum(base), 0) - coalesce(sum(refunded), 0) FROM loyalty.entries WHERE member = 'mia'), 0::numeric,
          'and leaves no base');
SELECT t.books_hold('refunds');

-- The status

INSERT INTO orders (id, customer, total, status) VALUES (71, 'ned', 10, 'cart');
SELECT is((SELECT count(*) FROM loyalty.entries WHERE member = 'ned'), 0::bigint, 'not earning yet: no entry');
UPDATE orders SET status = 'held', total = -5 WHERE id = 71;
SELECT is((SELECT count(*) FROM loyalty.entries WHERE member = 'ned'), 0::bigint, 'from one status that does not earn to another, with any amount');
UPDATE orders SET status = 'paid', total = 11 WHERE id = 71;
SELECT is(t.story('ned'), 'earn 11', 'into earning');
UPDATE orders SET status = 'shipped' WHERE id = 71;
SELECT is(t.story('ned'), 'earn 11', 'from one earning status to another: nothing');
UPDATE orders SET status = 'void' WHERE id = 71;
SELECT is(t.story('ned'), 'earn 11, reverse -11', 'out of earning');
UPDATE orders SET status = 'void', total = 12 WHERE id = 71;
UPDATE orders SET status = 'paid' WHERE id = 71;
SELECT is(t.story('ned'), 'earn 11, reverse -11, earn 12', 'and in again, with the amount of now');
SELECT t.books_hold('status');

-- The member

INSERT INTO orders (id, customer, total) VALUES (81, 'oda', 10), (82, 'oda', 5);
UPDATE orders SET customer = 'pam' WHERE id = 81;
SELECT is(ARRAY[t.has('oda'), t.has('pam')], ARRAY[5, 10]::numeric[], 'a change of the member moves the award');
UPDATE orders SET customer = NULL WHERE id = 81;
SELECT is(t.has('pam'), 0::numeric, 'to a guest: it is taken');
UPDATE orders SET customer = 'oda', total = 20 WHERE id = 81;
SELECT is(t.has('oda'), 25::numeric, 'from a guest, with another amount: it is given');
UPDATE orders SET customer = CASE id WHEN 81 THEN 'pam' ELSE 'rex' END, total = total + 1 WHERE id IN (81, 82);
SELECT is(ARRAY[t.has('oda'), t.has('pam'), t.has('rex')], ARRAY[0, 21, 6]::numeric[], 'two rows to two members, with other amounts');
UPDATE orders SET customer = 'oda', status = 'void' WHERE id = 81;
SELECT is(ARRAY[t.has('oda'), t.has('pam')], ARRAY[0, 0]::numeric[], 'moved and void at once');
UPDATE orders SET customer = 'pam', status = 'paid' WHERE id = 81;
SELECT is(ARRAY[t.has('oda'), t.has('pam')], ARRAY[0, 21]::numeric[], 'and back, earning again');
UPDATE orders SET customer = 'Pam ' WHERE id = 81;
SELECT is(ARRAY[t.has('pam'), t.has('Pam ')], ARRAY[0, 21]::numeric[], 'keys of members are compared byte by byte');
SELECT t.books_hold('members');

-- The key

INSERT INTO orders (id, customer, total) VALUES (91, 'sue', 10), (92, 'sue', 20), (93, 'tom', 30);
UPDATE orders SET id = 95 WHERE id = 91;
UPDATE orders SET total = 15 WHERE id = 95;
SELECT is(t.has('sue'), 35::numeric, 'a row keeps its award under another key: 15 + 20');
SELECT is((SELECT sum(points) FROM loyalty.entries WHERE event = '91'), 0::numeric, 'nothing is left under the old key');
UPDATE orders SET id = 91, total = 5, customer = 'tom' WHERE id = 95;
SELECT is(ARRAY[t.has('sue'), t.has('tom')], ARRAY[20, 35]::numeric[], 'key, amount and member at once, to a key used before');
DELETE FROM orders WHERE id = 91;
SELECT is(t.has('tom'), 30::numeric, 'and gone');
INSERT INTO orders (id, customer, total) VALUES (91, 'tom', 4);
SELECT is(t.has('tom'), 34::numeric, 'a new row under a used key');
UPDATE orders SET total = 6 WHERE id = 91;
SELECT is(t.has('tom'), 36::numeric, 'is re-rated by itself');
DELETE FROM orders WHERE id = 91;
SELECT is(t.has('tom'), 30::numeric, 'and taken back by itself');

CREATE TABLE shifted (id int PRIMARY KEY DEFERRABLE, customer text, total numeric);
SELECT loyalty.attach('shifted', 'club', 'customer', 'total') AS shifted \gset
INSERT INTO shifted SELECT g, CASE WHEN g % 3 = 0 THEN 'uma' ELSE 'vic' END, g FROM generate_series(1, 9) g;
UPDATE shifted SET id = id + 1;
SELECT is(ARRAY[t.has('uma'), t.has('vic')], ARRAY[18, 27]::numeric[], 'id = id + 1 moves nothing');
UPDATE shifted SET id = 12 - id, total = total + 1;
SELECT is(ARRAY[t.has('uma'), t.has('vic')], ARRAY[21, 33]::numeric[], 'all keys mirrored and amounts raised: one more each');
UPDATE shifted SET id = id % 10 + 1, customer = CASE customer WHEN 'uma' THEN 'vic' ELSE 'uma' END;
SELECT is(ARRAY[t.has('uma'), t.has('vic')], ARRAY[33, 21]::numeric[], 'keys shifted and members exchanged');
SELECT is(
    t.rows($$SELECT e.event::int, sum(e.points) FROM loyalty.entries e WHERE e.source = 'shifted' GROUP BY 1 HAVING sum(e.points) <> 0 ORDER BY 1$$),
    t.rows('SELECT id, total FROM shifted ORDER BY id'), 'each key has what its row earned');
DELETE FROM shifted;
SELECT is(ARRAY[t.has('uma'), t.has('vic')], ARRAY[0, 0]::numeric[], 'all gone');

-- More rows of one account than the engine takes at a time.
INSERT INTO shifted SELECT g, 'wes', 1 FROM generate_series(1, 12000) g;
UPDATE shifted SET id = id + 1;
SELECT is(t.has('wes'), 12000::numeric, 'id = id + 1 over 12,000 rows of one member');
SELECT is((SELECT count(*) FROM (SELECT event FROM loyalty.entries WHERE member = 'wes' GROUP BY event HAVING sum(points) = 1) e),
          12000::bigint, 'each row has its point');
DELETE FROM shifted;
SELECT is(t.has('wes'), 0::numeric, 'and gives it back');
SELECT t.books_hold('keys');

-- A key used again names a new award, in a lot of its own.
SELECT loyalty.create_program('aged', validity => '1000 years') AS aged \gset
SELECT loyalty.add_rule('aged', 'base', points_per => 1) AS r \gset
CREATE TABLE aged (id int PRIMARY KEY, customer text, at timestamptz, total numeric);
SELECT loyalty.attach('aged', 'aged', 'customer', 'total', event_time => 'at') AS a \gset
INSERT INTO aged VALUES (1, 'ann', '2024-01-10 12:00+00', 10), (2, 'ann', '2024-01-10 12:00+00', 10);
DELETE FROM aged WHERE id = 1;
INSERT INTO aged VALUES (1, 'ann', '2024-03-10 12:00+00', 7);
DELETE FROM aged WHERE id = 1;
SELECT is(t.rows($$SELECT issued, remaining FROM loyalty.lots WHERE program = 'aged' ORDER BY lot_no$$),
    '(2024-01-01,10) (2024-03-01,0)',
    'a reversal takes from the lot of the award it reverses, not from that of a former row of the key');

-- The event's time

SELECT loyalty.create_program('timed') AS timed \gset
SELECT loyalty.add_rule('timed', 'first half', points_per => 1, valid => '[2024-01-01 00:00+00, 2024-07-01 00:00+00)') AS first_half \gset
SELECT loyalty.add_rule('timed', 'second half', points_per => 10, valid => '[2024-07-01 00:00+00, 2025-01-01 00:00+00)') AS second_half \gset
SELECT loyalty.add_rule('timed', 'summer', points_per => 100, valid => '[2024-06-01 00:00+00, 2024-09-01 00:00+00)') AS summer \gset
CREATE TABLE timed (id int PRIMARY KEY, customer text, at timestamptz, total numeric);
SELECT loyalty.attach('timed', 'timed', 'customer', 'total', event_time => 'at') AS a \gset
INSERT INTO timed VALUES (1, 'ann', '2024-03-01 00:00+00', 2);
SELECT is(t.has('ann', 'timed'), 2::numeric, 'March: by the first half''s rule');
UPDATE timed SET at = '2024-06-30 23:59:59.999999+00';
SELECT is(t.has('ann', 'timed'), 202::numeric, 'moved to the end of June: summer''s too');
UPDATE timed SET at = '2024-07-01 00:00+00';
SELECT is(t.has('ann', 'timed'), 220::numeric, 'to July: the second half''s instead of the first''s');
UPDATE timed SET at = '2024-10-01 00:00+00', total = 3;
SELECT is(t.has('ann', 'timed'), 30::numeric, 'to October, with another amount');
UPDATE timed SET at = '2025-10-01 00:00+00';
SELECT is(t.has('ann', 'timed'), 0::numeric, 'to a time without a rule');
UPDATE timed SET at = '2024-02-01 00:00+00';
SELECT is(t.has('ann', 'timed'), 3::numeric, 'and back to February');
UPDATE timed SET at = '2024-08-01 00:00+00', customer = 'bob', total = 1;
SELECT is(ARRAY[t.has('ann', 'timed'), t.has('bob', 'timed')], ARRAY[0, 110]::numeric[],
          'to another member and time: the rules of that time, for that member');
UPDATE timed SET at = '2024-04-01 00:00+00', id = 7, total = 5;
SELECT is(t.has('bob', 'timed'), 5::numeric, 'to another key and time');
INSERT INTO timed VALUES (2, 'cat', '2023-01-01 00:00+00', 4);
SELECT is((SELECT count(*) FROM loyalty.entries WHERE program = 'timed' AND member = 'cat'), 0::bigint, 'a row before any rule');
UPDATE timed SET at = '2024-01-01 00:00+00' WHERE id = 2;
SELECT is(t.has('cat', 'timed'), 4::numeric, 'earns when it is moved under one');
INSERT INTO timed VALUES (3, 'dot', '2023-01-01 00:00+00', 4);
UPDATE timed SET at = '2024-01-01 00:00+00', customer = 'eli' WHERE id = 3;
SELECT is(t.has('eli', 'timed'), 4::numeric, 'also when it is moved to another member on the way');

-- Rows that stop earning and earn again

CREATE TABLE again (id int PRIMARY KEY, customer text, at timestamptz, total numeric, status text DEFAULT 'paid');
SELECT loyalty.attach('again', 'timed', 'customer', 'total', event_time => 'at', status => 'status', earning => '{paid}') AS a \gset
INSERT INTO again VALUES (1, 'gil', '2024-03-01 00:00+00', 2);
UPDATE again SET status = 'void';
UPDATE again SET at = '2024-08-01 00:00+00';
SELECT is(t.has('gil', 'timed'), 0::numeric, 'void, then moved to August: nothing');
UPDATE again SET status = 'paid';
SELECT is(t.has('gil', 'timed'), 220::numeric, 'paid again: by the rules of August, 2 * 10 + 2 * 100');
UPDATE again SET total = 3;
SELECT is(t.has('gil', 'timed'), 330::numeric, 'and raised by the same');
UPDATE again SET status = 'void', at = '2024-03-01 00:00+00';
UPDATE again SET status = 'paid', at = '2024-11-01 00:00+00';
SELECT is(t.has('gil', 'timed'), 30::numeric, 'void and moved, paid and moved: by the rule of November');
UPDATE again SET status = 'void';
UPDATE again SET status = 'paid', at = '2024-03-01 00:00+00', customer = 'hux', id = 2;
SELECT is(ARRAY[t.has('gil', 'timed'), t.has('hux', 'timed')], ARRAY[0, 3]::numeric[], 'paid again by another member, at another time and under another key');
UPDATE again SET total = 0;
UPDATE again SET total = 4, at = '2024-12-01 00:00+00';
SELECT is(t.has('hux', 'timed'), 40::numeric, 'worth nothing, then something at another time');

-- A rule's version that was changed for the past is that of rows that come to earn, and of no others.
SELECT loyalty.create_program('backdated') AS x, loyalty.add_rule('backdated', 'base', points_per => 1) AS r,
       loyalty.create_program('timeless') AS y, loyalty.add_rule('timeless', 'base', points_per => 1) AS s,
       loyalty.attach('again', 'backdated', 'customer', 'total', event_time => 'at', status => 'status', earning => '{paid}') AS a,
       loyalty.attach('again', 'timeless', 'customer', 'total', status => 'status', earning => '{paid}') AS b \gset
INSERT INTO again VALUES (3, 'ian', '2024-05-01 00:00+00', 10), (4, 'jon', '2024-05-01 00:00+00', 10);
SELECT loyalty.change_rule('backdated', 'base', points_per => 3, at => '2024-04-01 00:00+00') AS r,
       loyalty.change_rule('timeless', 'base', points_per => 3) AS s \gset
UPDATE again SET total = 11 WHERE id = 3;
UPDATE again SET status = 'void' WHERE id = 4;
UPDATE again SET status = 'paid' WHERE id = 4;
SELECT is(t.has('ian', 'backdated'), 11::numeric, 'a row that goes on earning keeps its version');
SELECT is(t.has('jon', 'backdated'), 30::numeric, 'one that earns again has the version in force at its time');
SELECT is(t.has('jon', 'timeless'), 10::numeric, 'one without a time has those that were in force when it came');
UPDATE again SET status = 'void' WHERE id = 4;
UPDATE again SET status = 'paid', customer = 'kit' WHERE id = 4;
SELECT is(ARRAY[t.has('jon', 'timeless'), t.has('kit', 'timeless')], ARRAY[0, 10]::numeric[], 'even for another member');

-- What counts for the tier follows, whichever rules the row came by.
CREATE FUNCTION t.metric(code text, who text) RETURNS numeric LANGUAGE sql AS $$
    SELECT p.metric FROM loyalty.tier_progress(code, who) p
$$;
SELECT loyalty.create_program('spender', ladder => 'member:0, top:100000', tier_metric => 'spend') AS x,
       loyalty.create_program('visitor', ladder => 'member:0, top:100000', tier_metric => 'visits') AS y \gset
SELECT loyalty.add_rule(p, 'first half', points_per => 1, valid => '[2024-01-01 00:00+00, 2024-07-01 00:00+00)') AS r,
       loyalty.add_rule(p, 'second half', points_per => 10, valid => '[2024-07-01 00:00+00, 2025-01-01 00:00+00)') AS s,
       loyalty.attach('again', p, 'customer', 'total', event_time => 'at', status => 'status', earning => '{paid}') AS a
FROM unnest(ARRAY['spender', 'visitor']) p \g /dev/null
INSERT INTO again VALUES (5, 'lou', '2024-03-01 00:00+00', 10), (6, 'lou', '2024-03-01 00:00+00', 0);
UPDATE again SET at = '2024-10-01 00:00+00' WHERE id = 5;
UPDATE again SET total = 25 WHERE id = 5;
SELECT is(ARRAY[t.metric('spender', 'lou'), t.metric('visitor', 'lou')], ARRAY[25, 2]::numeric[], 'moved under another rule, then raised: 25 spent in two visits');
UPDATE again SET status = 'void' WHERE id = 5;
SELECT is(ARRAY[t.metric('spender', 'lou'), t.metric('visitor', 'lou')], ARRAY[0, 1]::numeric[], 'void: a visit of no amount is left');
UPDATE again SET status = 'paid', at = '2024-04-01 00:00+00' WHERE id = 5;
SELECT is(ARRAY[t.metric('spender', 'lou'), t.metric('visitor', 'lou')], ARRAY[25, 2]::numeric[], 'paid again, by the first rule');
DELETE FROM again WHERE id = 6;
SELECT is(ARRAY[t.metric('spender', 'lou'), t.metric('visitor', 'lou')], ARRAY[25, 1]::numeric[], 'the visit of no amount is gone');
UPDATE again SET customer = 'max' WHERE id = 5;
SELECT is(ARRAY[t.metric('spender', 'lou'), t.metric('visitor', 'lou'), t.metric('spender', 'max'), t.metric('visitor', 'max')],
          ARRAY[0, 0, 25, 1]::numeric[], 'and the other is another member''s');

-- Keys exchanged while a trigger of the statement changes the table

CREATE TABLE swapped (id int PRIMARY KEY, customer text, total numeric, follows int REFERENCES swapped ON UPDATE CASCADE, note text);
SELECT loyalty.attach('swapped', 'club', 'customer', 'total') AS a \gset
INSERT INTO swapped VALUES (3, 'nan', 30, NULL), (2, 'ole', 20, 3), (1, 'nan', 10, 2);
UPDATE swapped SET id = id + 1;
SELECT is(ARRAY[t.has('nan'), t.has('ole')], ARRAY[40, 20]::numeric[], 'what an inner statement does to columns that are not mapped is no matter');
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE swapped SET total = total + 1 WHERE id = NEW.id AND note IS DISTINCT FROM 'touched';
    RETURN NULL;
END $$;
CREATE TRIGGER a_touch AFTER UPDATE OF id ON swapped FOR EACH ROW EXECUTE FUNCTION touch();
SELECT is(t.refusal('UPDATE swapped SET id = id + 1'), 'LY205', 'which row a change of an exchanged key was meant for can''t be told');
UPDATE swapped SET id = id + 10;
SELECT is(ARRAY[t.has('nan'), t.has('ole')], ARRAY[42, 21]::numeric[], 'new keys that no row had are followed');
UPDATE swapped SET note = 'touched';
UPDATE swapped SET id = id + 1;
SELECT is(t.rows($$SELECT e.event::int, sum(e.points) FROM loyalty.entries e WHERE e.source = 'swapped' GROUP BY 1 HAVING sum(e.points) <> 0 ORDER BY 1$$),
    '(13,11) (14,21) (15,31)', 'and exchanged keys where the trigger changes nothing');
SELECT t.books_hold('rows that earn again and keys that are exchanged');
SELECT t.books_hold('event times');

-- A month's move leaves the lot where it is: its dates are fixed at the award.
INSERT INTO aged VALUES (3, 'bob', '2024-01-10 12:00+00', 10);
UPDATE aged SET at = '2024-05-10 12:00+00' WHERE id = 3;
SELECT is(t.rows($$SELECT issued, remaining FROM loyalty.lots WHERE program = 'aged' AND member = 'bob'$$),
    '(2024-01-01,10)', 'a row moved across months by one rule keeps its lot');

-- Without a column for it, the time is the transaction's, and an award that moves keeps its own.
CREATE TABLE untimed (id int PRIMARY KEY, customer text, total numeric);
SELECT loyalty.attach('untimed', 'aged', 'customer', 'total') AS a \gset
INSERT INTO untimed VALUES (1, 'cat', 3);
UPDATE untimed SET customer = 'dot';
SELECT is((SELECT bool_and(event_time = now()) FROM loyalty.entries WHERE source = 'untimed'), true, 'no time column: the transaction''s start');
SELECT is(ARRAY[t.has('cat', 'aged'), t.has('dot', 'aged')], ARRAY[0, 3]::numeric[], 'and the award moves');

-- Keys

CREATE TABLE texts (shop text, no text, customer text, total int, PRIMARY KEY (shop, no));
SELECT loyalty.attach('texts', 'club', 'customer', 'total') AS a \gset
INSERT INTO texts VALUES ('a,b', 'c', 'tx1', 1), ('a', 'b,c', 'tx1', 20), ('a\', 'b', 'tx1', 300), ('a\,b', 'c', 'tx1', 4000),
    ('', 'x''"', 'tx1', 50000), ('żółć', '你好 🎉', 'tx1', 600000);
SELECT is((SELECT count(DISTINCT event) FROM loyalty.entries WHERE source = 'texts'), 6::bigint, 'no two composite keys look alike');
DELETE FROM texts WHERE (shop, no) = ('a', 'b,c');
SELECT is(t.has('tx1'), 654301::numeric, 'a key with a comma');
DELETE FROM texts WHERE (shop, no) = ('a\', 'b');
SELECT is(t.has('tx1'), 654001::numeric, 'with a backslash');
UPDATE texts SET no = no || '…', total = total + 1 WHERE shop IN ('', 'żółć');
SELECT is(t.has('tx1'), 654003::numeric, 'with quotes, empty and beyond ASCII');
DELETE FROM texts;
SELECT is(t.has('tx1'), 0::numeric, 'all found again');

CREATE TABLE uuids (id uuid PRIMARY KEY, customer uuid, total smallint);
SELECT loyalty.attach('uuids', 'club', 'customer', 'total') AS a \gset
INSERT INTO uuids VALUES ('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '00000000-0000-0000-0000-000000000001', 9);
UPDATE uuids SET total = 5;
SELECT is(t.has('00000000-0000-0000-0000-000000000001'), 5::numeric, 'uuid as key and as member');

CREATE TABLE chars (code char(8) PRIMARY KEY, customer varchar(20), total bigint);
SELECT loyalty.attach('chars', 'club', 'customer', 'total') AS a \gset
INSERT INTO chars VALUES ('ab', 'vera', 3000000000);
UPDATE chars SET total = 2;
SELECT is((SELECT string_agg(event || ':' || points, ' ' ORDER BY entry_id) FROM loyalty.entries WHERE source = 'chars'),
          'ab:3000000000 ab:-2999999998', 'char(n) without its padding, varchar, bigint');

-- A key's text must not hang on the session's settings.
CREATE TABLE settings (ts timestamptz, l timestamp, d date, f float8, b bytea, r tstzrange, i interval, n int,
                       customer text, total numeric, PRIMARY KEY (ts, l, d, f, b, r, i, n));
SELECT loyalty.attach('settings', 'club', 'customer', 'total') AS a \gset
INSERT INTO settings VALUES ('2024-03-31 01:30:00.25+00', '2024-02-29 23:59:59', '2024-12-31', 0.1, '\xdeadbeef',
    '[2024-01-01 00:00+00, 2024-02-01 00:00+00)', '1 mon 2 days 03:04:05', 1, 'xan', 70);
SET LOCAL timezone = 'Asia/Kathmandu';
SET LOCAL datestyle = 'SQL, DMY';
SET LOCAL intervalstyle = 'iso_8601';
SET LOCAL extra_float_digits = -10;
SET LOCAL bytea_output = 'escape';
UPDATE settings SET total = 50;
SELECT is(t.has('xan'), 50::numeric, 'a row is found from a session with other settings');
SET LOCAL datestyle = 'ISO, MDY';
SET LOCAL timezone = 'UTC';
DELETE FROM settings;
SELECT is(t.has('xan'), 0::numeric, 'and from the first again');
SET LOCAL intervalstyle TO DEFAULT;
SET LOCAL extra_float_digits TO DEFAULT;
SET LOCAL bytea_output TO DEFAULT;
SELECT is((SELECT DISTINCT event FROM loyalty.entries WHERE source = 'settings'),
    '2024-03-31 01:30:00.25+00,2024-02-29 23:59:59,2024-12-31,0.1,\\xdeadbeef,'
    '["2024-01-01 00:00:00+00"\,"2024-02-01 00:00:00+00"),1 mon 2 days 03:04:05,1',
    'it is the ISO text, in UTC');

-- A key that may be NULL.
CREATE TABLE loose (ref text, customer text, total numeric, status text);
SELECT loyalty.attach('loose', 'club', 'customer', 'total', key => ARRAY['ref'], status => 'status', earning => '{paid}') AS a \gset
INSERT INTO loose VALUES (NULL, 'yul', 10, 'cart'), (NULL, NULL, 10, 'paid');
SELECT is(t.refusal($$INSERT INTO loose VALUES (NULL, 'yul', 10, 'paid')$$), 'LY202', 'a row without a key can''t earn');
UPDATE loose SET ref = 'x', status = 'paid' WHERE customer = 'yul';
SELECT is(t.has('yul'), 10::numeric, 'it can when it got one');
UPDATE loose SET ref = NULL, status = 'cart' WHERE customer = 'yul';
SELECT is(t.has('yul'), 0::numeric, 'and gives back when it loses it');
DELETE FROM loose;
SELECT t.books_hold('keys of all types');

-- Columns

CREATE DOMAIN cents AS numeric(10,2) CHECK (VALUE >= 0);
CREATE DOMAIN dear_cents AS cents CHECK (VALUE < 1000000);
CREATE DOMAIN moment AS timestamptz;
CREATE DOMAIN ref AS text;
CREATE TABLE columns (
    junk1 text, id ref PRIMARY KEY, net dear_cents, junk2 int, tax dear_cents,
    gross numeric(12,2) GENERATED ALWAYS AS (net + tax) STORED, at moment, customer ref);
ALTER TABLE columns DROP COLUMN junk1;
SELECT loyalty.attach('columns', 'club', 'customer', 'gross', event_time => 'at') AS a \gset
ALTER TABLE columns DROP COLUMN junk2;
INSERT INTO columns (id, net, tax, at, customer) VALUES ('k', 10.60, 1.40, '2024-01-01 00:00+00', 'zed');
SELECT is(t.has('zed'), 12::numeric, 'a generated column as amount, domains over domains, dropped columns');
UPDATE columns SET tax = 0.39;
SELECT is(t.has('zed'), 10::numeric, 'a generated column changes with what it is made of');
ALTER TABLE columns ADD COLUMN more text DEFAULT 'x';
ALTER TABLE columns ALTER COLUMN customer TYPE varchar(40);
UPDATE columns SET net = 20;
SELECT is(t.has('zed'), 20::numeric, 'columns added and types changed meanwhile');
ALTER TABLE columns RENAME COLUMN gross TO amount;
SELECT is(t.refusal('UPDATE columns SET net = 30'), 'LY103', 'a renamed column is a clear error');
SELECT throws_like('UPDATE columns SET net = 30', '%"gross"%', 'that names it');
SELECT is(t.has('zed'), 20::numeric, 'and books nothing');
ALTER TABLE columns RENAME COLUMN amount TO gross;
ALTER TABLE columns DROP COLUMN gross;
ALTER TABLE columns ADD COLUMN gross float8 DEFAULT 0;
SELECT is(t.refusal('UPDATE columns SET net = 30, gross = 5'), 'LY103', 'so is one whose type can''t be an amount any more');
ALTER TABLE columns ALTER COLUMN gross TYPE int;
UPDATE columns SET net = 30, gross = 5;
SELECT is(t.has('zed'), 5::numeric, 'a column replaced: what is missing is reckoned from what is booked, not from the row before');
SELECT t.books_hold('columns');

-- Lines of an event, rounded once an event

SELECT loyalty.create_program('lined') AS lined \gset
SELECT loyalty.add_rule('lined', 'base', points_per => 1, stage => 'event') AS r \gset
SELECT loyalty.add_rule('lined', 'line', points_per => 1, stage => 'line') AS r \gset
CREATE TABLE lines (order_no int, line_no int, customer text, total numeric(10,2), refunded numeric(10,2) DEFAULT 0,
                    status text DEFAULT 'paid', PRIMARY KEY (order_no, line_no));
SELECT loyalty.attach('lines', 'lined', 'customer', 'total', refunded => 'refunded', event => 'order_no',
                      status => 'status', earning => '{paid}') AS a \gset
CREATE FUNCTION t.of(rule text, order_no int) RETURNS numeric LANGUAGE sql AS $$
    SELECT coalesce(sum(e.points), 0) FROM loyalty.entries e
    WHERE e.program = 'lined' AND e.event = of.order_no::text AND e.rule = of.rule
$$;
INSERT INTO lines VALUES (1, 1, 'ann', 0.60), (1, 2, 'ann', 0.60), (1, 3, 'ann', 0.60);
SELECT is(ARRAY[t.of('base', 1), t.of('line', 1)], ARRAY[1, 0]::numeric[], 'three lines of 0.60: floor(1.80) by event, nothing by line');
INSERT INTO lines VALUES (1, 4, 'ann', 0.20);
SELECT is(t.of('base', 1), 2::numeric, 'a line in a later statement completes the second point');
INSERT INTO lines VALUES (2, 1, 'ann', 0.90), (1, 5, 'ann', 0.90), (2, 2, 'ann', 0.90), (1, 6, 'ann', 0.90), (3, 1, 'bob', 2.50);
SELECT is(ARRAY[t.of('base', 1), t.of('base', 2), t.of('base', 3)], ARRAY[3, 1, 2]::numeric[],
          'lines of several events in disorder: floor(3.80), floor(1.80), floor(2.50)');
UPDATE lines SET total = 1.10 WHERE (order_no, line_no) = (1, 5);
SELECT is(ARRAY[t.of('base', 1), t.of('line', 1)], ARRAY[4, 1]::numeric[], 'a raised line: floor(4.00)');
UPDATE lines SET total = total - 0.10 WHERE order_no = 1;
SELECT is(ARRAY[t.of('base', 1), t.of('line', 1)], ARRAY[3, 1]::numeric[], 'all lowered: floor(3.40)');
DELETE FROM lines WHERE (order_no, line_no) = (1, 5);
SELECT is(ARRAY[t.of('base', 1), t.of('line', 1)], ARRAY[2, 0]::numeric[], 'one deleted: floor(2.40)');
UPDATE lines SET refunded = 0.40 WHERE (order_no, line_no) = (1, 1);
SELECT is(t.of('base', 1), 2::numeric, '0.40 of 2.40 refunded: floor(2 * 0.40 / 2.40) = 0 are taken');
UPDATE lines SET refunded = 0.50 WHERE order_no = 1 AND line_no IN (1, 2, 3);
SELECT is(t.of('base', 1), 1::numeric, '1.50 of it: floor(1.25) = 1');
UPDATE lines SET refunded = total WHERE order_no = 1;
SELECT is(t.of('base', 1), 0::numeric, 'all lines refunded, in two steps');
UPDATE lines SET refunded = 0 WHERE order_no = 1;
SELECT is(t.of('base', 1), 2::numeric, 'and none');
UPDATE lines SET status = 'void' WHERE order_no = 1 AND line_no <= 3;
SELECT is(t.of('base', 1), 0::numeric, 'lines void: floor(0.90)');
UPDATE lines SET status = 'paid' WHERE order_no = 1;
SELECT is(t.of('base', 1), 2::numeric, 'and paid');
UPDATE lines SET line_no = line_no + 10 WHERE order_no = 1;
SELECT is(t.of('base', 1), 2::numeric, 'lines under other numbers');
UPDATE lines SET order_no = 3, customer = 'bob' WHERE (order_no, line_no) = (1, 16);
SELECT is(ARRAY[t.of('base', 1), t.of('base', 3)], ARRAY[1, 3]::numeric[], 'a line of 0.80 moved to another''s event: floor(1.60), floor(3.30)');
UPDATE lines SET customer = 'ann' WHERE order_no = 3;
SELECT is(ARRAY[t.of('base', 3), t.has('bob', 'lined')], ARRAY[3, 0]::numeric[], 'an event moved to another member');
DELETE FROM lines;
SELECT is(ARRAY[t.has('ann', 'lined'), t.has('bob', 'lined')], ARRAY[0, 0]::numeric[], 'all lines deleted');
INSERT INTO lines VALUES (5, 1, 'cat', 0.50), (5, 2, 'cat', 0.50);
UPDATE lines SET order_no = 6 WHERE line_no = 1;
SELECT is(ARRAY[t.of('base', 5), t.of('base', 6)], ARRAY[0, 0]::numeric[], 'a point that two lines made together goes when one leaves');
UPDATE lines SET order_no = 6 WHERE line_no = 2;
SELECT is(ARRAY[t.of('base', 5), t.of('base', 6)], ARRAY[0, 1]::numeric[], 'and comes when they meet again');
SELECT is((SELECT sum(base) FROM loyalty.entries WHERE member = 'cat' AND rule = 'base' AND event = '5'), 0::numeric, 'no base is left behind');

-- A line without an event is one of its own, whatever its key looks like.
CREATE TABLE stray (id int PRIMARY KEY, order_no int, customer text, total numeric);
SELECT loyalty.attach('stray', 'lined', 'customer', 'total', event => 'order_no') AS a \gset
INSERT INTO stray VALUES (7, NULL, 'dot', 0.7);
INSERT INTO stray VALUES (8, 7, 'dot', 0.5);
SELECT is((SELECT sum(points) FROM loyalty.entries WHERE source = 'stray' AND rule = 'base'), 0::numeric, 'event 7 and row 7 are not added up');
UPDATE stray SET order_no = 7 WHERE id = 7;
SELECT is((SELECT sum(points) FROM loyalty.entries WHERE source = 'stray' AND rule = 'base'), 1::numeric, 'until row 7 is a line of event 7');
UPDATE stray SET order_no = NULL WHERE id = 8;
SELECT is((SELECT sum(points) FROM loyalty.entries WHERE source = 'stray' AND rule = 'base'), 0::numeric, 'and the other is not');
SELECT t.books_hold('lines');

-- Triggers of the shop's own

CREATE TABLE nested (id int PRIMARY KEY, customer text, total numeric, status text DEFAULT 'paid', parent int);
SELECT loyalty.attach('nested', 'club', 'customer', 'total', status => 'status', earning => '{paid}') AS a \gset

CREATE FUNCTION halve() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.total := NEW.total / 2;
    RETURN NEW;
END $$;
CREATE TRIGGER a_halve BEFORE INSERT OR UPDATE ON nested FOR EACH ROW EXECUTE FUNCTION halve();
INSERT INTO nested VALUES (1, 'n1', 40);
SELECT is(t.has('n1'), 20::numeric, 'a BEFORE trigger changes the amount: what is stored earns');
UPDATE nested SET total = 10 WHERE id = 1;
SELECT is(t.has('n1'), 5::numeric, 'on UPDATE, too');
DROP TRIGGER a_halve ON nested;

CREATE FUNCTION twin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.parent IS NULL THEN
        INSERT INTO nested VALUES (-NEW.id, NEW.customer, 1, 'paid', NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER a_twin AFTER INSERT ON nested FOR EACH ROW EXECUTE FUNCTION twin();
INSERT INTO nested VALUES (2, 'n2', 10), (3, 'n2', 20), (4, 'n3', 30);
SELECT is(ARRAY[t.has('n2'), t.has('n3')], ARRAY[32, 31]::numeric[], 'an AFTER trigger inserts another order for each');
DROP TRIGGER a_twin ON nested;

CREATE FUNCTION change_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE TG_ARGV[0] USING NEW.id;
    RETURN NULL;
END $$;

CREATE FUNCTION t.after_insert(statement text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER a_again AFTER INSERT ON shop.nested FOR EACH ROW WHEN (pg_trigger_depth() = 0)
                    EXECUTE FUNCTION shop.change_again(%L)', statement);
END $$;
SELECT t.after_insert('UPDATE shop.nested SET total = total * 3 WHERE id = $1') AS x \gset
INSERT INTO nested VALUES (11, 'm1', 10), (12, 'm1', 1);
SELECT is(t.story('m1'), 'earn 30, earn 3', 'an AFTER trigger that updates its own row: what is stored then earns, once');
SELECT t.after_insert('UPDATE shop.nested SET status = ''fraud'' WHERE id = $1') AS x \gset
INSERT INTO nested VALUES (13, 'm2', 10);
SELECT is(t.has('m2'), 0::numeric, 'one that makes it not earn');
SELECT t.after_insert('UPDATE shop.nested SET status = ''paid'' WHERE id = $1') AS x \gset
INSERT INTO nested VALUES (14, 'm3', 10, 'cart');
SELECT is(t.has('m3'), 10::numeric, 'one that makes it earn');
SELECT t.after_insert('UPDATE shop.nested SET customer = ''m5'' WHERE id = $1') AS x \gset
INSERT INTO nested VALUES (15, 'm4', 10), (16, NULL, 7);
SELECT is(ARRAY[t.has('m4'), t.has('m5')], ARRAY[0, 17]::numeric[], 'one that gives it to another member');
SELECT t.after_insert('DELETE FROM shop.nested WHERE id = $1') AS x \gset
INSERT INTO nested VALUES (17, 'm6', 10);
SELECT is(t.has('m6'), 0::numeric, 'one that deletes it');
SELECT t.after_insert('WITH d AS (DELETE FROM shop.nested WHERE id = $1) SELECT 1') AS x \gset
INSERT INTO nested VALUES (18, 'm6', 10);
SELECT is(t.has('m6'), 0::numeric, 'in a WITH');
SELECT t.after_insert('UPDATE shop.nested SET total = total + 1 WHERE customer = (SELECT customer FROM shop.nested WHERE id = $1)') AS x \gset
INSERT INTO nested VALUES (19, 'm7', 10), (20, 'm7', 20);
SELECT is(t.has('m7'), 34::numeric, 'one that updates all of the member''s rows, two times');
INSERT INTO nested VALUES (20, 'm7', 0), (21, 'm7', 50) ON CONFLICT (id) DO UPDATE SET total = nested.total - 2;
SELECT is(t.has('m7'), (SELECT sum(total) FROM nested WHERE customer = 'm7'), 'with ON CONFLICT DO UPDATE');
SELECT is(t.has('m7'), 85::numeric, '12 + 1, 22 - 2 + 1, 50 + 1');
DROP TRIGGER a_again ON nested;

CREATE FUNCTION t.after_update(statement text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER a_again AFTER UPDATE ON shop.nested FOR EACH ROW WHEN (pg_trigger_depth() = 0)
                    EXECUTE FUNCTION shop.change_again(%L)', statement);
END $$;
INSERT INTO nested VALUES (31, 'p1', 10), (32, 'p2', 10), (33, 'p3', 10), (34, 'p4', 10), (35, NULL, 10), (36, 'p8', 10), (37, 'p8', 5),
    (38, 'p9', 10);
SELECT t.after_update('UPDATE shop.nested SET total = total * 3 WHERE id = $1') AS x \gset
UPDATE nested SET total = 20 WHERE id = 31;
SELECT is(t.has('p1'), 60::numeric, 'a row updated twice: by the statement and by a trigger of it');
UPDATE nested SET id = 131 WHERE id = 31;
SELECT is(t.has('p1'), 180::numeric, 'a statement changes the key, its trigger the amount');
SELECT t.after_update('UPDATE shop.nested SET customer = ''p5'' WHERE id = $1') AS x \gset
UPDATE nested SET total = 7 WHERE id = 32;
SELECT is(ARRAY[t.has('p2'), t.has('p5')], ARRAY[0, 7]::numeric[], 'the amount, then the member');
UPDATE nested SET customer = 'p6' WHERE id = 33;
SELECT is(ARRAY[t.has('p3'), t.has('p6'), t.has('p5')], ARRAY[0, 0, 17]::numeric[], 'a member, then another');
UPDATE nested SET total = 4 WHERE id = 35;
SELECT is(t.has('p5'), 21::numeric, 'a guest''s row, then a member''s');
SELECT t.after_update('UPDATE shop.nested SET id = id + 1000 WHERE id = $1') AS x \gset
UPDATE nested SET total = 3 WHERE id = 34;
SELECT is(t.has('p4'), 3::numeric, 'the amount, then the key');
SELECT is((SELECT sum(points) FROM loyalty.entries WHERE source = 'nested' AND event = '1034'), 3::numeric, 'and the points are under it');
SELECT t.after_update('UPDATE shop.nested SET id = 34 WHERE id = $1') AS x \gset
UPDATE nested SET id = 2034 WHERE id = 1034;
SELECT is(t.has('p4'), 3::numeric, 'a key, then another');
SELECT t.after_update('UPDATE shop.nested SET status = ''paid'' WHERE id = $1') AS x \gset
UPDATE nested SET status = 'void', total = 2 WHERE id = 34;
SELECT is(t.has('p4'), 2::numeric, 'void, then paid again');
SELECT t.after_update('DELETE FROM shop.nested WHERE id = $1') AS x \gset
UPDATE nested SET id = 3034 WHERE id = 34;
SELECT is(t.has('p4'), 0::numeric, 'the key, then deleted');
SELECT t.after_insert('UPDATE shop.nested SET id = -id, total = total + 1 WHERE id = $1') AS x \gset
INSERT INTO nested VALUES (41, 'q0', 4);
UPDATE nested SET total = 9 WHERE id = -41;
SELECT is(t.has('q0'), 9::numeric, 'an inserted row put under another key');
DROP TRIGGER a_again ON nested;
SELECT t.after_update('DELETE FROM shop.nested WHERE id = $1') AS x \gset
UPDATE nested SET total = 11 WHERE id IN (36, 37);
SELECT is(t.has('p8'), 0::numeric, 'the amounts, then deleted');
DROP TRIGGER a_again ON nested;

CREATE FUNCTION replace_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        DELETE FROM nested WHERE id = NEW.id;
        RETURN NEW;
    END IF;
    INSERT INTO nested VALUES (OLD.id, OLD.customer, 1);
    RETURN NULL;
END $$;
CREATE TRIGGER a_replace BEFORE INSERT ON nested FOR EACH ROW EXECUTE FUNCTION replace_it();
INSERT INTO nested VALUES (38, 'p9', 25);
SELECT is(t.has('p9'), 25::numeric, 'a BEFORE trigger that deletes the row which is replaced');
DROP TRIGGER a_replace ON nested;
CREATE TRIGGER a_replace AFTER DELETE ON nested FOR EACH ROW EXECUTE FUNCTION replace_it();
DELETE FROM nested WHERE id = 38;
SELECT is(t.has('p9'), 1::numeric, 'an AFTER trigger that puts another row where one was deleted');
DROP TRIGGER a_replace ON nested;

CREATE FUNCTION raise_it(which int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    UPDATE nested SET total = total + 5 WHERE id = which;
    RETURN which;
END $$;
WITH made AS (INSERT INTO nested VALUES (51, 'q1', 10) RETURNING id) SELECT raise_it(id) AS x FROM made \gset
SELECT is(t.has('q1'), (SELECT total FROM nested WHERE id = 51), 'a function that the same statement calls');
INSERT INTO nested SELECT raise_it(51) + 1, 'q2', 3;
SELECT is(ARRAY[t.has('q1'), t.has('q2')], ARRAY[(SELECT total FROM nested WHERE id = 51), 3], 'and one that updates another row meanwhile');
SELECT t.books_hold('triggers of the shop');

-- Foreign keys that act on the orders
CREATE TABLE customers (id text PRIMARY KEY);
CREATE TABLE owned (id int PRIMARY KEY, customer text REFERENCES customers ON UPDATE CASCADE ON DELETE SET NULL, total numeric,
                    follows int REFERENCES owned ON DELETE CASCADE);
SELECT loyalty.attach('owned', 'club', 'customer', 'total') AS a \gset
INSERT INTO customers VALUES ('r1'), ('r2');
INSERT INTO owned VALUES (1, 'r1', 10), (2, 'r2', 20), (3, 'r1', 30), (4, 'r2', 40);
UPDATE owned SET follows = id - 1 WHERE id > 1;
UPDATE customers SET id = 'r3' WHERE id = 'r1';
SELECT is(ARRAY[t.has('r1'), t.has('r3')], ARRAY[0, 40]::numeric[], 'ON UPDATE CASCADE: a customer''s key changes');
DELETE FROM customers WHERE id = 'r3';
SELECT is(t.has('r3'), 0::numeric, 'ON DELETE SET NULL: a customer goes');
DELETE FROM owned WHERE id = 2;
SELECT is(t.has('r2'), 0::numeric, 'ON DELETE CASCADE within the table');
SELECT t.books_hold('foreign keys');

-- What is undone

SAVEPOINT here;
INSERT INTO orders (id, customer, total) VALUES (201, 'undo', 10);
SAVEPOINT there;
UPDATE orders SET total = 20 WHERE id = 201;
ROLLBACK TO there;
SELECT is(t.has('undo'), 10::numeric, 'a savepoint rolled back');
ROLLBACK TO here;
SELECT is(t.has('undo'), 0::numeric, 'and the one before');
SELECT is((SELECT count(*) FROM loyalty.member WHERE member = 'undo'), 0::bigint, 'even the member is gone');
INSERT INTO orders (id, customer, total) VALUES (201, 'undo', 5);
SELECT is(t.story('undo'), 'earn 5', 'and comes again');
DO $$
BEGIN
    FOR i IN 1..5 LOOP
        BEGIN
            INSERT INTO orders (id, customer, total) VALUES (210 + i, 'undo', 100);
            IF i % 2 = 0 THEN
                RAISE EXCEPTION 'no';
            END IF;
        EXCEPTION WHEN raise_exception THEN
            NULL;
        END;
    END LOOP;
END $$;
SELECT is(t.has('undo'), 305::numeric, 'exceptions caught in plpgsql: three of five stay');
DO $$
BEGIN
    PERFORM loyalty.create_program('shadow');
    PERFORM loyalty.add_rule('shadow', 'base', points_per => 1);
    PERFORM loyalty.attach('orders', 'shadow', 'customer', 'total');
    INSERT INTO orders (id, customer, total) VALUES (220, 'undo', 1);
    RAISE EXCEPTION 'no';
EXCEPTION WHEN raise_exception THEN
    NULL;
END $$;
INSERT INTO orders (id, customer, total) VALUES (220, 'undo', 2);
SELECT is(t.has('undo'), 307::numeric, 'a program and its source undone: what is cached of them goes, too');
SELECT t.books_hold('what is undone');

-- Pending points, and where a reversal takes points from

CREATE TABLE sales (id int PRIMARY KEY, customer text, at timestamptz, total numeric, status text DEFAULT 'paid');
CREATE FUNCTION t.open(code text, debt text DEFAULT 'forgive', validity interval DEFAULT NULL, pending interval DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
    SELECT loyalty.create_program(code, debt => debt, validity => validity, pending => pending);
    SELECT loyalty.add_rule(code, 'base', points_per => 1);
    SELECT loyalty.attach('sales', code, 'customer', 'total', event_time => 'at', status => 'status', earning => '{paid}');
$$;
CREATE FUNCTION t.lots(program text, member text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(l.remaining::text, ' ' ORDER BY l.lot_no) FROM loyalty.lots l
    WHERE (l.program, l.member) = (lots.program, lots.member)
$$;

SELECT t.open('slow', pending => '14 days') AS x \gset
INSERT INTO sales VALUES (1, 'ann', '2999-12-25 10:00+00', 100), (2, 'ann', '2020-01-01 10:00+00', 30);
SELECT is(t.rows($$SELECT available, pending FROM loyalty.balances WHERE program = 'slow' AND member = 'ann'$$), '(30,100)',
          'points of an order of 2999 are pending, those of one of 2020 are not any more');
SELECT is((SELECT valid_from FROM loyalty.lots WHERE program = 'slow' AND lot_no = 2), '3000-01-08 10:00+00'::timestamptz, 'until 14 days after it');
SELECT is(t.refusal($$SELECT loyalty.redeem('slow', 'ann', 31)$$), 'LY301', 'pending points can''t be spent');
UPDATE sales SET total = 40 WHERE id = 1;
SELECT is(t.rows($$SELECT available, pending FROM loyalty.balances WHERE program = 'slow' AND member = 'ann'$$), '(30,40)',
          'a reversal takes from the pending lot that the award is in');
SELECT loyalty.redeem('slow', 'ann', 25) AS x \gset
DELETE FROM sales WHERE id = 2;
SELECT is(t.rows($$SELECT available, pending FROM loyalty.balances WHERE program = 'slow' AND member = 'ann'$$), '(0,40)',
          'but not from one that another award is in');
DELETE FROM sales;

SELECT t.open('owing', debt => 'negative') AS x \gset
SELECT t.open('easy', debt => 'forgive') AS x \gset
SELECT t.open('strict', debt => 'block') AS x \gset
INSERT INTO sales VALUES (1, 'bob', '2024-01-01 00:00+00', 100);
SELECT loyalty.redeem(p, 'bob', 80) FROM unnest(ARRAY['owing', 'easy', 'strict']) p \g /dev/null
UPDATE sales SET status = 'void';
SELECT is(ARRAY[t.has('bob', 'owing'), t.has('bob', 'easy'), t.has('bob', 'strict')], ARRAY[-80, 0, -80]::numeric[],
          '100 earned, 80 spent, 100 taken back: 80 are owed, or forgiven');
SELECT is(t.story('bob', 'easy'), 'earn 100, redeem -80, reverse -20', 'forgiven points are not taken');
SELECT is((SELECT sum(forgiven) FROM loyalty.entries WHERE program = 'easy' AND member = 'bob'), 80::numeric, 'and the entry says how many');
UPDATE sales SET status = 'paid';
SELECT is(ARRAY[t.has('bob', 'owing'), t.has('bob', 'easy'), t.has('bob', 'strict')], ARRAY[20, 20, 20]::numeric[],
          'earned again: what was forgiven is not given twice');
UPDATE sales SET total = 50;
SELECT is(ARRAY[t.has('bob', 'owing'), t.has('bob', 'easy'), t.has('bob', 'strict')], ARRAY[-30, 0, -30]::numeric[], 'half of it taken back');
UPDATE sales SET total = 90;
SELECT is(ARRAY[t.has('bob', 'owing'), t.has('bob', 'easy'), t.has('bob', 'strict')], ARRAY[10, 10, 10]::numeric[], 'raised to 90');
UPDATE sales SET status = 'void';
SELECT is(t.refusal($$SELECT loyalty.redeem('strict', 'bob', 1)$$), 'LY302', 'in debt, a blocked account can''t spend');
INSERT INTO sales VALUES (2, 'bob', '2024-01-01 00:00+00', 50);
SELECT is(ARRAY[t.has('bob', 'owing'), t.has('bob', 'easy'), t.has('bob', 'strict')], ARRAY[-30, 50, -30]::numeric[], 'the next order repays first');
INSERT INTO sales VALUES (3, 'bob', '2024-01-01 00:00+00', 40), (4, 'bob', '2024-01-01 00:00+00', 2);
SELECT is(ARRAY[t.has('bob', 'owing'), t.has('bob', 'easy'), t.has('bob', 'strict')], ARRAY[12, 92, 12]::numeric[], 'and the rest can be spent');
UPDATE sales SET id = 33, total = 41 WHERE id = 3;
UPDATE sales SET total = 35 WHERE id = 33;
SELECT is(ARRAY[t.has('bob', 'owing'), t.has('bob', 'easy'), t.has('bob', 'strict')], ARRAY[7, 87, 7]::numeric[],
          'an award that a debt took a part of, under another key');
UPDATE sales SET customer = 'cat' WHERE id = 33;
SELECT is(ARRAY[t.has('bob', 'owing'), t.has('cat', 'owing'), t.has('bob', 'easy'), t.has('cat', 'easy')], ARRAY[-28, 35, 52, 35]::numeric[],
          'and moved to another member');
DELETE FROM sales;
SELECT is(ARRAY[t.has('bob', 'owing'), t.has('bob', 'easy'), t.has('cat', 'strict')], ARRAY[-80, 0, 0]::numeric[], 'all orders gone, the 80 are spent for ever');

SELECT t.open('queued', validity => '1000 years') AS x \gset
INSERT INTO sales VALUES (1, 'dot', '2024-01-10 00:00+00', 100), (2, 'dot', '2024-03-10 00:00+00', 100), (3, 'dot', '2024-02-10 00:00+00', 100);
SELECT loyalty.redeem('queued', 'dot', 150) AS x \gset
SELECT is(t.lots('queued', 'dot'), '0 50 100', 'lots of January, February and March after 150 were spent');
DELETE FROM sales WHERE id = 1;
SELECT is(t.lots('queued', 'dot'), '0 0 50', 'the award''s own lot is empty: the others pay, the one that ends first first');
UPDATE sales SET total = 80 WHERE id = 2;
SELECT is(t.lots('queued', 'dot'), '0 0 30', 'March''s award takes from March''s');
UPDATE sales SET total = 60 WHERE id = 3;
SELECT is(t.lots('queued', 'dot'), '0 0 0', 'February''s lot is empty: March''s pays, as far as it goes');
SELECT is((SELECT sum(forgiven) FROM loyalty.entries WHERE program = 'queued'), 10::numeric, 'and the rest is forgiven');
DELETE FROM sales;

SELECT t.open('dead', validity => '1 year') AS x \gset
INSERT INTO sales VALUES (1, 'eli', '2020-01-10 00:00+00', 100), (2, 'eli', '2999-01-10 00:00+00', 100);
SELECT is(t.has('eli', 'dead'), 100::numeric, 'the points of 2020 are dead');
UPDATE sales SET total = 40 WHERE id = 1;
SELECT is(t.has('eli', 'dead'), 100::numeric, 'what had expired is not taken from what lives');
SELECT is(t.story('eli', 'dead'), 'earn 100, earn 100, expire -100, reverse 0, waive 0', 'the end of the lot is booked first');
UPDATE sales SET total = 50 WHERE id = 1;
SELECT is(t.has('eli', 'dead'), 100::numeric, 'a raise of a dead award is dead');
DELETE FROM sales WHERE id = 1;
SELECT is(t.has('eli', 'dead'), 100::numeric, 'and so is the rest of it');
DELETE FROM sales WHERE id = 2;
SELECT is(t.has('eli', 'dead'), 0::numeric, 'the living one is taken back');
SELECT t.books_hold('pending, debts and lots');

-- Refused rows

SELECT is(t.refusal($$INSERT INTO orders (id, customer, total) VALUES (301, 'bad', 'NaN')$$), 'LY201', 'an amount that is not a number');
SELECT is(t.refusal($$INSERT INTO orders (id, customer, total) VALUES (301, 'bad', -0.01)$$), 'LY201', 'a negative one');
CREATE TABLE wild (id int PRIMARY KEY, customer text, at date, total numeric, refunded numeric);
SELECT loyalty.attach('wild', 'club', 'customer', 'total', event_time => 'at', refunded => 'refunded') AS a \gset
SELECT is(t.refusal($$INSERT INTO wild VALUES (1, 'bad', '2024-01-01', 'Infinity')$$), 'LY201', 'an infinite one');
SELECT is(t.refusal($$INSERT INTO wild VALUES (1, 'bad', '2024-01-01', '-Infinity')$$), 'LY201', 'an infinite one, the other way');
SELECT is(t.refusal($$INSERT INTO wild VALUES (1, 'bad', '2024-01-01', 1e15)$$), 'LY201', 'one beyond what points can count');
SELECT is(t.refusal($$INSERT INTO wild VALUES (1, 'bad', '2024-01-01', 1.00001)$$), 'LY201', 'one finer than points can count');
SELECT is(t.refusal($$INSERT INTO wild VALUES (1, 'bad', '2024-01-01', 1, 'NaN')$$), 'LY201', 'a refund that is not a number');
SELECT is(t.refusal($$INSERT INTO wild VALUES (1, 'bad', '2024-01-01', 1, 1.0001)$$), 'LY203', 'a refund beyond the amount');
SELECT is(t.refusal($$INSERT INTO wild VALUES (1, 'bad', 'infinity', 1)$$), 'LY202', 'a time that never comes');
SELECT is(t.refusal($$INSERT INTO wild VALUES (1, 'bad', '5000000-01-01', 1)$$), 'LY202', 'a time beyond what can be counted');
SELECT is(t.refusal($$INSERT INTO wild VALUES (1, '', '2024-01-01', 1)$$), 'LY202', 'a member of no letters');
SELECT is(t.refusal($$INSERT INTO wild VALUES (1, 'fine', '2024-01-01', 1), (2, 'bad', '2024-01-01', -1)$$), 'LY201', 'one bad row of two');
SELECT is((SELECT count(*) FROM wild), 0::bigint, 'fails the statement');
SELECT is((SELECT count(*) FROM loyalty.member WHERE member IN ('bad', 'fine', '')), 0::bigint, 'and nothing stays of it');
INSERT INTO wild VALUES (1, 'most', '2024-01-01', 922337203685477.5807);
SELECT is(t.has('most'), 922337203685477::numeric, 'the largest amount');
DELETE FROM wild;
SELECT is(t.has('most'), 0::numeric, 'taken back');

-- Which row it was, and what is in it

CREATE FUNCTION t.row_of(statement text) RETURNS text LANGUAGE sql AS $$ SELECT regexp_replace(t.detail(statement), '^.* (?=The row is )', '') $$;
SELECT is(t.detail($$INSERT INTO wild VALUES (1, 'fine', '2024-01-01', 1, 0), (2, 'bad', '2024-01-02', -0.01, 0)$$),
          'It is negative. The row is of event "2", total -0.01, refunded 0, at 2024-01-02.', 'the second of two rows is named, with its numbers');
SELECT is(t.detail($$INSERT INTO wild VALUES (1, 'bad', '2024-01-01', 1, 1.0001)$$),
          'What is refunded is a part of the amount, counted from the start. The row is of event "1", total 1, refunded 1.0001, at 2024-01-01.', 'both amounts are told');
SELECT is(t.row_of($$INSERT INTO wild VALUES (1, 'bad', '2024-01-01', NULL, 2)$$), 'The row is of event "1", total NULL, refunded 2, at 2024-01-01.', 'NULL is told as such');
SELECT is(t.row_of($$INSERT INTO wild VALUES (3, 'bad', 'infinity', 1)$$), 'The row is of event "3", total 1, refunded NULL, at infinity.', 'a time');
SELECT is(t.row_of($$INSERT INTO wild VALUES (4, '', '2024-01-01', 1)$$), 'The row is of event "4", total 1, refunded NULL, at 2024-01-01.', 'a member of no letters');
SELECT is(t.row_of($$INSERT INTO wild VALUES (5, 'bad', '2024-01-01', 1e200)$$),
          format('The row is of event "5", total 1%s..., refunded NULL, at 2024-01-01.', repeat('0', 99)), 'of a long number the first 100 digits');
INSERT INTO wild VALUES (6, 'good', '2024-01-01', 10, 0);
SELECT is(t.row_of('UPDATE wild SET refunded = 11'), 'The row is of event "6", total 10, refunded 11, at 2024-01-01.', 'an update');
DELETE FROM wild;

CREATE TABLE parts (id text, line int, customer text, total numeric, PRIMARY KEY (id, line));
SELECT loyalty.create_program('parts', validity => '1000 years') AS x, loyalty.add_rule('parts', 'base', points_per => 0.000000001, stage => 'event') AS y,
       loyalty.attach('parts', 'parts', 'customer', 'total', event => 'id') AS z \gset
SELECT is(t.row_of($$INSERT INTO parts VALUES ('B,2', 1, 'ann', 5), ('B,2', 7, 'ann', -5)$$), 'The row is of event "B,2", line "B\,2,7", total -5.',
          'event and line are as entries have them');
SELECT is(t.row_of($$INSERT INTO parts VALUES (repeat('é', 51), 7, 'ann', -5)$$),
          format('The row is of event "%1$s...", line "%1$s...", total -5.', repeat('é', 50)), 'but a long one is cut after 100 bytes, between characters');
INSERT INTO parts VALUES (repeat('é', 51), 7, 'ann', 5), ('C', 1, 'ann', 900000000000000);
SELECT is((SELECT event FROM loyalty.entries WHERE program = 'parts' AND line LIKE 'é%'), repeat('é', 51), 'entries have all of it');
SELECT is(t.refusal($$INSERT INTO parts VALUES ('C', 2, 'ann', 30000000000000)$$), 'LY201', 'an event of 930000000000000 in two rows is too large');
SELECT is(t.detail($$INSERT INTO parts VALUES ('C', 2, 'ann', 30000000000000)$$),
          'The most is 922337203685477.5807. The row is of event "C", line "C,2".', 'and the second is named');
DELETE FROM parts;

CREATE TABLE far (id int PRIMARY KEY, customer text, total numeric, at timestamptz);
SELECT loyalty.create_program('far', validity => '1000 years') AS x, loyalty.add_rule('far', 'base', points_per => 1000) AS y,
       loyalty.attach('far', 'far', 'customer', 'total', event_time => 'at') AS z \gset
SELECT is(t.detail($$INSERT INTO far VALUES (1, 'ann', 1, '2024-01-01'), (2, 'bob', 922337203686, '2024-01-01')$$),
          'The most is 922337203685477.5807. The row is of event "2", rated amount 922337203686.', '1000 points for each of 922337203686 are too many');
INSERT INTO far VALUES (1, 'ann', 922337203685, '2024-01-01');
SELECT is(t.detail('UPDATE far SET total = total + 1'),
          'The most is 922337203685477.5807. The row is of event "1", rated amount 922337203686.', 'of one more than 922337203685, too');
SELECT is(t.refusal($$INSERT INTO far VALUES (2, 'bob', 1, '294000-01-01')$$), '22008', 'points that would end after all time');
SELECT is(t.detail($$INSERT INTO far VALUES (2, 'bob', 1, '294000-01-01')$$),
          'Points of an event at 294000-01-01 00:00:00+00 would begin or end beyond what can be counted. The row is of event "2".', 'say of which row');
DELETE FROM far;

CREATE TABLE rowwise (id int, customer text, total int);
SELECT loyalty.attach('rowwise', 'club', 'customer', 'total', key => '{id}', for_each => 'row') AS x \gset
SELECT is(t.row_of($$INSERT INTO rowwise VALUES (1, 'ann', 5), (2, 'ann', -5)$$), 'The row is of event "2", total -5.', 'a trigger for each row');
SELECT is(t.detail($$INSERT INTO rowwise VALUES (NULL, 'yul', 5)$$), 'Points are tied to the row by its key. The row is of member "yul", total 5.', 'a row without a key has a member');
CREATE TABLE old_rows (id int PRIMARY KEY, customer text, total numeric);
INSERT INTO old_rows VALUES (1, 'ann', 5), (2, 'ann', 'NaN');
SELECT loyalty.attach('old_rows', 'club', 'customer', 'total') AS x \gset
SELECT is(t.detail($$SELECT loyalty.backfill('old_rows', 'club')$$), 'It is not a finite number. The row is of event "2", total NaN.', 'a backfill');

-- Kept rows

SELECT loyalty.create_program('late', decimals => 2) AS late \gset
SELECT loyalty.add_rule('late', 'base', points_per => 1000000) AS r \gset
CREATE TABLE late (id int PRIMARY KEY, customer text, total numeric, at timestamptz DEFAULT '2024-01-01 00:00+00', status text DEFAULT 'paid');
SELECT loyalty.attach('late', 'late', 'customer', 'total', event_time => 'at', status => 'status', earning => '{paid}', on_error => 'defer') AS late_source \gset
INSERT INTO late VALUES (1, 'ann', 1), (2, 'ann', 'NaN'), (3, 'bob', 2), (4, '', 3), (5, 'bob', 900000000000000), (6, 'cat', -1), (7, NULL, 'NaN'),
    (8, 'dot', 'NaN'), (9, 'dot', 4);
SELECT is((SELECT count(*) FROM late), 9::bigint, 'all rows are kept');
SELECT is(t.rows('SELECT event, member, state FROM loyalty.deferred ORDER BY 1'),
    '(2,ann,LY201) (4,"",LY202) (5,bob,LY201) (6,cat,LY201) (8,dot,LY201)',
    'the bad ones are noted');
SELECT is((SELECT string_agg(DISTINCT message, '; ' ORDER BY message) FROM loyalty.deferred),
    'an event would earn more points than can be counted; the amount of an event can''t be used; the member of an event is empty', 'with messages, which name no row');
SELECT is(ARRAY[t.has('ann', 'late'), t.has('bob', 'late'), t.has('dot', 'late')], ARRAY[1000000, 2000000, 4000000]::numeric[],
          'the good ones earned');
SELECT is(loyalty.retry_deferred('late', 'late'), 0::bigint, 'nothing was corrected: nothing is booked');
SELECT is((SELECT count(*) FROM loyalty.deferred), 5::bigint, 'and all stay noted');
UPDATE late SET total = 5 WHERE id = 2;
UPDATE late SET customer = 'eli' WHERE id = 4;
UPDATE late SET total = 7, customer = 'fay' WHERE id = 5;
DELETE FROM late WHERE id = 6;
UPDATE late SET id = 18 WHERE id = 8;
UPDATE late SET total = 9 WHERE id = 18;
SELECT is(loyalty.retry_deferred('late', 'late'), 4::bigint, 'the corrected ones are booked');
SELECT is((SELECT count(*) FROM loyalty.deferred), 0::bigint, 'and the queue is empty');
SELECT is(ARRAY[t.has('ann', 'late'), t.has('bob', 'late'), t.has('eli', 'late'), t.has('fay', 'late'), t.has('cat', 'late'), t.has('dot', 'late')],
          ARRAY[6000000, 2000000, 3000000, 7000000, 0, 13000000]::numeric[],
          'corrected, given a member, moved to another, deleted, put under another key');
SELECT is(loyalty.retry_deferred('late', 'late'), 0::bigint, 'once');
UPDATE late SET total = 'NaN' WHERE id = 1;
SELECT is(t.has('ann', 'late'), 6000000::numeric, 'a change that can''t be rated leaves the points as they were');
UPDATE late SET customer = 'gus' WHERE id = 1;
UPDATE late SET status = 'void' WHERE id = 3;
UPDATE late SET status = 'paid', total = -2 WHERE id = 3;
UPDATE late SET total = 3 WHERE id IN (1, 3);
SELECT is(loyalty.retry_deferred('late', 'late'), 2::bigint, 'one was corrected by its later update; the one that moved is booked at both ends');
SELECT is(ARRAY[t.has('ann', 'late'), t.has('gus', 'late'), t.has('bob', 'late')], ARRAY[5000000, 3000000, 3000000]::numeric[],
          'each row has what it should');
SELECT is((SELECT count(*) FROM loyalty.deferred), 0::bigint, 'nothing is left in the queue');
SELECT t.books_hold('refused and deferred rows');

-- What another attempt could cure fails the statement, and whoever catches that finds nothing of it.
CREATE FUNCTION t.busy() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE serialization_failure USING DETAIL = 'd', HINT = 'h'; END $$;
ALTER TABLE loyalty.entry ADD CONSTRAINT busy CHECK (t.busy()) NOT VALID;
SELECT is(t.refusal($$INSERT INTO late VALUES (20, 'ann', 1), (21, 'bob', 1)$$), '40001', 'a conflict is not deferred');
ALTER TABLE loyalty.entry DROP CONSTRAINT busy;
SELECT is((SELECT count(*) FROM late WHERE id >= 20), 0::bigint, 'the rows are gone with the statement');
SELECT is((SELECT count(*) FROM loyalty.deferred), 0::bigint, 'and not noted');

-- A second account of the member that was opened and undone leaves a dead row beside the first:
-- it is not the one that orders are booked to.
SELECT loyalty.create_program('pair') AS x, loyalty.create_currency('pair', 'miles') AS y,
       loyalty.add_rule('pair', 'base', points_per => 1) AS z, loyalty.add_rule('pair', 'trips', points_per => 1, kind => 'trip', currency => 'miles') AS w \gset
CREATE TABLE pair (id int PRIMARY KEY, customer text, total int);
SELECT loyalty.attach('pair', 'pair', 'customer', 'total') AS pair \gset
INSERT INTO pair VALUES (1, 'ann', 10);
SAVEPOINT before;
SELECT loyalty.adjust('pair', 'ann', 5, 'to be undone', currency => 'miles') AS x \gset
ROLLBACK TO SAVEPOINT before;
INSERT INTO pair VALUES (2, 'ann', 20);
UPDATE pair SET total = 11 WHERE id = 1;
SELECT is(loyalty.balance('pair', 'ann'), 31::loyalty.points, 'points go to the account of their currency');
SELECT is(loyalty.balance('pair', 'ann', currency => 'miles'), 0::loyalty.points, 'and none to one that never was');
SELECT t.books_hold('an account undone');

SELECT * FROM finish();
ROLLBACK;
