# Statements of a hundred orders of random members, from eight clients at once.

members=$(scaled 100000)
begin "small: INSERTs of 100 orders, 8 clients, members at random"
shop small "$members" month

# variants: a database for each kind of trigger.
for trigger in row statement; do
	fresh "small_$trigger" small
	sql "small_$trigger" -v members="$members" -f bench/baseline/books.sql -f "bench/baseline/${trigger}_trigger.sql"
done
fresh small_engine small
engine small_engine

for among in "$members" 1000; do
	for ((run = 1; run <= RUNS; run++)); do
		for variant in engine row statement; do
			clients "small.$among.$variant" "small_$variant" bench/small.pgbench 100 -T "$seconds" -D members="$among"
		done
	done
	line "orders per second / row trigger's, $among members" \
		"$(ratio "small.$among.engine.tps" "small.$among.row.tps")" '>=' 4.5
	line "    / statement trigger's" "$(ratio "small.$among.engine.tps" "small.$among.statement.tps")" '>=' 1.2
	line '    deadlocks' "$(total "small.$among.engine.deadlocks")" '==' 0
	line '    deadlocks of the row trigger' "$(total "small.$among.row.deadlocks")"
	line '    deadlocks of the statement trigger' "$(total "small.$among.statement.deadlocks")"
done
books small_engine
for trigger in row statement; do
	same "small_$trigger" 'broken books' 'SELECT count(*) FROM broken_books' 'SELECT 0'
done
drop small small_row small_statement small_engine
