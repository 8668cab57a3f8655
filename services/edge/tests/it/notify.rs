//! Notifications of payment providers: what goes on to payment, and what the provider is told.

use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Bytes;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use sekat_mesh::refusal::refuse;
use tonic::Code;

use crate::harness::{Edge, Seen, World, empty, refused};

const PATH: &str = "/v1.0/transfer-va/payment";
const BODY: &str = r#"{"trxId":"order-1","paidAmount":{"value":"25000.00","currency":"IDR"}}"#;

fn notification() -> http::request::Builder {
    Request::post(PATH)
        .header(header::HOST, "localhost")
        .header("content-type", "application/json")
        .header("x-timestamp", "2026-11-22T10:00:00+07:00")
        .header("x-signature", "c2lnbmF0dXJl")
        .header("x-partner-id", "sekat")
        .header("x-external-id", "4711")
        .header("channel-id", "95231")
}

async fn send(edge: &Edge, request: http::request::Builder, body: impl Into<Bytes>) -> Response<Bytes> {
    edge.http1(request.body(Full::new(body.into())).unwrap()).await
}

/// A call's message, read with the contract's own descriptor.
fn decoded(call: &Seen) -> DynamicMessage {
    let proto = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let pool = DescriptorPool::decode(sekat_contract::image(&proto).unwrap().as_slice()).unwrap();
    let message = pool.get_message_by_name("sekat.payment.v1.IngestNotificationRequest").unwrap();
    assert_eq!(message.fields().len(), 6, "the contract has a field that the edge does not send");
    let message = DynamicMessage::decode(message, call.body.slice(5..)).unwrap();
    assert_eq!(message.unknown_fields().count(), 0);
    message
}

#[tokio::test]
async fn a_notification_goes_on_as_it_came() {
    let world = World::new();
    let payment = world.upstream("notify-ingress", "payment", empty).await;
    let edge = world.edge("notify-ingress", &[&payment], &[]).await;
    let request = || notification().header("cookie", "a=b").header("x-forwarded-for", "192.0.2.1");
    let response = send(&edge, request(), BODY).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(response.body(), r#"{"responseCode":"2002500","responseMessage":"Successful"}"#);

    send(&edge, request(), BODY).await;
    send(&edge, notification(), "{}").await;
    let calls: Vec<_> = payment.seen().iter().map(decoded).collect();
    let text = |call: usize, name: &str| calls[call].get_field_by_name(name).unwrap().as_str().unwrap().to_owned();
    for (name, value) in [("channel", "bca"), ("http_method", "POST"), ("path", PATH)] {
        assert_eq!(text(0, name), value);
    }
    let body = calls[0].get_field_by_name("body").unwrap();
    assert_eq!(body.as_bytes().unwrap(), BODY);
    let headers = calls[0].get_field_by_name("headers").unwrap();
    let field = |header: &Value, name| {
        header.as_message().unwrap().get_field_by_name(name).unwrap().as_str().unwrap().to_owned()
    };
    let headers: Vec<_> =
        headers.as_list().unwrap().iter().map(|header| (field(header, "name"), field(header, "value"))).collect();
    let expected = [
        ("x-timestamp", "2026-11-22T10:00:00+07:00"),
        ("x-signature", "c2lnbmF0dXJl"),
        ("x-partner-id", "sekat"),
        ("x-external-id", "4711"),
        ("channel-id", "95231"),
        ("content-type", "application/json"),
    ];
    assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let ids = [0, 1, 2].map(|call| text(call, "request_id"));
    assert_eq!(ids[0].len(), 64);
    assert!(ids[0] == ids[1] && ids[0] != ids[2], "the same for the same request only: {ids:?}");

    edge.mesh.flush().await;
    payment.mesh.flush().await;
    let spans = world.spans();
    let roots: Vec<_> = spans.iter().filter(|span| span.parent_span_id.is_empty()).collect();
    assert!(roots.iter().all(|span| span.name == format!("POST {PATH}") && span.kind() == SpanKind::Server));
    assert_eq!((roots.len(), spans.len()), (3, 9), "a trace each: taken in, passed on, received");
}

#[tokio::test]
async fn the_bank_is_told_what_to_make_of_each_outcome() {
    let world = World::new();
    // The script answers with the code that the body names.
    let script = |call: &Seen| {
        let code = Code::from_bytes(decoded(call).get_field_by_name("body").unwrap().as_bytes().unwrap());
        if code == Code::Ok { empty(call) } else { refused(&refuse(code, "SCRIPTED", "as the test says")) }
    };
    let payment = world.upstream("notify-ingress", "payment", script).await;
    let edge = world.edge("notify-ingress", &[&payment], &[]).await;
    for (code, status, snap) in [
        (Code::Ok, 200, "2002500"),
        (Code::InvalidArgument, 400, "4002500"),
        (Code::Unauthenticated, 401, "4012500"),
        (Code::ResourceExhausted, 429, "4292500"),
        (Code::Unavailable, 503, "5032500"),
        (Code::DeadlineExceeded, 504, "5042500"),
        (Code::Internal, 500, "5002500"),
        (Code::PermissionDenied, 500, "5002500"),
        (Code::NotFound, 500, "5002500"),
    ] {
        let response = send(&edge, notification(), (code as i32).to_string()).await;
        assert_eq!(response.status(), status, "{code:?}");
        let text = String::from_utf8_lossy(response.body());
        assert!(text.starts_with(&format!(r#"{{"responseCode":"{snap}""#)), "{text}");
    }
}

#[tokio::test]
async fn what_is_no_notification_gets_no_further() {
    let world = World::new();
    let payment = world.upstream("notify-ingress", "payment", empty).await;
    let edge = world.edge("notify-ingress", &[&payment], &[]).await;
    let at = |method: &str, path: &str| Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    for (request, status) in [
        (at("POST", "/"), 404),
        (at("POST", "/v1.0/transfer-va/payment/"), 404),
        (at("POST", "/sekat.payment.v1.NotificationService/IngestNotification"), 404),
        (at("GET", PATH), 404),
        (at("PUT", PATH), 404),
        (notification().header("x-signature", "another"), 400),
        (notification().header("x-timestamp", "\u{e9}"), 400),
    ] {
        assert_eq!(send(&edge, request, BODY).await.status(), status);
    }
    let long = notification().header("x-other", "y".repeat(3_000));
    assert_eq!(send(&edge, long, BODY).await.status(), 200, "only what is passed on is measured");
    let too_large = send(&edge, notification(), vec![b'x'; 64 * 1024 + 1]).await;
    assert_eq!(too_large.status(), 400);
    assert_eq!(payment.seen().len(), 1);
}

#[tokio::test]
async fn while_payment_is_away_the_bank_is_asked_to_come_again() {
    let world = World::new();
    let edge = world.edge("notify-ingress", &[], &[]).await;
    assert_eq!(send(&edge, notification(), BODY).await.status(), 503);
}
