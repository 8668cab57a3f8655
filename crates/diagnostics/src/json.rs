//! One JSON object: `{"version": 1, "errors": …, "warnings": …, "findings": [{…}]}`. Fields are added, never changed.

use std::io::{self, Write};

use sekat_policy::Diagnostic;
use serde::Serialize;

use crate::{count, page, severity_name};

/// Goes up if a reader of this one would misunderstand a later one.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    errors: usize,
    warnings: usize,
    findings: Vec<Finding<'a>>,
}

#[derive(Serialize)]
struct Finding<'a> {
    code: &'a str,
    severity: &'a str,
    file: &'a str,
    /// Counted from 1; 0 if it is not known, and then so is the column.
    line: u32,
    column: u32,
    message: &'a str,
    help: &'a str,
    page: String,
}

pub(crate) fn render(out: &mut impl Write, findings: &[Diagnostic]) -> io::Result<()> {
    let (errors, warnings) = count(findings);
    let findings = findings.iter().map(|finding| Finding {
        code: finding.code,
        severity: severity_name(finding.severity),
        file: &finding.span.file,
        line: finding.span.line,
        column: finding.span.column,
        message: &finding.message,
        help: &finding.help,
        page: page(finding.code),
    });
    let report = Report { version: VERSION, errors, warnings, findings: findings.collect() };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)
}
