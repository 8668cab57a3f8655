//! The decoder against the official types: whatever these encode is read as it was meant, and whatever is broken ends
//! in an error.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource as OfficialResource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link as OfficialLink};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Official, Status};
use proptest::prelude::*;
use prost::Message as _;

use super::*;

/// Writes down what it is told, in words.
#[derive(Default)]
struct Told(Vec<String>);

impl Sink for Told {
    fn span(&mut self, resource: &Resource<'_>, span: &Span<'_>) {
        self.0.push(format!("{resource:?} {span:?}"));
    }

    fn recorded(&mut self, resource: &Resource<'_>, recorded: Recorded) {
        self.0.push(format!("{} {recorded:?}", resource.service));
    }
}

/// The attributes that the audit knows, and some that it does not.
const KEYS: [&str; 8] = [
    "rpc.system",
    "rpc.method",
    "rpc.grpc.status_code",
    "rpc.response.status_code",
    "sekat.peer.id",
    "sekat.audit.seq",
    "db.name",
    "thread.id",
];

fn value() -> impl Strategy<Value = Any> {
    prop_oneof![
        ".{0,40}".prop_map(Any::StringValue),
        any::<i64>().prop_map(Any::IntValue),
        any::<bool>().prop_map(Any::BoolValue),
        any::<f64>().prop_map(Any::DoubleValue),
        Just(Any::ArrayValue(ArrayValue::default())),
    ]
}

fn pair() -> impl Strategy<Value = KeyValue> {
    (prop::sample::select(&KEYS[..]), prop::option::of(value())).prop_map(|(key, value)| KeyValue {
        key: key.to_owned(),
        value: value.map(|value| AnyValue { value: Some(value) }),
        ..KeyValue::default()
    })
}

fn span() -> impl Strategy<Value = Official> {
    let ids = (any::<[u8; 16]>(), any::<[u8; 8]>(), prop::option::of(any::<[u8; 8]>()));
    let rest = (any::<u32>(), ".{0,20}", ".{0,30}", 0..7_i32, any::<u64>(), any::<u64>());
    let lists = (prop::collection::vec(pair(), 0..6), prop::collection::vec(any::<([u8; 16], [u8; 8], u32)>(), 0..3));
    let status = (prop::option::of((0..4_i32, ".{0,10}")), any::<u32>(), any::<u32>());
    (ids, rest, lists, status).prop_map(|(ids, rest, (attributes, links), (status, lost, unlinked))| Official {
        trace_id: ids.0.to_vec(),
        span_id: ids.1.to_vec(),
        parent_span_id: ids.2.map(Vec::from).unwrap_or_default(),
        flags: rest.0,
        trace_state: rest.1,
        name: rest.2,
        kind: rest.3,
        start_time_unix_nano: rest.4,
        end_time_unix_nano: rest.5,
        attributes,
        dropped_attributes_count: lost,
        events: vec![Event { name: "skipped".to_owned(), ..Event::default() }],
        links: links
            .into_iter()
            .map(|(trace, span, flags)| OfficialLink {
                trace_id: trace.to_vec(),
                span_id: span.to_vec(),
                flags,
                ..OfficialLink::default()
            })
            .collect(),
        dropped_links_count: unlinked,
        status: status.map(|(code, message)| Status { code, message }),
        ..Official::default()
    })
}

fn attribute_of(pair: &KeyValue) -> Value<'_> {
    match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => Value::Text(text),
        Some(Any::IntValue(number)) => Value::Int(*number),
        _ => Value::Other,
    }
}

/// What the official span means, built field by field.
fn expected(resource: &Resource<'_>, official: &Official) -> String {
    let links: Vec<Link> = official
        .links
        .iter()
        .map(|link| Link {
            trace_id: link.trace_id.as_slice().try_into().unwrap(),
            span_id: link.span_id.as_slice().try_into().unwrap(),
            flags: link.flags,
        })
        .collect();
    let mut attributes = Attributes::default();
    for pair in &official.attributes {
        attributes.set(pair.key.as_bytes(), attribute_of(pair));
    }
    let status = official.status.clone().unwrap_or_default();
    let span = Span {
        trace_id: official.trace_id.as_slice().try_into().unwrap(),
        span_id: official.span_id.as_slice().try_into().unwrap(),
        parent_id: official.parent_span_id.as_slice().try_into().unwrap_or_default(),
        flags: official.flags,
        trace_state: &official.trace_state,
        name: &official.name,
        kind: Kind::of_number(u64::try_from(official.kind).unwrap()),
        start_ns: official.start_time_unix_nano,
        end_ns: official.end_time_unix_nano,
        failed: status.code == 2,
        status_message: &status.message,
        dropped_attributes: official.dropped_attributes_count,
        dropped_links: official.dropped_links_count,
        links: &links,
        attributes,
    };
    format!("{resource:?} {span:?}")
}

fn request(spans: Vec<Official>) -> ExportTraceServiceRequest {
    let text = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    };
    let number = |key: &str, value| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Any::IntValue(value)) }),
        ..KeyValue::default()
    };
    let scope = InstrumentationScope {
        attributes: vec![number("sekat.spans.recorded", 7), number("sekat.spans.dropped", 2)],
        ..InstrumentationScope::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(OfficialResource {
                attributes: vec![text("service.name", "order"), text("service.instance.id", "order-1")],
                ..OfficialResource::default()
            }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

proptest! {
    #[test]
    fn every_span_is_read_as_the_official_types_mean_it(spans in prop::collection::vec(span(), 0..4)) {
        let exporter = "spiffe://d/order";
        let resource = Resource { service: "order", instance: "order-1", exporter, ..Resource::default() };
        let mut wanted = vec![format!("order {:?}", Recorded { recorded: Some(7), dropped: Some(2) })];
        wanted.extend(spans.iter().map(|span| expected(&resource, span)));
        let encoded = request(spans).encode_to_vec();
        let mut told = Told::default();
        let count = decode(&encoded, exporter, &mut told).unwrap();
        prop_assert_eq!(usize::try_from(count).unwrap() + 1, told.0.len());
        prop_assert_eq!(told.0, wanted);
    }

    #[test]
    fn broken_bytes_never_panic(spans in prop::collection::vec(span(), 1..3), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut encoded = request(spans).encode_to_vec();
        let place = at.index(encoded.len());
        encoded[place] = to;
        let _ = decode(&encoded, "", &mut Told::default());
        encoded.truncate(place);
        let _ = decode(&encoded, "", &mut Told::default());
    }
}

#[test]
fn a_resource_may_stand_behind_its_spans() {
    let encoded = request(vec![Official { trace_id: vec![1; 16], span_id: vec![2; 8], ..Official::default() }]);
    let whole = encoded.resource_spans[0].clone();
    let (mut first, mut second) = (whole.clone(), whole);
    first.resource = None;
    second.scope_spans.clear();
    let mut swapped = first.encode_to_vec();
    swapped.extend(second.encode_to_vec());
    let mut message = vec![10];
    prost::encoding::encode_varint(swapped.len().try_into().unwrap(), &mut message);
    message.extend(swapped);
    let mut told = Told::default();
    assert_eq!(decode(&message, "", &mut told), Ok(1));
    assert!(told.0[1].contains("service: \"order\""), "{:?}", told.0);
}

#[test]
fn an_id_of_the_wrong_length_is_an_error() {
    for (trace, span) in [(15, 8), (16, 7), (0, 8)] {
        let encoded =
            request(vec![Official { trace_id: vec![1; trace], span_id: vec![2; span], ..Official::default() }]);
        // An empty field is not written: such a span has an id of zeros, which the audit does not accept either.
        let decoded = decode(&encoded.encode_to_vec(), "", &mut Told::default());
        assert_eq!(decoded.is_err(), trace != 0, "{trace} {span}");
    }
}
