-- The data have no survey, so its scores are SIMULATED, and nothing is to be learned from
-- them but how to ask. Each customer answers once, a week after the first order. The
-- score is drawn with the probabilities below (those of the example in the R package NPS),
-- and a hash of the customer's number is the draw: everybody gets the same scores.
\set step 'Survey: simulated answers to "would you recommend us?", 0 to 10'
\ir step.sql
CREATE TABLE shop.surveys (
	customer_id text PRIMARY KEY,
	answered_at timestamptz NOT NULL,
	score integer NOT NULL CHECK (score BETWEEN 0 AND 10)
);
WITH probability(score, p) AS (
	VALUES (0, 0.02), (1, 0.01), (2, 0.01), (3, 0.01), (4, 0.01), (5, 0.03),
		(6, 0.03), (7, 0.09), (8, 0.22), (9, 0.22), (10, 0.35)
),
draw AS (
	SELECT customer_id, min(ordered_at) + interval '7 days' AS answered_at,
		('x' || substr(md5('would you recommend us? ' || customer_id), 1, 8))::bit(32)::bigint / 4294967296.0 AS u
	FROM staged.orders
	WHERE customer_id IS NOT NULL
	GROUP BY customer_id
)
INSERT INTO shop.surveys
SELECT customer_id, answered_at, score
FROM draw JOIN (SELECT score, sum(p) OVER w - p AS low, sum(p) OVER w AS high
				FROM probability WINDOW w AS (ORDER BY score)) AS band ON u >= low AND u < high
ORDER BY answered_at, customer_id;
ANALYZE shop.surveys;
SELECT score, count(*) AS simulated_answers, round(100.0 * count(*) / sum(count(*)) OVER (), 1) AS percent
FROM shop.surveys
GROUP BY score
ORDER BY score;
