//! The server's half of a call, which counts: its caller comes from a certificate.

use super::{Call, Join, Party, at, status};
use crate::finding::What;
use crate::judge::{Meaning, Told};
use crate::names::Name;
use crate::plan::Who;
use crate::record::{Of, Record, bit};
use crate::tally::Evidence;
use crate::trace::Trace;

impl Join<'_> {
    pub(super) fn server(&mut self, trace: &mut Trace<'_>, call: &Record) {
        let parent = trace.parent(call);
        let owner = self.owner(call);
        if parent.is_some_and(|(_, parent)| self.is_same_call(call, parent)) {
            // A proxy in front of the process, or two libraries in it, tell the same call once more.
            return;
        }
        let client = parent.filter(|(_, parent)| parent.of == Of::Client);
        if let Some((index, _)) = client {
            trace.answer(index);
        }
        let caller = self.caller(trace, call, parent.map(|(_, parent)| parent), owner);
        if self.plan.is_platform(call.method) {
            self.tally.platform_calls += 1;
            return self.count(call, owner, caller);
        }
        self.count(call, owner, caller);
        self.check_caller(call, caller, owner);
        if call.has(bit::UNKNOWN_METHOD) || call.method.is_none() {
            return self.unknown_method(trace, call, caller, owner);
        }
        self.check_owner(call, caller, owner);
        self.check_policy(call, caller, owner);
        let method = self.plan.method(call.method);
        let allowed = self.may_call(caller, owner.who, call.method, method);
        let meaning = self.conclude(&Call {
            record: call,
            caller,
            callee: owner.name,
            method: call.method,
            allowed,
            told: Told::Server,
        });
        if let Some((_, parent)) = parent {
            self.check_parent(call, parent, caller, owner);
        } else if call.parent != 0 && meaning == Meaning::Allowed && caller.evidence != Evidence::Public {
            let on = self.on(caller.name, owner.name, call.method);
            self.tally.findings.add(What::ClientMissing, on, at(call), "its parent is not there");
        }
        self.check_records(trace, call, owner, meaning);
    }

    /// Who called, by the best evidence there is.
    fn caller(&self, trace: &Trace<'_>, call: &Record, parent: Option<&Record>, owner: Party) -> Party {
        if !call.peer.is_none() {
            return self.certified(call.peer, Evidence::Certificate);
        }
        if let Some(access) = trace.accesses(call).next() {
            return self.certified(access.peer, Evidence::Record);
        }
        let public = self.is_public(owner);
        // Outsiders choose their trace ids: on a public listener of this stack a parent says nothing.
        if public && call.has(bit::DECIDED) {
            return PUBLIC;
        }
        let by_parent = parent
            .map(|parent| self.owner(parent))
            .filter(|party| party.evidence != Evidence::Nobody && (party.who.is_none() || party.who != owner.who));
        by_parent.unwrap_or(if public { PUBLIC } else { NOBODY })
    }

    /// Whether the span is of a workload with a port for anybody.
    fn is_public(&self, owner: Party) -> bool {
        owner.who.and_then(|who| self.plan.workload(who)).is_some_and(|workload| workload.public)
    }

    /// Whether a parent tells the same call as its server's span: one process, one method, both sides "server".
    fn is_same_call(&self, call: &Record, parent: &Record) -> bool {
        parent.of == Of::Server
            && parent.method == call.method
            && !call.method.is_none()
            && self.owner(parent) == self.owner(call)
    }

    /// Counts the call as the server's counters do.
    fn count(&mut self, call: &Record, owner: Party, caller: Party) {
        let Some(callee) = owner.who else { return };
        let method = if call.has(bit::UNKNOWN_METHOD) || call.method.is_none() { Name::OTHER } else { call.method };
        let peer = if call.peer.is_none() && caller.evidence == Evidence::Public { Name::PUBLIC } else { call.peer };
        self.tally.served(callee, call.instance, (peer, method, status(call)), call.end_ns);
    }

    /// That a span of a stack like ours says the caller, and that the span is of a workload.
    fn check_caller(&mut self, call: &Record, caller: Party, owner: Party) {
        let on = self.on(caller.name, owner.name, call.method);
        if call.has(bit::DECIDED) && call.peer.is_none() && !self.is_public(owner) {
            let why = format!("every caller of this workload has a certificate; {}", super::by(caller.evidence));
            self.tally.findings.add(What::HiddenCaller, on, at(call), why);
        }
        if owner.who.is_none() {
            let why = match owner.evidence {
                Evidence::Nobody => "it has no service.name".to_owned(),
                _ => format!("`{}` is the name of no workload", self.text(owner.name)),
            };
            self.tally.findings.add(What::UnknownCallee, on, at(call), why);
        }
    }

    /// A path that the server does not know: what it truly was, only its audit log says.
    fn unknown_method(&mut self, trace: &Trace<'_>, call: &Record, caller: Party, owner: Party) {
        let mut entries = trace.refusals(call.sequence);
        let entry = entries.find(|entry| self.plan.by_service(entry.service) == owner.who);
        let method = entry.map_or(Name::OTHER, |entry| entry.method);
        let meaning = self.conclude(&Call {
            record: call,
            caller,
            callee: owner.name,
            method,
            allowed: false,
            told: Told::Server,
        });
        if entry.is_none() && meaning == Meaning::Attempt {
            let on = self.on(caller.name, owner.name, Name::OTHER);
            self.tally.findings.add(What::UnknownPath, on, at(call), "no entry of an audit log belongs to it");
        }
    }

    /// That the method is served by the workload whose it is, or forwarded by a public listener that may call it.
    fn check_owner(&mut self, call: &Record, caller: Party, owner: Party) {
        let (Some(method), Some(who)) = (self.plan.method(call.method), owner.who) else { return };
        let forwards = self.is_public(owner) && call.peer.is_none() && self.plan.allows(who, call.method);
        if method.workload == who || forwards {
            return;
        }
        let whose = self.plan.name(method.workload);
        let on = self.on(caller.name, owner.name, call.method);
        let claimed = if owner.evidence == Evidence::Claimed { ", as it claims" } else { "" };
        let why = format!("`{}` served what is `{}`'s{claimed}", self.text(owner.name), self.text(whose));
        self.tally.findings.add(What::WrongServer, on, at(call), why);
    }

    /// That the audited policy decided.
    fn check_policy(&mut self, call: &Record, caller: Party, owner: Party) {
        if call.policy.is_none() || self.plan.knows_digest(call.policy) {
            return;
        }
        let on = self.on(caller.name, owner.name, call.method);
        let why = format!("it names the policy {}", self.text(call.policy));
        self.tally.findings.add(What::ForeignPolicy, on, at(call), why);
    }

    /// That what the span hangs on was made by its caller, for this method, at a possible time.
    fn check_parent(&mut self, call: &Record, parent: &Record, caller: Party, owner: Party) {
        let on = self.on(caller.name, owner.name, call.method);
        let maker = self.owner(parent);
        let proven = matches!(caller.evidence, Evidence::Certificate | Evidence::Record);
        let made_elsewhere = maker.who != caller.who || (maker.who.is_none() && maker.name != caller.name);
        if proven && maker.evidence != Evidence::Nobody && made_elsewhere {
            let [maker, caller] = [self.text(maker.name), self.text(caller.name)];
            let why = format!("its parent is of `{maker}`, its certificate of `{caller}`");
            self.tally.findings.add(What::ForgedParent, on, at(call), why);
        }
        if parent.of != Of::Client {
            return;
        }
        if parent.method != call.method && !parent.method.is_none() {
            let why = format!("its client called {}", self.text(parent.method));
            self.tally.findings.add(What::MethodMismatch, on, at(call), why);
        }
        if !parent.peer.is_none() && owner.who.is_some() && self.plan.by_identity(parent.peer) != owner.who {
            let why = format!("its client spoke with {}", self.text(parent.peer));
            self.tally.findings.add(What::WrongServer, on, at(call), why);
        }
        self.check_clocks(call, parent, maker, owner);
    }

    /// A server's span lies within its client's, unless clocks differ. Order never decides who called.
    fn check_clocks(&mut self, call: &Record, client: &Record, maker: Party, owner: Party) {
        let early = client.start_ns.saturating_sub(call.start_ns);
        // A client that gives up ends before its server does.
        let both_saw_the_end =
            call.status == client.status && status(call).is_some_and(|it| !it.may_not_have_arrived());
        let late = if both_saw_the_end { call.end_ns.saturating_sub(client.end_ns) } else { 0 };
        let after_its_client = call.start_ns.saturating_sub(client.end_ns);
        let off = early.max(late).max(after_its_client);
        let skew = self.tally.skew.entry((maker.name, owner.name)).or_default();
        skew.pairs += 1;
        skew.most_ns = skew.most_ns.max(off);
        if off > self.options.skew_tolerance_ns {
            let on = self.on(maker.name, owner.name, Name::NONE);
            let why = format!("it lies {} ms outside of its client's span", off / 1_000_000);
            self.tally.findings.add(What::ClockSkew, on, at(call), why);
        }
    }

    /// That the call's access record says the same, and that there is one if there has to be.
    fn check_records(&mut self, trace: &Trace<'_>, call: &Record, owner: Party, meaning: Meaning) {
        let caller = self.certified(call.peer, Evidence::Certificate);
        let on = self.on(caller.name, owner.name, call.method);
        let mut records = 0;
        for access in trace.accesses(call) {
            records += 1;
            let why = if access.method != call.method {
                format!("the record says {}", self.text(access.method))
            } else if !call.peer.is_none() && access.peer != call.peer {
                format!("the record says that {} called", self.text(access.peer))
            } else if self.plan.by_service(access.service) != owner.who {
                format!("the record is of `{}`", self.text(access.service))
            } else {
                continue;
            };
            self.tally.findings.add(What::ConflictingRecord, on, at(call), why);
        }
        let needed = self.plan.method(call.method).is_some_and(|method| method.recorded);
        let recording = owner.who.is_some_and(|who: Who| self.recording.contains(&who));
        // A call whose caller gave up, or whose time was over, has told nobody anything.
        let answered = status(call).is_some_and(|status| !status.may_not_have_arrived());
        let in_time = matches!(meaning, Meaning::Allowed | Meaning::Forbidden);
        if records == 0 && needed && recording && answered && in_time {
            self.tally.findings.add(What::UnrecordedAccess, on, at(call), "its server records every access");
        }
    }
}

const PUBLIC: Party = Party { who: None, name: Name::PUBLIC, evidence: Evidence::Public };
const NOBODY: Party = Party { who: None, name: Name::NONE, evidence: Evidence::Nobody };
