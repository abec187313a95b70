-- liability: what outstanding points will cost, and what sales still owe. docs/liability.md
--
-- The estimators are functions of arrays, open to all; what reads the ledger is below them.
-- Everything is numeric: a month of development is a handful of rows, so nothing here pays for C.

CREATE FUNCTION loyalty._invalid_metric(message text, detail text, hint text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'LY502', MESSAGE = message, DETAIL = detail, HINT = hint;
END $$;
COMMENT ON FUNCTION loyalty._invalid_metric(text, text, text) IS 'Refuses arguments that make no sense together';

CREATE FUNCTION loyalty.redemption_rate(issued numeric, redeemed numeric) RETURNS numeric
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    IF NOT (issued >= 0 AND redeemed >= 0 AND redeemed <= issued AND issued < 'Infinity') THEN
        PERFORM loyalty._invalid_metric('points redeemed can''t exceed those issued',
            format('%s of %s were redeemed.', redeemed, issued), 'Count both over the same points.');
    END IF;
    RETURN redeemed / nullif(issued, 0);
END $$;
COMMENT ON FUNCTION loyalty.redemption_rate(numeric, numeric) IS 'redeemed / issued, of the same points';

CREATE FUNCTION loyalty.breakage_rate(issued numeric, expired numeric) RETURNS numeric
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    IF NOT (issued >= 0 AND expired >= 0 AND expired <= issued AND issued < 'Infinity') THEN
        PERFORM loyalty._invalid_metric('points expired can''t exceed those issued',
            format('%s of %s expired.', expired, issued), 'Count both over the same points.');
    END IF;
    RETURN expired / nullif(issued, 0);
END $$;
COMMENT ON FUNCTION loyalty.breakage_rate(numeric, numeric) IS 'expired / issued, of the same points: the breakage observed so far';

-- A row a cohort, oldest or newest first, a column an age; NULL: not observed yet.
CREATE FUNCTION loyalty._check_triangle(cumulative numeric[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    IF cumulative IS NOT NULL AND array_ndims(cumulative) IS DISTINCT FROM 2 OR array_lower(cumulative, 1) <> 1 OR array_lower(cumulative, 2) <> 1 THEN
        PERFORM loyalty._invalid_metric('a triangle has two dimensions',
            CASE WHEN cumulative = '{}' THEN 'This array is empty.'
                 ELSE format('This array has %s, from %s on.', array_ndims(cumulative), array_lower(cumulative, 1)) END,
            'Give a row for each cohort and a column for each age.');
    END IF;
    IF EXISTS (SELECT FROM unnest(cumulative) v WHERE NOT (v >= 0 AND v < 'Infinity')) THEN
        PERFORM loyalty._invalid_metric('a triangle holds what was redeemed in all up to each age',
            'A value is negative, infinite or NaN.', 'Use cumulative amounts, and NULL for what has not been observed yet.');
    END IF;
    FOR cohort IN 1 .. array_length(cumulative, 1) LOOP
        FOR age IN 2 .. array_length(cumulative, 2) LOOP
            IF cumulative[cohort][age] IS NOT NULL AND cumulative[cohort][age - 1] IS NULL THEN
                PERFORM loyalty._invalid_metric('a cohort has a gap in its triangle',
                    format('Cohort %s is known at age %s and not at age %s.', cohort, age - 1, age - 2),
                    'A cohort is known up to an age, and NULL from there on.');
            END IF;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION loyalty._check_triangle(numeric[]) IS 'Refuses what is no triangle of cumulative amounts';

CREATE FUNCTION loyalty.development_factors(cumulative numeric[]) RETURNS numeric[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    factors numeric[] := '{}';
    before numeric;
    after numeric;
BEGIN
    PERFORM loyalty._check_triangle(cumulative);
    FOR age IN 2 .. coalesce(array_length(cumulative, 2), 0) LOOP
        SELECT sum(cumulative[i][age - 1]), sum(cumulative[i][age]) INTO before, after
        FROM generate_subscripts(cumulative, 1) i WHERE cumulative[i][age] IS NOT NULL;
        factors := factors || (after / nullif(before, 0));
    END LOOP;
    RETURN factors;
END $$;
COMMENT ON FUNCTION loyalty.development_factors(numeric[]) IS
    'Volume-weighted growth from each age to the next, over the cohorts that reached both';

CREATE FUNCTION loyalty.chain_ladder(cumulative numeric[], tail numeric DEFAULT 1, exposure numeric[] DEFAULT NULL)
    RETURNS TABLE (cohort int, age int, observed numeric, factor numeric, ultimate numeric, cape_cod numeric)
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 36 SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    factors numeric[] := loyalty.development_factors(cumulative);
    to_ultimate numeric[] := '{}';
    rate numeric;
BEGIN
    IF cumulative IS NULL THEN
        RETURN;
    END IF;
    IF tail IS NULL OR NOT (tail >= 1 AND tail < 'Infinity') THEN
        PERFORM loyalty._invalid_metric('a tail factor is at least 1', format('It is %s.', coalesce(tail::text, 'NULL')),
            'It says by what the amounts grow after the last age of the triangle; 1 means not at all.');
    END IF;
    IF exposure IS NOT NULL AND (array_ndims(exposure) IS DISTINCT FROM 1
            OR array_length(exposure, 1) <> coalesce(array_length(cumulative, 1), 0)
            OR EXISTS (SELECT FROM unnest(exposure) v WHERE v IS NULL OR NOT (v >= 0 AND v < 'Infinity'))) THEN
        PERFORM loyalty._invalid_metric('every cohort needs an exposure of zero or more',
            format('There are %s cohorts and exposures %s.', coalesce(array_length(cumulative, 1), 0), exposure),
            'Give what was issued to each cohort, in the order of the rows.');
    END IF;
    FOR i IN REVERSE coalesce(array_length(cumulative, 2), 0) .. 1 LOOP
        -- Rounded, or its digits would grow with every age.
        to_ultimate[i] := CASE WHEN i = array_length(cumulative, 2) THEN tail ELSE round(to_ultimate[i + 1] * factors[i], 20) END;
    END LOOP;
    -- What the cohorts redeemed, for what they are expected to have been able to by their ages.
    SELECT sum(c.observed) / nullif(sum(c.exposed / nullif(c.grown, 0)), 0) INTO rate
    FROM (SELECT max(cumulative[i][j]) FILTER (WHERE cumulative[i][j + 1] IS NULL) AS observed, exposure[i] AS exposed,
                 to_ultimate[max(j)] AS grown
          FROM generate_subscripts(cumulative, 1) i, generate_subscripts(cumulative, 2) j
          WHERE cumulative[i][j] IS NOT NULL GROUP BY i) c
    WHERE c.grown > 0;
    RETURN QUERY
    SELECT i, c.at - 1, cumulative[i][c.at], to_ultimate[c.at], round(cumulative[i][c.at] * to_ultimate[c.at], 12),
           round(coalesce(cumulative[i][c.at], 0) + rate * exposure[i] * (1 - coalesce(1 / nullif(to_ultimate[c.at], 0), 0)), 12)
    FROM generate_subscripts(cumulative, 1) i
    CROSS JOIN LATERAL (SELECT max(j)::int AS at FROM generate_subscripts(cumulative, 2) j
                        WHERE cumulative[i][j] IS NOT NULL) c
    ORDER BY i;
END $$;
COMMENT ON FUNCTION loyalty.chain_ladder(numeric[], numeric, numeric[]) IS
    'Ultimate amount of each cohort of a triangle by the chain ladder, and by Cape Cod where the exposures are given';

CREATE FUNCTION loyalty.redemption_incidence(at_risk numeric[], redeemed numeric[], expired numeric[], tail numeric DEFAULT 1)
    RETURNS TABLE (age int, redemption_hazard numeric, expiry_hazard numeric, ever_redeemed numeric, outstanding numeric,
                   to_come numeric)
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 36 SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    ages int := coalesce(array_length(at_risk, 1), 0);
    hazards numeric[] := '{}';
    ends numeric[] := '{}';
    future numeric[] := '{}';
BEGIN
    IF at_risk IS NULL OR redeemed IS NULL OR expired IS NULL THEN
        RETURN;
    END IF;
    IF tail IS NULL OR NOT (tail BETWEEN 0 AND 1) THEN
        PERFORM loyalty._invalid_metric('a tail is a share between 0 and 1', format('It is %s.', coalesce(tail::text, 'NULL')),
            'It says which share of the points that outlive the last age will be redeemed.');
    END IF;
    IF coalesce(array_length(redeemed, 1), 0) <> ages OR coalesce(array_length(expired, 1), 0) <> ages
       OR greatest(array_ndims(at_risk), array_ndims(redeemed), array_ndims(expired)) > 1
       OR EXISTS (SELECT FROM unnest(at_risk || redeemed || expired) v WHERE v IS NULL OR v IN ('NaN', 'Infinity', '-Infinity')) THEN
        PERFORM loyalty._invalid_metric('each age needs points at risk, redeemed and expired',
            format('There are %s, %s and %s numbers.', ages, coalesce(array_length(redeemed, 1), 0), coalesce(array_length(expired, 1), 0)),
            'Give three arrays of one length, 0 where nothing happened.');
    END IF;
    FOR i IN 1 .. ages LOOP
        IF redeemed[i] + expired[i] > at_risk[i] THEN
            PERFORM loyalty._invalid_metric('more points left than were at risk',
                format('At age %s there were %s, and %s were redeemed and %s expired.', i - 1, at_risk[i], redeemed[i], expired[i]),
                'At risk are the points outstanding at the beginning of the age.');
        END IF;
        -- An age in which more came back than was redeemed has no hazard.
        hazards[i] := coalesce(round(greatest(redeemed[i], 0) / nullif(at_risk[i], 0), 20), 0);
        ends[i] := coalesce(round(greatest(expired[i], 0) / nullif(at_risk[i], 0), 20), 0);
    END LOOP;
    FOR i IN REVERSE ages .. 1 LOOP
        future[i] := round(hazards[i] + (1 - hazards[i] - ends[i]) * CASE WHEN i = ages THEN tail ELSE future[i + 1] END, 20);
    END LOOP;
    ever_redeemed := 0;
    outstanding := 1;
    FOR i IN 1 .. ages LOOP
        age := i - 1;
        redemption_hazard := hazards[i];
        expiry_hazard := ends[i];
        ever_redeemed := round(ever_redeemed + outstanding * hazards[i], 20);
        outstanding := round(outstanding * (1 - hazards[i] - ends[i]), 20);
        to_come := future[i];
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION loyalty.redemption_incidence(numeric[], numeric[], numeric[], numeric) IS
    'Share of points redeemed by each age, where expiry competes with redemption (Aalen-Johansen)';

-- IFRS 15 / ASC 606

CREATE FUNCTION loyalty.ifrs15_allocation(price numeric, points numeric, value_per_point numeric, redemption_rate numeric,
        standalone_price numeric DEFAULT NULL)
    RETURNS TABLE (goods numeric, deferred numeric)
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    alone numeric := coalesce(standalone_price, price);
    granted numeric := points * value_per_point * redemption_rate;
BEGIN
    IF price IS NULL OR points IS NULL OR value_per_point IS NULL OR redemption_rate IS NULL THEN
        RETURN;
    END IF;
    IF NOT (price >= 0 AND points >= 0 AND value_per_point >= 0 AND alone >= 0 AND redemption_rate BETWEEN 0 AND 1
            AND greatest(price, points, value_per_point, alone) < 'Infinity') THEN
        PERFORM loyalty._invalid_metric('a price can''t be allocated by these values',
            format('The price is %s, its stand-alone price %s, %s points of %s are expected to be redeemed at a rate of %s.',
                   price, alone, points, value_per_point, redemption_rate),
            'Amounts are zero or more, and the redemption rate is between 0 and 1.');
    END IF;
    deferred := CASE WHEN alone + granted = 0 THEN 0 ELSE price * granted / (alone + granted) END;
    goods := price - deferred;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION loyalty.ifrs15_allocation(numeric, numeric, numeric, numeric, numeric) IS
    'Splits a price between the goods and the points granted with them, by relative stand-alone selling prices';

CREATE FUNCTION loyalty.ifrs15_recognised(allocated numeric, redeemed numeric, expected numeric) RETURNS numeric
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    IF NOT (allocated >= 0 AND redeemed >= 0 AND expected >= redeemed AND greatest(allocated, expected) < 'Infinity') THEN
        PERFORM loyalty._invalid_metric('fewer points are expected to be redeemed than were redeemed',
            format('%s of %s are redeemed, for %s.', redeemed, expected, allocated),
            'The expectation counts all points ever redeemed, those of the past included.');
    END IF;
    -- Nothing is expected any more: what was set aside for it is earned.
    RETURN CASE WHEN expected = redeemed THEN allocated ELSE allocated * redeemed / expected END;
END $$;
COMMENT ON FUNCTION loyalty.ifrs15_recognised(numeric, numeric, numeric) IS
    'Revenue recognised to date for points: allocated x redeemed to date / expected to be redeemed in all';

CREATE FUNCTION loyalty.ifrs15_schedule(allocated numeric, redeemed numeric[], expected numeric[], decimals int DEFAULT 2)
    RETURNS TABLE (period int, redeemed_to_date numeric, expected_in_all numeric, recognised numeric, catch_up numeric,
                   deferred numeric)
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 12 SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    before numeric := 0;
    to_date numeric;
BEGIN
    IF allocated IS NULL OR redeemed IS NULL OR expected IS NULL OR decimals IS NULL THEN
        RETURN;
    END IF;
    IF coalesce(array_length(redeemed, 1), 0) <> coalesce(array_length(expected, 1), 0)
       OR array_position(redeemed || expected, NULL) IS NOT NULL OR decimals NOT BETWEEN 0 AND 8 THEN
        PERFORM loyalty._invalid_metric('each period needs points redeemed and an expectation',
            format('There are %s and %s, and %s decimals.', redeemed, expected, decimals),
            'Give two arrays of one length, and 0 to 8 decimals of money.');
    END IF;
    allocated := round(allocated, decimals);
    redeemed_to_date := 0;
    FOR i IN 1 .. coalesce(array_length(redeemed, 1), 0) LOOP
        period := i;
        -- What the new expectation makes of the points redeemed before it.
        catch_up := CASE WHEN i = 1 THEN 0
            ELSE round(loyalty.ifrs15_recognised(allocated, redeemed_to_date, greatest(expected[i], redeemed_to_date)), decimals)
                 - before END;
        redeemed_to_date := redeemed_to_date + redeemed[i];
        expected_in_all := expected[i];
        to_date := round(loyalty.ifrs15_recognised(allocated, redeemed_to_date, expected[i]), decimals);
        recognised := to_date - before;
        deferred := allocated - to_date;
        before := to_date;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION loyalty.ifrs15_schedule(numeric, numeric[], numeric[], int) IS
    'Revenue of each period for points, with the catch-up of a changed expectation, and what stays deferred';

CREATE FUNCTION loyalty.ifrs15_journal(price numeric, points numeric, value_per_point numeric, redeemed numeric[], expected numeric[],
        decimals int DEFAULT 2, standalone_price numeric DEFAULT NULL, redemption_rate numeric DEFAULT NULL)
    RETURNS TABLE (period int, line int, account text, debit numeric, credit numeric, memo text)
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 24 SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    rate numeric := coalesce(redemption_rate, CASE WHEN points = 0 THEN 0 ELSE expected[1] / points END);
    split record;
BEGIN
    SELECT * INTO split FROM loyalty.ifrs15_allocation(price, points, value_per_point, rate, standalone_price);
    RETURN QUERY
    WITH moved (period, memo, debited, credited, amount, place) AS (
        SELECT 0, 'sale', 'receivables', 'revenue', round(price, decimals) - round(split.deferred, decimals), 1
        UNION ALL
        SELECT 0, 'points granted', 'receivables', 'contract liability', round(split.deferred, decimals), 2
        UNION ALL
        SELECT s.period, 'points redeemed', 'contract liability', 'revenue', s.recognised - s.catch_up, 3
        FROM loyalty.ifrs15_schedule(split.deferred, redeemed, expected, decimals) s
        UNION ALL
        SELECT s.period, 'change of estimate', 'contract liability', 'revenue', s.catch_up, 4
        FROM loyalty.ifrs15_schedule(split.deferred, redeemed, expected, decimals) s
    )
    SELECT m.period, (row_number() OVER (PARTITION BY m.period ORDER BY m.place, side.n))::int, side.account,
           CASE WHEN side.n = 1 THEN abs(m.amount) ELSE 0 END, CASE WHEN side.n = 2 THEN abs(m.amount) ELSE 0 END, m.memo
    FROM moved m
    CROSS JOIN LATERAL (VALUES (1, CASE WHEN m.amount > 0 THEN m.debited ELSE m.credited END),
                               (2, CASE WHEN m.amount > 0 THEN m.credited ELSE m.debited END)) side (n, account)
    WHERE m.amount <> 0
    ORDER BY m.period, m.place, side.n;
END $$;
COMMENT ON FUNCTION loyalty.ifrs15_journal(numeric, numeric, numeric, numeric[], numeric[], int, numeric, numeric) IS
    'Journal lines of a sale that granted points, period by period: debits and credits balance';

-- ---- The ledger

-- Issue months by age in months, in the program's zone. What is neither redeemed nor
-- expired or forfeited by an entry changes what was issued; the debt is nobody's lot. Of a lot that is
-- past its end all that was not redeemed has expired, booked or not, but for what is held.
-- At the present moment everything in the books counts, so that it ties to the lots.
-- (An account has an as_of too, hence the long name of the argument.) All of a currency is
-- read, so loops could only come from statistics that are out of date, and take for ever.
CREATE FUNCTION loyalty._development(money int, zone text, as_of timestamptz, known_at timestamptz)
    RETURNS TABLE (cohort date, age int, issued numeric, redeemed numeric, expired numeric)
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 200 SET search_path = pg_catalog, loyalty, pg_temp SET enable_nestloop = off AS $$
    WITH effect AS (
        SELECT e.account_id, e.lot_no, e.points, e.event_time, e.recorded_at, e.kind
        FROM loyalty._book e WHERE e.lot_no > 0
        UNION ALL
        SELECT a.account_id, a.lot_no, a.points, e.event_time, e.recorded_at, e.kind
        FROM loyalty._book_allocation a JOIN loyalty._book e USING (account_id, entry_no) WHERE a.lot_no > 0
    ), moved AS (
        SELECT l.issued AS cohort, date_trunc('month', f.event_time, zone) AS month,
               CASE WHEN l.expires_at <= _development.as_of THEN l.expires_at END AS ended,
               f.kind, sum(f.points)::numeric AS points
        FROM loyalty.account a
        JOIN loyalty._lot l USING (account_id)
        JOIN effect f USING (account_id, lot_no)
        WHERE a.currency_id = money AND f.recorded_at <= known_at AND (_development.as_of >= now() OR f.event_time <= _development.as_of)
        GROUP BY 1, 2, 3, 4
    ), change AS (
        SELECT m.cohort, m.month, CASE WHEN m.kind NOT IN ('redeem', 'giveback', 'expire', 'forfeit') THEN m.points ELSE 0 END AS issued,
               CASE WHEN m.kind IN ('redeem', 'giveback') THEN -m.points ELSE 0 END AS redeemed,
               CASE WHEN m.kind = 'forfeit' OR m.kind = 'expire' AND m.ended IS NULL THEN -m.points ELSE 0 END AS expired
        FROM moved m
        UNION ALL
        -- The end is exclusive: points that end at midnight died in the month before. What
        -- was given back to a dead lot died when it came.
        SELECT m.cohort, greatest(date_trunc('month', m.ended - interval '1 microsecond', zone), m.month), 0, 0, m.points
        FROM moved m WHERE m.ended IS NOT NULL AND m.kind <> 'expire'
        UNION ALL
        -- What was held then and not captured yet is still to be redeemed.
        SELECT l.issued, date_trunc('month', l.expires_at - interval '1 microsecond', zone), 0, 0,
               (SELECT coalesce(-sum(t.points), 0) FROM loyalty._book x JOIN loyalty._book_allocation t USING (account_id, entry_no)
                WHERE x.account_id = h.account_id AND x.reverses = h.hold_no AND x.kind = 'redeem' AND t.lot_no = h.lot_no
                  AND x.recorded_at <= known_at AND x.event_time <= _development.as_of)::numeric - h.points::numeric
        FROM loyalty.hold h
        JOIN loyalty._book e ON e.account_id = h.account_id AND e.entry_no = h.hold_no
        JOIN loyalty._lot l ON l.account_id = h.account_id AND l.lot_no = h.lot_no
        JOIN loyalty.account a ON a.account_id = h.account_id
        WHERE a.currency_id = money AND l.expires_at <= _development.as_of AND e.recorded_at <= known_at
          AND e.event_time <= _development.as_of AND _development.as_of < least(h.ends_at, h.released_at)
    )
    SELECT c.cohort, greatest(0, (extract(year FROM c.month AT TIME ZONE zone) * 12 + extract(month FROM c.month AT TIME ZONE zone)
                                  - extract(year FROM c.cohort) * 12 - extract(month FROM c.cohort))::int) AS age,
           sum(c.issued), sum(c.redeemed), sum(c.expired)
    FROM change c GROUP BY 1, 2;
$$;
COMMENT ON FUNCTION loyalty._development(int, text, timestamptz, timestamptz) IS
    'Points issued, redeemed and expired by month of issue and months since';

-- The currency that is meant, with the zone of its program.
CREATE FUNCTION loyalty._money(program text, currency text, OUT currency_id int, OUT zone text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    owner int := loyalty._program_id(program);
BEGIN
    SELECT c.currency_id, p.time_zone INTO currency_id, zone
    FROM loyalty.currency c JOIN loyalty.program p USING (program_id)
    WHERE c.program_id = owner AND CASE WHEN currency IS NULL THEN c.is_default ELSE c.code = currency END;
    IF NOT FOUND THEN
        PERFORM loyalty._refuse('LY003', format('program "%s" has no currency "%s"', program, currency),
            'No currency of the program has this code.', 'Leave it out for the first one.');
    END IF;
END $$;
COMMENT ON FUNCTION loyalty._money(text, text) IS 'Finds a currency of a program';

CREATE FUNCTION loyalty._check_moment(as_of timestamptz) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    IF as_of IS NULL OR NOT isfinite(as_of) OR as_of > now() THEN
        PERFORM loyalty._refuse('LY306', 'points can''t be estimated as of then',
            format('The moment is %s.', coalesce(as_of::text, 'NULL')), 'Give a moment that is not in the future, or leave it out to mean now.');
    END IF;
END $$;
COMMENT ON FUNCTION loyalty._check_moment(timestamptz) IS 'Refuses a moment of which nothing is known';

CREATE FUNCTION loyalty.points_development(program text, as_of timestamptz DEFAULT now(), currency text DEFAULT NULL)
    RETURNS TABLE (cohort date, age int, issued numeric, redeemed numeric, expired numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 200 SET search_path = pg_catalog, loyalty, pg_temp SET jit = off AS $$
DECLARE
    money record := loyalty._money(program, currency);
BEGIN
    PERFORM loyalty._check_moment(as_of);
    RETURN QUERY SELECT * FROM loyalty._development(money.currency_id, money.zone, as_of, 'infinity') d
                 ORDER BY d.cohort, d.age;
END $$;
COMMENT ON FUNCTION loyalty.points_development(text, timestamptz, text) IS
    'Points issued, redeemed and expired in each month since their month of issue';

-- Cohort by cohort, what is outstanding and how much will ever be redeemed.
CREATE FUNCTION loyalty._estimate(money int, zone text, method text, tail numeric, as_of timestamptz, known_at timestamptz)
    RETURNS TABLE (cohort date, issued numeric, redeemed numeric, expired numeric, outstanding numeric, ultimate numeric)
    LANGUAGE plpgsql STABLE ROWS 36 SET search_path = pg_catalog, loyalty, pg_temp AS $$
#variable_conflict use_column
DECLARE
    -- The month that as_of lies in is not over, and says nothing about how points develop.
    this_month int := extract(year FROM as_of AT TIME ZONE zone) * 12 + extract(month FROM as_of AT TIME ZONE zone);
    cohorts date[];
    ages int[];
    issues numeric[];
    redemptions numeric[];
    ends numeric[];
    observed int;
    future numeric[];           -- survival: by age
    estimates numeric[];        -- the others: by cohort
BEGIN
    IF method IS NULL OR method NOT IN ('survival', 'chain_ladder', 'cape_cod') THEN
        PERFORM loyalty._refuse('LY502', 'unknown method of estimating breakage',
            format('It is %s.', coalesce(quote_literal(method), 'NULL')), 'Use survival, chain_ladder or cape_cod.');
    END IF;
    PERFORM loyalty._check_moment(as_of);
    SELECT array_agg(d.cohort), array_agg(d.age), array_agg(d.issued), array_agg(d.redeemed), array_agg(d.expired),
           max(this_month - (extract(year FROM d.cohort) * 12 + extract(month FROM d.cohort))::int)
    INTO cohorts, ages, issues, redemptions, ends, observed
    FROM loyalty._development(money, zone, as_of, known_at) d;

    IF observed > 0 AND method = 'survival' THEN
        WITH d AS (
            SELECT u.*, this_month - (extract(year FROM u.cohort) * 12 + extract(month FROM u.cohort))::int AS months
            FROM unnest(cohorts, ages, issues, redemptions, ends) u (cohort, age, issued, redeemed, expired)
        ), month AS (
            SELECT g.age,
                   coalesce(sum(d.issued), 0) - coalesce(sum(d.redeemed + d.expired) FILTER (WHERE d.age < g.age), 0) AS at_risk,
                   coalesce(sum(d.redeemed) FILTER (WHERE d.age = g.age), 0) AS redeemed,
                   coalesce(sum(d.expired) FILTER (WHERE d.age = g.age), 0) AS expired
            FROM generate_series(0, observed - 1) g (age)
            LEFT JOIN d ON d.months > g.age AND d.age <= g.age
            GROUP BY 1
        ), arrays AS (
            -- Orders that were booked out of their time must not stop an estimate.
            SELECT array_agg(greatest(m.at_risk, m.redeemed + m.expired, 0) ORDER BY m.age) AS at_risk,
                   array_agg(m.redeemed ORDER BY m.age) AS redeemed, array_agg(m.expired ORDER BY m.age) AS expired
            FROM month m
        )
        SELECT array_agg(i.to_come ORDER BY i.age) INTO future
        FROM arrays a, loyalty.redemption_incidence(a.at_risk, a.redeemed, a.expired, coalesce(tail, 1)) i;
    ELSIF observed > 0 THEN
        WITH d AS (
            SELECT u.*, this_month - (extract(year FROM u.cohort) * 12 + extract(month FROM u.cohort))::int AS months
            FROM unnest(cohorts, ages, issues, redemptions, ends) u (cohort, age, issued, redeemed, expired)
        ), cell AS (
            SELECT d.cohort, g.age, sum(d.issued) AS issued,
                   CASE WHEN g.age < d.months THEN greatest(coalesce(sum(d.redeemed) FILTER (WHERE d.age <= g.age), 0), 0) END AS redeemed
            FROM d CROSS JOIN generate_series(0, observed - 1) g (age)
            GROUP BY d.cohort, d.months, g.age
        ), line AS (
            SELECT c.cohort, greatest(max(c.issued), 0) AS issued, array_agg(c.redeemed ORDER BY c.age) AS redeemed
            FROM cell c GROUP BY 1
        ), ladder AS (
            SELECT l.* FROM (SELECT array_agg(l.redeemed ORDER BY l.cohort) AS redeemed, array_agg(l.issued ORDER BY l.cohort) AS issued
                             FROM line l) t,
            LATERAL loyalty.chain_ladder(t.redeemed, coalesce(tail, 1), t.issued) l
        ), told AS (
            SELECT l.issued, x.cohort,
                   -- The ladder says nothing of a cohort that has not begun to be redeemed.
                   CASE WHEN method = 'cape_cod' THEN x.cape_cod WHEN x.observed > 0 THEN x.ultimate END AS ultimate
            FROM ladder x JOIN (SELECT issued, row_number() OVER (ORDER BY cohort) AS n FROM line) l ON l.n = x.cohort
        )
        SELECT array_agg(coalesce(t.ultimate, t.issued * r.rate) ORDER BY t.cohort) INTO estimates
        FROM told t,
             (SELECT sum(ultimate) / nullif(sum(issued) FILTER (WHERE ultimate IS NOT NULL), 0) AS rate FROM told) r;
    END IF;

    RETURN QUERY
    WITH total AS (
        SELECT u.cohort, sum(u.issued) AS issued, sum(u.redeemed) AS redeemed, sum(u.expired) AS expired,
               row_number() OVER (ORDER BY u.cohort)::int AS n,
               this_month - (extract(year FROM u.cohort) * 12 + extract(month FROM u.cohort))::int AS months
        FROM unnest(cohorts, ages, issues, redemptions, ends) u (cohort, age, issued, redeemed, expired)
        GROUP BY 1
    )
    SELECT t.cohort, t.issued, t.redeemed, t.expired, t.issued - t.redeemed - t.expired,
           -- Nothing known: everything outstanding will be redeemed. Never less than was, or more than can be.
           least(greatest(coalesce(estimates[t.n],
                                   t.redeemed + (t.issued - t.redeemed - t.expired)
                                                * coalesce(future[greatest(t.months, 0) + 1],
                                                           CASE WHEN method = 'survival' THEN tail END, 1)),
                          t.redeemed), t.issued - t.expired)
    FROM total t ORDER BY t.cohort;
END $$;
COMMENT ON FUNCTION loyalty._estimate(int, text, text, numeric, timestamptz, timestamptz) IS
    'Points of each month of issue: what became of them and how many will ever be redeemed';

CREATE FUNCTION loyalty.breakage(program text, method text DEFAULT 'survival', tail numeric DEFAULT NULL,
        as_of timestamptz DEFAULT now(), currency text DEFAULT NULL)
    RETURNS TABLE (cohort date, issued numeric, redeemed numeric, expired numeric, outstanding numeric, ultimate numeric,
                   redemption_rate numeric, breakage_rate numeric, ultimate_redemption_rate numeric, ultimate_breakage_rate numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 36 SET search_path = pg_catalog, loyalty, pg_temp SET jit = off AS $$
DECLARE
    money record := loyalty._money(program, currency);
BEGIN
    RETURN QUERY
    SELECT e.cohort, e.issued, e.redeemed, e.expired, e.outstanding, e.ultimate,
           e.redeemed / nullif(e.issued, 0), e.expired / nullif(e.issued, 0),
           e.ultimate / nullif(e.issued, 0), 1 - e.ultimate / nullif(e.issued, 0)
    FROM loyalty._estimate(money.currency_id, money.zone, method, tail, as_of, 'infinity') e
    ORDER BY e.cohort;
END $$;
COMMENT ON FUNCTION loyalty.breakage(text, text, numeric, timestamptz, text) IS
    'What became of the points of each month of issue, and what is expected to become of the rest';

CREATE FUNCTION loyalty.ultimate_redemption_rate(program text, method text DEFAULT 'survival', tail numeric DEFAULT NULL,
        as_of timestamptz DEFAULT now(), currency text DEFAULT NULL)
    RETURNS numeric
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, loyalty, pg_temp AS $$
    SELECT sum(b.ultimate) / nullif(sum(b.issued), 0) FROM loyalty.breakage(program, method, tail, as_of, currency) b;
$$;
COMMENT ON FUNCTION loyalty.ultimate_redemption_rate(text, text, numeric, timestamptz, text) IS
    'Points expected ever to be redeemed / points issued: 1 less the breakage rate';

CREATE FUNCTION loyalty._check_money(value numeric, decimals int) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    IF value IS NULL OR NOT (value >= 0 AND value < 'Infinity') OR decimals IS NULL OR decimals NOT BETWEEN 0 AND 8 THEN
        PERFORM loyalty._invalid_metric('what a point costs is an amount of zero or more',
            format('It is %s, in money of %s decimals.', coalesce(value::text, 'NULL'), coalesce(decimals::text, 'NULL')),
            'Give the amount for one point, and 0 to 8 decimals of money.');
    END IF;
END $$;
COMMENT ON FUNCTION loyalty._check_money(numeric, int) IS 'Refuses an amount for a point that can''t be one';

CREATE FUNCTION loyalty.liability(program text, cost_per_point numeric, method text DEFAULT 'survival', tail numeric DEFAULT NULL,
        as_of timestamptz DEFAULT now(), currency text DEFAULT NULL, decimals int DEFAULT 2)
    RETURNS TABLE (cohort date, points numeric, expected_points numeric, gross numeric, breakage numeric, liability numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 36 SET search_path = pg_catalog, loyalty, pg_temp SET jit = off AS $$
DECLARE
    money record := loyalty._money(program, currency);
BEGIN
    PERFORM loyalty._check_money(cost_per_point, decimals);
    RETURN QUERY
    SELECT e.cohort, e.outstanding, e.ultimate - e.redeemed, round(e.outstanding * cost_per_point, decimals),
           round(e.outstanding * cost_per_point, decimals) - round((e.ultimate - e.redeemed) * cost_per_point, decimals),
           round((e.ultimate - e.redeemed) * cost_per_point, decimals)
    FROM loyalty._estimate(money.currency_id, money.zone, method, tail, as_of, 'infinity') e
    WHERE e.outstanding <> 0
    ORDER BY e.cohort;
END $$;
COMMENT ON FUNCTION loyalty.liability(text, numeric, text, numeric, timestamptz, text, int) IS
    'Cost method: outstanding points of each month of issue, those expected to be redeemed, and their cost';

-- A month in the program's zone; of the one that is not over, what there is of it. What was
-- recorded by the end of a month is what its books know: closing is the next one's opening.
CREATE FUNCTION loyalty._book_month(month date, zone text, OUT opens timestamptz, OUT closes timestamptz, OUT known_at timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    IF month IS NULL OR NOT isfinite(month) THEN
        PERFORM loyalty._refuse('LY306', 'a journal is that of a month', format('It is %s.', coalesce(month::text, 'NULL')),
            'Give any day of the month.');
    END IF;
    opens := date_trunc('month', month::timestamp) AT TIME ZONE zone;
    closes := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE zone;
    IF opens > now() THEN
        PERFORM loyalty._refuse('LY306', 'a journal of a month that has not begun', format('It begins at %s.', opens),
            'Give this month or one before it.');
    END IF;
    known_at := CASE WHEN closes > now() THEN 'infinity' ELSE closes END;
    closes := least(closes, now());
END $$;
COMMENT ON FUNCTION loyalty._book_month(date, text) IS 'Where a month of the books begins and ends';

CREATE FUNCTION loyalty.liability_journal(program text, month date, cost_per_point numeric, method text DEFAULT 'survival',
        tail numeric DEFAULT NULL, currency text DEFAULT NULL, decimals int DEFAULT 2)
    RETURNS TABLE (line int, account text, debit numeric, credit numeric, memo text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 6 SET search_path = pg_catalog, loyalty, pg_temp SET jit = off AS $$
DECLARE
    money record := loyalty._money(program, currency);
    book record := loyalty._book_month(month, money.zone);
BEGIN
    PERFORM loyalty._check_money(cost_per_point, decimals);
    RETURN QUERY
    WITH cohort AS (
        SELECT coalesce(c.cohort, o.cohort) >= date_trunc('month', month::timestamp)::date AS of_the_month,
               round((coalesce(c.ultimate - c.redeemed, 0)) * cost_per_point, decimals) AS closing,
               round((coalesce(o.ultimate - o.redeemed, 0)) * cost_per_point, decimals) AS opening,
               round(coalesce(c.redeemed, 0) * cost_per_point, decimals)
                   - round(coalesce(o.redeemed, 0) * cost_per_point, decimals) AS used
        FROM loyalty._estimate(money.currency_id, money.zone, method, tail, book.closes, book.known_at) c
        FULL JOIN loyalty._estimate(money.currency_id, money.zone, method, tail, book.opens, book.opens) o USING (cohort)
    ), moved (place, memo, debited, credited, amount) AS (
        SELECT 1, 'points issued', 'loyalty expense', 'loyalty provision',
               sum(closing - opening + used) FILTER (WHERE of_the_month) FROM cohort
        UNION ALL
        SELECT 2, 'points redeemed', 'loyalty provision', 'rewards given', sum(used) FROM cohort
        UNION ALL
        SELECT 3, 'change of estimate', 'loyalty expense', 'loyalty provision',
               sum(closing - opening + used) FILTER (WHERE NOT of_the_month) FROM cohort
    )
    SELECT (row_number() OVER (ORDER BY m.place, side.n))::int, side.account,
           CASE WHEN side.n = 1 THEN abs(m.amount) ELSE 0 END, CASE WHEN side.n = 2 THEN abs(m.amount) ELSE 0 END, m.memo
    FROM moved m
    CROSS JOIN LATERAL (VALUES (1, CASE WHEN m.amount > 0 THEN m.debited ELSE m.credited END),
                               (2, CASE WHEN m.amount > 0 THEN m.credited ELSE m.debited END)) side (n, account)
    WHERE m.amount <> 0
    ORDER BY m.place, side.n;
END $$;
COMMENT ON FUNCTION loyalty.liability_journal(text, date, numeric, text, numeric, text, int) IS
    'Cost method: journal lines of a month that bring the provision from its opening to its closing';

-- What the rows that earned points of a currency were sold for. Each rule that rated a row
-- carries its amount, so one of them is taken; a row belongs to the time it happened.
CREATE FUNCTION loyalty._sales(money int, as_of timestamptz, known_at timestamptz)
    RETURNS TABLE (account_id bigint, source_id int, event text, line text, sold_at timestamptz, amount numeric)
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 100000 SET search_path = pg_catalog, loyalty, pg_temp SET enable_nestloop = off AS $$
    SELECT r.account_id, r.source_id, r.event, r.line, min(r.sold_at), max(r.amount)::numeric
    FROM (SELECT e.account_id, e.source_id, e.event, e.line, e.rule_id, min(e.event_time) AS sold_at,
                 sum(coalesce(e.base, 0) - coalesce(e.refunded, 0)) AS amount
          FROM loyalty._book e JOIN loyalty.account a USING (account_id)
          WHERE a.currency_id = money AND e.source_id IS NOT NULL AND e.source_id <> ALL (ARRAY(SELECT u.source_id FROM loyalty._unpriced u))
            AND e.recorded_at <= known_at AND (_sales.as_of >= now() OR e.event_time <= _sales.as_of)
          GROUP BY 1, 2, 3, 4, 5) r
    GROUP BY 1, 2, 3, 4;
$$;
COMMENT ON FUNCTION loyalty._sales(int, timestamptz, timestamptz) IS
    'Rows that earned points of a currency, with their amount less what was refunded';

CREATE FUNCTION loyalty._deferred(money int, zone text, value_per_point numeric, initial_rate numeric, method text, tail numeric,
        as_of timestamptz, known_at timestamptz, decimals int)
    RETURNS TABLE (cohort date, sales numeric, issued numeric, allocated numeric, redeemed numeric, ultimate numeric,
                   recognised numeric, outstanding numeric)
    LANGUAGE sql STABLE ROWS 36 SET search_path = pg_catalog, loyalty, pg_temp AS $$
    SELECT e.cohort, coalesce(s.sales, 0), e.issued, f.allocated, e.redeemed, e.ultimate,
           round(loyalty.ifrs15_recognised(f.allocated, greatest(e.redeemed, 0), greatest(e.ultimate, e.redeemed, 0)), decimals),
           e.outstanding
    FROM loyalty._estimate(money, zone, method, tail, as_of, known_at) e
    LEFT JOIN (SELECT date_trunc('month', s.sold_at AT TIME ZONE zone)::date AS cohort, sum(s.amount) AS sales
               FROM loyalty._sales(money, as_of, known_at) s GROUP BY 1) s USING (cohort)
    CROSS JOIN LATERAL (SELECT coalesce(sum(round(a.deferred, decimals)), 0) AS allocated
                        FROM loyalty.ifrs15_allocation(greatest(coalesce(s.sales, 0), 0), greatest(e.issued, 0), value_per_point,
                                                       initial_rate) a) f;
$$;
COMMENT ON FUNCTION loyalty._deferred(int, text, numeric, numeric, text, numeric, timestamptz, timestamptz, int) IS
    'Revenue allocated to the points of each month of issue, and how much of it is earned';

CREATE FUNCTION loyalty._check_value(value_per_point numeric, initial_rate numeric, decimals int) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    PERFORM loyalty._check_money(value_per_point, decimals);
    IF initial_rate IS NULL OR NOT (initial_rate BETWEEN 0 AND 1) THEN
        PERFORM loyalty._invalid_metric('the redemption rate at issue is between 0 and 1',
            format('It is %s.', coalesce(initial_rate::text, 'NULL')),
            'Give the share of points that was expected to be redeemed when they were granted.');
    END IF;
END $$;
COMMENT ON FUNCTION loyalty._check_value(numeric, numeric, int) IS 'Refuses a value of a point, or a rate, that can''t be one';

CREATE FUNCTION loyalty.deferred_revenue(program text, value_per_point numeric, initial_rate numeric DEFAULT 1,
        method text DEFAULT 'survival', tail numeric DEFAULT NULL, as_of timestamptz DEFAULT now(), currency text DEFAULT NULL,
        decimals int DEFAULT 2)
    RETURNS TABLE (cohort date, sales numeric, points_issued numeric, allocated numeric, points_redeemed numeric,
                   points_expected numeric, recognised numeric, deferred numeric, points numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 36 SET search_path = pg_catalog, loyalty, pg_temp SET jit = off AS $$
DECLARE
    money record := loyalty._money(program, currency);
BEGIN
    PERFORM loyalty._check_value(value_per_point, initial_rate, decimals);
    RETURN QUERY
    SELECT d.cohort, d.sales, d.issued, d.allocated, d.redeemed, d.ultimate, d.recognised, d.allocated - d.recognised, d.outstanding
    FROM loyalty._deferred(money.currency_id, money.zone, value_per_point, initial_rate, method, tail, as_of, 'infinity', decimals) d
    ORDER BY d.cohort;
END $$;
COMMENT ON FUNCTION loyalty.deferred_revenue(text, numeric, numeric, text, numeric, timestamptz, text, int) IS
    'IFRS 15: of the sales of each month, what was allocated to points, is recognised, and is still deferred';

CREATE FUNCTION loyalty.deferred_revenue_journal(program text, month date, value_per_point numeric, initial_rate numeric DEFAULT 1,
        method text DEFAULT 'survival', tail numeric DEFAULT NULL, currency text DEFAULT NULL, decimals int DEFAULT 2)
    RETURNS TABLE (line int, account text, debit numeric, credit numeric, memo text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 6 SET search_path = pg_catalog, loyalty, pg_temp SET jit = off AS $$
DECLARE
    money record := loyalty._money(program, currency);
    book record := loyalty._book_month(month, money.zone);
BEGIN
    PERFORM loyalty._check_value(value_per_point, initial_rate, decimals);
    RETURN QUERY
    WITH cohort AS (
        SELECT coalesce(c.allocated, 0) - coalesce(o.allocated, 0) AS granted,
               coalesce(c.recognised, 0) - coalesce(o.recognised, 0) AS recognised,
               -- What the new allocation and expectation make of the points redeemed before.
               CASE WHEN o.cohort IS NULL THEN 0
                    ELSE round(loyalty.ifrs15_recognised(c.allocated, greatest(o.redeemed, 0), greatest(c.ultimate, o.redeemed, 0)), decimals)
                         - o.recognised END AS catch_up
        FROM loyalty._deferred(money.currency_id, money.zone, value_per_point, initial_rate, method, tail, book.closes, book.known_at,
                               decimals) c
        LEFT JOIN loyalty._deferred(money.currency_id, money.zone, value_per_point, initial_rate, method, tail, book.opens, book.opens,
                                    decimals) o USING (cohort)
    ), moved (place, memo, debited, credited, amount) AS (
        SELECT 1, 'points granted', 'revenue', 'contract liability', sum(granted) FROM cohort
        UNION ALL
        SELECT 2, 'points redeemed', 'contract liability', 'revenue', sum(recognised - catch_up) FROM cohort
        UNION ALL
        SELECT 3, 'change of estimate', 'contract liability', 'revenue', sum(catch_up) FROM cohort
    )
    SELECT (row_number() OVER (ORDER BY m.place, side.n))::int, side.account,
           CASE WHEN side.n = 1 THEN abs(m.amount) ELSE 0 END, CASE WHEN side.n = 2 THEN abs(m.amount) ELSE 0 END, m.memo
    FROM moved m
    CROSS JOIN LATERAL (VALUES (1, CASE WHEN m.amount > 0 THEN m.debited ELSE m.credited END),
                               (2, CASE WHEN m.amount > 0 THEN m.credited ELSE m.debited END)) side (n, account)
    WHERE m.amount <> 0
    ORDER BY m.place, side.n;
END $$;
COMMENT ON FUNCTION loyalty.deferred_revenue_journal(text, date, numeric, numeric, text, numeric, text, int) IS
    'IFRS 15: journal lines of a month that take points out of revenue as they are granted and back as they are redeemed';
