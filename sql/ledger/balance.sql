-- balance: what members have, as functions and as views for BI tools.

-- What each entry did to each lot, archived ones too; lot 0 is the debt.
CREATE VIEW loyalty._effect AS
    SELECT e.account_id, e.entry_no, e.lot_no, e.points, e.event_time, e.recorded_at, e.kind
    FROM loyalty._book e WHERE e.lot_no IS NOT NULL
    UNION ALL
    SELECT a.account_id, a.entry_no, a.lot_no, a.points, e.event_time, e.recorded_at, e.kind
    FROM loyalty._book_allocation a JOIN loyalty._book e USING (account_id, entry_no);
COMMENT ON VIEW loyalty._effect IS 'What each entry did to each lot';

-- Holds that are archived are over at the moments that their anchor stands for.
CREATE FUNCTION loyalty._balance_then(account bigint, at timestamptz, known_at timestamptz DEFAULT 'infinity') RETURNS loyalty.points
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, loyalty, pg_temp AS $$
    WITH opening AS MATERIALIZED (
        SELECT loyalty._opening(account, least(at, known_at)) AS entries
    ), clock AS MATERIALIZED (
        SELECT e.entry_no, e.clock_end, e.clock_ended, e.recorded_at <= known_at AS known FROM loyalty._book e
        WHERE known_at < 'infinity' AND e.account_id = account AND (e.clock_end IS NOT NULL OR e.clock_ended IS NOT NULL)
    )
    SELECT coalesce(sum(s.points), 0)
    FROM (SELECT f.lot_no, sum(f.points) AS points
          FROM (SELECT n.lot_no, n.points FROM loyalty.anchor_lot n
                WHERE n.account_id = account AND n.entries <= (SELECT o.entries FROM opening o)
                UNION ALL
                SELECT f.lot_no, f.points FROM loyalty._effect f
                WHERE f.account_id = account AND f.entry_no > (SELECT o.entries FROM opening o)
                  AND f.event_time <= at AND f.recorded_at <= known_at
                UNION ALL
                -- What was held and not captured by then.
                SELECT h.lot_no, - h.points
                FROM loyalty.hold h JOIN loyalty._book e ON e.account_id = h.account_id AND e.entry_no = h.hold_no
                WHERE h.account_id = account AND h.hold_no > (SELECT o.entries FROM opening o) AND e.event_time <= at AND e.recorded_at <= known_at
                  AND at < least(h.ends_at, CASE WHEN h.released_at <= known_at THEN h.released_at END)
                UNION ALL
                SELECT h.lot_no, - c.points
                FROM loyalty.hold h
                JOIN loyalty._book e ON e.account_id = h.account_id AND e.reverses = h.hold_no AND e.kind = 'redeem'
                JOIN loyalty._book_allocation c ON c.account_id = e.account_id AND c.entry_no = e.entry_no AND c.lot_no = h.lot_no
                WHERE h.account_id = account AND h.hold_no > (SELECT o.entries FROM opening o) AND e.event_time <= at AND e.recorded_at <= known_at
                  AND at < least(h.ends_at, CASE WHEN h.released_at <= known_at THEN h.released_at END)
                UNION ALL
                -- What goes back to a refund when the hold ends, as long as that is not booked: as the last waiver said that was known.
                SELECT h.lot_no, - k.owed
                FROM loyalty.hold h JOIN loyalty._book e ON e.account_id = h.account_id AND e.entry_no = h.hold_no
                CROSS JOIN LATERAL (SELECT CASE WHEN known_at = 'infinity' THEN h.owed ELSE (
                    SELECT w.base FROM loyalty._book w
                    WHERE w.account_id = h.account_id AND w.kind = 'waive' AND w.reverses = h.hold_no AND w.lot_no = h.lot_no AND w.recorded_at <= known_at
                    ORDER BY w.entry_no DESC LIMIT 1) END AS owed) k
                WHERE h.account_id = account AND h.ends_at <= at AND e.recorded_at <= known_at AND h.released_at <= known_at IS NOT TRUE AND k.owed > 0) f
          GROUP BY f.lot_no) s
    LEFT JOIN loyalty._lot l ON l.account_id = account AND l.lot_no = s.lot_no
    WHERE s.lot_no = 0 OR (l.valid_from <= at AND at < coalesce(CASE
        -- Until it was known that it had ended, it was to end with the clock. What is discarded was known.
        WHEN l.by_activity THEN (SELECT k.clock_end FROM clock k WHERE k.known AND k.clock_end IS NOT NULL
                                   AND (l.on_clock OR NOT (SELECT n.known FROM clock n WHERE n.entry_no > l.opened_by AND n.clock_ended = l.expires_at ORDER BY n.entry_no LIMIT 1))
                                 ORDER BY k.entry_no DESC LIMIT 1)
        -- The end that it had before it was extended.
        ELSE (SELECT split_part(e.line, ' ', 1)::timestamptz FROM loyalty._book e
              WHERE known_at < 'infinity' AND e.account_id = account AND e.kind = 'extend' AND e.lot_no = l.lot_no AND e.recorded_at > known_at
              ORDER BY e.entry_no LIMIT 1) END, l.expires_at));
$$;

CREATE FUNCTION loyalty.balance(program text, member text, at timestamptz DEFAULT now(), currency text DEFAULT NULL)
    RETURNS loyalty.points
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'loyalty_balance';
COMMENT ON FUNCTION loyalty.balance(text, text, timestamptz, text) IS
    'Points a member can spend at a moment, past or future as known now; negative when in debt';

-- The account of a member; NULL: enrolled, and without any entry of that currency.
CREATE FUNCTION loyalty._account_of(program text, member text, currency text) RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    owner int := loyalty._program_id(program, member);
    unit int;
BEGIN
    SELECT c.currency_id INTO unit FROM loyalty.currency c
    WHERE c.program_id = owner AND CASE WHEN currency IS NULL THEN c.is_default ELSE c.code = currency END;
    IF NOT FOUND THEN
        PERFORM loyalty._refuse('LY003', format('program "%s" has no such currency', program), format('It was asked for "%s".', currency),
            'Add it with loyalty.create_currency(), or leave the currency out to mean the program''s first.');
    END IF;
    IF NOT EXISTS (SELECT FROM loyalty.member m WHERE m.program_id = owner AND m.member = _account_of.member) THEN
        PERFORM loyalty._refuse('LY002', format('no such member in program "%s"', program),
            'Nobody is enrolled under that key.', 'Enrol the member with loyalty.enrol(); keys are compared byte by byte.');
    END IF;
    RETURN (SELECT a.account_id FROM loyalty.account a WHERE a.currency_id = unit AND a.member_key = _account_of.member);
END $$;

CREATE FUNCTION loyalty.balance_as_known(program text, member text, at timestamptz, known_at timestamptz, currency text DEFAULT NULL)
    RETURNS loyalty.points
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    IF program IS NULL OR member IS NULL OR at IS NULL OR known_at IS NULL THEN
        RETURN NULL;
    END IF;
    -- Points that never end are there to the end.
    RETURN loyalty._balance_then(loyalty._account_of(program, member, currency),
        CASE WHEN at = 'infinity' THEN '294276-12-31 23:59:59.999999+00' ELSE at END, known_at);
END $$;
COMMENT ON FUNCTION loyalty.balance_as_known(text, text, timestamptz, timestamptz, text) IS
    'Points a member could spend at a moment, by what had been recorded up to another';

CREATE VIEW loyalty.balances AS
    SELECT p.code AS program, a.member_key AS member, c.code AS currency,
           (lots.live - lots.held - a.debt::numeric) AS available,
           lots.pending AS pending,
           lots.held AS held,
           a.debt::numeric AS debt,
           a.earned::numeric AS earned,
           a.redeemed::numeric AS redeemed,
           a.expired::numeric AS expired,
           -- Of one merged into another, or closed, it rests.
           CASE WHEN a.state = 0 THEN loyalty.tier_name(a.tier) END AS tier,
           CASE WHEN a.state = 0 THEN loyalty.tier_rank(a.tier) END AS tier_rank
    FROM loyalty.account a
    JOIN loyalty.currency c USING (currency_id)
    JOIN loyalty.program p USING (program_id)
    CROSS JOIN LATERAL (
        -- The totals hold until a lot or a hold begins or ends; then the lots are asked.
        SELECT a.live::numeric AS live, a.pending::numeric AS pending, a.held::numeric AS held
        WHERE now() < a.next_change
        UNION ALL
        SELECT coalesce(sum(l.remaining::numeric) FILTER (WHERE l.valid_from <= now()), 0),
               coalesce(sum(l.remaining::numeric) FILTER (WHERE l.valid_from > now()), 0),
               -- A hold that ended since the lot was written holds no more.
               coalesce(sum(CASE WHEN l.held > 0 THEN l.held::numeric - (
                   SELECT coalesce(sum(h.points::numeric - h.captured::numeric - h.owed::numeric), 0) FROM loyalty.hold h
                   WHERE h.account_id = l.account_id AND h.lot_no = l.lot_no AND h.open AND h.ends_at <= now())
                   END), 0)
        FROM loyalty._lot l
        WHERE l.account_id = a.account_id AND l.open AND l.expires_at > now()
        HAVING now() >= a.next_change
    ) lots;
COMMENT ON VIEW loyalty.balances IS 'What each member has of each currency now';
COMMENT ON COLUMN loyalty.balances.program IS 'code of the program';
COMMENT ON COLUMN loyalty.balances.member IS 'the member''s key in the shop';
COMMENT ON COLUMN loyalty.balances.currency IS 'code of the currency';
COMMENT ON COLUMN loyalty.balances.available IS 'points that can be spent now; negative when in debt';
COMMENT ON COLUMN loyalty.balances.pending IS 'points that can''t be spent yet';
COMMENT ON COLUMN loyalty.balances.held IS 'points that are held';
COMMENT ON COLUMN loyalty.balances.debt IS 'points owed';
COMMENT ON COLUMN loyalty.balances.earned IS 'points earned since the beginning, net of reversals';
COMMENT ON COLUMN loyalty.balances.redeemed IS 'points redeemed since the beginning, net of what was given back';
COMMENT ON COLUMN loyalty.balances.expired IS 'points whose end was booked, or that were forfeited, since the beginning';
COMMENT ON COLUMN loyalty.balances.tier IS 'name of the tier held; NULL without a ladder, in other currencies than the first, and of a member merged or closed';
COMMENT ON COLUMN loyalty.balances.tier_rank IS 'its place on the ladder, from 1';

CREATE VIEW loyalty.lots AS
    SELECT p.code AS program, a.member_key AS member, c.code AS currency,
           l.account_id, l.lot_no, l.issued,
           nullif(l.valid_from, '-infinity') AS valid_from,
           nullif(l.expires_at, 'infinity') AS expires_at,
           l.earned_at,
           l.credited::numeric AS credited,
           l.remaining::numeric AS remaining,
           CASE WHEN l.held > 0 THEN l.held::numeric - (
               SELECT coalesce(sum(h.points::numeric - h.captured::numeric - h.owed::numeric), 0) FROM loyalty.hold h
               WHERE h.account_id = l.account_id AND h.lot_no = l.lot_no AND h.open AND h.ends_at <= now())
               ELSE 0 END AS held,
           l.expired::numeric AS expired,
           CASE WHEN NOT l.open THEN 'used'
                WHEN l.expires_at <= now() THEN 'expired'
                WHEN l.valid_from > now() THEN 'pending'
                ELSE 'live' END AS state
    FROM loyalty._lot l
    JOIN loyalty.account a USING (account_id)
    JOIN loyalty.currency c USING (currency_id)
    JOIN loyalty.program p USING (program_id);
COMMENT ON VIEW loyalty.lots IS 'Points that came together and die together; valid_from NULL is at once, expires_at NULL never';
COMMENT ON COLUMN loyalty.lots.program IS 'code of the program';
COMMENT ON COLUMN loyalty.lots.member IS 'the member''s key in the shop';
COMMENT ON COLUMN loyalty.lots.currency IS 'code of the currency';
COMMENT ON COLUMN loyalty.lots.account_id IS 'number of the account';
COMMENT ON COLUMN loyalty.lots.lot_no IS 'number of the lot within the account';
COMMENT ON COLUMN loyalty.lots.issued IS 'first day of the month of issue';
COMMENT ON COLUMN loyalty.lots.valid_from IS 'from when the points can be spent; NULL is at once, infinity once they are confirmed';
COMMENT ON COLUMN loyalty.lots.expires_at IS 'when they end; NULL is never';
COMMENT ON COLUMN loyalty.lots.earned_at IS 'when the first of them were earned; of lots that end together the earliest pays first';
COMMENT ON COLUMN loyalty.lots.credited IS 'points that came in since the beginning';
COMMENT ON COLUMN loyalty.lots.remaining IS 'points that are left, those held included';
COMMENT ON COLUMN loyalty.lots.held IS 'points that are held';
COMMENT ON COLUMN loyalty.lots.expired IS 'points whose end was booked';
COMMENT ON COLUMN loyalty.lots.state IS 'live, pending (before valid_from), expired (the end is over, booked or not) or used (nothing is left)';
