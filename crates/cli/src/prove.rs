//! `sekat prove` and `sekat verify`: all layers of the proof against a running mesh, in one bundle that anybody can check
//! again.

mod attacker;
mod canaries;
mod elsewhere;
mod identities;
mod inputs;
mod picture;
mod planting;
mod probes;
mod spans;
mod stores;
mod traces;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstream::{eprintln, println};
use anyhow::Context as _;
use sekat_audit::source::access;
use sekat_audit::{Audit, Options, Report, unhex};
use sekat_evidence::{Bundle, Check, Facts, Layer, LayerName, PublicKey, SigningKey, Timeline, Verdict, report};
use sekat_policy::{Diagnostic, Intent, Span};

use self::inputs::{Inputs, Written};
use crate::buy::{self, Buyer};
use crate::exit::{Exit, Usage};
use crate::layout::{Layout, Running};
use crate::meant::Meant;
use crate::reach::Manifests;
use crate::{Data, audit, check, findings};

/// The manifests of this repository, from its root.
const MANIFESTS: &str = "deploy/kubernetes/base";
/// How long spans and counters may take to be written: several times their interval.
const SETTLE: Duration = Duration::from_secs(20);
/// Between two looks.
const POLL: Duration = Duration::from_millis(250);
/// How many witnesses of a layer are printed; all are in the bundle.
const PRINTED: usize = 5;

/// Flags of `sekat prove`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    meant: Meant,
    /// The Cargo workspace of the code that runs; this one if the mesh is ours.
    #[arg(long, value_name = "DIR")]
    code: Option<PathBuf>,
    #[command(flatten)]
    elsewhere: audit::Elsewhere,
    #[command(flatten)]
    manifests: Manifests,
    /// Where the evidence is written: a folder that does not exist yet, or is empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The private key that signs, PKCS#8 in PEM. Made in the data directory if it is not given.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Flags of `sekat verify`.
#[derive(clap::Args)]
pub(crate) struct VerifyArgs {
    /// The folder that `sekat prove` wrote.
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// The public key of a signer whom you trust, PEM; may be given several times. Without it, whose key it is stays for you
    /// to compare.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// How many of these keys have to have signed.
    #[arg(long, value_name = "N", default_value = "1")]
    threshold: NonZeroUsize,
    /// Send the packets again too, which takes network namespaces.
    #[arg(long)]
    packets: bool,
    /// The bundle before this one, to check that this one names it.
    #[arg(long, value_name = "BUNDLE")]
    previous: Option<PathBuf>,
}

/// Flags of `sekat sign`.
#[derive(clap::Args)]
pub(crate) struct SignArgs {
    /// The folder that `sekat prove` wrote.
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// Your private key, PKCS#8 in PEM.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// What one run has found so far.
struct Run {
    layers: Vec<Layer>,
}

impl Run {
    /// Tells a layer and keeps it.
    fn add(&mut self, layer: Layer) {
        tell(&layer);
        self.layers.push(layer);
    }
}

/// Runs all layers and writes the bundle.
pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    if args.elsewhere.elsewhere {
        return elsewhere::run(&args);
    }
    let layout = Layout::new(&args.data.data)?;
    let running = Running::read(&layout)?;
    let bundle = Bundle::create(&args.out)?;
    let key_file = args.key.clone().unwrap_or_else(|| layout.evidence().join("signing.key"));
    let key = SigningKey::open_or_create(&key_file)?;
    let started = now()?;
    let manifests = args.manifests.or(MANIFESTS);
    let inputs = Inputs::keep(
        &bundle,
        &args.out,
        &args.meant,
        check::cargo_metadata(args.code.as_deref().unwrap_or(Path::new("."))),
        &manifests,
    )?;
    let Written { intent, layers } = match inputs.run()? {
        Ok(written) => written,
        Err(found) => {
            findings::tell(&found)?;
            return Ok(Exit::Malformed);
        }
    };
    let mut run = Run { layers: Vec::new() };
    let [contracts, code, network] = layers;
    run.add(contracts);
    run.add(code);
    run.add(identities::layer(&intent, &layout).await);
    run.add(network);
    run.add(inputs.packets().unwrap_or_else(|error| Layer::not_run(LayerName::Packets, format!("{error:#}"))));
    run.add(stores::layer(&intent, &layout, &running));

    eprintln!("a purchase with unique values, and every forbidden call");
    let story = buy::purchase(&running, &Buyer::marked()).await?;
    let token = story.private.iter().find(|(leaf, _)| *leaf == buy::ACCESS_TOKEN).map_or("", |(_, token)| token);
    let sent = planting::send(&inputs.contracts(), &running, token).await?;
    let answers = bundle.add_bytes(canaries::ANSWERS, sent.answers.as_bytes());
    answers.and_then(|()| bundle.add_bytes("canaries/leaves.tsv", sent.leaves(&story.private).as_bytes()))?;
    let probes = probes::run(&intent, &layout, &running).await?;
    let announced = probes::announce(&intent, &probes, &layout)?;
    let report = settled(&intent, &layout, &announced.traces).await?;
    run.add(probes::layer(&probes, &announced, &layout)?);
    run.add(canaries::layer(&intent, &layout, &story, &sent, &args.out)?);
    run.add(traces::layer(&report));
    run.add(traces::records(&report, chains(&intent, &layout)?));

    let mut timeline = spans::OfTrace::new(&intent, unhex(&story.trace_id).unwrap_or_default());
    spans::read(&layout, &mut timeline)?;
    let not_covered = NOT_COVERED.map(|sentence| sentence.replace("{}", &sent.unplanted.len().to_string()));
    let latest = layout.evidence().join("latest");
    let sealing = Sealing { bundle: &bundle, args: &args, key: &key, latest: &latest };
    let facts = sealing.facts(&intent, &inputs, &not_covered, Some(&report), started)?;
    sealing.seal(&intent, run.layers, timeline.timeline(story.trace_id), Some(&report), facts)
}

/// What ends every run: the report, the statement, and what the next bundle has to know.
struct Sealing<'a> {
    bundle: &'a Bundle,
    args: &'a Args,
    key: &'a SigningKey,
    /// Where the digest of the newest bundle is kept.
    latest: &'a Path,
}

impl Sealing<'_> {
    fn facts(
        &self,
        intent: &Intent,
        inputs: &Inputs,
        not_covered: &[String],
        report: Option<&Report>,
        started: String,
    ) -> anyhow::Result<Facts> {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let coverage = report.map(|report| {
            BTreeMap::from([
                ("declaredEdges".to_owned(), number(report.coverage.edges)),
                ("declaredEdgesUnused".to_owned(), number(report.coverage.unused.len())),
                ("forbiddenPairs".to_owned(), number(report.coverage.forbidden_pairs)),
                ("forbiddenPairsUntried".to_owned(), number(report.coverage.untried.len())),
                ("spans".to_owned(), report.spans_read),
                ("calls".to_owned(), report.calls),
            ])
        });
        Ok(Facts {
            scope: format!("the mesh of {} workloads in {} domains", intent.workloads.len(), intent.domains.len()),
            window_start: started,
            window_end: now()?,
            assumptions: ASSUMPTIONS.map(str::to_owned).to_vec(),
            not_covered: not_covered.to_vec(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            policy_digest: inputs.contracts_digest()?,
            previous: std::fs::read_to_string(self.latest).ok().map(|digest| digest.trim().to_owned()),
            coverage: coverage.unwrap_or_default(),
        })
    }

    fn seal(
        &self,
        intent: &Intent,
        layers: Vec<Layer>,
        timeline: Timeline,
        report: Option<&Report>,
        facts: Facts,
    ) -> anyhow::Result<Exit> {
        let fingerprint = self.key.public()?.fingerprint();
        let picture = picture::of(intent, report, &layers);
        let input = report::Input { layers, picture, timeline, facts, fingerprint };
        let mut html = Vec::new();
        report::html(&input, &mut html)?;
        self.bundle.add_bytes("report.html", &html)?;
        if let Some(report) = report {
            let mut json = Vec::new();
            report.render_json(&mut json)?;
            self.bundle.add_bytes("traces/audit.json", &json)?;
        }
        let report::Input { layers, facts, fingerprint, .. } = input;
        let sealed = self.bundle.seal(&facts, &layers, self.key)?;
        // The next bundle names this one.
        std::fs::write(self.latest, format!("{}\n", sealed.digest))
            .with_context(|| format!("{} cannot be written", self.latest.display()))?;
        let verdict = Verdict::of(&layers);
        println!("{verdict}");
        let out = self.args.out.display();
        eprintln!("{out}: signed by {fingerprint}; look at report.html, check with `sekat verify {out}`");
        Ok(exit(verdict))
    }
}

/// Audits until nothing is missing any more, or for as long as it may take.
async fn settled(intent: &Intent, layout: &Layout, announced: &BTreeSet<[u8; 16]>) -> anyhow::Result<Report> {
    let deadline = tokio::time::Instant::now() + SETTLE;
    let mut interval = tokio::time::interval(POLL);
    loop {
        interval.tick().await;
        let mut options = Options::default();
        options.probes.clone_from(announced);
        options.attempts_violate = true;
        let mut audit = Audit::new(intent, options);
        let mut unread: Vec<Diagnostic> = Vec::new();
        audit::of_mesh(layout, intent, &mut audit, &mut unread)?;
        let report = audit.finish().context("the audit's temporary file cannot be used")?;
        if let Some(finding) = unread.first() {
            anyhow::bail!("{finding}");
        }
        let layers = [traces::layer(&report), traces::records(&report, Vec::new())];
        let open = layers.iter().any(|layer| layer.count(Verdict::Unknown) > 0);
        if !open || tokio::time::Instant::now() > deadline {
            return Ok(report);
        }
    }
}

/// Each chain of access records, checked from its first record.
fn chains(intent: &Intent, layout: &Layout) -> anyhow::Result<Vec<Check>> {
    let mut checks = Vec::new();
    for workload in &intent.workloads {
        let store = layout.store(&workload.name).join(format!("{}.db", workload.name));
        if !audit::has_records(&store) {
            continue;
        }
        let mut number = 0_u64;
        let read =
            access::records(&store, &workload.name, |_| number += 1).map_err(|finding| anyhow::anyhow!("{finding}"))?;
        let subject = format!("the access records of {}", workload.name);
        let expected = "each is chained to the one before";
        checks.push(match read.broken {
            None => Check { observed: format!("{number} records, all chained"), ..Check::holds(subject, expected) },
            Some(why) => Check::violated(subject, expected, why),
        });
    }
    Ok(checks)
}

/// Believed without being shown.
const ASSUMPTIONS: [&str; 3] = [
    "A workload of a domain that may hold a class of data, its node, its certificate authority and the kernel are trusted.",
    "The network enforces the policies that were read; in packets, nftables enforced them here.",
    "The code that runs was built from the workspace whose dependencies were looked at.",
];

/// Not shown by any layer.
const NOT_COVERED: [&str; 4] = [
    "What the showcase received was copied after TLS and HTTP/2 were taken off, header by header and frame by frame: a \
     value of which another call's frame came between two parts is not found there.",
    "All processes of a mesh on one machine run as one user: modes of files are looked at, and which process has which \
     store open, but a process of that user could open any.",
    "{} private leaves of the contracts held no planted value; canaries/leaves.tsv names each of them and the reason.",
    "What an allowed caller does with what it received.",
];

/// Checks a bundle again.
pub(crate) fn verify(args: &VerifyArgs) -> anyhow::Result<Exit> {
    if !args.bundle.is_dir() {
        let message =
            format!("there is no evidence at {}: name the folder that `sekat prove` wrote", args.bundle.display());
        return Err(Usage(message).into());
    }
    if args.threshold.get() > args.key.len().max(1) {
        let message = format!("--threshold {} needs as many --key, and there are {}", args.threshold, args.key.len());
        return Err(Usage(message).into());
    }
    let keys = args.key.iter().map(|path| PublicKey::open(path)).collect::<Result<Vec<_>, _>>()?;
    let mut report = sekat_evidence::verify::verify(&args.bundle, &keys, args.threshold, args.previous.as_deref());
    if report.findings.is_empty() {
        report.findings.extend(again(args, &report)?);
    }
    if !report.findings.is_empty() {
        findings::tell(&report.findings)?;
        println!("{}", Verdict::Violated);
        return Ok(Exit::Violated);
    }
    for layer in &report.layers {
        tell(layer);
    }
    let again = if args.packets { "contracts, code, network and packets" } else { "contracts, code and network" };
    eprintln!("{again} were run again on the inputs in the bundle; the others are as the signer saw them");
    let advice =
        if report.signer_trusted { "whom you trust" } else { "compare it with what the signer says, or give --key" };
    for signer in &report.signers {
        eprintln!("signed by {signer}: {advice}");
    }
    if report.unknown_signatures > 0 {
        eprintln!("{} signatures of other keys, which count for nothing", report.unknown_signatures);
    }
    println!("{}", report.verdict);
    Ok(exit(report.verdict))
}

/// Runs what needs no mesh again, on the bundle's own inputs, and compares check by check.
fn again(args: &VerifyArgs, report: &sekat_evidence::verify::Report) -> anyhow::Result<Vec<Diagnostic>> {
    let unfounded = |path: String, message: String| {
        let help = "the signer has to explain this; a bundle is best verified by the version that made it";
        let span = Span { file: args.bundle.join(path).display().to_string(), ..Span::default() };
        Diagnostic::error(sekat_evidence::verify::UNREPEATED, span, message, help)
    };
    let unusable = |error| vec![unfounded("inputs".to_owned(), format!("its inputs cannot be used: {error:#}"))];
    let inputs = match Inputs::of(&args.bundle) {
        Ok(inputs) => inputs,
        Err(error) => return Ok(unusable(error)),
    };
    let mut layers = match inputs.run() {
        Ok(Ok(written)) => written.layers.to_vec(),
        Ok(Err(found)) => return Ok(found),
        Err(error) => return Ok(unusable(error)),
    };
    if args.packets {
        layers.push(inputs.packets()?);
    }
    let made_by = report.facts.as_ref().map_or("", |facts| &facts.tool_version);
    let differs = |layer: Layer| {
        let stated = report.layers.iter().find(|stated| stated.name == layer.name)?;
        let at = stated.checks.iter().zip(&layer.checks).position(|(stated, found)| stated != found);
        let same = at.is_none() && stated.checks.len() == layer.checks.len() && stated.not_run == layer.not_run;
        let at = at.unwrap_or_else(|| stated.checks.len().min(layer.checks.len()));
        let found = layer.checks.get(at).map_or("nothing more", |check| &check.subject);
        let message = format!(
            "{}: run again, line {} is `{found}`; made by sekat {made_by}, run again by {}",
            layer.name,
            at + 1,
            env!("CARGO_PKG_VERSION")
        );
        (!same).then(|| unfounded(format!("layers/{}.jsonl", layer.name), message))
    };
    Ok(layers.into_iter().filter_map(differs).collect())
}

/// Adds a signature to a bundle that holds together.
pub(crate) fn sign(args: &SignArgs) -> anyhow::Result<Exit> {
    let key = SigningKey::open(&args.key)?;
    let fingerprint = key.public()?.fingerprint();
    let added = sekat_evidence::sign(&args.bundle, &key)?;
    eprintln!("{} by {fingerprint}", if added { "signed" } else { "signed already" });
    Ok(Exit::Holds)
}

const fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Holds => Exit::Holds,
        Verdict::Violated => Exit::Violated,
        Verdict::Unknown => Exit::NotProven,
    }
}

/// One line a layer, and what did not hold.
fn tell(layer: &Layer) {
    let (tried, verdict) = (layer.checks.len(), layer.verdict());
    let why = layer.not_run.as_deref().map_or_else(String::new, |why| format!("  not run: {why}"));
    eprintln!("{:<12}{:<10}{tried:>7} checks{why}", layer.name.as_str(), verdict.to_string());
    let witnesses = layer.witnesses();
    for check in witnesses.iter().take(PRINTED) {
        let place = check.place.as_deref().map_or_else(String::new, |place| format!("  at {place}"));
        let code = check.code.as_deref().map_or_else(String::new, |code| format!("[{code}] "));
        eprintln!(
            "    {} {code}{}: {}; it must be: {}{place}",
            check.outcome, check.subject, check.observed, check.expected
        );
    }
    if witnesses.len() > PRINTED {
        eprintln!("    and {} more, in layers/{}.jsonl", witnesses.len() - PRINTED, layer.name);
    }
}

fn now() -> anyhow::Result<String> {
    let now = time::OffsetDateTime::now_utc();
    Ok(now.format(&time::format_description::well_known::Rfc3339)?)
}
