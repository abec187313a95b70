# Models of repeat buying fitted to a million customers, and asked of each.

purchases
export PGOPTIONS="$options -c max_parallel_workers_per_gather=0 -c work_mem=256MB"
sql purchases <<'SQL'
CREATE UNLOGGED TABLE history AS
	SELECT customer, loyalty.rfm_agg(at, amount, '2024-01-01Z') AS r FROM purchase GROUP BY customer;
VACUUM ANALYZE history;
CREATE TABLE model (family text, part text, m loyalty.clv_model);
SQL
begin "clv: $(sql purchases -c 'SELECT count(*) FROM history') customers, serial"

# take DIVISOR: one customer in so many, in a table and a file for the peer.
take() {
	sql purchases -c 'DROP TABLE IF EXISTS part' \
		-c "CREATE UNLOGGED TABLE part AS SELECT r FROM history WHERE customer % $1 = 0" -c 'VACUUM ANALYZE part' \
		-c "COPY (SELECT loyalty.frequency(r), loyalty.recency(r), loyalty.age(r), loyalty.monetary(r) FROM part) TO STDOUT (FORMAT csv)" >"$dir/part.csv"
}
peer_says() {
	awk -v key="$1" '$1 == key { print $2 }' "$dir/peer"
}
goal() {
	awk -v seconds="$1" -v scale="$SCALE" 'BEGIN { print seconds * scale }'
}
seconds_of() {
	values "$1.cpu" | median | awk '{ printf "%.3f", $1 / 1000 }'
}

peers=no
if has_peers numpy scipy; then peers=yes; fi
while read -r family bound divisor; do
	for ((run = 1; run <= RUNS; run++)); do
		timed "clv.fit.$family" purchases \
			<<<"DELETE FROM model WHERE family = '$family' AND part = 'all'; INSERT INTO model SELECT '$family', 'all', loyalty.clv_fit(r, '$family') FROM history;"
	done
	line "processor seconds of a fit, $family" "$(seconds_of "clv.fit.$family")" ${bound:+'<=' "$(goal "$bound")"}
	if [ $peers = yes ]; then
		take "$divisor"
		timed "clv.part.$family" purchases <<<"INSERT INTO model SELECT '$family', 'part', loyalty.clv_fit(r, '$family') FROM part;"
		peer clv fit "$family" <"$dir/part.csv" >"$dir/peer"
		put "clv.peer.$family.cpu" "$(peer_says cpu)"
		line "  processor / that of scipy, one customer in $divisor" "$(ratio "clv.part.$family.cpu" "clv.peer.$family.cpu")"
		near "log-likelihood of $family by scipy" "$(peer_says log_likelihood)" \
			"$(sql purchases -c "SELECT loyalty.log_likelihood(m) FROM model WHERE family = '$family' AND part = 'part'")" 1e-6
	fi
done <<'FAMILIES'
bgnbd 1 20
mbgnbd 1 20
pareto_nbd 8 100
FAMILIES
timed clv.fit.gamma_gamma purchases \
	<<<"INSERT INTO model SELECT 'gamma_gamma', 'all', loyalty.clv_fit(r, 'gamma_gamma') FROM history;"
line 'processor seconds of a fit, gamma_gamma' "$(seconds_of clv.fit.gamma_gamma)"

# What the models say of each customer: all at once, and beside scipy of one in twenty.
[ $peers = no ] || take 20
for family in mbgnbd pareto_nbd; do
	m="(SELECT m AS m FROM model WHERE family = '$family' AND part = 'all') f"
	for ((run = 1; run <= RUNS; run++)); do
		timed "clv.ask.$family" purchases <<<"SELECT sum(loyalty.p_alive(m, r)), sum(loyalty.expected_purchases(m, r, 90)) FROM $m, history;"
	done
	line "processor seconds of p_alive and expected_purchases of all, $family" "$(seconds_of "clv.ask.$family")" '<=' "$(goal 1)"
	[ $peers = yes ] || continue
	timed "clv.ask.part.$family" purchases <<<"SELECT sum(loyalty.p_alive(m, r)), sum(loyalty.expected_purchases(m, r, 90)) FROM $m, part;"
	# shellcheck disable=SC2046 # the parameters, one word each
	peer clv ask "$family" $(sql purchases -c "SELECT string_agg(p.value, ' ' ORDER BY array_position('{r,alpha,a,s,b,beta}', p.key)) FROM $m, jsonb_each_text(loyalty.parameters(m)) p") 90 <"$dir/part.csv" >"$dir/peer"
	put "clv.ask.peer.$family.cpu" "$(peer_says cpu)"
	line '  processor / that of scipy, one customer in 20' "$(ratio "clv.ask.part.$family.cpu" "clv.ask.peer.$family.cpu")"
	near "P(alive) of $family by scipy" "$(peer_says p_alive)" "$(sql purchases -c "SELECT sum(loyalty.p_alive(m, r)) FROM $m, part")" 1e-6
	near "purchases of $family by scipy" "$(peer_says expected)" "$(sql purchases -c "SELECT sum(loyalty.expected_purchases(m, r, 90)) FROM $m, part")" 1e-6
done

m="(SELECT loyalty.with_spend((SELECT m FROM model WHERE family = 'mbgnbd' AND part = 'all'), (SELECT m FROM model WHERE family = 'gamma_gamma')) AS m OFFSET 0) f"
for ((run = 1; run <= RUNS; run++)); do
	timed clv.clv purchases <<<"SELECT sum(loyalty.clv(m, r, 360, 30, 0.01)) FROM $m, history;"
done
line 'processor seconds of the CLV of twelve months of all, mbgnbd' "$(seconds_of clv.clv)" '<=' "$(goal 1.5)"
if [ $peers = yes ]; then
	timed clv.clv.part purchases <<<"SELECT sum(loyalty.clv(m, r, 360, 30, 0.01)) FROM $m, part;"
	# shellcheck disable=SC2046
	peer clv clv $(sql purchases -c "SELECT string_agg(p.value, ' ' ORDER BY array_position('{r,alpha,a,b,p,q,v}', p.key)) FROM $m, jsonb_each_text(loyalty.parameters(m)) p") 30 12 0.01 <"$dir/part.csv" >"$dir/peer"
	put clv.clv.peer.cpu "$(peer_says cpu)"
	line '  processor / that of scipy, one customer in 20' "$(ratio clv.clv.part.cpu clv.clv.peer.cpu)"
	near 'CLV by scipy' "$(peer_says clv)" "$(sql purchases -c "SELECT sum(loyalty.clv(m, r, 360, 30, 0.01)) FROM $m, part")" 1e-6
	rm "$dir/part.csv"
fi
sql purchases -c 'DROP TABLE history, model' -c 'DROP TABLE IF EXISTS part'
export PGOPTIONS=$options
