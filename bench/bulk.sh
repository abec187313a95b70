# A year's orders in one INSERT ... SELECT.

orders=$(scaled 1000000) members=$(scaled 100000)
insert='INSERT INTO orders (customer_id, total, ordered_at) SELECT customer_id, total, ordered_at FROM incoming;'

# What plain SQL must have written, too.
entries='SELECT count(*), sum(hashtextextended(concat_ws(chr(9), account_id, entry_no, lot_no, points, event_time, base, event), 0)) FROM SCHEMA.entry'
lots='SELECT count(*), sum(hashtextextended(concat_ws(chr(9), account_id, lot_no, issued, expires_at, earned_at, remaining), 0)) FROM SCHEMA.lot'
accounts='SELECT count(*), sum(hashtextextended(concat_ws(chr(9), account_id, entries, lots, live, earned, next_change), 0)) FROM SCHEMA.account WHERE entries > 0'

for rounding in month day; do
	begin "bulk: $orders orders over $members members in one statement; points expire at the end of a $rounding"
	shop bulk "$members" "$rounding"
	sql bulk -c "CREATE TABLE incoming AS SELECT * FROM orders_of_a_year($orders, $members)" -c 'VACUUM ANALYZE incoming'

	fresh bulk_floor bulk
	engine bulk_floor
	sql bulk_floor -c "$insert" -f bench/baseline/floor.sql
	for ((run = 1; run <= RUNS; run++)); do
		fresh bulk_engine bulk
		engine bulk_engine
		timed "$rounding.engine" bulk_engine <<<"$insert"
		books bulk_engine
		sql bulk_floor -f bench/baseline/floor_tables.sql
		timed "$rounding.floor" bulk_floor <bench/baseline/floor_write.sql
		[ "$run" != 1 ] || same bulk_floor 'the rows of the floor' \
			'SELECT count(*), sum(hashtextextended(e::text, 0)) FROM floor.entry e' \
			'SELECT count(*), sum(hashtextextended(e::text, 0)) FROM loyalty.entry e'
		sql bulk_floor -f bench/baseline/floor_tables.sql
		{ echo "\\set rounding $rounding"; cat bench/baseline/set_based.sql; } | timed "$rounding.plain" bulk_floor
		[ "$run" != 1 ] || for table in "$entries" "$lots" "$accounts"; do
			same bulk_floor 'the rows of plain SQL' "${table/SCHEMA/floor}" "${table/SCHEMA/loyalty}"
		done
	done
	proof bulk_engine
	fresh bulk_row bulk
	sql bulk_row -v members="$members" -f bench/baseline/books.sql -f bench/baseline/row_trigger.sql
	timed "$rounding.row" bulk_row <<<"$insert"
	same bulk_row 'broken books' 'SELECT count(*) FROM broken_books' 'SELECT 0'

	note "$(sql bulk_engine -c "SELECT format('%s entries in %s lots', (SELECT count(*) FROM loyalty.entry), (SELECT count(*) FROM loyalty.lot))")"
	line 'time / time of plain set-based SQL that writes the same' "$(ratio "$rounding.engine.time" "$rounding.plain.time")" '<=' 0.8
	line '    processor time' "$(ratio "$rounding.engine.cpu" "$rounding.plain.cpu")"
	line 'time / time of copying the rows, ready made and in order' "$(ratio "$rounding.engine.time" "$rounding.floor.time")" '<=' 1
	line '    processor time' "$(ratio "$rounding.engine.cpu" "$rounding.floor.cpu")"
	line 'time of a row trigger / time' "$(ratio "$rounding.row.time" "$rounding.engine.time")" '>=' 4
	drop bulk bulk_floor bulk_engine bulk_row
done
