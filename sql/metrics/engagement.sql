-- engagement: stickiness, and a score against a frozen baseline. docs/engagement.md

CREATE TYPE loyalty.stickiness_summary;

CREATE FUNCTION loyalty.stickiness_summary_in(cstring) RETURNS loyalty.stickiness_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_stickiness_in';
CREATE FUNCTION loyalty.stickiness_summary_out(loyalty.stickiness_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_stickiness_out';
CREATE FUNCTION loyalty.stickiness_summary_recv(internal) RETURNS loyalty.stickiness_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_stickiness_recv';
CREATE FUNCTION loyalty.stickiness_summary_send(loyalty.stickiness_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_stickiness_send';

CREATE TYPE loyalty.stickiness_summary (
	INPUT = loyalty.stickiness_summary_in,
	OUTPUT = loyalty.stickiness_summary_out,
	RECEIVE = loyalty.stickiness_summary_recv,
	SEND = loyalty.stickiness_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.stickiness_summary_eq(loyalty.stickiness_summary, loyalty.stickiness_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.stickiness_summary_ne(loyalty.stickiness_summary, loyalty.stickiness_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.stickiness_summary_hash(loyalty.stickiness_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.stickiness_summary_hash_extended(loyalty.stickiness_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.stickiness_summary, RIGHTARG = loyalty.stickiness_summary, FUNCTION = loyalty.stickiness_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.stickiness_summary, RIGHTARG = loyalty.stickiness_summary, FUNCTION = loyalty.stickiness_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.stickiness_summary_hash_ops DEFAULT FOR TYPE loyalty.stickiness_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.stickiness_summary_hash(loyalty.stickiness_summary),
	FUNCTION 2 loyalty.stickiness_summary_hash_extended(loyalty.stickiness_summary, bigint);

CREATE FUNCTION loyalty.stickiness_summary(members bigint, active_days bigint, possible_days bigint) RETURNS loyalty.stickiness_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_stickiness_make';
CREATE FUNCTION loyalty.members(loyalty.stickiness_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_members';
CREATE FUNCTION loyalty.active_days(loyalty.stickiness_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_active_days';
CREATE FUNCTION loyalty.possible_days(loyalty.stickiness_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_possible_days';
CREATE FUNCTION loyalty.daily_active(loyalty.stickiness_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_daily_active';
CREATE FUNCTION loyalty.stickiness(loyalty.stickiness_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_stickiness';

-- The state is internal: it holds each member's days.

CREATE FUNCTION loyalty.stickiness_accum(internal, "any", timestamptz, daterange) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_accum';
CREATE FUNCTION loyalty.stickiness_accum(internal, "any", timestamptz, daterange, text) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_accum';
CREATE FUNCTION loyalty.stickiness_accum(internal, "any", timestamp, daterange) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_accum_local';
CREATE FUNCTION loyalty.stickiness_accum(internal, "any", date, daterange) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_accum_date';
CREATE FUNCTION loyalty.stickiness_combine(internal, internal) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_combine';
CREATE FUNCTION loyalty.stickiness_serialize(internal) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_serialize';
CREATE FUNCTION loyalty.stickiness_deserialize(bytea, internal) RETURNS internal
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_deserialize';
CREATE FUNCTION loyalty.stickiness_final(internal) RETURNS loyalty.stickiness_summary
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_final';
CREATE FUNCTION loyalty.stickiness_final_rate(internal) RETURNS float8
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_final_rate';

CREATE AGGREGATE loyalty.stickiness_agg(member "any", at timestamptz, period daterange) (
	STYPE = internal, SSPACE = 4096,
	SFUNC = loyalty.stickiness_accum,
	FINALFUNC = loyalty.stickiness_final,
	COMBINEFUNC = loyalty.stickiness_combine,
	SERIALFUNC = loyalty.stickiness_serialize,
	DESERIALFUNC = loyalty.stickiness_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.stickiness_agg(member "any", at timestamptz, period daterange, time_zone text) (
	STYPE = internal, SSPACE = 4096,
	SFUNC = loyalty.stickiness_accum,
	FINALFUNC = loyalty.stickiness_final,
	COMBINEFUNC = loyalty.stickiness_combine,
	SERIALFUNC = loyalty.stickiness_serialize,
	DESERIALFUNC = loyalty.stickiness_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.stickiness_agg(member "any", at timestamp, period daterange) (
	STYPE = internal, SSPACE = 4096,
	SFUNC = loyalty.stickiness_accum,
	FINALFUNC = loyalty.stickiness_final,
	COMBINEFUNC = loyalty.stickiness_combine,
	SERIALFUNC = loyalty.stickiness_serialize,
	DESERIALFUNC = loyalty.stickiness_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.stickiness_agg(member "any", at date, period daterange) (
	STYPE = internal, SSPACE = 4096,
	SFUNC = loyalty.stickiness_accum,
	FINALFUNC = loyalty.stickiness_final,
	COMBINEFUNC = loyalty.stickiness_combine,
	SERIALFUNC = loyalty.stickiness_serialize,
	DESERIALFUNC = loyalty.stickiness_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.stickiness(member "any", at timestamptz, period daterange) (
	STYPE = internal, SSPACE = 4096,
	SFUNC = loyalty.stickiness_accum,
	FINALFUNC = loyalty.stickiness_final_rate,
	COMBINEFUNC = loyalty.stickiness_combine,
	SERIALFUNC = loyalty.stickiness_serialize,
	DESERIALFUNC = loyalty.stickiness_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.stickiness(member "any", at timestamptz, period daterange, time_zone text) (
	STYPE = internal, SSPACE = 4096,
	SFUNC = loyalty.stickiness_accum,
	FINALFUNC = loyalty.stickiness_final_rate,
	COMBINEFUNC = loyalty.stickiness_combine,
	SERIALFUNC = loyalty.stickiness_serialize,
	DESERIALFUNC = loyalty.stickiness_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.stickiness(member "any", at timestamp, period daterange) (
	STYPE = internal, SSPACE = 4096,
	SFUNC = loyalty.stickiness_accum,
	FINALFUNC = loyalty.stickiness_final_rate,
	COMBINEFUNC = loyalty.stickiness_combine,
	SERIALFUNC = loyalty.stickiness_serialize,
	DESERIALFUNC = loyalty.stickiness_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.stickiness(member "any", at date, period daterange) (
	STYPE = internal, SSPACE = 4096,
	SFUNC = loyalty.stickiness_accum,
	FINALFUNC = loyalty.stickiness_final_rate,
	COMBINEFUNC = loyalty.stickiness_combine,
	SERIALFUNC = loyalty.stickiness_serialize,
	DESERIALFUNC = loyalty.stickiness_deserialize,
	PARALLEL = SAFE
);

CREATE FUNCTION loyalty.stickiness_summary_add(loyalty.stickiness_summary, loyalty.stickiness_summary) RETURNS loyalty.stickiness_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_stickiness_add';
CREATE FUNCTION loyalty.stickiness_summary_subtract(loyalty.stickiness_summary, loyalty.stickiness_summary) RETURNS loyalty.stickiness_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_stickiness_subtract';
CREATE FUNCTION loyalty.stickiness_summary_final(loyalty.stickiness_summary) RETURNS loyalty.stickiness_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_stickiness_rollup';

CREATE AGGREGATE loyalty.rollup(summary loyalty.stickiness_summary) (
	STYPE = loyalty.stickiness_summary,
	SSPACE = 32,
	INITCOND = '(members:0,active_days:0,possible_days:0)',
	SFUNC = loyalty.stickiness_summary_add,
	FINALFUNC = loyalty.stickiness_summary_final,
	COMBINEFUNC = loyalty.stickiness_summary_add,
	MSTYPE = loyalty.stickiness_summary,
	MSSPACE = 32,
	MINITCOND = '(members:0,active_days:0,possible_days:0)',
	MSFUNC = loyalty.stickiness_summary_add,
	MINVFUNC = loyalty.stickiness_summary_subtract,
	MFINALFUNC = loyalty.stickiness_summary_final,
	PARALLEL = SAFE
);

-- Score

CREATE TYPE loyalty.engagement_baseline;

CREATE FUNCTION loyalty.engagement_baseline_in(cstring) RETURNS loyalty.engagement_baseline
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_baseline_in';
CREATE FUNCTION loyalty.engagement_baseline_out(loyalty.engagement_baseline) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_baseline_out';
CREATE FUNCTION loyalty.engagement_baseline_recv(internal) RETURNS loyalty.engagement_baseline
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_baseline_recv';
CREATE FUNCTION loyalty.engagement_baseline_send(loyalty.engagement_baseline) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_baseline_send';

CREATE TYPE loyalty.engagement_baseline (
	INPUT = loyalty.engagement_baseline_in,
	OUTPUT = loyalty.engagement_baseline_out,
	RECEIVE = loyalty.engagement_baseline_recv,
	SEND = loyalty.engagement_baseline_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = extended
);

CREATE FUNCTION loyalty.engagement_baseline_eq(loyalty.engagement_baseline, loyalty.engagement_baseline) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.engagement_baseline_ne(loyalty.engagement_baseline, loyalty.engagement_baseline) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.engagement_baseline_hash(loyalty.engagement_baseline) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.engagement_baseline_hash_extended(loyalty.engagement_baseline, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.engagement_baseline, RIGHTARG = loyalty.engagement_baseline, FUNCTION = loyalty.engagement_baseline_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.engagement_baseline, RIGHTARG = loyalty.engagement_baseline, FUNCTION = loyalty.engagement_baseline_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.engagement_baseline_hash_ops DEFAULT FOR TYPE loyalty.engagement_baseline USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.engagement_baseline_hash(loyalty.engagement_baseline),
	FUNCTION 2 loyalty.engagement_baseline_hash_extended(loyalty.engagement_baseline, bigint);

CREATE FUNCTION loyalty.engagement_baseline(low float8[], high float8[]) RETURNS loyalty.engagement_baseline
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_baseline_make';
CREATE FUNCTION loyalty.engagement_baseline_accum(internal, float8[]) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_baseline_accum';
CREATE FUNCTION loyalty.engagement_baseline_combine(internal, internal) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_baseline_combine';
CREATE FUNCTION loyalty.engagement_baseline_serialize(internal) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_baseline_serialize';
CREATE FUNCTION loyalty.engagement_baseline_deserialize(bytea, internal) RETURNS internal
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_baseline_deserialize';
CREATE FUNCTION loyalty.engagement_baseline_final(internal) RETURNS loyalty.engagement_baseline
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_baseline_final';

CREATE AGGREGATE loyalty.engagement_baseline_agg(components float8[]) (
	STYPE = internal, SSPACE = 1048576,
	SFUNC = loyalty.engagement_baseline_accum,
	FINALFUNC = loyalty.engagement_baseline_final,
	COMBINEFUNC = loyalty.engagement_baseline_combine,
	SERIALFUNC = loyalty.engagement_baseline_serialize,
	DESERIALFUNC = loyalty.engagement_baseline_deserialize,
	PARALLEL = SAFE
);

CREATE FUNCTION loyalty.members(loyalty.engagement_baseline) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_baseline_members';
CREATE FUNCTION loyalty.components(loyalty.engagement_baseline) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_baseline_components';
CREATE FUNCTION loyalty.baseline_quantile(baseline loyalty.engagement_baseline, component integer, share float8) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_baseline_quantile';
CREATE FUNCTION loyalty.engagement_score(baseline loyalty.engagement_baseline, components float8[],
		weights float8[] DEFAULT NULL, method text DEFAULT 'minmax') RETURNS float8
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_engagement_score';

COMMENT ON TYPE loyalty.stickiness_summary IS 'members, their active days and the days of the period';
COMMENT ON FUNCTION loyalty.stickiness_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.stickiness_summary_out(loyalty.stickiness_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.stickiness_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.stickiness_summary_send(loyalty.stickiness_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.stickiness_summary_eq(loyalty.stickiness_summary, loyalty.stickiness_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.stickiness_summary_ne(loyalty.stickiness_summary, loyalty.stickiness_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.stickiness_summary_hash(loyalty.stickiness_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.stickiness_summary_hash_extended(loyalty.stickiness_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.stickiness_summary, loyalty.stickiness_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.stickiness_summary, loyalty.stickiness_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.stickiness_summary_hash_ops USING hash IS 'hash of stickiness_summary';
COMMENT ON FUNCTION loyalty.stickiness_summary(bigint, bigint, bigint) IS 'a summary made from known counts';
COMMENT ON FUNCTION loyalty.members(loyalty.stickiness_summary) IS 'members active on a day or more';
COMMENT ON FUNCTION loyalty.active_days(loyalty.stickiness_summary) IS 'days on which members were active, of all members';
COMMENT ON FUNCTION loyalty.possible_days(loyalty.stickiness_summary) IS 'members times days of the period';
COMMENT ON FUNCTION loyalty.daily_active(loyalty.stickiness_summary) IS 'mean number of members active on a day';
COMMENT ON FUNCTION loyalty.stickiness(loyalty.stickiness_summary) IS 'mean daily actives / members active in the period (DAU/MAU)';
COMMENT ON FUNCTION loyalty.stickiness_accum(internal, "any", timestamptz, daterange) IS 'aggregate transition function';
COMMENT ON AGGREGATE loyalty.stickiness_agg("any", timestamptz, daterange) IS 'summary of the days of UTC on which members were active';
COMMENT ON AGGREGATE loyalty.stickiness("any", timestamptz, daterange) IS 'mean daily actives / members active in the period (DAU/MAU), by days of UTC';
COMMENT ON FUNCTION loyalty.stickiness_accum(internal, "any", timestamptz, daterange, text) IS 'aggregate transition function';
COMMENT ON AGGREGATE loyalty.stickiness_agg("any", timestamptz, daterange, text) IS 'summary of the days of a time zone on which members were active';
COMMENT ON AGGREGATE loyalty.stickiness("any", timestamptz, daterange, text) IS 'mean daily actives / members active in the period (DAU/MAU), by days of a time zone';
COMMENT ON FUNCTION loyalty.stickiness_accum(internal, "any", timestamp, daterange) IS 'aggregate transition function';
COMMENT ON AGGREGATE loyalty.stickiness_agg("any", timestamp, daterange) IS 'summary of the days on which members were active';
COMMENT ON AGGREGATE loyalty.stickiness("any", timestamp, daterange) IS 'mean daily actives / members active in the period (DAU/MAU), by days';
COMMENT ON FUNCTION loyalty.stickiness_accum(internal, "any", date, daterange) IS 'aggregate transition function';
COMMENT ON AGGREGATE loyalty.stickiness_agg("any", date, daterange) IS 'summary of the days on which members were active';
COMMENT ON AGGREGATE loyalty.stickiness("any", date, daterange) IS 'mean daily actives / members active in the period (DAU/MAU), by days';
COMMENT ON FUNCTION loyalty.stickiness_combine(internal, internal) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.stickiness_serialize(internal) IS 'aggregate serial function';
COMMENT ON FUNCTION loyalty.stickiness_deserialize(bytea, internal) IS 'aggregate deserial function';
COMMENT ON FUNCTION loyalty.stickiness_final(internal) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.stickiness_final_rate(internal) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.stickiness_summary_add(loyalty.stickiness_summary, loyalty.stickiness_summary) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.stickiness_summary_subtract(loyalty.stickiness_summary, loyalty.stickiness_summary) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.stickiness_summary_final(loyalty.stickiness_summary) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.stickiness_summary) IS 'one summary of many that share no members';
COMMENT ON TYPE loyalty.engagement_baseline IS 'quantiles of each component of engagement, frozen';
COMMENT ON FUNCTION loyalty.engagement_baseline_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.engagement_baseline_out(loyalty.engagement_baseline) IS 'I/O';
COMMENT ON FUNCTION loyalty.engagement_baseline_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.engagement_baseline_send(loyalty.engagement_baseline) IS 'I/O';
COMMENT ON FUNCTION loyalty.engagement_baseline_eq(loyalty.engagement_baseline, loyalty.engagement_baseline) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.engagement_baseline_ne(loyalty.engagement_baseline, loyalty.engagement_baseline) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.engagement_baseline_hash(loyalty.engagement_baseline) IS 'hash';
COMMENT ON FUNCTION loyalty.engagement_baseline_hash_extended(loyalty.engagement_baseline, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.engagement_baseline, loyalty.engagement_baseline) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.engagement_baseline, loyalty.engagement_baseline) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.engagement_baseline_hash_ops USING hash IS 'hash of engagement_baseline';
COMMENT ON FUNCTION loyalty.engagement_baseline(float8[], float8[]) IS 'a baseline of decided bounds';
COMMENT ON FUNCTION loyalty.engagement_baseline_accum(internal, float8[]) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.engagement_baseline_combine(internal, internal) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.engagement_baseline_serialize(internal) IS 'aggregate serial function';
COMMENT ON FUNCTION loyalty.engagement_baseline_deserialize(bytea, internal) IS 'aggregate deserial function';
COMMENT ON FUNCTION loyalty.engagement_baseline_final(internal) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.engagement_baseline_agg(float8[]) IS 'quantiles of each component over all members, to be kept';
COMMENT ON FUNCTION loyalty.members(loyalty.engagement_baseline) IS 'members the baseline was fitted to; 0 if it was made by hand';
COMMENT ON FUNCTION loyalty.components(loyalty.engagement_baseline) IS 'number of components';
COMMENT ON FUNCTION loyalty.baseline_quantile(loyalty.engagement_baseline, integer, float8) IS 'value below which this share of the baseline lies, of a component counted from 1';
COMMENT ON FUNCTION loyalty.engagement_score(loyalty.engagement_baseline, float8[], float8[], text) IS 'engagement from 0 to 100: weighted components, scaled against the baseline';
