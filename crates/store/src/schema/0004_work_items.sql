-- Work that must be done, whatever crashes. `claim` is 0 or the token of the worker that holds the item; `ready_ms` is
-- when it may be claimed: the due time or, while it is held, the end of the lease. `revision` counts reschedulings.
CREATE TABLE work_items (
    id         BIGINT PRIMARY KEY,
    kind       TEXT   NOT NULL,
    key        TEXT   NOT NULL,
    payload    BLOB   NOT NULL,
    trace      BLOB   CHECK (length(trace) = 25),
    due_ms     BIGINT NOT NULL,
    ready_ms   BIGINT NOT NULL,
    claim      BIGINT NOT NULL,
    revision   BIGINT NOT NULL,
    attempts   BIGINT NOT NULL,
    last_error TEXT   NOT NULL,
    UNIQUE (kind, key)
) STRICT;

CREATE INDEX work_items_by_ready ON work_items (kind, ready_ms);
