//! OTLP in protobuf, read in place: `ExportTraceServiceRequest`, which on the wire is also `TracesData`. Field numbers
//! are those of opentelemetry-proto 1.x; fields that the audit does not look at are skipped, also unknown ones.

use std::fmt;

use crate::span::{Attributes, Kind, Link, Recorded, Resource, Sink, Span, Value};

use super::wire::{Fields, Malformed, Wire};

/// Links of one span that are looked at; further ones count as dropped.
const LINKS: usize = 128;

/// A message that is no OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOtlp {
    /// What is wrong.
    pub why: &'static str,
}

impl fmt::Display for NotOtlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no OTLP traces: {}", self.why)
    }
}

impl std::error::Error for NotOtlp {}

impl From<Malformed> for NotOtlp {
    fn from(malformed: Malformed) -> Self {
        Self { why: malformed.why }
    }
}

/// Hands all spans of one encoded message to `sink`. `exporter` is the identity of who sent it, empty if nobody checked.
/// Returns how many spans there were.
///
/// # Errors
/// If the bytes are no `ExportTraceServiceRequest`. Spans before the fault were handed over.
pub fn decode(message: &[u8], exporter: &str, sink: &mut impl Sink) -> Result<u64, NotOtlp> {
    let mut spans = 0;
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        if let (1, Wire::Bytes(bytes)) = (number, value) {
            spans += resource_spans(bytes, exporter, sink)?;
        }
    }
    Ok(spans)
}

fn resource_spans(bytes: &[u8], exporter: &str, sink: &mut impl Sink) -> Result<u64, NotOtlp> {
    // The resource need not stand first, but it must be known before the first span.
    let mut resource = Resource { exporter, ..Resource::default() };
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next()? {
        if let (1, Wire::Bytes(bytes)) = (number, value) {
            let mut fields = Fields(bytes);
            while let Some((number, value)) = fields.next()? {
                if let (1, Wire::Bytes(pair)) = (number, value) {
                    let (key, value) = key_value(pair)?;
                    resource.set(key, value);
                }
            }
        }
    }
    let mut spans = 0;
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next()? {
        if let (2, Wire::Bytes(bytes)) = (number, value) {
            spans += scope_spans(bytes, &resource, sink)?;
        }
    }
    Ok(spans)
}

fn scope_spans(bytes: &[u8], resource: &Resource<'_>, sink: &mut impl Sink) -> Result<u64, NotOtlp> {
    let mut spans = 0;
    let mut links = [Link::default(); LINKS];
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Wire::Bytes(bytes)) => {
                let recorded = scope(bytes)?;
                if recorded != Recorded::default() {
                    sink.recorded(resource, recorded);
                }
            }
            (2, Wire::Bytes(bytes)) => {
                let mut read = Span::default();
                let count = span(bytes, &mut read, &mut links)?;
                read.links = links.get(..count).unwrap_or_default();
                sink.span(resource, &read);
                spans += 1;
            }
            _ => {}
        }
    }
    Ok(spans)
}

fn scope(bytes: &[u8]) -> Result<Recorded, NotOtlp> {
    let mut recorded = Recorded::default();
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next()? {
        if let (3, Wire::Bytes(pair)) = (number, value) {
            let (key, value) = key_value(pair)?;
            recorded.set(key, value);
        }
    }
    Ok(recorded)
}

/// Reads a span into `span`, which is large to move, and its links into `links`; returns how many of these there are.
fn span<'a>(bytes: &'a [u8], span: &mut Span<'a>, links: &mut [Link; LINKS]) -> Result<usize, NotOtlp> {
    let mut count = 0;
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Wire::Bytes(id)) => span.trace_id = id_of(id)?,
            (2, Wire::Bytes(id)) => span.span_id = id_of(id)?,
            (3, Wire::Bytes(state)) => span.trace_state = text(state)?,
            (4, Wire::Bytes(id)) => span.parent_id = if id.is_empty() { [0; 8] } else { id_of(id)? },
            (5, Wire::Bytes(name)) => span.name = text(name)?,
            (6, Wire::Varint(kind)) => span.kind = Kind::of_number(kind),
            (7, Wire::Fixed64(at)) => span.start_ns = at,
            (8, Wire::Fixed64(at)) => span.end_ns = at,
            (9, Wire::Bytes(pair)) => attribute(pair, &mut span.attributes)?,
            (10, Wire::Varint(dropped)) => span.dropped_attributes = saturated(dropped),
            (13, Wire::Bytes(bytes)) => match links.get_mut(count) {
                Some(slot) => {
                    *slot = link(bytes)?;
                    count += 1;
                }
                None => span.dropped_links = span.dropped_links.saturating_add(1),
            },
            (14, Wire::Varint(dropped)) => span.dropped_links = span.dropped_links.saturating_add(saturated(dropped)),
            (15, Wire::Bytes(bytes)) => (span.failed, span.status_message) = status(bytes)?,
            (16, Wire::Fixed32(flags)) => span.flags = flags,
            _ => {}
        }
    }
    Ok(count)
}

#[inline]
fn attribute<'a>(pair: &'a [u8], attributes: &mut Attributes<'a>) -> Result<(), NotOtlp> {
    let (key, value) = key_value(pair)?;
    attributes.set(key, value);
    Ok(())
}

fn link(bytes: &[u8]) -> Result<Link, NotOtlp> {
    let mut link = Link::default();
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Wire::Bytes(id)) => link.trace_id = id_of(id)?,
            (2, Wire::Bytes(id)) => link.span_id = id_of(id)?,
            (6, Wire::Fixed32(flags)) => link.flags = flags,
            _ => {}
        }
    }
    Ok(link)
}

fn status(bytes: &[u8]) -> Result<(bool, &str), NotOtlp> {
    let (mut failed, mut message) = (false, "");
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (2, Wire::Bytes(bytes)) => message = text(bytes)?,
            (3, Wire::Varint(code)) => failed = code == 2,
            _ => {}
        }
    }
    Ok((failed, message))
}

fn key_value(pair: &[u8]) -> Result<(&[u8], Value<'_>), NotOtlp> {
    let (mut key, mut value): (&[u8], _) = (&[], Value::Other);
    let mut fields = Fields(pair);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Wire::Bytes(bytes)) => key = bytes,
            (2, Wire::Bytes(bytes)) => value = any_value(bytes)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn any_value(bytes: &[u8]) -> Result<Value<'_>, NotOtlp> {
    let mut value = Value::Other;
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        value = match (number, field) {
            (1, Wire::Bytes(bytes)) => Value::Text(text(bytes)?),
            (3, Wire::Varint(number)) => Value::Int(number.cast_signed()),
            _ => Value::Other,
        };
    }
    Ok(value)
}

fn text(bytes: &[u8]) -> Result<&str, NotOtlp> {
    std::str::from_utf8(bytes).map_err(|_| NotOtlp { why: "text is not UTF-8" })
}

fn id_of<const N: usize>(bytes: &[u8]) -> Result<[u8; N], NotOtlp> {
    bytes.try_into().map_err(|_| NotOtlp { why: "an id has the wrong length" })
}

fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
