//! SK0314: a workload's identity is a SPIFFE ID of its domain's trust domain, which is how callers are told apart.

use sekat_policy::{Diagnostic, Intent};

use super::IntentLint;

pub(super) const LINT: IntentLint = IntentLint {
    code: "SK0314",
    rule: "The identity of a workload is a well-formed SPIFFE ID in the trust domain of its domain.",
    check,
};

/// The most bytes of a SPIFFE ID (SPIFFE-ID, section 2.3).
const MOST_BYTES: usize = 2048;

fn check(intent: &Intent, findings: &mut Vec<Diagnostic>) {
    for workload in intent.workloads.iter().filter(|workload| !workload.identity.is_empty()) {
        let identity = &workload.identity;
        let (text, help) = match trust_domain(identity) {
            None => (
                format!("`{identity}` is no SPIFFE ID of a workload"),
                "write spiffe://TRUST-DOMAIN/PATH with letters, digits, `.`, `-` and `_` between slashes".to_owned(),
            ),
            Some(found) => match intent.domain(&workload.domain) {
                Some(domain) if domain.trust_domain != found && !domain.trust_domain.is_empty() => (
                    format!("`{identity}` is not in the trust domain of `{}`", domain.name),
                    format!("write an identity of {}, or move `{}`", domain.trust_domain, workload.name),
                ),
                _ => continue,
            },
        };
        findings.push(Diagnostic::error(LINT.code, workload.span.clone(), text, help));
    }
}

/// The trust domain of a SPIFFE ID with a path (SPIFFE-ID, sections 2.1 and 2.2).
fn trust_domain(identity: &str) -> Option<&str> {
    let (trust_domain, path) = identity.strip_prefix("spiffe://")?.split_once('/')?;
    let in_domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    let in_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let segment = |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(in_path);
    let holds = identity.len() <= MOST_BYTES
        && !trust_domain.is_empty()
        && trust_domain.chars().all(in_domain)
        && path.split('/').all(segment);
    holds.then_some(trust_domain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent_lints::fixture::planted;

    #[test]
    fn an_identity_is_of_its_own_domain() {
        let port = "ports: {http: {port: 8080, audience: public}}";
        let with = |identity: &str| planted(&[(port, &format!("{port}, identity: \"{identity}\""))]);
        with("spiffe://commerce.test/showcase").finds(
            "SK0314",
            "name: showcase",
            "not in the trust domain of `showcase`",
        );
        with("spiffe://showcase.test/a/../b").finds("SK0314", "name: showcase", "no SPIFFE ID");
        with("showcase").finds("SK0314", "name: showcase", "no SPIFFE ID");
        with("spiffe://showcase.test/showcase").finds_nothing();
    }

    #[test]
    fn malformed_identities_have_no_trust_domain() {
        for bad in [
            "spiffe://a.test",
            "spiffe://a.test/",
            "spiffe:///x",
            "spiffe://A.test/x",
            "spiffe://a.test:1/x",
            "https://a.test/x",
            "spiffe://a.test/x?y",
            "spiffe://a.test//x",
            "spiffe://u@a.test/x",
        ] {
            assert_eq!(trust_domain(bad), None, "{bad}");
        }
        assert_eq!(trust_domain("spiffe://a.test/ns/x/sa/y"), Some("a.test"));
    }
}
