//! `cargo xtask test`: every tier in order, one release profile, one honest summary.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::bail;
use clap::ValueEnum;

use crate::report::{Report, Verdict};
use crate::tools::{Found, TOOLS};
use crate::workspace::Workspace;
use crate::{check, process, system, up};

/// A part of the tests that can run alone.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// What needs no running code: formatting, lints, dependencies, contracts, tidy.
    Check,
    /// Tests inside the crates. There are no doc examples: generated code carries foreign ones that do not compile.
    Unit,
    /// Tests through public surfaces, with real processes and tools.
    Acceptance,
}

/// Runs one tier, or all of them. `filter` goes to the test binaries.
pub(crate) fn test(workspace: &Workspace, only: Option<Tier>, filter: &[OsString]) -> ExitCode {
    let mut report = Report::new();
    let wanted = |tier| only.is_none_or(|only| only == tier);
    report.step("set-up", || up::require_c_compiler().map(|()| Verdict::Passed));
    if wanted(Tier::Check) {
        check::check(workspace, &mut report);
    }
    let tools = if wanted(Tier::Unit) || wanted(Tier::Acceptance) { tools(workspace, &mut report) } else { Vec::new() };
    if wanted(Tier::Unit) {
        report.step("unit", || cargo_test(&["--lib", "--bins"], &tools, filter));
    }
    if wanted(Tier::Acceptance) {
        report.step("network programs", system::network);
        let built = report.step("build", || {
            // With the tests' own dependencies, so that building the tests afterwards recompiles nothing. Some tests
            // start an example as a process of its own, which `cargo test --test` does not build.
            process::run(process::cargo().args([
                "build",
                "--release",
                "--workspace",
                "--bins",
                "--examples",
                "--test",
                "*",
            ]))?;
            Ok(Verdict::Passed)
        });
        report.step("acceptance", || {
            if !built {
                bail!("the programs under test were not built");
            }
            cargo_test(&["--test", "*"], &tools, filter)
        });
    }
    report.finish()
}

fn cargo_test(selection: &[&str], tools: &[(&str, OsString)], filter: &[OsString]) -> anyhow::Result<Verdict> {
    let mut command = process::cargo();
    command.args(["test", "--release", "--workspace", "--no-fail-fast"]).args(selection);
    command.envs(tools.iter().map(|(name, path)| (name, path))).arg("--").args(filter);
    process::run(&mut command)?;
    Ok(Verdict::Passed)
}

/// Installs the tools that tests are told of by a variable. Each that this machine cannot have is a step not run,
/// because tests that need it say so and pass.
fn tools<'a>(workspace: &Workspace, report: &mut Report) -> Vec<(&'a str, OsString)> {
    let mut found = Vec::new();
    for tool in TOOLS {
        let Some(variable) = tool.variable else { continue };
        report.step(&format!("tool {}", tool.name), || match tool.ensure(workspace)? {
            Found::At(path) => {
                found.push((variable, path.into_os_string()));
                Ok(Verdict::Passed)
            }
            Found::Missing(reason) => Ok(Verdict::NotRun { reason, required: true }),
        });
    }
    found
}
