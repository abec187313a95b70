-- uplift: what a controlled test shows, and who takes part in it. docs/uplift.md

CREATE TYPE loyalty.uplift_summary;

CREATE FUNCTION loyalty.uplift_summary_in(cstring) RETURNS loyalty.uplift_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_in';
CREATE FUNCTION loyalty.uplift_summary_out(loyalty.uplift_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_out';
CREATE FUNCTION loyalty.uplift_summary_recv(internal) RETURNS loyalty.uplift_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_recv';
CREATE FUNCTION loyalty.uplift_summary_send(loyalty.uplift_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_send';

CREATE TYPE loyalty.uplift_summary (
	INPUT = loyalty.uplift_summary_in,
	OUTPUT = loyalty.uplift_summary_out,
	RECEIVE = loyalty.uplift_summary_recv,
	SEND = loyalty.uplift_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.uplift_summary_eq(loyalty.uplift_summary, loyalty.uplift_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.uplift_summary_ne(loyalty.uplift_summary, loyalty.uplift_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.uplift_summary_hash(loyalty.uplift_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.uplift_summary_hash_extended(loyalty.uplift_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.uplift_summary, RIGHTARG = loyalty.uplift_summary, FUNCTION = loyalty.uplift_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.uplift_summary, RIGHTARG = loyalty.uplift_summary, FUNCTION = loyalty.uplift_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.uplift_summary_hash_ops DEFAULT FOR TYPE loyalty.uplift_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.uplift_summary_hash(loyalty.uplift_summary),
	FUNCTION 2 loyalty.uplift_summary_hash_extended(loyalty.uplift_summary, bigint);

CREATE FUNCTION loyalty.uplift_summary(arm text, members bigint, mean float8, variance float8) RETURNS loyalty.uplift_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_make';
CREATE FUNCTION loyalty.uplift_summary(arm text, members bigint, conversions bigint) RETURNS loyalty.uplift_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_make_conversions';

-- Aggregation. Not strict where a covariate may be NULL

CREATE FUNCTION loyalty.uplift_accum(loyalty.uplift_summary, boolean, float8) RETURNS loyalty.uplift_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_accum';
CREATE FUNCTION loyalty.uplift_accum(loyalty.uplift_summary, boolean, float8, float8) RETURNS loyalty.uplift_summary
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_accum_covariate';
CREATE FUNCTION loyalty.uplift_accum(loyalty.uplift_summary, text, float8) RETURNS loyalty.uplift_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_accum_arm';
CREATE FUNCTION loyalty.uplift_accum(loyalty.uplift_summary, text, float8, float8) RETURNS loyalty.uplift_summary
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_accum_arm_covariate';
CREATE FUNCTION loyalty.uplift_combine(loyalty.uplift_summary, loyalty.uplift_summary) RETURNS loyalty.uplift_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_combine';
CREATE FUNCTION loyalty.uplift_final(loyalty.uplift_summary) RETURNS loyalty.uplift_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_final';

CREATE AGGREGATE loyalty.uplift_agg(treated boolean, outcome float8) (
	STYPE = loyalty.uplift_summary,
	SSPACE = 512,
	INITCOND = '()',
	SFUNC = loyalty.uplift_accum,
	FINALFUNC = loyalty.uplift_final,
	COMBINEFUNC = loyalty.uplift_combine,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.uplift_agg(treated boolean, outcome float8, covariate float8) (
	STYPE = loyalty.uplift_summary,
	SSPACE = 512,
	INITCOND = '()',
	SFUNC = loyalty.uplift_accum,
	FINALFUNC = loyalty.uplift_final,
	COMBINEFUNC = loyalty.uplift_combine,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.uplift_agg(arm text, outcome float8) (
	STYPE = loyalty.uplift_summary,
	SSPACE = 512,
	INITCOND = '()',
	SFUNC = loyalty.uplift_accum,
	FINALFUNC = loyalty.uplift_final,
	COMBINEFUNC = loyalty.uplift_combine,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.uplift_agg(arm text, outcome float8, covariate float8) (
	STYPE = loyalty.uplift_summary,
	SSPACE = 512,
	INITCOND = '()',
	SFUNC = loyalty.uplift_accum,
	FINALFUNC = loyalty.uplift_final,
	COMBINEFUNC = loyalty.uplift_combine,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rollup(summary loyalty.uplift_summary) (
	STYPE = loyalty.uplift_summary,
	SSPACE = 512,
	INITCOND = '()',
	SFUNC = loyalty.uplift_combine,
	FINALFUNC = loyalty.uplift_final,
	COMBINEFUNC = loyalty.uplift_combine,
	PARALLEL = SAFE
);

-- What it shows

CREATE FUNCTION loyalty.uplift_arms(summary loyalty.uplift_summary, OUT arm text, OUT members bigint, OUT mean float8, OUT variance float8,
		OUT standard_error float8, OUT conversions bigint, OUT covered bigint, OUT covariate_mean float8,
		OUT covariate_variance float8, OUT correlation float8) RETURNS SETOF record
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_arms';
CREATE FUNCTION loyalty.welch_test(summary loyalty.uplift_summary, confidence float8 DEFAULT 0.95, arm text DEFAULT 'treated', control text DEFAULT 'control',
		OUT difference float8, OUT standard_error float8, OUT t float8, OUT df float8, OUT p_value float8,
		OUT low float8, OUT high float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_welch';
CREATE FUNCTION loyalty.proportion_test(summary loyalty.uplift_summary, confidence float8 DEFAULT 0.95, arm text DEFAULT 'treated', control text DEFAULT 'control',
		OUT difference float8, OUT standard_error float8, OUT z float8, OUT p_value float8,
		OUT low float8, OUT high float8, OUT incremental float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_proportions';
CREATE FUNCTION loyalty.cuped_test(summary loyalty.uplift_summary, confidence float8 DEFAULT 0.95, arm text DEFAULT 'treated', control text DEFAULT 'control',
		OUT difference float8, OUT standard_error float8, OUT t float8, OUT df float8, OUT p_value float8,
		OUT low float8, OUT high float8, OUT theta float8, OUT variance_reduction float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_cuped';
CREATE FUNCTION loyalty.relative_lift(summary loyalty.uplift_summary, confidence float8 DEFAULT 0.95, arm text DEFAULT 'treated', control text DEFAULT 'control',
		adjusted boolean DEFAULT false, OUT lift float8, OUT standard_error float8, OUT low float8, OUT high float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_relative';
CREATE FUNCTION loyalty.sequential_test(summary loyalty.uplift_summary, planned bigint, confidence float8 DEFAULT 0.95, arm text DEFAULT 'treated', control text DEFAULT 'control',
		adjusted boolean DEFAULT false, OUT difference float8, OUT standard_error float8, OUT p_value float8,
		OUT low float8, OUT high float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_sequential';
CREATE FUNCTION loyalty.sample_ratio_test(summary loyalty.uplift_summary, share float8 DEFAULT 0.5,
		OUT chi_square float8, OUT df integer, OUT p_value float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_sample_ratio';
CREATE FUNCTION loyalty.sample_ratio_test(summary loyalty.uplift_summary, arms text[], shares float8[],
		OUT chi_square float8, OUT df integer, OUT p_value float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_sample_ratios';

-- What it brought

CREATE FUNCTION loyalty.incremental(summary loyalty.uplift_summary, confidence float8 DEFAULT 0.95, arm text DEFAULT 'treated', control text DEFAULT 'control',
		adjusted boolean DEFAULT false, OUT total float8, OUT low float8, OUT high float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_incremental';
CREATE FUNCTION loyalty.loyal_through(summary loyalty.uplift_summary, confidence float8 DEFAULT 0.95, arm text DEFAULT 'treated', control text DEFAULT 'control',
		OUT members bigint, OUT loyal bigint, OUT anyway float8, OUT through float8, OUT low float8, OUT high float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_loyal';
CREATE FUNCTION loyalty.program_roi(incremental_revenue float8, cost float8, margin float8 DEFAULT 1) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_roi';
CREATE FUNCTION loyalty.program_roi(summary loyalty.uplift_summary, cost float8, margin float8 DEFAULT 1, confidence float8 DEFAULT 0.95,
		arm text DEFAULT 'treated', control text DEFAULT 'control', adjusted boolean DEFAULT false,
		OUT incremental float8, OUT roi float8, OUT low float8, OUT high float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_summary_roi';

-- Before the test

CREATE FUNCTION loyalty.means_power(difference float8, sd float8, control bigint, treated bigint, confidence float8 DEFAULT 0.95) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_means_power';
CREATE FUNCTION loyalty.means_needed_n(difference float8, sd float8, power float8 DEFAULT 0.8, confidence float8 DEFAULT 0.95,
		share float8 DEFAULT 0.5, OUT control bigint, OUT treated bigint)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_means_needed';
CREATE FUNCTION loyalty.proportions_power(control_proportion float8, treated_proportion float8, control bigint, treated bigint,
		confidence float8 DEFAULT 0.95) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_proportions_power';
CREATE FUNCTION loyalty.proportions_needed_n(control_proportion float8, treated_proportion float8, power float8 DEFAULT 0.8,
		confidence float8 DEFAULT 0.95, share float8 DEFAULT 0.5, OUT control bigint, OUT treated bigint)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_proportions_needed';
CREATE FUNCTION loyalty.holdout(key text, experiment text, share float8) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_holdout';
CREATE FUNCTION loyalty.assign_arm(key text, experiment text, arms text[], weights float8[] DEFAULT NULL) RETURNS text
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_uplift_assign';

COMMENT ON TYPE loyalty.uplift_summary IS 'the arms of a controlled test: members, outcomes and covariates of each';
COMMENT ON FUNCTION loyalty.uplift_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.uplift_summary_out(loyalty.uplift_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.uplift_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.uplift_summary_send(loyalty.uplift_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.uplift_summary_eq(loyalty.uplift_summary, loyalty.uplift_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.uplift_summary_ne(loyalty.uplift_summary, loyalty.uplift_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.uplift_summary_hash(loyalty.uplift_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.uplift_summary_hash_extended(loyalty.uplift_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.uplift_summary, loyalty.uplift_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.uplift_summary, loyalty.uplift_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.uplift_summary_hash_ops USING hash IS 'hash of uplift_summary';
COMMENT ON FUNCTION loyalty.uplift_summary(text, bigint, float8, float8) IS 'one arm, from its mean and sample variance';
COMMENT ON FUNCTION loyalty.uplift_summary(text, bigint, bigint) IS 'one arm of outcomes 0 and 1, from its counts';
COMMENT ON FUNCTION loyalty.uplift_accum(loyalty.uplift_summary, boolean, float8) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.uplift_accum(loyalty.uplift_summary, boolean, float8, float8) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.uplift_accum(loyalty.uplift_summary, text, float8) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.uplift_accum(loyalty.uplift_summary, text, float8, float8) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.uplift_combine(loyalty.uplift_summary, loyalty.uplift_summary) IS 'aggregate transition and combine function';
COMMENT ON FUNCTION loyalty.uplift_final(loyalty.uplift_summary) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.uplift_agg(boolean, float8) IS 'summary of a controlled test with treated and control; one row a member';
COMMENT ON AGGREGATE loyalty.uplift_agg(boolean, float8, float8) IS 'summary of a controlled test with treated and control, and what was known of each member before';
COMMENT ON AGGREGATE loyalty.uplift_agg(text, float8) IS 'summary of a controlled test with named arms; one row a member';
COMMENT ON AGGREGATE loyalty.uplift_agg(text, float8, float8) IS 'summary of a controlled test with named arms, and what was known of each member before';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.uplift_summary) IS 'one summary of many that share no members';
COMMENT ON FUNCTION loyalty.uplift_arms(loyalty.uplift_summary) IS 'the arms of a controlled test, one a row';
COMMENT ON FUNCTION loyalty.welch_test(loyalty.uplift_summary, float8, text, text) IS 'Welch t test of the difference of two means';
COMMENT ON FUNCTION loyalty.proportion_test(loyalty.uplift_summary, float8, text, text) IS 'z test of the difference of two proportions';
COMMENT ON FUNCTION loyalty.cuped_test(loyalty.uplift_summary, float8, text, text) IS 'Welch t test of outcomes adjusted for a covariate';
COMMENT ON FUNCTION loyalty.relative_lift(loyalty.uplift_summary, float8, text, text, boolean) IS 'difference over the mean of the control, with its delta method interval';
COMMENT ON FUNCTION loyalty.sequential_test(loyalty.uplift_summary, bigint, float8, text, text, boolean) IS 'difference of two means with an interval that stays valid however often it is looked at';
COMMENT ON FUNCTION loyalty.sample_ratio_test(loyalty.uplift_summary, float8) IS 'chi-square test of the treated and the control members against the planned share';
COMMENT ON FUNCTION loyalty.sample_ratio_test(loyalty.uplift_summary, text[], float8[]) IS 'chi-square test of the members of all arms against the planned shares';
COMMENT ON FUNCTION loyalty.incremental(loyalty.uplift_summary, float8, text, text, boolean) IS 'what the members of an arm did beyond what the control did';
COMMENT ON FUNCTION loyalty.loyal_through(loyalty.uplift_summary, float8, text, text) IS 'how many members became loyal through a measure, those who would have anyway taken off';
COMMENT ON FUNCTION loyalty.program_roi(float8, float8, float8) IS '(incremental revenue x margin - cost) / cost';
COMMENT ON FUNCTION loyalty.program_roi(loyalty.uplift_summary, float8, float8, float8, text, text, boolean) IS 'return on what a measure cost, with its interval';
COMMENT ON FUNCTION loyalty.means_power(float8, float8, bigint, bigint, float8) IS 'power of a t test of two means';
COMMENT ON FUNCTION loyalty.means_needed_n(float8, float8, float8, float8, float8) IS 'members that a t test of two means needs';
COMMENT ON FUNCTION loyalty.proportions_power(float8, float8, bigint, bigint, float8) IS 'power of a z test of two proportions';
COMMENT ON FUNCTION loyalty.proportions_needed_n(float8, float8, float8, float8, float8) IS 'members that a z test of two proportions needs';
COMMENT ON FUNCTION loyalty.holdout(text, text, float8) IS 'whether a member is held out of an experiment: always the same answer';
COMMENT ON FUNCTION loyalty.assign_arm(text, text, text[], float8[]) IS 'the arm of a member in an experiment: always the same answer';
