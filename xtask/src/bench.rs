//! Runs the benchmarks in the same release build that tests and `up` use.

use std::ffi::OsString;
use std::process::Command;

use crate::process;
use crate::workspace::Workspace;

/// Benchmarks of the proof tools, each a program of its own that makes its input.
const OF_TOOLS: [&str; 2] = ["examples/scale", "examples/throughput"];

/// Builds every program, because benchmarks start them as processes, then runs the benchmark program, and without arguments
/// those of the proof tools too.
pub(crate) fn bench(workspace: &Workspace, arguments: &[OsString]) -> anyhow::Result<()> {
    process::run(process::cargo().args(["build", "--release", "--workspace", "--bins", "--examples"]))?;
    process::run(Command::new(workspace.release_binary("bench")).args(arguments))?;
    let tools = if arguments.is_empty() { &OF_TOOLS[..] } else { &[] };
    tools.iter().try_for_each(|tool| process::run(&mut Command::new(workspace.release_binary(tool))))
}
