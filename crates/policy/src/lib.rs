//! The model: who may say what to whom. Pure values that know no protobuf, no network and no database;
//! adapters convert into them and may fail, these may not.

mod access;
mod api;
mod class;
mod diagnostic;
pub mod intent;

pub use access::{Access, AccessLog, AccessLogError, Recording};
pub use api::{Api, EndUserScope, Listener, MethodKind, MethodPolicy};
pub use class::{ClassSet, DataClass};
pub use diagnostic::{Diagnostic, Severity, Span};
pub use intent::Intent;
