-- tiering: tiers by what was earned, spent or how often, in a window.

CREATE TABLE loyalty.tier_progress_bucket (
    account_id bigint NOT NULL,
    bucket     timestamptz NOT NULL,
    metric     loyalty.points NOT NULL,
    PRIMARY KEY (account_id, bucket)
) WITH (fillfactor = 80);
COMMENT ON TABLE loyalty.tier_progress_bucket IS
    'What counts towards the tier: one sum for ever (lifetime), a period (calendar, anniversary) or a day (rolling)';
COMMENT ON COLUMN loyalty.tier_progress_bucket.account_id IS 'account that it counts for';
COMMENT ON COLUMN loyalty.tier_progress_bucket.bucket IS 'beginning of the time that is summed';
COMMENT ON COLUMN loyalty.tier_progress_bucket.metric IS 'what counted in it';

CREATE TABLE loyalty.tier_change (
    account_id  bigint NOT NULL,
    change_no   int NOT NULL,
    changed_at  timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    from_tier   loyalty.tier,
    to_tier     loyalty.tier,
    reason      text NOT NULL CHECK (reason IN ('earned', 'reversed', 'review', 'ladder', 'merged')),
    metric      loyalty.points NOT NULL,
    PRIMARY KEY (account_id, change_no)
);
COMMENT ON TABLE loyalty.tier_change IS 'Every change of a tier, with its reason and what the metric was';
COMMENT ON COLUMN loyalty.tier_change.account_id IS 'account whose tier it is';
COMMENT ON COLUMN loyalty.tier_change.change_no IS 'number of the change, from 1';
COMMENT ON COLUMN loyalty.tier_change.changed_at IS 'when the tier changed, which may be before it was booked';
COMMENT ON COLUMN loyalty.tier_change.recorded_at IS 'when the change was booked';
COMMENT ON COLUMN loyalty.tier_change.from_tier IS 'tier before; NULL: none';
COMMENT ON COLUMN loyalty.tier_change.to_tier IS 'tier since; NULL: none';
COMMENT ON COLUMN loyalty.tier_change.reason IS 'earned, reversed, review, ladder or merged';
COMMENT ON COLUMN loyalty.tier_change.metric IS 'what counted towards the tier then';

SELECT pg_catalog.pg_extension_config_dump('loyalty.tier_progress_bucket', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.tier_change', '');

CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty.tier_progress_bucket
    FOR EACH STATEMENT EXECUTE FUNCTION loyalty._guard();
CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty.tier_change
    FOR EACH STATEMENT EXECUTE FUNCTION loyalty._guard();

CREATE VIEW loyalty.tier_history AS
    SELECT p.code AS program, a.member_key AS member, h.change_no, h.changed_at, h.recorded_at,
           loyalty.tier_name(h.from_tier) AS from_tier, loyalty.tier_name(h.to_tier) AS to_tier,
           h.reason, h.metric::numeric AS metric
    FROM loyalty.tier_change h
    JOIN loyalty.account a USING (account_id)
    JOIN loyalty.currency c USING (currency_id)
    JOIN loyalty.program p USING (program_id);
COMMENT ON VIEW loyalty.tier_history IS 'Every change of a member''s tier, why, and what the metric was then';
COMMENT ON COLUMN loyalty.tier_history.program IS 'code of the program';
COMMENT ON COLUMN loyalty.tier_history.member IS 'the member''s key in the shop';
COMMENT ON COLUMN loyalty.tier_history.change_no IS 'number of the change, from 1 for each member';
COMMENT ON COLUMN loyalty.tier_history.changed_at IS 'when the tier changed, which may be before it was booked';
COMMENT ON COLUMN loyalty.tier_history.recorded_at IS 'when the change was booked';
COMMENT ON COLUMN loyalty.tier_history.from_tier IS 'name of the tier before; NULL: none';
COMMENT ON COLUMN loyalty.tier_history.to_tier IS 'name of the tier since';
COMMENT ON COLUMN loyalty.tier_history.reason IS 'earned, reversed, review, ladder or merged';
COMMENT ON COLUMN loyalty.tier_history.metric IS 'what counted towards the tier then: points, spend or visits';

-- before: the ladder that the program had until now, if it has another one since.
CREATE FUNCTION loyalty._review_tiers(accounts bigint[], before loyalty.ladder DEFAULT NULL) RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_tiering_review';
CREATE FUNCTION loyalty._tier_bucket(currency_id int, enrolled_at timestamptz, at timestamptz) RETURNS timestamptz
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'loyalty_tiering_bucket';
CREATE FUNCTION loyalty._tier_metric(account bigint, at timestamptz) RETURNS loyalty.points
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'loyalty_tiering_metric';

-- The next n accounts by id, an array for each program.
CREATE FUNCTION loyalty._tiers_to_review(program text, after bigint, n int) RETURNS SETOF bigint[]
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, loyalty, pg_temp AS $$
    SELECT array_agg(batch.account_id ORDER BY batch.account_id) FROM (
        SELECT a.account_id, p.program_id
        FROM loyalty.account a
        JOIN loyalty.currency c USING (currency_id)
        JOIN loyalty.program p USING (program_id)
        WHERE c.is_default AND p.ladder IS NOT NULL AND a.account_id > after AND a.state = 0
          AND (program IS NULL OR p.code = program)
        ORDER BY a.account_id
        LIMIT n) batch
    GROUP BY batch.program_id ORDER BY batch.program_id;
$$;

-- It commits after each batch, so it can be stopped at any time and called again; as in
-- expire() no transaction holds accounts of two programs.
CREATE PROCEDURE loyalty.review_tiers(program text DEFAULT NULL, batch int DEFAULT 1000)
    LANGUAGE plpgsql AS $$
DECLARE
    done bigint := 0;
    accounts bigint[];
BEGIN
    IF batch IS NULL OR batch OPERATOR(pg_catalog.<) 1 THEN
        PERFORM loyalty._refuse('LY306', 'tiers can''t be reviewed in such batches',
            pg_catalog.format('The batch is %s accounts.', coalesce(batch::text, 'NULL')), 'Give a batch of one account or more.');
    END IF;
    IF program IS NOT NULL THEN
        PERFORM loyalty._program_id(program);
    ELSE
        PERFORM loyalty._check_access(0);
    END IF;
    LOOP
        FOR accounts IN SELECT * FROM loyalty._tiers_to_review(program, done, batch) LOOP
            PERFORM loyalty._review_tiers(accounts);
            done := greatest(done, accounts[pg_catalog.array_upper(accounts, 1)]);
            COMMIT;
        END LOOP;
        EXIT WHEN NOT FOUND;
    END LOOP;
END $$;
COMMENT ON PROCEDURE loyalty.review_tiers(text, int) IS
    'Lowers tiers whose time is over and raises those that ripened, a batch of one program''s accounts a transaction; run it daily';

-- Counts what the ledger has of the members of a program without a ladder, since without one
-- nothing is counted: what stands of each award, at the time it was booked for at first. What the
-- recursion adds is little, so its estimates are far off: nothing large is joined to it.
CREATE FUNCTION loyalty._count_history(owner int) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, loyalty, pg_temp SET jit = off AS $$
    WITH RECURSIVE award AS (
        SELECT e.account_id, e.source_id, e.event, e.line, e.rule_id,
               sum(e.points) - coalesce(sum(e.forgiven), 0) AS points,
               coalesce(sum(e.base), 0) AS base, coalesce(sum(e.refunded), 0) AS refunded,
               bool_and(e.kind = 'earn') AS untouched,
               min(e.entry_no) AS first_entry, (array_agg(e.kind ORDER BY e.entry_no))[1] AS first_kind,
               (array_agg(e.event_time ORDER BY e.entry_no))[1] AS event_time
        FROM loyalty.currency c
        JOIN loyalty.account a USING (currency_id)
        JOIN loyalty._book e USING (account_id)
        WHERE c.program_id = owner AND c.is_default AND e.source_id IS NOT NULL AND e.kind IN ('earn', 'reverse', 'rekey')
        GROUP BY e.account_id, e.source_id, e.event, e.line, e.rule_id
        HAVING sum(e.points) - coalesce(sum(e.forgiven), 0) <> 0 OR sum(e.base) <> 0 OR bool_and(e.kind = 'earn')
        UNION ALL
        -- A change of key is a pair of entries, first that of the old key: it began where that one did.
        SELECT w.account_id, w.source_id, w.event, w.line, w.rule_id, w.points, w.base, w.refunded, w.untouched,
               f.entry_no, f.kind, f.event_time
        FROM award w
        JOIN loyalty._book o ON o.account_id = w.account_id AND o.entry_no = w.first_entry - 1
        CROSS JOIN LATERAL (
            SELECT e.entry_no, e.kind, e.event_time FROM loyalty._book e
            WHERE e.account_id = o.account_id AND e.event = o.event AND e.source_id = o.source_id
              AND e.rule_id = o.rule_id AND e.line IS NOT DISTINCT FROM o.line
            ORDER BY e.entry_no LIMIT 1) f
        WHERE w.first_kind = 'rekey'
    ), counted AS (
        -- Amounts and visits are a row's, not an award's: the rules that rate it have its amount, others nothing.
        SELECT w.account_id, w.event_time, w.points,
               CASE WHEN w.source_id = ANY (ARRAY(SELECT u.source_id FROM loyalty._unpriced u)) THEN '0' ELSE w.base - w.refunded END AS spend,
               max(CASE WHEN w.base > 0 OR w.points > 0 OR w.untouched THEN 1 ELSE 0 END) OVER same_row AS visits,
               row_number() OVER (same_row ORDER BY w.base DESC, w.rule_id) = 1 AS first_of_row
        FROM award w
        WHERE w.first_kind <> 'rekey'
        WINDOW same_row AS (PARTITION BY w.account_id, w.source_id, w.event, w.line)
        UNION ALL
        -- What ended before it was confirmed was never earned.
        SELECT l.account_id, l.earned_at, l.waived - l.expired, loyalty.points '0', 0, false
        FROM loyalty.currency c
        JOIN loyalty.account a USING (currency_id)
        JOIN loyalty.lot l USING (account_id)
        WHERE c.program_id = owner AND c.is_default AND NOT c.pending_counts AND l.valid_from = 'infinity' AND l.expired > l.waived
    ), bucket AS (
        SELECT t.account_id, loyalty._tier_bucket(a.currency_id, m.enrolled_at, t.event_time) AS bucket,
               sum(CASE WHEN p.tier_metric = 'points' THEN t.points
                        WHEN NOT t.first_of_row THEN 0
                        WHEN p.tier_metric = 'spend' THEN t.spend
                        ELSE t.visits END) AS metric
        FROM counted t
        JOIN loyalty.account a USING (account_id)
        JOIN loyalty.member m USING (member_id)
        JOIN loyalty.program p USING (program_id)
        GROUP BY t.account_id, bucket
        UNION ALL
        -- What a merged member did counts for who has the points, where it counts for the first.
        SELECT i.account_id, loyalty._tier_bucket(i.currency_id, m.enrolled_at, b.bucket), b.metric
        FROM bucket b
        JOIN loyalty.account a USING (account_id)
        JOIN loyalty.account i ON i.account_id = a.merged_into
        JOIN loyalty.member m ON m.member_id = i.member_id
    )
    INSERT INTO loyalty.tier_progress_bucket (account_id, bucket, metric)
    SELECT b.account_id, b.bucket, sum(b.metric) FROM bucket b GROUP BY b.account_id, b.bucket;
$$;

CREATE FUNCTION loyalty.set_ladder(program text, ladder loyalty.ladder) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    owner int := loyalty._program_id(program);
    before loyalty.ladder;
    accounts bigint[];
BEGIN
    IF ladder IS NULL THEN
        PERFORM loyalty._refuse('LY101', format('program "%s" can''t lose its ladder', program),
            'Members hold tiers of it.', 'Set a ladder of one step.');
    END IF;
    SELECT p.ladder INTO before FROM loyalty.program p WHERE p.program_id = owner FOR NO KEY UPDATE;
    IF before IS NULL THEN
        IF current_setting('transaction_isolation') <> 'read committed' THEN
            PERFORM loyalty._refuse('25001', format('the first ladder of program "%s" can''t be set in this transaction', program),
                format('It is %s: what others booked since it began would not be counted.', current_setting('transaction_isolation')),
                'Set it at READ COMMITTED.');
        END IF;
        -- Each posting is counted once: those before by us, those after by themselves.
        LOCK TABLE loyalty.account IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    UPDATE loyalty.program p SET ladder = set_ladder.ladder WHERE p.program_id = owner;
    IF before IS NULL THEN
        PERFORM loyalty._count_history(owner);
    END IF;
    FOR accounts IN SELECT * FROM loyalty._tiers_to_review(program, 0, NULL) LOOP
        PERFORM loyalty._review_tiers(accounts, before);
    END LOOP;
END $$;
COMMENT ON FUNCTION loyalty.set_ladder(text, loyalty.ladder) IS
    'Gives a program a new ladder, or its first one: tiers are carried over by name, and members who reach a higher step move up at once';

CREATE FUNCTION loyalty.tier_progress(program text, member text)
    RETURNS TABLE (tier text, tier_rank int, metric numeric, next_tier text, missing numeric,
                   tier_until timestamptz, missing_to_keep numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, loyalty, pg_temp AS $$
DECLARE
    standing record;
    reached loyalty.points;
    above loyalty.tier;
BEGIN
    -- Of one merged into another, or closed, it rests.
    SELECT a.account_id, CASE WHEN a.state = 0 THEN a.tier END AS tier, CASE WHEN a.state = 0 THEN a.tier_until END AS tier_until,
           p.ladder INTO standing
    FROM loyalty.program p
    JOIN loyalty.currency c ON c.program_id = p.program_id AND c.is_default
    JOIN loyalty.account a ON a.currency_id = c.currency_id AND a.member_key = tier_progress.member
    WHERE p.program_id = loyalty._program_id(program, member);
    IF NOT FOUND THEN
        PERFORM loyalty._refuse('LY002', format('no such member in program "%s"', program),
            'Nobody is enrolled under that key.', 'Enrol the member with loyalty.enrol().');
    END IF;
    reached := loyalty._tier_metric(standing.account_id, now());
    above := loyalty.next_tier(standing.ladder, standing.tier);
    RETURN QUERY SELECT loyalty.tier_name(standing.tier), loyalty.tier_rank(standing.tier), reached::numeric,
        loyalty.tier_name(above),
        -- greatest() passes over a NULL, so it is asked for: above the top there is nothing to miss.
        CASE WHEN above IS NOT NULL
             THEN greatest(loyalty.threshold(standing.ladder, above)::numeric - reached::numeric, 0) END,
        standing.tier_until,
        CASE WHEN standing.tier_until IS NOT NULL
             THEN greatest(loyalty.threshold(standing.ladder, standing.tier)::numeric - reached::numeric, 0) END;
END $$;
COMMENT ON FUNCTION loyalty.tier_progress(text, text) IS
    'A member''s tier, what counts towards it in the current window, and what is missing to reach the next and to keep this one';
