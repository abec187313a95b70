-- Purchases of :customers customers in the two years before 2024, ten of each on average,
-- in the order of time. A Pareto/NBD process with r = 1, alpha = 29 days, s = 0.8 and
-- beta = 300 days, where nothing needs a sum of random numbers: a lifetime is Pareto, the
-- purchases in a lifetime are geometric, and their times are uniform in it.
CREATE EXTENSION loyalty;
SET work_mem = '1GB';
SET max_parallel_workers_per_gather = 0;
SELECT setseed(0.4);
CREATE UNLOGGED TABLE purchase AS
	SELECT customer, to_timestamp(1704067200 - 86400 * (age - CASE WHEN n = 0 THEN 0 ELSE active * random() END)) AS at,
		floor(500 + 5000 * random() * random()) / 100 AS amount
	FROM (SELECT customer, age, active, floor(ln(1 - random()) / ln(active / (29 + active)))::int AS repeats
		FROM (SELECT customer, age, least(age, 300 * ((1 - random()) ^ (-1 / 0.8) - 1)) AS active
			FROM (SELECT customer, 100 + 600 * random() AS age FROM generate_series(1, :customers) customer) c
			OFFSET 0) c
		OFFSET 0) c,
		generate_series(0, repeats) n
	ORDER BY at;
VACUUM ANALYZE purchase;
