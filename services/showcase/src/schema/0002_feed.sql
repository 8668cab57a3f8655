-- A copy of the public feed, so that pages are drawn while commerce cannot be reached.
CREATE TABLE feed_products (
    id           TEXT NOT NULL PRIMARY KEY,
    feed_product BLOB NOT NULL
) STRICT;

CREATE TABLE feed_position (
    id           BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    resume_token TEXT NOT NULL
) STRICT;
