//! Findings as every verb prints them, and what they make of the exit code.

use std::io::{IsTerminal as _, Write};

use anyhow::Context as _;
use sekat_diagnostics::{Context, Format, count, render};
use sekat_evidence::Check;
use sekat_policy::{Diagnostic, Severity};

use crate::exit::Exit;

/// Codes of inputs that cannot be read: with these nothing was checked, and it is the user who has to mend something.
const MALFORMED: [&str; 8] = ["SK0001", "SK0200", "SK0201", "SK0300", "SK0500", "SK0501", "SK0690", "SK0691"];

/// How findings are written.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Output {
    /// How findings are written: human, plain (a line each), json, or sarif for code hosts and editors.
    #[arg(long, default_value = "human")]
    format: Format,
}

impl Output {
    /// Findings that are the answer: to stdout.
    pub(crate) fn answer(self, findings: &[Diagnostic]) -> anyhow::Result<()> {
        let colour = std::io::stdout().is_terminal();
        write(&mut anstream::stdout().lock(), self.format, findings, colour)
    }

    /// Whether a program reads the answer, so that a sentence for people has no place in it.
    pub(crate) fn is_for_programs(self) -> bool {
        matches!(self.format, Format::Json | Format::Sarif)
    }
}

/// Findings beside an answer: to stderr, for people.
pub(crate) fn tell(findings: &[Diagnostic]) -> anyhow::Result<()> {
    let colour = std::io::stderr().is_terminal();
    write(&mut anstream::stderr().lock(), Format::Human, findings, colour)
}

fn write(out: &mut impl Write, format: Format, findings: &[Diagnostic], colour: bool) -> anyhow::Result<()> {
    let source = |file: &str| std::fs::read_to_string(file).ok();
    let context =
        Context { colour, source: &source, rules: &sekat_contract::check::rules(), version: env!("CARGO_PKG_VERSION") };
    render(out, format, findings, &context).context("the findings cannot be written")
}

/// What findings mean: errors violate, warnings leave something open.
pub(crate) fn exit(findings: &[Diagnostic]) -> Exit {
    match count(findings) {
        (0, 0) => Exit::Holds,
        (0, _) => Exit::NotProven,
        _ if findings.iter().any(|finding| MALFORMED.contains(&finding.code)) => Exit::Malformed,
        _ => Exit::Violated,
    }
}

/// A finding as evidence: an error is a violation, a warning says what cannot be known.
pub(crate) fn check(finding: &Diagnostic) -> Check {
    let place = format!("{}:{}", finding.span.file, finding.span.line);
    let subject = finding.message.clone();
    let check = match finding.severity {
        Severity::Error => Check::violated(subject, finding.help.clone(), "found"),
        Severity::Warning => Check::unknown(subject, finding.help.clone(), "cannot be known"),
    };
    check.at(place).coded(finding.code)
}
