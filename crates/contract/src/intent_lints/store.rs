//! SK0317: nobody connects to a store that keeps what the client's domain may not hold.

use sekat_policy::{Diagnostic, Intent};

use super::IntentLint;
use super::index::Index;

pub(super) const LINT: IntentLint = IntentLint {
    code: "SK0317",
    rule: "The domain of each client of a store may hold all that the store keeps.",
    check,
};

fn check(intent: &Intent, findings: &mut Vec<Diagnostic>) {
    let index = Index::of(intent);
    for store in &intent.stores {
        for client in &store.clients {
            if let Some(forbidden) = index.forbidden(client, &store.classes) {
                let text = format!("`{client}` may connect to `{}`, which keeps {forbidden}", store.name);
                let help = "remove the client: what it needs, it asks the store's owner for";
                findings.push(Diagnostic::error(LINT.code, store.span.clone(), text, help));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::intent_lints::fixture::planted;

    #[test]
    fn a_client_may_hold_what_the_store_keeps() {
        let clients = "ports: {pg: 5432}, clients: [bank]";
        let more = |client: &str| format!("ports: {{pg: 5432}}, clients: [bank, {client}]");
        let unasserted = [
            ("  - deny: {domain: \"!commerce\", class: payment}\n", ""),
            ("  - deny: {domain: showcase, to: bank-db}\n", ""),
        ];
        let with = |client: &str| planted(&[&[(clients, more(client).as_str())], unasserted.as_slice()].concat());
        with("showcase").finds("SK0317", "name: bank-db", "`showcase` may connect to `bank-db`, which keeps `payment`");
        with("shop").finds_nothing();
    }
}
