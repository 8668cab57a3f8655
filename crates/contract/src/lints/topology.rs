//! SK0002: one topology, in which every name means one thing and can be part of a SPIFFE ID.

use std::collections::BTreeSet;

use sekat_policy::{Diagnostic, Span};

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint = Lint {
    code: "SK0002",
    rule: "One file declares the topology; its names are unique, known and fit into a SPIFFE ID.",
    check,
};

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    let mut report = |span: &Span, message: String, help: &str| {
        findings.push(Diagnostic::error(LINT.code, span.clone(), message, help));
    };
    let Some(span) = model.topologies.first() else {
        let message = "no file declares a topology".to_owned();
        report(&Span::default(), message, "state the option (sekat.policy.v1.topology) in one file");
        return;
    };
    for again in model.topologies.iter().skip(1) {
        report(again, format!("the topology is declared at {}:{} already", span.file, span.line), "keep one of them");
    }
    let mut names = BTreeSet::new();
    let mut trust_domains = BTreeSet::new();
    for domain in &model.domains {
        if !is_label(&domain.name) || !names.insert(&domain.name) {
            report(span, format!("the domain name `{}` is malformed or taken", domain.name), LABELS);
        }
        if !domain.trust_domain.split('.').all(is_label) || !trust_domains.insert(&domain.trust_domain) {
            report(span, format!("the trust domain `{}` is malformed or taken", domain.trust_domain), LABELS);
        }
    }
    let mut names = BTreeSet::new();
    for workload in &model.workloads {
        if !is_label(&workload.name) || !names.insert(&workload.name) {
            report(span, format!("the workload name `{}` is malformed or taken", workload.name), LABELS);
        }
        if model.domain(&workload.domain).is_none() {
            let message = format!("the workload `{}` is in the unknown domain `{}`", workload.name, workload.domain);
            report(span, message, "name a domain of the topology");
        }
    }
}

const LABELS: &str = "use another name, of a-z, 0-9 and `-`, with a letter first; dots part the trust domain only";

/// A DNS label in lower case, which is what paths and trust domains of SPIFFE IDs and network policies all take.
fn is_label(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 63 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn a_name_means_one_thing_and_is_a_label() {
        for (from, to, part) in [
            (r#"name: "ops""#, r#"name: "shop""#, "`shop` is malformed or taken"),
            (r#"name: "ops""#, r#"name: "Ops""#, "`Ops` is malformed"),
            (r#"name: "ops" domain: "commerce""#, r#"name: "ops" domain: "trade""#, "unknown domain `trade`"),
            (r#""showcase.test""#, r#""commerce.test""#, "`commerce.test` is malformed or taken"),
            (r#""showcase.test""#, r#""showcase..test""#, "malformed"),
        ] {
            planted(&[(from, to)]).finds("SK0002", "option (sekat.policy.v1.topology)", part);
        }
        planted(&[(r#"name: "ops""#, r#"name: "ops-2""#)]).finds_nothing();
    }

    #[test]
    fn there_is_one_topology() {
        let none = planted(&[]).without("sekat/topology/v1/topology.proto").findings();
        assert!(none.iter().any(|finding| finding.message == "no file declares a topology"), "{none:#?}");
        let again = "package sekat.bank.v1;\noption (sekat.policy.v1.topology) = {};";
        planted(&[("package sekat.bank.v1;", again)]).finds(
            "SK0002",
            "option (sekat.policy.v1.topology) = {",
            "already",
        );
    }
}
