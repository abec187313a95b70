-- expiry: booking the end of lots, and moving it away. Points past their end can't be spent whether it is booked or not.

CREATE FUNCTION loyalty._expire_accounts(accounts bigint[], as_of timestamptz) RETURNS bigint
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_expiry_book';

-- The next n accounts by id, an array for each program. The batch is found first, along the
-- index of open lots, which ends there.
CREATE FUNCTION loyalty._expiring_accounts(program text, as_of timestamptz, after bigint, n int) RETURNS SETOF bigint[]
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, loyalty, pg_temp AS $$
    SELECT array_agg(batch.account_id ORDER BY batch.account_id)
    FROM (SELECT DISTINCT l.account_id
          FROM loyalty._lot l
          -- What is held goes by the holds' own end, which nobody may have written down yet.
          WHERE l.open AND l.expires_at <= as_of AND l.account_id > after
            AND (l.remaining > l.held OR EXISTS (
                  SELECT FROM loyalty.hold h
                  WHERE h.account_id = l.account_id AND h.lot_no = l.lot_no AND h.open AND h.ends_at <= now()))
            AND (program IS NULL OR EXISTS (
                  SELECT FROM loyalty.account a JOIN loyalty.currency c USING (currency_id) JOIN loyalty.program p USING (program_id)
                  WHERE a.account_id = l.account_id AND p.code = program))
          ORDER BY l.account_id
          LIMIT n) batch
    JOIN loyalty.account a USING (account_id)
    JOIN loyalty.currency c USING (currency_id)
    GROUP BY c.program_id ORDER BY c.program_id;
$$;

-- It commits after each batch, so it can be stopped at any time; called again it goes on.
-- A statement on a table of several programs takes their accounts program by program, so
-- no transaction of the job holds accounts of two.
CREATE PROCEDURE loyalty.expire(program text DEFAULT NULL, as_of timestamptz DEFAULT now(), batch int DEFAULT 1000)
    LANGUAGE plpgsql AS $$
DECLARE
    done bigint := 0;
    accounts bigint[];
BEGIN
    IF as_of IS NULL OR as_of OPERATOR(pg_catalog.>) pg_catalog.now() OR batch IS NULL OR batch OPERATOR(pg_catalog.<) 1 THEN
        PERFORM loyalty._refuse('LY306', 'points can''t be expired as of then',
            pg_catalog.format('The moment is %s, the batch %s accounts.',
                coalesce(as_of::pg_catalog.text, 'NULL'), coalesce(batch::pg_catalog.text, 'NULL')),
            'Give a moment that is not in the future, and a batch of one account or more.');
    END IF;
    IF program IS NOT NULL THEN
        PERFORM loyalty._program_id(program);
    ELSE
        PERFORM loyalty._check_access(0);
    END IF;
    LOOP
        FOR accounts IN SELECT * FROM loyalty._expiring_accounts(program, as_of, done, batch) LOOP
            PERFORM loyalty._expire_accounts(accounts, as_of);
            done := greatest(done, accounts[pg_catalog.array_upper(accounts, 1)]);
            COMMIT;
        END LOOP;
        EXIT WHEN NOT FOUND;
    END LOOP;
END $$;
COMMENT ON PROCEDURE loyalty.expire(text, timestamptz, int) IS
    'Books the end of lots that are past it, a batch of one program''s accounts a transaction; it may be stopped and called again';

CREATE FUNCTION loyalty.extend(program text, member text, until date, lot int DEFAULT NULL, request_id text DEFAULT NULL,
        reason text DEFAULT NULL, currency text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_expiry_extend';
COMMENT ON FUNCTION loyalty.extend(text, text, date, int, text, text, text) IS
    'Lets a member''s points, all that would end earlier by default, live until the end of a day, and answers the first entry that says so';
