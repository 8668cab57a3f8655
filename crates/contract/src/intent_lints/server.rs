//! SK0316: nobody serves what its own domain may not hold.

use sekat_policy::{Diagnostic, Intent};

use super::IntentLint;
use super::index::Index;

pub(super) const LINT: IntentLint = IntentLint {
    code: "SK0316",
    rule: "A method carries no class that the domain of the workload that serves it may not hold.",
    check,
};

fn check(intent: &Intent, findings: &mut Vec<Diagnostic>) {
    let index = Index::of(intent);
    for method in &intent.methods {
        let classes = method.request.union(&method.response).cloned().collect();
        if let Some(forbidden) = index.forbidden(&method.workload, &classes) {
            let text = format!("`{}` serves `{}`, which carries {forbidden}", method.workload, method.path);
            let help = "serve it in a domain that may hold it, or leave the data out";
            findings.push(Diagnostic::error(LINT.code, method.span.clone(), text, help));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::intent_lints::fixture::planted;

    #[test]
    fn a_server_holds_what_its_domain_may() {
        let method = "  catalog.v1.Catalog/Get: {request: [], response: []}";
        let wish = format!("{method}\n  wish.v1.Wishes/List: {{request: [], response: [user]}}");
        let port = "ports: {http: {port: 8080, audience: public}}";
        let served = "ports: {http: {port: 8080, audience: public}, grpc: 1}, proto: [wish.v1.Wishes]";
        planted(&[(method, &wish), (port, served)]).finds(
            "SK0316",
            "wish.v1.Wishes/List",
            "`user`, `user.address`, which the domain `showcase` may not hold",
        );
        let may = "{trustDomain: showcase.test}";
        let more = "{trustDomain: showcase.test, may: [user]}";
        planted(&[(method, &wish), (port, served), (may, more)]).finds_nothing();
    }
}
