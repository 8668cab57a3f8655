//! `sekat packets`: real packets between all pods of manifests, under their policies, in network namespaces.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use sekat_evidence::Check;
use sekat_packets::{Addresses, Observed, Report, Row, World, permit};
use sekat_policy::Severity;

use crate::exit::Exit;
use crate::reach::done;
use crate::{findings, manifests};

/// How rows are written.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Rows {
    /// For people.
    Table,
    /// A JSON object a line: what was expected, what was seen, and what nftables counted.
    Json,
    /// A JSON object a line, as `sekat prove` keeps it in its evidence.
    Evidence,
}

/// Flags of `sekat packets`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file or a folder of manifests, YAML or JSON; a folder with a kustomization is what kustomize makes of it. May be
    /// given several times.
    #[arg(short = 'f', long = "manifests", value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// How the rows are written.
    #[arg(long, value_enum, default_value_t = Rows::Table)]
    format: Rows,
}

/// Sends the packets and tells where they did not do what the policies say.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let (cluster, mut found) = manifests::cluster(&args.paths)?;
    if found.iter().any(|finding| finding.severity == Severity::Error) {
        findings::tell(&found)?;
        return Ok(Exit::Malformed);
    }
    // A second run of this program, with the right to do it, has told everything.
    if let Some(status) = permit()? {
        return Exit::of_child(status.code()).context("the run in a user namespace failed");
    }
    let world = World::build(&cluster, Addresses::default())?;
    let report = world.observe(&cluster)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = match args.format {
        Rows::Table => report.render_table(&mut out),
        Rows::Json => report.render_jsonl(&mut out),
        Rows::Evidence => checks(&report).iter().try_for_each(|check| {
            let line = serde_json::to_string(check)?;
            writeln!(out, "{line}")
        }),
    };
    done(written.and_then(|()| out.flush()))?;
    found.extend(report.findings());
    if args.format != Rows::Evidence {
        findings::tell(&found)?;
    }
    Ok(findings::exit(&found))
}

/// One check a cell, and one for what was left out.
fn checks(report: &Report) -> Vec<Check> {
    let word = |reached: bool| if reached { "arrives" } else { "dropped" };
    let check = |row: &Row| {
        let cell = &row.cell;
        let subject = format!("{} -> {} {} {}", cell.source, cell.destination, cell.protocol, cell.port);
        match row.observed {
            _ if row.holds() => Check::holds(subject, word(row.expected)),
            Observed::Inconclusive => {
                Check::unknown(subject, word(row.expected), "neither arrived nor counted as dropped")
            }
            observed => Check::violated(subject, word(row.expected), word(observed == Observed::Reached)),
        }
    };
    let untried = report.findings().into_iter().filter(|finding| finding.severity == Severity::Warning);
    report.rows.iter().map(check).chain(untried.map(|finding| findings::check(&finding))).collect()
}

/// What a run of its own sees: a process with threads, as the one that proves is, cannot enter a user namespace.
pub(crate) fn observe(paths: &[PathBuf]) -> anyhow::Result<Vec<Check>> {
    let program = std::env::current_exe().context("this program cannot be found")?;
    let mut command = std::process::Command::new(program);
    command.args(["packets", "--format", "evidence"]);
    command.args(paths.iter().flat_map(|path| [OsStr::new("-f"), path.as_os_str()]));
    let output = command.output().context("this program cannot be started again")?;
    if output.stdout.is_empty() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let lines = String::from_utf8(output.stdout).context("`sekat packets` printed something else")?;
    lines.lines().map(|line| serde_json::from_str(line).context("`sekat packets` printed something else")).collect()
}
