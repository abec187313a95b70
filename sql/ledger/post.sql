-- post: entries, lots and allocations, and the one door by which a balance changes.

-- Insert-only. entry_no counts from 1 within the account; the id applications see
-- is account_id * 100000000 + entry_no.
-- lot_no: the one lot that takes all of the entry's points; NULL: see allocation.
-- event: what of the source earned; without a source, the request that was answered.
-- base of a hold: the points it reserves. reverses: the entry that a giveback undoes, the
-- hold that a redemption captures, the award that a confirmation takes out of its lot, the merge
-- that is undone. line of a transfer or merge: the id of its other side; of an extension: the end
-- that was, and the one that is. actor_id: who booked it.
CREATE TABLE loyalty.entry (
    account_id  bigint NOT NULL,
    entry_no    int NOT NULL,
    lot_no      int,
    points      loyalty.points NOT NULL,
    event_time  timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    base        loyalty.points,
    refunded    loyalty.points,
    forgiven    loyalty.points,
    source_id   int,
    rule_id     int,
    reverses    int,
    actor_id    int NOT NULL,
    kind        text NOT NULL,
    event       text COLLATE "C",
    line        text COLLATE "C",
    reason      text,
    hash        bytea NOT NULL,
    PRIMARY KEY (account_id, entry_no)
);
CREATE INDEX entry_event_idx ON loyalty.entry (account_id, event) WHERE source_id IS NOT NULL;
COMMENT ON TABLE loyalty.entry IS 'The ledger: one immutable line for each change of an account';

-- Points that came together and die together. remaining is what has not been
-- spent, taken back or expired; open says remaining > 0 and is a column of its own so
-- that spending a part of a lot leaves the index alone. There is but one index, since a
-- lot is often made for a single award: it has an account's open lots in the order they
-- pay, and a lot of a given number is looked for among all of the account.
CREATE TABLE loyalty.lot (
    account_id bigint NOT NULL,
    lot_no     int NOT NULL,
    open       boolean NOT NULL,
    issued     date NOT NULL,
    valid_from timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    earned_at  timestamptz NOT NULL,
    credited   loyalty.points NOT NULL,
    remaining  loyalty.points NOT NULL,
    held       loyalty.points NOT NULL,
    expired    loyalty.points NOT NULL,
    waived     loyalty.points NOT NULL,
    PRIMARY KEY (account_id, open, expires_at, earned_at, lot_no),
    CONSTRAINT lot_amounts CHECK (remaining >= 0 AND held >= 0 AND held <= remaining
        AND waived >= 0 AND waived <= expired AND open = (remaining > 0))
) WITH (fillfactor = 80);
COMMENT ON TABLE loyalty.lot IS 'Points that came together and die together: they live in [valid_from, expires_at)';

-- With when they end: those that end by activity say the last finite moment, and their account says when.
CREATE VIEW loyalty._lot AS
    SELECT l.account_id, l.lot_no, l.open, l.issued, l.valid_from,
           CASE WHEN l.expires_at = '294276-12-31 23:59:59.999999+00'
                THEN (SELECT a.clock_end FROM loyalty.account a WHERE a.account_id = l.account_id)
                ELSE l.expires_at END AS expires_at,
           l.earned_at, l.credited, l.remaining, l.held, l.expired, l.waived,
           l.expires_at = '294276-12-31 23:59:59.999999+00' AS on_clock
    FROM loyalty.lot l;
COMMENT ON VIEW loyalty._lot IS 'Lots with when they end, be it with the account''s clock';

-- What an entry did to each lot it touched, in the order it touched them: positive
-- into the lot, negative out of it. Lot 0 is the account's debt.
CREATE TABLE loyalty.allocation (
    account_id    bigint NOT NULL,
    entry_no      int NOT NULL,
    allocation_no int NOT NULL,
    lot_no        int NOT NULL,
    points        loyalty.points NOT NULL,
    returned      loyalty.points NOT NULL,
    PRIMARY KEY (account_id, entry_no, allocation_no),
    CONSTRAINT allocation_returned CHECK (returned >= 0 AND (returned = 0 OR returned <= -points))
) WITH (fillfactor = 90);
COMMENT ON TABLE loyalty.allocation IS 'Ties an entry to the lots it touched, and says how much of each was given back since';

-- What a hold keeps of one lot; hold_no is its entry's number. It counts in lot.held while
-- open, which is until it is captured whole, released, or found to be past its end. ends_at
-- and released_at are the same in all rows of a hold that have something left. What is owed of
-- it goes back to a refund when the hold ends, and is nobody's from then until that is booked.
CREATE TABLE loyalty.hold (
    account_id  bigint NOT NULL,
    hold_no     int NOT NULL,
    lot_no      int NOT NULL,
    open        boolean NOT NULL,
    points      loyalty.points NOT NULL,
    captured    loyalty.points NOT NULL,
    ends_at     timestamptz NOT NULL,
    released_at timestamptz,
    owed        loyalty.points NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, hold_no, lot_no),
    CONSTRAINT hold_amounts CHECK (points > 0 AND captured >= 0 AND captured <= points
        AND owed >= 0 AND owed <= points - captured AND (open OR owed = 0)
        AND NOT (open AND (captured = points OR released_at IS NOT NULL)))
) WITH (fillfactor = 80);
CREATE INDEX hold_open_idx ON loyalty.hold (account_id, ends_at) WHERE open;
COMMENT ON TABLE loyalty.hold IS 'Points of lots that are reserved: what each hold keeps of each lot';

-- One row for each call that an application may repeat, kept for ever.
CREATE TABLE loyalty.request (
    program_id  int NOT NULL,
    request_id  text COLLATE "C" NOT NULL,
    account_id  bigint NOT NULL,
    entry_no    int NOT NULL,
    content     text NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (program_id, request_id)
);
COMMENT ON TABLE loyalty.request IS 'Answers given to request ids, so that a repeated call gets the first answer';

SELECT pg_catalog.pg_extension_config_dump('loyalty.entry', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.lot', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.allocation', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.hold', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.request', '');

CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty.entry
    FOR EACH STATEMENT EXECUTE FUNCTION loyalty._guard();
CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty.lot
    FOR EACH STATEMENT EXECUTE FUNCTION loyalty._guard();
CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty.allocation
    FOR EACH STATEMENT EXECUTE FUNCTION loyalty._guard();
CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty.hold
    FOR EACH STATEMENT EXECUTE FUNCTION loyalty._guard();
CREATE TRIGGER loyalty_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty.request
    FOR EACH STATEMENT EXECUTE FUNCTION loyalty._guard();
