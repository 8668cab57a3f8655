CREATE TABLE sessions (
    id                 TEXT NOT NULL PRIMARY KEY,
    account            TEXT NOT NULL REFERENCES accounts (id),
    scope              BIGINT NOT NULL,
    -- The number of the refresh token that works now, and its SHA-256.
    generation         BIGINT NOT NULL,
    refresh_hash       BLOB NOT NULL,
    -- The requests that made the session and that last refreshed it.
    request_id         TEXT NOT NULL,
    refresh_request_id TEXT NOT NULL DEFAULT '',
    expire_ms          BIGINT NOT NULL,
    revoked            BIGINT NOT NULL DEFAULT 0 CHECK (revoked IN (0, 1)),
    create_ms          BIGINT NOT NULL,
    CONSTRAINT sessions_request UNIQUE (account, request_id)
) STRICT;
