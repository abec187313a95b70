-- survey: scores and intervals against published and independently computed values
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;

SELECT plan(31);

CREATE FUNCTION pg_temp.near(got float8, want float8, name text) RETURNS text LANGUAGE sql AS $$
	SELECT public.ok(coalesce(abs(got - want) <= 1e-9 * greatest(1, abs(want)), false), format('%s: %s = %s', name, got, want))
$$;

-- 20 detractors, 30 passives, 50 promoters: values computed with 40 digits (mpmath)
SELECT unnest(ARRAY[
	pg_temp.near(nps(s), 30, 'nps'),
	pg_temp.near(standard_error(s), 7.810249675906654, 'standard error'),
	pg_temp.near(margin(s, 0.95, 'wald'), 15.307808075042674, 'Wald margin'),
	pg_temp.near((nps_interval(s, 0.95, 'wald')).low, 14.692191924957326, 'Wald low'),
	pg_temp.near((nps_interval(s, 0.95, 'wald')).high, 45.30780807504267, 'Wald high'),
	pg_temp.near((nps_interval(s)).low, 14.051130178761609, 'adjusted Wald is the default: low'),
	pg_temp.near((nps_interval(s)).high, 44.20129700570441, 'adjusted Wald is the default: high'),
	pg_temp.near(margin(s), (44.20129700570441 - 14.051130178761609) / 2, 'margin is half the interval'),
	pg_temp.near((nps_interval(s, 0.95, 'score')).low, 13.955141614195686, 'score low'),
	pg_temp.near((nps_interval(s, 0.95, 'score')).high, 44.33930663358594, 'score high'),
	pg_temp.near(margin(s, 0.95, 'score'), (44.33930663358594 - 13.955141614195686) / 2, 'score margin')])
FROM nps_summary(50, 30, 20) s;

SELECT unnest(ARRAY[
	pg_temp.near(nps(s), 400.0 / 9, '22, 8, 6: nps'),
	pg_temp.near((nps_interval(s)).low, 16.957566204157732, '22, 8, 6: adjusted low'),
	pg_temp.near((nps_interval(s, 0.95, 'score')).high, 65.2889015048539, '22, 8, 6: score high')])
FROM nps_summary(22, 8, 6) s;

-- when all agree: Wald is a point; the score limit is (n - z^2)/(n + z^2)
SELECT unnest(ARRAY[
	is(nps_interval(s, 0.95, 'wald')::text, '(100,100)', 'unanimous: Wald has no width'),
	pg_temp.near((nps_interval(s)).low, 47.503551544790206, 'unanimous: adjusted low'),
	pg_temp.near((nps_interval(s)).high, 106.34260230136364, 'unanimous: adjusted passes 100'),
	pg_temp.near((nps_interval(s, 0.95, 'score')).low, 100 * (10 - 1.959963984540054 ^ 2) / (10 + 1.959963984540054 ^ 2), 'unanimous: score low'),
	is((nps_interval(s, 0.95, 'score')).high, 100::float8, 'unanimous: score high')])
FROM nps_summary(10, 0, 0) s;

-- only passives: theta^2 = z^2 theta (1 - theta) / n, so theta = z^2 / (n + z^2), on both sides
SELECT unnest(ARRAY[
	pg_temp.near((nps_interval(s, 0.99, 'score')).high, 100 * 2.5758293035489008 ^ 2 / (7 + 2.5758293035489008 ^ 2), 'all passive: score high'),
	pg_temp.near((nps_interval(s, 0.99, 'score')).low, -100 * 2.5758293035489008 ^ 2 / (7 + 2.5758293035489008 ^ 2), 'all passive: score low')])
FROM nps_summary(0, 7, 0) s;

-- score limits from an oracle that maximises the likelihood itself (mpmath, 50 digits)
SELECT unnest(ARRAY[
	pg_temp.near((nps_interval(nps_summary(3, 1, 0), 0.95, 'score')).low, -10.730896379554538, '3, 1, 0'),
	pg_temp.near((nps_interval(nps_summary(1, 0, 3), 0.8, 'score')).low, -84.383850462976438, '1, 0, 3 at 80 %'),
	pg_temp.near((nps_interval(nps_summary(120, 300, 80), 0.999, 'score')).high, 17.232422110500861, '120, 300, 80 at 99.9 %'),
	pg_temp.near((nps_interval(nps_summary(1000000000, 1, 0), 0.99, 'score')).low, 99.999998573020691, 'a billion who agree')]);

-- two groups
SELECT is(array[
	abs(t.difference - 20) < 1e-9, abs(t.standard_error - 11.40175425099138) < 1e-9, abs(t.z - 1.7541160386140584) < 1e-9,
	abs(t.p_value - 0.07941062599894223) < 1e-9, abs(t.low - -2.3470276925195663) < 1e-9, abs(t.high - 42.34702769251957) < 1e-9],
	'{t,t,t,t,t,t}', 'two groups, Wald')
FROM nps_test(nps_summary(50, 30, 20), nps_summary(40, 30, 30), method => 'wald') t;
SELECT is(array[
	abs(t.difference - 19.41747572815534) < 1e-9, abs(t.standard_error - 11.208916023086054) < 1e-9, abs(t.z - 1.7323241326960441) < 1e-9,
	abs(t.p_value - 0.08321586753157117) < 1e-9, abs(t.low - -2.5515959828272607) < 1e-9, abs(t.high - 41.38654743913793) < 1e-9],
	'{t,t,t,t,t,t}', 'two groups, adjusted Wald')
FROM nps_test(nps_summary(50, 30, 20), nps_summary(40, 30, 30)) t;
SELECT pg_temp.near((nps_test(b, a)).z, -(nps_test(a, b)).z, 'the difference has a sign')
FROM nps_summary(50, 30, 20) a, nps_summary(40, 30, 30) b;
SELECT is(nps_test(s, s, 0.95, 'wald')::text, '(0,0,,,0,0)', 'two groups without variance: no z') FROM nps_summary(3, 0, 0) s;

-- the example distribution of the R package NPS, as counts per 10,000
SELECT pg_temp.near(nps(score), 100 * (0.22 + 0.35 - 0.12), 'weighted example')
FROM unnest(ARRAY[200, 100, 100, 100, 100, 300, 300, 900, 2200, 2200, 3500]) WITH ORDINALITY w(n, i), generate_series(1, n), LATERAL (SELECT i::int - 1) s(score);

-- every 0-10 answer is counted once, whatever the mixture
SELECT is(responses(nps_agg(i % 11)), 1100::bigint, 'responses') FROM generate_series(1, 1100) i;

SELECT * FROM finish();
ROLLBACK;
