//! SK0311: whatever is named exists.

use std::collections::BTreeSet;

use sekat_policy::intent::{Classes, Subject, Target};
use sekat_policy::{Diagnostic, Intent, Span};

use super::{IntentLint, names};
use crate::suggest::did_you_mean;

pub(super) const LINT: IntentLint = IntentLint {
    code: "SK0311",
    rule: "Callers, methods, classes, domains, clients, publishers and consumers that are named exist.",
    check,
};

fn check(intent: &Intent, findings: &mut Vec<Diagnostic>) {
    let mut known = Known { intent, findings };
    for domain in &intent.domains {
        known.classes(&domain.may_hold, &domain.span);
    }
    for workload in intent.workloads.iter().filter(|it| !it.domain.is_empty()) {
        known.domain(&workload.domain, &workload.span);
    }
    for method in &intent.methods {
        known.workload(&method.workload, &method.span);
        known.classes(&method.request, &method.span);
        known.classes(&method.response, &method.span);
    }
    for edge in &intent.edges {
        known.workload(&edge.caller, &edge.span);
        let methods = intent.methods.iter().map(|method| method.path.as_str());
        known.name("method", &edge.method, methods, &edge.span);
    }
    for store in &intent.stores {
        known.classes(&store.classes, &store.span);
        known.workloads(&store.clients, &store.span);
    }
    for topic in &intent.topics {
        known.classes(&topic.classes, &topic.span);
        known.workloads(&topic.publishers, &topic.span);
        known.workloads(&topic.consumers, &topic.span);
    }
    for external in &intent.externals {
        known.classes(&external.classes, &external.span);
        known.workloads(&external.clients, &external.span);
    }
    for assertion in &intent.assertions {
        match &assertion.from {
            Subject::Anybody => {}
            Subject::Workload(name) => known.workload(name, &assertion.span),
            Subject::Domain(name) | Subject::NotDomain(name) => known.domain(name, &assertion.span),
        }
        match &assertion.target {
            Target::Internet => {}
            Target::Class(name) => known.class(name, &assertion.span),
            Target::Domain(name) => known.domain(name, &assertion.span),
            Target::Workload(name) => {
                let stores = intent.stores.iter().map(|store| store.name.as_str());
                known.name("service or store", name, names(&intent.workloads).chain(stores), &assertion.span);
            }
        }
    }
}

struct Known<'a> {
    intent: &'a Intent,
    findings: &'a mut Vec<Diagnostic>,
}

impl<'a> Known<'a> {
    fn name<'n>(&mut self, what: &str, name: &str, all: impl Iterator<Item = &'n str> + Clone, span: &Span) {
        if !all.clone().any(|known| known == name) {
            let text = format!("there is no {what} `{name}`{}", did_you_mean(name, all));
            let help = format!("correct the name, or declare the {what}");
            self.findings.push(Diagnostic::error(LINT.code, span.clone(), text, help));
        }
    }

    fn class(&mut self, name: &str, span: &Span) {
        let intent: &'a Intent = self.intent;
        self.name("class", name, intent.classes.keys().map(String::as_str), span);
    }

    fn classes(&mut self, classes: &Classes, span: &Span) {
        for class in classes {
            self.class(class, span);
        }
    }

    fn domain(&mut self, name: &str, span: &Span) {
        let intent: &'a Intent = self.intent;
        self.name("domain", name, intent.domains.iter().map(|domain| domain.name.as_str()), span);
    }

    fn workload(&mut self, name: &str, span: &Span) {
        let intent: &'a Intent = self.intent;
        self.name("service", name, intent.workloads.iter().map(|workload| workload.name.as_str()), span);
    }

    fn workloads(&mut self, all: &BTreeSet<String>, span: &Span) {
        for name in all {
            self.workload(name, span);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::intent_lints::fixture::planted;

    #[test]
    fn a_name_that_does_not_exist_is_found_wherever_it_stands() {
        for (from, to, at, part) in [
            ("{from: shop, to: bank,", "{from: shpo, to: bank,", "from: shpo", "service `shpo`, did you mean `shop`?"),
            ("to: bank, methods", "to: bnak, methods", "to: bnak", "service `bnak`, did you mean `bank`?"),
            ("[bank.v1.Bank/Charge]", "[bank.v1.Bank/Chrage]", "Chrage", "did you mean `/bank.v1.Bank/Charge`?"),
            ("may: [payment, user]", "may: [payment, user, usr]", "commerce:", "class `usr`, did you mean `user`?"),
            ("clients: [bank]}\nedges", "clients: [bank, db]}\nedges", "bank-db", "service `db`"),
            ("publishers: [shop]", "publishers: [Shop]", "order.events", "service `Shop`, did you mean `shop`?"),
            ("consumers: [bank]", "consumers: [bank, x]", "order.events", "service `x`"),
            ("ports: [443], clients: [bank]", "ports: [443], clients: [bank, y]", "banks", "service `y`"),
            ("class: payment}\n", "class: paiment}\n", "!commerce", "class `paiment`, did you mean `payment`?"),
            ("domain: \"!commerce\"", "domain: \"!trade\"", "!trade", "domain `trade`"),
            ("from: showcase, to: internet", "from: x, to: internet", "to: internet", "service `x`"),
            ("showcase, to: bank-db", "showcase, to: bank-bd", "bank-bd", "store `bank-bd`, did you mean `bank-db`?"),
            ("showcase, to: bank-db", "showcase, toDomain: comerce", "comerce", "did you mean `commerce`?"),
            ("{name: catalog, domain: commerce", "{name: catalog, domain: trade", "name: catalog", "domain `trade`"),
        ] {
            planted(&[(from, to)]).finds("SK0311", at, part);
        }
    }
}
