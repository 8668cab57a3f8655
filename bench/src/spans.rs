//! The mesh's span files: how much was written, and how many spans belong to the traces of a measurement.

use std::fs;
use std::path::Path;

use anyhow::Context;
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;

/// The size of all span files in bytes.
pub(crate) fn bytes(directory: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).with_context(|| format!("{} cannot be read", directory.display()))? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

/// How many spans have a trace id that begins with `prefix`.
pub(crate) fn count(directory: &Path, prefix: [u8; 8]) -> anyhow::Result<u64> {
    let mut spans = 0;
    for entry in fs::read_dir(directory)? {
        let file = fs::read(entry?.path())?;
        let mut rest = file.as_slice();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length))?;
            let (message, tail) = tail.split_at_checked(length).context("a span file ends within a message")?;
            rest = tail;
            let of_resources = TracesData::decode(message)?.resource_spans.into_iter();
            let all = of_resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
            spans += u64::try_from(all.filter(|span| span.trace_id.starts_with(&prefix)).count())?;
        }
    }
    Ok(spans)
}
