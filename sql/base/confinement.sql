-- confinement: what roles that are confined to a program or a member see of tables and views. docs/roles.md
--
-- Functions check who calls. Views run with their owner's rights: those of all programs refuse
-- a confined role; views my_... show a role its member, behind a barrier. Tables have row level
-- security. All is made here for what there is, so that nothing can be forgotten.

CREATE FUNCTION loyalty._refuse_confined() RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_program_refuse_confined';
COMMENT ON FUNCTION loyalty._refuse_confined() IS 'True, or an error for a role that is confined to a program or a member';

CREATE FUNCTION loyalty._my_members(OUT program text, OUT member text) RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'loyalty_program_my_members';
COMMENT ON FUNCTION loyalty._my_members() IS 'The members that whoever asks is confined to';

CREATE FUNCTION loyalty._sees_program(program_id int) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_program_sees_program';
COMMENT ON FUNCTION loyalty._sees_program(int) IS 'Whether whoever asks may see a program; with 0, all of them';

CREATE FUNCTION loyalty._sees_account(account_id bigint) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_program_sees_account';
COMMENT ON FUNCTION loyalty._sees_account(bigint) IS 'Whether whoever asks may see an account';

-- Binds who was granted a table, and neither its owner nor the engine. A table without a column that
-- tells whose a row is shows nothing to who is confined.
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN
        SELECT c.oid::pg_catalog.regclass AS name, CASE o.attname
                   WHEN 'account_id' THEN 'loyalty._sees_account(account_id)'
                   WHEN 'program_id' THEN 'loyalty._sees_program(program_id)'
                   ELSE 'loyalty._sees_program(0)' END AS shows
        FROM pg_catalog.pg_class c
        LEFT JOIN LATERAL (SELECT a.attname FROM pg_catalog.pg_attribute a
                           WHERE a.attrelid = c.oid AND a.attname IN ('account_id', 'program_id') AND c.relname <> 'confinement'
                           ORDER BY a.attname LIMIT 1) o ON true
        WHERE c.relnamespace = 'loyalty'::pg_catalog.regnamespace AND c.relkind IN ('r', 'p')
    LOOP
        EXECUTE pg_catalog.format('CREATE POLICY loyalty_confinement ON %s FOR SELECT USING (%s)', t.name, t.shows);
        EXECUTE pg_catalog.format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t.name);
    END LOOP;
END $$;

DO $$
DECLARE
    v record;
    col record;
BEGIN
    -- OFFSET 0: planned for each member by itself, so that all goes by index. The barrier keeps conditions
    -- of the reader's own outside.
    FOR v IN
        SELECT c.relname AS name, rtrim(pg_catalog.pg_get_viewdef(c.oid), ';') AS query
        FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'loyalty'::pg_catalog.regnamespace
          AND c.relname = ANY (ARRAY['balances', 'entries', 'lots', 'holds', 'tier_history'])
    LOOP
        EXECUTE pg_catalog.format('CREATE VIEW loyalty.%I WITH (security_barrier) AS SELECT v.* FROM loyalty._my_members() m '
            'CROSS JOIN LATERAL (SELECT v.* FROM (%s) v WHERE v.program = m.program AND v.member = m.member COLLATE "C" OFFSET 0) v',
            'my_' || v.name, v.query);
        EXECUTE pg_catalog.format('COMMENT ON VIEW loyalty.%I IS %L', 'my_' || v.name,
            pg_catalog.format('View %s of the member that whoever reads it is confined to', v.name));
        -- Its columns are those of the view.
        FOR col IN
            SELECT a.attname AS name, pg_catalog.col_description(a.attrelid, a.attnum) AS says
            FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = pg_catalog.format('loyalty.%I', v.name)::pg_catalog.regclass AND a.attnum > 0
        LOOP
            EXECUTE pg_catalog.format('COMMENT ON COLUMN loyalty.%I.%I IS %L', 'my_' || v.name, col.name, col.says);
        END LOOP;
    END LOOP;

    -- Asked once, before anything is read.
    FOR v IN
        SELECT c.oid::pg_catalog.regclass AS name, rtrim(pg_catalog.pg_get_viewdef(c.oid), ';') AS query
        FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'loyalty'::pg_catalog.regnamespace AND c.relkind = 'v'
          AND NOT pg_catalog.starts_with(c.relname::text, '_') AND NOT pg_catalog.starts_with(c.relname::text, 'my_')
    LOOP
        EXECUTE pg_catalog.format('CREATE OR REPLACE VIEW %s AS SELECT v.* FROM (%s) v WHERE loyalty._refuse_confined()', v.name, v.query);
    END LOOP;
END $$;
