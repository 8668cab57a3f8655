//! SK0014: workloads do not call each other in a circle; news flows back on streams that the consumer opens.

use std::collections::{BTreeMap, BTreeSet};

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::{Method, Model};

pub(super) const LINT: Lint =
    Lint { code: "SK0014", rule: "The graph of workloads that may call each other has no cycle.", check };

type Calls<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a Method>>;

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    let mut calls: Calls<'_> = BTreeMap::new();
    for edge in model.edges() {
        calls.entry(&edge.caller.name).or_default().entry(&edge.callee.name).or_insert(edge.method);
    }
    let mut walk = Walk { calls: &calls, path: Vec::new(), done: BTreeSet::new(), findings };
    for workload in calls.keys() {
        walk.visit(workload);
    }
}

struct Walk<'a, 'b> {
    calls: &'b Calls<'a>,
    path: Vec<&'a str>,
    done: BTreeSet<&'a str>,
    findings: &'b mut Vec<Diagnostic>,
}

impl<'a> Walk<'a, '_> {
    /// Depth first; recursion is as deep as the longest chain of workloads.
    fn visit(&mut self, workload: &'a str) {
        if self.done.contains(workload) {
            return;
        }
        self.path.push(workload);
        let calls = self.calls;
        for (callee, method) in calls.get(workload).into_iter().flatten() {
            if let Some(start) = self.path.iter().position(|on_path| on_path == callee) {
                let circle: Vec<_> = self.path.iter().skip(start).chain([callee]).copied().collect();
                let text = format!("`{}` closes a circle of calls: {}", method.path, circle.join(" → "));
                let help = "let the consumer open a stream for news, so that calls go one way";
                self.findings.push(Diagnostic::error(LINT.code, method.span.clone(), text, help));
            } else {
                self.visit(callee);
            }
        }
        self.path.pop();
        self.done.insert(workload);
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn a_call_back_is_found() {
        // shop calls bank; now bank calls shop.
        let policy = r#"callers: ["shop-edge", "ledger"] kind: METHOD_KIND_READ"#;
        planted(&[(policy, &policy.replace("ledger", "bank"))]).finds(
            "SK0014",
            "rpc CreateCharge",
            "bank → shop → bank",
        );
        planted(&[]).finds_nothing();
    }

    #[test]
    fn so_is_a_call_to_oneself() {
        let policy = r#"callers: ["shop"] kind: METHOD_KIND_WRITE"#;
        planted(&[(policy, &policy.replace("shop", "bank"))]).finds("SK0014", "rpc CreateCharge", "bank → bank");
    }
}
