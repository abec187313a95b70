-- hold: reserving points for a time, to be redeemed or given free.

CREATE FUNCTION loyalty.hold(program text, member text, points loyalty.points, ttl interval, request_id text DEFAULT NULL,
        reason text DEFAULT NULL, currency text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_hold';
COMMENT ON FUNCTION loyalty.hold(text, text, loyalty.points, interval, text, text, text) IS
    'Reserves points for a time, of the lots that redeem() would take, and answers the hold; the same request id answers the same for ever';

CREATE FUNCTION loyalty.capture(hold_id bigint, points loyalty.points DEFAULT NULL, request_id text DEFAULT NULL,
        reason text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_hold_capture';
COMMENT ON FUNCTION loyalty.capture(bigint, loyalty.points, text, text) IS
    'Redeems held points, all that is left of the hold by default, and answers the entry';

CREATE FUNCTION loyalty.release(hold_id bigint) RETURNS loyalty.points
    LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_hold_release';
COMMENT ON FUNCTION loyalty.release(bigint) IS
    'Ends a hold and answers how many points that set free: none if it was over';

-- The member and the rest are grouped by so that a condition on them is looked up, not filtered.
CREATE VIEW loyalty.holds AS
    SELECT p.code AS program, a.member_key AS member, c.code AS currency,
           h.account_id * 100000000 + h.hold_no AS hold_id,
           e.event_time AS held_at,
           min(h.ends_at) AS ends_at,
           max(h.released_at) AS released_at,
           sum(h.points::numeric) AS points,
           sum(h.captured::numeric) AS captured,
           CASE WHEN sum(h.captured::numeric) = sum(h.points::numeric) THEN 'captured'
                WHEN max(h.released_at) IS NOT NULL THEN 'released'
                WHEN min(h.ends_at) <= now() THEN 'expired'
                ELSE 'live' END AS state,
           e.reason
    FROM loyalty.hold h
    JOIN loyalty.account a USING (account_id)
    JOIN loyalty.currency c USING (currency_id)
    JOIN loyalty.program p USING (program_id)
    JOIN loyalty._book e ON e.account_id = h.account_id AND e.entry_no = h.hold_no
    GROUP BY p.code, a.member_key, c.code, h.account_id, h.hold_no, e.event_time, e.reason;
COMMENT ON VIEW loyalty.holds IS 'Points reserved for a time: what became of each hold';
COMMENT ON COLUMN loyalty.holds.program IS 'code of the program';
COMMENT ON COLUMN loyalty.holds.member IS 'the member''s key in the shop';
COMMENT ON COLUMN loyalty.holds.currency IS 'code of the currency';
COMMENT ON COLUMN loyalty.holds.hold_id IS 'number of the hold, for capture() and release()';
COMMENT ON COLUMN loyalty.holds.held_at IS 'when the points were held';
COMMENT ON COLUMN loyalty.holds.ends_at IS 'when the hold ends by itself';
COMMENT ON COLUMN loyalty.holds.released_at IS 'when it was released; NULL: it was not';
COMMENT ON COLUMN loyalty.holds.points IS 'points that it reserved';
COMMENT ON COLUMN loyalty.holds.captured IS 'those of them that were redeemed';
COMMENT ON COLUMN loyalty.holds.state IS 'live, captured (all of it), released or expired';
COMMENT ON COLUMN loyalty.holds.reason IS 'as the caller gave it';
