//! The JSON of Jaeger's first HTTP API: spans with tags and references, and processes beside them. Times are in
//! microseconds; there are no flags, and nothing says what was dropped.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

use super::slices::Traces;
use crate::span::{Kind, Link, Resource, Sink, Span, Value, unhex};

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, default)]
    data: Option<Vec<Trace<'a>>>,
}

#[derive(Deserialize)]
struct Trace<'a> {
    #[serde(borrow, rename = "traceID")]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    spans: Vec<JaegerSpan<'a>>,
    #[serde(borrow, default)]
    processes: HashMap<Cow<'a, str>, Process<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JaegerSpan<'a> {
    #[serde(borrow, rename = "traceID")]
    trace_id: Cow<'a, str>,
    #[serde(borrow, rename = "spanID")]
    span_id: Cow<'a, str>,
    #[serde(borrow, rename = "processID", default)]
    process_id: Cow<'a, str>,
    #[serde(borrow, default)]
    operation_name: Cow<'a, str>,
    #[serde(borrow, default)]
    references: Vec<Reference<'a>>,
    start_time: u64,
    #[serde(default)]
    duration: u64,
    #[serde(borrow, default)]
    tags: Vec<Tag<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    #[serde(borrow, default)]
    ref_type: Cow<'a, str>,
    #[serde(borrow, rename = "traceID")]
    trace_id: Cow<'a, str>,
    #[serde(borrow, rename = "spanID")]
    span_id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process<'a> {
    #[serde(borrow, default)]
    service_name: Cow<'a, str>,
    #[serde(borrow, default)]
    tags: Vec<Tag<'a>>,
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    value: TagValue<'a>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TagValue<'a> {
    Int(i64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
    Bool(bool),
    Other(serde::de::IgnoredAny),
}

impl TagValue<'_> {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Int(number) => Value::Int(*number),
            Self::Text(text) => Value::Text(text),
            Self::Bool(_) | Self::Other(_) => Value::Other,
        }
    }
}

/// The traces of an answer, each with the number of its spans.
pub(super) fn traces(payload: &str) -> Result<Traces, String> {
    let mut traces = Traces::new();
    for trace in reply(payload)? {
        *traces.entry(id(&trace.id)?).or_default() += trace.spans.len();
    }
    Ok(traces)
}

/// Hands all spans of an answer to `sink`.
pub(super) fn decode(payload: &str, sink: &mut impl Sink) -> Result<u64, String> {
    let mut spans = 0;
    for trace in reply(payload)? {
        for span in &trace.spans {
            let mut resource = Resource::default();
            if let Some(process) = trace.processes.get(&span.process_id) {
                for tag in &process.tags {
                    resource.set(tag.key.as_bytes(), tag.value.value());
                }
                resource.service = &process.service_name;
            }
            span.hand_to(&resource, sink)?;
            spans += 1;
        }
    }
    Ok(spans)
}

fn reply(payload: &str) -> Result<Vec<Trace<'_>>, String> {
    if payload.is_empty() {
        return Ok(Vec::new());
    }
    let reply: Reply<'_> = serde_json::from_str(payload).map_err(|error| error.to_string())?;
    Ok(reply.data.unwrap_or_default())
}

impl JaegerSpan<'_> {
    fn hand_to(&self, resource: &Resource<'_>, sink: &mut impl Sink) -> Result<(), String> {
        let mut span = Span {
            trace_id: id(&self.trace_id)?,
            span_id: id(&self.span_id)?,
            name: &self.operation_name,
            start_ns: self.start_time.saturating_mul(1_000),
            end_ns: self.start_time.saturating_add(self.duration).saturating_mul(1_000),
            ..Span::default()
        };
        let mut links = Vec::new();
        for reference in &self.references {
            let (trace_id, span_id) = (id(&reference.trace_id)?, id(&reference.span_id)?);
            if reference.ref_type == "CHILD_OF" && trace_id == span.trace_id && span.parent_id == [0; 8] {
                span.parent_id = span_id;
            } else {
                links.push(Link { trace_id, span_id, flags: 0 });
            }
        }
        span.links = &links;
        for Tag { key, value } in &self.tags {
            match (key.as_ref(), value) {
                ("span.kind", TagValue::Text(kind)) => span.kind = Kind::of_name(kind),
                ("error", TagValue::Bool(failed)) => span.failed |= failed,
                ("otel.status_code", TagValue::Text(code)) => span.failed |= code == "ERROR",
                ("otel.status_description", TagValue::Text(text)) => span.status_message = text,
                ("w3c.tracestate", TagValue::Text(state)) => span.trace_state = state,
                (_, value) => span.attributes.set(key.as_bytes(), value.value()),
            }
        }
        sink.span(resource, &span);
        Ok(())
    }
}

/// Ids of this API have no zeros in front.
fn id<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let padded = format!("{text:0>width$}", width = 2 * N);
    unhex(&padded).ok_or_else(|| format!("`{text}` is no id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Recorded;

    #[derive(Default)]
    struct Told(Vec<String>);

    impl Sink for Told {
        fn span(&mut self, resource: &Resource<'_>, span: &Span<'_>) {
            self.0.push(format!("{resource:?} {span:?}"));
        }
        fn recorded(&mut self, _: &Resource<'_>, _: Recorded) {}
    }

    const REPLY: &str = r#"{"data":[{"traceID":"a1","spans":[{"traceID":"a1","spanID":"b2","processID":"p1",
        "operationName":"shop.Pay/Charge","references":[{"refType":"CHILD_OF","traceID":"a1","spanID":"c3"},
        {"refType":"FOLLOWS_FROM","traceID":"d4","spanID":"e5"}],"startTime":1000,"duration":5,"logs":[],
        "tags":[{"key":"span.kind","type":"string","value":"server"},{"key":"error","type":"bool","value":true},
        {"key":"rpc.grpc.status_code","type":"int64","value":7},{"key":"x","type":"float64","value":0.5},
        {"key":"rpc.method","type":"string","value":"Charge"}]}],
        "processes":{"p1":{"serviceName":"payment","tags":[{"key":"service.instance.id","type":"string","value":"i1"}]}}}]}"#;

    #[test]
    fn tags_references_and_processes_become_a_span() {
        let mut told = Told::default();
        assert_eq!(decode(REPLY, &mut told), Ok(1));
        let span = &told.0[0];
        for part in [
            "service: \"payment\", instance: \"i1\"",
            "span_id: [0, 0, 0, 0, 0, 0, 0, 178], parent_id: [0, 0, 0, 0, 0, 0, 0, 195]",
            "kind: Server, start_ns: 1000000, end_ns: 1005000, failed: true",
            "span_id: [0, 0, 0, 0, 0, 0, 0, 229], flags: 0 }]",
            "rpc_grpc_status_code: Some(7)",
        ] {
            assert!(span.contains(part), "{part} in {span}");
        }
        assert_eq!(traces(REPLY).unwrap().into_values().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn nothing_found_is_nothing_and_nonsense_is_an_error() {
        for nothing in ["", "{\"data\":null}", "{\"data\":[]}"] {
            assert_eq!(decode(nothing, &mut Told::default()), Ok(0), "{nothing}");
        }
        assert!(decode("{\"data\":5}", &mut Told::default()).is_err());
        assert!(decode(&REPLY.replace("\"b2\"", "\"xyz\""), &mut Told::default()).is_err());
    }
}
