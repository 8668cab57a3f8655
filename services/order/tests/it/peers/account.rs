//! Who may order, and where to.

use std::sync::{Arc, Mutex};

use sekat_api_account::v1 as api;
use sekat_api_account::v1::account_service_server::{AccountService, AccountServiceServer};
use sekat_mesh::Routes;
use tonic::{Request, Response, Status};

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
        Routes::new(AccountServiceServer::new(self.clone()))
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
            let (receiver_name, city) = ("Sari".to_owned(), "Bandung".to_owned());
            let address = (!blocked && !request.address.ends_with("/gone")).then(|| api::Address {
                name: request.address,
                receiver_name,
                city,
                ..api::Address::default()
            });
            Ok(api::AccountStanding { name: request.name, standing: standing.into(), address })
        };
        self.script.read("GetAccountStanding", request, standing).await
    }
}
