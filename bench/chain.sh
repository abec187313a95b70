# What the chain of hashes costs: beside a library that was built without it, in a cluster of
# its own. verify() of that one's books finds every hash wrong, so only their sums are checked.

members=$(scaled 100000) orders=$(scaled 300000)
begin "chain: entries with and without their hash; INSERTs of one order, 8 clients; $orders orders in one statement"
tree=$dir/unchained
test/harness/copy "$tree"
(cd "$tree" && EXTRA_CFLAGS=-DLOYALTY_UNCHAINED test/harness/cluster start "$tree/cluster" "${settings[@]}")

# on CLUSTER: from here on that one is asked.
on() {
	eval "$(test/harness/cluster env "$1")"
	postmaster=$(head -1 "$1/data/postmaster.pid")
	export PGOPTIONS="$options -c synchronous_commit=$commit"
}

commit=off
for cluster in "$dir" "$tree/cluster"; do
	on "$cluster"
	shop chain "$members" month
	engine chain
	sql chain -c "CREATE TABLE incoming AS SELECT * FROM orders_of_a_year($orders, $members)" -c 'VACUUM ANALYZE incoming'
done
for commit in off on; do
	for ((run = 1; run <= RUNS; run++)); do
		for variant in $(turn $run chained unchained); do
			if [ $variant = chained ]; then on "$dir"; else on "$tree/cluster"; fi
			fresh chain_run chain
			clients "chain.$commit.$variant" chain_run bench/single.pgbench 1 -T "$seconds" -D members="$members"
			books chain_run
			[ $variant = unchained ] || [ "$run" != 1 ] || proof chain_run
		done
	done
	line "orders per second / without the chain, synchronous_commit $commit" \
		"$(ratio "chain.$commit.chained.tps" "chain.$commit.unchained.tps")" '>=' 0.9
done
# A small part of what a load takes: the difference of two noisy times wants more turns.
for ((run = 1; run <= 3 * RUNS; run++)); do
	for variant in $(turn $run chained unchained); do
		if [ $variant = chained ]; then on "$dir"; else on "$tree/cluster"; fi
		fresh chain_run chain
		timed "chain.bulk.$variant" chain_run <<<'INSERT INTO orders (customer_id, total, ordered_at) SELECT customer_id, total, ordered_at FROM incoming;'
	done
done
line 'microseconds of processor time that the chain adds to an entry in bulk' \
	"$(paste <(values chain.bulk.chained.cpu) <(values chain.bulk.unchained.cpu) |
		awk -v n="$orders" '{ printf "%.4f\n", ($1 - $2) * 1000 / n }' | median)" '<=' 1.5
commit=on
on "$tree/cluster"
drop chain chain_run
test/harness/cluster stop "$tree/cluster"
on "$dir"
drop chain chain_run
export PGOPTIONS=$options
rm -rf "$tree"
