//! Spans as they left the processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message as _;
use serde_json::Value as Json;

use super::stores::hex;

/// A span, its ids in hexadecimal.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// `service.name` of the process.
    pub(crate) service: String,
    /// `sekat.domain` of the process.
    pub(crate) domain: String,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    /// Empty for a root.
    pub(crate) parent_id: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// All attributes as text.
    pub(crate) attributes: BTreeMap<String, String>,
    /// Trace and span that it is linked to.
    pub(crate) links: Vec<(String, String)>,
    /// Whether its status is an error.
    pub(crate) is_error: bool,
}

/// Which side of a call a span describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Internal,
    Server,
    Client,
}

impl Kind {
    /// `SpanKind` of OTLP.
    fn of(kind: i64) -> Self {
        match kind {
            2 => Self::Server,
            3 => Self::Client,
            _ => Self::Internal,
        }
    }
}

impl Span {
    /// An attribute, or an empty text.
    pub(crate) fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

/// All spans in the files of a directory. The last message of a killed process may be incomplete.
pub(crate) fn in_files(directory: &Path) -> Vec<Span> {
    let mut spans = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let mut rest = bytes.as_slice();
        while let Some((length, after)) = rest.split_at_checked(4) {
            let length = u32::from_be_bytes(length.try_into().unwrap());
            let Some((message, after)) = after.split_at_checked(usize::try_from(length).unwrap()) else { break };
            spans.extend(decoded(TracesData::decode(message).unwrap()));
            rest = after;
        }
    }
    spans
}

/// The spans of a trace as Jaeger's API v3 gives it: OTLP in JSON, ids in hexadecimal.
pub(crate) fn of_jaeger(reply: &Json) -> Vec<Span> {
    let list = |of: &Json, key: &str| of[key].as_array().cloned().unwrap_or_default();
    let text = |of: &Json, key: &str| of[key].as_str().unwrap_or_default().to_owned();
    let mut spans = Vec::new();
    for process in list(&reply["result"], "resourceSpans") {
        let resource = json_texts(&process["resource"]["attributes"]);
        for span in list(&process, "scopeSpans").iter().flat_map(|scope| list(scope, "spans")) {
            let links = list(&span, "links");
            spans.push(Span {
                service: resource.get("service.name").cloned().unwrap_or_default(),
                domain: resource.get("sekat.domain").cloned().unwrap_or_default(),
                trace_id: text(&span, "traceId"),
                span_id: text(&span, "spanId"),
                parent_id: text(&span, "parentSpanId"),
                name: text(&span, "name"),
                kind: Kind::of(span["kind"].as_i64().unwrap_or_default()),
                attributes: json_texts(&span["attributes"]),
                links: links.iter().map(|link| (text(link, "traceId"), text(link, "spanId"))).collect(),
                is_error: span["status"]["code"].as_i64() == Some(2),
            });
        }
    }
    spans
}

/// Attributes in JSON: `[{"key": …, "value": {"stringValue": …}}]`. Numbers of 64 bits are strings there.
fn json_texts(attributes: &Json) -> BTreeMap<String, String> {
    let text = |pair: &Json| {
        let value = pair["value"].as_object()?.values().next()?;
        Some((pair["key"].as_str()?.to_owned(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
    };
    attributes.as_array().into_iter().flatten().filter_map(text).collect()
}

/// The spans of a message.
fn decoded(traces: TracesData) -> Vec<Span> {
    let mut spans = Vec::new();
    for process in traces.resource_spans {
        let resource = texts(&process.resource.unwrap_or_default().attributes);
        let [service, domain] =
            ["service.name", "sekat.domain"].map(|key| resource.get(key).cloned().unwrap_or_default());
        for span in process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                service: service.clone(),
                domain: domain.clone(),
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_id: hex(&span.parent_span_id),
                name: span.name,
                kind: Kind::of(span.kind.into()),
                attributes: texts(&span.attributes),
                links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
                is_error: span.status.is_some_and(|status| status.code == 2),
            });
        }
    }
    spans
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.clone().and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}
