-- The ledger's tables read and written below the executor.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = public, loyalty;
SELECT plan(2);

SELECT create_program('table_test') AS program \gset
SELECT add_rule('table_test', 'one', points_per => 1) AS rule \gset
CREATE TABLE sale (id int PRIMARY KEY, customer int, amount numeric, refunded numeric DEFAULT 0);
SELECT attach('sale', 'table_test', 'customer', 'amount', refunded => 'refunded') AS source \gset
INSERT INTO sale SELECT n, n % 40, 100 FROM generate_series(1, 200) n;

-- Versions that were rolled back are dead to all, so a scan that meets them marks them, in
-- memory that it keeps from one account to the next.
SAVEPOINT dead;
UPDATE sale SET refunded = 50;
ROLLBACK TO dead;
UPDATE sale SET refunded = 10;
SAVEPOINT dead;
UPDATE sale SET refunded = 50;
ROLLBACK TO dead;
SELECT lives_ok('UPDATE sale SET refunded = 20', 'a statement on many accounts passes dead versions of the rows it looks for');
SELECT results_eq(
	$$ SELECT sum(available), min(available), max(available) FROM balances WHERE program = 'table_test' $$,
	$$ VALUES (200 * 80::numeric, 5 * 80::numeric, 5 * 80::numeric) $$,
	'and books what is due');
SELECT * FROM finish();
ROLLBACK;
