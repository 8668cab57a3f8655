//! The proof's verbs as somebody in a shell meets them: the verdict, the exit code, and the witness of a planted fault.

use std::fs;
use std::path::Path;
use std::process::Command;

use acceptance::Mesh;
use acceptance::cli::{self, Ran, repository};
use tempfile::TempDir;

/// Runs `sekat` in this repository.
fn sekat(arguments: &[&str]) -> Ran {
    cli::run(cli::command().current_dir(repository()).env("HOME", std::env::var_os("HOME").unwrap()).args(arguments))
}

/// Two workloads, of which the second lets the first in at one port.
const SHOP: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: showcase, namespace: shop, labels: {app: showcase}}
spec: {containers: [{name: it, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: catalog, namespace: shop, labels: {app: catalog}}
spec: {containers: [{name: it, ports: [{containerPort: 80}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: catalog, namespace: shop}
spec:
  podSelector: {matchLabels: {app: catalog}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: showcase}}}]
    ports: [{port: 80}]
";

fn write(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn contracts_and_code_hold_and_a_caller_let_in_is_named() {
    let Ran { code, stdout, stderr } = sekat(&["check", "--code", "."]);
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    assert!(stderr.starts_with("holds: "), "{stderr}");

    let folder = tempfile::tempdir().unwrap();
    copy(&repository().join("proto"), folder.path());
    let root = folder.path().join("proto");
    let payment = root.join("sekat/payment/v1/payment.proto");
    let text = fs::read_to_string(&payment).unwrap();
    let planted = text.replacen("callers: [\"order\"]", "callers: [\"showcase\"]", 1);
    assert_ne!(text, planted, "the contract has a method of order's");
    fs::write(&payment, planted).unwrap();
    let Ran { code, stdout, stderr } = sekat(&["check", "--proto", root.to_str().unwrap(), "--format", "plain"]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stdout.contains("payment.proto:") && stdout.contains("showcase"), "{stdout}");
    let Ran { code, .. } = sekat(&["check", "--proto", "/nonexistent/contracts"]);
    assert_eq!(code, Some(2));
}

#[test]
fn manifests_say_who_can_reach_whom_why_and_what_a_change_opens() {
    let folder = tempfile::tempdir().unwrap();
    let before = write(&folder, "before.yaml", SHOP);
    let after = write(&folder, "after.yaml", &SHOP.replacen("    ports: [{port: 80}]\n", "", 1));
    let rows = sekat(&["reach", "-f", &before, "--format", "csv"]);
    assert_eq!(rows.code, Some(0), "{}", rows.stderr);
    assert!(rows.stdout.contains("shop/showcase[Pod],shop/catalog[Pod],TCP 80\n"), "{}", rows.stdout);
    let why = sekat(&["explain", "-f", &before, "showcase", "catalog", "--port", "443"]);
    assert_eq!(why.code, Some(0), "{}", why.stderr);
    assert!(why.stdout.starts_with("DENIED") && why.stdout.contains("before.yaml:11"), "{}", why.stdout);

    let same = sekat(&["diff", &before, &before]);
    assert_eq!((same.code, same.stdout.trim()), (Some(0), "equal"));
    let wider = sekat(&["diff", &before, &after]);
    assert_eq!(wider.code, Some(3), "{}", wider.stdout);
    assert!(wider.stdout.starts_with("wider") && wider.stdout.contains("catalog"), "{}", wider.stdout);
    let narrower = sekat(&["diff", &after, &before]);
    assert_eq!(narrower.code, Some(0), "{}", narrower.stdout);

    let broken = write(&folder, "broken.yaml", &SHOP.replacen("port: 80", "port: [80]", 1));
    let Ran { code, stdout, stderr } = sekat(&["reach", "-f", &broken]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "nothing is told of half of the manifests");
    assert!(stderr.contains("broken.yaml:"), "{stderr}");
}

#[test]
fn what_is_compiled_is_fresh_until_somebody_changes_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("policies");
    let arguments = ["compile", "--target", "kubernetes", "--out", out.to_str().unwrap()];
    let compiled = sekat(&arguments);
    assert_eq!(compiled.code, Some(0), "{}", compiled.stderr);
    let check = || sekat(&[&arguments[..], &["--check"]].concat());
    assert_eq!(check().code, Some(0));
    let file = fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    fs::write(&file, fs::read_to_string(&file).unwrap().replacen("Egress", "Ingress", 1)).unwrap();
    let Ran { code, stderr, .. } = check();
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains(file.file_name().unwrap().to_str().unwrap()), "{stderr}");
}

/// A draft has everything that spans and manifests say; what a person has to add is told, and nothing else is wrong.
#[test]
fn a_draft_lacks_only_what_nobody_can_observe() {
    let mesh = Mesh::shared();
    let _paid = mesh.purchase();
    let folder = tempfile::tempdir().unwrap();
    let mut learn = cli::command();
    learn.current_dir(repository()).arg("learn").arg(mesh.data().join("traces")).args(["-f", "deploy/kubernetes/base"]);
    let Ran { code, stdout: draft, stderr } = cli::run(&mut learn);
    assert_eq!(code, Some(0), "{stderr}");
    let edges = draft.lines().filter(|line| line.starts_with("  - {from: ")).count();
    assert!(
        edges > 10 && draft.matches("  # observed ").count() == edges,
        "each edge says how often it was seen: {draft}"
    );
    let payment = "selector: {\"app.kubernetes.io/name\": \"payment\"}\n    ports: {\"health\": 7080, \"mesh\": 7000}";
    assert!(draft.contains(payment), "{draft}");
    let path = folder.path().join("draft.yaml");
    std::fs::write(&path, &draft).unwrap();
    let Ran { stdout, stderr, .. } =
        cli::run(cli::command().args(["check", "--format", "plain", "--policy"]).arg(path));
    let only_in_spans = draft.matches("seen in spans only").count();
    let empty = stdout.lines().filter(|line| line.contains("SK0302")).count();
    assert_eq!((stdout.lines().count(), empty), (only_in_spans, only_in_spans), "{stdout}{stderr}");
}
