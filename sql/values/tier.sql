-- tier: the ladder of a program, and one step of it.
--
-- The bytes of a value are a function of what it says, so equality and hash
-- are core's own for bytes.

CREATE TYPE loyalty.tier;
CREATE TYPE loyalty.ladder;

CREATE FUNCTION loyalty.tier_in(cstring) RETURNS loyalty.tier
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_tier_in';
COMMENT ON FUNCTION loyalty.tier_in(cstring) IS 'I/O';

CREATE FUNCTION loyalty.tier_out(loyalty.tier) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_tier_out';
COMMENT ON FUNCTION loyalty.tier_out(loyalty.tier) IS 'I/O';

CREATE FUNCTION loyalty.tier_recv(internal) RETURNS loyalty.tier
	LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_tier_recv';
COMMENT ON FUNCTION loyalty.tier_recv(internal) IS 'I/O';

CREATE FUNCTION loyalty.tier_send(loyalty.tier) RETURNS bytea
	LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_tier_send';
COMMENT ON FUNCTION loyalty.tier_send(loyalty.tier) IS 'I/O';

CREATE TYPE loyalty.tier (
	INPUT = loyalty.tier_in,
	OUTPUT = loyalty.tier_out,
	RECEIVE = loyalty.tier_recv,
	SEND = loyalty.tier_send,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE loyalty.tier IS 'step of a ladder: rank and name';

CREATE FUNCTION loyalty.ladder_in(cstring) RETURNS loyalty.ladder
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_ladder_in';
COMMENT ON FUNCTION loyalty.ladder_in(cstring) IS 'I/O';

CREATE FUNCTION loyalty.ladder_out(loyalty.ladder) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_ladder_out';
COMMENT ON FUNCTION loyalty.ladder_out(loyalty.ladder) IS 'I/O';

CREATE FUNCTION loyalty.ladder_recv(internal) RETURNS loyalty.ladder
	LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_ladder_recv';
COMMENT ON FUNCTION loyalty.ladder_recv(internal) IS 'I/O';

CREATE FUNCTION loyalty.ladder_send(loyalty.ladder) RETURNS bytea
	LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_ladder_send';
COMMENT ON FUNCTION loyalty.ladder_send(loyalty.ladder) IS 'I/O';

CREATE TYPE loyalty.ladder (
	INPUT = loyalty.ladder_in,
	OUTPUT = loyalty.ladder_out,
	RECEIVE = loyalty.ladder_recv,
	SEND = loyalty.ladder_send,
	ALIGNMENT = double,
	STORAGE = extended
);
COMMENT ON TYPE loyalty.ladder IS 'named thresholds in rising order';

-- Functions

CREATE FUNCTION loyalty.tier_rank(loyalty.tier) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_tier_rank';
COMMENT ON FUNCTION loyalty.tier_rank(loyalty.tier) IS 'rank of a tier, counted from 1';

CREATE FUNCTION loyalty.tier_name(loyalty.tier) RETURNS text
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_tier_name';
COMMENT ON FUNCTION loyalty.tier_name(loyalty.tier) IS 'name of a tier';

CREATE FUNCTION loyalty.tier_for(ladder loyalty.ladder, points loyalty.points) RETURNS loyalty.tier
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_ladder_tier_for';
COMMENT ON FUNCTION loyalty.tier_for(loyalty.ladder, loyalty.points) IS 'highest tier that so many points reach; NULL below the first';

CREATE FUNCTION loyalty.next_tier(ladder loyalty.ladder, tier loyalty.tier) RETURNS loyalty.tier
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_ladder_next_tier';
COMMENT ON FUNCTION loyalty.next_tier(loyalty.ladder, loyalty.tier) IS 'the tier above; the first for NULL, NULL at the top';

CREATE FUNCTION loyalty.threshold(ladder loyalty.ladder, tier loyalty.tier) RETURNS loyalty.points
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_ladder_threshold';
COMMENT ON FUNCTION loyalty.threshold(loyalty.ladder, loyalty.tier) IS 'points that reach a tier';

CREATE FUNCTION loyalty.tiers(ladder loyalty.ladder) RETURNS TABLE (rank integer, name text, threshold loyalty.points)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 5 AS 'MODULE_PATHNAME', 'loyalty_ladder_tiers';
COMMENT ON FUNCTION loyalty.tiers(loyalty.ladder) IS 'steps of a ladder';

-- Comparison

CREATE FUNCTION loyalty.tier_eq(loyalty.tier, loyalty.tier) RETURNS boolean
	LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'byteaeq';
COMMENT ON FUNCTION loyalty.tier_eq(loyalty.tier, loyalty.tier) IS 'implementation of = operator';

CREATE FUNCTION loyalty.tier_ne(loyalty.tier, loyalty.tier) RETURNS boolean
	LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'byteane';
COMMENT ON FUNCTION loyalty.tier_ne(loyalty.tier, loyalty.tier) IS 'implementation of <> operator';

CREATE FUNCTION loyalty.tier_lt(loyalty.tier, loyalty.tier) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_tier_lt';
COMMENT ON FUNCTION loyalty.tier_lt(loyalty.tier, loyalty.tier) IS 'implementation of < operator';

CREATE FUNCTION loyalty.tier_le(loyalty.tier, loyalty.tier) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_tier_le';
COMMENT ON FUNCTION loyalty.tier_le(loyalty.tier, loyalty.tier) IS 'implementation of <= operator';

CREATE FUNCTION loyalty.tier_gt(loyalty.tier, loyalty.tier) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_tier_gt';
COMMENT ON FUNCTION loyalty.tier_gt(loyalty.tier, loyalty.tier) IS 'implementation of > operator';

CREATE FUNCTION loyalty.tier_ge(loyalty.tier, loyalty.tier) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_tier_ge';
COMMENT ON FUNCTION loyalty.tier_ge(loyalty.tier, loyalty.tier) IS 'implementation of >= operator';

CREATE FUNCTION loyalty.tier_cmp(loyalty.tier, loyalty.tier) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_tier_cmp';
COMMENT ON FUNCTION loyalty.tier_cmp(loyalty.tier, loyalty.tier) IS 'less-equal-greater';

CREATE FUNCTION loyalty.tier_hash(loyalty.tier) RETURNS integer
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashvarlena';
COMMENT ON FUNCTION loyalty.tier_hash(loyalty.tier) IS 'hash';

CREATE FUNCTION loyalty.tier_hash_extended(loyalty.tier, bigint) RETURNS bigint
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashvarlenaextended';
COMMENT ON FUNCTION loyalty.tier_hash_extended(loyalty.tier, bigint) IS 'hash';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.tier, RIGHTARG = loyalty.tier, FUNCTION = loyalty.tier_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR loyalty.= (loyalty.tier, loyalty.tier) IS 'equal';

CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.tier, RIGHTARG = loyalty.tier, FUNCTION = loyalty.tier_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR loyalty.<> (loyalty.tier, loyalty.tier) IS 'not equal';

CREATE OPERATOR loyalty.< (
	LEFTARG = loyalty.tier, RIGHTARG = loyalty.tier, FUNCTION = loyalty.tier_lt,
	COMMUTATOR = OPERATOR(loyalty.>), NEGATOR = OPERATOR(loyalty.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR loyalty.< (loyalty.tier, loyalty.tier) IS 'less than';

CREATE OPERATOR loyalty.<= (
	LEFTARG = loyalty.tier, RIGHTARG = loyalty.tier, FUNCTION = loyalty.tier_le,
	COMMUTATOR = OPERATOR(loyalty.>=), NEGATOR = OPERATOR(loyalty.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR loyalty.<= (loyalty.tier, loyalty.tier) IS 'less than or equal';

CREATE OPERATOR loyalty.> (
	LEFTARG = loyalty.tier, RIGHTARG = loyalty.tier, FUNCTION = loyalty.tier_gt,
	COMMUTATOR = OPERATOR(loyalty.<), NEGATOR = OPERATOR(loyalty.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR loyalty.> (loyalty.tier, loyalty.tier) IS 'greater than';

CREATE OPERATOR loyalty.>= (
	LEFTARG = loyalty.tier, RIGHTARG = loyalty.tier, FUNCTION = loyalty.tier_ge,
	COMMUTATOR = OPERATOR(loyalty.<=), NEGATOR = OPERATOR(loyalty.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR loyalty.>= (loyalty.tier, loyalty.tier) IS 'greater than or equal';

CREATE OPERATOR CLASS loyalty.tier_ops DEFAULT FOR TYPE loyalty.tier USING btree AS
	OPERATOR 1 loyalty.<,
	OPERATOR 2 loyalty.<=,
	OPERATOR 3 loyalty.=,
	OPERATOR 4 loyalty.>=,
	OPERATOR 5 loyalty.>,
	FUNCTION 1 loyalty.tier_cmp(loyalty.tier, loyalty.tier),
	FUNCTION 4 pg_catalog.btequalimage(oid);
COMMENT ON OPERATOR CLASS loyalty.tier_ops USING btree IS 'order of tiers: by rank, then by name';

CREATE OPERATOR CLASS loyalty.tier_ops DEFAULT FOR TYPE loyalty.tier USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.tier_hash(loyalty.tier),
	FUNCTION 2 loyalty.tier_hash_extended(loyalty.tier, bigint);
COMMENT ON OPERATOR CLASS loyalty.tier_ops USING hash IS 'hash of tiers';

CREATE FUNCTION loyalty.ladder_eq(loyalty.ladder, loyalty.ladder) RETURNS boolean
	LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'byteaeq';
COMMENT ON FUNCTION loyalty.ladder_eq(loyalty.ladder, loyalty.ladder) IS 'implementation of = operator';

CREATE FUNCTION loyalty.ladder_ne(loyalty.ladder, loyalty.ladder) RETURNS boolean
	LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'byteane';
COMMENT ON FUNCTION loyalty.ladder_ne(loyalty.ladder, loyalty.ladder) IS 'implementation of <> operator';

CREATE FUNCTION loyalty.ladder_lt(loyalty.ladder, loyalty.ladder) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_ladder_lt';
COMMENT ON FUNCTION loyalty.ladder_lt(loyalty.ladder, loyalty.ladder) IS 'implementation of < operator';

CREATE FUNCTION loyalty.ladder_le(loyalty.ladder, loyalty.ladder) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_ladder_le';
COMMENT ON FUNCTION loyalty.ladder_le(loyalty.ladder, loyalty.ladder) IS 'implementation of <= operator';

CREATE FUNCTION loyalty.ladder_gt(loyalty.ladder, loyalty.ladder) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_ladder_gt';
COMMENT ON FUNCTION loyalty.ladder_gt(loyalty.ladder, loyalty.ladder) IS 'implementation of > operator';

CREATE FUNCTION loyalty.ladder_ge(loyalty.ladder, loyalty.ladder) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_ladder_ge';
COMMENT ON FUNCTION loyalty.ladder_ge(loyalty.ladder, loyalty.ladder) IS 'implementation of >= operator';

CREATE FUNCTION loyalty.ladder_cmp(loyalty.ladder, loyalty.ladder) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_ladder_cmp';
COMMENT ON FUNCTION loyalty.ladder_cmp(loyalty.ladder, loyalty.ladder) IS 'less-equal-greater';

CREATE FUNCTION loyalty.ladder_hash(loyalty.ladder) RETURNS integer
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashvarlena';
COMMENT ON FUNCTION loyalty.ladder_hash(loyalty.ladder) IS 'hash';

CREATE FUNCTION loyalty.ladder_hash_extended(loyalty.ladder, bigint) RETURNS bigint
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashvarlenaextended';
COMMENT ON FUNCTION loyalty.ladder_hash_extended(loyalty.ladder, bigint) IS 'hash';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.ladder, RIGHTARG = loyalty.ladder, FUNCTION = loyalty.ladder_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR loyalty.= (loyalty.ladder, loyalty.ladder) IS 'equal';

CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.ladder, RIGHTARG = loyalty.ladder, FUNCTION = loyalty.ladder_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR loyalty.<> (loyalty.ladder, loyalty.ladder) IS 'not equal';

CREATE OPERATOR loyalty.< (
	LEFTARG = loyalty.ladder, RIGHTARG = loyalty.ladder, FUNCTION = loyalty.ladder_lt,
	COMMUTATOR = OPERATOR(loyalty.>), NEGATOR = OPERATOR(loyalty.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR loyalty.< (loyalty.ladder, loyalty.ladder) IS 'less than';

CREATE OPERATOR loyalty.<= (
	LEFTARG = loyalty.ladder, RIGHTARG = loyalty.ladder, FUNCTION = loyalty.ladder_le,
	COMMUTATOR = OPERATOR(loyalty.>=), NEGATOR = OPERATOR(loyalty.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR loyalty.<= (loyalty.ladder, loyalty.ladder) IS 'less than or equal';

CREATE OPERATOR loyalty.> (
	LEFTARG = loyalty.ladder, RIGHTARG = loyalty.ladder, FUNCTION = loyalty.ladder_gt,
	COMMUTATOR = OPERATOR(loyalty.<), NEGATOR = OPERATOR(loyalty.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR loyalty.> (loyalty.ladder, loyalty.ladder) IS 'greater than';

CREATE OPERATOR loyalty.>= (
	LEFTARG = loyalty.ladder, RIGHTARG = loyalty.ladder, FUNCTION = loyalty.ladder_ge,
	COMMUTATOR = OPERATOR(loyalty.<=), NEGATOR = OPERATOR(loyalty.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR loyalty.>= (loyalty.ladder, loyalty.ladder) IS 'greater than or equal';

CREATE OPERATOR CLASS loyalty.ladder_ops DEFAULT FOR TYPE loyalty.ladder USING btree AS
	OPERATOR 1 loyalty.<,
	OPERATOR 2 loyalty.<=,
	OPERATOR 3 loyalty.=,
	OPERATOR 4 loyalty.>=,
	OPERATOR 5 loyalty.>,
	FUNCTION 1 loyalty.ladder_cmp(loyalty.ladder, loyalty.ladder),
	FUNCTION 4 pg_catalog.btequalimage(oid);
COMMENT ON OPERATOR CLASS loyalty.ladder_ops USING btree IS 'an order of ladders, without meaning';

CREATE OPERATOR CLASS loyalty.ladder_ops DEFAULT FOR TYPE loyalty.ladder USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.ladder_hash(loyalty.ladder),
	FUNCTION 2 loyalty.ladder_hash_extended(loyalty.ladder, bigint);
COMMENT ON OPERATOR CLASS loyalty.ladder_ops USING hash IS 'hash of ladders';
