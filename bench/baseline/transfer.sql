-- A transfer as a double-entry ledger such as pgledger makes it, written anew and to the bone:
-- two accounts locked in the order of their ids, their balances moved, two entries with
-- the balances before and after. It knows no lots. Set on the command line: members.

CREATE TABLE account (
    account_id bigint PRIMARY KEY,
    balance    bigint NOT NULL,
    version    bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

CREATE TABLE transfer (
    transfer_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    from_account bigint NOT NULL,
    to_account   bigint NOT NULL,
    amount       bigint NOT NULL CHECK (amount > 0),
    made_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE entry (
    entry_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id  bigint NOT NULL,
    transfer_id bigint NOT NULL,
    amount      bigint NOT NULL,
    before      bigint NOT NULL,
    after       bigint NOT NULL,
    version     bigint NOT NULL
);
CREATE INDEX ON entry (account_id);
CREATE INDEX ON entry (transfer_id);

CREATE FUNCTION move(source bigint, target bigint, wanted bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
    side record;
BEGIN
    PERFORM FROM account WHERE account_id IN (source, target) ORDER BY account_id FOR UPDATE;
    INSERT INTO transfer (from_account, to_account, amount) VALUES (source, target, wanted)
    RETURNING transfer_id INTO made;
    FOR side IN SELECT source AS id, -wanted AS amount UNION ALL SELECT target, wanted LOOP
        WITH moved AS (
            UPDATE account SET balance = balance + side.amount, version = version + 1
            WHERE account_id = side.id
            RETURNING balance, version
        )
        INSERT INTO entry (account_id, transfer_id, amount, before, after, version)
        SELECT side.id, made, side.amount, balance - side.amount, balance, version FROM moved;
    END LOOP;
    RETURN made;
END $$;

INSERT INTO account SELECT m, 100000 FROM generate_series(1, :members) m;
VACUUM ANALYZE account;

CREATE VIEW broken_books AS
SELECT account_id FROM account
LEFT JOIN (SELECT account_id, sum(amount) AS amount FROM entry GROUP BY account_id) e USING (account_id)
WHERE balance <> 100000 + coalesce(amount, 0)
UNION ALL
SELECT 0 FROM (SELECT sum(amount) AS amount FROM entry) e WHERE amount <> 0;
