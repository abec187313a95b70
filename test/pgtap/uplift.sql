-- uplift: against plain SQL on random members; assignment is even and independent; looking often
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;

SELECT plan(31);

CREATE FUNCTION pg_temp.near(float8, float8, float8 DEFAULT 1e-12) RETURNS boolean LANGUAGE sql AS 'SELECT abs($1 - $2) <= $3 * (abs($1) + abs($2))';

CREATE TEMP TABLE members AS
SELECT i, segment, treated, CASE WHEN treated THEN 'b' ELSE 'a' END AS arm, before, before * 0.8 + noise * 20 + CASE WHEN treated THEN 3 ELSE 0 END AS outcome, (random() < CASE WHEN treated THEN 0.3 ELSE 0.2 END)::int AS loyal
FROM (SELECT setseed(0.25)) seed, LATERAL (SELECT i, i % 4 AS segment, random() < 0.4 AS treated, 50 + 30 * (random() + random() - 1) AS before, random() + random() + random() - 1.5 AS noise FROM generate_series(1, 3000) i) m;

-- Welch, in plain SQL
CREATE TEMP VIEW plain AS
SELECT segment, mt - mc AS difference, sqrt(vt + vc) AS se, (vt + vc) ^ 2 / (vt ^ 2 / (nt - 1) + vc ^ 2 / (nc - 1)) AS df, mt, mc, vt, vc, nt, nc
FROM (
	SELECT segment, avg(y) FILTER (WHERE treated) AS mt, avg(y) FILTER (WHERE NOT treated) AS mc, var_samp(y) FILTER (WHERE treated) / count(*) FILTER (WHERE treated) AS vt,
		var_samp(y) FILTER (WHERE NOT treated) / count(*) FILTER (WHERE NOT treated) AS vc, count(*) FILTER (WHERE treated) AS nt, count(*) FILTER (WHERE NOT treated) AS nc
	FROM (SELECT segment, treated, outcome AS y FROM members) m GROUP BY segment) g;
SELECT ok(pg_temp.near(t.difference, p.difference) AND pg_temp.near(t.standard_error, p.se) AND pg_temp.near(t.df, p.df) AND pg_temp.near(t.t, p.difference / p.se), 'Welch, segment ' || segment)
FROM plain p JOIN (SELECT segment, (welch_test(uplift_agg(treated, outcome))).* FROM members GROUP BY segment) t USING (segment) ORDER BY segment;
SELECT ok(pg_temp.near(t.lift, p.mt / p.mc - 1) AND pg_temp.near(t.standard_error, sqrt(p.vt / p.mc ^ 2 + p.mt ^ 2 * p.vc / p.mc ^ 4)), 'relative lift, segment ' || segment)
FROM plain p JOIN (SELECT segment, (relative_lift(uplift_agg(arm, outcome), arm => 'b', control => 'a')).* FROM members GROUP BY segment) t USING (segment) ORDER BY segment;

-- CUPED: Welch of the outcomes that core's regression adjusts
CREATE TEMP TABLE adjusted AS
SELECT segment, treated, outcome - theta * (before - center) AS y FROM members JOIN (SELECT segment, regr_slope(outcome, before) AS theta, avg(before) AS center FROM members GROUP BY segment) r USING (segment);
SELECT ok(pg_temp.near(t.difference, w.difference) AND pg_temp.near(t.standard_error, w.standard_error) AND pg_temp.near(t.df, w.df) AND pg_temp.near(t.p_value, w.p_value, 1e-10) AND pg_temp.near(t.low, w.low, 1e-11), 'CUPED, segment ' || segment)
FROM (SELECT segment, (cuped_test(uplift_agg(treated, outcome, before))).* FROM members GROUP BY segment) t JOIN (SELECT segment, (welch_test(uplift_agg(treated, y))).* FROM adjusted GROUP BY segment) w USING (segment) ORDER BY segment;
SELECT ok(pg_temp.near(t.theta, (SELECT regr_slope(outcome, before) FROM members)), 'theta is the slope over both arms')
	FROM (SELECT (cuped_test(uplift_agg(treated, outcome, before))).* FROM members) t;
SELECT ok(pg_temp.near((incremental(c, adjusted => true)).total, (incremental(w)).total) AND pg_temp.near((sequential_test(c, 3000, adjusted => true)).low, (sequential_test(w, 3000)).low, 1e-11), 'what is adjusted is the same everywhere')
FROM (SELECT uplift_agg(treated, outcome, before) AS c FROM members WHERE segment = 1) c, (SELECT uplift_agg(treated, y) AS w FROM adjusted WHERE segment = 1) w;

-- the order of rows does not matter, nor how they are grouped before they are rolled up
SELECT ok(pg_temp.near(a.t, b.t, 1e-13) AND pg_temp.near(a.theta, b.theta, 1e-13) AND pg_temp.near(a.p_value, c.p_value) AND pg_temp.near(a.low, c.low), 'order and grouping')
FROM (SELECT (cuped_test(uplift_agg(treated, outcome, before ORDER BY outcome))).* FROM members) a, (SELECT (cuped_test(uplift_agg(treated, outcome, before ORDER BY before DESC))).* FROM members) b,
	(SELECT (cuped_test(rollup(s))).* FROM (SELECT uplift_agg(treated, outcome, before) AS s FROM members GROUP BY i % 17, segment) p) c;
-- scaling and shifting the outcomes scales the difference, and leaves t
SELECT ok(pg_temp.near(a.t, b.t, 1e-9) AND pg_temp.near(b.difference, 7 * a.difference, 1e-9), 'shift and scale')
FROM (SELECT (welch_test(uplift_agg(treated, outcome))).* FROM members) a, (SELECT (welch_test(uplift_agg(treated, 1e6 + 7 * outcome))).* FROM members) b;

-- proportions, in plain SQL; loyal members
SELECT ok(pg_temp.near(t.z, (pt - pc) / sqrt(p * (1 - p) * (1.0 / nt + 1.0 / nc))) AND pg_temp.near(t.standard_error, sqrt(pt * (1 - pt) / nt + pc * (1 - pc) / nc)) AND pg_temp.near(t.incremental, xt - pc * nt) AND l.loyal = xt AND pg_temp.near(l.through, t.incremental) AND pg_temp.near(l.high, nt * t.high), 'two proportions')
FROM (SELECT avg(loyal) FILTER (WHERE treated)::float8 AS pt, avg(loyal) FILTER (WHERE NOT treated)::float8 AS pc, avg(loyal)::float8 AS p, count(*) FILTER (WHERE treated) AS nt, count(*) FILTER (WHERE NOT treated) AS nc, sum(loyal) FILTER (WHERE treated) AS xt FROM members) m,
	(SELECT uplift_agg(treated, loyal) AS s FROM members) s, proportion_test(s) t, loyal_through(s) l;

-- stored, in a window, and through a row that is updated
CREATE TEMP TABLE kept (segment int, s uplift_summary);
INSERT INTO kept SELECT segment, uplift_agg(arm, outcome, before) FROM members GROUP BY segment;
UPDATE kept SET s = s::text::uplift_summary WHERE segment = 2;
SELECT is(k.s, m.s, 'stored, segment ' || segment) FROM kept k JOIN (SELECT segment, uplift_agg(arm, outcome, before) AS s FROM members GROUP BY segment) m USING (segment) WHERE segment IN (1, 2) ORDER BY segment;
SELECT is(s, (SELECT uplift_agg(treated, outcome ORDER BY i) FROM members WHERE i <= 100), 'in a window') FROM (SELECT i, uplift_agg(treated, outcome) OVER (ORDER BY i) AS s FROM members) w WHERE i = 100;

-- assignment: Pearson's chi-square over 20 equal shares (19 degrees of freedom: 43.8 is passed by one in a thousand)
CREATE TEMP TABLE assigned AS
SELECT i, assign_arm('member ' || i, 'spring', array_agg(b::text ORDER BY b))::int AS spring, assign_arm('member ' || i, 'autumn', array_agg(b::text ORDER BY b))::int AS autumn
FROM generate_series(1, 20000) i, generate_series(0, 19) b GROUP BY i;
SELECT cmp_ok((SELECT sum((n - 1000) ^ 2 / 1000.0) FROM (SELECT count(*) AS n FROM assigned GROUP BY spring) c)::float8, '<', 43.8::float8, 'even in spring');
SELECT cmp_ok((SELECT sum((n - 1000) ^ 2 / 1000.0) FROM (SELECT count(*) AS n FROM assigned GROUP BY autumn) c)::float8, '<', 43.8::float8, 'even in autumn');
-- the same over 400 cells of 50, with 399 degrees of freedom
SELECT cmp_ok((SELECT sum((n - 50) ^ 2 / 50.0) FROM (SELECT count(*) AS n FROM assigned GROUP BY spring, autumn) c)::float8, '<', 492.0::float8, 'one experiment tells nothing of another');
-- three standard errors of a correlation of 20,000
SELECT cmp_ok(abs((SELECT corr(a.spring, b.spring) FROM assigned a JOIN assigned b ON b.i = a.i + 1)), '<', 0.0212::float8, 'nor does one member of the next');
SELECT ok(NOT EXISTS (SELECT FROM generate_series(1, 5000) i WHERE holdout(i::text, 'x', 0.1) AND NOT holdout(i::text, 'x', 0.2)), 'who is held out stays so when the share grows');
SELECT is((SELECT count(*) FROM assigned WHERE holdout('member ' || i, 'spring', 0.05) <> (spring = 0)), 0::bigint, 'a holdout is the first arm');
SELECT ok((sample_ratio_test(uplift_agg(arm, 0), '{a,b,c}', '{5,3,2}')).p_value > 0.001, 'arms by weight')
FROM (SELECT assign_arm(i::text, 'w', '{a,b,c}', '{5,3,2}') AS arm FROM generate_series(1, 10000) i) a;
SELECT ok((sample_ratio_test(uplift_agg(NOT holdout(i::text, 'h', 0.1), 0), 0.9)).p_value > 0.001, 'a tenth held out') FROM generate_series(1, 10000) i;

-- 200 tests without any effect, looked at 20 times each: the plain 5 % intervals cry wolf in far more than 5 % of
-- them, the sequential ones do not
CREATE TEMP TABLE looks AS
SELECT test, bool_or((welch_test(s)).p_value < 0.05) AS welch, bool_or((sequential_test(s, 500)).p_value < 0.05) AS sequential, bool_and(((sequential_test(s, 500)).p_value < 0.05) = ((sequential_test(s, 500)).low > 0 OR (sequential_test(s, 500)).high < 0)) AS agree
FROM (
	SELECT test, i, uplift_agg(treated, y) OVER (PARTITION BY test ORDER BY i) AS s
	FROM (SELECT setseed(0.5)) seed, LATERAL (SELECT test, i, random() < 0.5 AS treated, -ln(random()) AS y FROM generate_series(1, 200) test, generate_series(1, 1000) i) r) w
WHERE i % 50 = 0 GROUP BY test;
SELECT cmp_ok((SELECT count(*) FROM looks WHERE sequential), '<=', 10::bigint, 'sequential intervals stay valid');
SELECT cmp_ok((SELECT count(*) FROM looks WHERE welch), '>', 30::bigint, 'which is not so of plain ones');
SELECT ok(bool_and(agree), 'p value and interval agree') FROM looks;

SELECT * FROM finish();
ROLLBACK;
