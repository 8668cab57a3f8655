CREATE TABLE orders (
    id           TEXT   NOT NULL PRIMARY KEY,
    buyer        TEXT   NOT NULL,
    -- A cart becomes one order at most.
    cart         TEXT   NOT NULL UNIQUE REFERENCES carts (id),
    showcase     TEXT   NOT NULL,
    campaign     TEXT   NOT NULL,
    operator     TEXT   NOT NULL,
    state        TEXT   NOT NULL,
    reason       TEXT,
    version      BIGINT NOT NULL,
    currency     TEXT   NOT NULL,
    subtotal     BIGINT NOT NULL,
    shipping_fee BIGINT NOT NULL,
    total        BIGINT NOT NULL CHECK (total = subtotal + shipping_fee),
    address      TEXT   NOT NULL,
    -- The address as it was, an encoded sekat.order.v1.ShipTo.
    ship_to      BLOB,
    -- The number of the current reservation, from 0, and how long each one holds.
    hold         BIGINT NOT NULL,
    hold_ms      BIGINT NOT NULL,
    payment_open BIGINT NOT NULL CHECK (payment_open IN (0, 1)),
    create_ms    BIGINT NOT NULL,
    expire_ms    BIGINT NOT NULL,
    paid_ms      BIGINT,
    -- The trace of the call that created the order; the checkout continues it.
    trace        BLOB   NOT NULL
) STRICT;
CREATE INDEX orders_by_buyer ON orders (buyer, create_ms, id);

CREATE TABLE order_lines (
    order_id TEXT   NOT NULL REFERENCES orders (id),
    position BIGINT NOT NULL,
    sku      TEXT   NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity BETWEEN 1 AND 99),
    title    TEXT   NOT NULL,
    merchant TEXT   NOT NULL,
    seller   TEXT   NOT NULL,
    price    BIGINT NOT NULL CHECK (price >= 0),
    PRIMARY KEY (order_id, position)
) STRICT;

-- How far the payment events were taken in: one row.
CREATE TABLE payment_events (
    id           BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    resume_token TEXT   NOT NULL
) STRICT;
