//! The life of a process: read everything, build, serve, drain, flush, exit.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::BoxError;
use crate::env::Env;
use crate::mesh::{ConfigError, Mesh, Settings};
use crate::server::Server;
use crate::shutdown::ShutdownToken;
use crate::telemetry::bridge::Bridge;
use crate::telemetry::log;

/// The configuration is wrong; nothing was started.
const EXIT_USAGE: u8 = 2;
/// A second signal: 128 + SIGINT, as shells have it.
const EXIT_INTERRUPTED: i32 = 130;

/// Runs a workload until a signal: a service's whole `main`.
///
/// `read` takes the service's own configuration from the environment; every bad or missing value is reported by name.
/// `build` opens stores and puts the server together, while health already answers "not serving". SIGTERM and SIGINT
/// drain; a second one exits at once.
///
/// Exit codes: 0 after an orderly end, 1 if the workload failed, 2 if its configuration is wrong.
pub fn run<C, F>(workload: &'static str, read: fn(&mut Env) -> C, build: F) -> ExitCode
where
    F: AsyncFnOnce(C, Mesh) -> Result<Server, BoxError>,
{
    let mut env = Env::from_process();
    let settings = Settings::read(&mut env);
    let config = read(&mut env);
    if let Err(problems) = env.finish() {
        complain(workload, &problems);
        return ExitCode::from(EXIT_USAGE);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(workload, &error);
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(live(workload, settings, config, build));
    // Blocking work that hangs does not keep the process.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(workload, error.as_ref());
            let usage = matches!(error.downcast_ref(), Some(ConfigError::Missing { .. }));
            if usage { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

async fn live<C, F>(workload: &'static str, settings: Settings, config: C, build: F) -> Result<(), BoxError>
where
    F: AsyncFnOnce(C, Mesh) -> Result<Server, BoxError>,
{
    let recorder = settings.recorder();
    log::install(&settings.log, settings.log_format, Bridge::new(Arc::clone(&recorder)));
    let signals = Signals::catch(settings.exits_with_stdin)?;
    let start = async {
        let mesh = Mesh::open_with(workload, settings, recorder).await?;
        let server = build(config, mesh.clone()).await?;
        Ok::<_, BoxError>((mesh, server))
    };
    let mut signals = signals;
    // Before there is something to drain, a signal simply ends the process.
    let (mesh, server) = tokio::select! {
        started = start => started?,
        () = signals.next() => return Ok(()),
    };
    tokio::spawn(signals.shut_down(mesh.shutdown()));
    server.serve().await
}

/// What ends a process.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    /// Ready once, when standard input is at its end.
    stdin_end: Option<oneshot::Receiver<()>>,
}

impl Signals {
    fn catch(with_stdin: bool) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            stdin_end: with_stdin.then(stdin_end).transpose()?,
        })
    }

    async fn next(&mut self) {
        let stdin_end = async {
            match &mut self.stdin_end {
                Some(end) => drop(end.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = stdin_end => self.stdin_end = None,
        }
    }

    async fn shut_down(mut self, shutdown: ShutdownToken) {
        self.next().await;
        tracing::info!("draining; a second signal exits at once");
        shutdown.begin();
        self.next().await;
        std::process::exit(EXIT_INTERRUPTED);
    }
}

/// Ready when standard input is at its end: whoever started the process holds the other end of a pipe, and is gone.
fn stdin_end() -> std::io::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        // An error is an end too.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = ended.send(());
    })?;
    Ok(end)
}

/// The error with all its causes, on standard error, for whoever started the process.
fn complain(workload: &str, error: &(dyn Error + 'static)) {
    eprintln!("{workload}: {}", chain(error));
}

/// The texts of an error and of its causes.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
