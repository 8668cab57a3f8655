CREATE TABLE accounts (
    id               TEXT NOT NULL PRIMARY KEY,
    display_name     TEXT NOT NULL,
    email            TEXT NOT NULL,
    phone            TEXT NOT NULL,
    locale           TEXT NOT NULL,
    -- The handle in use; empty if the person runs no showcase.
    creator_handle   TEXT NOT NULL,
    password_hash    TEXT NOT NULL,
    blocked          BIGINT NOT NULL DEFAULT 0 CHECK (blocked IN (0, 1)),
    version          BIGINT NOT NULL DEFAULT 1,
    create_ms        BIGINT NOT NULL,
    -- The request that made the account and the SHA-256 of its content without the password: a repetition of it is
    -- answered with the account.
    request_id       TEXT NOT NULL,
    request_hash     BLOB NOT NULL,
    CONSTRAINT accounts_email UNIQUE (email),
    CONSTRAINT accounts_request UNIQUE (request_id)
) STRICT;

-- Every handle that an account has had. One that was given up stays its own.
CREATE TABLE creator_handles (
    handle  TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (id)
) STRICT;
CREATE INDEX creator_handles_by_account ON creator_handles (account);
