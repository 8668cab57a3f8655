//! SK0321: a selector matches the pods of one workload. One that matches more opens a door for all of them.

use std::collections::BTreeMap;

use sekat_policy::intent::Place;
use sekat_policy::{Diagnostic, Intent, Severity, Span};

use super::IntentLint;

pub(super) const LINT: IntentLint =
    IntentLint { code: "SK0321", rule: "The selector of a workload or store matches the pods of no other.", check };

fn check(intent: &Intent, findings: &mut Vec<Diagnostic>) {
    let workloads = intent.workloads.iter().map(|it| (it.name.as_str(), &it.place, &it.span));
    let stores = intent.stores.iter().map(|it| (it.name.as_str(), &it.place, &it.span));
    let mut by_namespace: BTreeMap<&str, Vec<(&str, &Place, &Span)>> = BTreeMap::new();
    for known in workloads.chain(stores).filter(|(_, place, _)| !place.labels.is_empty()) {
        by_namespace.entry(&known.1.namespace).or_default().push(known);
    }
    for places in by_namespace.values() {
        for (index, (name, place, span)) in places.iter().enumerate() {
            for (other, other_place, other_span) in places.iter().skip(index + 1) {
                let finding = match (selects(place, other_place), selects(other_place, place)) {
                    (true, _) => certain(name, other, span),
                    (false, true) => certain(other, name, other_span),
                    (false, false) if may_meet(place, other_place) => possible(name, other, other_span),
                    _ => continue,
                };
                findings.push(finding);
            }
        }
    }
}

/// Whether a selector with the labels of `place` matches all pods of `other`.
fn selects(place: &Place, other: &Place) -> bool {
    place.labels.iter().all(|(key, value)| other.labels.get(key) == Some(value))
}

/// Whether a pod could have the labels of both.
fn may_meet(place: &Place, other: &Place) -> bool {
    place.labels.iter().all(|(key, value)| other.labels.get(key).is_none_or(|found| found == value))
}

fn certain(name: &str, other: &str, span: &Span) -> Diagnostic {
    let text = format!("the selector of `{name}` also matches the pods of `{other}`");
    Diagnostic::error(LINT.code, span.clone(), text, "add a label that only its own pods have")
}

fn possible(name: &str, other: &str, span: &Span) -> Diagnostic {
    let text = format!("a pod could match the selectors of both `{name}` and `{other}`: they share no label");
    let help = "tell them apart by different values of one label";
    Diagnostic { severity: Severity::Warning, ..Diagnostic::error(LINT.code, span.clone(), text, help) }
}

#[cfg(test)]
mod tests {
    use sekat_policy::Severity;

    use crate::intent_lints::fixture::planted;

    #[test]
    fn a_selector_matches_one_service() {
        planted(&[("selector: {app: catalog}", "selector: {app: shop}")]).finds(
            "SK0321",
            "name: shop",
            "the selector of `shop` also matches the pods of `catalog`",
        );
        planted(&[("selector: {app: catalog}", "selector: {app: shop, tier: search}")]).finds(
            "SK0321",
            "name: shop",
            "also matches the pods of `catalog`",
        );
        planted(&[("selector: {app: bank-db}", "selector: {app: bank}")]).finds("SK0321", "name: bank,", "`bank-db`");
    }

    #[test]
    fn one_in_another_namespace_or_with_another_value_is_lawful() {
        let elsewhere = "namespace: search, serviceAccount: catalog, selector: {app: shop}";
        planted(&[("namespace: commerce, serviceAccount: catalog, selector: {app: catalog}", elsewhere)])
            .finds_nothing();
        planted(&[
            ("selector: {app: shop}", "selector: {app: shop, tier: web}"),
            ("selector: {app: catalog}", "selector: {app: shop, tier: search}"),
        ])
        .finds_nothing();
    }

    #[test]
    fn selectors_that_a_pod_could_match_together_are_worth_a_word() {
        let policy = planted(&[("selector: {app: bank-db}", "selector: {role: database}")]);
        let findings = policy.read().1;
        assert_eq!(findings.len(), 3, "with each service of the namespace: {findings:#?}");
        assert!(findings.iter().all(|it| it.code == "SK0321" && it.severity == Severity::Warning));
    }
}
