# Many clients at once, each with whatever a shop does, on few members so that they meet:
# nobody fails, nobody deadlocks, and afterwards the books agree with the orders.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = 8;
my $clients = 8;

my $node = PostgreSQL::Test::Cluster->new('storm');
$node->init;
$node->append_conf('postgresql.conf', "max_connections = 30\nlog_min_messages = warning\nlog_lock_waits = off");
$node->start;

# Points of "club" never end and what is owed stays owed, so each order can be reckoned from
# its row alone. Those of "fading" are there for expire() to have work.
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION loyalty;
SELECT loyalty.create_program('club', ladder => 'bronze:0, silver:2000, gold:10000', debt => 'negative');
SELECT loyalty.create_program('fading', validity => '1 day');
SELECT loyalty.add_rule(p, 'base', points_per => 1) FROM unnest(ARRAY['club', 'fading']) p;
CREATE TABLE orders (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	customer text,
	ordered_at timestamptz NOT NULL,
	total numeric(12,2) NOT NULL,
	refunded numeric(12,2) NOT NULL DEFAULT 0
);
SELECT loyalty.attach('orders', p, 'customer', 'total', 'ordered_at', refunded => 'refunded')
FROM unnest(ARRAY['club', 'fading']) p;
SELECT loyalty.enrol(p, 'm' || n) FROM unnest(ARRAY['club', 'fading']) p, generate_series(1, 50) n;
-- Households of five.
SELECT loyalty.create_pool('club', 'p' || n) FROM generate_series(0, 9) n;
SELECT loyalty.join_pool('club', 'p' || (n - 1) / 5, 'm' || n, keep => n % 5 * 10) FROM generate_series(50, 1, -1) n;
INSERT INTO orders (customer, ordered_at, total)
SELECT 'm' || n % 50 + 1, now() - n % 5 * interval '1 day', n % 90 + 0.37 FROM generate_series(1, 2000) n;

CREATE TABLE redemption (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, entry_id bigint NOT NULL);
CREATE TABLE returned (entry_id bigint NOT NULL);
CREATE TABLE basket (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, hold_id bigint NOT NULL);
-- Too few points, or two who give the same back or capture the same, are part of the business.
CREATE FUNCTION try_redeem(who text, points int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO redemption (entry_id) SELECT loyalty.redeem('club', who, points);
EXCEPTION WHEN SQLSTATE 'LY301' THEN
END $$;
CREATE FUNCTION try_giveback(part boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	entry bigint := (SELECT entry_id FROM redemption ORDER BY no DESC OFFSET floor(random() * 20) LIMIT 1);
BEGIN
	IF entry IS NULL THEN
		RETURN;
	ELSIF part THEN
		INSERT INTO returned SELECT loyalty.giveback(entry, 1);
	ELSE
		INSERT INTO returned SELECT loyalty.giveback(entry);
	END IF;
EXCEPTION WHEN SQLSTATE 'LY303' THEN
END $$;
CREATE FUNCTION try_hold(who text, points int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO basket (hold_id) SELECT loyalty.hold('club', who, points, '1 day');
EXCEPTION WHEN SQLSTATE 'LY301' THEN
END $$;
CREATE FUNCTION try_capture(part boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	hold bigint := (SELECT hold_id FROM basket ORDER BY no DESC OFFSET floor(random() * 20) LIMIT 1);
BEGIN
	IF hold IS NOT NULL THEN
		INSERT INTO redemption (entry_id) SELECT loyalty.capture(hold, CASE WHEN part THEN 3::loyalty.points END);
	END IF;
EXCEPTION WHEN SQLSTATE 'LY308' OR SQLSTATE 'LY310' THEN
END $$;
CREATE FUNCTION try_pool(n int, points int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO redemption (entry_id) SELECT loyalty.redeem_pool('club', 'p' || (n - 1) / 5, 'm' || n, points);
EXCEPTION WHEN SQLSTATE 'LY301' THEN
END $$;
CREATE FUNCTION try_transfer(who text, whom text, points int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM loyalty.transfer('club', who, whom, points);
EXCEPTION WHEN SQLSTATE 'LY301' OR SQLSTATE 'LY311' THEN
END $$;
SQL

# Statements that change several orders lock them in order, as those who write to a shop's
# own table have to anyway. Some customers are new, and to several clients at once.
$node->pgbench("-n -c $clients -j 2 -T $seconds", 0,
	[ qr/number of failed transactions: 0 /, qr/number of transactions actually processed: [1-9]/ ], [qr/^(?!.*aborted)/s],
	'no transaction fails',
	{
		'bulk@3' => q{
			INSERT INTO orders (customer, ordered_at, total)
			SELECT CASE WHEN random() < 0.9 THEN 'm' || floor(random() * 50 + 1) WHEN random() < 0.9 THEN 'new' || floor(random() * 1000) END,
				now() - random() * interval '3 days', random() * 100 FROM generate_series(1, 100);},
		'insert@20' => q{
			INSERT INTO orders (customer, ordered_at, total) VALUES ('m' || floor(random() * 50 + 1), now(), random() * 100);},
		'refund@10' => q{
			\set id random(1, 2000)
			UPDATE orders SET refunded = total * random()::numeric WHERE id = :id;},
		'refund_many@4' => q{
			\set id random(1, 2000)
			WITH picked AS (SELECT id FROM orders WHERE id BETWEEN :id AND :id + 20 ORDER BY id FOR UPDATE)
			UPDATE orders o SET refunded = total * random()::numeric FROM picked WHERE o.id = picked.id;},
		'reprice@5' => q{
			\set id random(1, 2000)
			UPDATE orders SET total = refunded + random() * 100 WHERE id = :id;},
		'move@5' => q{
			\set id random(1, 2000)
			UPDATE orders SET customer = 'm' || floor(random() * 50 + 1) WHERE id = :id;},
		'delete@4' => q{
			\set id random(1, 2000)
			DELETE FROM orders WHERE id = :id;},
		'redeem@20' => q{
			\set who random(1, 50)
			\set points random(1, 400)
			SELECT try_redeem('m' || :who, :points);},
		'spend_and_buy@5' => q{
			\set who random(1, 50)
			BEGIN;
			SELECT try_redeem('m' || :who, 100);
			INSERT INTO orders (customer, ordered_at, total) VALUES ('m' || :who, now(), 12.5);
			COMMIT;},
		'giveback@10' => q{SELECT try_giveback(random() < 0.5);},
		'hold@8' => q{
			\set who random(1, 50)
			\set points random(1, 200)
			SELECT try_hold('m' || :who, :points);},
		'capture@8' => q{SELECT try_capture(random() < 0.5);},
		'release@3' => q{
			SELECT loyalty.release(hold_id) FROM (
				SELECT hold_id FROM basket ORDER BY no DESC OFFSET floor(random() * 20) LIMIT 1) one;},
		'transfer@8' => q{
			\set who random(1, 50)
			\set whom random(1, 50)
			\set points random(1, 200)
			SELECT try_transfer('m' || :who, 'm' || :whom, :points);},
		'pool@8' => q{
			\set who random(1, 50)
			\set points random(1, 900)
			SELECT try_pool(:who, :points);},
		'permit@1' => q{
			\set who random(1, 50)
			\set points random(0, 50)
			SELECT loyalty.join_pool('club', 'p' || (:who - 1) / 5, 'm' || :who, keep => :points);},
		'ask@5' => q{
			\set who random(1, 50)
			SELECT loyalty.balance('club', 'm' || :who), loyalty.balance('fading', 'm' || :who);},
		'expire@2' => q{CALL loyalty.expire(batch => 10);},
		'review@1' => q{CALL loyalty.review_tiers(batch => 10);},
	});

my $log = slurp_file($node->logfile);
unlike($log, qr/deadlock detected/, 'the server met no deadlock');
is(join("\n", $log =~ /^.*(?:ERROR|FATAL|PANIC): .*$/mg), '', 'and no error');

# Each kind of thing really happened.
is($node->safe_psql('postgres', q{
	SELECT string_agg(DISTINCT kind, ' ' ORDER BY kind) FROM loyalty.entries WHERE program = 'club'}),
	'earn giveback hold redeem reverse transfer', 'points of club moved in every way');
is($node->safe_psql('postgres', q{
	SELECT (SELECT count(*) FROM redemption) > 100 AND (SELECT count(*) FROM returned) > 50
		AND (SELECT count(DISTINCT state) FROM loyalty.holds) = 3
		AND (SELECT count(*) FROM (SELECT FROM loyalty.pool_redemptions GROUP BY redemption_id HAVING count(*) > 1 AND sum(returned) > 0) r) > 0
		AND (SELECT count(*) FROM loyalty.entries WHERE kind = 'expire') > 0
		AND (SELECT count(*) FROM orders WHERE id <= 2000) < 2000
		AND (SELECT count(*) FROM loyalty.member WHERE member ~ '^new') > 0}), 't', 'and often');
is($node->safe_psql('postgres', q{
	SELECT (SELECT count(*) FROM redemption) - count(DISTINCT call) FILTER (WHERE kind = 'redeem'),
		(SELECT count(*) FROM returned) - count(DISTINCT call) FILTER (WHERE kind = 'giveback')
	FROM (SELECT kind, (coalesce(line, account_id || '/' || entry_no), CASE kind WHEN 'giveback' THEN xmin::text END) AS call FROM loyalty.entry) e}),
	'0|0', 'every call that answered is booked, and no other');

is($node->safe_psql('postgres', 'SELECT * FROM loyalty.verify()'), '', 'the books hold');

# What an order has earned: the whole points of its total, less their refunded share, down to
# whole points; with whom it is now, and with nobody else. div() is exact.
is($node->safe_psql('postgres', q{
	WITH owed AS (
		SELECT id::text AS event, customer AS member,
			CASE WHEN total = 0 THEN 0 ELSE floor(total) - div(floor(total) * refunded, total) END AS points
		FROM orders WHERE customer IS NOT NULL),
	booked AS (
		SELECT event, member, sum(points) AS points FROM loyalty.entries
		WHERE program = 'club' AND event IS NOT NULL GROUP BY event, member)
	SELECT event, member, owed.points, booked.points FROM owed FULL JOIN booked USING (event, member)
	WHERE owed.points IS DISTINCT FROM booked.points AND NOT (owed.points IS NULL AND booked.points = 0)
	LIMIT 5}), '', 'every order has earned what its row says');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM loyalty.entry WHERE forgiven > 0 AND source_id = (
		SELECT source_id FROM loyalty.source JOIN loyalty.program USING (program_id) WHERE code = 'club')}),
	0, 'and nothing was let off');

# Over all: what is available or held is what orders earned less what is spent or given away, and the tier is by what they earned.
is($node->safe_psql('postgres', q{
	WITH m AS (
		SELECT member, sum(points) AS available,
			COALESCE(sum(points) FILTER (WHERE kind IN ('earn', 'reverse')), 0) AS earned
		FROM loyalty.entries WHERE program = 'club' GROUP BY member)
	SELECT member, b.available, b.held, m.available, b.tier, m.earned FROM loyalty.balances b LEFT JOIN m USING (member)
	WHERE program = 'club' AND (b.available + b.held <> COALESCE(m.available, 0) OR b.tier::text <>
		CASE WHEN m.earned >= 10000 THEN 'gold' WHEN m.earned >= 2000 THEN 'silver' ELSE 'bronze' END)
	LIMIT 5}), '', 'balances and tiers are what the entries come to');

$node->safe_psql('postgres', 'CALL loyalty.expire()');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM loyalty.lot WHERE expires_at <= now() AND remaining > 0}), 0, 'nothing dead is left alive');
is($node->safe_psql('postgres', 'SELECT * FROM loyalty.verify()'), '', 'and the books still hold');

$node->stop;
done_testing();
