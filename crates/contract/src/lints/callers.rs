//! SK0008: every method says who may call it, by names that exist.

use std::collections::BTreeSet;

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint = Lint {
    code: "SK0008",
    rule: "Every method names its callers, each a workload of the topology and named once.",
    check,
};

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for (_, method) in model.methods() {
        let mut report = |what: &str, help: &str| {
            let text = format!("`{}` {what}", method.path);
            findings.push(Diagnostic::error(LINT.code, method.span.clone(), text, help));
        };
        let Some(policy) = &method.policy else {
            report("does not say who may call it", "state option (sekat.policy.v1.method)");
            continue;
        };
        if policy.callers.is_empty() {
            report("may be called by nobody", "name its callers, or remove the method");
        }
        let mut seen = BTreeSet::new();
        for caller in &policy.callers {
            if model.workload(caller).is_none() {
                report(&format!("may be called by the unknown workload `{caller}`"), "name a workload of the topology");
            } else if !seen.insert(caller) {
                report(&format!("names its caller `{caller}` twice"), "name it once");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    const POLICY: &str = r#"callers: ["shop"] kind: METHOD_KIND_WRITE"#;

    #[test]
    fn callers_are_named_once_and_exist() {
        for (policy, part) in [
            (r#"callers: ["shopp"] kind: METHOD_KIND_WRITE"#, "unknown workload `shopp`"),
            (r#"callers: ["shop", "shop"] kind: METHOD_KIND_WRITE"#, "`shop` twice"),
            (r#"callers: ["*"] kind: METHOD_KIND_WRITE"#, "unknown workload `*`"),
            (r"kind: METHOD_KIND_WRITE", "called by nobody"),
        ] {
            planted(&[(POLICY, policy)]).finds("SK0008", "rpc CreateCharge", part);
        }
        planted(&[(POLICY, r#"callers: ["ledger"] kind: METHOD_KIND_WRITE"#)]).finds_nothing();
    }

    #[test]
    fn a_method_without_a_policy_is_found() {
        let option = planted(&[]).line(POLICY);
        planted(&[(&option, "")]).finds("SK0008", "rpc CreateCharge", "does not say who may call it");
    }
}
