-- tracking: whether a fitted model can be trusted, by what came afterwards. docs/tracking.md
--
-- Over any table of purchases, which is read with the caller's rights. A purchase is a
-- customer's day, as rfm_agg() has it by default, so models are in days.

-- The days of the purchases of a table up to a last one, as a query of customer and day.
CREATE FUNCTION loyalty._purchase_days(source regclass, members name, times name, fitted_to date, observed_to date, time_zone text)
    RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind regtype;
BEGIN
    IF source IS NULL OR members IS NULL OR times IS NULL OR time_zone IS NULL THEN
        PERFORM loyalty._invalid_metric('a model is compared with a table, its members and their times',
            'One of them, or the time zone, is NULL.', 'Name the table, its column of members and its column of times.');
    END IF;
    IF fitted_to IS NULL OR observed_to IS NULL OR NOT (isfinite(fitted_to) AND isfinite(observed_to)) OR observed_to <= fitted_to THEN
        PERFORM loyalty._invalid_metric('nothing is held out',
            format('The model was fitted to data up to %s, and purchases are observed up to %s.', coalesce(fitted_to::text, 'NULL'), coalesce(observed_to::text, 'NULL')),
            'Fit to the data up to a day, and compare with those up to a later one.');
    END IF;
    kind := (SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = source AND a.attname = times AND a.attnum > 0 AND NOT a.attisdropped);
    RETURN format('SELECT DISTINCT c.customer, c.day FROM (SELECT %I AS customer, %s AS day FROM %s) c WHERE c.customer IS NOT NULL AND c.day <= %L::date',
        members, CASE WHEN kind = 'timestamptz'::regtype THEN format('(%I AT TIME ZONE %L)::date', times, time_zone) ELSE format('%I::date', times) END,
        source, observed_to);
END $$;
COMMENT ON FUNCTION loyalty._purchase_days(regclass, name, name, date, date, text) IS 'Query of the days on which each customer of a table bought';

CREATE FUNCTION loyalty.tracking(model loyalty.clv_model, source regclass, members name, times name, fitted_to date, observed_to date,
        step int DEFAULT 7, time_zone text DEFAULT 'UTC')
    RETURNS TABLE (day date, held_out boolean, acquired bigint, expected float8, actual bigint, cumulative_expected float8,
        cumulative_actual bigint)
    LANGUAGE plpgsql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp SET jit = off AS $$
BEGIN
    IF model IS NULL THEN
        RETURN;
    END IF;
    IF step IS NULL OR step < 1 THEN
        PERFORM loyalty._invalid_metric('a step of days must be at least 1', format('It is %s.', coalesce(step::text, 'NULL')), 'Use 7 for weeks.');
    END IF;
    RETURN QUERY EXECUTE format($query$
        WITH bought AS MATERIALIZED (%s),
        first AS MATERIALIZED (
            SELECT b.customer, min(b.day) AS day FROM bought b GROUP BY b.customer HAVING min(b.day) <= $2
        ), acquired AS MATERIALIZED (
            SELECT f.day, count(*) AS customers FROM first f GROUP BY f.day
        ), repeats AS MATERIALIZED (
            SELECT b.day, count(*) AS purchases FROM bought b JOIN first f USING (customer) WHERE b.day > f.day GROUP BY b.day
        ), began AS (
            SELECT min(f.day) AS day FROM first f
        ), ends AS (
            -- The end of what was fitted, and the last day, are ends of a step whether they fall on one or not.
            SELECT DISTINCT e.day FROM began g, LATERAL (
                SELECT g.day + n FROM generate_series($4, $3 - g.day, $4) n UNION ALL VALUES ($2), ($3)) e (day)
            WHERE g.day IS NOT NULL
        ), total AS (
            SELECT e.day, (SELECT coalesce(sum(a.customers), 0)::bigint FROM acquired a WHERE a.day <= e.day) AS acquired,
                   (SELECT coalesce(sum(a.customers * loyalty.expected_purchases($1, (e.day - a.day)::float8) ORDER BY a.day), 0)
                    FROM acquired a WHERE a.day <= e.day) AS expected,
                   (SELECT coalesce(sum(r.purchases), 0)::bigint FROM repeats r WHERE r.day <= e.day) AS actual
            FROM ends e
        )
        SELECT t.day, t.day > $2, t.acquired, t.expected - lag(t.expected, 1, 0::float8) OVER w, t.actual - lag(t.actual, 1, 0::bigint) OVER w, t.expected, t.actual
        FROM total t WINDOW w AS (ORDER BY t.day) ORDER BY t.day$query$,
        loyalty._purchase_days(source, members, times, fitted_to, observed_to, time_zone))
    USING model, fitted_to, observed_to, step;
END $$;
COMMENT ON FUNCTION loyalty.tracking(loyalty.clv_model, regclass, name, name, date, date, int, text) IS
    'Repeat purchases of those acquired before a model was fitted, as expected of new customers and as they came, week by week';

CREATE FUNCTION loyalty.holdout_error(model loyalty.clv_model, source regclass, members name, times name, fitted_to date, observed_to date,
        most int DEFAULT 7, time_zone text DEFAULT 'UTC')
    RETURNS TABLE (frequency int, customers bigint, expected float8, actual bigint, expected_each float8, actual_each float8, bias float8,
        mean_absolute_error float8, root_mean_square_error float8, correlation float8)
    LANGUAGE plpgsql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
BEGIN
    IF model IS NULL THEN
        RETURN;
    END IF;
    IF most IS NULL OR most < 0 THEN
        PERFORM loyalty._invalid_metric('the highest frequency that has a row of its own must not be negative', format('It is %s.', coalesce(most::text, 'NULL')), 'The default is 7.');
    END IF;
    RETURN QUERY EXECUTE format($query$
        WITH bought AS MATERIALIZED (%s),
        customer AS (
            SELECT loyalty.rfm_agg(b.day, NULL::float8, $2) AS r, count(*) FILTER (WHERE b.day > $2) AS actual
            FROM bought b GROUP BY b.customer HAVING min(b.day) <= $2
        ), asked AS MATERIALIZED (
            SELECT least(loyalty.frequency(c.r), $4)::int AS frequency, loyalty.expected_purchases($1, c.r, ($3 - $2)::float8) AS expected, c.actual
            FROM customer c
        )
        SELECT a.frequency, count(*), sum(a.expected), sum(a.actual)::bigint, avg(a.expected), avg(a.actual)::float8,
               sum(a.expected) / nullif(sum(a.actual), 0)::float8 - 1, avg(abs(a.expected - a.actual)), sqrt(avg((a.expected - a.actual) ^ 2)),
               corr(a.expected, a.actual)
        FROM asked a GROUP BY GROUPING SETS ((a.frequency), ())
        HAVING count(*) > 0
        ORDER BY a.frequency NULLS LAST$query$,
        loyalty._purchase_days(source, members, times, fitted_to, observed_to, time_zone))
    USING model, fitted_to, observed_to, most;
END $$;
COMMENT ON FUNCTION loyalty.holdout_error(loyalty.clv_model, regclass, name, name, date, date, int, text) IS
    'Purchases expected of each customer in the time held out against those that came: by frequency, and in all where it is NULL';
