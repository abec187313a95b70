# A ledger of 10,000,000 entries over 200,000 accounts: proving it, asking it, a million redemptions
# with autovacuum as a shop has it, and an archive.

entries=$(scaled 10000000) members=$(scaled 200000) redemptions=$(scaled 1000000)
tenth=$((members / 10 > 10 ? members / 10 : 10))

# The canonical bytes of docs/audit.md in plain SQL, but for what an entry did to lots. The hash before is left at
# zeros: what is compared is the reading, making and hashing of bytes, and those of a first entry are checked.
plain="sha256('\\x01'::bytea || '\\x$(printf '%064d' 0)'::bytea || int8send(account_id) || int4send(entry_no) || loyalty.points_send(points)
	|| timestamptz_send(event_time) || timestamptz_send(recorded_at) || int4send(actor_id) || substr(int4send(octet_length(kind)), 4) || convert_to(kind, 'UTF8')
	|| set_byte(set_byte('\\x0000', 0, (base IS NOT NULL)::int + 2 * (refunded IS NOT NULL)::int + 4 * (forgiven IS NOT NULL)::int
		+ 8 * (lot_no IS NOT NULL)::int + 16 * (source_id IS NOT NULL)::int + 32 * (rule_id IS NOT NULL)::int + 64 * (reverses IS NOT NULL)::int),
		1, (event IS NOT NULL)::int + 2 * (line IS NOT NULL)::int)
	|| coalesce(loyalty.points_send(base), '') || coalesce(loyalty.points_send(refunded), '') || coalesce(loyalty.points_send(forgiven), '')
	|| coalesce(int4send(lot_no), '') || coalesce(int4send(source_id), '') || coalesce(int4send(rule_id), '') || coalesce(int4send(reverses), '')
	|| coalesce(int4send(octet_length(event)) || convert_to(event, 'UTF8'), '') || coalesce(int4send(octet_length(line)) || convert_to(line, 'UTF8'), ''))"

# size_shop DATABASE MEMBERS ORDERS: twenty statements, as a year's orders come in: an account's
# entries lie far apart.
size_shop() {
	local part
	shop "$1" "$2" month
	engine "$1"
	for part in $(seq 0 19); do
		sql "$1" -c "INSERT INTO orders (customer_id, total, ordered_at)
			SELECT customer_id, total, ordered_at - interval '1 day' * (365 * (19 - $part) / 20.0)
			FROM (SELECT customer_id, total, date_trunc('day', now()) - (date_trunc('day', now()) - ordered_at) / 20 AS ordered_at
				FROM orders_of_a_year($(($3 / 20)), $2)) o" -c CHECKPOINT
	done
	# Another program's few accounts in between.
	sql "$1" >/dev/null <<-'SQL'
		SELECT loyalty.create_program('cafe');
		SELECT count(loyalty.enrol('cafe', 'guest ' || i)) FROM generate_series(1, 100) i;
		SELECT count(loyalty.adjust('cafe', 'guest ' || i, 5, 'welcome')) FROM generate_series(1, 100) i;
		VACUUM ANALYZE;
	SQL
}

# size_pages DATABASE CALL: pages that one call reads, a mean over members. %s is the member.
size_pages() {
	sql "$1" <<-SQL | awk '
		/^Result/ || /^Function Scan/ { calls++ }
		/Buffers:/ && calls > 10 && calls != seen { seen = calls; gsub(/[a-z]+=/, ""); n++; sum += $3 + $4 }
		END { print n ? sum / n : "no" }'
		SELECT format(\$\$EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) $2\$\$, m) FROM generate_series(1, 60) m \gexec
	SQL
}

# tables WHEN: sizes in pages and updates so far, of what redemptions change.
tables() {
	sql size -c 'SELECT pg_stat_force_next_flush()' >/dev/null
	sql size -c "SELECT '$1.lot.closed ' || count(*) FROM loyalty.lot WHERE NOT open" \
		-c "SELECT '$1.' || relname || '.heap ' || pg_relation_size(relid) / 8192, '$1.' || relname || '.index ' || pg_indexes_size(relid) / 8192,
			'$1.' || relname || '.updates ' || n_tup_upd, '$1.' || relname || '.hot ' || n_tup_hot_upd
		FROM pg_stat_user_tables WHERE schemaname = 'loyalty' AND relname IN ('account', 'lot')" | tr '|' '\n' >>"$figures"
}

# hot TABLE OTHERS [OPERATOR GOAL]: heap-only updates of all but so many others.
hot() {
	line "    heap-only updates of $1 / updates$([ "$2" = 0 ] || echo ' that leave points in the lot')" \
		"$(awk -v u="$(($(values "after.$1.updates") - $(values "before.$1.updates") - $2))" \
			-v h="$(($(values "after.$1.hot") - $(values "before.$1.hot")))" 'BEGIN { printf "%.4f", (u > 0 ? h / u : 0) }')" "${@:3}"
}

begin "size: $entries entries over $members accounts"
# The write-ahead log of the load would take more room than the ledger.
sql postgres -c "ALTER SYSTEM SET max_wal_size = '2GB'" -c 'SELECT pg_reload_conf()' >/dev/null
size_shop size "$members" "$entries"
note "$(sql size -c "SELECT format('the ledger takes %s, %s of it entries with %s of indexes; %s lots',
		pg_size_pretty(sum(pg_total_relation_size(c.oid))), pg_size_pretty(pg_relation_size('loyalty.entry')),
		pg_size_pretty(pg_indexes_size('loyalty.entry')), (SELECT count(*) FROM loyalty.lot))
	FROM pg_class c WHERE relnamespace = 'loyalty'::regnamespace AND relkind = 'r'")"
books size
same size 'the canonical bytes of first entries' "SELECT count(*) FROM loyalty.entry WHERE entry_no = 1 AND $plain = loyalty._entry_hash(NULL, account_id, entry_no, lot_no,
	points, event_time, recorded_at, actor_id, base, refunded, forgiven, source_id, rule_id, reverses, kind, event, line)" \
	'SELECT count(*) FROM loyalty.entry WHERE entry_no = 1'
for workers in 0 2; do
	for ((run = 1; run <= RUNS; run++)); do
		for side in verify plain; do
			query='SELECT count(*) FROM loyalty.verify();'
			[ $side = verify ] || query="SELECT count($plain) FROM loyalty.entry;"
			timed size.$side.$workers size "SET max_parallel_workers_per_gather = $workers" <<<"$query"
		done
	done
done
line 'time of verify() / of count(sha256(…)) over the bytes of its entries, one process' "$(ratio size.verify.0.time size.plain.0.time)" '<' 1
line '    processor time' "$(ratio size.verify.0.cpu size.plain.0.cpu)" '<' 1
line '    time with two parallel workers' "$(ratio size.verify.2.time size.plain.2.time)" '<' 1
line '    time of verify() in one process / with two workers' "$(ratio size.verify.0.time size.verify.2.time)"
note "microseconds of one processor an entry: $(awk -v t="$(values size.verify.0.cpu | median)" -v n="$entries" 'BEGIN { printf "%.2f", 1000 * t / n }')"
timed size.cafe size <<<"SELECT count(*) FROM loyalty.verify('cafe');"
line 'time of verify() of a program of 100 accounts / of all' "$(ratio size.cafe.time size.verify.0.time)" '<=' 0.2

size_shop size_tenth "$tenth" "$((entries / (members / tenth)))"
for db in size size_tenth; do
	put "$db.balance" "$(size_pages $db "SELECT loyalty.balance('club', '%s')")"
	put "$db.statement" "$(size_pages $db "SELECT * FROM loyalty.statement('club', '%s', now() - interval '1 month', now())")"
done
# An index may be a page deeper.
line "pages read by a balance" "$(values size.balance | median)" '<=' 6
line "    / with $tenth accounts" "$(ratio size.balance size_tenth.balance)" '<=' 1.34
line "pages read by a member's statement / with $tenth accounts" "$(ratio size.statement size_tenth.statement)" '<=' 1.34

sql postgres -c 'ALTER SYSTEM SET autovacuum = on' -c 'SELECT pg_reload_conf()' >/dev/null
tables before
each=$((redemptions / 8))
clients size.redeem size bench/redeem.pgbench 1 -t $each -D members="$members" -D each=$each -D i=0
tables after
sql postgres -c 'ALTER SYSTEM SET autovacuum = off' -c 'SELECT pg_reload_conf()' >/dev/null
note "$redemptions redemptions, $(values size.redeem.tps | median) a second"
for table in account lot; do
	for part in heap index; do
		line "size of $table$([ $part = heap ] || echo "'s indexes") after them / before" "$(ratio after.$table.$part before.$table.$part)" '<=' 1.5
	done
	hot "$table" 0 $([ $table = lot ] || echo ">= 0.9")
done
# A lot that is used up leaves the index of open lots: no heap-only update can do that.
hot lot "$(($(values after.lot.closed) - $(values before.lot.closed)))" '>=' 0.9
proof size

sql size_tenth -c 'SELECT loyalty.checkpoint()' >/dev/null
before=$(sql size_tenth -c 'SELECT count(*) FROM loyalty.entry')
sql size_tenth -c "SELECT date_trunc('milliseconds', now()) AS cut" >"$dir/cut"
timed size.archive size_tenth <<<"CALL loyalty.archive('$(cat "$dir/cut")');"
same size_tenth 'what was archived' 'SELECT count(*) FROM loyalty.archived_entry' "SELECT $before"
same size_tenth 'the proof of the archive' 'SELECT count(*) FROM loyalty.verify_archive()' 'SELECT 0'
same size_tenth 'the proof of the rest' 'SELECT count(*) FROM loyalty.verify()' 'SELECT 0'
note "archive(): $(awk -v t="$(values size.archive.time | median)" -v n="$before" 'BEGIN { printf "%.0f", 1000 * t / n }') microseconds an entry"
timed size.rest size_tenth <<<'SELECT count(*) FROM loyalty.verify();'
timed size.archived size_tenth <<<'SELECT count(*) FROM loyalty.verify_archive();'
line 'time of verify() after archiving everything / of verify_archive()' "$(ratio size.rest.time size.archived.time)"
sql postgres -c 'ALTER SYSTEM RESET ALL' -c 'SELECT pg_reload_conf()' >/dev/null
drop size size_tenth
