-- A cart; prices are not kept, they are asked for each time it is shown.
CREATE TABLE carts (
    id        TEXT   NOT NULL PRIMARY KEY,
    buyer     TEXT   NOT NULL,
    showcase  TEXT   NOT NULL,
    campaign  TEXT   NOT NULL,
    -- The order that it became.
    order_id  TEXT,
    version   BIGINT NOT NULL,
    create_ms BIGINT NOT NULL
) STRICT;

CREATE TABLE cart_lines (
    cart     TEXT   NOT NULL REFERENCES carts (id),
    -- Follows from the sku, so that two devices that add the same thing mean the same line.
    id       TEXT   NOT NULL,
    sku      TEXT   NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity BETWEEN 1 AND 99),
    position BIGINT NOT NULL,
    PRIMARY KEY (cart, id)
) STRICT;

-- Handoffs that filled a cart, until their tokens have expired beyond doubt.
CREATE TABLE used_handoffs (
    id       TEXT   NOT NULL PRIMARY KEY,
    until_ms BIGINT NOT NULL
) STRICT;
CREATE INDEX used_handoffs_by_end ON used_handoffs (until_ms);
