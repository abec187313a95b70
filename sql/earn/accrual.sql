-- accrual: passes over what is in a source. The trigger is in source.

CREATE FUNCTION loyalty.backfill(source regclass, program text) RETURNS bigint
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_accrual_backfill';
COMMENT ON FUNCTION loyalty.backfill(regclass, text) IS
    'Accrues the rows that were in a table before it was attached, each once however often it is called; answers how many';

CREATE FUNCTION loyalty.retry_deferred(source regclass, program text) RETURNS bigint
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_accrual_retry';
COMMENT ON FUNCTION loyalty.retry_deferred(regclass, text) IS
    'Books the rows whose points could not be booked before, as they are now; what still can''t stays in loyalty.deferred';

CREATE VIEW loyalty.entries AS
    SELECT e.account_id * 100000000 + e.entry_no AS entry_id,
           p.code AS program, a.member_key AS member, c.code AS currency,
           e.kind, e.points::numeric AS points, e.event_time, e.recorded_at,
           s.relation::text AS source, e.event::text AS event, e.line::text AS line,
           r.name AS rule, r.version AS rule_version,
           e.base::numeric AS base, e.refunded::numeric AS refunded, e.forgiven::numeric AS forgiven,
           e.lot_no,
           e.account_id * 100000000 + e.reverses AS reverses,
           e.reason, w.session_user_name::text AS session_user_name, w.current_user_name::text AS current_user_name,
           e.clock_end, e.clock_ended
    FROM loyalty._book e
    JOIN loyalty.account a USING (account_id)
    JOIN loyalty.currency c USING (currency_id)
    JOIN loyalty.program p USING (program_id)
    LEFT JOIN loyalty.source s USING (source_id)
    LEFT JOIN loyalty.rule r USING (rule_id)
    LEFT JOIN loyalty.actor w USING (actor_id);
COMMENT ON VIEW loyalty.entries IS 'The ledger''s entries, with the program, member, rule and event they belong to';
COMMENT ON COLUMN loyalty.entries.entry_id IS 'number of the entry, by which functions name it';
COMMENT ON COLUMN loyalty.entries.program IS 'code of the program';
COMMENT ON COLUMN loyalty.entries.member IS 'the member''s key in the shop';
COMMENT ON COLUMN loyalty.entries.currency IS 'code of the currency';
COMMENT ON COLUMN loyalty.entries.kind IS 'what happened: earn, reverse, redeem, giveback, adjust, expire, ...; the page of each function names its kind';
COMMENT ON COLUMN loyalty.entries.points IS 'what came, or went if negative';
COMMENT ON COLUMN loyalty.entries.event_time IS 'when it happened';
COMMENT ON COLUMN loyalty.entries.recorded_at IS 'when the transaction that booked it began';
COMMENT ON COLUMN loyalty.entries.source IS 'attached table that it comes from; NULL: none';
COMMENT ON COLUMN loyalty.entries.event IS 'key of the event in that table; without a source, the request id that was answered';
COMMENT ON COLUMN loyalty.entries.line IS 'key of the row within the event; of a transfer or a merge, the entry on its other side';
COMMENT ON COLUMN loyalty.entries.rule IS 'name of the earning rule that gave the points';
COMMENT ON COLUMN loyalty.entries.rule_version IS 'version of that rule';
COMMENT ON COLUMN loyalty.entries.base IS 'what the entry added to the row''s amount; of a hold, the points that it reserves';
COMMENT ON COLUMN loyalty.entries.refunded IS 'what it added to the row''s refunded amount';
COMMENT ON COLUMN loyalty.entries.forgiven IS 'points that were let off instead of being taken back';
COMMENT ON COLUMN loyalty.entries.lot_no IS 'the one lot that the points went to or came from; NULL: several, or none';
COMMENT ON COLUMN loyalty.entries.reverses IS 'entry that this one undoes, or hold that it captures';
COMMENT ON COLUMN loyalty.entries.reason IS 'as the caller gave it';
COMMENT ON COLUMN loyalty.entries.session_user_name IS 'role that had logged in';
COMMENT ON COLUMN loyalty.entries.current_user_name IS 'role that was in force';
COMMENT ON COLUMN loyalty.entries.clock_end IS 'when the points end from here on that end by activity; NULL: when they did';
COMMENT ON COLUMN loyalty.entries.clock_ended IS 'when those ended that lived by activity until here; NULL: it books no such end';
