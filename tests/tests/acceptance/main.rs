//! The system as a whole: real processes under `sekat up`, real certificates, public surfaces.
#![cfg(test)]

mod call_graph;
mod canary;
mod command_line;
mod crash;
mod documentation;
mod edges;
mod everybody_tries_everything;
mod idempotency;
mod load;
mod man_in_the_middle;
mod pods;
mod ports;
mod proof;
mod prove;
mod rotation;
mod support;
mod trace;
mod witness;
