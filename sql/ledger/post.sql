-- post: entries, lots and allocations, and the one door by which a balance changes.

-- Insert-only. entry_no counts from 1 within the account; the id applications see
-- is account_id * 100000000 + entry_no.
-- lot_no: the one lot that takes all of the entry's points; NULL: see allocation.
-- event: what of the source earned; without a source, the request that was answered.
-- base of a hold: the points it reserves. reverses: the entry that a giveback undoes, the
-- hold that a redemption captures or that is released, the award that a confirmation takes out of its lot, the merge
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
    clock_end   timestamptz,
    clock_ended timestamptz,
    PRIMARY KEY (account_id, entry_no)
);
CREATE INDEX entry_event_idx ON loyalty.entry (account_id, event) WHERE source_id IS NOT NULL;
COMMENT ON TABLE loyalty.entry IS 'The ledger: one immutable line for each change of an account';
COMMENT ON COLUMN loyalty.entry.account_id IS 'account that it changes';
COMMENT ON COLUMN loyalty.entry.entry_no IS 'number of the entry within the account, from 1';
COMMENT ON COLUMN loyalty.entry.lot_no IS 'the one lot that all of its points went to or came from; NULL: see allocation';
COMMENT ON COLUMN loyalty.entry.points IS 'what came, or went if negative';
COMMENT ON COLUMN loyalty.entry.event_time IS 'when it happened';
COMMENT ON COLUMN loyalty.entry.recorded_at IS 'when the transaction that booked it began';
COMMENT ON COLUMN loyalty.entry.base IS 'what it added to the row''s amount; of a hold, the points that it reserves; of a waiver, what refunds are let off from here on';
COMMENT ON COLUMN loyalty.entry.refunded IS 'what it added to the row''s refunded amount';
COMMENT ON COLUMN loyalty.entry.forgiven IS 'points that were let off instead of being taken back';
COMMENT ON COLUMN loyalty.entry.source_id IS 'attached table that it comes from; NULL: none';
COMMENT ON COLUMN loyalty.entry.rule_id IS 'version of the earning rule that gave the points';
COMMENT ON COLUMN loyalty.entry.reverses IS 'entry of the account that it undoes, or hold that it captures or releases, or that owes to refunds';
COMMENT ON COLUMN loyalty.entry.actor_id IS 'who booked it';
COMMENT ON COLUMN loyalty.entry.kind IS 'what happened';
COMMENT ON COLUMN loyalty.entry.event IS 'key of the event in the attached table; without a source, the request id that was answered';
COMMENT ON COLUMN loyalty.entry.line IS 'key of the row within the event; of a transfer or a merge, the entry on its other side';
COMMENT ON COLUMN loyalty.entry.reason IS 'as the caller gave it; not hashed, so that it can be erased';
COMMENT ON COLUMN loyalty.entry.hash IS 'of this entry and of the one before: the chain';
COMMENT ON COLUMN loyalty.entry.clock_end IS 'when the account''s clock ends from here on; NULL: when it did';
COMMENT ON COLUMN loyalty.entry.clock_ended IS 'when those of the account''s lots ended that lived by the clock until here; NULL: it books no such end';

-- Points that came together and die together. remaining is what has not been
-- spent, taken back or expired; open says remaining > 0 and is a column of its own so
-- that spending a part of a lot leaves the index alone. There is but one index, since a
-- lot is often made for a single award: it has an account's open lots in the order they
-- pay, and a lot of a given number is looked for among all of the account.
CREATE TABLE loyalty.lot (
    account_id  bigint NOT NULL,
    lot_no      int NOT NULL,
    open        boolean NOT NULL,
    by_activity boolean NOT NULL,
    extended    boolean NOT NULL,
    issued      date NOT NULL,
    opened_by   int NOT NULL,
    valid_from  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    earned_at   timestamptz NOT NULL,
    credited    loyalty.points NOT NULL,
    remaining   loyalty.points NOT NULL,
    held        loyalty.points NOT NULL,
    expired     loyalty.points NOT NULL,
    waived      loyalty.points NOT NULL,
    PRIMARY KEY (account_id, open, expires_at, earned_at, lot_no),
    CONSTRAINT lot_amounts CHECK (remaining >= 0 AND held >= 0 AND held <= remaining
        AND waived >= 0 AND waived <= expired AND open = (remaining > 0))
) WITH (fillfactor = 80);
COMMENT ON TABLE loyalty.lot IS 'Points that came together and die together: they live in [valid_from, expires_at)';
COMMENT ON COLUMN loyalty.lot.account_id IS 'account that it is of';
COMMENT ON COLUMN loyalty.lot.lot_no IS 'number of the lot within the account, from 1';
COMMENT ON COLUMN loyalty.lot.open IS 'whether any points are left';
COMMENT ON COLUMN loyalty.lot.by_activity IS 'whether they came to end with the account''s clock';
COMMENT ON COLUMN loyalty.lot.extended IS 'whether its own end was moved away since';
COMMENT ON COLUMN loyalty.lot.issued IS 'first day of the month of issue';
COMMENT ON COLUMN loyalty.lot.opened_by IS 'number of the entry that brought the first of them; its hash covers when they begin, and were to end';
COMMENT ON COLUMN loyalty.lot.valid_from IS 'from when its points can be spent; -infinity is at once';
COMMENT ON COLUMN loyalty.lot.expires_at IS 'when they end; infinity is never, the last finite moment is the account''s clock';
COMMENT ON COLUMN loyalty.lot.earned_at IS 'when the first of them were earned';
COMMENT ON COLUMN loyalty.lot.credited IS 'points that came in since the beginning';
COMMENT ON COLUMN loyalty.lot.remaining IS 'points that are left, those held included';
COMMENT ON COLUMN loyalty.lot.held IS 'points that are held';
COMMENT ON COLUMN loyalty.lot.expired IS 'points whose end was booked';
COMMENT ON COLUMN loyalty.lot.waived IS 'of those expired, what reversals would have taken';

-- With when they end: those that end by activity say the last finite moment, and their account says when.
CREATE VIEW loyalty._lot AS
    SELECT l.account_id, l.lot_no, l.open, l.issued, l.valid_from,
           CASE WHEN l.expires_at = '294276-12-31 23:59:59.999999+00'
                THEN (SELECT a.clock_end FROM loyalty.account a WHERE a.account_id = l.account_id)
                ELSE l.expires_at END AS expires_at,
           l.earned_at, l.credited, l.remaining, l.held, l.expired, l.waived,
           l.expires_at = '294276-12-31 23:59:59.999999+00' AS on_clock, l.by_activity, l.opened_by
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
COMMENT ON COLUMN loyalty.allocation.account_id IS 'account of the entry';
COMMENT ON COLUMN loyalty.allocation.entry_no IS 'number of the entry';
COMMENT ON COLUMN loyalty.allocation.allocation_no IS 'place among the lots that it touched, from 1';
COMMENT ON COLUMN loyalty.allocation.lot_no IS 'lot that it touched; 0 is the debt';
COMMENT ON COLUMN loyalty.allocation.points IS 'what went into the lot, or came out of it if negative';
COMMENT ON COLUMN loyalty.allocation.returned IS 'how much of that was given back since';

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
COMMENT ON COLUMN loyalty.hold.account_id IS 'account of the hold';
COMMENT ON COLUMN loyalty.hold.hold_no IS 'number of its entry';
COMMENT ON COLUMN loyalty.hold.lot_no IS 'lot that the points are in';
COMMENT ON COLUMN loyalty.hold.open IS 'whether it counts in lot.held';
COMMENT ON COLUMN loyalty.hold.points IS 'points that it reserved of the lot';
COMMENT ON COLUMN loyalty.hold.captured IS 'those of them that were redeemed';
COMMENT ON COLUMN loyalty.hold.ends_at IS 'when the hold ends by itself';
COMMENT ON COLUMN loyalty.hold.released_at IS 'when it was released; NULL: it was not';
COMMENT ON COLUMN loyalty.hold.owed IS 'points that go back to a refund when the hold ends';

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
COMMENT ON COLUMN loyalty.request.program_id IS 'program of the call';
COMMENT ON COLUMN loyalty.request.request_id IS 'id that the application gave it';
COMMENT ON COLUMN loyalty.request.account_id IS 'account of the answer';
COMMENT ON COLUMN loyalty.request.entry_no IS 'entry of the answer';
COMMENT ON COLUMN loyalty.request.content IS 'what was asked: with the same id only the same is answered';
COMMENT ON COLUMN loyalty.request.recorded_at IS 'when the call was first answered';

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
