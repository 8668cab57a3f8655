//! Runs the benchmarks in the same release build that tests and `up` use.

use std::ffi::OsString;
use std::process::Command;

use crate::process;
use crate::workspace::Workspace;

/// Builds every program, because benchmarks start them as processes, then runs the benchmark program.
pub(crate) fn bench(workspace: &Workspace, arguments: &[OsString]) -> anyhow::Result<()> {
    process::run(process::cargo().args(["build", "--release", "--workspace", "--bins"]))?;
    process::run(Command::new(workspace.release_binary("bench")).args(arguments))
}
