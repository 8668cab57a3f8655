//! How these tests get the right to make network namespaces, and the pods that most of them use.

use std::io::Write as _;
use std::process::Command;

use sekat_packets::{Addresses, Cell, Cluster, Error, Report, World, in_user_namespace, permit, permitted, read_text};
use sekat_policy::Severity;
use sekat_policy::intent::Protocol;

/// Five pods in three namespaces: two ports with one name and different numbers, one name for two protocols, a pod in
/// its node's network, and a namespace without labels.
pub(crate) const PODS: &str = include_str!("pods.yaml");

/// Whether the calling test is to go on here. Without the right to make namespaces it runs again in a user namespace;
/// without that it proves nothing and says so, and fails where `CI=true`.
pub(crate) fn go_on(test: &str) -> bool {
    if permitted() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    match in_user_namespace(program.as_ref()) {
        Ok(mut command) => {
            let output = command.args(["--exact", test, "--nocapture"]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "in a user namespace: {said}{}", String::from_utf8_lossy(&output.stderr));
            assert!(said.contains("1 passed"), "the name of the test is wrong: {said}");
        }
        Err(error) => not_run(&format!("packets against network policies: {error}")),
    }
    false
}

/// Says past the capture of test output what is not proven here.
pub(crate) fn not_run(what: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "NOT RUN: {what}");
    drop(writeln!(std::io::stderr(), "NOT RUN: {what}"));
}

/// The cluster of a text without errors.
pub(crate) fn cluster(text: &str) -> Cluster {
    let (cluster, found) = read_text("test.yaml", text);
    let errors: Vec<_> = found.iter().filter(|it| it.severity == Severity::Error).map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    cluster
}

pub(crate) fn world(cluster: &Cluster) -> World {
    World::build(cluster, Addresses::default()).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// What packets do, which has to be what this crate's reading of the policies says.
pub(crate) fn observe(world: &World, cluster: &Cluster) -> Report {
    let report = world.observe(cluster).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let findings: Vec<_> = report.findings().iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} of {} cells: {}", findings.len(), report.rows.len(), findings.join("\n"));
    report
}

pub(crate) fn cell(source: &str, destination: &str, protocol: Protocol, port: u16) -> Cell {
    Cell { source: source.to_owned(), destination: destination.to_owned(), protocol, port }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A user without rights, or one in a world of their own: either is told what it needs.
#[test]
fn a_user_without_rights_is_told_what_is_missing() {
    let text = Error::NotPermitted.to_string();
    assert!(text.contains("CAP_NET_ADMIN") && text.contains("max_user_namespaces"), "{text}");
    if permitted() {
        assert!(permit().unwrap().is_none(), "who has the right runs on");
    }
}

/// Started by root, the tests run once more as the user who may least.
#[test]
fn packets_fly_without_root() {
    const NOBODY: &str = "65534";
    const INNER: &str = "SEKAT_PACKETS_TEST_INNER";
    if !rustix::process::geteuid().is_root() || std::env::var_os(INNER).is_some() {
        return;
    }
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--no-new-privs", "--"]);
    let output = command.arg(program).args(["--exact", "traps::every_trap", "--nocapture"]).env(INNER, "1").output();
    let output = output.expect("setpriv is part of util-linux");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
    if said.contains("NOT RUN") {
        not_run("packets without root: this kernel gives plain users no user namespaces");
    }
}
