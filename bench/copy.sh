# COPY of five million orders into an attached table: the memory it takes.

orders=$(scaled 5000000) members=$(scaled 100000)
begin "copy: $orders orders of $members members by COPY"
shop copy "$members" month
engine copy
sql copy -c "COPY (SELECT * FROM orders_of_a_year($orders, $members)) TO '$dir/orders.csv'"

peak copy copy "COPY orders (customer_id, total, ordered_at) FROM '$dir/orders.csv'"
books copy
line 'megabytes of the backend at its peak' "$(values copy.memory)" '<' 300
rm "$dir/orders.csv"
drop copy
