-- Who touched classified data, one hash chain an instance. `hash` covers every other column and `prev_hash`.
CREATE TABLE access_records (
    instance  TEXT   NOT NULL,
    seq       BIGINT NOT NULL CHECK (seq > 0),
    at_ms     BIGINT NOT NULL,
    caller    TEXT   NOT NULL,
    end_user  TEXT   NOT NULL,
    method    TEXT   NOT NULL,
    classes   TEXT   NOT NULL,
    trace_id  BLOB   NOT NULL CHECK (length(trace_id) = 16),
    span_id   BLOB   NOT NULL CHECK (length(span_id) = 8),
    prev_hash BLOB   NOT NULL CHECK (length(prev_hash) = 32),
    hash      BLOB   NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (instance, seq)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER access_records_no_update BEFORE UPDATE ON access_records
BEGIN SELECT RAISE(ABORT, 'access_records is append-only'); END;

CREATE TRIGGER access_records_no_delete BEFORE DELETE ON access_records
BEGIN SELECT RAISE(ABORT, 'access_records is append-only'); END;
