-- The same rows by plain set-based statements from the orders that came, as a developer
-- would write them who knows the rule: no program, no rule, no hash, nobody new.
-- Set before: rounding.
BEGIN;
INSERT INTO floor.orders (customer_id, total, ordered_at) SELECT customer_id, total, ordered_at FROM incoming;
INSERT INTO floor.entry (account_id, entry_no, lot_no, points, event_time, recorded_at, base, source_id, rule_id, actor_id, kind, event, hash)
SELECT a.account_id, row_number() OVER (PARTITION BY a.account_id ORDER BY o.ordered_at),
       dense_rank() OVER (PARTITION BY a.account_id ORDER BY date_trunc(:'rounding', o.ordered_at + interval '12 months')),
       floor(o.total)::bigint, o.ordered_at, now(), o.total, 1, 1, 1, 'earn', o.order_id::text,
       decode(repeat('00', 32), 'hex')
FROM floor.orders o
JOIN floor.account a ON a.currency_id = 1 AND a.member_key = o.customer_id::text;
INSERT INTO floor.lot (account_id, lot_no, open, by_activity, extended, issued, opened_by, valid_from, expires_at, earned_at, credited, remaining, held, expired, waived)
SELECT account_id, lot_no, true, false, false, date_trunc('month', min(event_time))::date, min(entry_no), '-infinity',
       date_trunc(:'rounding', min(event_time) + interval '12 months') + ('1 ' || :'rounding')::interval,
       min(event_time), sum(points), sum(points), 0, 0, 0
FROM floor.entry GROUP BY account_id, lot_no;
UPDATE floor.account a
SET entries = s.entries, lots = s.lots, posted = s.points, live = s.points, earned = s.points,
    as_of = now(), next_change = s.next_change, head = decode(repeat('00', 32), 'hex')
FROM (SELECT account_id, count(*) AS entries, max(lot_no) AS lots, sum(points) AS points,
             date_trunc(:'rounding', min(event_time) + interval '12 months') + ('1 ' || :'rounding')::interval AS next_change
      FROM floor.entry GROUP BY account_id) s
WHERE a.account_id = s.account_id;
COMMIT;
