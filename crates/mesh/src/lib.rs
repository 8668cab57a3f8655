//! The one server and client stack of all services. A service hands over its handlers and gets mutual TLS with
//! rotation, authorization by contract, deadlines, limits, access records, tracing and an orderly end; it can leave
//! none of them out.
//!
//! INVARIANTS, each held by a test of this crate:
//! - a call reaches its handler only if the contract names its caller, which only a certificate states;
//! - a response with USER or PAYMENT data leaves only after its access record is durable;
//! - every call ends by its deadline, as exactly one count and, if it is sampled, one span.
//!
//! # Environment
//! | variable | meaning |
//! |---|---|
//! | `SEKAT_IDENTITY_DIR` | the SVID, its key and the trust bundles; required |
//! | `SEKAT_MESH_LISTEN`, `SEKAT_FEED_LISTEN`, `SEKAT_PUBLIC_LISTEN`, `SEKAT_HEALTH_LISTEN` | addresses; port 0 lets the system choose |
//! | `SEKAT_UPSTREAM_<WORKLOAD>`, `…_FEED` | `host:port[,host:port]` of each workload that is called |
//! | `SEKAT_TRUST_DIR` | `account-token.pem`, with which end users' tokens are verified |
//! | `SEKAT_WEB_TLS_DIR` | `tls.crt` and `tls.key` of the public listener |
//! | `SEKAT_OTLP` | `http://host:port` or `https://host:port` (OTLP/gRPC), or `file:/directory` |
//! | `SEKAT_OTLP_PEER`, `SEKAT_OTLP_BUNDLE` | with `https`: the receiver's SPIFFE ID, and a file with the roots of its trust domain; it gets this workload's SVID |
//! | `SEKAT_SAMPLE_RATIO` | the share of the traces beginning here that is recorded, 0 to 1; default 1 |
//! | `SEKAT_DATA_DIR` | also takes `<workload>.counters.json`, written every 5 s and at the end; those of earlier runs stay beside it |
//! | `SEKAT_PROFILE` | `dev` or `prod`, the default |
//! | `SEKAT_RECEIVED_FILE` | gets a copy of all headers and messages that come in over gRPC, up to 256 MiB; for proofs |
//! | `SEKAT_READY_FILE` | gets the bound addresses as JSON once the workload serves |
//! | `SEKAT_EXIT_WITH_STDIN` | `true`: drain when standard input ends, because whoever started the workload is gone |
//! | `SEKAT_LOG`, `SEKAT_LOG_FORMAT` | a filter such as `info`; `json` or `human`, the default |

mod authorize;
mod client;
pub mod context;
mod deadline;
mod end_user;
mod env;
mod limits;
mod listen;
mod mesh;
mod origins;
mod received;
mod reflection;
pub mod refusal;
mod reply;
mod routes;
mod run;
mod server;
mod shutdown;
mod stack;
mod telemetry;
mod web;

pub use authorize::{Permit, Visitor, policy_digest};
pub use client::Channel;
pub use env::{Env, EnvError, FromEnv};
pub use limits::MESSAGE_BYTES;
pub use mesh::{ConfigError, Mesh, Settings};
pub use origins::Origins;
pub use routes::Routes;
pub use run::run;
pub use server::Server;
pub use shutdown::ShutdownToken;
pub use telemetry::counters::{CallCount, Direction, RefusedConnections};

/// Any error, with its causes.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
