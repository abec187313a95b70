-- A little of all that the ledger can hold, something in every table of the extension:
-- the history that is dumped and restored.
CREATE SCHEMA shop;
CREATE TABLE shop.orders (
	order_no text PRIMARY KEY,
	customer_id text,
	ordered_at timestamptz NOT NULL,
	total numeric(12,2) NOT NULL,
	refunded numeric(12,2) NOT NULL DEFAULT 0,
	status text NOT NULL DEFAULT 'paid'
);
SELECT loyalty.create_program('club', time_zone => 'Europe/London', ladder => 'bronze:0, silver:100, gold:500',
	validity => '1 year', validity_rounding => 'month');
SELECT loyalty.create_currency('club', 'miles', debt => 'negative');
SELECT loyalty.add_rule('club', 'base', points_per => 1);
SELECT loyalty.add_rule('club', 'welcome', bonus => 20, kind => 'signup');
SELECT loyalty.attach('shop.orders', 'club', 'customer_id', amount => 'total', event_time => 'ordered_at',
	status => 'status', earning => '{paid}', refunded => 'refunded', on_error => 'defer');

-- Points that live, that are pending no more, that a refund took, and a guest's order.
INSERT INTO shop.orders VALUES
	('A-1', 'ann', '2024-01-10 09:00+00', 120.00, 0, 'paid'),
	('A-2', 'bob', '2024-01-11 10:00+00', 49.99, 9.99, 'paid'),
	('A-3', NULL, '2024-02-29 11:00+00', 12.50, 0, 'paid'),
	('A-4', 'ann', now(), 600.00, 0, 'paid');
UPDATE shop.orders SET refunded = 50 WHERE order_no = 'A-4';
-- An order that can't be rated is kept, and its points are owed.
INSERT INTO shop.orders VALUES ('A-5', 'bob', '2024-03-01 12:00+00', 'NaN', 0, 'paid');

-- Receipts of tills, in a tree of tables that are all watched, and with columns in another
-- order in one of them.
CREATE TABLE shop.receipts (till int, no int, customer text, amount numeric, at date, PRIMARY KEY (till, no)) PARTITION BY LIST (till);
CREATE TABLE shop.receipts_1 PARTITION OF shop.receipts FOR VALUES IN (1);
CREATE TABLE shop.receipts_2 (amount numeric, no int NOT NULL, customer text, till int NOT NULL, at date);
SELECT loyalty.attach('shop.receipts', 'club', 'customer', 'amount', event_time => 'at');
ALTER TABLE shop.receipts ATTACH PARTITION shop.receipts_2 FOR VALUES IN (2);
INSERT INTO shop.receipts VALUES (1, 1, 'ann', 11, '2024-05-05'), (2, 1, 'dan', 22, '2024-05-05');
INSERT INTO shop.receipts_2 (till, no, customer, amount, at) VALUES (2, 2, 'dan', 33, '2024-05-06');
SELECT loyalty.checkpoint();

SELECT loyalty.adjust('club', 'bob', 70, 'an apology, with a "quote",
a tab	and a line end', request_id => 'adjust-1');
SELECT loyalty.redeem('club', 'ann', 30, request_id => 'redeem-1');
SELECT loyalty.giveback(loyalty.redeem('club', 'bob', 10), 4, request_id => 'giveback-1');
-- Points held for an order to come, a part of which is shipped; a gift.
SELECT loyalty.capture(loyalty.hold('club', 'ann', 40, '10 years', request_id => 'hold-1'), 15, request_id => 'capture-1');
SELECT loyalty.release(loyalty.hold('club', 'ann', 1, '1 day'));
SELECT loyalty.transfer('club', 'ann', 'bob', 12, request_id => 'gift-1');
-- A household, from which more is redeemed than one of it has, and a part given back.
SELECT loyalty.create_pool('club', 'home'), loyalty.join_pool('club', 'home', 'ann', keep => 10), loyalty.join_pool('club', 'home', 'bob', share => 0.5);
SELECT loyalty.giveback(loyalty.redeem_pool('club', 'home', 'bob', 150, request_id => 'pool-1'), 20, request_id => 'pool-2');
CALL loyalty.expire('club');
SELECT loyalty.change_rule('club', 'base', points_per => 2);
SELECT loyalty.checkpoint();
SELECT loyalty.confine('pg_monitor', 'club');
-- Two keys of one person, one who left, and one who is forgotten.
SELECT loyalty.enrol('club', 'dora'), loyalty.enrol('club', 'eli'), loyalty.enrol('club', 'fay');
SELECT loyalty.merge_members('club', 'dan', 'dora', 'merge-1', 'moved house');
SELECT loyalty.close_member('club', 'eli', 'asked for it'), loyalty.erase_member('club', 'fay');

-- An archive that was let go, and one that is there, which purchases are refunded from.
SELECT loyalty.create_program('vault');
SELECT loyalty.enrol('vault', 'ann');
SELECT loyalty.adjust('vault', 'ann', 3, 'an old present');
SELECT loyalty.checkpoint();
CALL loyalty.archive(now(), 'vault');
SELECT loyalty.discard_archive();
CALL loyalty.archive(now());
