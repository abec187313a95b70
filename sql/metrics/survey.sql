-- survey: Net Promoter Score, satisfaction, effort and loyalty index. docs/survey.md

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

-- Weighted answers

CREATE TYPE loyalty.weighted_nps_summary;

CREATE FUNCTION loyalty.weighted_nps_summary_in(cstring) RETURNS loyalty.weighted_nps_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_in';
CREATE FUNCTION loyalty.weighted_nps_summary_out(loyalty.weighted_nps_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_out';
CREATE FUNCTION loyalty.weighted_nps_summary_recv(internal) RETURNS loyalty.weighted_nps_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_recv';
CREATE FUNCTION loyalty.weighted_nps_summary_send(loyalty.weighted_nps_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_send';

CREATE TYPE loyalty.weighted_nps_summary (
	INPUT = loyalty.weighted_nps_summary_in,
	OUTPUT = loyalty.weighted_nps_summary_out,
	RECEIVE = loyalty.weighted_nps_summary_recv,
	SEND = loyalty.weighted_nps_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.weighted_nps_summary_eq(loyalty.weighted_nps_summary, loyalty.weighted_nps_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.weighted_nps_summary_ne(loyalty.weighted_nps_summary, loyalty.weighted_nps_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.weighted_nps_summary_hash(loyalty.weighted_nps_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.weighted_nps_summary_hash_extended(loyalty.weighted_nps_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.weighted_nps_summary, RIGHTARG = loyalty.weighted_nps_summary, FUNCTION = loyalty.weighted_nps_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.weighted_nps_summary, RIGHTARG = loyalty.weighted_nps_summary, FUNCTION = loyalty.weighted_nps_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.weighted_nps_summary_hash_ops DEFAULT FOR TYPE loyalty.weighted_nps_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.weighted_nps_summary_hash(loyalty.weighted_nps_summary),
	FUNCTION 2 loyalty.weighted_nps_summary_hash_extended(loyalty.weighted_nps_summary, bigint);

CREATE FUNCTION loyalty.nps_accum(loyalty.weighted_nps_summary, integer, float8) RETURNS loyalty.weighted_nps_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_accum';
CREATE FUNCTION loyalty.nps_combine(loyalty.weighted_nps_summary, loyalty.weighted_nps_summary) RETURNS loyalty.weighted_nps_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_combine';
CREATE FUNCTION loyalty.nps_final(loyalty.weighted_nps_summary) RETURNS loyalty.weighted_nps_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_final';
CREATE FUNCTION loyalty.nps(loyalty.weighted_nps_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_nps';

CREATE AGGREGATE loyalty.nps_agg(score integer, weight float8) (
	STYPE = loyalty.weighted_nps_summary,
	SSPACE = 96,
	INITCOND = '(promoters:0,passives:0,detractors:0,squares:0,responses:0)',
	SFUNC = loyalty.nps_accum,
	FINALFUNC = loyalty.nps_final,
	COMBINEFUNC = loyalty.nps_combine,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.nps(score integer, weight float8) (
	STYPE = loyalty.weighted_nps_summary,
	SSPACE = 96,
	INITCOND = '(promoters:0,passives:0,detractors:0,squares:0,responses:0)',
	SFUNC = loyalty.nps_accum,
	FINALFUNC = loyalty.nps,
	COMBINEFUNC = loyalty.nps_combine,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rollup(summary loyalty.weighted_nps_summary) (
	STYPE = loyalty.weighted_nps_summary,
	SSPACE = 96,
	INITCOND = '(promoters:0,passives:0,detractors:0,squares:0,responses:0)',
	SFUNC = loyalty.nps_combine,
	FINALFUNC = loyalty.nps_final,
	COMBINEFUNC = loyalty.nps_combine,
	PARALLEL = SAFE
);

CREATE FUNCTION loyalty.promoters(loyalty.weighted_nps_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_promoters';
CREATE FUNCTION loyalty.passives(loyalty.weighted_nps_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_passives';
CREATE FUNCTION loyalty.detractors(loyalty.weighted_nps_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_detractors';
CREATE FUNCTION loyalty.responses(loyalty.weighted_nps_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_responses';
CREATE FUNCTION loyalty.effective_responses(loyalty.weighted_nps_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_effective';
CREATE FUNCTION loyalty.standard_error(loyalty.weighted_nps_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_standard_error';
CREATE FUNCTION loyalty.margin(summary loyalty.weighted_nps_summary, confidence float8 DEFAULT 0.95,
		method text DEFAULT 'adjusted_wald') RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_margin';
CREATE FUNCTION loyalty.nps_interval(summary loyalty.weighted_nps_summary, confidence float8 DEFAULT 0.95,
		method text DEFAULT 'adjusted_wald', OUT low float8, OUT high float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_interval';
CREATE FUNCTION loyalty.nps_test(a loyalty.weighted_nps_summary, b loyalty.weighted_nps_summary, confidence float8 DEFAULT 0.95,
		method text DEFAULT 'adjusted_wald', OUT difference float8, OUT standard_error float8,
		OUT z float8, OUT p_value float8, OUT low float8, OUT high float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_weighted_test';

COMMENT ON TYPE loyalty.weighted_nps_summary IS 'weights of promoters, passives and detractors';
COMMENT ON FUNCTION loyalty.weighted_nps_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.weighted_nps_summary_out(loyalty.weighted_nps_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.weighted_nps_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.weighted_nps_summary_send(loyalty.weighted_nps_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.weighted_nps_summary_eq(loyalty.weighted_nps_summary, loyalty.weighted_nps_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.weighted_nps_summary_ne(loyalty.weighted_nps_summary, loyalty.weighted_nps_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.weighted_nps_summary_hash(loyalty.weighted_nps_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.weighted_nps_summary_hash_extended(loyalty.weighted_nps_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.weighted_nps_summary, loyalty.weighted_nps_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.weighted_nps_summary, loyalty.weighted_nps_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.weighted_nps_summary_hash_ops USING hash IS 'hash of weighted_nps_summary';
COMMENT ON FUNCTION loyalty.nps_accum(loyalty.weighted_nps_summary, integer, float8) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.nps_combine(loyalty.weighted_nps_summary, loyalty.weighted_nps_summary) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.nps_final(loyalty.weighted_nps_summary) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.nps(loyalty.weighted_nps_summary) IS 'weighted Net Promoter Score, -100 to 100';
COMMENT ON AGGREGATE loyalty.nps_agg(integer, float8) IS 'summary of weighted 0-10 answers';
COMMENT ON AGGREGATE loyalty.nps(integer, float8) IS 'Net Promoter Score of weighted 0-10 answers, -100 to 100';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.weighted_nps_summary) IS 'one summary of many';
COMMENT ON FUNCTION loyalty.promoters(loyalty.weighted_nps_summary) IS 'weight of the answers 9 and 10';
COMMENT ON FUNCTION loyalty.passives(loyalty.weighted_nps_summary) IS 'weight of the answers 7 and 8';
COMMENT ON FUNCTION loyalty.detractors(loyalty.weighted_nps_summary) IS 'weight of the answers 0 to 6';
COMMENT ON FUNCTION loyalty.responses(loyalty.weighted_nps_summary) IS 'number of answers with a weight above 0';
COMMENT ON FUNCTION loyalty.effective_responses(loyalty.weighted_nps_summary) IS 'effective number of answers (Kish): as many of equal weight are as precise';
COMMENT ON FUNCTION loyalty.standard_error(loyalty.weighted_nps_summary) IS 'standard error of the weighted Net Promoter Score';
COMMENT ON FUNCTION loyalty.margin(loyalty.weighted_nps_summary, float8, text) IS 'half the width of the confidence interval of the weighted Net Promoter Score';
COMMENT ON FUNCTION loyalty.nps_interval(loyalty.weighted_nps_summary, float8, text) IS 'confidence interval of the weighted Net Promoter Score';
COMMENT ON FUNCTION loyalty.nps_test(loyalty.weighted_nps_summary, loyalty.weighted_nps_summary, float8, text) IS 'z test of the difference of two independent weighted Net Promoter Scores';

-- Satisfaction (CSAT)

CREATE TYPE loyalty.csat_summary;

CREATE FUNCTION loyalty.csat_summary_in(cstring) RETURNS loyalty.csat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_in';
CREATE FUNCTION loyalty.csat_summary_out(loyalty.csat_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_out';
CREATE FUNCTION loyalty.csat_summary_recv(internal) RETURNS loyalty.csat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_recv';
CREATE FUNCTION loyalty.csat_summary_send(loyalty.csat_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_send';

CREATE TYPE loyalty.csat_summary (
	INPUT = loyalty.csat_summary_in,
	OUTPUT = loyalty.csat_summary_out,
	RECEIVE = loyalty.csat_summary_recv,
	SEND = loyalty.csat_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.csat_summary_eq(loyalty.csat_summary, loyalty.csat_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.csat_summary_ne(loyalty.csat_summary, loyalty.csat_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.csat_summary_hash(loyalty.csat_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.csat_summary_hash_extended(loyalty.csat_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.csat_summary, RIGHTARG = loyalty.csat_summary, FUNCTION = loyalty.csat_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.csat_summary, RIGHTARG = loyalty.csat_summary, FUNCTION = loyalty.csat_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.csat_summary_hash_ops DEFAULT FOR TYPE loyalty.csat_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.csat_summary_hash(loyalty.csat_summary),
	FUNCTION 2 loyalty.csat_summary_hash_extended(loyalty.csat_summary, bigint);

CREATE FUNCTION loyalty.csat_summary(satisfied bigint, unsatisfied bigint) RETURNS loyalty.csat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_make';
CREATE FUNCTION loyalty.csat_accum(loyalty.csat_summary, integer) RETURNS loyalty.csat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_accum';
CREATE FUNCTION loyalty.csat_accum(loyalty.csat_summary, integer, integer, integer) RETURNS loyalty.csat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_accum';
CREATE FUNCTION loyalty.csat_combine(loyalty.csat_summary, loyalty.csat_summary) RETURNS loyalty.csat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_combine';
CREATE FUNCTION loyalty.csat_accum_inv(loyalty.csat_summary, integer) RETURNS loyalty.csat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_accum_inv';
CREATE FUNCTION loyalty.csat_accum_inv(loyalty.csat_summary, integer, integer, integer) RETURNS loyalty.csat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_accum_inv';
CREATE FUNCTION loyalty.csat_combine_inv(loyalty.csat_summary, loyalty.csat_summary) RETURNS loyalty.csat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_combine_inv';
CREATE FUNCTION loyalty.csat_final(loyalty.csat_summary) RETURNS loyalty.csat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_final';
CREATE FUNCTION loyalty.csat(loyalty.csat_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat';

CREATE AGGREGATE loyalty.csat_agg(score integer) (
	STYPE = loyalty.csat_summary,
	SSPACE = 64,
	INITCOND = '(satisfied:0,unsatisfied:0)',
	SFUNC = loyalty.csat_accum,
	FINALFUNC = loyalty.csat_final,
	COMBINEFUNC = loyalty.csat_combine,
	MSTYPE = loyalty.csat_summary,
	MSSPACE = 64,
	MINITCOND = '(satisfied:0,unsatisfied:0)',
	MSFUNC = loyalty.csat_accum,
	MINVFUNC = loyalty.csat_accum_inv,
	MFINALFUNC = loyalty.csat_final,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.csat(score integer) (
	STYPE = loyalty.csat_summary,
	SSPACE = 64,
	INITCOND = '(satisfied:0,unsatisfied:0)',
	SFUNC = loyalty.csat_accum,
	FINALFUNC = loyalty.csat,
	COMBINEFUNC = loyalty.csat_combine,
	MSTYPE = loyalty.csat_summary,
	MSSPACE = 64,
	MINITCOND = '(satisfied:0,unsatisfied:0)',
	MSFUNC = loyalty.csat_accum,
	MINVFUNC = loyalty.csat_accum_inv,
	MFINALFUNC = loyalty.csat,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.csat_agg(score integer, satisfied_from integer, scale_max integer) (
	STYPE = loyalty.csat_summary,
	SSPACE = 64,
	INITCOND = '(satisfied:0,unsatisfied:0)',
	SFUNC = loyalty.csat_accum,
	FINALFUNC = loyalty.csat_final,
	COMBINEFUNC = loyalty.csat_combine,
	MSTYPE = loyalty.csat_summary,
	MSSPACE = 64,
	MINITCOND = '(satisfied:0,unsatisfied:0)',
	MSFUNC = loyalty.csat_accum,
	MINVFUNC = loyalty.csat_accum_inv,
	MFINALFUNC = loyalty.csat_final,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.csat(score integer, satisfied_from integer, scale_max integer) (
	STYPE = loyalty.csat_summary,
	SSPACE = 64,
	INITCOND = '(satisfied:0,unsatisfied:0)',
	SFUNC = loyalty.csat_accum,
	FINALFUNC = loyalty.csat,
	COMBINEFUNC = loyalty.csat_combine,
	MSTYPE = loyalty.csat_summary,
	MSSPACE = 64,
	MINITCOND = '(satisfied:0,unsatisfied:0)',
	MSFUNC = loyalty.csat_accum,
	MINVFUNC = loyalty.csat_accum_inv,
	MFINALFUNC = loyalty.csat,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rollup(summary loyalty.csat_summary) (
	STYPE = loyalty.csat_summary,
	SSPACE = 64,
	INITCOND = '(satisfied:0,unsatisfied:0)',
	SFUNC = loyalty.csat_combine,
	FINALFUNC = loyalty.csat_final,
	COMBINEFUNC = loyalty.csat_combine,
	MSTYPE = loyalty.csat_summary,
	MSSPACE = 64,
	MINITCOND = '(satisfied:0,unsatisfied:0)',
	MSFUNC = loyalty.csat_combine,
	MINVFUNC = loyalty.csat_combine_inv,
	MFINALFUNC = loyalty.csat_final,
	PARALLEL = SAFE
);

CREATE FUNCTION loyalty.satisfied(loyalty.csat_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_satisfied';
CREATE FUNCTION loyalty.responses(loyalty.csat_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_responses';
CREATE FUNCTION loyalty.csat_interval(summary loyalty.csat_summary, confidence float8 DEFAULT 0.95,
		OUT low float8, OUT high float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_csat_interval';

COMMENT ON FUNCTION loyalty.csat_accum(loyalty.csat_summary, integer) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.csat_accum_inv(loyalty.csat_summary, integer) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.csat_accum(loyalty.csat_summary, integer, integer, integer) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.csat_accum_inv(loyalty.csat_summary, integer, integer, integer) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.csat_combine(loyalty.csat_summary, loyalty.csat_summary) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.csat_combine_inv(loyalty.csat_summary, loyalty.csat_summary) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.csat_final(loyalty.csat_summary) IS 'aggregate final function';
COMMENT ON TYPE loyalty.csat_summary IS 'counts of satisfied and other answers';
COMMENT ON FUNCTION loyalty.csat_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.csat_summary_out(loyalty.csat_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.csat_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.csat_summary_send(loyalty.csat_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.csat_summary_eq(loyalty.csat_summary, loyalty.csat_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.csat_summary_ne(loyalty.csat_summary, loyalty.csat_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.csat_summary_hash(loyalty.csat_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.csat_summary_hash_extended(loyalty.csat_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.csat_summary, loyalty.csat_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.csat_summary, loyalty.csat_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.csat_summary_hash_ops USING hash IS 'hash of csat_summary';
COMMENT ON FUNCTION loyalty.csat_summary(bigint, bigint) IS 'a summary made from known counts';
COMMENT ON FUNCTION loyalty.csat(loyalty.csat_summary) IS 'satisfied answers in per cent';
COMMENT ON AGGREGATE loyalty.csat_agg(integer) IS 'summary of 1-5 answers, of which 4 and 5 are satisfied';
COMMENT ON AGGREGATE loyalty.csat_agg(integer, integer, integer) IS 'summary of answers from 1 to scale_max, satisfied from satisfied_from on';
COMMENT ON AGGREGATE loyalty.csat(integer) IS 'satisfied 1-5 answers (4 and 5) in per cent';
COMMENT ON AGGREGATE loyalty.csat(integer, integer, integer) IS 'satisfied answers in per cent, on a scale from 1 to scale_max';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.csat_summary) IS 'one summary of many';
COMMENT ON FUNCTION loyalty.satisfied(loyalty.csat_summary) IS 'satisfied answers';
COMMENT ON FUNCTION loyalty.responses(loyalty.csat_summary) IS 'all answers';
COMMENT ON FUNCTION loyalty.csat_interval(loyalty.csat_summary, float8) IS 'Wilson''s confidence interval of the satisfied answers, in per cent';

-- Customer effort, 1.0: effort, low is good

CREATE TYPE loyalty.ces1_summary;

CREATE FUNCTION loyalty.ces1_summary_in(cstring) RETURNS loyalty.ces1_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces1_in';
CREATE FUNCTION loyalty.ces1_summary_out(loyalty.ces1_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces1_out';
CREATE FUNCTION loyalty.ces1_summary_recv(internal) RETURNS loyalty.ces1_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces1_recv';
CREATE FUNCTION loyalty.ces1_summary_send(loyalty.ces1_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces1_send';

CREATE TYPE loyalty.ces1_summary (
	INPUT = loyalty.ces1_summary_in,
	OUTPUT = loyalty.ces1_summary_out,
	RECEIVE = loyalty.ces1_summary_recv,
	SEND = loyalty.ces1_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.ces1_summary_eq(loyalty.ces1_summary, loyalty.ces1_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.ces1_summary_ne(loyalty.ces1_summary, loyalty.ces1_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.ces1_summary_hash(loyalty.ces1_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.ces1_summary_hash_extended(loyalty.ces1_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.ces1_summary, RIGHTARG = loyalty.ces1_summary, FUNCTION = loyalty.ces1_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.ces1_summary, RIGHTARG = loyalty.ces1_summary, FUNCTION = loyalty.ces1_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.ces1_summary_hash_ops DEFAULT FOR TYPE loyalty.ces1_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.ces1_summary_hash(loyalty.ces1_summary),
	FUNCTION 2 loyalty.ces1_summary_hash_extended(loyalty.ces1_summary, bigint);

CREATE FUNCTION loyalty.ces1_accum(loyalty.ces1_summary, integer) RETURNS loyalty.ces1_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces1_accum';
CREATE FUNCTION loyalty.ces1_combine(loyalty.ces1_summary, loyalty.ces1_summary) RETURNS loyalty.ces1_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces1_combine';
CREATE FUNCTION loyalty.ces1_accum_inv(loyalty.ces1_summary, integer) RETURNS loyalty.ces1_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces1_accum_inv';
CREATE FUNCTION loyalty.ces1_combine_inv(loyalty.ces1_summary, loyalty.ces1_summary) RETURNS loyalty.ces1_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces1_combine_inv';
CREATE FUNCTION loyalty.ces1_final(loyalty.ces1_summary) RETURNS loyalty.ces1_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces1_final';
CREATE FUNCTION loyalty.ces1(loyalty.ces1_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces1';

CREATE AGGREGATE loyalty.ces1_agg(score integer) (
	STYPE = loyalty.ces1_summary,
	SSPACE = 64,
	INITCOND = '(responses:0,total:0,squares:0,easy:0)',
	SFUNC = loyalty.ces1_accum,
	FINALFUNC = loyalty.ces1_final,
	COMBINEFUNC = loyalty.ces1_combine,
	MSTYPE = loyalty.ces1_summary,
	MSSPACE = 64,
	MINITCOND = '(responses:0,total:0,squares:0,easy:0)',
	MSFUNC = loyalty.ces1_accum,
	MINVFUNC = loyalty.ces1_accum_inv,
	MFINALFUNC = loyalty.ces1_final,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.ces1(score integer) (
	STYPE = loyalty.ces1_summary,
	SSPACE = 64,
	INITCOND = '(responses:0,total:0,squares:0,easy:0)',
	SFUNC = loyalty.ces1_accum,
	FINALFUNC = loyalty.ces1,
	COMBINEFUNC = loyalty.ces1_combine,
	MSTYPE = loyalty.ces1_summary,
	MSSPACE = 64,
	MINITCOND = '(responses:0,total:0,squares:0,easy:0)',
	MSFUNC = loyalty.ces1_accum,
	MINVFUNC = loyalty.ces1_accum_inv,
	MFINALFUNC = loyalty.ces1,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rollup(summary loyalty.ces1_summary) (
	STYPE = loyalty.ces1_summary,
	SSPACE = 64,
	INITCOND = '(responses:0,total:0,squares:0,easy:0)',
	SFUNC = loyalty.ces1_combine,
	FINALFUNC = loyalty.ces1_final,
	COMBINEFUNC = loyalty.ces1_combine,
	MSTYPE = loyalty.ces1_summary,
	MSSPACE = 64,
	MINITCOND = '(responses:0,total:0,squares:0,easy:0)',
	MSFUNC = loyalty.ces1_combine,
	MINVFUNC = loyalty.ces1_combine_inv,
	MFINALFUNC = loyalty.ces1_final,
	PARALLEL = SAFE
);

CREATE FUNCTION loyalty.responses(loyalty.ces1_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces1_responses';
CREATE FUNCTION loyalty.standard_error(loyalty.ces1_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces1_standard_error';
CREATE FUNCTION loyalty.easy_percent(loyalty.ces1_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces1_easy';
CREATE FUNCTION loyalty.easy_interval(summary loyalty.ces1_summary, confidence float8 DEFAULT 0.95,
		OUT low float8, OUT high float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces1_interval';

COMMENT ON FUNCTION loyalty.ces1_accum(loyalty.ces1_summary, integer) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.ces1_accum_inv(loyalty.ces1_summary, integer) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.ces1_combine(loyalty.ces1_summary, loyalty.ces1_summary) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.ces1_combine_inv(loyalty.ces1_summary, loyalty.ces1_summary) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.ces1_final(loyalty.ces1_summary) IS 'aggregate final function';
COMMENT ON TYPE loyalty.ces1_summary IS 'answers of 1-5 on effort, low is good: their number, sums and the easy ones';
COMMENT ON FUNCTION loyalty.ces1_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.ces1_summary_out(loyalty.ces1_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.ces1_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.ces1_summary_send(loyalty.ces1_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.ces1_summary_eq(loyalty.ces1_summary, loyalty.ces1_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.ces1_summary_ne(loyalty.ces1_summary, loyalty.ces1_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.ces1_summary_hash(loyalty.ces1_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.ces1_summary_hash_extended(loyalty.ces1_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.ces1_summary, loyalty.ces1_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.ces1_summary, loyalty.ces1_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.ces1_summary_hash_ops USING hash IS 'hash of ces1_summary';
COMMENT ON FUNCTION loyalty.ces1(loyalty.ces1_summary) IS 'mean answer of 1-5: effort, low is good';
COMMENT ON AGGREGATE loyalty.ces1_agg(integer) IS 'summary of 1-5 answers on effort, low is good';
COMMENT ON AGGREGATE loyalty.ces1(integer) IS 'mean of 1-5 answers on effort, low is good';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.ces1_summary) IS 'one summary of many';
COMMENT ON FUNCTION loyalty.responses(loyalty.ces1_summary) IS 'all answers';
COMMENT ON FUNCTION loyalty.standard_error(loyalty.ces1_summary) IS 'standard error of the mean answer';
COMMENT ON FUNCTION loyalty.easy_percent(loyalty.ces1_summary) IS 'answers 1 and 2, in per cent';
COMMENT ON FUNCTION loyalty.easy_interval(loyalty.ces1_summary, float8) IS 'Wilson''s confidence interval of the easy answers, in per cent';

-- Customer effort, 2.0: ease, high is good

CREATE TYPE loyalty.ces2_summary;

CREATE FUNCTION loyalty.ces2_summary_in(cstring) RETURNS loyalty.ces2_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces2_in';
CREATE FUNCTION loyalty.ces2_summary_out(loyalty.ces2_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces2_out';
CREATE FUNCTION loyalty.ces2_summary_recv(internal) RETURNS loyalty.ces2_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces2_recv';
CREATE FUNCTION loyalty.ces2_summary_send(loyalty.ces2_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces2_send';

CREATE TYPE loyalty.ces2_summary (
	INPUT = loyalty.ces2_summary_in,
	OUTPUT = loyalty.ces2_summary_out,
	RECEIVE = loyalty.ces2_summary_recv,
	SEND = loyalty.ces2_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.ces2_summary_eq(loyalty.ces2_summary, loyalty.ces2_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.ces2_summary_ne(loyalty.ces2_summary, loyalty.ces2_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.ces2_summary_hash(loyalty.ces2_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.ces2_summary_hash_extended(loyalty.ces2_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.ces2_summary, RIGHTARG = loyalty.ces2_summary, FUNCTION = loyalty.ces2_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.ces2_summary, RIGHTARG = loyalty.ces2_summary, FUNCTION = loyalty.ces2_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.ces2_summary_hash_ops DEFAULT FOR TYPE loyalty.ces2_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.ces2_summary_hash(loyalty.ces2_summary),
	FUNCTION 2 loyalty.ces2_summary_hash_extended(loyalty.ces2_summary, bigint);

CREATE FUNCTION loyalty.ces2_accum(loyalty.ces2_summary, integer) RETURNS loyalty.ces2_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces2_accum';
CREATE FUNCTION loyalty.ces2_combine(loyalty.ces2_summary, loyalty.ces2_summary) RETURNS loyalty.ces2_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces2_combine';
CREATE FUNCTION loyalty.ces2_accum_inv(loyalty.ces2_summary, integer) RETURNS loyalty.ces2_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces2_accum_inv';
CREATE FUNCTION loyalty.ces2_combine_inv(loyalty.ces2_summary, loyalty.ces2_summary) RETURNS loyalty.ces2_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces2_combine_inv';
CREATE FUNCTION loyalty.ces2_final(loyalty.ces2_summary) RETURNS loyalty.ces2_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces2_final';
CREATE FUNCTION loyalty.ces2(loyalty.ces2_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces2';

CREATE AGGREGATE loyalty.ces2_agg(score integer) (
	STYPE = loyalty.ces2_summary,
	SSPACE = 64,
	INITCOND = '(responses:0,total:0,squares:0,easy:0)',
	SFUNC = loyalty.ces2_accum,
	FINALFUNC = loyalty.ces2_final,
	COMBINEFUNC = loyalty.ces2_combine,
	MSTYPE = loyalty.ces2_summary,
	MSSPACE = 64,
	MINITCOND = '(responses:0,total:0,squares:0,easy:0)',
	MSFUNC = loyalty.ces2_accum,
	MINVFUNC = loyalty.ces2_accum_inv,
	MFINALFUNC = loyalty.ces2_final,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.ces2(score integer) (
	STYPE = loyalty.ces2_summary,
	SSPACE = 64,
	INITCOND = '(responses:0,total:0,squares:0,easy:0)',
	SFUNC = loyalty.ces2_accum,
	FINALFUNC = loyalty.ces2,
	COMBINEFUNC = loyalty.ces2_combine,
	MSTYPE = loyalty.ces2_summary,
	MSSPACE = 64,
	MINITCOND = '(responses:0,total:0,squares:0,easy:0)',
	MSFUNC = loyalty.ces2_accum,
	MINVFUNC = loyalty.ces2_accum_inv,
	MFINALFUNC = loyalty.ces2,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rollup(summary loyalty.ces2_summary) (
	STYPE = loyalty.ces2_summary,
	SSPACE = 64,
	INITCOND = '(responses:0,total:0,squares:0,easy:0)',
	SFUNC = loyalty.ces2_combine,
	FINALFUNC = loyalty.ces2_final,
	COMBINEFUNC = loyalty.ces2_combine,
	MSTYPE = loyalty.ces2_summary,
	MSSPACE = 64,
	MINITCOND = '(responses:0,total:0,squares:0,easy:0)',
	MSFUNC = loyalty.ces2_combine,
	MINVFUNC = loyalty.ces2_combine_inv,
	MFINALFUNC = loyalty.ces2_final,
	PARALLEL = SAFE
);

CREATE FUNCTION loyalty.responses(loyalty.ces2_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces2_responses';
CREATE FUNCTION loyalty.standard_error(loyalty.ces2_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces2_standard_error';
CREATE FUNCTION loyalty.easy_percent(loyalty.ces2_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces2_easy';
CREATE FUNCTION loyalty.easy_interval(summary loyalty.ces2_summary, confidence float8 DEFAULT 0.95,
		OUT low float8, OUT high float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_ces2_interval';

COMMENT ON FUNCTION loyalty.ces2_accum(loyalty.ces2_summary, integer) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.ces2_accum_inv(loyalty.ces2_summary, integer) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.ces2_combine(loyalty.ces2_summary, loyalty.ces2_summary) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.ces2_combine_inv(loyalty.ces2_summary, loyalty.ces2_summary) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.ces2_final(loyalty.ces2_summary) IS 'aggregate final function';
COMMENT ON TYPE loyalty.ces2_summary IS 'answers of 1-7 on ease, high is good: their number, sums and the easy ones';
COMMENT ON FUNCTION loyalty.ces2_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.ces2_summary_out(loyalty.ces2_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.ces2_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.ces2_summary_send(loyalty.ces2_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.ces2_summary_eq(loyalty.ces2_summary, loyalty.ces2_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.ces2_summary_ne(loyalty.ces2_summary, loyalty.ces2_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.ces2_summary_hash(loyalty.ces2_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.ces2_summary_hash_extended(loyalty.ces2_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.ces2_summary, loyalty.ces2_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.ces2_summary, loyalty.ces2_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.ces2_summary_hash_ops USING hash IS 'hash of ces2_summary';
COMMENT ON FUNCTION loyalty.ces2(loyalty.ces2_summary) IS 'mean answer of 1-7: ease, high is good';
COMMENT ON AGGREGATE loyalty.ces2_agg(integer) IS 'summary of 1-7 answers on ease, high is good';
COMMENT ON AGGREGATE loyalty.ces2(integer) IS 'mean of 1-7 answers on ease, high is good';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.ces2_summary) IS 'one summary of many';
COMMENT ON FUNCTION loyalty.responses(loyalty.ces2_summary) IS 'all answers';
COMMENT ON FUNCTION loyalty.standard_error(loyalty.ces2_summary) IS 'standard error of the mean answer';
COMMENT ON FUNCTION loyalty.easy_percent(loyalty.ces2_summary) IS 'answers 5 to 7, in per cent';
COMMENT ON FUNCTION loyalty.easy_interval(loyalty.ces2_summary, float8) IS 'Wilson''s confidence interval of the easy answers, in per cent';

-- Customer Loyalty Index

CREATE TYPE loyalty.cli_summary;

CREATE FUNCTION loyalty.cli_summary_in(cstring) RETURNS loyalty.cli_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_cli_in';
CREATE FUNCTION loyalty.cli_summary_out(loyalty.cli_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_cli_out';
CREATE FUNCTION loyalty.cli_summary_recv(internal) RETURNS loyalty.cli_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_cli_recv';
CREATE FUNCTION loyalty.cli_summary_send(loyalty.cli_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_cli_send';

CREATE TYPE loyalty.cli_summary (
	INPUT = loyalty.cli_summary_in,
	OUTPUT = loyalty.cli_summary_out,
	RECEIVE = loyalty.cli_summary_recv,
	SEND = loyalty.cli_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.cli_summary_eq(loyalty.cli_summary, loyalty.cli_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.cli_summary_ne(loyalty.cli_summary, loyalty.cli_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.cli_summary_hash(loyalty.cli_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.cli_summary_hash_extended(loyalty.cli_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.cli_summary, RIGHTARG = loyalty.cli_summary, FUNCTION = loyalty.cli_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.cli_summary, RIGHTARG = loyalty.cli_summary, FUNCTION = loyalty.cli_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.cli_summary_hash_ops DEFAULT FOR TYPE loyalty.cli_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.cli_summary_hash(loyalty.cli_summary),
	FUNCTION 2 loyalty.cli_summary_hash_extended(loyalty.cli_summary, bigint);

CREATE FUNCTION loyalty.customer_loyalty_index(recommend integer, buy_again integer, try_other integer,
		best integer DEFAULT 1, worst integer DEFAULT 6) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_cli_index';
CREATE FUNCTION loyalty.cli_accum(loyalty.cli_summary, integer, integer, integer) RETURNS loyalty.cli_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_cli_accum';
CREATE FUNCTION loyalty.cli_accum(loyalty.cli_summary, integer, integer, integer, integer, integer) RETURNS loyalty.cli_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_cli_accum';
CREATE FUNCTION loyalty.cli_combine(loyalty.cli_summary, loyalty.cli_summary) RETURNS loyalty.cli_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_cli_combine';
CREATE FUNCTION loyalty.cli_final(loyalty.cli_summary) RETURNS loyalty.cli_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_cli_final';
CREATE FUNCTION loyalty.cli(loyalty.cli_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_cli';

CREATE AGGREGATE loyalty.cli_agg(recommend integer, buy_again integer, try_other integer) (
	STYPE = loyalty.cli_summary,
	SSPACE = 64,
	INITCOND = '(customers:0,mean:0,squares:0)',
	SFUNC = loyalty.cli_accum,
	FINALFUNC = loyalty.cli_final,
	COMBINEFUNC = loyalty.cli_combine,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.cli(recommend integer, buy_again integer, try_other integer) (
	STYPE = loyalty.cli_summary,
	SSPACE = 64,
	INITCOND = '(customers:0,mean:0,squares:0)',
	SFUNC = loyalty.cli_accum,
	FINALFUNC = loyalty.cli,
	COMBINEFUNC = loyalty.cli_combine,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.cli_agg(recommend integer, buy_again integer, try_other integer, best integer, worst integer) (
	STYPE = loyalty.cli_summary,
	SSPACE = 64,
	INITCOND = '(customers:0,mean:0,squares:0)',
	SFUNC = loyalty.cli_accum,
	FINALFUNC = loyalty.cli_final,
	COMBINEFUNC = loyalty.cli_combine,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.cli(recommend integer, buy_again integer, try_other integer, best integer, worst integer) (
	STYPE = loyalty.cli_summary,
	SSPACE = 64,
	INITCOND = '(customers:0,mean:0,squares:0)',
	SFUNC = loyalty.cli_accum,
	FINALFUNC = loyalty.cli,
	COMBINEFUNC = loyalty.cli_combine,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rollup(summary loyalty.cli_summary) (
	STYPE = loyalty.cli_summary,
	SSPACE = 64,
	INITCOND = '(customers:0,mean:0,squares:0)',
	SFUNC = loyalty.cli_combine,
	FINALFUNC = loyalty.cli_final,
	COMBINEFUNC = loyalty.cli_combine,
	PARALLEL = SAFE
);

CREATE FUNCTION loyalty.customers(loyalty.cli_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_cli_customers';
CREATE FUNCTION loyalty.standard_error(loyalty.cli_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_survey_cli_standard_error';

COMMENT ON FUNCTION loyalty.cli_accum(loyalty.cli_summary, integer, integer, integer) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.cli_accum(loyalty.cli_summary, integer, integer, integer, integer, integer) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.cli_combine(loyalty.cli_summary, loyalty.cli_summary) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.cli_final(loyalty.cli_summary) IS 'aggregate final function';
COMMENT ON TYPE loyalty.cli_summary IS 'number, mean and spread of customers loyalty indices';
COMMENT ON FUNCTION loyalty.cli_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.cli_summary_out(loyalty.cli_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.cli_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.cli_summary_send(loyalty.cli_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.cli_summary_eq(loyalty.cli_summary, loyalty.cli_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.cli_summary_ne(loyalty.cli_summary, loyalty.cli_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.cli_summary_hash(loyalty.cli_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.cli_summary_hash_extended(loyalty.cli_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.cli_summary, loyalty.cli_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.cli_summary, loyalty.cli_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.cli_summary_hash_ops USING hash IS 'hash of cli_summary';
COMMENT ON FUNCTION loyalty.customer_loyalty_index(integer, integer, integer, integer, integer) IS 'one customer''s index, 0 to 100, from three answers on a scale from best to worst';
COMMENT ON FUNCTION loyalty.cli(loyalty.cli_summary) IS 'Customer Loyalty Index, 0 to 100';
COMMENT ON AGGREGATE loyalty.cli_agg(integer, integer, integer) IS 'summary of customers'' answers from 1, the best, to 6';
COMMENT ON AGGREGATE loyalty.cli_agg(integer, integer, integer, integer, integer) IS 'summary of customers'' answers on a scale from best to worst';
COMMENT ON AGGREGATE loyalty.cli(integer, integer, integer) IS 'Customer Loyalty Index, 0 to 100, of answers from 1, the best, to 6';
COMMENT ON AGGREGATE loyalty.cli(integer, integer, integer, integer, integer) IS 'Customer Loyalty Index, 0 to 100, of answers on a scale from best to worst';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.cli_summary) IS 'one summary of many';
COMMENT ON FUNCTION loyalty.customers(loyalty.cli_summary) IS 'customers with all three answers';
COMMENT ON FUNCTION loyalty.standard_error(loyalty.cli_summary) IS 'standard error of the Customer Loyalty Index';
