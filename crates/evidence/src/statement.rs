//! What is signed: an in-toto statement (in-toto/attestation, Statement v1) whose predicate says what the layers came to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::layer::{Layer, LayerName, Verdict};
use crate::manifest::MANIFEST;

/// The type of statements.
pub(crate) const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// The type of the predicate.
pub(crate) const PREDICATE: &str = "https://sekat.dev/attestation/boundary/v1";

/// What is stated besides the results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Facts {
    /// What was looked at, in words.
    pub scope: String,
    /// When it began, RFC 3339.
    pub window_start: String,
    /// When it ended, RFC 3339.
    pub window_end: String,
    /// What is believed without being shown.
    pub assumptions: Vec<String>,
    /// What no layer shows.
    pub not_covered: Vec<String>,
    /// The version of the tool.
    pub tool_version: String,
    /// The digest of what is meant, SHA-256 in hexadecimal.
    pub policy_digest: String,
    /// The digest of the bundle before this one.
    pub previous: Option<String>,
    /// Figures.
    pub coverage: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Statement {
    #[serde(rename = "_type")]
    pub(crate) kind: String,
    pub(crate) subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    pub(crate) predicate_type: String,
    pub(crate) predicate: Predicate,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) digest: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Predicate {
    pub(crate) verdict: Verdict,
    pub(crate) layers: Vec<Result>,
    pub(crate) facts: Facts,
}

/// What a layer came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Result {
    pub(crate) name: LayerName,
    pub(crate) verdict: Verdict,
    pub(crate) held: usize,
    pub(crate) violated: usize,
    pub(crate) unknown: usize,
    pub(crate) not_run: Option<String>,
}

impl Result {
    pub(crate) fn of(layer: &Layer) -> Self {
        Self {
            name: layer.name,
            verdict: layer.verdict(),
            held: layer.count(Verdict::Holds),
            violated: layer.count(Verdict::Violated),
            unknown: layer.count(Verdict::Unknown),
            not_run: layer.not_run.clone(),
        }
    }
}

impl Statement {
    pub(crate) fn new(facts: &Facts, layers: &[Layer], manifest: String) -> Self {
        let subject = |name: &str, digest: String| Subject {
            name: name.to_owned(),
            digest: BTreeMap::from([("sha256".to_owned(), digest)]),
        };
        Self {
            kind: STATEMENT.to_owned(),
            subject: vec![subject(MANIFEST, manifest), subject("policy", facts.policy_digest.clone())],
            predicate_type: PREDICATE.to_owned(),
            predicate: Predicate {
                verdict: Verdict::of(layers),
                layers: layers.iter().map(Result::of).collect(),
                facts: facts.clone(),
            },
        }
    }
}
