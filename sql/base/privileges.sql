-- privileges: what computes is open to all, what reads or moves points is not. The
-- functions read and write below the executor, so the right to call one is the right itself.
GRANT USAGE ON SCHEMA loyalty TO PUBLIC;

DO $$
DECLARE
    routine regprocedure;
BEGIN
    FOR routine IN
        SELECT p.oid FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'loyalty'::pg_catalog.regnamespace AND p.provolatile <> 'i'
          AND p.prokind <> 'a'
    LOOP
        EXECUTE pg_catalog.format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', routine);
    END LOOP;
END $$;

-- Views and policies ask these on behalf of who reads; they answer what he may see and nothing else.
GRANT EXECUTE ON FUNCTION loyalty._refuse_confined, loyalty._my_members, loyalty._sees_program, loyalty._sees_account TO PUBLIC;

-- These read the tables they are given, with the rights of who calls them.
GRANT EXECUTE ON FUNCTION loyalty.item_similarity, loyalty.recommend, loyalty.review_flags, loyalty.tracking,
    loyalty.holdout_error, loyalty._purchase_days TO PUBLIC;
