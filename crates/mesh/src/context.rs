//! What a call hands down to the calls that it makes: its trace and its deadline, in a task-local.
//! A task that outlives its request (a saga) starts from [`Context::detached`].

use std::cell::Cell;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::telemetry::bridge;

/// The place of a piece of work in a trace, W3C Trace Context level 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TraceContext {
    /// The trace; not all zero.
    pub trace_id: [u8; 16],
    /// The span that is the parent of what happens next; not all zero.
    pub span_id: [u8; 8],
    /// Whether spans are recorded. An unsampled context is still handed on.
    pub sampled: bool,
}

impl TraceContext {
    /// The length of [`TraceContext::to_bytes`].
    pub const BYTES: usize = 25;

    /// The first span of a new trace.
    #[must_use]
    pub fn root(sampled: bool) -> Self {
        Self { trace_id: random_trace_id(), span_id: random_span_id(), sampled }
    }

    /// A new span in the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span_id: random_span_id(), ..self }
    }

    /// Parses a `traceparent` header. `None` for what W3C calls invalid: wrong lengths, upper-case digits, all-zero
    /// ids, version `ff`. A version above `00` may carry more fields, which are ignored.
    #[must_use]
    pub fn from_traceparent(header: &[u8]) -> Option<Self> {
        let (head, rest) = header.split_at_checked(TRACEPARENT_LENGTH)?;
        let mut fields = head.split(|byte| *byte == b'-');
        let [version] = hex(fields.next()?)?;
        let trace_id = hex(fields.next()?)?;
        let span_id = hex(fields.next()?)?;
        let [flags]: [u8; 1] = hex(fields.next()?)?;
        let well_ended = match version {
            0x00 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        let valid = well_ended && fields.next().is_none() && trace_id != [0; 16] && span_id != [0; 8];
        valid.then_some(Self { trace_id, span_id, sampled: flags & SAMPLED_FLAG != 0 })
    }

    /// The `traceparent` header of this context, version 00.
    #[must_use]
    pub fn to_traceparent(self) -> String {
        let mut header = String::with_capacity(TRACEPARENT_LENGTH);
        header.push_str("00-");
        push_hex(&mut header, &self.trace_id);
        header.push('-');
        push_hex(&mut header, &self.span_id);
        header.push_str(if self.sampled { "-01" } else { "-00" });
        header
    }

    /// The context as bytes, to be stored with a work item.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        // What the ids leave over is the flag.
        let mut bytes = [u8::from(self.sampled); Self::BYTES];
        let (trace_id, rest) = bytes.split_at_mut(self.trace_id.len());
        trace_id.copy_from_slice(&self.trace_id);
        rest.split_at_mut(self.span_id.len()).0.copy_from_slice(&self.span_id);
        bytes
    }

    /// The reverse of [`TraceContext::to_bytes`]; `None` for another length or all-zero ids.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (trace_id, rest) = bytes.split_first_chunk::<16>()?;
        let (span_id, rest) = rest.split_first_chunk::<8>()?;
        let [flags] = rest else { return None };
        let valid = *trace_id != [0; 16] && *span_id != [0; 8];
        valid.then_some(Self { trace_id: *trace_id, span_id: *span_id, sampled: *flags & SAMPLED_FLAG != 0 })
    }

    /// The trace id as 32 lower-case hexadecimal digits, as trace viewers take it.
    #[must_use]
    pub fn trace_id_hex(self) -> String {
        let mut text = String::with_capacity(32);
        push_hex(&mut text, &self.trace_id);
        text
    }
}

/// The trace and the deadline that outbound calls inherit.
#[derive(Clone, Debug)]
pub struct Context {
    deadline: Option<Instant>,
    span: Arc<OpenSpan>,
}

/// The span under which things happen, and the links that it gathers while it is open.
#[derive(Debug)]
pub(crate) struct OpenSpan {
    pub(crate) trace: TraceContext,
    links: Mutex<Vec<TraceContext>>,
    /// Whether somebody records this span when it ends and takes its links then. Otherwise the next child does.
    recorded: bool,
}

impl OpenSpan {
    pub(crate) fn new(trace: TraceContext, recorded: bool) -> Arc<Self> {
        Arc::new(Self { trace, links: Mutex::default(), recorded })
    }

    pub(crate) fn take_links(&self) -> Vec<TraceContext> {
        std::mem::take(&mut *self.links.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn link(&self, to: TraceContext) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.len() < MAX_LINKS {
            links.push(to);
        }
    }
}

tokio::task_local! {
    static CURRENT: Context;
}

impl Context {
    /// The context of work that no request waits for. Its spans join the trace of `parent`, or begin a trace of
    /// their own. `deadline` bounds each call made in it, with the called method's own deadline.
    #[must_use]
    pub fn detached(deadline: Option<Instant>, parent: Option<TraceContext>) -> Self {
        let trace = parent.unwrap_or_else(|| TraceContext::root(true));
        Self { deadline, span: OpenSpan::new(trace, false) }
    }

    /// The same context; the next span begun directly in it carries a link to `cause`.
    #[must_use]
    pub fn linked(self, cause: TraceContext) -> Self {
        self.span.link(cause);
        self
    }

    /// The context of the running task, if it has one. Hand it to [`scope`] in tasks that are spawned.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// When the caller stops waiting.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Under which span this work happens.
    #[must_use]
    pub fn trace(&self) -> TraceContext {
        self.span.trace
    }

    pub(crate) fn of_call(deadline: Option<Instant>, span: Arc<OpenSpan>) -> Self {
        Self { deadline, span }
    }

    /// Runs `poll` as part of this context; for bodies, which are polled outside of their handler's future.
    pub(crate) fn enter<R>(&self, poll: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self.clone(), poll)
    }

    /// The links that a span begun directly in this context carries.
    pub(crate) fn links_for_child(&self) -> Vec<TraceContext> {
        if self.span.recorded { Vec::new() } else { self.span.take_links() }
    }
}

/// Runs `work` in `context`: its calls and business spans inherit trace and deadline.
pub async fn scope<F: Future>(context: Context, work: F) -> F::Output {
    CURRENT.scope(context, work).await
}

/// Links the current span to `cause`: the work of another trace that also led to this. Does nothing outside of a
/// context.
pub fn link(cause: TraceContext) {
    // Outside of a context there is no span that could carry the link.
    let _ = CURRENT.try_with(|context| context.span.link(cause));
}

/// A business span (a saga step, an adapter's exchange). It becomes part of the call's trace; work is put into it by
/// `tracing::Instrument`. Fields may be given by `tracing::info_span!(target: "sekat", …)` directly; a field never
/// holds a classified value.
#[must_use]
pub fn span(name: &'static str) -> tracing::Span {
    tracing::info_span!(target: bridge::TARGET, "span", otel.name = name)
}

/// The trace position under which a span begun now belongs: the innermost business span of the current context's
/// trace, else the context's own span.
pub(crate) fn parent_of_next_span() -> Option<TraceContext> {
    let business = bridge::current();
    match Context::current().map(|context| context.trace()) {
        Some(own) => business.filter(|span| span.trace_id == own.trace_id).or(Some(own)),
        None => business,
    }
}

/// `00-` + 32 digits + `-` + 16 digits + `-` + 2 digits.
const TRACEPARENT_LENGTH: usize = 55;
/// W3C Trace Context 3.2.2.5.1.
const SAMPLED_FLAG: u8 = 0x01;
/// Links on one span; OpenTelemetry's SDKs allow as many.
const MAX_LINKS: usize = 128;

fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    if pairs.len() != N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
    }
    Some(bytes)
}

/// Lower case only, as W3C demands.
fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0x0f] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or_default());
        }
    }
}

thread_local! {
    /// Ids need no secrecy, only spread: one generator a thread, seeded by the operating system.
    static IDS: Cell<[u64; 2]> = Cell::new(rand::random());
}

/// One step of xoroshiro128+ (Blackman and Vigna, 2018).
fn random_u64() -> u64 {
    IDS.with(|state| {
        let [s0, mut s1] = state.get();
        let value = s0.wrapping_add(s1);
        s1 ^= s0;
        state.set([s0.rotate_left(24) ^ s1 ^ (s1 << 16), s1.rotate_left(37)]);
        value
    })
}

fn random_span_id() -> [u8; 8] {
    // Zero means "no span"; it is drawn once in 2^64.
    random_u64().max(1).to_be_bytes()
}

fn random_trace_id() -> [u8; 16] {
    let value = u128::from(random_u64()) << 64 | u128::from(random_u64());
    value.max(1).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn traceparent_is_parsed_as_w3c_says() {
        let accepted = [
            (GOOD, true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03", true),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes", true),
        ];
        for (header, sampled) in accepted {
            let trace = TraceContext::from_traceparent(header.as_bytes()).expect(header);
            assert_eq!(trace.sampled, sampled, "{header}");
            assert_eq!(trace.trace_id_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
        }
        let refused = [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b70-01",
            "0-04bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ];
        for header in refused {
            assert_eq!(TraceContext::from_traceparent(header.as_bytes()), None, "{header}");
        }
    }

    #[test]
    fn header_and_bytes_give_the_context_back() {
        let trace = TraceContext::from_traceparent(GOOD.as_bytes()).unwrap();
        assert_eq!(trace.to_traceparent(), GOOD);
        assert_eq!(TraceContext::from_bytes(&trace.to_bytes()), Some(trace));
        for _ in 0..1_000 {
            let made = TraceContext::root(false);
            assert_eq!(TraceContext::from_traceparent(made.to_traceparent().as_bytes()), Some(made));
            assert_eq!(TraceContext::from_bytes(&made.to_bytes()), Some(made));
        }
        assert_eq!(TraceContext::from_bytes(&[0; 25]), None);
        assert_eq!(TraceContext::from_bytes(&[1; 24]), None);
    }

    #[test]
    fn children_stay_in_the_trace_and_differ() {
        let root = TraceContext::root(true);
        let (one, two) = (root.child(), root.child());
        assert!(one.trace_id == root.trace_id && two.trace_id == root.trace_id && one.sampled);
        assert!(one.span_id != two.span_id && one.span_id != root.span_id);
        assert_ne!(TraceContext::root(true).trace_id, root.trace_id);
    }

    #[tokio::test]
    async fn a_scope_is_seen_inside_and_not_outside() {
        let trace = TraceContext::root(true);
        let seen = scope(Context::detached(None, Some(trace)), async { parent_of_next_span() }).await;
        assert_eq!(seen, Some(trace));
        assert_eq!(parent_of_next_span(), None);
    }

    #[test]
    fn a_link_goes_to_the_first_child_only() {
        let cause = TraceContext::root(true);
        let context = Context::detached(None, None).linked(cause);
        assert_eq!(context.links_for_child(), vec![cause]);
        assert!(context.links_for_child().is_empty());
    }
}
