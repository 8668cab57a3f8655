//! What goes over a connection and comes back: bodies that can be sent again, answers gathered whole, and failures
//! told apart by whether the callee may have seen the call.

use std::error::Error as _;
use std::pin::Pin;
use std::task::{Context as Waker, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::limits::too_large;
use crate::received::Copied;
use crate::refusal::refuse;
use crate::reply::status_code;

/// The five bytes before a gRPC message.
const PREFIX_BYTES: usize = 5;

/// The body of a request.
pub(super) enum SendBody {
    /// One message, whole, with its prefix.
    Message(Option<Bytes>),
    /// Of a method that no contract knows.
    Stream(Body),
}

impl http_body::Body for SendBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match &mut *self {
            Self::Message(message) => Poll::Ready(message.take().map(|message| Ok(Frame::data(message)))),
            Self::Stream(body) => Pin::new(body).poll_frame(waker),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Message(message) => message.is_none(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            // Without a length: gRPC has its own.
            Self::Message(_) => SizeHint::default(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// The body of a response; a connection that breaks is UNAVAILABLE.
pub(super) struct Received(pub(super) Incoming);

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(waker));
        Poll::Ready(frame.map(|frame| frame.map_err(|error| broken(&error))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

/// An attempt that ended with a response.
pub(super) enum Answer {
    /// All of it.
    Whole(Gathered),
    /// A stream that has begun.
    Open(Response<Copied<Received>>),
}

/// A body that was read to its end.
pub(super) struct Message {
    data: Bytes,
    trailers: Option<HeaderMap>,
}

impl Message {
    pub(super) fn into_data(self) -> Bytes {
        self.data
    }
}

/// Reads a body of one message to its end.
///
/// # Errors
/// `RESOURCE_EXHAUSTED` beyond `most` bytes, or what the body fails with.
pub(super) async fn gather<B>(mut body: B, most: usize) -> Result<Message, Status>
where
    B: http_body::Body<Data = Bytes, Error = Status> + Unpin,
{
    let (mut first, mut rest, mut trailers) = (Bytes::new(), BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if first.is_empty() => first = data,
            Ok(data) => {
                if rest.is_empty() {
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
        if first.len().max(rest.len()) > most + PREFIX_BYTES {
            return Err(too_large(most));
        }
    }
    // One frame, the usual case, is not copied.
    let data = if rest.is_empty() { first } else { rest.freeze() };
    Ok(Message { data, trailers })
}

/// A whole response.
pub(super) struct Gathered {
    parts: Parts,
    message: Message,
    code: Code,
}

impl Gathered {
    pub(super) fn new(mut parts: Parts, mut message: Message) -> Self {
        let headers = message.trailers.as_mut().filter(|trailers| trailers.contains_key(Status::GRPC_STATUS));
        let headers = headers.unwrap_or(&mut parts.headers);
        if !details_are_base64(headers) {
            // tonic would not survive them.
            headers.remove(Status::GRPC_STATUS_DETAILS);
        }
        let code = status_code(headers).unwrap_or_else(|| code_of_http(parts.status));
        Self { parts, message, code }
    }

    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// The status with its details; none if the response holds none.
    pub(super) fn status(&self) -> Option<Status> {
        let trailers = self.message.trailers.as_ref();
        trailers.and_then(Status::from_header_map).or_else(|| Status::from_header_map(&self.parts.headers))
    }

    /// The `ErrorInfo.reason` of a refusal.
    pub(super) fn reason(&self) -> Option<String> {
        self.status().as_ref().and_then(crate::refusal::reason)
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let body =
            Whole { data: Some(self.message.data).filter(|data| !data.is_empty()), trailers: self.message.trailers };
        Response::from_parts(self.parts, Body::new(body))
    }
}

/// Whether the status details, if there are any, are what gRPC says: base64, padded or not.
fn details_are_base64(headers: &HeaderMap) -> bool {
    headers.get(Status::GRPC_STATUS_DETAILS).is_none_or(|value| {
        let digits = value.as_bytes();
        let padding = digits.iter().rev().take_while(|byte| **byte == b'=').count();
        let digits = digits.get(..digits.len() - padding).unwrap_or_default();
        let alphabet = digits.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'+' || *byte == b'/');
        alphabet && padding <= 2 && digits.len() % 4 != 1
    })
}

/// A whole response's body.
struct Whole {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Waker<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let data = self.data.take().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }
}

/// An attempt without a response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The callee has not seen the call: it may be made again, whatever it does.
    Unsent(Status),
    /// The callee may have seen it.
    Sent(Status),
}

impl Failure {
    /// No address can be reached now.
    pub(super) fn unreachable() -> Self {
        Self::Sent(refuse(Code::Unavailable, "UNREACHABLE", "no address of the workload can be reached"))
    }

    pub(super) fn unsent() -> Self {
        Self::Unsent(refuse(Code::Unavailable, "UNREACHABLE", "no connection"))
    }

    pub(super) fn of_send(error: TrySendError<Request<SendBody>>) -> Self {
        let unsent = error.message().is_some() || is_refused(error.error());
        let status = broken(error.error());
        if unsent { Self::Unsent(status) } else { Self::Sent(status) }
    }

    pub(super) fn status(&self) -> &Status {
        let (Self::Unsent(status) | Self::Sent(status)) = self;
        status
    }

    pub(super) fn into_status(self) -> Status {
        let (Self::Unsent(status) | Self::Sent(status)) = self;
        status
    }
}

/// Whether the callee states that it did not look at the call: REFUSED_STREAM, or a GOAWAY that did not reach it
/// (RFC 9113, sections 6.8 and 8.7).
fn is_refused(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|error| {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let going_away = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        error.is_remote() && (refused || going_away)
    })
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

/// The status of a call whose connection or stream broke: the reset's own meaning (gRPC over HTTP/2, "Errors"), else
/// UNAVAILABLE.
fn broken(error: &hyper::Error) -> Status {
    // A body of ours that failed says itself why.
    if let Some(status) = error.source().and_then(|cause| cause.downcast_ref::<Status>()) {
        return status.clone();
    }
    let reset = h2_error(error).filter(|error| error.is_reset()).and_then(h2::Error::reason);
    let code = match reset {
        Some(h2::Reason::CANCEL) => Code::Cancelled,
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(h2::Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        Some(
            h2::Reason::PROTOCOL_ERROR
            | h2::Reason::INTERNAL_ERROR
            | h2::Reason::FLOW_CONTROL_ERROR
            | h2::Reason::FRAME_SIZE_ERROR
            | h2::Reason::COMPRESSION_ERROR,
        ) => Code::Internal,
        _ => Code::Unavailable,
    };
    refuse(code, "CONNECTION_BROKEN", "the connection broke during the call")
}

/// The gRPC status of an HTTP status without one (gRPC over HTTP/2, "HTTP to gRPC Status Code Mapping").
fn code_of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_base64_details_reach_tonic() {
        let headers = |value: &'static str| {
            HeaderMap::from_iter([(Status::GRPC_STATUS_DETAILS, http::HeaderValue::from_static(value))])
        };
        for good in ["", "aGVsbG8", "aGVsbG8=", "ab==", "abcd"] {
            assert!(details_are_base64(&headers(good)), "{good}");
        }
        for bad in ["a", "ab=d", "a*cd", "abc===", "====="] {
            assert!(!details_are_base64(&headers(bad)), "{bad}");
        }
        assert!(details_are_base64(&HeaderMap::new()));
    }
}
