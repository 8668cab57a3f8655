//! The buyer's app in the trace: its one span, the root of the purchase.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use ring::rand::{SecureRandom, SystemRandom};
use tonic::transport::Endpoint;

/// What the receiver of spans gets for its answer.
const EXPORT_DEADLINE: Duration = Duration::from_secs(5);

/// A span that began and is exported when it ends.
pub(crate) struct Trace {
    name: &'static str,
    trace_id: [u8; 16],
    span_id: [u8; 8],
    start: SystemTime,
    target: String,
}

impl Trace {
    /// Begins a trace; it goes where the mesh's spans go.
    pub(crate) fn start(name: &'static str, target: &str) -> anyhow::Result<Self> {
        let (mut trace_id, mut span_id) = ([0; 16], [0; 8]);
        let random = SystemRandom::new();
        random.fill(&mut trace_id).and_then(|()| random.fill(&mut span_id)).ok().context("no random bytes")?;
        Ok(Self { name, trace_id, span_id, start: SystemTime::now(), target: target.to_owned() })
    }

    /// The trace id, as Jaeger shows it.
    pub(crate) fn id(&self) -> String {
        hex(&self.trace_id)
    }

    /// The header that makes calls children of this span (W3C Trace Context).
    pub(crate) fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.id(), hex(&self.span_id))
    }

    /// Ends the span and exports it.
    pub(crate) async fn finish(&self) -> anyhow::Result<()> {
        let text = |key: &str, value: &str| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }),
            ..KeyValue::default()
        };
        let span = Span {
            trace_id: self.trace_id.to_vec(),
            span_id: self.span_id.to_vec(),
            name: self.name.to_owned(),
            kind: SpanKind::Client.into(),
            start_time_unix_nano: nanos(self.start),
            end_time_unix_nano: nanos(SystemTime::now()),
            ..Span::default()
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes: vec![text("service.name", "app")], ..Resource::default() }),
                scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            }],
        };
        match self.target.strip_prefix("file:") {
            Some(directory) => append(Path::new(directory), &request),
            None => export(&self.target, request).await,
        }
    }
}

/// The format of the mesh's own span files: a length of four bytes, big-endian, before each message.
fn append(directory: &Path, request: &ExportTraceServiceRequest) -> anyhow::Result<()> {
    let message = request.encode_to_vec();
    let mut record = u32::try_from(message.len())?.to_be_bytes().to_vec();
    record.extend(message);
    let path = directory.join(format!("app-{}.otlp", std::process::id()));
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(&record))
        .with_context(|| format!("the span cannot be written to {}", path.display()))
}

async fn export(target: &str, request: ExportTraceServiceRequest) -> anyhow::Result<()> {
    let channel = Endpoint::from_shared(target.to_owned())?.timeout(EXPORT_DEADLINE).connect_lazy();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.with_context(|| format!("the receiver of spans at {target} cannot be reached"))?;
    let path = http::uri::PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    let codec: tonic_prost::ProstCodec<ExportTraceServiceRequest, ExportTraceServiceResponse> =
        tonic_prost::ProstCodec::default();
    client
        .unary(tonic::Request::new(request), path, codec)
        .await
        .map(drop)
        .with_context(|| format!("the receiver at {target} did not take the span"))
}

fn nanos(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
