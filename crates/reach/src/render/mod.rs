//! The answer for people and for programs. Each renderer of rows writes as it goes and keeps none; pictures keep all.

mod dot;
mod graph;
mod svg;
mod text;

pub use dot::dot;
pub use svg::svg;
pub(crate) use text::field;
pub use text::{csv, json, markdown, table};
