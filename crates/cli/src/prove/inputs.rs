//! What the layers were told that need no running mesh: contracts, code and manifests. A bundle keeps a copy, the layers
//! are run on that copy, and `verify` runs them on it again.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use sekat_evidence::{Bundle, Check, Layer, LayerName};
use sekat_policy::{Diagnostic, Intent};
use serde::{Deserialize, Serialize};

use super::written;
use crate::exit::Usage;
use crate::meant::Meant;
use crate::packets;
use crate::reach::{Manifests, Unsaid};
use crate::{findings, manifests};

/// Where what is meant lies in a bundle.
const CONTRACTS: &str = "inputs/contracts";
/// What cargo says of the workspace, and the manifests of its crates.
const CODE: &str = "inputs/code";
const METADATA: &str = "inputs/code/metadata.json";
/// What was told besides files.
const TOLD: &str = "inputs/told.json";
/// What differs from place to place.
const SITE: &str = "inputs/site/site.yaml";
/// In the copy of what cargo says: the root of the workspace, which is somewhere else on every machine.
const WORKSPACE: &str = "sekat-workspace-root";
/// The largest file that is copied: contracts, crates' manifests and Kubernetes' are smaller by far.
const FILE_BYTES: u64 = 64 << 20;

const NO_MANIFESTS: &str = "no manifests were given: name them with -f";

/// The inputs of a bundle.
pub(super) struct Inputs {
    /// The bundle's folder.
    root: PathBuf,
    told: Told,
}

/// What files do not say.
#[derive(Serialize, Deserialize)]
struct Told {
    /// The policy file; without one the contracts say what is meant.
    policy: Option<String>,
    /// The site file, if there is one.
    #[serde(default)]
    site: Option<String>,
    /// Why there is no code, if there is none.
    no_code: Option<String>,
    /// What was given as manifests, in its order.
    manifests: Vec<String>,
    unsaid: Unsaid,
}

/// What the layers say, and what they read.
pub(super) struct Written {
    pub(super) intent: Intent,
    /// Contracts, code and network.
    pub(super) layers: [Layer; 3],
}

impl Inputs {
    /// Copies everything into a bundle.
    ///
    /// # Errors
    /// If something is not there, or cannot be kept.
    pub(super) fn keep(
        bundle: &Bundle,
        root: &Path,
        meant: &Meant,
        metadata: anyhow::Result<String>,
        manifests: &Manifests,
    ) -> anyhow::Result<Self> {
        let policy = keep_meant(bundle, meant)?;
        let no_code = match metadata.and_then(|metadata| keep_code(bundle, &metadata)) {
            Ok(()) => None,
            Err(error) => Some(format!("{error:#}")),
        };
        let site = meant.site().map_or_else(|| manifests::site(manifests.paths()), |site| Ok(Some(site.to_owned())))?;
        let site = site.map(|site| keep(bundle, &site, SITE).map(|()| SITE.to_owned())).transpose()?;
        let kept = keep_manifests(bundle, manifests)?;
        let told = Told { policy, site, no_code, manifests: kept, unsaid: manifests.unsaid().clone() };
        bundle.add_bytes(TOLD, &serde_json::to_vec_pretty(&told)?)?;
        Ok(Self { root: root.to_owned(), told })
    }

    /// Those of a bundle that exists.
    ///
    /// # Errors
    /// If it does not say what was told.
    pub(super) fn of(root: &Path) -> anyhow::Result<Self> {
        let path = root.join(TOLD);
        let text = std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let told: Told = serde_json::from_slice(&text).with_context(|| format!("{} is malformed", path.display()))?;
        let paths = told.policy.iter().chain(&told.site).chain(&told.manifests);
        for path in paths {
            let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
            ensure!(plain, "{path} lies outside of the bundle");
        }
        Ok(Self { root: root.to_owned(), told })
    }

    /// The folder of what is meant.
    pub(super) fn contracts(&self) -> PathBuf {
        self.root.join(CONTRACTS)
    }

    /// The SHA-256 of what is meant: of the lines that `sha256sum` prints of its files, in the order of their paths' bytes.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(super) fn contracts_digest(&self) -> anyhow::Result<String> {
        let root = self.contracts();
        let mut digests = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).with_context(|| format!("{} cannot be listed", folder.display()))? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let bytes = std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
                let within = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
                digests.insert(within, sha256(&bytes));
            }
        }
        let lines: String = digests.iter().map(|(path, digest)| format!("{digest}  {path}\n")).collect();
        Ok(sha256(lines.as_bytes()))
    }

    /// Sends real packets under the policies of the manifests.
    ///
    /// # Errors
    /// If this user may not, or a tool is missing.
    pub(super) fn packets(&self) -> anyhow::Result<Layer> {
        if self.told.manifests.is_empty() {
            return Ok(Layer::not_run(LayerName::Packets, NO_MANIFESTS));
        }
        Ok(self.relative(Layer::ran(LayerName::Packets, packets::observe(&self.manifests())?)))
    }

    /// The manifests in the bundle.
    fn manifests(&self) -> Vec<PathBuf> {
        self.told.manifests.iter().map(|path| self.root.join(path)).collect()
    }

    /// Runs the layers of contracts, code and network. `Err` holds why what is meant cannot be read.
    pub(super) fn run(&self) -> anyhow::Result<Result<Written, Vec<Diagnostic>>> {
        let meant = match &self.told.policy {
            Some(policy) => Meant::of_policy(self.root.join(policy)),
            None => Meant::of_contracts(self.contracts()),
        };
        let meant = meant.at(self.told.site.as_ref().map(|site| self.root.join(site)));
        let (intent, found) = meant.read(&[], None)?;
        if findings::exit(&found) == crate::exit::Exit::Malformed {
            return Ok(Err(found));
        }
        let contracts = written::contracts(&intent, &found);
        let code = match &self.told.no_code {
            Some(why) => Layer::not_run(LayerName::Code, why),
            None => {
                let mut found = meant.read(&[], Some(&self.metadata()?))?.1;
                found.retain(|finding| finding.code.starts_with("SK033"));
                written::code(&intent, &found)
            }
        };
        let network = if self.told.manifests.is_empty() {
            Layer::not_run(LayerName::Network, NO_MANIFESTS)
        } else {
            let manifests = Manifests::new(self.manifests(), self.told.unsaid.clone());
            let (analysis, unread) = manifests.analyse(&intent.platform.pod_ranges)?;
            written::network(&intent, analysis.as_ref(), &unread)
        };
        let layers = [contracts, code, network].map(|layer| self.relative(layer));
        Ok(Ok(Written { intent, layers }))
    }

    fn metadata(&self) -> anyhow::Result<String> {
        let path = self.root.join(METADATA);
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let code = self.root.join(CODE);
        Ok(text.replace(WORKSPACE, code.to_str().context("the bundle's path is not UTF-8")?))
    }

    /// The layer with paths as they are in the bundle, wherever that lies.
    fn relative(&self, mut layer: Layer) -> Layer {
        let prefix = format!("{}/inputs/", self.root.display());
        let shorten = |text: &mut String| *text = text.replace(&prefix, "inputs/");
        for Check { subject, expected, observed, place, .. } in &mut layer.checks {
            [subject, expected, observed].into_iter().chain(place).for_each(shorten);
        }
        layer
    }
}

/// Copies the manifests, those of kustomize as it makes them: what they are made of may lie anywhere.
fn keep_manifests(bundle: &Bundle, manifests: &Manifests) -> anyhow::Result<Vec<String>> {
    let mut kept = Vec::new();
    for (number, path) in manifests.paths().iter().enumerate() {
        if !path.exists() {
            let message = format!("there are no manifests at {}: name them with -f", path.display());
            return Err(Usage(message).into());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut to = format!("inputs/manifests/{number}/{name}");
        match manifests::rendered(path)? {
            None => keep(bundle, path, &to)?,
            Some(Ok(text)) => {
                to.push_str(".yaml");
                bundle.add_bytes(&to, text.as_bytes())?;
            }
            Some(Err(finding)) => return Err(Usage(finding.to_string()).into()),
        }
        kept.push(to);
    }
    Ok(kept)
}

fn sha256(bytes: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Copies what is meant; returns the path of the policy file, if there is one.
fn keep_meant(bundle: &Bundle, meant: &Meant) -> anyhow::Result<Option<String>> {
    let path = meant.path();
    if !meant.is_policy() {
        keep(bundle, path, CONTRACTS)?;
        return Ok(None);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let to = format!("{CONTRACTS}/{name}");
    keep(bundle, path, &to)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for proto in sekat_contract::policy_file::protos(path) {
        let inside = Path::new(&proto).components().all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            let message = format!("the policy names {proto}, outside of its own folder, where evidence cannot keep it");
            return Err(Usage(message).into());
        }
        keep(bundle, &folder.join(&proto), &format!("{CONTRACTS}/{proto}"))?;
    }
    Ok(Some(to))
}

/// What cargo says, as far as it matters here.
#[derive(Deserialize)]
struct Workspace {
    workspace_root: String,
    packages: Vec<Package>,
}

/// A crate of the workspace.
#[derive(Deserialize)]
struct Package {
    manifest_path: PathBuf,
}

/// Copies what cargo says, and the manifests of the workspace's crates, which the layer reads again for their lines.
fn keep_code(bundle: &Bundle, metadata: &str) -> anyhow::Result<()> {
    let Workspace { workspace_root: root, packages } =
        serde_json::from_str(metadata).context("cargo printed something else")?;
    for Package { manifest_path: path } in &packages {
        let within = path.strip_prefix(&root).ok().and_then(Path::to_str);
        let within = within.with_context(|| format!("the crate {} lies outside of the workspace", path.display()))?;
        bundle.add_file(&format!("{CODE}/{within}"), path)?;
    }
    Ok(bundle.add_bytes(METADATA, metadata.replace(&root, WORKSPACE).as_bytes())?)
}

/// Copies a file or a folder.
fn keep(bundle: &Bundle, from: &Path, to: &str) -> anyhow::Result<()> {
    let about = std::fs::metadata(from).with_context(|| format!("{} cannot be read", from.display()))?;
    if about.is_file() {
        if about.len() > FILE_BYTES {
            bail!("{} is larger than an input can be", from.display());
        }
        return Ok(bundle.add_file(to, from)?);
    }
    for entry in std::fs::read_dir(from).with_context(|| format!("{} cannot be listed", from.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().with_context(|| format!("{} is not UTF-8", entry.path().display()))?;
        // Hidden files are no input of anybody.
        if !name.starts_with('.') {
            keep(bundle, &entry.path(), &format!("{to}/{name}"))?;
        }
    }
    Ok(())
}
