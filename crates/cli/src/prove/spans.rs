//! Spans that a mesh wrote into its data directory, as the proof looks at them beside the audit.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use sekat_audit::segments;
use sekat_audit::source::otlp;
use sekat_audit::{Kind, Recorded, Resource, Sink, Span};
use sekat_evidence::{Step, Timeline};
use sekat_policy::Intent;

use crate::layout::Layout;
use crate::witness::CHAIN;

/// The bytes before a message: its length.
const LENGTH: usize = 4;

/// Hands all spans of a mesh to `sink`: those in files, and those that a witness took.
pub(super) fn read(layout: &Layout, sink: &mut impl Sink) -> anyhow::Result<()> {
    of_files(&layout.traces(), sink)?;
    if !layout.witness().is_dir() {
        return Ok(());
    }
    let mut decoded = Ok(0);
    segments::verify(&layout.witness(), CHAIN, |segment| {
        if decoded.is_ok() {
            decoded = otlp::decode(segment.message, segment.exporter, sink);
        }
    })?;
    decoded.with_context(|| format!("{} holds no spans", layout.witness().display()))?;
    Ok(())
}

/// A message that is still being written is left out.
fn of_files(traces: &Path, sink: &mut impl Sink) -> anyhow::Result<()> {
    for entry in fs::read_dir(traces).with_context(|| format!("{} cannot be listed", traces.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "otlp") {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let mut rest = bytes.as_slice();
        while let Some((length, behind)) = rest.split_first_chunk::<LENGTH>() {
            let length = usize::try_from(u32::from_be_bytes(*length))?;
            let Some((message, behind)) = behind.split_at_checked(length) else { break };
            otlp::decode(message, "", sink).with_context(|| format!("{} holds no spans", path.display()))?;
            rest = behind;
        }
    }
    Ok(())
}

/// The calls of one trace, as their servers saw them.
pub(super) struct OfTrace<'a> {
    intent: &'a Intent,
    trace: [u8; 16],
    calls: Vec<(u64, u64, Step)>,
}

impl<'a> OfTrace<'a> {
    /// Looks for that trace.
    pub(super) const fn new(intent: &'a Intent, trace: [u8; 16]) -> Self {
        Self { intent, trace, calls: Vec::new() }
    }

    /// The trace in time.
    pub(super) fn timeline(mut self, trace_id: String) -> Timeline {
        self.calls.sort_by_key(|(start, ..)| *start);
        let begin = self.calls.first().map_or(0, |(start, ..)| *start);
        let step = |(start, end, step): (u64, u64, Step)| Step {
            start_us: (start - begin) / 1000,
            duration_us: end.saturating_sub(start) / 1000,
            ..step
        };
        Timeline { trace_id, steps: self.calls.into_iter().map(step).collect() }
    }
}

impl Sink for OfTrace<'_> {
    fn span(&mut self, resource: &Resource<'_>, span: &Span<'_>) {
        if span.trace_id != self.trace || span.kind != Kind::Server {
            return;
        }
        let peer = span.attributes.sekat_peer_id;
        let caller = self.intent.by_identity(peer).map_or("app", |workload| &workload.name);
        let domain = self.intent.workload(resource.service).map_or("", |workload| &workload.domain);
        let method = span.name.rsplit_once('.').map_or(span.name, |(_, method)| method);
        let step = Step {
            start_us: 0,
            duration_us: 0,
            caller: caller.to_owned(),
            workload: resource.service.to_owned(),
            domain: domain.to_owned(),
            method: method.to_owned(),
            status: if span.failed { "failed" } else { "OK" }.to_owned(),
        };
        self.calls.push((span.start_ns, span.end_ns, step));
    }

    fn recorded(&mut self, _: &Resource<'_>, _: Recorded) {}
}
