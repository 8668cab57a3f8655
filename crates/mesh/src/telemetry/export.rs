//! From the recorder to a collector or a file: every 200 ms, in bounded memory, in batches that are retried.
//! What cannot be kept is dropped oldest first, and counted.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::Notify;

use super::otlp;
use super::recorder::Recorder;
use super::sink::{Collector, SpanFile};
use crate::env::FromEnv;

/// How stale the newest exported span may be; a process killed by force loses as much.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes that wait for a collector which does not answer: a minute of 2,000 spans a second.
const PENDING_BYTES: usize = 64 * 1024 * 1024;
/// Between attempts to reach a collector.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Where spans go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// OTLP over gRPC: in plain text to a collector on this machine or in the same pod, or over mutual TLS.
    Collector(http::Uri),
    /// OTLP in files of this directory; see [`SpanFile`].
    Directory(PathBuf),
}

impl Target {
    /// Whether both ends prove who they are.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Collector(uri) if uri.scheme_str() == Some("https"))
    }
}

impl FromEnv for Target {
    const EXPECTED: &'static str = "http://host:port or https://host:port of an OTLP/gRPC receiver, or file:/directory";
    fn from_env(text: &str) -> Option<Self> {
        if let Some(directory) = text.strip_prefix("file:") {
            return Some(Self::Directory(directory.into()));
        }
        let uri: http::Uri = text.parse().ok()?;
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        (is_known && uri.authority().is_some()).then_some(Self::Collector(uri))
    }
    fn placeholder() -> Self {
        Self::Directory(PathBuf::new())
    }
}

/// One encoded `ExportTraceServiceRequest`.
#[derive(Debug)]
struct Batch {
    request: Vec<u8>,
    spans: u64,
}

#[derive(Debug, Default)]
struct Pending {
    batches: VecDeque<Batch>,
    bytes: usize,
    /// Whether a batch is on its way and not in `batches`.
    sending: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.batches.is_empty() && !self.sending
    }
}

/// The exporter of one process. Its tasks end when the last handle is gone.
#[derive(Debug)]
pub(crate) struct Exporter {
    recorder: Arc<Recorder>,
    resource: Vec<u8>,
    pending: Mutex<Pending>,
    changed: Notify,
}

impl Exporter {
    /// Begins to export what `recorder` records. `resource` is the process's encoded `Resource`.
    ///
    /// # Errors
    /// If the directory for span files cannot be written.
    pub(crate) fn start(
        recorder: Arc<Recorder>,
        resource: Vec<u8>,
        (target, tls): (&Target, Option<Arc<ClientConfig>>),
        workload: &str,
    ) -> io::Result<Arc<Self>> {
        let exporter = Arc::new(Self { recorder, resource, pending: Mutex::default(), changed: Notify::new() });
        tokio::spawn(collect_forever(Arc::downgrade(&exporter)));
        match target {
            Target::Directory(directory) => {
                let file = SpanFile::create(directory.clone(), workload)?;
                tokio::spawn(send_to_file(Arc::downgrade(&exporter), file));
            }
            Target::Collector(uri) => {
                tokio::spawn(send_to_collector(Arc::downgrade(&exporter), Collector::new(uri.clone(), tls)));
            }
        }
        Ok(exporter)
    }

    /// Exports everything that was recorded before the call, or gives up after `limit`.
    pub(crate) async fn flush(&self, limit: Duration) {
        self.collect();
        let drained = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if self.pending().is_empty() {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(limit, drained).await.is_err() {
            tracing::warn!("the trace collector did not take the last spans in time");
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves what the recorder holds to the queue.
    fn collect(&self) {
        let taken: Vec<_> = self.recorder.take().collect();
        if taken.is_empty() {
            return;
        }
        let (recorded, dropped) = (self.recorder.recorded(), self.recorder.dropped());
        let mut pending = self.pending();
        for spans in taken {
            let request = otlp::export_request(&self.resource, &spans.encoded, recorded, dropped);
            pending.bytes += request.len();
            pending.batches.push_back(Batch { request, spans: spans.count });
        }
        while pending.bytes > PENDING_BYTES {
            let Some(oldest) = pending.batches.pop_front() else { break };
            pending.bytes -= oldest.request.len();
            self.recorder.count_dropped(oldest.spans);
        }
        drop(pending);
        self.changed.notify_waiters();
    }

    fn next(&self) -> Option<Batch> {
        let mut pending = self.pending();
        let batch = pending.batches.pop_front()?;
        pending.bytes -= batch.request.len();
        pending.sending = true;
        Some(batch)
    }

    fn sent(&self) {
        self.pending().sending = false;
        self.changed.notify_waiters();
    }

    fn not_sent(&self, batch: Batch) {
        let mut pending = self.pending();
        pending.sending = false;
        pending.bytes += batch.request.len();
        pending.batches.push_front(batch);
    }
}

async fn collect_forever(exporter: std::sync::Weak<Exporter>) {
    let mut ticks = tokio::time::interval(FLUSH_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(exporter) = exporter.upgrade() else { return };
        exporter.collect();
    }
}

/// The next batch, once there is one; `None` when the process no longer exports.
async fn next_batch(exporter: &std::sync::Weak<Exporter>) -> Option<(Arc<Exporter>, Batch)> {
    loop {
        let exporter = exporter.upgrade()?;
        let mut changed = std::pin::pin!(exporter.changed.notified());
        changed.as_mut().enable();
        if let Some(batch) = exporter.next() {
            return Some((Arc::clone(&exporter), batch));
        }
        // With a limit, so that the task notices that everybody else has let go.
        let _ = tokio::time::timeout(RETRY_INTERVAL, changed).await;
    }
}

async fn send_to_file(exporter: std::sync::Weak<Exporter>, file: SpanFile) {
    let file = Arc::new(Mutex::new(file));
    let mut failing = false;
    while let Some((exporter, batch)) = next_batch(&exporter).await {
        let to = Arc::clone(&file);
        let written = tokio::task::spawn_blocking(move || {
            let result = to.lock().unwrap_or_else(PoisonError::into_inner).append(&batch.request);
            (batch, result)
        })
        .await;
        match written {
            Ok((_, Ok(()))) => {
                failing = false;
                exporter.sent();
            }
            Ok((batch, Err(error))) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "spans cannot be written; check the disk");
                }
                exporter.not_sent(batch);
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            // The runtime is going away, and with it this task.
            Err(_) => return,
        }
    }
}

async fn send_to_collector(exporter: std::sync::Weak<Exporter>, mut collector: Collector) {
    let mut failing = false;
    while let Some((exporter, batch)) = next_batch(&exporter).await {
        match collector.export(&batch.request).await {
            Ok(rejected) => {
                failing = false;
                exporter.recorder.count_dropped(rejected);
                exporter.sent();
            }
            Err(status) if Collector::may_retry(&status) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(code = ?status.code(), "the trace collector does not answer; spans wait");
                }
                exporter.not_sent(batch);
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            Err(status) => {
                tracing::error!(code = ?status.code(), spans = batch.spans, "the trace collector refused spans");
                exporter.recorder.count_dropped(batch.spans);
                exporter.sent();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::trace::v1::TracesData;
    use prost::Message as _;

    #[test]
    fn targets_are_a_url_or_a_directory() {
        assert_eq!(Target::from_env("file:/x/y"), Some(Target::Directory("/x/y".into())));
        assert!(matches!(Target::from_env("http://127.0.0.1:4317"), Some(Target::Collector(_))));
        assert_eq!(Target::from_env("127.0.0.1:4317"), None);
        assert!(Target::from_env("https://collector:4317").unwrap().is_encrypted());
        assert_eq!(Target::from_env("ftp://collector:4317"), None);
    }

    #[tokio::test]
    async fn what_was_recorded_is_in_the_file_after_a_flush() {
        let directory = tempfile::tempdir().unwrap();
        let recorder = Arc::new(Recorder::new(true));
        let target = Target::Directory(directory.path().to_owned());
        let resource = otlp::resource(&[("service.name", "test")]);
        let exporter = Exporter::start(Arc::clone(&recorder), resource, (&target, None), "test").unwrap();
        for round in 1..=3 {
            recorder.record(|span| otlp::name_and_kind(span, "one", otlp::Kind::Internal));
            exporter.flush(Duration::from_secs(5)).await;
            let path = directory.path().join(format!("test-{}.otlp", std::process::id()));
            let file = std::fs::read(path).unwrap();
            assert_eq!(read_spans(&file), round);
        }
    }

    fn read_spans(mut file: &[u8]) -> usize {
        let mut spans = 0;
        while let Some((length, rest)) = file.split_first_chunk::<4>() {
            let (message, rest) = rest.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap());
            let data = TracesData::decode(message).unwrap();
            spans += data.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum::<usize>();
            file = rest;
        }
        spans
    }
}
