//! Plain HTTPS for webhooks: what the stack does for gRPC, as far as it applies, around an axum router.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use crate::context::{self, Context, OpenSpan, TraceContext};
use crate::limits::{OVERLOAD_RETRY, Slots};
use crate::mesh::Mesh;
use crate::telemetry::otlp::{self, Attributes, Kind, SpanHead};
use crate::telemetry::recorder::Beginning;
use crate::telemetry::{Sampler, Telemetry};

/// One request's body, in bytes: a notification is 2 KiB.
const BODY_BYTES: usize = 64 * 1024;
/// For one request: providers wait about as long before they send again.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Guard {
    telemetry: Arc<Telemetry>,
    sampler: Sampler,
    in_flight: Arc<Slots>,
}

/// Puts tracing, the deadline and the limits around all routes.
pub(crate) fn guard(router: axum::Router, mesh: &Mesh, max_in_flight: usize) -> axum::Router {
    let guard = Guard {
        telemetry: Arc::clone(mesh.telemetry()),
        sampler: mesh.sampler(),
        in_flight: Slots::new(max_in_flight),
    };
    router.layer(DefaultBodyLimit::max(BODY_BYTES)).layer(from_fn_with_state(guard, serve))
}

async fn serve(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let begun = Beginning::now();
    let stated =
        request.headers().get("traceparent").and_then(|value| TraceContext::from_traceparent(value.as_bytes()));
    let trace = stated.map_or_else(|| TraceContext::root(true), TraceContext::child);
    let trace = TraceContext { sampled: guard.sampler.samples(trace.trace_id), ..trace };
    // The route as the program states it, never the path as the caller does: that could hold anything.
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = request.method().clone();
    let span = OpenSpan::new(trace, true);
    let deadline = Instant::now() + TIMEOUT;
    let context = Context::of_call(Some(deadline), Arc::clone(&span));
    let response = match guard.in_flight.take() {
        None => retry_later(),
        Some(_slot) => {
            let work = context::scope(context, next.run(request));
            tokio::time::timeout_at(deadline.into(), work)
                .await
                .unwrap_or_else(|_| StatusCode::GATEWAY_TIMEOUT.into_response())
        }
    };
    if trace.sampled {
        guard.telemetry.recorder.record(|to| {
            let route = route.as_deref().unwrap_or("_OTHER");
            otlp::name_and_kind(to, &format!("{method} {route}"), Kind::Server);
            let parent = stated.map(|stated| stated.span_id);
            let (start, end) = (begun.unix_nanos(), begun.end_unix_nanos());
            otlp::head(
                to,
                &SpanHead { trace, parent, parent_is_remote: true, start_unix_nanos: start, end_unix_nanos: end },
            );
            let attributes = Attributes::default()
                .text("http.request.method", method.as_str())
                .text("http.route", route)
                .int("http.response.status_code", i64::from(response.status().as_u16()));
            to.extend_from_slice(&attributes.0);
            for cause in span.take_links() {
                otlp::link(to, cause);
            }
            if response.status().is_server_error() {
                otlp::error_status(to);
            }
        });
    }
    response
}

fn retry_later() -> Response {
    let seconds = OVERLOAD_RETRY.as_secs().max(1).to_string();
    (StatusCode::SERVICE_UNAVAILABLE, [(http::header::RETRY_AFTER, seconds)]).into_response()
}
