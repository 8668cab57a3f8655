//! The system as a whole: real processes under `sekat up`, real certificates, public surfaces.
#![cfg(test)]

mod call_graph;
mod crash;
mod edges;
mod everybody_tries_everything;
mod idempotency;
mod load;
mod support;
