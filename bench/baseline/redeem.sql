-- Spending over lots by window functions: the account's row is the lock, a running sum over
-- the open lots by soonest expiry says what each gives. Set on the command line: members, lots.

CREATE TABLE account (
    customer_id bigint PRIMARY KEY,
    balance     bigint NOT NULL CHECK (balance >= 0)
) WITH (fillfactor = 70);

CREATE TABLE lot (
    lot_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL,
    expires_at  timestamptz NOT NULL,
    remaining   bigint NOT NULL CHECK (remaining >= 0)
) WITH (fillfactor = 80);
CREATE INDEX ON lot (customer_id, expires_at, lot_id) WHERE remaining > 0;

CREATE TABLE entry (
    entry_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL,
    points      bigint NOT NULL,
    made_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON entry (customer_id, made_at);

CREATE TABLE allocation (
    entry_id bigint,
    lot_id   bigint,
    points   bigint NOT NULL,
    PRIMARY KEY (entry_id, lot_id)
);

CREATE FUNCTION redeem(customer bigint, wanted bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    available bigint;
    entry bigint;
BEGIN
    SELECT balance INTO available FROM account WHERE customer_id = customer FOR UPDATE;
    IF available IS NULL OR available < wanted THEN
        RAISE EXCEPTION 'not enough points';
    END IF;
    INSERT INTO entry (customer_id, points) VALUES (customer, -wanted) RETURNING entry_id INTO entry;
    WITH running AS (
        SELECT lot_id, remaining, sum(remaining) OVER (ORDER BY expires_at, lot_id) - remaining AS before
        FROM lot WHERE customer_id = customer AND remaining > 0 AND expires_at > now()
    ), taken AS (
        SELECT lot_id, least(remaining, wanted - before) AS points FROM running WHERE before < wanted
    ), allocated AS (
        INSERT INTO allocation (entry_id, lot_id, points) SELECT entry, lot_id, points FROM taken
    )
    UPDATE lot SET remaining = remaining - taken.points FROM taken WHERE lot.lot_id = taken.lot_id;
    UPDATE account SET balance = balance - wanted WHERE customer_id = customer;
    RETURN entry;
END $$;

-- A lot of 100 points for each member on each of so many days, as the days went by.
INSERT INTO account SELECT m, 100 * :lots FROM generate_series(1, :members) m;
INSERT INTO lot (customer_id, expires_at, remaining)
SELECT m, date_trunc('day', now()) + interval '1 year' - interval '1 day' * (d * 360 / :lots), 100
FROM generate_series(:lots, 1, -1) d, generate_series(1, :members) m ORDER BY d DESC, m;
VACUUM ANALYZE account, lot;

CREATE VIEW broken_books AS
SELECT customer_id FROM account
FULL JOIN (SELECT customer_id, sum(remaining) AS points FROM lot GROUP BY customer_id) l USING (customer_id)
LEFT JOIN (SELECT customer_id, sum(points) AS points FROM entry GROUP BY customer_id) e USING (customer_id)
LEFT JOIN (SELECT customer_id, sum(a.points) AS points FROM allocation a JOIN lot USING (lot_id) GROUP BY customer_id) a
    USING (customer_id)
WHERE balance <> l.points OR coalesce(e.points, 0) <> -coalesce(a.points, 0);
