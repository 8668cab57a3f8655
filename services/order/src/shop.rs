//! What all verbs work with: the store, the peers, and who waits for changes.

use sekat_api_account::v1::account_service_client::AccountServiceClient;
use sekat_api_catalog::v1::inventory_service_client::InventoryServiceClient;
use sekat_api_catalog::v1::pricing_service_client::PricingServiceClient;
use sekat_api_payment::v1::payment_event_service_client::PaymentEventServiceClient;
use sekat_api_payment::v1::payment_intent_service_client::PaymentIntentServiceClient;
use sekat_identity::jws::VerifyingKeys;
use sekat_mesh::{Channel, ConfigError, Mesh, Permit};
use sekat_store::Store;

use crate::changes::Changes;
use crate::config::Config;
use crate::error::Error;

/// What all verbs work with.
pub(crate) struct Shop {
    pub(crate) store: Store,
    pub(crate) config: Config,
    pub(crate) handoff_keys: VerifyingKeys,
    pub(crate) changes: Changes,
    pub(crate) peers: Peers,
}

/// Clients of the peers; a clone of each costs a reference count.
pub(crate) struct Peers {
    pub(crate) accounts: AccountServiceClient<Channel>,
    pub(crate) pricing: PricingServiceClient<Channel>,
    pub(crate) inventory: InventoryServiceClient<Channel>,
    pub(crate) payments: PaymentIntentServiceClient<Channel>,
    pub(crate) payment_events: PaymentEventServiceClient<Channel>,
}

impl Peers {
    pub(crate) fn new(mesh: &Mesh) -> Result<Self, ConfigError> {
        let catalog = mesh.client(&sekat_api_catalog::API)?;
        let payment = mesh.client(&sekat_api_payment::API)?;
        Ok(Self {
            accounts: AccountServiceClient::new(mesh.client(&sekat_api_account::API)?),
            pricing: PricingServiceClient::new(catalog.clone()),
            inventory: InventoryServiceClient::new(catalog),
            payments: PaymentIntentServiceClient::new(payment.clone()),
            payment_events: PaymentEventServiceClient::new(payment),
        })
    }
}

/// The buyer on whose behalf a call runs, `accounts/{account}`.
pub(crate) fn buyer(permit: &Permit) -> Result<&str, Error> {
    permit.buyer().map_err(|status| Error::Caller(Box::new(status)))
}
