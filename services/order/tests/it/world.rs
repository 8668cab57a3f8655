//! A small commerce domain: the order service in a runtime of its own, so that it can crash, its peers, and buyers
//! behind an edge. Tests read as what buyers and peers do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message as _;
use sekat_api_order::v1 as api;
use sekat_api_order::v1::OrderState;
use sekat_api_order::v1::cart_service_client::CartServiceClient;
use sekat_api_order::v1::order_service_client::OrderServiceClient;
use sekat_identity::SpiffeId;
use sekat_identity::ca::{CertificateAuthority, write_identity};
use sekat_identity::end_user::{Audience, EndUserClaims, ISSUER, Scope};
use sekat_identity::handoff::{Good, HandoffClaims};
use sekat_identity::jws::SigningKey;
use sekat_mesh::{Channel, Env, Mesh, Routes, Settings};
use sekat_order::Config;
use sekat_policy::Api;
use tonic::{Request, Status};
use uuid::Uuid;

use crate::peers::{Account, Catalog, Funds, Hold, Payment, Script};

const DOMAIN: &str = "commerce.sekat.local";
const HOUR: Duration = Duration::from_secs(3_600);

/// How long a test waits for what must happen: far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const TEA: &str = "products/tea/skus/100g";
pub(crate) const SALT: &str = "products/salt/skus/1kg";
pub(crate) const TEA_PRICE: i64 = 25_000;
pub(crate) const SALT_PRICE: i64 = 4_000;
/// For each seller; tea and salt have one each.
pub(crate) const SHIPPING: i64 = 12_000;
pub(crate) const STOCK: i32 = 1_000;

/// The domain.
pub(crate) struct World {
    dir: tempfile::TempDir,
    authority: CertificateAuthority,
    account_key: SigningKey,
    handoff_key: SigningKey,
    order_ttl: Duration,
    pub(crate) script: Arc<Script>,
    pub(crate) catalog: Catalog,
    pub(crate) payment: Payment,
    pub(crate) account: Account,
    order: Option<Process>,
    address: String,
    upstreams: Vec<(&'static str, String)>,
    edge: Channel,
    _peers: Vec<Mesh>,
}

/// The order service as a process: its own runtime, all of which is gone at once when it crashes.
struct Process {
    /// Taken when it ends.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Process {
    /// At the end of a test nobody waits for it.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A person with an account.
#[derive(Clone)]
pub(crate) struct Buyer {
    pub(crate) name: String,
    token: String,
    carts: CartServiceClient<Channel>,
    orders: OrderServiceClient<Channel>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with_order_ttl(HOUR).await
    }

    /// A world whose orders must be paid within so long.
    pub(crate) async fn with_order_ttl(order_ttl: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (account_key, handoff_key) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let trust = dir.path().join("trust");
        std::fs::create_dir_all(&trust).unwrap();
        std::fs::create_dir_all(dir.path().join("store")).unwrap();
        std::fs::write(trust.join("account-token.pem"), account_key.public_pem()).unwrap();
        std::fs::write(trust.join("showcase-handoff.pem"), handoff_key.public_pem()).unwrap();
        let authority = CertificateAuthority::new(DOMAIN).unwrap();
        let script = Arc::new(Script::default());
        let (catalog, payment, account) = (Catalog::new(&script), Payment::new(&script), Account::new(&script));
        catalog.offer(TEA, TEA_PRICE, "daun", STOCK);
        catalog.offer(SALT, SALT_PRICE, "laut", STOCK);

        let place = Place { dir: dir.path().to_owned(), authority: &authority };
        let mut peers = Vec::new();
        let mut upstreams = Vec::new();
        for (workload, variable, api, routes) in [
            ("catalog", "SEKAT_UPSTREAM_CATALOG", &sekat_api_catalog::API, catalog.routes()),
            ("payment", "SEKAT_UPSTREAM_PAYMENT", &sekat_api_payment::API, payment.routes()),
            ("account", "SEKAT_UPSTREAM_ACCOUNT", &sekat_api_account::API, account.routes()),
        ] {
            let (mesh, address) = place.peer(workload, api, routes).await;
            upstreams.push((variable, address));
            peers.push(mesh);
        }
        // A port that is free now; the service takes it each time it starts.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let edge = place.mesh("commerce-edge", &[("SEKAT_UPSTREAM_ORDER", address.clone())]).await;
        let channel = edge.client(&sekat_api_order::API).unwrap();
        peers.push(edge);
        let mut world = Self {
            dir,
            authority,
            account_key,
            handoff_key,
            order_ttl,
            script,
            catalog,
            payment,
            account,
            order: None,
            address,
            upstreams,
            edge: channel,
            _peers: peers,
        };
        world.start_order().await;
        world
    }

    /// Starts the order service on the store that it had before.
    pub(crate) async fn start_order(&mut self) {
        let place = Place { dir: self.dir.path().to_owned(), authority: &self.authority };
        let spans = format!("file:{}", self.path("spans"));
        let mut variables = vec![("SEKAT_MESH_LISTEN", self.address.clone()), ("SEKAT_OTLP", spans)];
        variables.extend(self.upstreams.iter().cloned());
        let settings = place.settings("order", &variables);
        let ttl = format!("{}ms", self.order_ttl.as_millis());
        let mut env = Env::from_vars([
            ("SEKAT_DATA_DIR", self.path("store")),
            ("SEKAT_TRUST_DIR", self.path("trust")),
            ("SEKAT_ORDER_TTL", ttl),
        ]);
        let config = Config::read(&mut env);
        env.finish().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let started = runtime.spawn(async move {
            let mesh = Mesh::open("order", settings).await.unwrap();
            let server = sekat_order::build(config, mesh).await.unwrap();
            tokio::spawn(server.serve());
        });
        started.await.unwrap();
        self.order = Some(Process { runtime: Some(runtime) });
    }

    /// Ends the order service at once, wherever it is; only what is on the disk stays.
    pub(crate) async fn crash_order(&mut self) {
        let runtime = self.order.take().and_then(|mut process| process.runtime.take()).expect("it runs");
        tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
    }

    pub(crate) async fn restart_order(&mut self) {
        self.crash_order().await;
        self.start_order().await;
    }

    /// A person who has just signed in.
    pub(crate) fn buyer(&self) -> Buyer {
        let name = format!("accounts/{}", Uuid::new_v4());
        let now = seconds(SystemTime::now());
        let claims = EndUserClaims {
            iss: ISSUER.to_owned(),
            aud: Audience::CommerceEdge,
            sub: name.clone(),
            sid: format!("{name}/sessions/s"),
            scope: Scope::Buyer,
            merchant: None,
            iat: now,
            exp: now + 600,
        };
        Buyer {
            name,
            token: claims.sign(&self.account_key).unwrap(),
            carts: CartServiceClient::new(self.edge.clone()),
            orders: OrderServiceClient::new(self.edge.clone()),
        }
    }

    /// A handoff for some tea, issued `age` ago and valid for `lifetime` from then.
    pub(crate) fn handoff(&self, age: Duration, lifetime: Duration) -> String {
        let iat = seconds(SystemTime::now() - age);
        self.handoff_claims(iat, iat + lifetime.as_secs()).sign(&self.handoff_key).unwrap()
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
        for file in std::fs::read_dir(self.path("spans")).unwrap() {
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

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

/// Where identities are made and processes started.
struct Place<'a> {
    dir: PathBuf,
    authority: &'a CertificateAuthority,
}

impl Place<'_> {
    fn settings(&self, workload: &str, variables: &[(&'static str, String)]) -> Settings {
        let id = SpiffeId::parse(&format!("spiffe://{DOMAIN}/{workload}")).unwrap();
        let identity = self.dir.join(workload);
        write_identity(&identity, &self.authority.issue(&id, HOUR).unwrap(), self.authority.bundle_pem(), &[]).unwrap();
        let usual = [
            ("SEKAT_IDENTITY_DIR", identity.display().to_string()),
            ("SEKAT_TRUST_DIR", self.dir.join("trust").display().to_string()),
            ("SEKAT_PROFILE", "dev".to_owned()),
        ];
        let mut env = Env::from_vars(usual.into_iter().chain(variables.iter().cloned()));
        let settings = Settings::read(&mut env);
        env.finish().unwrap();
        settings
    }

    async fn mesh(&self, workload: &'static str, variables: &[(&'static str, String)]) -> Mesh {
        Mesh::open(workload, self.settings(workload, variables)).await.unwrap()
    }

    async fn peer(&self, workload: &'static str, api: &'static Api, routes: Routes) -> (Mesh, String) {
        let mesh = self.mesh(workload, &[("SEKAT_MESH_LISTEN", "127.0.0.1:0".to_owned())]).await;
        let server = mesh.server().api(api, routes).records_at_peers("a peer of a test");
        tokio::spawn(server.serve());
        let address = mesh.addresses()["mesh"].to_string();
        (mesh, address)
    }
}

impl Buyer {
    pub(crate) fn address(&self) -> String {
        format!("{}/addresses/rumah", self.name)
    }

    fn sign<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        request
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

/// Waits for a condition, within the test's patience.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        while !holds().await {
            look.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"));
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
