-- confinement: a role that is confined to a program or to a member gets at nothing else, by no
-- table, view or function, whatever it was granted.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
CREATE SCHEMA kiosk;
SET LOCAL search_path = kiosk, loyalty, public;

SELECT no_plan();

CREATE ROLE kiosk_anna;
CREATE ROLE kiosk_child;
CREATE ROLE kiosk_club;
CREATE ROLE kiosk_free;
GRANT kiosk_anna TO kiosk_child;
GRANT USAGE ON SCHEMA kiosk TO PUBLIC;

-- Two programs with the same two members, something in every table.
SELECT create_program(p, ladder => 'bronze:0, silver:50', validity => '1 year') FROM unnest(ARRAY['club', 'cafe']) p;
SELECT add_rule(p, 'base', points_per => 1) FROM unnest(ARRAY['club', 'cafe']) p;
CREATE TABLE orders (id int PRIMARY KEY, who text, total numeric);
SELECT attach('orders', p, 'who', 'total', on_error => 'defer') FROM unnest(ARRAY['club', 'cafe']) p;
INSERT INTO orders VALUES (1, 'anna', 100), (2, 'bob', 70), (3, 'bob', 'NaN');
SELECT redeem(p, m, 10, p || m) FROM unnest(ARRAY['club', 'cafe']) p, unnest(ARRAY['anna', 'bob']) m;
SELECT number FROM checkpoint();
SELECT _archive_accounts(accounts, entries, now() + interval '1 second') FROM _archivable_accounts(NULL, now() + interval '1 second', 0, 100);
SELECT giveback(entry_id, 3) FROM entries WHERE kind = 'redeem';
SELECT hold(p, m, 5, '1 day') FROM unnest(ARRAY['club', 'cafe']) p, unnest(ARRAY['anna', 'bob']) m;
SELECT number FROM checkpoint();
SELECT (SELECT entry_id FROM entries WHERE program = 'club' AND member = 'anna' AND kind = 'redeem') AS own_entry,
       (SELECT hold_id FROM holds WHERE program = 'club' AND member = 'anna') AS own_hold,
       (SELECT entry_id FROM entries WHERE program = 'cafe' AND member = 'bob' AND kind = 'redeem') AS entry \gset

-- More than anybody would grant.
GRANT SELECT ON ALL TABLES IN SCHEMA loyalty TO kiosk_anna, kiosk_club, kiosk_free;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA loyalty TO kiosk_anna, kiosk_club, kiosk_free;
GRANT ALL ON orders TO kiosk_anna, kiosk_club, kiosk_free;
SELECT confine_member('kiosk_anna', 'club', 'anna');
SELECT confine_member('kiosk_anna', 'club', 'anna');
SELECT confine('kiosk_club', 'club');

-- What a query answers as a role: its rows, or its error.
CREATE FUNCTION pg_temp.as(role name, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    BEGIN
        EXECUTE format('SELECT string_agg(q::text, E''\n'' ORDER BY q::text) FROM (%s) q', query) INTO answer;
    EXCEPTION WHEN OTHERS THEN
        answer := SQLSTATE || ' ' || SQLERRM;
    END;
    RESET ROLE;
    RETURN answer;
END $$;

-- ---------------------------------------------------------------- one member

SELECT is(pg_temp.as('kiosk_anna', $$SELECT balance('club', 'anna')$$), '(88)', 'its own balance: 100 - 10 + 3 - 5');
SELECT is(pg_temp.as('kiosk_anna', $$SELECT balance_as_known('club', 'anna', now(), 'infinity')$$), '(88)', 'as it was known');
SELECT is(pg_temp.as('kiosk_anna', $$SELECT kind, points FROM statement('club', 'anna', '-infinity', now() + interval '1 hour') WHERE points > 0$$),
    E'(earn,100)\n(giveback,3)', 'its own statement');
SELECT is(pg_temp.as('kiosk_anna', $$SELECT tier, metric FROM tier_progress('club', 'anna')$$), '(silver,100)', 'its own tier');
SELECT is(pg_temp.as('kiosk_anna', 'SELECT program, member, available, held FROM my_balances'), '(club,anna,88,5)', 'its own balances');
SELECT is(pg_temp.as('kiosk_anna', 'SELECT program, member, kind, points FROM my_entries'),
    E'(club,anna,earn,100)\n(club,anna,giveback,3)\n(club,anna,hold,0)\n(club,anna,redeem,-10)', 'its own entries');
SELECT is(pg_temp.as('kiosk_anna', 'SELECT program, member, remaining FROM my_lots'), '(club,anna,93)', 'its own lots');
SELECT is(pg_temp.as('kiosk_anna', 'SELECT program, member, points FROM my_holds'), '(club,anna,5)', 'its own holds');
SELECT is(pg_temp.as('kiosk_anna', 'SELECT program, member, to_tier FROM my_tier_history'), '(club,anna,silver)', 'its own tiers');
SELECT alike(pg_temp.as('kiosk_anna', $$SELECT redeem('club', 'anna', 1)$$), '(%)', 'it redeems for itself, if it may redeem');
SELECT alike(pg_temp.as('kiosk_anna', $$SELECT hold('club', 'anna', 1, '1 day')$$), '(%)', 'and holds');
SELECT is(pg_temp.as('kiosk_child', $$SELECT balance('club', 'anna')$$), '(86)', 'its members have the same');
SELECT is(pg_temp.as('kiosk_child', 'SELECT program, member, available FROM my_balances'), '(club,anna,86)', 'and see the same');

SELECT is(pg_temp.as('kiosk_anna', format('SELECT %s', call)), '42501 role "kiosk_anna" is confined to its own points', format('not %s', call))
FROM unnest(ARRAY[$$balance('club', 'bob')$$, $$balance('club', 'bob', '2020-01-01')$$, $$balance('cafe', 'anna')$$, $$balance('club', 'nobody')$$,
    $$balance_as_known('club', 'bob', now(), now())$$, $$statement('club', 'bob', '-infinity', 'infinity')$$, $$tier_progress('club', 'bob')$$,
    $$tier_progress('club', 'nobody')$$, $$redeem('club', 'bob', 1)$$, $$redeem('cafe', 'anna', 1)$$, $$hold('club', 'bob', 1, '1 day')$$,
    $$adjust('club', 'anna', 1, 'x')$$, $$transfer('club', 'anna', 'bob', 1)$$, $$transfer('club', 'bob', 'anna', 1)$$, $$enrol('club', 'anna')$$,
    $$confine_member('kiosk_anna', 'club', 'bob')$$, $$unconfine('kiosk_anna')$$, $$verify('club')$$, $$checkpoint()$$,
    $$create_program('mine')$$]) c (call);
SELECT is(pg_temp.as('kiosk_anna', format('SELECT %s(%s)', name, id)), '42501 role "kiosk_anna" is confined to its own points', format('not %s, its own neither', name))
FROM (VALUES ('giveback', :own_entry), ('proof', :own_entry), ('capture', :own_hold), ('release', :own_hold)) c (name, id);
SELECT is(pg_temp.as('kiosk_anna', 'SELECT * FROM ' || t.oid::regclass), NULL, format('of table %s nothing', t.relname))
FROM pg_class t WHERE relnamespace = 'loyalty'::regnamespace AND relkind = 'r' AND NOT EXISTS (
    SELECT FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attname = 'account_id') ORDER BY relname;
-- Something of each account in pools' tables, too.
SET session_replication_role = replica;
INSERT INTO pool_member SELECT 1, account_id, 1, true, 1, 0, now(), now() FROM account;
INSERT INTO pool_payment SELECT account_id, 1, 1, account_id, 1, 1 FROM account;
RESET session_replication_role;
SELECT is(pg_temp.as('kiosk_anna', 'SELECT DISTINCT account_id FROM ' || t.oid::regclass), format('(%s)', :own_hold / 100000000), format('of table %s its own', t.relname))
FROM pg_class t WHERE relnamespace = 'loyalty'::regnamespace AND relkind = 'r' AND EXISTS (
    SELECT FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attname = 'account_id') ORDER BY relname;

SET session_replication_role = replica;
DELETE FROM pool_payment;
DELETE FROM pool_member;
RESET session_replication_role;

-- A role that others are made of is confined to nobody.
INSERT INTO confinement (role, program_id) VALUES ('kiosk_free', 0);
SELECT is(pg_temp.as('kiosk_free', $$SELECT balance('club', 'anna')$$), '42501 role "kiosk_free" is confined to other programs', 'one that is confined to nobody acts for nobody');
SELECT is(pg_temp.as('kiosk_free', 'SELECT * FROM my_entries'), NULL, 'and sees nobody');
SELECT is(pg_temp.as('kiosk_free', 'SELECT * FROM entry'), NULL, 'by no table');
SELECT confine_member('kiosk_free', 'cafe', 'bob');
SELECT is(pg_temp.as('kiosk_free', 'SELECT program, member FROM my_balances'), '(cafe,bob)', 'until it is told for whom');
SELECT unconfine('kiosk_free', 'cafe');
SELECT is(pg_temp.as('kiosk_free', 'SELECT program, member FROM my_balances'), NULL, 'and when that is taken back');
DELETE FROM confinement WHERE role = 'kiosk_free'::regrole;
SELECT is(pg_temp.as('kiosk_free', 'SELECT * FROM my_balances'), NULL, 'a role that is not confined has no points of its own');
SELECT is(pg_temp.as('kiosk_free', $$SELECT balance('cafe', 'bob')$$), '(58)', 'and asks for all');

-- Who logged in counts, whatever role is set.
SET LOCAL SESSION AUTHORIZATION kiosk_child;
SET LOCAL ROLE kiosk_anna;
SELECT balance('club', 'anna') AS mine, (SELECT string_agg(member, ' ') FROM my_balances) AS who \gset
RESET ROLE;
RESET SESSION AUTHORIZATION;
SELECT is(:'mine' || :'who', '86anna', 'a session of a confined role');

-- ---------------------------------------------------------------- a transaction that acts for one member

-- A pool that logs in as one role, and may set one that is confined to nobody.
CREATE ROLE kiosk_pool;
CREATE ROLE kiosk_page;
GRANT kiosk_page TO kiosk_pool;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA loyalty TO kiosk_pool, kiosk_page;
GRANT SELECT ON ALL TABLES IN SCHEMA loyalty TO kiosk_pool, kiosk_page;
REVOKE EXECUTE ON FUNCTION act_for FROM kiosk_page;
INSERT INTO confinement (role, program_id) VALUES ('kiosk_page', 0);
SELECT is(pg_temp.as('kiosk_page', $$SELECT act_for('club', 'anna')$$), '42501 permission denied for function act_for', 'the role of the pages does not choose');
GRANT EXECUTE ON FUNCTION act_for TO kiosk_page;
SELECT is(pg_temp.as('kiosk_anna', $$SELECT act_for('club', 'bob')$$), '42501 role "kiosk_anna" is confined to its own points', 'nor who is confined to another');
-- Who is confined to nobody as well, by a role that he has, is not freed of his own confinement by that.
CREATE ROLE kiosk_both;
CREATE ROLE kiosk_cafe;
GRANT kiosk_page TO kiosk_both, kiosk_cafe;
SELECT confine_member('kiosk_both', 'club', 'anna'), confine('kiosk_cafe', 'cafe');
SAVEPOINT chosen;
SELECT pg_temp.as('kiosk_both', $$SELECT act_for('club', 'anna')$$) AS himself \gset
ROLLBACK TO chosen;
SELECT pg_temp.as('kiosk_cafe', $$SELECT act_for('cafe', 'anna')$$) AS in_its_own \gset
ROLLBACK TO chosen;
SELECT is(pg_temp.as('kiosk_both', $$SELECT act_for('club', 'bob')$$), '42501 role "kiosk_both" is confined to its own points', 'nor who has the role of the pages besides');
SELECT is(:'himself'::text, '("")', 'but for himself');
SELECT is(pg_temp.as('kiosk_cafe', $$SELECT act_for('club', 'anna')$$), '42501 role "kiosk_cafe" is confined to other programs', 'a pool that is confined to a program acts in no other');
SELECT is(:'in_its_own'::text, '("")', 'but in its own');
SELECT is(pg_temp.as('kiosk_pool', $$SELECT act_for('club', 'nobody')$$), 'LY002 no such member in program "club"', 'only for members');
SELECT is(pg_temp.as('kiosk_pool', $$SELECT act_for('shoe', 'anna')$$), 'LY001 program "shoe" does not exist', 'of programs');
SELECT is(pg_temp.as('kiosk_pool', $$SELECT act_for('club', NULL)$$), '22004 member must not be NULL', 'nobody is no member: the transaction would go on as free as before');
SELECT is(pg_temp.as('kiosk_pool', $$SELECT balance('club', 'anna')$$), '42501 role "kiosk_pool" is confined to other programs', 'and whoever could set that role acts for nobody until then');

-- No ROLLBACK TO: what follows runs in the block that is confined.
CREATE FUNCTION pg_temp.acting(role name, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    BEGIN
        PERFORM loyalty.act_for('club', 'anna');
        answer := pg_temp.as(role, query);
        RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO1';
    EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
    END;
    RETURN answer;
END $$;
SELECT is(pg_temp.acting(role, $$SELECT balance('club', 'anna')$$), '(86)', format('as %s: the balance', role)) FROM unnest(ARRAY['kiosk_pool', 'kiosk_page', current_user]) role;
SELECT is(pg_temp.acting(role, 'SELECT program, member, available FROM my_balances'), '(club,anna,86)', format('as %s: the view', role)) FROM unnest(ARRAY['kiosk_pool', 'kiosk_page']) role;
SELECT is(pg_temp.acting(role, 'SELECT DISTINCT account_id FROM entry'), format('(%s)', :own_hold / 100000000), format('as %s: the table', role)) FROM unnest(ARRAY['kiosk_pool', 'kiosk_page']) role;
SELECT alike(pg_temp.acting('kiosk_page', $$SELECT redeem('club', 'anna', 1)$$), '(%)', 'it redeems for the member');
SELECT is(pg_temp.acting(role, 'SELECT ' || call), format('42501 role "%s" is confined to its own points', role), format('as %s: not %s', role, call))
FROM unnest(ARRAY['kiosk_pool', 'kiosk_page', 'kiosk_free', current_user]) role,
     unnest(ARRAY[$$balance('club', 'bob')$$, $$balance('cafe', 'anna')$$, $$redeem('club', 'bob', 1)$$, $$act_for('club', 'bob')$$, $$act_for('cafe', 'anna')$$,
                  $$adjust('club', 'anna', 1, 'x')$$, $$enrol('club', 'anna')$$, $$unconfine('kiosk_page')$$, '* FROM entries', '* FROM balances']) call;
SELECT is(pg_temp.acting('kiosk_pool', $$SELECT act_for('club', 'anna')$$), '("")', 'the same again is no other');
CREATE FUNCTION log_in(member text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM loyalty.act_for('club', member);
    RETURN member;
END $$;
SAVEPOINT logged_in;
SELECT log_in('anna');
SELECT is(pg_temp.as('kiosk_free', $$SELECT balance('club', 'bob')$$), '42501 role "kiosk_free" is confined to its own points', 'a function of one''s own may say for whom');
ROLLBACK TO logged_in;
SELECT is(pg_temp.acting('kiosk_pool', sql), '42501 permission denied to set parameter "loyalty.acting_for"', sql)
FROM unnest(ARRAY[$$SELECT set_config('loyalty.acting_for', '', true)$$, $$SELECT set_config('loyalty.acting_for', '1 2', false)$$]) sql;
SELECT is(pg_temp.as('kiosk_pool', $$SELECT balance('club', 'anna')$$), '42501 role "kiosk_pool" is confined to other programs', 'when that is over it acts for nobody again');
SELECT is(pg_temp.as('kiosk_free', $$SELECT balance('cafe', 'bob')$$), '(58)', 'and who is free is free');
SET LOCAL loyalty.acting_for = 'anna';
SELECT is(pg_temp.as('kiosk_pool', $$SELECT balance('club', 'anna')$$), '42501 role "kiosk_pool" is confined to its own points', 'what can''t be read is nobody');
RESET loyalty.acting_for;
-- No reset gets rid of it, and parallel workers know it.
GRANT SELECT ON entry TO kiosk_pool;
SELECT act_for('club', 'anna');
SET LOCAL ROLE kiosk_pool;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT count(DISTINCT account_id) AS seen FROM entry \gset
RESET ALL;
SET LOCAL search_path = kiosk, loyalty, public;
SELECT (SELECT count(DISTINCT account_id) FROM entry) AS seen_after \gset
RESET ROLE;
SELECT is(:seen + :seen_after, 2, 'a parallel query, and after RESET ALL');
RESET loyalty.acting_for;

-- ---------------------------------------------------------------- every view

SELECT is(pg_temp.as(role, 'SELECT * FROM ' || v.oid::regclass), format('42501 role "%s" is confined to %s', role, said),
    format('%s is refused to %s', v.relname, role))
FROM pg_class v, (VALUES ('kiosk_anna', 'its own points'), ('kiosk_club', 'other programs')) r (role, said)
WHERE relnamespace = 'loyalty'::regnamespace AND relkind = 'v' AND relname !~ '^(_|my_)' ORDER BY 1;
SELECT is((SELECT reloptions FROM pg_class WHERE oid = v.oid), ARRAY['security_barrier=true'], format('%s has a barrier', v.relname))
FROM pg_class v WHERE relnamespace = 'loyalty'::regnamespace AND relname ~ '^my_';
SELECT is((SELECT array_agg(a.attname ORDER BY attnum) FROM pg_attribute a WHERE a.attrelid = v.oid),
          (SELECT array_agg(a.attname ORDER BY attnum) FROM pg_attribute a WHERE a.attrelid = replace(v.oid::regclass::text, 'my_', '')::regclass),
    format('%s has the columns of the view it is made of', v.relname))
FROM pg_class v WHERE relnamespace = 'loyalty'::regnamespace AND relname ~ '^my_';

-- What a condition of the reader's own sees, costing nothing so that it would come first.
CREATE FUNCTION leak(what text) RETURNS boolean LANGUAGE plpgsql STABLE COST 0.0000001 AS $$
BEGIN
    PERFORM set_config('kiosk.seen', concat(current_setting('kiosk.seen', true), ' ', what), true);
    RETURN true;
END $$;
CREATE FUNCTION leak(a text, b text) RETURNS boolean LANGUAGE sql STABLE COST 0.0000001 AS 'SELECT kiosk.leak(a)';
CREATE OPERATOR <<< (LEFTARG = text, RIGHTARG = text, FUNCTION = leak, RESTRICT = scalarltsel);
CREATE FUNCTION pg_temp.seen(role name, query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('kiosk.seen', '', true);
    PERFORM pg_temp.as(role, query);
    RETURN (SELECT string_agg(DISTINCT w, ' ') FROM regexp_split_to_table(current_setting('kiosk.seen'), ' +') w WHERE w <> '');
END $$;
CREATE VIEW naked AS SELECT a.member_key AS member FROM loyalty.account a WHERE loyalty._sees_account(a.account_id);
GRANT SELECT ON naked TO kiosk_anna;
ANALYZE account, member;
SELECT is(pg_temp.seen('kiosk_anna', 'SELECT * FROM naked WHERE leak(member)'), 'anna bob', 'a view without a barrier leaks');
SELECT is(pg_temp.seen('kiosk_anna', format('SELECT * FROM %s WHERE leak(member)', v.oid::regclass)), 'anna', format('%s does not', v.relname))
FROM pg_class v WHERE relnamespace = 'loyalty'::regnamespace AND relname ~ '^my_';
SELECT is(pg_temp.seen('kiosk_anna', format('SELECT * FROM %s WHERE leak(member)', v)), NULL, format('nor does %s', v))
FROM unnest(ARRAY['balances', 'entries', 'lots', 'holds', 'tier_history', 'member_360']) v;
SELECT is(pg_temp.seen('kiosk_anna', 'SELECT * FROM account WHERE leak(member_key)'), 'anna', 'nor a table');
SELECT is(pg_temp.seen('kiosk_club', 'SELECT * FROM request WHERE leak(request_id)'), 'clubanna clubbob', 'nor to one that is confined to a program');
-- The planner asks an operator what it makes of the statistics.
SELECT ok(pg_temp.seen('kiosk_anna', $$SELECT * FROM naked WHERE member <<< 'zoe'$$) ~ 'bob', 'statistics leak by a view without a barrier');
SELECT is(pg_temp.seen('kiosk_anna', $$SELECT * FROM my_balances WHERE member <<< 'zoe'$$), 'anna', 'not by one with it');
SELECT is(pg_temp.seen('kiosk_anna', $$SELECT * FROM account WHERE member_key <<< 'zoe'$$), 'anna', 'nor by row level security');

-- ---------------------------------------------------------------- one program

SELECT is(pg_temp.as('kiosk_club', $$SELECT balance('club', 'bob'), balance('club', 'anna')$$), '(58,86)', 'it acts in its program');
SELECT is(pg_temp.as('kiosk_club', 'SELECT * FROM my_balances'), NULL, 'and has no points of its own');

-- Every table: the rows of its program and no other, and none where they can't be told apart.
CREATE FUNCTION pg_temp.of_club(name regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    EXECUTE format('SELECT string_agg(t::text, E''\n'' ORDER BY t::text) FROM %s t WHERE %s', name, CASE
        WHEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = name AND a.attname = 'account_id') THEN
            $q$t.account_id IN (SELECT a.account_id FROM loyalty.account a JOIN loyalty.currency c USING (currency_id)
                                JOIN loyalty.program p USING (program_id) WHERE p.code = 'club')$q$
        WHEN name <> 'loyalty.confinement'::regclass AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = name AND a.attname = 'program_id') THEN
            $q$t.program_id = (SELECT p.program_id FROM loyalty.program p WHERE p.code = 'club')$q$
        ELSE 'false' END) INTO answer;
    RETURN answer;
END $$;
SELECT is(pg_temp.as('kiosk_club', 'SELECT t.* FROM ' || t.oid::regclass || ' t'), pg_temp.of_club(t.oid), format('of table %s what is its program''s', t.relname))
FROM pg_class t WHERE relnamespace = 'loyalty'::regnamespace AND relkind = 'r' ORDER BY relname;
SELECT is((SELECT count(*) FROM unnest(ARRAY['account', 'currency', 'entry', 'lot', 'hold', 'member', 'program', 'request', 'source', 'tier_change']) t
           WHERE pg_temp.of_club(t::regclass) IS NOT NULL), 10::bigint, 'of which there is something');
SELECT ok(relrowsecurity AND NOT relforcerowsecurity, format('%s has row level security, its owner is free', relname))
FROM pg_class WHERE relnamespace = 'loyalty'::regnamespace AND relkind IN ('r', 'p');
SELECT alike(pg_temp.as('kiosk_free', 'SELECT count(*) FROM entry'), format('(%s)', (SELECT count(*) FROM entry)), 'who is not confined sees all of a table');

-- Every function that is told a program, or an entry, of another one: called with something of the right type.
CREATE FUNCTION pg_temp.call(f oid, entry bigint) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s(%s)', p.oid::regproc, string_agg(format('%L::%s', CASE
               WHEN a.name IN ('program', 'code') THEN 'cafe'
               WHEN a.name IN ('entry_id', 'hold_id') THEN entry::text
               WHEN a.name IN ('member', 'from_member', 'rule', 'name') THEN 'bob'
               WHEN a.name = 'to_member' THEN 'anna'
               WHEN a.name = 'to' THEN '2021-01-01'
               WHEN a.name = 'kind' OR a.type IN ('tstzrange'::regtype, 'jsonpath'::regtype, 'text[]'::regtype, 'name[]'::regtype) THEN NULL
               WHEN a.type = 'regrole'::regtype THEN 'kiosk_club'
               WHEN a.type = 'regclass'::regtype THEN 'kiosk.orders'
               WHEN a.type = 'loyalty.ladder'::regtype THEN 'a:0'
               WHEN a.type IN ('timestamptz'::regtype, 'date'::regtype) THEN '2020-01-01'
               WHEN a.type = 'interval'::regtype THEN '1 day'
               WHEN a.type IN ('text'::regtype, 'name'::regtype) THEN 'bob'
               WHEN a.type = 'boolean'::regtype THEN 'true'
               ELSE '1' END, a.type::regtype), ', ' ORDER BY a.n))
    FROM pg_proc p, LATERAL (SELECT coalesce(p.proargnames[n], '') AS name, t AS type, n FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY u (t, n)) a
    WHERE p.oid = f GROUP BY p.oid
$$;
CREATE TEMP TABLE told AS
    SELECT p.oid, p.proname, pg_temp.call(p.oid, :entry) AS call FROM pg_proc p
    WHERE p.pronamespace = 'loyalty'::regnamespace AND p.prokind = 'f' AND p.provolatile <> 'i' AND p.proname !~ '^_'
      AND p.proargnames[1:p.pronargs] && ARRAY['program', 'entry_id', 'hold_id'];
ALTER TABLE orders OWNER TO kiosk_club;
SELECT cmp_ok((SELECT count(*) FROM told), '>', 30::bigint, 'there are many');
SELECT is(pg_temp.as('kiosk_club', format('SELECT %s', call)), '42501 role "kiosk_club" is confined to other programs', call) FROM told ORDER BY proname;

SELECT throws_ok($$SELECT confine_member('kiosk_anna', 'club', 'nobody')$$, 'LY002', 'no such member in program "club"');
SELECT throws_ok($$SELECT confine_member('kiosk_anna', 'shoe', 'anna')$$, 'LY001', 'program "shoe" does not exist');
SELECT throws_ok($$SELECT confine_member(4711::oid::regrole, 'club', 'anna')$$, '42704', 'role 4711 does not exist');
SELECT is_empty('SELECT * FROM verify()', 'the books hold');

SELECT * FROM finish();
ROLLBACK;
