//! SK0015: a method that an edge may call says which end users it is for, and no other method does.

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint =
    Lint { code: "SK0015", rule: "A method states end-user scopes if, and only if, an edge may call it.", check };

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for (_, method) in model.methods() {
        let Some(policy) = &method.policy else { continue };
        let edge = policy.callers.iter().filter_map(|name| model.workload(name)).find(|workload| workload.edge);
        let (what, help) = match (edge, policy.scopes.is_empty()) {
            _ if policy.scopes.contains(&None) => {
                ("has a scope that says nothing".to_owned(), "state END_USER_SCOPE_ANONYMOUS if no token is needed")
            }
            (Some(edge), true) => {
                (format!("may be called by the edge `{}` and states no scope", edge.name), "state its scopes")
            }
            (None, false) => {
                ("has end-user scopes, but no edge may call it".to_owned(), "remove the scopes, or let an edge call it")
            }
            _ => continue,
        };
        let text = format!("`{}` {what}", method.path);
        findings.push(Diagnostic::error(LINT.code, method.span.clone(), text, help));
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn scopes_go_with_edges() {
        let policy = planted(&[]).line(r#"callers: ["shop-edge", "ledger"]"#);
        let scopes = " scopes: [END_USER_SCOPE_BUYER]";
        planted(&[(&policy, &policy.replace(scopes, ""))]).finds("SK0015", "rpc GetOrder", "the edge `shop-edge`");
        let unspecified = policy.replace("SCOPE_BUYER", "SCOPE_UNSPECIFIED");
        planted(&[(&policy, &unspecified)]).finds("SK0015", "rpc GetOrder", "says nothing");
        let inside = policy.replace(r#""shop-edge", "#, "");
        planted(&[(&policy, &inside)]).finds("SK0015", "rpc GetOrder", "no edge may call it");
        planted(&[(&policy, &inside.replace(scopes, ""))]).finds_nothing();
    }
}
