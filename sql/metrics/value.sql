-- value: what orders are worth. docs/value.md

CREATE TYPE loyalty.order_summary;

-- stable: a time without a zone is read in the session's
CREATE FUNCTION loyalty.order_summary_in(cstring) RETURNS loyalty.order_summary
	LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_in';
CREATE FUNCTION loyalty.order_summary_out(loyalty.order_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_out';
CREATE FUNCTION loyalty.order_summary_recv(internal) RETURNS loyalty.order_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_recv';
CREATE FUNCTION loyalty.order_summary_send(loyalty.order_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_send';

CREATE TYPE loyalty.order_summary (
	INPUT = loyalty.order_summary_in,
	OUTPUT = loyalty.order_summary_out,
	RECEIVE = loyalty.order_summary_recv,
	SEND = loyalty.order_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = extended
);

CREATE FUNCTION loyalty.order_summary_eq(loyalty.order_summary, loyalty.order_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_eq';
CREATE FUNCTION loyalty.order_summary_ne(loyalty.order_summary, loyalty.order_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_ne';
CREATE FUNCTION loyalty.order_summary_hash(loyalty.order_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_hash';
CREATE FUNCTION loyalty.order_summary_hash_extended(loyalty.order_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.order_summary, RIGHTARG = loyalty.order_summary, FUNCTION = loyalty.order_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.order_summary, RIGHTARG = loyalty.order_summary, FUNCTION = loyalty.order_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.order_summary_hash_ops DEFAULT FOR TYPE loyalty.order_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.order_summary_hash(loyalty.order_summary),
	FUNCTION 2 loyalty.order_summary_hash_extended(loyalty.order_summary, bigint);

CREATE FUNCTION loyalty.order_summary(orders bigint, customers bigint, revenue numeric,
		first_order timestamptz DEFAULT NULL, last_order timestamptz DEFAULT NULL) RETURNS loyalty.order_summary
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_make';
CREATE FUNCTION loyalty.orders(loyalty.order_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_orders';
CREATE FUNCTION loyalty.customers(loyalty.order_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_customers';
CREATE FUNCTION loyalty.revenue(loyalty.order_summary) RETURNS numeric
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_revenue';
CREATE FUNCTION loyalty.first_order(loyalty.order_summary) RETURNS timestamptz
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_first';
CREATE FUNCTION loyalty.last_order(loyalty.order_summary) RETURNS timestamptz
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_last';
CREATE FUNCTION loyalty.average_transaction_value(loyalty.order_summary) RETURNS numeric
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_average';
CREATE FUNCTION loyalty.purchase_frequency(loyalty.order_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_frequency';
CREATE FUNCTION loyalty.revenue_per_customer(loyalty.order_summary) RETURNS numeric
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_per_customer';
CREATE FUNCTION loyalty.orders_per_year(summary loyalty.order_summary, observed interval DEFAULT NULL) RETURNS numeric
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_per_year';

-- The simple formula, from values or from a summary

CREATE FUNCTION loyalty.simple_clv(average_order numeric, orders_per_year numeric, years numeric, margin numeric DEFAULT 1) RETURNS numeric
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_simple_clv';
CREATE FUNCTION loyalty.simple_clv(average_order float8, orders_per_year float8, years float8, margin float8 DEFAULT 1) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_simple_clv_float8';
CREATE FUNCTION loyalty.simple_clv(summary loyalty.order_summary, years numeric, margin numeric DEFAULT 1, observed interval DEFAULT NULL) RETURNS numeric
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_clv';

-- Under contract

CREATE FUNCTION loyalty.contractual_clv(margin float8, retention float8, discount float8, timing text DEFAULT 'begin') RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_contractual_clv';
CREATE FUNCTION loyalty.discounted_clv(margin float8, periods integer, retention float8 DEFAULT 1, discount float8 DEFAULT 0, timing text DEFAULT 'begin') RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_discounted_clv';
CREATE FUNCTION loyalty.period_discount(annual float8, periods_per_year float8) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_period_discount';

-- The state is internal: it holds the set of customers. Stable: an amount is cast to numeric.

CREATE FUNCTION loyalty.order_accum(internal, "any", "any", timestamptz) RETURNS internal
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_accum';
CREATE FUNCTION loyalty.order_accum(internal, "any", "any", timestamptz, "any") RETURNS internal
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_accum';
CREATE FUNCTION loyalty.order_accum_amount(internal, "any") RETURNS internal
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_accum_amount';
CREATE FUNCTION loyalty.order_accum_amount(internal, "any", "any") RETURNS internal
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_accum_amount';
CREATE FUNCTION loyalty.order_accum_clv(internal, "any", "any", timestamptz, numeric) RETURNS internal
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_accum_clv';
CREATE FUNCTION loyalty.order_accum_clv(internal, "any", "any", timestamptz, numeric, numeric) RETURNS internal
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_accum_clv';
CREATE FUNCTION loyalty.order_combine(internal, internal) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_combine';
CREATE FUNCTION loyalty.order_serialize(internal) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_serialize';
CREATE FUNCTION loyalty.order_deserialize(bytea, internal) RETURNS internal
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_deserialize';
CREATE FUNCTION loyalty.order_final(internal) RETURNS loyalty.order_summary
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_final';
CREATE FUNCTION loyalty.order_final_average(internal) RETURNS numeric
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_final_average';
CREATE FUNCTION loyalty.order_final_clv(internal) RETURNS numeric
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_final_clv';

CREATE AGGREGATE loyalty.order_agg(customer "any", amount "any", at timestamptz) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.order_accum,
	FINALFUNC = loyalty.order_final,
	COMBINEFUNC = loyalty.order_combine,
	SERIALFUNC = loyalty.order_serialize,
	DESERIALFUNC = loyalty.order_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.order_agg(customer "any", amount "any", at timestamptz, order_key "any") (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.order_accum,
	FINALFUNC = loyalty.order_final,
	COMBINEFUNC = loyalty.order_combine,
	SERIALFUNC = loyalty.order_serialize,
	DESERIALFUNC = loyalty.order_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.average_transaction_value(amount "any") (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.order_accum_amount,
	FINALFUNC = loyalty.order_final_average,
	COMBINEFUNC = loyalty.order_combine,
	SERIALFUNC = loyalty.order_serialize,
	DESERIALFUNC = loyalty.order_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.average_transaction_value(amount "any", order_key "any") (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.order_accum_amount,
	FINALFUNC = loyalty.order_final_average,
	COMBINEFUNC = loyalty.order_combine,
	SERIALFUNC = loyalty.order_serialize,
	DESERIALFUNC = loyalty.order_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.simple_clv(customer "any", amount "any", at timestamptz, years numeric) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.order_accum_clv,
	FINALFUNC = loyalty.order_final_clv,
	COMBINEFUNC = loyalty.order_combine,
	SERIALFUNC = loyalty.order_serialize,
	DESERIALFUNC = loyalty.order_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.simple_clv(customer "any", amount "any", at timestamptz, years numeric, margin numeric) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.order_accum_clv,
	FINALFUNC = loyalty.order_final_clv,
	COMBINEFUNC = loyalty.order_combine,
	SERIALFUNC = loyalty.order_serialize,
	DESERIALFUNC = loyalty.order_deserialize,
	PARALLEL = SAFE
);

CREATE FUNCTION loyalty.order_summary_add(loyalty.order_summary, loyalty.order_summary) RETURNS loyalty.order_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_value_add';
CREATE AGGREGATE loyalty.rollup(summary loyalty.order_summary) (
	STYPE = loyalty.order_summary,
	SFUNC = loyalty.order_summary_add,
	COMBINEFUNC = loyalty.order_summary_add,
	PARALLEL = SAFE
);

COMMENT ON FUNCTION loyalty.order_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.order_summary_out(loyalty.order_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.order_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.order_summary_send(loyalty.order_summary) IS 'I/O';
COMMENT ON TYPE loyalty.order_summary IS 'orders, customers, revenue, and the time of the first and the last order';
COMMENT ON FUNCTION loyalty.order_summary_eq(loyalty.order_summary, loyalty.order_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.order_summary_ne(loyalty.order_summary, loyalty.order_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.order_summary_hash(loyalty.order_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.order_summary_hash_extended(loyalty.order_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.order_summary, loyalty.order_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.order_summary, loyalty.order_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.order_summary_hash_ops USING hash IS 'hash of order_summary';
COMMENT ON FUNCTION loyalty.order_summary(bigint, bigint, numeric, timestamptz, timestamptz) IS 'a summary made from known values';
COMMENT ON FUNCTION loyalty.orders(loyalty.order_summary) IS 'all orders';
COMMENT ON FUNCTION loyalty.customers(loyalty.order_summary) IS 'customers with an order';
COMMENT ON FUNCTION loyalty.revenue(loyalty.order_summary) IS 'sum of all amounts, less returns';
COMMENT ON FUNCTION loyalty.first_order(loyalty.order_summary) IS 'time of the first order';
COMMENT ON FUNCTION loyalty.last_order(loyalty.order_summary) IS 'time of the last order';
COMMENT ON FUNCTION loyalty.average_transaction_value(loyalty.order_summary) IS 'revenue / orders';
COMMENT ON FUNCTION loyalty.purchase_frequency(loyalty.order_summary) IS 'orders / customers';
COMMENT ON FUNCTION loyalty.revenue_per_customer(loyalty.order_summary) IS 'revenue / customers';
COMMENT ON FUNCTION loyalty.orders_per_year(loyalty.order_summary, interval) IS 'orders of a customer in a year';
COMMENT ON FUNCTION loyalty.simple_clv(numeric, numeric, numeric, numeric) IS 'average order x orders per year x years x margin';
COMMENT ON FUNCTION loyalty.simple_clv(float8, float8, float8, float8) IS 'average order x orders per year x years x margin';
COMMENT ON FUNCTION loyalty.simple_clv(loyalty.order_summary, numeric, numeric, interval) IS 'average order x orders per year x years x margin';
COMMENT ON FUNCTION loyalty.contractual_clv(float8, float8, float8, text) IS 'value of a contract that renews with a constant retention, without end';
COMMENT ON FUNCTION loyalty.discounted_clv(float8, integer, float8, float8, text) IS 'value of a contract that renews with a constant retention, over some periods';
COMMENT ON FUNCTION loyalty.period_discount(float8, float8) IS 'discount per period that compounds to an annual one';
COMMENT ON FUNCTION loyalty.order_accum(internal, "any", "any", timestamptz) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.order_accum(internal, "any", "any", timestamptz, "any") IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.order_accum_amount(internal, "any") IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.order_accum_amount(internal, "any", "any") IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.order_accum_clv(internal, "any", "any", timestamptz, numeric) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.order_accum_clv(internal, "any", "any", timestamptz, numeric, numeric) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.order_combine(internal, internal) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.order_serialize(internal) IS 'aggregate serial function';
COMMENT ON FUNCTION loyalty.order_deserialize(bytea, internal) IS 'aggregate deserial function';
COMMENT ON FUNCTION loyalty.order_final(internal) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.order_final_average(internal) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.order_final_clv(internal) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.order_agg("any", "any", timestamptz) IS 'summary of orders; each row is one';
COMMENT ON AGGREGATE loyalty.order_agg("any", "any", timestamptz, "any") IS 'summary of orders; rows of a customer with one key are one order';
COMMENT ON AGGREGATE loyalty.average_transaction_value("any") IS 'revenue / orders; each row is an order';
COMMENT ON AGGREGATE loyalty.average_transaction_value("any", "any") IS 'revenue / orders; rows with one key are one order';
COMMENT ON AGGREGATE loyalty.simple_clv("any", "any", timestamptz, numeric) IS 'average order x orders per year x years';
COMMENT ON AGGREGATE loyalty.simple_clv("any", "any", timestamptz, numeric, numeric) IS 'average order x orders per year x years x margin';
COMMENT ON FUNCTION loyalty.order_summary_add(loyalty.order_summary, loyalty.order_summary) IS 'aggregate transition and combine function';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.order_summary) IS 'one summary of many that share no customers';
