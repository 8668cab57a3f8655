//! What processes of this mesh write beside their spans: counters and audit logs.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sekat_policy::Diagnostic;
use serde::Deserialize;

use super::files::{malformed, unreadable};
use crate::input::{Count, Counters, Refusal, Run};
use crate::span::unhex;

/// The largest file of counters: 1,024 peers on each of 100 methods, and room.
const COUNTERS_BYTES: u64 = 64 << 20;
/// The longest line of a log that is looked at.
const LINE_BYTES: u64 = 1 << 20;

/// How old the counters of a process may be that still runs. It writes them every five seconds; a busy machine is late.
const RUNNING: Duration = Duration::from_secs(30);
/// The end of the name of counters that an earlier run left.
const BEFORE: &str = ".before.counters.json";

/// The first line of a file of counters. Files of before runs were told apart say less.
#[derive(Deserialize)]
struct Totals {
    workload: String,
    #[serde(default)]
    instance: String,
    #[serde(default)]
    counted_ns: u64,
    #[serde(default)]
    ended: bool,
    spans_dropped: u64,
    refusals: u64,
    #[serde(default)]
    open_calls: Vec<OpenCalls>,
}

/// Calls of one method that a peer had open.
#[derive(Deserialize)]
struct OpenCalls {
    peer: String,
    method: String,
    count: u64,
}

impl OpenCalls {
    fn count(self) -> Count {
        Count { caller: self.peer, method: self.method, status: String::new(), count: self.count }
    }
}

impl Totals {
    /// How far the counters reach.
    fn run(&self, path: &Path) -> Run {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let old = now.saturating_sub(Duration::from_nanos(self.counted_ns)) > RUNNING;
        if self.ended || self.instance.is_empty() {
            Run::Ended
        } else if old || path.as_os_str().as_encoded_bytes().ends_with(BEFORE.as_bytes()) {
            Run::Killed
        } else {
            Run::GoesOn
        }
    }
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

/// Reads what the runs of a workload counted, from the directory where it keeps what is its own:
/// `<workload>.counters.json` of the newest run, and what earlier ones left beside it. None is no fault.
#[must_use]
pub fn counters_of_runs(directory: &Path, workload: &str) -> (Vec<Counters>, Vec<Diagnostic>) {
    let mut paths: Vec<PathBuf> = match fs::read_dir(directory) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return (Vec::new(), vec![unreadable(directory, &error)]),
    };
    let newest = format!("{workload}.counters.json");
    let is_counters = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name == newest.as_str() || name.as_encoded_bytes().ends_with(BEFORE.as_bytes())
    };
    paths.retain(is_counters);
    paths.sort();
    let (mut all, mut unread) = (Vec::new(), Vec::new());
    for path in paths {
        match counters(&path) {
            Ok(counters) if counters.workload == workload => all.push(counters),
            Ok(_) => {}
            Err(diagnostic) => unread.push(diagnostic),
        }
    }
    (all, unread)
}

/// Reads the counters of one run: a line of totals, then one JSON object a line for each count.
///
/// # Errors
/// If it cannot be read, or a line is no counter.
pub fn counters(path: &Path) -> Result<Counters, Diagnostic> {
    let text = bounded(path).map_err(|error| unreadable(path, &error))?;
    let mut lines = (1_u32..).zip(text.lines());
    let (_, first) = lines.next().ok_or_else(|| malformed(path, 1, "it is empty".to_owned()))?;
    let totals: Totals = serde_json::from_str(first).map_err(|error| malformed(path, 1, error.to_string()))?;
    let run = totals.run(path);
    let mut counters = Counters {
        workload: totals.workload,
        instance: totals.instance,
        run,
        from_ns: 0,
        to_ns: if run == Run::Ended { u64::MAX } else { totals.counted_ns },
        refusals: Some(totals.refusals),
        spans_dropped: Some(totals.spans_dropped),
        served: Vec::new(),
        open: totals.open_calls.into_iter().map(OpenCalls::count).collect(),
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
    fn each_run_has_its_counters_and_none_is_counted_twice() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, instance: &str, counted_ns: u128, ended: bool| {
            let run = format!(r#"{{"instance":"{instance}","counted_ns":{counted_ns},"ended":{ended},"#);
            fs::write(folder.path().join(name), format!("{}\n{COUNT}\n", TOTALS.replacen('{', &run, 1))).unwrap();
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        write("payment.counters.json", "payment-3", now, false);
        write("payment-2.before.counters.json", "payment-1", 7, false);
        write("payment-3.before.counters.json", "payment-2", 8, true);
        write("payment-4.counters.json.new", "payment-4", 9, true);
        let other = TOTALS.replace("payment", "payment-proxy");
        fs::write(folder.path().join("payment-proxy-1.before.counters.json"), other).unwrap();
        let read = || {
            let (counters, unread) = counters_of_runs(folder.path(), "payment");
            let runs = counters.iter().map(|it| (it.instance.clone(), it.run, it.to_ns));
            (runs.collect::<Vec<_>>(), unread.len())
        };
        let run = |instance: &str, run, to_ns| (instance.to_owned(), run, to_ns);
        let now_ns = u64::try_from(now).unwrap();
        let earlier = [run("payment-1", Run::Killed, 7), run("payment-2", Run::Ended, u64::MAX)];
        let [killed, ended] = earlier.clone();
        assert_eq!(read(), (vec![killed, ended, run("payment-3", Run::GoesOn, now_ns)], 0));
        // A process that runs writes its counters again and again: these are of one that no longer does.
        write("payment.counters.json", "payment-3", 9, false);
        let [killed, ended] = earlier.clone();
        assert_eq!(read(), (vec![killed, ended, run("payment-3", Run::Killed, 9)], 0));
        // Those of before runs were told apart.
        fs::write(folder.path().join("payment.counters.json"), TOTALS).unwrap();
        let [killed, ended] = earlier;
        assert_eq!(read(), (vec![killed, ended, run("", Run::Ended, u64::MAX)], 0));
        fs::write(folder.path().join("payment-9.before.counters.json"), "{").unwrap();
        assert_eq!(read().1, 1);
        assert_eq!(counters_of_runs(Path::new("/nowhere"), "payment"), (Vec::new(), Vec::new()));
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
