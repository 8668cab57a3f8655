//! YAML that remembers where each value stood, so that every finding about it can name its line. JSON is YAML.
//!
//! Documents are handed out one by one, so a stream of many needs the memory of its largest. What a hostile file could
//! blow up is bounded: nesting, and the values that aliases repeat. A key that stands twice in a mapping is an error,
//! because readers that take the first and readers that take the last would enforce two different policies.

mod read;

use sekat_policy::{Diagnostic, Span};

pub use read::{Documents, documents};

/// A file that cannot be read as YAML.
pub const MALFORMED: &str = "SK0200";
/// A value of the wrong kind, or a required one that is missing.
pub const UNEXPECTED: &str = "SK0201";

/// The codes of this crate, each with its rule in one sentence.
pub static CODES: &[(&str, &str)] = &[
    (MALFORMED, "A file is sound YAML, in bounds, and no mapping has a key twice."),
    (UNEXPECTED, "A value is of the kind that its key takes, and required keys are there."),
];

/// A value and the place where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1.
    pub column: u32,
}

/// A value, by YAML's core schema.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: `null`, `~`, or no value at all.
    Null,
    /// `true` or `false`, unquoted.
    Bool(bool),
    /// A whole number, unquoted.
    Int(i64),
    /// Another number, unquoted.
    Float(f64),
    /// Text.
    Text(String),
    /// Values in their order.
    List(Vec<Node>),
    /// Keys and values in their order; each key stands once.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping. A number or a bool that is a key is the text that stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1.
    pub column: u32,
}

impl Value {
    /// What it is, as a message says it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// Its place in `file`.
    #[must_use]
    pub fn span(&self, file: &str) -> Span {
        Span { file: file.to_owned(), line: self.line, column: self.column }
    }

    /// The value of `key`, if this is a mapping that has it and it is not null.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(name, _)| name.name == key).map(|(_, value)| value).filter(|node| !node.is_null())
    }

    /// The value at the end of a path of keys.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Whether it is null.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// Its text.
    ///
    /// # Errors
    /// If it is something else; an unquoted `1` or `true` is no text.
    pub fn text(&self, file: &str) -> Result<&str, Diagnostic> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.unexpected(file, "text")),
        }
    }

    /// Its whole number.
    ///
    /// # Errors
    /// If it is something else.
    pub fn int(&self, file: &str) -> Result<i64, Diagnostic> {
        match self.value {
            Value::Int(number) => Ok(number),
            _ => Err(self.unexpected(file, "a whole number")),
        }
    }

    /// Its bool.
    ///
    /// # Errors
    /// If it is something else.
    pub fn bool(&self, file: &str) -> Result<bool, Diagnostic> {
        match self.value {
            Value::Bool(value) => Ok(value),
            _ => Err(self.unexpected(file, "true or false")),
        }
    }

    /// Its items; null has none.
    ///
    /// # Errors
    /// If it is something else.
    pub fn list(&self, file: &str) -> Result<&[Self], Diagnostic> {
        match &self.value {
            Value::List(items) => Ok(items),
            Value::Null => Ok(&[]),
            _ => Err(self.unexpected(file, "a list")),
        }
    }

    /// Its entries; null has none.
    ///
    /// # Errors
    /// If it is something else.
    pub fn map(&self, file: &str) -> Result<&[(Key, Self)], Diagnostic> {
        match &self.value {
            Value::Map(entries) => Ok(entries),
            Value::Null => Ok(&[]),
            _ => Err(self.unexpected(file, "a mapping")),
        }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// If there is none.
    pub fn required(&self, file: &str, key: &str) -> Result<&Self, Diagnostic> {
        self.map(file)?;
        self.get(key).ok_or_else(|| {
            Diagnostic::error(UNEXPECTED, self.span(file), format!("`{key}` is missing"), format!("add `{key}`"))
        })
    }

    /// That it is not what it has to be.
    #[must_use]
    pub fn unexpected(&self, file: &str, wanted: &str) -> Diagnostic {
        let found = self.value.kind();
        let help = match (&self.value, wanted) {
            (Value::Bool(_) | Value::Int(_) | Value::Float(_), "text") => "put it in quotes".to_owned(),
            _ => format!("write {wanted} here"),
        };
        Diagnostic::error(UNEXPECTED, self.span(file), format!("{found} where {wanted} is expected"), help)
    }
}

impl Key {
    /// Its place in `file`.
    #[must_use]
    pub fn span(&self, file: &str) -> Span {
        Span { file: file.to_owned(), line: self.line, column: self.column }
    }
}
