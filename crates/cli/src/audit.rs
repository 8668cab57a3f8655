//! `sekat audit`, `learn` and `shadow`: recorded traces against what is meant, and what they say of a policy to come.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use sekat_audit::learn::FoundWorkload;
use sekat_audit::source::jaeger::{self, Api, Query};
use sekat_audit::source::{access, files, mesh};
use sekat_audit::{Audit, Options, Report, Verdict, learn as drafting, shadow as shadowing};
use sekat_policy::intent::Protocol;
use sekat_policy::{Diagnostic, Intent};
use sekat_reach::objects::{NamedPort, Workload};

use crate::exit::{Exit, Usage};
use crate::findings;
use crate::layout::Layout;
use crate::meant::Meant;
use crate::reach::Manifests;
use crate::story::Format;
use crate::witness::CHAIN;

/// How far to look back in a Jaeger, in minutes.
const LAST: u64 = 60;

/// Where spans come from.
#[derive(Clone, clap::Args)]
#[group(required = true, multiple = true)]
struct Sources {
    /// OTLP files, or folders of them: protobuf, or JSON with one message a line.
    #[arg(value_name = "SPANS")]
    files: Vec<PathBuf>,
    /// The segments that a `sekat witness` wrote: each span is bound to the certificate with which it was sent.
    #[arg(long, value_name = "DIR")]
    witness: Option<PathBuf>,
    /// The data directory of a mesh that `sekat up` runs or ran: its spans, counters, access records and logs.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A Jaeger's HTTP address, for instance http://127.0.0.1:16686.
    #[arg(long, value_name = "URL")]
    jaeger: Option<String>,
}

/// Which spans a Jaeger is asked for.
#[derive(Clone, clap::Args)]
struct Window {
    /// How far to look back, in minutes. Jaeger only.
    #[arg(long, value_name = "MINUTES", default_value_t = LAST, requires = "jaeger")]
    last: u64,
    /// Ask over Jaeger's HTTP API of version 1, for those that have no other.
    #[arg(long, requires = "jaeger")]
    jaeger_v1: bool,
}

/// How spans are read.
#[derive(Clone, clap::Args)]
struct Reading {
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    window: Window,
    /// The `service.name` of a workload that has another name there.
    #[arg(long = "service", value_name = "SERVICE.NAME=WORKLOAD", value_parser = pair)]
    services: Vec<(String, String)>,
    /// Take a caller that only its own spans name as an incomplete proof rather than an unexplained call.
    #[arg(long)]
    accept_claims: bool,
}

/// Where spans of a mesh come from that is not ours.
#[derive(Clone, clap::Args)]
pub(crate) struct Elsewhere {
    /// The mesh is none of `sekat up`: run what its files show. Needs --key; whatever only a running mesh of ours can show
    /// is named as not run.
    #[arg(long, requires = "key")]
    pub(crate) elsewhere: bool,
    /// OTLP files of its spans, or folders of them.
    #[arg(long, value_name = "PATH", requires = "elsewhere")]
    spans: Vec<PathBuf>,
    /// The segments that a `sekat witness` wrote of its spans.
    #[arg(long, value_name = "DIR", requires = "elsewhere")]
    witness: Option<PathBuf>,
    /// Its Jaeger's HTTP address; the spans of the last hour are read.
    #[arg(long, value_name = "URL", requires = "elsewhere")]
    jaeger: Option<String>,
    /// The `service.name` of a workload that has another name there.
    #[arg(long = "service", value_name = "SERVICE.NAME=WORKLOAD", value_parser = pair, requires = "elsewhere")]
    services: Vec<(String, String)>,
}

impl Elsewhere {
    /// The audit of its spans, if it names any.
    pub(crate) fn audit(&self, intent: &Intent) -> anyhow::Result<Option<(Report, Vec<Diagnostic>)>> {
        let Self { spans, witness, jaeger, services, .. } = self.clone();
        if spans.is_empty() && witness.is_none() && jaeger.is_none() {
            return Ok(None);
        }
        let sources = Sources { files: spans, witness, data: None, jaeger };
        let window = Window { last: LAST, jaeger_v1: false };
        let reading = Reading { sources, window, services, accept_claims: false };
        read(&reading, intent, false).map(Some)
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (left, right) = text.split_once('=').ok_or("it has the form SERVICE.NAME=WORKLOAD")?;
    Ok((left.to_owned(), right.to_owned()))
}

/// Flags of `sekat audit`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    meant: Meant,
    #[command(flatten)]
    reading: Reading,
    /// Not proven unless every declared edge was used and every forbidden one tried.
    #[arg(long)]
    require_coverage: bool,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Holds recorded traces against what is meant.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let intent = match args.meant.sound()? {
        Ok(intent) => intent,
        Err(exit) => return Ok(exit),
    };
    let (report, unread) = read(&args.reading, &intent, args.require_coverage)?;
    findings::tell(&unread)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.format {
        Format::Human => report.render_text(&mut out)?,
        Format::Json => report.render_json(&mut out)?,
    }
    out.flush()?;
    ensure!(report.is_sound(), "the audit did not find a fault that it planted itself: its verdict is worth nothing");
    Ok(match report.verdict {
        Verdict::Violated => Exit::Violated,
        _ if !unread.is_empty() => Exit::Malformed,
        Verdict::Holds => Exit::Holds,
        Verdict::Unexplained | Verdict::Incomplete => Exit::NotProven,
    })
}

/// Flags of `sekat learn`.
#[derive(clap::Args)]
pub(crate) struct LearnArgs {
    #[command(flatten)]
    reading: Reading,
    /// Manifests of the mesh: they say where its workloads run, and how they are known.
    #[command(flatten)]
    manifests: Manifests,
}

/// Drafts a policy file, to standard output.
pub(crate) fn learn(args: &LearnArgs) -> anyhow::Result<Exit> {
    let nothing = Intent::default();
    let (report, unread) = read(&args.reading, &nothing, false)?;
    findings::tell(&unread)?;
    if !unread.is_empty() {
        return Ok(Exit::Malformed);
    }
    let found = if args.manifests.is_empty() {
        Vec::new()
    } else {
        let (analysis, unread) = args.manifests.analyse(&[])?;
        findings::tell(&unread)?;
        let Some(analysis) = analysis else { return Ok(Exit::Malformed) };
        analysis.cluster().workloads.iter().map(found).collect()
    };
    drafting::draft(&report, &found, &mut io::stdout().lock())?;
    Ok(Exit::Holds)
}

/// A workload as a policy names it.
fn found(workload: &Workload) -> FoundWorkload {
    let port = |port: &NamedPort| {
        let name = if port.name.is_empty() { format!("port-{}", port.number) } else { port.name.clone() };
        (name, port.number)
    };
    FoundWorkload {
        name: workload.name.clone(),
        namespace: workload.namespace.clone(),
        service_account: workload.service_account.clone(),
        labels: workload.labels.known.clone(),
        ports: workload.ports.iter().filter(|port| port.protocol == Protocol::Tcp).map(port).collect(),
    }
}

/// Flags of `sekat shadow`.
#[derive(clap::Args)]
pub(crate) struct ShadowArgs {
    #[command(flatten)]
    meant: Meant,
    #[command(flatten)]
    reading: Reading,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Lists which recorded calls a changed policy would deny.
pub(crate) fn shadow(args: &ShadowArgs) -> anyhow::Result<Exit> {
    let intent = match args.meant.sound()? {
        Ok(intent) => intent,
        Err(exit) => return Ok(exit),
    };
    let (report, unread) = read(&args.reading, &intent, false)?;
    findings::tell(&unread)?;
    let denials = shadowing::replay(&report, &intent);
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.format {
        Format::Human => shadowing::render_text(&denials, &mut out)?,
        Format::Json => shadowing::render_json(&denials, &mut out)?,
    }
    out.flush()?;
    Ok(match (unread.is_empty(), denials.is_empty()) {
        (false, _) => Exit::Malformed,
        (true, true) => Exit::Holds,
        (true, false) => Exit::Violated,
    })
}

fn read(reading: &Reading, intent: &Intent, require_coverage: bool) -> anyhow::Result<(Report, Vec<Diagnostic>)> {
    let mut options = Options::default();
    options.services = reading.services.iter().cloned().collect();
    options.accept_claims = reading.accept_claims;
    options.require_coverage = require_coverage;
    let mut audit = Audit::new(intent, options);
    let mut unread = Vec::new();
    for path in &reading.sources.files {
        unread.extend(files::read(path, &mut audit).1);
    }
    if let Some(segments) = &reading.sources.witness {
        let (spans, found) = sekat_audit::segments::read(segments, CHAIN, &mut audit);
        ensure!(spans > 0 || !found.is_empty(), "no witness has written spans in {}", segments.display());
        unread.extend(found);
    }
    if let Some(data) = &reading.sources.data {
        of_mesh(&Layout::new(data)?, intent, &mut audit, &mut unread)?;
    }
    if let Some(base) = &reading.sources.jaeger {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let from = now.saturating_sub(Duration::from_secs(reading.window.last.saturating_mul(60)));
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let api = if reading.window.jaeger_v1 { Api::V1 } else { Api::V3 };
        let query = Query { base: base.clone(), window_ns: nanoseconds(from)..nanoseconds(now), api, limit: 0 };
        jaeger::read(&query, &mut audit).with_context(|| format!("the spans of {base} cannot be read"))?;
    }
    Ok((audit.finish().context("the audit's temporary file cannot be used")?, unread))
}

/// Everything that a mesh of `sekat up` wrote down.
pub(crate) fn of_mesh(
    layout: &Layout,
    intent: &Intent,
    audit: &mut Audit<'_>,
    unread: &mut Vec<Diagnostic>,
) -> anyhow::Result<()> {
    if !layout.traces().is_dir() {
        let root = layout.root().display();
        let message = format!("no mesh has written spans in {root}: start one with `sekat up --data {root}`");
        return Err(Usage(message).into());
    }
    unread.extend(files::read(&layout.traces(), audit).1);
    if layout.witness().is_dir() {
        unread.extend(sekat_audit::segments::read(&layout.witness(), CHAIN, audit).1);
    }
    for workload in &intent.workloads {
        let name = workload.name.as_str();
        let store = layout.store(name);
        let mut keep = |result: Result<(), Diagnostic>| unread.extend(result.err());
        let (counters, faults) = mesh::counters_of_runs(&store, name);
        counters.into_iter().for_each(|counters| audit.counters(counters));
        faults.into_iter().for_each(|fault| keep(Err(fault)));
        let log = layout.log(name);
        if log.exists() {
            keep(mesh::refusals(&log, name, |refusal| audit.refusal(&refusal)));
        }
        let records = store.join(format!("{name}.db"));
        if has_records(&records) {
            audit.records_accesses(name);
            let read = access::records(&records, name, |record| audit.access(&record));
            keep(read.map(|read| read.broken.into_iter().for_each(|why| audit.chain_is_broken(why))));
        }
    }
    Ok(())
}

/// Whether a workload has a store, and with it access records.
pub(crate) fn has_records(store: &Path) -> bool {
    fs::metadata(store).is_ok_and(|store| store.is_file())
}
