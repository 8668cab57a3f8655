//! A mesh of real processes under `sekat up`, in a folder and on ports of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use serde::Deserialize;
use tempfile::TempDir;

use crate::bank::Bank;
use crate::cli::{self, Ran};
use crate::ports::free_block;
use crate::wait::{eventually, eventually_blocking};
use crate::wire;

/// For `sekat up` to be ready: it gives up by itself before.
const START_LIMIT: Duration = Duration::from_secs(180);
/// Blocks of ports that are tried, should other programs be quicker.
const ATTEMPTS: usize = 5;
/// How much of each log is shown when a test fails.
const LOG_LINES: usize = 25;

/// How a mesh is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    arguments: Vec<String>,
}

impl Options {
    /// With the seed's sellers, products and showcases.
    #[must_use]
    pub fn seeded() -> Self {
        Self::default()
    }

    /// With empty stores: the test makes what it needs.
    #[must_use]
    pub fn empty() -> Self {
        Self::default().argument("--no-seed")
    }

    /// With a further argument of `sekat up`, for instance `--jaeger`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With a variable in the environment of every process.
    #[must_use]
    pub fn set(self, name: &str, value: &str) -> Self {
        self.argument("--set").argument(&format!("{name}={value}"))
    }
}

/// What `sekat up` says about itself in `up.ready.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Running {
    /// The process id of `sekat up`.
    pub pid: u32,
    /// Public address of the showcase, `host:port`.
    pub showcase_edge: String,
    /// Public address of commerce.
    pub commerce_edge: String,
    /// Where providers send notifications.
    pub notify_ingress: String,
    /// The authority of the public addresses, a PEM file.
    pub web_authority: PathBuf,
    /// The bank's control address.
    pub bank_control: String,
    /// Where spans go.
    pub otlp: String,
    /// The witness's address, if there is one.
    pub witness: Option<String>,
    /// Jaeger's address, if there is one.
    pub jaeger: Option<String>,
    /// Mesh addresses by workload; catalog's feed is `catalog-feed`.
    pub mesh: BTreeMap<String, String>,
    /// Health addresses by workload.
    pub health: BTreeMap<String, String>,
    /// With a network of pods, the addresses in it by listener.
    pub pods: BTreeMap<String, String>,
    /// Process ids by process, each as it was at its last start.
    pub pids: BTreeMap<String, u32>,
}

/// What `sekat buy --format json` tells of one purchase.
#[derive(Clone, Debug, Deserialize)]
pub struct Story {
    /// The purchase's trace, in hexadecimal.
    pub trace_id: String,
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// `orders/{order}`.
    pub order: String,
    /// `paymentIntents/{payment_intent}`.
    pub payment_intent: String,
    /// What was paid, for people.
    pub total: String,
    /// The transfers of the payment, as `ops` reads them.
    pub ledger: Vec<serde_json::Value>,
    /// From the showcase page to PAID.
    pub elapsed_ms: u64,
}

/// One step of a purchase.
#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    /// `showcase`, `commerce` or `bank`.
    pub domain: String,
    /// Service and method, or nothing.
    pub method: String,
    /// What came of it.
    pub outcome: String,
    /// What crossed the boundary between the domains.
    pub crossed: Option<serde_json::Value>,
}

/// A mesh. It is stopped, and its folder removed, when it is dropped; if a test is failing then, the ends of all logs
/// are printed.
#[derive(Debug)]
pub struct Mesh {
    folder: TempDir,
    options: Options,
    port_base: u16,
    up: Option<Up>,
}

/// The running `sekat up`.
#[derive(Debug)]
struct Up {
    child: Child,
    /// Stops the mesh and removes its folder if this test program dies: its standard input ends then.
    guard: Child,
}

impl Mesh {
    /// Starts a mesh and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready, with the ends of all logs.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let folder = tempfile::Builder::new().prefix("sekat-acceptance-").tempdir().expect("a temporary folder");
        let mut mesh = Self { folder, options, port_base: 0, up: None };
        for _ in 0..ATTEMPTS {
            mesh.port_base = free_block();
            match mesh.try_start() {
                Ok(()) => return mesh,
                Err(said) if said.contains("--port-base") => {}
                Err(said) => panic!("the mesh does not start: {said}\n{}", mesh.log_tails()),
            }
        }
        panic!("{ATTEMPTS} blocks of ports were taken between looking and starting");
    }

    /// The seeded mesh that all tests share which break nothing.
    #[must_use]
    pub fn shared() -> Shared {
        static MESH: OnceLock<Mesh> = OnceLock::new();
        Shared(MESH.get_or_init(|| Self::start(Options::seeded())))
    }

    /// Starts a stopped mesh again, on the same state and the same ports.
    ///
    /// # Panics
    /// If it runs, or does not become ready.
    pub fn start_again(&mut self) {
        assert!(self.up.is_none(), "the mesh is running");
        if let Err(said) = self.try_start() {
            panic!("the mesh does not start again: {said}\n{}", self.log_tails());
        }
    }

    /// The arguments of a `sekat up` for this folder, without those of the options.
    #[must_use]
    pub fn up_arguments(&self) -> Vec<String> {
        let data = self.data().to_str().expect("the folder's path is UTF-8").to_owned();
        vec!["up".to_owned(), "--data".to_owned(), data, "--port-base".to_owned(), self.port_base.to_string()]
    }

    fn try_start(&mut self) -> Result<(), String> {
        let output =
            |name: &str| File::options().create(true).append(true).open(self.folder.path().join(name)).unwrap();
        let said_before = self.up_said().len();
        let mut child = cli::command()
            .args(self.up_arguments())
            .args(&self.options.arguments)
            .stdout(output("up.out"))
            .stderr(output("up.err"))
            .spawn()
            .expect("sekat starts");
        let guard = guard(child.id(), self.folder.path());
        let pid = child.id();
        let ready = eventually_blocking(START_LIMIT, || {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                return Some(Err(status));
            }
            // The file may be one that a killed `up` left.
            self.read_running().is_some_and(|running| running.pid == pid).then_some(Ok(()))
        });
        self.up = Some(Up { child, guard });
        match ready {
            Some(Ok(())) => Ok(()),
            Some(Err(status)) => {
                self.dismiss();
                let said = self.up_said();
                Err(format!("it ended with {status}: {}", said.get(said_before..).unwrap_or_default()))
            }
            None => Err(format!("it was not ready after {} s", START_LIMIT.as_secs())),
        }
    }

    /// The folder with everything that the mesh keeps.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Addresses and process ids, as they are now.
    ///
    /// # Panics
    /// If the mesh does not run.
    #[must_use]
    pub fn running(&self) -> Running {
        self.read_running().expect("the mesh is up")
    }

    fn read_running(&self) -> Option<Running> {
        let text = std::fs::read(self.data().join("up.ready.json")).ok()?;
        Some(serde_json::from_slice(&text).expect("up.ready.json is what the harness knows"))
    }

    /// The identity directory of a workload, or of `ops`.
    #[must_use]
    pub fn identity(&self, workload: &str) -> PathBuf {
        self.data().join("identities").join(workload)
    }

    /// The bank's controls.
    #[must_use]
    pub fn bank(&self) -> Bank {
        Bank::at(&self.running().bank_control)
    }

    /// Makes one purchase with `sekat buy`.
    ///
    /// # Panics
    /// If it is not paid in the end.
    #[must_use]
    pub fn purchase(&self) -> Story {
        let data = self.data();
        let bought = cli::sekat(&["buy", "--format", "json", "--data", data.to_str().unwrap()]);
        let Ran { code: Some(0), stdout, .. } = &bought else { panic!("the purchase failed: {bought:?}") };
        serde_json::from_str(stdout).expect("the story is what the harness knows")
    }

    /// Kills a process with SIGKILL and returns its process id. `sekat up` starts it again; see [`Self::restarted`].
    ///
    /// # Panics
    /// If there is no such process.
    pub fn kill9(&self, process: &str) -> u32 {
        let pids = self.running().pids;
        let pid = *pids.get(process).unwrap_or_else(|| panic!("{process} is none of {:?}", pids.keys()));
        cli::signal(pid, Signal::KILL);
        pid
    }

    /// Waits until a process that had the id `old` runs again and is healthy. Returns its new id.
    pub async fn restarted(&self, process: &str, old: u32) -> u32 {
        eventually(&format!("{process} is restarted and healthy"), async || {
            let running = self.read_running()?;
            let pid = *running.pids.get(process)?;
            let healthy = match running.health.get(process) {
                Some(address) => wire::is_healthy(address).await,
                None => true,
            };
            (pid != old && healthy).then_some(pid)
        })
        .await
    }

    /// Kills a process and waits until it is back.
    pub async fn restart_process(&self, process: &str) -> u32 {
        let old = self.kill9(process);
        self.restarted(process, old).await
    }

    /// Sends a signal to `sekat up` itself.
    pub fn signal_up(&self, signal: Signal) {
        cli::signal(self.running().pid, signal);
    }

    /// Stops the mesh as Ctrl-C does, waits for the end, and says how it ended. The state stays.
    ///
    /// # Panics
    /// If it does not run, or does not end.
    pub async fn stop(&mut self) -> ExitStatus {
        let up = self.up.as_mut().expect("the mesh runs");
        cli::signal(up.child.id(), Signal::INT);
        // Not blocking: clients of this test have to hear that their connections end, or draining takes its limit.
        let status =
            eventually("the mesh stops", async || up.child.try_wait().expect("a child can be waited for")).await;
        self.dismiss();
        status
    }

    /// Kills `sekat up` itself with SIGKILL; what becomes of its processes is theirs to decide.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill9_up(&mut self) {
        let up = self.up.as_mut().expect("the mesh runs");
        up.child.kill().expect("it is there");
        up.child.wait().expect("it ends");
        self.dismiss();
    }

    /// Takes leave of an `up` that has ended.
    fn dismiss(&mut self) {
        if let Some(mut up) = self.up.take() {
            up.guard.kill().expect("the guard is there");
            up.guard.wait().expect("the guard ends");
        }
    }

    /// Everything that `sekat up` has said on standard error.
    #[must_use]
    pub fn up_said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("up.err")).unwrap_or_default()
    }

    /// The whole log of a process.
    #[must_use]
    pub fn log(&self, process: &str) -> String {
        std::fs::read_to_string(self.data().join("logs").join(format!("{process}.log"))).unwrap_or_default()
    }

    /// The ends of all logs.
    #[must_use]
    pub fn log_tails(&self) -> String {
        let logs = std::fs::read_dir(self.data().join("logs")).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = logs.map(|entry| entry.path()).collect();
        paths.sort();
        paths.push(self.folder.path().join("up.err"));
        let mut text = String::new();
        for path in paths {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
            let name = path.file_name().unwrap_or_default().display();
            let _ = writeln!(text, "---- the end of {name} ----\n{}", tail.join("\n"));
        }
        text
    }

    fn tell_if_failing(&self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_tails());
        }
    }
}

/// Kills everything: nobody will look at what draining would save, and clients on a blocked runtime would hold it up.
impl Drop for Mesh {
    fn drop(&mut self) {
        self.tell_if_failing();
        let Some(up) = &mut self.up else { return };
        // First, so that it starts nothing again. A second panic here would hide the first.
        drop(up.child.kill());
        drop(up.child.wait());
        for pid in self.read_running().into_iter().flat_map(|running| running.pids.into_values()) {
            if cli::is_alive(pid) {
                cli::signal(pid, Signal::KILL);
            }
        }
        self.dismiss();
    }
}

/// A use of the shared mesh by one test.
#[derive(Debug)]
pub struct Shared(&'static Mesh);

impl Deref for Shared {
    type Target = Mesh;
    fn deref(&self) -> &Mesh {
        self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.0.tell_if_failing();
    }
}

/// A shell that waits for the end of this test program, however it comes, and cleans up behind it. The shared mesh
/// always ends this way: a static is never dropped.
fn guard(pid: u32, folder: &Path) -> Child {
    const SCRIPT: &str = r#"cat >/dev/null; kill -TERM "$1"; tail --pid="$1" -f /dev/null; rm -rf -- "$2""#;
    Command::new("sh")
        .args(["-c", SCRIPT, "guard", &pid.to_string()])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh starts")
}
