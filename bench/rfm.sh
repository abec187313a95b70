# RFM summaries of a million customers' ten million purchases.

purchases
begin "rfm: rfm_agg of $(sql purchases -c 'SELECT count(*) FROM purchase') purchases, serial"
export PGOPTIONS="$options -c max_parallel_workers_per_gather=0"
plain='SELECT customer, count(*), min(at), max(at), sum(amount) FROM purchase GROUP BY customer'
summary="SELECT customer, loyalty.rfm_agg(at, amount, '2024-01-01Z') FROM purchase GROUP BY customer"

# As the server comes, where both spill to disk; and where both fit into memory.
for memory in '4MB' '1GB'; do
	timed "rfm.$memory.agg" purchases "SET work_mem = '$memory'" <<<"EXPLAIN (ANALYZE, TIMING OFF) $summary;"
	timed "rfm.$memory.plain" purchases "SET work_mem = '$memory'" <<<"EXPLAIN (ANALYZE, TIMING OFF) $plain;"
	line "processor / that of count, min, max, sum by customer, work_mem $memory" \
		"$(ratio "rfm.$memory.agg.cpu" "rfm.$memory.plain.cpu")" '<=' 1.3
done
peak rfm.agg purchases "EXPLAIN (ANALYZE, TIMING OFF) $summary"
line 'megabytes of the backend at its peak, work_mem 4MB' "$(values rfm.agg.memory)" '<' 64

# One customer in a hundred by plain SQL.
same purchases 'the summaries' "SELECT count(*), round(sum(loyalty.frequency(r))), round(sum(loyalty.recency(r))), round(sum(loyalty.age(r))), round(sum(loyalty.monetary(r))::numeric, 4)
	FROM (SELECT loyalty.rfm_agg(at, amount, '2024-01-01Z') AS r FROM purchase WHERE customer % 100 = 0 GROUP BY customer) t" \
	"SELECT count(*), sum(days - 1), sum(last - first), sum(date '2024-01-01' - first), round(sum(later)::numeric, 4)
	FROM (SELECT count(*) AS days, min(day) AS first, max(day) AS last, (sum(spent) - (array_agg(spent ORDER BY day))[1]) / nullif(count(*) - 1, 0) AS later
		FROM (SELECT customer, (at AT TIME ZONE 'UTC')::date AS day, sum(amount) AS spent FROM purchase WHERE customer % 100 = 0 GROUP BY 1, 2) d
		GROUP BY customer) c"

# pandas, on the purchases of one customer in ten.
if has_peers pandas; then
	sql purchases -c 'CREATE UNLOGGED TABLE tenth AS SELECT * FROM purchase WHERE customer % 10 = 0' -c 'VACUUM ANALYZE tenth'
	timed rfm.tenth purchases <<<"CREATE TABLE tenth_rfm AS SELECT loyalty.rfm_agg(at, amount, '2024-01-01Z') AS r FROM tenth GROUP BY customer;"
	export_started=$(now)
	sql purchases -c "COPY (SELECT customer, extract(epoch FROM at)::float8, amount FROM tenth) TO STDOUT (FORMAT csv)" >"$dir/tenth.csv"
	put rfm.export.time $(($(now) - export_started))
	peer rfm <"$dir/tenth.csv" >"$dir/peer"
	rm "$dir/tenth.csv"
	put rfm.peer.cpu "$(awk '$1 == "cpu" { print $2 }' "$dir/peer")"
	line 'time / that of only writing those purchases to a file, one customer in ten' "$(ratio rfm.tenth.time rfm.export.time)"
	line 'processor / that of pandas, which reads that file' "$(ratio rfm.tenth.cpu rfm.peer.cpu)"
	for column in frequency recency age monetary; do
		near "$column by pandas" "$(awk -v key=$column '$1 == key { print $2 }' "$dir/peer")" \
			"$(sql purchases -c "SELECT sum(loyalty.$column(r)) FROM tenth_rfm")" 1e-9
	done
	sql purchases -c 'DROP TABLE tenth, tenth_rfm'
fi
export PGOPTIONS=$options
