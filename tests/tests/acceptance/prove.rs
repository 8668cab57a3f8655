//! The whole proof of a running mesh: it holds, an outsider can check it again, and each planted fault is named.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use acceptance::cli::{self, Ran, repository};
use acceptance::wire::{Identity, handshake, tls};
use acceptance::{Mesh, Options};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use tempfile::TempDir;

/// A mesh and a place for evidence.
struct World {
    mesh: Mesh,
    folder: TempDir,
}

impl World {
    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the proof with further arguments.
    fn prove(&self, name: &str, arguments: &[&str]) -> Ran {
        let (data, out) = (self.mesh.data(), self.out(name));
        let mut command = cli::command();
        command.current_dir(repository()).env("HOME", std::env::var_os("HOME").unwrap());
        command.arg("prove").arg("--data").arg(data).arg("--out").arg(out).args(arguments);
        cli::run(&mut command)
    }

    /// That the proof says VIOLATED and names the fault.
    fn violated(&self, name: &str, arguments: &[&str], witnesses: &[&str]) {
        let Ran { code, stdout, stderr } = self.prove(name, arguments);
        assert_eq!((code, stdout.trim()), (Some(3), "VIOLATED"), "{name}: {stderr}");
        for witness in witnesses {
            let named = stderr.lines().any(|line| line.contains("VIOLATED ") && line.contains(witness));
            assert!(named, "{name}: nothing names {witness}: {stderr}");
        }
        assert_eq!(verify(&self.out(name)).code, Some(3), "{name}");
    }

    fn copy(&self, what: &[&str]) -> PathBuf {
        let to = self.folder.path().join("copy");
        if to.exists() {
            fs::remove_dir_all(&to).unwrap();
        }
        fs::create_dir(&to).unwrap();
        for what in what {
            let from = repository().join(what);
            assert!(Command::new("cp").arg("-r").arg(from).arg(&to).status().unwrap().success());
        }
        to
    }
}

fn verify(bundle: &Path) -> Ran {
    cli::run(cli::command().arg("verify").arg(bundle))
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    let planted = text.replacen(from, to, 1);
    assert_ne!(text, planted, "{} has {from}", path.display());
    fs::write(path, planted).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mesh_is_proven_and_each_planted_fault_is_named() {
    let world = World { mesh: Mesh::start(Options::seeded()), folder: tempfile::tempdir().unwrap() };
    let Ran { code, stdout, stderr } = world.prove("good", &[]);
    assert_eq!((code, stdout.trim()), (Some(0), "HOLDS"), "{stderr}");
    let layers =
        ["contracts", "code", "identities", "network", "packets", "stores", "probes", "canaries", "traces", "records"];
    for layer in layers {
        let holds = stderr.lines().any(|line| line.starts_with(layer) && line.contains(" HOLDS "));
        assert!(holds, "{layer}: {stderr}");
    }
    let leaves = fs::read_to_string(world.out("good").join("canaries/leaves.tsv")).unwrap();
    let planted = leaves.lines().filter(|line| line.contains("\tplanted ")).count();
    assert!(planted >= 40 && leaves.contains("sekat.account.v1.Address.street\tplanted in the purchase"), "{leaves}");
    let checked = verify(&world.out("good"));
    assert_eq!((checked.code, checked.stdout.trim()), (Some(0), "HOLDS"), "{}", checked.stderr);
    assert_eq!(world.prove("good", &[]).code, Some(1), "evidence is not overwritten");
    replace(&world.out("good").join("report.html"), "TERBUKTI", "TERBUKTJ");
    let changed = verify(&world.out("good"));
    assert_eq!(changed.code, Some(3));
    assert!(changed.stderr.contains("SK0802") && changed.stderr.contains("report.html"), "{}", changed.stderr);

    forged_with_the_signers_key(&world);
    what_is_written(&world);
    what_happens(&world).await;
}

/// A mesh that is none of `sekat up`, by its files alone: never proven, but violated where it is.
#[test]
fn a_mesh_of_somebody_else_is_judged_by_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let prove = |name: &str, policies: &Path| {
        let mut command = cli::command();
        command.current_dir(repository()).args(["prove", "--elsewhere", "--proto", "proto", "--key"]).arg(&key);
        command
            .arg("-f")
            .arg("deploy/kubernetes/base")
            .arg("-f")
            .arg(policies)
            .arg("--out")
            .arg(folder.path().join(name));
        cli::run(&mut command)
    };
    let more = folder.path().join("more.yaml");
    fs::write(&more, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: nobody, namespace: elsewhere}\n").unwrap();
    let Ran { code, stdout, stderr } = prove("good", &more);
    assert_eq!((code, stdout.trim()), (Some(4), "UNKNOWN"), "{stderr}");
    let line = |layer: &str| stderr.lines().find(|line| line.starts_with(layer)).unwrap_or_default().to_owned();
    for layer in ["contracts", "network", "packets"] {
        assert!(line(layer).contains(" HOLDS "), "{layer}: {stderr}");
    }
    for layer in ["code", "identities", "stores", "probes", "canaries", "traces", "records"] {
        assert!(line(layer).contains("UNKNOWN") && line(layer).contains("not run: "), "{layer}: {stderr}");
    }
    fs::write(&more, WIDE).unwrap();
    let Ran { code, stdout, stderr } = prove("wide", &more);
    assert_eq!((code, stdout.trim()), (Some(3), "VIOLATED"), "{stderr}");
    let chained = cli::run(
        cli::command().arg("verify").arg(folder.path().join("wide")).arg("--previous").arg(folder.path().join("good")),
    );
    assert_eq!(chained.code, Some(3), "violated, and the chain holds: {}", chained.stderr);
    assert!(!chained.stderr.contains("SK08"), "{}", chained.stderr);
}

/// Somebody who holds the key, and puts other manifests into a bundle than those that were judged.
fn forged_with_the_signers_key(world: &World) {
    assert_eq!(world.prove("forged", &[]).code, Some(0));
    let bundle = world.out("forged");
    let policies = "inputs/manifests/0/base/policies/sekat-commerce.yaml";
    let sha256 = |bytes: &[u8]| {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let before = fs::read(bundle.join(policies)).unwrap();
    let after = [&before[..], WIDE.as_bytes()].concat();
    fs::write(bundle.join(policies), &after).unwrap();

    let entry = |bytes: &[u8]| format!(r#""{policies}","sha256":"{}","size":{}}}"#, sha256(bytes), bytes.len());
    let list = fs::read(bundle.join("manifest.json")).unwrap();
    replace(&bundle.join("manifest.json"), &entry(&before), &entry(&after));
    let forged_list = fs::read(bundle.join("manifest.json")).unwrap();

    let key = fs::read_to_string(world.mesh.data().join("evidence/signing.key")).unwrap();
    let key: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = ring::signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&BASE64.decode(key).unwrap()).unwrap();
    for statement in ["attestation.dsse.json", "test-result.dsse.json"] {
        sign_again(&bundle.join(statement), &sha256(&list), &sha256(&forged_list), &key);
    }
    let Ran { code, stdout, stderr } = verify(&bundle);
    assert_eq!((code, stdout.trim()), (Some(3), "VIOLATED"), "{stderr}");
    assert!(stderr.contains("SK0807") && stderr.contains("layers/network.jsonl"), "{stderr}");
}

/// Replaces a digest in a statement and signs it anew, as whoever holds the key can (DSSE, its signature definition).
fn sign_again(path: &Path, old_digest: &str, new_digest: &str, key: &ring::signature::Ed25519KeyPair) {
    let before = fs::read_to_string(path).unwrap();
    let old: serde_json::Value = serde_json::from_str(&before).unwrap();
    let (payload, sig) = (old["payload"].as_str().unwrap(), old["signatures"][0]["sig"].as_str().unwrap());
    let statement = String::from_utf8(BASE64.decode(payload).unwrap()).unwrap();
    let forged = statement.replace(old_digest, new_digest);
    assert_ne!(statement, forged, "{} names the list", path.display());
    let kind = old["payloadType"].as_str().unwrap();
    let signed = format!("DSSEv1 {} {kind} {} {forged}", kind.len(), forged.len());
    // In the order of keys that it was written in.
    let text = before.replace(payload, &BASE64.encode(&forged));
    fs::write(path, text.replace(sig, &BASE64.encode(key.sign(signed.as_bytes())))).unwrap();
}

/// A policy that lets everybody into commerce.
const WIDE: &str = "\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: wide, namespace: \
                    sekat-commerce}\nspec: {podSelector: {}, ingress: [{}]}\n";

/// Faults in contracts, code and manifests: these leave no trace in the mesh.
fn what_is_written(world: &World) {
    let copy = world.copy(&["deploy/kubernetes/base"]);
    let policies = copy.join("base/policies/sekat-commerce.yaml");
    OpenOptions::new().append(true).open(policies).unwrap().write_all(WIDE.as_bytes()).unwrap();
    let base = copy.join("base");
    world.violated("policy", &["-f", base.to_str().unwrap()], &["SK0510", "payment"]);

    let proto = world.copy(&["proto"]).join("proto");
    replace(&proto.join("sekat/catalog/feed/v1/feed.proto"), "DATA_CLASS_PUBLIC", "DATA_CLASS_PAYMENT");
    world.violated("field", &["--proto", proto.to_str().unwrap()], &["feed.proto"]);

    let copy = world.copy(&["Cargo.toml", "Cargo.lock", "crates", "services", "tests", "bench", "xtask", "proto"]);
    let feed = "sekat-api-feed.workspace = true\n";
    replace(&copy.join("services/showcase/Cargo.toml"), feed, &format!("{feed}sekat-api-payment.workspace = true\n"));
    world.violated("code", &["--code", copy.to_str().unwrap()], &["SK0330", "showcase"]);
}

/// Faults in the running mesh, one after the other; each is undone where that is possible.
async fn what_happens(world: &World) {
    let data = world.mesh.data();
    let store = data.join("stores/payment");
    fs::set_permissions(&store, fs::Permissions::from_mode(0o750)).unwrap();
    world.violated("store", &[], &["stores/payment"]);
    fs::set_permissions(&store, fs::Permissions::from_mode(0o700)).unwrap();

    let log = data.join("logs/showcase.log");
    let before = fs::read(&log).unwrap();
    OpenOptions::new().append(true).open(&log).unwrap().write_all(b"paid with 4111 1111 1111 1111\n").unwrap();
    world.violated("log", &[], &["logs/showcase.log"]);
    fs::write(&log, before).unwrap();

    let hidden = data.join("traces/hidden.otlp");
    fs::write(&hidden, span_without_caller()).unwrap();
    world.violated("span", &[], &["SK0603"]);
    fs::remove_file(&hidden).unwrap();

    let payment = world.mesh.running().mesh["payment"].clone();
    let showcase = Identity::read(&world.mesh.identity("showcase"));
    handshake(&payment, tls(Some(&showcase))).await.unwrap_err();
    world.violated("guess", &[], &["spiffe://showcase.sekat.local/showcase -> payment", "logs/payment.log"]);
}

/// A call to payment's ledger whose span does not say who made it.
fn span_without_caller() -> Vec<u8> {
    let text = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    };
    let span = Span {
        trace_id: vec![7; 16],
        span_id: vec![7; 8],
        name: "sekat.payment.v1.LedgerService/GetLedgerAccount".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_795_700_000_000_000_000,
        end_time_unix_nano: 1_795_700_000_000_001_000,
        attributes: vec![
            text("rpc.system.name", "grpc"),
            text("rpc.method", "sekat.payment.v1.LedgerService/GetLedgerAccount"),
            text("rpc.response.status_code", "OK"),
            text("sekat.policy.digest", "00"),
        ],
        ..Span::default()
    };
    let resource = Resource { attributes: vec![text("service.name", "payment")], ..Resource::default() };
    let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
    let spans = ResourceSpans { resource: Some(resource), scope_spans: vec![scope], ..ResourceSpans::default() };
    let message = ExportTraceServiceRequest { resource_spans: vec![spans] }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&length[..], &message].concat()
}
