//! Passing calls on: the frames as they came, and of the headers only those that the other side needs. What enters
//! here has already passed the mesh's stack: the method is in the table and the token's signature holds.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::BodyExt as _;
use sekat_mesh::refusal::refuse;
use sekat_mesh::{Channel, Visitor};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use crate::rate::RateLimits;
use crate::session::{Sessions, VERIFY_SESSION};
use crate::upstream::Upstreams;

/// What goes on to the upstream; trace and deadline are the channel's own. Services verify the token themselves.
const REQUEST_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::TE, header::AUTHORIZATION];
/// What comes back: how to read the answer, and the status if that is all of it.
const RESPONSE_HEADERS: [HeaderName; 4] = [header::CONTENT_TYPE, STATUS, MESSAGE, DETAILS];
const TRAILERS: [HeaderName; 3] = [STATUS, MESSAGE, DETAILS];
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// What passes calls on.
#[derive(Debug)]
pub(crate) struct Forwarder {
    pub(crate) upstreams: Upstreams,
    pub(crate) rates: Arc<RateLimits>,
    /// None where tokens name no person whose session account keeps.
    pub(crate) sessions: Option<Sessions>,
}

impl Forwarder {
    /// Answers one call of an end user.
    pub(crate) async fn forward(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        match self.admit(&parts).await {
            Ok(channel) => {
                let Ok(response) = channel.clone().forwarding().oneshot(outbound(parts, body)).await;
                returned(response)
            }
            Err(status) => status.into_http(),
        }
    }

    /// The upstream of a call that may go there now.
    async fn admit(&self, parts: &Parts) -> Result<&Channel, Status> {
        let visitor = parts
            .extensions
            .get::<Visitor>()
            .ok_or_else(|| refuse(Code::Internal, "NO_VISITOR", "the call did not pass the public listener's stack"))?;
        let (route, channel) = self
            .upstreams
            .find(parts.uri.path())
            .ok_or_else(|| refuse(Code::PermissionDenied, "POLICY_DENIED", "the policy does not allow this call"))?;
        check_encoding(&parts.headers)?;
        // Before the session: a flood is not to be passed on to account as questions.
        self.rates.admit(visitor, route)?;
        if let (Some(sessions), Some(token)) = (&self.sessions, parts.headers.get(header::AUTHORIZATION))
            && route.policy.path != VERIFY_SESSION
        {
            sessions.check(token).await?;
        }
        Ok(channel)
    }
}

/// No service takes compressed messages, and without the header that says so none could tell what it has got.
fn check_encoding(headers: &HeaderMap) -> Result<(), Status> {
    const IDENTITY: &str = "identity";
    if headers.get("grpc-encoding").is_none_or(|encoding| encoding == IDENTITY) {
        return Ok(());
    }
    let mut status = refuse(Code::Unimplemented, "COMPRESSION", "send messages without compression");
    status.metadata_mut().insert("grpc-accept-encoding", tonic::metadata::MetadataValue::from_static(IDENTITY));
    Err(status)
}

fn outbound(parts: Parts, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = parts.uri;
    *request.headers_mut() = only(&parts.headers, &REQUEST_HEADERS);
    request
}

fn returned(response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let body = body.map_frame(|frame| match frame.into_trailers() {
        Ok(trailers) => Frame::trailers(only(&trailers, &TRAILERS)),
        Err(data) => data,
    });
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = parts.status;
    *response.headers_mut() = only(&parts.headers, &RESPONSE_HEADERS);
    response
}

/// The first value of each of these headers, and nothing else.
fn only(headers: &HeaderMap<HeaderValue>, kept: &[HeaderName]) -> HeaderMap {
    kept.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect()
}
