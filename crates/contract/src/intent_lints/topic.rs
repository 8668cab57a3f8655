//! SK0318: nobody consumes or publishes news that hold what its domain may not.

use sekat_policy::{Diagnostic, Intent};

use super::IntentLint;
use super::index::Index;

pub(super) const LINT: IntentLint = IntentLint {
    code: "SK0318",
    rule: "The domains of a topic's publishers and consumers may hold all that its messages can.",
    check,
};

fn check(intent: &Intent, findings: &mut Vec<Diagnostic>) {
    let index = Index::of(intent);
    for topic in &intent.topics {
        let readers = topic.consumers.iter().map(|name| (name, "consumes"));
        for (workload, does) in readers.chain(topic.publishers.iter().map(|name| (name, "publishes"))) {
            if let Some(forbidden) = index.forbidden(workload, &topic.classes) {
                let text = format!("`{workload}` {does} `{}`, whose messages hold {forbidden}", topic.name);
                let help = "remove it, or give it a topic of its own without that data";
                findings.push(Diagnostic::error(LINT.code, topic.span.clone(), text, help));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::intent_lints::fixture::planted;

    #[test]
    fn a_consumer_may_hold_what_a_topic_carries() {
        planted(&[("consumers: [bank]", "consumers: [bank, showcase]")]).finds(
            "SK0318",
            "order.events",
            "`showcase` consumes `order.events`, whose messages hold `user.address`",
        );
        planted(&[("publishers: [shop]", "publishers: [showcase]")]).finds("SK0318", "order.events", "publishes");
        planted(&[("consumers: [bank]", "consumers: [bank, showcase]"), ("classes: [user.address]}", "classes: []}")])
            .finds_nothing();
    }
}
