//! What is meant, as every verb is told it: our contracts, or a policy file for any other mesh.

use std::path::{Path, PathBuf};

use sekat_contract::Deployment;
use sekat_contract::check::{self, Meant as Source};
use sekat_policy::{Diagnostic, Intent};

use crate::exit::{Exit, Usage};
use crate::{findings, manifests};

/// The contracts of this repository, from its root.
const CONTRACTS: &str = "proto";

/// Where it is stated what is meant.
#[derive(Clone, clap::Args)]
pub(crate) struct Meant {
    /// A policy file: what any mesh is meant to do. docs/policy.md describes it.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// A folder of contracts that carry sekat's options; `proto` if neither is given.
    #[arg(long, value_name = "DIR", conflicts_with = "policy")]
    proto: Option<PathBuf>,
    /// A site file: whom the mesh reaches outside in one place, and who runs elsewhere. By default site.yaml in a folder
    /// of the manifests.
    #[arg(long, value_name = "FILE")]
    site: Option<PathBuf>,
}

impl Meant {
    /// By a policy file.
    pub(crate) const fn of_policy(path: PathBuf) -> Self {
        Self { policy: Some(path), proto: None, site: None }
    }

    /// By contracts.
    pub(crate) const fn of_contracts(path: PathBuf) -> Self {
        Self { policy: None, proto: Some(path), site: None }
    }

    pub(crate) const fn is_policy(&self) -> bool {
        self.policy.is_some()
    }

    /// The file or folder in which it is stated.
    pub(crate) fn path(&self) -> &Path {
        self.policy.as_deref().or(self.proto.as_deref()).unwrap_or(Path::new(CONTRACTS))
    }

    /// The site file that was named.
    pub(crate) fn site(&self) -> Option<&Path> {
        self.site.as_deref()
    }

    /// The same at another place, or at the one that the manifests say.
    pub(crate) fn at(self, site: Option<PathBuf>) -> Self {
        Self { site, ..self }
    }

    /// The same, which is meant at no place in particular.
    pub(crate) fn anywhere(&self) -> Self {
        self.clone().at(None)
    }

    /// What is meant where the manifests are for, and all that is wrong with it, also against the code that
    /// `cargo metadata` describes.
    pub(crate) fn read(
        &self,
        manifests: &[PathBuf],
        cargo_metadata: Option<&str>,
    ) -> anyhow::Result<(Intent, Vec<Diagnostic>)> {
        let site = self.site.clone().map_or_else(|| manifests::site(manifests), |site| Ok(Some(site)))?;
        if let Some(policy) = &self.policy {
            return Ok(check::run(&Source::Policy(policy), site.as_deref(), cargo_metadata));
        }
        let root = self.path();
        if !root.is_dir() {
            let message = "name one with --proto, or a policy file with --policy";
            return Err(Usage(format!("there is no folder of contracts at {}: {message}", root.display())).into());
        }
        Ok(check::run(&Source::Contracts { root, deployment: &Deployment::default() }, site.as_deref(), cargo_metadata))
    }

    /// What is meant, if it is sound; else its findings are told, and this is how the verb ends.
    pub(crate) fn sound(&self) -> anyhow::Result<Result<Intent, Exit>> {
        let (intent, findings) = self.read(&[], None)?;
        findings::tell(&findings)?;
        Ok(match findings::exit(&findings) {
            Exit::Holds | Exit::NotProven => Ok(intent),
            exit => Err(exit),
        })
    }
}
