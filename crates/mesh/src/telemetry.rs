//! What a process tells about itself: spans, counters, logs. Spans and counters take different ways, so that each
//! can be checked against the other; neither ever holds a classified value.

pub(crate) mod bridge;
pub(crate) mod call;
pub(crate) mod counters;
mod export;
pub(crate) mod log;
pub(crate) mod otlp;
pub(crate) mod recorder;
mod sink;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use serde::Serialize;

use counters::{CallCount, Counters, OpenCalls, RefusedConnections};
use export::Exporter;
pub(crate) use export::Target;
use recorder::{Beginning, Recorder};

use crate::received::Received;

/// How stale the counters on disk may be.
const COUNTERS_INTERVAL: Duration = Duration::from_secs(5);

/// The telemetry of one process.
#[derive(Debug)]
pub(crate) struct Telemetry {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) counters: Counters,
    /// Refusals so far; each audit event carries its number, so that a missing one shows.
    audit_sequence: AtomicU64,
    exporter: Option<Arc<Exporter>>,
    workload: &'static str,
    /// Which run of the workload this is; its spans say the same.
    instance: String,
    began: Beginning,
    /// Whether the last spans were exported, after which nothing is counted any more.
    ended: AtomicBool,
    counters_file: Option<PathBuf>,
    /// Where a copy of everything that comes in goes.
    pub(crate) received: Option<Arc<Received>>,
}

/// The first line of a counters file. It says of which run the counters are, and how far they reach: what a process
/// that was killed did after `counted_ns` nobody counted.
#[derive(Serialize)]
struct Totals<'a> {
    workload: &'static str,
    instance: &'a str,
    /// When the run began, in nanoseconds since the Unix epoch.
    began_ns: u64,
    /// When the counters were written, in nanoseconds since the Unix epoch.
    counted_ns: u64,
    /// Whether they are the run's last.
    ended: bool,
    spans_recorded: u64,
    spans_dropped: u64,
    refusals: u64,
    refused_connections: RefusedConnections,
    /// Calls that were open when the counters were written.
    open_calls: Vec<OpenCalls>,
}

impl Telemetry {
    /// Starts exporting what `recorder` records, if there is a target. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If the directory for spans or the one for counters cannot be written.
    pub(crate) fn start(
        workload: &'static str,
        domain: &str,
        recorder: Arc<Recorder>,
        target: Option<(&Target, Option<Arc<ClientConfig>>)>,
        data_dir: Option<&Path>,
        received: Option<Arc<Received>>,
    ) -> io::Result<Arc<Self>> {
        let instance = format!("{workload}-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let resource =
            otlp::resource(&[("service.name", workload), ("service.instance.id", &instance), ("sekat.domain", domain)]);
        let exporter =
            target.map(|target| Exporter::start(Arc::clone(&recorder), resource, target, workload)).transpose()?;
        let counters_file = data_dir.map(|dir| dir.join(format!("{workload}.counters.json")));
        if let Some(path) = &counters_file {
            keep_counters_of_the_run_before(path, &instance)?;
        }
        let telemetry = Arc::new(Self {
            recorder,
            counters: Counters::default(),
            audit_sequence: AtomicU64::new(0),
            exporter,
            workload,
            instance,
            began: Beginning::now(),
            ended: AtomicBool::new(false),
            counters_file,
            received,
        });
        if telemetry.counters_file.is_some() {
            tokio::spawn(write_counters_forever(Arc::downgrade(&telemetry)));
        }
        Ok(telemetry)
    }

    /// The number of the next refusal.
    pub(crate) fn next_audit_sequence(&self) -> u64 {
        self.audit_sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Exports all spans and writes the counters as this run's last, or gives up after `limit`.
    pub(crate) async fn flush(&self, limit: Duration) {
        if let Some(exporter) = &self.exporter {
            exporter.flush(limit).await;
        }
        self.ended.store(true, Ordering::Relaxed);
        self.write_counters();
    }

    /// Writes `<workload>.counters.json`: a line of totals, then one JSON object a line for each count.
    fn write_counters(&self) {
        let Some(path) = &self.counters_file else { return };
        let written = self.counters_text().map_err(io::Error::from).and_then(|text| replace(path, text.as_bytes()));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), error = &error as &dyn std::error::Error, "counters not written");
        }
    }

    fn counters_text(&self) -> Result<String, serde_json::Error> {
        let totals = Totals {
            workload: self.workload,
            instance: &self.instance,
            began_ns: self.began.unix_nanos(),
            // Before the snapshot: what ended until now is in it, but for calls that end this very moment.
            counted_ns: Beginning::now().unix_nanos(),
            ended: self.ended.load(Ordering::Relaxed),
            spans_recorded: self.recorder.recorded(),
            spans_dropped: self.recorder.dropped(),
            refusals: self.audit_sequence.load(Ordering::Relaxed),
            refused_connections: self.counters.refused_connections(),
            open_calls: self.counters.open(),
        };
        let mut text = serde_json::to_string(&totals)?;
        text.push('\n');
        for count in self.counters.snapshot() {
            text.push_str(&serde_json::to_string::<CallCount>(&count)?);
            text.push('\n');
        }
        Ok(text)
    }
}

async fn write_counters_forever(telemetry: std::sync::Weak<Telemetry>) {
    // The first tick is at once: a run that is killed in its first seconds has left counters all the same.
    let mut ticks = tokio::time::interval(COUNTERS_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(telemetry) = telemetry.upgrade() else { return };
        // A few kilobytes: not worth a thread of its own.
        telemetry.write_counters();
    }
}

/// Puts what the run before counted out of the way of the run `instance`, as `<instance>.before.counters.json`: its
/// spans are still there, and are held against its own counters.
fn keep_counters_of_the_run_before(path: &Path, instance: &str) -> io::Result<()> {
    match std::fs::rename(path, path.with_file_name(format!("{instance}.before.counters.json"))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

/// Puts `contents` at `path` as a whole or not at all.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, contents)?;
    std::fs::rename(&beside, path)
}

/// Which share of the traces that begin here is recorded, decided by the trace id: all processes with the same share
/// decide alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampler {
    /// Trace ids whose last eight bytes are above it are not recorded.
    threshold: u64,
}

impl Sampler {
    /// `ratio` is between 0 (none) and 1 (all).
    pub(crate) fn new(ratio: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a float converts to the nearest integer in range, which is the share that is meant"
        )]
        let threshold = (ratio.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        Self { threshold }
    }

    pub(crate) fn samples(self, trace_id: [u8; 16]) -> bool {
        let [_, _, _, _, _, _, _, _, random @ ..] = trace_id;
        self.threshold > 0 && u64::from_be_bytes(random) <= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::TraceContext;

    #[test]
    fn a_sampler_keeps_its_share() {
        let kept = |ratio: f64| {
            let sampler = Sampler::new(ratio);
            (0..10_000).filter(|_| sampler.samples(TraceContext::root(true).trace_id)).count()
        };
        assert_eq!((kept(0.0), kept(1.0)), (0, 10_000));
        assert!((2_000..3_000).contains(&kept(0.25)));
    }
}
