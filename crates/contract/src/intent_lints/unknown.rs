//! SK0311: whatever is named exists.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sekat_policy::intent::{Subject, Target};
use sekat_policy::{Diagnostic, Intent, Span};

use super::{IntentLint, names};
use crate::suggest::did_you_mean;

pub(super) const LINT: IntentLint = IntentLint {
    code: "SK0311",
    rule: "Callers, methods, classes, domains, clients, publishers and consumers that are named exist.",
    check,
};

fn check(intent: &Intent, findings: &mut Vec<Diagnostic>) {
    let mut known = Known::of(intent, findings);
    for domain in &intent.domains {
        known.all(CLASS, &domain.may_hold, &domain.span);
    }
    for workload in intent.workloads.iter().filter(|it| !it.domain.is_empty()) {
        known.one(DOMAIN, &workload.domain, &workload.span);
    }
    for method in &intent.methods {
        known.one(SERVICE, &method.workload, &method.span);
        known.all(CLASS, &method.request, &method.span);
        known.all(CLASS, &method.response, &method.span);
    }
    for edge in &intent.edges {
        known.one(SERVICE, &edge.caller, &edge.span);
        known.one("method", &edge.method, &edge.span);
    }
    for store in &intent.stores {
        known.all(CLASS, &store.classes, &store.span);
        known.all(SERVICE, &store.clients, &store.span);
    }
    for topic in &intent.topics {
        known.all(CLASS, &topic.classes, &topic.span);
        known.all(SERVICE, &topic.publishers, &topic.span);
        known.all(SERVICE, &topic.consumers, &topic.span);
    }
    for external in &intent.externals {
        known.all(CLASS, &external.classes, &external.span);
        known.all(SERVICE, &external.clients, &external.span);
    }
    for assertion in &intent.assertions {
        match &assertion.from {
            Subject::Anybody => {}
            Subject::Workload(name) => known.one(SERVICE, name, &assertion.span),
            Subject::Domain(name) | Subject::NotDomain(name) => known.one(DOMAIN, name, &assertion.span),
        }
        match &assertion.target {
            Target::Internet => {}
            Target::Class(name) => known.one(CLASS, name, &assertion.span),
            Target::Domain(name) => known.one(DOMAIN, name, &assertion.span),
            Target::Workload(name) => known.one("service or store", name, &assertion.span),
        }
    }
}

const CLASS: &str = "class";
const DOMAIN: &str = "domain";
const SERVICE: &str = "service";

/// The names that exist, by what they are names of.
struct Known<'a> {
    names: BTreeMap<&'static str, BTreeSet<&'a str>>,
    /// What was suggested for a name already: a name that does not exist may stand on thousands of edges.
    suggested: HashMap<(&'static str, String), String>,
    findings: &'a mut Vec<Diagnostic>,
}

impl<'a> Known<'a> {
    fn of(intent: &'a Intent, findings: &'a mut Vec<Diagnostic>) -> Self {
        let services = || names(&intent.workloads);
        let stores = intent.stores.iter().map(|store| store.name.as_str());
        let names = BTreeMap::from([
            (CLASS, intent.classes.keys().map(String::as_str).collect()),
            (DOMAIN, intent.domains.iter().map(|domain| domain.name.as_str()).collect()),
            ("method", intent.methods.iter().map(|method| method.path.as_str()).collect()),
            (SERVICE, services().collect()),
            ("service or store", services().chain(stores).collect()),
        ]);
        Self { names, suggested: HashMap::new(), findings }
    }

    fn one(&mut self, what: &'static str, name: &str, span: &Span) {
        if !self.names.get(what).is_some_and(|names| names.contains(name)) {
            let known = self.names.get(what).into_iter().flatten().copied();
            let suggested = self.suggested.entry((what, name.to_owned()));
            let suggested = suggested.or_insert_with(|| did_you_mean(name, known));
            let text = format!("there is no {what} `{name}`{suggested}");
            let help = format!("correct the name, or declare the {what}");
            self.findings.push(Diagnostic::error(LINT.code, span.clone(), text, help));
        }
    }

    fn all(&mut self, what: &'static str, names: &BTreeSet<String>, span: &Span) {
        for name in names {
            self.one(what, name, span);
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
