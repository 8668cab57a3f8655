CREATE TABLE imports (
    id       TEXT NOT NULL PRIMARY KEY,
    merchant TEXT NOT NULL,
    -- State of the contract.
    state    BIGINT NOT NULL,
    total    BIGINT NOT NULL,
    done     BIGINT NOT NULL DEFAULT 0,
    -- The row that is tried next.
    next_row BIGINT NOT NULL DEFAULT 0,
    -- What was asked for, until it is done.
    request  BLOB NOT NULL
) STRICT;
CREATE INDEX imports_by_merchant ON imports (merchant, state);

CREATE TABLE import_errors (
    import  TEXT NOT NULL REFERENCES imports (id),
    row     BIGINT NOT NULL,
    reason  TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (import, row)
) STRICT;
