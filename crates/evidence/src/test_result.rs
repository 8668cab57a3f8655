//! The same results as an in-toto test result (in-toto/attestation, predicate `test-result` v0.1), for gates that know this
//! predicate and not ours. It says nothing that our statement does not say.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::layer::{Layer, Verdict};
use crate::manifest::MANIFEST;
use crate::statement::{Facts, STATEMENT, Subject};

/// The type of the predicate.
const PREDICATE: &str = "https://in-toto.io/attestation/test-result/v0.1";

#[derive(Serialize)]
pub(crate) struct Statement {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: &'static str,
    predicate: Predicate,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    result: &'static str,
    /// What the layers were compared with, as a resource descriptor.
    configuration: Vec<Subject>,
    passed_tests: Vec<String>,
    warned_tests: Vec<String>,
    failed_tests: Vec<String>,
}

/// The statement. A test is a check, named after its layer and what it tried; a layer that tried nothing warns, so that no
/// gate takes silence for success.
pub(crate) fn statement(facts: &Facts, layers: &[Layer], manifest: &str) -> Statement {
    let named = |name: &str, digest: &str| Subject {
        name: name.to_owned(),
        digest: BTreeMap::from([("sha256".to_owned(), digest.to_owned())]),
    };
    let tests = |outcome: Verdict| -> Vec<String> {
        let of_layer = |layer: &Layer| -> Vec<String> {
            let checks = layer.checks.iter().filter(|check| check.outcome == outcome);
            let mut tests: Vec<String> = checks.map(|check| format!("{}: {}", layer.name, check.subject)).collect();
            if outcome == Verdict::Unknown && (layer.not_run.is_some() || layer.checks.is_empty()) {
                tests.push(format!("{}: not run", layer.name));
            }
            tests
        };
        layers.iter().flat_map(of_layer).collect()
    };
    Statement {
        kind: STATEMENT,
        subject: vec![named(MANIFEST, manifest)],
        predicate_type: PREDICATE,
        predicate: Predicate {
            result: match Verdict::of(layers) {
                Verdict::Holds => "PASSED",
                Verdict::Unknown => "WARNED",
                Verdict::Violated => "FAILED",
            },
            configuration: vec![named("policy", &facts.policy_digest)],
            passed_tests: tests(Verdict::Holds),
            warned_tests: tests(Verdict::Unknown),
            failed_tests: tests(Verdict::Violated),
        },
    }
}
