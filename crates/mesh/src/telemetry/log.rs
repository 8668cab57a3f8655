//! Logs: one line an event on standard error, JSON or for people, each with the trace that it belongs to.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, Layer as FmtLayer};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::bridge::Bridge;
use crate::context;
use crate::env::FromEnv;

/// The target of audit events: one for each refused caller.
pub(crate) const AUDIT: &str = "audit";

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Human,
    Json,
}

impl FromEnv for Format {
    const EXPECTED: &'static str = "json or human";
    fn from_env(text: &str) -> Option<Self> {
        match text {
            "json" => Some(Self::Json),
            "human" => Some(Self::Human),
            _ => None,
        }
    }
    fn placeholder() -> Self {
        Self::Human
    }
}

/// Which events are logged.
#[derive(Clone, Debug)]
pub(crate) struct Filter(String);

impl Filter {
    pub(crate) fn info() -> Self {
        Self("info".to_owned())
    }

    /// Audit events cannot be switched off.
    fn build(&self) -> EnvFilter {
        EnvFilter::new(format!("{},{AUDIT}=info", self.0))
    }
}

impl FromEnv for Filter {
    const EXPECTED: &'static str = "a log filter, for instance info or warn,sekat_mesh=debug";
    fn from_env(text: &str) -> Option<Self> {
        EnvFilter::try_new(text).is_ok().then(|| Self(text.to_owned()))
    }
    fn placeholder() -> Self {
        Self::info()
    }
}

/// Sends the process's events to standard error and its business spans to the recorder. Once a process.
pub(crate) fn install(filter: &Filter, format: Format, bridge: Bridge) {
    let lines = FmtLayer::new().with_writer(std::io::stderr).event_format(Lines(format));
    let subscriber = tracing_subscriber::registry().with(bridge.filtered()).with(lines.with_filter(filter.build()));
    // Somebody else's subscriber stays; tests install theirs first.
    let _ = subscriber.try_init();
}

struct Lines(Format);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let trace = context::Context::current().map(|context| context.trace().trace_id_hex());
        let mut now = String::new();
        SystemTime.format_time(&mut Writer::new(&mut now))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let Fields { message, mut rest } = fields;
        match self.0 {
            Format::Human => {
                write!(to, "{now} {:>5} {}: {message}", metadata.level(), metadata.target())?;
                for (name, value) in rest {
                    write!(to, " {name}={value}")?;
                }
                if let Some(trace) = trace {
                    write!(to, " trace_id={trace}")?;
                }
            }
            Format::Json => {
                rest.insert("timestamp".to_owned(), now.into());
                rest.insert("level".to_owned(), metadata.level().as_str().into());
                rest.insert("target".to_owned(), metadata.target().into());
                rest.insert("message".to_owned(), message.into());
                if let Some(trace) = trace {
                    rest.insert("trace_id".to_owned(), trace.into());
                }
                write!(to, "{}", Value::Object(rest))?;
            }
        }
        writeln!(to)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.rest.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, value.into());
        }
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    /// An error with the causes that its text does not repeat.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, crate::run::chain(value).into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::TraceContext;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn line(format: Format, emit: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let layer = FmtLayer::new().with_writer(move || writer.clone()).event_format(Lines(format));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), emit);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_names_its_trace_even_if_a_value_holds_line_breaks() {
        let trace = TraceContext::root(true);
        let text = line(Format::Json, || {
            context::Context::detached(None, Some(trace))
                .enter(|| tracing::warn!(target: "audit", principal = "a\nb", sequence = 7, "refused"));
        });
        assert_eq!(text.lines().count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["trace_id"], trace.trace_id_hex());
        assert_eq!((&value["principal"], &value["sequence"]), (&"a\nb".into(), &7.into()));
        assert_eq!((&value["message"], &value["level"]), (&"refused".into(), &"WARN".into()));
    }

    #[test]
    fn a_human_line_quotes_text() {
        let text = line(Format::Human, || tracing::info!(target: "x", path = "/a\n/b", "hello"));
        assert!(text.ends_with(" INFO x: hello path=\"/a\\n/b\"\n"), "{text}");
    }

    #[test]
    fn filters_are_checked() {
        assert!(Filter::from_env("warn,sekat_mesh=debug").is_some());
        assert!(Filter::from_env("warn,sekat_mesh=loud").is_none());
    }
}
