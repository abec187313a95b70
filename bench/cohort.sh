# The cohort matrix of a million customers' ten million purchases.

purchases
begin 'cohort: months of the first purchase, and how many came back in each later month, serial'
export PGOPTIONS="$options -c max_parallel_workers_per_gather=0 -c work_mem=256MB -c timezone=UTC"
timed cohort.agg purchases <<'SQL'
CREATE TABLE by_agg AS SELECT m.* FROM (SELECT loyalty.cohort_agg(customer, at, '2024-01-01Z') AS s FROM purchase) t, loyalty.cohort_matrix(s) m;
SQL
timed cohort.sql purchases <<'SQL'
CREATE TABLE by_sql AS
	WITH first AS (SELECT customer, min(at) AS at FROM purchase GROUP BY customer)
	SELECT date_trunc('month', f.at) AS cohort, date_trunc('month', p.at) AS month, count(DISTINCT p.customer) AS retained
	FROM first f JOIN purchase p USING (customer) GROUP BY 1, 2;
SQL
line "time of the usual SQL: min by customer, join, count distinct / time" "$(ratio cohort.sql.time cohort.agg.time)" '>=' 3
line 'processor of the same / processor' "$(ratio cohort.sql.cpu cohort.agg.cpu)" '>=' 3
same purchases 'the matrix' "SELECT count(*), sum(retained) FROM by_sql" \
	"SELECT count(*), sum(a.retained) FROM by_agg a JOIN by_sql s
	ON s.cohort = a.cohort AT TIME ZONE 'UTC' AND s.month = (a.cohort + make_interval(months => a.period)) AT TIME ZONE 'UTC' AND s.retained = a.retained"
same purchases 'the rest of the matrix' 'SELECT sum(retained) FROM by_sql' 'SELECT sum(retained) FROM by_agg'
sql purchases -c 'DROP TABLE by_agg, by_sql'
export PGOPTIONS=$options
