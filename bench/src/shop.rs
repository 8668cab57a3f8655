//! A mesh that runs: `sekat up` as a child process on a data directory and a block of ports of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Until the mesh is healthy and seeded; an empty shop is seeded by a thousand products first.
const READY_LIMIT: Duration = Duration::from_secs(180);
/// Until the mesh has drained: what `sekat up` gives each of its processes, and some slack.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL: Duration = Duration::from_millis(20);
/// Ports that one mesh uses, counted from the first of its block.
const BLOCK: u16 = 50;
/// Where blocks begin and how many there are: below the ports that the kernel hands out by itself.
const FIRST_PORT: u16 = 20_000;
const BLOCKS: u16 = 200;
/// Buyers here never pause, as no person could; the edges' limits are for people and would measure themselves.
const SETTINGS: [&str; 3] =
    ["SEKAT_RATE_PER_SECOND=1000000", "SEKAT_ANONYMOUS_PER_SECOND=1000000", "SEKAT_SIGN_IN_PER_SECOND=1000000"];

/// Where measurements run: the programs and a data directory that is removed in the end.
#[derive(Debug)]
pub(crate) struct Site {
    programs: PathBuf,
    /// Beside the programs, because temporary directories are often in memory, where fsync costs nothing.
    directory: TempDir,
    port_base: u16,
}

impl Site {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let programs = programs()?;
        let directory = temporary()?;
        Ok(Self { programs, directory, port_base: free_block()? })
    }

    /// The data directory of the mesh.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// `sekat up` on this site.
    pub(crate) fn up(&self) -> anyhow::Result<Command> {
        let program = self.programs.join("sekat");
        if !program.exists() {
            bail!("{} is missing: run `cargo build --release --workspace --bins`", program.display());
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::new(program);
        command.arg("up").arg("--data").arg(self.data()).arg("--port-base").arg(self.port_base.to_string());
        command.args(SETTINGS.iter().flat_map(|setting| ["--set", setting]));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        Ok(command)
    }

    /// What `sekat up` said.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("up.log")
    }
}

/// The directory of this program and of all others that the build made.
pub(crate) fn programs() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().context("this program has no directory")?.to_path_buf())
}

/// A directory beside the programs, on the disk that the build is on.
pub(crate) fn temporary() -> anyhow::Result<TempDir> {
    let programs = programs()?;
    tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(&programs)
        .with_context(|| format!("no directory can be made in {}", programs.display()))
}

/// The first port of a block that is free now.
fn free_block() -> anyhow::Result<u16> {
    let own = u16::try_from(std::process::id() % u32::from(BLOCKS))?;
    let is_free =
        |base: &u16| (*base..*base + BLOCK).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    let mut blocks = (own..BLOCKS).chain(0..own).map(|block| FIRST_PORT + block * BLOCK);
    blocks.find(is_free).context("no block of 50 free ports between 20000 and 30000")
}

const BANK: &str = "bank";

/// What `sekat up` writes about a mesh, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct Running {
    /// `sekat up` itself.
    pub(crate) pid: u32,
    pub(crate) showcase_edge: String,
    pub(crate) commerce_edge: String,
    pub(crate) web_authority: PathBuf,
    pub(crate) bank_control: String,
    pids: BTreeMap<String, u32>,
}

impl Running {
    /// Our processes by name. The bank is somebody else's.
    pub(crate) fn processes(&self) -> BTreeMap<String, u32> {
        let ours = self.pids.iter().filter(|(name, _)| *name != BANK);
        ours.map(|(name, pid)| (name.clone(), *pid)).chain([("up".to_owned(), self.pid)]).collect()
    }

    /// The bank simulator's process.
    pub(crate) fn bank(&self) -> anyhow::Result<u32> {
        self.pids.get(BANK).copied().context("the mesh runs without a bank")
    }
}

/// A mesh that is up.
#[derive(Debug)]
pub(crate) struct Shop<'a> {
    site: &'a Site,
    child: Child,
    pub(crate) running: Running,
}

impl<'a> Shop<'a> {
    /// Starts it and waits until it is healthy and seeded.
    pub(crate) async fn open(site: &'a Site) -> anyhow::Result<Self> {
        let mut child = site.up()?.spawn().context("`sekat up` cannot be started")?;
        let ready = site.data().join("up.ready.json");
        let waiting = async {
            let mut interval = tokio::time::interval(POLL);
            loop {
                interval.tick().await;
                if let Some(status) = child.try_wait()? {
                    bail!("`sekat up` ended with {status}:\n{}", site.said());
                }
                if let Some(running) = read(&ready)? {
                    return Ok(running);
                }
            }
        };
        let running = tokio::time::timeout(READY_LIMIT, waiting)
            .await
            .with_context(|| format!("the mesh is not ready after {} s:\n{}", READY_LIMIT.as_secs(), site.said()))??;
        Ok(Self { site, child, running })
    }

    /// The directory of the span files.
    pub(crate) fn traces(&self) -> PathBuf {
        self.site.data().join("traces")
    }

    /// Drains it; its spans are all written then.
    pub(crate) async fn close(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.context("`sekat up` ended by itself")?, Signal::TERM)?;
        let status = tokio::time::timeout(DRAIN_LIMIT, self.child.wait())
            .await
            .with_context(|| format!("the mesh has not drained after {} s", DRAIN_LIMIT.as_secs()))??;
        if !status.success() {
            bail!("`sekat up` ended with {status}:\n{}", self.site.said());
        }
        Ok(())
    }
}

/// The file appears as a whole once the mesh is ready.
fn read(ready: &Path) -> anyhow::Result<Option<Running>> {
    match std::fs::read(ready) {
        Ok(text) => serde_json::from_slice(&text).map(Some).context("up.ready.json has another form"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", ready.display())),
    }
}
