//! Business spans: `tracing` spans of target `sekat` become spans of the call's trace, through the same recorder.
//! Everything else that `tracing` carries stays out of traces.

use std::fmt;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::otlp::{self, Kind, SpanHead};
use super::recorder::{Beginning, Recorder};
use crate::context::{self, TraceContext};

/// The target of spans that belong into traces.
pub(crate) const TARGET: &str = "sekat";
/// A field of this name replaces the span's name.
const NAME_FIELD: &str = "otel.name";

/// The `tracing` layer that records business spans.
#[derive(Debug)]
pub(crate) struct Bridge {
    recorder: Arc<Recorder>,
}

/// A business span while it is open; lives in the registry.
struct Open {
    trace: TraceContext,
    parent: Option<[u8; 8]>,
    begun: Beginning,
    links: Vec<TraceContext>,
    fields: Fields,
}

#[derive(Default)]
struct Fields {
    name: Option<String>,
    encoded: Vec<u8>,
    failed: bool,
}

/// The innermost business span that this thread is in.
pub(crate) fn current() -> Option<TraceContext> {
    tracing::Span::current().with_subscriber(|(id, dispatch)| {
        let registry = dispatch.downcast_ref::<Registry>()?;
        registry.span(id).and_then(|span| nearest(&span))
    })?
}

fn nearest<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<TraceContext> {
    span.scope().find_map(|span| span.extensions().get::<Open>().map(|open| open.trace))
}

impl Bridge {
    pub(crate) fn new(recorder: Arc<Recorder>) -> Self {
        Self { recorder }
    }

    /// The layer, blind to everything but business spans and the errors inside them: what is not logged costs
    /// nothing.
    pub(crate) fn filtered<S>(self) -> impl Layer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let relevant = filter_fn(|metadata| {
            metadata.target() == TARGET || (metadata.is_event() && *metadata.level() == Level::ERROR)
        });
        self.with_filter(relevant.with_max_level_hint(LevelFilter::INFO))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Bridge {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, registry: Context<'_, S>) {
        if attributes.metadata().target() != TARGET {
            return;
        }
        let Some(span) = registry.span(id) else { return };
        let enclosing = span.parent().and_then(|parent| nearest(&parent));
        let context = context::Context::current();
        let own = context.as_ref().map(context::Context::trace);
        // A span around the call that began another trace inside it is not its parent.
        let parent = match own {
            Some(own) => enclosing.filter(|span| span.trace_id == own.trace_id).or(Some(own)),
            None => enclosing,
        };
        let directly_in_context = parent == own;
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let open = Open {
            trace: parent.map_or_else(|| TraceContext::root(true), TraceContext::child),
            parent: parent.map(|parent| parent.span_id),
            begun: Beginning::now(),
            links: context.filter(|_| directly_in_context).map(|context| context.links_for_child()).unwrap_or_default(),
            fields,
        };
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, registry: Context<'_, S>) {
        let Some(span) = registry.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.fields);
        }
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, registry: Context<'_, S>) {
        let cause = registry.span(follows).and_then(|span| nearest(&span));
        let (Some(span), Some(cause)) = (registry.span(id), cause) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            open.links.push(cause);
        }
    }

    fn on_event(&self, event: &Event<'_>, registry: Context<'_, S>) {
        if *event.metadata().level() != Level::ERROR {
            return;
        }
        let Some(span) = registry.event_span(event) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            open.fields.failed = true;
        }
    }

    fn on_close(&self, id: Id, registry: Context<'_, S>) {
        let Some(span) = registry.span(&id) else { return };
        let Some(open) = span.extensions_mut().remove::<Open>() else { return };
        if !open.trace.sampled {
            return;
        }
        self.recorder.record(|to| {
            otlp::name_and_kind(to, open.fields.name.as_deref().unwrap_or(span.name()), Kind::Internal);
            let head = SpanHead {
                trace: open.trace,
                parent: open.parent,
                parent_is_remote: false,
                start_unix_nanos: open.begun.unix_nanos(),
                end_unix_nanos: open.begun.end_unix_nanos(),
            };
            otlp::head(to, &head);
            to.extend_from_slice(&open.fields.encoded);
            for cause in open.links {
                otlp::link(to, cause);
            }
            if open.fields.failed {
                otlp::error_status(to);
            }
        });
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == NAME_FIELD {
            self.name = Some(value.to_owned());
        } else {
            otlp::text_attribute(&mut self.encoded, otlp::Attributes::SPAN_FIELD, field.name(), value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        otlp::int_attribute(&mut self.encoded, otlp::Attributes::SPAN_FIELD, field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_i64(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        otlp::bool_attribute(&mut self.encoded, otlp::Attributes::SPAN_FIELD, field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        otlp::double_attribute(&mut self.encoded, otlp::Attributes::SPAN_FIELD, field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
    use prost::Message as _;
    use tracing::Instrument as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn spans(recorder: &Recorder) -> Vec<Span> {
        recorder.take().flat_map(|batch| ScopeSpans::decode(batch.encoded.as_slice()).unwrap().spans).collect()
    }

    #[tokio::test]
    async fn business_spans_join_the_context_and_others_stay_out() {
        let recorder = Arc::new(Recorder::new(true));
        let _guard =
            tracing::subscriber::set_default(tracing_subscriber::registry().with(Bridge::new(Arc::clone(&recorder))));
        let trace = TraceContext::root(true);
        let cause = TraceContext::root(true);
        let context = context::Context::detached(None, Some(trace)).linked(cause);
        let work = async {
            let inner = async { context::parent_of_next_span().unwrap() };
            inner.instrument(tracing::info_span!("elsewhere")).await
        };
        let seen_inside = context::scope(context, async {
            work.instrument(tracing::info_span!(target: "sekat", "reserve", quantity = 3)).await
        })
        .await;

        let spans = spans(&recorder);
        let [span] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!((span.name.as_str(), span.kind), ("reserve", 1));
        assert_eq!(span.trace_id, trace.trace_id);
        assert_eq!(span.parent_span_id, trace.span_id);
        assert_eq!(span.span_id, seen_inside.span_id);
        assert_eq!(span.links[0].trace_id, cause.trace_id);
        assert_eq!(span.attributes[0].key, "quantity");
    }

    #[test]
    fn an_error_inside_marks_the_span_and_an_unsampled_trace_has_none() {
        let recorder = Arc::new(Recorder::new(true));
        let _guard =
            tracing::subscriber::set_default(tracing_subscriber::registry().with(Bridge::new(Arc::clone(&recorder))));
        context::span("step").in_scope(|| tracing::error!("broken"));
        let spans = spans(&recorder);
        assert_eq!((spans[0].name.as_str(), spans[0].status.as_ref().unwrap().code), ("step", 2));

        let silent = context::Context::detached(None, Some(TraceContext::root(false)));
        silent.enter(|| context::span("step").in_scope(|| ()));
        assert_eq!(recorder.take().count(), 0);
    }
}
