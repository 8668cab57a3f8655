//! Sellers and buyers, and what they do over the public edges.

use std::time::Duration;

use sekat_api_account::v1 as account;
use sekat_api_account::v1::account_service_client::AccountServiceClient;
use sekat_api_account::v1::address_service_client::AddressServiceClient;
use sekat_api_account::v1::session_service_client::SessionServiceClient;
use sekat_api_catalog::v1 as catalog;
use sekat_api_catalog::v1::listing_service_client::ListingServiceClient;
use sekat_api_google::r#type::Money;
use sekat_api_merchant::v1 as merchant;
use sekat_api_merchant::v1::merchant_service_client::MerchantServiceClient;
use sekat_api_order::v1 as order;
use sekat_api_order::v1::cart_service_client::CartServiceClient;
use sekat_api_order::v1::order_service_client::OrderServiceClient;
use sekat_api_payment::v1 as payment;
use sekat_api_payment::v1::payment_intent_service_client::PaymentIntentServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

pub use sekat_api_account::v1::SessionScope;

use crate::mesh::Mesh;
use crate::wait::eventually;

/// Everybody's password; nobody lives longer than a test.
pub const PASSWORD: &str = "correct-horse-battery";
/// What a client waits for one answer.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// A new id for a write.
#[must_use]
pub fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A request with a deadline and, if there is one, an end user's token.
///
/// # Panics
/// If the token cannot stand in a header.
pub fn request<T>(token: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_LIMIT);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

/// Somebody with an account and a session.
#[derive(Clone, Debug)]
pub struct Person {
    /// `accounts/{account}`.
    pub account: String,
    /// The session with its tokens, fresh from signing in.
    pub session: account::Session,
}

impl Person {
    /// Signs somebody new up and in through commerce-edge.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn sign_up(mesh: &Mesh, scope: SessionScope) -> Self {
        Self::sign_up_over(mesh.public("commerce-edge"), scope).await
    }

    /// The same over a channel of the caller's.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn sign_up_over(commerce: Channel, scope: SessionScope) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let email = format!("{id}@uji.example");
        let creator_handle = if scope == SessionScope::Creator { format!("uji_{}", &id[..16]) } else { String::new() };
        let person = account::Account {
            display_name: "Sari Wulandari".to_owned(),
            email: email.clone(),
            creator_handle,
            ..Default::default()
        };
        let signing_up = account::CreateAccountRequest {
            account: Some(person),
            password: PASSWORD.to_owned(),
            request_id: request_id(),
        };
        let account = AccountServiceClient::new(commerce.clone())
            .create_account(request(None, signing_up))
            .await
            .expect("signing up")
            .into_inner();
        let signing_in = account::CreateSessionRequest {
            email,
            password: PASSWORD.to_owned(),
            scope: scope.into(),
            request_id: request_id(),
        };
        let session = SessionServiceClient::new(commerce)
            .create_session(request(None, signing_in))
            .await
            .expect("signing in")
            .into_inner();
        Self { account: account.name, session }
    }

    /// The token that goes with calls.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.session.access_token
    }
}

/// Something to sell.
#[derive(Clone, Copy, Debug)]
pub struct Goods {
    /// The seller's code, unique in the shop.
    pub code: &'static str,
    /// The price of one piece.
    pub rupiah: i64,
    /// Pieces in stock.
    pub stock: i64,
}

/// A seller with goods in the catalog.
#[derive(Clone, Debug)]
pub struct Shop {
    /// Who sells.
    pub seller: Person,
    /// `products/{product}/skus/{sku}`, in the order of the goods.
    pub skus: Vec<String>,
}

impl Shop {
    /// Opens a new shop: signs a seller up, registers, lists the goods, and waits until they are there.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn open(mesh: &Mesh, goods: &[Goods]) -> Self {
        let commerce = mesh.public("commerce-edge");
        let seller = Person::sign_up_over(commerce.clone(), SessionScope::Seller).await;
        let business = merchant::Merchant {
            display_name: "Toko Uji".to_owned(),
            city: "Sleman".to_owned(),
            legal_name: "CV Toko Uji".to_owned(),
            // The register of businesses gives each number once.
            nib: format!("{:013}", rand::random_range(0..10_u64.pow(13))),
            npwp: "0925412345678901".to_owned(),
            ..Default::default()
        };
        let registration = merchant::CreateMerchantRequest { merchant: Some(business), request_id: request_id() };
        MerchantServiceClient::new(commerce.clone())
            .create_merchant(request(Some(seller.token()), registration))
            .await
            .expect("registering");
        let mut skus = Vec::new();
        for item in goods {
            skus.push(list(&commerce, &seller, item).await);
        }
        Self { seller, skus }
    }
}

/// Lists one item and returns its sku.
async fn list(commerce: &Channel, seller: &Person, item: &Goods) -> String {
    let sku = catalog::ListingSku {
        sku_code: item.code.to_owned(),
        unit: "buah".to_owned(),
        weight_grams: 500,
        price: Some(Money { currency_code: "IDR".to_owned(), units: item.rupiah, nanos: 0 }),
        on_hand: item.stock,
        ..Default::default()
    };
    let listing = catalog::Listing {
        title: format!("Barang uji {}", item.code),
        category: "Uji".to_owned(),
        skus: vec![sku],
        ..Default::default()
    };
    let creation = catalog::CreateListingRequest {
        parent: seller.session.merchant.clone(),
        listing: Some(listing),
        request_id: request_id(),
    };
    let listed = eventually("the catalog knows the new merchant", async || {
        let mut listings = ListingServiceClient::new(commerce.clone());
        match listings.create_listing(request(Some(seller.token()), creation.clone())).await {
            Ok(listing) => Some(listing.into_inner()),
            Err(status) if status.code() == Code::FailedPrecondition => None,
            Err(status) => panic!("listing {} was refused: {status}", item.code),
        }
    })
    .await;
    listed.skus[0].sku.clone()
}

/// Somebody who buys, with an address to ship to. Each step is one call through commerce-edge and returns what the
/// edge does: a refusal is for the test to judge.
#[derive(Clone, Debug)]
pub struct Buyer {
    /// Who buys.
    pub person: Person,
    /// `accounts/{account}/addresses/{address}`.
    pub address: String,
    commerce: Channel,
}

impl Buyer {
    /// Signs a new buyer up and in, and adds an address.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn sign_up(mesh: &Mesh) -> Self {
        let commerce = mesh.public("commerce-edge");
        let person = Person::sign_up_over(commerce.clone(), SessionScope::Buyer).await;
        let address = account::Address {
            receiver_name: "Sari Wulandari".to_owned(),
            phone: "+6281234567890".to_owned(),
            street: "Jl. Kaliurang KM 5 No. 12".to_owned(),
            district: "Depok".to_owned(),
            city: "Sleman".to_owned(),
            province: "DI Yogyakarta".to_owned(),
            postal_code: "55281".to_owned(),
            ..Default::default()
        };
        let creation = account::CreateAddressRequest {
            parent: person.account.clone(),
            address: Some(address),
            request_id: request_id(),
        };
        let address = AddressServiceClient::new(commerce.clone())
            .create_address(request(Some(person.token()), creation))
            .await
            .expect("adding an address")
            .into_inner();
        Self { person, address: address.name, commerce }
    }

    /// A request of this buyer's.
    pub fn request<T>(&self, message: T) -> Request<T> {
        request(Some(self.person.token()), message)
    }

    /// Opens a cart with pieces of skus.
    ///
    /// # Errors
    /// What the edge says.
    pub async fn cart(&self, lines: &[(&str, i32)]) -> Result<order::Cart, Status> {
        let mut carts = CartServiceClient::new(self.commerce.clone());
        let creation = order::CreateCartRequest { request_id: request_id(), ..Default::default() };
        let mut cart = carts.create_cart(self.request(creation)).await?.into_inner();
        for (sku, quantity) in lines {
            let addition = order::AddCartLineRequest {
                cart: cart.name.clone(),
                sku: (*sku).to_owned(),
                quantity: *quantity,
                request_id: request_id(),
            };
            cart = carts.add_cart_line(self.request(addition)).await?.into_inner();
        }
        Ok(cart)
    }

    /// Asks what a cart costs.
    ///
    /// # Errors
    /// What the edge says.
    pub async fn quote(&self, cart: &str) -> Result<order::OrderQuote, Status> {
        let asking = order::QuoteOrderRequest { cart: cart.to_owned(), address: self.address.clone() };
        Ok(OrderServiceClient::new(self.commerce.clone()).quote_order(self.request(asking)).await?.into_inner())
    }

    /// Orders a cart at the price of now.
    ///
    /// # Errors
    /// What the edge says.
    pub async fn order(&self, cart: &str) -> Result<order::Order, Status> {
        let quote = self.quote(cart).await?;
        self.order_as(cart, &quote.quote_hash, &request_id()).await
    }

    /// Orders a cart at a quoted price, under a request id of the caller's.
    ///
    /// # Errors
    /// What the edge says.
    pub async fn order_as(&self, cart: &str, quote_hash: &str, request_id: &str) -> Result<order::Order, Status> {
        let ordering = order::CreateOrderRequest {
            cart: cart.to_owned(),
            address: self.address.clone(),
            quote_hash: quote_hash.to_owned(),
            request_id: request_id.to_owned(),
        };
        Ok(OrderServiceClient::new(self.commerce.clone()).create_order(self.request(ordering)).await?.into_inner())
    }

    /// Chooses a BCA virtual account for an order's payment and returns its number.
    ///
    /// # Errors
    /// What the edge says.
    ///
    /// # Panics
    /// If the answer names no virtual account.
    pub async fn virtual_account(&self, payment_intent: &str) -> Result<String, Status> {
        let method = payment::VirtualAccountMethod { bank: payment::Bank::Bca.into() };
        let confirmation = payment::ConfirmPaymentIntentRequest {
            name: payment_intent.to_owned(),
            method: Some(payment::confirm_payment_intent_request::Method::VirtualAccount(method)),
            request_id: request_id(),
        };
        let mut intents = PaymentIntentServiceClient::new(self.commerce.clone());
        let intent = intents.confirm_payment_intent(self.request(confirmation)).await?.into_inner();
        match intent.next_action.and_then(|next| next.action) {
            Some(payment::next_action::Action::VirtualAccountTransfer(transfer)) => Ok(transfer.account_number),
            other => panic!("{other:?} is no virtual account"),
        }
    }

    /// An order of this buyer's, as it is now.
    ///
    /// # Errors
    /// What the edge says.
    pub async fn look_at(&self, order: &str) -> Result<order::Order, Status> {
        let asking = order::GetOrderRequest { name: order.to_owned() };
        Ok(OrderServiceClient::new(self.commerce.clone()).get_order(self.request(asking)).await?.into_inner())
    }

    /// Waits until an order is in a state. What is asked meanwhile may fail: processes may be down.
    ///
    /// # Panics
    /// If it never is.
    pub async fn wait_for(&self, order: &str, state: order::OrderState) -> order::Order {
        eventually(&format!("{order} is {state:?}"), async || {
            self.look_at(order).await.ok().filter(|now| now.state() == state)
        })
        .await
    }

    /// Buys pieces of skus and pays at the bank: from an empty cart to PAID.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn buy(&self, mesh: &Mesh, lines: &[(&str, i32)]) -> Result<order::Order, Status> {
        let cart = self.cart(lines).await?;
        let placed = self.order(&cart.name).await?;
        let number = self.virtual_account(&placed.payment_intent).await?;
        mesh.bank().pay(&number).await;
        Ok(self.wait_for(&placed.name, order::OrderState::Paid).await)
    }
}
