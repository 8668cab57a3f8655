//! The account service over the mesh: signing up, sessions and addresses, each allowed use with its denied twin.
#![cfg(test)]

mod accounts;
mod addresses;
mod sessions;

use sekat_api_account::API;
use sekat_api_account::v1::account_service_client::AccountServiceClient;
use sekat_api_account::v1::address_service_client::AddressServiceClient;
use sekat_api_account::v1::session_service_client::SessionServiceClient;
use sekat_api_account::v1::{
    Account, Address, CreateAccountRequest, CreateAddressRequest, CreateSessionRequest, Session, SessionScope,
};
use sekat_mesh::Channel;
use sekat_testkit::{Caller, Process, World, signed_in};
use tonic::Status;

const PASSWORD: &str = "rahasia-sekali";

/// An account service and the edge in front of it.
struct Shop {
    world: World,
    account: Process,
    edge: Caller,
}

impl Shop {
    async fn open() -> Self {
        let world = World::new();
        let account = world.start("account", sekat_account::Config::read, sekat_account::build).await;
        let edge = world.caller("commerce-edge").await;
        Self { world, account, edge }
    }

    fn accounts(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::new(self.edge.channel(&API))
    }

    fn sessions(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.edge.channel(&API))
    }

    fn addresses(&self) -> AddressServiceClient<Channel> {
        AddressServiceClient::new(self.edge.channel(&API))
    }

    async fn sign_up(&self, request: CreateAccountRequest) -> Result<Account, Status> {
        Ok(self.accounts().create_account(request).await?.into_inner())
    }

    async fn sign_in(&self, request: CreateSessionRequest) -> Result<Session, Status> {
        Ok(self.sessions().create_session(request).await?.into_inner())
    }

    /// Somebody with an account who is signed in as a buyer.
    async fn buyer(&self, name: &str) -> Session {
        self.sign_up(sign_up(name)).await.unwrap();
        self.sign_in(sign_in(name, SessionScope::Buyer)).await.unwrap()
    }

    async fn add_address(&self, buyer: &Session, parent: &str, id: usize) -> Result<Address, Status> {
        let request = CreateAddressRequest {
            parent: parent.to_owned(),
            address: Some(address(id)),
            request_id: format!("address-{id}"),
        };
        let request = signed_in(&buyer.access_token, request);
        Ok(self.addresses().create_address(request).await?.into_inner())
    }
}

/// What `name` asks for to sign up.
fn sign_up(name: &str) -> CreateAccountRequest {
    CreateAccountRequest {
        account: Some(Account {
            display_name: name.to_owned(),
            email: format!("{name}@contoh.id"),
            phone: "+6281234567890".to_owned(),
            ..Account::default()
        }),
        password: PASSWORD.to_owned(),
        request_id: format!("sign-up-{name}"),
    }
}

fn sign_in(name: &str, scope: SessionScope) -> CreateSessionRequest {
    CreateSessionRequest {
        email: format!("{name}@contoh.id"),
        password: PASSWORD.to_owned(),
        scope: scope.into(),
        request_id: format!("sign-in-{name}-{}", scope.as_str_name()),
    }
}

fn address(number: usize) -> Address {
    Address {
        receiver_name: "Sari".to_owned(),
        phone: "+6281234567890".to_owned(),
        street: format!("Jalan Melati {number}"),
        district: "Laweyan".to_owned(),
        city: "Surakarta".to_owned(),
        province: "Jawa Tengah".to_owned(),
        postal_code: "57141".to_owned(),
        ..Address::default()
    }
}
