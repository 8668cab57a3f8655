//! Carts and orders: the checkout.
//!
//! - A cart becomes one order at most, and a handoff one cart at most.
//! - An order is placed at the price that its buyer agreed to, or not at all.
//! - Every order ends paid for goods that are sold, or with nothing held and nothing charged, whatever crashes on the
//!   way; only money that comes too late stays behind, in sight, as unapplied.
//! - Another person's cart or order is answered like one that does not exist.

mod cancel_order;
mod cart;
mod cart_lines;
mod changes;
mod config;
mod create_cart;
mod create_order;
mod error;
mod list_orders;
mod name;
mod order;
mod payment_events;
mod prices;
mod quote;
mod rpc;
mod saga;
mod shop;
mod watch_order;

use std::sync::Arc;

use sekat_api_order::v1::cart_service_server::CartServiceServer;
use sekat_api_order::v1::order_service_server::OrderServiceServer;
use sekat_identity::jws::VerifyingKeys;
use sekat_mesh::{BoxError, Mesh, Routes, Server};
use sekat_store::{Migration, Store, StoreConfig};

pub use config::Config;

use crate::changes::Changes;
use crate::rpc::Counter;
use crate::shop::{Peers, Shop};

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "carts", sql: include_str!("schema/0001_carts.sql") },
    Migration { version: 2, name: "orders", sql: include_str!("schema/0002_orders.sql") },
];

/// The public keys of handoffs, in the trust directory.
const HANDOFF_KEYS: &str = "showcase-handoff.pem";

/// Opens the store, and hands the services and the tasks that drive orders to the mesh.
///
/// # Errors
/// If the store or the keys of handoffs cannot be used, or a peer's address is not set.
pub async fn build(config: Config, mesh: Mesh) -> Result<Server, BoxError> {
    let store = Store::open(StoreConfig::new(&config.data_dir, "order", config.instance.clone(), MIGRATIONS)).await?;
    let handoff_keys = VerifyingKeys::open(&config.trust_dir.join(HANDOFF_KEYS)).await?;
    let peers = Peers::new(&mesh)?;
    let shop = Arc::new(Shop { store: store.clone(), config, handoff_keys, changes: Changes::default(), peers });
    let counter = Counter(Arc::clone(&shop));
    let routes = Routes::new(CartServiceServer::new(counter.clone())).add_service(OrderServiceServer::new(counter));
    let fatal = store.clone();
    Ok(mesh
        .server()
        .api(&sekat_api_order::API, routes)
        .access_log(Arc::new(store))
        .fatal(async move { fatal.fatal().await.into() })
        .task("saga", saga::run(Arc::clone(&shop)))
        .task("payment events", payment_events::run(shop)))
}
