//! The one face of a transaction: business code is written against it once, for every engine.

use crate::{Row, StoreError, Value};

/// A transaction, or one job's share of it.
///
/// After a statement fails, every further one fails with the same error and the job's effects are rolled back,
/// whatever the closure returns: PostgreSQL works so, and code that relied on anything else would break there. To
/// learn whether a row exists already, write `ON CONFLICT DO NOTHING` and look at the count.
pub trait Tx {
    /// Runs a statement that returns no rows, and says how many rows it changed.
    ///
    /// # Errors
    /// If the engine refuses it, or the number of parameters is not the statement's.
    fn exec(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, StoreError>;

    /// Runs a statement and returns all its rows: bound them with `LIMIT`.
    ///
    /// # Errors
    /// As for [`Tx::exec`].
    fn rows(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError>;

    /// Says that durable work has changed: after COMMIT, whoever waits for work looks again.
    fn wake_workers(&mut self);

    /// The row of a statement that has at most one.
    ///
    /// # Errors
    /// As for [`Tx::exec`], and [`StoreError::RowCount`] if there are several.
    fn optional(&mut self, sql: &'static str, params: &[Value]) -> Result<Option<Row>, StoreError> {
        let mut rows = self.rows(sql, params)?;
        match rows.len() {
            0 | 1 => Ok(rows.pop()),
            found => Err(StoreError::RowCount { found, statement: sql }),
        }
    }

    /// The row of a statement that has exactly one.
    ///
    /// # Errors
    /// As for [`Tx::exec`], and [`StoreError::RowCount`] if there is none or there are several.
    fn one(&mut self, sql: &'static str, params: &[Value]) -> Result<Row, StoreError> {
        self.optional(sql, params)?.ok_or(StoreError::RowCount { found: 0, statement: sql })
    }
}
