//! What goes into a statement and what comes out of one: four kinds of value, alike on every engine.

use std::fmt;
use std::sync::Arc;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::StoreError;

/// A parameter of a statement or a column of its result. Booleans are the integers 0 and 1; there are no floats.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A `BIGINT`.
    Int(i64),
    /// A `TEXT`.
    Text(String),
    /// A `BLOB` (`BYTEA` on PostgreSQL).
    Bytes(Vec<u8>),
}

impl Value {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Int(_) => "BIGINT",
            Self::Text(_) => "TEXT",
            Self::Bytes(_) => "BLOB",
        }
    }
}

/// The kind only: a value may be classified, and a parameter list is easily logged.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(value: [u8; N]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Bytes(value) => ValueRef::Blob(value),
        }))
    }
}

/// One row of a result, read by the position of its columns, from 0. Each reader fails with [`StoreError::Column`]
/// if the column does not exist or holds something else.
#[derive(Clone)]
pub struct Row {
    columns: Arc<[String]>,
    values: Vec<Value>,
}

impl Row {
    pub(crate) const fn new(columns: Arc<[String]>, values: Vec<Value>) -> Self {
        Self { columns, values }
    }

    /// An integer.
    ///
    /// # Errors
    /// If the column is absent, NULL or of another kind.
    pub fn int(&self, index: usize) -> Result<i64, StoreError> {
        self.opt_int(index)?.ok_or_else(|| self.mismatch(index, "BIGINT"))
    }

    /// A boolean, kept as the integer 0 or 1.
    ///
    /// # Errors
    /// If the column is absent, NULL, of another kind or another integer.
    pub fn bool(&self, index: usize) -> Result<bool, StoreError> {
        match self.int(index)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.mismatch(index, "BIGINT 0 or 1")),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// If the column is absent, NULL or of another kind.
    pub fn text(&self, index: usize) -> Result<&str, StoreError> {
        self.opt_text(index)?.ok_or_else(|| self.mismatch(index, "TEXT"))
    }

    /// Bytes.
    ///
    /// # Errors
    /// If the column is absent, NULL or of another kind.
    pub fn bytes(&self, index: usize) -> Result<&[u8], StoreError> {
        self.opt_bytes(index)?.ok_or_else(|| self.mismatch(index, "BLOB"))
    }

    /// Bytes of a fixed length, for instance a digest.
    ///
    /// # Errors
    /// If the column is absent, NULL, of another kind or another length.
    pub fn array<const N: usize>(&self, index: usize) -> Result<[u8; N], StoreError> {
        self.bytes(index)?.try_into().map_err(|_| self.mismatch(index, "BLOB of a fixed length"))
    }

    /// An integer, or nothing if the column is NULL.
    ///
    /// # Errors
    /// If the column is absent or of another kind.
    pub fn opt_int(&self, index: usize) -> Result<Option<i64>, StoreError> {
        match self.values.get(index) {
            Some(Value::Null) => Ok(None),
            Some(Value::Int(value)) => Ok(Some(*value)),
            _ => Err(self.mismatch(index, "BIGINT")),
        }
    }

    /// A text, or nothing if the column is NULL.
    ///
    /// # Errors
    /// If the column is absent or of another kind.
    pub fn opt_text(&self, index: usize) -> Result<Option<&str>, StoreError> {
        match self.values.get(index) {
            Some(Value::Null) => Ok(None),
            Some(Value::Text(value)) => Ok(Some(value)),
            _ => Err(self.mismatch(index, "TEXT")),
        }
    }

    /// Bytes, or nothing if the column is NULL.
    ///
    /// # Errors
    /// If the column is absent or of another kind.
    pub fn opt_bytes(&self, index: usize) -> Result<Option<&[u8]>, StoreError> {
        match self.values.get(index) {
            Some(Value::Null) => Ok(None),
            Some(Value::Bytes(value)) => Ok(Some(value)),
            _ => Err(self.mismatch(index, "BLOB")),
        }
    }

    fn mismatch(&self, index: usize, wanted: &'static str) -> StoreError {
        StoreError::Column {
            index,
            name: self.columns.get(index).cloned().unwrap_or_default(),
            wanted,
            found: self.values.get(index).map_or("no such column", Value::kind),
        }
    }
}

/// The columns' names and kinds, never their values.
impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.columns.iter().zip(&self.values)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let values = vec![7.into(), "secret".into(), Value::Null, vec![1_u8, 2].into()];
        Row::new(["count", "name", "note", "digest"].map(str::to_owned).into(), values)
    }

    #[test]
    fn each_column_reads_as_what_it_is_and_as_nothing_else() {
        let row = row();
        assert_eq!(row.int(0).unwrap(), 7);
        assert_eq!(row.text(1).unwrap(), "secret");
        assert_eq!(row.opt_text(2).unwrap(), None);
        assert_eq!(row.array::<2>(3).unwrap(), [1, 2]);
        assert!(row.bool(0).is_err());
        assert!(row.array::<3>(3).is_err());
        assert!(row.opt_int(1).is_err());
        assert!(row.text(2).is_err(), "NULL is no text");
    }

    #[test]
    fn a_mismatch_names_the_column_and_the_kinds_and_no_value() {
        let row = row();
        let wrong = row.int(1).unwrap_err().to_string();
        assert_eq!(
            wrong,
            "column 1 (name) should be BIGINT and is TEXT; the query and the code that reads it disagree"
        );
        let absent = row.bytes(9).unwrap_err().to_string();
        assert!(absent.contains("no such column"), "{absent}");
        assert!(!format!("{row:?}").contains("secret"));
    }
}
