//! Looking for values where they must not be, in every common encoding.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::stores::hex;

/// Every pattern begins with so many bytes by which it is found.
const HEAD: usize = 8;

/// A value in one encoding.
#[derive(Clone, Debug)]
struct Pattern {
    /// What the value is; the value itself is never printed.
    what: String,
    encoding: &'static str,
    bytes: Vec<u8>,
}

/// A search for many values at once.
#[derive(Debug, Default)]
pub(crate) struct Search {
    patterns: HashMap<[u8; HEAD], Vec<Pattern>>,
}

impl Search {
    /// Looks for `value`, which is `what`, too.
    ///
    /// # Panics
    /// If it is so short that it would be found by accident.
    pub(crate) fn add(&mut self, what: &str, value: &str) {
        assert!(value.len() >= HEAD, "{what} is too short to be looked for");
        for (encoding, bytes) in encodings(value.as_bytes()) {
            let head = bytes.first_chunk().copied().unwrap_or_else(|| panic!("{what} is too short in {encoding}"));
            let pattern = Pattern { what: what.to_owned(), encoding, bytes };
            self.patterns.entry(head).or_default().push(pattern);
        }
    }

    /// What is found in some bytes: what it is, in which encoding, and where.
    pub(crate) fn hits(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        let mut hits = Vec::new();
        for (offset, window) in bytes.windows(HEAD).enumerate() {
            let head: [u8; HEAD] = window.try_into().unwrap();
            for pattern in self.patterns.get(&head).into_iter().flatten() {
                if bytes[offset..].starts_with(&pattern.bytes) {
                    hits.push(format!("{} ({}) in {place} at {offset}", pattern.what, pattern.encoding));
                }
            }
        }
        hits
    }

    /// What is found in all files below a folder, names of files included.
    pub(crate) fn hits_below(&self, folder: &Path) -> Vec<String> {
        let mut hits = Vec::new();
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let place = path.display().to_string();
            hits.extend(self.hits("a file's name", entry.file_name().as_encoded_bytes()));
            if entry.file_type().unwrap().is_dir() {
                hits.extend(self.hits_below(&path));
            } else {
                hits.extend(self.hits(&place, &fs::read(&path).unwrap()));
            }
        }
        hits
    }
}

/// A value as it is, and in base64, hexadecimal, URL and JSON encoding.
pub(crate) fn encodings(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![
        ("raw", value.to_vec()),
        ("hex", hex(value).into_bytes()),
        ("HEX", hex(value).to_uppercase().into_bytes()),
        ("URL", percent(value, "%20").into_bytes()),
        ("form", percent(value, "+").into_bytes()),
    ];
    // A value can begin at any of three places of a base64 group. What is left when the characters that its
    // neighbours share are cut off is always the same.
    for skipped in 0..3 {
        let padded = [vec![0; skipped], value.to_vec()].concat();
        let (from, to) = ([0, 2, 3][skipped], padded.len() * 8 / 6);
        all.push(("base64", STANDARD_NO_PAD.encode(&padded)[from..to].into()));
        all.push(("base64url", URL_SAFE_NO_PAD.encode(&padded)[from..to].into()));
    }
    all.sort();
    all.dedup_by(|one, other| one.1 == other.1);
    all
}

/// RFC 3986's percent-encoding of everything that is not unreserved.
fn percent(value: &[u8], space: &str) -> String {
    let encoded = |byte: &u8| match byte {
        b' ' => space.to_owned(),
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(*byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.iter().map(encoded).collect()
}

#[test]
fn a_value_is_found_in_each_encoding_wherever_it_stands() {
    let value = "Jl. Mawar/7 +62";
    let mut search = Search::default();
    search.add("a street", value);
    for before in ["", "x", "xy", "xyz", "wxyz"] {
        let text = format!("{before}{value} and more");
        let forms = [
            ("raw", text.clone()),
            ("hex", hex(text.as_bytes())),
            ("HEX", hex(text.as_bytes()).to_uppercase()),
            ("URL", percent(text.as_bytes(), "%20")),
            ("form", percent(text.as_bytes(), "+")),
            ("base64", STANDARD_NO_PAD.encode(&text)),
            ("base64url", URL_SAFE_NO_PAD.encode(&text)),
        ];
        for (encoding, form) in forms {
            assert!(!search.hits("here", form.as_bytes()).is_empty(), "{encoding} after {before:?}");
        }
    }
    assert_eq!(search.hits("here", b"Jl. Mawar/7 -62, Jl. Melati/7 +62"), Vec::<String>::new());
}
