//! The report for people who do not program: one file without a request to anywhere, in Indonesian and English.

mod page;
mod picture;
mod quoted;
mod text;

use std::io::{self, Write};

pub use self::quoted::indonesian;

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
    to.write_all(page::page(input).as_bytes())
}

/// Text as it stands in HTML, so that no result of a check becomes markup. Marks that turn the direction of writing are
/// shown as what they are.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => {
                escaped.push_str(&format!("[U+{:04X}]", u32::from(letter)));
            }
            letter if letter.is_control() && letter != '\n' => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
