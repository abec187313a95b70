-- size: what a member's question reads does not grow with the ledger. Counted in index scans and
-- pages, so that no clock has a say.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
CREATE SCHEMA sized;
SET LOCAL search_path = sized, loyalty, public;

SELECT no_plan();

SELECT create_program('club', validity => '1 year', validity_rounding => 'month');
SELECT create_program('cafe');
SELECT add_rule('club', 'base', points_per => 1);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who int, amount int, at timestamptz);
SELECT attach('orders', 'club', 'who', 'amount', 'at');

-- A month's orders of members at a time, as they come.
CREATE FUNCTION pg_temp.grow(first int, last int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR month IN REVERSE 12..1 LOOP
        INSERT INTO orders (who, amount, at) SELECT m, 10, now() - interval '27 days' * month FROM generate_series(first, last) m;
    END LOOP;
    ANALYZE loyalty.account, loyalty.entry, loyalty.lot, loyalty.allocation;
END $$;

-- Pages of shared buffers that a call reads, in a session that has made it before.
CREATE FUNCTION pg_temp.pages(call text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    FOR i IN 1..8 LOOP
        EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) ' || call INTO plan;
    END LOOP;
    RETURN (plan #>> '{0,Plan,Shared Hit Blocks}')::int + (plan #>> '{0,Plan,Shared Read Blocks}')::int;
END $$;

CREATE FUNCTION pg_temp.scans() RETURNS TABLE (name text, scans bigint) LANGUAGE sql AS $$
    SELECT s.relname::text, s.seq_scan + coalesce(s.idx_scan, 0) FROM pg_stat_xact_user_tables s WHERE s.schemaname = 'loyalty'
$$;

CREATE TEMP TABLE reading (call text, small int, large int);
INSERT INTO reading (call) VALUES
    ($$SELECT loyalty.balance('club', '7')$$),
    ($$SELECT loyalty.balance('club', '7', now() - interval '100 days')$$),
    ($$SELECT * FROM loyalty.statement('club', '7', now() - interval '1 month', now())$$);
SELECT pg_temp.grow(1, 100);
UPDATE reading SET small = pg_temp.pages(call);
SELECT is(loyalty.balance('club', '7'), '120', 'twelve orders of ten');

-- The probe of the account, by program and member, and nothing else.
CREATE TEMP TABLE before AS SELECT * FROM pg_temp.scans();
SELECT loyalty.balance('club', '8');
CREATE TEMP TABLE after AS SELECT * FROM pg_temp.scans();
SELECT results_eq('SELECT a.name, a.scans - b.scans FROM after a JOIN before b USING (name) WHERE a.scans <> b.scans', $$VALUES ('account', 1::bigint)$$,
    'a balance is one index scan');

-- Thirty times the members. A page more for a level of an index is no growth.
SELECT pg_temp.grow(101, 3000);
UPDATE reading SET large = pg_temp.pages(call);
SELECT cmp_ok(large, '<=', small + 1 + small / 4, format('%s: %s pages, %s before', call, large, small)) FROM reading;

-- A program's proof reads its own accounts, and of others where they begin.
SELECT enrol('cafe', 'ann');
SELECT adjust('cafe', 'ann', 5, 'welcome');
SELECT is_empty($$SELECT * FROM verify('cafe')$$, 'the books of a program hold');
SELECT is_empty($$SELECT * FROM verify('club')$$, 'and of the other');
CREATE FUNCTION pg_temp.entries_read(program text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint := pg_stat_get_xact_tuples_returned('loyalty.entry_pkey'::regclass) + pg_stat_get_xact_tuples_returned('loyalty.entry'::regclass);
BEGIN
    PERFORM FROM loyalty.verify(program);
    RETURN pg_stat_get_xact_tuples_returned('loyalty.entry_pkey'::regclass) + pg_stat_get_xact_tuples_returned('loyalty.entry'::regclass) - before;
END $$;
SET LOCAL max_parallel_workers_per_gather = 0;
SELECT cmp_ok(pg_temp.entries_read('club'), '>=', 36000::bigint, 'a proof reads every entry of its program');
SELECT cmp_ok(pg_temp.entries_read('cafe'), '<=', 3010::bigint, 'and of others at most the first of each account');

SELECT * FROM finish();
ROLLBACK;
