-- recommend: similarities and lists by hand, and the rights they run with
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET LOCAL search_path = loyalty, public;

SELECT no_plan();

-- Five baskets: tea in 1-4, milk in 1 2 3, cake in 3 4 5, soap in 5; what is twice in a basket is in it once.
CREATE TABLE public.basket_line (basket int, article text);
INSERT INTO public.basket_line VALUES (1, 'tea'), (1, 'milk'), (2, 'tea'), (2, 'milk'), (2, 'milk'), (3, 'tea'), (3, 'milk'), (3, 'cake'),
	(4, 'tea'), (4, 'cake'), (5, 'cake'), (5, 'soap'), (NULL, 'tea'), (5, NULL);
-- tea & milk: 3 / sqrt(4*3) = 0.866025; tea & cake: 2 / sqrt(12) = 0.577350; cake & milk: 1/3; cake & soap: 1 / sqrt(3) = 0.577350
SELECT results_eq($$ SELECT item, other, together, round(similarity, 6), round(lift, 6) FROM item_similarity('public.basket_line', 'basket', 'article', 0, min_together => 1) $$, $$ VALUES
	('cake', 'soap', 1::bigint, 0.577350, 1.666667), ('cake', 'tea', 2, 0.577350, 0.833333), ('cake', 'milk', 1, 0.333333, 0.555556),
	('milk', 'tea', 3, 0.866025, 1.250000), ('milk', 'cake', 1, 0.333333, 0.555556),
	('soap', 'cake', 1, 0.577350, 1.666667),
	('tea', 'milk', 3, 0.866025, 1.250000), ('tea', 'cake', 2, 0.577350, 0.833333) $$, 'cosine and lift');
-- times together / (together + 2): 0.866025 * 3/5, 0.577350 * 2/4, 1/3 * 1/3, 0.577350 * 1/3
SELECT results_eq($$ SELECT item, other, round(similarity, 6) FROM item_similarity('public.basket_line', 'basket', 'article', 2, min_together => 1) WHERE item = 'cake' $$,
	$$ VALUES ('cake', 'tea', 0.288675), ('cake', 'soap', 0.192450), ('cake', 'milk', 0.111111) $$, 'shrinkage: one basket is not much of a reason');
SELECT results_eq($$ SELECT item, other FROM item_similarity('public.basket_line', 'basket', 'article', neighbours => 1) $$,
	$$ VALUES ('cake', 'tea'), ('milk', 'tea'), ('tea', 'milk') $$, 'one neighbour each, together in two baskets');
-- Without basket 3: tea & milk 2 / sqrt(3*2), lift 2*4/6
SELECT results_eq($$ SELECT together, round(similarity, 6), round(lift, 6) FROM item_similarity('public.basket_line', 'basket', 'article', 0, max_basket => 2) WHERE item = 'tea' $$,
	'VALUES (2::bigint, 0.816497, 1.333333)', 'large baskets are left out');

CREATE TABLE public.near AS SELECT * FROM item_similarity('public.basket_line', 'basket', 'article', 0, min_together => 1);
CREATE TABLE public.had (who text, what text);
INSERT INTO public.had VALUES ('ann', 'tea'), ('ann', 'tea'), ('ben', 'milk'), ('ben', 'soap'), ('cat', 'hat'), (NULL, 'tea');
-- ben: tea 0.866025 for milk; cake 0.333333 for milk and 0.577350 for soap
SELECT results_eq($$ SELECT member, place, item, round(score, 6), because FROM recommend('public.had', 'who', 'what', 'public.near') $$, $$ VALUES
	('ann', 1, 'milk', 0.866025, 'tea'), ('ann', 2, 'cake', 0.577350, 'tea'),
	('ben', 1, 'cake', 0.910684, 'soap'), ('ben', 2, 'tea', 0.866025, 'milk') $$, 'what is new to them, and why');
SELECT results_eq($$ SELECT member, item FROM recommend('public.had', 'who', 'what', 'public.near', 1, 'ben') $$, $$ VALUES ('ben', 'cake') $$, 'of one member, one');
SELECT is_empty($$ SELECT * FROM recommend('public.had', 'who', 'what', 'public.near', for_member => 'cat') $$, 'nothing is like a hat');

-- Random baskets against the definition, written as plainly as can be
CREATE TABLE public.random_basket AS SELECT b, 'i' || floor(20 * random() * random())::int AS i FROM (SELECT setseed(0.7)) s, generate_series(1, 120) b, generate_series(1, 6) n;
SELECT results_eq($$ SELECT item, other, together, similarity FROM item_similarity('public.random_basket', 'b', 'i', 3.5, 1000, 1) ORDER BY item COLLATE "C", other COLLATE "C" $$, $$
	SELECT x, y, n, round((n / sqrt(nx * ny) * n / (n + 3.5))::numeric, 12)
	FROM (SELECT x.i AS x, y.i AS y, (SELECT count(*) FROM (SELECT b FROM public.random_basket WHERE i = x.i INTERSECT SELECT b FROM public.random_basket WHERE i = y.i) t) AS n,
			(SELECT count(DISTINCT b)::float8 FROM public.random_basket WHERE i = x.i) AS nx, (SELECT count(DISTINCT b)::float8 FROM public.random_basket WHERE i = y.i) AS ny
		FROM (SELECT DISTINCT i FROM public.random_basket) x, (SELECT DISTINCT i FROM public.random_basket) y WHERE x.i <> y.i) p
	WHERE n > 0 ORDER BY x COLLATE "C", y COLLATE "C" $$, 'random baskets');

-- The same of baskets as a value, counted in C
CREATE TABLE public.basket AS SELECT basket_agg(items) AS s FROM (SELECT array_agg(article) AS items FROM public.basket_line WHERE basket IS NOT NULL GROUP BY basket) b;
SELECT is(baskets(s), 5::bigint, 'five baskets') FROM public.basket;
SELECT results_eq('SELECT item, other, together, round(similarity, 6), round(lift, 6) FROM public.basket, similar_items(s, 0, min_together => 1)', $$ VALUES
	('cake', 'soap', 1::bigint, 0.577350, 1.666667), ('cake', 'tea', 2, 0.577350, 0.833333), ('cake', 'milk', 1, 0.333333, 0.555556),
	('milk', 'tea', 3, 0.866025, 1.250000), ('milk', 'cake', 1, 0.333333, 0.555556),
	('soap', 'cake', 1, 0.577350, 1.666667),
	('tea', 'milk', 3, 0.866025, 1.250000), ('tea', 'cake', 2, 0.577350, 0.833333) $$, 'similar_items: cosine and lift');
SELECT results_eq($$ SELECT other, round(similarity, 6) FROM public.basket, similar_items(s, 2, min_together => 1) WHERE item = 'cake' $$, $$ VALUES ('tea', 0.288675), ('soap', 0.192450), ('milk', 0.111111) $$, 'similar_items: shrinkage');
SELECT results_eq($$ SELECT together, round(similarity, 6), round(lift, 6) FROM public.basket, similar_items(s, 0, max_basket => 2) WHERE item = 'tea' $$, 'VALUES (2::bigint, 0.816497, 1.333333)', 'similar_items: large baskets are left out');
-- 24 ways to ask of random baskets, ties among them
CREATE TABLE public.random_summary AS SELECT basket_agg(items) AS s FROM (SELECT array_agg(i) AS items FROM public.random_basket GROUP BY b) t;
SELECT results_eq(format('SELECT * FROM public.random_summary, similar_items(s, %1$s, %2$s, %3$s, %4$s)', shrinkage, neighbours, min_together, max_basket),
	format('SELECT s.*, n.* FROM public.random_summary s, item_similarity(''public.random_basket'', ''b'', ''i'', %1$s, %2$s, %3$s, %4$s) n', shrinkage, neighbours, min_together, max_basket),
	format('similar_items as item_similarity: %s, %s, %s, %s', shrinkage, neighbours, min_together, max_basket))
FROM unnest('{0,3.5}'::numeric[]) shrinkage, unnest('{1,3,1000}'::int[]) neighbours, unnest('{1,2}'::int[]) min_together, unnest('{3,100}'::int[]) max_basket;
SELECT cmp_ok((SELECT count(*) FROM public.random_summary, similar_items(s)), '>', 50::bigint, 'there are neighbours');

-- Lists for all, in C, are those for each, in SQL; and what the definition says
CREATE TABLE public.random_near AS SELECT n.* FROM public.random_summary, similar_items(s, 2, 7, 1) n;
INSERT INTO public.random_near VALUES ('i0', NULL, 1, 0.5, 1), ('i0', 'i19', 1, NULL, 1), (NULL, 'i1', 1, 0.5, 1);
SELECT results_eq($$ SELECT * FROM recommend('public.random_basket', 'b', 'i', 'public.random_near', 5) ORDER BY member COLLATE "C", place $$, $$
	SELECT b::text, place::int, other, score, because FROM (
		SELECT t.b, n.other, sum(n.similarity) AS score, (array_agg(n.item ORDER BY n.similarity DESC, n.item COLLATE "C"))[1] AS because,
			row_number() OVER (PARTITION BY t.b ORDER BY sum(n.similarity) DESC, n.other COLLATE "C") AS place
		FROM (SELECT DISTINCT b, i FROM public.random_basket) t JOIN public.random_near n ON n.item = t.i
		WHERE n.other IS NOT NULL AND n.similarity IS NOT NULL AND NOT EXISTS (SELECT FROM public.random_basket h WHERE h.b = t.b AND h.i = n.other) GROUP BY t.b, n.other) r
	WHERE place <= 5 ORDER BY b::text COLLATE "C", place $$, 'lists for all');
SELECT cmp_ok((SELECT count(*) FROM recommend('public.random_basket', 'b', 'i', 'public.random_near', 5)), '>', 300::bigint, 'there are lists');
SELECT results_eq($$ SELECT * FROM recommend('public.random_basket', 'b', 'i', 'public.random_near', 5) ORDER BY member COLLATE "C", place $$,
	$$ SELECT r.* FROM (SELECT DISTINCT b::text FROM public.random_basket) m, recommend('public.random_basket', 'b', 'i', 'public.random_near', 5, m.b) r ORDER BY member COLLATE "C", place $$, 'each by itself');
SELECT is_empty($$ SELECT * FROM recommend('public.had', 'who', 'what', (SELECT 'public.random_near'::regclass)) $$, 'tea is none of these');

SELECT throws_ok($$ SELECT * FROM item_similarity('public.basket_line', 'basket', 'article', -1) $$, 'LY502', 'items can''t be compared in this way');
SELECT throws_ok($$ SELECT * FROM item_similarity('public.basket_line', 'basket', 'article', max_basket => 1) $$, 'LY502', 'items can''t be compared in this way');
SELECT throws_ok($$ SELECT * FROM item_similarity(NULL, 'basket', 'article') $$, 'LY502', 'baskets need a table and two columns');
SELECT throws_ok($$ SELECT * FROM item_similarity('public.basket_line', 'bag', 'article') $$, '42703');
SELECT throws_ok($$ SELECT * FROM recommend('public.had', 'who', 'what', 'public.near', 0) $$, 'LY502', 'a recommendation needs what was bought and what is similar');
SELECT throws_ok($$ SELECT * FROM item_similarity('public.basket_line', 'basket"; DROP TABLE public.had; --', 'article') $$, '42703');

CREATE ROLE loyalty_analyst;
GRANT SELECT ON public.basket_line TO loyalty_analyst;
SET LOCAL ROLE loyalty_analyst;
SELECT lives_ok($$ SELECT * FROM item_similarity('public.basket_line', 'basket', 'article') $$, 'whoever may read the table may ask');
SELECT throws_ok($$ SELECT * FROM recommend('public.had', 'who', 'what', 'public.near') $$, '42501');
RESET ROLE;

SELECT finish();
ROLLBACK;
