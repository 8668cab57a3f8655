//! SK0017: a workload that reaches the outside serves one caller, so that one workload decides what leaves.

use std::collections::BTreeMap;

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint =
    Lint { code: "SK0017", rule: "A workload with egress is called by one workload only.", check };

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    for edge in model.edges().filter(|edge| edge.callee.egress) {
        let caller = *first.entry(&edge.callee.name).or_insert(&edge.caller.name);
        if caller != edge.caller.name {
            let text = format!(
                "`{}` may call `{}` of `{}`, which reaches the outside and is called by `{caller}`",
                edge.caller.name, edge.method.path, edge.callee.name
            );
            let help = "ask the workload that calls it, which owns what leaves";
            findings.push(Diagnostic::error(LINT.code, edge.method.span.clone(), text, help));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn one_caller_reaches_the_outside() {
        let policy = r#"callers: ["shop"] kind: METHOD_KIND_WRITE"#;
        let two = r#"callers: ["shop", "ledger"] kind: METHOD_KIND_WRITE"#;
        planted(&[(policy, two)]).finds("SK0017", "rpc CreateCharge", "`ledger` may call");
        planted(&[(policy, two), (" egress: true", "")]).finds_nothing();
    }
}
