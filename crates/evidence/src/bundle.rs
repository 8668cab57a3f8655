//! A bundle: a folder of evidence that is written once. The signed statement comes last, so that a bundle that was left
//! half written does not verify.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::dsse::Envelope;
use crate::keys::SigningKey;
use crate::layer::Layer;
use crate::manifest::{self, ATTESTATION, MANIFEST};
use crate::statement::{Facts, Statement};
use crate::{EvidenceError, sha256};

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
        if !path.split('/').all(plain) || [MANIFEST, ATTESTATION].contains(&path) {
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
        let statement = serde_json::to_vec(&Statement::new(facts, layers, sha256(&list)))?;
        let envelope = serde_json::to_vec(&Envelope::seal(&statement, key)?)?;
        let unfinished = format!("{ATTESTATION}.unfinished");
        self.write(&unfinished, &envelope)?;
        let path = self.root.join(ATTESTATION);
        fs::rename(self.root.join(unfinished), &path).map_err(|source| EvidenceError::File { path, source })?;
        Ok(Sealed { digest: sha256(&envelope) })
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

/// Where the checks of a layer are.
pub(crate) fn layer_path(name: &str) -> String {
    format!("layers/{name}.jsonl")
}
