//! Checks a bundle again: without network, without the mesh, and without believing the bundle about itself.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::Path;

use sekat_policy::{Diagnostic, Span};

use crate::bundle::{SIGNER, layer_path};
use crate::dsse::{Envelope, Opened};
use crate::keys::PublicKey;
use crate::layer::{Check, Layer, LayerName, Verdict};
use crate::manifest::{self, ATTESTATION, Entry, MANIFEST, TEST_RESULT};
use crate::statement::{Facts, PREDICATE, Result as Stated, STATEMENT, Statement};
use crate::{sha256, test_result};

/// A part of the bundle cannot be read, or is not what it should be.
pub const MALFORMED: &str = "SK0800";
/// The statement is not signed by the key.
pub const UNSIGNED: &str = "SK0801";
/// A file has other bytes than the signed list says.
pub const CHANGED: &str = "SK0802";
/// A file of the signed list is not there.
pub const DROPPED: &str = "SK0803";
/// A file is not in the signed list.
pub const ADDED: &str = "SK0804";
/// What is stated does not follow from the checks.
pub const UNFOUNDED: &str = "SK0805";
/// The bundle does not name the one that is given as the one before it.
pub const UNCHAINED: &str = "SK0806";
/// A layer that can be run again on the inputs in the bundle comes to something else than is stated.
pub const UNREPEATED: &str = "SK0807";

/// Every code with its rule.
pub const CODES: [(&str, &str); 8] = [
    (MALFORMED, "Each part of a bundle can be read and is what it should be."),
    (UNSIGNED, "The statements are signed by as many of the trusted keys as have to."),
    (CHANGED, "Each file has the bytes that the signed list says."),
    (DROPPED, "Each file of the signed list is there."),
    (ADDED, "Each file is in the signed list."),
    (UNFOUNDED, "What is stated of a layer follows from its checks."),
    (UNCHAINED, "A bundle names the one before it."),
    (UNREPEATED, "A layer that is run again on the inputs in the bundle comes to what is stated."),
];

/// The largest statement and the largest list.
const PART: u64 = 64 << 20;
/// The largest file of checks.
const CHECKS: u64 = 1 << 30;

/// What a bundle is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it shows; unknown if it does not hold together.
    pub verdict: Verdict,
    /// Its layers, read from its own files.
    pub layers: Vec<Layer>,
    /// What is stated besides; none if it is not signed.
    pub facts: Option<Facts>,
    /// The fingerprints of the keys that signed, each once; none if it is not signed.
    pub signers: Vec<String>,
    /// Whether these keys came from whoever asks, rather than from the bundle itself.
    pub signer_trusted: bool,
    /// How many signatures are of other keys. Nobody has checked them, and they count for nothing.
    pub unknown_signatures: usize,
    /// What is wrong with the bundle.
    pub findings: Vec<Diagnostic>,
}

/// Checks the bundle in `root`, which at least `threshold` of the keys that are `trusted` have to have signed. Without any,
/// the one in the bundle is taken: then somebody else could have made all of it. `previous` is the bundle that it has to
/// name.
#[must_use]
pub fn verify(root: &Path, trusted: &[PublicKey], threshold: NonZeroUsize, previous: Option<&Path>) -> Report {
    let mut report = Report {
        verdict: Verdict::Unknown,
        layers: Vec::new(),
        facts: None,
        signers: Vec::new(),
        signer_trusted: !trusted.is_empty(),
        unknown_signatures: 0,
        findings: Vec::new(),
    };
    let mut check = Checking { root, findings: &mut report.findings };
    if let Some(checked) = check.run(trusted, threshold, previous) {
        report.signers = checked.opened.signers.iter().map(PublicKey::fingerprint).collect();
        report.unknown_signatures = checked.opened.unknown;
        report.facts = Some(checked.statement.predicate.facts);
        report.layers = checked.layers;
    }
    if report.findings.is_empty() {
        report.verdict = Verdict::of(&report.layers);
    }
    report
}

/// What a bundle says.
struct Checked {
    opened: Opened,
    statement: Statement,
    layers: Vec<Layer>,
}

struct Checking<'a> {
    root: &'a Path,
    findings: &'a mut Vec<Diagnostic>,
}

impl Checking<'_> {
    fn run(&mut self, trusted: &[PublicKey], threshold: NonZeroUsize, previous: Option<&Path>) -> Option<Checked> {
        let signer = self.read(SIGNER, PART)?;
        let own = std::str::from_utf8(&signer).ok().and_then(PublicKey::from_pem);
        let keys: Vec<PublicKey> = if trusted.is_empty() { own.into_iter().collect() } else { trusted.to_vec() };
        if keys.is_empty() {
            self.find(MALFORMED, SIGNER, "holds no Ed25519 key in PEM", "give the signer's key");
            return None;
        }
        let opened = self.open(ATTESTATION, &keys, threshold)?;
        let statement: Statement = self.parse(ATTESTATION, &opened.payload)?;
        if statement.kind != STATEMENT || statement.predicate_type != PREDICATE {
            let help = "verify it with the tool that made it";
            self.find(MALFORMED, ATTESTATION, "the statement is of another kind", help);
            return None;
        }
        let list = self.files(&statement)?;
        let layers = self.layers(&statement);
        let result = self.open(TEST_RESULT, &keys, threshold)?;
        let expected = serde_json::to_vec(&test_result::statement(&statement.predicate.facts, &layers, &list)).ok();
        if expected.as_ref() != Some(&result.payload) {
            let why = "says something else than the checks of the layers";
            self.find(UNFOUNDED, TEST_RESULT, why, "the signer has to explain this");
        }
        if let Some(previous) = previous {
            self.chain(&statement.predicate.facts, previous);
        }
        Some(Checked { opened, statement, layers })
    }

    /// What an envelope holds, if enough of the keys signed it.
    fn open(&mut self, path: &str, keys: &[PublicKey], threshold: NonZeroUsize) -> Option<Opened> {
        let bytes = self.read(path, PART)?;
        let envelope: Envelope = self.parse(path, &bytes)?;
        let opened = match envelope.open(keys, threshold) {
            Ok(opened) => opened,
            Err(why) => {
                let keys: Vec<String> = keys.iter().map(PublicKey::fingerprint).collect();
                let help = format!(
                    "the keys are {}; somebody changed the statement, or somebody else signed it",
                    keys.join(", ")
                );
                self.find(UNSIGNED, path, &why, &help);
                return None;
            }
        };
        // What the signature does not cover has one spelling.
        if serde_json::to_vec(&envelope).ok().as_ref() != Some(&bytes) || !envelope.is_canonical(&opened) {
            self.find(CHANGED, path, "the envelope is spelt otherwise than it was written", "take the original");
            return None;
        }
        Some(opened)
    }

    /// The signed list against the files that are there, and its digest.
    fn files(&mut self, statement: &Statement) -> Option<String> {
        let list = self.read(MANIFEST, PART)?;
        let digest = sha256(&list);
        let stated = statement.subject.iter().find(|subject| subject.name == MANIFEST);
        if stated.and_then(|subject| subject.digest.get("sha256")) != Some(&digest) {
            self.find(CHANGED, MANIFEST, "is not the list that was signed", "take the original");
            return None;
        }
        let listed: Vec<Entry> = self.parse(MANIFEST, &list)?;
        let there = match manifest::list(self.root) {
            Ok(there) => there,
            Err((path, error)) => {
                self.find(MALFORMED, &path, &error.to_string(), "take the original");
                return None;
            }
        };
        let mut there: BTreeMap<&str, &Entry> = there.iter().map(|entry| (entry.path.as_str(), entry)).collect();
        for entry in &listed {
            match there.remove(entry.path.as_str()) {
                None => self.find(DROPPED, &entry.path, "is in the signed list and not there", "take the original"),
                Some(found) if found != entry => {
                    self.find(CHANGED, &entry.path, "has other bytes than were signed", "take the original");
                }
                Some(_) => {}
            }
        }
        for path in there.into_keys() {
            self.find(ADDED, path, "is not in the signed list", "take it away");
        }
        Some(digest)
    }

    /// The layers out of their files, and whether the statement says of them what they come to.
    fn layers(&mut self, statement: &Statement) -> Vec<Layer> {
        let mut layers = Vec::new();
        for stated in &statement.predicate.layers {
            let path = layer_path(stated.name.as_str());
            let Some(bytes) = self.read(&path, CHECKS) else { continue };
            let mut checks: Vec<Check> = Vec::new();
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let Some(check) = self.parse(&path, line) else { break };
                checks.push(check);
            }
            let layer = Layer { name: stated.name, checks, not_run: stated.not_run.clone() };
            if Stated::of(&layer) != *stated {
                self.find(
                    UNFOUNDED,
                    &path,
                    "its checks come to something else than is stated",
                    "the signer has to explain this",
                );
            }
            layers.push(layer);
        }
        let names: Vec<LayerName> = layers.iter().map(|layer| layer.name).collect();
        if names != LayerName::ALL {
            self.find(UNFOUNDED, ATTESTATION, "layers are missing or stand twice", "make the evidence anew");
        }
        if Verdict::of(&layers) != statement.predicate.verdict {
            self.find(
                UNFOUNDED,
                ATTESTATION,
                "the verdict does not follow from the layers",
                "the signer has to explain this",
            );
        }
        layers
    }

    fn chain(&mut self, facts: &Facts, previous: &Path) {
        // The statement and not its envelope, to which others may add their signatures later.
        let digest = fs::read(previous.join(ATTESTATION)).and_then(|bytes| {
            let payload = Envelope::from_json(&bytes).ok().and_then(|envelope| envelope.payload());
            payload.map(|payload| sha256(&payload)).ok_or_else(|| std::io::Error::other("holds no statement"))
        });
        match (digest, &facts.previous) {
            (Ok(digest), Some(named)) if digest == *named => {}
            (Ok(_), Some(_)) => {
                let why = "names another bundle as the one before it";
                self.find(UNCHAINED, ATTESTATION, why, "a bundle between the two is missing, or one was changed");
            }
            (Ok(_), None) => {
                self.find(UNCHAINED, ATTESTATION, "names no bundle before it", "it is the first of its chain")
            }
            (Err(error), _) => {
                self.find(MALFORMED, ATTESTATION, &format!("the bundle before it: {error}"), "give the right folder");
            }
        }
    }

    fn read(&mut self, path: &str, most: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.root.join(path)).and_then(|file| {
            let is_link = fs::symlink_metadata(self.root.join(path))?.is_symlink();
            if is_link { Err(std::io::Error::other("evidence holds no links")) } else { Ok(file) }
        });
        match file.and_then(|file| file.take(most + 1).read_to_end(&mut bytes)) {
            Ok(_) if u64::try_from(bytes.len()).is_ok_and(|length| length <= most) => Some(bytes),
            Ok(_) => {
                self.find(MALFORMED, path, "is larger than evidence is", "take the original");
                None
            }
            Err(error) => {
                self.find(MALFORMED, path, &error.to_string(), "name the folder that `sekat prove` wrote");
                None
            }
        }
    }

    fn parse<T: serde::de::DeserializeOwned>(&mut self, path: &str, bytes: &[u8]) -> Option<T> {
        serde_json::from_slice(bytes)
            .map_err(|error| self.find(MALFORMED, path, &error.to_string(), "take the original"))
            .ok()
    }

    fn find(&mut self, code: &'static str, path: &str, what: &str, help: &str) {
        let file = self.root.join(path).display().to_string();
        self.findings.push(Diagnostic::error(code, Span { file, line: 0, column: 0 }, format!("{path}: {what}"), help));
    }
}

#[cfg(test)]
mod tests;
