//! The catalog: products, prices, stock, and the public feed that the showcase reads.
//!
//! - A reservation holds all of its lines or none, and holds never exceed what is in stock, also not for a moment.
//! - Stock is shown in buckets; a count is for its seller only, and the feed does not let its reader count sales.
//! - Only a merchant that was admitted sells, and only the owner of a listing changes it.

mod batch;
mod config;
mod error;
mod feed;
mod gate;
mod import;
mod listing;
mod names;
mod product;
mod quote;
mod reservation;
mod rpc;
mod rpc_feed;
mod stock;

use std::sync::Arc;

use sekat_api_catalog::v1::inventory_service_server::InventoryServiceServer;
use sekat_api_catalog::v1::listing_gate_service_server::ListingGateServiceServer;
use sekat_api_catalog::v1::listing_service_server::ListingServiceServer;
use sekat_api_catalog::v1::pricing_service_server::PricingServiceServer;
use sekat_api_catalog::v1::product_service_server::ProductServiceServer;
use sekat_api_feed::v1::product_feed_service_server::ProductFeedServiceServer;
use sekat_mesh::{BoxError, Mesh, Routes, Server};
use sekat_store::{Migration, Store, StoreConfig};

pub use config::Config;

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "products", sql: include_str!("schema/0001_products.sql") },
    Migration { version: 2, name: "reservations", sql: include_str!("schema/0002_reservations.sql") },
    Migration { version: 3, name: "feed", sql: include_str!("schema/0003_feed.sql") },
    Migration { version: 4, name: "imports", sql: include_str!("schema/0004_imports.sql") },
];

/// The most bytes of a message: 500 listings of two kilobytes.
const MESSAGE_BYTES: usize = 1 << 20;

/// Opens the store and hands the services to the mesh.
///
/// # Errors
/// If the store cannot be used.
pub async fn build(config: Config, mesh: Mesh) -> Result<Server, BoxError> {
    let store = Store::open(StoreConfig::new(&config.data_dir, "catalog", config.instance, MIGRATIONS)).await?;
    let state = Arc::new(rpc::State { store: store.clone(), feed: feed::News::new(), operator: config.operator });
    let catalog = rpc::Catalog(Arc::clone(&state));
    let routes = Routes::new(ProductServiceServer::new(catalog.clone()))
        .add_service(ListingServiceServer::new(catalog.clone()))
        .add_service(ListingGateServiceServer::new(catalog.clone()))
        .add_service(PricingServiceServer::new(catalog.clone()))
        .add_service(InventoryServiceServer::new(catalog));
    let feed = Routes::new(ProductFeedServiceServer::new(rpc_feed::Feed(Arc::clone(&state))));
    let fatal = store.clone();
    Ok(mesh
        .server()
        .max_message_bytes(MESSAGE_BYTES)
        .api(&sekat_api_catalog::API, routes)
        .api(&sekat_api_feed::API, feed)
        .access_log(Arc::new(store))
        .fatal(async move { fatal.fatal().await.into() })
        .task("imports", import::work(Arc::clone(&state)))
        .task("lapsing reservations", reservation::lapse(state)))
}
