//! The list of a bundle's files, which the statement names by its digest.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hex;

/// The name of the list.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The name of the signed statement.
pub(crate) const ATTESTATION: &str = "attestation.dsse.json";
/// The name of the same as a test result, for tools that know no other.
pub(crate) const TEST_RESULT: &str = "test-result.dsse.json";
/// What is no part of the list: the list itself, and what names it.
pub(crate) const UNLISTED: [&str; 3] = [MANIFEST, ATTESTATION, TEST_RESULT];
/// The most files of a bundle.
const FILES: usize = 100_000;
/// The most folders within folders.
const DEPTH: usize = 32;
/// How much of a file is read at a time.
const CHUNK: usize = 1 << 16;

/// A file of a bundle. The fields stand in the order of their names, and paths are ASCII, so that what serde writes is
/// canonical (RFC 8785).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Its path within the bundle, with `/` between folders.
    pub(crate) path: String,
    /// The SHA-256 of its bytes in hexadecimal.
    pub(crate) sha256: String,
    /// How many bytes it has.
    pub(crate) size: u64,
}

/// All files of a folder but the list itself and the statements, in the order of their paths; what is no file is an error
/// with its path.
pub(crate) fn list(root: &Path) -> Result<Vec<Entry>, (String, io::Error)> {
    let mut entries = Vec::new();
    let mut open = vec![(root.to_owned(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = open.pop() {
        let fail = |error| (prefix.clone(), error);
        for entry in fs::read_dir(&folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let fail = |error| (path.clone(), error);
            let kind = entry.file_type().map_err(fail)?;
            if kind.is_dir() {
                if depth == DEPTH {
                    return Err(fail(other("too many folders within folders")));
                }
                open.push((entry.path(), format!("{path}/"), depth + 1));
            } else if !kind.is_file() {
                return Err(fail(other("neither a file nor a folder: evidence holds no links")));
            } else if !UNLISTED.contains(&path.as_str()) {
                let (sha256, size) = digest(&entry.path()).map_err(fail)?;
                entries.push(Entry { path, sha256, size });
            }
            if entries.len() > FILES {
                return Err((prefix.clone(), other("more files than a bundle has")));
            }
        }
    }
    entries.sort();
    Ok(entries)
}

fn other(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}

fn digest(path: &PathBuf) -> io::Result<(String, u64)> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let (mut file, mut size, mut chunk) = (File::open(path)?, 0, vec![0; CHUNK]);
    loop {
        let read = file.read(&mut chunk)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        context.update(bytes);
        size += u64::try_from(read).unwrap_or(u64::MAX);
    }
    Ok((hex(context.finish().as_ref()), size))
}
