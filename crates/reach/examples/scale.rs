//! How the cost of an answer grows with a cluster: `cargo run --release -p sekat-reach --example scale [WORKLOADS…]`.
//!
//! `ROWS=1` also writes all rows, `RECHECK=1` also runs the naive checker. The peak of memory is that of the process so
//! far: give one size to know its own. The clusters are made here and are the same on every machine. `scale --write DIR WORKLOADS POLICIES` writes one as
//! YAML, for other tools to try.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs};

use sekat_reach::{Analysis, Options, Source, read, render};

/// Workloads of a namespace.
const PER_NAMESPACE: usize = 50;
/// Distinct values of the label that most rules select.
const TIERS: usize = 10;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse().ok());
    if arguments.first().is_some_and(|first| first == "--write") {
        let (Some(folder), Some(workloads), Some(policies)) = (arguments.get(1), number(2), number(3)) else {
            return Err(io::Error::other("usage: scale --write DIR WORKLOADS POLICIES"));
        };
        return write(Path::new(folder), &cluster(workloads, policies, Shape::Shared));
    }
    let mut sizes: Vec<usize> = (0..arguments.len()).filter_map(number).collect();
    if sizes.is_empty() {
        sizes = vec![100, 300, 1_000, 3_000, 5_000, 10_000, 20_000];
    }
    let mut out = io::stdout().lock();
    writeln!(out, "workloads policies shape     MB of YAML  classes   read  analyse  count   total  peak MB")?;
    for workloads in sizes {
        for (shape, name, policies) in [(Shape::Shared, "shared", 200), (Shape::Each, "one each", workloads)] {
            let sources = cluster(workloads, policies, shape);
            let bytes: usize = sources.iter().map(|source| source.text.len()).sum();
            let cost = measure(&sources)?;
            let total = cost.reading + cost.analysing + cost.counting;
            writeln!(
                out,
                "{workloads:>9} {policies:>8} {name:<9} {:>10.1} {:>8} {} {}  {} {} {:>8}",
                megabytes(bytes),
                cost.classes,
                seconds(cost.reading),
                seconds(cost.analysing),
                seconds(cost.counting),
                seconds(total),
                peak_megabytes()
            )?;
        }
    }
    Ok(())
}

/// How policies are spread.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// Policies of a namespace, for tiers of workloads.
    Shared,
    /// A policy for each workload, which names its callers.
    Each,
}

/// What an answer took.
struct Cost {
    reading: Duration,
    analysing: Duration,
    counting: Duration,
    classes: u64,
}

fn measure(sources: &[Source]) -> io::Result<Cost> {
    let start = Instant::now();
    let (cluster, findings) = read(sources, &Options::default());
    let reading = start.elapsed();
    let Some(cluster) = cluster else {
        return Err(io::Error::other(findings.first().map(ToString::to_string).unwrap_or_default()));
    };
    let start = Instant::now();
    let analysis = Analysis::new(cluster, Options::default());
    let analysing = start.elapsed();
    let start = Instant::now();
    let summary = analysis.summary();
    let counting = start.elapsed();
    if env::var_os("ROWS").is_some() {
        let start = Instant::now();
        let mut rows = Counted(0);
        render::csv(&analysis, &mut rows)?;
        let mut err = io::stderr().lock();
        writeln!(err, "  {} bytes of CSV in {}", rows.0, seconds(start.elapsed()))?;
    }
    if env::var_os("RECHECK").is_some() {
        let start = Instant::now();
        let found = analysis.recheck();
        let mut err = io::stderr().lock();
        let differences = found.differences.len();
        writeln!(err, "  {} pairs rechecked in {}, {differences} differ", found.pairs, seconds(start.elapsed()))?;
    }
    Ok(Cost { reading, analysing, counting, classes: summary.classes })
}

struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn cluster(workloads: usize, policies: usize, shape: Shape) -> Vec<Source> {
    let namespaces = workloads.div_ceil(PER_NAMESPACE);
    let mut sources: Vec<Source> = (0..namespaces)
        .map(|at| Source {
            name: format!("namespace-{at}.yaml"),
            text: format!(
                "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: n{at}\n  labels:\n    zone: z{}\n",
                at % 7
            ),
        })
        .collect();
    for at in 0..workloads {
        if let Some(source) = sources.get_mut(at / PER_NAMESPACE) {
            deployment(&mut source.text, at);
        }
    }
    for at in 0..policies {
        let namespace = if shape == Shape::Shared { at % namespaces } else { at / PER_NAMESPACE };
        if let Some(source) = sources.get_mut(namespace) {
            match shape {
                Shape::Shared => shared(&mut source.text, namespace, at),
                Shape::Each => each(&mut source.text, namespace, at),
            }
        }
    }
    sources
}

fn deployment(text: &mut String, at: usize) {
    let (namespace, tier, port) = (at / PER_NAMESPACE, at % TIERS, 8000 + at % 5);
    _ = write!(
        text,
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: w{at}\n  namespace: n{namespace}\nspec:\n  \
         replicas: 2\n  selector:\n    matchLabels:\n      app: w{at}\n  template:\n    metadata:\n      labels:\n        \
         app: w{at}\n        tier: t{tier}\n    spec:\n      containers:\n        - name: main\n          \
         image: registry.example/w{at}:1\n          ports:\n            - name: grpc\n              \
         containerPort: {port}\n"
    );
}

fn head(text: &mut String, namespace: usize, at: usize) {
    _ = write!(
        text,
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p{at}\n  \
         namespace: n{namespace}\nspec:\n"
    );
}

/// For a tier of a namespace: from another tier and from a zone, to a block outside.
fn shared(text: &mut String, namespace: usize, at: usize) {
    head(text, namespace, at);
    let (tier, caller, zone) = (at % TIERS, (at + 3) % TIERS, at % 7);
    _ = write!(
        text,
        "  podSelector:\n    matchLabels:\n      tier: t{tier}\n  policyTypes: [Ingress, Egress]\n  ingress:\n    \
         - from:\n        - podSelector:\n            matchLabels:\n              tier: t{caller}\n      ports:\n        \
         - port: grpc\n    - from:\n        - namespaceSelector:\n            matchLabels:\n              \
         zone: z{zone}\n      ports:\n        - port: {}\n          endPort: {}\n  egress:\n    - to:\n        \
         - namespaceSelector: {{}}\n    - to:\n        - ipBlock:\n            cidr: 203.0.{}.0/24\n",
        9000 + at % 50,
        9100 + at % 50,
        at % 256
    );
}

/// For one workload: from its two neighbours.
fn each(text: &mut String, namespace: usize, at: usize) {
    head(text, namespace, at);
    _ = write!(
        text,
        "  podSelector:\n    matchLabels:\n      app: w{at}\n  policyTypes: [Ingress]\n  ingress:\n    - from:\n        \
         - podSelector:\n            matchExpressions:\n              - key: app\n                operator: In\n                \
         values: [w{}, w{}]\n      ports:\n        - port: grpc\n",
        at + 1,
        at.saturating_sub(1)
    );
}

fn write(folder: &Path, sources: &[Source]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    sources.iter().try_for_each(|source| fs::write(folder.join(&source.name), &source.text))
}

fn seconds(time: Duration) -> String {
    format!("{:>6.3}s", time.as_secs_f64())
}

fn megabytes(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes / 1_000).unwrap_or(u32::MAX)) / 1_000.0
}

/// The most memory that the process has had, as Linux counts it.
fn peak_megabytes() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map_or_else(|| "?".to_owned(), |kilobytes| (kilobytes / 1024).to_string())
}
