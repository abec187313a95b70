-- audit: proving the books. Every check names what it found; nothing found is the proof.
--
-- The walk (C) reads entries and allocations once, in order. It answers the faults of
-- entries, and what the entries come to for each lot and account. The rest is set-based
-- SQL over these sums and the tables. Nothing is written.
--
-- Rules, sources and tiers are rooms further on, so what reads them is plpgsql: it looks names
-- up when it runs. All of it is STABLE: one snapshot, or books in use would not agree.

CREATE FUNCTION loyalty._entry_hash(previous bytea, account_id bigint, entry_no int, lot_no int, points loyalty.points,
        event_time timestamptz, recorded_at timestamptz, actor_id int, base loyalty.points, refunded loyalty.points,
        forgiven loyalty.points, source_id int, rule_id int, reverses int, kind text, event text, line text, effects bytea DEFAULT NULL)
    RETURNS bytea
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_audit_hash';
COMMENT ON FUNCTION loyalty._entry_hash(bytea, bigint, int, int, loyalty.points, timestamptz, timestamptz,
        int, loyalty.points, loyalty.points, loyalty.points, int, int, int, text, text, text, bytea) IS
    'The hash an entry must have after the entry whose hash is given first, NULL before an account''s first entry';

CREATE FUNCTION loyalty._entry_bytes(previous bytea, account_id bigint, entry_no int, lot_no int, points loyalty.points,
        event_time timestamptz, recorded_at timestamptz, actor_id int, base loyalty.points, refunded loyalty.points,
        forgiven loyalty.points, source_id int, rule_id int, reverses int, kind text, event text, line text, effects bytea DEFAULT NULL)
    RETURNS bytea
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_audit_bytes';
COMMENT ON FUNCTION loyalty._entry_bytes(bytea, bigint, int, int, loyalty.points, timestamptz, timestamptz,
        int, loyalty.points, loyalty.points, loyalty.points, int, int, int, text, text, text, bytea) IS
    'The bytes of an entry that are hashed';

-- What entries did to lots, as it is hashed (docs/audit.md): a byte of flags, and what they say.
CREATE VIEW loyalty._hashed_effect AS
    SELECT p.account_id, p.entry_no, set_byte('\x00', 0, bit_or(p.flag)) || string_agg(p.bytes, '' ORDER BY p.flag) AS effects
    FROM (SELECT a.account_id, a.entry_no, 4,
                 int4send(count(*)::int) || string_agg(int4send(a.lot_no) || loyalty.points_send(a.points), '' ORDER BY a.allocation_no)
          FROM loyalty._book_allocation a GROUP BY a.account_id, a.entry_no
          UNION ALL
          SELECT e.account_id, e.entry_no, 8, timestamptz_send(e.clock_end) FROM loyalty._book e WHERE e.clock_end IS NOT NULL
          UNION ALL
          SELECT e.account_id, e.entry_no, 16, timestamptz_send(e.clock_ended) FROM loyalty._book e WHERE e.clock_ended IS NOT NULL
          UNION ALL
          -- When the lots that it opened begin, and were to end, and their month; nothing where damage left no end.
          SELECT l.account_id, l.opened_by, 32,
                 string_agg(CASE WHEN l.valid_from = '-infinity' THEN '\x00' ELSE '\x01' || timestamptz_send(l.valid_from) END
                            || timestamptz_send(CASE WHEN l.by_activity THEN '294276-12-31 23:59:59.999999+00'
                                   WHEN l.extended THEN (SELECT CASE WHEN e.line ~ '^(infinity|\d{4,6}-(0[1-9]|1[0-2])-([0-2]\d|3[01])T([01]\d|2[0-3])(:[0-5]\d){2}\.\d{6}Z) '
                                                                   THEN split_part(e.line, ' ', 1)::timestamptz END FROM loyalty._book e
                                                         WHERE e.account_id = l.account_id AND e.kind = 'extend' AND e.lot_no = l.lot_no
                                                         ORDER BY e.entry_no LIMIT 1)
                                   ELSE l.expires_at END) || date_send(l.issued), '' ORDER BY l.lot_no)
          FROM loyalty.lot l GROUP BY l.account_id, l.opened_by
          UNION ALL
          SELECT h.account_id, h.hold_no, 64,
                 timestamptz_send(min(h.ends_at)) || string_agg(int4send(h.lot_no) || loyalty.points_send(h.points), '' ORDER BY h.lot_no)
          FROM loyalty.hold h GROUP BY h.account_id, h.hold_no) p (account_id, entry_no, flag, bytes)
    GROUP BY p.account_id, p.entry_no;
COMMENT ON VIEW loyalty._hashed_effect IS 'What entries did to lots, as their hashes cover it';

-- Rows with a problem: an entry's fault. The others are of accounts whose rows are not what the
-- entries come to. With a lot_no: what entries did to the lot (0: the debt); entry_no is the first
-- of them, ended_by the first that booked its end. Else: the account; entry_no is its last,
-- checkpoint_no the last checkpoint that saw it.
CREATE FUNCTION loyalty._walk(first bigint, last bigint, sources int[], rules int[], rule_currencies int[], actors int[],
        currencies int[],
        OUT account_id bigint, OUT lot_no int, OUT entry_no int, OUT problem text,
        OUT points loyalty.points, OUT credited loyalty.points, OUT redeemed loyalty.points, OUT expired loyalty.points, OUT waived loyalty.points,
        OUT at timestamptz, OUT ended_at timestamptz, OUT ended_by int, OUT currency_id int, OUT head bytea,
        OUT checkpoint_no int)
    RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'loyalty_audit_walk';
COMMENT ON FUNCTION loyalty._walk(bigint, bigint, int[], int[], int[], int[], int[]) IS
    'Faults of the entries of a range of accounts, and what the entries come to where lots or account say otherwise';

CREATE FUNCTION loyalty._walk_archive(first bigint, last bigint, sources int[], rules int[], rule_currencies int[], actors int[],
        currencies int[], discarded timestamptz,
        OUT account_id bigint, OUT lot_no int, OUT entry_no int, OUT problem text,
        OUT points loyalty.points, OUT credited loyalty.points, OUT redeemed loyalty.points, OUT expired loyalty.points, OUT waived loyalty.points,
        OUT at timestamptz, OUT ended_at timestamptz, OUT ended_by int, OUT currency_id int, OUT head bytea,
        OUT checkpoint_no int)
    RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL SAFE COST 10000000 ROWS 100 AS 'MODULE_PATHNAME', 'loyalty_audit_walk_archive';
COMMENT ON FUNCTION loyalty._walk_archive(bigint, bigint, int[], int[], int[], int[], int[], timestamptz) IS
    'Faults of the archived entries of a range of accounts, by themselves and against their anchors';

-- The id applications see; NULL where damage leaves none.
CREATE FUNCTION loyalty._entry_id(account_id bigint, entry_no int) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN account_id BETWEEN 1 AND 92233720367 THEN account_id * 100000000 + entry_no END;

-- Entries by themselves, and what they come to against the rows of lots and accounts, of a
-- range of accounts. The walk compares; what is wrong with an account that does not agree is
-- told here, from that account's rows alone. That the walk answers few rows is the planner's
-- guess: of many accounts with open holds nested loops would take the square. The price that it
-- puts on what is off would call for JIT.
CREATE FUNCTION loyalty._verify_accounts(first bigint, last bigint, sources int[], rules int[], rule_currencies int[], actors int[],
        currencies int[] DEFAULT NULL)
    RETURNS TABLE (account bigint, entry_id bigint, problem text)
    LANGUAGE plpgsql STABLE PARALLEL SAFE COST 10000000 ROWS 10
    SET search_path = pg_catalog, loyalty, pg_temp SET enable_sort = off SET enable_nestloop = off SET jit = off AS $$
BEGIN
    RETURN QUERY
    WITH walk AS MATERIALIZED (
        SELECT * FROM loyalty._walk(first, last, sources, rules, rule_currencies, actors, currencies)
    ), account_walk AS (
        SELECT * FROM walk w WHERE w.lot_no IS NULL AND w.problem IS NULL
    ), lot_walk AS (
        SELECT * FROM walk w WHERE w.lot_no <> 0
    ), accounts AS MATERIALIZED (
        SELECT a.* FROM account_walk w
        CROSS JOIN LATERAL (SELECT a.* FROM loyalty.account a WHERE a.account_id = w.account_id OFFSET 0) a
    ), lots AS MATERIALIZED (
        SELECT l.* FROM account_walk w
        CROSS JOIN LATERAL (SELECT l.* FROM loyalty.lot l WHERE l.account_id = w.account_id OFFSET 0) l
    ), holdings AS (
        SELECT l.account_id, count(*) AS lots, max(l.lot_no) AS last_lot,
               sum(l.remaining::numeric) FILTER (WHERE l.valid_from <= a.as_of AND l.expires_at > a.as_of) AS live,
               sum(l.remaining::numeric) FILTER (WHERE l.valid_from > a.as_of AND l.expires_at > a.as_of) AS pending,
               sum(l.remaining::numeric) FILTER (WHERE l.expires_at <= a.as_of) AS dead,
               sum(l.held::numeric) FILTER (WHERE l.held <> 0 AND l.valid_from <= a.as_of AND l.expires_at > a.as_of) AS held,
               min(CASE WHEN l.expires_at <= a.as_of THEN NULL
                        WHEN l.valid_from > a.as_of THEN least(l.valid_from, l.expires_at)
                        ELSE l.expires_at END) FILTER (WHERE l.open) AS next_change,
               bool_or(l.on_clock) AND bool_and(a.clock_end IS NULL) AS no_clock
        FROM (SELECT l.account_id, l.lot_no, l.open, l.valid_from, l.remaining, l.held,
                     l.expires_at = '294276-12-31 23:59:59.999999+00' AS on_clock,
                     CASE WHEN l.expires_at = '294276-12-31 23:59:59.999999+00' THEN a.clock_end ELSE l.expires_at END AS expires_at
              FROM lots l LEFT JOIN accounts a ON a.account_id = l.account_id) l
        LEFT JOIN accounts a ON a.account_id = l.account_id
        GROUP BY l.account_id
    ), holds AS (
        SELECT h.account_id, h.lot_no, h.ends_at, h.points::numeric - h.captured::numeric AS rest, h.owed::numeric AS owed
        FROM account_walk w
        CROSS JOIN LATERAL (SELECT h.* FROM loyalty.hold h WHERE h.account_id = w.account_id AND h.open OFFSET 0) h
    ), kept AS (
        SELECT h.account_id, h.lot_no, sum(h.rest) AS rest, bool_or(h.owed < 0 OR h.owed > h.rest) AS owes_more FROM holds h GROUP BY h.account_id, h.lot_no
    ), first_end AS (
        SELECT h.account_id, min(h.ends_at) AS ends_at FROM holds h GROUP BY h.account_id
    )
    -- Entries by themselves: number, hash, form, allocations.
    SELECT w.account_id, loyalty._entry_id(w.account_id, w.entry_no), w.problem
    FROM walk w WHERE w.problem IS NOT NULL

    UNION ALL
    SELECT f.account_id, loyalty._entry_id(f.account_id, f.entry_no), f.problem
    FROM (SELECT account_id,
                 CASE WHEN w.ended_at <> l.expires_at THEN w.ended_by ELSE w.entry_no END AS entry_no,
                 CASE
                 WHEN l.open IS NULL
                 THEN format('lot %s is not there, its entries come to %s points', lot_no, w.points)
                 WHEN w.points IS NULL
                 THEN format('lot %s comes from no entry', lot_no)
                 -- Points end when their lot ends, not before and not after.
                 WHEN w.ended_at <> l.expires_at
                 THEN format('the end of lot %s is booked at %s, it ends at %s', lot_no, w.ended_at, l.expires_at)
                 WHEN l.remaining <> w.points
                 THEN format('lot %s has %s points left, its entries come to %s', lot_no, l.remaining, w.points)
                 WHEN l.credited <> w.credited
                 THEN format('lot %s was credited %s points, by its entries %s', lot_no, l.credited, w.credited)
                 WHEN l.expired <> w.expired
                 THEN format('of lot %s %s points expired, by its entries %s', lot_no, l.expired, w.expired)
                 WHEN l.remaining < 0 OR l.held < 0 OR l.held > l.remaining
                 THEN format('lot %s has %s points left and %s held', lot_no, l.remaining, l.held)
                 WHEN l.held::numeric <> coalesce(k.rest, 0)
                 THEN format('of lot %s %s points are held, by its holds %s', lot_no, coalesce(l.held, 0), coalesce(k.rest, 0))
                 WHEN k.owes_more THEN format('of lot %s holds owe more than they have left', lot_no)
                 WHEN l.open <> (l.remaining > 0)
                 THEN format('lot %s has %s points left and says that it is %s', lot_no, l.remaining,
                             CASE WHEN l.open THEN 'open' ELSE 'used' END)
                 WHEN l.waived < 0 OR l.waived > l.expired
                 THEN format('of lot %s %s points expired and %s were waived', lot_no, l.expired, l.waived)
                 WHEN l.waived <> w.waived
                 THEN format('of lot %s %s points were waived, by its entries %s', lot_no, l.waived, w.waived)
                 WHEN l.opened_by <> w.entry_no
                 THEN format('lot %s was opened by entry %s, its first entry is %s', lot_no, l.opened_by, w.entry_no)
                 WHEN CASE WHEN l.by_activity THEN l.expires_at <> '294276-12-31 23:59:59.999999+00' AND l.expires_at > a.as_of
                           ELSE l.expires_at = '294276-12-31 23:59:59.999999+00' END
                 THEN format('lot %s ends at %s, and %s', lot_no, l.expires_at,
                             CASE WHEN l.by_activity THEN 'came to end by activity' ELSE 'did not come to end so' END)
                 WHEN l.earned_at <> w.at
                 THEN format('lot %s was earned at %s, its first entry is of %s', lot_no, l.earned_at, w.at)
                 WHEN extract(day FROM l.issued) <> 1
                 THEN format('lot %s was issued on %s, that is no month', lot_no, l.issued)
                 END AS problem
          FROM lot_walk w FULL JOIN lots l USING (account_id, lot_no) LEFT JOIN kept k USING (account_id, lot_no)
          LEFT JOIN accounts a USING (account_id)) f
    WHERE f.problem IS NOT NULL

    UNION ALL
    SELECT a.account_id, NULL, unnest(array_remove(ARRAY[
        CASE WHEN w.currency_id <> a.currency_id THEN 'its rules give another currency than its own' END,
        CASE WHEN a.head IS DISTINCT FROM w.head THEN 'the head is not the hash of the last entry' END,
        CASE WHEN a.posted <> coalesce(w.points, 0)
             THEN format('%s points are posted, the entries come to %s', a.posted, coalesce(w.points, 0)) END,
        CASE WHEN a.posted::numeric <> coalesce(h.live, 0) + coalesce(h.pending, 0) + coalesce(h.dead, 0) - a.debt::numeric
             THEN format('%s points are posted, the lots have %s and the debt is %s', a.posted,
                         coalesce(h.live, 0) + coalesce(h.pending, 0) + coalesce(h.dead, 0), a.debt) END,
        CASE WHEN a.debt::numeric <> - coalesce(d.points, 0)::numeric
             THEN format('the debt is %s, by the entries %s', a.debt, - coalesce(d.points, 0)::numeric) END,
        CASE WHEN a.earned <> coalesce(w.credited, 0)
             THEN format('%s points are earned, by the entries %s', a.earned, coalesce(w.credited, 0)) END,
        CASE WHEN a.redeemed <> coalesce(w.redeemed, 0)
             THEN format('%s points are redeemed, by the entries %s', a.redeemed, coalesce(w.redeemed, 0)) END,
        CASE WHEN a.expired <> coalesce(w.expired, 0)
             THEN format('%s points are expired, by the entries %s', a.expired, coalesce(w.expired, 0)) END,
        CASE WHEN a.lots <> coalesce(h.lots, 0) OR a.lots <> coalesce(h.last_lot, 0)
             THEN format('it counts %s lots, there are %s and the last is %s', a.lots, coalesce(h.lots, 0),
                         coalesce(h.last_lot, 0)) END,
        CASE WHEN a.live::numeric <> coalesce(h.live, 0)
             THEN format('%s points are live, by the lots %s', a.live, coalesce(h.live, 0)) END,
        CASE WHEN a.pending::numeric <> coalesce(h.pending, 0)
             THEN format('%s points are pending, by the lots %s', a.pending, coalesce(h.pending, 0)) END,
        CASE WHEN a.held::numeric <> coalesce(h.held, 0)
             THEN format('%s points are held, by the lots %s', a.held, coalesce(h.held, 0)) END,
        CASE WHEN a.as_of < w.at
             THEN format('its totals are as of %s, an entry was recorded at %s', a.as_of, w.at) END,
        CASE WHEN a.next_change > h.next_change OR a.next_change <= a.as_of
             THEN format('its totals as of %s hold until %s, by the lots until %s', a.as_of, a.next_change,
                         coalesce(h.next_change, 'infinity')) END,
        CASE WHEN a.next_change > n.ends_at
             THEN format('its totals as of %s hold until %s, by its holds until %s', a.as_of, a.next_change, n.ends_at) END,
        CASE WHEN h.no_clock THEN 'it has lots that end by a clock, and no clock' END
        ], NULL))
    FROM accounts a
    LEFT JOIN account_walk w ON w.account_id = a.account_id
    LEFT JOIN holdings h ON h.account_id = a.account_id
    LEFT JOIN first_end n ON n.account_id = a.account_id
    LEFT JOIN (SELECT * FROM walk w WHERE w.lot_no = 0) d ON d.account_id = a.account_id

    UNION ALL
    -- The last entries cut off, or more than were counted.
    SELECT a.account_id, loyalty._entry_id(a.account_id, least(a.entries, coalesce(w.entry_no, 0)) + 1),
           format('it counts %s entries, the last one there is %s', a.entries, coalesce(w.entry_no, 0))
    FROM accounts a LEFT JOIN account_walk w ON w.account_id = a.account_id
    WHERE a.entries <> coalesce(w.entry_no, 0)

    UNION ALL
    SELECT o.account_id, NULL, format('the account is not there, its %s are', string_agg(o.what, ' and ' ORDER BY o.what))
    FROM (SELECT w.account_id, 'entries' FROM account_walk w WHERE w.entry_no IS NOT NULL
          UNION ALL SELECT w.account_id, 'checkpoints' FROM account_walk w WHERE w.checkpoint_no > 0
          UNION ALL SELECT h.account_id, 'lots' FROM holdings h) o (account_id, what)
    WHERE NOT EXISTS (SELECT FROM accounts a WHERE a.account_id = o.account_id)
    GROUP BY o.account_id;
END $$;
COMMENT ON FUNCTION loyalty._verify_accounts(bigint, bigint, int[], int[], int[], int[], int[]) IS
    'Faults of entries, and entries against lots and accounts, of a range of accounts';

-- Entries that answer to other rows: what was given back, held or transferred, requests, changes
-- of key, reversals. What an archived entry is to answer is asked with the archive, if it is there.
-- With currencies, of their accounts only; nothing of the others is read.
CREATE FUNCTION loyalty._verify_links(currencies int[] DEFAULT NULL, archive boolean DEFAULT false)
    RETURNS TABLE (account bigint, entry_id bigint, problem text)
    LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1000000 ROWS 10 SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    RETURN QUERY
    WITH book AS NOT MATERIALIZED (
        SELECT * FROM loyalty.entry
        UNION ALL
        SELECT * FROM loyalty.archived_entry WHERE archive
    ), book_allocation AS NOT MATERIALIZED (
        SELECT * FROM loyalty.allocation
        UNION ALL
        SELECT * FROM loyalty.archived_allocation WHERE archive
    ), away AS MATERIALIZED (
        SELECT * FROM loyalty._away(archive)
    ), linked AS MATERIALIZED (
        SELECT e.account_id, e.entry_no, e.lot_no, e.points, e.event_time, e.recorded_at, e.base, e.refunded, e.forgiven,
               e.source_id, e.rule_id, e.reverses, e.kind, e.event, e.line
        FROM book e WHERE currencies IS NULL AND e.kind <> 'earn' AND e.kind <> 'expire'
        UNION ALL
        SELECT e.account_id, e.entry_no, e.lot_no, e.points, e.event_time, e.recorded_at, e.base, e.refunded, e.forgiven,
               e.source_id, e.rule_id, e.reverses, e.kind, e.event, e.line
        FROM loyalty.account a
        CROSS JOIN LATERAL (SELECT * FROM book e WHERE e.account_id = a.account_id AND e.kind <> 'earn' AND e.kind <> 'expire'
                            OFFSET 0) e
        WHERE a.currency_id = ANY (currencies)
    ), allocations AS NOT MATERIALIZED (
        SELECT c.account_id, c.entry_no, c.allocation_no, c.lot_no, c.points, c.returned
        FROM book_allocation c WHERE currencies IS NULL
        UNION ALL
        SELECT c.account_id, c.entry_no, c.allocation_no, c.lot_no, c.points, c.returned
        FROM loyalty.account a
        CROSS JOIN LATERAL (SELECT * FROM book_allocation c WHERE c.account_id = a.account_id OFFSET 0) c
        WHERE a.currency_id = ANY (currencies)
    ), holds AS NOT MATERIALIZED (
        SELECT h.account_id, h.hold_no, h.lot_no, h.open, h.points, h.captured, h.owed, h.ends_at, h.released_at
        FROM (SELECT h.* FROM loyalty.hold h WHERE currencies IS NULL
              UNION ALL
              SELECT h.*
              FROM loyalty.account a
              CROSS JOIN LATERAL (SELECT * FROM loyalty.hold h WHERE h.account_id = a.account_id OFFSET 0) h
              WHERE a.currency_id = ANY (currencies)) h
        LEFT JOIN away k ON k.account_id = h.account_id
        WHERE h.hold_no > coalesce(k.entries, 0)
    ), given_back AS (
        SELECT e.account_id, e.reverses AS entry_no, sum(e.points::numeric) AS points, min(e.entry_no) AS by,
               array_agg(DISTINCT e.line) AS lines
        FROM linked e LEFT JOIN away k ON k.account_id = e.account_id
        WHERE e.kind = 'giveback' AND e.reverses > coalesce(k.entries, 0) GROUP BY e.account_id, e.reverses
    ), parted AS (
        SELECT * FROM loyalty._parted(archive)
    ), pooled AS (
        SELECT e.line, trim_scale(sum(e.points::numeric)) AS points FROM linked e WHERE e.kind = 'redeem' AND e.line IS NOT NULL GROUP BY e.line
    )
    SELECT g.account_id, loyalty._entry_id(g.account_id, g.by),
           CASE WHEN r.points IS NULL THEN format('what it gives back, entry %s, is not a redemption', g.entry_no)
                WHEN g.lines <> ARRAY[r.line] THEN format('what it gives back, entry %s, is of another redemption from a pool', g.entry_no)
                ELSE format('of entry %s %s points are given back, it took %s', g.entry_no, g.points, - r.points) END
    FROM given_back g LEFT JOIN linked r ON r.account_id = g.account_id AND r.entry_no = g.entry_no AND r.kind = 'redeem'
    WHERE r.points IS NULL OR g.points > - r.points::numeric OR g.lines <> ARRAY[r.line]

    UNION ALL
    -- Who pays a part of a redemption from a pool is among its payments.
    SELECT e.account_id, loyalty._entry_id(e.account_id, e.entry_no),
           format('it paid with %s lots for a pool, of which its payments have %s', e.lots, e.payments)
    FROM (SELECT e.account_id, e.entry_no,
                 (SELECT count(*) FROM book_allocation c WHERE c.account_id = e.account_id AND c.entry_no = e.entry_no) AS lots,
                 (SELECT count(*) FROM loyalty.pool_payment y
                  WHERE y.account_id = i.id / 100000000 AND y.entry_no = (i.id % 100000000)::int
                    AND y.payer_id = e.account_id AND y.payer_entry = e.entry_no) AS payments
          FROM linked e CROSS JOIN LATERAL (SELECT CASE WHEN e.line ~ '^\d{1,18}/' THEN split_part(e.line, '/', 1)::bigint END AS id) i
          WHERE e.kind = 'redeem' AND e.line IS NOT NULL) e
    WHERE e.lots <> e.payments

    UNION ALL
    -- What is given back fills the allocations of the redemption from the last one on.
    SELECT p.account_id, loyalty._entry_id(p.account_id, p.entry_no),
           format('its allocations were given back %s points, by the entries %s', sum(p.returned::numeric), sum(p.due))
    FROM (SELECT a.account_id, a.entry_no, a.returned,
                 greatest(0, least(- a.points::numeric, coalesce(g.points, 0) + coalesce(sum(a.points::numeric) OVER later, 0))) AS due
          FROM allocations a
          LEFT JOIN given_back g ON g.account_id = a.account_id AND g.entry_no = a.entry_no
          WHERE g.points IS NOT NULL OR a.returned <> 0
          WINDOW later AS (PARTITION BY a.account_id, a.entry_no ORDER BY a.allocation_no DESC
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) p
    GROUP BY p.account_id, p.entry_no
    HAVING bool_or(p.returned::numeric <> p.due)

    UNION ALL
    -- A hold reserves what its entry says, in rows that end alike, and what of it is captured
    -- was redeemed in its name.
    SELECT f.account_id, loyalty._entry_id(f.account_id, f.hold_no), f.problem
    FROM (SELECT h.account_id, h.hold_no,
                 CASE WHEN h.held IS NULL THEN format('of lot %s %s points are captured, it held none', h.lot_no, h.redeemed)
                      WHEN e.base IS NULL THEN format('points of lot %s are held for it, it is not a hold', h.lot_no)
                      WHEN h.captured <> h.redeemed
                      THEN format('of lot %s %s points are captured, by its redemptions %s', h.lot_no, h.captured, h.redeemed)
                      WHEN h.captured > h.held THEN format('of lot %s %s points are captured, it held %s', h.lot_no, h.captured, h.held)
                      WHEN h.all_held <> e.base::numeric THEN format('it holds %s points of lots, by its entry %s', h.all_held, e.base)
                      WHEN h.ends_at <> h.first_end OR h.released_at IS DISTINCT FROM h.first_release AND h.captured < h.held
                      THEN 'it does not end at one time'
                      WHEN h.released_at IS DISTINCT FROM r.event_time AND h.captured < h.held
                      THEN format('it says that it was released %s, by its entries %s', coalesce('at ' || h.released_at, 'never'), coalesce('at ' || r.event_time, 'never'))
                      WHEN h.released_at IS NOT NULL AND h.captured = h.held
                      THEN format('it says that it was released at %s, of lot %s nothing was left', h.released_at, h.lot_no)
                      WHEN h.ends_at <= e.event_time THEN format('it ended at %s, before it was made', h.ends_at)
                      WHEN h.open <> (h.captured < h.held AND h.released_at IS NULL AND h.ends_at > a.as_of)
                      THEN format('it says that it is %s, as of %s', CASE WHEN h.open THEN 'open' ELSE 'over' END, a.as_of)
                      END AS problem
          FROM (SELECT p.*, sum(p.held) OVER hold AS all_held, min(p.ends_at) OVER hold AS first_end, min(p.released_at) OVER hold AS first_release
                FROM (SELECT account_id, hold_no, lot_no, max(points) AS held, coalesce(max(captured), 0) AS captured,
                             coalesce(sum(redeemed), 0) AS redeemed, bool_or(open) AS open, min(ends_at) AS ends_at, min(released_at) AS released_at
                      FROM (SELECT h.account_id, h.hold_no, h.lot_no, h.points::numeric AS points, h.captured::numeric AS captured,
                                   NULL::numeric AS redeemed, h.open, h.ends_at, h.released_at
                            FROM holds h
                            UNION ALL
                            SELECT r.account_id, r.reverses, coalesce(c.lot_no, r.lot_no), NULL, NULL,
                                   - coalesce(c.points, r.points)::numeric, NULL, NULL, NULL
                            FROM linked r LEFT JOIN allocations c ON c.account_id = r.account_id AND c.entry_no = r.entry_no
                            LEFT JOIN away k ON k.account_id = r.account_id
                            WHERE r.kind = 'redeem' AND r.reverses > coalesce(k.entries, 0)) u
                      GROUP BY account_id, hold_no, lot_no) p
                WINDOW hold AS (PARTITION BY p.account_id, p.hold_no)) h
          LEFT JOIN linked e ON e.account_id = h.account_id AND e.entry_no = h.hold_no AND e.kind = 'hold'
          LEFT JOIN (SELECT r.account_id, r.reverses AS hold_no, min(r.event_time) AS event_time FROM linked r WHERE r.kind = 'release' GROUP BY 1, 2) r
            ON r.account_id = h.account_id AND r.hold_no = h.hold_no
          LEFT JOIN loyalty.account a ON a.account_id = h.account_id) f
    WHERE f.problem IS NOT NULL

    UNION ALL
    -- What is owed of it is what the last waiver in its name says.
    SELECT account_id, loyalty._entry_id(account_id, CASE WHEN h.owed IS NULL THEN w.entry_no ELSE hold_no END),
           CASE WHEN h.owed IS NULL THEN format('of lot %s, which it does not hold, refunds are let off', lot_no)
                ELSE format('it owes %s points of lot %s to refunds, by its entries %s', h.owed, lot_no, coalesce(w.base, 0)) END
    FROM holds h
    FULL JOIN (SELECT DISTINCT ON (e.account_id, e.reverses, e.lot_no) e.account_id, e.reverses AS hold_no, e.lot_no, e.entry_no, coalesce(e.base, 0) AS base
               FROM linked e LEFT JOIN away k USING (account_id)
               WHERE e.kind = 'waive' AND e.reverses > coalesce(k.entries, 0)
               ORDER BY e.account_id, e.reverses, e.lot_no, e.entry_no DESC) w USING (account_id, hold_no, lot_no)
    WHERE h.owed IS DISTINCT FROM coalesce(w.base, 0)

    UNION ALL
    SELECT e.account_id, loyalty._entry_id(e.account_id, e.entry_no), 'no lot is held for it'
    FROM linked e
    WHERE e.kind = 'hold' AND NOT EXISTS (SELECT FROM holds h WHERE h.account_id = e.account_id AND h.hold_no = e.entry_no)

    UNION ALL
    -- A release finds something left of its hold, and there is but one.
    SELECT e.account_id, loyalty._entry_id(e.account_id, max(e.entry_no)),
           CASE WHEN count(*) > 1 THEN format('it releases entry %s, which was released before', e.reverses)
                ELSE format('what it releases, entry %s, is no hold of which something was left', e.reverses) END
    FROM linked e LEFT JOIN away k ON k.account_id = e.account_id
    WHERE e.kind = 'release' AND e.reverses > coalesce(k.entries, 0)
    GROUP BY e.account_id, e.reverses
    HAVING count(*) > 1 OR NOT EXISTS (SELECT FROM holds h WHERE h.account_id = e.account_id AND h.hold_no = e.reverses AND h.released_at IS NOT NULL)

    UNION ALL
    -- What one side of a transfer or merge takes the other gives, at one time and in one currency.
    SELECT e.account_id, loyalty._entry_id(e.account_id, e.entry_no),
           CASE WHEN o.line IS NULL THEN format('the other side of the %s, entry %s, is not there', e.kind, e.line)
                ELSE format('its side of the %s moves %s points, entry %s moves %s', e.kind, e.points, e.line, o.points) END
    FROM linked e
    LEFT JOIN linked o ON o.kind = e.kind AND loyalty._entry_id(o.account_id, o.entry_no)::text = e.line
        AND o.line = loyalty._entry_id(e.account_id, e.entry_no)::text AND o.account_id <> e.account_id
        AND o.recorded_at = e.recorded_at AND o.event_time = e.event_time
    LEFT JOIN loyalty.account a ON a.account_id = e.account_id
    LEFT JOIN loyalty.account b ON b.account_id = o.account_id
    WHERE e.kind IN ('transfer', 'merge') AND (o.line IS NULL OR e.points::numeric + o.points::numeric <> 0 OR a.currency_id <> b.currency_id)
      AND NOT EXISTS (SELECT FROM away k
                      WHERE k.account_id::text = left(e.line, -8) AND right(e.line, 8) <= lpad(k.entries::text, 8, '0') COLLATE "C")

    UNION ALL
    -- What ends a merge names the entry that began it, of the same two accounts.
    SELECT e.account_id, loyalty._entry_id(e.account_id, e.entry_no), format('the merge that it ends, entry %s, is not there', e.reverses)
    FROM linked e
    WHERE e.kind = 'merge' AND e.reverses IS NOT NULL
      AND NOT EXISTS (SELECT FROM linked o WHERE o.account_id = e.account_id AND o.entry_no = e.reverses AND o.kind = 'merge'
                        AND o.reverses IS NULL AND left(o.line, -8) = left(e.line, -8))
      AND NOT EXISTS (SELECT FROM away k WHERE k.account_id = e.account_id AND e.reverses <= k.entries)

    UNION ALL
    -- Each answer to a request has the request, and each request its answer.
    SELECT coalesce(q.account_id, e.account_id), loyalty._entry_id(coalesce(q.account_id, e.account_id), coalesce(q.entry_no, e.entry_no)),
           CASE WHEN q.request_id IS NULL THEN format('the request %L that it answered is not there', e.event)
                ELSE format('request %L names it, it did not answer that request', q.request_id) END
    FROM (SELECT e.account_id, e.entry_no, e.event, e.recorded_at, CASE
                     WHEN e.kind = 'giveback' THEN 'giveback '
                     WHEN e.kind = 'merge' THEN format('%s account %s ', CASE WHEN e.reverses IS NULL THEN 'merge' ELSE 'unmerge' END, e.account_id)
                     WHEN e.reverses IS NOT NULL THEN 'capture '
                     WHEN d.entry_no IS NOT NULL THEN 'redeem '
                     WHEN e.kind = 'redeem' AND e.line IS NOT NULL
                     THEN format('redeem %s pool %s member %s ', u.points, split_part(e.line, '/', 2), split_part(e.line, '/', 3))
                     ELSE format('%s %s account %s ', e.kind, CASE e.kind WHEN 'hold' THEN e.base ELSE e.points END, e.account_id)
                     END AS content, c.program_id
          FROM linked e
          LEFT JOIN loyalty.account a ON a.account_id = e.account_id
          LEFT JOIN loyalty.currency c ON c.currency_id = a.currency_id
          LEFT JOIN pooled u ON u.line = e.line AND e.kind = 'redeem'
          LEFT JOIN parted d ON d.account_id = e.account_id AND d.entry_no = e.entry_no AND e.kind = 'redeem'
          WHERE e.event IS NOT NULL AND e.source_id IS NULL) e
    FULL JOIN (SELECT * FROM loyalty.request q
               WHERE currencies IS NULL OR q.account_id IN (SELECT a.account_id FROM loyalty.account a WHERE a.currency_id = ANY (currencies))) q ON q.account_id = e.account_id AND q.entry_no = e.entry_no
    LEFT JOIN away k ON k.account_id = q.account_id AND e.account_id IS NULL
    WHERE (e.event IS DISTINCT FROM q.request_id OR e.program_id <> q.program_id
           OR e.recorded_at <> q.recorded_at OR NOT starts_with(q.content || ' ', e.content))
      AND (k.entries IS NULL OR q.entry_no > k.entries)

    UNION ALL
    -- A change of key moves no points.
    SELECT e.account_id, loyalty._entry_id(e.account_id, min(e.entry_no)), 'its pair of a change of key is not there'
    FROM linked e WHERE e.kind = 'rekey'
    GROUP BY e.account_id, e.source_id, e.rule_id, e.lot_no
    HAVING sum(e.points::numeric) <> 0 OR sum(e.base::numeric) <> 0 OR sum(e.refunded::numeric) <> 0
        OR sum(e.forgiven::numeric) <> 0 OR count(*) % 2 <> 0

    UNION ALL
    -- A confirmation takes an award out of a lot that begins never, and the next entry puts it into one
    -- that is live and ends when that would have.
    SELECT coalesce(o.account_id, i.account_id), loyalty._entry_id(coalesce(o.account_id, i.account_id), coalesce(o.entry_no, i.entry_no)),
           CASE WHEN o.entry_no IS NULL THEN 'it confirms what no entry took out of a lot'
                WHEN i.entry_no IS NULL THEN 'its pair of a confirmation is not there'
                WHEN o.points::numeric + i.points::numeric <> 0
                THEN format('%s points are confirmed, its pair gives %s', - o.points::numeric, i.points)
                WHEN a.entry_no IS NULL THEN format('entry %s, which it confirms, is no such award', o.reverses)
                ELSE 'it confirms points that do not wait for it, or gives them another month or an earlier end' END
    FROM (SELECT * FROM linked WHERE kind = 'confirm' AND reverses IS NOT NULL) o
    FULL JOIN (SELECT * FROM linked WHERE kind = 'confirm' AND reverses IS NULL) i
      ON i.account_id = o.account_id AND i.entry_no = o.entry_no + 1 AND i.recorded_at = o.recorded_at AND i.event = o.event
         AND i.line IS NOT DISTINCT FROM o.line AND i.source_id = o.source_id AND i.rule_id = o.rule_id
    LEFT JOIN book a ON a.account_id = o.account_id AND a.entry_no = o.reverses AND a.kind IN ('earn', 'rekey')
         AND a.source_id = o.source_id AND a.rule_id = o.rule_id
    LEFT JOIN away k ON k.account_id = o.account_id AND o.reverses <= k.entries
    LEFT JOIN loyalty._lot p ON p.account_id = o.account_id AND p.lot_no = o.lot_no
    LEFT JOIN book_allocation t ON t.account_id = i.account_id AND t.entry_no = i.entry_no AND t.lot_no <> 0
    LEFT JOIN loyalty._lot l ON l.account_id = i.account_id AND l.lot_no = coalesce(i.lot_no, t.lot_no)
    WHERE o.entry_no IS NULL OR i.entry_no IS NULL OR o.points::numeric + i.points::numeric <> 0
       OR a.entry_no IS NULL AND k.account_id IS NULL
       OR p.valid_from IS DISTINCT FROM 'infinity' OR l.valid_from <> '-infinity' OR l.issued <> p.issued
       -- The empty lot may have been extended since.
       OR l.expires_at < p.expires_at AND NOT EXISTS (SELECT FROM linked x WHERE x.account_id = o.account_id AND x.kind = 'extend'
                                                      AND x.lot_no = o.lot_no AND x.entry_no > o.entry_no)

    UNION ALL
    -- Extensions follow on each other, each to a later end, and the last says the end that the lot has.
    SELECT x.account_id, loyalty._entry_id(x.account_id, x.entry_no),
           CASE WHEN x.from_end >= x.to_end THEN format('it moves the end of lot %s from %s to %s, that is not later', x.lot_no, x.from_end, x.to_end)
                WHEN x.from_end <> x.end_before THEN format('it moves the end of lot %s from %s, the entry before moved it to %s', x.lot_no, x.from_end, x.end_before)
                ELSE format('it moves the end of lot %s to %s, the lot ends at %s', x.lot_no, x.to_end, x.lot_end) END
    FROM (SELECT e.account_id, e.entry_no, e.lot_no, split_part(e.line, ' ', 1) COLLATE "C" AS from_end, split_part(e.line, ' ', 2) COLLATE "C" AS to_end,
                 lag(split_part(e.line, ' ', 2)) OVER lot AS end_before, lead(e.entry_no) OVER lot IS NULL AS is_last,
                 CASE WHEN isfinite(l.expires_at) THEN to_char(l.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                      ELSE l.expires_at::text END AS lot_end
          FROM linked e LEFT JOIN loyalty.lot l ON l.account_id = e.account_id AND l.lot_no = e.lot_no
          WHERE e.kind = 'extend'
          WINDOW lot AS (PARTITION BY e.account_id, e.lot_no ORDER BY e.entry_no)) x
    -- Without a lot it is the account's clock that is extended; entries restart that, too.
    WHERE x.from_end >= x.to_end OR (x.lot_no IS NOT NULL AND (x.from_end <> x.end_before OR (x.is_last AND x.to_end <> x.lot_end)))

    UNION ALL
    -- An award is never taken back beyond what it gave: the whole event's where the rule counts by events.
    SELECT e.account_id, loyalty._entry_id(e.account_id, max(e.entry_no)),
           format('its award gave %s points and forgave %s, from %s of which %s are refunded', sum(e.points::numeric),
                  coalesce(sum(e.forgiven::numeric), 0), coalesce(sum(e.base::numeric), 0), coalesce(sum(e.refunded::numeric), 0))
    FROM (SELECT DISTINCT t.account_id, t.event, t.source_id, t.rule_id FROM linked t WHERE t.kind IN ('reverse', 'rekey')) t
    JOIN book e ON e.account_id = t.account_id AND e.event = t.event AND e.source_id = t.source_id AND e.rule_id = t.rule_id
    LEFT JOIN loyalty.rule r ON r.rule_id = e.rule_id
    LEFT JOIN away k ON k.account_id = e.account_id
    GROUP BY e.account_id, e.event, e.source_id, e.rule_id, CASE WHEN r.stage = 'event' THEN (e.line IS NULL)::text ELSE e.line END
    HAVING (sum(e.points::numeric) < coalesce(sum(e.forgiven::numeric), 0) OR coalesce(sum(e.forgiven::numeric), 0) < 0
            OR coalesce(sum(e.base::numeric), 0) < coalesce(sum(e.refunded::numeric), 0) OR sum(e.refunded::numeric) < 0)
       -- An award of which a part may be archived begins with what is no award, or long ago, or, as
       -- corrections do, when it was booked.
       AND NOT (max(k.entries) IS NOT NULL
                AND ((array_agg(e.kind ORDER BY e.entry_no))[1] <> 'earn' OR (array_agg(e.event_time ORDER BY e.entry_no))[1] < max(k.before)
                     OR (array_agg(e.event_time = e.recorded_at ORDER BY e.entry_no))[1]));
END $$;
COMMENT ON FUNCTION loyalty._verify_links(int[], boolean) IS 'Entries against the entries and requests that they answer to';

-- Clocks: each ends when the last entry says that moved it, and awards of a merged member that wait live
-- by the clock of who has the points. And lots: each ended when an entry says that a clock had run out,
-- and none lives on by the next. Of who was merged others moved the clock before its own entries say so.
-- Of what is read once the planner knows nothing: nested loops would take the square.
CREATE FUNCTION loyalty._verify_clocks() RETURNS TABLE (account bigint, entry_id bigint, problem text)
    LANGUAGE plpgsql STABLE ROWS 10 SET search_path = pg_catalog, loyalty, pg_temp SET enable_nestloop = off SET jit = off AS $$
BEGIN
    RETURN QUERY
    WITH gone AS MATERIALIZED (
        SELECT DISTINCT d.account_id FROM loyalty._discarded d
    ), merged AS MATERIALIZED (
        SELECT g.member_id FROM loyalty.member_change g WHERE g.kind = 'merge'
        UNION SELECT g.other_id FROM loyalty.member_change g WHERE g.kind = 'merge' AND g.other_id IS NOT NULL
    ), said AS MATERIALIZED (
        -- Whoever began before may have come after one that began later: latest is when it was at least.
        SELECT b.account_id, b.entry_no, b.kind, b.latest, b.clock_end, b.clock_ended, max(b.clock_end) OVER earlier AS before,
               a.account_id NOT IN (SELECT g.account_id FROM gone g) AND a.member_id NOT IN (SELECT m.member_id FROM merged m) AS alone
        FROM loyalty.account a
        CROSS JOIN LATERAL (
            SELECT b.account_id, b.entry_no, b.kind, b.clock_end, b.clock_ended, max(b.recorded_at) OVER entries AS latest
            FROM loyalty._book b WHERE b.account_id = a.account_id
            WINDOW entries AS (ORDER BY b.entry_no) OFFSET 0) b
        WHERE a.currency_id IN (SELECT c.currency_id FROM loyalty.currency c WHERE c.activity IS NOT NULL
                                UNION ALL SELECT k.currency_id FROM loyalty.account k WHERE k.clock_end IS NOT NULL)
          AND (b.clock_end IS NOT NULL OR b.clock_ended IS NOT NULL)
        WINDOW earlier AS (PARTITION BY b.account_id ORDER BY b.entry_no ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), told AS MATERIALIZED (
        SELECT s.account_id, max(s.entry_no) AS entry_no, (array_agg(s.clock_end ORDER BY s.entry_no DESC))[1] AS clock_end
        FROM said s WHERE s.clock_end IS NOT NULL GROUP BY s.account_id
    ), person AS MATERIALIZED (
        SELECT a.account_id, a.clock_end, unnest(p.accounts) AS other
        FROM loyalty.account a JOIN loyalty._person p USING (account_id) WHERE a.merged_into IS NULL
    ), lot AS MATERIALIZED (
        -- Who booked the end of one wrote no other: those are on the clock still, and end with it.
        SELECT l.account_id, l.lot_no, l.opened_by, c.on_clock, CASE WHEN c.on_clock THEN coalesce(a.clock_end, '-infinity') ELSE l.expires_at END AS expires_at
        FROM loyalty.lot l JOIN loyalty.account a USING (account_id), LATERAL (SELECT l.expires_at = '294276-12-31 23:59:59.999999+00') c (on_clock)
        WHERE l.by_activity AND l.account_id NOT IN (SELECT g.account_id FROM gone g)
    ), ended AS MATERIALIZED (
        SELECT l.account_id, l.lot_no, min(s.entry_no) AS entry_no
        FROM lot l JOIN said s ON s.account_id = l.account_id AND s.entry_no > l.opened_by AND s.clock_ended IS NOT NULL
        GROUP BY l.account_id, l.lot_no
    )
    SELECT a.account_id, loyalty._entry_id(t.account_id, t.entry_no),
           format(CASE WHEN t.account_id IS NULL THEN 'its clock ends at %s, which no entry says' ELSE 'its clock ends at %s, by the entry at %s' END,
                  coalesce(a.clock_end::text, 'no time'), t.clock_end)
    FROM loyalty.account a LEFT JOIN told t USING (account_id) LEFT JOIN gone g USING (account_id)
    -- Of what was discarded the last that stayed tells still.
    WHERE coalesce(a.clock_end, '-infinity') <> coalesce(t.clock_end, '-infinity') AND (t.account_id IS NOT NULL OR g.account_id IS NULL)
    UNION ALL
    SELECT d.account_id, NULL, format('its clock ends at %s, that of account %s, which has its points, at %s',
                                      coalesce(d.clock_end::text, 'no time'), p.account_id, coalesce(p.clock_end::text, 'no time'))
    FROM person p
    JOIN loyalty.account d ON d.account_id = p.other AND d.merged_into IS NOT NULL AND d.pending > 0 AND d.clock_end IS DISTINCT FROM p.clock_end
    UNION ALL
    SELECT s.account_id, loyalty._entry_id(s.account_id, s.entry_no), CASE
        WHEN s.kind = 'clock' THEN 'an entry of kind clock, of a member who was never merged'
        WHEN s.clock_end < s.before THEN format('it sets the clock back from %s to %s', s.before, s.clock_end)
        WHEN s.clock_ended = s.before THEN format('it says that lots ended at %s, when their clock had not run out', s.clock_ended)
        ELSE format('it says that lots ended at %s, their clock was to end at %s', s.clock_ended, coalesce(s.before::text, 'no time')) END
    FROM said s
    -- One that began before may have come after one that wrote no entry: not a day before.
    WHERE s.alone AND (s.kind = 'clock' OR s.clock_end < s.before OR s.clock_ended <> coalesce(s.before, '-infinity')
                       OR s.latest < greatest(s.clock_ended, '0001-01-01 00:00+00') - interval '1 day')
    UNION ALL
    SELECT l.account_id, loyalty._entry_id(l.account_id, coalesce(s.entry_no, min(l.opened_by))),
           CASE WHEN l.on_clock THEN format('lot %s lives by activity, by the entry its clock ended at %s', min(l.lot_no), s.clock_ended)
                WHEN s.entry_no IS NULL THEN format('lot %s ended by activity at %s, when by the entries no clock ran out', min(l.lot_no), l.expires_at)
                ELSE format('lot %s ended by activity at %s, by the entry its clock ended at %s', min(l.lot_no), l.expires_at, s.clock_ended) END
    FROM lot l
    LEFT JOIN ended e ON e.account_id = l.account_id AND e.lot_no = l.lot_no
    LEFT JOIN said s ON s.account_id = e.account_id AND s.entry_no = e.entry_no
    WHERE CASE WHEN s.entry_no IS NULL THEN NOT l.on_clock ELSE l.expires_at <> s.clock_ended END
    GROUP BY l.account_id, l.on_clock, l.expires_at, s.entry_no, s.clock_ended
    UNION ALL
    SELECT l.account_id, loyalty._entry_id(l.account_id, l.opened_by),
           format('lot %s lives by activity, its clock ran out before entry %s', l.lot_no, s.entry_no)
    -- The last that found the clock run out, and set another.
    FROM (SELECT s.account_id, max(s.entry_no) AS entry_no FROM said s WHERE s.alone AND s.clock_end > s.before AND s.before < s.latest GROUP BY s.account_id) s
    JOIN lot l ON l.account_id = s.account_id AND l.on_clock AND l.opened_by < s.entry_no
    LEFT JOIN ended e ON e.account_id = l.account_id AND e.lot_no = l.lot_no WHERE e.account_id IS NULL;
END $$;
COMMENT ON FUNCTION loyalty._verify_clocks() IS 'When points that live by activity end, against the entries';

-- Members and accounts: each account has a member and a currency of one program, and no other
-- has the same two. The tables' keys say so as well, but a key can be dropped. What was merged
-- or closed has no points, but for awards of a merged member that wait to be confirmed, and the accounts of a member are so together,
-- as what became of the member says: of one without points no entry does.
CREATE FUNCTION loyalty._verify_members() RETURNS TABLE (account bigint, entry_id bigint, problem text)
    LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT a.account_id, NULL::bigint,
           CASE WHEN m.member_id IS NULL THEN format('member %s is not there', a.member_id)
                WHEN c.currency_id IS NULL THEN format('currency %s is not there', a.currency_id)
                WHEN m.program_id = c.program_id THEN 'its key is not that of its member'
                ELSE 'its member and its currency belong to two programs' END
    FROM loyalty.account a
    LEFT JOIN loyalty.member m ON m.member_id = a.member_id
    LEFT JOIN loyalty.currency c ON c.currency_id = a.currency_id
    WHERE m.member_id IS NULL OR c.currency_id IS NULL OR m.program_id <> c.program_id
       OR a.member_key <> m.member
    UNION ALL
    SELECT max(a.account_id), NULL, 'its member has another account of the same currency'
    FROM loyalty.account a GROUP BY a.member_id, a.currency_id HAVING count(*) > 1
    UNION ALL
    SELECT f.account_id, NULL, f.problem FROM (
    SELECT a.account_id, CASE
        WHEN a.state NOT IN (0, 1, 2) OR (a.state = 1) <> (a.merged_into IS NOT NULL)
        THEN format('its state is %s, and it is merged into account %s', a.state, coalesce(a.merged_into::text, 'NULL'))
        WHEN a.live <> 0 OR a.held <> 0 OR a.state = 2 AND a.pending <> 0
             OR a.state = 1 AND (a.debt <> 0 OR a.posted::numeric <> (SELECT coalesce(sum(l.remaining::numeric), 0) FROM loyalty.lot l
                                 WHERE l.account_id = a.account_id AND l.open AND l.valid_from = 'infinity'))
        THEN format('it is %s and has points', CASE a.state WHEN 1 THEN 'merged' ELSE 'closed' END)
        WHEN a.state = 1 AND (i.account_id IS NULL OR i.currency_id <> a.currency_id)
        THEN format('the account it is merged into, %s, is not there', a.merged_into)
        WHEN a.state = 1 AND NOT EXISTS (WITH RECURSIVE way AS (SELECT i.state, i.merged_into
                                             UNION SELECT n.state, n.merged_into FROM way w JOIN loyalty.account n ON n.account_id = w.merged_into)
                                         SELECT FROM way w WHERE w.state <> 1)
        THEN 'the accounts it is merged into end nowhere'
        -- Whose currency is younger than the merge had nothing to pass on until there were points that do not wait.
        WHEN a.state = 1 AND EXISTS (SELECT FROM loyalty.lot l WHERE l.account_id = a.account_id AND l.valid_from <> 'infinity') AND NOT EXISTS (
            SELECT FROM loyalty.entry e WHERE e.account_id = a.account_id AND e.kind = 'merge' AND e.line ~ '^[0-9]{9,19}$'
              AND left(e.line, -8) = a.merged_into::text)
             -- It may be an archived one.
             AND NOT EXISTS (SELECT FROM loyalty.anchor n WHERE n.account_id = a.account_id)
        THEN format('no entry says that it is merged into account %s', a.merged_into) END AS problem
    FROM loyalty.account a LEFT JOIN loyalty.account i ON i.account_id = a.merged_into
    WHERE a.state <> 0 OR a.merged_into IS NOT NULL) f
    WHERE f.problem IS NOT NULL
    UNION ALL
    SELECT min(a.account_id), NULL, 'not all accounts of its member are merged into those of one other, or closed'
    FROM (SELECT a.member_id, m.program_id FROM loyalty.account a JOIN loyalty.member m USING (member_id)
          WHERE a.state <> 0 GROUP BY 1, 2) g
    JOIN loyalty.currency c ON c.program_id = g.program_id
    LEFT JOIN loyalty.account a ON a.member_id = g.member_id AND a.currency_id = c.currency_id
    LEFT JOIN loyalty.account i ON i.account_id = a.merged_into
    GROUP BY g.member_id
    HAVING count(DISTINCT a.state) > 1 OR count(DISTINCT i.member_id) > 1 OR count(a.account_id) < count(*)
    UNION ALL
    SELECT NULL, NULL, format('member %s has the key of another member of its program', max(m.member_id))
    FROM loyalty.member m GROUP BY m.program_id, m.member HAVING count(*) > 1
    UNION ALL
    SELECT f.account_id, NULL, format('its state is %s, by what became of its member it is %s', f.state, f.told)
    FROM (SELECT a.account_id, a.state,
                 -- An erasure closes, unless the member is merged, and then nothing changes any more.
                 CASE WHEN g.last = 'merge' THEN 1 WHEN g.last = 'close' OR g.erased THEN 2 ELSE 0 END AS told
          FROM loyalty.account a
          LEFT JOIN (SELECT g.member_id, bool_or(g.kind = 'erase') AS erased,
                            (array_agg(g.kind ORDER BY g.change_id DESC) FILTER (WHERE g.kind <> 'erase'))[1] AS last
                     FROM loyalty.member_change g GROUP BY g.member_id) g USING (member_id)
          WHERE a.state <> 0 OR g.member_id IS NOT NULL) f
    WHERE f.state <> f.told;
END $$;
COMMENT ON FUNCTION loyalty._verify_members() IS 'Accounts against members, what became of these, and currencies';

-- What is named is there: nothing else says so, since tables without foreign keys are restored in
-- any order, and a view shows nothing of what it joins to a row that is gone.
CREATE FUNCTION loyalty._verify_references() RETURNS TABLE (account bigint, entry_id bigint, problem text)
    LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT NULL::bigint, NULL::bigint, format('program %s is not there, %s %s is of it', r.program_id, r.what, r.id)
    FROM (SELECT 'currency' AS what, c.currency_id AS id, c.program_id FROM loyalty.currency c
          UNION ALL SELECT 'rule version', r.rule_id, r.program_id FROM loyalty.rule r
          UNION ALL SELECT 'source', s.source_id, s.program_id FROM loyalty.source s
          UNION ALL SELECT 'pool', l.pool_id, l.program_id FROM loyalty.pool l) r
    WHERE NOT EXISTS (SELECT FROM loyalty.program p WHERE p.program_id = r.program_id)

    UNION ALL
    SELECT NULL, NULL, format('program %s is not there, %s members are of it', m.program_id, count(*))
    FROM loyalty.member m LEFT JOIN loyalty.program p USING (program_id)
    WHERE p.program_id IS NULL GROUP BY m.program_id

    UNION ALL
    SELECT DISTINCT t.account_id, NULL::bigint, 'the account is not there, what counts towards its tier is'
    FROM (SELECT c.account_id FROM loyalty.tier_change c UNION ALL SELECT b.account_id FROM loyalty.tier_progress_bucket b) t
    WHERE NOT EXISTS (SELECT FROM loyalty.account a WHERE a.account_id = t.account_id)

    UNION ALL
    SELECT NULL, NULL, format('member %s is not there, its change %s is', g.member_id, g.change_id)
    FROM loyalty.member_change g
    WHERE NOT EXISTS (SELECT FROM loyalty.member m WHERE m.member_id = g.member_id);
END $$;
COMMENT ON FUNCTION loyalty._verify_references() IS 'Rows against the programs, accounts and members that they name';

-- What keeps the books from being written past the engine, and rows from being missed by it.
CREATE FUNCTION loyalty._verify_setup(owner int) RETURNS TABLE (account bigint, entry_id bigint, problem text)
    LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT NULL::bigint, NULL::bigint, format('table loyalty.%s is not guarded', g.name)
    FROM (SELECT 'loyalty._guard()'::regprocedure,
                 unnest(ARRAY['member', 'account', 'actor', 'entry', 'lot', 'allocation', 'hold', 'request', 'checkpoint', 'checkpoint_head',
                              'archived_entry', 'archived_allocation', 'anchor', 'anchor_lot', 'archive_discard',
                              'tier_progress_bucket', 'tier_change', 'member_change', 'pool_payment'])
          UNION ALL
          SELECT 'loyalty._refuse_removal()'::regprocedure, unnest(ARRAY['program', 'currency', 'source', 'rule', 'pool', 'pool_member'])) g (function, name)
    WHERE NOT EXISTS (SELECT FROM pg_trigger t
                      WHERE t.tgrelid = to_regclass('loyalty.' || g.name) AND t.tgname = 'loyalty_guard'
                        AND t.tgfoid = g.function AND t.tgenabled IN ('O', 'A'))

    UNION ALL
    SELECT NULL, NULL, format('unique index loyalty.%s is not there', k.name)
    FROM unnest(ARRAY['program_pkey', 'program_code_key', 'currency_pkey', 'currency_program_id_code_key', 'member_pkey', 'member_key',
                      'account_pkey', 'account_key', 'actor_pkey', 'entry_pkey', 'lot_pkey', 'allocation_pkey', 'hold_pkey', 'request_pkey',
                      'checkpoint_pkey', 'checkpoint_head_pkey', 'archived_entry_pkey', 'archived_allocation_pkey', 'anchor_pkey', 'anchor_lot_pkey',
                      'rule_pkey', 'source_pkey', 'source_attached_idx', 'tier_progress_bucket_pkey', 'tier_change_pkey',
                      'pool_pkey', 'pool_key', 'pool_member_pkey', 'pool_member_account_idx', 'pool_payment_pkey']) k (name)
    WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = to_regclass('loyalty.' || k.name)
                      AND i.indisunique AND i.indisvalid AND i.indimmediate)

    UNION ALL
    SELECT NULL, NULL, format('table loyalty.%s does not keep confined roles out', c.relname)
    FROM pg_class c
    WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind IN ('r', 'p')
      AND NOT (c.relrowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'loyalty_confinement'))

    UNION ALL
    SELECT NULL, NULL, format('event trigger %s is not in force', v.name)
    FROM unnest(ARRAY['loyalty_watch_tables', 'loyalty_forget_tables']) v (name)
    WHERE NOT EXISTS (SELECT FROM pg_event_trigger t WHERE t.evtname = v.name AND t.evtenabled IN ('O', 'A'))

    UNION ALL
    SELECT NULL, NULL, format('attached source %s, table %s, is not there', s.source_id, s.relation)
    FROM loyalty.source s
    WHERE s.detached_at IS NULL AND (owner IS NULL OR s.program_id = owner)
      AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = s.relation)

    UNION ALL
    -- The apply worker of logical replication fires only triggers that are enabled always.
    SELECT NULL, NULL, format('table %s has no trigger %s in force', r.relation, w.name)
    FROM loyalty.source s
    CROSS JOIN LATERAL loyalty._tree(s.relation) r (relation)
    JOIN pg_class c ON c.oid = r.relation AND c.relkind IN ('r', 'p')
    JOIN (VALUES ('insert', 'statement'), ('update', 'statement'), ('delete', 'statement'), ('row', 'row'),
                 ('truncate', NULL)) v (verb, form) ON coalesce(v.form, s.for_each) = s.for_each
    CROSS JOIN LATERAL format('loyalty_%s_%s', s.source_id, v.verb) w (name)
    WHERE s.detached_at IS NULL AND (owner IS NULL OR s.program_id = owner)
      AND NOT EXISTS (SELECT FROM pg_trigger t
                      WHERE t.tgrelid = r.relation AND t.tgname = w.name
                        AND (t.tgenabled = 'A' OR t.tgenabled = 'O' AND v.verb <> 'row')
                        AND CASE v.verb WHEN 'truncate' THEN t.tgfoid = 'loyalty._refuse_truncate()'::regprocedure
                            ELSE t.tgfoid = 'loyalty.accrue()'::regprocedure
                             AND t.tgargs = convert_to(s.source_id::text, 'UTF8') || '\x00' END);
END $$;
COMMENT ON FUNCTION loyalty._verify_setup(int) IS 'Guards, keys and triggers that should be in force and are not';

-- Calls of a function of a range of accounts, for all accounts there are: the memory one takes is
-- bounded, and parallel workers share them.
CREATE FUNCTION loyalty._in_ranges(call text, entries regclass) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, loyalty, pg_temp AS $$
    SELECT string_agg(format(call, r.first, r.last), ' UNION ALL ' ORDER BY r.last)
    FROM (SELECT coalesce(lag(cut) OVER (ORDER BY cut) + 1, -9223372036854775808) AS first, cut AS last
          FROM (SELECT DISTINCT trunc(low + (high - low) / ranges * n) AS cut
                FROM (SELECT min(a.account_id)::numeric AS low, max(a.account_id)::numeric AS high FROM loyalty.account a) a,
                     greatest(1, least(64, pg_relation_size(entries) / (16 * 1024 * 1024))) ranges,
                     generate_series(1, ranges - 1) n
                WHERE low IS NOT NULL
                UNION ALL SELECT 9223372036854775807) c) r
$$;

-- What both proofs are given: the program, if one is named, and its currencies, and of all programs
-- the ids that there are, ascending, with each rule's currency. Who may not see it is refused.
CREATE FUNCTION loyalty._begin_proof(program text, OUT owner int, OUT currencies int[], OUT sources int[], OUT rules int[],
        OUT rule_currencies int[], OUT actors int[])
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    IF program IS NULL THEN
        PERFORM loyalty._check_access(0);
    ELSE
        owner := loyalty._program_id(program);
        currencies := ARRAY(SELECT c.currency_id FROM loyalty.currency c WHERE c.program_id = owner ORDER BY c.currency_id);
    END IF;
    sources := ARRAY(SELECT s.source_id FROM loyalty.source s ORDER BY s.source_id);
    rules := ARRAY(SELECT r.rule_id FROM loyalty.rule r ORDER BY r.rule_id);
    rule_currencies := ARRAY(SELECT r.currency_id FROM loyalty.rule r ORDER BY r.rule_id);
    actors := ARRAY(SELECT w.actor_id FROM loyalty.actor w ORDER BY w.actor_id);
END $$;
COMMENT ON FUNCTION loyalty._begin_proof(text) IS 'What the proofs of a program, or of all, are given; refuses who may not see it';

CREATE FUNCTION loyalty.verify(program text DEFAULT NULL) RETURNS TABLE (account bigint, entry_id bigint, problem text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 10 COST 100000
    SET search_path = pg_catalog, loyalty, pg_temp SET jit = off AS $$
DECLARE
    given record;
    -- They read the policies, which a parallel worker can't.
    clock_accounts bigint[];
    clock_entries bigint[];
    clock_problems text[];
BEGIN
    SELECT * INTO given FROM loyalty._begin_proof(program);
    SELECT array_agg(k.account), array_agg(k.entry_id), array_agg(k.problem) INTO clock_accounts, clock_entries, clock_problems
    FROM loyalty._verify_clocks() k;

    -- What can't be told to belong to another program is shown.
    RETURN QUERY EXECUTE format($query$
        SELECT f.account, f.entry_id, f.problem
        FROM (%s UNION ALL SELECT * FROM loyalty._verify_links($6)
              UNION ALL SELECT * FROM loyalty._verify_members()
              UNION ALL SELECT * FROM loyalty._verify_references()
              UNION ALL SELECT * FROM unnest($7, $8, $9)
              UNION ALL SELECT * FROM loyalty._verify_checkpoints()
              UNION ALL SELECT * FROM loyalty._verify_pools()
              UNION ALL SELECT * FROM loyalty._verify_setup($1)) f
        LEFT JOIN loyalty.account a ON a.account_id = f.account
        LEFT JOIN loyalty.currency c ON c.currency_id = a.currency_id
        WHERE $1 IS NULL OR c.program_id IS NULL OR c.program_id = $1
        ORDER BY f.account NULLS FIRST, f.entry_id NULLS FIRST, f.problem$query$,
        loyalty._in_ranges('SELECT * FROM loyalty._verify_accounts(%L, %L, $2, $3, $4, $5, $6)', 'loyalty.entry'))
    USING given.owner, given.sources, given.rules, given.rule_currencies, given.actors, given.currencies,
          clock_accounts, clock_entries, clock_problems;
END $$;
COMMENT ON FUNCTION loyalty.verify(text) IS
    'Proves the books: no row when every account, lot, entry and hash agrees, else what is wrong and where';

CREATE FUNCTION loyalty.verify_archive(program text DEFAULT NULL) RETURNS TABLE (account bigint, entry_id bigint, problem text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 10 COST 100000
    SET search_path = pg_catalog, loyalty, pg_temp SET jit = off AS $$
DECLARE
    given record;
BEGIN
    SELECT * INTO given FROM loyalty._begin_proof(program);
    RETURN QUERY EXECUTE format($query$
        SELECT f.account_id, f.entry_id, f.problem
        FROM (SELECT w.account_id, loyalty._entry_id(w.account_id, w.entry_no) AS entry_id, w.problem
              FROM (%s) w
              UNION ALL SELECT * FROM loyalty._verify_links($6, true)
              UNION ALL SELECT * FROM loyalty._verify_pools(true)) f
        LEFT JOIN loyalty.account a ON a.account_id = f.account_id
        LEFT JOIN loyalty.currency c ON c.currency_id = a.currency_id
        WHERE $1 IS NULL OR c.program_id IS NULL OR c.program_id = $1
        ORDER BY f.account_id NULLS FIRST, f.entry_id NULLS FIRST, f.problem$query$,
        loyalty._in_ranges('SELECT * FROM loyalty._walk_archive(%L, %L, $2, $3, $4, $5, $6, $7)', 'loyalty.archived_entry'))
    USING given.owner, given.sources, given.rules, given.rule_currencies, given.actors, given.currencies,
          (SELECT max(d.discarded_at) FROM loyalty.archive_discard d);
END $$;
COMMENT ON FUNCTION loyalty.verify_archive(text) IS
    'Proves the archive that is there, against its anchors and together with the ledger: no row when it holds';
