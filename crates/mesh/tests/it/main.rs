//! The stack through its public surface: real sockets, real certificates, one process a workload.
#![cfg(test)]

mod authorize;
mod availability;
mod deadline;
mod edge;
mod harness;
mod http2;
mod limits;
mod process;
mod record;
mod telemetry;
