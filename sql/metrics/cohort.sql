-- cohort: who comes back, by the period of the first purchase. docs/cohort.md

CREATE TYPE loyalty.cohort_summary;

CREATE FUNCTION loyalty.cohort_summary_in(cstring) RETURNS loyalty.cohort_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_in';
CREATE FUNCTION loyalty.cohort_summary_out(loyalty.cohort_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_out';
CREATE FUNCTION loyalty.cohort_summary_recv(internal) RETURNS loyalty.cohort_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_recv';
CREATE FUNCTION loyalty.cohort_summary_send(loyalty.cohort_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_send';

CREATE TYPE loyalty.cohort_summary (
	INPUT = loyalty.cohort_summary_in,
	OUTPUT = loyalty.cohort_summary_out,
	RECEIVE = loyalty.cohort_summary_recv,
	SEND = loyalty.cohort_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = extended
);

CREATE FUNCTION loyalty.cohort_summary_eq(loyalty.cohort_summary, loyalty.cohort_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.cohort_summary_ne(loyalty.cohort_summary, loyalty.cohort_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.cohort_summary_hash(loyalty.cohort_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.cohort_summary_hash_extended(loyalty.cohort_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.cohort_summary, RIGHTARG = loyalty.cohort_summary, FUNCTION = loyalty.cohort_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.cohort_summary, RIGHTARG = loyalty.cohort_summary, FUNCTION = loyalty.cohort_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.cohort_summary_hash_ops DEFAULT FOR TYPE loyalty.cohort_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.cohort_summary_hash(loyalty.cohort_summary),
	FUNCTION 2 loyalty.cohort_summary_hash_extended(loyalty.cohort_summary, bigint);

-- The state is internal: it holds each customer's periods.

CREATE FUNCTION loyalty.cohort_accum(internal, "any", timestamptz, timestamptz) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_accum';
CREATE FUNCTION loyalty.cohort_accum(internal, "any", timestamptz, timestamptz, interval) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_accum';
CREATE FUNCTION loyalty.cohort_accum(internal, "any", timestamptz, timestamptz, interval, text) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_accum';
CREATE FUNCTION loyalty.cohort_accum(internal, "any", timestamptz, timestamptz, interval, text, text) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_accum';
CREATE FUNCTION loyalty.cohort_accum(internal, "any", timestamp, timestamp) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_accum_local';
CREATE FUNCTION loyalty.cohort_accum(internal, "any", timestamp, timestamp, interval) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_accum_local';
CREATE FUNCTION loyalty.cohort_accum(internal, "any", timestamp, timestamp, interval, text) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_accum_local';
CREATE FUNCTION loyalty.cohort_accum(internal, "any", date, date) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_accum_date';
CREATE FUNCTION loyalty.cohort_accum(internal, "any", date, date, interval) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_accum_date';
CREATE FUNCTION loyalty.cohort_accum(internal, "any", date, date, interval, text) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_accum_date';
CREATE FUNCTION loyalty.cohort_combine(internal, internal) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_combine';
CREATE FUNCTION loyalty.cohort_serialize(internal) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_serialize';
CREATE FUNCTION loyalty.cohort_deserialize(bytea, internal) RETURNS internal
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_deserialize';
CREATE FUNCTION loyalty.cohort_final(internal) RETURNS loyalty.cohort_summary
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_final';

CREATE AGGREGATE loyalty.cohort_agg(customer "any", at timestamptz, as_of timestamptz) (
	STYPE = internal, SSPACE = 65536,
	SFUNC = loyalty.cohort_accum,
	FINALFUNC = loyalty.cohort_final,
	COMBINEFUNC = loyalty.cohort_combine,
	SERIALFUNC = loyalty.cohort_serialize,
	DESERIALFUNC = loyalty.cohort_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.cohort_agg(customer "any", at timestamptz, as_of timestamptz, period interval) (
	STYPE = internal, SSPACE = 65536,
	SFUNC = loyalty.cohort_accum,
	FINALFUNC = loyalty.cohort_final,
	COMBINEFUNC = loyalty.cohort_combine,
	SERIALFUNC = loyalty.cohort_serialize,
	DESERIALFUNC = loyalty.cohort_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.cohort_agg(customer "any", at timestamptz, as_of timestamptz, period interval, time_zone text) (
	STYPE = internal, SSPACE = 65536,
	SFUNC = loyalty.cohort_accum,
	FINALFUNC = loyalty.cohort_final,
	COMBINEFUNC = loyalty.cohort_combine,
	SERIALFUNC = loyalty.cohort_serialize,
	DESERIALFUNC = loyalty.cohort_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.cohort_agg(customer "any", at timestamptz, as_of timestamptz, period interval, time_zone text, origin text) (
	STYPE = internal, SSPACE = 65536,
	SFUNC = loyalty.cohort_accum,
	FINALFUNC = loyalty.cohort_final,
	COMBINEFUNC = loyalty.cohort_combine,
	SERIALFUNC = loyalty.cohort_serialize,
	DESERIALFUNC = loyalty.cohort_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.cohort_agg(customer "any", at timestamp, as_of timestamp) (
	STYPE = internal, SSPACE = 65536,
	SFUNC = loyalty.cohort_accum,
	FINALFUNC = loyalty.cohort_final,
	COMBINEFUNC = loyalty.cohort_combine,
	SERIALFUNC = loyalty.cohort_serialize,
	DESERIALFUNC = loyalty.cohort_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.cohort_agg(customer "any", at timestamp, as_of timestamp, period interval) (
	STYPE = internal, SSPACE = 65536,
	SFUNC = loyalty.cohort_accum,
	FINALFUNC = loyalty.cohort_final,
	COMBINEFUNC = loyalty.cohort_combine,
	SERIALFUNC = loyalty.cohort_serialize,
	DESERIALFUNC = loyalty.cohort_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.cohort_agg(customer "any", at timestamp, as_of timestamp, period interval, origin text) (
	STYPE = internal, SSPACE = 65536,
	SFUNC = loyalty.cohort_accum,
	FINALFUNC = loyalty.cohort_final,
	COMBINEFUNC = loyalty.cohort_combine,
	SERIALFUNC = loyalty.cohort_serialize,
	DESERIALFUNC = loyalty.cohort_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.cohort_agg(customer "any", at date, as_of date) (
	STYPE = internal, SSPACE = 65536,
	SFUNC = loyalty.cohort_accum,
	FINALFUNC = loyalty.cohort_final,
	COMBINEFUNC = loyalty.cohort_combine,
	SERIALFUNC = loyalty.cohort_serialize,
	DESERIALFUNC = loyalty.cohort_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.cohort_agg(customer "any", at date, as_of date, period interval) (
	STYPE = internal, SSPACE = 65536,
	SFUNC = loyalty.cohort_accum,
	FINALFUNC = loyalty.cohort_final,
	COMBINEFUNC = loyalty.cohort_combine,
	SERIALFUNC = loyalty.cohort_serialize,
	DESERIALFUNC = loyalty.cohort_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.cohort_agg(customer "any", at date, as_of date, period interval, origin text) (
	STYPE = internal, SSPACE = 65536,
	SFUNC = loyalty.cohort_accum,
	FINALFUNC = loyalty.cohort_final,
	COMBINEFUNC = loyalty.cohort_combine,
	SERIALFUNC = loyalty.cohort_serialize,
	DESERIALFUNC = loyalty.cohort_deserialize,
	PARALLEL = SAFE
);

CREATE FUNCTION loyalty.cohort_summary_add(loyalty.cohort_summary, loyalty.cohort_summary) RETURNS loyalty.cohort_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_add';

CREATE FUNCTION loyalty.cohort_summary_subtract(loyalty.cohort_summary, loyalty.cohort_summary) RETURNS loyalty.cohort_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_subtract';
CREATE AGGREGATE loyalty.rollup(summary loyalty.cohort_summary) (
	STYPE = loyalty.cohort_summary, SSPACE = 65536,
	SFUNC = loyalty.cohort_summary_add,
	COMBINEFUNC = loyalty.cohort_summary_add,
	MSTYPE = loyalty.cohort_summary,
	MSFUNC = loyalty.cohort_summary_add,
	MINVFUNC = loyalty.cohort_summary_subtract,
	PARALLEL = SAFE
);

-- Accessors

CREATE FUNCTION loyalty.customers(loyalty.cohort_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_customers';
CREATE FUNCTION loyalty.cohort_matrix(summary loyalty.cohort_summary, mode text DEFAULT 'on',
		brackets int4range[] DEFAULT NULL)
	RETURNS TABLE (cohort timestamp, period integer, customers bigint, retained bigint, rate float8)
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_matrix';
CREATE FUNCTION loyalty.time_to_next_purchase(summary loyalty.cohort_summary, only_first boolean DEFAULT false) RETURNS loyalty.survival_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_cohort_time_to_next';

COMMENT ON TYPE loyalty.cohort_summary IS 'customers by cohort, and their steps from one active period to the next';
COMMENT ON FUNCTION loyalty.cohort_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.cohort_summary_out(loyalty.cohort_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.cohort_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.cohort_summary_send(loyalty.cohort_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.cohort_summary_eq(loyalty.cohort_summary, loyalty.cohort_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.cohort_summary_ne(loyalty.cohort_summary, loyalty.cohort_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.cohort_summary_hash(loyalty.cohort_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.cohort_summary_hash_extended(loyalty.cohort_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.cohort_summary, loyalty.cohort_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.cohort_summary, loyalty.cohort_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.cohort_summary_hash_ops USING hash IS 'hash of cohort_summary';
COMMENT ON FUNCTION loyalty.cohort_accum(internal, "any", timestamptz, timestamptz) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.cohort_accum(internal, "any", timestamptz, timestamptz, interval) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.cohort_accum(internal, "any", timestamptz, timestamptz, interval, text) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.cohort_accum(internal, "any", timestamptz, timestamptz, interval, text, text) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.cohort_accum(internal, "any", timestamp, timestamp) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.cohort_accum(internal, "any", timestamp, timestamp, interval) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.cohort_accum(internal, "any", timestamp, timestamp, interval, text) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.cohort_accum(internal, "any", date, date) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.cohort_accum(internal, "any", date, date, interval) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.cohort_accum(internal, "any", date, date, interval, text) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.cohort_combine(internal, internal) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.cohort_serialize(internal) IS 'aggregate serial function';
COMMENT ON FUNCTION loyalty.cohort_deserialize(bytea, internal) IS 'aggregate deserial function';
COMMENT ON FUNCTION loyalty.cohort_final(internal) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.cohort_agg("any", timestamptz, timestamptz) IS 'summary of who came back when, in months of UTC';
COMMENT ON AGGREGATE loyalty.cohort_agg("any", timestamptz, timestamptz, interval) IS 'summary of who came back when, in periods of UTC';
COMMENT ON AGGREGATE loyalty.cohort_agg("any", timestamptz, timestamptz, interval, text) IS 'summary of who came back when, in periods of a time zone';
COMMENT ON AGGREGATE loyalty.cohort_agg("any", timestamptz, timestamptz, interval, text, text) IS 'summary of who came back when, in periods of a time zone, counted from an origin';
COMMENT ON AGGREGATE loyalty.cohort_agg("any", timestamp, timestamp) IS 'summary of who came back when, in months';
COMMENT ON AGGREGATE loyalty.cohort_agg("any", timestamp, timestamp, interval) IS 'summary of who came back when, in periods';
COMMENT ON AGGREGATE loyalty.cohort_agg("any", timestamp, timestamp, interval, text) IS 'summary of who came back when, in periods counted from an origin';
COMMENT ON AGGREGATE loyalty.cohort_agg("any", date, date) IS 'summary of who came back when, in months';
COMMENT ON AGGREGATE loyalty.cohort_agg("any", date, date, interval) IS 'summary of who came back when, in periods';
COMMENT ON AGGREGATE loyalty.cohort_agg("any", date, date, interval, text) IS 'summary of who came back when, in periods counted from an origin';
COMMENT ON FUNCTION loyalty.cohort_summary_subtract(loyalty.cohort_summary, loyalty.cohort_summary) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.cohort_summary_add(loyalty.cohort_summary, loyalty.cohort_summary) IS 'aggregate combine function';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.cohort_summary) IS 'one summary of many that share no customers';
COMMENT ON FUNCTION loyalty.customers(loyalty.cohort_summary) IS 'customers of all cohorts';
COMMENT ON FUNCTION loyalty.cohort_matrix(loyalty.cohort_summary, text, int4range[]) IS 'who came back, by cohort and period: on, on_or_after, within or in brackets';
COMMENT ON FUNCTION loyalty.time_to_next_purchase(loyalty.cohort_summary, boolean) IS 'periods from each purchase, or only the first, to the next, for survival_curve()';
