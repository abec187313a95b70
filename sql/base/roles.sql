-- roles: the roles that most installations want, made when asked for.

-- What each may execute, by name, so that a new form of a function needs no line here. Whatever
-- else of the public functions is not open to all is the administrator's alone, and so is reading tables;
-- of the internal ones he gets those that run with his own rights below attach(), detach(),
-- expire(), archive() and review_tiers().
CREATE FUNCTION loyalty.create_roles() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    app constant name[] := ARRAY['redeem', 'giveback', 'hold', 'capture', 'release', 'transfer', 'confirm',
        'create_pool', 'join_pool', 'leave_pool', 'close_pool', 'redeem_pool', 'pool_balance',
        'balance', 'statement', 'tier_progress', 'enrol', 'act_for'];
    -- Of one member's, and he can only be the one that the role is confined to.
    member constant name[] := ARRAY['balance', 'statement', 'tier_progress'];
    report constant name[] := ARRAY['pool_balance', 'balance', 'balance_as_known', 'statement', 'tier_progress', 'verify', 'verify_archive', 'proof',
        'points_development', 'breakage', 'ultimate_redemption_rate', 'liability', 'liability_journal', 'deferred_revenue', 'deferred_revenue_journal'];
    admin_internal constant name[] := ARRAY['_refuse', '_program_id', '_check_access', '_check_right', '_tree', '_register_source', '_unregister_source',
        '_set_triggers', '_noted_tables', '_note_tables', '_refuse_truncate', '_expiring_accounts', '_expire_accounts',
        '_archivable_accounts', '_archive_accounts',
        '_tiers_to_review', '_review_tiers'];
    made text;
    found record;
BEGIN
    FOREACH made IN ARRAY ARRAY['loyalty_admin', 'loyalty_app', 'loyalty_report', 'loyalty_member'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = made) THEN
            EXECUTE format('CREATE ROLE %I', made);
        END IF;
    END LOOP;

    -- Neither more nor less, however often it is called and whatever an earlier version granted.
    REVOKE ALL ON ALL ROUTINES IN SCHEMA loyalty FROM loyalty_admin, loyalty_app, loyalty_report, loyalty_member;
    REVOKE ALL ON ALL TABLES IN SCHEMA loyalty FROM loyalty_admin, loyalty_app, loyalty_report, loyalty_member;
    GRANT SELECT ON ALL TABLES IN SCHEMA loyalty TO loyalty_admin;
    -- Nothing keeps a confined role to its rows of these; the views that are made of them do.
    FOR found IN
        SELECT c.oid::regclass AS name FROM pg_class c WHERE c.relnamespace = 'loyalty'::regnamespace
          AND (c.relkind = 'm' OR c.relkind = 'v' AND starts_with(c.relname::text, '_'))
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM loyalty_admin', found.name);
    END LOOP;
    FOR found IN
        SELECT c.oid::regclass AS name, CASE WHEN starts_with(c.relname::text, 'my_') THEN 'loyalty_member' ELSE 'loyalty_report' END AS role
        FROM pg_class c
        WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind = 'v' AND NOT starts_with(c.relname::text, '_')
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO %s', found.name, found.role);
    END LOOP;
    FOR found IN
        SELECT p.oid::regprocedure AS name,
               concat_ws(', ', 'loyalty_admin', CASE WHEN p.proname = ANY (app) THEN 'loyalty_app' END,
                         CASE WHEN p.proname = ANY (member) THEN 'loyalty_member' END,
                         CASE WHEN p.proname = ANY (report) THEN 'loyalty_report' END) AS roles
        FROM pg_proc p
        WHERE p.pronamespace = 'loyalty'::regnamespace AND p.proname <> 'create_roles'
          AND NOT EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)
          -- What types and aggregates are made of needs no right.
          AND NOT EXISTS (SELECT FROM pg_type t WHERE p.oid IN (t.typinput, t.typoutput, t.typreceive, t.typsend))
          AND NOT EXISTS (SELECT FROM pg_aggregate a WHERE p.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
                              a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn))
          AND (p.proname = ANY (admin_internal) OR NOT starts_with(p.proname::text, '_'))
    LOOP
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s', found.name, found.roles);
    END LOOP;

    -- Whoever has it may act for nobody, until confine_member() says for whom.
    INSERT INTO loyalty.confinement (role, program_id) VALUES ('loyalty_member', 0) ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION loyalty.create_roles() IS
    'Makes the roles loyalty_admin, loyalty_app, loyalty_report and loyalty_member where they are missing, and grants each exactly what it needs';
