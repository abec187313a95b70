-- retention: repeat purchase rate, retention from one period to another, reactivation, churn. docs/retention.md

CREATE TYPE loyalty.repeat_summary;

CREATE FUNCTION loyalty.repeat_summary_in(cstring) RETURNS loyalty.repeat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_in';
CREATE FUNCTION loyalty.repeat_summary_out(loyalty.repeat_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_out';
CREATE FUNCTION loyalty.repeat_summary_recv(internal) RETURNS loyalty.repeat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_recv';
CREATE FUNCTION loyalty.repeat_summary_send(loyalty.repeat_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_send';

CREATE TYPE loyalty.repeat_summary (
	INPUT = loyalty.repeat_summary_in,
	OUTPUT = loyalty.repeat_summary_out,
	RECEIVE = loyalty.repeat_summary_recv,
	SEND = loyalty.repeat_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.repeat_summary_eq(loyalty.repeat_summary, loyalty.repeat_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.repeat_summary_ne(loyalty.repeat_summary, loyalty.repeat_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.repeat_summary_hash(loyalty.repeat_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.repeat_summary_hash_extended(loyalty.repeat_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.repeat_summary, RIGHTARG = loyalty.repeat_summary, FUNCTION = loyalty.repeat_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.repeat_summary, RIGHTARG = loyalty.repeat_summary, FUNCTION = loyalty.repeat_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.repeat_summary_hash_ops DEFAULT FOR TYPE loyalty.repeat_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.repeat_summary_hash(loyalty.repeat_summary),
	FUNCTION 2 loyalty.repeat_summary_hash_extended(loyalty.repeat_summary, bigint);

CREATE FUNCTION loyalty.repeat_summary(customers bigint, repeat_customers bigint, orders bigint) RETURNS loyalty.repeat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_make';
CREATE FUNCTION loyalty.customers(loyalty.repeat_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_customers';
CREATE FUNCTION loyalty.repeat_customers(loyalty.repeat_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_customers';
CREATE FUNCTION loyalty.orders(loyalty.repeat_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_orders';
CREATE FUNCTION loyalty.repeat_purchase_rate(loyalty.repeat_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_rate';
CREATE FUNCTION loyalty.purchase_frequency(loyalty.repeat_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_frequency';

-- The state is internal: it holds the set of customers.

CREATE FUNCTION loyalty.repeat_accum(internal, "any") RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_accum';
CREATE FUNCTION loyalty.repeat_accum(internal, "any", "any") RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_accum';
CREATE FUNCTION loyalty.repeat_combine(internal, internal) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_combine';
CREATE FUNCTION loyalty.repeat_serialize(internal) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_serialize';
CREATE FUNCTION loyalty.repeat_deserialize(bytea, internal) RETURNS internal
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_deserialize';
CREATE FUNCTION loyalty.repeat_final(internal) RETURNS loyalty.repeat_summary
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_final';
CREATE FUNCTION loyalty.repeat_final_rate(internal) RETURNS float8
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_final_rate';
CREATE FUNCTION loyalty.repeat_final_frequency(internal) RETURNS float8
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_final_frequency';

CREATE AGGREGATE loyalty.repeat_agg(customer "any") (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.repeat_accum,
	FINALFUNC = loyalty.repeat_final,
	COMBINEFUNC = loyalty.repeat_combine,
	SERIALFUNC = loyalty.repeat_serialize,
	DESERIALFUNC = loyalty.repeat_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.repeat_agg(customer "any", order_key "any") (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.repeat_accum,
	FINALFUNC = loyalty.repeat_final,
	COMBINEFUNC = loyalty.repeat_combine,
	SERIALFUNC = loyalty.repeat_serialize,
	DESERIALFUNC = loyalty.repeat_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.repeat_purchase_rate(customer "any") (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.repeat_accum,
	FINALFUNC = loyalty.repeat_final_rate,
	COMBINEFUNC = loyalty.repeat_combine,
	SERIALFUNC = loyalty.repeat_serialize,
	DESERIALFUNC = loyalty.repeat_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.repeat_purchase_rate(customer "any", order_key "any") (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.repeat_accum,
	FINALFUNC = loyalty.repeat_final_rate,
	COMBINEFUNC = loyalty.repeat_combine,
	SERIALFUNC = loyalty.repeat_serialize,
	DESERIALFUNC = loyalty.repeat_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.purchase_frequency(customer "any") (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.repeat_accum,
	FINALFUNC = loyalty.repeat_final_frequency,
	COMBINEFUNC = loyalty.repeat_combine,
	SERIALFUNC = loyalty.repeat_serialize,
	DESERIALFUNC = loyalty.repeat_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.purchase_frequency(customer "any", order_key "any") (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.repeat_accum,
	FINALFUNC = loyalty.repeat_final_frequency,
	COMBINEFUNC = loyalty.repeat_combine,
	SERIALFUNC = loyalty.repeat_serialize,
	DESERIALFUNC = loyalty.repeat_deserialize,
	PARALLEL = SAFE
);

CREATE FUNCTION loyalty.repeat_summary_add(loyalty.repeat_summary, loyalty.repeat_summary) RETURNS loyalty.repeat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_add';
CREATE FUNCTION loyalty.repeat_summary_subtract(loyalty.repeat_summary, loyalty.repeat_summary) RETURNS loyalty.repeat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_subtract';
CREATE FUNCTION loyalty.repeat_summary_final(loyalty.repeat_summary) RETURNS loyalty.repeat_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_repeat_rollup';

CREATE AGGREGATE loyalty.rollup(summary loyalty.repeat_summary) (
	STYPE = loyalty.repeat_summary,
	SSPACE = 32,
	INITCOND = '(customers:0,repeat_customers:0,orders:0)',
	SFUNC = loyalty.repeat_summary_add,
	FINALFUNC = loyalty.repeat_summary_final,
	COMBINEFUNC = loyalty.repeat_summary_add,
	MSTYPE = loyalty.repeat_summary,
	MSSPACE = 32,
	MINITCOND = '(customers:0,repeat_customers:0,orders:0)',
	MSFUNC = loyalty.repeat_summary_add,
	MINVFUNC = loyalty.repeat_summary_subtract,
	MFINALFUNC = loyalty.repeat_summary_final,
	PARALLEL = SAFE
);


CREATE TYPE loyalty.retention_summary;

CREATE FUNCTION loyalty.retention_summary_in(cstring) RETURNS loyalty.retention_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_in';
CREATE FUNCTION loyalty.retention_summary_out(loyalty.retention_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_out';
CREATE FUNCTION loyalty.retention_summary_recv(internal) RETURNS loyalty.retention_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_recv';
CREATE FUNCTION loyalty.retention_summary_send(loyalty.retention_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_send';

CREATE TYPE loyalty.retention_summary (
	INPUT = loyalty.retention_summary_in,
	OUTPUT = loyalty.retention_summary_out,
	RECEIVE = loyalty.retention_summary_recv,
	SEND = loyalty.retention_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.retention_summary_eq(loyalty.retention_summary, loyalty.retention_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.retention_summary_ne(loyalty.retention_summary, loyalty.retention_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.retention_summary_hash(loyalty.retention_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.retention_summary_hash_extended(loyalty.retention_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.retention_summary, RIGHTARG = loyalty.retention_summary, FUNCTION = loyalty.retention_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.retention_summary, RIGHTARG = loyalty.retention_summary, FUNCTION = loyalty.retention_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.retention_summary_hash_ops DEFAULT FOR TYPE loyalty.retention_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.retention_summary_hash(loyalty.retention_summary),
	FUNCTION 2 loyalty.retention_summary_hash_extended(loyalty.retention_summary, bigint);

CREATE FUNCTION loyalty.retention_summary(start_customers bigint, retained bigint, end_customers bigint) RETURNS loyalty.retention_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_make';
CREATE FUNCTION loyalty.start_customers(loyalty.retention_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_start';
CREATE FUNCTION loyalty.end_customers(loyalty.retention_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_end';
CREATE FUNCTION loyalty.retained(loyalty.retention_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_retained';
CREATE FUNCTION loyalty.lost(loyalty.retention_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_lost';
CREATE FUNCTION loyalty.new_customers(loyalty.retention_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_new';
CREATE FUNCTION loyalty.retention_rate(loyalty.retention_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_rate';
CREATE FUNCTION loyalty.churn_rate(loyalty.retention_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_churn';

-- The classical formulas, from counts that somebody else made

CREATE FUNCTION loyalty.retention_rate(start_customers bigint, end_customers bigint, new_customers bigint) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_classical_rate';
CREATE FUNCTION loyalty.churn_rate(start_customers bigint, end_customers bigint, new_customers bigint) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_classical_churn';

-- The state is internal: it holds the set of customers.

CREATE FUNCTION loyalty.retention_accum(internal, "any", timestamptz, tstzrange, tstzrange) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_accum';
CREATE FUNCTION loyalty.retention_accum(internal, "any", timestamp, tsrange, tsrange) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_accum';
CREATE FUNCTION loyalty.retention_accum(internal, "any", date, daterange, daterange) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_accum';
CREATE FUNCTION loyalty.retention_combine(internal, internal) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_combine';
CREATE FUNCTION loyalty.retention_serialize(internal) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_serialize';
CREATE FUNCTION loyalty.retention_deserialize(bytea, internal) RETURNS internal
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_deserialize';
CREATE FUNCTION loyalty.retention_final(internal) RETURNS loyalty.retention_summary
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_final';
CREATE FUNCTION loyalty.retention_final_rate(internal) RETURNS float8
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_final_rate';
CREATE FUNCTION loyalty.retention_final_churn(internal) RETURNS float8
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_final_churn';

CREATE AGGREGATE loyalty.retention_agg(customer "any", at timestamptz, start_period tstzrange, end_period tstzrange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.retention_accum,
	FINALFUNC = loyalty.retention_final,
	COMBINEFUNC = loyalty.retention_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.retention_agg(customer "any", at timestamp, start_period tsrange, end_period tsrange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.retention_accum,
	FINALFUNC = loyalty.retention_final,
	COMBINEFUNC = loyalty.retention_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.retention_agg(customer "any", at date, start_period daterange, end_period daterange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.retention_accum,
	FINALFUNC = loyalty.retention_final,
	COMBINEFUNC = loyalty.retention_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.retention_rate(customer "any", at timestamptz, start_period tstzrange, end_period tstzrange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.retention_accum,
	FINALFUNC = loyalty.retention_final_rate,
	COMBINEFUNC = loyalty.retention_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.retention_rate(customer "any", at timestamp, start_period tsrange, end_period tsrange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.retention_accum,
	FINALFUNC = loyalty.retention_final_rate,
	COMBINEFUNC = loyalty.retention_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.retention_rate(customer "any", at date, start_period daterange, end_period daterange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.retention_accum,
	FINALFUNC = loyalty.retention_final_rate,
	COMBINEFUNC = loyalty.retention_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.churn_rate(customer "any", at timestamptz, start_period tstzrange, end_period tstzrange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.retention_accum,
	FINALFUNC = loyalty.retention_final_churn,
	COMBINEFUNC = loyalty.retention_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.churn_rate(customer "any", at timestamp, start_period tsrange, end_period tsrange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.retention_accum,
	FINALFUNC = loyalty.retention_final_churn,
	COMBINEFUNC = loyalty.retention_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.churn_rate(customer "any", at date, start_period daterange, end_period daterange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.retention_accum,
	FINALFUNC = loyalty.retention_final_churn,
	COMBINEFUNC = loyalty.retention_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);

CREATE FUNCTION loyalty.retention_summary_add(loyalty.retention_summary, loyalty.retention_summary) RETURNS loyalty.retention_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_add';
CREATE FUNCTION loyalty.retention_summary_subtract(loyalty.retention_summary, loyalty.retention_summary) RETURNS loyalty.retention_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_subtract';
CREATE FUNCTION loyalty.retention_summary_final(loyalty.retention_summary) RETURNS loyalty.retention_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_rollup';

CREATE AGGREGATE loyalty.rollup(summary loyalty.retention_summary) (
	STYPE = loyalty.retention_summary,
	SSPACE = 32,
	INITCOND = '(start:0,retained:0,end:0)',
	SFUNC = loyalty.retention_summary_add,
	FINALFUNC = loyalty.retention_summary_final,
	COMBINEFUNC = loyalty.retention_summary_add,
	MSTYPE = loyalty.retention_summary,
	MSSPACE = 32,
	MINITCOND = '(start:0,retained:0,end:0)',
	MSFUNC = loyalty.retention_summary_add,
	MINVFUNC = loyalty.retention_summary_subtract,
	MFINALFUNC = loyalty.retention_summary_final,
	PARALLEL = SAFE
);

COMMENT ON FUNCTION loyalty.repeat_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.repeat_summary_out(loyalty.repeat_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.repeat_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.repeat_summary_send(loyalty.repeat_summary) IS 'I/O';
COMMENT ON TYPE loyalty.repeat_summary IS 'customers, repeat customers and orders';
COMMENT ON FUNCTION loyalty.repeat_summary_eq(loyalty.repeat_summary, loyalty.repeat_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.repeat_summary_ne(loyalty.repeat_summary, loyalty.repeat_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.repeat_summary_hash(loyalty.repeat_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.repeat_summary_hash_extended(loyalty.repeat_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.repeat_summary, loyalty.repeat_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.repeat_summary, loyalty.repeat_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.repeat_summary_hash_ops USING hash IS 'hash of repeat_summary';
COMMENT ON FUNCTION loyalty.repeat_summary(bigint, bigint, bigint) IS 'a summary made from known counts';
COMMENT ON FUNCTION loyalty.customers(loyalty.repeat_summary) IS 'customers with an order';
COMMENT ON FUNCTION loyalty.repeat_customers(loyalty.repeat_summary) IS 'customers with two orders or more';
COMMENT ON FUNCTION loyalty.orders(loyalty.repeat_summary) IS 'all orders';
COMMENT ON FUNCTION loyalty.repeat_purchase_rate(loyalty.repeat_summary) IS 'share of customers with two orders or more';
COMMENT ON FUNCTION loyalty.purchase_frequency(loyalty.repeat_summary) IS 'orders for each customer';
COMMENT ON FUNCTION loyalty.repeat_accum(internal, "any") IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.repeat_accum(internal, "any", "any") IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.repeat_combine(internal, internal) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.repeat_serialize(internal) IS 'aggregate serial function';
COMMENT ON FUNCTION loyalty.repeat_deserialize(bytea, internal) IS 'aggregate deserial function';
COMMENT ON FUNCTION loyalty.repeat_final(internal) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.repeat_final_rate(internal) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.repeat_final_frequency(internal) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.repeat_agg("any") IS 'summary of customers and orders; each row is an order';
COMMENT ON AGGREGATE loyalty.repeat_agg("any", "any") IS 'summary of customers and orders; rows of a customer with one key are one order';
COMMENT ON AGGREGATE loyalty.repeat_purchase_rate("any") IS 'share of customers with two orders or more; each row is an order';
COMMENT ON AGGREGATE loyalty.repeat_purchase_rate("any", "any") IS 'share of customers with two orders or more; rows of a customer with one key are one order';
COMMENT ON AGGREGATE loyalty.purchase_frequency("any") IS 'orders for each customer; each row is an order';
COMMENT ON AGGREGATE loyalty.purchase_frequency("any", "any") IS 'orders for each customer; rows of a customer with one key are one order';
COMMENT ON FUNCTION loyalty.repeat_summary_add(loyalty.repeat_summary, loyalty.repeat_summary) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.repeat_summary_subtract(loyalty.repeat_summary, loyalty.repeat_summary) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.repeat_summary_final(loyalty.repeat_summary) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.repeat_summary) IS 'one summary of many that share no customers';
COMMENT ON FUNCTION loyalty.retention_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.retention_summary_out(loyalty.retention_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.retention_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.retention_summary_send(loyalty.retention_summary) IS 'I/O';
COMMENT ON TYPE loyalty.retention_summary IS 'customers of one period, of a later one, and of both';
COMMENT ON FUNCTION loyalty.retention_summary_eq(loyalty.retention_summary, loyalty.retention_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.retention_summary_ne(loyalty.retention_summary, loyalty.retention_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.retention_summary_hash(loyalty.retention_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.retention_summary_hash_extended(loyalty.retention_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.retention_summary, loyalty.retention_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.retention_summary, loyalty.retention_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.retention_summary_hash_ops USING hash IS 'hash of retention_summary';
COMMENT ON FUNCTION loyalty.retention_summary(bigint, bigint, bigint) IS 'a summary made from known counts';
COMMENT ON FUNCTION loyalty.start_customers(loyalty.retention_summary) IS 'customers of the first period';
COMMENT ON FUNCTION loyalty.end_customers(loyalty.retention_summary) IS 'customers of the second period';
COMMENT ON FUNCTION loyalty.retained(loyalty.retention_summary) IS 'customers of both periods';
COMMENT ON FUNCTION loyalty.lost(loyalty.retention_summary) IS 'customers of the first period only';
COMMENT ON FUNCTION loyalty.new_customers(loyalty.retention_summary) IS 'customers of the second period only';
COMMENT ON FUNCTION loyalty.retention_rate(loyalty.retention_summary) IS 'share of the customers of the first period who are in the second';
COMMENT ON FUNCTION loyalty.churn_rate(loyalty.retention_summary) IS 'share of the customers of the first period who are not in the second';
COMMENT ON FUNCTION loyalty.retention_rate(bigint, bigint, bigint) IS '(end - new) / start';
COMMENT ON FUNCTION loyalty.churn_rate(bigint, bigint, bigint) IS '1 - (end - new) / start';
COMMENT ON FUNCTION loyalty.retention_accum(internal, "any", timestamptz, tstzrange, tstzrange) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.retention_accum(internal, "any", timestamp, tsrange, tsrange) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.retention_accum(internal, "any", date, daterange, daterange) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.retention_combine(internal, internal) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.retention_serialize(internal) IS 'aggregate serial function';
COMMENT ON FUNCTION loyalty.retention_deserialize(bytea, internal) IS 'aggregate deserial function';
COMMENT ON FUNCTION loyalty.retention_final(internal) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.retention_final_rate(internal) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.retention_final_churn(internal) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.retention_agg("any", timestamptz, tstzrange, tstzrange) IS 'summary of the customers of two periods';
COMMENT ON AGGREGATE loyalty.retention_agg("any", timestamp, tsrange, tsrange) IS 'summary of the customers of two periods';
COMMENT ON AGGREGATE loyalty.retention_agg("any", date, daterange, daterange) IS 'summary of the customers of two periods';
COMMENT ON AGGREGATE loyalty.retention_rate("any", timestamptz, tstzrange, tstzrange) IS 'share of the customers of the first period who are in the second';
COMMENT ON AGGREGATE loyalty.retention_rate("any", timestamp, tsrange, tsrange) IS 'share of the customers of the first period who are in the second';
COMMENT ON AGGREGATE loyalty.retention_rate("any", date, daterange, daterange) IS 'share of the customers of the first period who are in the second';
COMMENT ON AGGREGATE loyalty.churn_rate("any", timestamptz, tstzrange, tstzrange) IS 'share of the customers of the first period who are not in the second';
COMMENT ON AGGREGATE loyalty.churn_rate("any", timestamp, tsrange, tsrange) IS 'share of the customers of the first period who are not in the second';
COMMENT ON AGGREGATE loyalty.churn_rate("any", date, daterange, daterange) IS 'share of the customers of the first period who are not in the second';
COMMENT ON FUNCTION loyalty.retention_summary_add(loyalty.retention_summary, loyalty.retention_summary) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.retention_summary_subtract(loyalty.retention_summary, loyalty.retention_summary) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.retention_summary_final(loyalty.retention_summary) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.retention_summary) IS 'one summary of many that share no customers';

-- Reactivation

CREATE TYPE loyalty.reactivation_summary;

CREATE FUNCTION loyalty.reactivation_summary_in(cstring) RETURNS loyalty.reactivation_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_in';
CREATE FUNCTION loyalty.reactivation_summary_out(loyalty.reactivation_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_out';
CREATE FUNCTION loyalty.reactivation_summary_recv(internal) RETURNS loyalty.reactivation_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_recv';
CREATE FUNCTION loyalty.reactivation_summary_send(loyalty.reactivation_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_send';

CREATE TYPE loyalty.reactivation_summary (
	INPUT = loyalty.reactivation_summary_in,
	OUTPUT = loyalty.reactivation_summary_out,
	RECEIVE = loyalty.reactivation_summary_recv,
	SEND = loyalty.reactivation_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.reactivation_summary_eq(loyalty.reactivation_summary, loyalty.reactivation_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.reactivation_summary_ne(loyalty.reactivation_summary, loyalty.reactivation_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.reactivation_summary_hash(loyalty.reactivation_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.reactivation_summary_hash_extended(loyalty.reactivation_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.reactivation_summary, RIGHTARG = loyalty.reactivation_summary, FUNCTION = loyalty.reactivation_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.reactivation_summary, RIGHTARG = loyalty.reactivation_summary, FUNCTION = loyalty.reactivation_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.reactivation_summary_hash_ops DEFAULT FOR TYPE loyalty.reactivation_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.reactivation_summary_hash(loyalty.reactivation_summary),
	FUNCTION 2 loyalty.reactivation_summary_hash_extended(loyalty.reactivation_summary, bigint);

CREATE FUNCTION loyalty.reactivation_summary(dormant bigint, reactivated bigint, active bigint) RETURNS loyalty.reactivation_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_make';
CREATE FUNCTION loyalty.dormant(loyalty.reactivation_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_dormant';
CREATE FUNCTION loyalty.reactivated(loyalty.reactivation_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivated';
CREATE FUNCTION loyalty.active(loyalty.reactivation_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_active';
CREATE FUNCTION loyalty.reactivation_rate(loyalty.reactivation_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_rate';

CREATE FUNCTION loyalty.reactivation_accum(internal, "any", timestamptz, tstzrange, tstzrange) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_accum';
CREATE FUNCTION loyalty.reactivation_accum(internal, "any", timestamp, tsrange, tsrange) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_accum';
CREATE FUNCTION loyalty.reactivation_accum(internal, "any", date, daterange, daterange) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_accum';
CREATE FUNCTION loyalty.reactivation_combine(internal, internal) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_combine';
CREATE FUNCTION loyalty.reactivation_final(internal) RETURNS loyalty.reactivation_summary
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_final';
CREATE FUNCTION loyalty.reactivation_final_rate(internal) RETURNS float8
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_final_rate';

CREATE AGGREGATE loyalty.reactivation_agg(customer "any", at timestamptz, quiet_period tstzrange, return_period tstzrange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.reactivation_accum,
	FINALFUNC = loyalty.reactivation_final,
	COMBINEFUNC = loyalty.reactivation_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.reactivation_agg(customer "any", at timestamp, quiet_period tsrange, return_period tsrange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.reactivation_accum,
	FINALFUNC = loyalty.reactivation_final,
	COMBINEFUNC = loyalty.reactivation_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.reactivation_agg(customer "any", at date, quiet_period daterange, return_period daterange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.reactivation_accum,
	FINALFUNC = loyalty.reactivation_final,
	COMBINEFUNC = loyalty.reactivation_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.reactivation_rate(customer "any", at timestamptz, quiet_period tstzrange, return_period tstzrange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.reactivation_accum,
	FINALFUNC = loyalty.reactivation_final_rate,
	COMBINEFUNC = loyalty.reactivation_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.reactivation_rate(customer "any", at timestamp, quiet_period tsrange, return_period tsrange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.reactivation_accum,
	FINALFUNC = loyalty.reactivation_final_rate,
	COMBINEFUNC = loyalty.reactivation_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.reactivation_rate(customer "any", at date, quiet_period daterange, return_period daterange) (
	STYPE = internal, SSPACE = 512,
	SFUNC = loyalty.reactivation_accum,
	FINALFUNC = loyalty.reactivation_final_rate,
	COMBINEFUNC = loyalty.reactivation_combine,
	SERIALFUNC = loyalty.retention_serialize,
	DESERIALFUNC = loyalty.retention_deserialize,
	PARALLEL = SAFE
);

CREATE FUNCTION loyalty.reactivation_summary_add(loyalty.reactivation_summary, loyalty.reactivation_summary) RETURNS loyalty.reactivation_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_add';
CREATE FUNCTION loyalty.reactivation_summary_subtract(loyalty.reactivation_summary, loyalty.reactivation_summary) RETURNS loyalty.reactivation_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_subtract';
CREATE FUNCTION loyalty.reactivation_summary_final(loyalty.reactivation_summary) RETURNS loyalty.reactivation_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_reactivation_rollup';

CREATE AGGREGATE loyalty.rollup(summary loyalty.reactivation_summary) (
	STYPE = loyalty.reactivation_summary,
	SSPACE = 32,
	INITCOND = '(dormant:0,reactivated:0,active:0)',
	SFUNC = loyalty.reactivation_summary_add,
	FINALFUNC = loyalty.reactivation_summary_final,
	COMBINEFUNC = loyalty.reactivation_summary_add,
	MSTYPE = loyalty.reactivation_summary,
	MSSPACE = 32,
	MINITCOND = '(dormant:0,reactivated:0,active:0)',
	MSFUNC = loyalty.reactivation_summary_add,
	MINVFUNC = loyalty.reactivation_summary_subtract,
	MFINALFUNC = loyalty.reactivation_summary_final,
	PARALLEL = SAFE
);

-- The churn of several periods

CREATE FUNCTION loyalty.compound_churn(churn float8, periods float8) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_compound';
CREATE FUNCTION loyalty.compound_churn_accum(float8, float8) RETURNS float8
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_compound_accum';
CREATE FUNCTION loyalty.compound_churn_combine(float8, float8) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_compound_combine';
CREATE FUNCTION loyalty.compound_churn_final(float8) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_retention_compound_final';

CREATE AGGREGATE loyalty.compound_churn(churn float8) (
	STYPE = float8,
	SFUNC = loyalty.compound_churn_accum,
	FINALFUNC = loyalty.compound_churn_final,
	COMBINEFUNC = loyalty.compound_churn_combine,
	PARALLEL = SAFE
);

COMMENT ON TYPE loyalty.reactivation_summary IS 'customers who were dormant, those of them who came back, and all who are active';
COMMENT ON FUNCTION loyalty.reactivation_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.reactivation_summary_out(loyalty.reactivation_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.reactivation_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.reactivation_summary_send(loyalty.reactivation_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.reactivation_summary_eq(loyalty.reactivation_summary, loyalty.reactivation_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.reactivation_summary_ne(loyalty.reactivation_summary, loyalty.reactivation_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.reactivation_summary_hash(loyalty.reactivation_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.reactivation_summary_hash_extended(loyalty.reactivation_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.reactivation_summary, loyalty.reactivation_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.reactivation_summary, loyalty.reactivation_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.reactivation_summary_hash_ops USING hash IS 'hash of reactivation_summary';
COMMENT ON FUNCTION loyalty.reactivation_summary(bigint, bigint, bigint) IS 'a summary made from known counts';
COMMENT ON FUNCTION loyalty.dormant(loyalty.reactivation_summary) IS 'customers from before the quiet period, without an order in it';
COMMENT ON FUNCTION loyalty.reactivated(loyalty.reactivation_summary) IS 'dormant customers who came back in the return period';
COMMENT ON FUNCTION loyalty.active(loyalty.reactivation_summary) IS 'customers of the return period, new ones too';
COMMENT ON FUNCTION loyalty.reactivation_rate(loyalty.reactivation_summary) IS 'share of the dormant customers who came back';
COMMENT ON FUNCTION loyalty.reactivation_accum(internal, "any", timestamptz, tstzrange, tstzrange) IS 'aggregate transition function';
COMMENT ON AGGREGATE loyalty.reactivation_agg("any", timestamptz, tstzrange, tstzrange) IS 'summary of the customers who came back after a quiet period';
COMMENT ON AGGREGATE loyalty.reactivation_rate("any", timestamptz, tstzrange, tstzrange) IS 'share of the dormant customers who came back after a quiet period';
COMMENT ON FUNCTION loyalty.reactivation_accum(internal, "any", timestamp, tsrange, tsrange) IS 'aggregate transition function';
COMMENT ON AGGREGATE loyalty.reactivation_agg("any", timestamp, tsrange, tsrange) IS 'summary of the customers who came back after a quiet period';
COMMENT ON AGGREGATE loyalty.reactivation_rate("any", timestamp, tsrange, tsrange) IS 'share of the dormant customers who came back after a quiet period';
COMMENT ON FUNCTION loyalty.reactivation_accum(internal, "any", date, daterange, daterange) IS 'aggregate transition function';
COMMENT ON AGGREGATE loyalty.reactivation_agg("any", date, daterange, daterange) IS 'summary of the customers who came back after a quiet period';
COMMENT ON AGGREGATE loyalty.reactivation_rate("any", date, daterange, daterange) IS 'share of the dormant customers who came back after a quiet period';
COMMENT ON FUNCTION loyalty.reactivation_combine(internal, internal) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.reactivation_final(internal) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.reactivation_final_rate(internal) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.reactivation_summary_add(loyalty.reactivation_summary, loyalty.reactivation_summary) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.reactivation_summary_subtract(loyalty.reactivation_summary, loyalty.reactivation_summary) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.reactivation_summary_final(loyalty.reactivation_summary) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.reactivation_summary) IS 'one summary of many that share no customers';
COMMENT ON FUNCTION loyalty.compound_churn(float8, float8) IS 'what a churn becomes over so many periods: 1 - (1 - churn) ^ periods';
COMMENT ON FUNCTION loyalty.compound_churn_accum(float8, float8) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.compound_churn_combine(float8, float8) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.compound_churn_final(float8) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.compound_churn(float8) IS 'churn of several periods, one after the other';
