-- checkpoint: roots over all accounts, proofs under them, and the damage that only they find.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
CREATE SCHEMA checked;
SET LOCAL search_path = checked, loyalty, public;
\ir ../harness/books.sql

SELECT no_plan();

-- ---------------------------------------------------------------- the tree, by Python's hashlib over the bytes of docs/checkpoint.md

-- Account 10 i has i entries and the head sha256(i).
SELECT is(encode(_tree_root(i * 10, i, sha256(i::text::bytea) ORDER BY i), 'hex'), root, format('the tree of %s accounts', n))
FROM (VALUES (1, 'c2e237650d83a1f13741ac442228830935f8becbda3e2bd5c47d66f3af420330'), (2, '0aaebb93f0188728cb958fed4e3c9cb59198908b6f07ea7e90cdc8ef4f9124fc'),
             (3, 'b1e3cea05761e59147e40bb90b4b3e415b172f58d83cb6acee99e6fca9f9ec93'), (4, 'd1e94199e9e884e2505df5af98dc5c801d8961cc1cfef58c1b0d7acdacb0cee5'),
             (5, '83f4ce83b7b44cba9a17abc21e5c6a58b92174cc468f4e86a749a4fc548906ba'), (6, 'b5ab9add452af27a61c8826bb7349973fbf804c6c260ccbd56774012570c2d20'),
             (7, '3c543b6fd115a00da74e39a1f781d07bb0bccd6a4898c686c7bf8639d1bad2af'), (8, 'd92f297c1b68a876726b360bbc98ac3a0e067b64dfe55ca73acf4da9446a1fe3'),
             (9, '09f50240346e3776455176a083d5e66dfc64a701117804f81a0eb63524d71bb5')) v (n, root)
CROSS JOIN LATERAL generate_series(1, n) i
GROUP BY n, root ORDER BY n;
SELECT is(encode(_tree_root(i, i, sha256(i::text::bytea) ORDER BY i), 'hex'), '7e1f53338aa193d74c3f6888c0d1047c637354240ae86e59774ae68d5c24c52c',
    'the tree of 300 accounts') FROM generate_series(1, 300) i;
SELECT is(encode(_tree_root(5, 0, NULL), 'hex'), '8a1ae7151c42d263dc6625fa736091821fca1be6311430dde0dd5c3863da22df',
    'the tree of an account without entries');
SELECT is((SELECT _tree_root(1, 1, NULL) WHERE false), sha256(''), 'the tree of no accounts');
SELECT is(_tree_path(i * 10, i, sha256(i::text::bytea), 90 ORDER BY i),
    decode('0000000000000008 01 d92f297c1b68a876726b360bbc98ac3a0e067b64dfe55ca73acf4da9446a1fe3', 'hex'), 'the path of the ninth of nine') FROM generate_series(1, 9) i;
SELECT is(_tree_path(i * 10, i, sha256(i::text::bytea), 50 ORDER BY i),
    decode('0000000000000004 03 5b73d83dd94a09ff3d62c088677d580bd7bb6a43ee6f1db83d384006319913d7
            2057910516066d327d94432cb81977d99822081d5bde9e6b53713c2204123028
            d1e94199e9e884e2505df5af98dc5c801d8961cc1cfef58c1b0d7acdacb0cee5', 'hex'), 'the path of the fifth of seven') FROM generate_series(1, 7) i;
SELECT is(_tree_path(10, 1, sha256('1'), 10), '\x000000000000000000', 'the only one has no path');
SELECT is(_tree_path(10, 1, sha256('1'), 11), NULL, 'one that is not there has none');
SELECT is(encode(_checkpoint_root(1, NULL, '2000-01-01 00:00:00+00', 0, 0, sha256(''), sha256('')), 'hex'),
    '8320391253ed2a969862df4a6fa475b9a51d4c9c0b6b947a9c66eafee60a5a78', 'the root of a first checkpoint of nothing');
SELECT is(encode(_checkpoint_root(2, '\x8320391253ed2a969862df4a6fa475b9a51d4c9c0b6b947a9c66eafee60a5a78', '2000-01-01 00:00:00.000001+00', 3, 6,
                                  '\xb1e3cea05761e59147e40bb90b4b3e415b172f58d83cb6acee99e6fca9f9ec93', '\xb1e3cea05761e59147e40bb90b4b3e415b172f58d83cb6acee99e6fca9f9ec93'), 'hex'),
    '4d4b2e9dd9bb90ef1d3c51a4c6c4df37f02da9fd5e089bb6563bed077ba59aab', 'the root of one after it');

-- ---------------------------------------------------------------- a proof made by Python, of a ledger that is not here

-- Account 7: after the bare entry of docs/audit.md a redemption from a lot and into debt, an award that has everything, moves a clock with which lots ended and opens
-- one, and a hold of two lots, under checkpoint 4 of three accounts; checkpoint 5 builds on it.
CREATE TEMP TABLE foreign_proof AS SELECT decode(
    '01 00000003 1b31f6c46ff1a39881790e6288ffb67e21f236fbdd46326b87b4ba78fc7d019b
    0000005d 01 0000000000000007 00000002 fffffffffffe17b8 0000000000000005 0000000000000006 00000008 06 72656465656d
               40 05 00000001 00000007 74696c6c2dc384 00000002 00000003 fffffffffffe7960 00000000 ffffffffffff9e58
    00000086 01 0000000000000007 00000003 0000000000000001 0000000000000007 0000000000000008 7fffffff 04 6561726e
               7f 3b 0000000000000001 0000000000000002 0000000000000003 00000004 00000005 00000006 00000001
               00000001 78 00000000 000000000000000e 0000000000000010 01 0000000000000009 000000000000000a 0000000f
    00000058 01 0000000000000007 00000004 0000000000000000 000000000000000b 000000000000000c 00000008 04 686f6c64
               01 40 0000000000011170 000000000000000d 00000003 0000000000007530 00000004 0000000000009c40
    0000000000000001 02 7635f224fc99bf74dfd28f0bdf224fe43a338589d6f887ddf9bf84a28c621ebf
                            52305570e99c3c0c96aa2bbb8fec6580d62928d9b1ca7158c786b7f99546883a
    00000004 6db7d803e74f1ffa7d8f5adc0bf95b3e15bf4c8373fffadf546227cc6c6742cb 0000000000000064 0000000000000003 0000000000000006
               d0b4ba2311b3e84977dc4bb320fe72cd85426f5cf14b487a4c5352ae3ad8cb37
    00000001 00000000000000c8 0000000000000004 0000000000000009 65206b3ed4eab09a660b9f3f00d920895d3d1eb8afed60ecd506c69ac7f92514
               d0b4ba2311b3e84977dc4bb320fe72cd85426f5cf14b487a4c5352ae3ad8cb37', 'hex') AS proof,
    '\x55b9d0fef032f8698b18ac0037d895c082c08115a53bcd4e3d39cfb9a33db7b3'::bytea AS root;
SELECT ok(verify_proof(proof, root), 'it is under its root') FROM foreign_proof;
SELECT ok(NOT verify_proof(proof, '\xe8931d7bc2be38b77430b489cc00da24ffdbab28e3648e65b75ee9439df960d1'), 'not under the root before it') FROM foreign_proof;
SELECT ok(NOT verify_proof(proof, substr(root, 1, 31)), 'nor under a part of its root') FROM foreign_proof;
SELECT ok(NOT verify_proof('', root) AND NOT verify_proof('\x01', root), 'nothing proves nothing') FROM foreign_proof;
SELECT is(verify_proof(proof, NULL), NULL, 'NULL is not known') FROM foreign_proof;
SELECT is((SELECT count(*) FROM generate_series(0, octet_length(proof) * 8 - 1) i WHERE verify_proof(set_bit(proof, i, 1 - get_bit(proof, i)), root)),
    0::bigint, 'no bit of it can be changed') FROM foreign_proof;
SELECT is((SELECT count(*) FROM generate_series(0, octet_length(proof) - 1) i WHERE verify_proof(substr(proof, 1, i), root)),
    0::bigint, 'it can''t be cut off') FROM foreign_proof;
SELECT ok(NOT verify_proof(proof || '\x00', root), 'nor go on') FROM foreign_proof;
SELECT is(p::text, '("\\x55b9d0fef032f8698b18ac0037d895c082c08115a53bcd4e3d39cfb9a33db7b3",5,"2000-01-01 00:00:00.0002+00",4,7,2,redeem,-12.5,'
    '"2000-01-01 00:00:00.000005+00","2000-01-01 00:00:00.000006+00",8,,,,,,,1,till-Ä,)', 'what it proves')
FROM foreign_proof, proven(proof) p;
SELECT is_empty($$SELECT p FROM foreign_proof, proven(substr(proof, 2)) p$$, 'what is no proof proves nothing');
SELECT throws_ok($$SELECT proven(overlay(proof PLACING '\xff' FROM 105)) FROM foreign_proof$$, '22021', NULL,
    'a text that is none is refused');
SELECT is(concat(provolatile, proparallel), 'is', format('%s is pure', proname)) FROM pg_proc WHERE oid IN ('verify_proof'::regproc, 'proven'::regproc);

-- ---------------------------------------------------------------- a history with checkpoints

SELECT create_program('shop');
SELECT add_rule('shop', 'base', points_per => 1);
CREATE TABLE orders (id text PRIMARY KEY, who text, amount int, at timestamptz NOT NULL DEFAULT now());
SELECT attach('orders', 'shop', 'who', 'amount', 'at');

CREATE FUNCTION pg_temp.account(member text) RETURNS bigint LANGUAGE sql AS $$
    SELECT a.account_id FROM loyalty.account a JOIN loyalty.member m USING (member_id) WHERE m.member = $1
$$;

SELECT throws_ok('SELECT proof(100000001)', 'LY004', 'entry 100000001 does not exist');
INSERT INTO orders VALUES ('a1', 'ann', 10), ('a2', 'ann', 10), ('a3', 'ann', 10);
INSERT INTO orders VALUES ('b1', 'bob', 10), ('b2', 'bob', 10);
INSERT INTO orders VALUES ('c1', 'cid', 10);
SELECT enrol('shop', 'dee');
SELECT throws_ok('SELECT proof(entry_id) FROM entries', 'LY010', 'there is no checkpoint');
SELECT results_eq('SELECT number, accounts, entries FROM checkpoint()', 'VALUES (1, 4::bigint, 6::bigint)', 'the first');
INSERT INTO orders VALUES ('a4', 'ann', 10);
INSERT INTO orders VALUES ('e1', 'eve', 10);
SELECT results_eq('SELECT number, accounts, entries FROM checkpoint()', 'VALUES (2, 5::bigint, 8::bigint)', 'the second');
SELECT redeem('shop', 'bob', 5);
SELECT results_eq('SELECT number, accounts, entries FROM checkpoint()', 'VALUES (3, 5::bigint, 9::bigint)', 'the third');
INSERT INTO orders VALUES ('c2', 'cid', 10);

SELECT pg_temp.account('ann') AS ann, pg_temp.account('bob') AS bob, pg_temp.account('cid') AS cid, pg_temp.account('dee') AS dee,
       pg_temp.account('eve') AS eve \gset
SELECT results_eq('SELECT account_id - pg_temp.account(''ann''), entries, number FROM checkpoint_head ORDER BY 3, 1',
    'VALUES (0::bigint, 3, 1), (1, 2, 1), (2, 1, 1), (3, 0, 1), (0, 4, 2), (4, 1, 2), (1, 3, 3)', 'only what changed is kept');

-- The second tree in plain SQL: ((ann bob) (cid dee)) eve.
CREATE FUNCTION pg_temp.leaf(account bigint, entries int) RETURNS bytea LANGUAGE sql AS $$
    SELECT sha256('\x00'::bytea || int8send(account) || int4send(entries)
                  || coalesce((SELECT hash FROM loyalty.entry WHERE account_id = account AND entry_no = entries), decode(repeat('00', 32), 'hex')))
$$;
CREATE FUNCTION pg_temp.node(bytea, bytea) RETURNS bytea LANGUAGE sql AS $$SELECT sha256('\x01'::bytea || $1 || $2)$$;
SELECT is((SELECT tree FROM checkpoint WHERE number = 2),
    pg_temp.node(pg_temp.node(pg_temp.node(pg_temp.leaf(:ann, 4), pg_temp.leaf(:bob, 2)), pg_temp.node(pg_temp.leaf(:cid, 1), pg_temp.leaf(:dee, 0))),
                 pg_temp.leaf(:eve, 1)), 'the tree is over all accounts');
SELECT is((SELECT changes FROM checkpoint WHERE number = 2), pg_temp.node(pg_temp.leaf(:ann, 4), pg_temp.leaf(:eve, 1)), 'changes are over those that changed');
SELECT is((SELECT previous FROM checkpoint WHERE number = 1), NULL, 'the first has none before');
SELECT is((SELECT previous FROM checkpoint WHERE number = 3), (SELECT root FROM checkpoints WHERE number = 2), 'each has the root before it');
SELECT is(root, _checkpoint_root(number, previous, taken_at, accounts, entries, tree, changes), 'the root is of its content') FROM checkpoint;
SELECT is_empty('SELECT * FROM verify()', 'the books hold');

-- ---------------------------------------------------------------- proofs

SELECT is((SELECT count(*) FROM entry e, checkpoint c
           WHERE CASE WHEN EXISTS (SELECT FROM checkpoint_head h WHERE h.account_id = e.account_id AND h.entries >= e.entry_no AND h.number <= c.number)
                      THEN verify_proof(proof(e.account_id * 100000000 + e.entry_no, c.number), c.root) END), (6 + 8 + 9)::bigint,
    'each entry is proved under each checkpoint that has it');
SELECT results_eq(format($$SELECT p.number, p.tree_number, p.account_id, p.entry_no, p.kind, p.points::text, p.event, p.root
                           FROM proven(proof(%s * 100000000::bigint + 1)) p$$, :ann),
    format($$SELECT 3, 3, %s::bigint, 1, 'earn', '10', 'a1', root FROM checkpoint WHERE number = 3$$, :ann), 'under the newest by default');
SELECT results_eq(format($$SELECT p.number, p.tree_number, p.entry_no FROM proven(proof(%s * 100000000::bigint + 1, 2)) p$$, :bob),
    'VALUES (2, 2, 1)', 'under another');
SELECT throws_ok(format('SELECT proof(%s * 100000000::bigint + 2)', :cid), 'LY010', format('entry %s is not under checkpoint 3', :cid * 100000000::bigint + 2));
SELECT throws_ok(format('SELECT proof(%s * 100000000::bigint + 4, 1)', :ann), 'LY010', format('entry %s is not under checkpoint 1', :ann * 100000000::bigint + 4));
SELECT throws_ok(format('SELECT proof(%s * 100000000::bigint + 1, 4)', :ann), 'LY010', 'checkpoint 4 does not exist');
SELECT throws_ok(format('SELECT proof(%s * 100000000::bigint + 9)', :ann), 'LY004', format('entry %s does not exist', :ann * 100000000::bigint + 9));
SELECT is(proof(NULL), NULL, 'of nothing there is no proof');

-- Many entries later the way over the checkpoints is the shorter one.
SAVEPOINT busy;
INSERT INTO orders SELECT 'x' || i, 'ann', 1 FROM generate_series(1, 50) i;
SELECT results_eq('SELECT number, accounts, entries FROM checkpoint()', 'VALUES (4, 5::bigint, 60::bigint)', 'a fourth');
SELECT results_eq(format($$SELECT p.number, p.tree_number, octet_length(proof(%1$s * 100000000::bigint + 4)) < 600, verify_proof(proof(%1$s * 100000000::bigint + 4), c.root)
                           FROM proven(proof(%1$s * 100000000::bigint + 4)) p, checkpoint c WHERE c.number = 4$$, :ann),
    'VALUES (4, 3, true, true)', 'a head of before proves by the checkpoint that builds on it');
SELECT is_empty('SELECT * FROM verify()', 'the books hold');
ROLLBACK TO busy;

-- ---------------------------------------------------------------- damage

-- What verify() tells of damage that a superuser does and that is undone: member, entry and problem, a line each.
CREATE FUNCTION pg_temp.told(damage text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    told text;
    names jsonb := (SELECT jsonb_object_agg(a.account_id, m.member) FROM loyalty.account a JOIN loyalty.member m USING (member_id));
BEGIN
    BEGIN
        SET LOCAL session_replication_role = replica;
        EXECUTE damage;
        SELECT string_agg(concat_ws(' ', names ->> v.account::text, v.entry_id % 100000000) || ': ' || v.problem, E'\n') INTO told FROM loyalty.verify() v;
        RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO1';
    EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
    END;
    RETURN told;
END $$;
-- Makes what checkpoints saw of it follow too.
CREATE FUNCTION pg_temp.resee(account bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE loyalty.checkpoint_head h SET head = e.hash FROM loyalty.entry e
    WHERE h.account_id = account AND e.account_id = account AND e.entry_no = h.entries
$$;
CREATE FUNCTION pg_temp.reroot(no int) RETURNS void LANGUAGE sql AS $$
    UPDATE loyalty.checkpoint SET root = loyalty._checkpoint_root(number, previous, taken_at, accounts, entries, tree, changes) WHERE number = no
$$;

-- Each of these hides itself from all else that verify() looks at.
CREATE TEMP TABLE perfect (what text, damage text, told text);
INSERT INTO perfect VALUES
    ('a chain rewritten from the first entry on', $$UPDATE entry SET event = 'z9' WHERE account_id = @ann AND entry_no = 1; SELECT pg_temp.rehash(@ann)$$,
     'ann 3: checkpoint 1 saw another hash of the entry'),
    ('points made up in the past', $$
        UPDATE entry SET points = 11, base = 11 WHERE account_id = @ann AND entry_no = 4; SELECT pg_temp.rehash(@ann);
        UPDATE lot SET remaining = 41, credited = 41 WHERE account_id = @ann;
        UPDATE account SET posted = 41, live = 41, earned = 41 WHERE account_id = @ann$$,
     'ann 4: checkpoint 2 saw another hash of the entry'),
    ('two entries swapped', $$
        UPDATE entry SET entry_no = 9 WHERE account_id = @ann AND entry_no = 1; UPDATE entry SET entry_no = 1 WHERE account_id = @ann AND entry_no = 2;
        UPDATE entry SET entry_no = 2 WHERE account_id = @ann AND entry_no = 9; SELECT pg_temp.rehash(@ann)$$,
     'ann 3: checkpoint 1 saw another hash of the entry'),
    ('the last entry cut off', $$
        DELETE FROM entry WHERE account_id = @ann AND entry_no = 4; SELECT pg_temp.rehash(@ann);
        UPDATE lot SET remaining = 30, credited = 30 WHERE account_id = @ann;
        UPDATE account SET posted = 30, live = 30, earned = 30 WHERE account_id = @ann$$,
     'ann 4: checkpoint 2 saw the entry, it is not there'),
    ('an entry taken from the middle', $$
        DELETE FROM entry WHERE account_id = @ann AND entry_no = 2; UPDATE entry SET entry_no = 2 WHERE account_id = @ann AND entry_no = 3;
        UPDATE entry SET entry_no = 3 WHERE account_id = @ann AND entry_no = 4; SELECT pg_temp.rehash(@ann);
        UPDATE lot SET remaining = 30, credited = 30 WHERE account_id = @ann;
        UPDATE account SET posted = 30, live = 30, earned = 30 WHERE account_id = @ann$$,
     'ann 3: checkpoint 1 saw another hash of the entry'),
    ('an account deleted with all it had', $$
        DELETE FROM entry WHERE account_id = @eve; DELETE FROM lot WHERE account_id = @eve; DELETE FROM account WHERE account_id = @eve$$,
     'eve: the account is not there, its checkpoints are' || E'\n' || 'eve 1: checkpoint 2 saw the entry, it is not there'),
    ('an account without entries deleted', 'DELETE FROM account WHERE account_id = @dee', 'dee: the account is not there, its checkpoints are');
UPDATE perfect SET damage = replace(replace(replace(damage, '@ann', :'ann'), '@dee', :'dee'), '@eve', :'eve');
SELECT is(pg_temp.told(damage), told, what) FROM perfect;
SELECT is(pg_temp.told('DELETE FROM checkpoint; DELETE FROM checkpoint_head; ' || damage), NULL, 'without checkpoints nothing would tell of ' || what) FROM perfect;

-- What checkpoints saw, made to follow: the checkpoints tell.
SELECT is(pg_temp.told(format($$UPDATE entry SET event = 'z9' WHERE account_id = %1$s AND entry_no = 1; SELECT pg_temp.rehash(%1$s); SELECT pg_temp.resee(%1$s)$$, :ann)),
    E': the heads of all accounts are not those of checkpoint 3\n: what checkpoint 1 saw is not what it says\n: what checkpoint 2 saw is not what it says',
    'a chain rewritten, and what was seen of it');
SELECT is(pg_temp.told(format('UPDATE checkpoint_head SET %s WHERE account_id = %s AND entries = 3 AND number = 1', change, :ann)), told, 'seen: ' || change)
FROM (VALUES ($$head = sha256(head)$$, E': what checkpoint 1 saw is not what it says\nann 3: checkpoint 1 saw another hash of the entry'),
             ($$head = NULL$$, E': what checkpoint 1 saw is not what it says\nann 3: checkpoint 1 saw another hash of the entry'),
             ($$entries = 2$$, E': what checkpoint 1 saw is not what it says\nann 2: checkpoint 1 saw another hash of the entry'),
             ($$number = 2$$, E': what checkpoint 1 saw is not what it says\n: what checkpoint 2 saw is not what it says'),
             ($$number = 7$$, E': checkpoint 7 is not there, what it saw is\n: what checkpoint 1 saw is not what it says')) v (change, told);
SELECT is(pg_temp.told(format('DELETE FROM checkpoint_head WHERE account_id = %s AND entries = 3', :ann)),
    ': what checkpoint 1 saw is not what it says', 'what was seen deleted');
SELECT is(pg_temp.told(format('INSERT INTO checkpoint_head SELECT account_id, 1, 2, hash FROM entry WHERE account_id = %s AND entry_no = 1', :ann)),
    ': what checkpoint 2 saw is not what it says', 'and made up');
SELECT is(pg_temp.told(format('UPDATE checkpoint_head SET head = sha256('''') WHERE account_id = %s', :dee)),
    E': the heads of all accounts are not those of checkpoint 3\n: what checkpoint 1 saw is not what it says\ndee 0: checkpoint 1 saw a head of no entry', 'a head of no entry');

-- Checkpoints altered, alone and with a root that follows
SELECT is(pg_temp.told(format('UPDATE checkpoint SET %s WHERE number = 2', change)), told, 'checkpoint: ' || change)
FROM (VALUES ('root = sha256(root)', E': checkpoint 3 does not build on the root before it\n: the root of checkpoint 2 is not that of its content'),
             ('taken_at = taken_at - interval ''1 microsecond''', ': the root of checkpoint 2 is not that of its content'),
             ('accounts = accounts + 1', ': the root of checkpoint 2 is not that of its content'),
             ('entries = entries - 1', ': the root of checkpoint 2 is not that of its content'),
             ('tree = sha256(tree)', ': the root of checkpoint 2 is not that of its content'),
             ('changes = sha256(changes)', E': the root of checkpoint 2 is not that of its content\n: what checkpoint 2 saw is not what it says'),
             ('previous = NULL', E': checkpoint 2 does not build on the root before it\n: the root of checkpoint 2 is not that of its content')) v (change, told);
SELECT is(pg_temp.told(format('UPDATE checkpoint SET %s WHERE number = 2; SELECT pg_temp.reroot(2)', change)),
    ': checkpoint 3 does not build on the root before it', 'with a new root: ' || change)
FROM unnest(ARRAY['taken_at = taken_at - interval ''1 microsecond''', 'accounts = accounts + 1', 'entries = entries - 1', 'tree = sha256(tree)']) change;
SELECT is(pg_temp.told(format('UPDATE checkpoint SET %s WHERE number = 3; SELECT pg_temp.reroot(3)', change)),
    ': the heads of all accounts are not those of checkpoint 3', 'the newest, with a new root: ' || change)
FROM unnest(ARRAY['accounts = accounts + 1', 'entries = entries - 1', 'tree = sha256(tree)']) change;
SELECT is(pg_temp.told('UPDATE checkpoint SET taken_at = taken_at - interval ''1 microsecond'' WHERE number = 3; SELECT pg_temp.reroot(3)'), NULL,
    'only what was published tells that the newest is another');

-- Checkpoints used again, left out, put in
SELECT is(pg_temp.told('INSERT INTO checkpoint SELECT 4, taken_at, accounts, entries, tree, changes, previous, root FROM checkpoint WHERE number = 2'),
    E': checkpoint 4 does not build on the root before it\n: the heads of all accounts are not those of checkpoint 4\n: the root of checkpoint 4 is not that of its content\n'
    ': what checkpoint 4 saw is not what it says', 'an earlier one used again');
SELECT is(pg_temp.told('INSERT INTO checkpoint SELECT 4, c.taken_at, c.accounts, c.entries, c.tree, c.changes, p.root, c.root FROM checkpoint c, checkpoint p WHERE c.number = 2 AND p.number = 3; SELECT pg_temp.reroot(4)'),
    E': the heads of all accounts are not those of checkpoint 4\n: what checkpoint 4 saw is not what it says', 'and made to follow');
SELECT is(pg_temp.told('DELETE FROM checkpoint WHERE number = 1'),
    E': checkpoint 1 is not there\n: checkpoint 1 is not there, what it saw is\n: checkpoint 2 does not build on the root before it', 'the first deleted');
SELECT is(pg_temp.told('DELETE FROM checkpoint WHERE number = 2'),
    E': checkpoint 2 is not there\n: checkpoint 2 is not there, what it saw is\n: checkpoint 3 does not build on the root before it', 'one deleted');
SELECT is(pg_temp.told('DELETE FROM checkpoint WHERE number = 3'),
    E': checkpoint 3 is not there, what it saw is\n: the heads of all accounts are not those of checkpoint 2', 'the last deleted');
SELECT is(pg_temp.told(format('DROP TRIGGER loyalty_guard ON %s', name)), format(': table loyalty.%s is not guarded', name), format('no guard on %s', name))
FROM unnest(ARRAY['checkpoint', 'checkpoint_head']) name;
SELECT is(pg_temp.told(format('ALTER TABLE %1$s DROP CONSTRAINT %1$s_pkey; CREATE INDEX %1$s_pkey ON %1$s (%2$s)', name, key)),
    format(': unique index loyalty.%s_pkey is not there', name), format('no key of %s', name))
FROM (VALUES ('checkpoint', 'number'), ('checkpoint_head', 'account_id, entries')) v (name, key);

-- Neither a checkpoint nor a proof is given of what contradicts a checkpoint.
CREATE FUNCTION pg_temp.refused(damage text, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
BEGIN
    BEGIN
        SET LOCAL session_replication_role = replica;
        EXECUTE damage;
        EXECUTE call;
        RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO1';
    EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
    WHEN SQLSTATE 'LY403' THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
    END;
    RETURN message;
END $$;
SELECT is(pg_temp.refused(damage, 'SELECT checkpoint()'),
    CASE WHEN damage LIKE '%DELETE FROM account%' THEN '1 accounts of checkpoint 3 are gone' ELSE format('account %s contradicts a checkpoint', :ann) END,
    'no checkpoint after: ' || what) FROM perfect;
SELECT is(pg_temp.refused(format($$UPDATE entry SET event = 'z9' WHERE account_id = %s AND entry_no = 2$$, :ann), format('SELECT proof(%s * 100000000::bigint + 1)', :ann)),
    format('entry %s can''t be proved to be under checkpoint 3', :ann * 100000000::bigint + 1), 'no proof of what was changed');
SELECT is(pg_temp.refused(format('UPDATE checkpoint_head SET head = sha256(head) WHERE account_id = %s', :bob), format('SELECT proof(%s * 100000000::bigint + 1)', :ann)),
    format('entry %s can''t be proved to be under checkpoint 3', :ann * 100000000::bigint + 1), 'nor where another account was');

-- ---------------------------------------------------------------- guards and rights

SELECT throws_ok(format('%s', command), 'LY401', NULL, command)
FROM unnest(ARRAY['UPDATE checkpoint SET taken_at = now()', 'DELETE FROM checkpoint', 'TRUNCATE checkpoint',
                  'UPDATE checkpoint_head SET number = 1', 'DELETE FROM checkpoint_head', 'TRUNCATE checkpoint_head']) command;
CREATE ROLE loyalty_test_nobody;
SET LOCAL ROLE loyalty_test_nobody;
SELECT public.throws_ok('SELECT loyalty.checkpoint()', '42501', NULL, 'nobody takes one without being let');
SELECT public.throws_ok('SELECT loyalty.proof(1)', '42501', NULL, 'nor asks for a proof');
SELECT public.throws_ok('SELECT * FROM loyalty.checkpoints', '42501', NULL, 'nor reads them');
SELECT public.ok(NOT loyalty.verify_proof('\x01', '\x02'), 'anybody may check a proof');
RESET ROLE;

SELECT is_empty('SELECT * FROM verify()', 'with all of that undone the books hold');

SELECT * FROM finish();
ROLLBACK;
