-- kpi: views of the program for BI tools. docs/kpi.md
--
-- Columns are of standard types only, so that any driver reads them. The views read with
-- the rights of the extension's owner: who is granted one needs no other right, and no
-- function of ours that reads is called in them. The aggregates of points are named in full:
-- without them numeric's would be taken, at three times the cost.

-- One pass over the entries of an account in C: its orders, and what happened in each day
-- or month. Nested groupings in SQL took five times as long. The result is opaque, lives
-- within a query only, and is read by the two functions below.
CREATE FUNCTION loyalty._history_accum(internal, int, text, text, int, text, timestamptz, loyalty.points, loyalty.points, loyalty.points, boolean)
    RETURNS internal LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_kpi_history_accum';
CREATE FUNCTION loyalty._history_final(internal) RETURNS bytea
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_kpi_history_final';
CREATE AGGREGATE loyalty._history_agg(source_id int, event text, line text, rule_id int, kind text, event_time timestamptz,
        points loyalty.points, base loyalty.points, refunded loyalty.points, priced boolean) (
    STYPE = internal, SSPACE = 2048,
    SFUNC = loyalty._history_accum,
    FINALFUNC = loyalty._history_final,
    PARALLEL = SAFE
);
CREATE FUNCTION loyalty._history_orders(history bytea, OUT ordered_at timestamptz, OUT amount loyalty.points, OUT refunded loyalty.points)
    RETURNS SETOF record LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 20 AS 'MODULE_PATHNAME', 'loyalty_kpi_history_orders';
CREATE FUNCTION loyalty._history_periods(history bytea, unit interval, time_zone text, OUT starts date, OUT orders bigint,
        OUT active_before boolean, OUT revenue loyalty.points, OUT refunded loyalty.points, OUT issued loyalty.points,
        OUT redeemed loyalty.points, OUT expired loyalty.points, OUT redemptions bigint)
    RETURNS SETOF record LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 20 AS 'MODULE_PATHNAME', 'loyalty_kpi_history_periods';
COMMENT ON FUNCTION loyalty._history_accum(internal, int, text, text, int, text, timestamptz, loyalty.points, loyalty.points, loyalty.points, boolean) IS 'aggregate transition function';
COMMENT ON FUNCTION loyalty._history_final(internal) IS 'aggregate final function';
COMMENT ON AGGREGATE loyalty._history_agg(int, text, text, int, text, timestamptz, loyalty.points, loyalty.points, loyalty.points, boolean) IS
    'Orders and movements of an account from all its entries';
COMMENT ON FUNCTION loyalty._history_orders(bytea) IS
    'Orders of an account: rows of attached tables that earned, those of one event of a source together';
COMMENT ON FUNCTION loyalty._history_periods(bytea, interval, text) IS 'What happened to an account in each day or month in which something did';

-- Members who are one person have one history, under the account that has the points. All views of
-- orders read this one. A row of a source without an amount counts as one of something, not as money.
-- Where nobody was merged the second part finds nothing, and the first leaves nothing out.
CREATE VIEW loyalty._history AS
    SELECT h.account_id, h.history
    FROM (SELECT e.account_id, loyalty._history_agg(e.source_id, e.event, e.line, e.rule_id, e.kind, e.event_time, e.points, e.base, e.refunded,
                                 e.source_id <> ALL (ARRAY(SELECT u.source_id FROM loyalty._unpriced u))) AS history
          FROM loyalty._book e
          GROUP BY e.account_id) h
    WHERE NOT EXISTS (SELECT FROM loyalty.account a WHERE a.account_id = h.account_id AND a.merged_into IS NOT NULL)
      AND NOT EXISTS (SELECT FROM loyalty.account a WHERE a.merged_into = h.account_id)
    UNION ALL
    SELECT p.account_id, h.history
    FROM loyalty._person p
    CROSS JOIN LATERAL (
        SELECT loyalty._history_agg(e.source_id, e.event, e.line, e.rule_id, e.kind, e.event_time, e.points, e.base, e.refunded,
                                 e.source_id <> ALL (ARRAY(SELECT u.source_id FROM loyalty._unpriced u))) AS history
        FROM loyalty._book e WHERE e.account_id = ANY (p.accounts)) h;
COMMENT ON VIEW loyalty._history IS 'What each person''s entries say of its orders and points, for _history_orders() and _history_periods()';

-- Members who are one person were enrolled once, when the first of them was.
CREATE VIEW loyalty._enrolment AS
    SELECT m.program_id, m.enrolled_at, 1 AS persons
    FROM loyalty.member m
    UNION ALL
    SELECT c.program_id, k.enrolled_at, -1
    FROM loyalty._person p
    JOIN loyalty.account a USING (account_id)
    JOIN loyalty.currency c ON c.currency_id = a.currency_id AND c.is_default
    CROSS JOIN LATERAL (
        SELECT m.enrolled_at
        FROM loyalty.account k JOIN loyalty.member m USING (member_id)
        WHERE k.account_id = ANY (p.accounts)
        ORDER BY m.enrolled_at OFFSET 1) k;
COMMENT ON VIEW loyalty._enrolment IS 'When members were enrolled, and, to be taken off, when other keys of the same person were';

-- Orders that earned: rows of attached tables, those of one event together. Each rule that
-- rated a row carries its amount, so one of them is taken. What was deleted is no order;
-- what was refunded is.
CREATE VIEW loyalty._order AS
    SELECT h.account_id, o.ordered_at, o.amount, o.refunded
    FROM loyalty._history h CROSS JOIN LATERAL loyalty._history_orders(h.history) o;
COMMENT ON VIEW loyalty._order IS 'Orders that earned points, once an account: when, how much, how much of it was refunded';

CREATE VIEW loyalty.kpi_daily AS
    WITH place AS (
        SELECT c.currency_id, p.program_id, p.code AS program, c.code AS currency, c.is_default, p.time_zone
        FROM loyalty.currency c JOIN loyalty.program p USING (program_id)
    ), part AS (
        SELECT k.currency_id, (m.enrolled_at AT TIME ZONE k.time_zone)::date AS day,
               sum(m.persons) AS new_members, 0::bigint AS active_members, 0::bigint AS orders, 0::numeric AS revenue, 0::numeric AS refunded,
               0::numeric AS points_issued, 0::numeric AS points_redeemed, 0::numeric AS points_expired, 0::bigint AS redemptions
        FROM loyalty._enrolment m JOIN place k ON k.program_id = m.program_id AND k.is_default
        GROUP BY 1, 2
        HAVING sum(m.persons) <> 0
        UNION ALL
        SELECT a.currency_id, d.starts, 0, count(*) FILTER (WHERE d.orders > 0), sum(d.orders), loyalty.sum(d.revenue)::numeric,
               loyalty.sum(d.refunded)::numeric, loyalty.sum(d.issued)::numeric, loyalty.sum(d.redeemed)::numeric,
               loyalty.sum(d.expired)::numeric, sum(d.redemptions)
        FROM loyalty._history h JOIN loyalty.account a USING (account_id) JOIN place k USING (currency_id)
        CROSS JOIN LATERAL loyalty._history_periods(h.history, '1 day', k.time_zone) d
        GROUP BY 1, 2
    )
    SELECT k.program, k.currency, t.day, sum(t.new_members)::bigint AS new_members, sum(t.active_members)::bigint AS active_members,
           sum(t.orders)::bigint AS orders, sum(t.revenue) AS revenue, sum(t.refunded) AS refunded,
           sum(t.revenue) / nullif(sum(t.orders), 0) AS average_order,
           sum(t.points_issued) AS points_issued, sum(t.points_redeemed) AS points_redeemed, sum(t.points_expired) AS points_expired,
           sum(t.redemptions)::bigint AS redemptions
    FROM part t JOIN place k USING (currency_id)
    GROUP BY k.program, k.currency, t.day;
COMMENT ON VIEW loyalty.kpi_daily IS 'A program''s currency day by day, in the program''s time zone: members, orders, revenue, points';
COMMENT ON COLUMN loyalty.kpi_daily.program IS 'code of the program';
COMMENT ON COLUMN loyalty.kpi_daily.currency IS 'code of the currency';
COMMENT ON COLUMN loyalty.kpi_daily.day IS 'day in the program''s time zone; days on which nothing happened have no row';
COMMENT ON COLUMN loyalty.kpi_daily.new_members IS 'members enrolled on the day; counted with the program''s first currency';
COMMENT ON COLUMN loyalty.kpi_daily.active_members IS 'members who placed an order on the day that earned this currency';
COMMENT ON COLUMN loyalty.kpi_daily.orders IS 'orders placed on the day that earned this currency; refunded ones count, deleted ones do not';
COMMENT ON COLUMN loyalty.kpi_daily.revenue IS 'amount of those orders less what has been refunded of them until now';
COMMENT ON COLUMN loyalty.kpi_daily.refunded IS 'what has been refunded of those orders until now';
COMMENT ON COLUMN loyalty.kpi_daily.average_order IS 'revenue / orders; NULL without orders';
COMMENT ON COLUMN loyalty.kpi_daily.points_issued IS 'points earned or given by hand on the day, less those taken back on it';
COMMENT ON COLUMN loyalty.kpi_daily.points_redeemed IS 'points redeemed on the day, less those given back on it';
COMMENT ON COLUMN loyalty.kpi_daily.points_expired IS 'points whose end on the day has been booked, or that were forfeited on it';
COMMENT ON COLUMN loyalty.kpi_daily.redemptions IS 'number of redemptions on the day';

CREATE VIEW loyalty.kpi_monthly AS
    WITH place AS (
        SELECT c.currency_id, p.program_id, p.code AS program, c.code AS currency, c.is_default, p.time_zone
        FROM loyalty.currency c JOIN loyalty.program p USING (program_id)
    ), part AS (
        -- Enrolled members count in every currency of their program.
        SELECT k.currency_id, date_trunc('month', m.enrolled_at AT TIME ZONE k.time_zone)::date AS month,
               sum(m.persons) AS new_members, 0::bigint AS active_members, 0::bigint AS retained_members, 0::bigint AS orders,
               0::numeric AS revenue, 0::numeric AS refunded,
               0::numeric AS points_issued, 0::numeric AS points_redeemed, 0::numeric AS points_expired, 0::bigint AS redemptions
        FROM loyalty._enrolment m JOIN place k USING (program_id)
        GROUP BY 1, 2
        HAVING sum(m.persons) <> 0
        UNION ALL
        SELECT a.currency_id, d.starts, 0, count(*) FILTER (WHERE d.orders > 0), count(*) FILTER (WHERE d.active_before), sum(d.orders),
               loyalty.sum(d.revenue)::numeric, loyalty.sum(d.refunded)::numeric, loyalty.sum(d.issued)::numeric,
               loyalty.sum(d.redeemed)::numeric, loyalty.sum(d.expired)::numeric, sum(d.redemptions)
        FROM loyalty._history h JOIN loyalty.account a USING (account_id) JOIN place k USING (currency_id)
        CROSS JOIN LATERAL loyalty._history_periods(h.history, '1 month', k.time_zone) d
        GROUP BY 1, 2
    ), total AS (
        SELECT t.currency_id, t.month, sum(t.new_members)::bigint AS new_members, sum(t.active_members)::bigint AS active_members,
               sum(t.retained_members)::bigint AS retained_members, sum(t.orders)::bigint AS orders, sum(t.revenue) AS revenue,
               sum(t.refunded) AS refunded, sum(t.points_issued) AS points_issued, sum(t.points_redeemed) AS points_redeemed,
               sum(t.points_expired) AS points_expired, sum(t.redemptions)::bigint AS redemptions
        FROM part t GROUP BY 1, 2
    ), running AS (
        SELECT t.*, sum(t.new_members) OVER earlier::bigint AS members,
               CASE WHEN lag(t.month) OVER earlier = t.month - interval '1 month' THEN lag(t.active_members) OVER earlier ELSE 0 END AS active_before
        FROM total t WINDOW earlier AS (PARTITION BY t.currency_id ORDER BY t.month)
    )
    SELECT k.program, k.currency, r.month, r.new_members, r.members, r.active_members,
           r.active_members::numeric / nullif(r.members, 0) AS active_rate,
           r.retained_members, r.retained_members::numeric / nullif(r.active_before, 0) AS retention_rate,
           r.orders, r.orders::numeric / nullif(r.active_members, 0) AS purchase_frequency,
           r.revenue, r.refunded, r.revenue / nullif(r.orders, 0) AS average_order,
           r.points_issued, r.points_redeemed, r.points_expired, r.redemptions
    FROM running r JOIN place k USING (currency_id);
COMMENT ON VIEW loyalty.kpi_monthly IS 'A program''s currency month by month, in the program''s time zone: members, activity, orders, revenue, points';
COMMENT ON COLUMN loyalty.kpi_monthly.program IS 'code of the program';
COMMENT ON COLUMN loyalty.kpi_monthly.currency IS 'code of the currency';
COMMENT ON COLUMN loyalty.kpi_monthly.month IS 'first day of the month; months in which nothing happened have no row';
COMMENT ON COLUMN loyalty.kpi_monthly.new_members IS 'members of the program enrolled in the month; the same for all its currencies';
COMMENT ON COLUMN loyalty.kpi_monthly.members IS 'members of the program enrolled by the end of the month';
COMMENT ON COLUMN loyalty.kpi_monthly.active_members IS 'members who placed an order in the month that earned this currency';
COMMENT ON COLUMN loyalty.kpi_monthly.active_rate IS 'active_members / members';
COMMENT ON COLUMN loyalty.kpi_monthly.retained_members IS 'those of active_members who were active in the month before too';
COMMENT ON COLUMN loyalty.kpi_monthly.retention_rate IS 'retained_members / active members of the month before; NULL if there were none';
COMMENT ON COLUMN loyalty.kpi_monthly.orders IS 'orders placed in the month that earned this currency; refunded ones count, deleted ones do not';
COMMENT ON COLUMN loyalty.kpi_monthly.purchase_frequency IS 'orders / active_members';
COMMENT ON COLUMN loyalty.kpi_monthly.revenue IS 'amount of those orders less what has been refunded of them until now';
COMMENT ON COLUMN loyalty.kpi_monthly.refunded IS 'what has been refunded of those orders until now';
COMMENT ON COLUMN loyalty.kpi_monthly.average_order IS 'revenue / orders; NULL without orders';
COMMENT ON COLUMN loyalty.kpi_monthly.points_issued IS 'points earned or given by hand in the month, less those taken back in it';
COMMENT ON COLUMN loyalty.kpi_monthly.points_redeemed IS 'points redeemed in the month, less those given back in it';
COMMENT ON COLUMN loyalty.kpi_monthly.points_expired IS 'points whose end in the month has been booked, or that were forfeited in it';
COMMENT ON COLUMN loyalty.kpi_monthly.redemptions IS 'number of redemptions in the month';

CREATE VIEW loyalty.cohort_retention AS
    WITH active AS (
        SELECT a.currency_id, h.account_id, m.starts AS month
        FROM loyalty._history h JOIN loyalty.account a USING (account_id) JOIN loyalty.currency c USING (currency_id) JOIN loyalty.program p USING (program_id)
        CROSS JOIN LATERAL loyalty._history_periods(h.history, '1 month', p.time_zone) m
        WHERE m.orders > 0
    ), since AS (
        SELECT f.currency_id, f.cohort, (extract(year FROM age(f.month, f.cohort)) * 12 + extract(month FROM age(f.month, f.cohort)))::int AS period,
               count(*) AS retained
        FROM (SELECT a.*, min(a.month) OVER (PARTITION BY a.account_id) AS cohort FROM active a) f
        GROUP BY 1, 2, 3
    )
    SELECT p.code AS program, c.code AS currency, s.cohort, g.period, s.retained AS members,
           coalesce(k.retained, 0) AS retained, coalesce(k.retained, 0)::numeric / s.retained AS retention_rate
    FROM since s
    JOIN loyalty.currency c USING (currency_id)
    JOIN loyalty.program p USING (program_id)
    -- The month that is not over would count those who have not come yet as lost.
    CROSS JOIN LATERAL (SELECT age(date_trunc('month', now() AT TIME ZONE p.time_zone), s.cohort::timestamp) AS old) t
    CROSS JOIN LATERAL generate_series(0, (extract(year FROM t.old) * 12 + extract(month FROM t.old))::int - 1) g (period)
    LEFT JOIN since k ON k.currency_id = s.currency_id AND k.cohort = s.cohort AND k.period = g.period
    WHERE s.period = 0;
COMMENT ON VIEW loyalty.cohort_retention IS
    'Members by the month of their first order, and how many of them ordered again in each later month that is over';
COMMENT ON COLUMN loyalty.cohort_retention.program IS 'code of the program';
COMMENT ON COLUMN loyalty.cohort_retention.currency IS 'code of the currency that the orders earned';
COMMENT ON COLUMN loyalty.cohort_retention.cohort IS 'first day of the month of the members'' first order, in the program''s time zone';
COMMENT ON COLUMN loyalty.cohort_retention.period IS 'months since; 0 is the month of the first order';
COMMENT ON COLUMN loyalty.cohort_retention.members IS 'members of the cohort';
COMMENT ON COLUMN loyalty.cohort_retention.retained IS 'those of them who placed an order in that month';
COMMENT ON COLUMN loyalty.cohort_retention.retention_rate IS 'retained / members; a repeat-buying rate, not that of a contract';

CREATE VIEW loyalty.tier_distribution AS
    SELECT p.code AS program, t.name AS tier, t.rank AS tier_rank, t.threshold::numeric AS threshold,
           count(a.account_id) AS members,
           count(a.account_id)::numeric / nullif(sum(count(a.account_id)) OVER (PARTITION BY p.program_id), 0) AS share,
           count(a.account_id) FILTER (WHERE a.tier_until <= now() + interval '30 days') AS ending_soon
    FROM loyalty.program p
    CROSS JOIN LATERAL loyalty.tiers(p.ladder) t
    LEFT JOIN (SELECT a.*, c.program_id FROM loyalty.account a JOIN loyalty.currency c USING (currency_id) WHERE c.is_default AND a.state = 0) a
        ON a.program_id = p.program_id AND loyalty.tier_rank(a.tier) = t.rank
    GROUP BY p.program_id, p.code, t.name, t.rank, t.threshold;
COMMENT ON VIEW loyalty.tier_distribution IS 'Members in each tier of each program with a ladder, tiers without members included';
COMMENT ON COLUMN loyalty.tier_distribution.program IS 'code of the program';
COMMENT ON COLUMN loyalty.tier_distribution.tier IS 'name of the tier';
COMMENT ON COLUMN loyalty.tier_distribution.tier_rank IS 'its place on the ladder, from 1';
COMMENT ON COLUMN loyalty.tier_distribution.threshold IS 'what it takes to reach it';
COMMENT ON COLUMN loyalty.tier_distribution.members IS 'members who hold it';
COMMENT ON COLUMN loyalty.tier_distribution.share IS 'members / all members who hold a tier of the program';
COMMENT ON COLUMN loyalty.tier_distribution.ending_soon IS 'members whose time in it is over, or ends within 30 days, unless they qualify anew';

CREATE VIEW loyalty.points_liability AS
    SELECT p.code AS program, c.code AS currency, l.issued, l.lots, l.points::numeric AS points, l.pending::numeric AS pending,
           l.held::numeric AS held, l.ending_soon::numeric AS ending_soon, l.debt::numeric AS debt
    FROM (SELECT a.currency_id, l.issued, count(*) AS lots,
                 loyalty.sum(CASE WHEN l.expires_at > now() THEN l.remaining ELSE k.held END) AS points,
                 coalesce(loyalty.sum(l.remaining) FILTER (WHERE l.valid_from > now() AND l.expires_at > now()), 0) AS pending,
                 loyalty.sum(k.held) AS held,
                 coalesce(loyalty.sum(l.remaining) FILTER (WHERE l.expires_at > now() AND l.expires_at <= now() + interval '90 days'), 0) AS ending_soon,
                 loyalty.points '0' AS debt
          FROM loyalty._lot l JOIN loyalty.account a USING (account_id)
          -- A hold that ended since the lot was written holds no more.
          CROSS JOIN LATERAL (SELECT CASE WHEN l.held > 0 THEN l.held - (
              SELECT coalesce(loyalty.sum(h.points - h.captured - h.owed), 0) FROM loyalty.hold h
              WHERE h.account_id = l.account_id AND h.lot_no = l.lot_no AND h.open AND h.ends_at <= now()) ELSE 0 END AS held) k
          WHERE l.open AND (l.expires_at > now() OR k.held > 0)
          GROUP BY 1, 2
          UNION ALL
          SELECT a.currency_id, NULL, 0, '0', '0', '0', '0', loyalty.sum(a.debt)
          FROM loyalty.account a WHERE a.debt > 0 GROUP BY 1) l
    JOIN loyalty.currency c USING (currency_id)
    JOIN loyalty.program p USING (program_id);
COMMENT ON VIEW loyalty.points_liability IS
    'Outstanding points by month of issue, and in a row without a month what members owe; the function liability() values them';
COMMENT ON COLUMN loyalty.points_liability.program IS 'code of the program';
COMMENT ON COLUMN loyalty.points_liability.currency IS 'code of the currency';
COMMENT ON COLUMN loyalty.points_liability.issued IS 'first day of the month of issue; NULL in the row of the debt';
COMMENT ON COLUMN loyalty.points_liability.lots IS 'lots with points left';
COMMENT ON COLUMN loyalty.points_liability.points IS 'points outstanding: live, pending and held';
COMMENT ON COLUMN loyalty.points_liability.pending IS 'those of them that can''t be spent yet';
COMMENT ON COLUMN loyalty.points_liability.held IS 'those of them that are held';
COMMENT ON COLUMN loyalty.points_liability.ending_soon IS 'those of them that end within 90 days';
COMMENT ON COLUMN loyalty.points_liability.debt IS 'points that members owe; not part of points';

CREATE VIEW loyalty.campaign_results AS
    SELECT p.code AS program, c.code AS currency, r.name AS rule, r.kind AS event_kind,
           nullif(r.valid_from, '-infinity') AS valid_from, nullif(r.valid_to, 'infinity') AS valid_to, r.versions,
           coalesce(s.members, 0) AS members, coalesce(s.orders, 0) AS orders, coalesce(s.revenue, 0) AS revenue,
           coalesce(s.points, 0) AS points, s.points / nullif(s.orders, 0) AS points_per_order
    FROM (SELECT r.program_id, r.currency_id, r.name, min(r.kind) AS kind, min(coalesce(lower(r.valid), '-infinity')) AS valid_from,
                 max(coalesce(upper(r.valid), 'infinity')) AS valid_to, count(*) AS versions
          FROM loyalty.rule r GROUP BY 1, 2, 3) r
    JOIN loyalty.program p ON p.program_id = r.program_id
    JOIN loyalty.currency c ON c.currency_id = r.currency_id
    LEFT JOIN (
        SELECT o.program_id, o.name, count(DISTINCT coalesce(i.account_id, o.account_id)) AS members, count(*) AS orders,
               loyalty.sum(o.revenue)::numeric AS revenue, loyalty.sum(o.points)::numeric AS points
        FROM (SELECT r.program_id, r.name, e.account_id, e.event, e.source_id, loyalty.sum(e.points) AS points,
                     CASE WHEN e.source_id = ANY (ARRAY(SELECT u.source_id FROM loyalty._unpriced u)) THEN '0'
                          ELSE coalesce(loyalty.sum(e.base), 0) - coalesce(loyalty.sum(e.refunded), 0) END AS revenue
              FROM loyalty._book e JOIN loyalty.rule r USING (rule_id)
              WHERE e.source_id IS NOT NULL
              GROUP BY r.program_id, r.name, e.account_id, e.event, e.source_id
              HAVING loyalty.sum(e.base) > 0 OR count(e.base) = 0 AND loyalty.sum(e.points) > 0) o
        LEFT JOIN (SELECT p.account_id, k.account_id AS of FROM loyalty._person p CROSS JOIN LATERAL unnest(p.accounts) k (account_id)) i
            ON i.of = o.account_id
        GROUP BY 1, 2) s ON s.program_id = r.program_id AND s.name = r.name;
COMMENT ON VIEW loyalty.campaign_results IS
    'What each earning rule brought in orders and gave in points; a campaign is a rule with an end. Says nothing of what would have been bought anyway';
COMMENT ON COLUMN loyalty.campaign_results.program IS 'code of the program';
COMMENT ON COLUMN loyalty.campaign_results.currency IS 'code of the currency that the rule gives';
COMMENT ON COLUMN loyalty.campaign_results.rule IS 'name of the rule; all its versions together';
COMMENT ON COLUMN loyalty.campaign_results.event_kind IS 'kind of event that it is for; NULL is any';
COMMENT ON COLUMN loyalty.campaign_results.valid_from IS 'when its first version began; NULL is always';
COMMENT ON COLUMN loyalty.campaign_results.valid_to IS 'when its last version ends; NULL is never: not a campaign';
COMMENT ON COLUMN loyalty.campaign_results.versions IS 'number of versions';
COMMENT ON COLUMN loyalty.campaign_results.members IS 'members with an order that the rule rated';
COMMENT ON COLUMN loyalty.campaign_results.orders IS 'those orders; refunded ones count, deleted ones do not';
COMMENT ON COLUMN loyalty.campaign_results.revenue IS 'their amount less what was refunded';
COMMENT ON COLUMN loyalty.campaign_results.points IS 'points the rule gave for them, less those taken back';
COMMENT ON COLUMN loyalty.campaign_results.points_per_order IS 'points / orders';

-- A fit of each of several programs, whose warnings say which it is of.
CREATE FUNCTION loyalty._clv_fit_final(internal) RETURNS loyalty.clv_model
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_final_quietly';
CREATE AGGREGATE loyalty._clv_fit(customer loyalty.rfm, family text, spend boolean) (
    STYPE = internal, SSPACE = 2048, SFUNC = loyalty.clv_fit_accum, FINALFUNC = loyalty._clv_fit_final, COMBINEFUNC = loyalty.clv_fit_combine,
    SERIALFUNC = loyalty.clv_fit_serialize, DESERIALFUNC = loyalty.clv_fit_deserialize, PARALLEL = SAFE
);
COMMENT ON AGGREGATE loyalty._clv_fit(loyalty.rfm, text, boolean) IS 'clv_fit() without its warnings';
CREATE FUNCTION loyalty._warn_of_fit(model loyalty.clv_model, program text) RETURNS loyalty.clv_model
    LANGUAGE c STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_clv_warn';

-- The value still to come of each member who has bought: a model of purchases and spend for
-- each program, fitted to the orders that earned its first currency.
CREATE MATERIALIZED VIEW loyalty._clv_by_member AS
    WITH history AS MATERIALIZED (
        SELECT c.program_id, a.member_key,
               -- Of an order without an amount only the time is known.
               loyalty.rfm_agg(o.ordered_at, CASE WHEN o.amount > 0 THEN (o.amount - o.refunded)::numeric::float8 END, now(), '1 day', p.time_zone) AS rfm
        FROM loyalty._order o
        JOIN loyalty.account a USING (account_id)
        JOIN loyalty.currency c USING (currency_id)
        JOIN loyalty.program p USING (program_id)
        WHERE c.is_default AND (o.amount > o.refunded OR o.amount = 0)
        GROUP BY c.program_id, p.time_zone, a.member_key
    ), fitted AS MATERIALIZED (
        SELECT h.program_id, loyalty._warn_of_fit(loyalty._clv_fit(h.rfm, 'mbgnbd', true), p.code) AS model
        FROM history h JOIN loyalty.program p USING (program_id) GROUP BY 1, p.code
    )
    SELECT p.code AS program, h.member_key AS member,
           loyalty.frequency(h.rfm) AS frequency,
           loyalty.recency(h.rfm)::numeric AS recency,
           loyalty.age(h.rfm)::numeric AS age,
           loyalty.monetary(h.rfm)::numeric AS monetary,
           loyalty.p_alive(f.model, h.rfm)::numeric AS p_alive,
           loyalty.expected_purchases(f.model, h.rfm, 365.25)::numeric AS expected_purchases,
           CASE WHEN loyalty.spend_process(f.model) IS NOT NULL THEN loyalty.expected_spend(f.model, h.rfm)::numeric END AS expected_spend,
           -- A month is a twelfth of 365.25 days, its discount the twelfth root of 1.1.
           CASE WHEN loyalty.spend_process(f.model) IS NOT NULL
                THEN loyalty.clv(f.model, h.rfm, 365.25, 30.4375, 0.00797414042890374)::numeric END AS clv,
           cardinality(loyalty.warnings(f.model)) = 0 AS reliable,
           now() AS computed_at
    FROM history h
    JOIN fitted f USING (program_id)
    JOIN loyalty.program p USING (program_id)
    WHERE h.rfm IS NOT NULL;
CREATE UNIQUE INDEX _clv_by_member_idx ON loyalty._clv_by_member (program, member);
COMMENT ON MATERIALIZED VIEW loyalty._clv_by_member IS 'What view clv_by_member shows to whoever may see all programs';

-- Nothing could keep a confined role from the rows of a materialized view.
CREATE VIEW loyalty.clv_by_member AS SELECT * FROM loyalty._clv_by_member;
COMMENT ON VIEW loyalty.clv_by_member IS
    'What each member who has bought is expected to buy within a year, as of the last refresh_clv_by_member()';
COMMENT ON COLUMN loyalty.clv_by_member.program IS 'code of the program';
COMMENT ON COLUMN loyalty.clv_by_member.member IS 'the member''s key in the shop';
COMMENT ON COLUMN loyalty.clv_by_member.frequency IS 'days with an order after the first such day';
COMMENT ON COLUMN loyalty.clv_by_member.recency IS 'days from the first order to the last';
COMMENT ON COLUMN loyalty.clv_by_member.age IS 'days from the first order to computed_at';
COMMENT ON COLUMN loyalty.clv_by_member.monetary IS 'mean spend on those later days; NULL if there was none';
COMMENT ON COLUMN loyalty.clv_by_member.p_alive IS 'probability that the member still is a customer';
COMMENT ON COLUMN loyalty.clv_by_member.expected_purchases IS 'purchases expected within 365.25 days';
COMMENT ON COLUMN loyalty.clv_by_member.expected_spend IS 'mean spend expected of each; NULL if the data tell nothing of spend';
COMMENT ON COLUMN loyalty.clv_by_member.clv IS 'expected spend within 365.25 days, discounted at 10 % a year by months; revenue, not profit: multiply by your margin';
COMMENT ON COLUMN loyalty.clv_by_member.reliable IS 'whether the fit of the program''s model ended without warnings';
COMMENT ON COLUMN loyalty.clv_by_member.computed_at IS 'when it was refreshed';

CREATE PROCEDURE loyalty.refresh_clv_by_member()
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, loyalty, pg_temp AS $$
BEGIN
    -- All programs at once.
    PERFORM loyalty._check_access(0);
    REFRESH MATERIALIZED VIEW CONCURRENTLY loyalty._clv_by_member;
END $$;
COMMENT ON PROCEDURE loyalty.refresh_clv_by_member() IS
    'Fits the models of lifetime value anew; readers of clv_by_member see the old numbers until it commits';

CREATE VIEW loyalty.member_360 AS
    SELECT p.code AS program, m.member, coalesce(t.enrolled_at, m.enrolled_at) AS enrolled_at,
           b.tier, b.tier_rank, CASE WHEN a.state = 0 THEN a.tier_since END AS tier_since,
           CASE WHEN a.state = 0 THEN nullif(a.tier_until, 'infinity') END AS tier_until,
           coalesce(o.orders, 0) AS orders, coalesce(o.revenue, 0) AS revenue, o.revenue / nullif(o.orders, 0) AS average_order,
           o.first_order_at, o.last_order_at,
           (now() AT TIME ZONE p.time_zone)::date - (o.last_order_at AT TIME ZONE p.time_zone)::date AS days_since_order,
           coalesce(b.available, 0) AS available, coalesce(l.pending, 0) AS pending, coalesce(b.held, 0) AS held, coalesce(b.debt, 0) AS debt,
           coalesce(t.earned, b.earned, 0) AS earned, coalesce(t.redeemed, b.redeemed, 0) AS redeemed,
           coalesce(t.expired, b.expired, 0) AS expired,
           l.next_expiry_at, v.p_alive, v.clv
    FROM loyalty.member m
    JOIN loyalty.program p USING (program_id)
    LEFT JOIN loyalty.currency c ON c.program_id = p.program_id AND c.is_default
    LEFT JOIN loyalty.account a ON a.currency_id = c.currency_id AND a.member_key = m.member
    LEFT JOIN loyalty.balances b ON b.program = p.code AND b.currency = c.code AND b.member = m.member
    -- Of a person with other keys: what passed through their accounts stays in their totals.
    LEFT JOIN LATERAL (
        SELECT min(k.enrolled_at) AS enrolled_at, loyalty.sum(i.earned)::numeric AS earned, loyalty.sum(i.redeemed)::numeric AS redeemed,
               loyalty.sum(i.expired)::numeric AS expired
        FROM loyalty._person s JOIN loyalty.account i ON i.account_id = ANY (s.accounts) JOIN loyalty.member k USING (member_id)
        WHERE s.account_id = a.account_id) t ON true
    -- Beside the account, so that one member costs one member.
    LEFT JOIN LATERAL (
        SELECT count(*) AS orders, loyalty.sum(o.amount - o.refunded)::numeric AS revenue, min(o.ordered_at) AS first_order_at,
               max(o.ordered_at) AS last_order_at
        FROM loyalty._order o WHERE o.account_id = a.account_id) o ON true
    LEFT JOIN LATERAL (
        SELECT nullif(min(l.expires_at), 'infinity') AS next_expiry_at,
               (loyalty.sum(l.remaining) FILTER (WHERE l.valid_from > now()))::numeric AS pending
        FROM loyalty._lot l
        -- Where a merged key earned it waits to be confirmed.
        WHERE l.account_id = ANY (coalesce((SELECT s.accounts FROM loyalty._person s WHERE s.account_id = a.account_id), ARRAY[a.account_id]))
          AND l.open AND l.expires_at > now()) l ON true
    LEFT JOIN loyalty._clv_by_member v ON v.program = p.code AND v.member = m.member
    WHERE a.merged_into IS NULL;
COMMENT ON VIEW loyalty.member_360 IS 'All about each member on one row, those who were merged with the one they count as: tier, orders, points of the program''s first currency, and value';
COMMENT ON COLUMN loyalty.member_360.program IS 'code of the program';
COMMENT ON COLUMN loyalty.member_360.member IS 'the member''s key in the shop';
COMMENT ON COLUMN loyalty.member_360.enrolled_at IS 'when the member was enrolled, of several keys of a person the first time';
COMMENT ON COLUMN loyalty.member_360.tier IS 'name of the tier held; NULL without a ladder';
COMMENT ON COLUMN loyalty.member_360.tier_rank IS 'its place on the ladder, from 1';
COMMENT ON COLUMN loyalty.member_360.tier_since IS 'since when it is held';
COMMENT ON COLUMN loyalty.member_360.tier_until IS 'until when it is kept; NULL has no end';
COMMENT ON COLUMN loyalty.member_360.orders IS 'orders that earned; refunded ones count, deleted ones do not';
COMMENT ON COLUMN loyalty.member_360.revenue IS 'amount of those orders less what was refunded';
COMMENT ON COLUMN loyalty.member_360.average_order IS 'revenue / orders; NULL without orders';
COMMENT ON COLUMN loyalty.member_360.first_order_at IS 'time of the first order';
COMMENT ON COLUMN loyalty.member_360.last_order_at IS 'time of the last order';
COMMENT ON COLUMN loyalty.member_360.days_since_order IS 'days of the program''s calendar since the last order';
COMMENT ON COLUMN loyalty.member_360.available IS 'points that can be spent now; negative when in debt';
COMMENT ON COLUMN loyalty.member_360.pending IS 'points that can''t be spent yet';
COMMENT ON COLUMN loyalty.member_360.held IS 'points that are held';
COMMENT ON COLUMN loyalty.member_360.debt IS 'points owed';
COMMENT ON COLUMN loyalty.member_360.earned IS 'points earned since the beginning, net of reversals';
COMMENT ON COLUMN loyalty.member_360.redeemed IS 'points redeemed since the beginning, net of what was given back';
COMMENT ON COLUMN loyalty.member_360.expired IS 'points whose end was booked since the beginning';
COMMENT ON COLUMN loyalty.member_360.next_expiry_at IS 'when the next points end; NULL: none do';
COMMENT ON COLUMN loyalty.member_360.p_alive IS 'probability that the member still is a customer, as of the last refresh of clv_by_member';
COMMENT ON COLUMN loyalty.member_360.clv IS 'expected spend within a year, discounted, as of the last refresh of clv_by_member';
