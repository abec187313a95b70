-- points: exact fixed point with four decimals, in 64 bits.
--
-- A value is the count of ten-thousandths, kept as a bigint. Whatever does not
-- depend on the scale (order, equality, hash, wire) is core's int8 function.

CREATE TYPE loyalty.points;

CREATE FUNCTION loyalty.points_in(cstring) RETURNS loyalty.points
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_in';
COMMENT ON FUNCTION loyalty.points_in(cstring) IS 'I/O';

CREATE FUNCTION loyalty.points_out(loyalty.points) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_out';
COMMENT ON FUNCTION loyalty.points_out(loyalty.points) IS 'I/O';

CREATE FUNCTION loyalty.points_recv(internal) RETURNS loyalty.points
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int8recv';
COMMENT ON FUNCTION loyalty.points_recv(internal) IS 'I/O';

CREATE FUNCTION loyalty.points_send(loyalty.points) RETURNS bytea
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int8send';
COMMENT ON FUNCTION loyalty.points_send(loyalty.points) IS 'I/O';

-- Of the number category, so that CASE, COALESCE, UNION and arrays mix it with
-- integers; never the preferred type there.
CREATE TYPE loyalty.points (
	INPUT = loyalty.points_in,
	OUTPUT = loyalty.points_out,
	RECEIVE = loyalty.points_recv,
	SEND = loyalty.points_send,
	LIKE = pg_catalog.int8,
	CATEGORY = 'N'
);
COMMENT ON TYPE loyalty.points IS 'exact number of points with up to four decimals';

-- Casts

CREATE FUNCTION loyalty.points_from_int2(smallint) RETURNS loyalty.points
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_from_int2';
COMMENT ON FUNCTION loyalty.points_from_int2(smallint) IS 'convert smallint to points';

CREATE FUNCTION loyalty.points_from_int4(integer) RETURNS loyalty.points
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_from_int4';
COMMENT ON FUNCTION loyalty.points_from_int4(integer) IS 'convert integer to points';

CREATE FUNCTION loyalty.points_from_int8(bigint) RETURNS loyalty.points
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_from_int8';
COMMENT ON FUNCTION loyalty.points_from_int8(bigint) IS 'convert bigint to points';

CREATE FUNCTION loyalty.points_from_numeric(numeric) RETURNS loyalty.points
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_from_numeric';
COMMENT ON FUNCTION loyalty.points_from_numeric(numeric) IS 'convert numeric of at most four decimals to points';

CREATE FUNCTION loyalty.points_to_numeric(loyalty.points) RETURNS numeric
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_to_numeric';
COMMENT ON FUNCTION loyalty.points_to_numeric(loyalty.points) IS 'convert points to numeric';

CREATE FUNCTION loyalty.points_to_int8(loyalty.points) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_to_int8';
COMMENT ON FUNCTION loyalty.points_to_int8(loyalty.points) IS 'convert whole points to bigint';

CREATE FUNCTION loyalty.points_to_json(loyalty.points) RETURNS json
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_to_json';
COMMENT ON FUNCTION loyalty.points_to_json(loyalty.points) IS 'convert points to a JSON number';

-- Widening is implicit (integer -> points -> numeric), so no expression has
-- two ways to resolve; narrowing is at assignment and exact or an error.
CREATE CAST (smallint AS loyalty.points) WITH FUNCTION loyalty.points_from_int2(smallint) AS IMPLICIT;
CREATE CAST (integer AS loyalty.points) WITH FUNCTION loyalty.points_from_int4(integer) AS IMPLICIT;
CREATE CAST (bigint AS loyalty.points) WITH FUNCTION loyalty.points_from_int8(bigint) AS IMPLICIT;
CREATE CAST (numeric AS loyalty.points) WITH FUNCTION loyalty.points_from_numeric(numeric) AS ASSIGNMENT;
CREATE CAST (loyalty.points AS numeric) WITH FUNCTION loyalty.points_to_numeric(loyalty.points) AS IMPLICIT;
CREATE CAST (loyalty.points AS bigint) WITH FUNCTION loyalty.points_to_int8(loyalty.points) AS ASSIGNMENT;
-- to_json, to_jsonb and their kin look for this one and then write a number.
CREATE CAST (loyalty.points AS json) WITH FUNCTION loyalty.points_to_json(loyalty.points);

-- Comparison

CREATE FUNCTION loyalty.points_eq(loyalty.points, loyalty.points) RETURNS boolean
	LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'int8eq';
COMMENT ON FUNCTION loyalty.points_eq(loyalty.points, loyalty.points) IS 'implementation of = operator';

CREATE FUNCTION loyalty.points_ne(loyalty.points, loyalty.points) RETURNS boolean
	LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'int8ne';
COMMENT ON FUNCTION loyalty.points_ne(loyalty.points, loyalty.points) IS 'implementation of <> operator';

CREATE FUNCTION loyalty.points_lt(loyalty.points, loyalty.points) RETURNS boolean
	LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'int8lt';
COMMENT ON FUNCTION loyalty.points_lt(loyalty.points, loyalty.points) IS 'implementation of < operator';

CREATE FUNCTION loyalty.points_le(loyalty.points, loyalty.points) RETURNS boolean
	LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'int8le';
COMMENT ON FUNCTION loyalty.points_le(loyalty.points, loyalty.points) IS 'implementation of <= operator';

CREATE FUNCTION loyalty.points_gt(loyalty.points, loyalty.points) RETURNS boolean
	LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'int8gt';
COMMENT ON FUNCTION loyalty.points_gt(loyalty.points, loyalty.points) IS 'implementation of > operator';

CREATE FUNCTION loyalty.points_ge(loyalty.points, loyalty.points) RETURNS boolean
	LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'int8ge';
COMMENT ON FUNCTION loyalty.points_ge(loyalty.points, loyalty.points) IS 'implementation of >= operator';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.points, RIGHTARG = loyalty.points, FUNCTION = loyalty.points_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR loyalty.= (loyalty.points, loyalty.points) IS 'equal';

CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.points, RIGHTARG = loyalty.points, FUNCTION = loyalty.points_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR loyalty.<> (loyalty.points, loyalty.points) IS 'not equal';

CREATE OPERATOR loyalty.< (
	LEFTARG = loyalty.points, RIGHTARG = loyalty.points, FUNCTION = loyalty.points_lt,
	COMMUTATOR = OPERATOR(loyalty.>), NEGATOR = OPERATOR(loyalty.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR loyalty.< (loyalty.points, loyalty.points) IS 'less than';

CREATE OPERATOR loyalty.<= (
	LEFTARG = loyalty.points, RIGHTARG = loyalty.points, FUNCTION = loyalty.points_le,
	COMMUTATOR = OPERATOR(loyalty.>=), NEGATOR = OPERATOR(loyalty.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR loyalty.<= (loyalty.points, loyalty.points) IS 'less than or equal';

CREATE OPERATOR loyalty.> (
	LEFTARG = loyalty.points, RIGHTARG = loyalty.points, FUNCTION = loyalty.points_gt,
	COMMUTATOR = OPERATOR(loyalty.<), NEGATOR = OPERATOR(loyalty.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR loyalty.> (loyalty.points, loyalty.points) IS 'greater than';

CREATE OPERATOR loyalty.>= (
	LEFTARG = loyalty.points, RIGHTARG = loyalty.points, FUNCTION = loyalty.points_ge,
	COMMUTATOR = OPERATOR(loyalty.<=), NEGATOR = OPERATOR(loyalty.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR loyalty.>= (loyalty.points, loyalty.points) IS 'greater than or equal';

-- Operator classes

CREATE FUNCTION loyalty.points_cmp(loyalty.points, loyalty.points) RETURNS integer
	LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'btint8cmp';
COMMENT ON FUNCTION loyalty.points_cmp(loyalty.points, loyalty.points) IS 'less-equal-greater';

CREATE FUNCTION loyalty.points_sortsupport(internal) RETURNS void
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'btint8sortsupport';
COMMENT ON FUNCTION loyalty.points_sortsupport(internal) IS 'sort support';

CREATE FUNCTION loyalty.points_in_range(loyalty.points, loyalty.points, loyalty.points, boolean, boolean) RETURNS boolean
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'in_range_int8_int8';
COMMENT ON FUNCTION loyalty.points_in_range(loyalty.points, loyalty.points, loyalty.points, boolean, boolean)
	IS 'window RANGE support';

CREATE FUNCTION loyalty.points_hash(loyalty.points) RETURNS integer
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashint8';
COMMENT ON FUNCTION loyalty.points_hash(loyalty.points) IS 'hash';

CREATE FUNCTION loyalty.points_hash_extended(loyalty.points, bigint) RETURNS bigint
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashint8extended';
COMMENT ON FUNCTION loyalty.points_hash_extended(loyalty.points, bigint) IS 'hash';

CREATE OPERATOR CLASS loyalty.points_ops DEFAULT FOR TYPE loyalty.points USING btree AS
	OPERATOR 1 loyalty.<,
	OPERATOR 2 loyalty.<=,
	OPERATOR 3 loyalty.=,
	OPERATOR 4 loyalty.>=,
	OPERATOR 5 loyalty.>,
	FUNCTION 1 loyalty.points_cmp(loyalty.points, loyalty.points),
	FUNCTION 2 loyalty.points_sortsupport(internal),
	FUNCTION 3 loyalty.points_in_range(loyalty.points, loyalty.points, loyalty.points, boolean, boolean),
	-- equal values are equal bits
	FUNCTION 4 pg_catalog.btequalimage(oid);
COMMENT ON OPERATOR CLASS loyalty.points_ops USING btree IS 'order of points';

CREATE OPERATOR CLASS loyalty.points_ops DEFAULT FOR TYPE loyalty.points USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.points_hash(loyalty.points),
	FUNCTION 2 loyalty.points_hash_extended(loyalty.points, bigint);
COMMENT ON OPERATOR CLASS loyalty.points_ops USING hash IS 'hash of points';

-- Arithmetic

CREATE FUNCTION loyalty.points_add(loyalty.points, loyalty.points) RETURNS loyalty.points
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_add';
COMMENT ON FUNCTION loyalty.points_add(loyalty.points, loyalty.points) IS 'implementation of + operator';

CREATE FUNCTION loyalty.points_sub(loyalty.points, loyalty.points) RETURNS loyalty.points
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_sub';
COMMENT ON FUNCTION loyalty.points_sub(loyalty.points, loyalty.points) IS 'implementation of - operator';

CREATE FUNCTION loyalty.points_mul(loyalty.points, bigint) RETURNS loyalty.points
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_mul_int8';
COMMENT ON FUNCTION loyalty.points_mul(loyalty.points, bigint) IS 'implementation of * operator';

CREATE FUNCTION loyalty.points_mul(bigint, loyalty.points) RETURNS loyalty.points
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_int8_mul';
COMMENT ON FUNCTION loyalty.points_mul(bigint, loyalty.points) IS 'implementation of * operator';

CREATE FUNCTION loyalty.points_div(loyalty.points, loyalty.points) RETURNS numeric
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_div';
COMMENT ON FUNCTION loyalty.points_div(loyalty.points, loyalty.points) IS 'implementation of / operator';

CREATE FUNCTION loyalty.points_neg(loyalty.points) RETURNS loyalty.points
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_neg';
COMMENT ON FUNCTION loyalty.points_neg(loyalty.points) IS 'implementation of - operator';

CREATE FUNCTION loyalty.points_pos(loyalty.points) RETURNS loyalty.points
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int8up';
COMMENT ON FUNCTION loyalty.points_pos(loyalty.points) IS 'implementation of + operator';

CREATE FUNCTION loyalty.abs(loyalty.points) RETURNS loyalty.points
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_abs';
COMMENT ON FUNCTION loyalty.abs(loyalty.points) IS 'absolute value';

CREATE OPERATOR loyalty.+ (
	LEFTARG = loyalty.points, RIGHTARG = loyalty.points, FUNCTION = loyalty.points_add,
	COMMUTATOR = OPERATOR(loyalty.+)
);
COMMENT ON OPERATOR loyalty.+ (loyalty.points, loyalty.points) IS 'add';

CREATE OPERATOR loyalty.- (
	LEFTARG = loyalty.points, RIGHTARG = loyalty.points, FUNCTION = loyalty.points_sub
);
COMMENT ON OPERATOR loyalty.- (loyalty.points, loyalty.points) IS 'subtract';

CREATE OPERATOR loyalty.* (
	LEFTARG = loyalty.points, RIGHTARG = bigint, FUNCTION = loyalty.points_mul,
	COMMUTATOR = OPERATOR(loyalty.*)
);
COMMENT ON OPERATOR loyalty.* (loyalty.points, bigint) IS 'multiply';

CREATE OPERATOR loyalty.* (
	LEFTARG = bigint, RIGHTARG = loyalty.points, FUNCTION = loyalty.points_mul,
	COMMUTATOR = OPERATOR(loyalty.*)
);
COMMENT ON OPERATOR loyalty.* (bigint, loyalty.points) IS 'multiply';

CREATE OPERATOR loyalty./ (
	LEFTARG = loyalty.points, RIGHTARG = loyalty.points, FUNCTION = loyalty.points_div
);
COMMENT ON OPERATOR loyalty./ (loyalty.points, loyalty.points) IS 'ratio, a numeric';

CREATE OPERATOR loyalty.- (RIGHTARG = loyalty.points, FUNCTION = loyalty.points_neg);
COMMENT ON OPERATOR loyalty.- (NONE, loyalty.points) IS 'negate';

CREATE OPERATOR loyalty.+ (RIGHTARG = loyalty.points, FUNCTION = loyalty.points_pos);
COMMENT ON OPERATOR loyalty.+ (NONE, loyalty.points) IS 'unary plus';

-- Aggregates

CREATE FUNCTION loyalty.points_accum(internal, loyalty.points) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_accum';
COMMENT ON FUNCTION loyalty.points_accum(internal, loyalty.points) IS 'aggregate transition function';

CREATE FUNCTION loyalty.points_accum_inv(internal, loyalty.points) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_accum_inv';
COMMENT ON FUNCTION loyalty.points_accum_inv(internal, loyalty.points) IS 'aggregate inverse transition function';

CREATE FUNCTION loyalty.points_combine(internal, internal) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_combine';
COMMENT ON FUNCTION loyalty.points_combine(internal, internal) IS 'aggregate combine function';

CREATE FUNCTION loyalty.points_serialize(internal) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_serialize';
COMMENT ON FUNCTION loyalty.points_serialize(internal) IS 'aggregate serial function';

CREATE FUNCTION loyalty.points_deserialize(bytea, internal) RETURNS internal
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_deserialize';
COMMENT ON FUNCTION loyalty.points_deserialize(bytea, internal) IS 'aggregate deserial function';

CREATE FUNCTION loyalty.points_sum(internal) RETURNS loyalty.points
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_sum';
COMMENT ON FUNCTION loyalty.points_sum(internal) IS 'aggregate final function';

CREATE FUNCTION loyalty.points_avg(internal) RETURNS numeric
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_points_avg';
COMMENT ON FUNCTION loyalty.points_avg(internal) IS 'aggregate final function';

CREATE FUNCTION loyalty.points_smaller(loyalty.points, loyalty.points) RETURNS loyalty.points
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int8smaller';
COMMENT ON FUNCTION loyalty.points_smaller(loyalty.points, loyalty.points) IS 'smaller of two';

CREATE FUNCTION loyalty.points_larger(loyalty.points, loyalty.points) RETURNS loyalty.points
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int8larger';
COMMENT ON FUNCTION loyalty.points_larger(loyalty.points, loyalty.points) IS 'larger of two';

CREATE AGGREGATE loyalty.sum(loyalty.points) (
	SFUNC = loyalty.points_accum, STYPE = internal, SSPACE = 48, FINALFUNC = loyalty.points_sum,
	COMBINEFUNC = loyalty.points_combine, SERIALFUNC = loyalty.points_serialize, DESERIALFUNC = loyalty.points_deserialize,
	MSFUNC = loyalty.points_accum, MINVFUNC = loyalty.points_accum_inv, MSTYPE = internal, MSSPACE = 48,
	MFINALFUNC = loyalty.points_sum,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE loyalty.sum(loyalty.points) IS 'exact sum; an error only when the sum itself is out of range';

CREATE AGGREGATE loyalty.avg(loyalty.points) (
	SFUNC = loyalty.points_accum, STYPE = internal, SSPACE = 48, FINALFUNC = loyalty.points_avg,
	COMBINEFUNC = loyalty.points_combine, SERIALFUNC = loyalty.points_serialize, DESERIALFUNC = loyalty.points_deserialize,
	MSFUNC = loyalty.points_accum, MINVFUNC = loyalty.points_accum_inv, MSTYPE = internal, MSSPACE = 48,
	MFINALFUNC = loyalty.points_avg,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE loyalty.avg(loyalty.points) IS 'average, a numeric';

CREATE AGGREGATE loyalty.min(loyalty.points) (
	SFUNC = loyalty.points_smaller, STYPE = loyalty.points, COMBINEFUNC = loyalty.points_smaller,
	SORTOP = OPERATOR(loyalty.<), PARALLEL = SAFE
);
COMMENT ON AGGREGATE loyalty.min(loyalty.points) IS 'smallest value';

CREATE AGGREGATE loyalty.max(loyalty.points) (
	SFUNC = loyalty.points_larger, STYPE = loyalty.points, COMBINEFUNC = loyalty.points_larger,
	SORTOP = OPERATOR(loyalty.>), PARALLEL = SAFE
);
COMMENT ON AGGREGATE loyalty.max(loyalty.points) IS 'largest value';
