//! OTLP files, one message after another. Three forms are told apart by their first bytes: this mesh's (each message
//! after its length in four bytes, big-endian), JSON with one message a line, and a single message in protobuf.
//!
//! Memory holds one message at a time, whatever a file's size.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use sekat_policy::{Diagnostic, Span as Place};

use super::{otlp, otlp_json};
use crate::audit::Audit;

/// A source that is not what it has to be.
pub const MALFORMED: &str = "SK0690";
/// A source that cannot be read.
pub const UNREADABLE: &str = "SK0691";

/// The largest message: four times what collectors send by default.
pub(crate) const MESSAGE_BYTES: usize = 64 << 20;

/// Reads a file, or all `.otlp`, `.pb`, `.json` and `.jsonl` files of a directory in the order of their names. Returns
/// how many spans there were, and what was wrong; a file that is wrong ends there, others are read all the same.
#[must_use]
pub fn read(path: &Path, audit: &mut Audit<'_>) -> (u64, Vec<Diagnostic>) {
    let (mut spans, mut diagnostics) = (0, Vec::new());
    let files = match files(path) {
        Ok(files) => files,
        Err(error) => {
            diagnostics.push(unreadable(path, &error));
            return (0, diagnostics);
        }
    };
    for file in files {
        match read_file(&file, audit, &mut spans) {
            Ok(found) => diagnostics.extend(found),
            Err(error) => diagnostics.push(unreadable(&file, &error)),
        }
    }
    (spans, diagnostics)
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if file.is_file() && matches!(extension, "otlp" | "pb" | "json" | "jsonl") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path, audit: &mut Audit<'_>, spans: &mut u64) -> io::Result<Option<Diagnostic>> {
    let mut file = File::open(path)?;
    let mut head = [0; 1];
    if file.read(&mut head)? == 0 {
        return Ok(None);
    }
    file.rewind()?;
    let length = file.metadata()?.len();
    let reader = BufReader::with_capacity(1 << 18, file);
    match head {
        // No message is so long that the first byte of its length is a brace, or protobuf's first tag.
        [b'{'] => read_lines(path, reader, audit, spans),
        [0x0a] => read_single(path, reader, length, audit, spans),
        _ => read_framed(path, reader, audit, spans),
    }
}

/// Messages after their lengths. The last message of a process that was killed may be incomplete.
fn read_framed(
    path: &Path,
    mut reader: BufReader<File>,
    audit: &mut Audit<'_>,
    spans: &mut u64,
) -> io::Result<Option<Diagnostic>> {
    let (mut offset, mut message) = (0_u64, Vec::new());
    loop {
        let mut length = [0; 4];
        match fill(&mut reader, &mut length)? {
            0 => return Ok(None),
            4 => {}
            _ => break,
        }
        let bytes = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if bytes > MESSAGE_BYTES {
            return Ok(Some(malformed(path, 0, format!("a message of {bytes} bytes at byte {offset}"))));
        }
        message.resize(bytes, 0);
        if fill(&mut reader, &mut message)? < bytes {
            break;
        }
        match otlp::decode(&message, "", audit) {
            Ok(count) => *spans += count,
            Err(error) => return Ok(Some(malformed(path, 0, format!("{error}, in the message at byte {offset}")))),
        }
        offset += 4 + u64::try_from(bytes).unwrap_or(u64::MAX);
    }
    audit.source_ends_early(format!("{} ends within the message at byte {offset}", path.display()));
    Ok(None)
}

fn read_single(
    path: &Path,
    mut reader: BufReader<File>,
    length: u64,
    audit: &mut Audit<'_>,
    spans: &mut u64,
) -> io::Result<Option<Diagnostic>> {
    if length > MESSAGE_BYTES as u64 {
        return Ok(Some(malformed(path, 0, format!("a message of {length} bytes"))));
    }
    let mut message = Vec::new();
    reader.read_to_end(&mut message)?;
    match otlp::decode(&message, "", audit) {
        Ok(count) => *spans += count,
        Err(error) => return Ok(Some(malformed(path, 0, error.to_string()))),
    }
    Ok(None)
}

fn read_lines(
    path: &Path,
    mut reader: BufReader<File>,
    audit: &mut Audit<'_>,
    spans: &mut u64,
) -> io::Result<Option<Diagnostic>> {
    let mut line = Vec::new();
    for number in 1_u32.. {
        line.clear();
        let limit = u64::try_from(MESSAGE_BYTES).unwrap_or(u64::MAX);
        if reader.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let ended = line.ends_with(b"\n");
        let decoded = match std::str::from_utf8(&line) {
            Ok(text) => otlp_json::decode(text, "", audit).map_err(|error| error.to_string()),
            Err(_) => Err("the line is not UTF-8".to_owned()),
        };
        match decoded {
            Ok(count) => *spans += count,
            // A writer that was killed leaves a line without its end.
            Err(_) if !ended && number > 1 => {
                audit.source_ends_early(format!("{} ends within line {number}", path.display()));
            }
            Err(why) => return Ok(Some(malformed(path, number, why))),
        }
    }
    Ok(None)
}

/// Reads until `to` is full or the file ends; how many bytes that were.
fn fill(reader: &mut impl io::Read, to: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

pub(crate) fn place(path: &Path, line: u32) -> Place {
    Place { file: path.display().to_string(), line, column: 0 }
}

pub(crate) fn malformed(path: &Path, line: u32, why: String) -> Diagnostic {
    Diagnostic::error(MALFORMED, place(path, line), why, "give the file as its writer left it")
}

pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::error(UNREADABLE, place(path, 0), error.to_string(), "give a file that exists and may be read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, What};
    use sekat_policy::Intent;

    /// One span in protobuf, as small as it may be.
    fn message() -> Vec<u8> {
        let span = [[0x0a, 16].as_slice(), &[1; 16], &[0x12, 8], &[2; 8]].concat();
        let nested = |inner: Vec<u8>, tag: u8| [vec![tag, u8::try_from(inner.len()).unwrap()], inner].concat();
        nested(nested(nested(span, 0x12), 0x12), 0x0a)
    }

    fn framed(count: usize) -> Vec<u8> {
        let message = message();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [length.as_slice(), &message].concat().repeat(count)
    }

    const LINE: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"01010101010101010101010101010101","spanId":"0202020202020202"}]}]}]}"#;

    /// What reading a file gives: spans, diagnostics, whether its end was missed.
    fn reading(name: &str, contents: &[u8]) -> (u64, Vec<String>, bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        let intent = Intent::default();
        let mut audit = Audit::new(&intent, Options::default());
        let (spans, diagnostics) = read(folder.path(), &mut audit);
        let report = audit.finish().unwrap();
        let early = report.findings.iter().any(|finding| finding.what == What::BrokenTail);
        (spans, diagnostics.iter().map(|it| format!("{}: {}", it.code, it.message)).collect(), early)
    }

    #[test]
    fn all_forms_are_told_apart() {
        assert_eq!(reading("a.otlp", &framed(3)), (3, vec![], false));
        assert_eq!(reading("a.pb", &message()), (1, vec![], false));
        assert_eq!(reading("a.jsonl", format!("{LINE}\n\n{LINE}\n").as_bytes()), (2, vec![], false));
        assert_eq!(reading("a.json", LINE.as_bytes()), (1, vec![], false));
        assert_eq!(reading("a.otlp", b""), (0, vec![], false));
        assert_eq!(reading("a.txt", b"not read"), (0, vec![], false));
    }

    #[test]
    fn a_missing_end_is_incomplete_and_not_malformed() {
        let whole = framed(3);
        assert_eq!(reading("a.otlp", &whole[..whole.len() - 1]), (2, vec![], true));
        assert_eq!(reading("a.otlp", &whole[..whole.len() - message().len() - 2]), (2, vec![], true));
        assert_eq!(reading("a.jsonl", format!("{LINE}\n{}", &LINE[..50]).as_bytes()), (1, vec![], true));
    }

    #[test]
    fn what_is_malformed_has_its_place() {
        let mut broken = framed(2);
        // The length of the second message's trace id.
        broken[38 + 4 + 6 + 1] = 17;
        let (spans, diagnostics, early) = reading("a.otlp", &broken);
        assert_eq!((spans, early), (1, false));
        assert!(diagnostics[0].contains("SK0690") && diagnostics[0].contains("at byte 38"), "{diagnostics:?}");
        let (_, diagnostics, _) = reading("a.jsonl", format!("{LINE}\n{{}}}}\n").as_bytes());
        assert!(diagnostics[0].starts_with("SK0690"), "{diagnostics:?}");
        let (_, diagnostics, _) = reading("a.otlp", &[0xff; 10]);
        assert!(diagnostics[0].contains("4294967295 bytes"), "{diagnostics:?}");
        let intent = Intent::default();
        let (_, diagnostics) = read(Path::new("/nowhere/x.otlp"), &mut Audit::new(&intent, Options::default()));
        assert_eq!(diagnostics[0].code, UNREADABLE);
    }
}
