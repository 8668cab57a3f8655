//! A mesh that is not ours: what its policy, manifests and spans show, in the same evidence. The layers that need a mesh of
//! `sekat up` are named as not run, so that the whole is violated or unknown, and never more than was seen.

use anyhow::Context as _;
use sekat_evidence::{Bundle, Layer, LayerName, SigningKey, Timeline};
use sekat_policy::Severity;

use super::inputs::{Inputs, Written};
use super::{Args, NOT_COVERED, Run, Sealing, now, traces};
use crate::check;
use crate::exit::Exit;
use crate::findings;

/// Why a layer did not run.
const NEEDS_OURS: &str = "it needs a mesh of `sekat up`, whose identities and stores can be looked at";

/// Runs what needs no mesh of ours and writes the bundle.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let key_file = args.key.as_deref().context("--elsewhere needs --key")?;
    let bundle = Bundle::create(&args.out)?;
    let key = SigningKey::open_or_create(key_file)?;
    let started = now()?;
    let metadata = match &args.code {
        Some(code) => check::cargo_metadata(code),
        None => Err(anyhow::anyhow!("no code was given: name its Cargo workspace with --code")),
    };
    let inputs = Inputs::keep(&bundle, &args.out, &args.meant, metadata, &args.manifests)?;
    let Written { intent, layers } = match inputs.run()? {
        Ok(written) => written,
        Err(found) => {
            findings::tell(&found)?;
            return Ok(Exit::Malformed);
        }
    };
    let audited = args.elsewhere.audit(&intent)?;
    let [contracts, code, network] = layers;
    let packets = inputs.packets().unwrap_or_else(|error| Layer::not_run(LayerName::Packets, format!("{error:#}")));
    let seen = match &audited {
        None => Layer::not_run(LayerName::Traces, "no spans were given: name them with --spans, --witness or --jaeger"),
        Some((report, unread)) => {
            let mut layer = traces::layer(report);
            let wrong = unread.iter().filter(|finding| finding.severity == Severity::Error);
            layer.checks.extend(wrong.map(findings::check));
            layer
        }
    };
    let ours = |name| Layer::not_run(name, NEEDS_OURS);
    let mut run = Run { layers: Vec::new() };
    for layer in [
        contracts,
        code,
        ours(LayerName::Identities),
        network,
        packets,
        ours(LayerName::Stores),
        ours(LayerName::Probes),
        ours(LayerName::Canaries),
        seen,
        ours(LayerName::Records),
    ] {
        run.add(layer);
    }
    let report = audited.map(|(report, _)| report);
    let not_covered: Vec<String> = NOT_COVERED.last().map(|sentence| (*sentence).to_owned()).into_iter().collect();
    let latest = key_file.with_extension("latest");
    let sealing = Sealing { bundle: &bundle, args, key: &key, latest: &latest };
    let facts = sealing.facts(&intent, &inputs, &not_covered, report.as_ref(), started)?;
    sealing.seal(&intent, run.layers, Timeline::default(), report.as_ref(), facts)
}
