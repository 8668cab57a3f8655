//! Payment providers' notifications: SNAP BI's service 25, "payment" of a virtual account, as BCA calls it. The
//! request goes on as it came: only the connector can tell whether its signature holds.

use std::fmt::Write as _;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode, header};
use ring::digest::{Context, SHA256};
use sekat_mesh::{ConfigError, refusal};
use tonic::{Code, Request};

use crate::upstream::{Method, Upstreams};

/// The path of service 25.
const PATH: &str = "/v1.0/transfer-va/payment";
/// The provider that calls it.
const CHANNEL: &str = "bca";
const INGEST: &str = "/sekat.payment.v1.NotificationService/IngestNotification";
/// The headers that SNAP BI names; a signature can cover them and no others. They go on in this order.
const HEADERS: [&str; 6] =
    ["x-timestamp", "x-signature", "x-partner-id", "x-external-id", "channel-id", "content-type"];
/// The longest of them, the signature of the largest RSA key in use (8,192 bits) in base64, has 1,368.
const HEADER_BYTES: usize = 2_048;

/// `sekat.payment.v1.IngestNotificationRequest`, as far as its numbers go: an edge links no API crate. A test
/// compares it with the contract.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct Notification {
    #[prost(string, tag = "1")]
    channel: String,
    #[prost(string, tag = "2")]
    http_method: String,
    #[prost(string, tag = "3")]
    path: String,
    #[prost(message, repeated, tag = "4")]
    headers: Vec<NotificationHeader>,
    #[prost(bytes = "bytes", tag = "5")]
    body: Bytes,
    #[prost(string, tag = "6")]
    request_id: String,
}

/// `sekat.payment.v1.NotificationHeader`.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct NotificationHeader {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// The one route that providers call. All else is not found.
///
/// # Errors
/// If payment no longer has the method.
pub(crate) fn router(upstreams: &Upstreams) -> Result<axum::Router, ConfigError> {
    let router = axum::Router::new().route(PATH, post(payment)).with_state(upstreams.own(INGEST)?);
    Ok(router.method_not_allowed_fallback(async || StatusCode::NOT_FOUND))
}

async fn payment(State(ingest): State<Method>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Response {
    let notification = body.ok().and_then(|body| notification(&headers, body));
    let Some(notification) = notification else { return Reply::of(Code::InvalidArgument).into_response() };
    let code = match ingest.call(Request::new(notification)).await {
        Ok(()) => Code::Ok,
        Err(status) => {
            let reason = refusal::reason(&status);
            tracing::warn!(channel = CHANNEL, code = ?status.code(), reason, "a notification was not taken in");
            status.code()
        }
    };
    Reply::of(code).into_response()
}

/// The notification, or nothing if a header is ambiguous or not what HTTP calls text.
fn notification(headers: &HeaderMap, body: Bytes) -> Option<Notification> {
    let mut passed_on = Vec::with_capacity(HEADERS.len());
    for name in HEADERS {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { continue };
        let value = value.to_str().ok().filter(|value| value.len() <= HEADER_BYTES && values.next().is_none())?;
        passed_on.push(NotificationHeader { name: name.to_owned(), value: value.to_owned() });
    }
    let mut notification = Notification {
        channel: CHANNEL.to_owned(),
        http_method: "POST".to_owned(),
        path: PATH.to_owned(),
        headers: passed_on,
        body,
        request_id: String::new(),
    };
    notification.request_id = request_id(&notification);
    Some(notification)
}

/// The SHA-256, in 64 hexadecimal digits, of the body and the headers: the same for the same bytes only, so that a
/// notification that is sent anew, with another time and signature, is judged anew.
fn request_id(notification: &Notification) -> String {
    let mut context = Context::new(&SHA256);
    let headers = notification.headers.iter().flat_map(|header| [header.name.as_bytes(), header.value.as_bytes()]);
    for part in headers.chain([notification.body.as_ref()]) {
        // With lengths between, no two requests have the same text.
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a provider is told: an HTTP status, and SNAP BI's code made of status, service (25) and case. Whatever is not
/// 200 has the provider send the notification again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reply {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
}

impl Reply {
    const fn of(code: Code) -> Self {
        let (status, code, message) = match code {
            Code::Ok => (StatusCode::OK, "2002500", "Successful"),
            Code::InvalidArgument => (StatusCode::BAD_REQUEST, "4002500", "Bad Request"),
            Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "4012500", "Unauthorized. Signature"),
            Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "4292500", "Too Many Requests"),
            Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "5032500", "Service Unavailable"),
            Code::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "5042500", "Timeout"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "5002500", "General Error"),
        };
        Self { status, code, message }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let Self { status, code, message } = self;
        let json = format!(r#"{{"responseCode":"{code}","responseMessage":"{message}"}}"#);
        (status, [(header::CONTENT_TYPE, "application/json")], json).into_response()
    }
}
