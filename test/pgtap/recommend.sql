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
