//! The report for people who do not program.

use std::io::{self, Write};

use crate::layer::Layer;
use crate::picture::{Picture, Timeline};
use crate::statement::Facts;

/// What a report tells.
#[derive(Clone, Debug)]
pub struct Input {
    /// The layers.
    pub layers: Vec<Layer>,
    /// Who is there and what flows.
    pub picture: Picture,
    /// One purchase.
    pub timeline: Timeline,
    /// What is stated besides.
    pub facts: Facts,
    /// The fingerprint of the signer's key.
    pub fingerprint: String,
}

/// Writes the report.
///
/// # Errors
/// If `to` cannot be written.
pub fn html(input: &Input, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "{}", input.fingerprint)
}
