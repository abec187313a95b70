-- clv: models of repeat buying and customer lifetime value. docs/clv.md

CREATE TYPE loyalty.clv_model;

CREATE FUNCTION loyalty.clv_model_in(cstring) RETURNS loyalty.clv_model
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_in';
CREATE FUNCTION loyalty.clv_model_out(loyalty.clv_model) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_out';
CREATE FUNCTION loyalty.clv_model_recv(internal) RETURNS loyalty.clv_model
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_recv';
CREATE FUNCTION loyalty.clv_model_send(loyalty.clv_model) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_send';

CREATE TYPE loyalty.clv_model (
	INPUT = loyalty.clv_model_in,
	OUTPUT = loyalty.clv_model_out,
	RECEIVE = loyalty.clv_model_recv,
	SEND = loyalty.clv_model_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.clv_model_eq(loyalty.clv_model, loyalty.clv_model) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.clv_model_ne(loyalty.clv_model, loyalty.clv_model) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.clv_model_hash(loyalty.clv_model) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.clv_model_hash_extended(loyalty.clv_model, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.clv_model, RIGHTARG = loyalty.clv_model, FUNCTION = loyalty.clv_model_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.clv_model, RIGHTARG = loyalty.clv_model, FUNCTION = loyalty.clv_model_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.clv_model_hash_ops DEFAULT FOR TYPE loyalty.clv_model USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.clv_model_hash(loyalty.clv_model),
	FUNCTION 2 loyalty.clv_model_hash_extended(loyalty.clv_model, bigint);

-- Made by hand.

CREATE FUNCTION loyalty.bgnbd(r float8, alpha float8, a float8, b float8) RETURNS loyalty.clv_model
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_bgnbd';
CREATE FUNCTION loyalty.mbgnbd(r float8, alpha float8, a float8, b float8) RETURNS loyalty.clv_model
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_mbgnbd';
CREATE FUNCTION loyalty.pareto_nbd(r float8, alpha float8, s float8, beta float8) RETURNS loyalty.clv_model
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_pareto_nbd';
CREATE FUNCTION loyalty.bgbb(alpha float8, beta float8, gamma float8, delta float8) RETURNS loyalty.clv_model
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_bgbb';
CREATE FUNCTION loyalty.sbg(alpha float8, beta float8) RETURNS loyalty.clv_model
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_sbg';
CREATE FUNCTION loyalty.gamma_gamma(p float8, q float8, v float8) RETURNS loyalty.clv_model
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_gamma_gamma';
CREATE FUNCTION loyalty.with_spend(purchases loyalty.clv_model, spend loyalty.clv_model) RETURNS loyalty.clv_model
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_with_spend';

-- What a model is.

CREATE FUNCTION loyalty.purchase_process(loyalty.clv_model) RETURNS loyalty.clv_model
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_purchase_process';
CREATE FUNCTION loyalty.spend_process(loyalty.clv_model) RETURNS loyalty.clv_model
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_spend_process';
CREATE FUNCTION loyalty.family(loyalty.clv_model) RETURNS text
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_family';
CREATE FUNCTION loyalty.parameters(loyalty.clv_model) RETURNS jsonb
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_parameters';
CREATE FUNCTION loyalty.standard_errors(loyalty.clv_model) RETURNS jsonb
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_standard_errors';
CREATE FUNCTION loyalty.warnings(loyalty.clv_model) RETURNS text[]
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_warnings';
CREATE FUNCTION loyalty.customers(loyalty.clv_model) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_customers';
CREATE FUNCTION loyalty.log_likelihood(loyalty.clv_model) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_log_likelihood';

-- What it says of a customer with a history, and of one just acquired.

CREATE FUNCTION loyalty.likelihood_ratio(pooled loyalty.clv_model, segments loyalty.clv_model[], OUT statistic float8, OUT degrees int, OUT p_value float8)
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_likelihood_ratio';
CREATE FUNCTION loyalty.log_likelihood(model loyalty.clv_model, customer loyalty.rfm) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_log_likelihood_of';
CREATE FUNCTION loyalty.p_alive(model loyalty.clv_model, customer loyalty.rfm) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_p_alive';
CREATE FUNCTION loyalty.expected_purchases(model loyalty.clv_model, customer loyalty.rfm, t float8) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_expected_purchases';
CREATE FUNCTION loyalty.expected_purchases(model loyalty.clv_model, t float8) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_expected_purchases_new';
CREATE FUNCTION loyalty.purchase_probability(model loyalty.clv_model, n bigint, t float8) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_purchase_probability';
CREATE FUNCTION loyalty.expected_spend(model loyalty.clv_model, customer loyalty.rfm) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_expected_spend';
CREATE FUNCTION loyalty.expected_value(model loyalty.clv_model, customer loyalty.rfm, t float8) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_expected_value';
CREATE FUNCTION loyalty.clv(model loyalty.clv_model, customer loyalty.rfm, horizon float8, step float8, discount float8, margin float8 DEFAULT 1) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_clv';
CREATE FUNCTION loyalty.dert(model loyalty.clv_model, customer loyalty.rfm, discount float8) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_dert';
CREATE FUNCTION loyalty.survival(model loyalty.clv_model, t float8) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_survival';
CREATE FUNCTION loyalty.retention(model loyalty.clv_model, t float8) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_retention';

-- Fitted. The state is internal: distinct customers with counts.

CREATE FUNCTION loyalty.clv_fit_accum(internal, loyalty.rfm) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_accum';
CREATE FUNCTION loyalty.clv_fit_accum(internal, loyalty.rfm, text) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_accum';
CREATE FUNCTION loyalty.clv_fit_accum(internal, loyalty.rfm, text, boolean) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_accum';
CREATE FUNCTION loyalty.clv_fit_combine(internal, internal) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_combine';
CREATE FUNCTION loyalty.clv_fit_serialize(internal) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_serialize';
CREATE FUNCTION loyalty.clv_fit_deserialize(bytea, internal) RETURNS internal
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_deserialize';
CREATE FUNCTION loyalty.clv_fit_final(internal) RETURNS loyalty.clv_model
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_final';

CREATE AGGREGATE loyalty.clv_fit(customer loyalty.rfm) (
	STYPE = internal, SSPACE = 2048,
	SFUNC = loyalty.clv_fit_accum,
	FINALFUNC = loyalty.clv_fit_final,
	COMBINEFUNC = loyalty.clv_fit_combine,
	SERIALFUNC = loyalty.clv_fit_serialize,
	DESERIALFUNC = loyalty.clv_fit_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.clv_fit(customer loyalty.rfm, family text) (
	STYPE = internal, SSPACE = 2048,
	SFUNC = loyalty.clv_fit_accum,
	FINALFUNC = loyalty.clv_fit_final,
	COMBINEFUNC = loyalty.clv_fit_combine,
	SERIALFUNC = loyalty.clv_fit_serialize,
	DESERIALFUNC = loyalty.clv_fit_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.clv_fit(customer loyalty.rfm, family text, spend boolean) (
	STYPE = internal, SSPACE = 2048,
	SFUNC = loyalty.clv_fit_accum,
	FINALFUNC = loyalty.clv_fit_final,
	COMBINEFUNC = loyalty.clv_fit_combine,
	SERIALFUNC = loyalty.clv_fit_serialize,
	DESERIALFUNC = loyalty.clv_fit_deserialize,
	PARALLEL = SAFE
);

COMMENT ON TYPE loyalty.clv_model IS 'a model of repeat buying, of spend, or of both, with its fit';
COMMENT ON OPERATOR CLASS loyalty.clv_model_hash_ops USING hash IS 'hash of clv_model';
COMMENT ON OPERATOR loyalty.= (loyalty.clv_model, loyalty.clv_model) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.clv_model, loyalty.clv_model) IS 'not equal';
COMMENT ON FUNCTION loyalty.clv_model_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.clv_model_out(loyalty.clv_model) IS 'I/O';
COMMENT ON FUNCTION loyalty.clv_model_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.clv_model_send(loyalty.clv_model) IS 'I/O';
COMMENT ON FUNCTION loyalty.clv_model_eq(loyalty.clv_model, loyalty.clv_model) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.clv_model_ne(loyalty.clv_model, loyalty.clv_model) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.clv_model_hash(loyalty.clv_model) IS 'hash';
COMMENT ON FUNCTION loyalty.clv_model_hash_extended(loyalty.clv_model, bigint) IS 'hash';
COMMENT ON FUNCTION loyalty.bgnbd(float8, float8, float8, float8) IS 'BG/NBD model of known parameters: leaving follows a repeat purchase';
COMMENT ON FUNCTION loyalty.mbgnbd(float8, float8, float8, float8) IS 'MBG/NBD model of known parameters: leaving follows any purchase';
COMMENT ON FUNCTION loyalty.pareto_nbd(float8, float8, float8, float8) IS 'Pareto/NBD model of known parameters: leaving at any time';
COMMENT ON FUNCTION loyalty.bgbb(float8, float8, float8, float8) IS 'BG/BB model of known parameters: discrete opportunities to buy';
COMMENT ON FUNCTION loyalty.sbg(float8, float8) IS 'shifted-beta-geometric model of known parameters: contracts renewed or not';
COMMENT ON FUNCTION loyalty.gamma_gamma(float8, float8, float8) IS 'Gamma-Gamma model of spend per purchase, of known parameters';
COMMENT ON FUNCTION loyalty.with_spend(loyalty.clv_model, loyalty.clv_model) IS 'the purchases of one model with the spend of another';
COMMENT ON FUNCTION loyalty.purchase_process(loyalty.clv_model) IS 'the model of purchases alone; null if there is none';
COMMENT ON FUNCTION loyalty.spend_process(loyalty.clv_model) IS 'the model of spend alone; null if there is none';
COMMENT ON FUNCTION loyalty.family(loyalty.clv_model) IS 'name of the family: bgnbd, mbgnbd, pareto_nbd, bgbb, sbg or gamma_gamma';
COMMENT ON FUNCTION loyalty.parameters(loyalty.clv_model) IS 'parameters by name';
COMMENT ON FUNCTION loyalty.standard_errors(loyalty.clv_model) IS 'standard errors of the fitted parameters by name; null if there are none';
COMMENT ON FUNCTION loyalty.warnings(loyalty.clv_model) IS 'why the fit should be read with care; empty if nothing speaks against it';
COMMENT ON FUNCTION loyalty.customers(loyalty.clv_model) IS 'number of customers in the fit; null if made by hand';
COMMENT ON FUNCTION loyalty.log_likelihood(loyalty.clv_model) IS 'log-likelihood of the fit, in the data''s own units; null if made by hand';
COMMENT ON FUNCTION loyalty.likelihood_ratio(loyalty.clv_model, loyalty.clv_model[]) IS 'whether fits of segments tell more than the one of all their customers: likelihood-ratio test';
COMMENT ON FUNCTION loyalty.log_likelihood(loyalty.clv_model, loyalty.rfm) IS 'log-likelihood of one customer';
COMMENT ON FUNCTION loyalty.p_alive(loyalty.clv_model, loyalty.rfm) IS 'probability that the customer is still one';
COMMENT ON FUNCTION loyalty.expected_purchases(loyalty.clv_model, loyalty.rfm, float8) IS 'purchases that the customer is expected to make in the next t units of time';
COMMENT ON FUNCTION loyalty.expected_purchases(loyalty.clv_model, float8) IS 'repeat purchases that a new customer is expected to make in t units of time';
COMMENT ON FUNCTION loyalty.purchase_probability(loyalty.clv_model, bigint, float8) IS 'probability that a new customer makes n repeat purchases in t units of time';
COMMENT ON FUNCTION loyalty.expected_spend(loyalty.clv_model, loyalty.rfm) IS 'mean spend per purchase that is expected of the customer';
COMMENT ON FUNCTION loyalty.expected_value(loyalty.clv_model, loyalty.rfm, float8) IS 'spend that is expected of the customer in the next t units of time, undiscounted';
COMMENT ON FUNCTION loyalty.clv(loyalty.clv_model, loyalty.rfm, float8, float8, float8, float8) IS 'discounted value of the customer up to a horizon';
COMMENT ON FUNCTION loyalty.dert(loyalty.clv_model, loyalty.rfm, float8) IS 'discounted expected residual purchases of the customer, without end';
COMMENT ON FUNCTION loyalty.survival(loyalty.clv_model, float8) IS 'share of new customers that are still there after t; of contracts, after t renewals';
COMMENT ON FUNCTION loyalty.retention(loyalty.clv_model, float8) IS 'share of the contracts due at renewal t that are renewed';
COMMENT ON FUNCTION loyalty.clv_fit_accum(internal, loyalty.rfm) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.clv_fit_accum(internal, loyalty.rfm, text) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.clv_fit_accum(internal, loyalty.rfm, text, boolean) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.clv_fit_combine(internal, internal) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.clv_fit_serialize(internal) IS 'aggregate serial function';
COMMENT ON FUNCTION loyalty.clv_fit_deserialize(bytea, internal) IS 'aggregate deserial function';
COMMENT ON FUNCTION loyalty.clv_fit_final(internal) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.clv_fit(loyalty.rfm) IS 'MBG/NBD model fitted to customers by maximum likelihood';
COMMENT ON AGGREGATE loyalty.clv_fit(loyalty.rfm, text) IS 'model of the given family fitted to customers by maximum likelihood';
COMMENT ON AGGREGATE loyalty.clv_fit(loyalty.rfm, text, boolean) IS 'model of the given family, and of spend, fitted to customers by maximum likelihood';
