//! The payment connector: the one process that may leave the commerce domain, to one bank, over SNAP BI.
//!
//! - It keeps nothing. A charge is found again from its id alone, so that a crash or a lost reply loses no charge.
//! - A charge id is asked for once: the bank knows a repetition by its `trxId` and its body.
//! - "The bank refused" is said only when the bank itself said so; a timeout, a lost reply or a 5xx is
//!   `PROVIDER_OUTCOME_UNKNOWN`.
//! - Connections go to the configured host and are made only if its certificate is of the configured CA.

pub mod amount;
mod bank;
mod cancel_charge;
mod charge;
mod config;
mod create_charge;
mod error;
mod get_charge;
mod rpc;
mod snap;
#[cfg(test)]
mod tests;
mod verify_notification;

use std::sync::Arc;

use sekat_api_connector::v1::payment_connector_service_server::PaymentConnectorServiceServer;
use sekat_mesh::{BoxError, Mesh, Routes, Server};

pub use bank::BuildError;
pub use config::Config;
pub use snap::KeyError;

/// Reads the keys and hands the service to the mesh.
///
/// # Errors
/// If a key or a certificate cannot be used.
#[expect(clippy::unused_async, reason = "the mesh builds all services alike")]
pub async fn build(config: Config, mesh: Mesh) -> Result<Server, BoxError> {
    let connector = rpc::Connector(Arc::new(bank::Bank::new(&config)?));
    let routes = Routes::new(PaymentConnectorServiceServer::new(connector));
    Ok(mesh
        .server()
        .api(&sekat_api_connector::API, routes)
        .records_at_peers("it keeps nothing; payment, its only caller, records each of its calls"))
}
