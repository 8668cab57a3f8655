//! The payment service: what is to be paid, how far that is, and the ledger of all money.
//!
//! It promises:
//! - a payment has one charge at its provider, however often it is confirmed and whatever crashes meanwhile;
//! - money that a provider reports is booked once, whatever it is for and in whatever order it is reported;
//! - a payment counts as given up only when the provider has proved that no money can come any more, and a name
//!   that was given up can never be opened again;
//! - per currency debits equal credits, no transfer ever changes, and each balance is the sum of its transfers;
//! - a buyer learns of their own payments only, and of others not even that they exist.
//!
//! Reads from the rules outwards: [`intent`] (the states, as tables) and [`ledger`] (the bookings) are pure;
//! [`intents`], [`events`] and `ledger::sql` keep them; one module a verb joins them; [`charge`] and [`worker`] talk
//! to the provider, never a request; [`rpc`] maps the contract.

pub mod booking;
pub mod cancel;
pub mod capture;
pub mod charge;
pub mod config;
pub mod confirm_intent;
pub mod connector;
pub mod create_intent;
pub mod error;
pub mod events;
pub mod ingest_notification;
pub mod intent;
pub mod intents;
pub mod ledger;
pub mod list_methods;
pub mod rpc;
pub mod service;
pub mod watch_events;
pub mod wire;
pub mod worker;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use sekat_api_payment::v1::ledger_service_server::LedgerServiceServer;
use sekat_api_payment::v1::notification_service_server::NotificationServiceServer;
use sekat_api_payment::v1::payment_event_service_server::PaymentEventServiceServer;
use sekat_api_payment::v1::payment_intent_service_server::PaymentIntentServiceServer;
use sekat_mesh::{BoxError, Mesh, Routes, Server};
use sekat_store::{Migration, Store, StoreConfig};

use crate::config::Config;
use crate::connector::Connector;
use crate::service::Payment;

/// The workload's name.
pub const WORKLOAD: &str = "payment";

/// Replies to payment requests are kept for 30 days: longer than any payment lives and than any client retries.
const REQUEST_ID_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Calls at a time: all that two peers' connections carry. Most of them wait, for a provider or the disk, and hold no
/// processor meanwhile; the store's queue sheds what the disk cannot take.
const MAX_IN_FLIGHT: usize = 512;

/// The schema, oldest change first.
pub const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "ledger", sql: include_str!("../migrations/0001_ledger.sql") },
    Migration { version: 2, name: "payment_intents", sql: include_str!("../migrations/0002_payment_intents.sql") },
    Migration { version: 3, name: "payment_events", sql: include_str!("../migrations/0003_payment_events.sql") },
];

/// Opens the store, adds its ledger up, and puts the server together.
///
/// # Errors
/// If the store cannot be opened, the ledger does not add up, or `SEKAT_UPSTREAM_PSP_CONNECTOR` is missing.
pub async fn build(config: Config, mesh: Mesh) -> Result<Server, BoxError> {
    let store = StoreConfig::new(&config.data_dir, WORKLOAD, config.instance.clone(), MIGRATIONS);
    let store = Store::open(store.request_id_retention(REQUEST_ID_RETENTION)).await?;
    let verified = store.read(ledger::verify::verify).await?;
    tracing::info!(transfers = verified.transfers, accounts = verified.accounts, "the ledger adds up");

    let connector = Connector::new(mesh.client(&sekat_api_connector::API)?);
    let payment = Payment::new(store.clone(), connector, config);
    let routes = Routes::new(PaymentIntentServiceServer::new(payment.clone()))
        .add_service(PaymentEventServiceServer::new(payment.clone()))
        .add_service(LedgerServiceServer::new(payment.clone()))
        .add_service(NotificationServiceServer::new(payment.clone()));
    let stopped = store.fatal();
    Ok(mesh
        .server()
        .api(&sekat_api_payment::API, routes)
        .access_log(Arc::new(store))
        .max_in_flight(MAX_IN_FLIGHT)
        .fatal(async move { BoxError::from(stopped.await) })
        .task("charges", worker::run(payment)))
}
