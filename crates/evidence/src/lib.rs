//! Evidence that an outsider can check again: what each layer of the proof tried and saw, in one signed bundle, and as
//! one report for people who do not program.

mod layer;
mod picture;

pub use crate::layer::{Check, Layer, LayerName, Verdict};
pub use crate::picture::{Domain, Flow, Node, NodeKind, Picture, Step, Timeline};
