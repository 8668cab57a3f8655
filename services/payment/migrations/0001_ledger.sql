-- The double-entry ledger. `ledger.rs` documents the chart of accounts.
CREATE TABLE ledger_accounts (
    id              TEXT   PRIMARY KEY,
    kind            TEXT   NOT NULL CHECK (kind IN ('provider_receivable', 'order_funds', 'unapplied_funds')),
    currency        TEXT   NOT NULL,
    debits_posted   BIGINT NOT NULL CHECK (debits_posted >= 0),
    credits_posted  BIGINT NOT NULL CHECK (credits_posted >= 0),
    debits_pending  BIGINT NOT NULL CHECK (debits_pending >= 0),
    credits_pending BIGINT NOT NULL CHECK (credits_pending >= 0)
) STRICT;

CREATE TABLE ledger_transfers (
    seq            BIGINT PRIMARY KEY,
    id             TEXT   NOT NULL UNIQUE,
    action         TEXT   NOT NULL CHECK (action IN ('DIRECT', 'PENDING', 'POST', 'VOID')),
    pending        TEXT   REFERENCES ledger_transfers (id),
    debit          TEXT   NOT NULL REFERENCES ledger_accounts (id),
    credit         TEXT   NOT NULL REFERENCES ledger_accounts (id),
    currency       TEXT   NOT NULL,
    amount_minor   BIGINT NOT NULL CHECK (amount_minor > 0),
    payment_intent TEXT   NOT NULL,
    create_ms      BIGINT NOT NULL,
    CHECK (debit <> credit),
    CHECK ((action IN ('POST', 'VOID')) = (pending IS NOT NULL))
) STRICT;

-- A pending transfer is settled once, whatever the code believes.
CREATE UNIQUE INDEX ledger_transfers_settle_once ON ledger_transfers (pending) WHERE pending IS NOT NULL;
CREATE INDEX ledger_transfers_by_payment ON ledger_transfers (payment_intent, seq);

CREATE TRIGGER ledger_transfers_never_change BEFORE UPDATE ON ledger_transfers
BEGIN SELECT RAISE(ABORT, 'a ledger transfer never changes'); END;

CREATE TRIGGER ledger_transfers_never_go BEFORE DELETE ON ledger_transfers
BEGIN SELECT RAISE(ABORT, 'a ledger transfer is never deleted'); END;

CREATE TRIGGER ledger_accounts_keep_their_kind BEFORE UPDATE OF id, kind, currency ON ledger_accounts
BEGIN SELECT RAISE(ABORT, 'a ledger account keeps its name, kind and currency'); END;

CREATE TRIGGER ledger_accounts_never_go BEFORE DELETE ON ledger_accounts
BEGIN SELECT RAISE(ABORT, 'a ledger account is never deleted'); END;

INSERT INTO ledger_accounts (id, kind, currency, debits_posted, credits_posted, debits_pending, credits_pending)
VALUES ('provider-receivable-bca', 'provider_receivable', 'IDR', 0, 0, 0, 0),
       ('order-funds', 'order_funds', 'IDR', 0, 0, 0, 0),
       ('unapplied-funds', 'unapplied_funds', 'IDR', 0, 0, 0, 0);
