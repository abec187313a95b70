-- survey: Net Promoter Score. docs/survey.md

CREATE TYPE loyalty.nps_summary;

CREATE FUNCTION loyalty.nps_summary_in(cstring) RETURNS loyalty.nps_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_in';
CREATE FUNCTION loyalty.nps_summary_out(loyalty.nps_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_out';
CREATE FUNCTION loyalty.nps_summary_recv(internal) RETURNS loyalty.nps_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_recv';
CREATE FUNCTION loyalty.nps_summary_send(loyalty.nps_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_send';

CREATE TYPE loyalty.nps_summary (
	INPUT = loyalty.nps_summary_in,
	OUTPUT = loyalty.nps_summary_out,
	RECEIVE = loyalty.nps_summary_recv,
	SEND = loyalty.nps_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.nps_summary(promoters bigint, passives bigint, detractors bigint) RETURNS loyalty.nps_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_make';

CREATE FUNCTION loyalty.nps_summary_eq(loyalty.nps_summary, loyalty.nps_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.nps_summary_ne(loyalty.nps_summary, loyalty.nps_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.nps_summary_hash(loyalty.nps_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.nps_summary_hash_extended(loyalty.nps_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.nps_summary, RIGHTARG = loyalty.nps_summary, FUNCTION = loyalty.nps_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.nps_summary, RIGHTARG = loyalty.nps_summary, FUNCTION = loyalty.nps_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.nps_summary_hash_ops DEFAULT FOR TYPE loyalty.nps_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.nps_summary_hash(loyalty.nps_summary),
	FUNCTION 2 loyalty.nps_summary_hash_extended(loyalty.nps_summary, bigint);

-- Aggregation

CREATE FUNCTION loyalty.nps_accum(loyalty.nps_summary, integer) RETURNS loyalty.nps_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_accum';
CREATE FUNCTION loyalty.nps_accum_inv(loyalty.nps_summary, integer) RETURNS loyalty.nps_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_accum_inv';
CREATE FUNCTION loyalty.nps_combine(loyalty.nps_summary, loyalty.nps_summary) RETURNS loyalty.nps_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_combine';
CREATE FUNCTION loyalty.nps_combine_inv(loyalty.nps_summary, loyalty.nps_summary) RETURNS loyalty.nps_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_combine_inv';
CREATE FUNCTION loyalty.nps_final(loyalty.nps_summary) RETURNS loyalty.nps_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_final';
CREATE FUNCTION loyalty.nps(loyalty.nps_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_nps';

CREATE AGGREGATE loyalty.nps_agg(score integer) (
	STYPE = loyalty.nps_summary,
	SSPACE = 32,
	INITCOND = '(promoters:0,passives:0,detractors:0)',
	SFUNC = loyalty.nps_accum,
	FINALFUNC = loyalty.nps_final,
	COMBINEFUNC = loyalty.nps_combine,
	MSTYPE = loyalty.nps_summary,
	MSSPACE = 32,
	MINITCOND = '(promoters:0,passives:0,detractors:0)',
	MSFUNC = loyalty.nps_accum,
	MINVFUNC = loyalty.nps_accum_inv,
	MFINALFUNC = loyalty.nps_final,
	PARALLEL = SAFE
);

CREATE AGGREGATE loyalty.nps(score integer) (
	STYPE = loyalty.nps_summary,
	SSPACE = 32,
	INITCOND = '(promoters:0,passives:0,detractors:0)',
	SFUNC = loyalty.nps_accum,
	FINALFUNC = loyalty.nps,
	COMBINEFUNC = loyalty.nps_combine,
	MSTYPE = loyalty.nps_summary,
	MSSPACE = 32,
	MINITCOND = '(promoters:0,passives:0,detractors:0)',
	MSFUNC = loyalty.nps_accum,
	MINVFUNC = loyalty.nps_accum_inv,
	MFINALFUNC = loyalty.nps,
	PARALLEL = SAFE
);

CREATE AGGREGATE loyalty.rollup(summary loyalty.nps_summary) (
	STYPE = loyalty.nps_summary,
	SSPACE = 32,
	INITCOND = '(promoters:0,passives:0,detractors:0)',
	SFUNC = loyalty.nps_combine,
	FINALFUNC = loyalty.nps_final,
	COMBINEFUNC = loyalty.nps_combine,
	MSTYPE = loyalty.nps_summary,
	MSSPACE = 32,
	MINITCOND = '(promoters:0,passives:0,detractors:0)',
	MSFUNC = loyalty.nps_combine,
	MINVFUNC = loyalty.nps_combine_inv,
	MFINALFUNC = loyalty.nps_final,
	PARALLEL = SAFE
);

-- Accessors

CREATE FUNCTION loyalty.promoters(loyalty.nps_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_promoters';
CREATE FUNCTION loyalty.passives(loyalty.nps_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_passives';
CREATE FUNCTION loyalty.detractors(loyalty.nps_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_detractors';
CREATE FUNCTION loyalty.responses(loyalty.nps_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_responses';
CREATE FUNCTION loyalty.standard_error(loyalty.nps_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_standard_error';
CREATE FUNCTION loyalty.margin(summary loyalty.nps_summary, confidence float8 DEFAULT 0.95,
		method text DEFAULT 'adjusted_wald') RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_margin';
CREATE FUNCTION loyalty.nps_interval(summary loyalty.nps_summary, confidence float8 DEFAULT 0.95,
		method text DEFAULT 'adjusted_wald', OUT low float8, OUT high float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_interval';
CREATE FUNCTION loyalty.nps_test(a loyalty.nps_summary, b loyalty.nps_summary, confidence float8 DEFAULT 0.95,
		method text DEFAULT 'adjusted_wald', OUT difference float8, OUT standard_error float8,
		OUT z float8, OUT p_value float8, OUT low float8, OUT high float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_test';

COMMENT ON TYPE loyalty.nps_summary IS 'counts of promoters, passives and detractors';
COMMENT ON OPERATOR CLASS loyalty.nps_summary_hash_ops USING hash IS 'hash of nps_summary';
COMMENT ON OPERATOR loyalty.= (loyalty.nps_summary, loyalty.nps_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.nps_summary, loyalty.nps_summary) IS 'not equal';
COMMENT ON FUNCTION loyalty.nps_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.nps_summary_out(loyalty.nps_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.nps_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.nps_summary_send(loyalty.nps_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.nps_summary_eq(loyalty.nps_summary, loyalty.nps_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.nps_summary_ne(loyalty.nps_summary, loyalty.nps_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.nps_summary_hash(loyalty.nps_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.nps_summary_hash_extended(loyalty.nps_summary, bigint) IS 'hash';
COMMENT ON FUNCTION loyalty.nps_summary(bigint, bigint, bigint) IS 'a summary made from known counts';
COMMENT ON FUNCTION loyalty.nps_accum(loyalty.nps_summary, integer) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.nps_accum_inv(loyalty.nps_summary, integer) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.nps_combine(loyalty.nps_summary, loyalty.nps_summary) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.nps_combine_inv(loyalty.nps_summary, loyalty.nps_summary) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.nps_final(loyalty.nps_summary) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.nps(loyalty.nps_summary) IS 'Net Promoter Score, -100 to 100';
COMMENT ON AGGREGATE loyalty.nps_agg(integer) IS 'summary of 0-10 answers';
COMMENT ON AGGREGATE loyalty.nps(integer) IS 'Net Promoter Score of 0-10 answers, -100 to 100';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.nps_summary) IS 'one summary of many';
COMMENT ON FUNCTION loyalty.promoters(loyalty.nps_summary) IS 'answers 9 and 10';
COMMENT ON FUNCTION loyalty.passives(loyalty.nps_summary) IS 'answers 7 and 8';
COMMENT ON FUNCTION loyalty.detractors(loyalty.nps_summary) IS 'answers 0 to 6';
COMMENT ON FUNCTION loyalty.responses(loyalty.nps_summary) IS 'all answers';
COMMENT ON FUNCTION loyalty.standard_error(loyalty.nps_summary) IS 'standard error of the Net Promoter Score';
COMMENT ON FUNCTION loyalty.margin(loyalty.nps_summary, float8, text) IS 'half the width of the confidence interval of the Net Promoter Score';
COMMENT ON FUNCTION loyalty.nps_interval(loyalty.nps_summary, float8, text) IS 'confidence interval of the Net Promoter Score';
COMMENT ON FUNCTION loyalty.nps_test(loyalty.nps_summary, loyalty.nps_summary, float8, text) IS 'z test of the difference of two independent Net Promoter Scores';
