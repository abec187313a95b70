-- For pgTAP files that move points: the books proved from the entries alone, and a refusal
-- looked at as a whole. Needs pgtap, loyalty and a search_path that holds both.

-- Every way in which the tables disagree with each other; no row when the books are right.
CREATE FUNCTION pg_temp.books() RETURNS TABLE (account bigint, fault text) LANGUAGE sql AS $$
	WITH effect AS (
		SELECT account_id, lot_no, sum(points::numeric) AS points FROM loyalty._effect GROUP BY 1, 2
	), entry AS (
		SELECT account_id, sum(points::numeric) AS points,
			coalesce(sum(points::numeric) FILTER (WHERE kind IN ('earn', 'reverse')), 0) AS earned,
			-coalesce(sum(points::numeric) FILTER (WHERE kind IN ('redeem', 'giveback')), 0) AS redeemed,
			-coalesce(sum(points::numeric) FILTER (WHERE kind IN ('expire', 'forfeit')), 0) AS expired,
			max(entry_no) AS last, count(*) AS n
		FROM loyalty.entry GROUP BY 1
	), lots AS (
		SELECT a.account_id, coalesce(sum(l.remaining::numeric), 0) AS remaining,
			coalesce(sum(l.remaining::numeric) FILTER (WHERE l.valid_from > a.as_of AND l.expires_at > a.as_of), 0) AS pending,
			coalesce(sum(l.remaining::numeric) FILTER (WHERE l.valid_from <= a.as_of AND l.expires_at > a.as_of), 0) AS live,
			min(least(CASE WHEN l.valid_from > a.as_of THEN l.valid_from END,
				CASE WHEN l.expires_at > a.as_of THEN l.expires_at END)) FILTER (WHERE l.open) AS next_change
		FROM loyalty.account a LEFT JOIN loyalty._lot l USING (account_id) GROUP BY 1
	)
	SELECT account_id, 'entries are not lots less debt' FROM loyalty.account a JOIN lots l USING (account_id)
		LEFT JOIN entry e USING (account_id)
	WHERE coalesce(e.points, 0) <> l.remaining - a.debt::numeric OR a.posted::numeric <> coalesce(e.points, 0)
	UNION ALL
	SELECT account_id, format('lot %s is not what entries did to it', l.lot_no)
	FROM loyalty._lot l LEFT JOIN effect e USING (account_id, lot_no)
	WHERE l.remaining::numeric <> coalesce(e.points, 0) OR l.open <> (l.remaining > 0)
	UNION ALL
	SELECT account_id, 'the debt is not what entries did to it'
	FROM loyalty.account a LEFT JOIN (SELECT * FROM effect WHERE lot_no = 0) e USING (account_id)
	WHERE a.debt::numeric <> -coalesce(e.points, 0)
	UNION ALL
	SELECT e.account_id, format('entry %s is not its allocations', e.entry_no) FROM loyalty.entry e
	WHERE e.kind <> 'rekey' AND (SELECT coalesce(sum(a.points::numeric), 0) FROM loyalty.allocation a
		WHERE a.account_id = e.account_id AND a.entry_no = e.entry_no)
		<> CASE WHEN e.lot_no IS NULL THEN e.points::numeric ELSE 0 END
	UNION ALL
	SELECT e.account_id, format('redemption %s was not given back what it says', e.entry_no) FROM loyalty.entry e
	WHERE e.kind = 'redeem'
	  AND (SELECT sum(a.returned::numeric) FROM loyalty.allocation a
		WHERE a.account_id = e.account_id AND a.entry_no = e.entry_no)
		<> (SELECT coalesce(sum(g.points::numeric), 0) FROM loyalty.entry g
			WHERE g.account_id = e.account_id AND g.kind = 'giveback' AND g.reverses = e.entry_no)
	UNION ALL
	SELECT l.account_id, format('lot %s did not expire by its entries', l.lot_no) FROM loyalty._lot l
	WHERE l.expired::numeric <> -(SELECT coalesce(sum(e.points::numeric), 0) FROM loyalty.entry e
		WHERE e.account_id = l.account_id AND e.lot_no = l.lot_no AND e.kind = 'expire')
		-(SELECT coalesce(sum(a.points::numeric), 0) FROM loyalty.allocation a JOIN loyalty.entry e USING (account_id, entry_no)
		WHERE a.account_id = l.account_id AND a.lot_no = l.lot_no AND e.kind = 'forfeit')
	UNION ALL
	SELECT account_id, 'the totals are wrong' FROM loyalty.account a JOIN lots l USING (account_id)
		LEFT JOIN entry e USING (account_id)
	WHERE (a.live::numeric, a.pending::numeric) <> (l.live, l.pending)
	   OR (a.earned::numeric, a.redeemed::numeric, a.expired::numeric, a.entries)
		<> (coalesce(e.earned, 0), coalesce(e.redeemed, 0), coalesce(e.expired, 0), coalesce(e.last, 0))
	   OR coalesce(e.n, 0) <> a.entries OR a.next_change > l.next_change
	UNION ALL
	SELECT a.account_id, 'balance(), the view and the lots differ' FROM loyalty.account a
		JOIN loyalty.member m USING (member_id) JOIN loyalty.currency c USING (currency_id)
		JOIN loyalty.program p ON p.program_id = c.program_id
		JOIN loyalty.balances b ON (b.program, b.member, b.currency) = (p.code, m.member, c.code)
	WHERE loyalty.balance(p.code, m.member, now(), c.code)::numeric <> b.available
	   OR b.available + b.held + b.debt <> (SELECT coalesce(sum(l.remaining), 0) FROM loyalty.lots l
		WHERE l.account_id = a.account_id AND l.state = 'live')
	   OR b.pending <> (SELECT coalesce(sum(l.remaining), 0) FROM loyalty.lots l
		WHERE l.account_id = a.account_id AND l.state = 'pending')
$$;

CREATE FUNCTION pg_temp.balanced(name text) RETURNS text LANGUAGE sql AS $$
	SELECT public.is_empty('SELECT * FROM pg_temp.books()', 'the books are right: ' || name)
$$;

-- The statement fails with the state and the detail, and tells what to do about it.
CREATE FUNCTION pg_temp.refused(query text, want_state text, want_detail text, name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	got_state text := '00000';
	got_message text;
	got_detail text;
	got_hint text;
BEGIN
	BEGIN
		EXECUTE query;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS got_state = RETURNED_SQLSTATE, got_message = MESSAGE_TEXT,
			got_detail = PG_EXCEPTION_DETAIL, got_hint = PG_EXCEPTION_HINT;
	END;
	RETURN public.ok(got_state = want_state AND got_detail <> '' AND got_hint <> ''
			AND got_detail LIKE coalesce(want_detail, '%'), name)
		|| CASE WHEN got_state = want_state AND got_detail <> '' AND got_hint <> '' AND got_detail LIKE coalesce(want_detail, '%')
			THEN '' ELSE format(E'\n# got %s: %s | %s | %s\n# wanted %s, %s', got_state, got_message, got_detail, got_hint,
				want_state, coalesce(want_detail, 'any detail')) END;
END $$;

-- Makes the hashes of an account, or of all, follow what was changed behind the ledger's back.
CREATE FUNCTION pg_temp.rehash(account bigint DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	e record;
	last bytea;
	gone int;
BEGIN
	FOR e IN SELECT * FROM loyalty.entry LEFT JOIN loyalty._hashed_effect USING (account_id, entry_no)
		WHERE account IS NULL OR account_id = account ORDER BY account_id, entry_no
	LOOP
		gone := coalesce((SELECT max(n.entries) FROM loyalty.anchor n WHERE n.account_id = e.account_id), 0);
		IF e.entry_no = gone + 1 THEN
			last := (SELECT n.hash FROM loyalty.anchor n WHERE n.account_id = e.account_id AND n.entries = gone);
		END IF;
		last := loyalty._entry_hash(last, e.account_id, e.entry_no, e.lot_no, e.points, e.event_time, e.recorded_at, e.actor_id, e.base, e.refunded,
			e.forgiven, e.source_id, e.rule_id, e.reverses, e.kind, e.event, e.line, e.effects);
		UPDATE loyalty.entry SET hash = last WHERE account_id = e.account_id AND entry_no = e.entry_no;
		UPDATE loyalty.account a SET head = last, entries = gone + (SELECT count(*) FROM loyalty.entry n WHERE n.account_id = a.account_id)
		WHERE a.account_id = e.account_id;
	END LOOP;
END $$;

-- Time can't be made to pass: all that happened is moved into the past instead, but for orders.
CREATE FUNCTION pg_temp.pass_time(span interval) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL session_replication_role = replica;
	UPDATE loyalty.entry SET event_time = event_time - span, recorded_at = recorded_at - span, clock_end = clock_end - span, clock_ended = clock_ended - span;
	UPDATE loyalty.entry SET line = (
		SELECT string_agg(CASE t WHEN 'infinity' THEN t ELSE to_char((t::timestamptz - span) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END, ' ' ORDER BY n)
		FROM unnest(string_to_array(line, ' ')) WITH ORDINALITY u (t, n))
	WHERE kind = 'extend';
	UPDATE loyalty.request SET recorded_at = recorded_at - span;
	UPDATE loyalty.lot SET valid_from = valid_from - span, earned_at = earned_at - span,
		expires_at = CASE WHEN expires_at = '294276-12-31 23:59:59.999999+00' THEN expires_at ELSE expires_at - span END;
	UPDATE loyalty.hold SET ends_at = ends_at - span, released_at = released_at - span;
	UPDATE loyalty.account SET as_of = as_of - span, next_change = next_change - span, clock_end = clock_end - span;
	PERFORM pg_temp.rehash();
	SET LOCAL session_replication_role = origin;
END $$;
