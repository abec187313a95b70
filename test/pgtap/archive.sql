-- archive: what goes and what stays, that the books and proofs hold without what went, and what is
-- refused once it is discarded.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
CREATE SCHEMA archived;
SET LOCAL search_path = archived, loyalty, public;

SELECT no_plan();

-- ---------------------------------------------------------------- the history

SELECT create_program('vault', validity => '3 years', decimals => 2);
SELECT create_program('strict', debt => 'negative');
SELECT create_program('other');
SELECT add_rule('vault', 'base', points_per => 1);
SELECT add_rule('vault', 'basket', points_per => 0.5, stage => 'event', kind => 'line');
SELECT add_rule('strict', 'base', points_per => 1);
CREATE TABLE orders (id int PRIMARY KEY, who text, amount numeric(10,2), refunded numeric(10,2) NOT NULL DEFAULT 0, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE debts (id int PRIMARY KEY, who text, amount int);
CREATE TABLE lines (basket text, n int, who text, amount int, at timestamptz NOT NULL, PRIMARY KEY (basket, n));
SELECT attach('orders', 'vault', 'who', 'amount', 'at', refunded => 'refunded');
SELECT attach('debts', 'strict', 'who', 'amount');
SELECT attach('lines', 'vault', 'who', 'amount', 'at', kind => 'line', event => 'basket');

CREATE FUNCTION pg_temp.account(program text, member text) RETURNS bigint LANGUAGE sql AS $$
    SELECT a.account_id FROM loyalty.account a JOIN loyalty.currency c USING (currency_id) JOIN loyalty.program p USING (program_id)
    WHERE p.code = $1 AND a.member_key = $2 AND c.is_default
$$;

-- ann: two lots, a redemption over both, in part given back, a correction; then (6) a hold that is open.
INSERT INTO orders (id, who, amount, at) VALUES (1, 'ann', 100, now() - interval '900 days'), (2, 'ann', 50, now() - interval '500 days');
SELECT redeem('vault', 'ann', 120, 'till-1');
SELECT giveback(pg_temp.account('vault', 'ann') * 100000000 + 3, 5);
SELECT adjust('vault', 'ann', '2.5', 'sorry');
-- bob: a hold that was released, then one captured whole that would have gone on.
INSERT INTO orders (id, who, amount, at) VALUES (3, 'bob', 30, now() - interval '400 days');
SELECT release(hold('vault', 'bob', 10, '1 day'));
-- cid: expired and booked, then refunded; and a pending-free lot that is live.
INSERT INTO orders (id, who, amount, at) VALUES (4, 'cid', 40, now() - interval '1300 days'), (5, 'cid', 8, now() - interval '100 days');
SELECT _expire_accounts(ARRAY[pg_temp.account('vault', 'cid')], now());
UPDATE orders SET refunded = 40 WHERE id = 4;
-- dee gives eve three of nine; eve enrolled by it.
INSERT INTO orders (id, who, amount, at) VALUES (6, 'dee', 9, now() - interval '50 days');
SELECT enrol('vault', 'eve');
SELECT transfer('vault', 'dee', 'eve', 3, 'gift');
-- gil's debt: spent, and the order deleted. His source has no times.
INSERT INTO debts VALUES (1, 'gil', 10), (2, 'gil', 4);
SELECT redeem('strict', 'gil', 14);
DELETE FROM debts WHERE id = 1;
-- hal's lines: (3 + 4) * (1 + 0.5)
INSERT INTO lines VALUES ('k', 1, 'hal', 3, now() - interval '300 days'), ('k', 2, 'hal', 4, now() - interval '300 days');
SELECT enrol('other', 'ann');
SELECT adjust('other', 'ann', 1, 'hello');

SELECT number FROM checkpoint();
SELECT hold('vault', 'ann', 4, '1 day', 'hold-1');
SELECT capture(hold('vault', 'bob', 6, '1 day'));
SELECT number FROM checkpoint();
SELECT root FROM checkpoint WHERE number = (SELECT max(number) FROM checkpoint) \gset
SELECT pg_temp.account('vault', 'ann') AS ann, pg_temp.account('vault', 'bob') AS bob, pg_temp.account('vault', 'cid') AS cid,
       pg_temp.account('vault', 'dee') AS dee, pg_temp.account('vault', 'eve') AS eve, pg_temp.account('strict', 'gil') AS gil,
       pg_temp.account('vault', 'hal') AS hal, pg_temp.account('other', 'ann') AS ann_other \gset
SELECT proof(:ann * 100000000 + 2) AS proof_2, proof(:ann * 100000000 + 6) AS proof_6 \gset
CREATE TEMP TABLE ledger AS SELECT * FROM entry;
CREATE TEMP TABLE ledger_allocation AS SELECT * FROM allocation;
-- What nobody has seen yet stays.
SELECT redeem('vault', 'ann', 1, 'till-2');
CREATE TEMP TABLE before AS SELECT program, member, currency, available, held, debt, earned, redeemed, expired FROM balances;

-- ---------------------------------------------------------------- what goes

CREATE FUNCTION pg_temp.run(program text, before timestamptz) RETURNS bigint LANGUAGE sql AS $$
    SELECT coalesce(sum(_archive_accounts(b.accounts, b.entries, $2)), 0)::bigint FROM _archivable_accounts($1, $2, 0, 1000) b
$$;
SELECT is(pg_temp.run(NULL, now()), 0::bigint, 'what was recorded at the moment or later stays');
SELECT is(pg_temp.run('other', now() + interval '1 second'), 1::bigint, 'of one program its entries go');
SELECT results_eq('SELECT account_id, entry_no FROM archived_entry', format('VALUES (%s::bigint, 1)', :ann_other), 'and no others');
-- Of ann 5 go, up to the hold, where a checkpoint saw them; all of bob (5: an order, two holds,
-- a release, a capture), cid (4), dee (2), eve (1), gil (4), hal (2 lines by 2 rules).
SELECT is(pg_temp.run(NULL, now() + interval '1 second'), (5 + 5 + 5 + 2 + 1 + 4 + 4)::bigint, 'all that is over goes');
SELECT results_eq('SELECT account_id, entries, points::numeric FROM anchor ORDER BY account_id', format($$
    SELECT * FROM (VALUES (%s::bigint, 5, 37.5), (%s, 5, 24), (%s, 5, 8), (%s, 2, 6), (%s, 1, 3), (%s, 4, -10), (%s, 4, 10.5), (%s, 1, 1)) v
    ORDER BY 1$$, :ann, :bob, :cid, :dee, :eve, :gil, :hal, :ann_other), 'anchors stand for what went, by hand');
SELECT results_eq(format('SELECT lot_no, points::numeric, credited::numeric, expired::numeric FROM anchor_lot WHERE account_id = %s ORDER BY 1', :ann),
    'VALUES (1, 0.0, 100.0, 0.0), (2, 35.0, 55.0, 0.0), (3, 2.5, 2.5, 0.0)', 'and for the lots: 100 - 100, 50 - 20 + 5, 2.5');
SELECT results_eq(format('SELECT lot_no, points::numeric, expired::numeric, ended_by FROM anchor_lot WHERE account_id = %s ORDER BY 1', :cid),
    'VALUES (1, 0.0, 40.0, 3), (2, 8.0, 0.0, NULL)', 'and for their ends');
SELECT is((SELECT points FROM anchor_lot WHERE account_id = :gil AND lot_no = 0), '-10', 'and for the debt');
SELECT set_eq(format('SELECT e::text FROM (SELECT * FROM entry WHERE (account_id, entry_no) <> (%s, 7) UNION ALL SELECT * FROM archived_entry) e', :ann), 'SELECT e::text FROM ledger e',
    'every entry is there as it was');
SELECT set_eq('SELECT account_id, entry_no FROM entry INTERSECT SELECT account_id, entry_no FROM archived_entry', 'SELECT 1::bigint, 1 WHERE false', 'and none twice');
SELECT set_eq(format('SELECT c::text FROM (SELECT * FROM allocation WHERE (account_id, entry_no) <> (%s, 7) UNION ALL SELECT * FROM archived_allocation) c', :ann), 'SELECT c::text FROM ledger_allocation c',
    'and every allocation');
SELECT is(pg_temp.run(NULL, now() + interval '1 second'), 0::bigint, 'called again it finds nothing left');
SELECT is((SELECT count(*) FROM archives), 3::bigint, 'three programs have archives');
SELECT is((SELECT accounts - accounts_here FROM archives WHERE program = 'vault'), 0::bigint, 'that are here');

SELECT is_empty('SELECT * FROM verify()', 'the rest holds');
SELECT is_empty('SELECT * FROM verify_archive()', 'the archive and the rest hold together');
SELECT is_empty($$SELECT * FROM verify('vault') UNION ALL SELECT * FROM verify_archive('vault')$$, 'those of one program do');
SELECT set_eq('SELECT program, member, currency, available, held, debt, earned, redeemed, expired FROM balances', 'TABLE before', 'nobody has more or less');

-- ---------------------------------------------------------------- with the archive there

SELECT ok(verify_proof(:'proof_2', :'root'), 'a proof made before stays good');
SELECT is(proof(:ann * 100000000 + 2), :'proof_2'::bytea, 'and is made again');
SELECT ok(verify_proof(proof(:ann * 100000000 + 5), :'root'), 'the last that went is proved');
SELECT is(proof(:ann * 100000000 + 6), :'proof_6'::bytea, 'and the first that stayed: its proof begins with the anchor''s hash');
SELECT is(balance('vault', 'ann', now() - interval '600 days'), '100', 'a balance of then');
SELECT is(balance('vault', 'ann', now() - interval '1 day'), '150', 'before it was spent');
SELECT is(balance('vault', 'ann', now() + interval '1 hour'), '32.5', '150 - 120 + 5 + 2.5 - 1, of which 4 are held');
SELECT is(balance('vault', 'ann', now() + interval '25 hours'), '36.5', 'until the hold ends');
SELECT is(balance('vault', 'bob', now() + interval '1 hour'), '24', 'what was held and captured is spent once');
SELECT is(balance_as_known('vault', 'cid', now() - interval '200 days', 'infinity'), '0', 'what had expired by then');
SELECT results_eq($$SELECT kind, points, balance FROM statement('vault', 'ann', now() - interval '600 days', now() + interval '1 second')$$,
    $$VALUES ('opening', NULL, 100::numeric), ('earn', 50, 150), ('adjust', 2.5, 152.5), ('giveback', 5, 157.5), ('hold', -4, 153.5), ('redeem', -121, 32.5), ('closing', NULL, 32.5)$$,
    'a statement of then');
SELECT is((SELECT count(*) FROM entries WHERE program = 'vault' AND member = 'ann'), 7::bigint, 'the views have them all');
SELECT is(redeem('vault', 'ann', 120, 'till-1'), :ann::bigint * 100000000 + 3, 'a request has its answer');
SELECT throws_ok($$SELECT redeem('vault', 'ann', 12, 'till-1')$$, 'LY305');
SELECT is(backfill('orders', 'vault'), 0::bigint, 'what is archived does not earn again');

-- Refunds and returns go on.
UPDATE orders SET refunded = 25 WHERE id = 2;
SELECT is(balance('vault', 'ann', now() + interval '1 hour'), '7.5', 'an order of then is refunded');
UPDATE orders SET who = 'eve' WHERE id = 3;
SELECT is(balance('vault', 'bob', now() + interval '1 hour'), '0', 'or becomes another member''s: 24 of 30 are left to take');
SELECT is(balance('vault', 'eve', now() + interval '1 hour'), '33', 'who has it');
SELECT giveback(:ann * 100000000 + 3, 15);
SELECT is(balance('vault', 'ann', now() + interval '1 hour'), '22.5', 'a redemption of then is given back');
SELECT throws_ok(format('SELECT giveback(%s, 101)', :ann * 100000000 + 3), 'LY303', NULL, 'and no more than it took: 120 - 5 - 15');
SELECT is((SELECT sum(returned) FROM archived_allocation WHERE account_id = :ann), '20', 'that is written where it is');
UPDATE lines SET amount = 5 WHERE n = 2;
SELECT is(balance('vault', 'hal'), '12', 'a line is rated with its event: (3 + 5) * 1.5');
UPDATE debts SET amount = 1 WHERE id = 2;
SELECT is(balance('strict', 'gil'), '-13', 'a debt grows');
SELECT is_empty('SELECT * FROM verify()', 'the rest holds');
SELECT is_empty('SELECT * FROM verify_archive()', 'the archive and the rest hold together');
SELECT lives_ok('SELECT checkpoint()', 'the next checkpoint agrees with the anchors');

-- ---------------------------------------------------------------- damage

CREATE FUNCTION pg_temp.finds(what text, prover text, account bigint, entry_no int, problem text, damage text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    told text[];
    found boolean;
BEGIN
    BEGIN
        SET LOCAL session_replication_role = replica;
        EXECUTE replace(damage, '@', account::text);
        EXECUTE format($q$SELECT array_agg(v::text), coalesce(bool_or(v.account = $1 AND v.entry_id IS NOT DISTINCT FROM $1 * 100000000 + $2
                              AND v.problem LIKE $3), false) FROM loyalty.%I() v$q$, prover) INTO told, found USING account, entry_no, problem;
        RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO1';
    EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
    END;
    RETURN public.ok(found, what) || CASE WHEN found THEN '' ELSE E'\n' || public.diag(coalesce(array_to_string(told, E'\n'), 'nothing was told')) END;
END $$;
SELECT pg_temp.finds(col || ' of an archived entry', 'verify_archive', :ann, 2, 'the hash is not%', format('UPDATE archived_entry SET %s = %s WHERE account_id = @ AND entry_no = 2', col, value))
FROM (VALUES ('points', '51'), ('event_time', 'event_time + interval ''1 microsecond'''), ('event', '''9'''), ('lot_no', '1'), ('hash', 'sha256(hash)')) c (col, value);
SELECT pg_temp.finds('when a lot of an archived entry ends', 'verify_archive', :ann, 2, 'the hash is not%', 'UPDATE lot SET expires_at = expires_at - interval ''1 day'' WHERE account_id = @ AND opened_by = 2');
SELECT pg_temp.finds('when an archived hold ended', 'verify_archive', :bob, 2, 'the hash is not%', 'UPDATE hold SET ends_at = ends_at + interval ''1 day'' WHERE account_id = @ AND hold_no = 2');
SELECT pg_temp.finds('an archived entry deleted', 'verify_archive', :ann, 2, 'entry number 2 is not there', 'DELETE FROM archived_entry WHERE account_id = @ AND entry_no = 2');
SELECT pg_temp.finds('the last one deleted', 'verify_archive', :ann, 5, 'archived entries 5 to 5 are not there', 'DELETE FROM archived_entry WHERE account_id = @ AND entry_no = 5');
SELECT pg_temp.finds('all deleted', 'verify_archive', :ann, 1, 'archived entries 1 to 5 are not there', 'DELETE FROM archived_entry WHERE account_id = @; DELETE FROM archived_allocation WHERE account_id = @');
SELECT pg_temp.finds('an archived allocation deleted', 'verify_archive', :ann, 3, 'the allocations do not add up to the entry''s points', 'DELETE FROM archived_allocation WHERE account_id = @ AND entry_no = 3 AND lot_no = 1');
SELECT pg_temp.finds('points moved between archived allocations', 'verify_archive', :ann, 5, 'archived entries do not come to what their anchor says',
    'UPDATE archived_allocation SET points = points + CASE lot_no WHEN 1 THEN 1 ELSE -1 END WHERE account_id = @ AND entry_no = 3');
SELECT pg_temp.finds('less returned, to give it back again', 'verify_archive', :ann, 3, 'its allocations were given back 0 points, by the entries 20', 'UPDATE archived_allocation SET returned = 0 WHERE account_id = @');
SELECT pg_temp.finds('an entry put into the archive', 'verify_archive', :ann, 6, 'the archived entry is beyond any anchor', 'INSERT INTO archived_entry SELECT * FROM entry WHERE account_id = @ AND entry_no = 6');
SELECT pg_temp.finds('an entry put back into the ledger', 'verify', :ann, 2, 'entry number 2 is out of place', 'INSERT INTO entry SELECT * FROM archived_entry WHERE account_id = @ AND entry_no = 2');
SELECT pg_temp.finds('the first that stayed deleted', 'verify', :ann, 6, 'entry number 6 is not there', 'DELETE FROM entry WHERE account_id = @ AND entry_no = 6');
SELECT pg_temp.finds('its anchor''s hash', 'verify', :ann, 6, 'the hash is not%', 'UPDATE anchor SET hash = sha256(hash) WHERE account_id = @');
SELECT pg_temp.finds('its anchor''s hash, emptied: ' || prover, prover, :ann, n, problem, 'ALTER TABLE anchor ALTER hash DROP NOT NULL; UPDATE anchor SET hash = NULL WHERE account_id = @')
FROM (VALUES ('verify', 5, 'it ends the archive, and no checkpoint saw%'), ('verify_archive', 5, 'archived entries do not come to what their anchor says')) e (prover, n, problem);
SELECT pg_temp.finds('no checkpoint has it', 'verify', :ann, 5, 'it ends the archive, and no checkpoint saw%', 'UPDATE anchor SET hash = sha256(hash) WHERE account_id = @');
SELECT pg_temp.finds('its head in the checkpoint', 'verify', :cid, 5, 'it ends the archive, and no checkpoint saw%', 'DELETE FROM checkpoint_head WHERE account_id = @');
SELECT pg_temp.finds('an anchor deleted', 'verify', :ann, 1, 'entry numbers 1 to 5 are not there', 'DELETE FROM anchor WHERE account_id = @');
SELECT pg_temp.finds('and the archive tells', 'verify_archive', :ann, 1, 'the archived entry is beyond any anchor', 'DELETE FROM anchor WHERE account_id = @');
SELECT pg_temp.finds(col || ' of an anchor', 'verify', :ann, NULL, '%', format('UPDATE anchor SET %1$s = %1$s + 1 WHERE account_id = @', col)) FROM unnest(ARRAY['points', 'earned', 'redeemed', 'expired']) col;
SELECT pg_temp.finds(col || ' of an anchor''s lot', 'verify', :ann, 2, '%lot 2 %', format('UPDATE anchor_lot SET %1$s = %1$s + 1 WHERE account_id = @ AND lot_no = 2', col)) FROM unnest(ARRAY['points', 'credited', 'expired']) col;
SELECT pg_temp.finds('waived of an anchor''s lot', 'verify', :cid, 1, 'of lot % points were waived, by its entries %', 'UPDATE anchor_lot SET waived = waived - 1 WHERE account_id = @ AND waived > 0');
SELECT pg_temp.finds('an anchor''s lot deleted', 'verify', :cid, NULL, 'lot 2 comes from no entry', 'DELETE FROM anchor_lot WHERE account_id = @ AND lot_no = 2');
SELECT pg_temp.finds('an anchor and its lot, made to match', 'verify_archive', :ann, 5, 'archived entries do not come to what their anchor says',
    $$UPDATE anchor SET points = points + 1, earned = earned + 1 WHERE account_id = @; UPDATE anchor_lot SET points = points + 1, credited = credited + 1 WHERE account_id = @ AND lot_no = 2;
      UPDATE lot SET remaining = remaining + 1, credited = credited + 1 WHERE account_id = @ AND lot_no = 2; UPDATE account SET posted = posted + 1, live = live + 1, earned = earned + 1 WHERE account_id = @$$);
SELECT pg_temp.finds('no account, its anchors', 'verify', 4711000, NULL, 'the account is not there, its entries are',
    $$INSERT INTO anchor SELECT @, entries, before, archived_at, points, earned, redeemed, expired, recorded_at, hash FROM anchor LIMIT 1$$);
SELECT is_empty('SELECT * FROM verify() UNION ALL SELECT * FROM verify_archive()', 'with all of that undone the books hold');

SELECT throws_ok(format('%s %s', verb, name), 'LY401', NULL, format('%s of %s is refused', verb, name))
FROM unnest(ARRAY['archived_entry', 'archived_allocation', 'anchor', 'anchor_lot', 'archive_discard']) name, unnest(ARRAY['DELETE FROM', 'TRUNCATE']) verb;
SELECT throws_ok('UPDATE archived_entry SET reason = reason WHERE false', 'LY401', NULL, 'and UPDATE');
SELECT throws_ok($$CALL archive(now() + interval '1 day')$$, 'LY306', 'entries before then can''t be archived');
SELECT throws_ok('CALL archive(NULL)', 'LY306');
SELECT throws_ok($$CALL archive('-infinity')$$, 'LY306');
SELECT throws_ok($$CALL archive(now(), batch => 0)$$, 'LY306');
SELECT throws_ok($$CALL archive(now(), 'vaults')$$, 'LY001');

-- An account that contradicts its checkpoint is not archived.
SELECT throws_ok(format($$SET LOCAL session_replication_role = replica; DELETE FROM entry WHERE account_id = %1$s AND entry_no = 7;
                          SELECT _archive_accounts(ARRAY[%1$s], ARRAY[7], now() + interval '1 second')$$, :ann), 'LY403', format('account %s contradicts a checkpoint', :ann));
SELECT is_empty(format('SELECT FROM _archivable_accounts(''vault'', ''2999-01-01'', 0, 1000) b WHERE %s = ANY (b.accounts)', :ann), 'with an open hold an account waits');
SELECT throws_ok($$SET LOCAL session_replication_role = replica; UPDATE archived_entry SET points = 1; SELECT discard_archive()$$, 'LY403', 'the archive does not hold');
SET LOCAL session_replication_role = origin;

-- Awards that waited: one confirmed under another key (1 earn, 2 and 3 rekey, 4 and 5 confirm), one taken back, one that waits.
SELECT create_program('inn', confirm => true);
SELECT add_rule('inn', 'nights', points_per => 1);
CREATE TABLE stays (id text PRIMARY KEY, who text, amount int, at timestamptz NOT NULL);
SELECT attach('stays', 'inn', 'who', 'amount', 'at');
INSERT INTO stays SELECT who, who, 7, now() - interval '30 days' FROM unnest(ARRAY['ida', 'jim', 'kai']) who;
UPDATE stays SET id = 'room 5' WHERE who = 'ida';
SELECT confirm(pg_temp.account('inn', 'ida') * 100000000 + 1);
DELETE FROM stays WHERE who = 'jim';
SELECT number FROM checkpoint();
SELECT is(pg_temp.run('inn', now() + interval '1 second'), 5::bigint + 2, 'what waits to be confirmed stays');
SELECT is(confirm(pg_temp.account('inn', 'ida') * 100000000 + 1), pg_temp.account('inn', 'ida') * 100000000 + 5, 'an archived confirmation is answered again');
SELECT is(confirm(pg_temp.account('inn', 'ida') * 100000000 + 3), pg_temp.account('inn', 'ida') * 100000000 + 5, 'by either key');
SELECT throws_ok(format('SELECT confirm(%s)', pg_temp.account('inn', 'jim') * 100000000 + 1), 'LY322', NULL, 'an archived award that was taken back is not confirmed');
SELECT throws_ok(format('SELECT confirm(%s)', pg_temp.account('inn', 'jim') * 100000000 + 3), 'LY004', NULL, 'nor one that never was');
SELECT is(confirm(pg_temp.account('inn', 'kai') * 100000000 + 1), pg_temp.account('inn', 'kai') * 100000000 + 3, 'what waited is');

-- A clock that an archived award started, and one whose award was corrected since.
SELECT create_program('gym', validity => '1 year', activity => '{earn}');
SELECT add_rule('gym', 'base', points_per => 1);
CREATE TABLE passes (id int PRIMARY KEY, who text, amount int, at timestamptz NOT NULL);
SELECT attach('passes', 'gym', 'who', 'amount', 'at');
INSERT INTO passes VALUES (1, 'lea', 5, now() - interval '30 days'), (2, 'max', 5, now() - interval '30 days');
SELECT number FROM checkpoint();
SELECT is(pg_temp.run('gym', now() + interval '1 second'), 2::bigint, 'what started a clock goes');
UPDATE passes SET amount = 7 WHERE id = 2;
SELECT is_empty('SELECT * FROM verify() UNION ALL SELECT * FROM verify_archive()', 'and the books hold');

-- A household redeems 130: ned, who has 100 and holds 5 of them, pays 95, and oda 35 of her 60. His part stays, for the hold.
SELECT create_program('den');
SELECT create_pool('den', 'home');
SELECT enrol('den', who), join_pool('den', 'home', who) FROM unnest(ARRAY['ned', 'oda']) who;
SELECT adjust('den', 'ned', 100, 'gift'), adjust('den', 'oda', 60, 'gift');
SELECT number FROM checkpoint();
SELECT hold('den', 'ned', 5, '1 day');
SELECT redeem_pool('den', 'home', 'oda', 130, 'holiday') AS holiday \gset
SELECT pg_temp.account('den', 'ned') AS ned, pg_temp.account('den', 'oda') AS oda \gset
SELECT number FROM checkpoint();
SELECT is(pg_temp.run('den', now() + interval '1 second'), 1 + 2::bigint, 'what paid for a pool goes');
SELECT is(:holiday::bigint, :ned::bigint * 100000000 + 3, 'without what gave the redemption its number');
SELECT is_empty('SELECT * FROM verify() UNION ALL SELECT * FROM verify_archive()', 'the rest holds, and together with the archive');
SELECT giveback(:holiday, 45);
SELECT is((SELECT string_agg(format('%s %s %s', paid_by, trim_scale(points), trim_scale(returned)), ', ' ORDER BY paid_by) FROM pool_redemptions), 'ned 95 10, oda 35 35', 'the last who paid gets back first');
SELECT is((SELECT returned FROM archived_allocation WHERE account_id = :oda AND entry_no = 2), '35', 'that is written where it is');
SELECT is_empty('SELECT * FROM verify() UNION ALL SELECT * FROM verify_archive()', 'and holds');
SELECT pg_temp.finds('payments in another order', 'verify_archive', :ned, 3, 'what paid this redemption last did not get back first',
    'UPDATE pool_payment SET payment_no = payment_no + 2; UPDATE pool_payment SET payment_no = 5 - payment_no');
SELECT pg_temp.finds('an archived part without its allocation', 'verify_archive', :ned, 3, 'not all that paid this redemption from a pool is there', format('DELETE FROM archived_allocation WHERE account_id = %s', :oda));
SELECT pg_temp.finds('and so by itself', 'verify_archive', :oda, 2, 'it paid with 0 lots for a pool, of which its payments have 1', 'DELETE FROM archived_allocation WHERE account_id = @');
SELECT pg_temp.finds('a part that stayed, without its allocation', 'verify_archive', :ned, 3, 'not all that paid this redemption from a pool is there', 'DELETE FROM allocation WHERE account_id = @ AND entry_no = 3');

-- ---------------------------------------------------------------- without the archive

CREATE TEMP TABLE kept_entry AS SELECT * FROM archived_entry;
CREATE TEMP TABLE kept_allocation AS SELECT * FROM archived_allocation;
DELETE FROM before;
INSERT INTO before SELECT program, member, currency, available, held, debt, earned, redeemed, expired FROM balances;
SELECT is(discard_archive(), 27 + 7 + 2 + 3::bigint, 'the archive is emptied');
SELECT is_empty('SELECT * FROM archived_entry UNION ALL SELECT * FROM archived_entry', 'and is empty');
SELECT is((SELECT accounts_here FROM archives WHERE program = 'vault'), 0::bigint, 'and is said to be gone');
SELECT throws_ok('DELETE FROM archived_entry', 'LY401', NULL, 'and guarded again');
SELECT is_empty('SELECT * FROM verify()', 'the rest holds, from the anchors on');
SELECT is_empty('SELECT * FROM verify_archive()', 'nothing is missing that was discarded');
SELECT set_eq('SELECT program, member, currency, available, held, debt, earned, redeemed, expired FROM balances', 'TABLE before', 'nobody has more or less');
SELECT pg_temp.finds('what was not discarded is missed', 'verify_archive', :ann, 1, 'archived entries 1 to 5 are not there', 'DELETE FROM archive_discard');

SELECT ok(verify_proof(:'proof_2', :'root'), 'a proof made before stays good');
SELECT is(proof(:ann * 100000000 + 6, (SELECT number FROM checkpoint WHERE root = :'root'::bytea)), :'proof_6'::bytea, 'the first that stayed is proved');
SELECT throws_ok(format('SELECT proof(%s)', :ann * 100000000 + 5), 'LY020', format('entry %s is archived', :ann * 100000000 + 5));
SELECT throws_ok($$SELECT balance('vault', 'ann', now() - interval '1 day')$$, 'LY020', 'what the account had then is archived');
SELECT throws_ok($$SELECT balance_as_known('vault', 'ann', now(), now() - interval '1 day')$$, 'LY020');
SELECT throws_ok($$SELECT * FROM statement('vault', 'ann', now() - interval '1 day', now())$$, 'LY020');
SELECT is(balance('vault', 'ann', now() + interval '1 second'), '22.5', 'from the cut on balances are answered');
SELECT results_eq($$SELECT kind, points, balance FROM statement('vault', 'ann', now() + interval '1 second', now() + interval '2 days')$$,
    $$VALUES ('opening', NULL, 22.5), ('release', 4::numeric, 26.5), ('closing', NULL, 26.5)$$, 'and statements');
SELECT is(redeem('vault', 'ann', 120, 'till-1'), :ann::bigint * 100000000 + 3, 'requests have their answers for ever');
SELECT throws_ok($$SELECT redeem('vault', 'ann', 12, 'till-1')$$, 'LY305');
SELECT throws_ok(format('SELECT giveback(%s, 1)', :ann * 100000000 + 3), 'LY020', 'what it is about is archived', 'what was redeemed then is not given back');
SELECT throws_ok(format('SELECT giveback(%s, 1)', :holiday), 'LY020', 'what it is about is archived', 'nor what is gone in part');
SELECT is_empty($$SELECT FROM pool_redemptions WHERE paid_by = 'oda'$$, 'and the views know of it no more');
SELECT throws_ok(format('SELECT confirm(%s)', pg_temp.account('inn', 'ida') * 100000000 + 1), 'LY020', 'what it is about is archived', 'what was confirmed then is not said again');
SELECT throws_ok('UPDATE orders SET refunded = 50 WHERE id = 1', 'LY020', 'what it is about is archived', 'nor what was earned taken back');
SELECT throws_ok('UPDATE orders SET refunded = 50 WHERE id = 2', 'LY020', NULL, 'of which a part stayed, neither');
SELECT throws_ok('DELETE FROM orders WHERE id = 5', 'LY020', NULL, 'deletions are refused');
SELECT throws_ok($$UPDATE orders SET who = 'bob' WHERE id = 6$$, 'LY020', NULL, 'and moves to another member');
SELECT throws_ok($$INSERT INTO lines VALUES ('k', 3, 'hal', 1, now() - interval '300 days')$$, 'LY020', NULL, 'and lines of an event that is archived');
SELECT throws_ok($$SELECT backfill('orders', 'vault')$$, 'LY020', NULL, 'and earning again');
SELECT throws_ok('UPDATE debts SET amount = 3 WHERE id = 2', 'LY020', NULL, 'where rows have no times, too');
SELECT lives_ok('UPDATE orders SET id = id', 'what moves no points is let through');
SELECT lives_ok($$INSERT INTO orders (id, who, amount, at) VALUES (7, 'ann', 10, now() + interval '2 seconds')$$, 'what is new earns');
SELECT lives_ok('UPDATE orders SET refunded = 4 WHERE id = 7', 'and is refunded');
SELECT is((SELECT available FROM balances WHERE program = 'vault' AND member = 'ann'), 28.5, '22.5 + 10 - 4');
SELECT is_empty('SELECT * FROM verify()', 'the rest holds');

-- Brought back
INSERT INTO archived_entry SELECT * FROM kept_entry;
INSERT INTO archived_allocation SELECT * FROM kept_allocation;
SELECT is_empty('SELECT * FROM verify() UNION ALL SELECT * FROM verify_archive()', 'the archive can be brought back');
SELECT ok(verify_proof(proof(:ann * 100000000 + 2), (SELECT c.root FROM checkpoint c ORDER BY number DESC LIMIT 1)), 'and proves');
SELECT is(balance('vault', 'ann', now() - interval '600 days'), '100', 'and answers');
SELECT lives_ok('UPDATE orders SET refunded = 50 WHERE id = 1', 'and refunds');
SELECT lives_ok(format('SELECT giveback(%s)', :holiday), 'and gives back');
SELECT is(balance('den', 'oda') || ' ' || balance('den', 'ned'), '60 95', 'to who paid: all, but for the 5 that are held');
SELECT is_empty('SELECT * FROM verify() UNION ALL SELECT * FROM verify_archive()', 'and holds');

-- What a hold owes to a refund it owes still when the purchase goes to the archive, in one run with an account that was merged.
SELECT create_program('mild');
SELECT add_rule('mild', 'base', points_per => 1);
CREATE TABLE gifts (id int PRIMARY KEY, who text, amount int);
SELECT attach('gifts', 'mild', 'who', 'amount');
INSERT INTO gifts VALUES (1, 'meg', 100);
SELECT adjust('mild', 'nan', 5, 'hello') FROM enrol('mild', 'nan');
SELECT merge_members('mild', 'nan', 'meg');
SELECT number FROM checkpoint();
SELECT hold('mild', 'meg', 100, '1 day') AS promised \gset
DELETE FROM gifts;
SELECT is((SELECT sum(owed) FROM hold WHERE account_id = pg_temp.account('mild', 'meg')), '95', 'the hold owes what was let off: the 5 that were free are taken');
SELECT is(pg_temp.run('mild', now() + interval '1 second'), 4::bigint, 'an award, a present, and a merge with both its sides go');
SELECT is((SELECT sum(owed) FROM hold WHERE account_id = pg_temp.account('mild', 'meg')), '95', 'it owes it still');
SELECT release(:promised);
SELECT is(balance('mild', 'meg'), '5', 'and pays');
SELECT is_empty('SELECT * FROM verify() UNION ALL SELECT * FROM verify_archive()', 'and all holds');

-- What can't be booked since its award was discarded stays in the queue, be the row still there or not.
SELECT create_program('queue') > 0, add_rule('queue', 'base', points_per => 1) > 0;
CREATE TABLE queued (id int PRIMARY KEY, who text, amount int, at timestamptz, refunded int DEFAULT 0);
SELECT attach('queued', 'queue', 'who', 'amount', 'at', refunded => 'refunded', on_error => 'defer') > 0;
INSERT INTO queued VALUES (1, 'pat', 100, now() - interval '2 days'), (2, 'quin', 100, now() - interval '2 days');
SELECT number FROM checkpoint();
SELECT pg_temp.run('queue', now() + interval '1 second'), discard_archive();
DELETE FROM queued WHERE id = 1;
UPDATE queued SET refunded = 50 WHERE id = 2;
UPDATE queued SET refunded = -1 WHERE id = 2;
SELECT is((SELECT string_agg(event || ' ' || state, ', ' ORDER BY event) FROM deferred), '1 LY020, 2 LY201', 'a delete and a refund wait');
SELECT is(retry_deferred('queued', 'queue'), 0::bigint, 'nothing can be booked');
UPDATE queued SET refunded = 60 WHERE id = 2;
SELECT is(retry_deferred('queued', 'queue'), 0::bigint, 'nor now');
SELECT is((SELECT string_agg(event || ' ' || state, ', ' ORDER BY event) FROM deferred), '1 LY020, 2 LY020', 'both wait still');
DELETE FROM queued;
SELECT is(retry_deferred('queued', 'queue'), 0::bigint, 'and when both are gone');
SELECT is((SELECT string_agg(event || ' ' || state, ', ' ORDER BY event) FROM deferred), '1 LY020, 2 LY020', 'for as long as nobody decides');
SELECT is(balance('queue', 'pat') || ' ' || balance('queue', 'quin'), '100 100', 'what they earned is theirs');

SELECT * FROM finish();
ROLLBACK;
