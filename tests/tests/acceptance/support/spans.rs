//! Spans as they left the processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message as _;

use super::stores::hex;

/// A span, its ids in hexadecimal.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// `service.name` of the process.
    pub(crate) service: String,
    /// All attributes of the process as text.
    pub(crate) resource: BTreeMap<String, String>,
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

/// The spans of a message.
pub(crate) fn decoded(traces: TracesData) -> Vec<Span> {
    let mut spans = Vec::new();
    for process in traces.resource_spans {
        let resource = texts(&process.resource.unwrap_or_default().attributes);
        let service = resource.get("service.name").cloned().unwrap_or_default();
        for span in process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                service: service.clone(),
                resource: resource.clone(),
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_id: hex(&span.parent_span_id),
                name: span.name,
                kind: match span.kind {
                    2 => Kind::Server,
                    3 => Kind::Client,
                    _ => Kind::Internal,
                },
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
