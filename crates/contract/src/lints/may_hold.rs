//! SK0013: a domain serves only what its workloads may hold. Callers of other domains get public data (SK0011), so
//! that what a server may hold, its callers may.

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint =
    Lint { code: "SK0013", rule: "A method carries no class that the domain of its workload may not hold.", check };

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for (service, method) in model.methods() {
        let workload = service.policy.as_ref().and_then(|policy| model.workload(&policy.workload));
        let Some(domain) = workload.and_then(|workload| model.domain(&workload.domain)) else { continue };
        let classes = model.classes(&method.request).union(model.classes(&method.response));
        let forbidden = classes.difference(domain.may_hold);
        if !forbidden.is_empty() {
            let text =
                format!("`{}` carries {forbidden}, which the domain `{}` may not hold", method.path, domain.name);
            let help = "serve it in a domain that may hold it, or leave the data out";
            findings.push(Diagnostic::error(LINT.code, method.span.clone(), text, help));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn a_domain_holds_what_it_may() {
        let may = "may_hold: [DATA_CLASS_USER, DATA_CLASS_PAYMENT, DATA_CLASS_MERCHANT]";
        let less = "may_hold: [DATA_CLASS_USER, DATA_CLASS_MERCHANT]";
        let found = planted(&[(may, less)]);
        found.finds("SK0013", "rpc CreateCharge", "carries PAYMENT, which the domain `commerce` may not hold");
        planted(&[(may, "may_hold: [DATA_CLASS_USER, DATA_CLASS_PAYMENT]")]).finds_nothing();
    }

    #[test]
    fn a_server_in_the_other_domain_may_not_hold_it_either() {
        let bank = r#"{name: "bank" domain: "commerce" egress: true}"#;
        let service = r#"{domain: "commerce" workload: "bank"}"#;
        let shop = r#"callers: ["shop"] kind: METHOD_KIND_WRITE"#;
        planted(&[
            (bank, &bank.replace("commerce", "showcase")),
            (service, &service.replace("commerce", "showcase")),
            (shop, &shop.replace("shop", "showcase")),
        ])
        .finds("SK0013", "rpc CreateCharge", "the domain `showcase` may not hold");
    }
}
