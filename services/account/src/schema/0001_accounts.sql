CREATE TABLE accounts (
    id               TEXT NOT NULL PRIMARY KEY,
    display_name     TEXT NOT NULL,
    email            TEXT NOT NULL,
    phone            TEXT NOT NULL,
    locale           TEXT NOT NULL,
    creator_handle   TEXT,
    password_hash    TEXT NOT NULL,
    blocked          BIGINT NOT NULL DEFAULT 0 CHECK (blocked IN (0, 1)),
    version          BIGINT NOT NULL DEFAULT 1,
    create_ms        BIGINT NOT NULL,
    -- The request that made the account: a repetition of it is answered with the account.
    request_id       TEXT NOT NULL,
    CONSTRAINT accounts_email UNIQUE (email),
    CONSTRAINT accounts_creator_handle UNIQUE (creator_handle)
) STRICT;
