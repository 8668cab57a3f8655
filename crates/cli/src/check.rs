//! `sekat check`: contracts or a policy file by themselves, and code and manifests against them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anstream::eprintln;
use anyhow::{Context, bail};

use crate::exit::Exit;
use crate::findings::{self, Output};
use crate::meant::Meant;
use crate::reach::Manifests;

/// Flags of `sekat check`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    meant: Meant,
    /// A Cargo workspace whose dependencies are to agree: who links whose contract.
    #[arg(long, value_name = "DIR")]
    code: Option<PathBuf>,
    #[command(flatten)]
    manifests: Manifests,
    #[command(flatten)]
    output: Output,
}

/// Checks everything that was named and tells all that is wrong in one go.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let metadata = args.code.as_deref().map(cargo_metadata).transpose()?;
    let (intent, mut found) = args.meant.read(args.manifests.paths(), metadata.as_deref())?;
    let mut looked_at = vec![format!("{} workloads, {} edges", intent.workloads.len(), intent.edges.len())];
    if metadata.is_some() {
        looked_at.push("code".to_owned());
    }
    if !args.manifests.is_empty() && findings::exit(&found) != Exit::Malformed {
        let (analysis, unread) = args.manifests.analyse(&intent.platform.pod_ranges)?;
        found.extend(unread);
        if let Some(analysis) = analysis {
            let checked = analysis.check(&intent);
            looked_at.push(format!("{} of {} pairs of the manifests are sound", checked.sound, checked.pairs));
            found.extend(checked.findings);
        }
    }
    args.output.answer(&found)?;
    let exit = findings::exit(&found);
    if !args.output.is_for_programs() {
        let verdict = match exit {
            Exit::Holds => "holds",
            Exit::NotProven => "not proven",
            Exit::Malformed => "not checked: something cannot be read",
            _ => "violated",
        };
        eprintln!("{verdict}: {}", looked_at.join("; "));
    }
    Ok(exit)
}

/// What cargo says about a workspace.
pub(crate) fn cargo_metadata(workspace: &Path) -> anyhow::Result<String> {
    let manifest = workspace.join("Cargo.toml");
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
        .arg(&manifest)
        .output()
        .context("cargo cannot be started: --code needs it on the path")?;
    if !output.status.success() {
        bail!("cargo does not understand {}: {}", manifest.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("cargo printed something that is not UTF-8")
}
