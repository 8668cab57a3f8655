//! A span as every source hands it over: borrowed, with exactly the fields that the audit looks at.

use std::fmt;

/// Who made spans, as they say themselves, and as a witness saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resource<'a> {
    /// `service.name`: a claim, and never more.
    pub service: &'a str,
    /// `service.instance.id`: a claim as well.
    pub instance: &'a str,
    /// `sekat.domain`: a claim as well.
    pub domain: &'a str,
    /// `sekat.exporter.id`, which a collector stamps: as good as that collector.
    pub stamped: &'a str,
    /// The SPIFFE ID of the certificate with which a witness received the spans; empty if nobody checked one.
    pub exporter: &'a str,
}

/// Which side of what a span describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing that leaves the process; also what says no kind.
    #[default]
    Internal,
    /// The called side of a call.
    Server,
    /// The calling side of a call.
    Client,
    /// A message is published.
    Producer,
    /// A message is consumed.
    Consumer,
}

impl Kind {
    /// `SpanKind` of OTLP.
    #[must_use]
    pub const fn of_number(number: u64) -> Self {
        match number {
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Internal,
        }
    }

    /// `SPAN_KIND_SERVER`, `server` and their like.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        match name.trim_start_matches("SPAN_KIND_").to_ascii_lowercase().as_str() {
            "server" => Self::Server,
            "client" => Self::Client,
            "producer" => Self::Producer,
            "consumer" => Self::Consumer,
            _ => Self::Internal,
        }
    }
}

/// A span that another one names as its cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its trace.
    pub trace_id: [u8; 16],
    /// Its id.
    pub span_id: [u8; 8],
    /// Its flags: the low byte is W3C's; 0 if nobody says.
    pub flags: u32,
}

/// One span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span<'a> {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span.
    pub span_id: [u8; 8],
    /// The span that caused it; all zero for a root.
    pub parent_id: [u8; 8],
    /// W3C's flags, and [`PARENT_IS_KNOWN`] and [`PARENT_IS_REMOTE`].
    pub flags: u32,
    /// W3C's `tracestate`.
    pub trace_state: &'a str,
    /// The name.
    pub name: &'a str,
    /// The side.
    pub kind: Kind,
    /// When it began, in nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// When it ended, in nanoseconds since the Unix epoch.
    pub end_ns: u64,
    /// Whether its status is an error.
    pub failed: bool,
    /// The description of that error.
    pub status_message: &'a str,
    /// Attributes that its process threw away.
    pub dropped_attributes: u32,
    /// Links that its process threw away.
    pub dropped_links: u32,
    /// What else caused it.
    pub links: &'a [Link],
    /// Its attributes.
    pub attributes: Attributes<'a>,
}

/// The flag that says that [`PARENT_IS_REMOTE`] means something.
pub const PARENT_IS_KNOWN: u32 = 0x100;
/// The flag of a span whose parent is in another process.
pub const PARENT_IS_REMOTE: u32 = 0x200;
/// W3C's flag of a trace that is recorded.
pub const SAMPLED: u32 = 0x01;

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// A whole number.
    Int(i64),
    /// Anything else, which no attribute of ours is.
    Other,
}

/// The attributes that the audit knows, in all dialects; a text that is not there is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the attribute of its name, documented by its convention")]
pub struct Attributes<'a> {
    pub rpc_system: &'a str,
    pub rpc_system_name: &'a str,
    pub rpc_service: &'a str,
    pub rpc_method: &'a str,
    pub rpc_method_original: &'a str,
    pub rpc_grpc_status_code: Option<i64>,
    pub rpc_response_status_code: &'a str,
    pub rpc_status_code: &'a str,
    pub server_address: &'a str,
    pub db_system: &'a str,
    pub db_namespace: &'a str,
    pub messaging_system: &'a str,
    pub messaging_destination: &'a str,
    pub sekat_peer_id: &'a str,
    pub sekat_decision: &'a str,
    pub sekat_policy_digest: &'a str,
    pub sekat_audit_seq: Option<i64>,
    pub sekat_data_class: &'a str,
}

impl<'a> Attributes<'a> {
    /// Keeps an attribute if it is one of the known. Old names stand for their successors where these are missing.
    pub fn set(&mut self, key: &[u8], value: Value<'a>) {
        // Most attributes are none of these: what stands in front of the first dot settles that.
        match key {
            [b'r', b'p', b'c', b'.', rest @ ..] => self.set_rpc(rest, value),
            [b's', b'e', b'k', b'a', b't', b'.', rest @ ..] => self.set_ours(rest, value),
            [b's' | b'n' | b'd' | b'm', ..] => self.set_other(key, value),
            _ => {}
        }
    }

    fn set_rpc(&mut self, key: &[u8], value: Value<'a>) {
        match key {
            b"system" => self.rpc_system = value.text(),
            b"system.name" => self.rpc_system_name = value.text(),
            b"service" => self.rpc_service = value.text(),
            b"method" => self.rpc_method = value.text(),
            b"method_original" => self.rpc_method_original = value.text(),
            b"grpc.status_code" => self.rpc_grpc_status_code = value.number(),
            b"response.status_code" => self.rpc_response_status_code = value.text(),
            b"status_code" => self.rpc_status_code = value.text(),
            _ => {}
        }
    }

    fn set_ours(&mut self, key: &[u8], value: Value<'a>) {
        match key {
            b"peer.id" => self.sekat_peer_id = value.text(),
            b"decision" => self.sekat_decision = value.text(),
            b"policy.digest" => self.sekat_policy_digest = value.text(),
            b"audit.seq" => self.sekat_audit_seq = value.number(),
            b"data_class" => self.sekat_data_class = value.text(),
            _ => {}
        }
    }

    fn set_other(&mut self, key: &[u8], value: Value<'a>) {
        match key {
            b"server.address" => self.server_address = value.text(),
            b"net.peer.name" => or(&mut self.server_address, value.text()),
            b"db.system.name" => self.db_system = value.text(),
            b"db.system" => or(&mut self.db_system, value.text()),
            b"db.namespace" => self.db_namespace = value.text(),
            b"db.name" => or(&mut self.db_namespace, value.text()),
            b"messaging.system" => self.messaging_system = value.text(),
            b"messaging.destination.name" => self.messaging_destination = value.text(),
            b"messaging.destination" => or(&mut self.messaging_destination, value.text()),
            _ => {}
        }
    }
}

impl<'a> Value<'a> {
    /// The text; empty if it is something else.
    fn text(self) -> &'a str {
        if let Self::Text(text) = self { text } else { "" }
    }

    /// The number, also if it is written as text.
    fn number(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number),
            Self::Text(text) => text.parse().ok(),
            Self::Other => None,
        }
    }
}

fn or<'a>(field: &mut &'a str, text: &'a str) {
    if field.is_empty() {
        *field = text;
    }
}

impl<'a> Resource<'a> {
    /// Keeps an attribute of the resource if it is one of the known.
    pub fn set(&mut self, key: &[u8], value: Value<'a>) {
        let Value::Text(text) = value else { return };
        match key {
            b"service.name" => self.service = text,
            b"service.instance.id" => self.instance = text,
            b"sekat.domain" => self.domain = text,
            b"sekat.exporter.id" => self.stamped = text,
            _ => {}
        }
    }
}

/// How many spans a process says it has recorded and lost since it began, by a scope's attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// `sekat.spans.recorded`.
    pub recorded: Option<u64>,
    /// `sekat.spans.dropped`.
    pub dropped: Option<u64>,
}

impl Recorded {
    /// Keeps an attribute of the scope if it is one of the known.
    pub fn set(&mut self, key: &[u8], value: Value<'_>) {
        let Value::Int(number) = value else { return };
        match key {
            b"sekat.spans.recorded" => self.recorded = u64::try_from(number).ok(),
            b"sekat.spans.dropped" => self.dropped = u64::try_from(number).ok(),
            _ => {}
        }
    }
}

/// What takes spans from a source, one by one.
pub trait Sink {
    /// One span.
    fn span(&mut self, resource: &Resource<'_>, span: &Span<'_>);
    /// What a process says about the number of its spans, once for each batch that says something.
    fn recorded(&mut self, resource: &Resource<'_>, recorded: Recorded);
}

/// Bytes as lower-case hexadecimal digits.
#[derive(Clone, Copy)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads hexadecimal digits of either case; `None` if there are too many or too few, or something else is there.
#[must_use]
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let mut value = 0;
        for digit in pair {
            value = value * 16 + char::from(*digit).to_digit(16)?;
        }
        *byte = u8::try_from(value).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_goes_there_and_back_and_nothing_else_does() {
        let bytes = [0, 0x0f, 0xa5, 0xff];
        assert_eq!(Hex(&bytes).to_string(), "000fa5ff");
        assert_eq!(unhex("000fA5ff"), Some(bytes));
        for wrong in ["000fa5f", "000fa5fff0", "000fa5fg", "+00fa5ff", ""] {
            assert_eq!(unhex::<4>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_old_name_never_replaces_a_new_one() {
        let mut attributes = Attributes::default();
        attributes.set(b"db.system.name", Value::Text("postgresql"));
        attributes.set(b"db.system", Value::Text("mysql"));
        attributes.set(b"db.name", Value::Text("orders"));
        assert_eq!((attributes.db_system, attributes.db_namespace), ("postgresql", "orders"));
    }

    #[test]
    fn kinds_have_numbers_and_names() {
        let named = ["SPAN_KIND_INTERNAL", "server", "SPAN_KIND_CLIENT", "producer", "CONSUMER"];
        for (number, name) in (1..).zip(named) {
            assert_eq!(Kind::of_number(number), Kind::of_name(name), "{name}");
        }
    }
}
