//! Rows as text: CSV, JSON, a table and Markdown, all with the columns `src`, `dst` and `conn`.
//!
//! What is not certain has rows of its own, because a row that is missing reads as "they cannot connect": in text such
//! a row's connections begin with `UNKNOWN`, in JSON its `verdict` is `unknown` and it says why.

use std::borrow::Cow;
use std::io::{Result, Write};

use serde_json::json;

use crate::analysis::Analysis;
use crate::list::Row;
use crate::ports::PortSet;

/// How an unknown connection begins in text.
const UNKNOWN: &str = "UNKNOWN";

/// Gives each row as one or two: what is certain, and what is unknown.
fn split(analysis: &Analysis, mut visit: impl FnMut(&Row<'_>, &PortSet, bool) -> Result<()>) -> Result<()> {
    analysis.rows(|row| {
        if !row.conn.certain.is_empty() {
            visit(&row, &row.conn.certain, true)?;
        }
        let unsure = row.conn.unsure();
        if unsure.is_empty() { Ok(()) } else { visit(&row, &unsure, false) }
    })
}

fn said(ports: &PortSet, is_certain: bool) -> String {
    if is_certain { ports.to_string() } else { format!("{UNKNOWN} {ports}") }
}

/// `src,dst,conn`, quoted where a value has a comma.
///
/// # Errors
/// If `out` fails.
pub fn csv(analysis: &Analysis, out: &mut impl Write) -> Result<()> {
    writeln!(out, "src,dst,conn")?;
    split(analysis, |row, ports, is_certain| {
        let conn = said(ports, is_certain);
        let [src, dst, conn] = [row.src, row.dst, &conn].map(field);
        writeln!(out, "{src},{dst},{conn}")
    })
}

/// A value of a CSV line, quoted only where it has to be.
pub(crate) fn field(text: &str) -> Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(text)
    }
}

/// An array of objects with `src`, `dst`, `conn` and `verdict`, and with `reasons` where the verdict is `unknown`.
///
/// # Errors
/// If `out` fails.
pub fn json(analysis: &Analysis, out: &mut impl Write) -> Result<()> {
    out.write_all(b"[")?;
    let mut comma = "";
    split(analysis, |row, ports, is_certain| {
        let mut object = json!({ "src": row.src, "dst": row.dst, "conn": ports.to_string(), "verdict": "allowed" });
        if let (false, Some(object)) = (is_certain, object.as_object_mut()) {
            object.insert("verdict".to_owned(), "unknown".into());
            object.insert("reasons".to_owned(), analysis.reasons(row.src, row.dst).into());
        }
        write!(out, "{comma}\n  {object}")?;
        comma = ",";
        Ok(())
    })?;
    out.write_all(b"\n]\n")
}

/// Rows under their source, for a terminal.
///
/// # Errors
/// If `out` fails.
pub fn table(analysis: &Analysis, out: &mut impl Write) -> Result<()> {
    let mut before = String::new();
    split(analysis, |row, ports, is_certain| {
        if before != row.src {
            before = row.src.to_owned();
            writeln!(out, "{before}")?;
        }
        writeln!(out, "  → {:<48} {}", row.dst, said(ports, is_certain))
    })?;
    let summary = analysis.summary();
    writeln!(
        out,
        "{} workloads, {} policies: {} pairs allowed, {} unknown, {} denied",
        summary.workloads, summary.policies, summary.allowed, summary.unknown, summary.denied
    )
}

/// A Markdown table.
///
/// # Errors
/// If `out` fails.
pub fn markdown(analysis: &Analysis, out: &mut impl Write) -> Result<()> {
    writeln!(out, "| src | dst | conn |\n|-----|-----|------|")?;
    split(analysis, |row, ports, is_certain| {
        writeln!(out, "| {} | {} | {} |", row.src, row.dst, said(ports, is_certain))
    })
}
