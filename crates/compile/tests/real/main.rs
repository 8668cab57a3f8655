//! What is compiled, in the hands of those who read it: Kubernetes' schemas, kustomize and Envoy. Each test names the
//! tool that it needs; without it, it says so and fails where `CI=true`.
#![cfg(test)]

mod deployment;
mod envoy;
mod mesh;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The path in `variable`, which `cargo xtask test` sets.
fn tool(variable: &str, proves: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(PathBuf::from(path));
    }
    let lost = format!("NOT RUN: {proves}. `cargo xtask test` installs what it needs and sets {variable}");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{lost}");
    // Unlike `eprintln`, which the test program keeps to itself unless the test fails.
    drop(writeln!(std::io::stderr(), "{lost}"));
    None
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a program to its end: whether it succeeded, its standard output, and all that it printed.
fn run(command: &mut Command) -> (bool, String, String) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let all = format!("{stdout}{stderr}");
    (output.status.success(), stdout, all)
}
