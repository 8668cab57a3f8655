//! The answer for people and for programs. Each renderer writes as it goes and keeps no rows, but for pictures.

mod text;

pub use text::{csv, json, markdown, table};
