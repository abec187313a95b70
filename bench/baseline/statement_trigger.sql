-- An entry for each row and one upsert for each balance, in the order of customers, so
-- that two statements can't wait for each other.

CREATE FUNCTION earn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO points_entry (customer_id, order_id, points, earned_at)
    SELECT customer_id, order_id, floor(total), ordered_at FROM new_orders;
    INSERT INTO points_balance AS b (customer_id, points)
    SELECT customer_id, sum(floor(total)) FROM new_orders GROUP BY customer_id ORDER BY customer_id
    ON CONFLICT (customer_id) DO UPDATE SET points = b.points + EXCLUDED.points;
    RETURN NULL;
END $$;

CREATE TRIGGER earn AFTER INSERT ON orders REFERENCING NEW TABLE AS new_orders
    FOR EACH STATEMENT EXECUTE FUNCTION earn();
