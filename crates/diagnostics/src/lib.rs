//! Renders what checks find: for people, for `grep`, and for programs. It knows findings and nothing about the checks.
//!
//! Whatever stands in a message or a source line may come from a hostile file, so control characters are shown and never
//! passed on to a terminal.

mod human;
mod json;
mod plain;
mod sarif;
mod text;

use std::io::{self, Write};
use std::str::FromStr;

use sekat_policy::{Diagnostic, Severity};

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// With the source line, for people.
    #[default]
    Human,
    /// One line each: `file:line:column: severity[code]: message; help: help`.
    Plain,
    /// One JSON object, described in `docs/diagnostics/README.md`.
    Json,
    /// SARIF 2.1.0, which code hosts and editors show beside the code.
    Sarif,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Human, Self::Plain, Self::Json, Self::Sarif];

    /// The name by which a user asks for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Plain => "plain",
            Self::Json => "json",
            Self::Sarif => "sarif",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no format `{text}`; the formats are {names}")
        })
    }
}

/// What rendering needs to know besides the findings.
pub struct Context<'a> {
    /// Whether the human format has colours: the output is a terminal, and `NO_COLOR` is not set.
    pub colour: bool,
    /// Gives the text of a file that a finding names, if it can; without it no source line is shown.
    pub source: &'a dyn Fn(&str) -> Option<String>,
    /// The rules that were checked, each with its code and one sentence; SARIF lists them.
    pub rules: &'a [(&'static str, &'static str)],
    /// The version of the tool.
    pub version: &'a str,
}

/// The page of a code, below the root of the repository.
#[must_use]
pub fn page(code: &str) -> String {
    format!("docs/diagnostics/{code}.md")
}

/// Writes `findings` in their order.
///
/// # Errors
/// If `out` does not take them.
pub fn render(out: &mut impl Write, format: Format, findings: &[Diagnostic], context: &Context<'_>) -> io::Result<()> {
    match format {
        Format::Human => human::render(out, findings, context),
        Format::Plain => plain::render(out, findings),
        Format::Json => json::render(out, findings),
        Format::Sarif => sarif::render(out, findings, context),
    }
}

/// How many errors and how many warnings there are.
#[must_use]
pub fn count(findings: &[Diagnostic]) -> (usize, usize) {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    (errors, findings.len() - errors)
}

const fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}
