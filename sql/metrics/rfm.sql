-- rfm: recency, frequency and monetary value of one customer. docs/rfm.md

CREATE TYPE loyalty.rfm;

CREATE FUNCTION loyalty.rfm_in(cstring) RETURNS loyalty.rfm
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_in';
CREATE FUNCTION loyalty.rfm_out(loyalty.rfm) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_out';
CREATE FUNCTION loyalty.rfm_recv(internal) RETURNS loyalty.rfm
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_recv';
CREATE FUNCTION loyalty.rfm_send(loyalty.rfm) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_send';

CREATE TYPE loyalty.rfm (
	INPUT = loyalty.rfm_in,
	OUTPUT = loyalty.rfm_out,
	RECEIVE = loyalty.rfm_recv,
	SEND = loyalty.rfm_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.rfm(frequency bigint, recency float8, age float8, monetary float8 DEFAULT NULL) RETURNS loyalty.rfm
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_make';

CREATE FUNCTION loyalty.frequency(loyalty.rfm) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_frequency';
CREATE FUNCTION loyalty.recency(loyalty.rfm) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_recency';
CREATE FUNCTION loyalty.age(loyalty.rfm) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_age';
CREATE FUNCTION loyalty.monetary(loyalty.rfm) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_monetary';

CREATE FUNCTION loyalty.rfm_eq(loyalty.rfm, loyalty.rfm) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.rfm_ne(loyalty.rfm, loyalty.rfm) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.rfm_hash(loyalty.rfm) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.rfm_hash_extended(loyalty.rfm, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.rfm, RIGHTARG = loyalty.rfm, FUNCTION = loyalty.rfm_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.rfm, RIGHTARG = loyalty.rfm, FUNCTION = loyalty.rfm_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.rfm_hash_ops DEFAULT FOR TYPE loyalty.rfm USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.rfm_hash(loyalty.rfm),
	FUNCTION 2 loyalty.rfm_hash_extended(loyalty.rfm, bigint);

-- Aggregation. The state is internal: it holds the customer's distinct units of time.

CREATE FUNCTION loyalty.rfm_accum(internal, timestamptz, float8, timestamptz) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_accum';
CREATE FUNCTION loyalty.rfm_accum(internal, timestamptz, float8, timestamptz, interval) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_accum';
CREATE FUNCTION loyalty.rfm_accum(internal, timestamptz, float8, timestamptz, interval, text) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_accum';
CREATE FUNCTION loyalty.rfm_accum(internal, timestamp, float8, timestamp) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_accum_local';
CREATE FUNCTION loyalty.rfm_accum(internal, timestamp, float8, timestamp, interval) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_accum_local';
CREATE FUNCTION loyalty.rfm_accum(internal, date, float8, date) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_accum_date';
CREATE FUNCTION loyalty.rfm_accum(internal, date, float8, date, interval) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_accum_date';
CREATE FUNCTION loyalty.rfm_combine(internal, internal) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_combine';
CREATE FUNCTION loyalty.rfm_serialize(internal) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_serialize';
CREATE FUNCTION loyalty.rfm_deserialize(bytea, internal) RETURNS internal
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_deserialize';
CREATE FUNCTION loyalty.rfm_final(internal) RETURNS loyalty.rfm
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_rfm_final';

CREATE AGGREGATE loyalty.rfm_agg(at timestamptz, amount float8, as_of timestamptz) (
	STYPE = internal, SSPACE = 160,
	SFUNC = loyalty.rfm_accum,
	FINALFUNC = loyalty.rfm_final,
	COMBINEFUNC = loyalty.rfm_combine,
	SERIALFUNC = loyalty.rfm_serialize,
	DESERIALFUNC = loyalty.rfm_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rfm_agg(at timestamptz, amount float8, as_of timestamptz, unit interval) (
	STYPE = internal, SSPACE = 160,
	SFUNC = loyalty.rfm_accum,
	FINALFUNC = loyalty.rfm_final,
	COMBINEFUNC = loyalty.rfm_combine,
	SERIALFUNC = loyalty.rfm_serialize,
	DESERIALFUNC = loyalty.rfm_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rfm_agg(at timestamptz, amount float8, as_of timestamptz, unit interval, time_zone text) (
	STYPE = internal, SSPACE = 160,
	SFUNC = loyalty.rfm_accum,
	FINALFUNC = loyalty.rfm_final,
	COMBINEFUNC = loyalty.rfm_combine,
	SERIALFUNC = loyalty.rfm_serialize,
	DESERIALFUNC = loyalty.rfm_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rfm_agg(at timestamp, amount float8, as_of timestamp) (
	STYPE = internal, SSPACE = 160,
	SFUNC = loyalty.rfm_accum,
	FINALFUNC = loyalty.rfm_final,
	COMBINEFUNC = loyalty.rfm_combine,
	SERIALFUNC = loyalty.rfm_serialize,
	DESERIALFUNC = loyalty.rfm_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rfm_agg(at timestamp, amount float8, as_of timestamp, unit interval) (
	STYPE = internal, SSPACE = 160,
	SFUNC = loyalty.rfm_accum,
	FINALFUNC = loyalty.rfm_final,
	COMBINEFUNC = loyalty.rfm_combine,
	SERIALFUNC = loyalty.rfm_serialize,
	DESERIALFUNC = loyalty.rfm_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rfm_agg(at date, amount float8, as_of date) (
	STYPE = internal, SSPACE = 160,
	SFUNC = loyalty.rfm_accum,
	FINALFUNC = loyalty.rfm_final,
	COMBINEFUNC = loyalty.rfm_combine,
	SERIALFUNC = loyalty.rfm_serialize,
	DESERIALFUNC = loyalty.rfm_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rfm_agg(at date, amount float8, as_of date, unit interval) (
	STYPE = internal, SSPACE = 160,
	SFUNC = loyalty.rfm_accum,
	FINALFUNC = loyalty.rfm_final,
	COMBINEFUNC = loyalty.rfm_combine,
	SERIALFUNC = loyalty.rfm_serialize,
	DESERIALFUNC = loyalty.rfm_deserialize,
	PARALLEL = SAFE
);

COMMENT ON TYPE loyalty.rfm IS 'recency, frequency, age and monetary value of one customer';
COMMENT ON OPERATOR CLASS loyalty.rfm_hash_ops USING hash IS 'hash of rfm';
COMMENT ON OPERATOR loyalty.= (loyalty.rfm, loyalty.rfm) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.rfm, loyalty.rfm) IS 'not equal';
COMMENT ON FUNCTION loyalty.rfm_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.rfm_out(loyalty.rfm) IS 'I/O';
COMMENT ON FUNCTION loyalty.rfm_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.rfm_send(loyalty.rfm) IS 'I/O';
COMMENT ON FUNCTION loyalty.rfm(bigint, float8, float8, float8) IS 'an rfm made from known values';
COMMENT ON FUNCTION loyalty.frequency(loyalty.rfm) IS 'units of time with a purchase, after the first one';
COMMENT ON FUNCTION loyalty.recency(loyalty.rfm) IS 'time from the first purchase to the last';
COMMENT ON FUNCTION loyalty.age(loyalty.rfm) IS 'time from the first purchase to the observation';
COMMENT ON FUNCTION loyalty.monetary(loyalty.rfm) IS 'mean spend of the repeat units';
COMMENT ON FUNCTION loyalty.rfm_eq(loyalty.rfm, loyalty.rfm) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.rfm_ne(loyalty.rfm, loyalty.rfm) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.rfm_hash(loyalty.rfm) IS 'hash';
COMMENT ON FUNCTION loyalty.rfm_hash_extended(loyalty.rfm, bigint) IS 'hash';
COMMENT ON FUNCTION loyalty.rfm_accum(internal, timestamptz, float8, timestamptz) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.rfm_accum(internal, timestamptz, float8, timestamptz, interval) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.rfm_accum(internal, timestamptz, float8, timestamptz, interval, text) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.rfm_accum(internal, timestamp, float8, timestamp) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.rfm_accum(internal, timestamp, float8, timestamp, interval) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.rfm_accum(internal, date, float8, date) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.rfm_accum(internal, date, float8, date, interval) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.rfm_combine(internal, internal) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.rfm_serialize(internal) IS 'aggregate serial function';
COMMENT ON FUNCTION loyalty.rfm_deserialize(bytea, internal) IS 'aggregate deserial function';
COMMENT ON FUNCTION loyalty.rfm_final(internal) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.rfm_agg(timestamptz, float8, timestamptz) IS 'rfm of the purchases of one customer, per day';
COMMENT ON AGGREGATE loyalty.rfm_agg(timestamptz, float8, timestamptz, interval) IS 'rfm of the purchases of one customer, per unit';
COMMENT ON AGGREGATE loyalty.rfm_agg(timestamptz, float8, timestamptz, interval, text) IS 'rfm of the purchases of one customer, per unit, in a time zone';
COMMENT ON AGGREGATE loyalty.rfm_agg(timestamp, float8, timestamp) IS 'rfm of the purchases of one customer, per day';
COMMENT ON AGGREGATE loyalty.rfm_agg(timestamp, float8, timestamp, interval) IS 'rfm of the purchases of one customer, per unit';
COMMENT ON AGGREGATE loyalty.rfm_agg(date, float8, date) IS 'rfm of the purchases of one customer, per day';
COMMENT ON AGGREGATE loyalty.rfm_agg(date, float8, date, interval) IS 'rfm of the purchases of one customer, per unit';
