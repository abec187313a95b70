-- giveback: returning redeemed points to the lots that paid.

CREATE FUNCTION loyalty.giveback(entry_id bigint, points loyalty.points DEFAULT NULL, request_id text DEFAULT NULL,
        reason text DEFAULT NULL, grace interval DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_giveback';
COMMENT ON FUNCTION loyalty.giveback(bigint, loyalty.points, text, text, interval) IS
    'Returns points of a redemption, all that is left of it by default, to the very lots that paid, and answers the entry';
