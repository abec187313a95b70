-- clv: the models against an oracle, published numbers, and each other
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;

SELECT no_plan();

-- Is it near enough? Relative to the wanted number, or within slack.
CREATE FUNCTION pg_temp.near(got float8, want float8, tolerance float8, name text, slack float8 DEFAULT 0) RETURNS text LANGUAGE sql AS $$
	SELECT ok(coalesce(abs(got - want) <= greatest(slack, tolerance * abs(want)), false), name)
		|| CASE WHEN abs(got - want) <= greatest(slack, tolerance * abs(want)) THEN '' ELSE E'\n' || diag(format('got %s, want %s', got, want)) END
$$;
CREATE FUNCTION pg_temp.model(family text, p float8[]) RETURNS clv_model LANGUAGE sql AS $$
	SELECT CASE family
		WHEN 'bgnbd' THEN bgnbd(p[1], p[2], p[3], p[4])
		WHEN 'mbgnbd' THEN mbgnbd(p[1], p[2], p[3], p[4])
		WHEN 'pareto_nbd' THEN pareto_nbd(p[1], p[2], p[3], p[4])
		WHEN 'bgbb' THEN bgbb(p[1], p[2], p[3], p[4])
		WHEN 'sbg' THEN sbg(p[1], p[2])
		WHEN 'gamma_gamma' THEN gamma_gamma(p[1], p[2], p[3])
	END
$$;

-- Six thousand values of a thousand random parameters, computed to 60 digits by models/oracle.py from the formulas as printed.
CREATE TEMP TABLE oracle (family text, parameters float8[], fn text, args float8[], value float8);
\ir ../models/oracle.sql
SELECT cmp_ok(count(DISTINCT (family, parameters)), '>=', 1000::bigint, 'the oracle speaks of a thousand models') FROM oracle;
CREATE TEMP TABLE answered AS
SELECT o.*, CASE fn
		WHEN 'log_likelihood' THEN CASE WHEN family = 'gamma_gamma' THEN log_likelihood(m, rfm(a[1]::bigint, 1, 2, a[2])) ELSE log_likelihood(m, rfm(a[1]::bigint, a[2], a[3])) END
		WHEN 'p_alive' THEN p_alive(m, rfm(a[1]::bigint, a[2], a[3]))
		WHEN 'expected_purchases' THEN expected_purchases(m, rfm(a[1]::bigint, a[2], a[3]), a[4])
		WHEN 'expected_new' THEN expected_purchases(m, a[1])
		WHEN 'probability' THEN purchase_probability(m, a[1]::bigint, a[2])
		WHEN 'dert' THEN dert(m, rfm(a[1]::bigint, a[2], a[3]), a[4])
		WHEN 'survival' THEN survival(m, a[1])
		WHEN 'retention' THEN retention(m, a[1])
		WHEN 'expected_spend' THEN expected_spend(m, CASE WHEN a[1] = 0 THEN rfm(0, 0, 2) ELSE rfm(a[1]::bigint, 1, 2, a[2]) END)
	END AS got
FROM oracle o, LATERAL (SELECT pg_temp.model(family, parameters) AS m, args AS a) x;
SELECT is(count(*) FILTER (WHERE NOT coalesce(abs(got - value) <= 1e-10 * greatest(abs(value), CASE fn WHEN 'log_likelihood' THEN 1 ELSE 0 END), false)),
	0::bigint, format('%s of %s agrees with the oracle', fn, family))
FROM answered GROUP BY family, fn ORDER BY family, fn;

-- Published numbers. The parameters are rounded where the papers round them, and the numbers are as exact as those parameters allow.

-- FHL 2005, table 2 and the authors' spreadsheet; BTYD's manual
SELECT unnest(ARRAY[pg_temp.near(expected_purchases(m, rfm(2, 30.43, 38.86), 39), 1.226028174767, 1e-9, 'BG/NBD: spreadsheet''s customer 1, 39 weeks'),
	pg_temp.near(expected_purchases(m, 1), 0.053267891, 1e-7, 'BG/NBD: a new customer, 1 week'),
	pg_temp.near(expected_purchases(m, 78), 1.860519058, 1e-9, 'BG/NBD: a new customer, 78 weeks'),
	pg_temp.near(purchase_probability(m, 0, 39), 0.5737863520960, 1e-9, 'BG/NBD: P(X(39) = 0)'),
	pg_temp.near(purchase_probability(m, 10, 2), 1.0786896e-07, 1e-6, 'BG/NBD: P(X(2) = 10)'),
	pg_temp.near(purchase_probability(m, 11, 30), 0.00199952145, 1e-7, 'BG/NBD: P(X(30) = 11)'),
	pg_temp.near(p_alive(m, rfm(2, 30.43, 38.86)), 0.726578570080673, 1e-9, 'BG/NBD: P(alive)'),
	is(p_alive(m, rfm(0, 0, 38.86)), 1::float8, 'BG/NBD: one purchase, and alive by construction')])
FROM bgnbd(0.243, 4.414, 0.793, 2.426) m;
SELECT pg_temp.near(expected_purchases(bgnbd(0.2425945, 4.4136019, 0.7929199, 2.4258881), rfm(x, 20, 39), 52), want, 1e-3, 'BG/NBD: the "increasing frequency" of BTYD, x = ' || x)
FROM (VALUES (10, 0.3474606), (15, 0.04283391), (20, 0.004158973), (25, 0.0003583685)) v(x, want);
SELECT unnest(ARRAY[pg_temp.near(expected_purchases(bgnbd(0.4, 6, 1, 2), rfm(3, 10, 20), 20), 0.903036539514427, 1e-9, 'BG/NBD: a = 1, where the closed form is 0/0'),
	pg_temp.near(expected_purchases(pareto_nbd(0.553, 10.578, 1, 11.669), 52), 0.553 / 10.578 * 11.669 * ln(1 + 52 / 11.669), 1e-12, 'Pareto/NBD: s = 1, where the closed form is 0/0')]);
SELECT unnest(ARRAY[pg_temp.near(p_alive(m, rfm(2, 30.43, 38.86)), 0.7062022651184873, 1e-9, 'MBG/NBD: P(alive)'),
	pg_temp.near(expected_purchases(m, rfm(2, 30.43, 38.86), 39), 1.2629606232673658, 1e-9, 'MBG/NBD: expected purchases'),
	cmp_ok(p_alive(m, rfm(0, 0, 38.86)), '<', 1::float8, 'MBG/NBD: one purchase, and perhaps gone')])
FROM mbgnbd(0.525, 6.183, 0.891, 1.614) m;

-- FHL 2005b: customer B; Fader & Hardie 2015: a customer just acquired, 10 % a year
SELECT unnest(ARRAY[pg_temp.near(dert(pareto_nbd(0.5629966, 12.559037, 0.4081095, 10.5148048), rfm(7, 35, 77.86), 0.0027), 1.8641833, 1e-7, 'Pareto/NBD: DERT of customer B'),
	pg_temp.near(dert(pareto_nbd(0.553, 10.578, 0.606, 11.669), rfm(0, 0, 0), ln(1.1) / 52), 4.814491843933129, 1e-9, 'Pareto/NBD: just acquired'),
	pg_temp.near(p_alive(pareto_nbd(0.5143, 2.8845, 0.2856, 14.1087), rfm(254, 97.14286, 97.28571)), 0.9995582261230107, 1e-9, 'Pareto/NBD: 254 purchases')]);

-- FHS 2010 and the workshop's cruise line
SELECT unnest(ARRAY[pg_temp.near(p_alive(m, rfm(x, tx, 6)), alive, 1e-9, format('BG/BB: alive in 2002 after %s, %s', x, tx)),
	pg_temp.near(expected_purchases(m, rfm(x, tx, 6), 5), purchases, 1e-9, format('BG/BB: gifts in five years after %s, %s', x, tx))])
FROM bgbb(1.2035223516, 0.7497163582, 0.6567182084, 2.7834422326) m,
	(VALUES (0, 0, 0.10813328187781827, 0.07286334105951524), (2, 4, 0.5896571848022152, 1.0576035260406376), (6, 6, 0.9304335755197786, 3.7525442219184737)) v(x, tx, alive, purchases);
SELECT pg_temp.near(expected_purchases(bgbb(1.203528, 0.749726, 0.6567808, 2.783796), 10), 3.179805910725448, 1e-9, 'BG/BB: ten years of a new donor');
SELECT unnest(ARRAY[pg_temp.near(expected_purchases(m, rfm(x, x, 4), 4), purchases, 5e-4, format('BG/BB: cruises of one with %s of 4', x)),
	pg_temp.near(dert(m, rfm(x, x, 4), 0.1), residual, 5e-4, format('BG/BB: discounted cruises of one with %s of 4', x))])
FROM bgbb(0.66, 5.19, 173.76, 1882.93) m, (VALUES (4, 1.5259, 2.3534), (0, 0.1404, 0.2166)) v(x, purchases, residual);

-- FH07's "High End" (the body of the paper prints .688; its appendix has .668) and FH10's value of the next renewals
SELECT unnest(ARRAY[pg_temp.near(survival(m, 7), 0.48894462089372576, 1e-9, 'sBG: survival'), pg_temp.near(retention(m, 7), 0.9362230284514035, 1e-9, 'sBG: retention'),
	pg_temp.near(purchase_probability(m, 6, 12), 0.033307669463288676, 1e-9, 'sBG: leaves at the seventh renewal'),
	pg_temp.near(survival(m, 12), 0.37804042018209044, 1e-9, 'sBG: survival of twelve')])
FROM sbg(0.668, 3.806) m;
SELECT pg_temp.near(100 * dert(sbg(0.764, 1.296), rfm(n - 1, n - 1, n - 1), 0.1), want, 2e-5, format('sBG: value before renewal %s', n))
FROM (VALUES (1, 288.22), (2, 393.94), (5, 568.25)) v(n, want);
SELECT unnest(ARRAY[is(dert(sbg(0.764, 1.296), rfm(1, 1, 3), 0.1), 0::float8, 'sBG: who left has no value'),
	pg_temp.near(clv(sbg(0.764, 1.296), rfm(2, 2, 2), 3, 1, 0.1, 100),
		100 * (3.296 / 4.06 / 1.1 + 3.296 / 4.06 * 4.296 / 5.06 / 1.21 + 3.296 / 4.06 * 4.296 / 5.06 * 5.296 / 6.06 / 1.331), 1e-12, 'sBG: three renewals at 100 each, by hand')]);

-- FHL 2005b's spreadsheet
SELECT pg_temp.near(expected_spend(gamma_gamma(6.25, 3.74, 15.44), r), want, 1e-9, 'Gamma-Gamma: ' || frequency(r) || ' repeat purchases')
FROM (VALUES (rfm(0, 0, 1), 35.21897810218978), (rfm(1, 1, 1, 11.77), 18.916852057842046), (rfm(2, 1, 1, 22.35), 24.663713910761157), (rfm(7, 1, 1, 73.74), 71.46967089696709)) v(r, want);

-- Twelve months of 4.345 weeks at 1 % a month, as the lifetimes package has it
SELECT unnest(ARRAY[pg_temp.near(clv(m, rfm(2, 30.43, 38.86, 22.35), 12 * 4.345, 4.345, 0.01), 36.289211125599216, 1e-9, 'CLV of twelve months'),
	pg_temp.near(clv(m, rfm(0, 0, 38.86), 12 * 4.345, 4.345, 0.01, 0.3), 0.3 * 8.369004358920462, 1e-9, 'CLV of a one-time buyer, margin 30 %'),
	pg_temp.near(clv(m, rfm(2, 30.43, 38.86, 22.35), 52, 4.345, 0),
		expected_value(m, rfm(2, 30.43, 38.86, 22.35), 52), 1e-12, 'without discount CLV is the expected value, the last step cut short'),
	pg_temp.near(expected_value(m, rfm(2, 30.43, 38.86, 22.35), 39), expected_purchases(m, rfm(2, 30.43, 38.86), 39) * expected_spend(m, rfm(2, 1, 1, 22.35)), 1e-15,
		'expected value is purchases times spend')])
FROM with_spend(bgnbd(0.243, 4.414, 0.793, 2.426), gamma_gamma(6.25, 3.74, 15.44)) m;
SELECT pg_temp.near(clv(m, r, 3000, 1, exp(delta) - 1), dert(m, r, delta) * expected_spend(m, r), 2e-3, 'a long horizon comes to what DERT says')
FROM with_spend(pareto_nbd(0.553, 10.578, 0.606, 11.669), gamma_gamma(6.25, 3.74, 15.44)) m, rfm(2, 30.43, 38.86, 22.35) r, (VALUES (0.003)) v(delta);

-- What is remembered between rows does not show: many customers of two models at once, each asked again in another order, each model and time in turn as well.
CREATE TEMP TABLE asked AS
SELECT n, family, m, rfm(x, CASE x WHEN 0 THEN 0 ELSE age * (n % 13 + 1) / 14 END, age, CASE x WHEN 0 THEN NULL ELSE 5 + n % 9 END) AS r, 10 + n % 3 AS t
FROM (SELECT n, n % 17 AS x, (30 + n % 523)::float8 AS age FROM generate_series(1, 4000) n) c,
	(VALUES ('mbgnbd', with_spend(mbgnbd(0.525, 6.183, 0.891, 1.614), gamma_gamma(6.25, 3.74, 15.44))), ('pareto_nbd', with_spend(pareto_nbd(0.553, 10.578, 0.606, 11.669), gamma_gamma(6.25, 3.74, 15.44)))) v(family, m);
SELECT is(count(*) FILTER (WHERE a.got IS DISTINCT FROM b.got), 0::bigint, 'the same by model and at random')
FROM (SELECT n, family, ARRAY[p_alive(m, r), expected_purchases(m, r, t), expected_purchases(m, r, 10), clv(m, r, 12, 1, 0.01)] AS got FROM (SELECT * FROM asked ORDER BY family, t, n) s) a
JOIN (SELECT n, family, ARRAY[p_alive(m, r), expected_purchases(m, r, t), expected_purchases(m, r, 10), clv(m, r, 12, 1, 0.01)] AS got FROM (SELECT * FROM asked ORDER BY md5(n::text)) s) b USING (n, family);
-- FHLb (A4) as it is printed
SELECT is(count(*) FILTER (WHERE abs(e / (p * (0.553 + x) / (10.578 + age) * (11.669 + age) / (0.606 - 1) * (1 - ((11.669 + age) / (11.669 + age + 20)) ^ (0.606 - 1))) - 1) > 1e-12), 0::bigint, 'Pareto/NBD: expected purchases of the living, times P(alive)')
FROM (SELECT expected_purchases(m, r, 20) AS e, p_alive(m, r) AS p, frequency(r) AS x, age(r) AS age FROM asked WHERE family = 'pareto_nbd') a;
-- The sum of docs/clv.md, from purchases until each step, over a year of 52 weeks and over a century of months, which is more than is summed at once
SELECT is(count(*) FILTER (WHERE abs(direct / summed - 1) > 1e-11), 0::bigint, format('CLV of %s steps is the sum of its steps', steps))
FROM (SELECT steps, n, family, min(direct) AS direct, sum((e - before) / 1.01 ^ i) * min(each) AS summed
	FROM (SELECT steps, n, family, i, clv(m, r, 4.345 * (steps - 0.5), 4.345, 0.01) AS direct, expected_spend(m, r) AS each, e, coalesce(lag(e) OVER (PARTITION BY steps, n, family ORDER BY i), 0) AS before
		FROM unnest('{12, 120}'::int[]) steps, asked, generate_series(1, steps) i, LATERAL (SELECT expected_purchases(m, r, 4.345 * least(i, steps - 0.5)) AS e) p
		WHERE n % 40 = 0) s
	GROUP BY steps, n, family) t
GROUP BY steps ORDER BY steps;

-- The probabilities of 0, 1, 2, … are 1 together, and their mean is the expectation.
SELECT unnest(ARRAY[pg_temp.near(total, 1, 1e-9, family || ': probabilities sum to 1'), pg_temp.near(mean, expected_purchases(pg_temp.model(family, p), t), 1e-8, family || ': their mean is the expectation')])
FROM (VALUES ('bgnbd', '{0.243, 4.414, 0.793, 2.426}'::float8[], 20), ('mbgnbd', '{0.525, 6.183, 0.891, 1.614}', 20), ('pareto_nbd', '{0.553, 10.578, 0.606, 11.669}', 20),
	('bgbb', '{1.204, 0.750, 0.657, 2.783}', 12), ('sbg', '{0.668, 3.806}', 12)) v(family, p, t),
	LATERAL (SELECT sum(q) AS total, sum(n * q) AS mean FROM (SELECT n, purchase_probability(pg_temp.model(family, p), n, t) AS q FROM generate_series(0, 250) n) s) sums;

-- Fits. 1,500 made-up customers (models/cohort.py says how), and what scipy fits to them.
CREATE TEMP TABLE cohort (x bigint, t_x float8, age float8, m float8);
CREATE TEMP TABLE cohort_fit (family text, log_likelihood float8, parameters jsonb, standard_errors jsonb);
\ir ../models/cohort.sql
CREATE TEMP TABLE customer AS SELECT row_number() OVER () AS id, rfm(x, t_x, age, m) AS r FROM cohort;
CREATE TEMP TABLE fit AS SELECT family, f.log_likelihood AS want, f.parameters AS p, f.standard_errors AS s, (SELECT clv_fit(r, family) FROM customer) AS m FROM cohort_fit f;
SELECT pg_temp.near(log_likelihood(m), want, 0, family || ': log-likelihood', 1e-5) FROM fit;
SELECT ok(bool_and(abs((parameters(m)->>key)::float8 / value::float8 - 1) < 1e-5), family || ': parameters') FROM fit, jsonb_each_text(p) GROUP BY family;
SELECT ok(bool_and(abs((standard_errors(m)->>key)::float8 / value::float8 - 1) < 1e-4), family || ': standard errors') FROM fit, jsonb_each_text(s) GROUP BY family;
SELECT pg_temp.near(sum(log_likelihood(m, r)), log_likelihood(m), 1e-12, family || ': the customers'' log-likelihoods sum to the fit''s') FROM fit, customer GROUP BY family, m;
SELECT is((SELECT customers(m) FROM fit WHERE family = 'gamma_gamma'), (SELECT count(*) FROM cohort WHERE x > 0), 'the spend is that of repeat buyers');
SELECT is(clv_fit(r), (SELECT m FROM fit WHERE family = 'mbgnbd'), 'MBG/NBD is the default') FROM customer;
SELECT is(clv_fit(r, 'pareto_nbd', true), (SELECT with_spend(p.m, g.m) FROM fit p, fit g WHERE p.family = 'pareto_nbd' AND g.family = 'gamma_gamma'),
	'both processes in one go') FROM customer;
SELECT is(clv_fit(r, 'mbgnbd', true ORDER BY md5(id::text)), clv_fit(r, 'mbgnbd', true ORDER BY id DESC), 'the order of rows does not show in the last bit') FROM customer;
SELECT ok(abs(log_likelihood(week) - (log_likelihood(day) + purchases * ln(7))) < 1e-8 AND (SELECT bool_and(abs((parameters(week)->>key)::float8 * factor / (parameters(day)->>key)::float8 - 1) < 1e-9)
		FROM (VALUES ('r', 1), ('alpha', 7), ('s', 1), ('beta', 7)) v(key, factor)),
	'the unit of time scales alpha and beta, and the likelihood once a purchase')
FROM (SELECT clv_fit(r, 'pareto_nbd') AS day, clv_fit(rfm(frequency(r), recency(r) / 7, age(r) / 7), 'pareto_nbd') AS week, sum(frequency(r)) AS purchases FROM customer) f;
SELECT is((SELECT clv_fit(r) FROM customer), (SELECT clv_fit(r) FROM (SELECT r FROM customer UNION ALL SELECT NULL FROM customer) t), 'NULL is skipped');
SELECT is((SELECT count(*) FROM (SELECT clv_fit(r, 'bgnbd') AS m FROM customer GROUP BY id % 5) g WHERE customers(m) = 300), 5::bigint, 'a fit for each segment');

-- Twice the customers: the same parameters, twice the log-likelihood, standard errors smaller by the root of 2.
SELECT ok(abs(log_likelihood(two) / log_likelihood(one) - 2) < 1e-12
		AND (SELECT bool_and(abs((parameters(two)->>k)::float8 / (parameters(one)->>k)::float8 - 1) < 1e-9 AND abs((standard_errors(one)->>k)::float8 / (standard_errors(two)->>k)::float8 / sqrt(2) - 1) < 1e-9)
			FROM jsonb_object_keys(parameters(one)) k),
	'counts weigh as rows do')
FROM (SELECT (SELECT clv_fit(r) FROM customer) AS one, (SELECT clv_fit(r) FROM customer, generate_series(1, 2)) AS two) f;

-- More than a million, which are collapsed on the way, and again and again from then on.
SELECT ok(customers(many) = 800 * 1500 AND abs(log_likelihood(many) / log_likelihood(one) - 800) < 1e-9
		AND (SELECT bool_and(abs((parameters(many)->>k)::float8 / (parameters(one)->>k)::float8 - 1) < 1e-9) FROM jsonb_object_keys(parameters(one)) k),
	'a million customers')
FROM (SELECT (SELECT clv_fit(r) FROM customer) AS one, (SELECT clv_fit(r) FROM customer, generate_series(1, 800)) AS many) f;

-- Through workers: to the last bit the same.
CREATE TABLE clv_parallel AS SELECT r FROM customer, generate_series(1, 20);
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 2;
CREATE FUNCTION pg_temp.plan(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || statement; END $$;
SELECT cmp_ok(count(*), '=', 1::bigint, 'it is planned in parts') FROM pg_temp.plan($$SELECT clv_fit(r, 'mbgnbd', true) FROM clv_parallel$$) p(line) WHERE line ~ 'Partial Aggregate';
CREATE TEMP TABLE in_parts AS SELECT clv_fit(r, 'mbgnbd', true) AS m FROM clv_parallel;
SET LOCAL max_parallel_workers_per_gather = 0;
SELECT is(m, (SELECT clv_fit(r, 'mbgnbd', true) FROM clv_parallel), 'in parallel as serially') FROM in_parts;
DROP TABLE clv_parallel;

-- FHS 2010: 11,104 donors of 1995, six years of gifts (x, t_x, donors); published -33225.6 and 1.204, .750, .657, 2.783
CREATE TEMP TABLE donors (x int, t_x int, n int);
INSERT INTO donors VALUES (0, 0, 3464), (1, 1, 1091), (1, 2, 277), (1, 3, 129), (1, 4, 78), (1, 5, 119), (1, 6, 129), (2, 2, 613), (2, 3, 255), (2, 4, 155), (2, 5, 173), (2, 6, 234), (3, 3, 322), (3, 4, 181), (3, 5, 225), (3, 6, 357), (4, 4, 240), (4, 5, 284), (4, 6, 512), (5, 5, 335), (5, 6, 728), (6, 6, 1203);
CREATE TEMP TABLE donor_fit AS SELECT clv_fit(rfm(x, t_x, 6), 'bgbb') AS m FROM donors, generate_series(1, n);
SELECT unnest(ARRAY[pg_temp.near(log_likelihood(m), -33225.5813, 0, 'BG/BB: donors, log-likelihood', 1e-3), is(customers(m), 11104::bigint, 'BG/BB: donors, all of them')]) FROM donor_fit;
SELECT ok(bool_and(abs((parameters(m)->>k)::float8 - want) < 1e-6 AND abs((standard_errors(m)->>k)::float8 - error) < 1e-6), 'BG/BB: donors, parameters and standard errors')
FROM donor_fit, (VALUES ('alpha', 1.2035223516, 0.0693913624), ('beta', 0.7497163582, 0.0294477167), ('gamma', 0.6567182084, 0.0510099), ('delta', 2.7834422326, 0.3208190030)) v(k, want, error);
SELECT pg_temp.near(sum(n * expected_purchases(m, rfm(x, t_x, 6), 5)), 12884.2, 1e-4, 'BG/BB: gifts in the five years after, as the authors'' spreadsheet') FROM donor_fit, donors;

-- FH07: survivors of 1,000 "High End" and, up to the fourth renewal, "Regular" contracts; published .668, 3.806 and .764, 1.296
CREATE FUNCTION pg_temp.contracts(survivors int[]) RETURNS SETOF rfm LANGUAGE sql AS $$
	SELECT rfm(x, x, last)
	FROM (SELECT i - 1 AS x, n - coalesce(lead(n) OVER (ORDER BY i), 0) AS gone, array_length(survivors, 1) - 1 AS last FROM unnest(survivors) WITH ORDINALITY u(n, i)) t, generate_series(1, gone)
$$;
SELECT unnest(ARRAY[pg_temp.near(log_likelihood(m), ll, 0, 'sBG: ' || segment || ', log-likelihood', 1e-3),
	ok(abs((parameters(m)->>'alpha')::float8 - alpha) < 1e-5 AND abs((parameters(m)->>'beta')::float8 - beta) < 1e-5 AND warnings(m) = '{}', 'sBG: ' || segment || ', parameters')])
FROM (VALUES ('High End', '{1000,869,743,653,593,551,517,491}'::int[], -1611.1581, 0.668088, 3.806095), ('Regular', '{1000,631,468,382,326}', -1401.5594, 0.763665, 1.295830)) v(segment, survivors, ll, alpha, beta),
	LATERAL (SELECT clv_fit(r, 'sbg') AS m FROM pg_temp.contracts(survivors) r) f;

-- Customers who never leave, bought by lot: BG/NBD, MBG/NBD and Pareto/NBD all end as the plain NBD and say so.
CREATE TEMP TABLE stayer AS SELECT rfm(x, CASE WHEN x > 0 THEN 100 - 100 / (x + 1) + i % 7 ELSE 0 END, 110) AS r FROM generate_series(0, 8) x, generate_series(1, 12) i;
SET LOCAL client_min_messages = error;
CREATE TEMP TABLE stayer_fit AS SELECT f AS family, (SELECT clv_fit(r, f) FROM stayer) AS m FROM unnest('{bgnbd,mbgnbd,pareto_nbd}'::text[]) f;
SET LOCAL client_min_messages = warning;
SELECT ok(cardinality(warnings(m)) > 0 AND standard_errors(m) IS NULL, family || ': a warning, and no standard errors') FROM stayer_fit;
SELECT ok(bool_and(p_alive(m, r) BETWEEN 0.9 AND 1 AND abs(expected_purchases(m, r, 110) - (p->>'r')::float8 * 110 / (p->>'alpha')::float8) < 20), family || ': usable numbers')
FROM stayer_fit, stayer, LATERAL (SELECT parameters(m) AS p) x GROUP BY family;

-- CDNOW, 39 weeks: FHL 2005 table 2 (-9582.4, -9595.0), CLVTools, and fits by scipy and mpmath, to a gradient below 1e-11. Times in weeks,
-- as days / 7 and as the authors' sheets round them to two decimals; and in days, where the likelihood is lower by 2457 ln 7.
CREATE TEMP TABLE cdnow (x int, t_x int, age int, m float8, held_out int, n int);
\ir ../models/cdnow.sql
SELECT results_eq('SELECT sum(n), sum(n * x), sum(n) FILTER (WHERE x = 0), max(x), sum(n * t_x), sum(n * age) FROM cdnow', 'VALUES (2357::bigint, 2457::bigint, 1411::bigint, 29, 112949::bigint, 539779::bigint)', 'CDNOW: the totals');
CREATE TEMP TABLE cdnow_fit AS
SELECT f.*, (SELECT clv_fit(CASE unit WHEN 'days' THEN rfm(x, t_x, age, m) WHEN 'weeks' THEN rfm(x, t_x / 7.0::float8, age / 7.0::float8, m)
		ELSE rfm(x, round(t_x / 7.0, 2)::float8, round(age / 7.0, 2)::float8, round(m::numeric, 2)::float8) END, family)
	FROM cdnow, generate_series(1, n)) AS model
FROM (VALUES
	('bgnbd', 'sheet', -9582.425560567362, '{"r": 0.24259290720446455, "alpha": 4.41353156120539, "a": 0.7928861480987519, "b": 2.425753436493558}'::jsonb, '{"r": 0.0125573195838, "alpha": 0.378221415527, "a": 0.185719143096, "b": 0.705345755103}'::jsonb),
	('bgnbd', 'weeks', -9582.42920667393, '{"r": 0.2425945224301557, "alpha": 4.413602019013465, "a": 0.792922017225563, "b": 2.4259067768261997}', '{"r": 0.0125573780679, "alpha": 0.378224059854, "a": 0.185733821372, "b": 0.705414259795}'),
	('bgnbd', 'days', -14363.530442902835, '{"r": 0.24259452243015564, "alpha": 30.89521413309425, "a": 0.792922017225563, "b": 2.425906776826196}', '{"r": 0.0125573780679, "alpha": 2.64756841898, "a": 0.185733821372, "b": 0.705414259795}'),
	('mbgnbd', 'sheet', -9582.132684899903, '{"r": 0.5248379836655903, "alpha": 6.182992019672056, "a": 0.8913561553315349, "b": 1.613999334730513}', '{"r": 0.0832640646136, "alpha": 0.695597932855, "a": 0.154785311403, "b": 0.537472360548}'),
	('mbgnbd', 'weeks', -9582.13571555375, '{"r": 0.524843159106277, "alpha": 6.183085279575861, "a": 0.891359390732227, "b": 1.6140022401704317}', '{"r": 0.0832682065798, "alpha": 0.695620642509, "a": 0.154789927778, "b": 0.53749479824}'),
	('pareto_nbd', 'sheet', -9594.973929826863, '{"r": 0.5532755086895259, "alpha": 10.577612238681724, "s": 0.6062135686739551, "beta": 11.667911237916451}', '{"r": 0.0476287536456, "alpha": 0.842723912327, "s": 0.187279485052, "beta": 6.21102730705}'),
	('pareto_nbd', 'weeks', -9594.976178939543, '{"r": 0.5532770468531835, "alpha": 10.5776834633023, "s": 0.6062399891277233, "beta": 11.66873528885197}', '{"r": 0.0476279268471, "alpha": 0.84272253608, "s": 0.187281413694, "beta": 6.21111534751}'),
	('gamma_gamma', 'sheet', -4055.9232435028644, '{"p": 6.248802489708787, "q": 3.7445884532873865, "v": 15.447748009464156}', '{"p": 1.18968703766, "q": 0.290165615135, "v": 4.15999387833}'),
	('gamma_gamma', 'weeks', -4055.917694801874, '{"p": 6.249572271323489, "q": 3.7442246671319315, "v": 15.44352096258952}', '{"p": 1.19005533596, "q": 0.290133065276, "v": 4.15942275197}')) f (family, unit, ll, p, se);
SELECT pg_temp.near(log_likelihood(model), ll, 0, format('CDNOW: log-likelihood of %s, %s', family, unit), CASE unit WHEN 'sheet' THEN 1e-3 ELSE 1e-6 END) FROM cdnow_fit;
SELECT ok(bool_and(abs((parameters(model)->>key)::float8 / value::float8 - 1) < 1e-4), format('CDNOW: parameters of %s, %s', family, unit)) FROM cdnow_fit, jsonb_each_text(p) GROUP BY family, unit;
SELECT ok(bool_and(abs((standard_errors(model)->>key)::float8 / value::float8 - 1) < 1e-3), format('CDNOW: standard errors of %s, %s', family, unit)) FROM cdnow_fit, jsonb_each_text(se) GROUP BY family, unit;

-- Segments that differ by chance only, and ones that differ: the likelihoods' gain, and its chi-square, whose tail for 8 degrees is e^-h (1 + h + h^2/2 + h^3/6), h half of it
SET LOCAL client_min_messages = error;
CREATE TEMP TABLE segmented AS
SELECT how, (SELECT clv_fit(r, 'mbgnbd') FROM customer) AS pooled, array_agg(m ORDER BY s) AS segments
FROM (SELECT 'by chance' AS how, id % 3 AS s, clv_fit(r, 'mbgnbd') AS m FROM customer GROUP BY 2
	UNION ALL SELECT 'partly by frequency', (id % 5 + 2 * least(frequency(r), 1)) % 3, clv_fit(r, 'mbgnbd') FROM customer GROUP BY 2) f
GROUP BY how;
SELECT unnest(ARRAY[pg_temp.near(l.statistic, 2 * (own - log_likelihood(pooled)), 1e-9, how || ': twice the gain'), is(l.degrees, 8, how || ': degrees'),
	pg_temp.near(l.p_value, exp(-h) * (1 + h + h * h / 2 + h * h * h / 6), 1e-9, how || ': p value'), ok(CASE how WHEN 'by chance' THEN l.p_value > 0.01 ELSE l.p_value < 1e-6 END, how)])
FROM segmented, likelihood_ratio(pooled, segments) l, LATERAL (SELECT sum(log_likelihood(m)) AS own FROM unnest(segments) m) o, LATERAL (SELECT l.statistic / 2 AS h) half;
SELECT is((likelihood_ratio(pooled, segments || NULL::clv_model)).degrees, 8, 'a segment without customers is none') FROM segmented WHERE how = 'by chance';
-- Many: 30 segments, 116 degrees, whose sum of 58 terms is written out
SELECT ok(l.degrees = 116 AND abs(l.p_value / p - 1) < 1e-9, 'many segments')
FROM (SELECT likelihood_ratio((SELECT clv_fit(r, 'mbgnbd') FROM customer), array_agg(m)) AS l FROM (SELECT clv_fit(r, 'mbgnbd') AS m FROM customer GROUP BY id % 30) s) t,
	LATERAL (SELECT (t.l).*) l, LATERAL (
	SELECT sum(exp(k * ln(l.statistic / 2) - l.statistic / 2 - (SELECT coalesce(sum(ln(i::float8)), 0) FROM generate_series(1, k) i))) AS p FROM generate_series(0, 57) k) tail;
SET LOCAL client_min_messages = warning;
SELECT throws_ok('SELECT likelihood_ratio(' || arguments || ') FROM segmented WHERE how = ''by chance''', 'LY502', NULL, arguments)
FROM unnest(ARRAY['pooled, segments[1:1]', 'pooled, segments[1:2]', 'pooled, ''{}''', 'mbgnbd(1, 2, 3, 4), segments', 'pooled, segments || mbgnbd(1, 2, 3, 4)', 'pooled, segments || bgnbd(1, 2, 3, 4)']) arguments;

-- A fit that is told to stop does, in the midst of its mathematics, and the next one is none the worse.
CREATE TEMP TABLE many AS SELECT rfm(1 + i % 40, 1 + sqrt(i % 9973) + i / 1e6, 101 + i % 9967 / 1e3) AS r FROM generate_series(1, 200000) i;
CREATE FUNCTION pg_temp.is_stopped() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM clv_fit(r, 'pareto_nbd') FROM many;
	RETURN false;
EXCEPTION WHEN query_canceled THEN
	RETURN true;
END $$;
SET LOCAL statement_timeout = '500ms';
SELECT ok(pg_temp.is_stopped(), 'a fit can be cancelled');
SET LOCAL statement_timeout = 0;
-- Whatever it is at: of seven moments the usual one. The clock starts with the statement.
CREATE FUNCTION pg_temp.late(family text, timeout float8) RETURNS float8 LANGUAGE plpgsql AS $$
BEGIN
	PERFORM clv_fit(r, family, true) FROM many;
	RETURN 0;
EXCEPTION WHEN query_canceled THEN
	RETURN extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000 - timeout;
END $$;
CREATE TEMP TABLE late (family text, timeout int, ms float8);
SELECT format('SET LOCAL statement_timeout = %s', timeout), format('INSERT INTO late VALUES (%L, %s, pg_temp.late(%1$L, %2$s))', family, timeout)
FROM unnest('{40, 90, 150, 220, 300, 400, 550}'::int[]) timeout, unnest('{bgnbd, pareto_nbd}'::text[]) family \gexec
SET LOCAL statement_timeout = 0;
SELECT cmp_ok(percentile_disc(0.5) WITHIN GROUP (ORDER BY ms), '<', 100::float8, family || ': within a tenth of a second') FROM late GROUP BY family;
SELECT is(clv_fit(r, 'pareto_nbd'), (SELECT m FROM fit WHERE family = 'pareto_nbd'), 'and the next one is whole') FROM customer;

SELECT * FROM finish();
ROLLBACK;
