# COPY of five million orders into an attached table: the memory it takes.

orders=$(scaled 5000000) members=$(scaled 100000)
begin "copy: $orders orders of $members members by COPY"
shop copy "$members" month
engine copy
sql copy -c "COPY (SELECT * FROM orders_of_a_year($orders, $members)) TO '$dir/orders.csv'"

# The anonymous memory of a backend as often as it can be read, in megabytes; shared
# buffers are not in it.
sql copy >"$dir/pid" -c 'SELECT pg_backend_pid()' -c "\\o /dev/null" \
	-c "COPY orders (customer_id, total, ordered_at) FROM '$dir/orders.csv'" &
until [ -s "$dir/pid" ] || ! kill -0 $! 2>/dev/null; do sleep 0.05; done
pid=$(cat "$dir/pid")
while [ -n "$pid" ] && [ -d "/proc/$pid" ]; do
	awk '/^RssAnon:/ { print $2 / 1024 }' "/proc/$pid/status" 2>/dev/null || true
	sleep 0.05
done >"$dir/memory"
wait $! || die 'COPY failed'
books copy
line 'megabytes of the backend at its peak' "$(sort -g "$dir/memory" | tail -1)" '<' 300
rm "$dir/orders.csv"
drop copy
