//! SK0312: every workload has an owner, which is its domain.

use sekat_policy::{Diagnostic, Intent};

use super::IntentLint;

pub(super) const LINT: IntentLint =
    IntentLint { code: "SK0312", rule: "Every workload is in a domain, whose owner answers for it.", check };

fn check(intent: &Intent, findings: &mut Vec<Diagnostic>) {
    for workload in intent.workloads.iter().filter(|workload| workload.domain.is_empty()) {
        let text = format!("`{}` is in no domain: nobody owns it, and nothing says what it may hold", workload.name);
        let help = "state its `domain`, one of `domains`";
        findings.push(Diagnostic::error(LINT.code, workload.span.clone(), text, help));
    }
}

#[cfg(test)]
mod tests {
    use crate::intent_lints::fixture::planted;

    #[test]
    fn a_service_without_a_domain_is_found() {
        planted(&[("{name: catalog, domain: commerce,", "{name: catalog,")]).finds(
            "SK0312",
            "name: catalog",
            "nobody owns it",
        );
        planted(&[]).finds_nothing();
    }
}
