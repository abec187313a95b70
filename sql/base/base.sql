-- base: what every room stands on. The schema itself is made by CREATE EXTENSION.

-- Nothing here may be called before it is granted: rooms grant what only computes.
CREATE FUNCTION loyalty._guard() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_guard';
COMMENT ON FUNCTION loyalty._guard() IS
    'Refuses every change of a ledger table that does not come through the ledger''s own functions';

CREATE FUNCTION loyalty._configuration_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_configuration_changed';
COMMENT ON FUNCTION loyalty._configuration_changed() IS
    'Tells every session to read programs, rules and sources anew';
