//! Blocks of ports for meshes that run side by side.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports of one mesh, Jaeger's among them.
const BLOCK: u16 = 45;
/// From here on, below what systems hand out for outgoing connections (Linux: 32768 and up).
const FIRST: u16 = 20_000;
/// Blocks in the range.
const BLOCKS: u16 = 240;

/// The first port of a block that is free now. Blocks of one process differ; another program may still be quicker,
/// which `sekat up` then says.
///
/// # Panics
/// If no block is free.
#[must_use]
pub fn free_block() -> u16 {
    // Test programs that run at the same time begin at different places.
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(rand::random_range(0..BLOCKS)));
    (0..BLOCKS)
        .map(|_| FIRST + (next.fetch_add(1, Ordering::Relaxed) % BLOCKS) * BLOCK)
        .find(|base| (*base..*base + BLOCK).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()))
        .expect("a block of free ports between 20000 and 30800")
}
