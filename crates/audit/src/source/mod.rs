//! Where spans come from. Each source decodes what it reads and hands span after span to a [`Sink`](crate::Sink);
//! none keeps more than one message.

pub mod access;
pub mod files;
pub mod jaeger;
mod jaeger_v1;
pub mod mesh;
pub mod otlp;
pub mod otlp_json;
pub mod slices;
mod wire;
