-- News for whoever ordered the payment, in the order in which they became durable. `trace` is where it happened.
CREATE TABLE payment_events (
    seq            BIGINT PRIMARY KEY,
    payment_intent TEXT   NOT NULL,
    order_name     TEXT   NOT NULL,
    type           TEXT   NOT NULL CHECK (type IN ('AUTHORIZED', 'CAPTURED', 'CANCELED', 'FAILED', 'PAID_LATE')),
    occur_ms       BIGINT NOT NULL,
    trace          BLOB   CHECK (length(trace) = 25)
) STRICT;

CREATE TRIGGER payment_events_never_change BEFORE UPDATE ON payment_events
BEGIN SELECT RAISE(ABORT, 'a payment event never changes'); END;

CREATE TRIGGER payment_events_never_go BEFORE DELETE ON payment_events
BEGIN SELECT RAISE(ABORT, 'a payment event is never deleted'); END;
