//! What can go wrong with a store, said so that whoever reads it knows what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;
use rusqlite::ffi;

/// A store that cannot be opened, a job that was not taken, a statement that failed, or a store that has stopped.
///
/// Cloneable, because one failed COMMIT is the answer to every job of its group.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory is not there, or is something else.
    #[error("the data directory {dir} does not exist; create it with mode 0700, or correct the configured path")]
    DirectoryMissing {
        /// The configured directory.
        dir: PathBuf,
    },
    /// Another process holds the store.
    #[error("{path} is held by another process; stop that one, or give this one a data directory of its own")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The file can be reached by other users of the machine.
    #[error("{path} has mode {mode:04o} and must have 0600; find out who may have read it, then run chmod 600 on it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The process may not reach the directory or a file in it.
    #[error("{path} cannot be opened; give this process's user read and write permission on it and its directory")]
    Unreachable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The file is no database, or its pages are damaged.
    #[error("{path} is not an intact SQLite database; move it away for inspection and restore a backup")]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: Arc<rusqlite::Error>,
    },
    /// The file was made by another service.
    #[error("{path} belongs to the service {found}; give each service a data directory or file of its own")]
    OtherService {
        /// The file.
        path: PathBuf,
        /// The service that made it.
        found: String,
    },
    /// The file system cannot carry the write-ahead log.
    #[error("{path} cannot use a write-ahead log (journal mode {mode}); put it on a local disk")]
    NoWriteAheadLog {
        /// The file.
        path: PathBuf,
        /// The mode that SQLite chose.
        mode: String,
    },
    /// The file was written by a newer binary.
    #[error("{path} has {component} schema version {found}, this binary knows {known}; start the newer binary")]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Whose schema: the store's own or the service's.
        component: &'static str,
        /// The version in the file.
        found: i64,
        /// The newest version that this binary has.
        known: i64,
    },
    /// A migration that is in the file is not the one of this binary.
    #[error("{component} migration {version} was changed after it was applied; restore its text and add a new one")]
    ChangedMigration {
        /// Whose migration.
        component: &'static str,
        /// Its version.
        version: i64,
    },
    /// The list of migrations is wrong.
    #[error("{component} migration {version} ({name}) is out of order; versions ascend from 1 and go forward only")]
    MigrationOrder {
        /// Whose migration.
        component: &'static str,
        /// Its version.
        version: i64,
        /// Its name.
        name: &'static str,
    },
    /// A migration did not run; nothing of it is left.
    #[error("{component} migration {version} ({name}) failed and was rolled back; correct its text")]
    Migration {
        /// Whose migration.
        component: &'static str,
        /// Its version.
        version: i64,
        /// Its name.
        name: &'static str,
        /// What the engine said.
        source: Arc<rusqlite::Error>,
    },
    /// A migration made a table that a store cannot have.
    #[error("the table {table} {reason}")]
    UnfitTable {
        /// The table.
        table: String,
        /// What is wrong with it and what to write instead.
        reason: &'static str,
    },
    /// The configuration cannot be right.
    #[error("the store's configuration is wrong: {0}")]
    Config(&'static str),

    /// The disk, or the file's own limit, is full. Nothing more is written until a restart.
    #[error("the disk under {path} is full; free space and restart the service")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The disk failed. Nothing more is written until a restart.
    #[error("{path} could not be written or read; examine the disk, then restart the service")]
    Io {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: Arc<rusqlite::Error>,
    },
    /// The group's transaction did not commit, for a reason that is not the disk's.
    #[error("the transaction of a group could not be committed; restart the service and report this")]
    Commit {
        /// What failed.
        source: Arc<StoreError>,
    },
    /// A job ended the transaction that it shares with others, or a migration its own.
    #[error("a transaction was ended from within; no job and no migration may run BEGIN, COMMIT or ROLLBACK")]
    TransactionEnded,
    /// The writer is gone: after an error that it cannot survive, or a bug.
    #[error("the store has stopped and takes no more writes; mend the cause and restart the service")]
    Stopped {
        /// The error that stopped it; none if its thread is gone.
        source: Option<Arc<StoreError>>,
    },

    /// The queue of writes is full. Nothing was done; the caller may try again later.
    #[error("too many writes are waiting; try again later")]
    Overloaded,
    /// The deadline passed before the job began. Nothing was done.
    #[error("the deadline passed before the store could begin")]
    Expired,
    /// Somebody else holds SQLite's write lock. Nothing was done.
    #[error("another program holds the write lock of {path}; close it")]
    Busy {
        /// The file.
        path: PathBuf,
    },

    /// A statement broke a constraint of the schema.
    #[error("a {kind:?} constraint refused a row: {detail}")]
    Constraint {
        /// The kind of constraint.
        kind: ConstraintKind,
        /// The engine's message: names of the schema, no values.
        detail: String,
    },
    /// The engine refused a statement.
    #[error("a statement failed: {statement}")]
    Statement {
        /// Its text.
        statement: &'static str,
        /// What the engine said.
        source: Arc<rusqlite::Error>,
    },
    /// A statement got too few or too many parameters.
    #[error("a statement takes {expected} parameters and got {found}: {statement}")]
    Parameters {
        /// How many it has.
        expected: usize,
        /// How many were given.
        found: usize,
        /// Its text.
        statement: &'static str,
    },
    /// A statement returned another number of rows than its caller stands for.
    #[error("a statement returned {found} rows where one was expected: {statement}")]
    RowCount {
        /// How many came.
        found: usize,
        /// Its text.
        statement: &'static str,
    },
    /// A column holds something else than the code reads.
    #[error("column {index} ({name}) should be {wanted} and is {found}; the query and the code that reads it disagree")]
    Column {
        /// The position, from 0.
        index: usize,
        /// The name.
        name: String,
        /// What the code reads.
        wanted: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A read job tried to write.
    #[error("a read job may not write: {statement}")]
    ReadOnly {
        /// Its text.
        statement: &'static str,
    },
    /// A job panicked; its effects were rolled back, the store goes on.
    #[error("a job panicked and was rolled back; its message is in the log")]
    JobPanicked,
    /// The operating system gave no thread for the writer.
    #[error("the writer's thread could not be started; raise the limit of processes for this user")]
    NoThread {
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,

    /// The request id is not one.
    #[error("request_id must be 1 to 64 characters of A-Z, a-z, 0-9, '-' and '_'; send a UUID")]
    InvalidRequestId,
    /// The request id was used with another request.
    #[error("this request_id was used with another request; send a new one")]
    RequestIdReused,
    /// A stored reply is no longer readable.
    #[error("the stored reply of a request is not of the type that is asked for")]
    StoredReply {
        /// What the decoder said.
        source: Arc<prost::DecodeError>,
    },
    /// The page token is not ours, was changed, or belongs to another query.
    #[error("the page token is not valid for this request; start again without one")]
    InvalidPageToken,
    /// A page size is negative (AIP-158).
    #[error("page_size must not be negative")]
    InvalidPageSize,
    /// A work item's lease ran out and another worker has the item.
    #[error("the lease of a work item was lost; another worker has the item")]
    LeaseLost,
    /// A field of a work item or a cursor is longer than allowed.
    #[error("{what} has {found} bytes; the limit is {limit}")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Its length in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The chain of access records is broken.
    #[error("the access records of {instance} are broken at number {seq}: {reason}; keep the file as evidence")]
    BrokenChain {
        /// The instance whose chain it is.
        instance: String,
        /// The first record that is missing, changed or out of place.
        seq: i64,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// The kind of a broken constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstraintKind {
    /// A unique index or a primary key.
    Unique,
    /// A foreign key.
    ForeignKey,
    /// NOT NULL.
    NotNull,
    /// CHECK.
    Check,
    /// A column's type (STRICT tables).
    Type,
    /// A trigger.
    Trigger,
    /// Any other.
    Other,
}

/// How a [`StoreError`] is answered; each kind has one gRPC code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The caller sent something malformed: `INVALID_ARGUMENT`. The message may be shown.
    InvalidArgument,
    /// The request id belongs to another request: `ALREADY_EXISTS`, reason `REQUEST_ID_REUSED`.
    RequestIdReused,
    /// The queue is full: `RESOURCE_EXHAUSTED` with `RetryInfo`. Nothing was done.
    Overloaded,
    /// The deadline passed: `DEADLINE_EXCEEDED`. Nothing was done.
    Expired,
    /// The store has stopped: `UNAVAILABLE`. What was in flight may or may not be durable, so that only a write
    /// with a request id is safe to repeat.
    Unavailable,
    /// A fault of ours: `INTERNAL`. The message must not be shown.
    Internal,
}

impl StoreError {
    /// How the error is answered.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidRequestId | Self::InvalidPageToken | Self::InvalidPageSize => ErrorKind::InvalidArgument,
            Self::RequestIdReused => ErrorKind::RequestIdReused,
            Self::Overloaded => ErrorKind::Overloaded,
            Self::Expired => ErrorKind::Expired,
            Self::Full { .. }
            | Self::Io { .. }
            | Self::Commit { .. }
            | Self::TransactionEnded
            | Self::Stopped { .. }
            | Self::Busy { .. } => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        }
    }

    /// Whether a statement broke a unique index or a primary key.
    #[must_use]
    pub const fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Constraint { kind: ConstraintKind::Unique, .. })
    }

    /// Whether the engine can no longer be trusted to write.
    pub(crate) const fn is_fatal(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Io { .. } | Self::NotADatabase { .. })
    }

    /// Reads SQLite's answer to a statement. `may_write`: on a connection that may, "read-only" is the disk's fault.
    pub(crate) fn of_statement(error: rusqlite::Error, statement: &'static str, path: &Path, may_write: bool) -> Self {
        let path = path.to_owned();
        let Some(failure) = error.sqlite_error() else {
            return Self::Statement { statement, source: Arc::new(error) };
        };
        match failure.code {
            ErrorCode::DiskFull => Self::Full { path },
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                Self::NotADatabase { path, source: Arc::new(error) }
            }
            ErrorCode::ReadOnly if !may_write => Self::ReadOnly { statement },
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::NoLargeFileSupport => Self::Io { path, source: Arc::new(error) },
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy { path },
            ErrorCode::ConstraintViolation => Self::Constraint {
                kind: constraint_kind(failure.extended_code),
                detail: match error {
                    rusqlite::Error::SqliteFailure(_, Some(detail)) => detail,
                    _ => statement.to_owned(),
                },
            },
            _ => Self::Statement { statement, source: Arc::new(error) },
        }
    }
}

const fn constraint_kind(extended_code: i32) -> ConstraintKind {
    match extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            ConstraintKind::Unique
        }
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ConstraintKind::ForeignKey,
        ffi::SQLITE_CONSTRAINT_NOTNULL => ConstraintKind::NotNull,
        ffi::SQLITE_CONSTRAINT_CHECK => ConstraintKind::Check,
        ffi::SQLITE_CONSTRAINT_DATATYPE => ConstraintKind::Type,
        ffi::SQLITE_CONSTRAINT_TRIGGER => ConstraintKind::Trigger,
        _ => ConstraintKind::Other,
    }
}
