//! `sekat up`: makes identities, starts every process, waits for health, seeds an empty store, and keeps it running.

mod authority;
mod jaeger;
mod network;
mod ports;
mod processes;
mod seeding;
mod supervisor;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

use anstream::eprintln;
use anstyle::Style;
use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use self::network::Listeners;
use self::ports::Ports;
use self::processes::{BANK, Surroundings, WITNESS, WORKLOADS};
use self::supervisor::Supervised;
use crate::exit::Exit;
use crate::layout::{Layout, Running};
use crate::story::Format;
use crate::{Data, Output, buy};

/// How long the mesh may take to become healthy: the benchmark reports the real time, this bounds the wait.
const HEALTH_LIMIT: Duration = Duration::from_secs(30);
/// A process that ended so often before the mesh was healthy is not waited for.
const START_CRASHES: u32 = 3;
/// How often health is asked for while the mesh starts.
const HEALTH_INTERVAL: Duration = Duration::from_millis(20);

/// Flags of `sekat up`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    data: Data,
    /// Where spans go: the URL of an OTLP/gRPC receiver. Default: files under the data directory.
    #[arg(long, value_name = "URL", conflicts_with = "jaeger")]
    otlp: Option<String>,
    /// Start Jaeger and send spans there. Needs a Jaeger v2 binary, see --jaeger-binary.
    #[arg(long)]
    jaeger: bool,
    /// Jaeger's binary.
    #[arg(long, value_name = "FILE", env = "SEKAT_JAEGER", default_value = "jaeger")]
    jaeger_binary: std::path::PathBuf,
    /// Start `sekat witness`, and send spans there over mutual TLS: who sent them is then part of the evidence.
    #[arg(long, conflicts_with_all = ["jaeger", "otlp"])]
    witness: bool,
    /// Make one purchase, print its story, drain and exit.
    #[arg(long)]
    once: bool,
    /// The first of the block of ports on loopback that the mesh uses.
    #[arg(long, value_name = "PORT", default_value_t = 7400, value_parser = clap::value_parser!(u16).range(1024..=65_000))]
    port_base: u16,
    /// Run every process in a network namespace of its own, as the pod of its name in these manifests and under their
    /// network policies. May be given several times. Needs root.
    #[arg(short = 'f', long = "manifests", value_name = "PATH", conflicts_with_all = ["jaeger", "otlp", "witness"])]
    manifests: Vec<std::path::PathBuf>,
    /// Do not seed an empty store.
    #[arg(long)]
    no_seed: bool,
    /// Another setting for every process, for instance SEKAT_LOG=debug.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    settings: Vec<(String, String)>,
    #[command(flatten)]
    output: Output,
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if name.starts_with("SEKAT_") => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a setting has the form SEKAT_NAME=VALUE".to_owned()),
    }
}

/// Runs until Ctrl-C or, with `--once`, until the purchase is made.
pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let started = Instant::now();
    // From the first moment, so that a Ctrl-C during the start drains too.
    let mut stop = Stop::listen()?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let layout = Layout::new(&args.data.data)?;
    std::fs::create_dir_all(layout.root())
        .with_context(|| format!("the data directory {} cannot be made", layout.root().display()))?;
    let _lock = lock(&layout)?;
    drop(std::fs::remove_file(layout.running()));
    let ports = Ports::claim(args.port_base, args.jaeger, args.witness)?;
    let listeners = match args.manifests.as_slice() {
        [] => Listeners::on_loopback(ports),
        manifests => Listeners::in_pods(ports, manifests)?,
    };
    authority::prepare(&layout, &listeners)?;

    let mut mesh = Mesh::new(&layout, &listeners);
    let outcome = tokio::select! {
        outcome = serve(&args, &layout, ports, &mut mesh, started) => outcome,
        () = stop.requested() => Ok(Exit::Interrupted),
    };
    let outcome = match outcome {
        Ok(Exit::Holds) if !args.once => {
            tokio::select! {
                () = mesh.keep_current(&args, &mut hang_up) => {}
                () = stop.requested() => {}
            }
            Ok(Exit::Holds)
        }
        other => other,
    };
    drop(std::fs::remove_file(layout.running()));
    eprintln!("draining");
    tokio::select! {
        () = mesh.stop() => {}
        () = stop.requested() => bail!("a second signal: stopped without draining"),
    }
    outcome
}

async fn serve(
    args: &Args,
    layout: &Layout,
    ports: Ports,
    mesh: &mut Mesh<'_>,
    started: Instant,
) -> anyhow::Result<Exit> {
    let otlp = if args.jaeger {
        mesh.processes.push(jaeger::start(&args.jaeger_binary, layout, ports, mesh.restarts.clone())?);
        format!("http://{}", ports.address("jaeger otlp")?)
    } else {
        args.otlp.clone().unwrap_or_else(|| format!("file:{}", layout.traces().display()))
    };
    let mut settings = args.settings.clone();
    // An app has no identity with which it could send its own spans to the witness: they stay in files.
    let of_apps = otlp.clone();
    let otlp = if args.witness {
        settings.push(("SEKAT_OTLP_PEER".to_owned(), authority::witness_id()));
        settings.push(("SEKAT_OTLP_BUNDLE".to_owned(), layout.witness_bundle().display().to_string()));
        format!("https://{}", ports.address(WITNESS)?)
    } else {
        otlp
    };
    let programs = std::env::current_exe()?.parent().context("sekat has no directory")?.to_path_buf();
    let surroundings = Surroundings { layout, listeners: mesh.listeners, otlp: &otlp, programs, extra: &settings };
    if args.witness {
        let process = surroundings.witness(ports.address(WITNESS)?)?;
        mesh.processes.push(Supervised::start(process, mesh.restarts.clone())?);
    }
    mesh.processes.push(Supervised::start(surroundings.bank()?, mesh.restarts.clone())?);
    for workload in &WORKLOADS {
        mesh.processes.push(Supervised::start(surroundings.process(workload)?, mesh.restarts.clone())?);
    }
    mesh.wait_for_health().await?;
    let running = mesh.describe(args, &of_apps)?;
    eprintln!("{} processes healthy after {} ms", mesh.processes.len(), started.elapsed().as_millis());
    if !args.no_seed {
        seeding::seed_if_empty(&running).await?;
    }
    running.write(layout)?;
    if args.once {
        let story = buy::purchase(&running, &buy::Buyer::ordinary()).await?;
        story.print(args.output.format)?;
        eprintln!("from start to paid order: {} ms", started.elapsed().as_millis());
    } else {
        tell(&running, layout, args.output.format)?;
    }
    Ok(Exit::Holds)
}

/// Held by the kernel for as long as this process lives, however it ends.
fn lock(layout: &Layout) -> anyhow::Result<File> {
    let path = layout.lock();
    let file = File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another `sekat up` runs in {}: stop it, or choose another data directory with --data",
            layout.root().display()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("{} cannot be locked", path.display())),
    }
}

struct Mesh<'a> {
    layout: &'a Layout,
    listeners: &'a Listeners,
    processes: Vec<Supervised>,
    restarts: watch::Sender<u64>,
}

impl<'a> Mesh<'a> {
    fn new(layout: &'a Layout, listeners: &'a Listeners) -> Self {
        Self { layout, listeners, processes: Vec::new(), restarts: watch::channel(0).0 }
    }

    async fn wait_for_health(&self) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + HEALTH_LIMIT;
        for workload in &WORKLOADS {
            let address = self.listeners.address(&format!("{} health", workload.name))?;
            let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?.connect_lazy();
            let mut health = HealthClient::new(channel);
            let mut interval = tokio::time::interval(HEALTH_INTERVAL);
            loop {
                interval.tick().await;
                let reply = health.check(HealthCheckRequest::default()).await;
                if reply.is_ok_and(|reply| reply.into_inner().status() == ServingStatus::Serving) {
                    break;
                }
                // A process that cannot start is seen at once, whichever is waited for.
                if let Some(process) = self.processes.iter().find(|process| process.crashes() >= START_CRASHES) {
                    bail!("{} does not start; {}", process.name(), process.log_tail());
                }
                if tokio::time::Instant::now() > deadline {
                    let process = self.processes.iter().find(|process| process.name() == workload.name);
                    bail!(
                        "{} is not healthy after {} s; {}",
                        workload.name,
                        HEALTH_LIMIT.as_secs(),
                        process.map(Supervised::log_tail).unwrap_or_default()
                    );
                }
            }
        }
        Ok(())
    }

    fn describe(&self, args: &Args, otlp: &str) -> anyhow::Result<Running> {
        let address = |name: &str| self.listeners.address(name).map(|address| address.to_string());
        let mut mesh = BTreeMap::new();
        let mut health = BTreeMap::new();
        for workload in &WORKLOADS {
            health.insert(workload.name.to_owned(), address(&format!("{} health", workload.name))?);
            if let Ok(listener) = address(&format!("{} mesh", workload.name)) {
                mesh.insert(workload.name.to_owned(), listener);
            }
        }
        mesh.insert("catalog-feed".to_owned(), address("catalog feed")?);
        let pids = self.processes.iter().filter_map(|process| Some((process.name().to_owned(), process.pid()?)));
        Ok(Running {
            pid: std::process::id(),
            showcase_edge: address("showcase-edge public")?,
            commerce_edge: address("commerce-edge public")?,
            notify_ingress: address("notify-ingress public")?,
            web_authority: self.layout.authority("web").join("authority.pem"),
            payment: address("payment mesh")?,
            ops_identity: self.layout.identity("ops"),
            bank_control: address("bank control")?,
            otlp: otlp.to_owned(),
            witness: if args.witness { Some(format!("https://{}", address(WITNESS)?)) } else { None },
            jaeger: if args.jaeger { Some(format!("http://{}", address("jaeger ui")?)) } else { None },
            mesh,
            health,
            pods: self.listeners.pods(),
            pids: pids.collect(),
        })
    }

    /// Renews identities at half of their life, rolls the authorities on SIGHUP and keeps the process ids in the ready
    /// file current. Never returns.
    async fn keep_current(&self, args: &Args, hang_up: &mut tokio::signal::unix::Signal) {
        let mut restarts = self.restarts.subscribe();
        let half = authority::IDENTITY_LIFE / 2;
        let mut renewal = tokio::time::interval_at(tokio::time::Instant::now() + half, half);
        loop {
            tokio::select! {
                _ = renewal.tick() => {
                    if let Err(error) = authority::issue_identities(self.layout) {
                        eprintln!("identities could not be renewed: {error:#}");
                    }
                }
                _ = hang_up.recv() => {
                    eprintln!("rolling all authorities and identities");
                    match authority::roll(self.layout).await {
                        Ok(()) => eprintln!("rolled: what the old authorities signed is refused"),
                        Err(error) => eprintln!("the authorities could not be rolled: {error:#}"),
                    }
                }
                _ = restarts.changed() => {
                    let renewed = Running::read(self.layout)
                        .and_then(|running| self.describe(args, &running.otlp))
                        .and_then(|running| running.write(self.layout));
                    if let Err(error) = renewed {
                        eprintln!("{error:#}");
                    }
                }
            }
        }
    }

    /// Stops in the reverse order of the start, so that nobody loses a callee while it drains.
    async fn stop(&mut self) {
        while let Some(process) = self.processes.pop() {
            if let Err(error) = process.stop().await {
                eprintln!("{error:#}");
            }
        }
    }
}

/// Ctrl-C, or a polite kill.
pub(crate) struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(crate) async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn tell(running: &Running, layout: &Layout, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        anstream::println!("{}", serde_json::to_string_pretty(running)?);
        return Ok(());
    }
    let bold = Style::new().bold();
    let root = layout.root().display();
    eprintln!();
    eprintln!("  showcase   https://{}   gRPC and gRPC-Web, browsing", running.showcase_edge);
    eprintln!("  commerce   https://{}   gRPC and gRPC-Web, buying", running.commerce_edge);
    eprintln!("  providers  https://{}   notifications", running.notify_ingress);
    eprintln!("  {BANK}       http://{}    the simulator's controls", running.bank_control);
    match &running.witness {
        Some(witness) => eprintln!("  traces     {root}/witness, by the witness at {witness}"),
        None => eprintln!("  traces     {}", running.jaeger.as_deref().unwrap_or(&running.otlp)),
    }
    eprintln!("  logs       {root}/logs");
    if !running.pods.is_empty() {
        eprintln!("  network    each process in a namespace of its own, under the policies of the manifests");
        eprintln!(
            "             nsenter --net=/proc/$(jq .pids.showcase {root}/up.ready.json)/ns/net is the showcase's"
        );
    }
    eprintln!();
    eprintln!("  try        {bold}sekat buy --data {root}{bold:#}   one purchase, step by step");
    eprintln!("  roll       kill -HUP {}   new authorities and identities, without a failed call", running.pid);
    eprintln!("  stop       Ctrl-C");
    Ok(())
}
