//! Which web pages may call a public listener from a browser: the CORS protocol of the Fetch standard. Without allowed
//! origins nothing is different from a listener that never heard of browsers.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use tonic::body::Body;

use crate::env::FromEnv;

/// What a gRPC-Web client sends beyond what browsers always may.
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization,content-type,grpc-timeout,traceparent,x-grpc-web,x-user-agent");
/// Where a refusal stands that has no message: pages may not read other headers.
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static("grpc-status,grpc-message,grpc-status-details-bin");
/// In seconds, for which a browser asks once. None keeps an answer for longer than two hours.
const ANSWER_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The origins whose pages may call, as browsers spell them; none by default. Cookies play no part: who calls is told
/// by a token that the page has to hold.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<[HeaderValue]>);

impl Origins {
    /// The origin of a request, if it is allowed.
    pub(crate) fn allowed<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        let origin = request.headers().get(header::ORIGIN)?;
        self.0.iter().find(|allowed| *allowed == origin).cloned()
    }
}

impl FromEnv for Origins {
    const EXPECTED: &'static str = "origins such as https://shop.example, separated by commas";

    fn from_env(text: &str) -> Option<Self> {
        text.split(',').map(|origin| parse(origin.trim())).collect::<Option<_>>().map(Self)
    }

    fn placeholder() -> Self {
        Self::default()
    }
}

/// Scheme, host and maybe a port, in lower case and without a slash at the end, for browsers send nothing else.
fn parse(text: &str) -> Option<HeaderValue> {
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let origin = format!("{scheme}://{}", authority.as_str().to_ascii_lowercase());
    if origin == text { HeaderValue::from_str(text).ok() } else { None }
}

/// Whether a browser asks if its page may call, before it does.
pub(crate) fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer for a page of an allowed origin: it may call.
pub(crate) fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, ANSWER_AGE);
    response
}

/// Lets the page read a response.
pub(crate) fn expose(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send_and_nothing_else() {
        for good in ["https://shop.example", "http://localhost:3000", "https://a.example, https://b.example:8443"] {
            assert!(Origins::from_env(good).is_some(), "{good}");
        }
        for bad in ["*", "null", "shop.example", "https://shop.example/", "https://Shop.example", "ftp://a.example"] {
            assert!(Origins::from_env(bad).is_none(), "{bad}");
        }
        for bad in ["https://user@shop.example", "https://shop.example,", "https://a.example/page", "https://"] {
            assert!(Origins::from_env(bad).is_none(), "{bad}");
        }
    }
}
