//! OpenTelemetry's protobuf, written by hand: spans are encoded once, when they end, and never again.
//! Field numbers are those of opentelemetry-proto 1.x (`trace/v1/trace.proto`, `common/v1/common.proto`).

use crate::context::TraceContext;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// Span flags: the low byte holds W3C's flags, these bits say whether the parent was in another process.
const PARENT_KNOWN_FLAG: u32 = 0x100;
const PARENT_REMOTE_FLAG: u32 = 0x200;

/// `SpanKind`.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

/// What ends up in a span beside its attributes.
pub(crate) struct SpanHead {
    pub(crate) trace: TraceContext,
    pub(crate) parent: Option<[u8; 8]>,
    pub(crate) parent_is_remote: bool,
    pub(crate) start_unix_nanos: u64,
    pub(crate) end_unix_nanos: u64,
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            to.push(low);
            return;
        }
        to.push(low | 0x80);
    }
}

fn varint_length(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    // Seven bits a byte; a usize needs at most ten.
    usize::try_from(bits.div_ceil(7)).unwrap_or(10)
}

fn tag(to: &mut Vec<u8>, field: u64, wire: u64) {
    varint(to, field << 3 | wire);
}

fn length(to: &mut Vec<u8>, length: usize) {
    varint(to, u64::try_from(length).unwrap_or(u64::MAX));
}

/// A field of bytes, text or an encoded message.
pub(crate) fn bytes(to: &mut Vec<u8>, field: u64, value: &[u8]) {
    tag(to, field, LENGTH);
    length(to, value.len());
    to.extend_from_slice(value);
}

fn fixed64(to: &mut Vec<u8>, field: u64, value: u64) {
    tag(to, field, FIXED64);
    to.extend_from_slice(&value.to_le_bytes());
}

fn fixed32(to: &mut Vec<u8>, field: u64, value: u32) {
    tag(to, field, FIXED32);
    to.extend_from_slice(&value.to_le_bytes());
}

/// A `KeyValue` with text as field `field`.
pub(crate) fn text_attribute(to: &mut Vec<u8>, field: u64, key: &str, value: &str) {
    let any = 1 + varint_length(value.len()) + value.len();
    key_value(to, field, key, any);
    bytes(to, 1, value.as_bytes());
}

/// A `KeyValue` with a whole number as field `field`.
pub(crate) fn int_attribute(to: &mut Vec<u8>, field: u64, key: &str, value: i64) {
    // Protobuf's int64: two's complement as an unsigned varint.
    let value = u64::from_le_bytes(value.to_le_bytes());
    let bits = u64::BITS - (value | 1).leading_zeros();
    key_value(to, field, key, 1 + usize::try_from(bits.div_ceil(7)).unwrap_or(10));
    tag(to, 3, VARINT);
    varint(to, value);
}

/// A `KeyValue` with a truth value as field `field`.
pub(crate) fn bool_attribute(to: &mut Vec<u8>, field: u64, key: &str, value: bool) {
    key_value(to, field, key, 2);
    tag(to, 2, VARINT);
    varint(to, u64::from(value));
}

/// A `KeyValue` with a floating point number as field `field`.
pub(crate) fn double_attribute(to: &mut Vec<u8>, field: u64, key: &str, value: f64) {
    key_value(to, field, key, 9);
    fixed64(to, 4, value.to_bits());
}

/// The head of a `KeyValue` whose `AnyValue` of `any` bytes follows.
fn key_value(to: &mut Vec<u8>, field: u64, key: &str, any: usize) {
    tag(to, field, LENGTH);
    length(to, 1 + varint_length(key.len()) + key.len() + 1 + varint_length(any) + any);
    bytes(to, 1, key.as_bytes());
    tag(to, 2, LENGTH);
    length(to, any);
}

/// Attributes as they stand in a span, encoded ahead of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes(pub(crate) Vec<u8>);

impl Attributes {
    pub(crate) const SPAN_FIELD: u64 = 9;

    pub(crate) fn text(mut self, key: &str, value: &str) -> Self {
        text_attribute(&mut self.0, Self::SPAN_FIELD, key, value);
        self
    }

    pub(crate) fn int(mut self, key: &str, value: i64) -> Self {
        int_attribute(&mut self.0, Self::SPAN_FIELD, key, value);
        self
    }
}

/// Name and kind of a span, encoded ahead of it.
pub(crate) fn name_and_kind(to: &mut Vec<u8>, name: &str, kind: Kind) {
    bytes(to, 5, name.as_bytes());
    tag(to, 6, VARINT);
    varint(to, kind as u64);
}

pub(crate) fn head(to: &mut Vec<u8>, head: &SpanHead) {
    bytes(to, 1, &head.trace.trace_id);
    bytes(to, 2, &head.trace.span_id);
    if let Some(parent) = &head.parent {
        bytes(to, 4, parent);
    }
    fixed64(to, 7, head.start_unix_nanos);
    fixed64(to, 8, head.end_unix_nanos);
    let remote = if head.parent.is_some() && head.parent_is_remote { PARENT_REMOTE_FLAG } else { 0 };
    fixed32(to, 16, u32::from(head.trace.sampled) | PARENT_KNOWN_FLAG | remote);
}

/// An event without attributes but a reason.
pub(crate) fn event(to: &mut Vec<u8>, unix_nanos: u64, name: &str, reason: &str) {
    let mut event = Vec::with_capacity(64);
    fixed64(&mut event, 1, unix_nanos);
    bytes(&mut event, 2, name.as_bytes());
    text_attribute(&mut event, 3, "sekat.reason", reason);
    bytes(to, 11, &event);
}

pub(crate) fn link(to: &mut Vec<u8>, cause: TraceContext) {
    let mut link = Vec::with_capacity(48);
    bytes(&mut link, 1, &cause.trace_id);
    bytes(&mut link, 2, &cause.span_id);
    fixed32(&mut link, 6, u32::from(cause.sampled) | PARENT_KNOWN_FLAG | PARENT_REMOTE_FLAG);
    bytes(to, 13, &link);
}

/// `Status{code: ERROR}`, without a message: messages could hold what must not be here.
pub(crate) fn error_status(to: &mut Vec<u8>) {
    bytes(to, 15, &[3 << 3, 2]);
}

/// The `Resource` of a process, as field 1 of `ResourceSpans`.
pub(crate) fn resource(attributes: &[(&str, &str)]) -> Vec<u8> {
    let mut resource = Vec::new();
    for (key, value) in attributes {
        text_attribute(&mut resource, 1, key, value);
    }
    let mut field = Vec::new();
    bytes(&mut field, 1, &resource);
    field
}

/// Field 2 of `ScopeSpans`, repeated: one encoded span.
pub(crate) fn push_span(to: &mut Vec<u8>, span: &[u8]) {
    bytes(to, 2, span);
}

/// A whole `ExportTraceServiceRequest`, which on the wire is also a `TracesData`. `recorded` and `dropped` count the
/// process's spans since its start: who reads the file can tell a gap from silence.
pub(crate) fn export_request(resource: &[u8], spans: &[u8], recorded: u64, dropped: u64) -> Vec<u8> {
    let mut scope = Vec::with_capacity(128);
    bytes(&mut scope, 1, env!("CARGO_PKG_NAME").as_bytes());
    bytes(&mut scope, 2, env!("CARGO_PKG_VERSION").as_bytes());
    int_attribute(&mut scope, 3, "sekat.spans.recorded", i64::try_from(recorded).unwrap_or(i64::MAX));
    int_attribute(&mut scope, 3, "sekat.spans.dropped", i64::try_from(dropped).unwrap_or(i64::MAX));
    let mut scope_field = Vec::with_capacity(scope.len() + 4);
    bytes(&mut scope_field, 1, &scope);

    let scope_spans = scope_field.len() + spans.len();
    let resource_spans = resource.len() + 1 + varint_length(scope_spans) + scope_spans;
    let mut request = Vec::with_capacity(resource_spans + 8);
    tag(&mut request, 1, LENGTH);
    length(&mut request, resource_spans);
    request.extend_from_slice(resource);
    tag(&mut request, 2, LENGTH);
    length(&mut request, scope_spans);
    request.extend_from_slice(&scope_field);
    request.extend_from_slice(spans);
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use prost::Message as _;

    #[test]
    fn a_request_decodes_with_the_official_types() {
        let cause = TraceContext::root(true);
        let trace = TraceContext::root(true);
        let attributes = Attributes::default().text("a", &"x".repeat(300)).int("b", -7).int("c", 1 << 40);
        let mut span = Vec::new();
        name_and_kind(&mut span, "sekat.X/Y", Kind::Server);
        let parent = Some([9; 8]);
        head(&mut span, &SpanHead { trace, parent, parent_is_remote: true, start_unix_nanos: 5, end_unix_nanos: 9 });
        span.extend_from_slice(&attributes.0);
        bool_attribute(&mut span, Attributes::SPAN_FIELD, "d", true);
        double_attribute(&mut span, Attributes::SPAN_FIELD, "e", 0.5);
        event(&mut span, 6, "sekat.refused", "POLICY_DENIED");
        link(&mut span, cause);
        error_status(&mut span);
        let mut spans = Vec::new();
        push_span(&mut spans, &span);
        let request = export_request(&resource(&[("service.name", "order")]), &spans, 12, 3);

        let decoded = ExportTraceServiceRequest::decode(request.as_slice()).unwrap();
        let resource_spans = &decoded.resource_spans[0];
        assert_eq!(resource_spans.resource.as_ref().unwrap().attributes[0].key, "service.name");
        let scope = resource_spans.scope_spans[0].scope.as_ref().unwrap();
        let dropped = scope.attributes.iter().find(|kv| kv.key == "sekat.spans.dropped").unwrap();
        assert_eq!(dropped.value.as_ref().unwrap().value, Some(Value::IntValue(3)));
        let span = &resource_spans.scope_spans[0].spans[0];
        assert_eq!((span.name.as_str(), span.kind), ("sekat.X/Y", 2));
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano, span.flags), (5, 9, 0x301));
        assert_eq!(span.trace_id, trace.trace_id);
        assert_eq!(span.parent_span_id, [9; 8]);
        let values: Vec<_> =
            span.attributes.iter().map(|kv| kv.value.as_ref().unwrap().value.clone().unwrap()).collect();
        assert_eq!(
            values,
            [
                Value::StringValue("x".repeat(300)),
                Value::IntValue(-7),
                Value::IntValue(1 << 40),
                Value::BoolValue(true),
                Value::DoubleValue(0.5)
            ]
        );
        assert_eq!(span.events[0].name, "sekat.refused");
        assert_eq!(span.links[0].trace_id, cause.trace_id);
        assert_eq!(span.status.as_ref().unwrap().code, 2);
    }

    #[test]
    fn varint_lengths_agree_with_what_is_written() {
        for value in [0, 1, 127, 128, 16_383, 16_384, usize::MAX] {
            let mut to = Vec::new();
            length(&mut to, value);
            assert_eq!(to.len(), varint_length(value), "{value}");
        }
    }
}
