-- accrual: passes over what is in a source. The trigger is in source.

CREATE FUNCTION loyalty.backfill(source regclass, program text) RETURNS bigint
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_accrual_backfill';
COMMENT ON FUNCTION loyalty.backfill(regclass, text) IS
    'Accrues the rows that were in a table before it was attached, each once however often it is called; answers how many';

CREATE FUNCTION loyalty.retry_deferred(source regclass, program text) RETURNS bigint
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_accrual_retry';
COMMENT ON FUNCTION loyalty.retry_deferred(regclass, text) IS
    'Books the rows whose points could not be booked before, as they are now; what still can''t stays in loyalty.deferred';
