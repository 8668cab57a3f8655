//! A client's half of a call that no server's half answers.

use super::{Call, Join, at, status};
use crate::finding::What;
use crate::judge::{Meaning, Told};
use crate::record::{Record, bit};
use crate::tally::Evidence;

impl Join<'_> {
    pub(super) fn unanswered(&mut self, call: &Record) {
        if self.plan.is_platform(call.method) {
            self.tally.platform_calls += 1;
            return;
        }
        if call.method.is_none() || call.has(bit::UNKNOWN_METHOD) {
            return;
        }
        let caller = self.owner(call);
        let method = self.plan.method(call.method);
        let Some(method) = method else { return self.unknown_target(call) };
        let callee = self.plan.name(method.workload);
        let on = self.on(caller.name, callee, call.method);
        if !call.peer.is_none() && self.plan.by_identity(call.peer) != Some(method.workload) {
            let why = format!("its client spoke with {}", self.text(call.peer));
            self.tally.findings.add(What::WrongServer, on, at(call), why);
        }
        let allowed = caller.who.is_some_and(|who| self.plan.allows(who, call.method));
        let told = Told::Client;
        let meaning = self.conclude(&Call { record: call, caller, callee, method: call.method, allowed, told });
        let arrived = status(call).is_none_or(|status| !status.may_not_have_arrived());
        let expected = matches!(meaning, Meaning::Allowed | Meaning::AllowedInVain | Meaning::Forbidden);
        if arrived && expected {
            self.tally.findings.add(What::ServerMissing, on, at(call), "no server's span has it as its parent");
        }
    }

    /// A method that the policy does not know, so it cannot say whose it is either.
    fn unknown_target(&mut self, call: &Record) {
        let caller = self.owner(call);
        if status(call).is_some_and(|status| status.is_refusal() || status.may_not_have_arrived()) {
            return;
        }
        let on = self.on(caller.name, call.peer, call.method);
        let claimed = if caller.evidence == Evidence::Claimed { "; the caller is claimed" } else { "" };
        self.tally.findings.add(What::UnknownMethod, on, at(call), format!("only its client tells of it{claimed}"));
    }
}
