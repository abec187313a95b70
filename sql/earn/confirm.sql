-- confirm: making awards live that wait to be confirmed.

CREATE FUNCTION loyalty.confirm(entry bigint, reason text DEFAULT NULL) RETURNS bigint
    LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_confirm';
COMMENT ON FUNCTION loyalty.confirm(bigint, text) IS
    'Makes live what is left of an award that waits to be confirmed, and answers the entry; confirmed again, the same';
