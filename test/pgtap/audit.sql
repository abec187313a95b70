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
SELECT create_currency('shop', 'miles');
SELECT add_rule('shop', 'base', points_per => 1);
SELECT add_rule('shop', 'welcome', bonus => 5, currency => 'miles', reversal => 'all_or_nothing');
SELECT add_rule('shop', 'basket', points_per => 0.5, rounding => 'floor', stage => 'event', kind => 'line');
SELECT add_rule('strict', 'base', points_per => 1);
SELECT add_rule('firm', 'base', points_per => 1);

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

-- fay: expired, booked, then refunded (nothing is taken again); one redeemed lot comes back dead
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

-- lines of baskets, moved between partitions, and rows of a feed
INSERT INTO lines VALUES ('k1', 1, 'ida', 3), ('k1', 2, 'ida', 4), ('k2', 1, 'ida', 5);
UPDATE lines SET n = 2 WHERE basket = 'k2';
DELETE FROM lines WHERE basket = 'k1' AND n = 1;
INSERT INTO feed VALUES (1, 'joe', 12), (2, 'joe', 13);
UPDATE feed SET amount = 11 WHERE id = 1;
INSERT INTO orders (id, who, amount) VALUES ('z1', NULL, 1000);

SELECT * FROM (SELECT account_id, entry_no, lot_no, points, forgiven, kind, event, line, rule_id FROM entry ORDER BY 1,2) x;
SELECT * FROM lot ORDER BY 1,2;
SELECT * FROM allocation ORDER BY 1,2,3;
SELECT * FROM balances;
SELECT * FROM verify();
