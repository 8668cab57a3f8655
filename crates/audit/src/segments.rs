//! Hash-chained segments: what a witness received, with the identity that sent it, so that nobody can change, drop or
//! reorder a batch afterwards without its showing.
//!
//! A folder holds `00000001.segment`, `00000002.segment` and so on. A file is the 16 bytes `sekat-segment-1\n`, the hash
//! with which the file before it ended (32 bytes; for the first, the digest of `sekat.segments.v1` and the folder's
//! name of the chain), and records. A record is its length in four bytes, big-endian, as many bytes of body, and the
//! hash of the chain up to it. A body is the time of arrival in nanoseconds since the Unix epoch (eight bytes,
//! big-endian), the length of the exporter's SPIFFE ID (two bytes, big-endian), that ID, and the
//! `ExportTraceServiceRequest` as it arrived. A record's hash is SHA-256 over these parts, each preceded by its length
//! as eight big-endian bytes: `sekat.segment-record.v1`, the hash before it, its number (eight bytes, big-endian), body.
//!
//! Whether the newest records were cut off only an earlier [`Head`] can tell; the evidence keeps heads for that.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use sekat_policy::Diagnostic;

use crate::audit::Audit;
use crate::chain::digest;
use crate::source::files::{malformed, unreadable};
use crate::source::otlp;

/// The first bytes of a file.
const MAGIC: &[u8; 16] = b"sekat-segment-1\n";
/// Bytes after which the next file begins.
const FILE_BYTES: u64 = 64 << 20;
/// The largest body: a message of a collector's default limit is a sixteenth of it.
const BODY_BYTES: usize = 64 << 20;
/// Bytes of a body before the exporter's identity.
const FIXED_BYTES: usize = 10;

/// Where a chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Records so far.
    pub records: u64,
    /// The hash of the last one, or the hash before the first.
    pub hash: [u8; 32],
}

impl Head {
    /// The head of a chain without records.
    #[must_use]
    pub fn genesis(chain: &str) -> Self {
        Self { records: 0, hash: digest("sekat.segments.v1", &[chain.as_bytes()]) }
    }

    fn next(self, body: &[u8]) -> Self {
        let records = self.records + 1;
        Self { records, hash: digest("sekat.segment-record.v1", &[&self.hash, &records.to_be_bytes(), body]) }
    }
}

/// Where a chain does not hold, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The file.
    pub file: PathBuf,
    /// The first byte of what does not hold.
    pub offset: u64,
    /// The record, counted from 1; 0 for a file's own first bytes.
    pub record: u64,
    /// What is wrong.
    pub why: &'static str,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, record, why } = self;
        write!(f, "{} at byte {offset}, record {record}: {why}", file.display())
    }
}

/// A chain cannot be read to its end.
#[derive(Debug)]
pub enum SegmentError {
    /// It was changed.
    Broken(Broken),
    /// A file cannot be read.
    Io(PathBuf, io::Error),
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => broken.fmt(f),
            Self::Io(path, _) => write!(f, "{} cannot be read", path.display()),
        }
    }
}

impl std::error::Error for SegmentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broken(_) => None,
            Self::Io(_, error) => Some(error),
        }
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// When it arrived, in nanoseconds since the Unix epoch.
    pub at_ns: u64,
    /// The SPIFFE ID of the certificate with which it was sent.
    pub exporter: &'a str,
    /// The `ExportTraceServiceRequest` in protobuf.
    pub message: &'a [u8],
}

/// Appends to a chain. One writer a folder.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    number: u32,
    file: File,
    written: u64,
    head: Head,
}

impl Writer {
    /// Continues the chain in `folder`, or begins it under the name `chain`. What is there is verified first; a record
    /// that a killed writer left incomplete is cut off.
    ///
    /// # Errors
    /// If the chain is broken, or the folder cannot be written.
    pub fn open(folder: &Path, chain: &str) -> Result<Self, SegmentError> {
        let failed = |error| SegmentError::Io(folder.to_owned(), error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let end = walk(folder, chain, &mut |_| {})?;
        let number = end.number.max(1);
        let path = segment(folder, number);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        let mut writer = Self { folder: folder.to_owned(), number, file, written: end.whole, head: end.head };
        writer.file.set_len(end.whole).map_err(failed)?;
        if end.whole == 0 {
            writer.begin().map_err(failed)?;
        }
        Ok(writer)
    }

    /// Appends what `exporter` sent. It is with the operating system when this returns, and on disk after [`sync`].
    ///
    /// [`sync`]: Self::sync
    ///
    /// # Errors
    /// If it cannot be written as a whole; the file then ends where it ended before.
    pub fn append(&mut self, at_ns: u64, exporter: &str, message: &[u8]) -> io::Result<Head> {
        if self.written >= FILE_BYTES {
            self.file.sync_data()?;
            self.number += 1;
            let path = segment(&self.folder, self.number);
            self.file = OpenOptions::new().create_new(true).append(true).open(path)?;
            self.begin()?;
        }
        let exporter_bytes = u16::try_from(exporter.len()).map_err(io::Error::other)?;
        let bytes = FIXED_BYTES + exporter.len() + message.len();
        if bytes > BODY_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a message is too large for a segment"));
        }
        let length = u32::try_from(bytes).map_err(io::Error::other)?;
        let mut record = Vec::with_capacity(4 + bytes + 32);
        record.extend_from_slice(&length.to_be_bytes());
        record.extend_from_slice(&at_ns.to_be_bytes());
        record.extend_from_slice(&exporter_bytes.to_be_bytes());
        record.extend_from_slice(exporter.as_bytes());
        record.extend_from_slice(message);
        let head = self.head.next(record.get(4..).unwrap_or_default());
        record.extend_from_slice(&head.hash);
        if let Err(error) = self.file.write_all(&record) {
            self.file.set_len(self.written)?;
            return Err(error);
        }
        self.written += u64::try_from(record.len()).unwrap_or(u64::MAX);
        self.head = head;
        Ok(head)
    }

    /// Where the chain stands.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Makes everything that was appended durable.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn begin(&mut self) -> io::Result<()> {
        self.file.write_all(&[MAGIC.as_slice(), &self.head.hash].concat())?;
        self.written = HEADER_BYTES;
        Ok(())
    }
}

const HEADER_BYTES: u64 = 48;

fn segment(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.segment"))
}

/// Recomputes every hash, and hands each record over after its own was right. Returns where the chain stands, and
/// whether a killed writer left an incomplete record behind.
///
/// # Errors
/// [`SegmentError::Broken`] names the first place that does not hold.
pub fn verify(folder: &Path, chain: &str, mut take: impl FnMut(Segment<'_>)) -> Result<(Head, bool), SegmentError> {
    let end = walk(folder, chain, &mut take)?;
    Ok((end.head, end.torn))
}

/// Audits all spans of a chain, each bound to the certificate it came with. A broken chain is a violation in itself.
#[must_use]
pub fn read(folder: &Path, chain: &str, audit: &mut Audit<'_>) -> (u64, Vec<Diagnostic>) {
    let (mut spans, mut diagnostics) = (0, Vec::new());
    let verified = verify(folder, chain, |segment| match otlp::decode(segment.message, segment.exporter, audit) {
        Ok(count) => spans += count,
        Err(error) => {
            diagnostics.push(malformed(folder, 0, format!("{error}, from {} at {}", segment.exporter, segment.at_ns)));
        }
    });
    match verified {
        Ok((_, false)) => {}
        Ok((_, true)) => audit.source_ends_early(format!("the last record in {} is incomplete", folder.display())),
        Err(SegmentError::Broken(broken)) => audit.chain_is_broken(broken.to_string()),
        Err(SegmentError::Io(path, error)) => diagnostics.push(unreadable(&path, &error)),
    }
    (spans, diagnostics)
}

/// Where a walk ended.
struct End {
    head: Head,
    /// The last file, 0 if there is none.
    number: u32,
    /// Its bytes that hold.
    whole: u64,
    /// Whether there is an incomplete record behind them.
    torn: bool,
}

fn walk(folder: &Path, chain: &str, take: &mut impl FnMut(Segment<'_>)) -> Result<End, SegmentError> {
    let mut end = End { head: Head::genesis(chain), number: 0, whole: 0, torn: false };
    loop {
        let path = segment(folder, end.number + 1);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(end),
            Err(error) => return Err(SegmentError::Io(path, error)),
        };
        if end.torn {
            let why = "a record is incomplete, and the chain goes on in the next file";
            let (file, record) = (segment(folder, end.number), end.head.records + 1);
            return Err(SegmentError::Broken(Broken { file, offset: end.whole, record, why }));
        }
        end.number += 1;
        (end.whole, end.torn) = file_of(&path, BufReader::with_capacity(1 << 18, file), &mut end.head, take)?;
    }
}

/// Follows the chain through one file; returns how many bytes of it hold, and whether more are there.
fn file_of(
    path: &Path,
    mut reader: BufReader<File>,
    head: &mut Head,
    take: &mut impl FnMut(Segment<'_>),
) -> Result<(u64, bool), SegmentError> {
    let failed = |error| SegmentError::Io(path.to_owned(), error);
    let broken = |offset, record, why| SegmentError::Broken(Broken { file: path.to_owned(), offset, record, why });
    let mut header = Vec::new();
    reader.by_ref().take(HEADER_BYTES).read_to_end(&mut header).map_err(failed)?;
    if header.len() < 48 {
        return Ok((0, true));
    }
    if !header.starts_with(MAGIC) {
        return Err(broken(0, 0, "it is no segment"));
    }
    if !header.ends_with(&head.hash) {
        return Err(broken(16, 0, "it does not follow the file before it, or is of another chain"));
    }
    let (mut offset, mut body) = (HEADER_BYTES, Vec::new());
    loop {
        let record = head.records + 1;
        let mut length = Vec::new();
        reader.by_ref().take(4).read_to_end(&mut length).map_err(failed)?;
        let Ok(length) = <[u8; 4]>::try_from(length.as_slice()) else { return Ok((offset, !length.is_empty())) };
        let bytes = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if !(FIXED_BYTES..=BODY_BYTES).contains(&bytes) {
            return Err(broken(offset, record, "its length was changed"));
        }
        body.clear();
        let wanted = bytes as u64 + 32;
        reader.by_ref().take(wanted).read_to_end(&mut body).map_err(failed)?;
        if (body.len() as u64) < wanted {
            return Ok((offset, true));
        }
        let (content, hash) = body.split_at_checked(bytes).unwrap_or_default();
        let next = head.next(content);
        if next.hash != hash {
            return Err(broken(offset, record, "its content or its hash was changed"));
        }
        let segment = parse(content).ok_or_else(|| broken(offset, record, "its body is malformed"))?;
        *head = next;
        offset += 4 + wanted;
        take(segment);
    }
}

fn parse(content: &[u8]) -> Option<Segment<'_>> {
    let (at, rest) = content.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (exporter, message) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some(Segment { at_ns: u64::from_be_bytes(*at), exporter: std::str::from_utf8(exporter).ok()?, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(records: u64) -> (tempfile::TempDir, Head) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), "witness").unwrap();
        for record in 1..=records {
            writer.append(record, "spiffe://shop.example/order", &record.to_be_bytes()).unwrap();
        }
        writer.sync().unwrap();
        let head = writer.head();
        (folder, head)
    }

    fn records(folder: &Path) -> Result<(Vec<u64>, Head, bool), SegmentError> {
        let mut seen = Vec::new();
        let (head, torn) = verify(folder, "witness", |segment| {
            assert_eq!(segment.exporter, "spiffe://shop.example/order");
            assert_eq!(segment.message, segment.at_ns.to_be_bytes());
            seen.push(segment.at_ns);
        })?;
        Ok((seen, head, torn))
    }

    #[test]
    fn what_is_written_is_read_and_goes_on() {
        let (folder, head) = written(3);
        assert_eq!(records(folder.path()).unwrap(), (vec![1, 2, 3], head, false));
        let mut writer = Writer::open(folder.path(), "witness").unwrap();
        let head = writer.append(4, "spiffe://shop.example/order", &4_u64.to_be_bytes()).unwrap();
        assert_eq!(records(folder.path()).unwrap(), (vec![1, 2, 3, 4], head, false));
        assert_eq!(head.records, 4);
    }

    #[test]
    fn any_flipped_byte_is_found_at_its_record() {
        let (folder, _) = written(3);
        let path = segment(folder.path(), 1);
        let whole = std::fs::read(&path).unwrap();
        let record_bytes = (whole.len() - 48) / 3;
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 0x20;
            std::fs::write(&path, changed).unwrap();
            let record = place.checked_sub(48).map_or(0, |at| at / record_bytes + 1);
            match records(folder.path()) {
                Err(SegmentError::Broken(broken)) => {
                    assert_eq!(broken.record, u64::try_from(record).unwrap(), "byte {place}: {broken}");
                }
                // A length that reaches beyond the end looks like a writer that was killed there.
                Ok((seen, _, true)) => assert_eq!(seen.len() + 1, record, "byte {place}"),
                other => panic!("byte {place}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_torn_record_is_told_and_cut_off() {
        let (folder, _) = written(3);
        let path = segment(folder.path(), 1);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let (seen, head, torn) = records(folder.path()).unwrap();
        assert_eq!((seen, torn), (vec![1, 2], true));
        let mut writer = Writer::open(folder.path(), "witness").unwrap();
        assert_eq!(writer.head(), head);
        writer.append(9, "spiffe://shop.example/order", &9_u64.to_be_bytes()).unwrap();
        let (seen, _, torn) = records(folder.path()).unwrap();
        assert_eq!((seen, torn), (vec![1, 2, 9], false));
    }

    #[test]
    fn a_dropped_or_foreign_file_breaks_the_chain() {
        let (folder, head) = written(3);
        // A second file, as if the first were full.
        let mut writer = Writer::open(folder.path(), "witness").unwrap();
        writer.written = FILE_BYTES;
        writer.append(4, "spiffe://shop.example/order", &4_u64.to_be_bytes()).unwrap();
        assert_eq!(records(folder.path()).unwrap().0, [1, 2, 3, 4]);
        let (other, _) = written(2);
        std::fs::copy(segment(other.path(), 1), segment(folder.path(), 1)).unwrap();
        let Err(SegmentError::Broken(broken)) = records(folder.path()) else { panic!("not broken") };
        assert_eq!((broken.file, broken.offset), (segment(folder.path(), 2), 16));
        // Records that were cut off at the end only an earlier head can tell.
        let (shorter, earlier) = written(2);
        assert_eq!(records(shorter.path()).unwrap().1, earlier);
        assert_ne!(earlier, head);
        assert!(matches!(verify(folder.path(), "another", |_| {}), Err(SegmentError::Broken(_))));
    }
}
