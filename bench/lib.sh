# Sourced by bench/run: what the cases measure with.
#
# A figure is a key and a value, appended to $figures; a key measured several times has
# several values, in the order of its runs. Two keys that were measured in turns are
# compared run by run, and the median of those quotients is the result.

# sql DATABASE [psql's arguments]
sql() {
	psql -XqAt -v ON_ERROR_STOP=1 -d "$@"
}

# fresh DATABASE TEMPLATE: a copy, as if never used.
fresh() {
	drop "$1"
	sql postgres -c "CREATE DATABASE $1 TEMPLATE $2 STRATEGY file_copy"
}

drop() {
	local name
	for name; do sql postgres -c "DROP DATABASE IF EXISTS $name WITH (FORCE)"; done
}

# scaled N: N at the run's scale.
scaled() {
	awk -v n="$1" -v scale="$SCALE" 'BEGIN { n = int(n * scale + 0.5); print n < 1 ? 1 : n }'
}

put() {
	echo "$1 $2" >>"$figures"
}

# values KEY
values() {
	awk -v key="$1" '$1 == key { print $2 }' "$figures"
}

median() {
	sort -g | awk '{ v[NR] = $1 } END { if (NR) printf "%.4f\n", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# ratio KEY KEY
ratio() {
	paste <(values "$1") <(values "$2") | awk 'NF == 2 && $2 > 0 { printf "%.4f\n", $1 / $2 }' | median
}

# total KEY
total() {
	values "$1" | awk '{ t += $1 } END { print t + 0 }'
}

# timed KEY DATABASE [WARM_UP] <SQL: milliseconds of the statements as KEY.time, and of its
# backend's processor as KEY.cpu.
timed() {
	local out
	out=$(
		{
			echo '\set QUIET on'
			echo 'SELECT pg_backend_pid() AS pid \gset'
			echo '\setenv PID :pid'
			echo "${3:-};"
			echo '\! echo cpu $(cut -d" " -f1 /proc/$PID/schedstat)'
			echo '\timing on'
			cat
			echo '\timing off'
			echo '\! echo cpu $(cut -d" " -f1 /proc/$PID/schedstat)'
		} | sql "$2"
	) || die "$1 failed"
	put "$1.time" "$(awk '$1 == "Time:" { t += $2 } END { print t }' <<<"$out")"
	put "$1.cpu" "$(awk '$1 == "cpu" { c = $2 / 1e6 - c } END { print c }' <<<"$out")"
}

# peak KEY DATABASE SQL: megabytes of anonymous memory (shared buffers are not in it) of
# the statement's backend at its peak, read as often as can be, as KEY.memory.
peak() {
	local pid
	rm -f "$dir/pid"
	sql "$2" >"$dir/pid" -c 'SELECT pg_backend_pid()' -c '\o /dev/null' -c "$3" &
	until [ -s "$dir/pid" ] || ! kill -0 $! 2>/dev/null; do sleep 0.05; done
	pid=$(cat "$dir/pid")
	while [ -n "$pid" ] && [ -d "/proc/$pid" ]; do
		awk '/^RssAnon:/ { print $2 / 1024 }' "/proc/$pid/status" 2>/dev/null || true
		sleep 0.05
	done >"$dir/memory"
	wait $! || die "$1 failed"
	put "$1.memory" "$(sort -g "$dir/memory" | tail -1)"
}

# peer NAME ARGUMENT... <CSV: runs bench/baseline/NAME.py, which prints keys and values.
# The packages of Debian are Debian's Python's, and one thread is compared with one.
peer() {
	local name=$1
	shift
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 /usr/bin/python3 "bench/baseline/$name.py" "$@"
}

# has_peers MODULE...: whether Debian's Python has them, or apt could install them.
has_peers() {
	local module
	for module; do
		/usr/bin/python3 -c "import $module" 2>/dev/null || test/harness/deps "python3-$module" || true
		/usr/bin/python3 -c "import $module" 2>/dev/null ||
			{ note "not compared: python3-$module is missing"; return 1; }
	done
}

# near WHAT NUMBER NUMBER TOLERANCE: they agree, relative to the second.
near() {
	awk -v a="$2" -v b="$3" -v tolerance="$4" 'BEGIN {
		d = a - b; exit !(a != "" && b != "" && (d < 0 ? -d : d) <= tolerance * (b < 0 ? -b : b)) }' ||
		die "$1: $2, not $3"
	checks=$((checks + 1))
}

# purchases: the database of that name, made once in a run.
purchases() {
	[ -z "${purchases_made:-}" ] || return 0
	fresh purchases template1
	sql purchases -v customers="$(scaled 1000000)" -f bench/purchases.sql >/dev/null
	purchases_made=yes
}

# Processor seconds of the whole server so far, ended backends included.
server_cpu() {
	local pid
	for pid in $postmaster $(cat /proc/"$postmaster"/task/"$postmaster"/children); do
		sed 's/^.*) //' "/proc/$pid/stat" 2>/dev/null || true
	done | awk -v hz="$(getconf CLK_TCK)" \
		'{ t += $12 + $13 } NR == 1 { t += $14 + $15 } END { print t / hz }'
}

# turn RUN VARIANT...: the variants, there and back: none always comes after the same one.
turn() {
	local run=$1
	shift
	if ((run % 2)); then printf '%s\n' "$@"; else printf '%s\n' "$@" | tac; fi
}

# clients KEY DATABASE SCRIPT UNITS pgbench's arguments...: eight clients. A transaction
# is worth UNITS. Puts KEY.tps (units that committed, a second), KEY.cpu (processor
# milliseconds a unit), KEY.failed and KEY.deadlocks.
clients() {
	local key=$1 db=$2 script=$3 units=$4 out before children
	shift 4
	children=$(wc -w </proc/"$postmaster"/task/"$postmaster"/children)
	before=$(server_cpu)
	out=$(pgbench -n -c 8 -j 2 -M prepared --failures-detailed -f "$script" "$@" "$db" 2>&1) ||
		{ echo "$out" >&2; die "$key failed"; }
	# A backend's time is in its parent's once it has ended.
	while [ "$(wc -w </proc/"$postmaster"/task/"$postmaster"/children)" -gt "$children" ]; do sleep 0.05; done
	if grep -q aborted <<<"$out"; then
		echo "$out" >&2
		die "$key failed"
	fi
	awk -v key="$key" -v units="$units" -v cpu="$(awk -v a="$before" -v b="$(server_cpu)" 'BEGIN { print b - a }')" '
		/^number of transactions actually processed/ { split($6, n, "/"); done = n[1] }
		/^number of failed transactions/ { failed = $5 }
		/^number of deadlock failures/ { deadlocks = $5 }
		/^tps/ { tps = $3 }
		END {
			print key ".tps", tps * units
			print key ".cpu", 1000 * cpu / (done * units)
			print key ".failed", failed + 0
			print key ".deadlocks", deadlocks + 0
		}' <<<"$out" >>"$figures"
}

# books DATABASE: the engine's books hold, or the run ends here.
books() {
	local wrong
	wrong=$(sql "$1" -f bench/check.sql) || die "the check of $1 failed"
	[ -z "$wrong" ] || { echo "$wrong" >&2; die "the books of $1 do not hold"; }
	checks=$((checks + 1))
}

# proof DATABASE: the same, and everything that verify() looks at, every hash among it.
proof() {
	local wrong
	books "$1"
	wrong=$(sql "$1" -c 'SELECT * FROM loyalty.verify() LIMIT 10') || die "verify() of $1 failed"
	[ -z "$wrong" ] || { echo "$wrong" >&2; die "the books of $1 do not hold"; }
}

# same DATABASE WHAT QUERY QUERY: the two answer the same.
same() {
	local a b
	a=$(sql "$1" -c "$3") || die "$2 can't be checked"
	b=$(sql "$1" -c "$4") || die "$2 can't be checked"
	[ "$a" = "$b" ] || die "$2: $a, not $b"
	checks=$((checks + 1))
}

begin() {
	printf '\n%s\n' "$*"
}

# line WHAT VALUE [OPERATOR GOAL]: a line of the table.
line() {
	local verdict=''
	if [ -n "${3:-}" ]; then
		verdict=$(awk -v v="$2" -v op="$3" -v goal="$4" 'BEGIN {
			print (op == "<=" ? v <= goal : op == "<" ? v < goal : op == ">=" ? v >= goal : v == goal) ? "met" : "MISSED" }')
		[ "$verdict" = met ] || missed=$((missed + 1))
	fi
	awk -v what="$1" -v v="$2" -v op="${3:-}" -v goal="${4:-}" -v verdict="$verdict" 'BEGIN {
		printf "  %-80s %7s", what, v !~ /[.]/ ? v : sprintf(v < 10 ? "%.2f" : "%.1f", v)
		if (op != "") printf "   goal %2s %-5s %s", op == "==" ? "=" : op, goal, verdict
		printf "\n" }'
}

note() {
	printf '  %s\n' "$*"
}

# shop DATABASE MEMBERS ROUNDING: a program and its members, an empty orders table.
shop() {
	fresh "$1" template1
	sql "$1" -v members="$2" -v rounding="$3" -f bench/shop.sql >/dev/null
}


# engine DATABASE: its orders earn by the engine from here on.
engine() {
	sql "$1" -c "SELECT loyalty.attach('orders', 'club', 'customer_id', 'total', 'ordered_at')" >/dev/null
}
