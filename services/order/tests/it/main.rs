//! The order service over the mesh, with peers that keep the contracts and fail as they are told.
#![cfg(test)]

mod carts;
mod checkout;
mod endings;
mod faults;
mod handoffs;
mod peers;
mod reading;
mod world;
