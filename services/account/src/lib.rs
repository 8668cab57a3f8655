//! Accounts, sessions and addresses: the one place where personal data of buyers and sellers is kept, and the one
//! issuer of end users' tokens.
//!
//! - A password is stored only as an Argon2id hash, a refresh token only as a digest, and neither store nor backup
//!   suffices to make a token.
//! - A refresh token works once; whoever presents a used one ends the session.
//! - A revoked session is refused from the next check on, and edges check at least twice a second.
//! - Another person's account, session or address is answered like one that does not exist.

mod address;
mod config;
mod create_account;
mod creator_handle;
mod error;
mod password;
mod read_account;
mod refresh_token;
mod rpc;
mod session;
mod update_account;
mod validate;

use std::sync::Arc;

use sekat_api_account::v1::account_service_server::AccountServiceServer;
use sekat_api_account::v1::address_service_server::AddressServiceServer;
use sekat_api_account::v1::session_service_server::SessionServiceServer;
use sekat_mesh::{BoxError, Mesh, Routes, Server};
use sekat_store::{Migration, Store, StoreConfig};

pub use config::Config;

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "accounts", sql: include_str!("schema/0001_accounts.sql") },
    Migration { version: 2, name: "sessions", sql: include_str!("schema/0002_sessions.sql") },
    Migration { version: 3, name: "addresses", sql: include_str!("schema/0003_addresses.sql") },
];

/// Opens the store and hands the services to the mesh.
///
/// # Errors
/// If the store or the signing key cannot be used.
pub async fn build(config: Config, mesh: Mesh) -> Result<Server, BoxError> {
    let store = Store::open(StoreConfig::new(&config.data_dir, "account", config.instance, MIGRATIONS)).await?;
    let key = sekat_service::signing_key("SEKAT_TOKEN_KEY_FILE", &config.token_key_file)?;
    let account = rpc::Account(Arc::new(rpc::State {
        store: store.clone(),
        refresh_tokens: refresh_token::RefreshTokens::new(&key),
        key,
        hasher: password::Hasher::new(),
    }));
    let routes = Routes::new(AccountServiceServer::new(account.clone()))
        .add_service(SessionServiceServer::new(account.clone()))
        .add_service(AddressServiceServer::new(account));
    let fatal = store.clone();
    Ok(mesh
        .server()
        .api(&sekat_api_account::API, routes)
        .access_log(Arc::new(store))
        .fatal(async move { fatal.fatal().await.into() }))
}
