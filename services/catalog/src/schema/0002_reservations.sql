CREATE TABLE reservations (
    id        TEXT NOT NULL PRIMARY KEY,
    -- ReservationState of the contract. A released or lapsed row is the tombstone that forbids a later hold.
    state     BIGINT NOT NULL,
    expire_ms BIGINT NOT NULL
) STRICT;
CREATE INDEX reservations_due ON reservations (state, expire_ms);

CREATE TABLE reservation_lines (
    reservation TEXT NOT NULL REFERENCES reservations (id),
    line        BIGINT NOT NULL,
    product     TEXT NOT NULL,
    code        TEXT NOT NULL,
    quantity    BIGINT NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (reservation, line)
) STRICT;
