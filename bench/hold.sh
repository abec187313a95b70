# Holds of 150 points of lots of 100, and their capture by the next transaction, by eight clients.

members=$(scaled 5000)
each=$((members / 4)) # holds of a client: two a member

# run_hold VARIANT: one measurement on a fresh copy, and its check.
run_hold() {
	local variant=$1 commit=$2 script=bench/hold.pgbench
	[ "$variant" = engine ] || script=bench/hold_$variant.pgbench
	fresh hold_run "hold_$variant"
	clients "hold.$commit.$variant" hold_run "$script" 1 -t "$each" -D members="$members" -D each="$each" -D i=0
	if [ "$variant" = engine ]; then
		proof hold_run
		same hold_run 'points captured' 'SELECT sum(redeemed)::numeric, sum(held)::numeric FROM loyalty.account' "SELECT 150 * 8 * $each, 0"
	else
		same hold_run 'broken books' 'SELECT count(*) FROM broken_books' 'SELECT 0'
	fi
}

begin "hold: 8 clients, $members members of 12 lots"
shop hold_engine "$members" day
engine hold_engine
# A day at a time, as orders come.
sql hold_engine -v members="$members" >/dev/null <<-'SQL'
	SELECT format('INSERT INTO orders (customer_id, total, ordered_at)
		SELECT m, 100, %L FROM generate_series(1, %s) m',
		date_trunc('day', now()) - interval '1 day' * (d * 30), :members)
	FROM generate_series(12, 1, -1) d \gexec
	VACUUM ANALYZE;
SQL
fresh hold_plpgsql template1
sql hold_plpgsql -v members="$members" -v lots=12 -f bench/baseline/hold.sql
for commit in off on; do
	export PGOPTIONS="$options -c synchronous_commit=$commit"
	for ((run = 1; run <= RUNS; run++)); do
		for variant in $(turn $run engine plpgsql); do
			run_hold $variant $commit
		done
	done
	line "holds and captures per second / by plpgsql, synchronous_commit $commit" \
		"$(ratio "hold.$commit.engine.tps" "hold.$commit.plpgsql.tps")" '>=' 1.5
	line '    processor time' "$(ratio "hold.$commit.engine.cpu" "hold.$commit.plpgsql.cpu")"
done
export PGOPTIONS=$options
drop hold_run hold_engine hold_plpgsql
