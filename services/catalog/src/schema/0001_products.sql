CREATE TABLE merchants (
    id           TEXT NOT NULL PRIMARY KEY,
    display_name TEXT NOT NULL,
    -- The name in lower case, for plain search.
    search       TEXT NOT NULL,
    city         TEXT NOT NULL,
    admitted     BIGINT NOT NULL CHECK (admitted IN (0, 1))
) STRICT;

CREATE TABLE products (
    id                 TEXT NOT NULL PRIMARY KEY,
    merchant           TEXT NOT NULL REFERENCES merchants (id),
    title              TEXT NOT NULL,
    description        TEXT NOT NULL,
    category           TEXT NOT NULL,
    attributes         TEXT NOT NULL,
    image_uri          TEXT NOT NULL,
    supplier_reference TEXT NOT NULL,
    -- Title and category in lower case, for plain search.
    search             TEXT NOT NULL,
    deleted            BIGINT NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)),
    version            BIGINT NOT NULL DEFAULT 1,
    create_ms          BIGINT NOT NULL,
    update_ms          BIGINT NOT NULL
) STRICT;
CREATE INDEX products_by_merchant ON products (merchant, id);

CREATE TABLE skus (
    product   TEXT NOT NULL REFERENCES products (id),
    code      TEXT NOT NULL,
    merchant  TEXT NOT NULL,
    position  BIGINT NOT NULL,
    options   TEXT NOT NULL,
    unit      TEXT NOT NULL,
    weight    BIGINT NOT NULL,
    price     BIGINT NOT NULL CHECK (price > 0),
    cost      BIGINT,
    on_hand   BIGINT NOT NULL,
    reserved  BIGINT NOT NULL DEFAULT 0,
    version   BIGINT NOT NULL DEFAULT 1,
    deleted   BIGINT NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)),
    PRIMARY KEY (product, code),
    -- Nothing is ever sold twice: whatever the code does, holds never exceed what is there.
    CONSTRAINT skus_not_oversold CHECK (reserved >= 0 AND reserved <= on_hand)
) STRICT;
CREATE UNIQUE INDEX skus_code_in_shop ON skus (merchant, code) WHERE deleted = 0;
