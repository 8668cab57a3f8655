//! The payment service over the mesh, as its peers meet it: real sockets and certificates, a connector that keeps the
//! contract and fails as it is told, and crashes.
#![cfg(test)]

mod access;
mod connector;
mod crashes;
mod payments;
mod world;
