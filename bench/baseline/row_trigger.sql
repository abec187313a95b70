-- An entry and the balance, for each row.

CREATE FUNCTION earn() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    earned bigint := floor(NEW.total);
BEGIN
    INSERT INTO points_entry (customer_id, order_id, points, earned_at)
    VALUES (NEW.customer_id, NEW.order_id, earned, NEW.ordered_at);
    INSERT INTO points_balance AS b (customer_id, points)
    VALUES (NEW.customer_id, earned)
    ON CONFLICT (customer_id) DO UPDATE SET points = b.points + EXCLUDED.points;
    RETURN NULL;
END $$;

CREATE TRIGGER earn AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION earn();
