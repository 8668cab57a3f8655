//! `cargo xtask check`: what can be known without running the system.

use std::process::Command;

use crate::process;
use crate::report::{Report, Verdict};
use crate::tidy;
use crate::tools::{BUF, CARGO_DENY, Found, Tool};
use crate::workspace::Workspace;

/// The contracts as last released, with which breaking changes are compared.
const RELEASED: &str = "proto/released.binpb";

/// Adds one step for each check.
pub(crate) fn check(workspace: &Workspace, report: &mut Report) {
    report.step("fmt", || run(process::cargo().args(["fmt", "--all", "--check"])));
    report.step("tidy", || tidy::tidy(workspace, false).map(|()| Verdict::Passed));
    report.step("deny", || {
        with_tool(&CARGO_DENY, workspace, |deny| {
            deny.args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
        })
    });
    report.step("advisories", || advisories(workspace));
    report.step("buf lint", || with_tool(&BUF, workspace, |buf| _ = buf.arg("lint")));
    report.step("buf breaking", || with_tool(&BUF, workspace, |buf| _ = buf.args(["breaking", "--against", RELEASED])));
    // In release mode, so that build scripts and macros are compiled once for lints and tests.
    report.step("clippy", || {
        let clippy = ["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"];
        run(process::cargo().args(clippy))
    });
}

/// Writes the image that `buf breaking` compares with.
pub(crate) fn release_contracts(workspace: &Workspace) -> anyhow::Result<()> {
    let verdict = with_tool(&BUF, workspace, |buf| {
        buf.args(["build", "--exclude-source-info", "--output", RELEASED]);
    })?;
    match verdict {
        Verdict::Passed => Ok(()),
        Verdict::NotRun { reason, .. } => anyhow::bail!(reason),
    }
}

fn run(command: &mut Command) -> anyhow::Result<Verdict> {
    process::run(command)?;
    Ok(Verdict::Passed)
}

/// Runs a tool at the root of the workspace. Without the tool the step is not run, which CI does not accept.
fn with_tool(tool: &Tool, workspace: &Workspace, arguments: impl FnOnce(&mut Command)) -> anyhow::Result<Verdict> {
    match tool.ensure(workspace)? {
        Found::At(program) => {
            let mut command = Command::new(program);
            arguments(command.current_dir(&workspace.root));
            run(&mut command)
        }
        Found::Missing(reason) => Ok(Verdict::NotRun { reason, required: true }),
    }
}

/// Known vulnerabilities, where the advisory database can be fetched. Machines without a way to it are common, so
/// CI tolerates that it did not run.
fn advisories(workspace: &Workspace) -> anyhow::Result<Verdict> {
    let Found::At(program) = CARGO_DENY.ensure(workspace)? else {
        return Ok(Verdict::NotRun { reason: "cargo-deny is missing".to_owned(), required: true });
    };
    let fetch = process::capture(Command::new(&program).args(["fetch", "db"]).current_dir(&workspace.root));
    if let Err(error) = fetch {
        eprintln!("{error:#}");
        let reason = "the advisory database cannot be reached from here: vulnerabilities were not looked up".to_owned();
        return Ok(Verdict::NotRun { reason, required: false });
    }
    let check = ["check", "--disable-fetch", "--hide-inclusion-graph", "advisories"];
    run(Command::new(&program).args(check).current_dir(&workspace.root))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use super::RELEASED;
    use crate::process;
    use crate::report::in_ci;
    use crate::sources;
    use crate::tools::BUF;

    /// Compares a copy of the contracts, after `change`, with the released ones.
    fn breaking(buf: &Path, change: impl Fn(&Path, String) -> String) -> anyhow::Result<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let copy = tempfile::tempdir()?;
        fs::copy(root.join("buf.yaml"), copy.path().join("buf.yaml"))?;
        for (path, text) in sources::read(&root.join("proto"))? {
            let target = copy.path().join("proto").join(&path);
            fs::create_dir_all(target.parent().unwrap())?;
            fs::write(target, change(&path, text))?;
        }
        process::capture(Command::new(buf).arg("breaking").arg(copy.path()).arg("--against").arg(root.join(RELEASED)))
    }

    #[test]
    fn a_renumbered_field_breaks_and_an_unchanged_copy_does_not() {
        let Some(buf) = BUF.installed().unwrap() else {
            assert!(!in_ci(), "buf is missing: `cargo xtask tools` installs it");
            eprintln!("NOT RUN: buf is missing: `cargo xtask tools` installs it");
            return;
        };
        breaking(&buf, |_, text| text).unwrap();
        let planted = breaking(&buf, |path, text| {
            let here = path == Path::new("sekat/payment/v1/payment.proto");
            if here { text.replacen("string name = 1 ", "string name = 91 ", 1) } else { text }
        });
        let complaint = planted.expect_err("buf accepted a renumbered field").to_string();
        assert!(complaint.contains("sekat/payment/v1/payment.proto"), "{complaint}");
    }
}
