//! The one inbound stack of all services. A call passes these layers, in this order; a service hands over its
//! handlers and cannot leave one out:
//!
//! 1. **Trace and count**: outermost, so that every outcome below, refusals too, is a span and a count.
//! 2. **Identity still trusted**: the handshake was a while ago; an expired or withdrawn certificate ends here.
//! 3. **Canonical request**: one spelling for each call, so that what is authorized is what is routed.
//! 4. **Authorize**: by (caller, path), before a byte of the message is read; what no rule names is denied.
//! 5. **End user**: after the workload, since only edges may speak for users.
//! 6. **Deadline**: before any resource is taken for a call that nobody waits for.
//! 7. **In flight**: last of the gates, so that refused calls take no slot from admitted ones. What a refused call still
//!    sends is discarded before it is answered.
//! 8. **Handler**, inside the call's context, under the deadline; its messages are limited as they pass.
//! 9. **Access record**: durable after the handler and before the response's first byte.
//! 10. **Reply**: holds span and deadline until the last byte has left.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, Version, header};
use http_body_util::BodyExt as _;
use sekat_identity::Source;
use sekat_identity::tls::PeerIdentity;
use sekat_policy::{AccessLog, MethodKind};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::authorize::{Permit, Rule, Table, Visitor, policy_denied};
use crate::context::{self, Context, TraceContext};
use crate::deadline::{self, Deadline};
use crate::end_user::{EndUsers, check_scope};
use crate::limits::{InFlight, OVERLOAD_RETRY, REFUSED_BODY, Slot, Slots};
use crate::received::Copied;
use crate::refusal::{self, refuse};
use crate::reply::{self, CallBody, Keep, Limited, Stream};
use crate::telemetry::call::{Call, Side, Start};
use crate::telemetry::counters::PeerCounters;
use crate::telemetry::log::AUDIT;
use crate::telemetry::{Sampler, Telemetry};

/// The stack of one listener.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) sampler: Sampler,
    pub(crate) source: Source,
    pub(crate) table: Table,
    pub(crate) end_users: Option<EndUsers>,
    pub(crate) access_log: AccessRecords,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) streams: Arc<Slots>,
    pub(crate) message_bytes: usize,
}

/// Who makes the records of accesses.
#[derive(Clone)]
pub(crate) enum AccessRecords {
    /// This process, in this log.
    Here(Arc<dyn AccessLog>),
    /// The workloads at the other ends; this one has no store.
    AtPeers,
}

impl std::fmt::Debug for AccessRecords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Here(_)) { "Here" } else { "AtPeers" })
    }
}

/// One connection, shared by its calls.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: Peer,
    /// The peer's span attributes, encoded once.
    pub(crate) span: Arc<[u8]>,
    pub(crate) counters: Arc<PeerCounters>,
    /// Cancelled when streams have to end.
    pub(crate) ending: CancellationToken,
    pub(crate) activity: Arc<Activity>,
}

/// What a connection does, so that idleness shows.
#[derive(Debug)]
pub(crate) struct Activity {
    /// Calls so far.
    pub(crate) begun: AtomicUsize,
    /// Streams that are open.
    pub(crate) streams: Arc<Slots>,
}

/// The other end of a connection.
#[derive(Debug)]
pub(crate) enum Peer {
    /// A workload, proved by its certificate.
    Workload(PeerIdentity),
    /// Somebody on a public listener.
    Public(std::net::SocketAddr),
}

/// Why a call does not reach its handler.
struct Refusal {
    status: Status,
    reason: &'static str,
    /// Whether somebody asked for what they may not have; overload and lateness are not that.
    audited: bool,
}

/// What a call holds once it passed all gates.
struct Admitted {
    rule: Arc<Rule>,
    deadline: Deadline,
    pass: Pass,
    _running: Running,
}

/// What the handler finds in the request's extensions.
enum Pass {
    Permit(Permit),
    Visitor(Visitor),
}

impl Stack {
    /// Serves one call, whatever becomes of it.
    pub(crate) async fn serve<B>(self: Arc<Self>, on: Arc<Connection>, request: Request<B>) -> Response<CallBody>
    where
        B: http_body::Body<Data = bytes::Bytes> + Unpin + Send + 'static,
        B::Error: Into<tonic::codegen::StdError>,
    {
        let (parts, body) = request.into_parts();
        let copy = self.telemetry.received.clone();
        if let Some(copy) = &copy {
            copy.headers(parts.uri.path(), &parts.headers);
        }
        let body = Body::new(Limited::new(Copied::new(body, copy), self.message_bytes));
        self.serve_call(on, parts, body).await
    }

    async fn serve_call(self: Arc<Self>, on: Arc<Connection>, parts: Parts, body: Body) -> Response<CallBody> {
        on.activity.begun.fetch_add(1, Ordering::Relaxed);
        let rule = self.table.rule(parts.uri.path());
        let mut call = self.trace(&on, rule, &parts);
        let admitted = match self.admit(&on, rule, &parts, &call) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                self.note_refusal(&on, rule, &parts, &mut call, &refusal);
                let response = reply::refused(call, refusal.status);
                discard(body, self.message_bytes).await;
                return response;
            }
        };
        call.admitted();
        self.run(&on, call, admitted, parts, body).await
    }

    /// Layer 1. On public listeners the trace id is the caller's, the decision to sample is ours.
    fn trace(&self, on: &Connection, rule: Option<&Arc<Rule>>, parts: &Parts) -> Call {
        let stated =
            parts.headers.get("traceparent").and_then(|value| TraceContext::from_traceparent(value.as_bytes()));
        let trace = match (stated, &on.peer) {
            (Some(stated), Peer::Workload(_)) => stated.child(),
            (Some(stated), Peer::Public(_)) => {
                TraceContext { sampled: self.sampler.samples(stated.trace_id), ..stated.child() }
            }
            (None, _) => {
                let root = TraceContext::root(true);
                TraceContext { sampled: self.sampler.samples(root.trace_id), ..root }
            }
        };
        let start = Start {
            side: Side::Server,
            method: rule.map_or_else(|| self.table.unknown.clone(), |rule| rule.span.clone()),
            method_index: rule.map(|rule| rule.index),
            counters: Arc::clone(&on.counters),
            trace,
            parent: stated.map(|stated| stated.span_id),
        };
        let mut call = Call::begin(&self.telemetry, start);
        call.set_peer(Arc::clone(&on.span));
        call
    }

    /// Layers 2 to 7: no waiting, no reading.
    fn admit(
        &self,
        on: &Connection,
        rule: Option<&Arc<Rule>>,
        parts: &Parts,
        call: &Call,
    ) -> Result<Admitted, Refusal> {
        if let Peer::Workload(peer) = &on.peer {
            self.source.still_trusted(peer).map_err(|_| {
                on.ending.cancel();
                Refusal::audited(refuse(Code::Unauthenticated, PEER_NOT_TRUSTED, "connect anew"), PEER_NOT_TRUSTED)
            })?;
        }
        check_canonical(parts, matches!(on.peer, Peer::Public(_)))?;
        let rule = self.authorize(on, rule)?;
        let end_user = self.end_user(on, rule, parts)?;
        let deadline = deadline::inbound(&parts.headers, rule.policy, call.begun().at()).map_err(Refusal::late)?;
        let running = self.take_slot(on)?;
        let pass = match &on.peer {
            Peer::Workload(peer) => {
                Pass::Permit(Permit::grant(peer.id(), rule.policy, end_user, deadline.response, call.span().trace))
            }
            Peer::Public(address) => Pass::Visitor(Visitor { address: *address, end_user }),
        };
        Ok(Admitted { rule: Arc::clone(rule), deadline, pass, _running: running })
    }

    /// Layer 4. On a public listener the question is what this edge itself may call, and end users may ask for.
    fn authorize<'a>(&self, on: &Connection, rule: Option<&'a Arc<Rule>>) -> Result<&'a Arc<Rule>, Refusal> {
        let allowed = rule.filter(|rule| match &on.peer {
            Peer::Workload(peer) => rule.policy.allows(peer.id().as_str()),
            Peer::Public(_) => rule.policy.allows(self.source.id().as_str()) && !rule.policy.scopes.is_empty(),
        });
        allowed.ok_or_else(|| Refusal::audited(policy_denied(), "POLICY_DENIED"))
    }

    /// Layer 5.
    fn end_user(
        &self,
        on: &Connection,
        rule: &Rule,
        parts: &Parts,
    ) -> Result<Option<Arc<sekat_identity::end_user::EndUserClaims>>, Refusal> {
        let refusal = |status| Refusal::audited(status, "END_USER");
        let claims = match &self.end_users {
            Some(end_users) => end_users.of(&parts.headers).map_err(refusal)?,
            None => None,
        };
        let for_end_users = match &on.peer {
            Peer::Workload(peer) => peer.id().path().ends_with(EDGE_SUFFIX),
            Peer::Public(_) => true,
        };
        if for_end_users {
            check_scope(rule.policy.scopes, claims.as_deref()).map_err(refusal)?;
        }
        Ok(claims)
    }

    /// Layer 7.
    fn take_slot(&self, on: &Connection) -> Result<Running, Refusal> {
        let own = on.counters.in_flight.load(Ordering::Relaxed);
        let slot = self.in_flight.take(own).ok_or_else(overloaded)?;
        on.counters.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(Running { peer: Arc::clone(&on.counters), _slot: slot })
    }

    /// Layers 8 to 10.
    async fn run(
        &self,
        on: &Connection,
        call: Call,
        admitted: Admitted,
        mut parts: Parts,
        body: Body,
    ) -> Response<CallBody> {
        let Admitted { rule, deadline, pass, _running: running } = admitted;
        let permit = match pass {
            Pass::Permit(permit) => {
                parts.extensions.insert(permit.clone());
                Some(permit)
            }
            Pass::Visitor(visitor) => {
                parts.extensions.insert(visitor);
                None
            }
        };
        let context = Context::of_call(deadline.call, Arc::clone(call.span()));
        let work = async {
            let response = rule.handler.call(Request::from_parts(parts, body)).await;
            match &permit {
                Some(permit) => self.record_access(&rule, permit).await.map(|()| response),
                None => Ok(response),
            }
        };
        let work = AssertUnwindSafe(context::scope(context.clone(), work)).catch_unwind();
        let outcome = tokio::time::timeout_at(deadline.response.into(), work).await;
        drop(running);
        let response = match outcome {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(status))) => status.into_http(),
            Ok(Err(_panic)) => {
                tracing::error!(method = rule.policy.path, "a handler panicked");
                refuse(Code::Internal, "INTERNAL", "internal error").into_http()
            }
            Err(_elapsed) => deadline::exceeded().into_http(),
        };
        self.reply(on, call, context, &rule, deadline, response)
    }

    /// Layer 9. A record that the handler's own transaction made is not made again.
    async fn record_access(&self, rule: &Rule, permit: &Permit) -> Result<(), Status> {
        let access = permit.access();
        let AccessRecords::Here(log) = &self.access_log else { return Ok(()) };
        if !rule.policy.is_recorded() || access.is_recorded() {
            return Ok(());
        }
        log.record(access).await.map_err(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(method = rule.policy.path, error, "a response is withheld: its access has no record");
            refuse(Code::Internal, "ACCESS_NOT_RECORDED", "internal error")
        })
    }

    /// Layer 10.
    fn reply(
        &self,
        on: &Connection,
        call: Call,
        context: Context,
        rule: &Rule,
        deadline: Deadline,
        response: Response<Body>,
    ) -> Response<CallBody> {
        let endless = rule.policy.kind == MethodKind::ServerStream;
        let slot = if endless { self.streams.take() } else { None };
        if endless && slot.is_none() {
            return reply::refused(call, overloaded().status);
        }
        let stream = endless.then(|| Stream::new(context, on.ending.clone(), on.activity.streams.take()));
        let keep = Keep { call, message_bytes: self.message_bytes, deadline: deadline.call, stream, slot };
        reply::keep(response, keep)
    }

    /// One span event, one audit event, and the count that the call's end makes.
    fn note_refusal(
        &self,
        on: &Connection,
        rule: Option<&Arc<Rule>>,
        parts: &Parts,
        call: &mut Call,
        refusal: &Refusal,
    ) {
        call.refused(refusal.reason);
        if !refusal.audited {
            return;
        }
        let sequence = self.telemetry.next_audit_sequence();
        call.attribute("sekat.decision", "deny");
        call.number("sekat.audit.seq", i64::try_from(sequence).unwrap_or(i64::MAX));
        let principal = match &on.peer {
            Peer::Workload(peer) => peer.id().as_str(),
            Peer::Public(_) => "public",
        };
        // An unknown path is the caller's text: cut, and escaped by the log.
        let path = parts.uri.path();
        let path = rule.map_or_else(|| path.get(..AUDITED_PATH_BYTES).unwrap_or(path), |rule| rule.policy.path);
        tracing::warn!(
            target: AUDIT,
            rpc_method = path,
            principal,
            authorized = false,
            reason = refusal.reason,
            policy_digest = self.table.digest,
            trace_id = call.span().trace.trace_id_hex(),
            sequence,
            "refused"
        );
    }
}

/// Takes what a refused call sent off the wire, unread. Answered earlier, HTTP/2 resets the call, and what still arrives
/// for calls that it has forgotten counts as errors of the connection, which end it and the admitted calls on it.
async fn discard(mut body: Body, most: usize) {
    let discarding = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
            if bytes > most {
                return;
            }
        }
    };
    // Whoever sends more, or takes longer, is reset after all.
    let _ = tokio::time::timeout(REFUSED_BODY, discarding).await;
}

/// A call that has its slot.
struct Running {
    peer: Arc<PeerCounters>,
    _slot: Slot,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.peer.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Refusal {
    fn audited(status: Status, reason: &'static str) -> Self {
        Self { status, reason, audited: true }
    }

    fn late(status: Status) -> Self {
        Self { status, reason: "DEADLINE", audited: false }
    }
}

/// Workloads whose names end so forward end users' calls.
const EDGE_SUFFIX: &str = "-edge";
/// An unknown path is logged up to this length.
const AUDITED_PATH_BYTES: usize = 256;
pub(crate) const PEER_NOT_TRUSTED: &str = "PEER_NOT_TRUSTED";

fn overloaded() -> Refusal {
    let status =
        refusal::retry_after(Code::ResourceExhausted, "OVERLOADED", "too many calls in flight", OVERLOAD_RETRY);
    Refusal { status, reason: "OVERLOADED", audited: false }
}

/// Layer 3. The path itself is compared with the table byte by byte and needs no rules of its own. Over gRPC-Web a
/// public call may arrive in HTTP/1.1.
fn check_canonical(parts: &Parts, public: bool) -> Result<(), Refusal> {
    let content_type = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let grpc = matches!(content_type.strip_prefix(b"application/grpc"), Some([] | [b'+' | b';', ..]));
    let version = parts.version == Version::HTTP_2 || (public && parts.version == Version::HTTP_11);
    if parts.method == Method::POST && version && grpc && parts.uri.query().is_none() {
        return Ok(());
    }
    let status = refuse(Code::InvalidArgument, "NOT_GRPC", "a call is a POST of application/grpc over HTTP/2");
    Err(Refusal::audited(status, "NOT_GRPC"))
}
