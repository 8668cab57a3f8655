//! Who may order, and where to.

use std::sync::{Arc, Mutex};

use sekat_api_account::v1 as api;
use sekat_api_account::v1::account_service_server::{AccountService, AccountServiceServer};
use sekat_api_account::v1::address_service_server::{AddressService, AddressServiceServer};
use sekat_mesh::Routes;
use sekat_mesh::refusal::refuse;
use tonic::{Code, Request, Response, Status};

use super::{Script, lock};

/// The account service.
#[derive(Clone)]
pub(crate) struct Account {
    script: Arc<Script>,
    blocked: Arc<Mutex<Vec<String>>>,
}

impl Account {
    pub(crate) fn new(script: &Arc<Script>) -> Self {
        Self { script: Arc::clone(script), blocked: Arc::default() }
    }

    /// Blocks an account.
    pub(crate) fn block(&self, name: &str) {
        lock(&self.blocked).push(name.to_owned());
    }

    pub(crate) fn routes(&self) -> Routes {
        Routes::new(AccountServiceServer::new(self.clone())).add_service(AddressServiceServer::new(self.clone()))
    }
}

#[tonic::async_trait]
impl AccountService for Account {
    async fn create_account(&self, _: Request<api::CreateAccountRequest>) -> Result<Response<api::Account>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_account(&self, _: Request<api::GetAccountRequest>) -> Result<Response<api::Account>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn update_account(&self, _: Request<api::UpdateAccountRequest>) -> Result<Response<api::Account>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_account_standing(
        &self,
        request: Request<api::GetAccountStandingRequest>,
    ) -> Result<Response<api::AccountStanding>, Status> {
        let standing = |request: api::GetAccountStandingRequest| {
            let blocked = lock(&self.blocked).contains(&request.name);
            let standing = if blocked { api::Standing::Blocked } else { api::Standing::Good };
            Ok(api::AccountStanding { name: request.name, standing: standing.into() })
        };
        self.script.read("GetAccountStanding", request, standing).await
    }
}

#[tonic::async_trait]
impl AddressService for Account {
    async fn create_address(&self, _: Request<api::CreateAddressRequest>) -> Result<Response<api::Address>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_address(&self, request: Request<api::GetAddressRequest>) -> Result<Response<api::Address>, Status> {
        let address = |request: api::GetAddressRequest| {
            if request.name.ends_with("/gone") {
                return Err(refuse(Code::NotFound, "NOT_FOUND", "no such address"));
            }
            let (receiver_name, city) = ("Sari".to_owned(), "Bandung".to_owned());
            Ok(api::Address { name: request.name, receiver_name, city, ..api::Address::default() })
        };
        self.script.read("GetAddress", request, address).await
    }

    async fn list_addresses(
        &self,
        _: Request<api::ListAddressesRequest>,
    ) -> Result<Response<api::ListAddressesResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}
