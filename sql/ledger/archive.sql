-- archive: closed years out of the way, and what is kept in their place.
--
-- Of an account its oldest entries go, up to one that a checkpoint saw: each piece of the chain that
-- was moved ends with an anchor, which is a leaf under a published root. Anchors carry what
-- the piece comes to, so that the rest adds up without it. The archive is two tables that only
-- archive() fills and only discard_archive() empties; lots, holds and requests stay where they are.

CREATE TABLE loyalty.archived_entry (LIKE loyalty.entry INCLUDING COMMENTS, PRIMARY KEY (account_id, entry_no));
CREATE INDEX archived_entry_event_idx ON loyalty.archived_entry (account_id, event) WHERE source_id IS NOT NULL;
COMMENT ON TABLE loyalty.archived_entry IS 'Entries of closed years, as they were in the ledger';

CREATE TABLE loyalty.archived_allocation (
    LIKE loyalty.allocation INCLUDING CONSTRAINTS INCLUDING COMMENTS,
    PRIMARY KEY (account_id, entry_no, allocation_no)
);
COMMENT ON TABLE loyalty.archived_allocation IS 'What archived entries did to lots';

-- One for each piece of an account's chain that was archived: entries is the number of its last
-- entry, hash that entry's, the sums are the piece's own. All in it happened, and was recorded, before.
CREATE TABLE loyalty.anchor (
    account_id  bigint NOT NULL,
    entries     int NOT NULL CHECK (entries > 0),
    before      timestamptz NOT NULL,
    archived_at timestamptz NOT NULL,
    points      loyalty.points NOT NULL,
    earned      loyalty.points NOT NULL,
    redeemed    loyalty.points NOT NULL,
    expired     loyalty.points NOT NULL,
    recorded_at timestamptz NOT NULL,
    hash        bytea NOT NULL,
    PRIMARY KEY (account_id, entries)
);
COMMENT ON TABLE loyalty.anchor IS 'Where a piece of an account''s archived chain ends, and what the piece comes to';
COMMENT ON COLUMN loyalty.anchor.account_id IS 'account of the piece';
COMMENT ON COLUMN loyalty.anchor.entries IS 'number of its last entry';
COMMENT ON COLUMN loyalty.anchor.before IS 'all in it happened, and was recorded, before this';
COMMENT ON COLUMN loyalty.anchor.archived_at IS 'when it was archived';
COMMENT ON COLUMN loyalty.anchor.points IS 'sum of its entries';
COMMENT ON COLUMN loyalty.anchor.earned IS 'what it adds to the account''s earned';
COMMENT ON COLUMN loyalty.anchor.redeemed IS 'what it adds to the account''s redeemed';
COMMENT ON COLUMN loyalty.anchor.expired IS 'what it adds to the account''s expired';
COMMENT ON COLUMN loyalty.anchor.recorded_at IS 'when its last entry was recorded';
COMMENT ON COLUMN loyalty.anchor.hash IS 'hash of its last entry';

CREATE TABLE loyalty.anchor_lot (
    account_id bigint NOT NULL,
    entries    int NOT NULL,
    lot_no     int NOT NULL,
    points     loyalty.points NOT NULL,
    credited   loyalty.points NOT NULL,
    expired    loyalty.points NOT NULL,
    opened_by  int NOT NULL,
    opened_at  timestamptz NOT NULL,
    ended_by   int,
    ended_at   timestamptz,
    waived     loyalty.points,
    PRIMARY KEY (account_id, entries, lot_no)
);
COMMENT ON TABLE loyalty.anchor_lot IS 'What a piece of an account''s archived chain comes to for each lot; lot 0 is the debt';
COMMENT ON COLUMN loyalty.anchor_lot.account_id IS 'account of the piece';
COMMENT ON COLUMN loyalty.anchor_lot.entries IS 'number of the piece''s last entry';
COMMENT ON COLUMN loyalty.anchor_lot.lot_no IS 'lot that it touched; 0 is the debt';
COMMENT ON COLUMN loyalty.anchor_lot.points IS 'sum of what went into the lot and came out of it';
COMMENT ON COLUMN loyalty.anchor_lot.credited IS 'what came into it';
COMMENT ON COLUMN loyalty.anchor_lot.expired IS 'what ended of it';
COMMENT ON COLUMN loyalty.anchor_lot.opened_by IS 'first entry that touched the lot';
COMMENT ON COLUMN loyalty.anchor_lot.opened_at IS 'when that happened';
COMMENT ON COLUMN loyalty.anchor_lot.ended_by IS 'first entry that booked its end; NULL: none';
COMMENT ON COLUMN loyalty.anchor_lot.ended_at IS 'when that happened';
COMMENT ON COLUMN loyalty.anchor_lot.waived IS 'what refunds were let off at last of what expired; NULL: what they were';

CREATE TABLE loyalty.archive_discard (
    discarded_at timestamptz PRIMARY KEY,
    entries      bigint NOT NULL
);
COMMENT ON TABLE loyalty.archive_discard IS 'When the archive was emptied, and of how many entries';
COMMENT ON COLUMN loyalty.archive_discard.discarded_at IS 'when the archive was emptied';
COMMENT ON COLUMN loyalty.archive_discard.entries IS 'how many entries it had';

SELECT pg_catalog.pg_extension_config_dump('loyalty.archived_entry', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.archived_allocation', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.anchor', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.anchor_lot', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.archive_discard', '');

CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty.archived_entry
    FOR EACH STATEMENT EXECUTE FUNCTION loyalty._guard();
CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty.archived_allocation
    FOR EACH STATEMENT EXECUTE FUNCTION loyalty._guard();
CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty.anchor
    FOR EACH STATEMENT EXECUTE FUNCTION loyalty._guard();
CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty.anchor_lot
    FOR EACH STATEMENT EXECUTE FUNCTION loyalty._guard();
CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty.archive_discard
    FOR EACH STATEMENT EXECUTE FUNCTION loyalty._guard();

-- The ledger with its archive: what reports read.
CREATE VIEW loyalty._book AS
    SELECT * FROM loyalty.entry UNION ALL SELECT * FROM loyalty.archived_entry;
COMMENT ON VIEW loyalty._book IS 'Entries, archived ones too';
CREATE VIEW loyalty._book_allocation AS
    SELECT * FROM loyalty.allocation UNION ALL SELECT * FROM loyalty.archived_allocation;
COMMENT ON VIEW loyalty._book_allocation IS 'Allocations, archived ones too';

-- Pieces of which the archive has nothing any more.
CREATE VIEW loyalty._discarded AS
    SELECT n.account_id, n.entries, n.before FROM loyalty.anchor n
    WHERE NOT EXISTS (SELECT FROM loyalty.archived_entry e WHERE e.account_id = n.account_id AND e.entry_no = n.entries);
COMMENT ON VIEW loyalty._discarded IS 'Anchors of pieces that are not in the archive';

-- What a proof of the ledger, or of it with its archive, does not look at: of an account its entries up
-- to that number, from before that moment.
CREATE FUNCTION loyalty._away(archive boolean) RETURNS TABLE (account_id bigint, entries int, before timestamptz)
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, loyalty, pg_temp AS $$
    SELECT n.account_id, max(n.entries), max(n.before) FROM loyalty.anchor n
    WHERE NOT archive OR EXISTS (SELECT FROM loyalty._discarded d WHERE d.account_id = n.account_id AND d.entries = n.entries)
    GROUP BY n.account_id;
$$;
COMMENT ON FUNCTION loyalty._away(boolean) IS 'Entries that a proof of the ledger, or of it with its archive, does not look at';

-- How many entries of an account its anchors stand for at a moment; later ones are asked
-- themselves, and must be there.
CREATE FUNCTION loyalty._opening(account bigint, at timestamptz) RETURNS int
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    opening int := (SELECT coalesce(max(n.entries), 0) FROM loyalty.anchor n WHERE n.account_id = account AND n.before <= at);
    gone timestamptz := (SELECT max(d.before) FROM loyalty._discarded d WHERE d.account_id = account AND d.entries > opening);
BEGIN
    IF gone IS NOT NULL THEN
        PERFORM loyalty._refuse('LY020', 'what the account had then is archived',
            format('Its entries before %s were discarded with the archive; it was asked for %s.', gone, at),
            'Ask for a moment from then on, or bring the archive back: see docs/archive.md.');
    END IF;
    RETURN opening;
END $$;

CREATE FUNCTION loyalty._move_to_archive(accounts bigint[], entries int[]) RETURNS bigint
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_archive_move';
COMMENT ON FUNCTION loyalty._move_to_archive(bigint[], int[]) IS
    'Moves the entries of accounts up to the given ones, and their allocations, to the archive; answers how many entries';

-- The next n accounts by id of which something can go, an array for each program, and how far. An
-- entry goes when it is past in both times, all before it go, a checkpoint saw it or a later one
-- that goes, none is of points that wait to be confirmed, and no hold among them ends, or is captured, later. None
-- that can go now can have to stay later.
CREATE FUNCTION loyalty._archivable_accounts(program text, before timestamptz, after bigint, n int,
        OUT accounts bigint[], OUT entries int[])
    RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, loyalty, pg_temp AS $$
    SELECT array_agg(batch.account_id ORDER BY batch.account_id), array_agg(batch.entries ORDER BY batch.account_id)
    FROM (SELECT a.account_id, c.program_id, past.entries
          FROM loyalty.account a
          JOIN loyalty.currency c USING (currency_id)
          JOIN loyalty.program p USING (program_id)
          CROSS JOIN LATERAL (
              SELECT least((SELECT e.entry_no FROM loyalty.entry e
                            WHERE e.account_id = a.account_id
                              AND (e.event_time >= _archivable_accounts.before OR e.recorded_at >= _archivable_accounts.before)
                            ORDER BY e.entry_no LIMIT 1),
                           (SELECT min(e.entry_no)
                            FROM loyalty.lot l JOIN loyalty.entry e ON e.account_id = l.account_id
                            WHERE l.account_id = a.account_id AND l.open AND l.valid_from = 'infinity'
                              AND (e.lot_no = l.lot_no OR EXISTS (SELECT FROM loyalty.allocation t
                                   WHERE t.account_id = e.account_id AND t.entry_no = e.entry_no AND t.lot_no = l.lot_no))),
                           (SELECT min(h.hold_no) FROM loyalty.hold h
                            WHERE h.account_id = a.account_id
                              AND (h.open OR least(h.ends_at, h.released_at) >= _archivable_accounts.before
                                             AND (h.captured < h.points OR EXISTS (
                                                 SELECT FROM loyalty.entry e
                                                 WHERE e.account_id = h.account_id AND e.reverses = h.hold_no AND e.kind = 'redeem'
                                                   AND (e.event_time >= _archivable_accounts.before
                                                        OR e.recorded_at >= _archivable_accounts.before)))))) AS entry_no
              OFFSET 0) stays
          CROSS JOIN LATERAL (
              SELECT h.entries FROM loyalty.checkpoint_head h
              WHERE h.account_id = a.account_id AND h.entries < coalesce(stays.entry_no, 2147483647)
              ORDER BY h.entries DESC LIMIT 1) past
          WHERE a.account_id > after AND (_archivable_accounts.program IS NULL OR p.code = _archivable_accounts.program)
            AND past.entries > (SELECT coalesce(max(k.entries), 0) FROM loyalty.anchor k WHERE k.account_id = a.account_id)
          ORDER BY a.account_id
          LIMIT n) batch
    GROUP BY batch.program_id ORDER BY batch.program_id;
$$;

CREATE FUNCTION loyalty._archive_accounts(accounts bigint[], entries int[], before timestamptz) RETURNS bigint
    LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    moved bigint;
    broken bigint;
BEGIN
    PERFORM loyalty._check_access(o.program_id)
    FROM (SELECT DISTINCT c.program_id FROM loyalty.account a JOIN loyalty.currency c USING (currency_id)
          WHERE a.account_id = ANY (accounts)) o;
    moved := loyalty._move_to_archive(accounts, entries);

    -- What another run has moved meanwhile has its anchor.
    WITH piece AS MATERIALIZED (
        SELECT u.account_id, u.entries, k.entries AS first, greatest(_archive_accounts.before, k.before) AS before
        FROM unnest(accounts, entries) u (account_id, entries)
        CROSS JOIN LATERAL (SELECT coalesce(max(n.entries), 0) AS entries, max(n.before) AS before
                            FROM loyalty.anchor n WHERE n.account_id = u.account_id) k
        WHERE u.entries > k.entries
    ), lots AS (
        INSERT INTO loyalty.anchor_lot (account_id, entries, lot_no, points, credited, expired, opened_by, opened_at, ended_by, ended_at, waived)
        SELECT p.account_id, p.entries, f.lot_no, sum(f.points),
               coalesce(sum(f.points) FILTER (WHERE f.points > 0 AND e.kind <> 'rekey'), 0),
               coalesce(- sum(f.points) FILTER (WHERE e.kind IN ('expire', 'forfeit')), 0),
               min(e.entry_no), (array_agg(e.event_time ORDER BY e.entry_no))[1],
               min(e.entry_no) FILTER (WHERE e.kind = 'expire'),
               (array_agg(e.event_time ORDER BY e.entry_no) FILTER (WHERE e.kind = 'expire'))[1],
               (array_agg(coalesce(e.base, 0) ORDER BY e.entry_no DESC) FILTER (WHERE e.kind = 'waive' AND e.reverses IS NULL))[1]
        FROM piece p
        CROSS JOIN LATERAL (SELECT * FROM loyalty.archived_entry e
                            WHERE e.account_id = p.account_id AND e.entry_no > p.first AND e.entry_no <= p.entries OFFSET 0) e
        CROSS JOIN LATERAL (SELECT e.lot_no, e.points WHERE e.lot_no IS NOT NULL
                            UNION ALL
                            SELECT c.lot_no, c.points FROM loyalty.archived_allocation c
                            WHERE c.account_id = e.account_id AND c.entry_no = e.entry_no) f
        GROUP BY p.account_id, p.entries, f.lot_no
    ), made AS (
        INSERT INTO loyalty.anchor AS n (account_id, entries, before, archived_at, points, earned, redeemed, expired, recorded_at, hash)
        SELECT p.account_id, p.entries, p.before, clock_timestamp(), sum(e.points),
               coalesce(sum(e.points) FILTER (WHERE e.kind IN ('earn', 'reverse')), 0),
               coalesce(- sum(e.points) FILTER (WHERE e.kind IN ('redeem', 'giveback')), 0),
               coalesce(- sum(e.points) FILTER (WHERE e.kind IN ('expire', 'forfeit')), 0),
               max(e.recorded_at), (array_agg(e.hash ORDER BY e.entry_no DESC))[1]
        FROM piece p
        CROSS JOIN LATERAL (SELECT * FROM loyalty.archived_entry e
                            WHERE e.account_id = p.account_id AND e.entry_no > p.first AND e.entry_no <= p.entries OFFSET 0) e
        GROUP BY p.account_id, p.entries, p.first, p.before
        HAVING count(*) = p.entries - p.first
        RETURNING n.account_id, n.entries, n.hash
    )
    SELECT min(p.account_id) INTO broken
    FROM piece p
    WHERE NOT EXISTS (SELECT FROM made m JOIN loyalty.checkpoint_head h ON h.account_id = m.account_id AND h.entries = m.entries AND h.head = m.hash
                      WHERE m.account_id = p.account_id);
    IF broken IS NOT NULL THEN
        PERFORM loyalty._refuse('LY403', format('account %s contradicts a checkpoint', broken),
            'Entries are missing, or the last of them is not what the checkpoint saw; nothing of this batch was archived.',
            'Something other than the ledger''s functions wrote it; run SELECT * FROM loyalty.verify().');
    END IF;
    RETURN moved;
END $$;

-- It commits after each batch, so it can be stopped at any time; called again it goes on.
CREATE PROCEDURE loyalty.archive(before timestamptz, program text DEFAULT NULL, batch int DEFAULT 100)
    LANGUAGE plpgsql AS $$
DECLARE
    done bigint := 0;
    next record;
BEGIN
    IF before IS NULL OR NOT pg_catalog.isfinite(before) OR before OPERATOR(pg_catalog.>) pg_catalog.now()
       OR batch IS NULL OR batch OPERATOR(pg_catalog.<) 1 THEN
        PERFORM loyalty._refuse('LY306', 'entries before then can''t be archived',
            pg_catalog.format('The moment is %s, the batch %s accounts.',
                coalesce(before::pg_catalog.text, 'NULL'), coalesce(batch::pg_catalog.text, 'NULL')),
            'Give a moment that is not in the future, and a batch of one account or more.');
    END IF;
    IF program IS NOT NULL THEN
        PERFORM loyalty._program_id(program);
    END IF;
    IF NOT EXISTS (SELECT FROM loyalty.checkpoints) THEN
        PERFORM loyalty._refuse('LY010', 'there is no checkpoint',
            'What is archived ends with an entry that a checkpoint saw.', 'Take one with loyalty.checkpoint().');
    END IF;
    LOOP
        FOR next IN SELECT b.accounts, b.entries FROM loyalty._archivable_accounts(program, before, done, batch) b LOOP
            PERFORM loyalty._archive_accounts(next.accounts, next.entries, before);
            done := greatest(done, next.accounts[pg_catalog.array_upper(next.accounts, 1)]);
            COMMIT;
        END LOOP;
        EXIT WHEN NOT FOUND;
    END LOOP;
END $$;
COMMENT ON PROCEDURE loyalty.archive(timestamptz, text, int) IS
    'Moves entries from before a moment, up to one that a checkpoint saw, to the archive, a batch of accounts a transaction; it may be stopped and called again';

-- The guard is lifted by its owner, in this transaction, while nobody else can reach the tables.
CREATE FUNCTION loyalty.discard_archive() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    gone bigint;
BEGIN
    PERFORM loyalty._check_access(0);
    -- What is emptied must be what is seen.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM loyalty._refuse('0A000', 'the archive can''t be discarded at this isolation level',
            format('The transaction is %s, and may not see all that would go.', current_setting('transaction_isolation')),
            'Begin it with ISOLATION LEVEL READ COMMITTED.');
    END IF;
    LOCK TABLE loyalty.archived_entry, loyalty.archived_allocation IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM loyalty.verify_archive()) THEN
        PERFORM loyalty._refuse('LY403', 'the archive does not hold',
            'What is wrong with it could not be found out without it.',
            'Run SELECT * FROM loyalty.verify_archive() and see docs/operations.md.');
    END IF;
    SELECT count(*) INTO gone FROM loyalty.archived_entry;
    INSERT INTO loyalty.archive_discard (discarded_at, entries) VALUES (clock_timestamp(), gone);
    ALTER TABLE loyalty.archived_entry DISABLE TRIGGER loyalty_guard;
    ALTER TABLE loyalty.archived_allocation DISABLE TRIGGER loyalty_guard;
    TRUNCATE loyalty.archived_entry, loyalty.archived_allocation;
    ALTER TABLE loyalty.archived_entry ENABLE TRIGGER loyalty_guard;
    ALTER TABLE loyalty.archived_allocation ENABLE TRIGGER loyalty_guard;
    RETURN gone;
END $$;
COMMENT ON FUNCTION loyalty.discard_archive() IS
    'Empties the archive, once it is proved to hold; answers how many entries it had. Export it first';

CREATE VIEW loyalty.archives AS
    SELECT p.code AS program, n.before, count(*) AS accounts, min(n.archived_at) AS archived_from, max(n.archived_at) AS archived_to,
           count(*) FILTER (WHERE EXISTS (SELECT FROM loyalty.archived_entry e
                                          WHERE e.account_id = n.account_id AND e.entry_no = n.entries)) AS accounts_here
    FROM loyalty.anchor n
    JOIN loyalty.account a USING (account_id)
    JOIN loyalty.currency c USING (currency_id)
    JOIN loyalty.program p USING (program_id)
    GROUP BY p.code, n.before;
COMMENT ON VIEW loyalty.archives IS 'What was archived, by program and date, and of how many accounts it is here still';
COMMENT ON COLUMN loyalty.archives.program IS 'code of the program';
COMMENT ON COLUMN loyalty.archives.before IS 'all that was archived happened, and was recorded, before this';
COMMENT ON COLUMN loyalty.archives.accounts IS 'number of accounts with entries among it';
COMMENT ON COLUMN loyalty.archives.archived_from IS 'when the first of them was archived';
COMMENT ON COLUMN loyalty.archives.archived_to IS 'when the last of them was archived';
COMMENT ON COLUMN loyalty.archives.accounts_here IS 'how many of them have their entries in the archive still';
