//! What `cargo metadata` says about this workspace: where it is and which packages it has.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::process;

/// The workspace that xtask was started in.
#[derive(Deserialize)]
pub(crate) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    #[serde(rename = "target_directory")]
    target: PathBuf,
    /// Our own packages, without what they depend on.
    pub(crate) packages: Vec<Package>,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal dependency, otherwise `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// Where it lies; `None` for a crate from the registry.
    pub(crate) path: Option<PathBuf>,
}

#[derive(Deserialize)]
pub(crate) struct Target {
    /// The file that the compiler is given.
    pub(crate) src_path: PathBuf,
}

impl Workspace {
    /// Asks cargo. Needs no network.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let json = process::capture(process::cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
        serde_json::from_str(&json).context("cannot read what `cargo metadata` printed")
    }

    /// A program of the release build.
    pub(crate) fn release_binary(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// A path as the reader of a message wants it: relative to the root.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}
