-- audit: a history of all that the engine does proves itself, and no damage stays hidden.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
CREATE SCHEMA audited;
SET LOCAL search_path = audited, loyalty, public;

SELECT no_plan();

-- ---------------------------------------------------------------- the history

SELECT create_program('shop', validity => '1 year', decimals => 2);
SELECT create_program('strict', debt => 'negative');
SELECT create_program('firm', debt => 'block', pending => '14 days');
SELECT create_program('solo');
SELECT create_currency('shop', 'miles');
SELECT add_rule('shop', 'base', points_per => 1);
SELECT add_rule('shop', 'welcome', bonus => 5, currency => 'miles', reversal => 'all_or_nothing');
SELECT add_rule('shop', 'basket', points_per => 0.5, rounding => 'floor', stage => 'event', kind => 'line');
SELECT add_rule('strict', 'base', points_per => 1);
SELECT add_rule('firm', 'base', points_per => 1);
SELECT add_rule('solo', 'base', points_per => 1);

CREATE TABLE orders (id text PRIMARY KEY, who text, amount numeric(10,2), refunded numeric(10,2) NOT NULL DEFAULT 0,
                     at timestamptz NOT NULL DEFAULT now(), state text NOT NULL DEFAULT 'paid');
CREATE TABLE lines (basket text, n int, who text, amount int, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (basket, n))
    PARTITION BY LIST (n);
CREATE TABLE lines_1 PARTITION OF lines FOR VALUES IN (1);
CREATE TABLE lines_2 PARTITION OF lines FOR VALUES IN (2);
CREATE TABLE feed (id int PRIMARY KEY, who text, amount int);
SELECT attach('orders', 'shop', 'who', 'amount', 'at', status => 'state', earning => ARRAY['paid'], refunded => 'refunded');
SELECT attach('orders', 'strict', 'who', 'amount', 'at', refunded => 'refunded');
SELECT attach('orders', 'firm', 'who', 'amount', 'at', refunded => 'refunded');
SELECT attach('lines', 'shop', 'who', 'amount', 'at', kind => 'line', event => 'basket');
SELECT attach('feed', 'shop', 'who', 'amount', for_each => 'row');
SELECT attach('feed', 'solo', 'who', 'amount');

-- An account of the program's default currency, or of another.
CREATE FUNCTION pg_temp.account(program text, member text, currency text DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
    SELECT a.account_id FROM loyalty.account a JOIN loyalty.member m USING (member_id)
    JOIN loyalty.currency c USING (currency_id) JOIN loyalty.program p ON p.program_id = c.program_id
    WHERE p.code = $1 AND m.member = $2 AND CASE WHEN $3 IS NULL THEN c.is_default ELSE c.code = $3 END
$$;

-- ann: four lots, spent across lots, given back in parts, adjusted both ways
INSERT INTO orders (id, who, amount, at) VALUES
    ('a1', 'ann', 100.10, now() - interval '300 days'), ('a2', 'ann', 50, now() - interval '200 days'),
    ('a3', 'ann', 40, now() - interval '100 days');
SELECT redeem('shop', 'ann', '120.1', 'till-1', 'coffee');
SELECT giveback((SELECT max(entry_id) FROM entries WHERE kind = 'redeem'), 15, 'till-2');
SELECT giveback((SELECT max(entry_id) FROM entries WHERE kind = 'redeem'), 30, 'till-3', 'returned');
SELECT adjust('shop', 'ann', '7.5', 'sorry', 'desk-1');
SELECT adjust('shop', 'ann', -3, 'typo');
SELECT adjust('shop', 'ann', 2, 'found', currency => 'miles');

-- bob: a refund in steps, a deletion, a change of status and back
INSERT INTO orders (id, who, amount) VALUES ('b1', 'bob', 99.99), ('b2', 'bob', 20), ('b3', 'bob', 30);
UPDATE orders SET refunded = 33.33 WHERE id = 'b1';
UPDATE orders SET refunded = 66.66 WHERE id = 'b1';
DELETE FROM orders WHERE id = 'b2';
UPDATE orders SET state = 'void' WHERE id = 'b3';
UPDATE orders SET state = 'paid' WHERE id = 'b3';

-- cid's order becomes dee's; eve's changes its key, in part refunded
INSERT INTO orders (id, who, amount, refunded) VALUES ('c1', 'cid', 80, 0), ('e1', 'eve', 60, 0), ('e2', 'eve', 10, 0);
UPDATE orders SET who = 'dee' WHERE id = 'c1';
UPDATE orders SET refunded = 6 WHERE id = 'e1';
UPDATE orders SET id = 'e9' WHERE id = 'e1';
UPDATE orders SET refunded = 60 WHERE id = 'e9';

-- fay: expired, booked, then refunded: nothing is taken again
INSERT INTO orders (id, who, amount, at) VALUES ('f1', 'fay', 70, now() - interval '800 days'), ('f2', 'fay', 30, now() - interval '500 days');
SELECT _expire_accounts(ARRAY[pg_temp.account('shop', 'fay')], now());
UPDATE orders SET refunded = 70 WHERE id = 'f1';
INSERT INTO orders (id, who, amount, at) VALUES ('f3', 'fay', 25, now() - interval '10 days');

-- gil spends what is then refunded: forgiven in shop, a debt in strict, repaid in part later
INSERT INTO orders (id, who, amount) VALUES ('g1', 'gil', 100);
SELECT redeem('shop', 'gil', 90), redeem('strict', 'gil', 80, 'strict-1');
UPDATE orders SET refunded = 100 WHERE id = 'g1';
INSERT INTO orders (id, who, amount) VALUES ('g2', 'gil', 50);
INSERT INTO orders (id, who, amount) VALUES ('g3', 'gil', 50);

-- hal: pending lots in firm, live after a fortnight, and a debt that blocks
INSERT INTO orders (id, who, amount, at) VALUES ('h1', 'hal', 40, now() - interval '20 days'), ('h2', 'hal', 10, now() - interval '1 day');
SELECT redeem('firm', 'hal', 35);
DELETE FROM orders WHERE id IN ('h1', 'h2');

-- ida's lines of baskets, moved between partitions; joe's rows of a feed; a guest
INSERT INTO lines VALUES ('k1', 1, 'ida', 3), ('k1', 2, 'ida', 4), ('k2', 1, 'ida', 5);
UPDATE lines SET n = 2 WHERE basket = 'k2';
DELETE FROM lines WHERE basket = 'k1' AND n = 1;
INSERT INTO feed VALUES (1, 'joe', 12), (2, 'joe', 13);
UPDATE feed SET amount = 11 WHERE id = 1;
INSERT INTO orders (id, who, amount) VALUES ('z1', NULL, 1000);

-- kim: a hold of two lots, captured in part, one that is released and one captured whole;
-- seven points to lou, two of them back
INSERT INTO orders (id, who, amount, at) VALUES ('m1', 'kim', 30, now() - interval '200 days'), ('m2', 'kim', 40, now() - interval '100 days');
SELECT capture(hold('shop', 'kim', 50, '1 day', 'hold-1'), 35, 'take-1', 'shipped');
SELECT release(hold('shop', 'kim', 10, '2 days'));
SELECT capture(hold('shop', 'kim', 5, '1 day'));
SELECT transfer('shop', 'kim', 'lou', 7, 'gift-1') FROM enrol('shop', 'lou');
SELECT transfer('shop', 'lou', 'kim', 2);

-- By hand: what is earned, less what is taken back, spent and expired.
SELECT is(balance('shop', 'ann'), '119.5', 'ann: 190.1 earned, 7.5 - 3 adjusted, 120.1 spent, 15 + 30 given back');
SELECT is(balance('shop', 'ann', currency => 'miles'), '17', 'ann: three welcomes of 5, and 2');
SELECT is(balance('shop', 'bob'), '63.33', 'bob: a third of 99.99, and 30');
SELECT is(balance('shop', 'cid'), '0', 'cid: his order went to dee');
SELECT is(balance('shop', 'eve'), '10', 'eve: the other order was refunded under its new key');
SELECT is(balance('shop', 'fay'), '25', 'fay: what expired is taken once');
SELECT is(balance('shop', 'gil'), '100', 'gil: the 90 that were spent and refunded are forgiven');
SELECT is(balance('strict', 'gil'), '20', 'gil: 100 - 80 - 100 + 50 + 50, a debt between');
SELECT is(balance('firm', 'hal'), '-35', 'hal: spent 35 of an order that was deleted');
SELECT is(balance('shop', 'ida'), '13.5', 'ida: (4 + 5) * (1 + 0.5)');
SELECT is(balance('shop', 'joe'), '24', 'joe: 11 + 13');
SELECT is(balance('shop', 'kim'), '10', 'kim: 70 - 35 - 5 - 7 + 2, of which 15 are held');
SELECT is(balance('shop', 'lou'), '5', 'lou: 7 - 2');
SELECT set_eq('SELECT kind FROM entries', ARRAY['earn', 'reverse', 'redeem', 'giveback', 'expire', 'adjust', 'rekey', 'hold', 'release', 'transfer', 'waive'],
    'entries of every kind are there');
SELECT is((SELECT sum(debt) FROM account), '35', 'and a debt');
SELECT is((SELECT sum(waived) FROM lot), '70', 'and points that had expired when they were taken back');
SELECT is((SELECT sum(returned) FROM allocation), '45', 'and points given back');
SELECT cmp_ok((SELECT sum(pending) FROM account), '>', points '0', 'and pending ones');

SELECT is_empty('SELECT * FROM verify()', 'the books hold');
SELECT is_empty($$SELECT * FROM verify('shop')$$, 'those of one program do');
SELECT throws_ok($$SELECT * FROM verify('shoe')$$, 'LY001', 'program "shoe" does not exist');

-- ---------------------------------------------------------------- the hash

-- By Python's hashlib, over the bytes that docs/audit.md lists.
SELECT is(encode(_entry_hash(NULL, 7, 1, NULL, 0, '2000-01-01 00:00:00+00', '2000-01-01 00:00:00.000001+00', 9,
                             NULL, NULL, NULL, NULL, NULL, NULL, 'earn', NULL, NULL), 'hex'),
    '1b31f6c46ff1a39881790e6288ffb67e21f236fbdd46326b87b4ba78fc7d019b', 'the hash of a bare entry');
SELECT is(encode(_entry_hash(sha256('before'), 123456789012, 42, 3, '-12.5', '2024-02-29 12:34:56.789+00', '1999-12-31 23:59:59+00', 2147483647,
                             '99.99', '12.3456', '0.0001', 5, 6, 41, 'reverse', 'Bestellung-Ä', ''), 'hex'),
    '877b0f9f0fbf522e98c670c530ac79d3f03c06373873a28591529ada6c098b84', 'the hash of an entry that has every column');
-- 5 points repay a debt, 17.5 come out of lot 12; one lot is opened that ends in 2025, and one of March 2024 that never does.
SELECT is(encode(_entry_hash(sha256('before'), 123456789012, 42, 3, '-12.5', '2024-02-29 12:34:56.789+00', '1999-12-31 23:59:59+00', 2147483647,
                             '99.99', '12.3456', '0.0001', 5, 6, 41, 'reverse', 'Bestellung-Ä', '',
                             '\x0c 00000002 00000000000000000000c350 0000000cfffffffffffd5468 00 0002cd987ed48000 01 0002b58cd363c000 7fffffffffffffff'), 'hex'),
    '17b27c6920adea09875af4f72ef06755bb4a4818834111e202b26bee01dd6bc5', 'and what it did to lots');
SELECT is(_entry_hash(NULL, 1, NULL, NULL, 0, now(), now(), 9, NULL, NULL, NULL, NULL, NULL, NULL, 'earn', NULL, NULL),
    NULL, 'without what every entry has there is no hash');
SELECT throws_ok($$SELECT _entry_hash('\x00', 1, 1, NULL, 0, now(), now(), 9, NULL, NULL, NULL, NULL, NULL, NULL, 'earn', NULL, NULL)$$,
    '22023', 'the hash before must have 32 bytes');
SELECT is_empty($$
    SELECT account_id, entry_no FROM (SELECT e.*, lag(hash) OVER (PARTITION BY account_id ORDER BY entry_no) AS before FROM entry e) e
    LEFT JOIN _hashed_effect f USING (account_id, entry_no) WHERE hash <> _entry_hash(before, account_id, entry_no, lot_no, points, event_time, recorded_at, actor_id, base, refunded, forgiven,
                              source_id, rule_id, reverses, kind, event, line, effects)$$,
    'each entry has the hash of its content and the hash before it');

-- ---------------------------------------------------------------- damage

SELECT pg_temp.account('shop', 'ann') AS ann, pg_temp.account('shop', 'ann', 'miles') AS ann_miles, pg_temp.account('shop', 'bob') AS bob,
       pg_temp.account('shop', 'eve') AS eve, pg_temp.account('shop', 'fay') AS fay, pg_temp.account('shop', 'gil') AS gil,
       pg_temp.account('strict', 'gil') AS gil_strict, pg_temp.account('firm', 'bob') AS bob_firm,
       pg_temp.account('shop', 'kim') AS kim, pg_temp.account('shop', 'lou') AS lou,
       pg_temp.account('solo', 'joe') AS joe, (SELECT source_id FROM source WHERE relation = 'lines'::regclass) AS lines,
       (SELECT source_id FROM source WHERE relation = 'feed'::regclass AND for_each = 'row') AS feed \gset

-- A superuser does the damage (@ is the account), verify() must tell what is expected of that
-- account and entry and nothing of any other account but the one at the other side of a
-- transfer, and all is undone.
CREATE FUNCTION pg_temp.finds(what text, account bigint, entry_no int, problem text, damage text, other bigint DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    told text[];
    found boolean;
    others bigint;
BEGIN
    BEGIN
        SET LOCAL session_replication_role = replica;
        EXECUTE replace(damage, '@', coalesce(account::text, '@'));
        SELECT array_agg(format('%s %s %s', v.account, v.entry_id, v.problem)),
               coalesce(bool_or(v.account IS NOT DISTINCT FROM finds.account
                                AND v.entry_id IS NOT DISTINCT FROM finds.account * 100000000 + finds.entry_no
                                AND v.problem LIKE finds.problem), false),
               count(*) FILTER (WHERE v.account IS DISTINCT FROM finds.account AND (other IS NULL OR v.account IS DISTINCT FROM other))
        INTO told, found, others
        FROM loyalty.verify() v;
        RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO1';
    EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
    END;
    RETURN public.ok(found AND others = 0, what) || CASE WHEN found AND others = 0 THEN ''
        ELSE E'\n' || public.diag(coalesce(array_to_string(told, E'\n'), 'nothing was told')) END;
END $$;

-- Entries changed
SELECT pg_temp.finds('points', :ann, 2, 'the hash is not%', $$UPDATE entry SET points = 51 WHERE account_id = @ AND entry_no = 2$$);
SELECT pg_temp.finds('points: their lot tells too', :ann, 2, 'lot 2 has 50 points left, its entries come to 51',
    $$UPDATE entry SET points = 51 WHERE account_id = @ AND entry_no = 2$$);
SELECT pg_temp.finds('points, and all that is summed from them', :ann, 2, 'the hash is not%', $$
    UPDATE entry SET points = points + 1, base = base + 1 WHERE account_id = @ AND entry_no = 2;
    UPDATE lot SET remaining = remaining + 1, credited = credited + 1 WHERE account_id = @ AND lot_no = 2;
    UPDATE account SET posted = posted + 1, live = live + 1, earned = earned + 1 WHERE account_id = @$$);
SELECT pg_temp.finds('points of one with allocations', :ann, 4, 'the allocations do not add up to the entry''s points',
    $$UPDATE entry SET points = -120 WHERE account_id = @ AND entry_no = 4$$);
SELECT pg_temp.finds(format('%s becomes %s', col, value), :ann, 3, 'the hash is not%',
    format('UPDATE entry SET %s = %s WHERE account_id = @ AND entry_no = 3', col, value))
FROM (VALUES ('event_time', 'event_time + interval ''1 microsecond'''), ('recorded_at', 'recorded_at - interval ''1 day'''),
             ('base', 'base + ''0.0001'''), ('base', 'NULL'), ('refunded', '1'), ('forgiven', '1'), ('lot_no', '2'), ('source_id', 'source_id + 1'),
             ('rule_id', 'rule_id + 2'), ('actor_id', 'actor_id + 1'), ('reverses', '1'), ('kind', '''adjust'''), ('event', '''a4'''), ('event', 'NULL'), ('line', ''''''),
             ('hash', 'set_byte(hash, 31, get_byte(hash, 31) # 1)'), ('hash', '''\x00''')) c (col, value);
SELECT pg_temp.finds('the kind, to an unknown one', :ann, 3, 'entries of kind "gift" are unknown',
    $$UPDATE entry SET kind = 'gift' WHERE account_id = @ AND entry_no = 3$$);
SELECT pg_temp.finds('who booked it, to nobody', :ann, 3, 'actor 2147483647 is not there',
    $$UPDATE entry SET actor_id = 2147483647 WHERE account_id = @ AND entry_no = 3$$);
SELECT pg_temp.finds('zero for NULL, which the hash can''t tell', :ann, 3, 'an entry of kind earn has a zero where the ledger writes NULL',
    $$UPDATE entry SET forgiven = 0 WHERE account_id = @ AND entry_no = 3$$);
SELECT pg_temp.finds('the last hash of an account', :ann, NULL, 'the head is not the hash of the last entry',
    $$UPDATE entry SET hash = sha256('') WHERE account_id = @ AND entry_no = 8$$);

-- Entries that can't be, their hash made good
CREATE FUNCTION pg_temp.add(account bigint, kind text, points points, lot int DEFAULT NULL, source int DEFAULT NULL, rule int DEFAULT NULL,
        event text DEFAULT NULL, reverses int DEFAULT NULL, forgiven points DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
    WITH added AS (
        INSERT INTO loyalty.entry (account_id, entry_no, lot_no, points, event_time, recorded_at, forgiven, source_id, rule_id, reverses, actor_id, kind, event, hash)
        SELECT a.account_id, a.entries + 1, lot, $3, now(), now(), $9, source, rule, $8, w.actor_id, $2, $7,
               loyalty._entry_hash(a.head, a.account_id, a.entries + 1, lot, $3, now(), now(), w.actor_id, NULL, NULL, $9, source, rule, $8, $2, $7, NULL)
        FROM loyalty.account a, (SELECT min(actor_id) AS actor_id FROM loyalty.actor) w WHERE a.account_id = $1
        RETURNING account_id, entry_no, hash)
    UPDATE loyalty.account a SET entries = i.entry_no, head = i.hash, posted = posted + $3 FROM added i WHERE a.account_id = i.account_id
$$;
SELECT pg_temp.finds('one that gives points to no lot', :ann, 9, 'the allocations do not add up to the entry''s points',
    $$SELECT pg_temp.add(@, 'adjust', 100)$$);
SELECT pg_temp.finds('one that gives points to a lot, which does not have them', :ann, 3, 'lot 3 has 40 points left, its entries come to 140',
    $$SELECT pg_temp.add(@, 'adjust', 100, lot => 3)$$);
SELECT pg_temp.finds('one of a lot that is not there', :ann, 9, 'lot 77 is not there, its entries come to 100 points',
    $$SELECT pg_temp.add(@, 'adjust', 100, lot => 77)$$);
SELECT pg_temp.finds(problem, :ann, 9, problem, format($$SELECT pg_temp.add(@, %s)$$, args))
FROM (VALUES ($$'earn', -1, 1, 1, 1, 'x'$$, 'an entry of kind earn takes points'), ($$'reverse', 1, 1, 1, 1, 'x'$$, 'an entry of kind reverse gives points'),
             ($$'redeem', 1, 1$$, 'an entry of kind redeem gives points'), ($$'giveback', -1, 1$$, 'an entry of kind giveback takes points'),
             ($$'expire', 1, 1$$, 'an entry of kind expire gives points'), ($$'adjust', 0$$, 'an entry of kind adjust moves nothing'),
             ($$'earn', 1, 1$$, 'an entry of kind earn does not name its source, rule and event'),
             ($$'rekey', 1, 1, 1, 1$$, 'an entry of kind rekey does not name its source, rule and event'),
             ($$'adjust', 1, 1, 1$$, 'an entry of kind adjust has what only awards have'),
             ($$'giveback', 1$$, 'an entry of kind giveback does not name the entry it reverses'),
             ($$'giveback', 1, reverses => 9$$, 'an entry of kind giveback reverses an entry that is not before it'),
             ($$'adjust', -1, 1, reverses => 1$$, 'an entry of kind adjust names an entry it reverses'),
             ($$'release', 1, 1, reverses => 3$$, 'an entry of kind release gives points'), ($$'release', 0$$, 'an entry of kind release does not name the entry it reverses'),
             ($$'waive', 1, 1$$, 'an entry of kind waive gives points'), ($$'waive', 0$$, 'an entry of kind waive does not name its lot'),
             ($$'waive', 0, 1, reverses => 1$$, 'of lot 1, which it does not hold, refunds are let off'),
             ($$'hold', 0$$, 'an entry of kind hold does not say what it reserves'), ($$'hold', 1, 1$$, 'an entry of kind hold gives points'),
             ($$'hold', -1, 1$$, 'an entry of kind hold takes points'), ($$'transfer', 1, 1$$, 'an entry of kind transfer does not name its other side'),
             ($$'transfer', 0$$, 'an entry of kind transfer moves nothing'),
             ($$'expire', -1$$, 'an entry of kind expire does not name its lot'),
             ($$'earn', 1, 1, 4711, 1, 'x'$$, 'source 4711 is not there'), ($$'earn', 1, 1, 1, 4711, 'x'$$, 'rule version 4711 is not there'),
             ($$'giveback', 1, 1, reverses => 3$$, 'what it gives back, entry 3, is not a redemption')) c (args, problem);
SELECT pg_temp.finds('a rule of another currency', :ann, 9, 'rule version % gives another currency than the rules before',
    $$SELECT pg_temp.add(@, 'earn', 1, 1, 1, (SELECT rule_id FROM rule WHERE name = 'welcome'), 'x')$$);
SELECT pg_temp.finds('more taken back than was given', :bob, 9, 'its award gave -0.01 points and forgave 0,%',
    $$SELECT pg_temp.add(@, 'reverse', '-0.01', 1, source_id, rule_id, event) FROM entry WHERE account_id = @ AND entry_no = 6$$);
SELECT pg_temp.finds('more let off than was given', :bob, 9, 'its award gave 33.33 points and forgave 33.34,%',
    $$SELECT pg_temp.add(@, 'reverse', 0, NULL, source_id, rule_id, event, forgiven => '33.34') FROM entry WHERE account_id = @ AND entry_no = 1$$);
SELECT pg_temp.finds('more given back than was spent', :ann, 5, 'of entry 4 145 points are given back, it took 120.1',
    $$SELECT pg_temp.add(@, 'giveback', 100, 1, reverses => 4)$$);
SELECT pg_temp.finds('half of a change of key', :eve, 4, 'its pair of a change of key is not there',
    $$SELECT pg_temp.add(@, 'rekey', 5, 1, source_id, rule_id, event) FROM entry WHERE account_id = @ AND entry_no = 5$$);
SELECT pg_temp.finds('an end booked twice, at two times', :fay, 8, 'the end of lot 3 is booked at %, it ends at %',
    $$SELECT pg_temp.add(@, 'expire', -1, 3)$$);
SELECT pg_temp.finds('an answer to a request that is not there', :ann, 9, 'the request ''till-9'' that it answered is not there',
    $$SELECT pg_temp.add(@, 'redeem', -1, 3, event => 'till-9')$$);

-- Entries missing or moved
SELECT pg_temp.finds('one deleted from the middle', :ann, 2, 'entry number 2 is not there', $$DELETE FROM entry WHERE account_id = @ AND entry_no = 2$$);
SELECT pg_temp.finds('the next does not follow', :ann, 3, 'the hash is not%', $$DELETE FROM entry WHERE account_id = @ AND entry_no = 2$$);
SELECT pg_temp.finds('several deleted', :ann, 2, 'entry numbers 2 to 5 are not there', $$DELETE FROM entry WHERE account_id = @ AND entry_no BETWEEN 2 AND 5$$);
SELECT pg_temp.finds('their allocations stay', :ann, 4, 'allocations name an entry that is not there',
    $$DELETE FROM entry WHERE account_id = @ AND entry_no BETWEEN 2 AND 5$$);
SELECT pg_temp.finds('the first deleted', :ann, 1, 'entry number 1 is not there', $$DELETE FROM entry WHERE account_id = @ AND entry_no = 1$$);
SELECT pg_temp.finds('the last deleted', :ann, 8, 'it counts 8 entries, the last one there is 7', $$DELETE FROM entry WHERE account_id = @ AND entry_no = 8$$);
SELECT pg_temp.finds('all deleted', :ann, 1, 'it counts 8 entries, the last one there is 0', $$DELETE FROM entry WHERE account_id = @$$);
SELECT pg_temp.finds('the last deleted, count and head made to match', :bob, NULL, '63.33 points are posted, the entries come to 33.33', $$
    DELETE FROM entry WHERE account_id = @ AND entry_no = 8;
    UPDATE account SET entries = 7, head = (SELECT hash FROM entry WHERE account_id = @ AND entry_no = 7) WHERE account_id = @$$);
SELECT pg_temp.finds('two swapped', :ann, 1, 'the hash is not%', $$
    UPDATE entry SET entry_no = 0 WHERE account_id = @ AND entry_no = 1; UPDATE entry SET entry_no = 1 WHERE account_id = @ AND entry_no = 2;
    UPDATE entry SET entry_no = 2 WHERE account_id = @ AND entry_no = 0$$);
SELECT pg_temp.finds('one out of place', :ann, 0, 'entry number 0 is out of place', $$UPDATE entry SET entry_no = 0 WHERE account_id = @ AND entry_no = 1$$);
SELECT pg_temp.finds('entries of nobody', 4711000, NULL, 'the account is not there, its entries are',
    $$INSERT INTO entry (account_id, entry_no, points, event_time, recorded_at, actor_id, kind, hash) VALUES (@, 1, 0, now(), now(), 1, 'earn', '')$$);
SELECT pg_temp.finds('an id that no account can have', 92233720368, NULL, 'the account is not there, its entries are',
    $$INSERT INTO entry (account_id, entry_no, points, event_time, recorded_at, actor_id, kind, hash) VALUES (@, 1, 0, now(), now(), 1, 'earn', '')$$);
SELECT pg_temp.finds('points that no sum can hold', :ann, NULL, '119.5 points are posted, the entries come to 922337203685%',
    $$UPDATE entry SET points = '922337203685477.5807' WHERE account_id = @ AND entry_no BETWEEN 1 AND 3$$);

-- Lots
SELECT pg_temp.finds('points left', :ann, 2, 'lot 2 has 51 points left, its entries come to 50', $$UPDATE lot SET remaining = 51 WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('points left, more than any sum can hold', :ann, 2, 'lot 2 has 922337203685477.5807 points left%', $$UPDATE lot SET remaining = '922337203685477.5807' WHERE account_id = @$$);
SELECT pg_temp.finds('all points taken', :ann, 2, 'lot 2 has 0 points left, its entries come to 50', $$UPDATE lot SET remaining = 0, open = false WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('points moved from lot to lot', :ann, 3, 'lot 3 has 41 points left, its entries come to 40',
    $$UPDATE lot SET remaining = remaining + CASE lot_no WHEN 2 THEN -1 ELSE 1 END WHERE account_id = @ AND lot_no IN (2, 3)$$);
SELECT pg_temp.finds('a lot deleted', :ann, 2, 'lot 2 is not there, its entries come to 50 points', $$DELETE FROM lot WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('an empty lot deleted', :fay, 1, 'lot 1 is not there, its entries come to 0 points', $$DELETE FROM lot WHERE account_id = @ AND lot_no = 1$$);
SELECT pg_temp.finds('a lot made', :ann, NULL, 'lot 5 comes from no entry', $$INSERT INTO lot SELECT account_id, 5, open, by_activity, extended, issued, opened_by, valid_from, expires_at, earned_at, credited, remaining, held, expired, waived FROM lot WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('a lot twice', :ann, NULL, 'it counts 4 lots, there are 5 and the last is 4', $$INSERT INTO lot SELECT account_id, lot_no, open, by_activity, extended, issued, opened_by, valid_from, expires_at + interval '1 day', earned_at, credited, remaining, held, expired, waived FROM lot WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('a lot of nobody', 4711000, NULL, 'the account is not there, its lots are', format($$INSERT INTO lot SELECT @, 1, open, by_activity, extended, issued, opened_by, valid_from, expires_at, earned_at, credited, remaining, held, expired, waived FROM lot WHERE account_id = %s AND lot_no = 2$$, :ann));
SELECT pg_temp.finds(format('a lot''s %s becomes %s', col, value), :ann, 2, problem, format('UPDATE lot SET %s = %s WHERE account_id = @ AND lot_no = 2', col, value))
FROM (VALUES ('expires_at', 'expires_at + interval ''1 day''', 'the hash is not%'), ('expires_at', '''infinity''', 'the hash is not%'),
             ('valid_from', 'earned_at', 'the hash is not%'), ('valid_from', '''infinity''', 'the hash is not%'),
             ('issued', '''2000-01-01''', 'the hash is not%'), ('by_activity', 'true', 'the hash is not%'), ('by_activity', 'true', 'lot 2 ends at %, and came to end by activity'),
             ('expires_at', '''294276-12-31 23:59:59.999999+00''', 'lot 2 ends at 294276-12-31%, and did not come to end so'),
             ('extended', 'true', 'lot 2 says that its end was moved, no entry does'),
             ('opened_by', '3', 'the hash is not%'), ('opened_by', '3', 'lot 2 was opened by entry 3, its first entry is 2')) c (col, value, problem);
SELECT pg_temp.finds('another lot pays, and has less for it', :ann, 4, 'the hash is not%', $$
    UPDATE allocation SET points = points + CASE lot_no WHEN 1 THEN 1 ELSE -1 END WHERE account_id = @ AND entry_no = 4 AND lot_no IN (1, 2);
    UPDATE lot SET remaining = remaining + CASE lot_no WHEN 1 THEN 1 ELSE -1 END, open = true WHERE account_id = @ AND lot_no IN (1, 2)$$);
SELECT pg_temp.finds('what came in', :ann, 2, 'lot 2 was credited 71 points, by its entries 70', $$UPDATE lot SET credited = 71 WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('what expired', :fay, 2, 'of lot 2 29 points expired, by its entries 30', $$UPDATE lot SET expired = 29 WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('less was waived', :fay, 1, 'of lot 1 69 points were waived, by its entries 70', $$UPDATE lot SET waived = 69 WHERE account_id = @ AND lot_no = 1$$);
SELECT pg_temp.finds('what was waived', :fay, 1, 'of lot 1 70 points expired and 71 were waived', $$ALTER TABLE lot DROP CONSTRAINT lot_amounts; UPDATE lot SET waived = 71 WHERE account_id = @ AND lot_no = 1$$);
SELECT pg_temp.finds('what is held', :ann, NULL, '0 points are held, by the lots 1', $$UPDATE lot SET held = 1 WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('what is held, beyond what is left', :ann, 2, 'lot 2 has 50 points left and 51 held', $$ALTER TABLE lot DROP CONSTRAINT lot_amounts; UPDATE lot SET held = 51 WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('used', :ann, 2, 'lot 2 has 50 points left and says that it is used', $$ALTER TABLE lot DROP CONSTRAINT lot_amounts; UPDATE lot SET open = false WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('open', :fay, 1, 'lot 1 has 0 points left and says that it is open', $$ALTER TABLE lot DROP CONSTRAINT lot_amounts; UPDATE lot SET open = true WHERE account_id = @ AND lot_no = 1$$);
SELECT pg_temp.finds('the end of an expired lot', :fay, 3, 'the end of lot 1 is booked at %, it ends at %', $$UPDATE lot SET expires_at = expires_at + interval '1 year' WHERE account_id = @ AND lot_no = 1$$);
SELECT pg_temp.finds('the end of a live lot, into the past', :ann, NULL, '119.5 points are live, by the lots 69.5', $$UPDATE lot SET expires_at = now() - interval '1 day' WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('the end of a live lot, to sooner', :ann, NULL, 'its totals as of % hold until %, by the lots until %', $$UPDATE lot SET expires_at = now() + interval '1 second' WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('the start of a pending lot', :bob_firm, NULL, '63 points are pending, by the lots 0', $$UPDATE lot SET valid_from = now() WHERE account_id = @$$);
SELECT pg_temp.finds('the start of a live lot', :ann, NULL, '119.5 points are live, by the lots 69.5', $$UPDATE lot SET valid_from = now() + interval '10 years' WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('when it was earned', :ann, 2, 'lot 2 was earned at %, its first entry is of %', $$UPDATE lot SET earned_at = earned_at - interval '1 day' WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('the month it was issued in', :ann, 2, 'lot 2 was issued on %, that is no month', $$UPDATE lot SET issued = issued + 1 WHERE account_id = @ AND lot_no = 2$$);

-- Allocations
SELECT pg_temp.finds('an allocation deleted', :ann, 4, 'the allocations do not add up to the entry''s points', $$DELETE FROM allocation WHERE account_id = @ AND entry_no = 4 AND allocation_no = 2$$);
SELECT pg_temp.finds('the only one deleted', :ann, 8, 'the allocations do not add up to the entry''s points', $$DELETE FROM allocation WHERE account_id = @ AND entry_no = 8$$);
SELECT pg_temp.finds('points changed', :ann, 8, 'the allocations do not add up to the entry''s points', $$UPDATE allocation SET points = -4 WHERE account_id = @ AND entry_no = 8$$);
SELECT pg_temp.finds('points moved from one to the other', :ann, 1, 'lot 1 has 22 points left, its entries come to 23', $$UPDATE allocation SET points = points + CASE lot_no WHEN 1 THEN 1 ELSE -1 END WHERE account_id = @ AND entry_no = 4$$);
SELECT pg_temp.finds('another lot', :ann, 3, 'lot 3 has 40 points left, its entries come to 37', $$UPDATE allocation SET lot_no = 3 WHERE account_id = @ AND entry_no = 8$$);
SELECT pg_temp.finds('a number changed', :ann, 4, 'allocation 2 is not there', $$UPDATE allocation SET allocation_no = 3 WHERE account_id = @ AND entry_no = 4 AND allocation_no = 2$$);
SELECT pg_temp.finds('added to an entry that has a lot', :ann, 1, 'the entry has a lot and allocations as well', $$INSERT INTO allocation VALUES (@, 1, 1, 1, 5, 0)$$);
SELECT pg_temp.finds('of an entry that is not there', :ann, 99, 'allocations name an entry that is not there', $$INSERT INTO allocation VALUES (@, 99, 1, 1, 5, 0)$$);
SELECT pg_temp.finds('more returned', :ann, 4, 'its allocations were given back 46 points, by the entries 45', $$UPDATE allocation SET returned = returned + 1 WHERE account_id = @ AND entry_no = 4 AND allocation_no = 1$$);
SELECT pg_temp.finds('less returned, to give it back again', :ann, 4, 'its allocations were given back 0 points, by the entries 45', $$UPDATE allocation SET returned = 0 WHERE account_id = @$$);
SELECT pg_temp.finds('returned, where nothing was', :gil_strict, 2, 'its allocations were given back 80 points, by the entries 0', $$UPDATE allocation SET returned = 80 WHERE account_id = @ AND entry_no = 2$$);
SELECT pg_temp.finds('returned to the other lot', :ann, 4, 'its allocations were given back 45 points, by the entries 45', $$UPDATE allocation SET returned = returned + CASE lot_no WHEN 1 THEN 1 ELSE -1 END WHERE account_id = @ AND entry_no = 4$$);

-- Holds
SELECT pg_temp.finds('more held than its entry says', :kim, 3, 'it holds 51 points of lots, by its entry 50', $$UPDATE hold SET points = 31 WHERE account_id = @ AND hold_no = 3 AND lot_no = 1$$);
SELECT pg_temp.finds('its lot tells too', :kim, 1, 'of lot 1 0 points are held, by its holds 1', $$UPDATE hold SET points = 31, open = true WHERE account_id = @ AND hold_no = 3 AND lot_no = 1$$);
SELECT pg_temp.finds('less captured, to capture it again', :kim, 3, 'of lot 2 0 points are captured, by its redemptions 5', $$
    UPDATE hold SET captured = 0 WHERE account_id = @ AND hold_no = 3 AND lot_no = 2;
    UPDATE lot SET held = held + 5 WHERE account_id = @ AND lot_no = 2; UPDATE account SET held = held + 5 WHERE account_id = @$$);
SELECT pg_temp.finds('more captured', :kim, 3, 'of lot 2 6 points are captured, by its redemptions 5', $$UPDATE hold SET captured = 6 WHERE account_id = @ AND hold_no = 3 AND lot_no = 2$$);
SELECT pg_temp.finds('a hold emptied', :kim, 3, 'no lot is held for it', $$DELETE FROM hold WHERE account_id = @ AND hold_no = 3$$);
SELECT pg_temp.finds('what was captured of it tells too', :kim, 3, 'of lot 1 30 points are captured, it held none', $$DELETE FROM hold WHERE account_id = @ AND hold_no = 3$$);
SELECT pg_temp.finds('another lot', :kim, 3, 'of lot 1 30 points are captured, it held none', $$UPDATE hold SET lot_no = 9 WHERE account_id = @ AND hold_no = 3 AND lot_no = 1$$);
SELECT pg_temp.finds('a capture of what is no hold', :ann, 1, 'of lot 1 1 points are captured, it held none', $$SELECT pg_temp.add(@, 'redeem', -1, 1, reverses => 1)$$);
SELECT pg_temp.finds('a capture of more than is held', :kim, 3, 'of lot 2 5 points are captured, by its redemptions 105', $$SELECT pg_temp.add(@, 'redeem', -100, 2, reverses => 3)$$);
SELECT pg_temp.finds('points held for what is no hold', :kim, 2, 'points of lot 2 are held for it, it is not a hold', $$INSERT INTO hold VALUES (@, 2, 2, false, 1, 0, now() + interval '1 day', now())$$);
SELECT pg_temp.finds('points held for nobody', 4711000, 1, 'points of lot 1 are held for it, it is not a hold', $$INSERT INTO hold VALUES (@, 1, 1, false, 1, 0, now(), now())$$);
SELECT pg_temp.finds('lots that end apart', :kim, 3, 'it does not end at one time', $$UPDATE hold SET ends_at = ends_at + interval '1 hour' WHERE account_id = @ AND hold_no = 3 AND lot_no = 2$$);
SELECT pg_temp.finds('an end before its begin', :kim, 3, 'it ended at %, before it was made', $$UPDATE hold SET ends_at = ends_at - interval '1 day' WHERE account_id = @ AND hold_no = 3$$);
SELECT pg_temp.finds('closed before its time', :kim, 3, 'it says that it is over, as of %', $$
    UPDATE hold SET open = false WHERE account_id = @ AND hold_no = 3;
    UPDATE lot SET held = 0 WHERE account_id = @; UPDATE account SET held = 0 WHERE account_id = @$$);
SELECT pg_temp.finds('not released after all', :kim, 5, 'it says that it was released never, by its entries at %', $$UPDATE hold SET released_at = NULL WHERE account_id = @$$);
SELECT pg_temp.finds('opened again after its release', :kim, 5, 'it says that it is open, as of %', $$ALTER TABLE hold DROP CONSTRAINT hold_amounts; UPDATE hold SET open = true WHERE account_id = @ AND hold_no = 5$$);
SELECT pg_temp.finds('held points of a lot', :kim, 2, 'of lot 2 14 points are held, by its holds 15', $$UPDATE lot SET held = 14 WHERE account_id = @ AND lot_no = 2$$);
SELECT pg_temp.finds('held points of a lot and its account', :kim, 2, 'of lot 2 0 points are held, by its holds 15', $$UPDATE lot SET held = 0 WHERE account_id = @; UPDATE account SET held = 0 WHERE account_id = @$$);
SELECT pg_temp.finds('a next change after the hold''s end', :kim, NULL, 'its totals as of % hold until %, by its holds until %', $$UPDATE account SET next_change = as_of + interval '25 hours' WHERE account_id = @$$);

SELECT pg_temp.finds('a hold''s end', :kim, 3, 'the hash is not%', $$UPDATE hold SET ends_at = ends_at + interval '1 day' WHERE account_id = @ AND hold_no = 3$$);
SELECT pg_temp.finds('what a hold that is over was of', :kim, 5, 'the hash is not%', $$UPDATE hold SET lot_no = 1 WHERE account_id = @ AND hold_no = 5$$);
SELECT pg_temp.finds('a release that never was', :kim, 3, 'it says that it was released at %, by its entries never', $$
    UPDATE hold SET released_at = now(), open = false WHERE account_id = @ AND hold_no = 3;
    UPDATE lot SET held = 0 WHERE account_id = @; UPDATE account SET held = 0 WHERE account_id = @$$);
SELECT pg_temp.finds('a release of what is captured, in its row alone', :kim, 7, 'it says that it was released at %, of lot 2 nothing was left', $$UPDATE hold SET released_at = now() WHERE account_id = @ AND hold_no = 7$$);
SELECT pg_temp.finds('a release of what is captured', :kim, 11, 'what it releases, entry 7, is no hold of which something was left', $$SELECT pg_temp.add(@, 'release', 0, reverses => 7)$$);
SELECT pg_temp.finds('a release of no hold', :kim, 11, 'what it releases, entry 1, is no hold of which something was left', $$SELECT pg_temp.add(@, 'release', 0, reverses => 1)$$);
SELECT pg_temp.finds('a release twice', :kim, 11, 'it releases entry 5, which was released before', $$SELECT pg_temp.add(@, 'release', 0, reverses => 5)$$);

-- Transfers
SELECT pg_temp.finds('one side deleted', :kim, 9, format('the other side of the transfer, entry %s, is not there', :lou::bigint * 100000000 + 1), format('DELETE FROM entry WHERE account_id = %s AND entry_no = 1', :lou), :lou);
SELECT pg_temp.finds('the other deleted', :lou, 1, format('the other side of the transfer, entry %s, is not there', :kim::bigint * 100000000 + 9), format('DELETE FROM entry WHERE account_id = %s AND entry_no = 9', :kim), :kim);
SELECT pg_temp.finds('more points on one side', :lou, 1, format('its side of the transfer moves 8 points, entry %s moves -7', :kim::bigint * 100000000 + 9), 'UPDATE entry SET points = 8 WHERE account_id = @ AND entry_no = 1', :kim);
SELECT pg_temp.finds('seen from the other', :kim, 9, format('its side of the transfer moves -7 points, entry %s moves 8', :lou::bigint * 100000000 + 1), format('UPDATE entry SET points = 8 WHERE account_id = %s AND entry_no = 1', :lou), :lou);
SELECT pg_temp.finds('another side named', :kim, 9, 'the other side of the transfer, entry 7, is not there', $$UPDATE entry SET line = '7' WHERE account_id = @ AND entry_no = 9$$, :lou);
SELECT pg_temp.finds('the same transfer named twice', :kim, 10, format('the other side of the transfer, entry %s, is not there', :lou::bigint * 100000000 + 1),
    format('UPDATE entry SET line = %L WHERE account_id = @ AND entry_no = 10', :lou::bigint * 100000000 + 1), :lou);
SELECT pg_temp.finds('between two currencies', :kim, 9, 'its side of the transfer moves -7 points, entry % moves 7', format('UPDATE account SET currency_id = %s WHERE account_id = %s',
    (SELECT currency_id FROM account WHERE account_id = :ann_miles), :lou), :lou);

-- Accounts and members
SELECT pg_temp.finds(format('%s of an account', col), :ann, NULL, problem, format('ALTER TABLE account DROP CONSTRAINT account_totals; UPDATE account SET %s = %s WHERE account_id = @', col, value))
FROM (VALUES ('posted', '100', '100 points are posted, the entries come to 119.5'), ('posted', '100', '100 points are posted, the lots have 119.5 and the debt is 0'),
             ('live', '120.5', '120.5 points are live, by the lots 119.5'), ('pending', '1', '1 points are pending, by the lots 0'),
             ('held', '1', '1 points are held, by the lots 0'), ('debt', '1', 'the debt is 1, by the entries 0'),
             ('earned', '1', '1 points are earned, by the entries 190.1'), ('redeemed', '1', '1 points are redeemed, by the entries 75.1'),
             ('expired', '1', '1 points are expired, by the entries 0'), ('lots', '5', 'it counts 5 lots, there are 4 and the last is 4'),
             ('head', 'sha256(head)', 'the head is not the hash of the last entry'), ('head', 'NULL', 'the head is not the hash of the last entry'),
             ('as_of', 'as_of - interval ''1 second''', 'its totals are as of %, an entry was recorded at %'),
             ('next_change', 'next_change + interval ''1 year''', 'its totals as of % hold until %, by the lots until %'),
             ('next_change', 'as_of', 'its totals as of % hold until %'),
             ('currency_id', '(SELECT currency_id FROM currency WHERE code = ''points'' AND program_id <> (SELECT program_id FROM program WHERE code = ''shop'') AND currency_id NOT IN (SELECT o.currency_id FROM account o WHERE o.member_key = account.member_key) LIMIT 1)',
              'its rules give another currency than its own'),
             ('member_id', '4711', 'member 4711 is not there'), ('currency_id', '4711', 'currency 4711 is not there'),
             ('member_id', '(SELECT member_id FROM member JOIN program USING (program_id) WHERE code = ''firm'' AND member = ''cid'')',
              'its member and its currency belong to two programs')) c (col, value, problem);
SELECT pg_temp.finds('too many entries counted', :ann, 9, 'it counts 9 entries, the last one there is 8', $$UPDATE account SET entries = 9 WHERE account_id = @$$);
SELECT pg_temp.finds('too few entries counted', :ann, 8, 'it counts 7 entries, the last one there is 8', $$UPDATE account SET entries = 7 WHERE account_id = @$$);
SELECT pg_temp.finds('an account deleted', :ann, NULL, 'the account is not there, its entries and lots are', $$DELETE FROM account WHERE account_id = @$$);
SELECT pg_temp.finds('a member deleted', :gil_strict, NULL, 'member % is not there',
    $$DELETE FROM member WHERE member_id = (SELECT member_id FROM account WHERE account_id = @)$$);
SELECT pg_temp.finds('a member put into another program', :gil_strict, NULL, 'its member and its currency belong to two programs',
    $$UPDATE member SET program_id = (SELECT program_id FROM program WHERE code = 'solo') WHERE member_id = (SELECT member_id FROM account WHERE account_id = @)$$);
SELECT pg_temp.finds('a second account of a member', 4711000, NULL, 'its member has another account of the same currency', format($$
    ALTER TABLE account DROP CONSTRAINT account_key; CREATE UNIQUE INDEX account_key ON account (currency_id, member_key, account_id);
    INSERT INTO account (account_id, member_id, currency_id, member_key) SELECT @, member_id, currency_id, member_key FROM account WHERE account_id = %s$$, :ann));
SELECT pg_temp.finds('an account under another key', :gil_strict, NULL, 'its key is not that of its member', $$UPDATE account SET member_key = 'mallory' WHERE account_id = @$$);
SELECT pg_temp.finds('a second member of one key', NULL, NULL, 'member % has the key of another member of its program', $$
    ALTER TABLE member DROP CONSTRAINT member_key; CREATE UNIQUE INDEX member_key ON member (program_id, member, member_id);
    INSERT INTO member (program_id, member, enrolled_at) SELECT program_id, member, enrolled_at FROM member LIMIT 1$$);

-- Requests
SELECT pg_temp.finds('a request deleted', :ann, 4, 'the request ''till-1'' that it answered is not there', $$DELETE FROM request WHERE request_id = 'till-1'$$);
SELECT pg_temp.finds('a request redirected', :ann, 7, 'request ''till-1'' names it, it did not answer that request',
    $$UPDATE request SET entry_no = 7 WHERE request_id = 'till-1'$$);
SELECT pg_temp.finds('the entry that it should name tells too', :ann, 4, 'the request ''till-1'' that it answered is not there',
    $$UPDATE request SET entry_no = 7 WHERE request_id = 'till-1'$$);
SELECT pg_temp.finds('a request that names no entry', :ann, 99, 'request ''till-1'' names it, it did not answer that request',
    $$UPDATE request SET entry_no = 99 WHERE request_id = 'till-1'$$);
SELECT pg_temp.finds('a request made up', :ann, 8, 'request ''till-9'' names it, it did not answer that request',
    $$INSERT INTO request SELECT program_id, 'till-9', @, 8, content, recorded_at FROM request WHERE request_id = 'till-1'$$);
SELECT pg_temp.finds(format('%s of a request', col), :ann, 4, 'request % names it, it did not answer that request',
    format('UPDATE request SET %s = %s WHERE request_id = ''till-1''', col, value))
FROM (VALUES ('request_id', '''till-0'''), ('program_id', 'program_id + 1'), ('recorded_at', 'recorded_at + interval ''1 day'''),
             ('content', 'replace(content, ''120.1'', ''1'')')) c (col, value);
SELECT pg_temp.finds(format('content of request %s', id), :kim, no, format('request ''%s'' names it, it did not answer that request', id),
    format('UPDATE request SET content = replace(content, %L, %L) WHERE request_id = %L', was, becomes, id))
FROM (VALUES ('hold-1', 3, 'hold 50', 'hold 5'), ('take-1', 4, 'capture', 'redeem'), ('gift-1', 9, 'transfer -7', 'transfer -6')) c (id, no, was, becomes);

-- Rules and sources, here of one account only
SELECT pg_temp.finds('a rule version deleted', :joe, 1, 'rule version % is not there',
    $$DELETE FROM rule WHERE program_id = (SELECT program_id FROM program WHERE code = 'solo')$$);
SELECT pg_temp.finds('a source deleted', :joe, 1, 'source % is not there',
    $$DELETE FROM source WHERE program_id = (SELECT program_id FROM program WHERE code = 'solo')$$);
SELECT pg_temp.finds('a rule given another currency', :joe, NULL, 'its rules give another currency than its own',
    $$UPDATE rule SET currency_id = currency_id + 4711 WHERE program_id = (SELECT program_id FROM program WHERE code = 'solo')$$);
SELECT pg_temp.finds('a currency deleted', :joe, NULL, 'currency % is not there',
    $$DELETE FROM currency WHERE program_id = (SELECT program_id FROM program WHERE code = 'solo')$$);

-- What is named and gone: a dump restored in part. The views show nothing of such a program.
SELECT pg_temp.finds(format('a program deleted: its %s', what), NULL, NULL, format('program %s is not there, %s of it', program_id, what),
    $$SELECT create_pool('solo', 'pair'); DELETE FROM program WHERE code = 'solo'$$)
FROM program, unnest(ARRAY['currency % is', 'rule version % is', 'source % is', '1 members are', 'pool % is']) what WHERE code = 'solo';
SELECT pg_temp.finds('changes of a tier of nobody', 4711000, NULL, 'the account is not there, what counts towards its tier is',
    $$INSERT INTO tier_change VALUES (@, 1, now(), now(), NULL, NULL, 'review', 0)$$);
SELECT pg_temp.finds('what counts towards a tier of nobody', 4711000, NULL, 'the account is not there, what counts towards its tier is',
    $$INSERT INTO tier_progress_bucket VALUES (@, now(), 0)$$);
SELECT pg_temp.finds('a change of nobody', NULL, NULL, 'member 4711000 is not there, its change % is',
    $$INSERT INTO member_change (member_id, kind) VALUES (4711000, 'close')$$);
SELECT pg_temp.finds('a change that did not happen', :joe, NULL, 'its state is 0, by what became of its member it is 2',
    $$INSERT INTO member_change (member_id, kind) SELECT member_id, 'close' FROM account WHERE account_id = @$$);

-- What guards the books and watches the sources. Named by table and trigger, since ids differ.
SELECT pg_temp.finds(format('no guard on %s', name), NULL, NULL, format('table loyalty.%s is not guarded', name), format('DROP TRIGGER loyalty_guard ON %I', name))
FROM (SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'loyalty_guard') t (name);
SELECT pg_temp.finds('a guard disabled', NULL, NULL, 'table loyalty.entry is not guarded', 'ALTER TABLE entry DISABLE TRIGGER loyalty_guard');
SELECT pg_temp.finds('a guard that guards nothing', NULL, NULL, 'table loyalty.entry is not guarded', $$
    CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    DROP TRIGGER loyalty_guard ON entry; CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON entry EXECUTE FUNCTION pg_temp.nothing()$$);
SELECT pg_temp.finds('a table that confined roles see', NULL, NULL, 'table loyalty.lot does not keep confined roles out', 'ALTER TABLE lot DISABLE ROW LEVEL SECURITY');
SELECT pg_temp.finds('a policy dropped', NULL, NULL, 'table loyalty.lot does not keep confined roles out', 'DROP POLICY loyalty_confinement ON lot');
SELECT pg_temp.finds('a key dropped', NULL, NULL, 'unique index loyalty.account_key is not there', 'ALTER TABLE account DROP CONSTRAINT account_key');
SELECT pg_temp.finds('a key that is not unique', NULL, NULL, 'unique index loyalty.request_pkey is not there',
    'ALTER TABLE request DROP CONSTRAINT request_pkey; CREATE INDEX request_pkey ON request (program_id, request_id)');
SELECT pg_temp.finds('an event trigger disabled', NULL, NULL, 'event trigger loyalty_watch_tables is not in force', 'ALTER EVENT TRIGGER loyalty_watch_tables DISABLE');
SELECT pg_temp.finds(format('no %s trigger on a partition', verb), NULL, NULL, format('table audited.lines_2 has no trigger loyalty_%s_%s in force', :lines, verb),
    format('DROP TRIGGER loyalty_%s_%s ON lines_2', :lines, verb))
FROM unnest(ARRAY['insert', 'update', 'delete', 'truncate']) verb;
SELECT pg_temp.finds('a trigger disabled', NULL, NULL, format('table audited.lines has no trigger loyalty_%s_update in force', :lines),
    format('ALTER TABLE lines DISABLE TRIGGER loyalty_%s_update', :lines));
SELECT pg_temp.finds('a row trigger that replicas would not fire', NULL, NULL, format('table audited.feed has no trigger loyalty_%s_row in force', :feed),
    format('ALTER TABLE feed ENABLE TRIGGER loyalty_%s_row', :feed));
SELECT pg_temp.finds('a trigger of another source under its name', NULL, NULL, format('table audited.lines has no trigger loyalty_%s_delete in force', :lines), format($$
    DROP TRIGGER loyalty_%1$s_delete ON lines;
    CREATE TRIGGER loyalty_%1$s_delete AFTER DELETE ON lines REFERENCING OLD TABLE AS old_rows EXECUTE FUNCTION accrue('%1$s1')$$, :lines));
SELECT pg_temp.finds('a partition made while nobody watched', NULL, NULL, format('table audited.lines_3 has no trigger loyalty_%s_insert in force', :lines),
    'CREATE TABLE lines_3 PARTITION OF lines FOR VALUES IN (3)');
SELECT pg_temp.finds('a source dropped while nobody watched', NULL, NULL, 'attached source %, table %, is not there', 'DROP TABLE feed');

-- One program's books
CREATE FUNCTION pg_temp.told(program text, damage text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    BEGIN
        SET LOCAL session_replication_role = replica;
        EXECUTE damage;
        SELECT count(*) INTO n FROM loyalty.verify(program);
        RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO1';
    EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
    END;
    RETURN n;
END $$;
SELECT is(pg_temp.told(program, 'UPDATE account SET head = NULL WHERE account_id = ' || :ann), n::bigint, format('damage in shop is told of %s: %s', program, n))
FROM (VALUES ('shop', 1), ('strict', 0), ('firm', 0), (NULL, 1)) p (program, n);
SELECT is(pg_temp.told(program, format('DROP TRIGGER loyalty_%s_update ON lines', :lines)), n::bigint, format('a trigger of shop is told of %s: %s', program, n))
FROM (VALUES ('shop', 1), ('strict', 0), (NULL, 1)) p (program, n);
SELECT is(pg_temp.told('strict', $$INSERT INTO lot VALUES (4711000, 1, false, false, false, '2024-01-01', 1, '-infinity', 'infinity', now(), 0, 0, 0, 0, 0)$$), 2::bigint,
    'what belongs to no program is told of each');

-- A large ledger is proved in ranges of accounts.
SELECT is_empty($$
    SELECT v.* FROM account a, _verify_accounts(a.account_id, a.account_id, ARRAY(SELECT source_id FROM source ORDER BY 1),
        ARRAY(SELECT rule_id FROM rule ORDER BY 1), ARRAY(SELECT currency_id FROM rule ORDER BY rule_id), ARRAY(SELECT actor_id FROM actor ORDER BY 1)) v$$,
    'each account by itself holds');
SELECT results_eq($$
    SELECT r.n::bigint, v.account, v.entry_id, v.problem FROM (SELECT min(account_id) AS low, max(account_id) AS high, (SELECT account_id FROM account ORDER BY 1 OFFSET 1 LIMIT 1) AS second FROM account) a,
        (VALUES (1), (2)) r (n),
        _verify_accounts(CASE n WHEN 1 THEN low ELSE second END, CASE n WHEN 1 THEN low ELSE high END, ARRAY(SELECT source_id FROM source ORDER BY 1),
            ARRAY[]::int[], ARRAY[]::int[], ARRAY(SELECT actor_id FROM actor ORDER BY 1)) v WHERE v.account <= second ORDER BY v.account$$, $$
    SELECT n, account_id, account_id * 100000000 + 1, format('rule version %s is not there', rule_id)
    FROM (SELECT row_number() OVER (ORDER BY account_id) AS n, account_id, rule_id FROM entry WHERE entry_no = 1) e WHERE n <= 2 ORDER BY n$$,
    'a range tells of its own accounts');

SELECT is_empty('SELECT * FROM verify()', 'and with all of that undone the books hold');

-- ---------------------------------------------------------------- guards

SELECT throws_ok(format('%s %s', verb, name), 'LY401', format('table "%s" changes only through the ledger''s functions', name), format('%s of %s is refused', verb, name))
FROM unnest(ARRAY['member', 'account', 'entry', 'lot', 'allocation', 'hold', 'request', 'tier_progress_bucket', 'tier_change']) name, unnest(ARRAY['DELETE FROM', 'TRUNCATE']) verb;
SELECT throws_ok(format('UPDATE %s SET %s = %2$s WHERE false', name, col), 'LY401', NULL, format('UPDATE of %s is refused', name))
FROM (VALUES ('member', 'member'), ('account', 'live'), ('entry', 'reason'), ('lot', 'open'), ('allocation', 'points'), ('hold', 'captured'), ('request', 'content')) t (name, col);
-- Every table has one, but those that only say what is so now.
SELECT set_eq($$SELECT relname FROM pg_class c WHERE relnamespace = 'loyalty'::regnamespace AND relkind IN ('r', 'p')
                AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'loyalty_guard')$$,
    ARRAY['confinement', 'deferred', 'source_table'], 'every other table is guarded');
SELECT throws_ok(sql, 'LY401', message, sql)
FROM (VALUES ('DELETE FROM rule', 'rows of table "rule" can''t be removed'), ('TRUNCATE rule', 'rows of table "rule" can''t be removed'),
             ('UPDATE rule SET points_per = 2', 'rows of table "rule" can''t be changed'), ('UPDATE rule SET valid = valid, bonus = 1', 'rows of table "rule" can''t be changed'),
             ('DELETE FROM program', 'rows of table "program" can''t be removed'), ('DELETE FROM currency', 'rows of table "currency" can''t be removed'),
             ('DELETE FROM source', 'rows of table "source" can''t be removed')) t (sql, message);

-- Of an owner who is no superuser too, whatever the statement.
CREATE ROLE audited_owner;
GRANT USAGE, CREATE ON SCHEMA loyalty TO audited_owner;
GRANT USAGE ON SCHEMA audited TO audited_owner;
GRANT EXECUTE ON FUNCTION _refuse TO audited_owner;
DO $$
DECLARE
    t regclass;
BEGIN
    FOR t IN SELECT tgrelid FROM pg_trigger WHERE tgname = 'loyalty_guard' LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO audited_owner', t);
    END LOOP;
END $$;
SET LOCAL ROLE audited_owner;
SELECT throws_ok(format('%s %s', verb, tgrelid::regclass), 'LY401', NULL, format('the owner: %s %s', verb, tgrelid::regclass))
FROM pg_trigger, unnest(ARRAY['DELETE FROM', 'TRUNCATE']) verb WHERE tgname = 'loyalty_guard';
SELECT throws_ok(format('UPDATE %s SET %I = %2$I', tgrelid::regclass, attname), 'LY401', NULL, format('the owner: UPDATE %s', tgrelid::regclass))
FROM pg_trigger JOIN pg_attribute ON attrelid = tgrelid AND attnum = 1
WHERE tgname = 'loyalty_guard' AND tgrelid NOT IN ('program'::regclass, 'currency'::regclass, 'source'::regclass);
SELECT throws_ok(sql, state, NULL, 'the owner: ' || sql)
FROM (VALUES ('MERGE INTO entry e USING (VALUES (1)) v (x) ON e.entry_no = x WHEN MATCHED THEN UPDATE SET points = 0', 'LY401'),
             ('MERGE INTO lot l USING (VALUES (1)) v (x) ON l.lot_no = x WHEN MATCHED THEN DELETE', 'LY401'),
             ('INSERT INTO entry SELECT * FROM entry ON CONFLICT (account_id, entry_no) DO UPDATE SET points = 0', 'LY401'),
             ('WITH gone AS (DELETE FROM allocation RETURNING *) SELECT * FROM gone', 'LY401'),
             ('SET LOCAL session_replication_role = replica', '42501'),
             ('SELECT * FROM verify()', '42501')) t (sql, state);
RESET ROLE;

-- What he can't be kept from is found: a guard that was off for a moment, a column rewritten without any.
CREATE FUNCTION pg_temp.owner_does(damage text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    told text;
BEGIN
    BEGIN
        SET LOCAL ROLE audited_owner;
        EXECUTE damage;
        RESET ROLE;
        SELECT string_agg(DISTINCT regexp_replace(v.problem, '[0-9]+(\.[0-9]+)?', 'N', 'g'), E'\n') INTO told FROM loyalty.verify() v;
        RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO1';
    EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
    END;
    RETURN told;
END $$;
SELECT ok(coalesce(pg_temp.owner_does(format('ALTER TABLE %1$s DISABLE TRIGGER ALL; %2$s; ALTER TABLE %1$s ENABLE TRIGGER ALL', name, damage)) LIKE told, false), format('found: %s', damage))
FROM (VALUES ('entry', 'UPDATE entry SET event_time = event_time - interval ''1 day''', '%the hash is not that of%'),
             ('entry', 'DELETE FROM entry WHERE entry_no = 1', '%entry number N is not there%'),
             ('entry', 'TRUNCATE entry', '%it counts N entries, the last one there is N%'),
             ('actor', 'DELETE FROM actor', '%actor N is not there%'),
             ('allocation', 'UPDATE allocation SET points = points - 1', '%the allocations do not add up%'),
             ('allocation', 'DELETE FROM allocation WHERE allocation_no = 1', '%allocation N is not there%'),
             ('lot', 'UPDATE lot SET remaining = remaining + 1 WHERE open', '%points left, its entries come to%'),
             ('request', 'DELETE FROM request', '%the request % that it answered is not there%'),
             ('hold', 'DELETE FROM hold', '%it held none%'),
             ('account', 'UPDATE account SET live = live + 1', '%points are live, by the lots%'),
             ('rule', 'DELETE FROM rule', '%rule version N is not there%')) d (name, damage, told);
SELECT ok(pg_temp.owner_does('ALTER TABLE entry DISABLE TRIGGER loyalty_guard') LIKE '%table loyalty.entry is not guarded%', 'found: a guard that is off');
SELECT ok(pg_temp.owner_does('ALTER TABLE request ALTER COLUMN content TYPE text USING ''redeem''') LIKE '%names it, it did not answer that request%', 'found: a column rewritten');
SELECT throws_ok($$SELECT pg_temp.owner_does('ALTER TABLE entry ALTER COLUMN hash TYPE bytea USING sha256(hash)')$$, '0A000', NULL, 'entries can''t be rewritten like that: a view reads them');
SELECT is_empty('SELECT * FROM verify()', 'and all is as it was');

SELECT * FROM finish();
ROLLBACK;
