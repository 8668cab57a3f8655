//! Clients of one workload: each call carries trace and deadline, goes to the less busy of two addresses, and is
//! repeated as the contract's service config allows and no more.

mod address;
mod balance;
mod endpoint;
mod retry;
mod wire;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Waker, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Request, Response, header};
use sekat_identity::{Source, SpiffeId};
use sekat_policy::{Api, MethodKind, MethodPolicy};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;

pub(crate) use address::Addresses;
use balance::Balancer;
use retry::{Budget, RetryPolicy, ServiceConfig};
use wire::{Answer, Failure, Gathered, SendBody, gather};

use crate::context::{self, TraceContext};
use crate::deadline::{self, Deadline, GRPC_TIMEOUT};
use crate::limits::{MESSAGE_BYTES, Slot, Slots};
use crate::mesh::ConfigError;
use crate::received::Copied;
use crate::refusal::{self, refuse};
use crate::reply::{self, Keep, status_code};
use crate::stack::PEER_NOT_TRUSTED;
use crate::telemetry::call::{Call, MethodSpan, Side, Start};
use crate::telemetry::counters::{Direction, OTHER, PeerCounters};
use crate::telemetry::otlp::{Attributes, Kind};
use crate::telemetry::{Sampler, Telemetry};

/// Calls and open streams of one channel: beyond it the callee is lost anyway, and memory is next.
const IN_FLIGHT: usize = 1_024;
/// Attempts that never reached the callee, per call; they are free of effects and not counted as retries.
const UNSENT_ATTEMPTS: u32 = 8;
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Headers that end at this process: ours replace them, or nobody behind it has any business with them.
const DROPPED_HEADERS: [HeaderName; 6] = [
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
    header::COOKIE,
    header::FORWARDED,
    header::HOST,
    header::CONNECTION,
];

/// A client of the workload that serves one contract. Cheap to clone; connects when it is used.
///
/// It is a `tower::Service` for the generated clients and, equally, for opaque requests that an edge forwards. It
/// never fails: what goes wrong is a response with a gRPC status.
#[derive(Clone)]
pub struct Channel {
    inner: Arc<Inner>,
    message_bytes: usize,
    forwarding: bool,
}

struct Inner {
    package: &'static str,
    authority: Authority,
    methods: HashMap<&'static str, Method>,
    unknown: MethodSpan,
    counters: Arc<PeerCounters>,
    own_id: SpiffeId,
    balancer: Balancer,
    budget: Budget,
    slots: Arc<Slots>,
    telemetry: Arc<Telemetry>,
    sampler: Sampler,
}

/// What is known ahead of a method's calls.
struct Method {
    policy: &'static MethodPolicy,
    index: usize,
    span: MethodSpan,
    retry: Option<RetryPolicy>,
}

/// The parts of a call that its attempts share.
struct Outgoing<'a> {
    parts: Parts,
    message: Option<Bytes>,
    method: Option<&'a Method>,
    deadline: Deadline,
    message_bytes: usize,
}

impl Channel {
    pub(crate) fn new(
        api: &'static Api,
        server: SpiffeId,
        addresses: &Addresses,
        source: &Source,
        telemetry: &Arc<Telemetry>,
        sampler: Sampler,
    ) -> Result<Self, ConfigError> {
        let unfit = |what: String| ConfigError::Contract { package: api.package, what };
        let config = ServiceConfig::parse(api.service_config).map_err(|error| unfit(error.to_string()))?;
        let authority = Authority::from_static(api.workload);
        let span = |path: &str, policy: Option<&MethodPolicy>| {
            let class = policy.map(|policy| policy.classes().to_string()).unwrap_or_default();
            MethodSpan::new(path, Kind::Client, &Attributes::default().text("sekat.data_class", &class))
        };
        let method = |(index, policy): (usize, &'static MethodPolicy)| {
            let retry = config.retry_policy(policy.path);
            (policy.path, Method { policy, index, span: span(policy.path, Some(policy)), retry })
        };
        let paths: Arc<[&'static str]> = api.methods.iter().map(|method| method.path).collect();
        let inner = Inner {
            package: api.package,
            authority,
            methods: api.methods.iter().enumerate().map(method).collect(),
            unknown: span(OTHER, None),
            counters: telemetry.counters.peer(Direction::Client, api.package, server.as_str(), &paths),
            own_id: source.id(),
            balancer: Balancer::new(addresses, source, &server),
            budget: config.budget(),
            slots: Slots::new(IN_FLIGHT),
            telemetry: Arc::clone(telemetry),
            sampler,
        };
        Ok(Self { inner: Arc::new(inner), message_bytes: MESSAGE_BYTES, forwarding: false })
    }

    /// The same channel for messages up to so many bytes; the callee must allow as much. Default: 256 KiB.
    #[must_use]
    pub fn max_message_bytes(self, bytes: usize) -> Self {
        Self { message_bytes: bytes, ..self }
    }

    /// The same channel for calls that are only passed on: they are counted and record no span of their own, so that
    /// the callee's span hangs below that of the call which is passed on.
    #[must_use]
    pub fn forwarding(self) -> Self {
        Self { forwarding: true, ..self }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("package", &self.inner.package).finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Waker<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, message_bytes, forwarding) = (Arc::clone(&self.inner), self.message_bytes, self.forwarding);
        Box::pin(async move { Ok(inner.call(request, message_bytes, forwarding).await) })
    }
}

impl Inner {
    async fn call(&self, request: Request<Body>, message_bytes: usize, forwarding: bool) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let method = self.methods.get(parts.uri.path());
        if !method.is_some_and(|method| method.policy.allows(self.own_id.as_str())) {
            // The callee decides; but a refusal is then no surprise.
            tracing::warn!(package = self.package, method = method.map_or(OTHER, |m| m.policy.path), "undeclared call");
        }
        let (mut call, handed_on) = self.begin(method, forwarding);
        self.prepare(&mut parts, handed_on);
        match self.perform(&mut call, method, parts, body, message_bytes).await {
            Ok((Answer::Whole(response), _, _)) => {
                call.end(response.code());
                response.into_response()
            }
            Ok((Answer::Open(response), deadline, slot)) => {
                let response = response.map(Body::new);
                let keep = Keep { call, message_bytes, deadline: deadline.call, stream: None, slot: Some(slot) };
                reply::keep(response, keep).map(Body::new)
            }
            Err(status) => {
                call.end(status.code());
                status.into_http()
            }
        }
    }

    /// The call's record, and the place in the trace that the callee is told.
    fn begin(&self, method: Option<&Method>, forwarding: bool) -> (Call, TraceContext) {
        let parent = context::parent_of_next_span();
        let trace = parent.map_or_else(
            || {
                let root = TraceContext::root(true);
                TraceContext { sampled: self.sampler.samples(root.trace_id), ..root }
            },
            TraceContext::child,
        );
        let handed_on = parent.filter(|_| forwarding).unwrap_or(trace);
        let trace = TraceContext { sampled: trace.sampled && !forwarding, ..trace };
        let start = Start {
            side: Side::Client,
            method: method.map_or_else(|| self.unknown.clone(), |method| method.span.clone()),
            method_index: method.map(|method| method.index),
            counters: Arc::clone(&self.counters),
            trace,
            parent: parent.map(|parent| parent.span_id),
        };
        let mut call = Call::begin(&self.telemetry, start);
        for cause in context::Context::current().map(|context| context.links_for_child()).unwrap_or_default() {
            call.link(cause);
        }
        (call, handed_on)
    }

    /// The whole call, or until the response of a stream begins, within the deadline.
    async fn perform(
        &self,
        call: &mut Call,
        method: Option<&Method>,
        parts: Parts,
        body: Body,
        message_bytes: usize,
    ) -> Result<(Answer, Deadline, Slot), Status> {
        let inherited = context::Context::current().and_then(|context| context.deadline());
        let now = call.begun().at();
        let deadline = deadline::outbound(inherited, &parts.headers, method.map(|method| method.policy), now)?;
        let slot = self.slots.take().ok_or_else(|| {
            refuse(Code::ResourceExhausted, "CLIENT_OVERLOADED", "too many calls to this workload are in flight")
        })?;
        let answer = async {
            match method {
                // All methods of contracts take one message.
                Some(_) => {
                    let message = Some(gather(body, message_bytes).await?.into_data());
                    let outgoing = Outgoing { parts, message, method, deadline, message_bytes };
                    self.with_retries(call, &outgoing).await
                }
                None => {
                    let outgoing = Outgoing { parts, message: None, method, deadline, message_bytes };
                    self.attempt(call, &outgoing, SendBody::Stream(body)).await.map_err(Failure::into_status)
                }
            }
        };
        let answer = tokio::time::timeout_at(deadline.response.into(), answer);
        let answer = answer.await.unwrap_or_else(|_| Err(deadline::exceeded()))?;
        Ok((answer, deadline, slot))
    }

    fn prepare(&self, parts: &mut Parts, trace: TraceContext) {
        for name in &DROPPED_HEADERS {
            parts.headers.remove(name);
        }
        if let Ok(traceparent) = HeaderValue::try_from(trace.to_traceparent()) {
            parts.headers.insert(TRACEPARENT, traceparent);
        }
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        uri.scheme = Some(Scheme::HTTPS);
        uri.authority = Some(self.authority.clone());
        // Scheme, authority and the path that was there before make a URI.
        parts.uri = http::Uri::from_parts(uri).unwrap_or_default();
        parts.version = http::Version::HTTP_2;
        parts.extensions.clear();
    }

    /// Repeats what the service config allows, as long as budget and deadline do.
    async fn with_retries(&self, call: &mut Call, outgoing: &Outgoing<'_>) -> Result<Answer, Status> {
        let retry = outgoing.method.and_then(|method| method.retry.as_ref());
        let (mut attempt, mut unsent) = (1, 0);
        loop {
            let body = SendBody::Message(outgoing.message.clone());
            let outcome = self.attempt(call, outgoing, body).await;
            let (code, invited) = match &outcome {
                Ok(answer) => (answer.code(), answer.retry_delay()),
                Err(Failure::Unsent(_)) if unsent < UNSENT_ATTEMPTS => {
                    unsent += 1;
                    // The connection that refused has to be noticed as gone first.
                    tokio::time::sleep(retry::unsent_pause(unsent)).await;
                    continue;
                }
                Err(failure) => (failure.status().code(), None),
            };
            let repeatable = retry.filter(|retry| retry.repeats(code, invited.is_some()));
            let Some(retry) = repeatable else {
                self.budget.succeeded();
                return outcome.map_err(Failure::into_status);
            };
            let affordable = self.budget.failed() && attempt < retry.max_attempts();
            let pause = retry.pause(attempt, invited);
            if !affordable || Instant::now() + pause >= outgoing.deadline.response.into() {
                return outcome.map_err(Failure::into_status);
            }
            tokio::time::sleep(pause).await;
            attempt += 1;
            call.number("sekat.attempts", i64::from(attempt));
        }
    }

    async fn attempt(&self, call: &mut Call, outgoing: &Outgoing<'_>, body: SendBody) -> Result<Answer, Failure> {
        let endpoint = self.balancer.pick().await?;
        let (mut connection, _busy) = endpoint.connection().await?;
        call.set_peer(endpoint.span());
        let mut parts = outgoing.parts.clone();
        if let Some(call) = outgoing.deadline.call {
            let left = call.saturating_duration_since(std::time::Instant::now());
            parts.headers.insert(GRPC_TIMEOUT, deadline::header(left));
        }
        let response = connection.send(Request::from_parts(parts, body)).await?;
        let copy = self.telemetry.received.clone();
        if let Some(copy) = &copy {
            copy.headers("", response.headers());
        }
        let response = response.map(|body| Copied::new(wire::Received(body), copy));
        let unary = outgoing.method.is_some_and(|method| method.policy.kind != MethodKind::ServerStream);
        let over = status_code(response.headers()).is_some();
        if !unary && !over {
            return Ok(Answer::Open(response));
        }
        let (parts, body) = response.into_parts();
        let body = gather(body, outgoing.message_bytes).await.map_err(Failure::Sent)?;
        let response = Gathered::new(parts, body);
        if response.code() == Code::Unauthenticated && response.reason().as_deref() == Some(PEER_NOT_TRUSTED) {
            // The connection is older than what is trusted now. The call itself was not looked at.
            endpoint.forget_connection();
            return Err(Failure::unsent());
        }
        Ok(Answer::Whole(response))
    }
}

impl Answer {
    fn code(&self) -> Code {
        match self {
            Self::Whole(response) => response.code(),
            Self::Open(_) => Code::Ok,
        }
    }

    fn retry_delay(&self) -> Option<std::time::Duration> {
        match self {
            Self::Whole(response) if response.code() != Code::Ok => {
                response.status().as_ref().and_then(refusal::retry_delay)
            }
            _ => None,
        }
    }
}
