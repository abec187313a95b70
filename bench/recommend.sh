# What the recommendations are worth: the real year of orders, split in time. Baskets and
# histories to the end of September tell what each customer will buy for the first time after it.

begin 'recommend: Online Retail, ten new articles for each customer who came back after September'
fresh recommend template1
gzip -dc demo/data/online_retail.csv.gz >"$dir/online_retail.csv"
sql recommend <<'SQL'
CREATE EXTENSION loyalty;
CREATE TABLE line (invoice_no text, stock_code text, quantity int, at timestamp, price numeric, customer_id text, country text);
SQL
psql -Xq -d recommend -c '\copy line FROM STDIN (FORMAT csv, HEADER)' <"$dir/online_retail.csv"
rm "$dir/online_retail.csv"
sql recommend <<'SQL'
-- Articles that were sold: no returns, postage or write-offs.
CREATE VIEW sold AS SELECT invoice_no, stock_code, at, customer_id FROM line
	WHERE invoice_no ~ '^[0-9]' AND quantity > 0 AND price > 0 AND stock_code ~ '^[0-9]{5}';
CREATE TABLE known AS SELECT DISTINCT invoice_no, stock_code, customer_id FROM sold WHERE at < '2011-10-01';
ANALYZE known;
CREATE TABLE wanted AS
	SELECT DISTINCT customer_id AS member, stock_code AS item FROM sold s
	WHERE at >= '2011-10-01' AND EXISTS (SELECT FROM known k WHERE k.customer_id = s.customer_id)
	EXCEPT SELECT customer_id, stock_code FROM known;
ANALYZE wanted;
-- Who is asked for: that they will come is not known to what recommends.
CREATE TABLE history AS SELECT DISTINCT customer_id, stock_code FROM known WHERE customer_id IN (SELECT member FROM wanted);
ANALYZE history;
-- The baseline: what most baskets held, of what a customer has not had.
CREATE TABLE popular AS
	SELECT member, item FROM (
		SELECT m.member, p.item, row_number() OVER (PARTITION BY m.member ORDER BY p.baskets DESC, p.item) AS place
		FROM (SELECT DISTINCT member FROM wanted) m
		CROSS JOIN (SELECT stock_code AS item, count(DISTINCT invoice_no) AS baskets FROM known GROUP BY 1) p
		WHERE NOT EXISTS (SELECT FROM history h WHERE h.customer_id = m.member AND h.stock_code = p.item)) ranked
	WHERE place <= 10;
SQL
# Both ways to the neighbours: the lines joined with themselves in SQL, baskets counted in C.
timed recommend.similarity recommend \
	<<<"CREATE TABLE near AS SELECT * FROM loyalty.item_similarity('known', 'invoice_no', 'stock_code');"
timed recommend.baskets recommend \
	<<<"CREATE TABLE near_baskets AS SELECT n.* FROM (SELECT loyalty.basket_agg(items) AS s
		FROM (SELECT array_agg(stock_code) AS items FROM known GROUP BY invoice_no) b) t, loyalty.similar_items(s) n;"
near 'neighbours that are not the same' "$(sql recommend -c '
	SELECT (SELECT count(*) FROM (TABLE near EXCEPT TABLE near_baskets) x) + (SELECT count(*) FROM (TABLE near_baskets EXCEPT TABLE near) x)')" 0 0
sql recommend -c 'ANALYZE near'
sql recommend -c 'ANALYZE near_baskets'
# The lists by their definition, in SQL, and as recommend() makes them.
timed recommend.lists recommend <<'SQL'
CREATE TABLE recommended_sql AS
	SELECT member, item FROM (
		SELECT h.customer_id AS member, n.other AS item, (array_agg(n.item ORDER BY n.similarity DESC, n.item COLLATE "C"))[1] AS because,
			row_number() OVER (PARTITION BY h.customer_id ORDER BY sum(n.similarity) DESC, n.other COLLATE "C") AS place
		FROM history h JOIN near n ON n.item = h.stock_code
		WHERE NOT EXISTS (SELECT FROM history o WHERE o.customer_id = h.customer_id AND o.stock_code = n.other)
		GROUP BY h.customer_id, n.other) ranked
	WHERE place <= 10;
SQL
timed recommend.recommend recommend \
	<<<"CREATE TABLE recommended AS SELECT member, item FROM loyalty.recommend('history', 'customer_id', 'stock_code', 'near_baskets');"

hit_rate() {
	sql recommend -c "SELECT round((SELECT count(DISTINCT member) FROM $1 JOIN wanted USING (member, item))::numeric
		/ (SELECT count(DISTINCT member) FROM wanted), 4)"
}
similar_sql=$(hit_rate recommended_sql)
similar=$(hit_rate recommended)
popular=$(hit_rate popular)
note "$(sql recommend -c "SELECT count(DISTINCT member) || ' customers, ' || (SELECT count(DISTINCT item) FROM near) || ' articles with neighbours, '
	|| (SELECT count(*) FROM known) || ' lines of baskets' FROM wanted")"
note "hit rate of ten: item to item in C $similar, in SQL $similar_sql, the most popular $popular"
line 'hit rate / that of the most popular articles' "$(awk -v a="$similar" -v b="$popular" 'BEGIN { printf "%.2f", a / b }')" '>=' 1.3
line 'the same by the lists in SQL' "$(awk -v a="$similar_sql" -v b="$popular" 'BEGIN { printf "%.2f", a / b }')" '>=' 1.3
line 'neighbours in C / in SQL, CPU' "$(ratio recommend.baskets.cpu recommend.similarity.cpu)" '<=' 0.2
line 'lists of recommend() / in SQL, CPU' "$(ratio recommend.recommend.cpu recommend.lists.cpu)" '<=' 0.3
drop recommend
