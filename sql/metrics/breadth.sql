-- breadth: cross-sell breadth and up-sell. docs/breadth.md

CREATE TYPE loyalty.breadth_summary;

CREATE FUNCTION loyalty.breadth_summary_in(cstring) RETURNS loyalty.breadth_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_in';
CREATE FUNCTION loyalty.breadth_summary_out(loyalty.breadth_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_out';
CREATE FUNCTION loyalty.breadth_summary_recv(internal) RETURNS loyalty.breadth_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_recv';
CREATE FUNCTION loyalty.breadth_summary_send(loyalty.breadth_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_send';

CREATE TYPE loyalty.breadth_summary (
	INPUT = loyalty.breadth_summary_in,
	OUTPUT = loyalty.breadth_summary_out,
	RECEIVE = loyalty.breadth_summary_recv,
	SEND = loyalty.breadth_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = extended
);

CREATE FUNCTION loyalty.breadth_summary_eq(loyalty.breadth_summary, loyalty.breadth_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.breadth_summary_ne(loyalty.breadth_summary, loyalty.breadth_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.breadth_summary_hash(loyalty.breadth_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.breadth_summary_hash_extended(loyalty.breadth_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.breadth_summary, RIGHTARG = loyalty.breadth_summary, FUNCTION = loyalty.breadth_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.breadth_summary, RIGHTARG = loyalty.breadth_summary, FUNCTION = loyalty.breadth_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.breadth_summary_hash_ops DEFAULT FOR TYPE loyalty.breadth_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.breadth_summary_hash(loyalty.breadth_summary),
	FUNCTION 2 loyalty.breadth_summary_hash_extended(loyalty.breadth_summary, bigint);

-- Aggregation. The state is internal: it holds the sets of customers and their categories

CREATE FUNCTION loyalty.breadth_accum(internal, "any", "any") RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_accum';
CREATE FUNCTION loyalty.breadth_combine(internal, internal) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_combine';
CREATE FUNCTION loyalty.breadth_serialize(internal) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_serialize';
CREATE FUNCTION loyalty.breadth_deserialize(bytea, internal) RETURNS internal
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_deserialize';
CREATE FUNCTION loyalty.breadth_final(internal) RETURNS loyalty.breadth_summary
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_final';
CREATE FUNCTION loyalty.breadth_final_mean(internal) RETURNS float8
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_final_mean';
CREATE FUNCTION loyalty.breadth_summary_add(loyalty.breadth_summary, loyalty.breadth_summary) RETURNS loyalty.breadth_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_add';

CREATE AGGREGATE loyalty.breadth_agg(customer "any", category "any") (
	STYPE = internal,
	SSPACE = 512,
	SFUNC = loyalty.breadth_accum,
	FINALFUNC = loyalty.breadth_final,
	COMBINEFUNC = loyalty.breadth_combine,
	SERIALFUNC = loyalty.breadth_serialize,
	DESERIALFUNC = loyalty.breadth_deserialize,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.cross_sell_breadth(customer "any", category "any") (
	STYPE = internal,
	SSPACE = 512,
	SFUNC = loyalty.breadth_accum,
	FINALFUNC = loyalty.breadth_final_mean,
	COMBINEFUNC = loyalty.breadth_combine,
	SERIALFUNC = loyalty.breadth_serialize,
	DESERIALFUNC = loyalty.breadth_deserialize,
	PARALLEL = SAFE
);
CREATE FUNCTION loyalty.breadth_summary_subtract(loyalty.breadth_summary, loyalty.breadth_summary) RETURNS loyalty.breadth_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_subtract';
CREATE AGGREGATE loyalty.rollup(summary loyalty.breadth_summary) (
	STYPE = loyalty.breadth_summary,
	SFUNC = loyalty.breadth_summary_add,
	COMBINEFUNC = loyalty.breadth_summary_add,
	MSTYPE = loyalty.breadth_summary,
	MSFUNC = loyalty.breadth_summary_add,
	MINVFUNC = loyalty.breadth_summary_subtract,
	PARALLEL = SAFE
);

-- Accessors

CREATE FUNCTION loyalty.customers(loyalty.breadth_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_customers';
CREATE FUNCTION loyalty.cross_sell_breadth(loyalty.breadth_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_mean';
CREATE FUNCTION loyalty.median_breadth(loyalty.breadth_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_median';
CREATE FUNCTION loyalty.multi_category_share(summary loyalty.breadth_summary, at_least integer DEFAULT 2) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_share';
CREATE FUNCTION loyalty.breadth_distribution(summary loyalty.breadth_summary, OUT categories bigint, OUT customers bigint) RETURNS SETOF record
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_breadth_distribution';

-- Up-sell

CREATE TYPE loyalty.upsell_summary;

CREATE FUNCTION loyalty.upsell_summary_in(cstring) RETURNS loyalty.upsell_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_upsell_in';
CREATE FUNCTION loyalty.upsell_summary_out(loyalty.upsell_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_upsell_out';
CREATE FUNCTION loyalty.upsell_summary_recv(internal) RETURNS loyalty.upsell_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_upsell_recv';
CREATE FUNCTION loyalty.upsell_summary_send(loyalty.upsell_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_upsell_send';

CREATE TYPE loyalty.upsell_summary (
	INPUT = loyalty.upsell_summary_in,
	OUTPUT = loyalty.upsell_summary_out,
	RECEIVE = loyalty.upsell_summary_recv,
	SEND = loyalty.upsell_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.upsell_summary_eq(loyalty.upsell_summary, loyalty.upsell_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.upsell_summary_ne(loyalty.upsell_summary, loyalty.upsell_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.upsell_summary_hash(loyalty.upsell_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.upsell_summary_hash_extended(loyalty.upsell_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.upsell_summary, RIGHTARG = loyalty.upsell_summary, FUNCTION = loyalty.upsell_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.upsell_summary, RIGHTARG = loyalty.upsell_summary, FUNCTION = loyalty.upsell_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.upsell_summary_hash_ops DEFAULT FOR TYPE loyalty.upsell_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.upsell_summary_hash(loyalty.upsell_summary),
	FUNCTION 2 loyalty.upsell_summary_hash_extended(loyalty.upsell_summary, bigint);

CREATE FUNCTION loyalty.upsell_accum(loyalty.upsell_summary, float8, float8) RETURNS loyalty.upsell_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_upsell_accum';
CREATE FUNCTION loyalty.upsell_combine(loyalty.upsell_summary, loyalty.upsell_summary) RETURNS loyalty.upsell_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_upsell_combine';
CREATE FUNCTION loyalty.upsell_final(loyalty.upsell_summary) RETURNS loyalty.upsell_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_upsell_final';
CREATE FUNCTION loyalty.upsell_rate(loyalty.upsell_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_upsell_rate';

CREATE AGGREGATE loyalty.upsell_agg(before float8, after float8) (
	STYPE = loyalty.upsell_summary,
	SSPACE = 80,
	INITCOND = '(members:0,raised:0,lowered:0,before:0,after:0,gained:0)',
	SFUNC = loyalty.upsell_accum,
	FINALFUNC = loyalty.upsell_final,
	COMBINEFUNC = loyalty.upsell_combine,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.upsell_rate(before float8, after float8) (
	STYPE = loyalty.upsell_summary,
	SSPACE = 80,
	INITCOND = '(members:0,raised:0,lowered:0,before:0,after:0,gained:0)',
	SFUNC = loyalty.upsell_accum,
	FINALFUNC = loyalty.upsell_rate,
	COMBINEFUNC = loyalty.upsell_combine,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rollup(summary loyalty.upsell_summary) (
	STYPE = loyalty.upsell_summary,
	SSPACE = 80,
	INITCOND = '(members:0,raised:0,lowered:0,before:0,after:0,gained:0)',
	SFUNC = loyalty.upsell_combine,
	FINALFUNC = loyalty.upsell_final,
	COMBINEFUNC = loyalty.upsell_combine,
	PARALLEL = SAFE
);

CREATE FUNCTION loyalty.members(loyalty.upsell_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_upsell_members';
CREATE FUNCTION loyalty.raised(loyalty.upsell_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_upsell_raised';
CREATE FUNCTION loyalty.lowered(loyalty.upsell_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_upsell_lowered';
CREATE FUNCTION loyalty.upsell_gain(loyalty.upsell_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_upsell_gain';

COMMENT ON TYPE loyalty.breadth_summary IS 'customers by the number of categories they buy from';
COMMENT ON FUNCTION loyalty.breadth_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.breadth_summary_out(loyalty.breadth_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.breadth_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.breadth_summary_send(loyalty.breadth_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.breadth_summary_eq(loyalty.breadth_summary, loyalty.breadth_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.breadth_summary_ne(loyalty.breadth_summary, loyalty.breadth_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.breadth_summary_hash(loyalty.breadth_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.breadth_summary_hash_extended(loyalty.breadth_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.breadth_summary, loyalty.breadth_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.breadth_summary, loyalty.breadth_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.breadth_summary_hash_ops USING hash IS 'hash of breadth_summary';
COMMENT ON FUNCTION loyalty.breadth_accum(internal, "any", "any") IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.breadth_combine(internal, internal) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.breadth_serialize(internal) IS 'aggregate serial function';
COMMENT ON FUNCTION loyalty.breadth_deserialize(bytea, internal) IS 'aggregate deserial function';
COMMENT ON FUNCTION loyalty.breadth_final(internal) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.breadth_final_mean(internal) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.breadth_summary_subtract(loyalty.breadth_summary, loyalty.breadth_summary) IS 'aggregate inverse transition function';
COMMENT ON FUNCTION loyalty.breadth_summary_add(loyalty.breadth_summary, loyalty.breadth_summary) IS 'aggregate transition and combine function';
COMMENT ON AGGREGATE loyalty.breadth_agg("any", "any") IS 'summary of the distinct categories that customers buy from';
COMMENT ON AGGREGATE loyalty.cross_sell_breadth("any", "any") IS 'mean number of distinct categories of a customer';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.breadth_summary) IS 'one summary of many that share no customers';
COMMENT ON FUNCTION loyalty.customers(loyalty.breadth_summary) IS 'all customers';
COMMENT ON FUNCTION loyalty.cross_sell_breadth(loyalty.breadth_summary) IS 'mean number of categories of a customer';
COMMENT ON FUNCTION loyalty.median_breadth(loyalty.breadth_summary) IS 'median number of categories of a customer';
COMMENT ON FUNCTION loyalty.multi_category_share(loyalty.breadth_summary, integer) IS 'share of customers with at least so many categories';
COMMENT ON FUNCTION loyalty.breadth_distribution(loyalty.breadth_summary) IS 'customers by their number of categories';
COMMENT ON TYPE loyalty.upsell_summary IS 'members, how many of them buy dearer and cheaper than before, and what they paid';
COMMENT ON FUNCTION loyalty.upsell_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.upsell_summary_out(loyalty.upsell_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.upsell_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.upsell_summary_send(loyalty.upsell_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.upsell_summary_eq(loyalty.upsell_summary, loyalty.upsell_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.upsell_summary_ne(loyalty.upsell_summary, loyalty.upsell_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.upsell_summary_hash(loyalty.upsell_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.upsell_summary_hash_extended(loyalty.upsell_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.upsell_summary, loyalty.upsell_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.upsell_summary, loyalty.upsell_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.upsell_summary_hash_ops USING hash IS 'hash of upsell_summary';
COMMENT ON FUNCTION loyalty.upsell_accum(loyalty.upsell_summary, float8, float8) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.upsell_combine(loyalty.upsell_summary, loyalty.upsell_summary) IS 'aggregate transition and combine function';
COMMENT ON FUNCTION loyalty.upsell_final(loyalty.upsell_summary) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.upsell_rate(loyalty.upsell_summary) IS 'members who buy dearer than before / members';
COMMENT ON AGGREGATE loyalty.upsell_agg(float8, float8) IS 'summary of what members paid before and after';
COMMENT ON AGGREGATE loyalty.upsell_rate(float8, float8) IS 'members who buy dearer than before / members';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.upsell_summary) IS 'one summary of many that share no members';
COMMENT ON FUNCTION loyalty.members(loyalty.upsell_summary) IS 'all members';
COMMENT ON FUNCTION loyalty.raised(loyalty.upsell_summary) IS 'members who buy dearer than before';
COMMENT ON FUNCTION loyalty.lowered(loyalty.upsell_summary) IS 'members who buy cheaper than before';
COMMENT ON FUNCTION loyalty.upsell_gain(loyalty.upsell_summary) IS 'what those who buy dearer pay more / what all paid before';
