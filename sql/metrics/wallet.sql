-- wallet: share of wallet and the Wallet Allocation Rule. docs/wallet.md

CREATE TYPE loyalty.wallet_summary;

CREATE FUNCTION loyalty.wallet_summary_in(cstring) RETURNS loyalty.wallet_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_wallet_in';
CREATE FUNCTION loyalty.wallet_summary_out(loyalty.wallet_summary) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_wallet_out';
CREATE FUNCTION loyalty.wallet_summary_recv(internal) RETURNS loyalty.wallet_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_wallet_recv';
CREATE FUNCTION loyalty.wallet_summary_send(loyalty.wallet_summary) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_wallet_send';

CREATE TYPE loyalty.wallet_summary (
	INPUT = loyalty.wallet_summary_in,
	OUTPUT = loyalty.wallet_summary_out,
	RECEIVE = loyalty.wallet_summary_recv,
	SEND = loyalty.wallet_summary_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = plain
);

CREATE FUNCTION loyalty.wallet_summary_eq(loyalty.wallet_summary, loyalty.wallet_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.wallet_summary_ne(loyalty.wallet_summary, loyalty.wallet_summary) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.wallet_summary_hash(loyalty.wallet_summary) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.wallet_summary_hash_extended(loyalty.wallet_summary, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
	LEFTARG = loyalty.wallet_summary, RIGHTARG = loyalty.wallet_summary, FUNCTION = loyalty.wallet_summary_eq,
	COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
	LEFTARG = loyalty.wallet_summary, RIGHTARG = loyalty.wallet_summary, FUNCTION = loyalty.wallet_summary_ne,
	COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.wallet_summary_hash_ops DEFAULT FOR TYPE loyalty.wallet_summary USING hash AS
	OPERATOR 1 loyalty.=,
	FUNCTION 1 loyalty.wallet_summary_hash(loyalty.wallet_summary),
	FUNCTION 2 loyalty.wallet_summary_hash_extended(loyalty.wallet_summary, bigint);

-- Aggregation

CREATE FUNCTION loyalty.wallet_accum(loyalty.wallet_summary, float8, float8) RETURNS loyalty.wallet_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_wallet_accum';
CREATE FUNCTION loyalty.wallet_combine(loyalty.wallet_summary, loyalty.wallet_summary) RETURNS loyalty.wallet_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_wallet_combine';
CREATE FUNCTION loyalty.wallet_final(loyalty.wallet_summary) RETURNS loyalty.wallet_summary
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_wallet_final';
CREATE FUNCTION loyalty.share_of_wallet(loyalty.wallet_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_wallet_share';

CREATE AGGREGATE loyalty.wallet_agg(own float8, category float8) (
	STYPE = loyalty.wallet_summary,
	SSPACE = 80,
	INITCOND = '(members:0,own:0,category:0,shares:0)',
	SFUNC = loyalty.wallet_accum,
	FINALFUNC = loyalty.wallet_final,
	COMBINEFUNC = loyalty.wallet_combine,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.share_of_wallet(own float8, category float8) (
	STYPE = loyalty.wallet_summary,
	SSPACE = 80,
	INITCOND = '(members:0,own:0,category:0,shares:0)',
	SFUNC = loyalty.wallet_accum,
	FINALFUNC = loyalty.share_of_wallet,
	COMBINEFUNC = loyalty.wallet_combine,
	PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rollup(summary loyalty.wallet_summary) (
	STYPE = loyalty.wallet_summary,
	SSPACE = 80,
	INITCOND = '(members:0,own:0,category:0,shares:0)',
	SFUNC = loyalty.wallet_combine,
	FINALFUNC = loyalty.wallet_final,
	COMBINEFUNC = loyalty.wallet_combine,
	PARALLEL = SAFE
);

-- Accessors

CREATE FUNCTION loyalty.members(loyalty.wallet_summary) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_wallet_members';
CREATE FUNCTION loyalty.own_spend(loyalty.wallet_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_wallet_own';
CREATE FUNCTION loyalty.category_spend(loyalty.wallet_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_wallet_category';
CREATE FUNCTION loyalty.mean_share_of_wallet(loyalty.wallet_summary) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_wallet_mean_share';

-- The rule

CREATE FUNCTION loyalty.wallet_allocation(rank float8, brands integer) RETURNS float8
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_wallet_allocation';
CREATE FUNCTION loyalty.wallet_allocation(ratings float8[]) RETURNS float8[]
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_wallet_allocations';

COMMENT ON TYPE loyalty.wallet_summary IS 'members, their own and their category spend, and the sum of their shares';
COMMENT ON FUNCTION loyalty.wallet_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.wallet_summary_out(loyalty.wallet_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.wallet_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.wallet_summary_send(loyalty.wallet_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.wallet_summary_eq(loyalty.wallet_summary, loyalty.wallet_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.wallet_summary_ne(loyalty.wallet_summary, loyalty.wallet_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.wallet_summary_hash(loyalty.wallet_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.wallet_summary_hash_extended(loyalty.wallet_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.wallet_summary, loyalty.wallet_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.wallet_summary, loyalty.wallet_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.wallet_summary_hash_ops USING hash IS 'hash of wallet_summary';
COMMENT ON FUNCTION loyalty.wallet_accum(loyalty.wallet_summary, float8, float8) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.wallet_combine(loyalty.wallet_summary, loyalty.wallet_summary) IS 'aggregate transition and combine function';
COMMENT ON FUNCTION loyalty.wallet_final(loyalty.wallet_summary) IS 'aggregate final function';
COMMENT ON FUNCTION loyalty.share_of_wallet(loyalty.wallet_summary) IS 'own spend / category spend of all members together';
COMMENT ON AGGREGATE loyalty.wallet_agg(float8, float8) IS 'summary of what members spend here and in the whole category';
COMMENT ON AGGREGATE loyalty.share_of_wallet(float8, float8) IS 'own spend / category spend of all members together';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.wallet_summary) IS 'one summary of many that share no members';
COMMENT ON FUNCTION loyalty.members(loyalty.wallet_summary) IS 'members with a category spend above 0';
COMMENT ON FUNCTION loyalty.own_spend(loyalty.wallet_summary) IS 'what members spend here';
COMMENT ON FUNCTION loyalty.category_spend(loyalty.wallet_summary) IS 'what members spend in the category, here included';
COMMENT ON FUNCTION loyalty.mean_share_of_wallet(loyalty.wallet_summary) IS 'mean of the shares of the members';
COMMENT ON FUNCTION loyalty.wallet_allocation(float8, integer) IS 'Wallet Allocation Rule: share of wallet estimated from the rank among the brands used';
COMMENT ON FUNCTION loyalty.wallet_allocation(float8[]) IS 'Wallet Allocation Rule: shares of all brands that a customer rated, the highest rating being the best';
