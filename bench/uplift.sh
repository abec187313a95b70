# A controlled test over ten million purchases.

purchases
begin 'uplift: both arms in one aggregate, serial'
export PGOPTIONS="$options -c max_parallel_workers_per_gather=0"
treated='customer % 2 = 0'
arms() { # arms AGGREGATE: of either arm
	echo "$1 FILTER (WHERE $treated), $1 FILTER (WHERE NOT $treated)"
}
for ((run = 1; run <= RUNS; run++)); do
	timed uplift.agg purchases <<<"SELECT loyalty.uplift_agg($treated, amount) FROM purchase;"
	timed uplift.core purchases <<<"SELECT $(arms 'var_samp(amount)') FROM purchase;"
done
line "processor / that of two var_samp() FILTER" "$(ratio uplift.agg.cpu uplift.core.cpu)" '<=' 1.5
timed uplift.cuped.agg purchases <<<"SELECT loyalty.uplift_agg($treated, amount, customer) FROM purchase;"
timed uplift.cuped.core purchases <<<"SELECT $(arms 'var_samp(amount)'), $(arms 'var_samp(customer)'), $(arms 'covar_samp(amount, customer)') FROM purchase;"
line "processor / that of four var_samp() and two covar_samp() FILTER, with a covariate" \
	"$(ratio uplift.cuped.agg.cpu uplift.cuped.core.cpu)" '<=' 1.5
while IFS='|' read -r arm members mean variance; do
	IFS='|' read -r count avg var_samp <<<"$(sql purchases -c "SELECT count(*), avg(amount), var_samp(amount) FROM purchase WHERE ($treated) = ('$arm' = 'treated')")"
	near "members of $arm" "$members" "$count" 0
	near "mean of $arm" "$mean" "$avg" 1e-9
	near "variance of $arm" "$variance" "$var_samp" 1e-9
done < <(sql purchases -c "SELECT a.arm, a.members, a.mean, a.variance FROM (SELECT loyalty.uplift_agg($treated, amount) AS s FROM purchase) t, loyalty.uplift_arms(s) a")
export PGOPTIONS=$options
