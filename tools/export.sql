-- What verify_export.py reads, of one moment and of the whole ledger, into the folder that psql is in:
--     psql -d DATABASE -f export.sql
-- By a role that may read the tables: their owner, a superuser. No member's key and no reason is in it.
\set ON_ERROR_STOP on
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
-- Texts are hashed as the database has them.
SELECT pg_catalog.set_config('client_encoding', pg_catalog.current_setting('server_encoding'), true) \g /dev/null
\copy (SELECT account_id, entry_no, points, event_time, recorded_at, actor_id, kind, base, refunded, forgiven, lot_no, source_id, rule_id, reverses, event, line, effects, hash FROM loyalty._book LEFT JOIN loyalty._hashed_effect USING (account_id, entry_no) ORDER BY account_id, entry_no) TO 'entry' (FORMAT binary)
\copy (SELECT account_id, entries, posted, earned, redeemed, expired, head FROM loyalty.account ORDER BY account_id) TO 'account' (FORMAT binary)
\copy (SELECT number, taken_at, root FROM loyalty.checkpoint ORDER BY number) TO 'checkpoint' (FORMAT binary)
\copy (SELECT number, account_id, entries, head FROM loyalty.checkpoint_head ORDER BY number, account_id) TO 'checkpoint_head' (FORMAT binary)
-- What verify_more.py reads besides: what is left of lots and holds, and what was discarded.
\copy (SELECT account_id, lot_no, valid_from, expires_at, remaining FROM loyalty._lot ORDER BY account_id, lot_no) TO 'lot' (FORMAT binary)
\copy (SELECT account_id, hold_no, lot_no, ends_at, points, captured, owed FROM loyalty.hold WHERE released_at IS NULL ORDER BY account_id, hold_no, lot_no) TO 'hold' (FORMAT binary)
\copy (SELECT account_id, entries, points, earned, redeemed, expired, hash FROM loyalty.anchor JOIN loyalty._discarded USING (account_id, entries) ORDER BY account_id, entries) TO 'anchor' (FORMAT binary)
COMMIT;
