//! Parse, call, map: no rules and no SQL.

use std::sync::Arc;

use sekat_api_account::v1::account_service_server::AccountService;
use sekat_api_account::v1::address_service_server::AddressService;
use sekat_api_account::v1::session_service_server::SessionService;
use sekat_api_account::v1::{self as api};
use sekat_identity::jws::SigningKey;
use sekat_mesh::Permit;
use sekat_store::Store;
use tonic::{Request, Response, Status};

use crate::error::Error;
use crate::password::Hasher;
use crate::refresh_token::RefreshTokens;
use crate::{address, create_account, read_account, session, update_account};

/// What all methods work with.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) key: SigningKey,
    pub(crate) refresh_tokens: RefreshTokens,
    pub(crate) hasher: Hasher,
}

/// The three services of the package.
#[derive(Clone)]
pub(crate) struct Account(pub(crate) Arc<State>);

/// The id of the caller's own account, if that is the one that is named. Anybody else's is answered like one that
/// does not exist.
pub(crate) fn own_account(permit: &Permit, name: &str) -> Result<String, Error> {
    let own = permit.account().map_err(|_| Error::SessionEnded)?;
    let id = read_account::account_id(name).filter(|_| name == own).ok_or(Error::NotFound("account"))?;
    Ok(id.to_owned())
}

#[tonic::async_trait]
impl AccountService for Account {
    async fn create_account(
        &self,
        request: Request<api::CreateAccountRequest>,
    ) -> Result<Response<api::Account>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(create_account::create(&self.0, &permit, request.into_inner()).await?))
    }

    async fn get_account(&self, request: Request<api::GetAccountRequest>) -> Result<Response<api::Account>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(read_account::get(&self.0, &permit, request.into_inner()).await?))
    }

    async fn update_account(
        &self,
        request: Request<api::UpdateAccountRequest>,
    ) -> Result<Response<api::Account>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(update_account::update(&self.0, &permit, request.into_inner()).await?))
    }

    async fn get_account_standing(
        &self,
        request: Request<api::GetAccountStandingRequest>,
    ) -> Result<Response<api::AccountStanding>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(read_account::standing(&self.0, &permit, request.into_inner()).await?))
    }
}

#[tonic::async_trait]
impl SessionService for Account {
    async fn create_session(
        &self,
        request: Request<api::CreateSessionRequest>,
    ) -> Result<Response<api::Session>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(session::create(&self.0, &permit, request.into_inner()).await?))
    }

    async fn refresh_session(
        &self,
        request: Request<api::RefreshSessionRequest>,
    ) -> Result<Response<api::Session>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(session::refresh(&self.0, &permit, request.into_inner()).await?))
    }

    async fn revoke_session(&self, request: Request<api::RevokeSessionRequest>) -> Result<Response<()>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(session::revoke(&self.0, &permit, request.into_inner()).await?))
    }

    async fn verify_session(
        &self,
        request: Request<api::VerifySessionRequest>,
    ) -> Result<Response<api::SessionClaims>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(session::verify(&self.0, &permit).await?))
    }
}

#[tonic::async_trait]
impl AddressService for Account {
    async fn create_address(
        &self,
        request: Request<api::CreateAddressRequest>,
    ) -> Result<Response<api::Address>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(address::create(&self.0, &permit, request.into_inner()).await?))
    }

    async fn get_address(&self, request: Request<api::GetAddressRequest>) -> Result<Response<api::Address>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(address::get(&self.0, &permit, request.into_inner()).await?))
    }

    async fn list_addresses(
        &self,
        request: Request<api::ListAddressesRequest>,
    ) -> Result<Response<api::ListAddressesResponse>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(address::list(&self.0, &permit, request.into_inner()).await?))
    }
}
