# Redemptions from lots of 100 points by eight clients. Each takes 150, so it touches two.

members=$(scaled 5000)
each=$((members / 4)) # redemptions of a client: two a member

redeem_shop() {
	shop "$1" "$members" day
	engine "$1"
	# A day at a time, as orders come.
	sql "$1" -v members="$members" -v lots="$2" >/dev/null <<-'SQL'
		SELECT format('INSERT INTO orders (customer_id, total, ordered_at)
			SELECT m, 100, %L FROM generate_series(1, %s) m',
			date_trunc('day', now()) - interval '1 day' * (d * 360 / :lots), :members)
		FROM generate_series(:lots, 1, -1) d \gexec
		VACUUM ANALYZE;
	SQL
}

# run_redeem KEY VARIANT LOTS: one measurement on a fresh copy, and its check.
run_redeem() {
	local key=$1 variant=$2 lots=$3 script=bench/redeem.pgbench
	[ "$variant" = engine ] || script=bench/redeem_$variant.pgbench
	fresh redeem_run "redeem_$variant$lots"
	clients "$key" redeem_run "$script" 1 -t "$each" -D members="$members" -D each="$each" -D i=0
	if [ "$variant" = engine ]; then
		books redeem_run
		same redeem_run 'points spent' 'SELECT sum(redeemed)::numeric FROM loyalty.account' "SELECT 150 * 8 * $each"
	else
		same redeem_run 'broken books' 'SELECT count(*) FROM broken_books' 'SELECT 0'
	fi
}

# pages DATABASE CALL: those that one call reads, a mean over members. %s is the member.
pages() {
	fresh redeem_run "$1"
	sql redeem_run <<-SQL | awk '
		/^Result/ { calls++ }
		# The first calls of a session read the catalogues too; planning comes after the call.
		/Buffers:/ && calls > 10 && calls != seen { seen = calls; gsub(/[a-z]+=/, ""); n++; sum += $3 + $4 }
		END { print sum / n }'
		SELECT format(\$\$EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) $2\$\$, m) FROM generate_series(1, 60) m \gexec
	SQL
}

begin "redeem: 8 clients, $members members"
sql postgres -c 'CREATE DATABASE redeem_transfer'
sql redeem_transfer -v members="$members" -f bench/baseline/transfer.sql
for lots in 12 100; do
	redeem_shop "redeem_engine$lots" "$lots"
	fresh "redeem_window$lots" template1
	sql "redeem_window$lots" -v members="$members" -v lots="$lots" -f bench/baseline/redeem.sql
	for commit in off on; do
		export PGOPTIONS="$options -c synchronous_commit=$commit"
		for ((run = 1; run <= RUNS; run++)); do
			for variant in $(turn $run engine window); do
				run_redeem "redeem.$lots.$commit.$variant" $variant "$lots"
			done
			[ "$lots" = 100 ] || run_redeem "redeem.$commit.transfer" transfer ''
		done
		goal=1.7
		if [ $commit = off ]; then [ "$lots" = 12 ] && goal=2.2 || goal=4; fi
		line "redemptions per second / by window functions, $lots lots, synchronous_commit $commit" \
			"$(ratio "redeem.$lots.$commit.engine.tps" "redeem.$lots.$commit.window.tps")" '>=' $goal
		line '    processor time' "$(ratio "redeem.$lots.$commit.engine.cpu" "redeem.$lots.$commit.window.cpu")"
		line '    per second / transfers of a ledger without lots' \
			"$(ratio "redeem.$lots.$commit.engine.tps" "redeem.$commit.transfer.tps")"
	done
done
export PGOPTIONS=$options
for lots in 12 100; do
	put redeem.pages.engine$lots "$(pages "redeem_engine$lots" "SELECT loyalty.redeem('club', '%s', 150)")"
	put redeem.pages.window$lots "$(pages "redeem_window$lots" 'SELECT redeem(%s, 150)')"
done
line 'pages read by a redemption of two lots, with 100 open ones / with 12' \
	"$(ratio redeem.pages.engine100 redeem.pages.engine12)" '<=' 1.25
line '    by window functions' "$(ratio redeem.pages.window100 redeem.pages.window12)"

# All clients at twenty members until nothing is left: each can pay exactly eight times.
fresh redeem_run redeem_engine12
sql redeem_run -c "CREATE FUNCTION try_redeem(member bigint, points int) RETURNS boolean LANGUAGE plpgsql AS \$\$
	BEGIN
		PERFORM loyalty.redeem('club', member::text, points);
		RETURN true;
	EXCEPTION WHEN SQLSTATE 'LY301' THEN
		RETURN false;
	END \$\$"
clients redeem.drain redeem_run bench/redeem_drain.pgbench 1 -t 200
proof redeem_run
same redeem_run 'redemptions of drained members' \
	"SELECT count(*), sum(points)::numeric FROM loyalty.entry WHERE kind = 'redeem'" 'SELECT 160, -24000'
line 'double spends' "$(sql redeem_run -c "SELECT count(*) - 160 FROM loyalty.entry WHERE kind = 'redeem'")" '==' 0
drop redeem_run redeem_transfer redeem_engine12 redeem_engine100 redeem_window12 redeem_window100
