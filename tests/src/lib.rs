//! The harness of the acceptance tests: a mesh of real processes, driven through its public surfaces only. A test
//! reads as sentences:
//!
//! ```text
//! let mesh = Mesh::start(Options::empty());
//! let shop = Shop::open(&mesh, &[Goods { code: "KOPI", rupiah: 25_000, stock: 100 }]).await;
//! let buyer = Buyer::sign_up(&mesh).await;
//! let cart = buyer.cart(&[(&shop.skus[0], 2)]).await?;
//! let order = buyer.order(&cart.name).await?;
//! mesh.restart_process("payment").await;
//! let number = buyer.virtual_account(&order.payment_intent).await?;
//! mesh.bank().pay(&number).await;
//! buyer.wait_for(&order.name, OrderState::Paid).await;
//! ```
//!
//! - [`Mesh`]: `sekat up` in a folder of its own, on ports of its own. [`Mesh::shared`] is one seeded mesh for all
//!   tests that break nothing. When a test fails, the ends of all logs are printed.
//! - [`wire`]: calls as any identity, with any certificate, to any listener.
//! - [`netns`]: the network of a process, for whoever has taken it over.
//! - [`relay`]: a man in the middle of a connection.
//! - [`shop`]: sellers, buyers and what they do, over the public edges.
//! - [`records`]: what the processes wrote down: counters, access records, stores.
//! - [`cli`]: the `sekat` program itself. [`golden`]: comparison with reviewed files.
//!
//! Nothing here sleeps for a time: [`eventually`] waits for a condition, within a bound.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and this crate is linked by tests alone"
)]

mod bank;
pub mod cli;
pub mod golden;
mod mesh;
pub mod netns;
mod ports;
pub mod records;
pub mod relay;
pub mod shop;
mod wait;
pub mod wire;

pub use bank::Bank;
pub use mesh::{Mesh, Options, Running, Shared, Step, Story};
pub use ports::free_block;
pub use wait::{PATIENCE, eventually, eventually_blocking};
