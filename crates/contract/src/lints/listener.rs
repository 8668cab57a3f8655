//! SK0025: a package has one port, and only the feed port takes callers of another domain.

use std::collections::BTreeMap;

use sekat_policy::{Diagnostic, Listener};

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint = Lint {
    code: "SK0025",
    rule: "A package is served by one workload on one port: on LISTENER_FEED to other domains, else to its own.",
    check,
};

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    let mut served = BTreeMap::new();
    for service in &model.services {
        let Some(policy) = &service.policy else { continue };
        let (workload, listener) = (&policy.workload, policy.listener);
        let first = *served.entry(&service.package).or_insert((workload, listener));
        if first != (workload, listener) {
            let text =
                format!("`{}` and another service of its package have different workloads or ports", service.name);
            let help = "move it to a package of its own: a package is one crate, one server, one port";
            findings.push(Diagnostic::error(LINT.code, service.span.clone(), text, help));
        }
    }
    for edge in model.edges() {
        let listener = edge.service.policy.as_ref().map(|policy| policy.listener);
        let (what, help) = match (edge.caller.domain == edge.callee.domain, listener) {
            (false, Some(Listener::Mesh)) => {
                ("trusts its own domain only", "serve the package on LISTENER_FEED, or remove the caller")
            }
            (true, Some(Listener::Feed)) => {
                ("is for other domains", "give the own domain a method on the mesh port, or remove the caller")
            }
            _ => continue,
        };
        let text = format!("`{}` may call `{}`, whose port {what}", edge.caller.name, edge.method.path);
        findings.push(Diagnostic::error(LINT.code, edge.method.span.clone(), text, help));
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn other_domains_use_the_feed_port_and_nobody_else() {
        planted(&[(" listener: LISTENER_FEED", "")]).finds(
            "SK0025",
            "rpc ListFeedProducts",
            "trusts its own domain only",
        );
        planted(&[(r#"callers: ["showcase"]"#, r#"callers: ["ledger"]"#)]).finds(
            "SK0025",
            "rpc ListFeedProducts",
            "is for other domains",
        );
        planted(&[(" listener: LISTENER_FEED", ""), (r#"callers: ["showcase"]"#, r#"callers: ["ledger"]"#)])
            .finds_nothing();
    }

    #[test]
    fn a_package_has_one_server() {
        let policy = r#"option (sekat.policy.v1.service) = {domain: "commerce" workload: "ledger"};"#;
        let second = format!("// More.\nservice MoreService {{\n  {policy}\n}}\n");
        let first = "// Charges.\nservice BankService {";
        planted(&[(first, &format!("{second}{first}"))]).finds("SK0025", "service BankService", "different workloads");
        planted(&[(first, &format!("{}{first}", second.replace("ledger", "bank")))]).finds_nothing();
    }
}
