//! Whole traces of what an audit reads, few enough to keep: faults are planted in a copy of them.

use crate::span::{Attributes, Kind, Link, Resource, Sink, Span};

/// Spans that are kept at most.
const SPANS: usize = 2_000;

/// A span and its resource, owned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnedSpan {
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) domain: String,
    pub(crate) stamped: String,
    pub(crate) exporter: String,
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) parent_id: [u8; 8],
    pub(crate) flags: u32,
    pub(crate) trace_state: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) failed: bool,
    pub(crate) status_message: String,
    pub(crate) dropped_attributes: u32,
    pub(crate) dropped_links: u32,
    pub(crate) links: Vec<Link>,
    pub(crate) texts: Texts,
    pub(crate) grpc_status_code: Option<i64>,
    pub(crate) audit_seq: Option<i64>,
}

/// The attributes that are text, in the order of [`Attributes`].
pub(crate) type Texts = [String; 16];

/// The place of `sekat.peer.id` in [`Texts`].
pub(crate) const PEER: usize = 12;

impl OwnedSpan {
    fn new(resource: &Resource<'_>, span: &Span<'_>) -> Self {
        let it = &span.attributes;
        let texts = [
            it.rpc_system,
            it.rpc_system_name,
            it.rpc_service,
            it.rpc_method,
            it.rpc_method_original,
            it.rpc_response_status_code,
            it.rpc_status_code,
            it.server_address,
            it.db_system,
            it.db_namespace,
            it.messaging_system,
            it.messaging_destination,
            it.sekat_peer_id,
            it.sekat_decision,
            it.sekat_policy_digest,
            it.sekat_data_class,
        ];
        Self {
            service: resource.service.to_owned(),
            instance: resource.instance.to_owned(),
            domain: resource.domain.to_owned(),
            stamped: resource.stamped.to_owned(),
            exporter: resource.exporter.to_owned(),
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent_id: span.parent_id,
            flags: span.flags,
            trace_state: span.trace_state.to_owned(),
            name: span.name.to_owned(),
            kind: span.kind,
            start_ns: span.start_ns,
            end_ns: span.end_ns,
            failed: span.failed,
            status_message: span.status_message.to_owned(),
            dropped_attributes: span.dropped_attributes,
            dropped_links: span.dropped_links,
            links: span.links.to_vec(),
            texts: texts.map(str::to_owned),
            grpc_status_code: it.rpc_grpc_status_code,
            audit_seq: it.sekat_audit_seq,
        }
    }

    pub(crate) fn hand_to(&self, sink: &mut impl Sink) {
        let resource = Resource {
            service: &self.service,
            instance: &self.instance,
            domain: &self.domain,
            stamped: &self.stamped,
            exporter: &self.exporter,
        };
        let [
            rpc_system,
            rpc_system_name,
            rpc_service,
            rpc_method,
            rpc_method_original,
            rpc_response_status_code,
            rpc_status_code,
            server_address,
            db_system,
            db_namespace,
            messaging_system,
            messaging_destination,
            sekat_peer_id,
            sekat_decision,
            sekat_policy_digest,
            sekat_data_class,
        ] = self.texts.each_ref().map(String::as_str);
        let attributes = Attributes {
            rpc_system,
            rpc_system_name,
            rpc_service,
            rpc_method,
            rpc_method_original,
            rpc_grpc_status_code: self.grpc_status_code,
            rpc_response_status_code,
            rpc_status_code,
            server_address,
            db_system,
            db_namespace,
            messaging_system,
            messaging_destination,
            sekat_peer_id,
            sekat_decision,
            sekat_policy_digest,
            sekat_audit_seq: self.audit_seq,
            sekat_data_class,
        };
        let span = Span {
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent_id: self.parent_id,
            flags: self.flags,
            trace_state: &self.trace_state,
            name: &self.name,
            kind: self.kind,
            start_ns: self.start_ns,
            end_ns: self.end_ns,
            failed: self.failed,
            status_message: &self.status_message,
            dropped_attributes: self.dropped_attributes,
            dropped_links: self.dropped_links,
            links: &self.links,
            attributes,
        };
        sink.span(&resource, &span);
    }
}

/// Whole traces, chosen by their ids; the more there are, the smaller the share that is kept.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) spans: Vec<OwnedSpan>,
    /// Traces whose hash is above it are not kept.
    threshold: u64,
}

impl Sample {
    /// `wanted`: whether anything is kept at all.
    pub(crate) fn new(wanted: bool) -> Self {
        Self { spans: Vec::new(), threshold: if wanted { u64::MAX } else { 0 } }
    }

    #[inline]
    pub(crate) fn span(&mut self, resource: &Resource<'_>, span: &Span<'_>) {
        if self.threshold == 0 || hash(span.trace_id) > self.threshold {
            return;
        }
        self.spans.push(OwnedSpan::new(resource, span));
        while self.spans.len() > SPANS {
            self.threshold /= 2;
            self.spans.retain(|span| hash(span.trace_id) <= self.threshold);
        }
    }

    /// Whether servers write down their callers' certificates.
    pub(crate) fn has_peers(&self) -> bool {
        self.spans
            .iter()
            .any(|span| span.kind == Kind::Server && span.texts.get(PEER).is_some_and(|peer| !peer.is_empty()))
    }
}

/// The same in every run: a report can be made again. Whoever chooses trace ids to stay out of the sample changes in
/// which spans faults are planted, and not whether they are found.
fn hash(trace_id: [u8; 16]) -> u64 {
    let whole = u128::from_be_bytes(trace_id).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let mixed = (whole ^ (whole >> 64)).wrapping_mul(0x2545_f491_4f6c_dd1d_9e37_79b9_7f4a_7c15);
    u64::try_from(mixed >> 64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_traces_are_kept_and_come_back_as_they_were() {
        let mut sample = Sample::new(true);
        let links = [Link { trace_id: [1; 16], span_id: [2; 8], flags: 1 }];
        for trace in 1..=1_000_u128 {
            for span in 1..=10_u64 {
                let span = Span {
                    trace_id: trace.to_be_bytes(),
                    span_id: span.to_be_bytes(),
                    links: &links,
                    name: "x",
                    attributes: Attributes { sekat_peer_id: "spiffe://d/x", ..Attributes::default() },
                    ..Span::default()
                };
                sample.span(&Resource { service: "order", ..Resource::default() }, &span);
            }
        }
        assert!((500..=SPANS).contains(&sample.spans.len()), "{}", sample.spans.len());
        assert_eq!(sample.spans.len() % 10, 0);
        let again = sample.spans.clone();
        let mut copy = Sample::new(true);
        struct To<'a>(&'a mut Sample);
        impl Sink for To<'_> {
            fn span(&mut self, resource: &Resource<'_>, span: &Span<'_>) {
                self.0.span(resource, span);
            }
            fn recorded(&mut self, _: &Resource<'_>, _: crate::span::Recorded) {}
        }
        again.iter().for_each(|span| span.hand_to(&mut To(&mut copy)));
        assert_eq!(copy.spans, again);
    }
}
