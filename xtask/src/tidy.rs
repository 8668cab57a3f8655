//! `cargo xtask tidy`: this repository's own rules, which no general tool knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::crate_graph;
use crate::features;
use crate::pages;
use crate::sources;
use crate::workspace::Workspace;

/// Prints every finding; an error if there is one. With `bless`, the golden crate graph and the index of diagnostics are
/// rewritten first.
pub(crate) fn tidy(workspace: &Workspace, bless: bool) -> anyhow::Result<()> {
    if bless {
        crate_graph::bless(workspace)?;
    }
    let mut sources = sources::read(&workspace.root)?;
    if bless {
        let (path, text) = pages::blessed(&sources);
        fs::write(workspace.root.join(path), &text).with_context(|| format!("cannot write {}", path.display()))?;
        sources.insert(path.to_owned(), text);
    }
    let targets: BTreeSet<PathBuf> = workspace
        .packages
        .iter()
        .flat_map(|package| &package.targets)
        .map(|target| workspace.relative(&target.src_path).to_owned())
        .collect();

    let mut findings = crate_graph::findings(workspace)?;
    findings.extend(features::findings()?);
    findings.extend(sources.iter().flat_map(|(path, text)| sources::findings(path, text)));
    findings.extend(sources::uncompiled(&targets, &sources));
    findings.extend(pages::findings(&sources));
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings of tidy", findings.len());
    }
    eprintln!("{} files and {} packages are tidy", sources.len(), workspace.packages.len());
    Ok(())
}
