-- survival: how long memberships last, and the time between purchases. docs/survival.md

CREATE TYPE loyalty.survival_summary;

CREATE FUNCTION loyalty.survival_summary_in(cstring) RETURNS loyalty.survival_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_in';
CREATE FUNCTION loyalty.survival_summary_out(loyalty.survival_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_out';
CREATE FUNCTION loyalty.survival_summary_recv(internal) RETURNS loyalty.survival_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_recv';
CREATE FUNCTION loyalty.survival_summary_send(loyalty.survival_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_send';

CREATE TYPE loyalty.survival_summary (
	INPUT = loyalty.survival_summary_in,
	OUTPUT = loyalty.survival_summary_out,
	RECEIVE = loyalty.survival_summary_recv,
	SEND = loyalty.survival_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = extended
);

CREATE FUNCTION loyalty.survival_summary_eq(loyalty.survival_summary, loyalty.survival_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.survival_summary_ne(loyalty.survival_summary, loyalty.survival_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.survival_summary_hash(loyalty.survival_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.survival_summary_hash_extended(loyalty.survival_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.survival_summary, RIGHTARG = loyalty.survival_summary, FUNCTION = loyalty.survival_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.survival_summary, RIGHTARG = loyalty.survival_summary, FUNCTION = loyalty.survival_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.survival_summary_hash_ops DEFAULT FOR TYPE loyalty.survival_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.survival_summary_hash(loyalty.survival_summary),
	FUNCTION 2 loyalty.survival_summary_hash_extended(loyalty.survival_summary, bigint);

-- The state is internal: it holds the durations met so far.

CREATE FUNCTION loyalty.survival_accum(internal, float8, boolean) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_accum';
CREATE FUNCTION loyalty.survival_accum(internal, date, date, date) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_accum_date';
CREATE FUNCTION loyalty.survival_accum(internal, loyalty.survival_summary) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_accum_summary';
CREATE FUNCTION loyalty.survival_combine(internal, internal) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_combine';
CREATE FUNCTION loyalty.survival_serialize(internal) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_serialize';
CREATE FUNCTION loyalty.survival_deserialize(bytea, internal) RETURNS internal
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_deserialize';
CREATE FUNCTION loyalty.survival_final(internal) RETURNS loyalty.survival_summary
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_final';

CREATE AGGREGATE loyalty.survival_agg(duration float8, ended boolean) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.survival_accum,
	FINALFUNC = loyalty.survival_final,
	COMBINEFUNC = loyalty.survival_combine,
	SERIALFUNC = loyalty.survival_serialize,
	DESERIALFUNC = loyalty.survival_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.survival_agg(started date, ended date, as_of date) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.survival_accum,
	FINALFUNC = loyalty.survival_final,
	COMBINEFUNC = loyalty.survival_combine,
	SERIALFUNC = loyalty.survival_serialize,
	DESERIALFUNC = loyalty.survival_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rollup(summary loyalty.survival_summary) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.survival_accum,
	FINALFUNC = loyalty.survival_final,
	COMBINEFUNC = loyalty.survival_combine,
	SERIALFUNC = loyalty.survival_serialize,
	DESERIALFUNC = loyalty.survival_deserialize,
	PARALLEL = SAFE
);

-- Accessors

CREATE FUNCTION loyalty.subjects(loyalty.survival_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_subjects';
CREATE FUNCTION loyalty.events(loyalty.survival_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_events';
CREATE FUNCTION loyalty.survival(summary loyalty.survival_summary, duration float8) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_at';
CREATE FUNCTION loyalty.survival_quantile(summary loyalty.survival_summary, share float8 DEFAULT 0.5) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_quantile';
CREATE FUNCTION loyalty.restricted_mean(summary loyalty.survival_summary, horizon float8) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_mean';
CREATE FUNCTION loyalty.survival_curve(summary loyalty.survival_summary, confidence float8 DEFAULT 0.95,
		method text DEFAULT 'plain')
	RETURNS TABLE (duration float8, at_risk bigint, events bigint, censored bigint, survival float8,
		standard_error float8, low float8, high float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survival_curve';

COMMENT ON TYPE loyalty.survival_summary IS 'durations, each with how many ended there and how many were last seen there';
COMMENT ON FUNCTION loyalty.survival_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.survival_summary_out(loyalty.survival_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.survival_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.survival_summary_send(loyalty.survival_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.survival_summary_eq(loyalty.survival_summary, loyalty.survival_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.survival_summary_ne(loyalty.survival_summary, loyalty.survival_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.survival_summary_hash(loyalty.survival_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.survival_summary_hash_extended(loyalty.survival_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.survival_summary, loyalty.survival_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.survival_summary, loyalty.survival_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.survival_summary_hash_ops USING hash IS 'hash of survival_summary';
COMMENT ON FUNCTION loyalty.survival_accum(internal, float8, boolean) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.survival_accum(internal, date, date, date) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.survival_accum(internal, loyalty.survival_summary) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.survival_combine(internal, internal) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.survival_serialize(internal) IS 'aggregate serial function';
COMMENT ON FUNCTION loyalty.survival_deserialize(bytea, internal) IS 'aggregate deserial function';
COMMENT ON FUNCTION loyalty.survival_final(internal) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.survival_agg(float8, boolean) IS 'summary of durations, of which not all ended';
COMMENT ON AGGREGATE loyalty.survival_agg(date, date, date) IS 'summary of memberships in days; who has not ended by as_of is censored';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.survival_summary) IS 'one summary of many';
COMMENT ON FUNCTION loyalty.subjects(loyalty.survival_summary) IS 'all durations, ended or not';
COMMENT ON FUNCTION loyalty.events(loyalty.survival_summary) IS 'durations that ended';
COMMENT ON FUNCTION loyalty.survival(loyalty.survival_summary, float8) IS 'share that lasts longer than a duration (Kaplan-Meier)';
COMMENT ON FUNCTION loyalty.survival_quantile(loyalty.survival_summary, float8) IS 'the duration by which this share has ended; the median by default';
COMMENT ON FUNCTION loyalty.restricted_mean(loyalty.survival_summary, float8) IS 'mean duration, of each no more than the horizon';
COMMENT ON FUNCTION loyalty.survival_curve(loyalty.survival_summary, float8, text) IS 'Kaplan-Meier estimate at each duration, with Greenwood''s standard error and an interval';
