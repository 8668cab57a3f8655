//! Browsers: which pages may call, by gRPC-Web, and how a browser asks before it does.

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;

use crate::harness::{Edge, GET_PRODUCT, REQUEST, World, ok};

const SHOP: &str = "https://shop.example";
const ELSEWHERE: &str = "https://elsewhere.example";

/// What a browser does before a page of `origin` calls.
async fn preflight(edge: &Edge, origin: &str) -> Response<Bytes> {
    let asked = Request::builder().method(Method::OPTIONS).uri(GET_PRODUCT).header(header::HOST, "localhost");
    let asked = asked
        .header(header::ORIGIN, origin)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type,x-grpc-web");
    edge.http1(asked.body(Full::default()).unwrap()).await
}

/// A page's call; programs that are no browsers send no origin.
async fn call(edge: &Edge, origin: Option<&str>) -> Response<Bytes> {
    let call = Request::post(GET_PRODUCT)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/grpc-web+proto");
    let call = origin.into_iter().fold(call, |call, origin| call.header(header::ORIGIN, origin));
    edge.http1(call.body(Full::new(Bytes::from_static(REQUEST))).unwrap()).await
}

fn cors(headers: &HeaderMap) -> Vec<&str> {
    let names = headers.keys().map(http::HeaderName::as_str);
    names.filter(|name| name.starts_with("access-control-") || *name == "vary").collect()
}

fn is_answered(response: &Response<Bytes>) -> bool {
    String::from_utf8_lossy(response.body()).contains("grpc-status:0")
}

#[tokio::test]
async fn pages_of_an_allowed_origin_may_call_and_no_others() {
    let world = World::new();
    let catalog = world.upstream("commerce-edge", "catalog", ok).await;
    let allowed = [("SEKAT_WEB_ORIGINS", "https://admin.example, https://shop.example")];
    let edge = world.edge("commerce-edge", &[&catalog], &allowed).await;

    let asked = preflight(&edge, SHOP).await;
    assert_eq!(asked.status(), StatusCode::NO_CONTENT);
    assert_eq!(asked.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], SHOP);
    assert_eq!(asked.headers()[header::ACCESS_CONTROL_ALLOW_METHODS], "POST");
    let headers = asked.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
    for header in ["authorization", "content-type", "grpc-timeout", "x-grpc-web"] {
        assert!(headers.split(',').any(|name| name == header), "{header} in {headers}");
    }
    assert!(catalog.seen().is_empty(), "the question is no call");
    let answer = call(&edge, Some(SHOP)).await;
    assert!(is_answered(&answer), "{answer:?}");
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], SHOP);
    assert_eq!(answer.headers()[header::VARY], "origin");

    let refused = preflight(&edge, ELSEWHERE).await;
    assert!(!refused.status().is_success() && cors(refused.headers()).is_empty(), "{refused:?}");
    assert!(cors(call(&edge, Some(ELSEWHERE)).await.headers()).is_empty(), "the page may not read it");
    assert!(cors(call(&edge, None).await.headers()).is_empty(), "no browser asked");
}

#[tokio::test]
async fn without_the_setting_no_page_may_call_and_programs_may() {
    let world = World::new();
    let catalog = world.upstream("commerce-edge", "catalog", ok).await;
    let edge = world.edge("commerce-edge", &[&catalog], &[]).await;
    let refused = preflight(&edge, SHOP).await;
    assert!(!refused.status().is_success() && cors(refused.headers()).is_empty(), "{refused:?}");
    assert!(cors(call(&edge, Some(SHOP)).await.headers()).is_empty());
    assert!(is_answered(&call(&edge, None).await));
}
