-- A copy of the public feed, so that pages are drawn while commerce cannot be reached.
CREATE TABLE feed_products (
    id           TEXT NOT NULL PRIMARY KEY,
    -- Nothing if the product is no longer offered: then it is known to be gone, and not unknown.
    feed_product BLOB
) STRICT;

CREATE TABLE feed_position (
    id           BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    resume_token TEXT NOT NULL
) STRICT;
