//! Records sorted into traces in bounded memory: they are spread over parts by a hash of their trace; when the parts
//! are full they go to a temporary file, and each part is read back by itself. A part that is too large is spread again.
//! Nothing is ever given up to make room, so a result does not depend on how much memory there was.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};

use crate::record::Record;

/// Parts of a level.
const PARTS: usize = 64;
/// Bits of the hash that choose a part.
const PART_BITS: u32 = PARTS.trailing_zeros();
/// Levels after which a part is read as a whole: only one trace that is larger than memory comes so far.
const LEVELS: u32 = 8;

/// Where the records of a part are in the file.
type Extents = Vec<(u64, usize)>;

/// Records on their way to their traces.
#[derive(Debug)]
pub(crate) struct Partitions {
    hasher: RandomState,
    level: u32,
    parts: Vec<(Vec<Record>, Extents)>,
    held: usize,
    /// Records that may be in memory.
    limit: usize,
    file: Option<File>,
}

impl Partitions {
    /// `limit` is in records.
    pub(crate) fn new(limit: usize) -> Self {
        Self::level(RandomState::new(), 0, limit.max(PARTS))
    }

    fn level(hasher: RandomState, level: u32, limit: usize) -> Self {
        let parts = (0..PARTS).map(|_| (Vec::new(), Vec::new())).collect();
        Self { hasher, level, parts, held: 0, limit, file: None }
    }

    /// # Errors
    /// If memory is full and the temporary file cannot be written.
    #[inline]
    pub(crate) fn push(&mut self, record: Record) -> io::Result<()> {
        // The hash has a random key: nobody can choose trace ids that all fall into one part.
        let hash = self.hasher.hash_one(record.trace) >> (self.level * PART_BITS);
        let part = usize::try_from(hash % PARTS as u64).unwrap_or_default();
        if let Some((records, _)) = self.parts.get_mut(part) {
            records.push(record);
            self.held += 1;
        }
        if self.held >= self.limit { self.spill() } else { Ok(()) }
    }

    #[cold]
    fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        let mut offset = file.seek(SeekFrom::End(0))?;
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        let mut bytes = Vec::with_capacity(Record::BYTES);
        for (records, extents) in &mut self.parts {
            if records.is_empty() {
                continue;
            }
            extents.push((offset, records.len()));
            for record in records.drain(..) {
                bytes.clear();
                record.encode(&mut bytes);
                writer.write_all(&bytes)?;
                offset += Record::BYTES as u64;
            }
        }
        self.held = 0;
        writer.flush()
    }

    /// Hands over the traces, the records of each in the order of [`Record::key`].
    ///
    /// # Errors
    /// If the temporary file cannot be read.
    pub(crate) fn drain(mut self, take: &mut impl FnMut(&mut Vec<Record>)) -> io::Result<()> {
        let mut trace = Vec::new();
        for (mut records, extents) in std::mem::take(&mut self.parts) {
            let on_disk: usize = extents.iter().map(|(_, count)| count).sum();
            if records.len() + on_disk > self.limit && self.level < LEVELS {
                self.spread(records, &extents)?.drain(take)?;
                continue;
            }
            self.load(&extents, &mut |record| {
                records.push(record);
                Ok(())
            })?;
            records.sort_unstable_by_key(Record::key);
            for record in records {
                if trace.first().is_some_and(|first: &Record| first.trace != record.trace) {
                    take(&mut trace);
                    trace.clear();
                }
                trace.push(record);
            }
            if !trace.is_empty() {
                take(&mut trace);
                trace.clear();
            }
        }
        Ok(())
    }

    /// A part that is too large, spread by further bits of the hash.
    fn spread(&mut self, records: Vec<Record>, extents: &Extents) -> io::Result<Self> {
        let mut wider = Self::level(self.hasher.clone(), self.level + 1, self.limit);
        for record in records {
            wider.push(record)?;
        }
        self.load(extents, &mut |record| wider.push(record))?;
        Ok(wider)
    }

    fn load(&mut self, extents: &Extents, take: &mut impl FnMut(Record) -> io::Result<()>) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut bytes = vec![0; Record::BYTES * 1_024];
        for (offset, count) in extents {
            file.seek(SeekFrom::Start(*offset))?;
            let mut left = *count;
            while left > 0 {
                let now = left.min(1_024);
                let chunk = bytes.get_mut(..now * Record::BYTES).unwrap_or_default();
                file.read_exact(chunk)?;
                for record in chunk.chunks_exact(Record::BYTES) {
                    let broken = || io::Error::new(io::ErrorKind::InvalidData, "the temporary file was changed");
                    take(Record::decode(record).ok_or_else(broken)?)?;
                }
                left -= now;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn traces(limit: usize, pushed: impl Iterator<Item = Record>) -> (bool, Vec<Vec<Record>>) {
        let mut partitions = Partitions::new(limit);
        for record in pushed {
            partitions.push(record).unwrap();
        }
        let spilled = partitions.file.is_some();
        let mut traces = Vec::new();
        partitions.drain(&mut |trace| traces.push(trace.clone())).unwrap();
        traces.sort_by_key(|trace| trace[0].trace);
        (spilled, traces)
    }

    fn records(traces: u128, spans: u64) -> impl Iterator<Item = Record> {
        (0..spans)
            .flat_map(move |span| (0..traces).map(move |trace| Record { trace, span: spans - span, ..Record::EMPTY }))
    }

    #[test]
    fn what_goes_to_disk_comes_back_as_if_it_had_not() {
        let (spilled, in_memory) = traces(1_000_000, records(300, 40));
        assert!(!spilled);
        assert_eq!(in_memory.len(), 300);
        assert!(in_memory.iter().all(|trace| trace.len() == 40 && trace.is_sorted_by_key(Record::key)));
        // 12,000 records through room for 100: parts are spread twice.
        let (spilled, on_disk) = traces(100, records(300, 40));
        assert!(spilled);
        assert_eq!(on_disk, in_memory);
    }

    #[test]
    fn one_trace_that_is_larger_than_memory_stays_one() {
        let (_, traces) = traces(100, records(1, 5_000));
        assert_eq!(traces.len(), 1);
        assert_eq!(traces[0].iter().map(|record| record.span).collect::<BTreeSet<_>>().len(), 5_000);
    }
}
