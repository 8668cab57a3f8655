//! OTLP in JSON: ids in hexadecimal, names in lowerCamelCase, 64-bit numbers as text or as numbers, enums as numbers or
//! as names. Fields that the audit does not look at are skipped.

use std::borrow::Cow;

use serde::Deserialize;

use crate::span::{Kind, Link, Recorded, Resource, Sink, Span, Value, unhex};

/// `ExportTraceServiceRequest`, or `TracesData`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Traces<'a> {
    #[serde(borrow, default)]
    resource_spans: Option<Vec<ResourceSpans<'a>>>,
}

/// The same, or an answer of Jaeger's that somebody kept, which has it as its `result`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow, default)]
    resource_spans: Option<Vec<ResourceSpans<'a>>>,
    #[serde(borrow, default)]
    result: Option<Traces<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    #[serde(borrow, default)]
    resource: Attributed<'a>,
    #[serde(borrow, default)]
    scope_spans: Vec<ScopeSpans<'a>>,
}

/// A resource or a scope.
#[derive(Debug, Default, Deserialize)]
struct Attributed<'a> {
    #[serde(borrow, default)]
    attributes: Vec<KeyValue<'a>>,
}

#[derive(Debug, Deserialize)]
struct ScopeSpans<'a> {
    #[serde(borrow, default)]
    scope: Attributed<'a>,
    #[serde(borrow, default)]
    spans: Vec<JsonSpan<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan<'a> {
    #[serde(borrow, default)]
    trace_id: Cow<'a, str>,
    #[serde(borrow, default)]
    span_id: Cow<'a, str>,
    #[serde(borrow, default)]
    parent_span_id: Cow<'a, str>,
    #[serde(default)]
    flags: u32,
    #[serde(borrow, default)]
    trace_state: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Option<Number<'a>>,
    #[serde(borrow, default)]
    start_time_unix_nano: Option<Number<'a>>,
    #[serde(borrow, default)]
    end_time_unix_nano: Option<Number<'a>>,
    #[serde(borrow, default)]
    attributes: Vec<KeyValue<'a>>,
    #[serde(default)]
    dropped_attributes_count: u32,
    #[serde(borrow, default)]
    links: Vec<JsonLink<'a>>,
    #[serde(default)]
    dropped_links_count: u32,
    #[serde(borrow, default)]
    status: Status<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonLink<'a> {
    #[serde(borrow, default)]
    trace_id: Cow<'a, str>,
    #[serde(borrow, default)]
    span_id: Cow<'a, str>,
    #[serde(default)]
    flags: u32,
}

#[derive(Debug, Default, Deserialize)]
struct Status<'a> {
    #[serde(borrow, default)]
    code: Option<Number<'a>>,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct KeyValue<'a> {
    #[serde(borrow, default)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    value: AnyValue<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyValue<'a> {
    #[serde(borrow, default)]
    string_value: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    int_value: Option<Number<'a>>,
}

/// A number, or the text of one, or the name of an enum's value.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number<'a> {
    Unsigned(u64),
    Signed(i64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

impl Number<'_> {
    fn unsigned(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            Self::Signed(number) => u64::try_from(*number).ok(),
            Self::Text(text) => text.parse().ok(),
        }
    }

    fn signed(&self) -> Option<i64> {
        match self {
            Self::Unsigned(number) => i64::try_from(*number).ok(),
            Self::Signed(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

impl KeyValue<'_> {
    fn value(&self) -> Value<'_> {
        match (&self.value.string_value, self.value.int_value.as_ref().and_then(Number::signed)) {
            (Some(text), _) => Value::Text(text),
            (None, Some(number)) => Value::Int(number),
            (None, None) => Value::Other,
        }
    }
}

/// Hands all spans of one message to `sink`; see [`otlp::decode`](super::otlp::decode).
///
/// # Errors
/// If the text is no `ExportTraceServiceRequest` in JSON.
pub fn decode(message: &str, exporter: &str, sink: &mut impl Sink) -> Result<u64, NotOtlpJson> {
    let Message { resource_spans, result } = serde_json::from_str(message).map_err(NotOtlpJson::Json)?;
    // Without the key it is some other JSON, and an audit that read nothing must not look like one of a quiet mesh.
    let missing = NotOtlpJson::Field("it has no `resourceSpans`");
    let traces = if resource_spans.is_some() { Traces { resource_spans } } else { result.ok_or(missing)? };
    let mut spans = 0;
    traces.each(exporter, sink, &mut |_| spans += 1)?;
    Ok(spans)
}

impl Traces<'_> {
    /// Hands over all spans, and their trace ids to `seen`.
    pub(crate) fn each(
        &self,
        exporter: &str,
        sink: &mut impl Sink,
        seen: &mut impl FnMut([u8; 16]),
    ) -> Result<(), NotOtlpJson> {
        for process in self.resource_spans.iter().flatten() {
            let mut resource = Resource { exporter, ..Resource::default() };
            for pair in &process.resource.attributes {
                resource.set(pair.key.as_bytes(), pair.value());
            }
            for scope in &process.scope_spans {
                let mut recorded = Recorded::default();
                for pair in &scope.scope.attributes {
                    recorded.set(pair.key.as_bytes(), pair.value());
                }
                if recorded != Recorded::default() {
                    sink.recorded(&resource, recorded);
                }
                for span in &scope.spans {
                    seen(span.hand_to(&resource, sink)?);
                }
            }
        }
        Ok(())
    }

    /// The trace ids, once for each span.
    pub(crate) fn trace_ids(&self) -> impl Iterator<Item = Option<[u8; 16]>> {
        let scopes = self.resource_spans.iter().flatten().flat_map(|process| &process.scope_spans);
        scopes.flat_map(|scope| &scope.spans).map(|span| unhex(&span.trace_id))
    }
}

impl JsonSpan<'_> {
    fn hand_to(&self, resource: &Resource<'_>, sink: &mut impl Sink) -> Result<[u8; 16], NotOtlpJson> {
        let mut links = Vec::with_capacity(self.links.len());
        for link in &self.links {
            links.push(Link { trace_id: id(&link.trace_id)?, span_id: id(&link.span_id)?, flags: link.flags });
        }
        let kind = match &self.kind {
            Some(Number::Text(name)) if name.parse::<u64>().is_err() => Kind::of_name(name),
            Some(number) => number.unsigned().map_or(Kind::Internal, Kind::of_number),
            None => Kind::Internal,
        };
        let failed = match &self.status.code {
            Some(Number::Text(name)) if name == "STATUS_CODE_ERROR" => true,
            Some(number) => number.unsigned() == Some(2),
            None => false,
        };
        let mut span = Span {
            trace_id: id(&self.trace_id)?,
            span_id: id(&self.span_id)?,
            parent_id: if self.parent_span_id.is_empty() { [0; 8] } else { id(&self.parent_span_id)? },
            flags: self.flags,
            trace_state: &self.trace_state,
            name: &self.name,
            kind,
            start_ns: time(self.start_time_unix_nano.as_ref())?,
            end_ns: time(self.end_time_unix_nano.as_ref())?,
            failed,
            status_message: &self.status.message,
            dropped_attributes: self.dropped_attributes_count,
            dropped_links: self.dropped_links_count,
            links: &links,
            ..Span::default()
        };
        for pair in &self.attributes {
            span.attributes.set(pair.key.as_bytes(), pair.value());
        }
        sink.span(resource, &span);
        Ok(span.trace_id)
    }
}

fn id<const N: usize>(text: &str) -> Result<[u8; N], NotOtlpJson> {
    unhex(text).ok_or(NotOtlpJson::Field("an id is not in hexadecimal, or of the wrong length"))
}

fn time(number: Option<&Number<'_>>) -> Result<u64, NotOtlpJson> {
    number.map_or(Ok(0), |number| number.unsigned().ok_or(NotOtlpJson::Field("a time is no number")))
}

/// Text that is no OTLP in JSON.
#[derive(Debug)]
pub enum NotOtlpJson {
    /// It is no JSON of that form.
    Json(serde_json::Error),
    /// A field holds something else than it has to.
    Field(&'static str),
}

impl std::fmt::Display for NotOtlpJson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Json(error) => write!(f, "no OTLP traces in JSON: {error}"),
            Self::Field(why) => write!(f, "no OTLP traces in JSON: {why}"),
        }
    }
}

impl std::error::Error for NotOtlpJson {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Told(Vec<String>);

    impl Sink for Told {
        fn span(&mut self, resource: &Resource<'_>, span: &Span<'_>) {
            self.0.push(format!("{resource:?} {span:?}"));
        }
        fn recorded(&mut self, _: &Resource<'_>, recorded: Recorded) {
            self.0.push(format!("{recorded:?}"));
        }
    }

    const MESSAGE: &str = r#"{"resourceSpans":[{"resource":{"attributes":[
        {"key":"service.name","value":{"stringValue":"or\u0064er"}}]},
        "scopeSpans":[{"scope":{"name":"x","attributes":[{"key":"sekat.spans.recorded","value":{"intValue":"7"}}]},
        "spans":[{"traceId":"0102030405060708090A0b0c0d0e0f10","spanId":"0102030405060708","parentSpanId":"",
        "name":"shop.Pay/Charge","kind":KIND,"startTimeUnixNano":"1700000000000000001","endTimeUnixNano":1700000000000000002,
        "flags":257,"events":[{"name":"skipped"}],
        "links":[{"traceId":"01010101010101010101010101010101","spanId":"0202020202020202","flags":1}],
        "attributes":[{"key":"rpc.method","value":{"stringValue":"shop.Pay/Charge"}},
        {"key":"rpc.grpc.status_code","value":{"intValue":"7"}},{"key":"x","value":{"boolValue":true}}],
        "status":{"code":CODE,"message":"no"}}]}]}]}"#;

    #[test]
    fn ids_numbers_and_enums_are_read_in_all_their_spellings() {
        for (kind, code) in [("3", "2"), ("\"SPAN_KIND_CLIENT\"", "\"STATUS_CODE_ERROR\"")] {
            let message = MESSAGE.replace("KIND", kind).replace("CODE", code);
            let mut told = Told::default();
            assert_eq!(decode(&message, "", &mut told).unwrap(), 1);
            assert_eq!(told.0[0], format!("{:?}", Recorded { recorded: Some(7), dropped: None }));
            let span = &told.0[1];
            for part in [
                "service: \"order\"",
                "trace_id: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]",
                "kind: Client",
                "start_ns: 1700000000000000001",
                "end_ns: 1700000000000000002",
                "failed: true",
                "rpc_method: \"shop.Pay/Charge\"",
                "rpc_grpc_status_code: Some(7)",
                "flags: 1 }]",
            ] {
                assert!(span.contains(part), "{part} in {span}");
            }
        }
    }

    #[test]
    fn a_kept_answer_of_jaeger_is_read_and_other_json_is_refused() {
        let message = MESSAGE.replace("KIND", "3").replace("CODE", "2");
        assert_eq!(decode(&format!("{{\"result\":{message}}}"), "", &mut Told::default()).unwrap(), 1);
        for other in ["{}", "{\"spans\":[]}", "{\"result\":null}"] {
            assert!(decode(other, "", &mut Told::default()).is_err(), "{other}");
        }
        assert_eq!(decode("{\"resourceSpans\":[]}", "", &mut Told::default()).unwrap(), 0);
    }

    #[test]
    fn what_is_no_otlp_is_an_error() {
        let message = MESSAGE.replace("KIND", "3").replace("CODE", "2");
        for (from, to) in [("0102030405060708\"", "01\""), ("\"1700000000000000001\"", "\"soon\""), ("]}]}]}", "")] {
            assert!(decode(&message.replacen(from, to, 1), "", &mut Told::default()).is_err(), "{to}");
        }
    }
}
