# Many orders of one member in one statement.

few=$(scaled 5000) many=$(scaled 20000)
begin "hot: $few and $many orders of one member in one statement"
shop hot 1000 month
for n in "$few" "$many"; do
	sql hot -c "CREATE TABLE incoming_$n AS SELECT total, ordered_at FROM orders_of_a_year($n, 1)"
done
sql hot -c 'VACUUM ANALYZE'
fresh hot_row hot
sql hot_row -v members=1000 -f bench/baseline/books.sql -f bench/baseline/row_trigger.sql
fresh hot_engine hot
engine hot_engine

# Each run has a member of its own. The first order of a session reads the catalogues.
warm_up="INSERT INTO orders (customer_id, total) VALUES (1000, 1)"
for ((run = 1; run <= RUNS; run++)); do
	for n in "$few" "$many"; do
		insert="INSERT INTO orders (customer_id, total, ordered_at)
			SELECT $((2 * run + (n == many))), total, ordered_at FROM incoming_$n;"
		timed "hot.engine.$n" hot_engine "$warm_up" <<<"$insert"
		timed "hot.row.$n" hot_row "$warm_up" <<<"$insert"
	done
done
proof hot_engine
same hot_row 'broken books' 'SELECT count(*) FROM broken_books' 'SELECT 0'

line "time at $many / time at $few" "$(ratio "hot.engine.$many.time" "hot.engine.$few.time")" '<=' 5
line '    of the row trigger' "$(ratio "hot.row.$many.time" "hot.row.$few.time")"
line "time / row trigger's, $few orders" "$(ratio "hot.engine.$few.time" "hot.row.$few.time")" '<=' 0.1
line "time / row trigger's, $many orders" "$(ratio "hot.engine.$many.time" "hot.row.$many.time")" '<=' 0.1
drop hot hot_row hot_engine
