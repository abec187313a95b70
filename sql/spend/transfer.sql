-- transfer: moving points from one member to another.

CREATE FUNCTION loyalty.transfer(program text, from_member text, to_member text, points loyalty.points,
        request_id text DEFAULT NULL, reason text DEFAULT NULL, currency text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_transfer';
COMMENT ON FUNCTION loyalty.transfer(text, text, text, loyalty.points, text, text, text) IS
    'Moves points to another member, soonest expiry first and with their dates, and answers the entry that takes them';
