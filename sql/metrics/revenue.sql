-- revenue: net and gross revenue retention. docs/revenue.md

CREATE TYPE loyalty.revenue_summary;

CREATE FUNCTION loyalty.revenue_summary_in(cstring) RETURNS loyalty.revenue_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_in';
CREATE FUNCTION loyalty.revenue_summary_out(loyalty.revenue_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_out';
CREATE FUNCTION loyalty.revenue_summary_recv(internal) RETURNS loyalty.revenue_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_recv';
CREATE FUNCTION loyalty.revenue_summary_send(loyalty.revenue_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_send';

CREATE TYPE loyalty.revenue_summary (
	INPUT = loyalty.revenue_summary_in,
	OUTPUT = loyalty.revenue_summary_out,
	RECEIVE = loyalty.revenue_summary_recv,
	SEND = loyalty.revenue_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = extended
);

CREATE FUNCTION loyalty.revenue_summary_eq(loyalty.revenue_summary, loyalty.revenue_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.revenue_summary_ne(loyalty.revenue_summary, loyalty.revenue_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.revenue_summary_hash(loyalty.revenue_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.revenue_summary_hash_extended(loyalty.revenue_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.revenue_summary, RIGHTARG = loyalty.revenue_summary, FUNCTION = loyalty.revenue_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.revenue_summary, RIGHTARG = loyalty.revenue_summary, FUNCTION = loyalty.revenue_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.revenue_summary_hash_ops DEFAULT FOR TYPE loyalty.revenue_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.revenue_summary_hash(loyalty.revenue_summary),
	FUNCTION 2 loyalty.revenue_summary_hash_extended(loyalty.revenue_summary, bigint);

-- The state is internal: it holds exact sums.

CREATE FUNCTION loyalty.revenue_accum(internal, numeric, numeric) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_accum';
CREATE FUNCTION loyalty.revenue_accum(internal, loyalty.revenue_summary) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_accum_summary';
CREATE FUNCTION loyalty.revenue_combine(internal, internal) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_combine';
CREATE FUNCTION loyalty.revenue_serialize(internal) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_serialize';
CREATE FUNCTION loyalty.revenue_deserialize(bytea, internal) RETURNS internal
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_deserialize';
CREATE FUNCTION loyalty.revenue_final(internal) RETURNS loyalty.revenue_summary
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_final';
CREATE FUNCTION loyalty.revenue_final_net(internal) RETURNS float8
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_final_net';
CREATE FUNCTION loyalty.revenue_final_gross(internal) RETURNS float8
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_final_gross';

CREATE AGGREGATE loyalty.revenue_retention_agg(start_amount numeric, end_amount numeric) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.revenue_accum,
	FINALFUNC = loyalty.revenue_final,
	COMBINEFUNC = loyalty.revenue_combine,
	SERIALFUNC = loyalty.revenue_serialize,
	DESERIALFUNC = loyalty.revenue_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.net_revenue_retention(start_amount numeric, end_amount numeric) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.revenue_accum,
	FINALFUNC = loyalty.revenue_final_net,
	COMBINEFUNC = loyalty.revenue_combine,
	SERIALFUNC = loyalty.revenue_serialize,
	DESERIALFUNC = loyalty.revenue_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.gross_revenue_retention(start_amount numeric, end_amount numeric) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.revenue_accum,
	FINALFUNC = loyalty.revenue_final_gross,
	COMBINEFUNC = loyalty.revenue_combine,
	SERIALFUNC = loyalty.revenue_serialize,
	DESERIALFUNC = loyalty.revenue_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rollup(summary loyalty.revenue_summary) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.revenue_accum,
	FINALFUNC = loyalty.revenue_final,
	COMBINEFUNC = loyalty.revenue_combine,
	SERIALFUNC = loyalty.revenue_serialize,
	DESERIALFUNC = loyalty.revenue_deserialize,
	PARALLEL = SAFE
);

-- Accessors

CREATE FUNCTION loyalty.customers(loyalty.revenue_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_customers';
CREATE FUNCTION loyalty.retained(loyalty.revenue_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_retained';
CREATE FUNCTION loyalty.new_customers(loyalty.revenue_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_new_customers';
CREATE FUNCTION loyalty.start_revenue(loyalty.revenue_summary) RETURNS numeric
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_start';
CREATE FUNCTION loyalty.end_revenue(loyalty.revenue_summary) RETURNS numeric
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_end';
CREATE FUNCTION loyalty.expansion(loyalty.revenue_summary) RETURNS numeric
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_expansion';
CREATE FUNCTION loyalty.contraction(loyalty.revenue_summary) RETURNS numeric
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_contraction';
CREATE FUNCTION loyalty.churned_revenue(loyalty.revenue_summary) RETURNS numeric
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_churned';
CREATE FUNCTION loyalty.new_revenue(loyalty.revenue_summary) RETURNS numeric
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_new';
CREATE FUNCTION loyalty.net_revenue_retention(loyalty.revenue_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_net';
CREATE FUNCTION loyalty.gross_revenue_retention(loyalty.revenue_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_gross';
CREATE FUNCTION loyalty.net_revenue_churn(loyalty.revenue_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_net_churn';
CREATE FUNCTION loyalty.gross_revenue_churn(loyalty.revenue_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_gross_churn';
CREATE FUNCTION loyalty.logo_retention(loyalty.revenue_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_revenue_logo';

COMMENT ON TYPE loyalty.revenue_summary IS 'revenue of customers in two periods, and what the change was made of';
COMMENT ON FUNCTION loyalty.revenue_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.revenue_summary_out(loyalty.revenue_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.revenue_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.revenue_summary_send(loyalty.revenue_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.revenue_summary_eq(loyalty.revenue_summary, loyalty.revenue_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.revenue_summary_ne(loyalty.revenue_summary, loyalty.revenue_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.revenue_summary_hash(loyalty.revenue_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.revenue_summary_hash_extended(loyalty.revenue_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.revenue_summary, loyalty.revenue_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.revenue_summary, loyalty.revenue_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.revenue_summary_hash_ops USING hash IS 'hash of revenue_summary';
COMMENT ON FUNCTION loyalty.revenue_accum(internal, numeric, numeric) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.revenue_accum(internal, loyalty.revenue_summary) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.revenue_combine(internal, internal) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.revenue_serialize(internal) IS 'aggregate serial function';
COMMENT ON FUNCTION loyalty.revenue_deserialize(bytea, internal) IS 'aggregate deserial function';
COMMENT ON FUNCTION loyalty.revenue_final(internal) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.revenue_final_net(internal) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.revenue_final_gross(internal) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.revenue_retention_agg(numeric, numeric) IS 'summary of customers'' revenue in two periods, a customer a row';
COMMENT ON AGGREGATE loyalty.net_revenue_retention(numeric, numeric) IS 'end revenue of the customers of the start / start revenue; a customer a row';
COMMENT ON AGGREGATE loyalty.gross_revenue_retention(numeric, numeric) IS 'the same without expansion: at most 1';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.revenue_summary) IS 'one summary of many that share no customers';
COMMENT ON FUNCTION loyalty.customers(loyalty.revenue_summary) IS 'customers with revenue at the start';
COMMENT ON FUNCTION loyalty.retained(loyalty.revenue_summary) IS 'customers with revenue at the start and at the end';
COMMENT ON FUNCTION loyalty.new_customers(loyalty.revenue_summary) IS 'customers with revenue at the end only';
COMMENT ON FUNCTION loyalty.start_revenue(loyalty.revenue_summary) IS 'revenue at the start';
COMMENT ON FUNCTION loyalty.end_revenue(loyalty.revenue_summary) IS 'revenue at the end, of the customers of the start';
COMMENT ON FUNCTION loyalty.expansion(loyalty.revenue_summary) IS 'more revenue of customers who spend more';
COMMENT ON FUNCTION loyalty.contraction(loyalty.revenue_summary) IS 'less revenue of customers who spend less, and stay';
COMMENT ON FUNCTION loyalty.churned_revenue(loyalty.revenue_summary) IS 'start revenue of customers who left';
COMMENT ON FUNCTION loyalty.new_revenue(loyalty.revenue_summary) IS 'end revenue of new customers, which is in no rate';
COMMENT ON FUNCTION loyalty.net_revenue_retention(loyalty.revenue_summary) IS 'end revenue of the customers of the start / start revenue';
COMMENT ON FUNCTION loyalty.gross_revenue_retention(loyalty.revenue_summary) IS 'the same without expansion: at most 1';
COMMENT ON FUNCTION loyalty.net_revenue_churn(loyalty.revenue_summary) IS '1 - net revenue retention; negative where expansion is more than what was lost';
COMMENT ON FUNCTION loyalty.gross_revenue_churn(loyalty.revenue_summary) IS 'contraction and churned revenue / start revenue';
COMMENT ON FUNCTION loyalty.logo_retention(loyalty.revenue_summary) IS 'share of the customers of the start with revenue at the end';
