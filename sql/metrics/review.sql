-- review: lists for people to look at: who may be leaving, and what looks like fraud. docs/review.md

CREATE FUNCTION loyalty.value_at_stake(model loyalty.clv_model, customer loyalty.rfm, horizon float8, step float8, discount float8,
        margin float8 DEFAULT 1)
    RETURNS float8
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    -- clv is the value of an active customer times p_alive; this is the rest of it.
    SELECT loyalty.clv(model, customer, horizon, step, discount, margin)
           OPERATOR(pg_catalog.*) (1 OPERATOR(pg_catalog.-) loyalty.p_alive(model, customer))
           OPERATOR(pg_catalog./) NULLIF(loyalty.p_alive(model, customer), 0);
$$;
COMMENT ON FUNCTION loyalty.value_at_stake(loyalty.clv_model, loyalty.rfm, float8, float8, float8, float8) IS
    'Value up to a horizon that is lost by the chance that the customer has left: (1 - p_alive) x value if active';

CREATE VIEW loyalty.churn_risk AS
    SELECT v.program, v.member, loyalty.tier_name(a.tier) AS tier, v.frequency, v.age - v.recency AS days_since_order,
           v.p_alive, 1 - v.p_alive AS p_left, v.clv, v.clv / nullif(v.p_alive, 0) AS value_if_active,
           v.clv / nullif(v.p_alive, 0) * (1 - v.p_alive) AS value_at_stake, v.reliable, v.computed_at
    FROM loyalty._clv_by_member v
    JOIN loyalty.program p ON p.code = v.program
    JOIN loyalty.currency c ON c.program_id = p.program_id AND c.is_default
    -- Not who was merged, closed or erased since.
    JOIN loyalty.account a ON a.currency_id = c.currency_id AND a.member_key = v.member AND a.state = 0;
COMMENT ON VIEW loyalty.churn_risk IS
    'Members by what the chance that they have left costs, as of the last refresh of clv_by_member: read it ORDER BY value_at_stake DESC NULLS LAST';
COMMENT ON COLUMN loyalty.churn_risk.program IS 'code of the program';
COMMENT ON COLUMN loyalty.churn_risk.member IS 'the member''s key in the shop';
COMMENT ON COLUMN loyalty.churn_risk.tier IS 'name of the tier held; NULL without a ladder';
COMMENT ON COLUMN loyalty.churn_risk.frequency IS 'days with an order after the first such day';
COMMENT ON COLUMN loyalty.churn_risk.days_since_order IS 'days from the last order to computed_at';
COMMENT ON COLUMN loyalty.churn_risk.p_alive IS 'probability that the member still is a customer';
COMMENT ON COLUMN loyalty.churn_risk.p_left IS '1 - p_alive';
COMMENT ON COLUMN loyalty.churn_risk.clv IS 'expected spend within a year, discounted: p_alive x value_if_active';
COMMENT ON COLUMN loyalty.churn_risk.value_if_active IS 'the same, were it sure that the member is active; NULL if p_alive is 0';
COMMENT ON COLUMN loyalty.churn_risk.value_at_stake IS 'p_left x value_if_active: what winning the member back for sure would be worth, as revenue';
COMMENT ON COLUMN loyalty.churn_risk.reliable IS 'whether the fit of the program''s model ended without warnings';
COMMENT ON COLUMN loyalty.churn_risk.computed_at IS 'when clv_by_member was refreshed';

-- Over any table, which is read with the caller's rights. What is not named is not looked at.
CREATE FUNCTION loyalty.review_flags(source regclass, members name, times name, amount name DEFAULT NULL, refunded name DEFAULT NULL,
        device name DEFAULT NULL, velocity_window interval DEFAULT '1 hour', max_velocity int DEFAULT 10,
        max_refund_ratio numeric DEFAULT 0.5, min_orders int DEFAULT 3, max_sharing int DEFAULT 3,
        since timestamptz DEFAULT '-infinity')
    RETURNS TABLE (member text, flag text, value numeric, threshold numeric, detail text)
    LANGUAGE plpgsql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    parts text[];
BEGIN
    IF source IS NULL OR members IS NULL OR times IS NULL OR (amount IS NULL) <> (refunded IS NULL) THEN
        PERFORM loyalty._invalid_metric('a review needs a table, its members and their times',
            'One of them is NULL, or only one of amount and refunded is given.', 'Name the columns; amount and refunded go together.');
    END IF;
    IF velocity_window IS NULL OR velocity_window <= interval '0' OR max_velocity IS NULL OR max_velocity < 1
       OR max_refund_ratio IS NULL OR NOT (max_refund_ratio BETWEEN 0 AND 1) OR min_orders IS NULL OR min_orders < 1
       OR max_sharing IS NULL OR max_sharing < 1 OR since IS NULL THEN
        PERFORM loyalty._invalid_metric('thresholds of a review that can''t be used',
            format('Velocity is %s in %s, the refund ratio %s of %s orders, sharing %s.', coalesce(max_velocity::text, 'NULL'),
                   coalesce(velocity_window::text, 'NULL'), coalesce(max_refund_ratio::text, 'NULL'), coalesce(min_orders::text, 'NULL'),
                   coalesce(max_sharing::text, 'NULL')),
            'Counts are at least 1, the window is longer than nothing, the ratio between 0 and 1.');
    END IF;
    -- The most events of a member in any window that ends with one of them.
    parts := ARRAY[$part$
        SELECT DISTINCT ON (w.member) w.member, 'velocity', w.n::numeric, $2::numeric,
               format('%s events within %s until %s', w.n, $1, w.at)
        FROM (SELECT r.member, r.at, count(*) OVER (PARTITION BY r.member ORDER BY r.at RANGE BETWEEN $1 PRECEDING AND CURRENT ROW) AS n
              FROM read r) w
        WHERE w.n > $2 ORDER BY w.member, w.n DESC, w.at$part$];
    IF amount IS NOT NULL THEN
        parts := parts || text $part$
        SELECT r.member, 'refund ratio', round(sum(r.refunded) / sum(r.amount), 4), $3,
               format('%s of %s refunded, in %s of %s orders', sum(r.refunded), sum(r.amount), count(*) FILTER (WHERE r.refunded > 0), count(*))
        FROM read r GROUP BY r.member
        HAVING count(*) >= $4 AND sum(r.amount) > 0 AND sum(r.refunded) > $3 * sum(r.amount)$part$;
    END IF;
    IF device IS NOT NULL THEN
        parts := parts || text $part$
        SELECT DISTINCT ON (u.member) u.member, 'shared device', u.members::numeric, $5::numeric, format('%s members used %s', u.members, u.device)
        FROM (SELECT d.member, d.device, count(*) OVER (PARTITION BY d.device) AS members
              FROM (SELECT DISTINCT r.member, r.device FROM read r WHERE r.device IS NOT NULL) d) u
        WHERE u.members > $5 ORDER BY u.member, u.members DESC, u.device$part$;
    END IF;
    RETURN QUERY EXECUTE format($query$
        WITH read AS MATERIALIZED (
            SELECT %1$I::text COLLATE "C" AS member, %2$I::timestamptz AS at, %3$s AS amount, %4$s AS refunded, %5$s COLLATE "C" AS device
            FROM %6$s WHERE %1$I IS NOT NULL AND %2$I IS NOT NULL AND %2$I >= $6
        ), found (member, flag, value, threshold, detail) AS ((%7$s))
        SELECT f.member COLLATE "default", f.flag, f.value, f.threshold, f.detail COLLATE "default" FROM found f ORDER BY f.member, f.flag$query$,
        members, times,
        CASE WHEN amount IS NULL THEN 'NULL::numeric' ELSE format('coalesce(%I, 0)::numeric', amount) END,
        CASE WHEN refunded IS NULL THEN 'NULL::numeric' ELSE format('coalesce(%I, 0)::numeric', refunded) END,
        CASE WHEN device IS NULL THEN 'NULL::text' ELSE format('%I::text', device) END,
        source, array_to_string(parts, ') UNION ALL ('))
    USING velocity_window, max_velocity, max_refund_ratio, min_orders, max_sharing, since;
END $$;
COMMENT ON FUNCTION loyalty.review_flags(regclass, name, name, name, name, name, interval, int, numeric, int, int, timestamptz) IS
    'Members whose events come too fast, are refunded too much, or come from devices of too many members: for people to look at';
