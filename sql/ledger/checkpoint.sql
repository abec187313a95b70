-- checkpoint: one hash over all accounts, to be published, and proofs under it.
--
-- A checkpoint's tree has a leaf for each account: its id, its number of entries and its head.
-- Of the leaves only those are kept that differ from the checkpoint before, so that each row
-- is hashed once when all are proved, and the leaves of any checkpoint are each account's last
-- row up to it.

CREATE TABLE loyalty.checkpoint (
    number   int PRIMARY KEY CHECK (number > 0),
    taken_at timestamptz NOT NULL,
    accounts bigint NOT NULL,
    entries  bigint NOT NULL,
    tree     bytea NOT NULL,
    changes  bytea NOT NULL,
    previous bytea,
    root     bytea NOT NULL
);
COMMENT ON TABLE loyalty.checkpoint IS
    'Roots over all accounts, numbered without gaps, each with the root before it; kept for ever';
COMMENT ON COLUMN loyalty.checkpoint.number IS 'number of the checkpoint, from 1 without gaps';
COMMENT ON COLUMN loyalty.checkpoint.taken_at IS 'when it was taken';
COMMENT ON COLUMN loyalty.checkpoint.accounts IS 'number of accounts that it saw';
COMMENT ON COLUMN loyalty.checkpoint.entries IS 'number of their entries';
COMMENT ON COLUMN loyalty.checkpoint.tree IS 'root of the tree over the heads of all accounts';
COMMENT ON COLUMN loyalty.checkpoint.changes IS 'root of the tree over the heads that are new in it';
COMMENT ON COLUMN loyalty.checkpoint.previous IS 'root of the checkpoint before; NULL: it is the first';
COMMENT ON COLUMN loyalty.checkpoint.root IS 'hash over all of it, 32 bytes: what to publish';

CREATE TABLE loyalty.checkpoint_head (
    account_id bigint NOT NULL,
    entries    int NOT NULL,
    number     int NOT NULL,
    head       bytea,
    PRIMARY KEY (account_id, entries)
);
COMMENT ON TABLE loyalty.checkpoint_head IS
    'The head an account had at a number of entries, and the first checkpoint that saw it';
COMMENT ON COLUMN loyalty.checkpoint_head.account_id IS 'account of the head';
COMMENT ON COLUMN loyalty.checkpoint_head.entries IS 'number of entries that it had then';
COMMENT ON COLUMN loyalty.checkpoint_head.number IS 'first checkpoint that saw it so';
COMMENT ON COLUMN loyalty.checkpoint_head.head IS 'hash of the last of them; NULL: it had none';

SELECT pg_catalog.pg_extension_config_dump('loyalty.checkpoint', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.checkpoint_head', '');

CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty.checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION loyalty._guard();
CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty.checkpoint_head
    FOR EACH STATEMENT EXECUTE FUNCTION loyalty._guard();

CREATE FUNCTION loyalty._tree_add(state internal, account_id bigint, entries int, head bytea) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_checkpoint_add';
CREATE FUNCTION loyalty._tree_add(state internal, account_id bigint, entries int, head bytea, wanted bigint) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_checkpoint_add';
CREATE FUNCTION loyalty._tree_finish_root(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_checkpoint_root';
CREATE FUNCTION loyalty._tree_finish_path(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_checkpoint_path';

CREATE AGGREGATE loyalty._tree_root(account_id bigint, entries int, head bytea) (
    SFUNC = loyalty._tree_add, STYPE = internal, SSPACE = 6144,
    FINALFUNC = loyalty._tree_finish_root, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE);
COMMENT ON AGGREGATE loyalty._tree_root(bigint, int, bytea) IS
    'The root of the Merkle tree over accounts, to be given in the order of their ids';

CREATE AGGREGATE loyalty._tree_path(account_id bigint, entries int, head bytea, wanted bigint) (
    SFUNC = loyalty._tree_add, STYPE = internal, SSPACE = 6144,
    FINALFUNC = loyalty._tree_finish_path, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE);
COMMENT ON AGGREGATE loyalty._tree_path(bigint, int, bytea, bigint) IS
    'The path from an account''s leaf to the root of the tree over accounts, as it is in a proof';

CREATE FUNCTION loyalty._checkpoint_root(number int, previous bytea, taken_at timestamptz, accounts bigint, entries bigint,
        tree bytea, changes bytea)
    RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN pg_catalog.sha256('\x02'::bytea OPERATOR(pg_catalog.||) pg_catalog.int4send(number)
        OPERATOR(pg_catalog.||) coalesce(previous, pg_catalog.decode(pg_catalog.repeat('00', 32), 'hex'))
        OPERATOR(pg_catalog.||) pg_catalog.timestamptz_send(taken_at) OPERATOR(pg_catalog.||) pg_catalog.int8send(accounts)
        OPERATOR(pg_catalog.||) pg_catalog.int8send(entries) OPERATOR(pg_catalog.||) tree OPERATOR(pg_catalog.||) changes);
COMMENT ON FUNCTION loyalty._checkpoint_root(int, bytea, timestamptz, bigint, bigint, bytea, bytea) IS
    'The root of a checkpoint of that content after the root given, NULL before the first';

-- Accounts are read in one statement, so in one snapshot, and nothing of theirs is locked. Plans
-- made while the tables were small stay good: each account's last head is one index probe.
CREATE FUNCTION loyalty.checkpoint()
    RETURNS TABLE (number int, taken_at timestamptz, accounts bigint, entries bigint, root bytea)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, loyalty, pg_temp SET jit = off SET enable_seqscan = off AS $$
DECLARE
    before loyalty.checkpoint;
    made loyalty.checkpoint;
    known bigint;
    contradicted bigint;
BEGIN
    PERFORM loyalty._check_access(0);
    -- One is taken at a time.
    LOCK TABLE loyalty.checkpoint IN SHARE ROW EXCLUSIVE MODE;
    SELECT c.* INTO before FROM loyalty.checkpoint c ORDER BY c.number DESC LIMIT 1;
    made.number := coalesce(before.number, 0) + 1;
    made.previous := before.root;
    made.taken_at := clock_timestamp();

    -- Of a checkpoint that the snapshot is too old to see, the conflict tells (40001).
    WITH seen AS MATERIALIZED (
        SELECT a.account_id, a.entries, a.head, last.entries AS last_entries, last.head AS last_head
        FROM loyalty.account a
        LEFT JOIN LATERAL (SELECT h.entries, h.head FROM loyalty.checkpoint_head h
                           WHERE h.account_id = a.account_id ORDER BY h.entries DESC LIMIT 1) last ON true
    ), changed AS (
        INSERT INTO loyalty.checkpoint_head AS h (account_id, entries, number, head)
        SELECT s.account_id, s.entries, made.number, s.head FROM seen s
        WHERE s.last_entries IS NULL OR s.entries > s.last_entries
        ORDER BY s.account_id
        ON CONFLICT DO NOTHING
        RETURNING h.account_id, h.entries, h.head
    )
    SELECT count(*), coalesce(sum(s.entries), 0), loyalty._tree_root(s.account_id, s.entries, s.head ORDER BY s.account_id),
           (SELECT loyalty._tree_root(c.account_id, c.entries, c.head ORDER BY c.account_id) FROM changed c),
           count(s.last_entries),
           min(s.account_id) FILTER (WHERE s.last_entries > s.entries
               OR s.last_entries = 0 AND s.last_head IS NOT NULL
               OR s.last_entries > 0 AND s.last_head IS DISTINCT FROM CASE WHEN s.last_entries = s.entries THEN s.head
                  ELSE coalesce((SELECT e.hash FROM loyalty.entry e
                                 WHERE e.account_id = s.account_id AND e.entry_no = s.last_entries),
                                (SELECT n.hash FROM loyalty.anchor n
                                 WHERE n.account_id = s.account_id AND n.entries = s.last_entries)) END)
    INTO made.accounts, made.entries, made.tree, made.changes, known, contradicted
    FROM seen s;
    IF contradicted IS NOT NULL THEN
        PERFORM loyalty._refuse('LY403', format('account %s contradicts a checkpoint', contradicted),
            'A checkpoint saw more entries of it, or another hash of one.',
            'Something other than the ledger''s functions wrote it; run SELECT * FROM loyalty.verify().');
    END IF;
    IF known <> coalesce(before.accounts, 0) THEN
        PERFORM loyalty._refuse('LY403', format('%s accounts of checkpoint %s are gone', before.accounts - known, before.number),
            'Accounts are never removed.',
            'Something other than the ledger''s functions wrote it; run SELECT * FROM loyalty.verify().');
    END IF;

    made.root := loyalty._checkpoint_root(made.number, made.previous, made.taken_at, made.accounts, made.entries,
                                          made.tree, made.changes);
    INSERT INTO loyalty.checkpoint SELECT made.* ON CONFLICT DO NOTHING;
    PERFORM pg_notify('loyalty_checkpoint', format('%s %s', made.number, encode(made.root, 'hex')));
    RETURN QUERY SELECT made.number, made.taken_at, made.accounts, made.entries, made.root;
END $$;
COMMENT ON FUNCTION loyalty.checkpoint() IS
    'Hashes the heads of all accounts into one root that builds on the root before, keeps it and notifies loyalty_checkpoint of it';

CREATE VIEW loyalty.checkpoints AS
    SELECT c.number, c.taken_at, c.accounts, c.entries, c.previous, c.root FROM loyalty.checkpoint c;
COMMENT ON VIEW loyalty.checkpoints IS 'Roots over all accounts: what was published, or should have been';
COMMENT ON COLUMN loyalty.checkpoints.number IS 'number of the checkpoint, from 1 without gaps';
COMMENT ON COLUMN loyalty.checkpoints.taken_at IS 'when it was taken';
COMMENT ON COLUMN loyalty.checkpoints.accounts IS 'number of accounts that it saw';
COMMENT ON COLUMN loyalty.checkpoints.entries IS 'number of their entries';
COMMENT ON COLUMN loyalty.checkpoints.previous IS 'root of the checkpoint before; NULL: it is the first';
COMMENT ON COLUMN loyalty.checkpoints.root IS 'hash over all of it, 32 bytes: what to publish';

CREATE FUNCTION loyalty.verify_proof(proof bytea, root bytea) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_checkpoint_verify';
COMMENT ON FUNCTION loyalty.verify_proof(bytea, bytea) IS
    'Whether a proof shows its entry to be under a published root; reads no table, so any machine can tell';

CREATE FUNCTION loyalty.proven(proof bytea, OUT root bytea, OUT number int, OUT taken_at timestamptz, OUT tree_number int,
        OUT account_id bigint, OUT entry_no int, OUT kind text, OUT points loyalty.points, OUT event_time timestamptz,
        OUT recorded_at timestamptz, OUT actor_id int, OUT base loyalty.points, OUT refunded loyalty.points, OUT forgiven loyalty.points,
        OUT lot_no int, OUT source_id int, OUT rule_id int, OUT reverses int, OUT event text, OUT line text)
    RETURNS SETOF record
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'loyalty_checkpoint_proven';
COMMENT ON FUNCTION loyalty.proven(bytea) IS
    'The entry that a proof is of, and the root it is under: true if that root is the published one. No row: it proves nothing';

-- Between the entry and the root are the account's later entries up to a head that a checkpoint
-- saw, and the checkpoints from there on: whichever head makes the least of both.
CREATE FUNCTION loyalty.proof(entry_id bigint, number int DEFAULT NULL) RETURNS bytea
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, loyalty, pg_temp SET jit = off AS $$
DECLARE
    -- What one of each takes, about.
    entry_length constant int := 90;
    checkpoint_length constant int := 88;
    account bigint := entry_id / 100000000;
    first int := entry_id % 100000000;
    target loyalty.checkpoint;
    seen record;
    chain record;
    result bytea;
BEGIN
    IF entry_id IS NULL THEN
        RETURN NULL;
    END IF;
    IF NOT EXISTS (SELECT FROM loyalty._book e WHERE e.account_id = account AND e.entry_no = first) THEN
        IF EXISTS (SELECT FROM loyalty._discarded d WHERE d.account_id = account AND d.entries >= first AND first > 0) THEN
            PERFORM loyalty._refuse('LY020', format('entry %s is archived', entry_id),
                'It was discarded with the archive. A proof that was made before stays good.',
                'Bring the archive back to make another: see docs/archive.md.');
        END IF;
        PERFORM loyalty._refuse('LY004', format('entry %s does not exist', entry_id),
            'No account has an entry of that number.', 'See view loyalty.entries for the ids.');
    END IF;
    PERFORM loyalty._check_access((SELECT c.program_id FROM loyalty.account a JOIN loyalty.currency c USING (currency_id)
                                   WHERE a.account_id = account));
    SELECT c.* INTO target FROM loyalty.checkpoint c
    WHERE proof.number IS NULL OR c.number = proof.number ORDER BY c.number DESC LIMIT 1;
    IF NOT FOUND THEN
        PERFORM loyalty._refuse('LY010',
            CASE WHEN proof.number IS NULL THEN 'there is no checkpoint' ELSE format('checkpoint %s does not exist', proof.number) END,
            'Checkpoints are numbered from 1.', 'Take one with loyalty.checkpoint(); view loyalty.checkpoints has them.');
    END IF;

    SELECT h.entries, h.number INTO seen
    FROM (SELECT h.entries, least(target.number, lead(h.number) OVER (ORDER BY h.entries) - 1) AS number
          FROM loyalty.checkpoint_head h
          WHERE h.account_id = account AND h.entries >= first AND h.number <= target.number) h
    -- What follows an archived piece may not be there.
    WHERE h.entries <= coalesce((SELECT min(n.entries) FROM loyalty.anchor n WHERE n.account_id = account AND n.entries >= first), 2147483647)
    ORDER BY (h.entries - first)::bigint * entry_length + (target.number - h.number) * checkpoint_length
    LIMIT 1;
    IF NOT FOUND THEN
        PERFORM loyalty._refuse('LY010', format('entry %s is not under checkpoint %s', entry_id, target.number),
            'It was committed after that was taken.', 'Leave the number out for the newest, or take another with loyalty.checkpoint().');
    END IF;

    SELECT count(*)::int AS entries,
           string_agg(int4send(octet_length(b.bytes) - 32) || substr(b.bytes, 1, 1) || substr(b.bytes, 34), '' ORDER BY e.entry_no) AS bytes
    INTO chain
    FROM loyalty._book e
    LEFT JOIN (SELECT f.* FROM loyalty._hashed_effect f WHERE f.account_id = account AND f.entry_no BETWEEN first AND seen.entries) f USING (entry_no)
    CROSS JOIN LATERAL loyalty._entry_bytes(NULL, e.account_id, e.entry_no, e.lot_no, e.points, e.event_time, e.recorded_at,
        e.actor_id, e.base, e.refunded, e.forgiven, e.source_id, e.rule_id, e.reverses, e.kind, e.event, e.line, f.effects) b (bytes)
    WHERE e.account_id = account AND e.entry_no BETWEEN first AND seen.entries;

    SELECT '\x01'::bytea || int4send(chain.entries)
           || coalesce((SELECT e.hash FROM loyalty._book e WHERE e.account_id = account AND e.entry_no = first - 1),
                       (SELECT n.hash FROM loyalty.anchor n WHERE n.account_id = account AND n.entries = first - 1),
                       decode(repeat('00', 32), 'hex'))
           || chain.bytes
           || (SELECT loyalty._tree_path(l.account_id, l.entries, l.head, account ORDER BY l.account_id)
               FROM (SELECT DISTINCT ON (h.account_id) h.account_id, h.entries, h.head FROM loyalty.checkpoint_head h
                     WHERE h.number <= seen.number ORDER BY h.account_id DESC, h.entries DESC) l)
           || int4send(c.number) || coalesce(c.previous, decode(repeat('00', 32), 'hex')) || timestamptz_send(c.taken_at)
           || int8send(c.accounts) || int8send(c.entries) || c.changes
           || (SELECT int4send(count(*)::int)
                      || coalesce(string_agg(timestamptz_send(n.taken_at) || int8send(n.accounts) || int8send(n.entries)
                                             || n.tree || n.changes, '' ORDER BY n.number), '')
               FROM loyalty.checkpoint n WHERE n.number > c.number AND n.number <= target.number)
    INTO result
    FROM loyalty.checkpoint c WHERE c.number = seen.number;

    IF loyalty.verify_proof(result, target.root) IS NOT TRUE THEN
        PERFORM loyalty._refuse('LY403', format('entry %s can''t be proved to be under checkpoint %s', entry_id, target.number),
            'The ledger is not what the checkpoint saw.',
            'Something other than the ledger''s functions wrote it; run SELECT * FROM loyalty.verify().');
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION loyalty.proof(bigint, int) IS
    'What it takes to show that an entry is under the root of a checkpoint, the newest by default; verify_proof() checks it';

-- Heads of entries are compared with the entries in the walk (audit).
CREATE FUNCTION loyalty._verify_checkpoints() RETURNS TABLE (account bigint, entry_id bigint, problem text)
    LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1000000 ROWS 10 SET search_path = pg_catalog, loyalty, pg_temp SET jit = off AS $$
BEGIN
    RETURN QUERY
    WITH chain AS (
        SELECT c.*, row_number() OVER numbers AS place, lag(c.root) OVER numbers AS root_before
        FROM loyalty.checkpoint c WINDOW numbers AS (ORDER BY c.number)
    ), changed AS (
        SELECT h.number, loyalty._tree_root(h.account_id, h.entries, h.head ORDER BY h.account_id) AS changes
        FROM loyalty.checkpoint_head h GROUP BY h.number
    ), newest AS (
        SELECT count(*) AS accounts, coalesce(sum(l.entries), 0) AS entries,
               loyalty._tree_root(l.account_id, l.entries, l.head ORDER BY l.account_id) AS tree
        FROM (SELECT DISTINCT ON (h.account_id) h.account_id, h.entries, h.head FROM loyalty.checkpoint_head h
              ORDER BY h.account_id DESC, h.entries DESC) l
    )
    SELECT NULL::bigint, NULL::bigint, f.problem
    FROM (SELECT format('checkpoint %s is not there', min(c.place)) FROM chain c WHERE c.number <> c.place HAVING count(*) > 0
          UNION ALL
          SELECT format('the root of checkpoint %s is not that of its content', c.number) FROM chain c
          WHERE c.root <> loyalty._checkpoint_root(c.number, c.previous, c.taken_at, c.accounts, c.entries, c.tree, c.changes)
          UNION ALL
          SELECT format('checkpoint %s does not build on the root before it', c.number) FROM chain c
          WHERE c.previous IS DISTINCT FROM c.root_before
          UNION ALL
          SELECT format('what checkpoint %s saw is not what it says', c.number) FROM chain c LEFT JOIN changed d USING (number)
          WHERE c.changes <> coalesce(d.changes, sha256(''))
          UNION ALL
          SELECT format('checkpoint %s is not there, what it saw is', d.number) FROM changed d
          WHERE NOT EXISTS (SELECT FROM chain c WHERE c.number = d.number)
          UNION ALL
          SELECT format('the heads of all accounts are not those of checkpoint %s', c.number) FROM chain c, newest n
          WHERE c.number = (SELECT max(m.number) FROM chain m)
            AND (c.accounts <> n.accounts OR c.entries <> n.entries OR c.tree <> n.tree)) f (problem);
END $$;
COMMENT ON FUNCTION loyalty._verify_checkpoints() IS 'Checkpoints against each other and against what they saw of accounts';
