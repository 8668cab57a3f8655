-- What the file is: the service that owns it, and keys that never leave it.
CREATE TABLE store_meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
