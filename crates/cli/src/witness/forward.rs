//! Passing spans on to any OTLP backend, with the exporter's identity on each resource. The segments are the evidence: a
//! backend that does not answer loses what does not fit in the queue, and that is said.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anstream::eprintln;
use anyhow::ensure;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;
use sekat_identity::SpiffeId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::EXPORT;
use crate::exit::Usage;

/// Messages that wait for a backend: some minutes of a mesh of fifty processes.
const WAITING: usize = 4096;
/// For one export.
const EXPORT_LIMIT: Duration = Duration::from_secs(5);
/// Between attempts.
const RETRY: Duration = Duration::from_secs(1);
/// Who sent a resource's spans, by their certificate.
const STAMP: &str = "sekat.exporter.id";

/// The way to a backend.
pub(super) struct Forward {
    /// `None` once it drains.
    queue: Mutex<Option<mpsc::Sender<(SpiffeId, Bytes)>>>,
    lost: Arc<AtomicU64>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Forward {
    /// Connects when there is something to pass on.
    pub(super) fn start(to: http::Uri) -> anyhow::Result<Self> {
        ensure!(
            to.scheme_str() == Some("http") && to.authority().is_some(),
            Usage(format!(
                "{to} is no http://host:port: --forward takes a receiver on this machine or behind a tunnel"
            ))
        );
        let channel = Endpoint::from(to).timeout(EXPORT_LIMIT).connect_timeout(EXPORT_LIMIT).connect_lazy();
        let (queue, waiting) = mpsc::channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(pass_on(channel, waiting, Arc::clone(&lost)));
        Ok(Self { queue: Mutex::new(Some(queue)), lost, task: Mutex::new(Some(task)) })
    }

    /// Queues a message, or counts it as lost.
    pub(super) fn pass(&self, exporter: SpiffeId, message: Bytes) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = queue.as_ref().is_some_and(|queue| queue.try_send((exporter, message)).is_ok());
        if !taken && self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            eprintln!("the backend does not keep up: messages are in the segments, and are not passed on");
        }
    }

    /// Passes on what waits, within a limit, and says what was not passed on.
    pub(super) async fn drain(&self, limit: Duration) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(task) = task else { return };
        let abort = task.abort_handle();
        if tokio::time::timeout(limit, task).await.is_err() {
            abort.abort();
            eprintln!("the backend did not take the last messages in time; they are in the segments");
        }
        match self.lost.load(Ordering::Relaxed) {
            0 => {}
            lost => eprintln!("{lost} messages were not passed on; they are in the segments"),
        }
    }
}

async fn pass_on(channel: Channel, mut waiting: mpsc::Receiver<(SpiffeId, Bytes)>, lost: Arc<AtomicU64>) {
    let mut failing = false;
    while let Some((exporter, message)) = waiting.recv().await {
        // It was decoded once before; a decoder that is stricter than the audit's loses it here.
        let Some(stamped) = stamp(&exporter, &message) else {
            lost.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        while let Err(status) = export(&channel, stamped.clone()).await {
            if !may_retry(&status) {
                eprintln!("the backend refused spans of {exporter}: {:?}", status.code());
                lost.fetch_add(1, Ordering::Relaxed);
                break;
            }
            if !std::mem::replace(&mut failing, true) {
                eprintln!("the backend does not answer ({:?}); spans wait", status.code());
            }
            tokio::time::sleep(RETRY).await;
        }
        failing = false;
    }
}

/// The message with the exporter's identity on each resource, and nobody else's word for it.
fn stamp(exporter: &SpiffeId, message: &Bytes) -> Option<ExportTraceServiceRequest> {
    let mut request = ExportTraceServiceRequest::decode(message.clone()).ok()?;
    for spans in &mut request.resource_spans {
        let attributes = &mut spans.resource.get_or_insert_default().attributes;
        attributes.retain(|attribute| attribute.key != STAMP);
        let value = AnyValue { value: Some(Value::StringValue(exporter.to_string())) };
        attributes.push(KeyValue { key: STAMP.to_owned(), value: Some(value), ..KeyValue::default() });
    }
    Some(request)
}

async fn export(channel: &Channel, request: ExportTraceServiceRequest) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec: tonic_prost::ProstCodec<ExportTraceServiceRequest, ExportTraceServiceResponse> =
        tonic_prost::ProstCodec::default();
    let path = http::uri::PathAndQuery::from_static(EXPORT);
    client.unary(tonic::Request::new(request), path, codec).await.map(drop)
}

/// The codes after which OTLP/gRPC allows another attempt.
fn may_retry(status: &Status) -> bool {
    let codes = [
        Code::Cancelled,
        Code::DeadlineExceeded,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unavailable,
        Code::DataLoss,
        Code::ResourceExhausted,
        Code::Unknown,
    ];
    codes.contains(&status.code())
}
