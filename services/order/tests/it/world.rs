//! A small commerce domain: the order service in a runtime of its own, so that it can crash, its peers, and buyers
//! behind an edge. Tests read as what buyers and peers do.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message as _;
use sekat_api_order::v1 as api;
use sekat_api_order::v1::OrderState;
use sekat_api_order::v1::cart_service_client::CartServiceClient;
use sekat_api_order::v1::order_service_client::OrderServiceClient;
use sekat_identity::handoff::{Good, HandoffClaims};
use sekat_mesh::Channel;
use sekat_testkit::{Caller, Killable, Process, Token, eventually, signed_in};
use tonic::{Request, Status};
use uuid::Uuid;

use crate::peers::{Account, Catalog, Funds, Hold, Payment, Script};

const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) const TEA: &str = "products/tea/skus/100g";
pub(crate) const SALT: &str = "products/salt/skus/1kg";
pub(crate) const TEA_PRICE: i64 = 25_000;
pub(crate) const SALT_PRICE: i64 = 4_000;
/// For each seller; tea and salt have one each.
pub(crate) const SHIPPING: i64 = 12_000;
pub(crate) const STOCK: i32 = 1_000;

/// The domain.
pub(crate) struct World {
    mesh: sekat_testkit::World,
    order_ttl: Duration,
    pub(crate) script: Arc<Script>,
    pub(crate) catalog: Catalog,
    pub(crate) payment: Payment,
    pub(crate) account: Account,
    order: Option<Killable>,
    edge: Caller,
    _peers: [Process; 3],
}

/// A person with an account.
#[derive(Clone)]
pub(crate) struct Buyer {
    pub(crate) name: String,
    token: Token,
    carts: CartServiceClient<Channel>,
    orders: OrderServiceClient<Channel>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with_order_ttl(HOUR).await
    }

    /// A world whose orders must be paid within so long.
    pub(crate) async fn with_order_ttl(order_ttl: Duration) -> Self {
        let mesh = sekat_testkit::World::new();
        let script = Arc::new(Script::default());
        let (catalog, payment, account) = (Catalog::new(&script), Payment::new(&script), Account::new(&script));
        catalog.offer(TEA, TEA_PRICE, "daun", STOCK);
        catalog.offer(SALT, SALT_PRICE, "laut", STOCK);
        let peers = [
            mesh.stand_in("catalog", &sekat_api_catalog::API, catalog.routes()).await,
            mesh.stand_in("payment", &sekat_api_payment::API, payment.routes()).await,
            mesh.stand_in("account", &sekat_api_account::API, account.routes()).await,
        ];
        let edge = mesh.caller("commerce-edge").await;
        let mut world = Self { mesh, order_ttl, script, catalog, payment, account, order: None, edge, _peers: peers };
        world.start_order().await;
        world
    }

    /// Starts the order service on the store that it had before.
    pub(crate) async fn start_order(&mut self) {
        let variables = [
            ("SEKAT_OTLP", format!("file:{}", self.mesh.path("spans").display())),
            ("SEKAT_ORDER_TTL", format!("{}ms", self.order_ttl.as_millis())),
        ];
        let order = self.mesh.start_killable("order", &variables, sekat_order::Config::read, sekat_order::build).await;
        self.order = Some(order);
    }

    /// Ends the order service at once, wherever it is; only what is on the disk stays.
    pub(crate) async fn crash_order(&mut self) {
        self.order.take().expect("it runs").kill().await;
    }

    pub(crate) async fn restart_order(&mut self) {
        self.crash_order().await;
        self.start_order().await;
    }

    /// A person who has just signed in.
    pub(crate) fn buyer(&self) -> Buyer {
        let name = format!("accounts/{}", Uuid::new_v4());
        let channel = self.edge.channel(&sekat_api_order::API);
        Buyer {
            token: self.mesh.buyer(&name),
            name,
            carts: CartServiceClient::new(channel.clone()),
            orders: OrderServiceClient::new(channel),
        }
    }

    /// A handoff for some tea, issued `age` ago and valid for `lifetime` from then.
    pub(crate) fn handoff(&self, age: Duration, lifetime: Duration) -> String {
        let iat = seconds(SystemTime::now() - age);
        self.mesh.handoff(&self.handoff_claims(iat, iat + lifetime.as_secs()))
    }

    pub(crate) fn handoff_claims(&self, iat: u64, exp: u64) -> HandoffClaims {
        HandoffClaims {
            jti: Uuid::new_v4().to_string(),
            iat,
            exp,
            showcase: "showcases/teras".to_owned(),
            pin: None,
            campaign: Some("campaigns/lebaran".to_owned()),
            goods: vec![Good { product: "products/tea".to_owned(), sku: TEA.to_owned(), quantity: 2 }],
        }
    }

    /// The spans that the order service has written so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for file in std::fs::read_dir(self.mesh.path("spans")).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let mut rest = bytes.as_slice();
            // Each message has its length before it; the last one may still be being written.
            while let Some((length, tail)) = rest.split_first_chunk::<4>() {
                let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
                let Some((message, tail)) = tail.split_at_checked(length) else { break };
                let traces = TracesData::decode(message).unwrap();
                let scopes = traces.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                spans.extend(scopes.flat_map(|scope| scope.spans));
                rest = tail;
            }
        }
        spans
    }

    /// Nothing is left behind: each payment and each reservation has ended, as many were captured as sold, stock is
    /// where it should be, and nobody broke a rule of the contracts.
    pub(crate) fn assert_settled(&self, paid: usize) {
        let (holds, funds) = (self.catalog.reservations(), self.payment.stand());
        let sold = holds.iter().filter(|hold| **hold == Hold::Sold).count();
        let captured = funds.iter().filter(|funds| **funds == Funds::Captured).count();
        assert!(!holds.contains(&Hold::Held), "a reservation is left: {holds:?}");
        assert!(!funds.contains(&Funds::Open) && !funds.contains(&Funds::Authorized), "a payment is left: {funds:?}");
        assert_eq!((sold, captured), (paid, paid), "{holds:?} {funds:?}");
        assert_eq!(self.script.violations(), Vec::<String>::new());
    }
}

impl Buyer {
    pub(crate) fn address(&self) -> String {
        format!("{}/addresses/rumah", self.name)
    }

    fn sign<T>(&self, message: T) -> Request<T> {
        signed_in(&self.token, message)
    }

    pub(crate) async fn create_cart(&self, handoff: &str, request_id: &str) -> Result<api::Cart, Status> {
        let request = api::CreateCartRequest { handoff: handoff.to_owned(), request_id: request_id.to_owned() };
        Ok(self.carts.clone().create_cart(self.sign(request)).await?.into_inner())
    }

    pub(crate) async fn get_cart(&self, name: &str) -> Result<api::Cart, Status> {
        let request = api::GetCartRequest { name: name.to_owned() };
        Ok(self.carts.clone().get_cart(self.sign(request)).await?.into_inner())
    }

    pub(crate) async fn add(&self, cart: &str, sku: &str, quantity: i32) -> Result<api::Cart, Status> {
        let (cart, sku) = (cart.to_owned(), sku.to_owned());
        let request = api::AddCartLineRequest { cart, sku, quantity, request_id: new_id() };
        Ok(self.carts.clone().add_cart_line(self.sign(request)).await?.into_inner())
    }

    pub(crate) async fn update(&self, request: api::UpdateCartLineRequest) -> Result<api::Cart, Status> {
        Ok(self.carts.clone().update_cart_line(self.sign(request)).await?.into_inner())
    }

    pub(crate) async fn remove(&self, line: &str) -> Result<api::Cart, Status> {
        let request = api::RemoveCartLineRequest { name: line.to_owned(), request_id: new_id() };
        Ok(self.carts.clone().remove_cart_line(self.sign(request)).await?.into_inner())
    }

    /// A cart with two bags of tea.
    pub(crate) async fn cart(&self) -> api::Cart {
        let cart = self.create_cart("", &new_id()).await.unwrap();
        self.add(&cart.name, TEA, 2).await.unwrap()
    }

    pub(crate) async fn quote(&self, cart: &str, address: &str) -> Result<api::OrderQuote, Status> {
        let request = api::QuoteOrderRequest { cart: cart.to_owned(), address: address.to_owned() };
        Ok(self.orders.clone().quote_order(self.sign(request)).await?.into_inner())
    }

    pub(crate) async fn create_order(&self, request: &api::CreateOrderRequest) -> Result<api::Order, Status> {
        Ok(self.orders.clone().create_order(self.sign(request.clone())).await?.into_inner())
    }

    /// Orders, and waits for so long at most.
    pub(crate) async fn create_order_within(
        &self,
        request: &api::CreateOrderRequest,
        time: Duration,
    ) -> Result<api::Order, Status> {
        let mut request = self.sign(request.clone());
        request.set_timeout(time);
        Ok(self.orders.clone().create_order(request).await?.into_inner())
    }

    /// What orders a fresh cart at the price of now.
    pub(crate) async fn ready_to_order(&self) -> api::CreateOrderRequest {
        let cart = self.cart().await;
        let address = self.address();
        let quote = self.quote(&cart.name, &address).await.unwrap();
        api::CreateOrderRequest { cart: cart.name, address, quote_hash: quote.quote_hash, request_id: new_id() }
    }

    /// Orders a fresh cart.
    pub(crate) async fn order(&self) -> api::Order {
        self.create_order(&self.ready_to_order().await).await.unwrap()
    }

    /// Sends an order off and does not wait for what becomes of it.
    pub(crate) async fn order_unattended(&self) -> api::CreateOrderRequest {
        let request = self.ready_to_order().await;
        let (buyer, sent) = (self.clone(), request.clone());
        tokio::spawn(async move { buyer.create_order(&sent).await });
        request
    }

    /// The order of a request, once the call gets through and the checkout is over.
    pub(crate) async fn placed(&self, request: &api::CreateOrderRequest) -> api::Order {
        let mut placed = None;
        eventually("the order is placed", async || {
            placed = self.create_order(request).await.ok();
            placed.is_some()
        })
        .await;
        placed.unwrap()
    }

    pub(crate) async fn get_order(&self, name: &str) -> Result<api::Order, Status> {
        let request = api::GetOrderRequest { name: name.to_owned() };
        Ok(self.orders.clone().get_order(self.sign(request)).await?.into_inner())
    }

    pub(crate) async fn list_orders(
        &self,
        page_size: i32,
        page_token: &str,
    ) -> Result<api::ListOrdersResponse, Status> {
        self.list_orders_of(&self.name, page_size, page_token).await
    }

    pub(crate) async fn list_orders_of(
        &self,
        parent: &str,
        page_size: i32,
        page_token: &str,
    ) -> Result<api::ListOrdersResponse, Status> {
        let (parent, page_token) = (parent.to_owned(), page_token.to_owned());
        let request = api::ListOrdersRequest { parent, page_size, page_token };
        Ok(self.orders.clone().list_orders(self.sign(request)).await?.into_inner())
    }

    pub(crate) async fn cancel(&self, name: &str) -> Result<api::Order, Status> {
        let request = api::CancelOrderRequest { name: name.to_owned(), request_id: new_id() };
        Ok(self.orders.clone().cancel_order(self.sign(request)).await?.into_inner())
    }

    pub(crate) async fn watch(&self, name: &str) -> Result<tonic::Streaming<api::OrderEvent>, Status> {
        let request = api::WatchOrderRequest { name: name.to_owned() };
        Ok(self.orders.clone().watch_order(self.sign(request)).await?.into_inner())
    }

    /// The order, once it is in this state.
    pub(crate) async fn until(&self, name: &str, state: OrderState) -> api::Order {
        self.until_order(name, state.as_str_name(), |order| order.state() == state).await
    }

    /// The order, once it is as it should be.
    pub(crate) async fn until_order(&self, name: &str, what: &str, holds: impl Fn(&api::Order) -> bool) -> api::Order {
        let mut found = None;
        eventually(what, async || {
            found = self.get_order(name).await.ok();
            found.as_ref().is_some_and(&holds)
        })
        .await;
        found.unwrap()
    }
}

pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// The reason of a refusal.
pub(crate) fn reason<T>(refused: Result<T, Status>) -> String {
    match refused {
        Ok(_) => "not refused".to_owned(),
        Err(status) => sekat_mesh::refusal::reason(&status).unwrap_or_else(|| status.to_string()),
    }
}

pub(crate) fn rupiah(units: i64) -> Option<sekat_api_google::r#type::Money> {
    Some(sekat_api_google::r#type::Money { currency_code: "IDR".to_owned(), units, nanos: 0 })
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}
