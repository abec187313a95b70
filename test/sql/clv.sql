-- clv: the type clv_model, its readers' edges and the errors
\i test/sql/include/begin.psql

-- made by hand, and taken apart again
CREATE TEMP TABLE model (name text, m clv_model);
INSERT INTO model VALUES
	('BG/NBD', bgnbd(0.243, 4.414, 0.793, 2.426)),
	('MBG/NBD', mbgnbd(0.525, 6.183, 0.891, 1.614)),
	('Pareto/NBD', pareto_nbd(0.553, 10.578, 0.606, 11.669)),
	('BG/BB', bgbb(1.204, 0.750, 0.657, 2.783)),
	('sBG', sbg(0.668, 3.806)),
	('Gamma-Gamma', gamma_gamma(6.25, 3.74, 15.44)),
	('both', with_spend(mbgnbd(0.525, 6.183, 0.891, 1.614), gamma_gamma(6.25, 3.74, 15.44)));
SELECT name, m, family(m), parameters(m) FROM model;
SELECT name, purchase_process(m), spend_process(m) FROM model WHERE name IN ('sBG', 'Gamma-Gamma', 'both');
SELECT standard_errors(m), warnings(m), customers(m), log_likelihood(m) FROM model WHERE name = 'both';
SELECT bgnbd(NULL, 1, 1, 1), with_spend(NULL, gamma_gamma(1, 2, 3)), p_alive(sbg(1, 2), NULL);

-- text, with fields in any order, and blanks
SELECT '( b:2, process : bgnbd , a:1e-3, r:0.5, alpha:10 )'::clv_model;
CREATE TEMP TABLE fitted (m clv_model);
INSERT INTO fitted VALUES
	('(process:pareto_nbd,r:0.55,alpha:10.5,s:0.6,beta:11.7,customers:2357,log_likelihood:-9594.98,se_r:0.0476,se_alpha:0.843,se_s:0.187,se_beta:6.21)'),
	('(process:mbgnbd,r:0.1,alpha:1,a:1e-6,b:3,customers:3,log_likelihood:-5,warnings:14,spend:gamma_gamma,p:6.25,q:0.74,v:15.4,spend_customers:2,spend_log_likelihood:1.5,se_p:1.19,se_q:0.29,se_v:4.16,spend_warnings:80)'),
	('(process:sbg,alpha:1,beta:2,customers:1,log_likelihood:0,warnings:511)');
SELECT m, customers(m), log_likelihood(m), standard_errors(m), warnings(m) FROM fitted;
SELECT m, log_likelihood(spend_process(m)), standard_errors(purchase_process(m)), customers(spend_process(m)) FROM fitted WHERE family(m) = 'mbgnbd';

-- text is exact whatever the session shows of other floats, and binary too
SET extra_float_digits = 0;
SELECT bgnbd(0.1::float8 + 0.2, 1.0::float8 / 3, 1e15, 1e-15), parameters(sbg(0.1::float8 + 0.2, 1.0::float8 / 3));
INSERT INTO model SELECT 'random ' || i, with_spend(pareto_nbd(exp(i), sqrt(i::float8), 1.0::float8 / i, pi() * i), gamma_gamma(ln(i + 1.5), i, exp(-i::float8)))
FROM generate_series(1, 20) i;
INSERT INTO model SELECT 'fitted', m FROM fitted;
SELECT count(*) AS models, count(*) FILTER (WHERE m::text::clv_model = m) AS same FROM model;
SELECT count(*) AS models, count(*) FILTER (WHERE pg_temp.receive('loyalty.clv_model', clv_model_send(m)) = m::text) AS same FROM model;
RESET extra_float_digits;

-- equality and hashing
SELECT sbg(1, 2) = sbg(1, 2) AS yes, sbg(1, 2) <> sbg(1, 3) AS yes, sbg(1, 2) = sbg(2, 1) AS no,
	bgnbd(1, 2, 3, 4) = mbgnbd(1, 2, 3, 4) AS no, count(DISTINCT clv_model_hash(m)) > 20 AS spread FROM model;
SELECT count(*) FROM model a JOIN model b USING (m);

-- not a model
SELECT input, pg_temp.failure(format('SELECT %L::loyalty.clv_model', input))
FROM unnest(ARRAY[
	'', '()', '(r:1)', '(process:bgnbd)', '(process:bgnbd,r:1,alpha:1,a:1)', '(process:bgnbd,r:1,alpha:1,a:1,b:1,s:1)',
	'(process:none,r:1)', '(process:gamma_gamma,p:1,q:2,v:3)', '(spend:bgnbd,r:1,alpha:1,a:1,b:1)', '(process:sbg,alpha:1,beta:two)',
	'(process:sbg,alpha:0,beta:1)', '(process:sbg,alpha:-1,beta:1)', '(process:sbg,alpha:NaN,beta:1)', '(process:sbg,alpha:1e16,beta:1)',
	'(process:sbg,alpha:1,beta:1,customers:5)', '(process:sbg,alpha:1,beta:1,customers:0,log_likelihood:-1)',
	'(process:sbg,alpha:1,beta:1,customers:-5,log_likelihood:-1)', '(process:sbg,alpha:1,beta:1,log_likelihood:-1)',
	'(process:sbg,alpha:1,beta:1,customers:5,log_likelihood:NaN)', '(process:sbg,alpha:1,beta:1,customers:5,log_likelihood:-1,warnings:512)',
	'(process:sbg,alpha:1,beta:1,customers:5,log_likelihood:-1,se_alpha:-1)', '(process:sbg,alpha:1,beta:1,customers:5,log_likelihood:-1,se_alpha:1)', '(process:sbg,alpha:1,beta:1,se_alpha:1)']) AS input;
SELECT pg_temp.failure('SELECT loyalty.bgnbd(0, 1, 1, 1)'), pg_temp.failure($$SELECT loyalty.sbg('Infinity', 1)$$);
SELECT payload, pg_temp.receive('loyalty.clv_model', payload)
FROM unnest(ARRAY[
	'\x01050102', '\x02', '\x010000', '\x0107', '\x0106', '\x0105',
	'\x01' || '\x05'::bytea || float8send(1) || float8send(2) || int8send(0) || '\x00'::bytea,
	'\x01' || '\x05'::bytea || float8send(0) || float8send(2) || int8send(0) || '\x00'::bytea,
	'\x01' || '\x05'::bytea || float8send(1) || float8send(2) || int8send(-1) || float8send(0) || int4send(0) || float8send(0) || float8send(0) || '\x00'::bytea,
	'\x01' || '\x05'::bytea || float8send(1) || float8send(2) || int8send(0) || '\x05'::bytea,
	'\x01' || '\x05'::bytea || float8send(1) || float8send(2) || int8send(0) || '\x0000'::bytea]) AS payload;

-- what a family does not have, and what is no question to it
SELECT statement, pg_temp.failure('SELECT loyalty.' || statement)
FROM unnest(ARRAY[
	'with_spend(loyalty.gamma_gamma(1, 2, 3), loyalty.gamma_gamma(1, 2, 3))',
	'with_spend(loyalty.sbg(1, 2), loyalty.sbg(1, 2))',
	'p_alive(loyalty.gamma_gamma(1, 2, 3), loyalty.rfm(1, 2, 3))',
	'expected_purchases(loyalty.gamma_gamma(1, 2, 3), 5)',
	'expected_spend(loyalty.bgnbd(1, 2, 3, 4), loyalty.rfm(1, 2, 3, 4))',
	'expected_value(loyalty.bgnbd(1, 2, 3, 4), loyalty.rfm(1, 2, 3, 4), 10)',
	'clv(loyalty.bgnbd(1, 2, 3, 4), loyalty.rfm(1, 2, 3, 4), 10, 1, 0.1)',
	'dert(loyalty.bgnbd(1, 2, 3, 4), loyalty.rfm(1, 2, 3), 0.1)',
	'survival(loyalty.gamma_gamma(1, 2, 3), 1)',
	'retention(loyalty.bgbb(1, 2, 3, 4), 1)',
	'expected_purchases(loyalty.bgnbd(1, 2, 3, 4), -1)',
	$$expected_purchases(loyalty.bgnbd(1, 2, 3, 4), loyalty.rfm(1, 2, 3), 'NaN')$$,
	$$expected_purchases(loyalty.pareto_nbd(1, 2, 3, 4), 'Infinity')$$,
	'expected_purchases(loyalty.bgbb(1, 2, 3, 4), 2.5)',
	'expected_purchases(loyalty.bgbb(1, 2, 3, 4), 1000001)',
	'purchase_probability(loyalty.bgnbd(1, 2, 3, 4), -1, 5)',
	'survival(loyalty.sbg(1, 2), 0.5)',
	'retention(loyalty.sbg(1, 2), 0)',
	'dert(loyalty.pareto_nbd(1, 2, 3, 4), loyalty.rfm(1, 2, 3), 0)',
	$$dert(loyalty.sbg(1, 2), loyalty.rfm(1, 1, 3), 'NaN')$$,
	'p_alive(loyalty.bgbb(1, 2, 3, 4), loyalty.rfm(3, 2, 3))',
	'p_alive(loyalty.bgbb(1, 2, 3, 4), loyalty.rfm(1, 1.5, 3))',
	'p_alive(loyalty.bgbb(1, 2, 3, 4), loyalty.rfm(1, 1, 1e7))',
	'p_alive(loyalty.sbg(1, 2), loyalty.rfm(1, 2, 3))',
	'p_alive(loyalty.bgnbd(1, 2, 3, 4), loyalty.rfm(9223372036854775807, 2, 3))',
	'clv(loyalty.sbg(1, 2), loyalty.rfm(1, 1, 1), -1, 1, 0.1)',
	'clv(loyalty.sbg(1, 2), loyalty.rfm(1, 1, 1), 10, 0, 0.1)',
	'clv(loyalty.sbg(1, 2), loyalty.rfm(1, 1, 1), 10, 1, -0.1)',
	$$clv(loyalty.sbg(1, 2), loyalty.rfm(1, 1, 1), 10, 1, 0.1, 'NaN')$$,
	'clv(loyalty.sbg(1, 2), loyalty.rfm(1, 1, 1), 10, 1e-9, 0.1)',
	'clv(loyalty.sbg(1, 2), loyalty.rfm(1, 1, 1), 10, 2.5, 0.1)',
	'clv(loyalty.sbg(1, 2), loyalty.rfm(5, 5, 5), 10, 1, 0.1, 1e308)']) AS statement;

-- no number where there is none: q <= 1 has no mean; a spend that is unknown or negative tells nothing of the next one
SELECT expected_spend(gamma_gamma(6, 1, 15), rfm(0, 0, 9)) AS no_mean, expected_spend(gamma_gamma(6, 0.5, 15), rfm(1, 1, 9, 10)) AS mean,
	expected_spend(gamma_gamma(6, 3, 15), rfm(1, 1, 9)) AS unknown, expected_spend(gamma_gamma(6, 3, 15), rfm(1, 1, 9, -4)) AS negative,
	expected_spend(gamma_gamma(6, 3, 15), rfm(1, 1, 9, 0)) AS nothing, log_likelihood(gamma_gamma(6, 3, 15), rfm(0, 0, 9)) AS silent;
SELECT clv(m, rfm(0, 0, 9), 10, 1, 0), clv(m, rfm(1, 1, 9), 10, 1, 0) FROM with_spend(mbgnbd(1, 2, 3, 4), gamma_gamma(6, 1, 15)) m;

-- the aggregate: NULL is skipped, nothing is NULL, arguments are constant and known
SELECT clv_fit(r), clv_fit(r, 'sbg'), clv_fit(r, 'bgbb', true) FROM (VALUES (NULL::rfm)) v(r);
SELECT clv_fit(r) FROM (SELECT rfm(0, 0, 1) WHERE false) v(r);
SELECT statement, pg_temp.failure('SELECT loyalty.clv_fit(' || statement)
FROM unnest(ARRAY[
	$$loyalty.rfm(1, 2, 3), 'nbd')$$,
	$$loyalty.rfm(1, 2, 3), 'sbg')$$,
	$$loyalty.rfm(1, 2.5, 3), 'bgbb')$$,
	$$loyalty.rfm(1, 2, 3), NULL)$$,
	$$loyalty.rfm(1, 2, 3), 'bgnbd', NULL)$$,
	$$loyalty.rfm(1, 2, 3), f) FROM unnest('{bgnbd,mbgnbd}'::text[]) f$$,
	$$loyalty.rfm(1, 2, 3, 4), 'bgnbd', s) FROM unnest('{true,false}'::boolean[]) s$$]) AS statement;
SET client_min_messages = error;
SELECT clv_fit(CASE WHEN i % 2 = 0 THEN rfm(i % 7, i % 7 * 9, 60 + i % 5) END) = clv_fit(rfm(i % 7, i % 7 * 9, 60 + i % 5)) FILTER (WHERE i % 2 = 0) AS same
FROM generate_series(1, 200) i;

-- degenerate data end with a warning, finite numbers and no standard errors
CREATE TEMP TABLE degenerate (n int, name text, r rfm[]);
INSERT INTO degenerate VALUES
	(1, 'nobody bought again', ARRAY(SELECT rfm(0, 0, 10 + i) FROM generate_series(1, 30) i)),
	(2, 'nobody was watched', ARRAY[rfm(0, 0, 0), rfm(0, 0, 0)]),
	(3, 'one customer', ARRAY[rfm(2, 5, 9, 7.5)]),
	(4, 'all the same', ARRAY(SELECT rfm(3, 17, 20, 12) FROM generate_series(1, 30) i)),
	(5, 'nobody leaves', ARRAY(SELECT rfm(20 + i, 20 + i, 20 + i, 12) FROM generate_series(1, 30) i)),
	(6, 'spend of zero', ARRAY(SELECT rfm(i % 5 + 1, 10 + i, 20 + 3 * i, 0) FROM generate_series(1, 30) i));
SELECT name, f AS family, cardinality(warnings(m)) > 0 AS warned, 'no customer bought again' = ANY (warnings(m)) AS said_so,
	(SELECT bool_and(p_alive(m, c) BETWEEN 0 AND 1 AND expected_purchases(m, c, 10) BETWEEN 0 AND 1000) FROM unnest(r) c) AS usable,
	standard_errors(m) IS NULL AS no_errors
FROM degenerate, unnest('{bgnbd, mbgnbd, pareto_nbd}'::text[]) WITH ORDINALITY f(f, k), LATERAL (SELECT clv_fit(c, f, name LIKE 'spend%') AS m FROM unnest(r) c) fit
ORDER BY n, k;
RESET client_min_messages;
SELECT clv_fit(c) IS NOT NULL AS fitted FROM degenerate, unnest(r) c WHERE n = 2;
SELECT clv_fit(c, 'gamma_gamma') FROM degenerate, unnest(r) c WHERE n = 6;
SELECT clv_fit(c, 'mbgnbd', true) IS NOT NULL AS fitted FROM (VALUES (rfm(0, 0, 0))) v(c);

-- a model can be kept, and asked later
CREATE TABLE clv_kept (segment text, m clv_model);
INSERT INTO clv_kept VALUES ('all', with_spend(bgnbd(0.243, 4.414, 0.793, 2.426), gamma_gamma(6.25, 3.74, 15.44)));
SELECT segment, round(p_alive(m, rfm(2, 30.43, 38.86))::numeric, 6) FROM clv_kept;
DROP TABLE clv_kept;

-- it runs in workers
SELECT aggfnoid::regprocedure, aggcombinefn <> 0 AND aggserialfn <> 0 AND aggdeserialfn <> 0 AND proparallel = 's' AS parallel
FROM pg_aggregate JOIN pg_proc p ON p.oid = aggfnoid WHERE proname = 'clv_fit' ORDER BY pronargs;
