//! The keys that sign evidence: Ed25519 (RFC 8032), PKCS#8 and SubjectPublicKeyInfo in PEM (RFC 8410).

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::{EvidenceError, sha256};

/// What stands before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Characters of a line of PEM (RFC 7468, section 2).
const PEM_LINE: usize = 64;

/// A key that signs.
#[derive(Debug)]
pub struct SigningKey(Ed25519KeyPair);

/// A key that checks signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl SigningKey {
    /// Reads the key in `path`.
    ///
    /// # Errors
    /// If the file cannot be read or holds no Ed25519 key.
    pub fn open(path: &Path) -> Result<Self, EvidenceError> {
        let text = fs::read_to_string(path).map_err(|source| EvidenceError::File { path: path.to_owned(), source })?;
        let der = from_pem(&text, "PRIVATE KEY");
        let pair = der.and_then(|der| Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok());
        pair.map(Self).ok_or_else(|| EvidenceError::NotAKey(path.to_owned()))
    }

    /// Reads the key in `path`, or makes one there that only its owner can read.
    ///
    /// # Errors
    /// If the file cannot be read or written, or holds no Ed25519 key.
    pub fn open_or_create(path: &Path) -> Result<Self, EvidenceError> {
        let failed = |source| EvidenceError::File { path: path.to_owned(), source };
        if !path.try_exists().map_err(failed)? {
            let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| EvidenceError::NoRandomness)?;
            if let Some(folder) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
            let written = file.write_all(to_pem(made.as_ref(), "PRIVATE KEY").as_bytes());
            written.and_then(|()| file.sync_all()).map_err(failed)?;
        }
        Self::open(path)
    }

    /// The other half.
    ///
    /// # Errors
    /// Never for a key that was read.
    pub fn public(&self) -> Result<PublicKey, EvidenceError> {
        let bytes = self.0.public_key().as_ref().try_into();
        bytes.map(PublicKey).map_err(|_| EvidenceError::NoRandomness)
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).as_ref().to_vec()
    }
}

impl PublicKey {
    /// Reads a key from a PEM file.
    ///
    /// # Errors
    /// If the file cannot be read or holds no Ed25519 key.
    pub fn open(path: &Path) -> Result<Self, EvidenceError> {
        let text = fs::read_to_string(path).map_err(|source| EvidenceError::File { path: path.to_owned(), source })?;
        Self::from_pem(&text).ok_or_else(|| EvidenceError::NotAKey(path.to_owned()))
    }

    pub(crate) fn from_pem(text: &str) -> Option<Self> {
        let der = from_pem(text, "PUBLIC KEY")?;
        der.strip_prefix(&SPKI)?.try_into().ok().map(Self)
    }

    /// The key in PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        to_pem(&self.spki(), "PUBLIC KEY")
    }

    /// SHA-256 of the SubjectPublicKeyInfo in hexadecimal, for people to compare.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        sha256(&self.spki())
    }

    pub(crate) fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(bytes, signature).is_ok()
    }

    fn spki(&self) -> Vec<u8> {
        [SPKI.as_slice(), &self.0].concat()
    }
}

fn to_pem(der: &[u8], label: &str) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, digit) in STANDARD.encode(der).chars().enumerate() {
        if index > 0 && index % PEM_LINE == 0 {
            text.push('\n');
        }
        text.push(digit);
    }
    format!("{text}\n-----END {label}-----\n")
}

fn from_pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let body = body.strip_suffix(&format!("-----END {label}-----"))?;
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/signing.key");
        let made = SigningKey::open_or_create(&path).unwrap().public().unwrap();
        assert_eq!(SigningKey::open_or_create(&path).unwrap().public().unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(PublicKey::from_pem(&made.to_pem()), Some(made));
        fs::write(&path, "no key").unwrap();
        assert!(matches!(SigningKey::open_or_create(&path), Err(EvidenceError::NotAKey(_))));
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let key = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
        let key = PublicKey(key.try_into().unwrap());
        assert!(key.verifies(&[0x72], &signature));
        assert!(!key.verifies(&[0x73], &signature));
    }
}
