//! The audit: spans come in one by one, their traces are joined when all are there, and a report comes out.

use std::collections::{HashMap, HashSet};
use std::io;

use sekat_policy::Intent;

use crate::dialect::{self, MethodName, Role};
use crate::finding::{At, On, What};
use crate::input::{AccessRecord, Counters, Flow, Refusal};
use crate::join::Join;
use crate::names::{Name, Names};
use crate::options::Options;
use crate::partition::Partitions;
use crate::plan::{Plan, Who};
use crate::record::{NO_STATUS, Of, Record, bit};
use crate::report::Report;
use crate::sample::Sample;
use crate::sampling::Sampler;
use crate::span::{Kind, Recorded, Resource, SAMPLED, Sink, Span};
use crate::tally::{Interval, Seen, Tally};
use crate::{reconcile, report, self_test};

/// An audit that is running. Hand it spans (it is a [`Sink`]) and what is to be compared with them, then [`finish`]
/// it.
///
/// Memory does not grow with the number of spans: what does not fit into [`Options::memory_bytes`] goes to a temporary
/// file.
///
/// [`finish`]: Self::finish
#[derive(Debug)]
pub struct Audit<'a> {
    intent: &'a Intent,
    options: Options,
    plan: Plan,
    names: Names,
    partitions: Partitions,
    /// The first error of the temporary file; nothing is kept after it.
    failed: Option<io::Error>,
    tally: Tally,
    sampler: Sampler,
    sample: Sample,
    recording: HashSet<Who>,
    counters: Vec<Counters>,
    flows: Vec<Flow>,
    /// The claims of each instance: its service and its exporter.
    instances: HashMap<Name, (Name, Name)>,
    /// The resource of the span before, which is nearly always the same.
    resource: Known,
    scratch: String,
    read: u64,
}

/// A resource whose names have numbers.
#[derive(Debug, Default)]
struct Known {
    texts: [String; 5],
    service: Name,
    instance: Name,
    exporter: Name,
    /// Why its claims cannot be true; told with its first span.
    spoofed: Option<String>,
}

impl<'a> Audit<'a> {
    /// Begins an audit of what `intent` means to be possible.
    #[must_use]
    pub fn new(intent: &'a Intent, options: Options) -> Self {
        let mut names = Names::new();
        let plan = Plan::new(intent, &options, &mut names);
        let partitions = Partitions::new(options.memory_bytes / size_of::<Record>());
        Self {
            intent,
            plan,
            names,
            partitions,
            failed: None,
            tally: Tally::default(),
            sampler: Sampler::default(),
            sample: Sample::new(options.self_test),
            recording: HashSet::new(),
            counters: Vec::new(),
            flows: Vec::new(),
            instances: HashMap::new(),
            resource: Known::default(),
            scratch: String::new(),
            read: 0,
            options,
        }
    }

    /// Adds what a process counted.
    pub fn counters(&mut self, counters: Counters) {
        if let Some(who) = self.names.known(&counters.workload).and_then(|name| self.plan.by_service(name)) {
            let Counters { from_ns, to_ns, run, .. } = counters;
            let instance = self.names.number(&counters.instance);
            let (seen, unsure) = (Seen::new(), Seen::new());
            let interval = Interval { from_ns, to_ns, run, input: self.counters.len(), seen, unsure, later: 0 };
            self.tally.counting.insert(who);
            self.tally.intervals.entry((who, instance)).or_default().push(interval);
        }
        self.counters.push(counters);
    }

    /// Says that every access at a workload has a record, also if there was none.
    pub fn records_accesses(&mut self, workload: &str) {
        if let Some(who) = self.names.known(workload).and_then(|name| self.plan.by_service(name)) {
            self.recording.insert(who);
        }
    }

    /// Adds an access record.
    pub fn access(&mut self, access: &AccessRecord) {
        self.records_accesses(&access.workload);
        let record = Record {
            trace: u128::from_be_bytes(access.trace_id),
            span: u64::from_be_bytes(access.span_id),
            start_ns: access.at_ns,
            end_ns: access.at_ns,
            sequence: access.sequence,
            method: self.names.number(&access.method),
            peer: self.names.number(&access.caller),
            service: self.names.number(&access.workload),
            bits: bit::ALLOW,
            of: Of::Access,
            ..Record::EMPTY
        };
        self.keep(record);
    }

    /// Adds an entry of an audit log.
    pub fn refusal(&mut self, refusal: &Refusal) {
        let record = Record {
            trace: u128::from_be_bytes(refusal.trace_id),
            sequence: refusal.sequence,
            method: self.names.number(&refusal.path),
            peer: self.names.number(&refusal.caller),
            service: self.names.number(&refusal.workload),
            bits: bit::DENY,
            of: Of::Refusal,
            ..Record::EMPTY
        };
        self.keep(record);
    }

    /// Adds traffic that the network saw.
    pub fn flow(&mut self, flow: Flow) {
        self.flows.push(flow);
    }

    /// Says that a source did not give everything: `why` says which and how that shows.
    pub fn source_is_truncated(&mut self, why: impl Into<String>) {
        self.tally.findings.add(What::Truncated, On::default(), At::default(), why);
    }

    /// Says that a file ends within a message.
    pub fn source_ends_early(&mut self, why: impl Into<String>) {
        self.tally.findings.add(What::BrokenTail, On::default(), At::default(), why);
    }

    /// Says that a chain of records does not hold: `why` says where.
    pub fn chain_is_broken(&mut self, why: impl Into<String>) {
        self.tally.findings.add(What::BrokenChain, On::default(), At::default(), why);
    }

    /// Joins what came, and says what it means.
    ///
    /// # Errors
    /// If the temporary file cannot be written or read.
    pub fn finish(mut self) -> io::Result<Report> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut join = Join {
            plan: &self.plan,
            names: &self.names,
            options: &self.options,
            recording: &self.recording,
            tally: &mut self.tally,
        };
        let partitions = std::mem::replace(&mut self.partitions, Partitions::new(0));
        partitions.drain(&mut |records| join.trace(records))?;
        reconcile::counters(&mut self.tally, &self.plan, &mut self.names, &self.counters);
        reconcile::flows(&mut self.tally, &mut self.names, &self.flows);
        reconcile::processes(&mut self.tally, &self.names, &self.counters, &self.recording);
        self.check_limits();
        let own_dialect = self.sample.has_peers();
        let tested = if self.options.self_test {
            Some(self_test::run(self.intent, &self.options, self.sample, own_dialect)?)
        } else {
            None
        };
        let input = report::Input {
            intent: self.intent,
            options: &self.options,
            plan: &self.plan,
            names: &self.names,
            tally: &mut self.tally,
            sampling: self.sampler.report(),
            read: self.read,
            self_test: tested,
        };
        Ok(report::build(input))
    }

    /// What shows only in the whole.
    fn check_limits(&mut self) {
        let findings = &mut self.tally.findings;
        let mut add = |what, count, why: String| findings.add_many(what, On::default(), At::default(), count, why);
        let sampling = self.sampler.report();
        if !self.sampler.is_complete() {
            let spans = sampling.sampled_spans + sampling.unsampled_spans + sampling.unreadable;
            let why = format!(
                "with a share of {:.6}, what happened {} times is seen with 99 %",
                sampling.probability, sampling.seen_after
            );
            add(What::Sampled, spans, why);
        }
        if self.names.refused + self.tally.edges_refused > 0 {
            add(
                What::TooManyNames,
                self.names.refused + self.tally.edges_refused,
                "there is room for 65,536".to_owned(),
            );
        }
        if self.tally.calls == 0 {
            add(What::NothingSeen, 1, format!("{} spans were read", self.read));
        }
    }

    fn keep(&mut self, record: Record) {
        if self.failed.is_none()
            && let Err(error) = self.partitions.push(record)
        {
            self.failed = Some(error);
        }
    }

    /// The numbers of a resource's names. A new one is checked: its claims must be possible together.
    #[inline]
    fn resource(&mut self, resource: &Resource<'_>) {
        let texts = [resource.service, resource.instance, resource.domain, resource.stamped, resource.exporter];
        if self.resource.texts == texts && !self.resource.service.is_none() {
            return;
        }
        self.new_resource(resource, texts);
    }

    fn new_resource(&mut self, resource: &Resource<'_>, texts: [&str; 5]) {
        let exporter =
            if resource.exporter.is_empty() && self.options.trust_stamp { resource.stamped } else { resource.exporter };
        let service = self.names.number(resource.service);
        let instance = self.names.number(resource.instance);
        let exporter = self.names.number(exporter);
        let mut spoofed = None;
        let by_service = self.plan.by_service(service);
        let by_exporter = self.plan.by_identity(exporter);
        if !exporter.is_none() && !service.is_none() && by_service != by_exporter {
            spoofed = Some(format!("`{}` came from {}", resource.service, self.names.text(exporter)));
        }
        let domain = by_exporter.or(by_service).and_then(|who| self.plan.workload(who)).map(|workload| workload.domain);
        if let Some(domain) = domain
            && !resource.domain.is_empty()
            && self.names.text(domain) != resource.domain
        {
            spoofed = Some(format!("`{}` says that it is of the domain `{}`", resource.service, resource.domain));
        }
        if !instance.is_none() && instance != Name::OTHER {
            let (other, other_exporter) = *self.instances.entry(instance).or_insert((service, exporter));
            // The same spans may also come from where nobody checked a certificate.
            let two_exporters = !exporter.is_none() && !other_exporter.is_none() && exporter != other_exporter;
            if other != service || two_exporters {
                let other = self.names.text(other);
                spoofed = Some(format!("instance `{}` is also one of `{other}`", resource.instance));
            }
        }
        self.resource = Known { texts: texts.map(str::to_owned), service, instance, exporter, spoofed };
    }

    /// `/pkg.Service/Method` as a number.
    #[inline]
    fn path(&mut self, method: MethodName<'_>) -> Name {
        self.scratch.clear();
        for part in ["/", method.service, "/", method.method] {
            self.scratch.push_str(part);
        }
        self.names.number(&self.scratch)
    }

    fn links(&mut self, span: &Span<'_>, topic: Name) {
        let linking = u128::from_be_bytes(span.trace_id);
        for link in span.links {
            // What was not sampled is not there, and need not be; flags of 0 are those of libraries without flags.
            if link.flags != 0 && link.flags & SAMPLED == 0 {
                continue;
            }
            let [high, low] =
                [linking >> 64, linking & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or(0));
            let record = Record {
                trace: u128::from_be_bytes(link.trace_id),
                span: u64::from_be_bytes(link.span_id),
                parent: u64::from_be_bytes(span.span_id),
                start_ns: high,
                end_ns: low,
                method: topic,
                service: self.resource.service,
                exporter: self.resource.exporter,
                of: Of::Link,
                ..Record::EMPTY
            };
            self.keep(record);
        }
    }

    /// What the span is of, its method (or topic, or database), its peer and its status.
    #[inline]
    fn normalise(&mut self, span: &Span<'_>, record: &mut Record) {
        let attributes = &span.attributes;
        if let Some(call) = dialect::read(span) {
            record.of = if call.role == Role::Server { Of::Server } else { Of::Client };
            record.method = call.method.map_or(Name::NONE, |method| self.path(method));
            record.status = call.status.map_or(NO_STATUS, dialect::Status::number);
            if call.unknown {
                record.bits |= bit::UNKNOWN_METHOD;
            }
            if call.contradictory {
                record.bits |= bit::CONTRADICTORY;
            }
        } else if !attributes.messaging_system.is_empty() && matches!(span.kind, Kind::Producer | Kind::Consumer) {
            record.of = if span.kind == Kind::Producer { Of::Producer } else { Of::Consumer };
            record.method = self.names.number(attributes.messaging_destination);
        } else if !attributes.db_system.is_empty() && span.kind == Kind::Client {
            // A database in the process is no place that somebody else could reach.
            let embedded =
                attributes.server_address.is_empty() && matches!(attributes.db_system, "sqlite" | "h2" | "derby");
            if !embedded {
                record.of = Of::Database;
                record.method = self.names.number(attributes.db_namespace);
                record.peer = self.names.number(attributes.server_address);
            }
        }
        if matches!(record.of, Of::Server | Of::Client) {
            record.peer = self.names.number(attributes.sekat_peer_id);
            record.policy = self.names.number(attributes.sekat_policy_digest);
            record.sequence = attributes.sekat_audit_seq.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
            record.bits |= match attributes.sekat_decision {
                "allow" => bit::ALLOW,
                "deny" => bit::DENY,
                _ => 0,
            };
            if !record.policy.is_none() {
                record.bits |= bit::DECIDED;
            }
        }
    }
}

impl Sink for Audit<'_> {
    fn span(&mut self, resource: &Resource<'_>, span: &Span<'_>) {
        self.read += 1;
        self.resource(resource);
        self.sampler.span(span.trace_state, span.flags);
        self.sample.span(resource, span);
        let mut record = Record {
            trace: u128::from_be_bytes(span.trace_id),
            span: u64::from_be_bytes(span.span_id),
            parent: u64::from_be_bytes(span.parent_id),
            start_ns: span.start_ns,
            end_ns: span.end_ns,
            service: self.resource.service,
            exporter: self.resource.exporter,
            instance: self.resource.instance,
            ..Record::EMPTY
        };
        self.normalise(span, &mut record);
        if span.flags & crate::span::PARENT_IS_REMOTE != 0 {
            record.bits |= bit::REMOTE;
        }
        if span.dropped_attributes > 0 || span.dropped_links > 0 {
            record.bits |= bit::DROPPED;
        }
        let at = At { at_ns: span.start_ns, trace: record.trace, span: record.span };
        if record.trace == 0 || record.span == 0 {
            let on = On { callee: record.service, method: record.method, ..On::default() };
            self.tally.findings.add(What::NoIds, on, at, "its trace or span id is zero");
        }
        if let Some(why) = self.resource.spoofed.take() {
            let on = On { callee: record.service, ..On::default() };
            self.tally.findings.add(What::SpoofedExporter, on, at, why);
        }
        if !span.links.is_empty() {
            let topic = if record.of == Of::Consumer { record.method } else { Name::NONE };
            self.links(span, topic);
        }
        self.keep(record);
    }

    fn recorded(&mut self, resource: &Resource<'_>, recorded: Recorded) {
        self.resource(resource);
        let process = self.tally.process(self.resource.service, self.resource.instance);
        process.recorded = process.recorded.max(recorded.recorded);
        process.dropped = process.dropped.max(recorded.dropped);
    }
}

#[cfg(test)]
mod tests;
