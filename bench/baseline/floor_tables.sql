-- Empty tables like the engine's, and accounts that have no points yet.

DROP SCHEMA IF EXISTS floor CASCADE;
CREATE SCHEMA floor;
SELECT format('CREATE TABLE floor.%I (LIKE %s INCLUDING ALL) WITH (%s)', relname, oid::regclass,
              array_to_string(coalesce(reloptions, '{fillfactor=100}'), ', '))
FROM pg_class WHERE oid IN ('orders'::regclass, 'loyalty.entry'::regclass, 'loyalty.lot'::regclass,
                            'loyalty.account'::regclass) \gexec
INSERT INTO floor.account (account_id, member_id, currency_id, member_key)
SELECT account_id, member_id, currency_id, member_key FROM loyalty.account ORDER BY account_id;
VACUUM ANALYZE floor.account;
CHECKPOINT;
