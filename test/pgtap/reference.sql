-- reference: checked values of the metrics and models, each by the call that gives it. Computed with 40 digits by mpmath from the
-- definitions and the papers' formulas, or by brute force in pandas, independently of this code; some of them published.
-- The fits of CDNOW are in clv.sql, the time held out in tracking.sql.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;

SELECT no_plan();

CREATE TEMP TABLE reference (id text, call text, want float8, relative float8, absolute float8);
INSERT INTO reference VALUES
	('P-bgnbd-001', 'log_likelihood(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(0, 0, 38.86))', -0.5547132764381585, 1e-09, 1e-12),
	('P-bgnbd-002', 'p_alive(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(0, 0, 38.86))', 1.0, 1e-09, 1e-12),
	('P-bgnbd-003', 'expected_purchases(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(0, 0, 38.86), 39)', 0.19509805201126265, 1e-09, 1e-12),
	('P-bgnbd-004', 'log_likelihood(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(2, 30.43, 38.86))', -9.45860630706627, 1e-09, 1e-12),
	('P-bgnbd-005', 'p_alive(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(2, 30.43, 38.86))', 0.726578570080673, 1e-09, 1e-12),
	('P-bgnbd-006', 'expected_purchases(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(2, 30.43, 38.86), 39)', 1.2260281747671444, 1e-09, 1e-12),
	('P-bgnbd-007', 'log_likelihood(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(1, 1.71, 38.86))', -4.469093275032589, 1e-09, 1e-12),
	('P-bgnbd-008', 'p_alive(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(1, 1.71, 38.86))', 0.2121009853773791, 1e-09, 1e-12),
	('P-bgnbd-009', 'expected_purchases(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(1, 1.71, 38.86), 39)', 0.20318698707975405, 1e-09, 1e-12),
	('P-bgnbd-010', 'log_likelihood(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(7, 29.43, 38.86))', -21.86327627146352, 1e-09, 1e-12),
	('P-bgnbd-011', 'p_alive(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(7, 29.43, 38.86))', 0.6417563459461072, 1e-09, 1e-12),
	('P-bgnbd-012', 'expected_purchases(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(7, 29.43, 38.86), 39)', 3.3370532748514163, 1e-09, 1e-12),
	('P-bgnbd-013', 'log_likelihood(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(26, 30.86, 31))', -37.72657947339444, 1e-09, 1e-12),
	('P-bgnbd-014', 'p_alive(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(26, 30.86, 31))', 0.9689156497175251, 1e-09, 1e-12),
	('P-bgnbd-015', 'expected_purchases(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(26, 30.86, 31), 52)', 25.758195936483514, 1e-09, 1e-12),
	('P-bgnbd-016', 'log_likelihood(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(10, 20, 39))', -24.283315377633347, 1e-09, 1e-12),
	('P-bgnbd-017', 'p_alive(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(10, 20, 39))', 0.03811431321203634, 1e-09, 1e-12),
	('P-bgnbd-018', 'expected_purchases(bgnbd(0.243, 4.414, 0.793, 2.426), rfm(10, 20, 39), 52)', 0.34739976270855916, 1e-09, 1e-12),
	('P-pnbd-001', 'log_likelihood(pareto_nbd(0.553, 10.578, 0.606, 11.669), rfm(0, 0, 38.86))', -0.5210462940808903, 1e-09, 1e-12),
	('P-pnbd-002', 'p_alive(pareto_nbd(0.553, 10.578, 0.606, 11.669), rfm(0, 0, 38.86))', 0.29528660461689415, 1e-09, 1e-12),
	('P-pnbd-003', 'expected_purchases(pareto_nbd(0.553, 10.578, 0.606, 11.669), rfm(0, 0, 38.86), 39)', 0.10708146821530885, 1e-09, 1e-12),
	('P-pnbd-004', 'dert(pareto_nbd(0.553, 10.578, 0.606, 11.669), rfm(0, 0, 38.86), 0.0027)', 0.47713622903219527, 1e-08, 1e-12),
	('P-pnbd-005', 'log_likelihood(pareto_nbd(0.553, 10.578, 0.606, 11.669), rfm(1, 1.71, 38.86))', -4.4501943338810115, 1e-09, 1e-12),
	('P-pnbd-006', 'p_alive(pareto_nbd(0.553, 10.578, 0.606, 11.669), rfm(1, 1.71, 38.86))', 0.1680023267243449, 1e-09, 1e-12),
	('P-pnbd-007', 'expected_purchases(pareto_nbd(0.553, 10.578, 0.606, 11.669), rfm(1, 1.71, 38.86), 39)', 0.17109298055378316, 1e-09, 1e-12),
	('P-pnbd-008', 'log_likelihood(pareto_nbd(0.553, 10.578, 0.606, 11.669), rfm(26, 30.86, 31))', -39.131671540302776, 1e-09, 1e-12),
	('P-pnbd-009', 'p_alive(pareto_nbd(0.553, 10.578, 0.606, 11.669), rfm(26, 30.86, 31))', 0.9979187310551583, 1e-09, 1e-12),
	('P-pnbd-010', 'expected_purchases(pareto_nbd(0.553, 10.578, 0.606, 11.669), rfm(26, 30.86, 31), 52)', 25.458472951428767, 1e-09, 1e-12),
	('P-bgnbd-019', 'expected_purchases(bgnbd(0.243, 4.414, 0.793, 2.426), 1)', 0.05326789117165828, 1e-09, 1e-12),
	('P-bgnbd-020', 'expected_purchases(bgnbd(0.243, 4.414, 0.793, 2.426), 3)', 0.15086523089304668, 1e-09, 1e-12),
	('P-bgnbd-021', 'expected_purchases(bgnbd(0.243, 4.414, 0.793, 2.426), 52)', 1.4460505953964038, 1e-09, 1e-12),
	('P-bgnbd-022', 'expected_purchases(bgnbd(0.243, 4.414, 0.793, 2.426), 78)', 1.8605190579427684, 1e-09, 1e-12),
	('P-bgnbd-023', 'purchase_probability(bgnbd(0.243, 4.414, 0.793, 2.426), 0, 39)', 0.5737863520960094, 1e-09, 1e-12),
	('P-bgnbd_edge-001', 'expected_purchases(bgnbd(0.4, 6.0, 1.0, 2.0), rfm(3, 10, 20), 20)', 0.903036539514427, 1e-07, 1e-12),
	('P-pnbd_edge-001', 'p_alive(pareto_nbd(0.5143, 2.8845, 0.2856, 14.1087), rfm(254, 97.14286, 97.28571))', 0.9995582261230107, 1e-08, 1e-12),
	('P-pnbd-011', 'expected_purchases(pareto_nbd(0.553, 10.578, 0.606, 11.669), 52)', 1.472996803375107, 1e-09, 1e-12),
	('P-pnbd-012', 'dert(pareto_nbd(0.553, 10.578, 0.606, 11.669), rfm(0, 0, 0), 0.0018328880731600934)', 4.814491843933129, 1e-08, 1e-12),
	('P-mbgnbd-001', 'log_likelihood(mbgnbd(0.525, 6.183, 0.891, 1.614), rfm(2, 30.43, 38.86))', -9.485551314533932, 1e-09, 1e-12),
	('P-mbgnbd-002', 'p_alive(mbgnbd(0.525, 6.183, 0.891, 1.614), rfm(2, 30.43, 38.86))', 0.7062022651184873, 1e-09, 1e-12),
	('P-mbgnbd-003', 'expected_purchases(mbgnbd(0.525, 6.183, 0.891, 1.614), rfm(2, 30.43, 38.86), 39)', 1.2629606232673658, 1e-08, 1e-12),
	('P-gg-001', 'expected_spend(gamma_gamma(6.25, 3.74, 15.44), rfm(0, 0, 1, 0))', 35.21897810218978, 1e-09, 1e-12),
	('P-gg-002', 'expected_spend(gamma_gamma(6.25, 3.74, 15.44), rfm(1, 1, 1, 11.77))', 18.916852057842046, 1e-09, 1e-12),
	('P-gg-003', 'expected_spend(gamma_gamma(6.25, 3.74, 15.44), rfm(2, 1, 1, 22.35))', 24.663713910761157, 1e-09, 1e-12),
	('P-gg-004', 'expected_spend(gamma_gamma(6.25, 3.74, 15.44), rfm(7, 1, 1, 73.74))', 71.46967089696709, 1e-09, 1e-12),
	('P-gg-005', 'expected_spend(gamma_gamma(6.25, 3.74, 15.44), rfm(0, 0, 1, 0))', 35.21897810218978, 1e-09, 1e-12),
	('P-bgbb-001', 'p_alive(bgbb(1.2035223516, 0.7497163582, 0.6567182084, 2.7834422326), rfm(0, 0, 6))', 0.10813328187781827, 1e-09, 1e-12),
	('P-bgbb-002', 'expected_purchases(bgbb(1.2035223516, 0.7497163582, 0.6567182084, 2.7834422326), rfm(0, 0, 6), 5)', 0.07286334105951524, 1e-09, 1e-12),
	('P-bgbb-003', 'p_alive(bgbb(1.2035223516, 0.7497163582, 0.6567182084, 2.7834422326), rfm(2, 4, 6))', 0.5896571848022152, 1e-09, 1e-12),
	('P-bgbb-004', 'expected_purchases(bgbb(1.2035223516, 0.7497163582, 0.6567182084, 2.7834422326), rfm(2, 4, 6), 5)', 1.0576035260406376, 1e-09, 1e-12),
	('P-bgbb-005', 'p_alive(bgbb(1.2035223516, 0.7497163582, 0.6567182084, 2.7834422326), rfm(6, 6, 6))', 0.9304335755197786, 1e-09, 1e-12),
	('P-bgbb-006', 'expected_purchases(bgbb(1.2035223516, 0.7497163582, 0.6567182084, 2.7834422326), rfm(6, 6, 6), 5)', 3.7525442219184737, 1e-09, 1e-12),
	('P-bgbb-007', 'expected_purchases(bgbb(1.203528, 0.749726, 0.6567808, 2.783796), 10)', 3.179805910725448, 1e-09, 1e-12),
	('P-sbg-001.survival', 'survival(sbg(0.668, 3.806), 1)', 0.8506928922664283, 1e-09, 1e-12),
	('P-sbg-001.retention', 'retention(sbg(0.668, 3.806), 1)', 0.8506928922664283, 1e-09, 1e-12),
	('P-sbg-001.churn', 'purchase_probability(sbg(0.668, 3.806), 0, 1)', 0.14930710773357175, 1e-09, 1e-12),
	('P-sbg-002.survival', 'survival(sbg(0.668, 3.806), 7)', 0.48894462089372576, 1e-09, 1e-12),
	('P-sbg-002.retention', 'retention(sbg(0.668, 3.806), 7)', 0.9362230284514035, 1e-09, 1e-12),
	('P-sbg-002.churn', 'purchase_probability(sbg(0.668, 3.806), 6, 7)', 0.033307669463288676, 1e-09, 1e-12),
	('P-sbg-003.survival', 'survival(sbg(0.668, 3.806), 12)', 0.37804042018209044, 1e-09, 1e-12),
	('P-sbg-003.retention', 'retention(sbg(0.668, 3.806), 12)', 0.9568308129766059, 1e-09, 1e-12),
	('P-sbg-003.churn', 'purchase_probability(sbg(0.668, 3.806), 11, 12)', 0.0170559908605725, 1e-09, 1e-12),
	('P-sbg-004', 'dert(sbg(0.764, 1.296), rfm(0, 0, 0), 0.1)', 2.882211419530496, 1e-08, 1e-12),
	('P-sbg-005', 'dert(sbg(0.764, 1.296), rfm(4, 4, 4), 0.1)', 5.682489217815721, 1e-08, 1e-12),
	('P-clv-001', 'clv(with_spend(bgnbd(0.243, 4.414, 0.793, 2.426), gamma_gamma(6.25, 3.74, 15.44)), rfm(2, 30.43, 38.86, 22.35), 12 * 4.345::float8, 4.345, 0.01)', 36.289211125599216, 1e-08, 1e-12),
	('P-clv-002', 'clv(with_spend(bgnbd(0.243, 4.414, 0.793, 2.426), gamma_gamma(6.25, 3.74, 15.44)), rfm(0, 0, 38.86, 0), 12 * 4.345::float8, 4.345, 0.01)', 8.369004358920462, 1e-08, 1e-12),
	('P-clv-003', 'contractual_clv(100, 0.8, 0.1, ''begin'')', 366.6666666666667, 1e-09, 1e-12),
	('P-clv-004', 'contractual_clv(100, 0.8, 0.1, ''residual'')', 266.6666666666667, 1e-09, 1e-12),
	('P-clv-005', 'contractual_clv(100, 0.8, 0.1, ''end'')', 333.3333333333333, 1e-09, 1e-12),
	('P-clv-006', 'simple_clv(50::float8, 4, 3, 1)', 600.0, 1e-09, 1e-12),
	('P-retention-003.retention', 'retention_rate(200, 210, 30)', 0.9, 1e-09, 1e-12),
	('P-retention-003.churn', 'churn_rate(200, 210, 30)', 0.1, 1e-09, 1e-12),
	('P-nps-001.nps', 'nps(nps_summary(50, 30, 20))', 30.0, 1e-09, 1e-09),
	('P-nps-001.variance', '(standard_error(nps_summary(50, 30, 20)) / 100) ^ 2 * 100', 0.61, 1e-09, 1e-09),
	('P-nps-001.se', 'standard_error(nps_summary(50, 30, 20))', 7.810249675906654, 1e-09, 1e-09),
	('P-nps-001.moe', 'margin(nps_summary(50, 30, 20), 0.95, ''wald'')', 15.307808075042674, 1e-09, 1e-09),
	('P-nps-001.wald_lo', '(nps_interval(nps_summary(50, 30, 20), 0.95, ''wald'')).low', 14.692191924957326, 1e-09, 1e-09),
	('P-nps-001.wald_hi', '(nps_interval(nps_summary(50, 30, 20), 0.95, ''wald'')).high', 45.30780807504267, 1e-09, 1e-09),
	('P-nps-001.adj_wald_lo', '(nps_interval(nps_summary(50, 30, 20))).low', 14.051130178761609, 1e-09, 1e-09),
	('P-nps-001.adj_wald_hi', '(nps_interval(nps_summary(50, 30, 20))).high', 44.20129700570441, 1e-09, 1e-09),
	('P-nps-001.adj_wald_nps', '((nps_interval(nps_summary(50, 30, 20), 0.95, ''adjusted_wald'')).low + (nps_interval(nps_summary(50, 30, 20), 0.95, ''adjusted_wald'')).high) / 2', 29.12621359223301, 1e-09, 1e-09),
	('P-nps-001.score_lo', '(nps_interval(nps_summary(50, 30, 20), 0.95, ''score'')).low', 13.955141614195686, 1e-09, 1e-09),
	('P-nps-001.score_hi', '(nps_interval(nps_summary(50, 30, 20), 0.95, ''score'')).high', 44.33930663358594, 1e-09, 1e-09),
	('P-nps-002.nps', 'nps(nps_summary(22, 8, 6))', 44.44444444444444, 1e-09, 1e-09),
	('P-nps-002.variance', '(standard_error(nps_summary(22, 8, 6)) / 100) ^ 2 * 36', 0.5802469135802469, 1e-09, 1e-09),
	('P-nps-002.se', 'standard_error(nps_summary(22, 8, 6))', 12.695656667409342, 1e-09, 1e-09),
	('P-nps-002.moe', 'margin(nps_summary(22, 8, 6), 0.95, ''wald'')', 24.88302982820812, 1e-09, 1e-09),
	('P-nps-002.wald_lo', '(nps_interval(nps_summary(22, 8, 6), 0.95, ''wald'')).low', 19.561414616236327, 1e-09, 1e-09),
	('P-nps-002.wald_hi', '(nps_interval(nps_summary(22, 8, 6), 0.95, ''wald'')).high', 69.32747427265257, 1e-09, 1e-09),
	('P-nps-002.adj_wald_lo', '(nps_interval(nps_summary(22, 8, 6))).low', 16.957566204157732, 1e-09, 1e-09),
	('P-nps-002.adj_wald_hi', '(nps_interval(nps_summary(22, 8, 6))).high', 65.09371584712432, 1e-09, 1e-09),
	('P-nps-002.adj_wald_nps', '((nps_interval(nps_summary(22, 8, 6), 0.95, ''adjusted_wald'')).low + (nps_interval(nps_summary(22, 8, 6), 0.95, ''adjusted_wald'')).high) / 2', 41.02564102564103, 1e-09, 1e-09),
	('P-nps-002.score_lo', '(nps_interval(nps_summary(22, 8, 6), 0.95, ''score'')).low', 16.4201763303614, 1e-09, 1e-09),
	('P-nps-002.score_hi', '(nps_interval(nps_summary(22, 8, 6), 0.95, ''score'')).high', 65.2889015048539, 1e-09, 1e-09),
	('P-nps-003.nps', 'nps(nps_summary(10, 0, 0))', 100.0, 1e-09, 1e-09),
	('P-nps-003.variance', '(standard_error(nps_summary(10, 0, 0)) / 100) ^ 2 * 10', 0.0, 1e-09, 1e-09),
	('P-nps-003.se', 'standard_error(nps_summary(10, 0, 0))', 0.0, 1e-09, 1e-09),
	('P-nps-003.moe', 'margin(nps_summary(10, 0, 0), 0.95, ''wald'')', 0.0, 1e-09, 1e-09),
	('P-nps-003.wald_lo', '(nps_interval(nps_summary(10, 0, 0), 0.95, ''wald'')).low', 100.0, 1e-09, 1e-09),
	('P-nps-003.wald_hi', '(nps_interval(nps_summary(10, 0, 0), 0.95, ''wald'')).high', 100.0, 1e-09, 1e-09),
	('P-nps-003.adj_wald_lo', '(nps_interval(nps_summary(10, 0, 0))).low', 47.503551544790206, 1e-09, 1e-09),
	('P-nps-003.adj_wald_hi', '(nps_interval(nps_summary(10, 0, 0))).high', 106.34260230136364, 1e-09, 1e-09),
	('P-nps-003.adj_wald_nps', '((nps_interval(nps_summary(10, 0, 0), 0.95, ''adjusted_wald'')).low + (nps_interval(nps_summary(10, 0, 0), 0.95, ''adjusted_wald'')).high) / 2', 76.92307692307692, 1e-09, 1e-09),
	('P-nps-003.score_lo', '(nps_interval(nps_summary(10, 0, 0), 0.95, ''score'')).low', 44.493440027422146, 1e-09, 1e-09),
	('P-nps-003.score_hi', '(nps_interval(nps_summary(10, 0, 0), 0.95, ''score'')).high', 100.0, 1e-09, 1e-09),
	('P-nps-004.n', '(SELECT responses(nps_agg(v)) FROM unnest(''{10,9,9,8,7,6,0,10,NULL,5}''::int[]) v)', 9.0, 1e-09, 1e-12),
	('P-nps-004.nps', '(SELECT nps(nps_agg(v)) FROM unnest(''{10,9,9,8,7,6,0,10,NULL,5}''::int[]) v)', 11.11111111111111, 1e-09, 1e-12),
	('P-nps-004.promoters', '(SELECT promoters(nps_agg(v)) FROM unnest(''{10,9,9,8,7,6,0,10,NULL,5}''::int[]) v)', 4.0, 1e-09, 1e-12),
	('P-nps-004.passives', '(SELECT passives(nps_agg(v)) FROM unnest(''{10,9,9,8,7,6,0,10,NULL,5}''::int[]) v)', 2.0, 1e-09, 1e-12),
	('P-nps-004.detractors', '(SELECT detractors(nps_agg(v)) FROM unnest(''{10,9,9,8,7,6,0,10,NULL,5}''::int[]) v)', 3.0, 1e-09, 1e-12),
	('P-nps-005.diff', '(nps_test(nps_summary(50, 30, 20), nps_summary(40, 30, 30), 0.95, ''wald'')).difference', 20.0, 1e-09, 1e-12),
	('P-nps-005.se', '(nps_test(nps_summary(50, 30, 20), nps_summary(40, 30, 30), 0.95, ''wald'')).standard_error', 11.40175425099138, 1e-09, 1e-12),
	('P-nps-005.z', '(nps_test(nps_summary(50, 30, 20), nps_summary(40, 30, 30), 0.95, ''wald'')).z', 1.7541160386140584, 1e-09, 1e-12),
	('P-nps-005.p_value', '(nps_test(nps_summary(50, 30, 20), nps_summary(40, 30, 30), 0.95, ''wald'')).p_value', 0.07941062599894223, 1e-09, 1e-12),
	('P-nps-005.lo', '(nps_test(nps_summary(50, 30, 20), nps_summary(40, 30, 30), 0.95, ''wald'')).low', -2.3470276925195663, 1e-09, 1e-12),
	('P-nps-005.hi', '(nps_test(nps_summary(50, 30, 20), nps_summary(40, 30, 30), 0.95, ''wald'')).high', 42.34702769251957, 1e-09, 1e-12),
	('P-nps-006.diff', '(nps_test(nps_summary(50, 30, 20), nps_summary(40, 30, 30), 0.95, ''adjusted_wald'')).difference', 19.41747572815534, 1e-09, 1e-12),
	('P-nps-006.se', '(nps_test(nps_summary(50, 30, 20), nps_summary(40, 30, 30), 0.95, ''adjusted_wald'')).standard_error', 11.208916023086054, 1e-09, 1e-12),
	('P-nps-006.z', '(nps_test(nps_summary(50, 30, 20), nps_summary(40, 30, 30), 0.95, ''adjusted_wald'')).z', 1.7323241326960441, 1e-09, 1e-12),
	('P-nps-006.p_value', '(nps_test(nps_summary(50, 30, 20), nps_summary(40, 30, 30), 0.95, ''adjusted_wald'')).p_value', 0.08321586753157117, 1e-09, 1e-12),
	('P-nps-006.lo', '(nps_test(nps_summary(50, 30, 20), nps_summary(40, 30, 30), 0.95, ''adjusted_wald'')).low', -2.5515959828272607, 1e-09, 1e-12),
	('P-nps-006.hi', '(nps_test(nps_summary(50, 30, 20), nps_summary(40, 30, 30), 0.95, ''adjusted_wald'')).high', 41.38654743913794, 1e-09, 1e-12),
	('P-csat-001.csat', 'csat(csat_summary(74, 33))', 69.1588785046729, 1e-09, 1e-12),
	('P-csat-001.low', '(csat_interval(csat_summary(74, 33))).low', 59.871509132198554, 1e-09, 1e-12),
	('P-csat-001.high', '(csat_interval(csat_summary(74, 33))).high', 77.11826025212977, 1e-09, 1e-12),
	('P-cli-001', '(SELECT cli(1, 1, 2))', 93.33333333333333, 1e-09, 1e-12),
	('P-wallet-001', 'wallet_allocation(1, 2)', 0.6666666666666666, 1e-09, 1e-12),
	('P-nrr-001.nrr', '(SELECT net_revenue_retention(revenue_retention_agg(s, e)) FROM (VALUES (100, 130), (50, 0)) v (s, e))', 0.8666666666666667, 1e-09, 1e-12),
	('P-nrr-001.grr', '(SELECT gross_revenue_retention(revenue_retention_agg(s, e)) FROM (VALUES (100, 130), (50, 0)) v (s, e))', 0.6666666666666666, 1e-09, 1e-12),
	('P-nrr-001.logo_retention', '(SELECT logo_retention(revenue_retention_agg(s, e)) FROM (VALUES (100, 130), (50, 0)) v (s, e))', 0.5, 1e-09, 1e-12),
	('P-nrr-001.expansion', '(SELECT expansion(revenue_retention_agg(s, e)) FROM (VALUES (100, 130), (50, 0)) v (s, e))', 30.0, 1e-09, 1e-12),
	('P-nrr-001.contraction', '(SELECT contraction(revenue_retention_agg(s, e)) FROM (VALUES (100, 130), (50, 0)) v (s, e))', 0.0, 1e-09, 1e-12),
	('P-nrr-001.churned', '(SELECT churned_revenue(revenue_retention_agg(s, e)) FROM (VALUES (100, 130), (50, 0)) v (s, e))', 50.0, 1e-09, 1e-12),
	('P-points-001.goods', '(SELECT goods FROM ifrs15_allocation(100000, 10000, 1, 0.95))', 91324.200913242, 1e-09, 1e-12),
	('P-points-001.points', '(SELECT deferred FROM ifrs15_allocation(100000, 10000, 1, 0.95))', 8675.79908675799, 1e-09, 1e-12),
	('P-points-001.revenue_1', '(SELECT recognised FROM ifrs15_schedule((SELECT deferred FROM ifrs15_allocation(100000, 10000, 1, 0.95)), ''{4500,4000}'', ''{9500,9700}'', 8) WHERE period = 1)', 4109.58904109589, 1e-09, 1e-12),
	('P-points-001.liability_1', '(SELECT deferred FROM ifrs15_schedule((SELECT deferred FROM ifrs15_allocation(100000, 10000, 1, 0.95)), ''{4500,4000}'', ''{9500,9700}'', 8) WHERE period = 1)', 4566.2100456621, 1e-09, 1e-12),
	('P-points-001.revenue_2', '(SELECT recognised FROM ifrs15_schedule((SELECT deferred FROM ifrs15_allocation(100000, 10000, 1, 0.95)), ''{4500,4000}'', ''{9500,9700}'', 8) WHERE period = 2)', 3492.9153132796687, 1e-09, 1e-12),
	('P-points-001.liability_2', '(SELECT deferred FROM ifrs15_schedule((SELECT deferred FROM ifrs15_allocation(100000, 10000, 1, 0.95)), ''{4500,4000}'', ''{9500,9700}'', 8) WHERE period = 2)', 1073.294732382432, 1e-09, 1e-12),
	('P-points-002.redemption', 'redemption_rate(1000, 600)', 0.6, 1e-09, 1e-12),
	('P-points-002.breakage', 'breakage_rate(1000, 100)', 0.1, 1e-09, 1e-12),
	('P-lift-001.diff', '(welch_test((SELECT uplift_agg(t, v) AS s FROM (SELECT true, unnest(''{12,15,11,18,20,14}''::float8[]) UNION ALL SELECT false, unnest(''{10,9,14,11,8}''::float8[])) d (t, v)))).difference', 4.6, 1e-09, 1e-12),
	('P-lift-001.t', '(welch_test((SELECT uplift_agg(t, v) AS s FROM (SELECT true, unnest(''{12,15,11,18,20,14}''::float8[]) UNION ALL SELECT false, unnest(''{10,9,14,11,8}''::float8[])) d (t, v)))).t', 2.6296449721851354, 1e-09, 1e-12),
	('P-lift-001.df', '(welch_test((SELECT uplift_agg(t, v) AS s FROM (SELECT true, unnest(''{12,15,11,18,20,14}''::float8[]) UNION ALL SELECT false, unnest(''{10,9,14,11,8}''::float8[])) d (t, v)))).df', 8.66278101582015, 1e-09, 1e-12),
	('P-lift-001.p_value', '(welch_test((SELECT uplift_agg(t, v) AS s FROM (SELECT true, unnest(''{12,15,11,18,20,14}''::float8[]) UNION ALL SELECT false, unnest(''{10,9,14,11,8}''::float8[])) d (t, v)))).p_value', 0.02824436605685615, 1e-09, 1e-12),
	('P-lift-001.lo', '(welch_test((SELECT uplift_agg(t, v) AS s FROM (SELECT true, unnest(''{12,15,11,18,20,14}''::float8[]) UNION ALL SELECT false, unnest(''{10,9,14,11,8}''::float8[])) d (t, v)))).low', 0.6192347492310939, 1e-09, 1e-12),
	('P-lift-001.hi', '(welch_test((SELECT uplift_agg(t, v) AS s FROM (SELECT true, unnest(''{12,15,11,18,20,14}''::float8[]) UNION ALL SELECT false, unnest(''{10,9,14,11,8}''::float8[])) d (t, v)))).high', 8.580765250768906, 1e-09, 1e-12),
	('P-lift-001.lift', '(relative_lift((SELECT uplift_agg(t, v) AS s FROM (SELECT true, unnest(''{12,15,11,18,20,14}''::float8[]) UNION ALL SELECT false, unnest(''{10,9,14,11,8}''::float8[])) d (t, v)))).lift', 0.4423076923076923, 1e-09, 1e-12),
	('P-lift-001.lift_se', '(relative_lift((SELECT uplift_agg(t, v) AS s FROM (SELECT true, unnest(''{12,15,11,18,20,14}''::float8[]) UNION ALL SELECT false, unnest(''{10,9,14,11,8}''::float8[])) d (t, v)))).standard_error', 0.1971755669864144, 1e-09, 1e-12),
	('P-lift-002.diff', '(proportion_test((SELECT rollup(s) FROM (VALUES (uplift_summary(''treated'', 2000, 230::bigint)), (uplift_summary(''control'', 2000, 180::bigint))) v (s)))).difference', 0.025, 1e-09, 1e-12),
	('P-lift-002.z', '(proportion_test((SELECT rollup(s) FROM (VALUES (uplift_summary(''treated'', 2000, 230::bigint)), (uplift_summary(''control'', 2000, 180::bigint))) v (s)))).z', 2.606518713858261, 1e-09, 1e-12),
	('P-lift-002.p_value', '(proportion_test((SELECT rollup(s) FROM (VALUES (uplift_summary(''treated'', 2000, 230::bigint)), (uplift_summary(''control'', 2000, 180::bigint))) v (s)))).p_value', 0.00914678255692329, 1e-09, 1e-12),
	('P-lift-002.lo', '(proportion_test((SELECT rollup(s) FROM (VALUES (uplift_summary(''treated'', 2000, 230::bigint)), (uplift_summary(''control'', 2000, 180::bigint))) v (s)))).low', 0.006217295869723742, 1e-09, 1e-12),
	('P-lift-002.hi', '(proportion_test((SELECT rollup(s) FROM (VALUES (uplift_summary(''treated'', 2000, 230::bigint)), (uplift_summary(''control'', 2000, 180::bigint))) v (s)))).high', 0.04378270413027626, 1e-09, 1e-12),
	('P-lift-002.incremental', '(proportion_test((SELECT rollup(s) FROM (VALUES (uplift_summary(''treated'', 2000, 230::bigint)), (uplift_summary(''control'', 2000, 180::bigint))) v (s)))).incremental', 50.0, 1e-09, 1e-12),
	('P-lift-002.lift', '(relative_lift((SELECT rollup(s) FROM (VALUES (uplift_summary(''treated'', 2000, 230::bigint)), (uplift_summary(''control'', 2000, 180::bigint))) v (s)))).lift', 0.2777777777777778, 1e-09, 1e-12);
CREATE FUNCTION pg_temp.answer(call text) RETURNS float8 LANGUAGE plpgsql AS $$ DECLARE v float8; BEGIN EXECUTE 'SELECT (' || call || ')::float8' INTO v; RETURN v; END $$;
SELECT ok(coalesce(abs(got - want) <= greatest(absolute, relative * abs(want)), false), id)
	|| CASE WHEN abs(got - want) <= greatest(absolute, relative * abs(want)) THEN '' ELSE E'\n' || diag(format('%s: got %s, want %s', call, got, want)) END
FROM (SELECT r.*, pg_temp.answer(call) AS got FROM reference r OFFSET 0) a;

-- CDNOW, customers 1, 2 and 6 of the sample to 1997-09-30
SELECT is(rfm_agg(day, amount, '1997-09-30'::date)::text, want, 'history of customer ' || c)
FROM (VALUES (1, '1997-01-01'::date, 29.33::float8), (1, '1997-01-18'::date, 29.73::float8), (1, '1997-08-02'::date, 14.96::float8), (1, '1997-12-12'::date, 26.48::float8), (2, '1997-01-01'::date, 63.34::float8), (2, '1997-01-13'::date, 11.77::float8), (6, '1997-01-01'::date, 35.99::float8), (6, '1997-01-11'::date, 32.99::float8), (6, '1997-03-15'::date, 77.96::float8), (6, '1997-04-16'::date, 59.3::float8), (6, '1997-04-24'::date, 134.98::float8), (6, '1997-06-23'::date, 91.92::float8), (6, '1997-07-22'::date, 47.08::float8), (6, '1997-07-26'::date, 71.96::float8), (6, '1997-10-25'::date, 78.47::float8), (6, '1997-12-06'::date, 83.47::float8)) p (c, day, amount) JOIN (VALUES (1, 2, 213, 272, 22.345), (2, 1, 12, 272, 11.77), (6, 7, 206, 272, 73.74142857142856)) w (c, x, t_x, age, m) USING (c),
	LATERAL (SELECT format('(frequency:%s,recency:%s,age:%s,monetary:%s)', x, t_x, age, m) AS want) f
GROUP BY c, want ORDER BY c;

-- Scores: quintiles that keep ties together, of 2,357 customers; two of them
CREATE TEMP TABLE cdnow_score (recency int, frequency int, cents int);
CREATE TEMP TABLE cdnow_month (months int[], n int);
\ir ../models/cdnow_scores.sql
CREATE TEMP TABLE scored AS
SELECT s.*, rfm_score(5) OVER (ORDER BY recency DESC) AS r, rfm_score(5) OVER (ORDER BY frequency) AS f, rfm_score(5) OVER (ORDER BY cents) AS m FROM cdnow_score s;
SELECT results_eq('SELECT r, count(*) FROM scored GROUP BY 1 ORDER BY 1', 'VALUES (1, 459::bigint), (2, 478), (3, 475), (4, 471), (5, 474)', 'recency');
SELECT results_eq('SELECT f, count(*) FROM scored GROUP BY 1 ORDER BY 1', 'VALUES (3, 1218::bigint), (4, 612), (5, 527)', 'frequency: half bought once, so nobody scores 1 or 2');
SELECT results_eq('SELECT m, count(*) FROM scored GROUP BY 1 ORDER BY 1', 'VALUES (1, 437::bigint), (2, 505), (3, 471), (4, 472), (5, 472)', 'money');
SELECT results_eq('SELECT DISTINCT r, f, m FROM scored WHERE (recency, frequency, cents) = (200, 4, 10050)', 'VALUES (4, 5, 4)', 'customer 1');
SELECT results_eq('SELECT DISTINCT r, f, m FROM scored WHERE (recency, frequency, cents) = (10, 16, 110704)', 'VALUES (5, 5, 5)', 'customer 6');

-- What customers do, an order a day
CREATE TEMP TABLE purchase AS SELECT row_number() OVER () AS customer, frequency, cents FROM cdnow_score;
SELECT is(round(v::numeric, 12), round(want, 12), name)
FROM (SELECT repeat_agg(customer) AS s FROM purchase, generate_series(1, frequency)) t, (SELECT sum(cents) / 100.0 AS revenue FROM purchase) total,
	LATERAL (VALUES (repeat_purchase_rate(s), 0.48324140857021636, 'repeat purchase rate'), (purchase_frequency(s), 2.840899448451421, 'purchase frequency'),
		(average_transaction_value(order_summary(orders(s), customers(s), revenue, '1997-01-01', '1998-06-30')), 36.45339605734767, 'average order'),
		(revenue_per_customer(order_summary(orders(s), customers(s), revenue, '1997-01-01', '1998-06-30')), 103.56043275350021, 'revenue of a customer')) v (v, want, name);

-- The cohort of February 1997
CREATE TEMP TABLE february AS
SELECT c.id, ('1997-02-10'::date + m * interval '1 month')::date AS day FROM (SELECT row_number() OVER () AS id, months FROM cdnow_month, generate_series(1, n)) c, unnest(months) m;
SELECT is(customers || ' ' || round(rate::numeric, 15), '857 ' || round(want, 15), format('%s, month %s', mode, k))
FROM (SELECT cohort_agg(id, day, '1998-06-30'::date) AS s FROM february) t,
	(VALUES ('on', 1, 0.15635939323220538), ('on_or_after', 1, 0.441073512252042), ('within', 1, 0.15635939323220538),
		('on', 6, 0.07117852975495916), ('on_or_after', 6, 0.3033838973162194), ('within', 6, 0.33605600933488916)) w (mode, k, want),
	LATERAL (SELECT m.* FROM cohort_matrix(s, mode) m WHERE m.period = k) m;

SELECT finish();
ROLLBACK;
