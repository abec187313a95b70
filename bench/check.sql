-- The engine's books after a case: what is wrong with them, a line each; nothing if they hold.

WITH entry AS (
    SELECT account_id, count(*) AS n, max(entry_no) AS last, sum(points::numeric) AS points
    FROM loyalty.entry GROUP BY account_id
), lot AS (
    SELECT l.account_id, count(*) AS n, sum(l.credited::numeric) AS credited, sum(l.remaining::numeric) AS remaining,
           sum(l.remaining::numeric) FILTER (WHERE l.valid_from <= a.as_of AND l.expires_at > a.as_of) AS live,
           sum(l.remaining::numeric) FILTER (WHERE l.valid_from > a.as_of) AS pending
    FROM loyalty.lot l JOIN loyalty.account a USING (account_id) GROUP BY l.account_id
), books AS (
    SELECT account_id, a.entries, a.lots, a.posted::numeric AS posted, a.live::numeric AS live,
           a.pending::numeric AS pending, a.debt::numeric AS debt, coalesce(e.n, 0) AS entry_rows,
           coalesce(e.last, 0) AS last_entry, coalesce(e.points, 0) AS entry_points, coalesce(l.n, 0) AS lot_rows,
           coalesce(l.remaining, 0) AS lot_remaining, coalesce(l.live, 0) AS lot_live, coalesce(l.pending, 0) AS lot_pending
    FROM loyalty.account a FULL JOIN entry e USING (account_id) FULL JOIN lot l USING (account_id)
)
SELECT format('account %s does not add up: %s', account_id, to_json(books)) FROM books
WHERE (entries, last_entry, lots) IS DISTINCT FROM (entry_rows, entry_rows, lot_rows)
   OR (posted, posted) IS DISTINCT FROM (entry_points, lot_remaining - debt)
   OR (live, pending) IS DISTINCT FROM (lot_live, lot_pending)
UNION ALL
SELECT format('orders are worth %s points and %s were earned', o.points, e.points)
FROM (SELECT coalesce(sum(floor(total)), 0) AS points FROM orders) o,
     (SELECT coalesce(sum(points::numeric), 0) AS points FROM loyalty.entry WHERE kind = 'earn') e
WHERE o.points <> e.points
LIMIT 10;
