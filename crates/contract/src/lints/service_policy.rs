//! SK0007: every service says which workload of which domain serves it.

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint =
    Lint { code: "SK0007", rule: "Every service names the workload that serves it and that workload's domain.", check };

const HELP: &str = "state option (sekat.policy.v1.service) with a workload of the topology and its domain";

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for service in &model.services {
        let wrong = match &service.policy {
            None => "does not say who serves it".to_owned(),
            Some(policy) => match model.workload(&policy.workload) {
                None => format!("is served by the unknown workload `{}`", policy.workload),
                Some(_) if model.domain(&policy.domain).is_none() => {
                    format!("is in the unknown domain `{}`", policy.domain)
                }
                Some(workload) if workload.domain != policy.domain => {
                    format!("is in the domain `{}`, but `{}` is in `{}`", policy.domain, workload.name, workload.domain)
                }
                Some(_) => continue,
            },
        };
        let text = format!("the service `{}` {wrong}", service.name);
        findings.push(Diagnostic::error(LINT.code, service.span.clone(), text, HELP));
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    const OPTION: &str = r#"  option (sekat.policy.v1.service) = {domain: "commerce" workload: "bank"};"#;

    #[test]
    fn a_service_names_its_workload_and_domain() {
        for (policy, part) in [
            ("", "does not say who serves it"),
            (
                r#"  option (sekat.policy.v1.service) = {domain: "commerce" workload: "banc"};"#,
                "unknown workload `banc`",
            ),
            (r#"  option (sekat.policy.v1.service) = {domain: "trade" workload: "bank"};"#, "unknown domain `trade`"),
            (r#"  option (sekat.policy.v1.service) = {domain: "showcase" workload: "bank"};"#, "but `bank` is in"),
        ] {
            planted(&[(OPTION, policy)]).finds("SK0007", "service BankService {", part);
        }
        planted(&[]).finds_nothing();
    }
}
