-- revenue: revenue_summary, its aggregates, rates and errors
\i test/sql/include/begin.psql
-- 100 became 130, 50 was lost
SELECT s, net_revenue_retention(s), gross_revenue_retention(s), logo_retention(s), net_revenue_churn(s), gross_revenue_churn(s) FROM (SELECT revenue_retention_agg(a, b) FROM (VALUES (100, 130), (50, 0)) v(a, b)) t(s);
-- more, less, the same, lost in two ways, new, nothing at all
CREATE TABLE revenue_customers (start_amount numeric, end_amount numeric);
INSERT INTO revenue_customers VALUES (100, 250.50), (80.00, 60), (20, 20.0), (40, 0), (10, NULL), (0, 5), (NULL, 7.25), (0, 0), (NULL, NULL);
SELECT revenue_retention_agg(start_amount, end_amount) AS s FROM revenue_customers \gset
SELECT :'s';
SELECT customers(s), retained(s), new_customers(s), start_revenue(s), end_revenue(s), expansion(s), contraction(s), churned_revenue(s), new_revenue(s) FROM (SELECT :'s'::revenue_summary) t(s);
-- 330.5 / 250 is more than 1: negative churn; (60 + 20 + 100) / 250; 3 of 5
SELECT net_revenue_retention(s), gross_revenue_retention(s), logo_retention(s), net_revenue_churn(s), gross_revenue_churn(s) FROM (SELECT :'s'::revenue_summary) t(s);
SELECT net_revenue_retention(start_amount, end_amount), gross_revenue_retention(start_amount, end_amount) FROM revenue_customers;
-- nobody at the start, nobody at all, all the same
SELECT revenue_retention_agg(start_amount, end_amount), net_revenue_retention(start_amount, end_amount), logo_retention(revenue_retention_agg(start_amount, end_amount)) FROM revenue_customers WHERE start_amount IS NULL;
SELECT revenue_retention_agg(start_amount, end_amount), net_revenue_retention(start_amount, end_amount) FROM revenue_customers WHERE start_amount + end_amount = 0;
SELECT revenue_retention_agg(start_amount, end_amount), gross_revenue_retention(start_amount, end_amount) FROM revenue_customers WHERE false;
SELECT revenue_retention_agg(0.1, 0.1) FROM generate_series(1, 1000);
-- from orders: each customer's revenue in two months
SELECT net_revenue_retention(a, b), gross_revenue_retention(a, b) FROM (
	SELECT customer, sum(amount) FILTER (WHERE at <@ daterange '[2024-01-01,2024-02-01)') AS a, sum(amount) FILTER (WHERE at <@ daterange '[2024-02-01,2024-03-01)') AS b
	FROM (VALUES (1, date '2024-01-05', 10), (1, '2024-01-20', 10), (1, '2024-02-02', 25), (2, '2024-01-31', 5), (3, '2024-02-01', 99)) o(customer, at, amount) GROUP BY customer) c;

-- parts by customer are the whole, in any order and by workers
SELECT rollup(s) = :'s' FROM (SELECT revenue_retention_agg(start_amount, end_amount) AS s FROM revenue_customers GROUP BY start_amount) x;
CREATE TABLE revenue_many AS SELECT (i * 37 % 101) / 7.0 AS a, (i * 91 % 103) / 3.0 AS b FROM generate_series(1, 20000) i;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 0;
SELECT revenue_retention_agg(a, b) AS serial FROM revenue_many \gset
SET max_parallel_workers_per_gather = 2;
SELECT revenue_retention_agg(a, b) = :'serial' FROM revenue_many;
SELECT :'serial'::revenue_summary = revenue_retention_agg(a, b ORDER BY b, a) FROM revenue_many;
SELECT end_revenue(s) = (SELECT sum(b) FROM revenue_many WHERE a > 0), gross_revenue_retention(s) = (SELECT sum(least(a, b)) / sum(a) FROM revenue_many)::float8 FROM (SELECT :'serial'::revenue_summary) t(s);
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather;

-- text and binary
SELECT '(customers:1,retained:1,new_customers:0,start:1.50,expansion:0.0,contraction:0.5000,churned:0,new_revenue:0)'::revenue_summary;
SELECT pg_temp.receive('revenue_summary', revenue_summary_send(:'s')) = :'s', substr(revenue_summary_send(:'s'), 1, 25), pg_temp.receive('revenue_summary', '\x05');
SELECT pg_temp.failure(format('SELECT ''(customers:%s,retained:%s,new_customers:%s,start:%s,expansion:%s,contraction:%s,churned:%s,new_revenue:%s)''::loyalty.revenue_summary', VARIADIC a::text[]))
FROM (VALUES ('{-1,0,0,0,0,0,0,0}'), ('{1,2,0,9,0,0,0,0}'), ('{1,1,0,0,0,0,0,0}'), ('{1,1,0,-9,0,0,0,0}'), ('{1,1,0,NaN,0,0,0,0}'), ('{2,1,0,9,0,0,0,0}'), ('{1,0,0,9,1,0,9,0}'), ('{1,0,0,9,0,0,8,0}'), ('{2,1,0,9,0,4,5,0}'), ('{0,0,0,0,0,0,0,1}'), ('{0,0,0,x,0,0,0,1}')) v(a);
SELECT pg_temp.failure('SELECT loyalty.net_revenue_retention(' || a || ')') FROM unnest(ARRAY['-1, 5', '5, -1', '''NaN'', 1', '1, ''infinity''']) a;
DROP TABLE revenue_customers, revenue_many;
