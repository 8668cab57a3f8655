//! Accounts, sessions, addresses. Who signs up or in has no token, and is known by e-mail address and password: a stranger
//! is a test of its own.

use acceptance::shop::{PASSWORD, SessionScope, request, request_id};
use bytes::Bytes;
use prost::Message as _;
use sekat_api_account::v1 as account;
use sekat_api_account::v1::account_service_client::AccountServiceClient;
use sekat_api_account::v1::session_service_client::SessionServiceClient;

use super::{Reply, WHOLE, World, Write, encoded, mask};

/// The session: its tokens are fresh in each reply, as the contract says.
const SESSION: Reply = Reply { part: |reply| Bytes::from(account::Session::decode(reply.clone()).unwrap().name) };

impl World {
    pub(super) async fn accounts(&self) -> Vec<Write> {
        let mut writes = vec![self.sign_up()];
        writes.extend(self.sessions().await);
        writes.extend(self.own_account());
        writes
    }

    /// A write of somebody without a token.
    fn anonymous(
        &self,
        path: &'static str,
        body: Bytes,
        others: Vec<Bytes>,
        effect: (&'static str, &'static str),
    ) -> Write {
        let edge = self.commerce.clone();
        Write { path, edge, token: None, body, others, stranger: None, reply: WHOLE, effect }
    }

    fn sign_up(&self) -> Write {
        let signing_up = account::CreateAccountRequest {
            account: Some(account::Account {
                display_name: "Melati Kusuma".to_owned(),
                email: "melati@uji.example".to_owned(),
                ..Default::default()
            }),
            password: PASSWORD.to_owned(),
            request_id: request_id(),
        };
        let mut renamed = signing_up.clone();
        renamed.account.as_mut().unwrap().display_name = "Mawar Kusuma".to_owned();
        let mut moved = signing_up.clone();
        moved.account.as_mut().unwrap().email = "mawar@uji.example".to_owned();
        self.anonymous(
            "/sekat.account.v1.AccountService/CreateAccount",
            encoded(&signing_up),
            vec![encoded(&renamed), encoded(&moved)],
            ("account", "SELECT COUNT(*) FROM accounts"),
        )
    }

    async fn sessions(&self) -> [Write; 3] {
        let person = &self.app.buyer.person;
        let email = self.email(&person.account, person.token()).await;
        let signing_in = account::CreateSessionRequest {
            email: email.clone(),
            password: PASSWORD.to_owned(),
            scope: SessionScope::Buyer.into(),
            request_id: request_id(),
        };
        let selling = account::CreateSessionRequest { scope: SessionScope::Seller.into(), ..signing_in.clone() };
        let create_session = Write {
            reply: SESSION,
            ..self.anonymous(
                "/sekat.account.v1.SessionService/CreateSession",
                encoded(&signing_in),
                vec![encoded(&selling)],
                ("account", "SELECT COUNT(*) FROM sessions"),
            )
        };

        let refreshed = self.session(&email).await;
        let refreshing =
            account::RefreshSessionRequest { refresh_token: refreshed.refresh_token, request_id: request_id() };
        let refresh_session = Write {
            reply: SESSION,
            ..self.anonymous(
                "/sekat.account.v1.SessionService/RefreshSession",
                encoded(&refreshing),
                // Another token under the same id is another session's business.
                Vec::new(),
                ("account", "SELECT COUNT(*) FROM sessions WHERE refresh_request_id <> ''"),
            )
        };

        let (revoked, kept) = (self.session(&email).await, self.session(&email).await);
        let revoking = account::RevokeSessionRequest { name: revoked.name, request_id: request_id() };
        let revoke_session = self.buyer(
            "/sekat.account.v1.SessionService/RevokeSession",
            &revoking,
            &account::RevokeSessionRequest { name: kept.name, ..revoking.clone() },
            ("account", "SELECT COUNT(*) FROM sessions WHERE revoked = 1"),
        );
        [create_session, refresh_session, revoke_session]
    }

    fn own_account(&self) -> [Write; 2] {
        let person = &self.app.buyer.person;
        let change = |name: &str| account::UpdateAccountRequest {
            account: Some(account::Account {
                name: person.account.clone(),
                display_name: name.to_owned(),
                ..Default::default()
            }),
            update_mask: mask("display_name"),
            request_id: "update-account".to_owned(),
            ..Default::default()
        };
        let update_account = self.buyer(
            "/sekat.account.v1.AccountService/UpdateAccount",
            &change("Sari W."),
            &change("Sari Wulan"),
            ("account", "SELECT SUM(version) FROM accounts"),
        );

        let addition = |street: &str| account::CreateAddressRequest {
            parent: person.account.clone(),
            address: Some(account::Address {
                receiver_name: "Sari".to_owned(),
                phone: "+628111222333".to_owned(),
                street: street.to_owned(),
                city: "Bantul".to_owned(),
                province: "DI Yogyakarta".to_owned(),
                postal_code: "55711".to_owned(),
                ..Default::default()
            }),
            request_id: "create-address".to_owned(),
        };
        let create_address = self.buyer(
            "/sekat.account.v1.AddressService/CreateAddress",
            &addition("Jl. Parangtritis 1"),
            &addition("Jl. Parangtritis 2"),
            ("account", "SELECT COUNT(*) FROM addresses"),
        );
        [update_account, create_address]
    }

    async fn email(&self, name: &str, token: &str) -> String {
        let asking = account::GetAccountRequest { name: name.to_owned() };
        AccountServiceClient::new(self.commerce.clone())
            .get_account(request(Some(token), asking))
            .await
            .expect("one's own account")
            .into_inner()
            .email
    }

    /// A further session of the buyer's.
    async fn session(&self, email: &str) -> account::Session {
        let signing_in = account::CreateSessionRequest {
            email: email.to_owned(),
            password: PASSWORD.to_owned(),
            scope: SessionScope::Buyer.into(),
            request_id: request_id(),
        };
        SessionServiceClient::new(self.commerce.clone())
            .create_session(request(None, signing_in))
            .await
            .expect("signing in")
            .into_inner()
    }
}
