//! A bundle: a folder of evidence that is written once. The signed statement comes last, so that a bundle that was left
//! half written does not verify.

use std::fs::{self, File};
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::dsse::Envelope;
use crate::keys::SigningKey;
use crate::layer::Layer;
use crate::manifest::{self, ATTESTATION, MANIFEST, TEST_RESULT, UNLISTED};
use crate::statement::{Facts, Statement};
use crate::{EvidenceError, sha256, test_result, verify};

/// The public key of the signer, for whoever has no other way to it.
pub(crate) const SIGNER: &str = "signer.pem";

/// A bundle that is being written.
#[derive(Debug)]
pub struct Bundle {
    root: PathBuf,
}

/// A bundle that is finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The SHA-256 of its signed statement in hexadecimal: the next bundle names it.
    pub digest: String,
}

impl Bundle {
    /// Begins a bundle in a folder that does not exist or is empty.
    ///
    /// # Errors
    /// [`EvidenceError::NotEmpty`], or if the folder cannot be made.
    pub fn create(root: &Path) -> Result<Self, EvidenceError> {
        let failed = |source| EvidenceError::File { path: root.to_owned(), source };
        fs::create_dir_all(root).map_err(failed)?;
        if fs::read_dir(root).map_err(failed)?.next().is_some() {
            return Err(EvidenceError::NotEmpty(root.to_owned()));
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Adds a file with these bytes.
    ///
    /// # Errors
    /// If the path leads out of the bundle, or the file cannot be written.
    pub fn add_bytes(&self, path: &str, bytes: &[u8]) -> Result<(), EvidenceError> {
        let plain = |part: &str| {
            let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-+".contains(letter);
            !part.is_empty() && !part.starts_with("..") && part.chars().all(allowed)
        };
        if !path.split('/').all(plain) || UNLISTED.contains(&path) {
            return Err(EvidenceError::BadPath(path.to_owned()));
        }
        self.write(path, bytes)
    }

    /// Adds a copy of a file.
    ///
    /// # Errors
    /// As [`Self::add_bytes`], or if the file cannot be read.
    pub fn add_file(&self, path: &str, from: &Path) -> Result<(), EvidenceError> {
        let bytes = fs::read(from).map_err(|source| EvidenceError::File { path: from.to_owned(), source })?;
        self.add_bytes(path, &bytes)
    }

    /// Writes the layers, the list of all files, and the signed statement.
    ///
    /// # Errors
    /// If something cannot be written.
    pub fn seal(&self, facts: &Facts, layers: &[Layer], key: &SigningKey) -> Result<Sealed, EvidenceError> {
        for layer in layers {
            let mut lines = Vec::new();
            for check in &layer.checks {
                serde_json::to_writer(&mut lines, check)?;
                lines.push(b'\n');
            }
            self.write(&layer_path(layer.name.as_str()), &lines)?;
        }
        self.write(SIGNER, key.public()?.to_pem().as_bytes())?;
        let entries = manifest::list(&self.root)
            .map_err(|(path, source)| EvidenceError::File { path: self.root.join(path), source })?;
        let list = serde_json::to_vec(&entries)?;
        self.write(MANIFEST, &list)?;
        let list = sha256(&list);
        let result = serde_json::to_vec(&test_result::statement(facts, layers, &list))?;
        replace(&self.root.join(TEST_RESULT), &serde_json::to_vec(&Envelope::seal(&result, key)?)?)?;
        let statement = serde_json::to_vec(&Statement::new(facts, layers, list))?;
        replace(&self.root.join(ATTESTATION), &serde_json::to_vec(&Envelope::seal(&statement, key)?)?)?;
        Ok(Sealed { digest: sha256(&statement) })
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), EvidenceError> {
        let path = self.root.join(path);
        let write = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file = File::create_new(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|source| EvidenceError::File { path: path.clone(), source })
    }
}

/// Adds a signature to the statements of a bundle that holds together; false if the key has signed already. Whether the
/// signer can stand behind what it says is for the signer to judge.
///
/// # Errors
/// [`EvidenceError::Unsound`], or if the statements cannot be read or written.
pub fn sign(root: &Path, key: &SigningKey) -> Result<bool, EvidenceError> {
    if let Some(finding) = verify::verify(root, &[], NonZeroUsize::MIN, None).findings.first() {
        return Err(EvidenceError::Unsound(finding.message.clone()));
    }
    let mut added = false;
    // In the order of sealing: a bundle whose second statement has fewer signatures is not verified by more.
    for name in [TEST_RESULT, ATTESTATION] {
        let path = root.join(name);
        let bytes = fs::read(&path).map_err(|source| EvidenceError::File { path: path.clone(), source })?;
        let mut envelope = Envelope::from_json(&bytes)?;
        if envelope.sign(key)? {
            replace(&path, &serde_json::to_vec(&envelope)?)?;
            added = true;
        }
    }
    Ok(added)
}

/// Writes a file as a whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), EvidenceError> {
    let unfinished = path.with_extension("unfinished");
    let write = || {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().map_err(|source| EvidenceError::File { path: path.to_owned(), source })
}

/// Where the checks of a layer are.
pub(crate) fn layer_path(name: &str) -> String {
    format!("layers/{name}.jsonl")
}
