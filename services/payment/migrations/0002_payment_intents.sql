-- What is to be paid, and how far that is. `state` and `funds` move only as `intent.rs` says; the checks repeat its
-- invariant.
CREATE TABLE payment_intents (
    id                TEXT   PRIMARY KEY,
    order_name        TEXT   NOT NULL,
    buyer             TEXT   NOT NULL,
    currency          TEXT   NOT NULL,
    amount_minor      BIGINT NOT NULL CHECK (amount_minor > 0),
    create_ms         BIGINT NOT NULL,
    expire_ms         BIGINT NOT NULL,
    version           BIGINT NOT NULL CHECK (version > 0),
    state             TEXT   NOT NULL,
    closing_reason    TEXT   CHECK (closing_reason IN ('REQUESTED', 'EXPIRED', 'ORDER_FAILED')),
    funds             TEXT   NOT NULL,
    bank              TEXT   CHECK (bank IN ('BCA')),
    account_number    TEXT,
    account_expire_ms BIGINT,
    notification      TEXT,
    failure_reason    TEXT,
    CHECK ((state = 'CLOSING') = (closing_reason IS NOT NULL)),
    CHECK ((account_number IS NULL) = (account_expire_ms IS NULL)),
    CHECK (
        (state IN ('REQUIRES_PAYMENT_METHOD', 'PROCESSING', 'REQUIRES_ACTION', 'CLOSING') AND funds = 'NONE')
        OR (state = 'REQUIRES_CAPTURE' AND funds = 'HELD')
        OR (state = 'SUCCEEDED' AND funds = 'CAPTURED')
        OR (state = 'CANCELED' AND funds IN ('NONE', 'LATE', 'GIVEN_UP'))
        OR (state IN ('FAILED', 'EXPIRED') AND funds IN ('NONE', 'LATE'))
    )
) STRICT;

-- Names that were cancelled before they were opened: a late creation finds its name here and is refused.
CREATE TABLE payment_intent_tombstones (
    id        TEXT   PRIMARY KEY,
    state     TEXT   NOT NULL CHECK (state IN ('CANCELED', 'EXPIRED')),
    create_ms BIGINT NOT NULL
) STRICT;

-- What providers reported, one row a payment at the provider, whatever became of it.
CREATE TABLE notifications (
    bank            TEXT   NOT NULL CHECK (bank IN ('BCA')),
    notification_id TEXT   NOT NULL,
    charge          TEXT   NOT NULL,
    currency        TEXT   NOT NULL,
    amount_minor    BIGINT NOT NULL CHECK (amount_minor > 0),
    reference       TEXT   NOT NULL,
    paid_ms         BIGINT NOT NULL,
    create_ms       BIGINT NOT NULL,
    PRIMARY KEY (bank, notification_id)
) STRICT;

CREATE TRIGGER notifications_never_change BEFORE UPDATE ON notifications
BEGIN SELECT RAISE(ABORT, 'a notification never changes'); END;

CREATE TRIGGER notifications_never_go BEFORE DELETE ON notifications
BEGIN SELECT RAISE(ABORT, 'a notification is never deleted'); END;
