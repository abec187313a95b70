-- Attached tables: trees of tables and how they change, attach, detach, backfill, and what is refused.
BEGIN;
\ir include/books.psql
SET search_path = shop, public, loyalty;
SET timezone = 'UTC';

SELECT plan(165);

SELECT loyalty.create_program('club') AS club \gset
SELECT loyalty.add_rule('club', 'base', points_per => 1) AS base \gset

-- The triggers of a source, by table: which of i(nsert), u(pdate), d(elete), r(ow), t(runcate).
CREATE FUNCTION t.triggers(source int) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(relation || ' ' || verbs, ', ' ORDER BY relation) FROM (
        SELECT tgrelid::regclass::text AS relation,
               string_agg(left(split_part(tgname, '_', 3), 1), '' ORDER BY tgname) AS verbs
        FROM pg_trigger WHERE tgname LIKE format('loyalty\_%s\_%%', source) GROUP BY tgrelid) g
$$;

-- A partitioned table: range over list, columns in another order, a dropped one

CREATE TABLE orders (
    id int, region text, customer text, at timestamptz, total numeric(10,2), status text DEFAULT 'paid',
    PRIMARY KEY (id, region, at)
) PARTITION BY RANGE (at);
CREATE TABLE orders_2023 PARTITION OF orders FOR VALUES FROM ('2023-01-01 00:00+00') TO ('2024-01-01 00:00+00');
CREATE TABLE orders_2024 PARTITION OF orders FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2025-01-01 00:00+00')
    PARTITION BY LIST (region);
CREATE TABLE orders_2024_eu (
    status text DEFAULT 'paid', junk text, total numeric(10,2), at timestamptz NOT NULL, customer text, region text NOT NULL, id int NOT NULL);
ALTER TABLE orders_2024_eu DROP COLUMN junk;
ALTER TABLE orders_2024 ATTACH PARTITION orders_2024_eu FOR VALUES IN ('de', 'fr');
CREATE TABLE orders_2024_other PARTITION OF orders_2024 DEFAULT;

SELECT loyalty.attach('orders', 'club', 'customer', 'total', event_time => 'at', status => 'status', earning => '{paid}') AS orders \gset
SELECT is(t.triggers(:orders),
    'orders ditu, orders_2023 ditu, orders_2024 ditu, orders_2024_eu ditu, orders_2024_other ditu',
    'every table of the tree has the triggers, partitioned ones too');

INSERT INTO orders VALUES
    (1, 'de', 'ann', '2023-05-01 00:00+00', 10), (2, 'de', 'ann', '2024-05-01 00:00+00', 20), (3, 'us', 'ann', '2024-05-01 00:00+00', 30);
SELECT is(t.has('ann'), 60::numeric, 'INSERT into the root: each row is counted once');
INSERT INTO orders_2023 VALUES (4, 'de', 'bob', '2023-05-01 00:00+00', 1);
INSERT INTO orders_2024 VALUES (5, 'de', 'bob', '2024-05-01 00:00+00', 10), (6, 'us', 'bob', '2024-05-01 00:00+00', 100);
INSERT INTO orders_2024_eu (id, region, customer, at, total) VALUES (7, 'fr', 'bob', '2024-06-01 00:00+00', 1000);
SELECT is(t.has('bob'), 1111::numeric, 'INSERT straight into partitions of each level');
UPDATE orders SET total = total + 1;
SELECT is(ARRAY[t.has('ann'), t.has('bob')], ARRAY[63, 1115]::numeric[], 'UPDATE by the root');
UPDATE orders_2024 SET total = total + 1;
UPDATE orders_2024_eu SET total = total + 1;
SELECT is(ARRAY[t.has('ann'), t.has('bob')], ARRAY[66, 1120]::numeric[], 'UPDATE by the middle and by a leaf');
COPY orders_2024_eu (region, id, customer, at, total) FROM stdin;
de	8	cat	2024-07-01 00:00+00	5
\.
COPY orders FROM stdin (DELIMITER ',');
9,us,cat,2024-07-01 00:00+00,50,paid
10,fr,cat,2023-07-01 00:00+00,500,paid
\.
SELECT is(t.has('cat'), 555::numeric, 'COPY into the root and into a leaf');

-- Moves between partitions are UPDATEs of one row.
UPDATE orders SET region = 'us' WHERE id = 8;
SELECT is(t.story('cat'), 'earn 5, earn 500, earn 50, rekey -5, rekey 5', 'a row moves between lists: its award goes on under its new key');
UPDATE orders SET at = '2023-07-01 00:00+00', total = 6, region = 'fr' WHERE id = 8;
SELECT is(t.has('cat'), 556::numeric, 'between ranges, with another amount');
UPDATE orders SET at = at + interval '1 year' WHERE id IN (8, 10);
SELECT is(t.has('cat'), 556::numeric, 'two rows back');
UPDATE orders_2024 SET region = 'xx', customer = 'dan' WHERE id = 8;
SELECT is(ARRAY[t.has('cat'), t.has('dan')], ARRAY[550, 6]::numeric[], 'below the middle, to another member');
SELECT is((SELECT tableoid::regclass::text FROM orders WHERE id = 8), 'orders_2024_other', '(it did move)');
MERGE INTO orders o USING (VALUES (8, 7), (11, 70)) v (id, total) ON o.id = v.id
    WHEN MATCHED THEN UPDATE SET total = v.total, at = '2024-08-01 00:00+00'
    WHEN NOT MATCHED THEN INSERT (id, region, customer, at, total) VALUES (v.id, 'de', 'dan', '2024-08-01 00:00+00', v.total);
SELECT is(t.has('dan'), 77::numeric, 'MERGE into a partitioned table');
INSERT INTO orders VALUES (11, 'de', 'dan', '2024-08-01 00:00+00', 71), (12, 'de', 'dan', '2023-08-01 00:00+00', 700)
    ON CONFLICT (id, region, at) DO UPDATE SET total = EXCLUDED.total;
SELECT is(t.has('dan'), 778::numeric, 'ON CONFLICT DO UPDATE');

-- A trigger of a partition that swallows rows on their way.
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE WHEN NEW.id % 2 = 0 THEN NULL ELSE NEW END;
END $$;
CREATE TRIGGER swallow BEFORE INSERT ON orders_2023 FOR EACH ROW EXECUTE FUNCTION swallow();
INSERT INTO orders VALUES (21, 'de', 'eva', '2024-08-01 00:00+00', 1), (22, 'de', 'eva', '2024-08-01 00:00+00', 10), (23, 'us', 'eva', '2024-08-01 00:00+00', 100);
UPDATE orders SET at = '2023-08-01 00:00+00', total = total * 2 WHERE customer = 'eva';
SELECT is((SELECT sum(total) FROM orders WHERE customer = 'eva'), 202.00, '(one of three was swallowed as it moved)');
SELECT is(t.has('eva'), 202::numeric, 'moved rows that a trigger swallowed are gone, the others are counted');
DROP TRIGGER swallow ON orders_2023;
DELETE FROM orders_2023 WHERE customer = 'eva';
DELETE FROM orders WHERE customer IN ('ann', 'bob');
SELECT is(ARRAY[t.has('ann'), t.has('bob'), t.has('eva')], ARRAY[0, 0, 0]::numeric[], 'DELETE by a leaf and by the root');
SELECT t.books_hold('a partitioned table');

-- Partitions come and go

CREATE TABLE orders_2025 PARTITION OF orders FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2026-01-01 00:00+00') PARTITION BY HASH (id);
CREATE TABLE orders_2025_0 PARTITION OF orders_2025 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE orders_2025_1 (LIKE orders INCLUDING ALL);
INSERT INTO orders_2025_1 SELECT g, 'de', 'fay', '2025-03-01 00:00+00', 1000 FROM generate_series(1, 100) g
    WHERE satisfies_hash_partition('orders_2025'::regclass, 2, 1, g) ORDER BY g LIMIT 1;
SELECT is(t.has('fay'), 0::numeric, 'a table of its own does not earn');
ALTER TABLE orders_2025 ATTACH PARTITION orders_2025_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('orders_2025'::regclass, 'orders_2025_0'::regclass, 'orders_2025_1'::regclass)
           AND tgname LIKE 'loyalty%'), 12::bigint, 'partitions that are created or attached later get the triggers');
SELECT is(t.has('fay'), 0::numeric, 'what a partition brought along does not earn by itself');
UPDATE orders SET total = 2000 WHERE customer = 'fay';
SELECT is(t.has('fay'), 0::numeric, 'nor by a change of it');
SELECT is(loyalty.backfill('orders', 'club'), 1::bigint, 'but by a backfill');
SELECT is(t.has('fay'), 2000::numeric, 'with its amount of then');
INSERT INTO orders SELECT g, 'it', 'gus', '2025-03-01 00:00+00', 1 FROM generate_series(1, 20) g;
SELECT is(t.has('gus'), 20::numeric, 'rows of new partitions by the root');
INSERT INTO orders_2025 SELECT g, 'es', 'gus', '2025-03-01 00:00+00', 1 FROM generate_series(1, 20) g;
SELECT is(t.has('gus'), 40::numeric, 'and by themselves');

ALTER TABLE orders DETACH PARTITION orders_2025;
SELECT is(t.triggers(:orders),
    'orders ditu, orders_2023 ditu, orders_2024 ditu, orders_2024_eu ditu, orders_2024_other ditu', 'a detached partition loses the triggers, with all below it');
DELETE FROM orders_2025;
SELECT is(t.has('gus'), 40::numeric, 'what it earned stays: a delete in it moves nothing');
TRUNCATE orders_2025;
INSERT INTO orders_2025 SELECT g, 'es', 'gus', '2025-03-01 00:00+00', 1 FROM generate_series(1, 2) g;
ALTER TABLE orders ATTACH PARTITION orders_2025 FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2026-01-01 00:00+00');
INSERT INTO orders VALUES (100, 'es', 'gus', '2025-03-01 00:00+00', 5);
SELECT is(t.has('gus'), 45::numeric, 'attached again it earns again');
UPDATE orders SET total = 3 WHERE id = 1 AND region = 'es';
SELECT is(t.has('gus'), 47::numeric, 'a row under the key of one that earned before it was detached is taken for it');
DROP TABLE orders_2025;
SELECT is(t.has('gus'), 47::numeric, 'a dropped partition leaves its points');
INSERT INTO orders VALUES (200, 'de', 'gus', '2024-03-01 00:00+00', 3);
SELECT is(t.has('gus'), 50::numeric, 'and the others go on');
SELECT t.books_hold('partitions that come and go');

-- TRUNCATE

SELECT is(t.refusal('TRUNCATE orders'), 'LY204', 'TRUNCATE of the root is refused');
SELECT is(t.refusal('TRUNCATE orders_2024'), 'LY204', 'of the middle');
SELECT is(t.refusal('TRUNCATE orders_2024_eu'), 'LY204', 'of a leaf');
SELECT is(t.refusal('TRUNCATE orders_2023, orders_2024'), 'LY204', 'of several');
SELECT throws_like('TRUNCATE orders', '%can''t be truncated%', 'and says so');

-- Inheritance

CREATE TABLE docs (id int PRIMARY KEY, customer text, total int);
CREATE TABLE bills (due date, PRIMARY KEY (id)) INHERITS (docs);
CREATE TABLE old_bills (PRIMARY KEY (id)) INHERITS (bills);
CREATE TABLE notes (note text, total int, customer text, id int PRIMARY KEY);
SELECT loyalty.attach('docs', 'club', 'customer', 'total') AS docs \gset
SELECT is(t.triggers(:docs), 'bills ditu, docs ditu, old_bills ditu', 'children and grandchildren have the triggers');
INSERT INTO docs VALUES (1, 'i1', 1);
INSERT INTO bills VALUES (2, 'i1', 10, '2024-01-01');
INSERT INTO old_bills VALUES (3, 'i1', 100, '2023-01-01');
SELECT is(t.has('i1'), 111::numeric, 'INSERT into each');
UPDATE docs SET total = total + 1;
SELECT is(t.has('i1'), 114::numeric, 'UPDATE of the parent reaches all');
UPDATE ONLY docs SET total = total + 1;
UPDATE bills SET total = total + 1;
SELECT is(t.has('i1'), 117::numeric, 'ONLY the parent, and a child with its own');
DELETE FROM docs WHERE id = 2;
SELECT is(t.has('i1'), 105::numeric, 'DELETE by the parent');
DELETE FROM ONLY bills;
DELETE FROM old_bills WHERE id = 3;
SELECT is(t.has('i1'), 3::numeric, 'and by a child');
CREATE TABLE memos (memo text, PRIMARY KEY (id)) INHERITS (docs);
INSERT INTO memos VALUES (4, 'i1', 4, 'm');
SELECT is(t.has('i1'), 7::numeric, 'a child created later');
INSERT INTO notes VALUES ('n', 1000, 'i1', 5);
ALTER TABLE notes INHERIT docs;
INSERT INTO notes VALUES ('n', 20, 'i1', 6);
UPDATE docs SET total = total + 1 WHERE id = 6;
SELECT is(t.has('i1'), 28::numeric, 'a table that inherits later, with its columns in another order');
SELECT is(loyalty.backfill('docs', 'club'), 1::bigint, 'backfill reaches what it brought along');
SELECT is(t.has('i1'), 1028::numeric, 'and books that');
ALTER TABLE notes NO INHERIT docs;
DELETE FROM notes;
SELECT is(t.has('i1'), 1028::numeric, 'and one that does not any more');
SELECT is(t.triggers(:docs), 'bills ditu, docs ditu, memos ditu, old_bills ditu', 'has no trigger left');
SELECT is(t.refusal('TRUNCATE bills'), 'LY204', 'TRUNCATE of a child is refused');
DROP TABLE old_bills;
SELECT t.books_hold('inheritance');

-- Statements on what is above an attached table would pass it over

SELECT is(t.refusal($$SELECT loyalty.attach('orders_2023', 'club', 'customer', 'total')$$), 'LY103', 'a partition can''t be attached');
SELECT is(t.refusal($$SELECT loyalty.attach('bills', 'club', 'customer', 'total')$$), 'LY103', 'nor can a child');
CREATE TABLE apart (LIKE orders INCLUDING ALL);
SELECT loyalty.attach('apart', 'club', 'customer', 'total') AS apart \gset
SELECT is(t.refusal($$ALTER TABLE orders ATTACH PARTITION apart FOR VALUES FROM ('2030-01-01') TO ('2031-01-01')$$), 'LY103',
          'nor can an attached table become a partition');
CREATE TABLE above (LIKE apart);
SELECT is(t.refusal('ALTER TABLE apart INHERIT above'), 'LY103', 'or a child');
SELECT loyalty.create_program('other') AS other \gset
SELECT is(t.refusal($$SELECT loyalty.attach('orders_2023', 'other', 'customer', 'total')$$), 'LY103', 'not even of another program');
SELECT loyalty.detach('apart', 'club') AS x \gset
ALTER TABLE orders ATTACH PARTITION apart FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');
INSERT INTO apart VALUES (1, 'de', 'j1', '2030-05-01', 7);
SELECT is(t.has('j1'), 7::numeric, 'detached it can, and earns by the table above');

CREATE TABLE one (id int PRIMARY KEY, customer text, total int);
CREATE TABLE two (id int PRIMARY KEY, customer text, total int);
CREATE TABLE both_of (PRIMARY KEY (id)) INHERITS (one, two);
SELECT loyalty.attach('one', 'club', 'customer', 'total') AS one \gset
SELECT is(t.refusal($$SELECT loyalty.attach('two', 'club', 'customer', 'total')$$), 'LY104', 'two parents of one child can''t both be attached');
SELECT is(t.refusal($$SELECT loyalty.attach('one', 'club', 'customer', 'total')$$), 'LY104', 'nor can a table twice');
ALTER TABLE both_of NO INHERIT two;
SELECT loyalty.attach('two', 'club', 'customer', 'total') AS two \gset
SELECT is(t.refusal('ALTER TABLE both_of INHERIT two'), 'LY104', 'nor can their child get the second parent later');

-- The row form

CREATE TABLE rows (id int, customer text, total numeric, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE rows_1 PARTITION OF rows FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');
SELECT loyalty.attach('rows', 'club', 'customer', 'total', event_time => 'at', for_each => 'row') AS rows \gset
CREATE TABLE rows_2 PARTITION OF rows FOR VALUES FROM ('2024-07-01') TO ('2025-01-01');
SELECT is(t.triggers(:rows), 'rows rt, rows_1 rt, rows_2 rt', 'a trigger for each row, and new partitions get it');
SELECT is((SELECT array_agg(DISTINCT tgenabled::text) FROM pg_trigger WHERE tgname = format('loyalty_%s_row', :rows)), '{A}', 'it fires in a replica, too');
INSERT INTO rows VALUES (1, 'k1', 10, '2024-01-01'), (2, 'k1', 20, '2024-08-01'), (3, 'k2', 30, '2024-01-01'), (4, NULL, 5, '2024-01-01');
INSERT INTO rows_2 VALUES (5, 'k2', 40, '2024-12-31');
SELECT is(ARRAY[t.has('k1'), t.has('k2')], ARRAY[30, 70]::numeric[], 'INSERT');
UPDATE rows SET total = total + 1, id = id + 10;
SELECT is(ARRAY[t.has('k1'), t.has('k2')], ARRAY[32, 72]::numeric[], 'UPDATE of amounts and keys');
UPDATE rows SET customer = 'k3' WHERE customer = 'k1' OR customer IS NULL;
SELECT is(ARRAY[t.has('k1'), t.has('k3')], ARRAY[0, 38]::numeric[], 'of members');
UPDATE rows SET at = '2024-09-01' WHERE id = 11;
SELECT is(t.has('k3'), 38::numeric, 'a move between partitions');
MERGE INTO rows r USING (VALUES (11, 12), (31, 100)) v (id, total) ON r.id = v.id
    WHEN MATCHED THEN UPDATE SET total = v.total, at = '2024-02-01'
    WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'k3', v.total, '2024-03-01');
SELECT is(t.has('k3'), 139::numeric, 'one by MERGE, which statement triggers would not be told of');
DELETE FROM rows WHERE id = 31;
DELETE FROM rows_2 WHERE id = 12;
DELETE FROM rows WHERE customer = 'k2';
SELECT is(ARRAY[t.has('k2'), t.has('k3')], ARRAY[0, 18]::numeric[], 'DELETE');
SELECT is(t.refusal('TRUNCATE rows_1'), 'LY204', 'TRUNCATE is refused');
ALTER TABLE rows DETACH PARTITION rows_2;
SELECT is(t.triggers(:rows), 'rows rt, rows_1 rt', 'a detached partition loses its triggers');
DELETE FROM rows_2;
SELECT is(t.has('k3'), 18::numeric, 'and its rows keep their points');

CREATE TABLE row_keys (id int PRIMARY KEY DEFERRABLE, customer text, total numeric);
CREATE TABLE row_keys_child (PRIMARY KEY (id) DEFERRABLE) INHERITS (row_keys);
SELECT loyalty.attach('row_keys', 'club', 'customer', 'total', for_each => 'row') AS row_keys \gset
INSERT INTO row_keys SELECT g, 'k4', g FROM generate_series(1, 4) g;
INSERT INTO row_keys_child SELECT g, 'k4', g FROM generate_series(5, 8) g;
UPDATE row_keys SET id = id + 1;
SELECT is(t.has('k4'), 36::numeric, 'id = id + 1 row by row');
UPDATE row_keys SET total = total + 1 WHERE id IN (2, 9);
SELECT is(t.has('k4'), 38::numeric, 'and every row is found under its new key');
CREATE FUNCTION add_one() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE row_keys SET total = total + 100 WHERE id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER a_first AFTER INSERT ON row_keys FOR EACH ROW EXECUTE FUNCTION add_one();
CREATE TRIGGER z_last AFTER INSERT ON row_keys FOR EACH ROW EXECUTE FUNCTION add_one();
INSERT INTO row_keys VALUES (21, 'k5', 1), (22, 'k5', 2);
SELECT is(t.has('k5'), 403::numeric, 'triggers of the shop before and after it that update the same row');
SELECT loyalty.detach('row_keys', 'club') AS x \gset
SELECT is(t.triggers(:row_keys), NULL, 'detached, it has no trigger');
SELECT loyalty.attach('orders_2023', 'other', 'customer', 'total', for_each => 'row') AS x \gset
SELECT loyalty.add_rule('other', 'base', points_per => 2) AS x \gset
INSERT INTO orders VALUES (300, 'de', 'k6', '2023-03-01 00:00+00', 3);
SELECT is(ARRAY[t.has('k6'), t.has('k6', 'other')], ARRAY[3, 6]::numeric[], 'a partition can be attached by itself for each row');
SELECT t.books_hold('the row form');

-- Several programs, kinds, several sources of a program

CREATE TABLE visits (id int PRIMARY KEY, customer text);
SELECT loyalty.create_program('first') AS p \gset
SELECT loyalty.create_program('second') AS p \gset
SELECT loyalty.add_rule('first', 'visit', bonus => 5, kind => 'visit') AS r \gset
SELECT loyalty.add_rule('first', 'buy', points_per => 1, kind => 'purchase') AS r \gset
SELECT loyalty.add_rule('first', 'any', points_per => 2) AS r \gset
SELECT loyalty.add_rule('second', 'any', points_per => 10) AS r \gset
CREATE TABLE buys (id int PRIMARY KEY, customer text, seller text, total numeric);
SELECT loyalty.attach('visits', 'first', 'customer', kind => 'visit') AS visits \gset
SELECT loyalty.attach('buys', 'first', 'customer', 'total') AS buys \gset
SELECT loyalty.attach('buys', 'second', 'seller', 'total', kind => 'sale') AS sales \gset
INSERT INTO visits VALUES (1, 'm1');
SELECT is(t.has('m1', 'first'), 7::numeric, 'a visit: its bonus, and twice the 1 that a row without an amount counts');
INSERT INTO buys VALUES (1, 'm1', 'm2', 100);
SELECT is(ARRAY[t.has('m1', 'first'), t.has('m2', 'first'), t.has('m1', 'second'), t.has('m2', 'second')], ARRAY[307, 0, 0, 1000]::numeric[],
          'a purchase that earns in two programs for two people');
UPDATE buys SET total = 50, seller = 'm1';
SELECT is(ARRAY[t.has('m1', 'first'), t.has('m2', 'second'), t.has('m1', 'second')], ARRAY[157, 0, 500]::numeric[], 'an UPDATE of it');
SELECT loyalty.detach('buys', 'first') AS x \gset
DELETE FROM buys;
SELECT is(ARRAY[t.has('m1', 'first'), t.has('m1', 'second')], ARRAY[157, 0]::numeric[], 'detached from one, it is still attached to the other');
SELECT t.books_hold('programs and kinds');

-- Backfill, detach and attach again

CREATE TABLE past (id int PRIMARY KEY, customer text, total numeric, at timestamptz, status text);
INSERT INTO past SELECT g, 'past' || g % 3, g, timestamptz '2024-01-01 00:00+00' + g * interval '1 day', CASE WHEN g % 5 = 0 THEN 'void' ELSE 'paid' END
FROM generate_series(1, 3000) g;
SELECT loyalty.attach('past', 'club', 'customer', 'total', event_time => 'at', status => 'status', earning => '{paid}') AS past \gset
SELECT is((SELECT count(*) FROM loyalty.entries WHERE source = 'past'), 0::bigint, 'what was there before is not touched by attach');
UPDATE past SET total = total + 1 WHERE id <= 10;
DELETE FROM past WHERE id = 1;
SELECT is((SELECT count(*) FROM loyalty.entries WHERE source = 'past'), 0::bigint, 'nor by changes');
UPDATE past SET status = 'paid' WHERE id = 5;
INSERT INTO past VALUES (0, 'past0', 1000000, '2024-01-01 00:00+00', 'paid');
SELECT is((SELECT count(*) FROM loyalty.entries WHERE source = 'past'), 2::bigint, 'a row that comes to earn does, and a new one');
-- 3000 rows less 600 void, less row 1, of which row 5 (not void any more) was booked.
SELECT is(loyalty.backfill('past', 'club'), 2399::bigint, 'backfill books the others');
SELECT is((SELECT sum(points) FROM loyalty.entries WHERE source = 'past'),
    (SELECT sum(total) FROM past WHERE status = 'paid'), 'all rows that earn have their points');
SELECT is(loyalty.backfill('past', 'club'), 0::bigint, 'a second time there is nothing to book');
UPDATE past SET customer = 'moved' WHERE id = 2;
UPDATE past SET id = 10001 WHERE id = 3;
SELECT is(loyalty.backfill('past', 'club'), 0::bigint, 'nor after members and keys changed');
SELECT is((SELECT min(event_time) FROM loyalty.entries WHERE source = 'past' AND event = '7'), '2024-01-08 00:00+00'::timestamptz, 'each at its time');
DELETE FROM past WHERE id = 2;
SELECT is(t.has('moved'), 0::numeric, 'rows that were backfilled are taken back as any other');

SELECT loyalty.detach('past', 'club') AS x \gset
SELECT is(t.triggers(:past), NULL, 'detach takes the triggers away');
INSERT INTO past VALUES (20001, 'quiet', 50, '2024-01-01 00:00+00', 'paid'), (20002, 'quiet', 60, '2024-01-01 00:00+00', 'paid');
DELETE FROM past WHERE id = 10001;
SELECT is(t.has('quiet'), 0::numeric, 'a detached table is at rest');
SELECT is(t.refusal($$SELECT loyalty.backfill('past', 'club')$$), 'LY006', 'and can''t be backfilled');
SELECT loyalty.attach('past', 'club', 'customer', 'total', event_time => 'at', status => 'status', earning => '{paid,sent}') AS again \gset
SELECT is(:again, :past, 'attached again it is the same source');
SELECT is((SELECT count(*) FROM loyalty.entries WHERE member = 'quiet'), 0::bigint, 'that does not earn for the time between');
UPDATE past SET total = 70 WHERE id = 20001;
SELECT is(t.has('quiet'), 0::numeric, 'nor for changes of its rows');
SELECT is(loyalty.backfill('past', 'club'), 2::bigint, 'until it is backfilled, which counts no row twice');
SELECT is(t.has('quiet'), 130::numeric, 'with the amounts of now');
UPDATE past SET total = total + 1, status = 'sent' WHERE id = 7;
SELECT is((SELECT sum(points) FROM loyalty.entries WHERE source = 'past' AND event = '7'), 9::numeric, 'rows that earned before are re-rated, by the new words, too');
SELECT loyalty.detach('past', 'club') AS x \gset
ALTER TABLE past ADD COLUMN no text;
UPDATE past SET no = 'n' || id;
SELECT isnt(loyalty.attach('past', 'club', 'customer', 'total', key => ARRAY['no']), :past, 'attached by another key it is another source');
SELECT loyalty.detach('past', 'club') AS x \gset
DROP TABLE past;
SELECT is((SELECT count(*) FROM loyalty.source WHERE detached_at IS NULL AND relation NOT IN (SELECT oid FROM pg_class)), 0::bigint, 'a dropped table is detached');
SELECT is((SELECT array_agg(DISTINCT relation::oid) FROM loyalty.source WHERE source_id >= :past), ARRAY[0]::oid[], 'and its number forgotten');

SET LOCAL session_replication_role = replica;
INSERT INTO visits VALUES (2, 'm9'), (3, 'm9');
UPDATE visits SET customer = 'm8' WHERE id = 1;
SET LOCAL session_replication_role = origin;
SELECT is(t.has('m9', 'first'), 0::numeric, 'a session in the role of a replica accrues nothing');
SELECT is(loyalty.backfill('visits', 'first'), 3::bigint, 'a backfill picks it up: two rows, and one that is another member''s now');
SELECT is(loyalty.backfill('visits', 'first'), 0::bigint, 'once');
SELECT is(ARRAY[t.has('m9', 'first'), t.has('m8', 'first')], ARRAY[14, 7]::numeric[], 'as it is now');
SELECT t.books_hold('backfill');

-- Somebody without rights

CREATE ROLE loyalty_test_shop;
CREATE ROLE loyalty_test_clerk;
CREATE ROLE loyalty_test_stranger;
GRANT CREATE, USAGE ON SCHEMA shop TO loyalty_test_shop, loyalty_test_clerk, loyalty_test_stranger;
CREATE TABLE theirs (id int PRIMARY KEY, customer text, total numeric) PARTITION BY RANGE (id);
CREATE TABLE theirs_1 PARTITION OF theirs FOR VALUES FROM (0) TO (10);
ALTER TABLE theirs OWNER TO loyalty_test_shop;
GRANT USAGE ON SCHEMA loyalty TO loyalty_test_shop, loyalty_test_stranger;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA loyalty TO loyalty_test_shop, loyalty_test_stranger;
GRANT USAGE ON SCHEMA t TO PUBLIC;
GRANT INSERT ON theirs TO loyalty_test_clerk;
SET LOCAL ROLE loyalty_test_stranger;
SELECT is(t.refusal($$SELECT loyalty.attach('theirs', 'club', 'customer', 'total')$$), '42501', 'only a table''s owner can attach it');
SELECT is(t.refusal($$SELECT loyalty.detach('orders', 'club')$$), '42501', 'or detach it');
RESET ROLE;
SET LOCAL ROLE loyalty_test_shop;
SELECT is(t.refusal($$SELECT loyalty.attach('theirs', 'club', 'customer', 'total')$$), '42501', 'and of all below it');
RESET ROLE;
SELECT is((SELECT count(*) FROM loyalty.source WHERE relation = 'theirs'::regclass), 0::bigint, 'nothing came of it');
ALTER TABLE theirs_1 OWNER TO loyalty_test_shop;
SET LOCAL ROLE loyalty_test_shop;
SELECT loyalty.attach('theirs', 'club', 'customer', 'total') AS theirs \gset
CREATE TABLE theirs_2 PARTITION OF theirs FOR VALUES FROM (10) TO (20);
RESET ROLE;
SELECT is(t.triggers(:theirs), 'theirs ditu, theirs_1 ditu, theirs_2 ditu', 'the owner can');
SET LOCAL ROLE loyalty_test_clerk;
CREATE TABLE a_clerks_own (id int);
INSERT INTO theirs VALUES (1, 't1', 5), (11, 't1', 6);
RESET ROLE;
SELECT is(t.has('t1'), 11::numeric, 'a clerk who may only insert earns for customers, and may make tables as before');
CREATE FUNCTION their_bonus() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = shop AS $$
BEGIN
    UPDATE theirs SET total = total + 1 WHERE id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER a_bonus AFTER INSERT ON theirs FOR EACH ROW EXECUTE FUNCTION their_bonus();
ALTER TABLE theirs ENABLE ROW LEVEL SECURITY;
ALTER TABLE theirs FORCE ROW LEVEL SECURITY;
CREATE POLICY clerks ON theirs FOR INSERT WITH CHECK (true);
SET LOCAL ROLE loyalty_test_clerk;
INSERT INTO theirs VALUES (2, 't2', 5);
RESET ROLE;
SELECT is(t.has('t2'), 6::numeric, 'also where a trigger changes rows that the clerk can''t read');
SELECT t.books_hold('rights');

-- Bad input of attach

CREATE TABLE plain (id int PRIMARY KEY, customer text, total numeric, rate float8, cash money, at timestamptz, day text, status text);
CREATE TABLE keyless (id int, customer text, total numeric);
CREATE VIEW seen AS SELECT * FROM plain;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM plain;
CREATE SEQUENCE counter;
CREATE TEMP TABLE passing (id int PRIMARY KEY, customer text);
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'nowhere', 'customer', 'total')$$), 'LY001', 'a program that is not there');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', NULL, 'customer', 'total')$$), 'LY001', 'no program');
SELECT is(t.refusal($$SELECT loyalty.attach(NULL, 'club', 'customer', 'total')$$), 'LY103', 'no table');
SELECT is(t.refusal($$SELECT loyalty.attach('seen', 'club', 'customer', 'total')$$), 'LY103', 'a view');
SELECT is(t.refusal($$SELECT loyalty.attach('kept', 'club', 'customer', 'total')$$), 'LY103', 'a materialized view');
SELECT is(t.refusal($$SELECT loyalty.attach('counter', 'club', 'customer', 'total')$$), 'LY103', 'a sequence');
SELECT is(t.refusal($$SELECT loyalty.attach('passing', 'club', 'customer')$$), 'LY103', 'a temporary table');
SELECT is(t.refusal($$SELECT loyalty.attach('loyalty.member', 'club', 'member')$$), 'LY103', 'a table of the ledger');
SELECT is(t.refusal($$SELECT loyalty.attach('keyless', 'club', 'customer', 'total')$$), 'LY103', 'a table without a key');
CREATE TYPE public.step AS ENUM ('paid', 'sent');
CREATE TABLE public.stepped (id int PRIMARY KEY, customer text, fine boolean, state public.step);
SELECT is(t.refusal($$SELECT loyalty.attach('stepped', 'club', 'customer', status => 'fine', earning => '{true}')$$), 'LY103', 'a status that a boolean is never written as');
SELECT is(t.detail($$SELECT loyalty.attach('stepped', 'club', 'customer', status => 'state', earning => '{paid,payed}')$$), 'Column "state" is of type public.step, which has no value that is written so.', 'or an enum does not have');
SELECT is(t.refusal($$SELECT loyalty.attach('stepped', 'club', 'customer', status => 'fine', earning => '{t}')$$), 'accepted', 'those that there are earn');
CREATE DOMAIN public.whether AS boolean;
CREATE DOMAIN public.whether_really AS public.whether;
ALTER TABLE public.stepped ADD sure public.whether_really;
SELECT is(t.refusal($$SELECT loyalty.attach('stepped', 'other', 'customer', status => 'sure', earning => '{yes}')$$), 'LY103', 'of a domain over a domain neither');
-- What rows are worth stays what it was once they earned.
CREATE TABLE public.priced (id int PRIMARY KEY, customer text, total int);
SELECT loyalty.attach('priced', 'club', 'customer');
SELECT loyalty.detach('priced', 'club');
SELECT is(t.refusal($$SELECT loyalty.attach('priced', 'club', 'customer', 'total')$$), 'accepted', 'nothing earned: an amount may be added');
INSERT INTO priced VALUES (1, 'pia', 7);
SELECT loyalty.detach('priced', 'club');
SELECT is(t.refusal($$SELECT loyalty.attach('priced', 'club', 'customer')$$), 'LY104', 'then it may not go');
SELECT is(t.refusal($$SELECT loyalty.attach('priced', 'club', 'customer', 'total')$$), 'accepted', 'as before');
SELECT is(t.refusal($$SELECT loyalty.attach('keyless', 'club', 'customer', 'total', key => '{}')$$), 'LY103', 'a key of nothing');
SELECT is(t.refusal($$SELECT loyalty.attach('keyless', 'club', 'customer', 'total', key => ARRAY['id', 'nr'])$$), 'LY103', 'a key of a column that is not there');
SELECT is(t.refusal($$SELECT loyalty.attach('keyless', 'club', 'customer', 'total', key => ARRAY['id', NULL])$$), 'LY103', 'a key of no column');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', NULL, 'total')$$), 'LY103', 'no member');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'client', 'total')$$), 'LY103', 'a member column that is not there');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'ctid', 'total')$$), 'LY103', 'a system column');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'amount')$$), 'LY103', 'an amount column that is not there');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'rate')$$), 'LY103', 'an amount in floating point');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'cash')$$), 'LY103', 'in money');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'day')$$), 'LY103', 'in words');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'total', refunded => 'rate')$$), 'LY103', 'a refund in floating point');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', refunded => 'total')$$), 'LY103', 'a refund without an amount');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'total', event_time => 'day')$$), 'LY103', 'a time in words');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'total', event_time => 'hour')$$), 'LY103', 'a time column that is not there');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'total', event => 'basket')$$), 'LY103', 'an event column that is not there');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'total', status => 'status')$$), 'LY103', 'a status without words that earn');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'total', earning => '{paid}')$$), 'LY103', 'words without a status');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'total', status => 'status', earning => '{}')$$), 'LY103', 'no words');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'total', status => 'status', earning => '{paid,NULL}')$$), 'LY103', 'a NULL among the words');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'total', kind => '')$$), 'LY103', 'a kind of no letters');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'total', kind => NULL)$$), 'LY103', 'no kind');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'total', for_each => 'page')$$), 'LY103', 'an unknown form');
SELECT is(t.refusal($$SELECT loyalty.attach('plain', 'club', 'customer', 'total', on_error => 'ignore')$$), 'LY103', 'an unknown way with errors');
SELECT is(t.refusal($$SELECT loyalty.detach('plain', 'club')$$), 'LY006', 'detaching what is not attached');
SELECT is(t.refusal($$SELECT loyalty.detach(NULL, 'club')$$), 'LY006', 'detaching nothing');
SELECT is(t.refusal($$SELECT loyalty.backfill('plain', 'club')$$), 'LY006', 'backfilling what is not attached');
SELECT is(t.refusal($$SELECT loyalty.backfill('orders_2023', 'club')$$), 'LY006', 'backfilling a part of what is');
SELECT is(t.refusal($$SELECT loyalty.backfill('plain', 'nowhere')$$), 'LY001', 'for a program that is not there');
SELECT is(t.refusal($$SELECT loyalty.retry_deferred('plain', 'club')$$), 'LY006', 'retrying what is not attached');
SELECT is((SELECT count(*) FROM loyalty.source WHERE relation IN ('plain'::regclass, 'keyless'::regclass, 'passing'::regclass)), 0::bigint, 'nothing of all that was attached');
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('plain'::regclass, 'keyless'::regclass, 'passing'::regclass) AND NOT tgisinternal), 0::bigint,
          'and no trigger made');
SELECT is(t.refusal('CREATE TRIGGER mine AFTER INSERT ON plain FOR EACH STATEMENT EXECUTE FUNCTION loyalty.accrue()'), 'accepted', 'the trigger function put elsewhere by hand');
SELECT throws_ok('INSERT INTO plain (id) VALUES (1)', '39P01', NULL, 'refuses to work');

SELECT * FROM finish();
ROLLBACK;
