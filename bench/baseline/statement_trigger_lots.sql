-- The statement trigger again, of a shop whose points expire at the end of a month: what a
-- customer's points of one end are kept together, and an entry says to which of them it went.

CREATE TABLE points_lot (
    customer_id bigint NOT NULL,
    expires_at  timestamptz NOT NULL,
    remaining   bigint NOT NULL CHECK (remaining >= 0),
    PRIMARY KEY (customer_id, expires_at)
) WITH (fillfactor = 80);
ALTER TABLE points_entry ADD expires_at timestamptz;

CREATE FUNCTION earn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO points_balance AS b (customer_id, points)
    SELECT customer_id, sum(floor(total)) FROM new_orders GROUP BY customer_id ORDER BY customer_id
    ON CONFLICT (customer_id) DO UPDATE SET points = b.points + EXCLUDED.points;
    INSERT INTO points_lot AS l (customer_id, expires_at, remaining)
    SELECT customer_id, date_trunc('month', ordered_at) + interval '13 months' AS expires_at, sum(floor(total))
    FROM new_orders GROUP BY customer_id, expires_at ORDER BY customer_id, expires_at
    ON CONFLICT (customer_id, expires_at) DO UPDATE SET remaining = l.remaining + EXCLUDED.remaining;
    INSERT INTO points_entry (customer_id, order_id, points, earned_at, expires_at)
    SELECT customer_id, order_id, floor(total), ordered_at, date_trunc('month', ordered_at) + interval '13 months'
    FROM new_orders;
    RETURN NULL;
END $$;

CREATE TRIGGER earn AFTER INSERT ON orders REFERENCING NEW TABLE AS new_orders
    FOR EACH STATEMENT EXECUTE FUNCTION earn();
