//! Merchants: who sells. Registration, for now.
//!
//! - One account has one business, one NIB is registered once.
//! - Catalog learns of a new business by a durable message: a crash delays it and never loses it.

mod announce;
mod config;
mod create_merchant;
mod error;
mod read_merchant;
mod rpc;

use std::sync::Arc;

use sekat_api_catalog::v1::listing_gate_service_client::ListingGateServiceClient;
use sekat_api_merchant::v1::merchant_service_server::MerchantServiceServer;
use sekat_mesh::{BoxError, Mesh, Routes, Server};
use sekat_store::{Migration, Store, StoreConfig};

pub use config::Config;

const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "merchants", sql: include_str!("schema/0001_merchants.sql") }];

/// Opens the store and hands the service to the mesh.
///
/// # Errors
/// If the store cannot be used or catalog's address is not known.
pub async fn build(config: Config, mesh: Mesh) -> Result<Server, BoxError> {
    let store = Store::open(StoreConfig::new(&config.data_dir, "merchant", config.instance, MIGRATIONS)).await?;
    let gate = ListingGateServiceClient::new(mesh.client(&sekat_api_catalog::API)?);
    let routes = Routes::new(MerchantServiceServer::new(rpc::Merchants(store.clone())));
    let fatal = store.clone();
    Ok(mesh
        .server()
        .api(&sekat_api_merchant::API, routes)
        .access_log(Arc::new(store.clone()))
        .fatal(async move { fatal.fatal().await.into() })
        .task("announcements", announce::work(store, gate)))
}
