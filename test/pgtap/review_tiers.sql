-- review_tiers: the procedure itself. It commits, so this file runs outside of a transaction,
-- leaves its programs behind, and names them anew each time.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET search_path = loyalty, public;
SET TimeZone = 'UTC';

SELECT plan(8);

SELECT 'review' || pg_backend_pid() || '_' || (extract(epoch FROM now()) * 1000)::bigint AS one \gset
SELECT :'one' || '_other' AS other \gset
-- Gold of two years back, whose end was the start of this year, for seven members; 100 points of last year for two of them.
CREATE FUNCTION pg_temp.year_start(n int) RETURNS timestamptz LANGUAGE sql AS $$
    SELECT date_trunc('year', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + n * interval '1 year'
$$;
SELECT create_program(p, ladder => 'member:0,silver:100,gold:500', tier_window => 'calendar') FROM unnest(ARRAY[:'one', :'other']) p;
SELECT enrol(p, 'm' || i) FROM unnest(ARRAY[:'one', :'other']) p, generate_series(1, 7) i;

BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE account a SET tier = '3:gold', tier_since = pg_temp.year_start(-2), tier_until = pg_temp.year_start(0)
FROM member m JOIN program p USING (program_id) WHERE m.member_id = a.member_id AND p.code IN (:'one', :'other');
INSERT INTO tier_progress_bucket
SELECT a.account_id, pg_temp.year_start(-1), 100
FROM account a JOIN member m USING (member_id) JOIN program p USING (program_id) WHERE p.code = :'one' AND m.member IN ('m3', 'm7');
COMMIT;

CREATE TEMP VIEW tiers_now AS
SELECT p.code AS program, m.member, tier_name(a.tier) AS tier, a.tier_until
FROM account a JOIN member m USING (member_id) JOIN program p USING (program_id);

-- Batches that end within, and with, the last account: 7 by 3, then by 7.
CALL review_tiers(:'one', batch => 3);
SELECT is(array_agg(tier ORDER BY member), '{member,member,silver,member,member,member,silver}', 'all batches are done')
FROM tiers_now WHERE program = :'one';
SELECT is(array_agg(DISTINCT tier_until), ARRAY[pg_temp.year_start(1), NULL], 'silver is kept this year') FROM tiers_now WHERE program = :'one';
SELECT is(array_agg(DISTINCT tier), '{gold}', 'another program is left alone') FROM tiers_now WHERE program = :'other';
SELECT is(count(*), 7::bigint, 'a change each') FROM tier_history WHERE program = :'one' AND reason = 'review' AND changed_at = pg_temp.year_start(0);
CALL review_tiers(:'one', batch => 7);
SELECT is(count(*), 7::bigint, '... and none the second time') FROM tier_history WHERE program = :'one';
SELECT is(count(DISTINCT xmin::text), 3::bigint, 'a batch a transaction')
FROM tier_change WHERE account_id IN (SELECT account_id FROM account JOIN member m USING (member_id) JOIN program p USING (program_id) WHERE p.code = :'one');
CALL review_tiers();
SELECT is(array_agg(DISTINCT tier), '{member}', 'without a program all are reviewed') FROM tiers_now WHERE program = :'other';
SELECT throws_ok('CALL loyalty.review_tiers()', '2D000', NULL, 'not inside of a function or transaction block');

SELECT * FROM finish();
