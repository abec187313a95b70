-- The least that writing what the engine wrote can cost: its entries, lots and accounts,
-- copied beforehand, are written by plain statements into tables of the same definition.
-- Here the copies, in the order in which the engine wrote them.

CREATE TABLE written_entry AS SELECT * FROM loyalty.entry;
CREATE TABLE written_lot AS SELECT * FROM loyalty.lot;
CREATE TABLE written_account AS SELECT * FROM loyalty.account WHERE entries > 0 ORDER BY account_id;
VACUUM ANALYZE written_entry, written_lot, written_account;
