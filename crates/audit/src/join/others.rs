//! What is not a call: messages, databases, access records without a span, links.

use std::collections::HashSet;

use super::{Call, Join, at};
use crate::finding::{At, What};
use crate::judge::{Meaning, Told};
use crate::names::Name;
use crate::record::{Of, Record};
use crate::tally::{EdgeKey, Evidence};
use crate::trace::Trace;

impl Join<'_> {
    /// A message: who publishes and who consumes is stated for each topic.
    pub(super) fn message(&mut self, record: &Record) {
        let party = self.owner(record);
        let publishes = record.of == Of::Producer;
        let on = if publishes {
            self.on(party.name, Name::NONE, record.method)
        } else {
            self.on(Name::NONE, party.name, record.method)
        };
        let Some((publishers, consumers)) = self.plan.topic(record.method) else {
            let why = format!("`{}` is no topic of the policy", self.text(record.method));
            self.other_edge(record, on.caller, on.callee, party.evidence, Meaning::Unclear);
            return self.tally.findings.add(What::UnknownTopic, on, at(record), why);
        };
        let may = party.who.is_some_and(|who| if publishes { publishers } else { consumers }.contains(&who));
        self.other_edge(record, on.caller, on.callee, party.evidence, meaning(may));
        if !may {
            let why = if publishes { "it is no publisher" } else { "it is no consumer" };
            self.tally.findings.add(
                What::ForbiddenTopic,
                on,
                at(record),
                format!("{why}; {}", super::by(party.evidence)),
            );
        }
    }

    /// A database: only its client has a span.
    pub(super) fn database(&mut self, record: &Record) {
        let party = self.owner(record);
        let address = self.text(record.peer);
        let host = address.split('.').next().unwrap_or_default();
        let names = [Some(record.method), Some(record.peer), self.names.known(host)];
        let store = names.into_iter().flatten().find(|name| self.plan.store(*name).is_some());
        let Some(store) = store else {
            let on = self.on(party.name, record.peer, record.method);
            self.other_edge(record, on.caller, on.callee, party.evidence, Meaning::Unclear);
            return self.tally.findings.add(What::UnknownStore, on, at(record), "no store of the policy has that name");
        };
        let may = self.plan.store(store).zip(party.who).is_some_and(|(clients, who)| clients.contains(&who));
        self.other_edge(record, party.name, store, party.evidence, meaning(may));
        if !may {
            let on = self.on(party.name, store, Name::NONE);
            self.tally.findings.add(What::ForbiddenStore, on, at(record), super::by(party.evidence));
        }
    }

    fn other_edge(&mut self, record: &Record, caller: Name, callee: Name, evidence: Evidence, meaning: Meaning) {
        let method = if record.of == Of::Database { Name::NONE } else { record.method };
        self.tally.edge(EdgeKey { caller, callee, method, evidence }, meaning, record.start_ns, false);
    }

    /// An access record: its span must be there. The record itself says who called, so its call is judged either way.
    pub(super) fn access(&mut self, trace: &Trace<'_>, record: &Record) {
        if trace.span(record.span, |other| other.of == Of::Server).is_some() {
            return;
        }
        let caller = self.certified(record.peer, Evidence::Record);
        let callee = self.owner(record);
        let method = self.plan.method(record.method);
        let allowed = self.may_call(caller, callee.who, record.method, method);
        let told = Told::Server;
        self.conclude(&Call { record, caller, callee: callee.name, method: record.method, allowed, told });
        let on = self.on(caller.name, callee.name, record.method);
        let (what, why) = if record.span == 0 {
            (What::Sampled, "its trace was not recorded".to_owned())
        } else {
            (What::RecordWithoutSpan, format!("record {} tells of it", record.sequence))
        };
        self.tally.findings.add(what, on, at(record), why);
    }

    /// An entry of an audit log: the span of its call must be there.
    pub(super) fn refusal(&mut self, numbered: &HashSet<(Name, u64)>, record: &Record) {
        if numbered.contains(&(record.service, record.sequence)) {
            return;
        }
        let caller = self.certified(record.peer, Evidence::Record);
        let callee = self.owner(record);
        let (method, told) = (record.method, Told::Server);
        self.conclude(&Call { record, caller, callee: callee.name, method, allowed: false, told });
        let on = self.on(caller.name, callee.name, method);
        let why = format!("entry {} of its audit log tells of it", record.sequence);
        self.tally.findings.add(What::RecordWithoutSpan, on, at(record), why);
    }

    /// A link: what caused a span must be there, and be of the same topic.
    pub(super) fn link(&mut self, trace: &Trace<'_>, record: &Record) {
        let linking = u128::from(record.start_ns) << 64 | u128::from(record.end_ns);
        let at = At { at_ns: 0, trace: linking, span: record.parent };
        let on = self.on(Name::NONE, self.owner(record).name, record.method);
        let Some((_, cause)) = trace.span(record.span, |other| other.of.is_span()) else {
            let why = format!("its cause {:016x} in trace {:032x} is not there", record.span, record.trace);
            return self.tally.findings.add(What::DanglingLink, on, at, why);
        };
        if cause.of == Of::Producer && !record.method.is_none() && cause.method != record.method {
            let why = format!("what it consumed was published on `{}`", self.text(cause.method));
            self.tally.findings.add(What::Contradiction, on, at, why);
        }
    }
}

const fn meaning(may: bool) -> Meaning {
    if may { Meaning::Allowed } else { Meaning::Forbidden }
}
