//! Searches for values that must not be somewhere, in every form in which programs write them down. A search first finds
//! what it plants itself; a search that is blind is an error, never a clean result.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

use crate::EvidenceError;

/// Shorter values would be found everywhere by accident.
const SHORTEST: usize = 8;
/// Letters that stand for themselves in a URL (RFC 3986, section 2.3).
const UNRESERVED: &[u8] = b"-._~";

/// A value that must not be somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    label: String,
    value: String,
}

impl Canary {
    /// A value, and what it is called where it is found.
    pub fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self { label: label.into(), value: value.into() }
    }
}

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// What the value is called.
    pub label: String,
    /// In which form it stood there.
    pub encoding: &'static str,
    /// The file.
    pub path: PathBuf,
    /// At which byte it began.
    pub offset: u64,
}

/// A search for a set of values in all their forms.
#[derive(Debug)]
pub struct Search {
    automaton: AhoCorasick,
    forms: Vec<(String, &'static str)>,
}

impl Search {
    /// Prepares a search, and has it find each form of each value in a stream in which it was planted.
    ///
    /// # Errors
    /// [`EvidenceError::Blind`] if it does not, or if a value is too short to mean anything.
    pub fn new(canaries: &[Canary]) -> Result<Self, EvidenceError> {
        let (mut patterns, mut forms) = (Vec::new(), Vec::new());
        for canary in canaries {
            if canary.value.len() < SHORTEST {
                return Err(EvidenceError::Blind(canary.label.clone()));
            }
            for (encoding, form) in encodings(&canary.value) {
                if !patterns.contains(&form) {
                    patterns.push(form);
                    forms.push((canary.label.clone(), encoding));
                }
            }
        }
        let blind = |_| EvidenceError::Blind("all values".to_owned());
        let automaton = AhoCorasick::new(&patterns).map_err(blind)?;
        let search = Self { automaton, forms };
        for (pattern, (label, _)) in patterns.iter().zip(&search.forms) {
            // Behind more than a buffer's worth of other bytes, so that borders of buffers are tried too.
            let stream = io::repeat(b'.').take(65_530).chain(pattern.as_slice());
            let found = search.stream(stream, Path::new("control"));
            if !found.is_ok_and(|hits| !hits.is_empty()) {
                return Err(EvidenceError::Blind(label.clone()));
            }
        }
        Ok(search)
    }

    /// Searches a file, or all files of a folder.
    ///
    /// # Errors
    /// If one cannot be read: what was not looked at is not clean.
    pub fn path(&self, path: &Path) -> Result<Vec<Hit>, EvidenceError> {
        let failed = |source| EvidenceError::File { path: path.to_owned(), source };
        if !path.is_dir() {
            return File::open(path).and_then(|file| self.stream(file, path)).map_err(failed);
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            entries.push(entry.map_err(failed)?.path());
        }
        entries.sort();
        let mut hits = Vec::new();
        for entry in entries {
            hits.extend(self.path(&entry)?);
        }
        Ok(hits)
    }

    fn stream(&self, from: impl Read, path: &Path) -> io::Result<Vec<Hit>> {
        let mut hits = Vec::new();
        for found in self.automaton.stream_find_iter(from) {
            let found = found?;
            if let Some((label, encoding)) = self.forms.get(found.pattern().as_usize()) {
                let offset = u64::try_from(found.start()).unwrap_or(u64::MAX);
                hits.push(Hit { label: label.clone(), encoding, path: path.to_owned(), offset });
            }
        }
        Ok(hits)
    }
}

/// All forms of a value, each with its name.
fn encodings(value: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = value.as_bytes();
    let hex = crate::hex(bytes);
    let percent = |bytes: &[u8]| -> String {
        let letter = |byte: &u8| match byte {
            byte if byte.is_ascii_alphanumeric() || UNRESERVED.contains(byte) => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        bytes.iter().map(letter).collect()
    };
    let json = serde_json::Value::from(value).to_string();
    let escaped = |unit| match u8::try_from(unit) {
        Ok(byte) if byte.is_ascii_graphic() || byte == b' ' => char::from(byte).to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    let ascii_json: String = value.encode_utf16().map(escaped).collect();
    let mut forms = vec![
        ("plain text", bytes.to_vec()),
        ("hexadecimal", hex.to_uppercase().into_bytes()),
        ("hexadecimal", hex.into_bytes()),
        ("URL encoding", percent(bytes).into_bytes()),
        ("URL encoding", percent(bytes).replace("%20", "+").into_bytes()),
        ("JSON", json.trim_matches('"').as_bytes().to_vec()),
        ("JSON", ascii_json.into_bytes()),
        ("UTF-16", value.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("UTF-16", value.encode_utf16().flat_map(u16::to_be_bytes).collect()),
    ];
    for letters in [alphabet::STANDARD, alphabet::URL_SAFE] {
        forms.extend((0..3).map(|before| ("Base64", base64_at(bytes, before, &letters))));
    }
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    if digits.len() >= SHORTEST && value.chars().all(|letter| letter.is_ascii_digit() || "+- ".contains(letter)) {
        forms.push(("digits", digits.clone().into_bytes()));
        for between in [" ", "-"] {
            let groups: Vec<&[u8]> = digits.as_bytes().chunks(4).collect();
            forms.push(("grouped digits", groups.join(between.as_bytes())));
        }
    }
    forms
}

/// The digits of Base64 that follow from `bytes` alone when so many other bytes stand before them.
fn base64_at(bytes: &[u8], before: usize, letters: &alphabet::Alphabet) -> Vec<u8> {
    let padded = [&vec![0; before], bytes].concat();
    let text = GeneralPurpose::new(letters, NO_PAD).encode(&padded);
    // Each digit holds six bits: those that share a digit with a neighbour's bits are not known.
    let first = (before * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    text.as_bytes().get(first..last).unwrap_or_default().to_vec()
}

/// Where the number of a payment card was found. The number itself is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardNumber {
    /// At which byte it began.
    pub offset: u64,
}

/// Payment card numbers in a text file: 13 to 19 digits of a card network's range (ISO/IEC 7812) whose check digit is
/// right, alone or in groups with spaces or dashes between; not within longer words, such as ids.
///
/// # Errors
/// If the file cannot be read.
pub fn card_numbers(path: &Path) -> Result<Vec<CardNumber>, EvidenceError> {
    let text = fs::read(path).map_err(|source| EvidenceError::File { path: path.to_owned(), source })?;
    Ok(cards(&text))
}

fn cards(text: &[u8]) -> Vec<CardNumber> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let inside = at > 0 && text.get(at - 1).is_some_and(|byte| is_of_word(*byte));
        let (digits, length) = if inside { (Vec::new(), 0) } else { run(rest) };
        let ends = !text.get(at + length).is_some_and(|byte| is_of_word(*byte));
        if ends && is_card(&digits) {
            found.push(CardNumber { offset: u64::try_from(at).unwrap_or(u64::MAX) });
        }
        at += length.max(1);
    }
    found
}

/// Digits with at most one space or dash between two, and how many bytes they take.
fn run(text: &[u8]) -> (Vec<u8>, usize) {
    let (mut digits, mut length) = (Vec::new(), 0);
    let mut bytes = text.iter().enumerate().peekable();
    while let Some((index, byte)) = bytes.next() {
        let next_is_digit = bytes.peek().is_some_and(|(_, next)| next.is_ascii_digit());
        match byte {
            byte if byte.is_ascii_digit() => {
                digits.push(byte - b'0');
                length = index + 1;
            }
            b' ' | b'-' if !digits.is_empty() && next_is_digit => {}
            _ => break,
        }
    }
    (digits, length)
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The ranges of networks that issue cards, and Luhn's check digit.
fn is_card(digits: &[u8]) -> bool {
    let number = |count: usize| digits.iter().take(count).fold(0_u32, |sum, digit| sum * 10 + u32::from(*digit));
    let known = matches!(number(1), 4)
        || matches!(number(2), 34 | 36..=39 | 50..=58 | 60 | 62..=65 | 67)
        || matches!(number(4), 2221..=2720 | 3000..=3059 | 3528..=3589);
    let luhn = digits.iter().rev().enumerate().fold(0_u32, |sum, (index, digit)| {
        let doubled = u32::from(*digit) * if index % 2 == 1 { 2 } else { 1 };
        sum + doubled / 10 + doubled % 10
    });
    (13..=19).contains(&digits.len()) && known && luhn % 10 == 0
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    const VALUE: &str = "Jl. Kenari “7”/b1946ac9";

    fn hits(bytes: &[u8]) -> Vec<&'static str> {
        let search = Search::new(&[Canary::new("street", VALUE), Canary::new("phone", "+628110012345")]).unwrap();
        search.stream(bytes, Path::new("x")).unwrap().into_iter().map(|hit| hit.encoding).collect()
    }

    #[test]
    fn a_value_is_found_in_every_form_and_nothing_else_is() {
        for before in ["", "a", "ab", "abc"] {
            let text = format!("{before}{VALUE}!");
            assert_eq!(hits(text.as_bytes()), ["plain text"]);
            assert_eq!(hits(STANDARD.encode(&text).as_bytes()), ["Base64"], "{before}");
            assert_eq!(hits(URL_SAFE_NO_PAD.encode(&text).as_bytes()), ["Base64"], "{before}");
            assert_eq!(hits(crate::hex(text.as_bytes()).as_bytes()), ["hexadecimal"]);
            let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            assert_eq!(hits(&wide), ["UTF-16"]);
        }
        assert_eq!(hits(b"Jl.%20Kenari%20%E2%80%9C7%E2%80%9D%2Fb1946ac9"), ["URL encoding"]);
        assert_eq!(hits(br"Jl. Kenari \u201c7\u201d/b1946ac9"), ["JSON"]);
        assert_eq!(hits(b"6281 1001 2345"), ["grouped digits"]);
        assert_eq!(hits(b"Jl. Kenari 7/b1946ac9 +62811001234"), [""; 0]);
    }

    #[test]
    fn what_is_too_short_to_mean_anything_is_refused() {
        assert!(matches!(Search::new(&[Canary::new("city", "Depok")]), Err(EvidenceError::Blind(_))));
    }

    #[test]
    fn card_numbers_are_told_from_ids_and_times() {
        let count = |text: &str| cards(text.as_bytes()).len();
        for card in ["4111111111111111", "pan=5555 5555 5555 4444,", "\"3782-822463-10005\"", "6011111111111117"] {
            assert_eq!(count(card), 1, "{card}");
        }
        for other in [
            "4111111111111112",
            "a4111111111111111",
            "4111111111111111f0",
            "1795701605682108642",
            "trace 41111111111111110000000000000000",
            "0000000000000000",
        ] {
            assert_eq!(count(other), 0, "{other}");
        }
    }
}
