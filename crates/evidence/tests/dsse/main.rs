//! Our envelopes in the hands of somebody else's DSSE, and theirs in ours.
#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use sekat_evidence::{Bundle, Check, Envelope, Facts, Layer, LayerName, PublicKey, SigningKey, sign};

const VARIABLE: &str = "SEKAT_SECURESYSTEMSLIB";

/// The other implementation, and a folder for both.
struct Peer {
    library: PathBuf,
    folder: tempfile::TempDir,
}

impl Peer {
    fn here() -> Option<Self> {
        let Some(program) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
            let lost = format!(
                "NOT RUN: somebody else's DSSE takes our envelopes. `cargo xtask test` installs what it needs and sets {VARIABLE}"
            );
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{lost}");
            // Unlike `eprintln`, which the test program keeps to itself unless the test fails.
            drop(writeln!(std::io::stderr(), "{lost}"));
            return None;
        };
        // The folder of the package `securesystemslib`, beside what it depends on.
        let library = program.parent().and_then(Path::parent).expect("a file of a package").to_owned();
        Some(Self { library, folder: tempfile::tempdir().expect("a folder") })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, verb: &str, arguments: &[&Path]) -> Option<i32> {
        let mut command = Command::new("python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dsse/peer.py")).arg(verb).args(arguments);
        command.env("PYTHONPATH", &self.library).env("PYTHONDONTWRITEBYTECODE", "1");
        let output = command.output().expect("python3 starts");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        output.status.code()
    }

    /// Whether as many of these keys signed, by the other implementation.
    fn verifies(&self, envelope: &Path, threshold: &str, keys: &[&SigningKey]) -> bool {
        let name = |number| self.path(&format!("{number}.pem"));
        let files: Vec<PathBuf> = (0..keys.len()).map(name).collect();
        for (file, key) in files.iter().zip(keys) {
            fs::write(file, key.public().expect("a key").to_pem()).expect("written");
        }
        let keys = files.iter().map(PathBuf::as_path);
        let arguments: Vec<&Path> = [envelope, Path::new(threshold)].into_iter().chain(keys).collect();
        match self.run("verify", &arguments) {
            Some(0) => true,
            Some(3) => false,
            code => panic!("the other implementation ended with {code:?}"),
        }
    }
}

#[test]
fn somebody_elses_verifier_takes_our_envelopes_and_no_changed_one() {
    let Some(peer) = Peer::here() else { return };
    let key = |name: &str| SigningKey::open_or_create(&peer.path(name)).expect("a key");
    let (prover, auditor, stranger) = (key("prover"), key("auditor"), key("stranger"));
    let root = peer.path("bundle");
    let facts = Facts {
        scope: "a mesh".to_owned(),
        window_start: "2026-01-01T00:00:00Z".to_owned(),
        window_end: "2026-01-01T00:01:00Z".to_owned(),
        assumptions: Vec::new(),
        not_covered: Vec::new(),
        tool_version: "0".to_owned(),
        policy_digest: "00".repeat(32),
        previous: None,
        coverage: BTreeMap::new(),
    };
    let layers = LayerName::ALL.map(|name| Layer::ran(name, vec![Check::holds("a -> /b?>", "refused")]));
    Bundle::create(&root).expect("a folder").seal(&facts, &layers, &prover).expect("sealed");
    assert!(sign(&root, &auditor).expect("signed"));
    for file in ["attestation.dsse.json", "test-result.dsse.json"] {
        let path = root.join(file);
        assert!(peer.verifies(&path, "2", &[&prover, &auditor]), "{file}");
        assert!(!peer.verifies(&path, "2", &[&prover, &stranger]), "{file}");
        let changed = fs::read_to_string(&path).expect("text").replacen("\"payload\":\"ey", "\"payload\":\"ez", 1);
        fs::write(peer.path(file), changed).expect("written");
        assert!(!peer.verifies(&peer.path(file), "1", &[&prover, &auditor]), "{file}, changed");
    }
}

#[test]
fn we_take_somebody_elses_envelopes_and_no_changed_one() {
    let Some(peer) = Peer::here() else { return };
    let payload = b"{\"_type\":\"https://in-toto.io/Statement/v1\",\"odd\":\"\xc3\xbf?>\"}";
    fs::write(peer.path("payload"), payload).expect("written");
    let [envelope, first, second] = ["envelope", "first", "second"].map(|name| peer.path(name));
    assert_eq!(peer.run("sign", &[&peer.path("payload"), &envelope, &first, &second]), Some(0));
    let public = |path: &Path| -> PublicKey { SigningKey::open(path).expect("their key").public().expect("its half") };
    let (first, second) = (public(&first), public(&second));
    let stranger = SigningKey::open_or_create(&peer.path("stranger")).expect("a key").public().expect("its half");
    let two = NonZeroUsize::new(2).expect("not zero");
    let text = fs::read_to_string(&envelope).expect("text");
    let open = |text: &str, keys: &[&PublicKey]| {
        let keys: Vec<PublicKey> = keys.iter().copied().cloned().collect();
        Envelope::from_json(text.as_bytes()).expect("an envelope").open(&keys, two)
    };
    let opened = open(&text, &[&second, &first]).expect("both signed");
    assert_eq!((opened.payload.as_slice(), opened.signers.len()), (payload.as_slice(), 2));
    assert!(open(&text, &[&first, &stranger]).is_err());
    let changed = text.replacen("\"payload\": \"ey", "\"payload\": \"ez", 1);
    assert_ne!(changed, text);
    assert!(open(&changed, &[&second, &first]).is_err());
}
