# Statements of one order, from eight clients at once.

members=$(scaled 100000)
begin 'single: INSERTs of one order, 8 clients'
shop single "$members" month
fresh single_bare single
fresh single_row single
sql single_row -v members="$members" -f bench/baseline/books.sql -f bench/baseline/row_trigger.sql
fresh single_engine single
engine single_engine

for commit in off on; do
	export PGOPTIONS="$options -c synchronous_commit=$commit"
	for ((run = 1; run <= RUNS; run++)); do
		for variant in $(turn $run engine row bare); do
			clients "single.$commit.$variant" "single_$variant" bench/single.pgbench 1 -T "$seconds" -D members="$members"
		done
	done
	line "orders per second / row trigger's, synchronous_commit $commit" \
		"$(ratio "single.$commit.engine.tps" "single.$commit.row.tps")" '>=' "$([ $commit = off ] && echo 1.3 || echo 1.05)"
	line "    / a table's without triggers" "$(ratio "single.$commit.engine.tps" "single.$commit.bare.tps")"
	line "server's processor time / row trigger's" "$(ratio "single.$commit.engine.cpu" "single.$commit.row.cpu")" '<=' 0.75
	line "    / a table's without triggers" "$(ratio "single.$commit.engine.cpu" "single.$commit.bare.cpu")"
done
export PGOPTIONS=$options
proof single_engine
same single_row 'broken books' 'SELECT count(*) FROM broken_books' 'SELECT 0'
drop single single_bare single_row single_engine
