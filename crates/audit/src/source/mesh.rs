//! What processes of this mesh write beside their spans: counters and audit logs.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use sekat_policy::Diagnostic;
use serde::Deserialize;

use super::files::{malformed, unreadable};
use crate::input::{Count, Counters, Refusal};
use crate::span::unhex;

/// The largest file of counters: 1,024 peers on each of 100 methods, and room.
const COUNTERS_BYTES: u64 = 64 << 20;
/// The longest line of a log that is looked at.
const LINE_BYTES: u64 = 1 << 20;

/// The first line of a file of counters.
#[derive(Deserialize)]
struct Totals {
    workload: String,
    spans_dropped: u64,
    refusals: u64,
}

/// Each further line.
#[derive(Deserialize)]
struct Line {
    direction: String,
    peer: String,
    method: String,
    status: String,
    count: u64,
}

/// Reads `<workload>.counters.json`: a line of totals, then one JSON object a line for each count. The counts are of the
/// process that ran last, since its start.
///
/// # Errors
/// If it cannot be read, or a line is no counter.
pub fn counters(path: &Path) -> Result<Counters, Diagnostic> {
    let text = bounded(path).map_err(|error| unreadable(path, &error))?;
    let mut lines = (1_u32..).zip(text.lines());
    let (_, first) = lines.next().ok_or_else(|| malformed(path, 1, "it is empty".to_owned()))?;
    let totals: Totals = serde_json::from_str(first).map_err(|error| malformed(path, 1, error.to_string()))?;
    let mut counters = Counters {
        workload: totals.workload,
        from_ns: 0,
        to_ns: u64::MAX,
        refusals: Some(totals.refusals),
        spans_dropped: Some(totals.spans_dropped),
        served: Vec::new(),
    };
    for (number, line) in lines {
        let line: Line = serde_json::from_str(line).map_err(|error| malformed(path, number, error.to_string()))?;
        if line.direction == "server" {
            let Line { peer: caller, method, status, count, .. } = line;
            counters.served.push(Count { caller, method, status, count });
        }
    }
    Ok(counters)
}

fn bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    if file.take(COUNTERS_BYTES).read_to_string(&mut text)? as u64 == COUNTERS_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large to be counters"));
    }
    Ok(text)
}

/// An audit event in a log.
#[derive(Deserialize)]
struct Event {
    target: String,
    rpc_method: String,
    principal: String,
    trace_id: String,
    sequence: u64,
}

/// Reads the refusals out of a workload's log in JSON, and hands each to `take`. Lines that are no audit events are
/// skipped: programs may print others.
///
/// # Errors
/// If it cannot be read.
pub fn refusals(path: &Path, workload: &str, mut take: impl FnMut(Refusal)) -> Result<(), Diagnostic> {
    let failed = |error| unreadable(path, &error);
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Ok(());
        }
        let Ok(event) = serde_json::from_slice::<Event>(&line) else { continue };
        if event.target != "audit" {
            continue;
        }
        take(Refusal {
            workload: workload.to_owned(),
            sequence: event.sequence,
            caller: event.principal,
            path: event.rpc_method,
            trace_id: unhex(&event.trace_id).unwrap_or_default(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(contents: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), contents).unwrap();
        file
    }

    const TOTALS: &str = r#"{"workload":"payment","spans_recorded":9,"spans_dropped":1,"refusals":2}"#;
    const COUNT: &str = r#"{"direction":"server","peer":"spiffe://shop.example/order","method":"/shop.Pay/Charge","status":"OK","count":5}"#;

    #[test]
    fn counters_are_those_of_the_called_side() {
        let client = COUNT.replace("server", "client");
        let counters = counters(file(&format!("{TOTALS}\n{COUNT}\n{client}\n")).path()).unwrap();
        assert_eq!(
            (counters.workload.as_str(), counters.refusals, counters.spans_dropped),
            ("payment", Some(2), Some(1))
        );
        assert_eq!(counters.served.len(), 1);
        assert_eq!((counters.served[0].caller.as_str(), counters.served[0].count), ("spiffe://shop.example/order", 5));
    }

    #[test]
    fn a_line_that_is_no_counter_is_named() {
        for (contents, line) in [("", 1), ("{}\n", 1), (&format!("{TOTALS}\n{COUNT}\nx\n"), 3)] {
            assert_eq!(counters(file(contents).path()).unwrap_err().span.line, line, "{contents}");
        }
        assert_eq!(counters(Path::new("/nowhere")).unwrap_err().code, super::super::files::UNREADABLE);
    }

    #[test]
    fn refusals_are_found_among_other_lines() {
        let event = r#"{"level":"WARN","target":"audit","rpc_method":"/x/y","principal":"public","authorized":false,"reason":"POLICY_DENIED","trace_id":"01010101010101010101010101010101","sequence":3,"message":"refused"}"#;
        let other = event.replace("audit", "x");
        let mut seen = Vec::new();
        refusals(file(&format!("panic!\n{other}\n{event}\n")).path(), "edge", |refusal| seen.push(refusal)).unwrap();
        let [refusal] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!((refusal.sequence, refusal.path.as_str(), refusal.trace_id), (3, "/x/y", [1; 16]));
    }
}
