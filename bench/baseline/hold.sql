-- Holding points and spending them later, in plpgsql: the account's row is the lock, a running
-- sum over what the lots have free says what each gives, and what is held of a lot is kept
-- beside it until it is spent. Set on the command line: members, lots.

CREATE TABLE account (
    customer_id bigint PRIMARY KEY,
    balance     bigint NOT NULL CHECK (balance >= 0),
    held        bigint NOT NULL DEFAULT 0 CHECK (held BETWEEN 0 AND balance)
) WITH (fillfactor = 70);

CREATE TABLE lot (
    lot_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL,
    expires_at  timestamptz NOT NULL,
    remaining   bigint NOT NULL CHECK (remaining >= 0),
    held        bigint NOT NULL DEFAULT 0 CHECK (held BETWEEN 0 AND remaining)
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

CREATE TABLE hold (
    hold_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL,
    points      bigint NOT NULL,
    ends_at     timestamptz NOT NULL,
    entry_id    bigint
) WITH (fillfactor = 80);

CREATE TABLE hold_lot (
    hold_id bigint,
    lot_id  bigint,
    points  bigint NOT NULL,
    PRIMARY KEY (hold_id, lot_id)
);

CREATE FUNCTION hold(customer bigint, wanted bigint, ttl interval) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    available bigint;
    made bigint;
BEGIN
    SELECT balance - held INTO available FROM account WHERE customer_id = customer FOR UPDATE;
    IF available IS NULL OR available < wanted THEN
        RAISE EXCEPTION 'not enough points';
    END IF;
    INSERT INTO hold (customer_id, points, ends_at) VALUES (customer, wanted, now() + ttl) RETURNING hold_id INTO made;
    WITH running AS (
        SELECT lot_id, remaining - held AS free, sum(remaining - held) OVER (ORDER BY expires_at, lot_id) - (remaining - held) AS before
        FROM lot WHERE customer_id = customer AND remaining > 0 AND expires_at > now()
    ), taken AS (
        SELECT lot_id, least(free, wanted - before) AS points FROM running WHERE before < wanted AND free > 0
    ), kept AS (
        INSERT INTO hold_lot (hold_id, lot_id, points) SELECT made, lot_id, points FROM taken
    )
    UPDATE lot SET held = held + taken.points FROM taken WHERE lot.lot_id = taken.lot_id;
    UPDATE account SET held = held + wanted WHERE customer_id = customer;
    RETURN made;
END $$;

CREATE FUNCTION capture(which bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    kept hold;
    made bigint;
BEGIN
    SELECT * INTO kept FROM hold WHERE hold_id = which;
    PERFORM FROM account WHERE customer_id = kept.customer_id FOR UPDATE;
    INSERT INTO entry (customer_id, points) VALUES (kept.customer_id, -kept.points) RETURNING entry_id INTO made;
    UPDATE hold SET entry_id = made WHERE hold_id = which AND entry_id IS NULL AND ends_at > now();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the hold is over';
    END IF;
    WITH paid AS (
        UPDATE lot SET remaining = lot.remaining - h.points, held = lot.held - h.points
        FROM hold_lot h WHERE h.hold_id = which AND lot.lot_id = h.lot_id
        RETURNING lot.lot_id, h.points
    )
    INSERT INTO allocation (entry_id, lot_id, points) SELECT made, lot_id, points FROM paid;
    UPDATE account SET balance = balance - kept.points, held = held - kept.points WHERE customer_id = kept.customer_id;
    RETURN made;
END $$;

-- A lot of 100 points for each member on each of so many days, as the days went by.
INSERT INTO account SELECT m, 100 * :lots FROM generate_series(1, :members) m;
INSERT INTO lot (customer_id, expires_at, remaining)
SELECT m, date_trunc('day', now()) + interval '1 year' - interval '1 day' * (d * 360 / :lots), 100
FROM generate_series(:lots, 1, -1) d, generate_series(1, :members) m ORDER BY d DESC, m;
VACUUM ANALYZE account, lot;

CREATE VIEW broken_books AS
SELECT customer_id FROM account
FULL JOIN (SELECT customer_id, sum(remaining) AS points, sum(held) AS held FROM lot GROUP BY customer_id) l USING (customer_id)
LEFT JOIN (SELECT customer_id, sum(points) AS points FROM entry GROUP BY customer_id) e USING (customer_id)
LEFT JOIN (SELECT customer_id, sum(a.points) AS points FROM allocation a JOIN lot USING (lot_id) GROUP BY customer_id) a
    USING (customer_id)
WHERE balance <> l.points OR account.held <> l.held OR coalesce(e.points, 0) <> -coalesce(a.points, 0);
