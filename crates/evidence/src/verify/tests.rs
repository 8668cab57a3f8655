//! A bundle holds as it was written, and in no other way.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::{Bundle, SigningKey};

struct Made {
    folder: TempDir,
    key: SigningKey,
}

fn layers() -> Vec<Layer> {
    let layer = |name| Layer::ran(name, vec![Check::holds("a -> /b", "refused").at("trace 1"), Check::holds("c", "d")]);
    LayerName::ALL.into_iter().map(layer).collect()
}

fn facts(previous: Option<String>) -> Facts {
    Facts {
        scope: "a mesh".to_owned(),
        window_start: "2026-01-01T00:00:00Z".to_owned(),
        window_end: "2026-01-01T00:01:00Z".to_owned(),
        assumptions: vec!["kernels are trusted".to_owned()],
        not_covered: Vec::new(),
        tool_version: "0".to_owned(),
        policy_digest: "00".to_owned(),
        previous,
        coverage: BTreeMap::from([("spans".to_owned(), 7)]),
    }
}

fn made(layers: &[Layer]) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::open_or_create(&folder.path().join("key")).unwrap();
    let bundle = Bundle::create(&folder.path().join("bundle")).unwrap();
    bundle.add_bytes("inputs/policy.yaml", b"kind: Policy\n").unwrap();
    bundle.seal(&facts(None), layers, &key).unwrap();
    Made { folder, key }
}

impl Made {
    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("bundle")
    }

    fn verify(&self) -> Report {
        verify(&self.root(), Some(&self.key.public().unwrap()), None)
    }

    fn codes(&self) -> Vec<&'static str> {
        self.verify().findings.iter().map(|finding| finding.code).collect()
    }
}

#[test]
fn a_bundle_holds_and_says_what_its_layers_say() {
    let made = made(&layers());
    let report = made.verify();
    assert_eq!(report.findings, []);
    assert_eq!((report.verdict, report.layers, report.signer_trusted), (Verdict::Holds, layers(), true));
    assert!(!verify(&made.root(), None, None).signer_trusted);

    let mut broken = layers();
    broken[3].checks.push(Check::violated("x", "dropped", "arrives").coded("SK0710"));
    assert_eq!(self::made(&broken).verify().verdict, Verdict::Violated);
    let silent: Vec<_> = LayerName::ALL.into_iter().map(|name| Layer::not_run(name, "no root")).collect();
    assert_eq!(self::made(&silent).verify().verdict, Verdict::Unknown);
    assert_eq!(self::made(&layers()[1..]).codes(), [UNFOUNDED], "a layer that is left out is missed");
}

#[test]
fn every_byte_of_every_file_counts() {
    let made = made(&layers());
    let files = manifest::list(&made.root()).unwrap().into_iter().map(|entry| entry.path);
    let files: Vec<String> = files.chain([MANIFEST, ATTESTATION].map(str::to_owned)).collect();
    assert_eq!(files.len(), LayerName::ALL.len() + 4);
    for file in files {
        let path = made.root().join(&file);
        let original = fs::read(&path).unwrap();
        for index in 0..original.len() {
            // One bit, the case of a letter, and what makes a `/` of Base64 a `_`.
            for flip in [0x01, 0x20, 0x70] {
                let mut changed = original.clone();
                changed[index] ^= flip;
                fs::write(&path, &changed).unwrap();
                let report = made.verify();
                assert!(!report.findings.is_empty(), "byte {index} of {file} with {flip:#x}");
                assert_ne!(report.verdict, Verdict::Holds);
            }
        }
        fs::write(&path, &original[..original.len() - 1]).unwrap();
        assert!(!made.codes().is_empty(), "{file} without its last byte");
        fs::write(&path, [&original[..], b"\n"].concat()).unwrap();
        assert!(!made.codes().is_empty(), "{file} with a line more");
        fs::remove_file(&path).unwrap();
        assert!(!made.codes().is_empty(), "without {file}");
        fs::write(&path, &original).unwrap();
    }
    assert_eq!(made.codes(), [""; 0]);
}

#[test]
fn files_that_come_go_or_are_no_files_are_named() {
    let made = made(&layers());
    let root = made.root();
    fs::write(root.join("layers/more.jsonl"), "").unwrap();
    assert_eq!(made.codes(), [ADDED]);
    fs::remove_file(root.join("layers/more.jsonl")).unwrap();
    fs::rename(root.join("inputs/policy.yaml"), root.join("inputs/other.yaml")).unwrap();
    assert_eq!(made.codes(), [DROPPED, ADDED]);
    fs::remove_file(root.join("inputs/other.yaml")).unwrap();
    symlink("/etc/hostname", root.join("inputs/policy.yaml")).unwrap();
    assert_eq!(made.codes(), [MALFORMED]);
}

#[test]
fn whoever_makes_the_list_anew_lacks_the_key() {
    let made = made(&layers());
    let root = made.root();
    let other = SigningKey::open_or_create(&made.folder.path().join("other")).unwrap();
    let forged = Bundle::create(&made.folder.path().join("forged")).unwrap();
    forged.seal(&facts(None), &layers(), &other).unwrap();
    for file in [ATTESTATION, MANIFEST, SIGNER] {
        fs::copy(made.folder.path().join("forged").join(file), root.join(file)).unwrap();
    }
    assert_eq!(made.codes(), [UNSIGNED]);
    assert!(
        verify(&root, None, None).findings.iter().all(|finding| finding.code != UNSIGNED),
        "its own key is its own"
    );
}

#[test]
fn a_chain_has_no_gaps() {
    let made = made(&layers());
    let digest = sha256(&fs::read(made.root().join(ATTESTATION)).unwrap());
    let next = made.folder.path().join("next");
    Bundle::create(&next).unwrap().seal(&facts(Some(digest)), &layers(), &made.key).unwrap();
    let codes = |root: &Path, previous: &Path| -> Vec<&str> {
        verify(root, None, Some(previous)).findings.iter().map(|finding| finding.code).collect()
    };
    assert_eq!(codes(&next, &made.root()), [""; 0]);
    assert_eq!(codes(&next, &next), [UNCHAINED]);
    assert_eq!(codes(&made.root(), &next), [UNCHAINED]);
}

#[test]
fn nothing_is_overwritten_and_no_path_leads_out() {
    let made = made(&layers());
    assert!(matches!(Bundle::create(&made.root()), Err(crate::EvidenceError::NotEmpty(_))));
    let bundle = Bundle::create(&made.folder.path().join("new")).unwrap();
    for path in ["../x", "a/../../x", "/etc/x", "", "a//b", MANIFEST] {
        assert!(matches!(bundle.add_bytes(path, b""), Err(crate::EvidenceError::BadPath(_))), "{path}");
    }
}
