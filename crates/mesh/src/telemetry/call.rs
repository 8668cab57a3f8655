//! The record of one remote procedure call, on either side: its span and its count. Both are made exactly once, when
//! the call ends, also if its future is dropped.

use std::sync::{Arc, LazyLock};

use tonic::Code;

use super::Telemetry;
use super::counters::{PeerCounters, code_name};
use super::otlp::{self, Attributes, Kind, SpanHead};
use super::recorder::Beginning;
use crate::context::{OpenSpan, TraceContext};

/// What all spans of one method have in common, encoded once.
#[derive(Clone, Debug)]
pub(crate) struct MethodSpan(Arc<[u8]>);

impl MethodSpan {
    /// `path` is the gRPC path; `attributes` are further ones of the method. The names of the RPC conventions are
    /// given in both spellings, the released and the coming one, as OpenTelemetry's `rpc/dup` asks for.
    pub(crate) fn new(path: &str, kind: Kind, attributes: &Attributes) -> Self {
        let name = path.trim_start_matches('/');
        let service = name.split_once('/').map_or(name, |(service, _)| service);
        let rpc = Attributes::default()
            .text("rpc.system", "grpc")
            .text("rpc.system.name", "grpc")
            .text("rpc.service", service)
            .text("rpc.method", name);
        let mut encoded = Vec::with_capacity(512);
        otlp::name_and_kind(&mut encoded, name, kind);
        encoded.extend_from_slice(&rpc.0);
        encoded.extend_from_slice(&attributes.0);
        Self(encoded.into())
    }
}

/// One call that is running.
#[derive(Debug)]
pub(crate) struct Call {
    telemetry: Arc<Telemetry>,
    side: Side,
    method: MethodSpan,
    method_index: Option<usize>,
    counters: Arc<PeerCounters>,
    peer: Option<Arc<[u8]>>,
    parent: Option<[u8; 8]>,
    span: Arc<OpenSpan>,
    begun: Beginning,
    admitted: bool,
    /// Attributes and events that only this call has, encoded.
    extra: Vec<u8>,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// With what a call begins.
pub(crate) struct Start {
    pub(crate) side: Side,
    pub(crate) method: MethodSpan,
    pub(crate) method_index: Option<usize>,
    pub(crate) counters: Arc<PeerCounters>,
    /// The span's place; `parent` is where the trace came from.
    pub(crate) trace: TraceContext,
    pub(crate) parent: Option<[u8; 8]>,
}

impl Call {
    pub(crate) fn begin(telemetry: &Arc<Telemetry>, start: Start) -> Self {
        start.counters.begin(start.method_index);
        Self {
            telemetry: Arc::clone(telemetry),
            side: start.side,
            method: start.method,
            method_index: start.method_index,
            counters: start.counters,
            peer: None,
            parent: start.parent,
            span: OpenSpan::new(start.trace, true),
            begun: Beginning::now(),
            admitted: false,
            extra: Vec::new(),
            ended: false,
        }
    }

    pub(crate) fn span(&self) -> &Arc<OpenSpan> {
        &self.span
    }

    pub(crate) fn begun(&self) -> Beginning {
        self.begun
    }

    /// The other side, as its certificate proved it: attributes encoded once a connection.
    pub(crate) fn set_peer(&mut self, attributes: Arc<[u8]>) {
        self.peer = Some(attributes);
    }

    pub(crate) fn attribute(&mut self, key: &str, value: &str) {
        otlp::text_attribute(&mut self.extra, Attributes::SPAN_FIELD, key, value);
    }

    pub(crate) fn number(&mut self, key: &str, value: i64) {
        otlp::int_attribute(&mut self.extra, Attributes::SPAN_FIELD, key, value);
    }

    pub(crate) fn link(&mut self, cause: TraceContext) {
        otlp::link(&mut self.extra, cause);
    }

    /// Notes that the policy admitted the call.
    pub(crate) fn admitted(&mut self) {
        self.admitted = true;
    }

    /// Notes that the call was refused and why: one span event.
    pub(crate) fn refused(&mut self, reason: &str) {
        otlp::event(&mut self.extra, self.begun.end_unix_nanos(), "sekat.refused", reason);
    }

    /// Ends the call. Only the first ending counts.
    pub(crate) fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.counters.count(self.method_index, code);
        let trace = self.span.trace;
        if !trace.sampled {
            return;
        }
        let links = self.span.take_links();
        self.telemetry.recorder.record(|to| {
            to.extend_from_slice(&self.method.0);
            let head = SpanHead {
                trace,
                parent: self.parent,
                parent_is_remote: self.side == Side::Server,
                start_unix_nanos: self.begun.unix_nanos(),
                end_unix_nanos: self.begun.end_unix_nanos(),
            };
            otlp::head(to, &head);
            to.extend_from_slice(self.peer.as_deref().unwrap_or_default());
            if self.admitted {
                to.extend_from_slice(&ALLOW);
            }
            to.extend_from_slice(&self.extra);
            to.extend_from_slice(STATUS.get(code as usize).map(Vec::as_slice).unwrap_or_default());
            for cause in links {
                otlp::link(to, cause);
            }
            if is_failure(self.side, code) {
                otlp::error_status(to);
            }
        });
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// The decision that nearly all calls share.
static ALLOW: LazyLock<Vec<u8>> = LazyLock::new(|| Attributes::default().text("sekat.decision", "allow").0);

/// The status attributes of each code, in both spellings.
static STATUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let attributes = |code: i32| {
        let name = code_name(Code::from(code) as usize);
        Attributes::default().int("rpc.grpc.status_code", i64::from(code)).text("rpc.response.status_code", name).0
    };
    (0..=Code::Unauthenticated as i32).map(attributes).collect()
});

/// Whether a span of this outcome is an error: for a client everything but OK, for a server only what is its own
/// fault (OpenTelemetry's gRPC conventions).
fn is_failure(side: Side, code: Code) -> bool {
    match side {
        Side::Client => code != Code::Ok,
        Side::Server => matches!(
            code,
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        ),
    }
}
