//! `sekat check`: what is meant, and whether contracts, policy and code agree on it.

use std::path::Path;

use sekat_policy::{Diagnostic, Intent, Severity};

use crate::own::{Deployment, intent_of};
use crate::{breaking, code, intent_lints, lints, policy_file};

/// Where it is stated what is meant.
#[derive(Clone, Copy, Debug)]
pub enum Meant<'a> {
    /// In contracts with our options.
    Contracts {
        /// The folder of the `.proto` files.
        root: &'a Path,
        /// How their workloads are deployed.
        deployment: &'a Deployment,
    },
    /// In a policy file.
    Policy(&'a Path),
}

/// What is meant, and everything that is wrong with it, in the order of place and code. `site` is the site file of the
/// place where it is meant, if there is one; `cargo_metadata` is the output of
/// `cargo metadata --no-deps --format-version 1` of the workspace whose code is to agree, if there is one.
///
/// An intent with errors grants less than was meant, never more. Contracts that break their own rules are not checked as
/// intents and against code, which would say the same things again in other words.
#[must_use]
pub fn run(meant: &Meant<'_>, site: Option<&Path>, cargo_metadata: Option<&str>) -> (Intent, Vec<Diagnostic>) {
    let (mut intent, mut findings, is_checked) = match meant {
        Meant::Policy(path) => {
            let (intent, findings) = policy_file::stated(path);
            (intent, findings, true)
        }
        Meant::Contracts { root, deployment } => {
            let (model, findings) = crate::compile(root);
            let intent = model.map(|model| intent_of(&model, deployment)).unwrap_or_default();
            let is_checked = !has_errors(&findings);
            (intent, findings, is_checked)
        }
    };
    findings.extend(site.into_iter().flat_map(|site| policy_file::site::extend(&mut intent, site)));
    if is_checked {
        (intent, findings) = policy_file::linted((intent, findings));
    }
    if let Some(metadata) = cargo_metadata.filter(|_| !has_errors(&findings)) {
        findings.extend(code::check(&intent, metadata));
    }
    findings.sort_by(|left, right| (&left.span, left.code).cmp(&(&right.span, right.code)));
    (intent, findings)
}

fn has_errors(findings: &[Diagnostic]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// Every code that this crate and [`sekat_yaml`] report, with its rule in one sentence, in the order of the codes.
#[must_use]
pub fn rules() -> Vec<(&'static str, &'static str)> {
    let contracts = lints::ALL.iter().map(|lint| (lint.code, lint.rule));
    let intents = intent_lints::ALL.iter().map(|lint| (lint.code, lint.rule));
    let tables = [breaking::CODES, sekat_yaml::CODES, policy_file::CODES, code::CODES];
    let mut rules: Vec<_> = contracts.chain(intents).chain(tables.into_iter().flatten().copied()).collect();
    rules.sort_unstable();
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

    /// What cargo says about this repository.
    fn metadata() -> String {
        let cargo = std::process::Command::new(env!("CARGO"))
            .args(["metadata", "--no-deps", "--format-version=1", "--offline", "--manifest-path"])
            .arg(format!("{ROOT}/Cargo.toml"))
            .output()
            .expect("cargo");
        String::from_utf8(cargo.stdout).expect("text")
    }

    fn check(metadata: &str) -> Vec<Diagnostic> {
        let (root, deployment) = (Path::new(ROOT).join("proto"), Deployment::default());
        run(&Meant::Contracts { root: &root, deployment: &deployment }, None, Some(metadata)).1
    }

    #[test]
    fn contracts_and_code_of_this_repository_agree() {
        let findings: Vec<_> = check(&metadata()).iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    #[test]
    fn the_contract_of_payment_in_the_dependencies_of_showcase_is_found() {
        let metadata = metadata();
        let feed = r#"{"name":"sekat-api-feed","#;
        let start = metadata.find(r#"{"name":"sekat-showcase","#).expect("the showcase");
        let at = start + metadata[start..].find(feed).expect("its feed");
        let mut planted = metadata.clone();
        planted.insert_str(at, r#"{"name":"sekat-api-payment","kind":null,"path":"planted"},"#);
        let findings = check(&planted);
        let [finding] = findings.as_slice() else { panic!("one finding, not {findings:#?}") };
        assert_eq!((finding.code, finding.span.file.as_str()), ("SK0330", "services/showcase/Cargo.toml"));
        assert!(finding.message.contains("`showcase` may call nothing of sekat.payment.v1"), "{finding}");
        let at_test_time = planted.replace(r#""sekat-api-payment","kind":null"#, r#""sekat-api-payment","kind":"dev""#);
        assert_eq!(check(&at_test_time), [], "what only tests link is not in the program");
    }

    #[test]
    fn codes_mean_one_thing() {
        let rules = rules();
        assert!(rules.is_sorted_by(|left, right| left.0 < right.0), "{rules:#?}");
        assert!(rules.iter().all(|(_, rule)| rule.ends_with('.')));
    }
}
