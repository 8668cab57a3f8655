CREATE TABLE showcases (
    id             TEXT NOT NULL PRIMARY KEY,
    creator_handle TEXT NOT NULL,
    display_name   TEXT NOT NULL,
    campaign       TEXT NOT NULL,
    create_ms      BIGINT NOT NULL
) STRICT;
CREATE INDEX showcases_by_creator ON showcases (creator_handle);

CREATE TABLE pins (
    id       TEXT NOT NULL PRIMARY KEY,
    showcase TEXT NOT NULL REFERENCES showcases (id),
    -- Orders the pins of a page; gaps mean nothing.
    rank     BIGINT NOT NULL,
    product  TEXT NOT NULL,
    -- The whole name, products/{product}/skus/{sku}.
    sku      TEXT NOT NULL,
    note     TEXT NOT NULL
) STRICT;
CREATE INDEX pins_by_showcase ON pins (showcase, rank);
CREATE INDEX pins_by_product ON pins (product);
