-- The reply of each write, kept for the one who asked, so that a repetition has no second effect.
CREATE TABLE request_ids (
    owner      TEXT   NOT NULL,
    method     TEXT   NOT NULL,
    request_id TEXT   NOT NULL,
    body_hash  BLOB   NOT NULL CHECK (length(body_hash) = 32),
    reply      BLOB   NOT NULL,
    at_ms      BIGINT NOT NULL,
    PRIMARY KEY (owner, method, request_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX request_ids_by_age ON request_ids (at_ms);
