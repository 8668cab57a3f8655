//! Keeps processes running: starts them, restarts the ones that crash and says so, drains them on request.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anstream::eprintln;
use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a process gets to drain before it is killed: the services' own limit of 10 s and some slack.
const DRAIN_LIMIT: Duration = Duration::from_secs(15);
/// The pause before the first restart of a process that crashed; doubled up to [`RESTART_PAUSE_MAX`].
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause before a restart.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A process that lived this long has its pause reset.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// How much of a log is shown when a process does not start.
const LOG_TAIL_LINES: usize = 15;

/// One process to run.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// What people call it.
    pub(crate) name: &'static str,
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments; never a secret.
    pub(crate) arguments: Vec<String>,
    /// Its whole environment; never a secret.
    pub(crate) environment: BTreeMap<String, String>,
    /// Where its output goes.
    pub(crate) log: PathBuf,
}

/// A process that is kept running.
pub(crate) struct Supervised {
    process: Process,
    stop: watch::Sender<bool>,
    now: Arc<Mutex<Now>>,
    task: JoinHandle<()>,
}

/// How a process stands.
#[derive(Clone, Copy, Default)]
struct Now {
    pid: Option<u32>,
    crashes: u32,
}

impl Supervised {
    /// Starts a process and keeps it running until [`Self::stop`].
    ///
    /// # Errors
    /// If it cannot be started at all.
    pub(crate) fn start(process: Process, restarted: watch::Sender<u64>) -> anyhow::Result<Self> {
        let (child, lifeline) = spawn(&process)?;
        let now = Arc::new(Mutex::new(Now { pid: child.id(), crashes: 0 }));
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(keep(process.clone(), (child, lifeline), Arc::clone(&now), stopping, restarted));
        Ok(Self { process, stop, now, task })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.process.name
    }

    /// Its process id now, if it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).pid
    }

    /// How often it has ended by itself.
    pub(crate) fn crashes(&self) -> u32 {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).crashes
    }

    /// The end of its log, for an error message.
    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.process.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let skipped = lines.len().saturating_sub(LOG_TAIL_LINES);
        let tail: Vec<&str> = lines.into_iter().skip(skipped).collect();
        format!("the end of {}:\n    {}", self.process.log.display(), tail.join("\n    "))
    }

    /// Asks it to drain and waits until it is gone.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.task.await.with_context(|| format!("{} could not be stopped", self.process.name))
    }
}

async fn keep(
    process: Process,
    (mut child, mut lifeline): (Child, Option<ChildStdin>),
    now: Arc<Mutex<Now>>,
    mut stopping: watch::Receiver<bool>,
    restarted: watch::Sender<u64>,
) {
    let mut pause = RESTART_PAUSE_MIN;
    loop {
        let started = Instant::now();
        let status = tokio::select! {
            status = child.wait() => Some(status),
            () = requested(&mut stopping) => None,
        };
        let Some(status) = status else { return drain(&process, &mut child).await };
        drop(lifeline.take());
        set(&now, |now| *now = Now { pid: None, crashes: now.crashes.saturating_add(1) });
        eprintln!("{} {}; restarting it", process.name, how_it_ended(status));
        if started.elapsed() >= STABLE_AFTER {
            pause = RESTART_PAUSE_MIN;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = requested(&mut stopping) => return,
            }
            pause = pause.saturating_mul(2).min(RESTART_PAUSE_MAX);
            match spawn(&process) {
                Ok(next) => {
                    (child, lifeline) = next;
                    break;
                }
                Err(error) => eprintln!("{error:#}; trying again"),
            }
        }
        set(&now, |now| now.pid = child.id());
        restarted.send_modify(|count| *count = count.wrapping_add(1));
    }
}

fn set(now: &Mutex<Now>, change: impl FnOnce(&mut Now)) {
    change(&mut now.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Ready when the process is to stop; whoever held the other end being gone means that too.
async fn requested(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|stop| *stop).await);
}

fn spawn(process: &Process) -> anyhow::Result<(Child, Option<ChildStdin>)> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&process.log)
        .with_context(|| format!("the log {} cannot be opened", process.log.display()))?;
    let mut command = Command::new(&process.program);
    command
        .args(&process.arguments)
        .env_clear()
        .envs(&process.environment)
        // The pipe is never written to. When `up` dies by whatever means it closes, and the child drains.
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A Ctrl-C on the terminal reaches `up` alone, which then stops the processes in order.
        .process_group(0);
    let mut child = command.spawn().with_context(|| {
        format!(
            "{} cannot be started from {}: build the workspace with `cargo build --release --workspace --bins`",
            process.name,
            process.program.display()
        )
    })?;
    // Waiting for a child would close its pipe.
    let lifeline = child.stdin.take();
    Ok((child, lifeline))
}

async fn drain(process: &Process, child: &mut Child) {
    if signal(child, Signal::TERM).is_err() {
        return;
    }
    if tokio::time::timeout(DRAIN_LIMIT, child.wait()).await.is_err() {
        eprintln!("{} did not drain within {} s; killing it", process.name, DRAIN_LIMIT.as_secs());
        drop(signal(child, Signal::KILL));
        drop(child.wait().await);
    }
}

fn signal(child: &Child, signal: Signal) -> anyhow::Result<()> {
    let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else {
        bail!("it is gone already");
    };
    Ok(kill_process(pid, signal)?)
}

fn how_it_ended(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with code {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
        Err(error) => format!("was lost ({error})"),
    }
}
