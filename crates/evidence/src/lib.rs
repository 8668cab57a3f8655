//! Evidence that an outsider can check again: what each layer of the proof tried and saw, in one signed bundle, and as
//! one report for people who do not program.

mod bundle;
pub mod canaries;
mod dsse;
mod error;
mod keys;
mod layer;
mod manifest;
mod picture;
pub mod report;
mod statement;
mod test_result;
pub mod verify;

pub use crate::bundle::{Bundle, Sealed, sign};
pub use crate::dsse::{Envelope, Opened};
pub use crate::error::EvidenceError;
pub use crate::keys::{PublicKey, SigningKey};
pub use crate::layer::{Check, Layer, LayerName, Verdict};
pub use crate::picture::{Domain, Flow, Node, NodeKind, Picture, Step, Timeline};
pub use crate::statement::Facts;

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
