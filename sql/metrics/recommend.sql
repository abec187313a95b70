-- recommend: what members may want next, from what was bought together. docs/recommend.md

-- ----- baskets as a value: the neighbours of items counted in C

CREATE TYPE loyalty.basket_summary;

CREATE FUNCTION loyalty.basket_summary_in(cstring) RETURNS loyalty.basket_summary
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_recommend_in';
CREATE FUNCTION loyalty.basket_summary_out(loyalty.basket_summary) RETURNS cstring
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_recommend_out';
CREATE FUNCTION loyalty.basket_summary_recv(internal) RETURNS loyalty.basket_summary
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_recommend_recv';
CREATE FUNCTION loyalty.basket_summary_send(loyalty.basket_summary) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_recommend_send';

CREATE TYPE loyalty.basket_summary (
    INPUT = loyalty.basket_summary_in,
    OUTPUT = loyalty.basket_summary_out,
    RECEIVE = loyalty.basket_summary_recv,
    SEND = loyalty.basket_summary_send,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = extended
);

CREATE FUNCTION loyalty.basket_summary_eq(loyalty.basket_summary, loyalty.basket_summary) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_eq';
CREATE FUNCTION loyalty.basket_summary_ne(loyalty.basket_summary, loyalty.basket_summary) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_ne';
CREATE FUNCTION loyalty.basket_summary_hash(loyalty.basket_summary) RETURNS integer
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash';
CREATE FUNCTION loyalty.basket_summary_hash_extended(loyalty.basket_summary, bigint) RETURNS bigint
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_summary_hash_extended';

CREATE OPERATOR loyalty.= (
    LEFTARG = loyalty.basket_summary, RIGHTARG = loyalty.basket_summary, FUNCTION = loyalty.basket_summary_eq,
    COMMUTATOR = OPERATOR(loyalty.=), NEGATOR = OPERATOR(loyalty.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
CREATE OPERATOR loyalty.<> (
    LEFTARG = loyalty.basket_summary, RIGHTARG = loyalty.basket_summary, FUNCTION = loyalty.basket_summary_ne,
    COMMUTATOR = OPERATOR(loyalty.<>), NEGATOR = OPERATOR(loyalty.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR CLASS loyalty.basket_summary_hash_ops DEFAULT FOR TYPE loyalty.basket_summary USING hash AS
    OPERATOR 1 loyalty.=,
    FUNCTION 1 loyalty.basket_summary_hash(loyalty.basket_summary),
    FUNCTION 2 loyalty.basket_summary_hash_extended(loyalty.basket_summary, bigint);

CREATE FUNCTION loyalty.basket_accum(internal, text[]) RETURNS internal
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_recommend_accum';
CREATE FUNCTION loyalty.basket_accum(internal, loyalty.basket_summary) RETURNS internal
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_recommend_accum_summary';
CREATE FUNCTION loyalty.basket_combine(internal, internal) RETURNS internal
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_recommend_combine';
CREATE FUNCTION loyalty.basket_serialize(internal) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_recommend_serialize';
CREATE FUNCTION loyalty.basket_deserialize(bytea, internal) RETURNS internal
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_recommend_deserialize';
CREATE FUNCTION loyalty.basket_final(internal) RETURNS loyalty.basket_summary
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_recommend_final';

CREATE AGGREGATE loyalty.basket_agg(items text[]) (
    STYPE = internal, SSPACE = 65536,
    SFUNC = loyalty.basket_accum,
    FINALFUNC = loyalty.basket_final,
    COMBINEFUNC = loyalty.basket_combine,
    SERIALFUNC = loyalty.basket_serialize,
    DESERIALFUNC = loyalty.basket_deserialize,
    PARALLEL = SAFE
);
CREATE AGGREGATE loyalty.rollup(summary loyalty.basket_summary) (
    STYPE = internal, SSPACE = 65536,
    SFUNC = loyalty.basket_accum,
    FINALFUNC = loyalty.basket_final,
    COMBINEFUNC = loyalty.basket_combine,
    SERIALFUNC = loyalty.basket_serialize,
    DESERIALFUNC = loyalty.basket_deserialize,
    PARALLEL = SAFE
);

CREATE FUNCTION loyalty.baskets(loyalty.basket_summary) RETURNS bigint
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_recommend_baskets';
CREATE FUNCTION loyalty.similar_items(summary loyalty.basket_summary, shrinkage numeric DEFAULT 10, neighbours int DEFAULT 20,
        min_together int DEFAULT 2, max_basket int DEFAULT 100)
    RETURNS TABLE (item text, other text, together bigint, similarity numeric, lift numeric)
    LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 10000 AS 'MODULE_PATHNAME', 'loyalty_recommend_similarity';

COMMENT ON TYPE loyalty.basket_summary IS 'baskets, by the items in them';
COMMENT ON FUNCTION loyalty.basket_summary_in(cstring) IS 'I/O';
COMMENT ON FUNCTION loyalty.basket_summary_out(loyalty.basket_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.basket_summary_recv(internal) IS 'I/O';
COMMENT ON FUNCTION loyalty.basket_summary_send(loyalty.basket_summary) IS 'I/O';
COMMENT ON FUNCTION loyalty.basket_summary_eq(loyalty.basket_summary, loyalty.basket_summary) IS 'implementation of = operator';
COMMENT ON FUNCTION loyalty.basket_summary_ne(loyalty.basket_summary, loyalty.basket_summary) IS 'implementation of <> operator';
COMMENT ON FUNCTION loyalty.basket_summary_hash(loyalty.basket_summary) IS 'hash';
COMMENT ON FUNCTION loyalty.basket_summary_hash_extended(loyalty.basket_summary, bigint) IS 'hash';
COMMENT ON OPERATOR loyalty.= (loyalty.basket_summary, loyalty.basket_summary) IS 'equal';
COMMENT ON OPERATOR loyalty.<> (loyalty.basket_summary, loyalty.basket_summary) IS 'not equal';
COMMENT ON OPERATOR CLASS loyalty.basket_summary_hash_ops USING hash IS 'hash of basket_summary';
COMMENT ON FUNCTION loyalty.basket_accum(internal, text[]) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.basket_accum(internal, loyalty.basket_summary) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty.basket_combine(internal, internal) IS 'aggregate combine function';
COMMENT ON FUNCTION loyalty.basket_serialize(internal) IS 'aggregate serial function';
COMMENT ON FUNCTION loyalty.basket_deserialize(bytea, internal) IS 'aggregate deserial function';
COMMENT ON FUNCTION loyalty.basket_final(internal) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty.basket_agg(text[]) IS 'summary of baskets, a row each, for similar_items()';
COMMENT ON AGGREGATE loyalty.rollup(loyalty.basket_summary) IS 'one summary of many that share no baskets';
COMMENT ON FUNCTION loyalty.baskets(loyalty.basket_summary) IS 'number of baskets';
COMMENT ON FUNCTION loyalty.similar_items(loyalty.basket_summary, numeric, int, int, int) IS
    'The nearest neighbours of each item by the baskets they share, as item_similarity() of a table has them';

-- ----- the same over any table, which is read with the caller's rights: in SQL, so that it can be
-- read, and spills as any query does

CREATE FUNCTION loyalty.item_similarity(source regclass, baskets name, items name, shrinkage numeric DEFAULT 10,
        neighbours int DEFAULT 20, min_together int DEFAULT 2, max_basket int DEFAULT 100)
    RETURNS TABLE (item text, other text, together bigint, similarity numeric, lift numeric)
    LANGUAGE plpgsql STABLE ROWS 10000 SET search_path = pg_catalog, pg_temp SET jit = off AS $$
BEGIN
    IF source IS NULL OR baskets IS NULL OR items IS NULL THEN
        PERFORM loyalty._invalid_metric('baskets need a table and two columns', 'One of them is NULL.',
            'Name the table, its column of baskets and its column of items.');
    END IF;
    IF shrinkage IS NULL OR NOT (shrinkage >= 0 AND shrinkage < 'Infinity') OR neighbours IS NULL OR neighbours < 1
       OR min_together IS NULL OR min_together < 1 OR max_basket IS NULL OR max_basket < 2 THEN
        PERFORM loyalty._invalid_metric('items can''t be compared in this way',
            format('Shrinkage is %s, neighbours %s, min_together %s, max_basket %s.', coalesce(shrinkage::text, 'NULL'),
                   coalesce(neighbours::text, 'NULL'), coalesce(min_together::text, 'NULL'), coalesce(max_basket::text, 'NULL')),
            'Shrinkage is 0 or more, neighbours and min_together are at least 1, a basket has at least 2 items.');
    END IF;
    -- Numbers for names: pairs of two integers are compared, hashed and spilled faster than texts.
    RETURN QUERY EXECUTE format($query$
        WITH line AS MATERIALIZED (
            SELECT n.item, n.b, dense_rank() OVER (ORDER BY n.item)::int AS i
            FROM (SELECT l.item, dense_rank() OVER (ORDER BY l.basket)::int AS b, count(*) OVER (PARTITION BY l.basket) AS size
                  FROM (SELECT DISTINCT %1$I::text COLLATE "C" AS basket, %2$I::text COLLATE "C" AS item
                        FROM %3$s WHERE %1$I IS NOT NULL AND %2$I IS NOT NULL) l) n
            WHERE n.size <= $4
        ), item AS MATERIALIZED (
            SELECT l.i, min(l.item) AS item, count(*)::float8 AS baskets FROM line l GROUP BY 1
        ), pair AS MATERIALIZED (
            SELECT x.i, y.i AS j, count(*) AS together
            FROM line x JOIN line y ON y.b = x.b WHERE x.i < y.i
            GROUP BY 1, 2 HAVING count(*) >= $3
        ), scored AS (
            SELECT p.i, p.j, p.together, p.together / sqrt(a.baskets * c.baskets) * p.together / (p.together + $1::float8) AS similarity,
                   p.together / (a.baskets * c.baskets) AS lift
            FROM pair p JOIN item a ON a.i = p.i JOIN item c ON c.i = p.j
        ), ranked AS (
            SELECT d.*, row_number() OVER (PARTITION BY d.i ORDER BY d.similarity DESC, d.j) AS place
            FROM (SELECT s.i, s.j, s.together, s.similarity, s.lift FROM scored s
                  UNION ALL
                  SELECT s.j, s.i, s.together, s.similarity, s.lift FROM scored s) d
        )
        SELECT a.item COLLATE "default", c.item COLLATE "default", r.together, round(r.similarity::numeric, 12),
               round((r.lift * (SELECT count(DISTINCT l.b) FROM line l))::numeric, 12)
        FROM ranked r JOIN item a ON a.i = r.i JOIN item c ON c.i = r.j
        WHERE r.place <= $2 ORDER BY r.i, r.place$query$, baskets, items, source)
    USING shrinkage, neighbours, min_together, max_basket;
END $$;
COMMENT ON FUNCTION loyalty.item_similarity(regclass, name, name, numeric, int, int, int) IS
    'The nearest neighbours of each item by the baskets they share: cosine, shrunk where few baskets speak for it';

-- A table of neighbours as bytes, which live within a query only, and what it says of one member.
CREATE FUNCTION loyalty._neighbours_accum(internal, text, text, bigint) RETURNS internal
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_recommend_neighbours_accum';
CREATE FUNCTION loyalty._neighbours_final(internal) RETURNS bytea
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_recommend_neighbours_final';
CREATE AGGREGATE loyalty._neighbours_agg(item text, other text, similarity bigint) (
    STYPE = internal, SSPACE = 65536,
    SFUNC = loyalty._neighbours_accum,
    FINALFUNC = loyalty._neighbours_final,
    PARALLEL = SAFE
);
CREATE FUNCTION loyalty._recommend(neighbours bytea, had text[], n int, OUT place int, OUT item text, OUT score bigint, OUT because text)
    RETURNS SETOF record LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'loyalty_recommend_member';
COMMENT ON FUNCTION loyalty._neighbours_accum(internal, text, text, bigint) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty._neighbours_final(internal) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty._neighbours_agg(text, text, bigint) IS 'A table of neighbours for _recommend(); similarities in units of 1e-12';
COMMENT ON FUNCTION loyalty._recommend(bytea, text[], int) IS 'What one member may want next, by what it had';

-- For one member in SQL, by the index on the members; for all in C, where a sort of all that is near to
-- anything that anybody had would be most of the time. Either is what the other answers.
CREATE FUNCTION loyalty.recommend(source regclass, members name, items name, similarity regclass, n int DEFAULT 10,
        for_member text DEFAULT NULL)
    RETURNS TABLE (member text, place int, item text, score numeric, because text)
    LANGUAGE plpgsql STABLE ROWS 10000 SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    near bytea;
BEGIN
    IF source IS NULL OR members IS NULL OR items IS NULL OR similarity IS NULL OR n IS NULL OR n < 1 THEN
        PERFORM loyalty._invalid_metric('a recommendation needs what was bought and what is similar',
            format('The tables are %s and %s, and %s items are asked for.', coalesce(source::text, 'NULL'),
                   coalesce(similarity::text, 'NULL'), coalesce(n::text, 'NULL')),
            'Name the table with its columns of members and items, and a table that holds item_similarity().');
    END IF;
    IF for_member IS NULL THEN
        EXECUTE format('SELECT loyalty._neighbours_agg(s.item::text, s.other::text, (round(s.similarity::numeric, 12) * 1000000000000)::bigint) FROM %s s',
            similarity) INTO near;
        RETURN QUERY EXECUTE format($query$
            SELECT h.member COLLATE "default", r.place, r.item, r.score * 0.000000000001, r.because
            FROM (SELECT %1$I::text COLLATE "C" AS member, array_agg(%2$I::text) AS items
                  FROM %3$s WHERE %1$I IS NOT NULL AND %2$I IS NOT NULL GROUP BY 1) h
            CROSS JOIN LATERAL loyalty._recommend($2, h.items, $1) r
            ORDER BY h.member, r.place$query$, members, items, source)
        USING n, near;
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format($query$
        WITH had AS MATERIALIZED (
            SELECT DISTINCT %1$I::text COLLATE "C" AS member, %2$I::text COLLATE "C" AS item
            FROM %3$s WHERE %2$I IS NOT NULL AND %1$I::text = $2
        ), scored AS (
            SELECT h.member, s.other COLLATE "C" AS item, sum(round(s.similarity::numeric, 12)) AS score,
                   (array_agg(s.item ORDER BY round(s.similarity::numeric, 12) DESC, s.item COLLATE "C"))[1] AS because
            FROM had h JOIN %4$s s ON s.item COLLATE "C" = h.item
            WHERE s.other IS NOT NULL AND s.similarity IS NOT NULL
            GROUP BY 1, 2
        ), ranked AS (
            SELECT c.*, row_number() OVER (PARTITION BY c.member ORDER BY c.score DESC, c.item) AS place
            FROM scored c
            WHERE NOT EXISTS (SELECT FROM had h WHERE h.member = c.member AND h.item = c.item)
        )
        SELECT r.member COLLATE "default", r.place::int, r.item::text COLLATE "default", r.score, r.because::text
        FROM ranked r WHERE r.place <= $1 ORDER BY r.member, r.place$query$, members, items, source, similarity)
    USING n, for_member;
END $$;
COMMENT ON FUNCTION loyalty.recommend(regclass, name, name, regclass, int, text) IS
    'Items that members have not had and that are most similar to those they had, and which of these speaks most for each';
