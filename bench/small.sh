# Statements of a hundred orders of random members, from eight clients at once.

members=$(scaled 100000)
triggers='row_trigger statement_trigger statement_trigger_lots'
begin "small: INSERTs of 100 orders, 8 clients, members at random"
shop small "$members" month
for trigger in $triggers; do
	fresh "small_$trigger" small
	sql "small_$trigger" -v members="$members" -f bench/baseline/books.sql -f "bench/baseline/$trigger.sql"
done
fresh small_engine small
engine small_engine

for among in "$members" 1000; do
	for ((run = 1; run <= RUNS; run++)); do
		for variant in $(turn $run engine $triggers); do
			clients "small.$among.$variant" "small_$variant" bench/small.pgbench 100 -T "$seconds" -D members="$among"
		done
	done
	against() {
		ratio "small.$among.engine.$2" "small.$among.$1.$2"
	}
	line "orders per second / row trigger's, $among members" "$(against row_trigger tps)" '>=' 4.5
	line "    / statement trigger's" "$(against statement_trigger tps)" '>=' 1.2
	line "    / that of a statement trigger that keeps lots" "$(against statement_trigger_lots tps)"
	line "processor time / row trigger's" "$(against row_trigger cpu)"
	line "    / statement trigger's" "$(against statement_trigger cpu)"
	line "    / that of a statement trigger that keeps lots" "$(against statement_trigger_lots cpu)"
	line 'deadlocks' "$(total "small.$among.engine.deadlocks")" '==' 0
	line '    of the row trigger' "$(total "small.$among.row_trigger.deadlocks")"
done
proof small_engine
for trigger in $triggers; do
	same "small_$trigger" 'broken books' 'SELECT count(*) FROM broken_books' 'SELECT 0'
	drop "small_$trigger"
done
drop small small_engine
