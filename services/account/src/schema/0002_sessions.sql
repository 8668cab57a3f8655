CREATE TABLE sessions (
    id                    TEXT NOT NULL PRIMARY KEY,
    account               TEXT NOT NULL REFERENCES accounts (id),
    scope                 BIGINT NOT NULL,
    -- SHA-256 of the refresh token that works now, and of the one before it.
    refresh_hash          BLOB NOT NULL,
    previous_refresh_hash BLOB,
    -- The requests that made the session and that last refreshed it.
    request_id            TEXT NOT NULL,
    refresh_request_id    TEXT NOT NULL DEFAULT '',
    expire_ms             BIGINT NOT NULL,
    revoked               BIGINT NOT NULL DEFAULT 0 CHECK (revoked IN (0, 1)),
    create_ms             BIGINT NOT NULL,
    CONSTRAINT sessions_request UNIQUE (account, request_id)
) STRICT;
