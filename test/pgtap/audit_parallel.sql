-- audit: of a ledger that is large enough the ranges of accounts are proved by workers, who find what one process does.
\ir include/begin.psql

SELECT create_program('big'), add_rule('big', 'base', points_per => 1);
CREATE TABLE public.buys (id int PRIMARY KEY, who int, amount int);
SELECT attach('public.buys', 'big', 'who', 'amount') > 0;
INSERT INTO public.buys SELECT n, n % 2000, n % 90 FROM generate_series(0, 239999) n;
SELECT cmp_ok(pg_relation_size('entry'), '>=', 32 * 1024 * 1024::bigint, 'it is');

SET LOCAL parallel_setup_cost = 0;
CREATE FUNCTION pg_temp.plan() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	given record;
BEGIN
	SELECT * INTO given FROM loyalty._begin_proof(NULL);
	RETURN QUERY EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) '
		|| loyalty._in_ranges('SELECT * FROM loyalty._verify_accounts(%L, %L, $2, $3, $4, $5, $6)', 'loyalty.entry')
	USING given.owner, given.sources, given.rules, given.rule_currencies, given.actors, given.currencies;
END $$;
SET LOCAL max_parallel_workers_per_gather = 2;
SELECT is((SELECT string_agg(trim(line), ', ') FROM pg_temp.plan() line WHERE line ~ 'Workers Launched'), 'Workers Launched: 2', 'two workers share the work');
SELECT is_empty('SELECT * FROM verify()', 'and find nothing where nothing is wrong');

-- In the first account, in one of the middle and in the last.
SET LOCAL session_replication_role = replica;
CREATE TEMP TABLE damaged AS SELECT account_id, 7 + (account_id % 3)::int AS entry_no FROM account WHERE member_key IN ('0', '999', '1999');
UPDATE entry e SET event_time = e.event_time - interval '1 day' FROM damaged d WHERE (e.account_id, e.entry_no) = (d.account_id, d.entry_no);
SET LOCAL session_replication_role = origin;
PREPARE expected AS SELECT d.account_id * 100000000 + d.entry_no, 'the hash is not that of the entry''s content and the hash before it' FROM damaged d ORDER BY 1;
SELECT results_eq('SELECT entry_id, problem FROM verify()', 'expected', 'two workers find what is');
SET LOCAL max_parallel_workers_per_gather = 0;
SELECT is((SELECT count(*) FROM pg_temp.plan() line WHERE line ~ 'Workers'), 0::bigint, 'one process alone');
SELECT results_eq('SELECT entry_id, problem FROM verify()', 'expected', 'finds the same');

SELECT * FROM finish();
ROLLBACK;
