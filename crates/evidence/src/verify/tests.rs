//! A bundle holds as it was written, and in no other way.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::{Bundle, Sealed, SigningKey, sign};

const ONE: NonZeroUsize = NonZeroUsize::MIN;

struct Made {
    folder: TempDir,
    key: SigningKey,
    sealed: Sealed,
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
    let sealed = bundle.seal(&facts(None), layers, &key).unwrap();
    Made { folder, key, sealed }
}

impl Made {
    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("bundle")
    }

    fn other(&self, name: &str) -> SigningKey {
        SigningKey::open_or_create(&self.folder.path().join(name)).unwrap()
    }

    fn verify(&self) -> Report {
        verify(&self.root(), &[self.key.public().unwrap()], ONE, None)
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
    assert!(!verify(&made.root(), &[], ONE, None).signer_trusted);

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
    let files: Vec<String> = files.chain(manifest::UNLISTED.map(str::to_owned)).collect();
    assert_eq!(files.len(), LayerName::ALL.len() + 5);
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
    let other = made.other("other");
    let forged = Bundle::create(&made.folder.path().join("forged")).unwrap();
    forged.seal(&facts(None), &layers(), &other).unwrap();
    for file in [ATTESTATION, MANIFEST, SIGNER, TEST_RESULT] {
        fs::copy(made.folder.path().join("forged").join(file), root.join(file)).unwrap();
    }
    assert_eq!(made.codes(), [UNSIGNED]);
    assert!(
        verify(&root, &[], ONE, None).findings.iter().all(|finding| finding.code != UNSIGNED),
        "its own key is its own"
    );
}

#[test]
fn a_chain_has_no_gaps() {
    let made = made(&layers());
    let digest = made.sealed.digest.clone();
    let next = made.folder.path().join("next");
    Bundle::create(&next).unwrap().seal(&facts(Some(digest)), &layers(), &made.key).unwrap();
    let codes = |root: &Path, previous: &Path| -> Vec<&str> {
        verify(root, &[], ONE, Some(previous)).findings.iter().map(|finding| finding.code).collect()
    };
    assert_eq!(codes(&next, &made.root()), [""; 0]);
    assert_eq!(codes(&next, &next), [UNCHAINED]);
    assert_eq!(codes(&made.root(), &next), [UNCHAINED]);
    assert!(sign(&made.root(), &made.other("auditor")).unwrap());
    assert_eq!(codes(&next, &made.root()), [""; 0], "another signature makes no other statement");
}

#[test]
fn several_may_have_to_sign() {
    let made = made(&layers());
    let (auditor, stranger) = (made.other("auditor"), made.other("stranger"));
    assert!(sign(&made.root(), &auditor).unwrap());
    assert!(!sign(&made.root(), &auditor).unwrap(), "once is enough");
    let [ours, theirs, nobodys] = [&made.key, &auditor, &stranger].map(|key| key.public().unwrap());
    let check = |keys: &[&PublicKey], threshold| {
        let keys: Vec<PublicKey> = keys.iter().copied().cloned().collect();
        let report = verify(&made.root(), &keys, NonZeroUsize::new(threshold).unwrap(), None);
        let codes: Vec<&str> = report.findings.iter().map(|finding| finding.code).collect();
        (codes, report.signers.len(), report.unknown_signatures)
    };
    assert_eq!(check(&[&ours, &theirs], 2), (vec![], 2, 0));
    assert_eq!(check(&[&nobodys, &theirs], 1), (vec![], 1, 1));
    assert_eq!(check(&[&ours, &ours], 2), (vec![UNSIGNED], 0, 0), "a key that is named twice signs once");
    assert_eq!(check(&[&ours, &nobodys], 2), (vec![UNSIGNED], 0, 0));
    assert_eq!(check(&[], 2), (vec![UNSIGNED], 0, 0), "a bundle brings one key");
    // Whoever signs one statement and not the other has signed neither.
    let partly = fs::read(made.root().join(TEST_RESULT)).unwrap();
    assert!(sign(&made.root(), &stranger).unwrap());
    fs::write(made.root().join(TEST_RESULT), partly).unwrap();
    assert_eq!(check(&[&nobodys], 1).0, [UNSIGNED]);
}

#[test]
fn nobody_signs_what_does_not_hold_together() {
    let made = made(&layers());
    let path = made.root().join("inputs/policy.yaml");
    fs::write(path, "kind: Other\n").unwrap();
    let before = fs::read(made.root().join(ATTESTATION)).unwrap();
    assert!(matches!(sign(&made.root(), &made.other("auditor")), Err(crate::EvidenceError::Unsound(_))));
    assert_eq!(fs::read(made.root().join(ATTESTATION)).unwrap(), before);
}

#[test]
fn gates_that_know_test_results_can_read_one() {
    let mut layers = layers();
    let held = layers.iter().map(|layer| layer.checks.len()).sum::<usize>();
    let payload = |made: &Made| -> serde_json::Value {
        let envelope = Envelope::from_json(&fs::read(made.root().join(TEST_RESULT)).unwrap()).unwrap();
        serde_json::from_slice(&envelope.payload().unwrap()).unwrap()
    };
    let statement = payload(&self::made(&layers));
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://in-toto.io/attestation/test-result/v0.1");
    let result = &statement["predicate"];
    assert_eq!((result["result"].as_str(), result["passedTests"].as_array().unwrap().len()), (Some("PASSED"), held));

    layers[4] = Layer::not_run(LayerName::Packets, "no root");
    let result = payload(&self::made(&layers))["predicate"].clone();
    assert_eq!(
        (&result["result"], &result["warnedTests"]),
        (&"WARNED".into(), &serde_json::json!(["packets: not run"]))
    );

    layers[6].checks.push(Check::violated("x -> /y", "refused", "OK"));
    let made = self::made(&layers);
    let result = payload(&made)["predicate"].clone();
    assert_eq!(
        (&result["result"], &result["failedTests"]),
        (&"FAILED".into(), &serde_json::json!(["probes: x -> /y"]))
    );
    assert_eq!(made.verify().findings, []);

    // Signed by the right key, and still not what the checks say.
    let forged = Envelope::seal(result.to_string().as_bytes(), &made.key).unwrap();
    fs::write(made.root().join(TEST_RESULT), serde_json::to_vec(&forged).unwrap()).unwrap();
    assert_eq!(made.codes(), [UNFOUNDED]);
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

/// A bundle with what the pages' examples take away and change.
fn documented(root: &Path, facts: &Facts, layers: &[Layer], key: &SigningKey) -> Sealed {
    let bundle = Bundle::create(root).unwrap();
    bundle.add_bytes("report.html", b"DILANGGAR").unwrap();
    bundle.add_bytes("inputs/contracts/sekat/payment/v1/payment.proto", b"syntax").unwrap();
    bundle.seal(facts, layers, key).unwrap()
}

#[test]
fn each_page_shows_what_its_example_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str| SigningKey::open_or_create(&folder.path().join(name)).unwrap();
    let (prover, auditor) = (key("prover"), key("auditor"));
    let keys = [prover.public().unwrap(), auditor.public().unwrap()];
    let earlier = folder.path().join("earlier");
    documented(&earlier, &facts(None), &layers(), &prover);
    let two = NonZeroUsize::new(2).unwrap();
    type Fault<'a> = &'a dyn Fn(&Path);
    let faults: [(&str, NonZeroUsize, Option<&Path>, Fault<'_>); 7] = [
        (MALFORMED, ONE, None, &|root| fs::remove_file(root.join(MANIFEST)).unwrap()),
        (UNSIGNED, two, None, &|_| {}),
        (CHANGED, ONE, None, &|root| fs::write(root.join("report.html"), "TERBUKTI").unwrap()),
        (DROPPED, ONE, None, &|root| {
            fs::remove_file(root.join("inputs/contracts/sekat/payment/v1/payment.proto")).unwrap();
        }),
        (ADDED, ONE, None, &|root| fs::write(root.join("NOTE.txt"), "all good\n").unwrap()),
        (UNFOUNDED, ONE, None, &|root| {
            let call = "showcase -> /sekat.payment.v1.PaymentIntentService/GetPaymentIntent";
            let check = Check::violated(call, "refused", "let in: Ok");
            fs::write(root.join(layer_path("probes")), serde_json::to_vec(&check).unwrap()).unwrap();
            let list = serde_json::to_vec(&manifest::list(root).unwrap()).unwrap();
            let statement = Statement::new(&facts(None), &layers(), sha256(&list));
            let envelope = Envelope::seal(&serde_json::to_vec(&statement).unwrap(), &prover).unwrap();
            fs::write(root.join(MANIFEST), list).unwrap();
            fs::write(root.join(ATTESTATION), serde_json::to_vec(&envelope).unwrap()).unwrap();
        }),
        (UNCHAINED, ONE, Some(&earlier), &|_| {}),
    ];
    for (number, (code, threshold, previous, plant)) in faults.into_iter().enumerate() {
        let root = folder.path().join(number.to_string());
        documented(&root, &facts(Some("00".to_owned())), &layers(), &prover);
        plant(&root);
        let findings = verify(&root, &keys, threshold, previous).findings;
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/diagnostics/{code}.md"));
        let page = fs::read_to_string(page).unwrap();
        let told = findings.iter().find(|finding| finding.code == code).unwrap();
        assert!(page.contains(&format!("error[{code}]: {}\n", told.message)), "{code}: {}", told.message);
        assert_eq!(CODES[number].0, code);
        assert!(page.starts_with(&format!("# {code}: {}\n", CODES[number].1)), "{code}");
    }
}
