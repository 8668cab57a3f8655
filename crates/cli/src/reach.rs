//! `sekat reach`, `explain` and `diff`: who can reach whom by Kubernetes manifests, why, and what a change changes.

use std::io::{self, Write};
use std::path::PathBuf;

use anstream::eprintln;
use sekat_policy::Diagnostic;
use sekat_policy::intent::Protocol;
use sekat_reach::addresses::Range;
use sekat_reach::{Analysis, Options, Relation, diff as compare, exposure, read, render};

use crate::exit::{Exit, Usage};
use crate::{findings, manifests};

/// Kubernetes manifests, and what they do not say.
#[derive(Clone, clap::Args)]
pub(crate) struct Manifests {
    /// A file or a folder of manifests, YAML or JSON, also as `kubectl get -o yaml` prints them; `-` for standard input.
    /// A folder with a kustomization is what kustomize makes of it. May be given several times.
    #[arg(short = 'f', long = "manifests", value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    unsaid: Unsaid,
}

/// What manifests do not say.
#[derive(Clone, clap::Args, serde::Serialize, serde::Deserialize)]
pub(crate) struct Unsaid {
    /// A range of addresses from which pods have theirs. By default all private ranges.
    #[arg(long, value_name = "CIDR", value_parser = range)]
    pod_range: Vec<String>,
    /// A kind that sekat does not know and that does not bear on who can connect.
    #[arg(long, value_name = "KIND")]
    harmless_kind: Vec<String>,
}

/// The text of a range that can be parsed.
fn range(text: &str) -> Result<String, String> {
    Range::parse(text).map(|_| text.to_owned())
}

impl Manifests {
    pub(crate) const fn new(paths: Vec<PathBuf>, unsaid: Unsaid) -> Self {
        Self { paths, unsaid }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The same, of `default` if nobody has named any.
    pub(crate) fn or(&self, default: &str) -> Self {
        if self.is_empty() { Self { paths: vec![default.into()], ..self.clone() } } else { self.clone() }
    }

    pub(crate) const fn unsaid(&self) -> &Unsaid {
        &self.unsaid
    }

    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The analysis, unless something cannot be read. `pod_ranges` are those of the place, if somebody states them.
    ///
    /// # Errors
    /// If a folder has to be rendered and nothing is there that can.
    pub(crate) fn analyse(&self, pod_ranges: &[String]) -> anyhow::Result<(Option<Analysis>, Vec<Diagnostic>)> {
        analyse(&self.paths, &self.unsaid, pod_ranges)
    }
}

fn analyse(
    paths: &[PathBuf],
    unsaid: &Unsaid,
    pod_ranges: &[String],
) -> anyhow::Result<(Option<Analysis>, Vec<Diagnostic>)> {
    let mut options = Options { harmless_kinds: unsaid.harmless_kind.clone(), ..Options::default() };
    let stated = if unsaid.pod_range.is_empty() { pod_ranges } else { &unsaid.pod_range };
    if !stated.is_empty() {
        options.pod_ranges = stated.iter().filter_map(|text| Range::parse(text).ok()).collect();
    }
    let (sources, mut found) = manifests::sources(paths)?;
    if !found.is_empty() {
        return Ok((None, found));
    }
    let (cluster, more) = read(&sources, &options);
    found.extend(more);
    Ok((cluster.map(|cluster| Analysis::new(cluster, options)), found))
}

/// How rows are written.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Rows {
    /// For people.
    Table,
    /// `src,dst,conn`.
    Csv,
    /// An array of rows.
    Json,
    /// A Markdown table.
    Md,
    /// A graph for Graphviz.
    Dot,
    /// A picture.
    Svg,
}

/// Flags of `sekat reach`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    manifests: Manifests,
    /// How the rows are written.
    #[arg(long, value_enum, default_value_t = Rows::Table)]
    format: Rows,
    /// Instead, to whom workloads are open beyond the pods that exist, as CSV.
    #[arg(long, conflicts_with = "format")]
    exposure: bool,
}

/// Lists who can reach whom.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let Some(analysis) = told(require(&args.manifests)?.analyse(&[])?)? else { return Ok(Exit::Malformed) };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = match args.format {
        _ if args.exposure => exposure::csv(&analysis.exposure(), &mut out),
        Rows::Table => render::table(&analysis, &mut out),
        Rows::Csv => render::csv(&analysis, &mut out),
        Rows::Json => render::json(&analysis, &mut out),
        Rows::Md => render::markdown(&analysis, &mut out),
        Rows::Dot => render::dot(&analysis, &mut out),
        Rows::Svg => render::svg(&analysis, &mut out),
    };
    done(written.and_then(|()| out.flush()))?;
    for note in analysis.notes() {
        eprintln!("note: {note}");
    }
    Ok(Exit::Holds)
}

/// Flags of `sekat explain`.
#[derive(clap::Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    manifests: Manifests,
    /// Who connects: `namespace/name`, `name`, or an address.
    src: String,
    /// To whom.
    dst: String,
    /// One port only.
    #[arg(long)]
    port: Option<u16>,
    /// One protocol only: TCP, UDP or SCTP. With --port, TCP if it is not given.
    #[arg(long, value_parser = protocol)]
    protocol: Option<Protocol>,
}

fn protocol(text: &str) -> Result<Protocol, String> {
    let found = Protocol::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "the protocols are TCP, UDP and SCTP".to_owned())
}

/// Tells why one peer can reach another, or cannot.
pub(crate) fn explain(args: &ExplainArgs) -> anyhow::Result<Exit> {
    let Some(analysis) = told(require(&args.manifests)?.analyse(&[])?)? else { return Ok(Exit::Malformed) };
    match analysis.explain(&args.src, &args.dst, args.port, args.protocol) {
        Ok(explanation) => {
            done(write!(io::stdout().lock(), "{explanation}"))?;
            Ok(Exit::Holds)
        }
        Err(finding) => {
            findings::tell(&[finding])?;
            Ok(Exit::Malformed)
        }
    }
}

/// How a comparison is written.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Changes {
    /// For people.
    Text,
    /// A row for each change.
    Csv,
    /// One JSON object.
    Json,
}

/// Flags of `sekat diff`.
#[derive(clap::Args)]
pub(crate) struct DiffArgs {
    /// The manifests before.
    before: PathBuf,
    /// The manifests after.
    after: PathBuf,
    #[command(flatten)]
    unsaid: Unsaid,
    /// How the comparison is written.
    #[arg(long, value_enum, default_value_t = Changes::Text)]
    format: Changes,
}

/// Compares two sets of manifests.
pub(crate) fn diff(args: &DiffArgs) -> anyhow::Result<Exit> {
    let side = |path: &PathBuf| told(analyse(std::slice::from_ref(path), &args.unsaid, &[])?);
    // Both are read before the answer, so that one run tells everything that is malformed.
    let (Some(before), Some(after)) = (side(&args.before)?, side(&args.after)?) else { return Ok(Exit::Malformed) };
    let diff = compare(&before, &after);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = match args.format {
        Changes::Text => diff.text(&mut out),
        Changes::Csv => diff.csv(&mut out),
        Changes::Json => diff.json(&mut out),
    };
    done(written.and_then(|()| out.flush()))?;
    Ok(match diff.relation {
        Relation::Wider | Relation::Both => Exit::Violated,
        _ => Exit::Holds,
    })
}

fn require(manifests: &Manifests) -> anyhow::Result<&Manifests> {
    if manifests.is_empty() {
        return Err(Usage("no manifests: name a file or a folder with -f, or - for standard input".to_owned()).into());
    }
    Ok(manifests)
}

/// Tells what could not be read.
fn told((analysis, found): (Option<Analysis>, Vec<Diagnostic>)) -> anyhow::Result<Option<Analysis>> {
    findings::tell(&found)?;
    Ok(analysis)
}

/// A reader that had enough, such as `head`, is no failure.
pub(crate) fn done(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
