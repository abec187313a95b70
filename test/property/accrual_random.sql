-- Random changes of attached tables against an oracle: what each row should have earned by
-- the state that its table ended in, in plain SQL. Another seed, and how many statements there
-- are between two looks at the result: psql -v seed=... -v stride=1
BEGIN;
\ir ../pgtap/include/books.psql
SET search_path = shop, public, loyalty;
SET timezone = 'UTC';
\if :{?seed}
\else
    \set seed loyal
\endif
\if :{?stride}
\else
    \set stride 20
\endif

SELECT plan(14);
SELECT diag('seed ' || :'seed');

-- Two versions of a base rule, a tenth with another rounding in a finer currency, a summer bonus,
-- and one rounded once an event. Nothing expires and nothing is spent, so how a row came to its
-- state must not matter.
SELECT loyalty.create_program('club') AS x \gset
SELECT loyalty.create_currency('club', 'fine', decimals => 2) AS x \gset
SELECT loyalty.add_rule('club', 'base', points_per => 1) AS x \gset
SELECT loyalty.change_rule('club', 'base', points_per => 3, at => '2024-07-01 00:00+00') AS x \gset
SELECT loyalty.add_rule('club', 'tenth', points_per => 0.1, rounding => 'half_even', currency => 'fine') AS x \gset
SELECT loyalty.add_rule('club', 'summer', bonus => 17, rounding => 'half_up', valid => '[2024-06-01 00:00+00,2024-09-01 00:00+00)') AS x \gset
SELECT loyalty.add_rule('club', 'once', points_per => 0.7, stage => 'event') AS x \gset
SELECT loyalty.add_rule('club', 'once up', points_per => 0.7, stage => 'event', rounding => 'half_up', currency => 'fine') AS x \gset

CREATE TABLE plain (id int PRIMARY KEY DEFERRABLE, customer text, total numeric(8,2), refunded numeric(8,2), status text, at timestamptz, grp int);
CREATE TABLE parts (id int, customer text, total numeric(8,2), refunded numeric(8,2), status text, at timestamptz, grp int,
                    PRIMARY KEY (id, at) DEFERRABLE) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2024-06-15 00:00+00');
CREATE TABLE parts_2 (grp int, at timestamptz NOT NULL, junk int, status text, customer text, id int NOT NULL, total numeric(8,2), refunded numeric(8,2));
ALTER TABLE parts_2 DROP COLUMN junk;
ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM ('2024-06-15 00:00+00') TO ('2025-01-01 00:00+00');
CREATE TABLE lines (LIKE plain);
ALTER TABLE lines ADD PRIMARY KEY (id) DEFERRABLE;
CREATE TABLE nested (LIKE plain);
ALTER TABLE nested ADD PRIMARY KEY (id) DEFERRABLE;
CREATE TABLE each (LIKE plain);
ALTER TABLE each ADD PRIMARY KEY (id);
CREATE TABLE kept (LIKE plain);
ALTER TABLE kept ADD PRIMARY KEY (id);
SELECT loyalty.attach(s::regclass, 'club', 'customer', 'total', event_time => 'at', status => 'status', earning => '{paid}', refunded => 'refunded',
                      event => CASE s WHEN 'lines' THEN 'grp' END, for_each => CASE s WHEN 'each' THEN 'row' ELSE 'statement' END,
                      on_error => CASE s WHEN 'kept' THEN 'defer' ELSE 'fail' END)
FROM unnest(ARRAY['plain', 'parts', 'lines', 'nested', 'each', 'kept']) s \g /dev/null

-- A number from 0 to n - 1 for each step and use of it.
CREATE FUNCTION t.draw(seed text, step int, use text, n int) RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT (('x' || substr(md5(seed || '/' || step || '/' || use), 1, 8))::bit(32)::bigint % n)::int
$$;

-- The shop's own trigger on one of the tables: it changes the row again, or others.
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE t.draw('meddle', NEW.id, NEW.total::text || NEW.status, 9)
        WHEN 0 THEN UPDATE nested SET total = total + 1 WHERE id = NEW.id;
        WHEN 1 THEN UPDATE nested SET customer = CASE customer WHEN 'ann' THEN 'bob' ELSE 'ann' END WHERE id = NEW.id;
        WHEN 2 THEN DELETE FROM nested WHERE id = NEW.id;
        WHEN 3 THEN UPDATE nested SET status = CASE status WHEN 'paid' THEN 'void' ELSE 'paid' END WHERE id = NEW.id;
        WHEN 4 THEN INSERT INTO nested SELECT NEW.id + 5000, NEW.customer, 3, 0, 'paid', NEW.at, NEW.grp
            WHERE NOT EXISTS (SELECT FROM nested WHERE id = NEW.id + 5000);
        WHEN 5 THEN UPDATE nested SET total = total + 2 WHERE customer = NEW.customer;
        WHEN 6 THEN UPDATE nested SET at = at + interval '40 days' WHERE id = NEW.id;
        ELSE NULL;
    END CASE;
    RETURN NULL;
END $$;
CREATE TRIGGER a_meddle AFTER INSERT OR UPDATE ON nested FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION meddle();

CREATE FUNCTION t.statement(seed text, step int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    which text := (ARRAY['plain', 'parts', 'lines', 'nested', 'each', 'kept'])[1 + t.draw(seed, step, 'table', 6)];
    only_one text := (ARRAY['', '', '', ' AND at < ''2024-06-15 00:00+00''', ' AND customer = ''ann'''])[1 + t.draw(seed, step, 'only', 5)];
    subset text := format('id %% %s = %s', 1 + t.draw(seed, step, 'mod', 7), t.draw(seed, step, 'rest', 3)) || only_one;
    a numeric := t.draw(seed, step, 'a', 3000) / 100.0;
    b int := t.draw(seed, step, 'b', 9);
    new_rows text := format($f$SELECT %s + g, (ARRAY['ann', 'bob', 'cat', 'dot', NULL])[1 + (g * %s) %% 5], %s + g * 0.37, 0,
            (ARRAY['paid', 'paid', 'paid', 'void'])[1 + g %% 4], timestamptz '2024-01-02 00:00+00' + (g * %s %% 360) * interval '1 day', g %% 3
        FROM generate_series(1, %s) g$f$,
        t.draw(seed, step, 'from', 60), 1 + b, a, 1 + t.draw(seed, step, 'day', 100), 1 + t.draw(seed, step, 'rows', 8));
BEGIN
    -- Straight into a partition, now and then.
    IF which = 'parts' AND t.draw(seed, step, 'leaf', 4) = 0 THEN
        which := 'parts_' || 1 + t.draw(seed, step, 'which leaf', 2);
        new_rows := 'SELECT grp, at, status, customer, id, total, refunded FROM (' || new_rows
            || format(') r (id, customer, total, refunded, status, at, grp) WHERE (at < ''2024-06-15 00:00+00'') = %L', which = 'parts_1');
        IF which = 'parts_1' THEN
            new_rows := replace(new_rows, 'SELECT grp, at, status, customer, id, total, refunded', 'SELECT id, customer, total, refunded, status, at, grp');
        END IF;
    END IF;
    RETURN CASE t.draw(seed, step, 'verb', 20)
        WHEN 0 THEN format('INSERT INTO %s %s', which, new_rows)
        WHEN 1 THEN format('INSERT INTO %s %s', which, new_rows)
        WHEN 2 THEN format('INSERT INTO %s %s', which, new_rows)
        WHEN 3 THEN format('UPDATE %s SET total = %s WHERE %s', which, a, subset)
        WHEN 4 THEN format('UPDATE %s SET total = total + %s, refunded = least(refunded, total) WHERE %s', which, b - 3, subset)
        WHEN 5 THEN format('UPDATE %s SET refunded = least(total, refunded + %s) WHERE %s', which, b, subset)
        WHEN 6 THEN format('UPDATE %s SET refunded = total * %s / 8 WHERE %s', which, b % 9, subset)
        WHEN 7 THEN format('UPDATE %s SET status = CASE status WHEN ''paid'' THEN ''void'' ELSE ''paid'' END WHERE %s', which, subset)
        WHEN 8 THEN format('UPDATE %s SET customer = (ARRAY[''ann'', ''bob'', ''cat'', ''eve'', NULL])[1 + (id + %s) %% 5] WHERE %s', which, b, subset)
        WHEN 9 THEN format('UPDATE %s SET customer = ''bob'', status = ''paid'', total = %s, refunded = 0 WHERE %s', which, a, subset)
        WHEN 10 THEN format('UPDATE %s SET id = id + %s', which, b - 4)
        WHEN 11 THEN format('UPDATE %s SET id = %s - id, total = total + 0.11', which, 50 + b)
        WHEN 12 THEN format('UPDATE %s SET id = id + 100, customer = CASE customer WHEN ''ann'' THEN ''cat'' ELSE ''ann'' END WHERE %s', which, subset)
        WHEN 13 THEN format('UPDATE %s SET at = timestamptz ''2024-01-02 00:00+00'' + (id * %s %% 360) * interval ''1 day'' WHERE %s', which, 1 + b, subset)
        WHEN 14 THEN format('UPDATE %s SET at = timestamptz ''2024-12-31 00:00+00'' - (id * %s %% 360) * interval ''1 day'', customer = ''dot'', grp = grp + 1, id = id + 200 WHERE %s', which, 1 + b, subset)
        WHEN 15 THEN format('UPDATE %s SET grp = %L WHERE %s', which, nullif(b, 8), subset)
        WHEN 16 THEN format('DELETE FROM %s WHERE %s', which, subset)
        WHEN 17 THEN format('INSERT INTO %s %s', which, new_rows) || CASE which WHEN 'kept' THEN ' ON CONFLICT DO NOTHING'
            WHEN 'each' THEN ' ON CONFLICT (id) DO UPDATE SET total = EXCLUDED.total, refunded = 0, customer = EXCLUDED.customer' ELSE '' END
        WHEN 18 THEN format('MERGE INTO %s o USING (SELECT g AS id, g * 0.5 AS total FROM generate_series(%s, %s) g) v ON o.id = v.id
                WHEN MATCHED AND v.id %% 5 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET total = v.total, refunded = 0
                WHEN NOT MATCHED THEN INSERT (id, customer, total, refunded, status, at, grp) VALUES (v.id, ''cat'', v.total, 0, ''paid'', %L, 1)',
                which, b * 5, b * 5 + 12, CASE which WHEN 'parts_2' THEN '2024-08-01 00:00+00' ELSE '2024-03-01 00:00+00' END)
        ELSE CASE WHEN which = 'kept' THEN format('UPDATE kept SET total = (ARRAY[''NaN'', -1, 5]::numeric[])[1 + id %% 3] WHERE %s', subset)
            ELSE format('UPDATE %s SET total = total * 1.5, refunded = refunded / 2 WHERE %s', which, subset) END
    END;
END $$;

-- What each row, or event of lines, should have by each rule for its member.
CREATE FUNCTION t.round(x numeric, rounding text, decimals int) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE rounding
        WHEN 'floor' THEN floor(units)
        WHEN 'half_up' THEN floor(units + 0.5)
        WHEN 'half_even' THEN CASE WHEN units % 2 = 0.5 THEN floor(units) ELSE floor(units + 0.5) END
    END / 10::numeric ^ decimals
    FROM (SELECT x * 10::numeric ^ decimals AS units) u
$$;
CREATE VIEW t.rows AS
    SELECT 'plain' AS source, id::text AS event, NULL AS line, p.* FROM plain p
    UNION ALL SELECT 'parts', id || ',' || to_char(at, 'YYYY-MM-DD HH24:MI:SS') || '+00', NULL, p.* FROM parts p
    UNION ALL SELECT 'lines', coalesce(grp, id)::text, CASE WHEN grp IS NOT NULL THEN id::text END, p.* FROM lines p
    UNION ALL SELECT 'nested', id::text, NULL, p.* FROM nested p
    UNION ALL SELECT 'each', id::text, NULL, p.* FROM each p
    UNION ALL SELECT 'kept', id::text, NULL, p.* FROM kept p WHERE total < 'NaN' AND refunded BETWEEN 0 AND total;
CREATE VIEW t.owed AS
    WITH rated AS (
        SELECT r.source, r.event, CASE WHEN u.stage = 'event' AND r.line IS NOT NULL THEN '*' ELSE r.line END AS line,
               r.customer, u.rule_id, u.points_per, u.bonus::numeric AS bonus, u.rounding, c.decimals,
               sum(r.total) AS total, sum(r.refunded) AS refunded
        FROM t.rows r
        JOIN loyalty.rule u ON u.valid @> r.at JOIN loyalty.currency c USING (currency_id)
        WHERE r.status = 'paid' AND r.customer IS NOT NULL
        GROUP BY r.source, r.event, 3, r.customer, u.rule_id, u.points_per, u.bonus, u.rounding, u.stage, c.decimals
    ),
    earned AS (
        SELECT *, CASE WHEN points_per IS NULL THEN bonus ELSE t.round(total * points_per, rounding, decimals) END AS points FROM rated
    )
    SELECT source, event, line, customer, rule_id,
           points - CASE WHEN refunded = 0 THEN 0
                         WHEN refunded >= total THEN points
                         ELSE least(points, t.round(points * refunded / total, rounding, decimals)) END AS points
    FROM earned;
CREATE VIEW t.booked AS
    SELECT s.relation::text AS source, e.event::text AS event,
           CASE WHEN u.stage = 'event' AND e.line IS NOT NULL THEN '*' ELSE e.line END::text AS line,
           m.member::text AS customer, e.rule_id, sum(e.points::numeric) AS points
    FROM loyalty.entry e JOIN loyalty.source s USING (source_id) JOIN loyalty.rule u USING (rule_id)
    JOIN loyalty.account a USING (account_id) JOIN loyalty.member m USING (member_id)
    GROUP BY 1, 2, 3, 4, 5;
CREATE FUNCTION t.differences(sources text[]) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('%s %s/%s of %s by rule %s: owed %s, booked %s', source, event, l, customer, rule_id,
                  coalesce(o.points, 0), coalesce(b.points, 0))
    FROM (SELECT *, coalesce(line, '') AS l FROM t.owed) o
    FULL JOIN (SELECT *, coalesce(line, '') AS l FROM t.booked) b USING (source, event, customer, rule_id, l)
    WHERE coalesce(o.points, 0) <> coalesce(b.points, 0) AND source = ANY (sources)
    ORDER BY 1
$$;

-- Works off steps until a look shows a difference; answers which was the last, or NULL.
CREATE FUNCTION t.work(seed text, from_step int, to_step int, stride int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    statement text;
    wrong text;
BEGIN
    FOR step IN from_step .. to_step LOOP
        statement := t.statement(seed, step);
        BEGIN
            EXECUTE statement;
            SET CONSTRAINTS ALL IMMEDIATE;
            -- Some are undone.
            IF t.draw(seed, step, 'undo', 10) = 0 THEN
                RAISE EXCEPTION 'undone';
            END IF;
        EXCEPTION WHEN OTHERS THEN
            -- Keys taken, refunds beyond the amount, rows outside of their partition, and keys
            -- exchanged while triggers change the table.
            IF SQLERRM <> 'undone' AND SQLSTATE NOT IN ('23505', '23514', 'LY201', 'LY203', 'LY205') THEN
                RETURN format('step %s: %s: %s', step, statement, SQLERRM);
            END IF;
        END;
        SET CONSTRAINTS ALL DEFERRED;
        CONTINUE WHEN step % stride > 0;
        SELECT string_agg(d, E'\n') INTO wrong FROM (
            SELECT d FROM t.differences('{plain,parts,lines,nested,each}') d UNION ALL SELECT * FROM t.books() LIMIT 5) x;
        IF wrong IS NOT NULL THEN
            RETURN format(E'step %s: %s\n%s', step, statement, wrong);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

SELECT is(t.work(:'seed', b * 40 + 1, b * 40 + 40, :stride), NULL, format('every row has what it should after steps %s to %s', b * 40 + 1, b * 40 + 40))
FROM generate_series(0, 9) b;
SELECT cmp_ok((SELECT count(*) FROM loyalty.entry), '>', 1000::bigint, 'there was something to do');

-- The table whose bad rows are kept: right once they are corrected and retried.
UPDATE kept SET total = 5, refunded = 0 WHERE total IS NULL OR total = 'NaN' OR total < 0 OR refunded NOT BETWEEN 0 AND total;
SELECT loyalty.retry_deferred('kept', 'club') AS x \gset
SELECT is_empty($$SELECT t.differences('{kept}')$$, 'rows that were deferred have what they should after a retry');
SELECT is((SELECT count(*) FROM loyalty.deferred), 0::bigint, 'and the queue is empty');
SELECT t.books_hold('all of it');

SELECT * FROM finish();
ROLLBACK;
