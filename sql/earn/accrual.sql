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
           e.reason, w.session_user_name::text AS session_user_name, w.current_user_name::text AS current_user_name
    FROM loyalty._book e
    JOIN loyalty.account a USING (account_id)
    JOIN loyalty.currency c USING (currency_id)
    JOIN loyalty.program p USING (program_id)
    LEFT JOIN loyalty.source s USING (source_id)
    LEFT JOIN loyalty.rule r USING (rule_id)
    LEFT JOIN loyalty.actor w USING (actor_id);
COMMENT ON VIEW loyalty.entries IS 'The ledger''s entries, with the program, member, rule and event they belong to';
