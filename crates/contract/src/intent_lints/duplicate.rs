//! SK0310: a name means one thing.

use std::collections::BTreeMap;

use sekat_policy::{Diagnostic, Intent, Span};

use super::IntentLint;

pub(super) const LINT: IntentLint = IntentLint {
    code: "SK0310",
    rule: "No two domains, workloads or stores, methods, topics, externals or ports of a workload share a name.",
    check,
};

fn check(intent: &Intent, findings: &mut Vec<Diagnostic>) {
    let domains = intent.domains.iter().map(|it| (it.name.clone(), &it.span));
    let workloads = intent.workloads.iter().map(|it| (it.name.clone(), &it.span));
    let stores = intent.stores.iter().map(|it| (it.name.clone(), &it.span));
    unique("domain", domains, findings);
    unique("service or store", workloads.chain(stores), findings);
    unique("method", intent.methods.iter().map(|it| (it.path.clone(), &it.span)), findings);
    unique("topic", intent.topics.iter().map(|it| (it.name.clone(), &it.span)), findings);
    unique("external", intent.externals.iter().map(|it| (it.name.clone(), &it.span)), findings);
    let places = intent.workloads.iter().map(|it| (&it.ports, &it.span));
    for (ports, span) in places.chain(intent.stores.iter().map(|it| (&it.ports, &it.span))) {
        unique("port", ports.iter().map(|port| (format!("{} {}", port.protocol, port.number), span)), findings);
    }
}

fn unique<'a>(what: &str, named: impl Iterator<Item = (String, &'a Span)>, findings: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<String, &Span> = BTreeMap::new();
    for (name, span) in named {
        if let Some(taken) = first.get(&name) {
            let text = format!("a second {what} `{name}`; the first is at {}:{}", taken.file, taken.line);
            findings.push(Diagnostic::error(LINT.code, span.clone(), text, "rename or remove one of them"));
        } else {
            first.insert(name, span);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::intent_lints::fixture::planted;

    #[test]
    fn a_name_is_taken_once() {
        let store = "{name: bank-db, classes: [payment], namespace: commerce, selector: {app: bank-db}";
        let other = "{name: shop, classes: [payment], namespace: commerce, selector: {app: bank-db}";
        planted(&[(store, other), ("showcase, to: bank-db", "showcase, to: shop")]).finds(
            "SK0310",
            "classes: [payment], namespace",
            "service or store `shop`",
        );
        planted(&[("ports: {pg: 5432}", "ports: {pg: 5432, admin: 5432}")]).finds("SK0310", "pg", "port `TCP 5432`");
        planted(&[("ports: {pg: 5432}", "ports: {pg: 5432, admin: {port: 5432, protocol: UDP}}")]).finds_nothing();
        let topic = "{topic: order.events, publishers: [shop], consumers: [bank], classes: [user.address]}";
        planted(&[(topic, &format!("{topic}\n  - {topic}"))]).finds("SK0310", "order.events", "topic `order.events`");
        planted(&[(topic, &format!("{topic}\n  - {}", topic.replace("order.", "more.")))]).finds_nothing();
    }
}
