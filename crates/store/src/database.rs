//! One SQLite connection: settings, statements kept prepared, placeholders, rows, and what its errors mean.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OpenFlags};

use crate::dialect::to_sqlite;
use crate::{Row, StoreError, Tx, Value};

/// Prepared statements kept by each connection: more than any service has, so that none is compiled twice.
const STATEMENT_CACHE: usize = 512;

/// How long a statement waits for a lock that another program holds: only people's tools do, briefly.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Durability and integrity first. `synchronous=FULL` syncs the log at each COMMIT: with NORMAL a power cut loses
/// acknowledged transactions. A checkpoint every 4,000 pages (16 MB of log) is rare enough to keep COMMIT short and
/// often enough to keep recovery short. With recursive triggers `INSERT OR REPLACE` cannot delete past a trigger.
const SETTINGS: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA recursive_triggers = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA wal_autocheckpoint = 4000;
";

/// A connection with its prepared statements.
pub(crate) struct Database {
    connection: Connection,
    texts: HashMap<TextKey, Text>,
    path: PathBuf,
    may_write: bool,
}

/// Where a `&'static str` lives is what it says, so that a lookup need not read the text.
type TextKey = (usize, usize);

/// What is known of a statement after it was first prepared. The schema does not change while the store is open.
struct Text {
    sql: String,
    columns: Arc<[String]>,
    parameters: usize,
}

impl Database {
    /// Opens the writing connection of an existing file and switches it to a write-ahead log.
    pub(crate) fn open_writer(path: &Path) -> Result<Self, StoreError> {
        let database = Self::open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, true)?;
        let mode: String = database
            .connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(|error| database.error(error, "PRAGMA journal_mode = WAL"))?;
        if mode == "wal" { Ok(database) } else { Err(StoreError::NoWriteAheadLog { path: path.to_owned(), mode }) }
    }

    /// Opens a connection that cannot write, while a writing one is open.
    pub(crate) fn open_reader(path: &Path) -> Result<Self, StoreError> {
        let database = Self::open(path, OpenFlags::SQLITE_OPEN_READ_ONLY, false)?;
        database.batch("PRAGMA query_only = ON")?;
        database.keep_log_on_close()?;
        Ok(database)
    }

    fn open(path: &Path, access: OpenFlags, may_write: bool) -> Result<Self, StoreError> {
        const OPEN: &str = "open";
        let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(|error| StoreError::of_statement(error, OPEN, path, may_write))?;
        connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
        let database = Self { connection, texts: HashMap::new(), path: path.to_owned(), may_write };
        database.connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| database.error(error, OPEN))?;
        database.batch(SETTINGS)?;
        // Without it, a statement whose LIMIT is a parameter is compiled anew each time it runs.
        database.configure(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, "SQLITE_DBCONFIG_ENABLE_QPSG")?;
        Ok(database)
    }

    /// Leaves the log as it is when the connection closes. After a failed write nothing may be copied from it into
    /// the database file: the next start reads the log afresh and takes from it what its checksums vouch for.
    pub(crate) fn keep_log_on_close(&self) -> Result<(), StoreError> {
        self.configure(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, "SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE")
    }

    fn configure(&self, option: DbConfig, name: &'static str) -> Result<(), StoreError> {
        self.connection.set_db_config(option, true).map(|_| ()).map_err(|error| self.error(error, name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a transaction is open.
    pub(crate) fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// Runs the statements of `sql` as they stand.
    pub(crate) fn batch(&self, sql: &'static str) -> Result<(), StoreError> {
        self.raw_batch(sql).map_err(|error| self.error(error, sql))
    }

    /// As [`Database::batch`], with SQLite's own error.
    pub(crate) fn raw_batch(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.execute_batch(sql)
    }

    pub(crate) fn exec(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, StoreError> {
        let Self { connection, texts, path, may_write } = self;
        let fail = |error| StoreError::of_statement(error, sql, path, *may_write);
        let (mut statement, _) = prepare(connection, texts, sql, params).map_err(|error| error.into_store(fail))?;
        bind(&mut statement, params).map_err(fail)?;
        let changed = statement.raw_execute().map_err(fail)?;
        Ok(changed as u64)
    }

    pub(crate) fn rows(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        let Self { connection, texts, path, may_write } = self;
        let fail = |error| StoreError::of_statement(error, sql, path, *may_write);
        let (mut statement, text) = prepare(connection, texts, sql, params).map_err(|error| error.into_store(fail))?;
        bind(&mut statement, params).map_err(fail)?;
        let mut cursor = statement.raw_query();
        let mut rows = Vec::new();
        while let Some(row) = cursor.next().map_err(fail)? {
            let mut values = Vec::with_capacity(text.columns.len());
            for (index, name) in text.columns.iter().enumerate() {
                values.push(value(row.get_ref(index).map_err(fail)?).map_err(|found| StoreError::Column {
                    index,
                    name: name.clone(),
                    wanted: "BIGINT, TEXT or BLOB",
                    found,
                })?);
            }
            rows.push(Row::new(Arc::clone(&text.columns), values));
        }
        Ok(rows)
    }

    /// A transaction over this connection, or a job's share of one.
    pub(crate) const fn tx(&mut self) -> DatabaseTx<'_> {
        DatabaseTx { database: self, failed: None, wakes: false }
    }

    fn error(&self, error: rusqlite::Error, statement: &'static str) -> StoreError {
        StoreError::of_statement(error, statement, &self.path, self.may_write)
    }
}

enum PrepareError {
    Engine(rusqlite::Error),
    Parameters(StoreError),
}

impl PrepareError {
    fn into_store(self, of_engine: impl FnOnce(rusqlite::Error) -> StoreError) -> StoreError {
        match self {
            Self::Engine(error) => of_engine(error),
            Self::Parameters(error) => error,
        }
    }
}

fn prepare<'a>(
    connection: &'a Connection,
    texts: &'a mut HashMap<TextKey, Text>,
    sql: &'static str,
    params: &[Value],
) -> Result<(CachedStatement<'a>, &'a Text), PrepareError> {
    let (statement, text) = match texts.entry((sql.as_ptr().addr(), sql.len())) {
        Entry::Occupied(known) => {
            let text = known.into_mut();
            (connection.prepare_cached(&text.sql).map_err(PrepareError::Engine)?, text)
        }
        Entry::Vacant(unknown) => {
            let converted = to_sqlite(sql);
            let statement = connection.prepare_cached(&converted).map_err(PrepareError::Engine)?;
            let columns = statement.column_names().into_iter().map(str::to_owned).collect();
            let parameters = statement.parameter_count();
            (statement, unknown.insert(Text { sql: converted, columns, parameters }))
        }
    };
    if text.parameters == params.len() {
        Ok((statement, text))
    } else {
        let (expected, found) = (text.parameters, params.len());
        Err(PrepareError::Parameters(StoreError::Parameters { expected, found, statement: sql }))
    }
}

fn bind(statement: &mut CachedStatement<'_>, params: &[Value]) -> rusqlite::Result<()> {
    params.iter().enumerate().try_for_each(|(index, value)| statement.raw_bind_parameter(index + 1, value))
}

fn value(found: ValueRef<'_>) -> Result<Value, &'static str> {
    match found {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(value) => Ok(Value::Int(value)),
        ValueRef::Text(value) => {
            std::str::from_utf8(value).map(|text| Value::Text(text.to_owned())).map_err(|_| "TEXT that is not UTF-8")
        }
        ValueRef::Blob(value) => Ok(Value::Bytes(value.to_vec())),
        ValueRef::Real(_) => Err("REAL"),
    }
}

/// The [`Tx`] of SQLite.
pub(crate) struct DatabaseTx<'a> {
    database: &'a mut Database,
    failed: Option<StoreError>,
    wakes: bool,
}

impl DatabaseTx<'_> {
    /// The first statement that failed, and whether workers are to be woken.
    pub(crate) fn end(self) -> (Result<(), StoreError>, bool) {
        (self.failed.map_or(Ok(()), Err), self.wakes)
    }

    fn run<T>(&mut self, statement: impl FnOnce(&mut Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        statement(self.database).inspect_err(|error| self.failed = Some(error.clone()))
    }
}

impl Tx for DatabaseTx<'_> {
    fn exec(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, StoreError> {
        self.run(|database| database.exec(sql, params))
    }

    fn rows(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.run(|database| database.rows(sql, params))
    }

    fn wake_workers(&mut self) {
        self.wakes = true;
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_compiled_once_whatever_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        Connection::open(&path).unwrap();
        let mut database = Database::open_writer(&path).unwrap();
        let mut compiled_anew = |sql| {
            for limit in 1..=3 {
                database.rows(sql, &[Value::Int(limit)]).unwrap();
            }
            let statement = database.connection.prepare_cached(&to_sqlite(sql)).unwrap();
            let times = statement.get_status(StatementStatus::RePrepare);
            database.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, false).unwrap();
            times
        };
        assert_eq!(compiled_anew("SELECT 1 LIMIT $1"), 0);
        assert_ne!(compiled_anew("SELECT 2 LIMIT $1"), 0, "without the setting");
    }
}
