//! The showcase: creators' pages that promote products and sell nothing.
//!
//! - Of commerce it knows the product feed, and no other contract is linked: it cannot name a message of payments,
//!   accounts, orders or merchants.
//! - The handoff that it signs names goods, page and campaign, never a person or a device.
//! - Without commerce it goes on drawing pages from its copy of the feed, marked as stale.

mod config;
mod create_handoff;
mod error;
mod follow_feed;
mod pin;
mod rpc;
mod showcase;

use std::sync::Arc;

use sekat_api_feed::v1::product_feed_service_client::ProductFeedServiceClient;
use sekat_api_showcase::v1::handoff_service_server::HandoffServiceServer;
use sekat_api_showcase::v1::pin_service_server::PinServiceServer;
use sekat_api_showcase::v1::showcase_service_server::ShowcaseServiceServer;
use sekat_mesh::{BoxError, Mesh, Routes, Server};
use sekat_store::{Migration, Store, StoreConfig};

pub use config::Config;

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "showcases", sql: include_str!("schema/0001_showcases.sql") },
    Migration { version: 2, name: "feed", sql: include_str!("schema/0002_feed.sql") },
];

/// Opens the store and hands the services to the mesh.
///
/// # Errors
/// If the store or the signing key cannot be used, or catalog's feed address is not known.
pub async fn build(config: Config, mesh: Mesh) -> Result<Server, BoxError> {
    let store = Store::open(StoreConfig::new(&config.data_dir, "showcase", config.instance, MIGRATIONS)).await?;
    let feed = ProductFeedServiceClient::new(mesh.client(&sekat_api_feed::API)?);
    let state = Arc::new(rpc::State {
        store: store.clone(),
        key: Arc::new(sekat_service::signing_key("SEKAT_HANDOFF_KEY_FILE", &config.handoff_key_file)?),
        feed: feed.clone(),
        freshness: follow_feed::Freshness::default(),
        operator: config.operator,
    });
    let showcases = rpc::Showcases(Arc::clone(&state));
    let routes = Routes::new(ShowcaseServiceServer::new(showcases.clone()))
        .add_service(PinServiceServer::new(showcases.clone()))
        .add_service(HandoffServiceServer::new(showcases));
    Ok(mesh
        .server()
        .api(&sekat_api_showcase::API, routes)
        .fatal(async move { store.fatal().await.into() })
        .task("feed", follow_feed::follow(state, feed)))
}
