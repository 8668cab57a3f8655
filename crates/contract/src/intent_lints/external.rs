//! SK0319: nobody sends to the outside what its own domain may not hold.

use sekat_policy::{Diagnostic, Intent};

use super::IntentLint;
use super::index::Index;

pub(super) const LINT: IntentLint = IntentLint {
    code: "SK0319",
    rule: "The domain of each client of an external may hold all that may be sent there.",
    check,
};

fn check(intent: &Intent, findings: &mut Vec<Diagnostic>) {
    let index = Index::of(intent);
    for external in &intent.externals {
        for client in &external.clients {
            if let Some(forbidden) = index.forbidden(client, &external.classes) {
                let text = format!("`{client}` may send to `{}` data of {forbidden}", external.name);
                let help = "remove the client, or state less in `classes`";
                findings.push(Diagnostic::error(LINT.code, external.span.clone(), text, help));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::intent_lints::fixture::planted;

    #[test]
    fn a_client_may_hold_what_it_sends() {
        let unasserted = ("  - deny: {from: showcase, to: internet}\n", "");
        let clients = "ports: [443], clients: [bank]";
        let more = "ports: [443], clients: [bank, showcase]";
        planted(&[(clients, more), unasserted]).finds(
            "SK0319",
            "name: banks",
            "`showcase` may send to `banks` data of `payment.bank`",
        );
        planted(&[(clients, more), ("classes: [payment.bank]}", "classes: []}"), unasserted]).finds_nothing();
    }
}
