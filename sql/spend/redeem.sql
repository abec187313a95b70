-- redeem: spending points, and adjusting them by hand.

CREATE FUNCTION loyalty.redeem(program text, member text, points loyalty.points, request_id text DEFAULT NULL,
        reason text DEFAULT NULL, currency text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_redeem';
COMMENT ON FUNCTION loyalty.redeem(text, text, loyalty.points, text, text, text) IS
    'Spends points, soonest expiry first, and answers the entry; the same request id answers the same for ever';

CREATE FUNCTION loyalty.adjust(program text, member text, points loyalty.points, reason text,
        request_id text DEFAULT NULL, currency text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_redeem_adjust';
COMMENT ON FUNCTION loyalty.adjust(text, text, loyalty.points, text, text, text) IS
    'Gives points by hand, or takes them when negative, for a reason that is kept; answers the entry';
