CREATE TABLE addresses (
    id            TEXT NOT NULL PRIMARY KEY,
    account       TEXT NOT NULL REFERENCES accounts (id),
    receiver_name TEXT NOT NULL,
    phone         TEXT NOT NULL,
    street        TEXT NOT NULL,
    district      TEXT NOT NULL,
    city          TEXT NOT NULL,
    province      TEXT NOT NULL,
    postal_code   TEXT NOT NULL
) STRICT;
CREATE INDEX addresses_by_account ON addresses (account, id);
