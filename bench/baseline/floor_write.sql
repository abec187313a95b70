BEGIN;
INSERT INTO floor.orders (customer_id, total, ordered_at) SELECT customer_id, total, ordered_at FROM incoming;
INSERT INTO floor.entry SELECT * FROM written_entry;
INSERT INTO floor.lot SELECT * FROM written_lot;
UPDATE floor.account a
SET entries = w.entries, lots = w.lots, posted = w.posted, live = w.live, pending = w.pending, earned = w.earned,
    as_of = w.as_of, next_change = w.next_change, head = w.head
FROM written_account w WHERE a.account_id = w.account_id;
COMMIT;
