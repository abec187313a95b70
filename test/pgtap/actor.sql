-- actor: each entry says who booked it, whatever function stood in between.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
CREATE SCHEMA booked;
SET LOCAL search_path = booked, loyalty, public;

SELECT no_plan();

CREATE ROLE actor_till;
CREATE ROLE actor_desk;
CREATE ROLE actor_owner;
GRANT USAGE ON SCHEMA booked TO actor_till, actor_desk, actor_owner;
GRANT EXECUTE ON FUNCTION redeem, adjust TO actor_till, actor_desk, actor_owner;
SELECT create_program('club');
SELECT add_rule('club', 'base', points_per => 1);
CREATE TABLE customers (id text PRIMARY KEY);
CREATE TABLE orders (id int PRIMARY KEY, who text REFERENCES customers ON DELETE CASCADE, total int);
SELECT attach('orders', 'club', 'who', 'total');
INSERT INTO customers VALUES ('ann'), ('bob');
GRANT INSERT, UPDATE ON orders TO actor_till;
GRANT SELECT, DELETE ON customers TO actor_till;
ALTER TABLE customers OWNER TO actor_owner;
ALTER TABLE orders OWNER TO actor_owner;
GRANT SELECT ON customers TO actor_owner;
CREATE FUNCTION lent(points) RETURNS bigint LANGUAGE sql SECURITY DEFINER RETURN redeem('club', 'ann', $1);
ALTER FUNCTION lent(points) OWNER TO actor_owner;

-- Who booked the last entry.
CREATE FUNCTION pg_temp.last() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT concat_ws(' ', e.kind, e.session_user_name, e.current_user_name)
    FROM loyalty.entries e ORDER BY e.recorded_at DESC, e.entry_id DESC LIMIT 1
$$;

INSERT INTO orders VALUES (1, 'ann', 100);
SELECT is(pg_temp.last(), format('earn %1$s %1$s', session_user), 'who wrote the order');
SELECT is((SELECT count(*) FROM actor), 1::bigint, 'one actor');
INSERT INTO orders VALUES (2, 'ann', 10);
SELECT is((SELECT count(DISTINCT actor_id) FROM entry), 1::bigint, 'who comes back is the same');

SET LOCAL ROLE actor_till;
SELECT redeem('club', 'ann', 1);
SELECT is(pg_temp.last(), format('redeem %s actor_till', session_user), 'the role that is set, and the one behind it');
INSERT INTO orders VALUES (3, 'ann', 5);
SELECT is(pg_temp.last(), format('earn %s actor_till', session_user), 'by an order too');
SELECT lent(1);
SELECT is(pg_temp.last(), format('redeem %s actor_till', session_user), 'the caller of a SECURITY DEFINER function, not its owner');
DELETE FROM customers WHERE id = 'ann';
SELECT is(pg_temp.last(), format('reverse %s actor_till', session_user), 'who deleted, not the owner for whom a foreign key cascades');
RESET ROLE;
SELECT is((SELECT count(*) FROM actor), 2::bigint, 'two actors');

INSERT INTO orders VALUES (4, 'bob', 100);
SET LOCAL SESSION AUTHORIZATION actor_desk;
SELECT adjust('club', 'bob', 1, 'sorry');
SELECT is(pg_temp.last(), 'adjust actor_desk actor_desk', 'the session''s user where it is another');
RESET SESSION AUTHORIZATION;

-- What is kept for the session is not kept past what made it.
SAVEPOINT s;
CREATE ROLE actor_guest;
GRANT EXECUTE ON FUNCTION redeem TO actor_guest;
SET LOCAL ROLE actor_guest;
SELECT redeem('club', 'bob', 1);
SELECT is(pg_temp.last(), format('redeem %s actor_guest', session_user), 'somebody new');
ROLLBACK TO s;
SAVEPOINT s;
CREATE ROLE actor_guest;
GRANT EXECUTE ON FUNCTION redeem TO actor_guest;
SET LOCAL ROLE actor_guest;
SELECT redeem('club', 'bob', 1);
SELECT is(pg_temp.last(), format('redeem %s actor_guest', session_user), 'whose row was rolled back');
RESET ROLE;
SELECT is_empty('SELECT * FROM verify()', 'is made again');
ALTER ROLE actor_guest RENAME TO actor_friend;
SET LOCAL ROLE actor_friend;
SELECT redeem('club', 'bob', 1);
SELECT is(pg_temp.last(), format('redeem %s actor_friend', session_user), 'a new name is another actor');
RESET ROLE;
SELECT is((SELECT count(*) FROM entries WHERE current_user_name = 'actor_guest'), 1::bigint, 'what was booked under the old one stays');
ROLLBACK TO s;
SELECT redeem('club', 'bob', 1);
SELECT is(pg_temp.last(), format('redeem %1$s %1$s', session_user), 'one that was there before is found');
SELECT is((SELECT count(*) FROM actor), 3::bigint, 'and not made anew');

-- Nothing of the name is in the hash: a person can be erased.
SELECT throws_ok($$UPDATE actor SET current_user_name = 'x'$$, 'LY401', NULL, 'no actor is changed');
SELECT throws_ok($$DELETE FROM actor$$, 'LY401', NULL, 'nor removed');
SELECT throws_ok($$TRUNCATE actor$$, 'LY401', NULL, 'nor are all');
SET LOCAL session_replication_role = replica;
UPDATE actor SET current_user_name = 'somebody' WHERE current_user_name = 'actor_till';
RESET session_replication_role;
SELECT is_empty('SELECT * FROM verify()', 'a name that is erased leaves the chain whole');
SELECT is((SELECT count(*) FROM entries WHERE current_user_name = 'somebody'), 6::bigint, 'and its entries');

SELECT * FROM finish();
ROLLBACK;
