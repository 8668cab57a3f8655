-- The last change of each product; a later one replaces it, so the table does not grow with time.
CREATE TABLE feed_changes (
    product TEXT NOT NULL PRIMARY KEY,
    seq     BIGINT NOT NULL,
    CONSTRAINT feed_changes_seq UNIQUE (seq)
) STRICT;
