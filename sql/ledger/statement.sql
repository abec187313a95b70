-- statement: what a member had, what came and went, and what was left.

-- Each effect of an entry on a lot counts from when both have begun, and until the lot ends; from
-- then on what is left of it is gone, whether that is booked or not. So the lines are what balance()
-- differs by from one moment to the next, whatever jobs ran when.
CREATE FUNCTION loyalty.statement(program text, member text, "from" timestamptz, "to" timestamptz, currency text DEFAULT NULL)
    RETURNS TABLE (day date, kind text, points numeric, balance numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 30 SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    account bigint := loyalty._account_of(program, member, currency);
    zone text := (SELECT p.time_zone FROM loyalty.program p WHERE p.code = program);
    opening int;
BEGIN
    IF "from" IS NULL OR "to" IS NULL OR "from" >= "to" THEN
        PERFORM loyalty._refuse('LY306', 'a statement''s period must end after it begins',
            format('It goes from %s to %s.', coalesce("from"::text, 'NULL'), coalesce("to"::text, 'NULL')),
            'The end is the first moment that is not in it: for January 1 January and 1 February.');
    END IF;

    opening := loyalty._opening(account, "from");

    RETURN QUERY
    WITH held AS (
        SELECT h.lot_no, h.hold_no, h.points::numeric AS points, h.captured::numeric AS captured, h.owed::numeric AS owed, e.event_time,
               least(h.ends_at, h.released_at) AS ends_at
        FROM loyalty.hold h JOIN loyalty._book e ON e.account_id = h.account_id AND e.entry_no = h.hold_no
        WHERE h.account_id = account AND h.hold_no > opening
    ), happened AS (
        SELECT f.kind, f.lot_no, f.points::numeric AS points, f.event_time
        FROM loyalty._effect f
        WHERE f.account_id = account AND f.entry_no > opening
        UNION ALL
        -- What anchors stand for was there before the period, but for what of it begins or ends in it.
        SELECT 'earn', n.lot_no, n.points::numeric, '-infinity' FROM loyalty.anchor_lot n
        WHERE n.account_id = account AND n.entries <= opening
        UNION ALL
        -- Held points can't be spent but by capture, which releases them as it redeems them.
        SELECT 'hold', h.lot_no, - h.points, h.event_time FROM held h
        UNION ALL
        SELECT 'release', h.lot_no, - c.points::numeric, e.event_time
        FROM held h
        JOIN loyalty._book e ON e.account_id = account AND e.reverses = h.hold_no AND e.kind = 'redeem'
        JOIN loyalty._book_allocation c ON c.account_id = account AND c.entry_no = e.entry_no AND c.lot_no = h.lot_no
        UNION ALL
        SELECT 'release', h.lot_no, h.points - h.captured - h.owed, h.ends_at FROM held h
    ), effect AS (
        SELECT f.kind, f.points, greatest(f.event_time, l.valid_from) AS begins, coalesce(l.expires_at, 'infinity') AS ends
        FROM happened f LEFT JOIN loyalty._lot l ON l.account_id = account AND l.lot_no = f.lot_no
        WHERE f.points <> 0
    ), movement AS (
        SELECT f.kind, f.points, f.begins AS at FROM effect f WHERE f.begins < f.ends
        UNION ALL
        SELECT 'expire', - f.points, f.ends FROM effect f WHERE f.begins < f.ends AND f.ends < 'infinity'
    ), line AS (
        SELECT 2 AS part, (m.at AT TIME ZONE zone)::date AS day, min(m.at) AS at, m.kind, sum(m.points) AS points
        FROM movement m WHERE m.at >= "from" AND m.at < "to"
        GROUP BY 2, m.kind HAVING sum(m.points) <> 0
        UNION ALL
        SELECT 1, ("from" AT TIME ZONE zone)::date, "from", 'opening', NULL
        UNION ALL
        SELECT 3, (("to" - interval '1 microsecond') AT TIME ZONE zone)::date, "to", 'closing', NULL
    )
    SELECT l.day, l.kind, trim_scale(l.points),
           trim_scale((SELECT coalesce(sum(m.points), 0) FROM movement m WHERE m.at < "from")
                      + coalesce(sum(l.points) OVER (ORDER BY l.part, l.day, l.at, l.kind), 0))
    FROM line l
    ORDER BY l.part, l.day, l.at, l.kind;
END $$;
COMMENT ON FUNCTION loyalty.statement(text, text, timestamptz, timestamptz, text) IS
    'A member''s statement of a period: the balance before it, what came and went by day and kind, and the balance at its end';
