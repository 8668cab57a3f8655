//! Why evidence could not be written.

use std::io;
use std::path::PathBuf;

/// Why evidence could not be written. That evidence does not hold is no error but a finding of
/// [`verify`](crate::verify).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The folder has something in it.
    #[error("{0} is not empty: evidence is never overwritten, so choose another folder or move this one away")]
    NotEmpty(PathBuf),
    /// A path within a bundle that could lead out of it.
    #[error("{0} is no path within a bundle")]
    BadPath(String),
    /// A file cannot be read or written.
    #[error("{path} cannot be used")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file holds no key.
    #[error("{0} holds no Ed25519 key in PEM")]
    NotAKey(PathBuf),
    /// What is to be signed is no envelope.
    #[error("the signed statement cannot be read")]
    NotAnEnvelope,
    /// A bundle that does not hold together is not signed.
    #[error("{0}: nobody signs a bundle that does not hold together")]
    Unsound(String),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes for a key")]
    NoRandomness,
    /// A value cannot be written as JSON.
    #[error("a result cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The search does not find what was planted on purpose.
    #[error("the search for canaries does not find `{0}` where it was planted: its result would be worth nothing")]
    Blind(String),
}
