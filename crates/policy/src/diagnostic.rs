//! What a check found: where, what, and how to mend it.

use std::fmt;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing fails.
    Warning,
    /// The property does not hold.
    Error,
}

/// A place in a source file. Lines and columns count from 1; 0 means that the place within the file is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The file's path as the user gave it.
    pub file: String,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// One finding. A pass returns all that it finds and keeps going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The stable code, for instance `SK0003`; it never changes its meaning.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Where it is.
    pub span: Span,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl Diagnostic {
    /// A finding that fails the pass.
    #[must_use]
    pub fn error(code: &'static str, span: Span, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, span, message: message.into(), help: help.into() }
    }
}

/// `proto/x.proto:3:5: error[SK0003]: message` and, on its own line, the help.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let Span { file, line, column } = &self.span;
        write!(f, "{file}:{line}:{column}: {severity}[{}]: {}\n  help: {}", self.code, self.message, self.help)
    }
}
