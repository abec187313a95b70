-- score: RFM scores and segments. docs/score.md

CREATE FUNCTION loyalty.rfm_score(scores integer DEFAULT 5, method text DEFAULT 'ties') RETURNS integer
	LANGUAGE C WINDOW IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_score_window';
CREATE FUNCTION loyalty.rfm_threshold_score(value float8, thresholds float8[]) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_score_threshold';
CREATE FUNCTION loyalty.rfm_segment(r integer, f integer, m integer) RETURNS text
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'loyalty_score_segment';
CREATE FUNCTION loyalty.rfm_segments(OUT segment text, OUT r_low integer, OUT r_high integer, OUT fm_low integer, OUT fm_high integer) RETURNS SETOF record
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 13 AS 'MODULE_PATHNAME', 'loyalty_score_segments';

COMMENT ON FUNCTION loyalty.rfm_score(integer, text) IS 'score of a customer by rank, from 1 up; equal values get equal scores';
COMMENT ON FUNCTION loyalty.rfm_threshold_score(float8, float8[]) IS 'score by fixed thresholds, from 1 up';
COMMENT ON FUNCTION loyalty.rfm_segment(integer, integer, integer) IS 'name of the segment of a customer with these scores from 1 to 5';
COMMENT ON FUNCTION loyalty.rfm_segments() IS 'the segments that rfm_segment() knows, as ranges of scores';
