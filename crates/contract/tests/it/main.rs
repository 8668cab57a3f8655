//! What users are given to read: the examples, the schema of policy files, and the pages of the diagnostics.
#![cfg(test)]

mod pages;
mod same;
mod schema;

use std::path::{Path, PathBuf};

/// A file or folder of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
