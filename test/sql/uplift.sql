-- uplift: uplift_summary, its tests, planning, assignment and errors
\i test/sql/include/begin.psql

-- ten digits are enough to see that a number is right, and alike everywhere
CREATE FUNCTION pg_temp.digits(float8) RETURNS numeric LANGUAGE sql AS 'SELECT round($1::numeric, 10)';

-- text: what is missing is 0, arms without rows are left out, arms come in the order of their names
SELECT '(arm:control,n:5,sum:52,squares:21.2,others:5)(arm:treated,others:6,n:6,sum:90,squares:60)'::uplift_summary;
SELECT '(arm:b,n:3,sum:2,squares:0.5)  ( arm : a , n : 2 , sum : 0 )(arm:c)'::uplift_summary, '()'::uplift_summary, '(arm:x)'::uplift_summary;
SELECT '(arm:x,others:2,pairs:2,pair_sum:0.1,pair_squares:0.3333333333333333,covariate_sum:1e300,covariate_squares:5e-324,products:0)'::uplift_summary;
-- an arm may have any name
SELECT s, t.arm, s::text::uplift_summary = s AS same FROM uplift_summary(' a(1),b:100% ', 2, 1) s, uplift_arms(s) t;
SELECT s::text::uplift_summary = s AS same FROM uplift_summary(E'\t', 2, 1) s;
SELECT s, s::text::uplift_summary = s AS same FROM uplift_summary('Müller', 2, 1) s;
SELECT input, pg_temp.failure(format('SELECT %L::loyalty.uplift_summary', input))
FROM unnest(ARRAY[
	'', '(n:1,sum:1)', '(arm:a,n:1,sum:1', '(arm:a,n:1)x', '(arm:a,n:1,sum:1)(arm:a,n:2,sum:1)', '(arm:a,m:1)', '(arm:a,n:-1)', '(arm:a,n:1,sum:x)', '(arm:,n:1)', '(arm:%zz,n:1)', '(arm:%E9,n:1)', '(arm:%00,n:1)', '(arm:%4',
	'(arm:a,n:2,sum:1,squares:-1)', '(arm:a,n:1,sum:1,squares:1)', '(arm:a,n:0,sum:1)', '(arm:a,n:2,sum:3)', '(arm:a,n:2,sum:0.5)', '(arm:a,n:2,sum:1,others:3)', '(arm:a,n:2,sum:NaN,others:2)', '(arm:a,n:2,sum:Infinity,others:2)',
	'(arm:a,n:9223372036854775807,pairs:1)', '(arm:a,pairs:2,pair_sum:1,pair_squares:0.5,covariate_sum:1,covariate_squares:0.5,products:0.6)']) AS input;
SELECT pg_temp.failure(format('SELECT %L::loyalty.uplift_summary', '(arm:' || repeat('a', 64) || ')'));
SELECT pg_temp.failure(format('SELECT %L::loyalty.uplift_summary', (SELECT string_agg('(arm:' || i || ')', '') FROM generate_series(1, 33) i)));

-- binary
SELECT uplift_summary_send(uplift_summary('ab', 4, 2));
SELECT pg_temp.receive('uplift_summary', uplift_summary_send(s)) = s::text AS same
FROM unnest(ARRAY[uplift_summary('Müller', 3, 0.1, 0.7), '()', '(arm:a,n:3,sum:2,squares:0.5)(arm:b,others:1,pairs:2,pair_sum:1.5,pair_squares:0.5,covariate_sum:-3,covariate_squares:2,products:-1)']::uplift_summary[]) s;
SELECT pg_temp.receive('uplift_summary', '\x02' || substr(uplift_summary_send(uplift_summary('ab', 4, 2)), 2));
SELECT pg_temp.receive('uplift_summary', '\x01' || int2send(33::int2));
SELECT pg_temp.receive('uplift_summary', '\x01' || int2send(1::int2) || int4send(0));
SELECT pg_temp.receive('uplift_summary', overlay(uplift_summary_send(uplift_summary('ab', 4, 2)) placing int8send(5) from 10));

-- equality
SELECT a = b AS equal, a <> c AS unequal, uplift_summary_hash(a) = uplift_summary_hash(b) AS hash, uplift_summary_hash_extended(a, 7) = uplift_summary_hash_extended(b, 7) AS hash_extended
FROM (VALUES ('(arm:a,n:2,sum:0)(arm:b,n:1,sum:1)'::uplift_summary, '(arm:b,n:1,sum:1)(arm:a,n:2,sum:-0.0)'::uplift_summary, '(arm:b,n:1,sum:1)(arm:a,n:2,sum:1)'::uplift_summary)) v(a, b, c);

-- from known values: 3 of mean 5 and variance 2 are sum 15 and squares 4; 3 of 4 are 1 and squares 4 x 3/4 x 1/4
SELECT uplift_summary('a', 3, 5, 2), uplift_summary('a', 4, 3), uplift_summary('a', 0, 0), uplift_summary('a', 0, 7, 7), uplift_summary(NULL, 1, 1);
SELECT call, pg_temp.failure(format('SELECT loyalty.uplift_summary(%s)', call))
FROM unnest(ARRAY['''a'', 3, 4', '''a'', -1, 0', '''a'', 3, 1, -1', '''a'', 3, ''NaN'', 1', '''a'', 3, 1e308, 1', ''''', 3, 1', 'repeat(''a'', 64), 3, 1']) AS call;

-- Welch. The values are those of mpmath to 40 digits for these eleven; summed by hand, the treated have 90 and 60, the control 52 and 21.2
CREATE TABLE uplift_members (treated boolean, arm text, outcome float8, before float8);
INSERT INTO uplift_members VALUES
	(true, 'new', 12, 5), (true, 'new', 15, 8), (true, 'new', 11, 4), (true, 'new', 18, 9), (true, 'new', 20, 11), (true, 'new', 14, 6),
	(false, 'old', 10, 6), (false, 'old', 9, 5), (false, 'old', 14, 9), (false, 'old', 11, 7), (false, 'old', 8, 4);
SELECT uplift_agg(treated, outcome) FROM uplift_members;
SELECT pg_temp.digits(difference) AS difference, pg_temp.digits(standard_error) AS se, pg_temp.digits(t) AS t, pg_temp.digits(df) AS df, pg_temp.digits(p_value) AS p, pg_temp.digits(low) AS low, pg_temp.digits(high) AS high
FROM (SELECT uplift_agg(treated, outcome) AS s FROM uplift_members) a, welch_test(s);
-- by the arms' names, turned round
SELECT pg_temp.digits(difference) AS difference, pg_temp.digits(t) AS t, pg_temp.digits(df) AS df, pg_temp.digits(p_value) AS p, pg_temp.digits(low) AS low, pg_temp.digits(high) AS high
FROM (SELECT uplift_agg(arm, outcome) AS s FROM uplift_members) a, welch_test(s, arm => 'old', control => 'new');
-- 46/104 more than the control, delta method se .19717556698641 and 1.95996398454005 of it to each side
SELECT pg_temp.digits(lift) AS lift, pg_temp.digits(standard_error) AS se, pg_temp.digits(low) AS low, pg_temp.digits(high) AS high
FROM (SELECT uplift_agg(treated, outcome) AS s FROM uplift_members) a, relative_lift(s);
-- six treated, 4.6 each
SELECT pg_temp.digits(total) AS total, pg_temp.digits(low) AS low, pg_temp.digits(high) AS high FROM (SELECT uplift_agg(treated, outcome) AS s FROM uplift_members) a, incremental(s);
-- 27.6 at half margin, less 6, over 6
SELECT pg_temp.digits(incremental) AS incremental, pg_temp.digits(roi) AS roi, pg_temp.digits(low) AS low, pg_temp.digits(high) AS high FROM (SELECT uplift_agg(treated, outcome) AS s FROM uplift_members) a, program_roi(s, 6, 0.5);

-- CUPED, values of numpy and scipy: theta over all eleven, then Welch on the adjusted outcomes
SELECT uplift_agg(treated, outcome, before) FROM uplift_members WHERE NOT treated;
SELECT pg_temp.digits(difference) AS difference, pg_temp.digits(standard_error) AS se, pg_temp.digits(t) AS t, pg_temp.digits(df) AS df, pg_temp.digits(p_value) AS p, pg_temp.digits(low) AS low, pg_temp.digits(high) AS high, pg_temp.digits(theta) AS theta, pg_temp.digits(variance_reduction) AS reduction
FROM (SELECT uplift_agg(treated, outcome, before) AS s FROM uplift_members) a, cuped_test(s);
SELECT pg_temp.digits(lift) AS lift, pg_temp.digits(standard_error) AS se, pg_temp.digits(low) AS low, pg_temp.digits(high) AS high
FROM (SELECT uplift_agg(arm, outcome, before) AS s FROM uplift_members) a, relative_lift(s, arm => 'new', control => 'old', adjusted => true);
-- the plain test does not care whether there is a covariate
SELECT (SELECT welch_test(uplift_agg(treated, outcome)) FROM uplift_members) = (SELECT welch_test(uplift_agg(treated, outcome, before)) FROM uplift_members) AS same;
-- one new member has no covariate: counted by the plain test, not by CUPED; without any there is no CUPED
SELECT arm, members, mean, pg_temp.digits(variance) AS variance, pg_temp.digits(standard_error) AS se, conversions, covered, covariate_mean, pg_temp.digits(covariate_variance) AS covariate_variance, pg_temp.digits(correlation) AS correlation
FROM (SELECT uplift_agg(treated, outcome, nullif(before, 11)) AS s FROM uplift_members) a, uplift_arms(s);
SELECT (welch_test(s)).difference AS plain, (welch_test(s)).p_value = (SELECT (welch_test(uplift_agg(treated, outcome))).p_value FROM uplift_members) AS same, cuped_test(s) = (SELECT cuped_test(uplift_agg(treated, outcome, before)) FROM uplift_members WHERE before <> 11) AS same_as_without
FROM (SELECT uplift_agg(treated, outcome, nullif(before, 11)) AS s FROM uplift_members) a;
SELECT cuped_test(uplift_agg(treated, outcome, NULL)), relative_lift(uplift_agg(treated, outcome, NULL), adjusted => true) FROM uplift_members;
-- a covariate that says nothing adjusts nothing
SELECT (cuped_test(s)).theta, (cuped_test(s)).variance_reduction, (cuped_test(s)).t = (welch_test(s)).t AS same FROM (SELECT uplift_agg(treated, outcome, 3) AS s FROM uplift_members) a;
-- one that says all leaves no variance: outcome = 2 before + 5 for the treated
SELECT pg_temp.digits(difference) AS difference, t, p_value, low = high AS point
FROM (SELECT uplift_agg(treated, 2 * before + CASE WHEN treated THEN 5 ELSE 0 END, before) AS s FROM (VALUES (true, 1.0), (true, 2.0), (true, 4.0), (false, 2.0), (false, 1.0), (false, 4.0)) v(treated, before)) a, cuped_test(s);

-- two proportions: 230 of 2000 against 180 of 2000, values of mpmath
CREATE TABLE uplift_known AS SELECT rollup(s) AS s FROM unnest(ARRAY[uplift_summary('treated', 2000, 230), uplift_summary('control', 2000, 180)]) s;
SELECT pg_temp.digits(difference) AS difference, pg_temp.digits(standard_error) AS se, pg_temp.digits(z) AS z, pg_temp.digits(p_value) AS p, pg_temp.digits(low) AS low, pg_temp.digits(high) AS high, incremental FROM uplift_known, proportion_test(s);
-- 180 of the 230 would be loyal anyway; the interval is 2000 times the one above
SELECT members, loyal, anyway, through, pg_temp.digits(low) AS low, pg_temp.digits(high) AS high FROM uplift_known, loyal_through(s);
-- counts up to the last bigint
SELECT conversions, members FROM uplift_arms(uplift_summary('a', 9223372036854775807, 9223372036854775807));
SELECT pg_temp.failure('SELECT loyalty.proportion_test(loyalty.uplift_agg(treated, outcome)) FROM uplift_members');
SELECT pg_temp.failure('SELECT loyalty.loyal_through(loyalty.uplift_agg(treated, outcome)) FROM uplift_members');
-- all or nobody: no z; the interval is a point
SELECT t.* FROM (SELECT uplift_agg(i <= 3, 1) AS s FROM generate_series(1, 5) i) a, proportion_test(s) t;
SELECT difference, standard_error, pg_temp.digits(z) AS z, low, high FROM (SELECT uplift_agg(i <= 2, (i <= 2)::int) AS s FROM generate_series(1, 4) i) a, proportion_test(s);

-- one summary for outcomes of 0 and 1, row by row and from counts
SELECT by_row, by_row = counted AS same
FROM (SELECT uplift_agg(i % 2 = 0, (i <= 3)::int) AS by_row FROM generate_series(1, 8) i) r, (SELECT rollup(k) AS counted FROM unnest(ARRAY[uplift_summary('treated', 4, 1), uplift_summary('control', 4, 2)]) k) c;

-- empty arms, single members, no variance, a control of zero
SELECT uplift_agg(true, outcome), uplift_agg(NULL::text, outcome), uplift_agg(treated, NULL) FROM uplift_members WHERE outcome < 10;
SELECT welch_test(s), proportion_test(s), cuped_test(s), relative_lift(s), incremental(s), sequential_test(s, 10), loyal_through(s), program_roi(s, 1) FROM uplift_summary('treated', 5, 1) s;
SELECT welch_test(s, arm => 'never'), welch_test('()'), welch_test(NULL) FROM uplift_known;
SELECT uplift_agg(treated, outcome), uplift_agg(arm, outcome), uplift_agg(treated, outcome, before), rollup(uplift_summary('a', 0, 0)) FROM uplift_members WHERE false;
SELECT t.* FROM (SELECT uplift_agg(i = 1, i) AS s FROM generate_series(1, 2) i) a, welch_test(s) t;
SELECT t.* FROM (SELECT uplift_agg(i = 1, i, i) AS s FROM generate_series(1, 2) i) a, relative_lift(s) t;
SELECT t.* FROM (SELECT uplift_agg(i > 2, (i > 2)::int + 4) AS s FROM generate_series(1, 5) i) a, welch_test(s) t;
SELECT t.* FROM (SELECT uplift_agg(i > 2, (i > 2)::int + 4) AS s FROM generate_series(1, 5) i) a, sequential_test(s, 5) t;
-- one arm varies, the other does not: its own degrees of freedom, 3 - 1. difference 2, se 1 / sqrt 3; P(|t2| > 2 sqrt 3) = 1 - sqrt(6 / 7)
SELECT pg_temp.digits(t) AS t, df, pg_temp.digits(p_value) AS p, pg_temp.digits(1 - sqrt(6.0 / 7)) AS by_hand FROM (SELECT uplift_agg(i > 2, CASE WHEN i > 2 THEN i - 1 ELSE 1 END) AS s FROM generate_series(1, 5) i) a, welch_test(s);
SELECT relative_lift(uplift_agg(treated, CASE WHEN treated THEN outcome ELSE 0 END)) FROM uplift_members;

-- sequential: by mpmath, for a difference of .2 with variance 1 in 1000 and 1000, planned for 2000, then for 100 at 99 %
SELECT pg_temp.digits(difference) AS difference, pg_temp.digits(standard_error) AS se, pg_temp.digits(p_value) AS p, pg_temp.digits(high - difference) AS half, pg_temp.digits(difference - low) AS half
FROM (SELECT rollup(s) AS s FROM unnest(ARRAY[uplift_summary('treated', 1000, 1.2, 1), uplift_summary('control', 1000, 1, 1)]) s) a, LATERAL (SELECT * FROM sequential_test(s, 2000) UNION ALL SELECT * FROM sequential_test(s, 100, 0.99)) t;
-- p = 1 without a difference
SELECT p_value FROM (SELECT rollup(s) AS s FROM unnest(ARRAY[uplift_summary('treated', 10, 1, 1), uplift_summary('control', 10, 1, 1)]) s) a, sequential_test(s, 20);

-- sample ratio: 5050 against 4800 of 1:1, then three arms of 2:1:1, by scipy
SELECT pg_temp.digits(chi_square) AS chi_square, df, pg_temp.digits(p_value) AS p FROM (SELECT rollup(s) AS s FROM unnest(ARRAY[uplift_summary('treated', 5050, 0), uplift_summary('control', 4800, 0)]) s) a, sample_ratio_test(s);
SELECT pg_temp.digits(chi_square) AS chi_square, df, pg_temp.digits(p_value) AS p FROM (SELECT rollup(s) AS s FROM unnest(ARRAY[uplift_summary('a', 500, 0), uplift_summary('b', 300, 0), uplift_summary('c', 260, 0)]) s) a, sample_ratio_test(s, '{c,a,b}', '{0.25,0.5,0.25}');
-- 9 : 1 of 100: 81 and 19, (81 - 90)^2 / 90 + (19 - 10)^2 / 10 = 9
SELECT pg_temp.digits(chi_square) AS chi_square, pg_temp.digits(p_value) AS p FROM (SELECT rollup(s) AS s FROM unnest(ARRAY[uplift_summary('treated', 81, 0), uplift_summary('control', 19, 0)]) s) a, sample_ratio_test(s, 0.9);
-- an arm that nobody came into, and none at all
SELECT chi_square, pg_temp.digits(p_value) AS p, sample_ratio_test('()') FROM uplift_summary('treated', 10, 0) s, sample_ratio_test(s);
SELECT call, pg_temp.failure(format('SELECT loyalty.sample_ratio_test(loyalty.uplift_summary(''a'', 10, 0), %s)', call))
FROM unnest(ARRAY['0', '1', '''NaN''', '0.5', '''{b,c}'', ''{1,1}''', '''{a,b}'', ''{1}''', '''{a}'', ''{1}''', '''{a,a}'', ''{1,1}''', '''{a,b}'', ''{1,0}''', '''{a,b}'', ''{1,NULL}''', '''{a,NULL}'', ''{1,1}''']) AS call;

-- power: R's power.t.test(n = 20, delta = 1) .8689528 and power.prop.test(n = 50, p1 = .50, p2 = .75) .7401659, which leave out the other tail;
-- n for 90 %: 22.02110 and 76.65294
SELECT pg_temp.digits(means_power(1, 1, 20, 20)) AS t_test, pg_temp.digits(proportions_power(0.50, 0.75, 50, 50)) AS z_test;
SELECT m.control, m.treated, p.control, p.treated FROM means_needed_n(1, 1, 0.9) m, proportions_needed_n(0.50, 0.75, 0.9) p;
-- no difference: the power is the level of the test
SELECT pg_temp.digits(means_power(0, 1, 7, 30)) AS t_test, pg_temp.digits(proportions_power(0.3, 0.3, 70, 300, 0.99)) AS z_test;
-- what is needed is enough, and one less in each arm is not; a tenth held out
SELECT n.*, means_power(2, 15, n.control, n.treated) >= 0.8 AS enough, means_power(2, 15, n.control - 1, n.treated - 9) >= 0.8 AS fewer FROM means_needed_n(2, 15, share => 0.9) n;
SELECT n.*, proportions_power(0.04, 0.05, n.control, n.treated) >= 0.8 AS enough, proportions_power(0.04, 0.05, n.control - 1, n.treated - 1) >= 0.8 AS fewer FROM proportions_needed_n(0.04, 0.05) n;
SELECT * FROM means_needed_n(100, 1);
SELECT proportions_power(0, 1, 2, 2), proportions_power(0, 0, 2, 2);
SELECT call, pg_temp.failure('SELECT loyalty.' || call)
FROM unnest(ARRAY['means_power(1, 0, 5, 5)', 'means_power(''NaN'', 1, 5, 5)', 'means_power(1, 1, 1, 5)', 'means_power(1, 1, 5, 5, 1)', 'means_needed_n(0, 1)', 'means_needed_n(1, 1, 1)', 'means_needed_n(1, 1, 0.8, 95)', 'means_needed_n(1, 1, share => 1)', 'means_needed_n(1e-9, 1)',
	'proportions_power(-0.1, 0.5, 5, 5)', 'proportions_power(0.1, 50, 5, 5)', 'proportions_needed_n(0.5, 0.5)']) AS call;

-- ROI: (1000 x 0.25 - 100) / 100
SELECT program_roi(1000, 100, 0.25), program_roi(1000, 100), program_roi(1000, 0), program_roi(NULL, 1);
SELECT call, pg_temp.failure('SELECT ' || call)
FROM unnest(ARRAY['loyalty.program_roi(1, -1)', 'loyalty.program_roi(1, ''NaN'')', 'loyalty.program_roi(1, 1, 30)', 'loyalty.program_roi(''Infinity'', 1)', 'loyalty.program_roi(1e300, 1e-300)', 'loyalty.program_roi(s, -1) FROM uplift_known', 'loyalty.program_roi(s, 1, 1.1) FROM uplift_known',
	'loyalty.welch_test(s, 95) FROM uplift_known', 'loyalty.relative_lift(s, 0) FROM uplift_known', 'loyalty.sequential_test(s, 0) FROM uplift_known', 'loyalty.proportion_test(s, ''NaN'') FROM uplift_known']) AS call;

-- assignment: the first 8 bytes of SHA-256 of experiment, zero byte and key; by Python's hashlib m1 falls on 0.6401621159 in exp and 0.7643392731 in exp2,
-- m2 on 0.4297236472, Zoë on 0.3275285738 in été, and the empty on 0.4304816492
SELECT key, experiment, holdout(key, experiment, place - 1e-10) AS below, holdout(key, experiment, place + 1e-10) AS above
FROM (VALUES ('m1', 'exp', 0.6401621159192111), ('m2', 'exp', 0.42972364721119594), ('m1', 'exp2', 0.7643392730975241), ('Zoë', 'été', 0.32752857381937783), ('', '', 0.4304816492364817)) v(key, experiment, place);
SELECT ('x' || encode(substr(sha256('\x65787000' || 'm1'::bytea), 1, 7), 'hex'))::bit(56)::bigint / 2.0 ^ 56 AS first_bits;
SELECT holdout('m1', 'exp', 0), holdout('m1', 'exp', 1), holdout(NULL, 'exp', 1);
SELECT assign_arm('m1', 'exp', '{a,b,c}'), assign_arm('m2', 'exp', '{a,b,c}'), assign_arm('m1', 'exp2', '{a,b,c}'), assign_arm('m1', 'exp', '{a,b}', '{64,36}'), assign_arm('m1', 'exp', '{a,b}', '{65,35}'), assign_arm('m1', 'exp', '{a,b,c}', '{0,7,0}'), assign_arm(NULL, 'exp', '{a}');
SELECT call, pg_temp.failure('SELECT loyalty.' || call)
FROM unnest(ARRAY['holdout(''a'', ''b'', 10)', 'holdout(''a'', ''b'', ''NaN'')', 'assign_arm(''a'', ''b'', ''{}'')', 'assign_arm(''a'', ''b'', ''{x,y}'', ''{1}'')', 'assign_arm(''a'', ''b'', ''{x,y}'', ''{1,-1}'')', 'assign_arm(''a'', ''b'', ''{x,y}'', ''{0,0}'')', 'assign_arm(''a'', ''b'', ''{x,y}'', ''{1e308,1e308}'')',
	'assign_arm(''a'', ''b'', ''{x,NULL}'')', 'assign_arm(''a'', ''b'', ''{x,y}'', ''{1,NULL}'')']) AS call;

-- what is refused in a row
SELECT pg_temp.failure('SELECT loyalty.uplift_agg(true, ''NaN'')');
SELECT pg_temp.failure('SELECT loyalty.uplift_agg(''a''::text, ''Infinity'')');
SELECT pg_temp.failure('SELECT loyalty.uplift_agg(true, 1, ''-Infinity'')');
SELECT pg_temp.failure('SELECT loyalty.uplift_agg(true, v) FROM unnest(ARRAY[1e308, 1e308, -1e308]) v');
SELECT pg_temp.failure('SELECT loyalty.uplift_agg(v::text, v) FROM generate_series(1, 33) v');
SELECT pg_temp.failure('SELECT loyalty.rollup(s) FROM unnest(ARRAY[loyalty.uplift_summary(''a'', 9223372036854775807, 0), loyalty.uplift_summary(''a'', 1, 0)]) s');
SELECT count(*) FROM (SELECT uplift_agg(v::text, v) AS s FROM generate_series(1, 32) v) a, uplift_arms(s);

-- the support functions, called straight, leave their arguments alone
SELECT uplift_accum(s, true, 1) AS added, uplift_accum(s, 'new', 2, 3) AS added_arm, uplift_combine(s, s) AS doubled, s FROM uplift_summary('treated', 1, 1) s;

-- large numbers that lie close together: variance 30, not what rounding leaves of 1e18
SELECT variance FROM (SELECT uplift_agg(true, 1e9 + v) AS s FROM unnest(ARRAY[4, 7, 13, 16]) v) a, uplift_arms(s);
SELECT pg_temp.digits(variance) AS variance, pg_temp.digits(correlation) AS correlation FROM (SELECT uplift_agg(true, 1e9 + v, 1e9 - v) AS s FROM unnest(ARRAY[4, 7, 13, 16]) v) a, uplift_arms(s);

-- parallel equals serial to the last digits, also far from 0; parts roll up to the whole; stored and read back
CREATE TABLE uplift_many (i int, treated boolean, arm text, outcome float8, before float8) WITH (parallel_workers = 2);
INSERT INTO uplift_many
SELECT i, i % 3 = 0, 'arm ' || i % 4, exp((i::bigint * 7919 % 10007) / 2000.0) - 40, CASE WHEN i % 10 <> 0 THEN (i::bigint * 104729 % 10009) / 100.0 + exp((i::bigint * 7919 % 10007) / 2500.0) END
FROM generate_series(1, 20000) i;
ANALYZE uplift_many;
CREATE VIEW uplift_all AS
SELECT uplift_agg(treated, outcome) AS by_treated, uplift_agg(arm, outcome) AS by_arm, uplift_agg(treated, outcome, before) AS covariate, uplift_agg(arm, outcome, before) AS arm_covariate, uplift_agg(treated, 1e6 + outcome, 1e6 - before) AS far FROM uplift_many;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT * FROM uplift_all;
CREATE TABLE uplift_parallel AS SELECT * FROM uplift_all;
SET max_parallel_workers_per_gather = 0;
CREATE TABLE uplift_serial AS SELECT * FROM uplift_all;
CREATE FUNCTION pg_temp.numbers(uplift_summary) RETURNS SETOF float8 LANGUAGE sql AS $$
	SELECT split_part(field, ':', 2)::float8 FROM string_to_table(translate($1::text, '()', ',,'), ',') field WHERE field ~ ':[^a]' AND field !~ '^arm' $$;
SELECT name, count(*), max(abs(p.number - s.number) / abs(s.number)) < 1e-14 AS same
FROM (VALUES ('by_treated'), ('by_arm'), ('covariate'), ('arm_covariate'), ('far')) v(name),
	LATERAL (SELECT row_to_json(r) ->> name AS value FROM uplift_parallel r) pv, LATERAL (SELECT row_to_json(r) ->> name AS value FROM uplift_serial r) sv,
	LATERAL ROWS FROM (pg_temp.numbers(pv.value::uplift_summary)) WITH ORDINALITY p(number, i) JOIN LATERAL ROWS FROM (pg_temp.numbers(sv.value::uplift_summary)) WITH ORDINALITY s(number, i) USING (i)
GROUP BY name ORDER BY name;
CREATE TABLE uplift_parts AS SELECT i % 7 AS part, uplift_agg(treated, outcome, before) AS s FROM uplift_many GROUP BY 1;
SELECT count(*), max(abs(p.number - s.number) / abs(s.number)) < 1e-13 AS same
FROM (SELECT rollup(s) AS whole FROM uplift_parts) w, uplift_serial, LATERAL ROWS FROM (pg_temp.numbers(whole)) WITH ORDINALITY p(number, i) JOIN LATERAL ROWS FROM (pg_temp.numbers(covariate)) WITH ORDINALITY s(number, i) USING (i);
SELECT rollup(s) FROM uplift_parts WHERE false;

DROP VIEW uplift_all;
DROP TABLE uplift_members, uplift_known, uplift_many, uplift_parallel, uplift_serial, uplift_parts;
