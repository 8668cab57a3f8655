//! SK0313: a SPIFFE ID names one workload. Two with the same could do what either may, and no trace tells them apart.

use std::collections::BTreeMap;

use sekat_policy::{Diagnostic, Intent};

use super::IntentLint;

pub(super) const LINT: IntentLint =
    IntentLint { code: "SK0313", rule: "No two workloads have the same SPIFFE ID.", check };

fn check(intent: &Intent, findings: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    for workload in intent.workloads.iter().filter(|workload| !workload.identity.is_empty()) {
        let owner = *first.entry(&workload.identity).or_insert(&workload.name);
        if owner != workload.name {
            let text = format!("`{}` has the identity of `{owner}`: {}", workload.name, workload.identity);
            let help = "give each a service account or an `identity` of its own";
            findings.push(Diagnostic::error(LINT.code, workload.span.clone(), text, help));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::intent_lints::fixture::planted;

    #[test]
    fn a_shared_service_account_is_found() {
        let account = "serviceAccount: catalog, selector: {app: catalog}";
        let shared = "serviceAccount: bank, selector: {app: catalog}";
        let own = ", identity: \"spiffe://commerce.test/catalog\"}";
        let port = "ports: {grpc: 50051}, proto: [catalog.v1.Catalog]";
        planted(&[(account, shared)]).finds(
            "SK0313",
            "name: catalog",
            "the identity of `bank`: spiffe://commerce.test/ns/commerce/sa/bank",
        );
        planted(&[(account, shared), (&format!("{port}}}"), &format!("{port}{own}"))]).finds_nothing();
    }
}
