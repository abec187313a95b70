-- The tables of a hand-made points system: an entry for each movement, a balance for
-- each customer. Set on the command line: members.

CREATE TABLE points_entry (
    entry_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL,
    order_id    bigint NOT NULL,
    points      bigint NOT NULL,
    earned_at   timestamptz NOT NULL
);
CREATE INDEX ON points_entry (customer_id, earned_at);

CREATE TABLE points_balance (
    customer_id bigint PRIMARY KEY,
    points      bigint NOT NULL
) WITH (fillfactor = 70);
INSERT INTO points_balance SELECT m, 0 FROM generate_series(1, :members) m;
VACUUM ANALYZE points_balance;

-- What bench/check.sql is for the engine.
CREATE VIEW broken_books AS
SELECT customer_id, b.points AS balance, e.points AS entries
FROM points_balance b
FULL JOIN (SELECT customer_id, sum(points) AS points FROM points_entry GROUP BY customer_id) e USING (customer_id)
WHERE coalesce(b.points, 0) <> coalesce(e.points, 0);
