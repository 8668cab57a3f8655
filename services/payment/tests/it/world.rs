//! One payment process and its peers, with certificates and sockets of their own, and what buyers, orders, the bank
//! and operators do, as sentences.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sekat_api_connector::v1::payment_connector_service_server::PaymentConnectorServiceServer;
use sekat_api_google::r#type::Money;
use sekat_api_payment::v1;
use sekat_api_payment::v1::ledger_service_client::LedgerServiceClient;
use sekat_api_payment::v1::notification_service_client::NotificationServiceClient;
use sekat_api_payment::v1::payment_event_service_client::PaymentEventServiceClient;
use sekat_api_payment::v1::payment_intent_service_client::PaymentIntentServiceClient;
use sekat_identity::SpiffeId;
use sekat_identity::ca::{CertificateAuthority, write_identity};
use sekat_identity::end_user::{Audience, EndUserClaims, ISSUER, Scope};
use sekat_identity::jws::SigningKey;
use sekat_mesh::{Channel, Env, Mesh, Routes, Settings};
use sekat_payment::config::Config;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::{Request, Status};

use crate::connector::Connector;

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at a condition.
pub(crate) const POLL: Duration = Duration::from_millis(5);

const BUYER: &str = "accounts/a";

/// Everything that a test needs.
pub(crate) struct World {
    dir: TempDir,
    authority: CertificateAuthority,
    tokens: SigningKey,
    pub(crate) connector: Connector,
    connector_at: SocketAddr,
    payment_at: SocketAddr,
    /// The running process: a runtime of its own, so that it can be killed.
    process: Option<Runtime>,
    /// Of the peers, whose channels stop with them.
    meshes: Vec<Mesh>,
    pub(crate) order: Order,
    pub(crate) edge: PaymentIntentServiceClient<Channel>,
    pub(crate) bank: NotificationServiceClient<Channel>,
    pub(crate) ops: LedgerServiceClient<Channel>,
}

/// The order service's ways into payment.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) intents: PaymentIntentServiceClient<Channel>,
    pub(crate) events: PaymentEventServiceClient<Channel>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::new("commerce.sekat.local").unwrap();
        let tokens = SigningKey::generate().unwrap();
        for name in ["trust", "data"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("trust/account-token.pem"), tokens.public_pem()).unwrap();

        let connector = Connector::default();
        let bank = process(&dir, &authority, "psp-connector", &[("SEKAT_MESH_LISTEN", "127.0.0.1:0".into())]).await;
        let connector_at = bank.addresses()["mesh"];
        let routes = Routes::new(PaymentConnectorServiceServer::new(connector.clone()));
        let server = bank.server().api(&sekat_api_connector::API, routes).records_at_peers("it has no store");
        tokio::spawn(server.serve());

        // The port is free again at once, and payment takes it.
        let payment_at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut meshes = vec![bank];
        let mut channels = Vec::new();
        for workload in ["order", "commerce-edge", "notify-ingress", "ops"] {
            let upstream = ("SEKAT_UPSTREAM_PAYMENT", payment_at.to_string());
            let mesh = process(&dir, &authority, workload, &[upstream]).await;
            channels.push(mesh.client(&sekat_api_payment::API).unwrap());
            meshes.push(mesh);
        }
        let [order, edge, ingress, ops] = channels.try_into().unwrap();
        let mut world = Self {
            dir,
            authority,
            tokens,
            connector,
            connector_at,
            payment_at,
            process: None,
            meshes,
            order: Order {
                intents: PaymentIntentServiceClient::new(order.clone()),
                events: PaymentEventServiceClient::new(order),
            },
            edge: PaymentIntentServiceClient::new(edge),
            bank: NotificationServiceClient::new(ingress),
            ops: LedgerServiceClient::new(ops),
        };
        world.start().await;
        world
    }

    /// Starts the payment process on the store that is there.
    pub(crate) async fn start(&mut self) {
        let identity = issue(&self.dir, &self.authority, "payment");
        let variables = [
            ("SEKAT_IDENTITY_DIR", identity.display().to_string()),
            ("SEKAT_MESH_LISTEN", self.payment_at.to_string()),
            ("SEKAT_PROFILE", "dev".to_owned()),
            ("SEKAT_TRUST_DIR", self.dir.path().join("trust").display().to_string()),
            ("SEKAT_DATA_DIR", self.data_dir().display().to_string()),
            ("SEKAT_UPSTREAM_PSP_CONNECTOR", self.connector_at.to_string()),
        ];
        let mut env = Env::from_vars(variables);
        let (settings, config) = (Settings::read(&mut env), Config::read(&mut env));
        env.finish().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        runtime.spawn(async move {
            // What a killed process held is free as soon as its last task is gone.
            let mut look = tokio::time::interval(POLL);
            let server = loop {
                look.tick().await;
                let Ok(mesh) = Mesh::open("payment", settings.clone()).await else {
                    continue;
                };
                match sekat_payment::build(config.clone(), mesh).await {
                    Ok(server) => break server,
                    Err(error) if error.to_string().contains("held by another") => {}
                    Err(error) => panic!("{error}"),
                }
            };
            ready.send(()).unwrap();
            server.serve().await.unwrap();
        });
        self.process = Some(runtime);
        within(is_ready).await.unwrap();
    }

    /// Ends the payment process as `kill -9` does: in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().shutdown_background();
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A request of the buyer `account`, as an edge forwards it.
    pub(crate) fn of<T>(&self, account: &str, request: T) -> Request<T> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let claims = EndUserClaims {
            iss: ISSUER.to_owned(),
            aud: Audience::CommerceEdge,
            sub: account.to_owned(),
            sid: "sessions/s".to_owned(),
            scope: Scope::Buyer,
            merchant: None,
            exp: now + 600,
            iat: now,
        };
        let mut request = Request::new(request);
        let token = claims.sign(&self.tokens).unwrap();
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        request
    }

    /// The buyer asks for a virtual account.
    pub(crate) async fn confirm(&self, id: &str) -> Result<v1::PaymentIntent, Status> {
        let request = confirmation(id, &fresh());
        Ok(self.edge.clone().confirm_payment_intent(self.of(BUYER, request)).await?.into_inner())
    }

    /// The payment as its buyer sees it.
    pub(crate) async fn seen(&self, id: &str) -> v1::PaymentIntent {
        let request = v1::GetPaymentIntentRequest { name: name(id) };
        within(self.edge.clone().get_payment_intent(self.of(BUYER, request))).await.unwrap().into_inner()
    }

    /// Waits until the buyer sees the payment in `state`.
    pub(crate) async fn reaches(&self, id: &str, state: v1::PaymentIntentState) -> v1::PaymentIntent {
        let mut look = tokio::time::interval(POLL);
        let looking = async {
            loop {
                look.tick().await;
                let seen = self.seen(id).await;
                if seen.state() == state {
                    return seen;
                }
            }
        };
        within(looking).await
    }

    /// The bank reports a payment; `signature` is `genuine` or not.
    pub(crate) async fn notify(&self, body: &str, signature: &str) -> Result<v1::IngestNotificationResponse, Status> {
        let request = v1::IngestNotificationRequest {
            channel: "bca".to_owned(),
            http_method: "POST".to_owned(),
            path: "/notifications/bca".to_owned(),
            headers: vec![v1::NotificationHeader { name: "x-signature".to_owned(), value: signature.to_owned() }],
            body: body.as_bytes().to_vec(),
            request_id: fresh(),
        };
        Ok(self.bank.clone().ingest_notification(request).await?.into_inner())
    }

    /// Posted and pending rupiah of an account: debits, credits, pending debits, pending credits.
    pub(crate) async fn account(&self, id: &str) -> [i64; 4] {
        let request = v1::GetLedgerAccountRequest { name: format!("ledgerAccounts/{id}") };
        let account = self.ops.clone().get_ledger_account(request).await.unwrap().into_inner();
        [account.debits_posted, account.credits_posted, account.debits_pending, account.credits_pending]
            .map(|money| money.unwrap().units)
    }
}

impl Order {
    /// Opens a payment of 25,000 rupiah for the buyer of the tests.
    pub(crate) async fn open(&self, id: &str) -> Result<v1::PaymentIntent, Status> {
        Ok(self.intents.clone().create_payment_intent(opening(id, &fresh())).await?.into_inner())
    }

    pub(crate) async fn capture(&self, id: &str) -> Result<v1::PaymentIntent, Status> {
        let request = v1::CapturePaymentIntentRequest { name: name(id), request_id: fresh() };
        Ok(self.intents.clone().capture_payment_intent(request).await?.into_inner())
    }

    pub(crate) async fn cancel(&self, id: &str, reason: v1::CancelReason) -> Result<v1::PaymentIntent, Status> {
        self.cancel_within(PATIENCE, id, reason).await
    }

    pub(crate) async fn cancel_within(
        &self,
        time: Duration,
        id: &str,
        reason: v1::CancelReason,
    ) -> Result<v1::PaymentIntent, Status> {
        let cancellation =
            v1::CancelPaymentIntentRequest { name: name(id), reason: reason.into(), request_id: fresh() };
        let mut request = Request::new(cancellation);
        request.set_timeout(time);
        Ok(self.intents.clone().cancel_payment_intent(request).await?.into_inner())
    }

    /// The stream of events after `resume_token`.
    pub(crate) async fn watch(&self, resume_token: &str) -> Result<tonic::Streaming<v1::PaymentEvent>, Status> {
        let request = v1::WatchPaymentEventsRequest { resume_token: resume_token.to_owned() };
        Ok(self.events.clone().watch_payment_events(request).await?.into_inner())
    }
}

/// The next event of a stream.
pub(crate) async fn next(events: &mut tonic::Streaming<v1::PaymentEvent>) -> v1::PaymentEvent {
    within(events.message()).await.unwrap().expect("the stream goes on")
}

pub(crate) fn opening(id: &str, request_id: &str) -> v1::CreatePaymentIntentRequest {
    let in_an_hour = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 3_600;
    v1::CreatePaymentIntentRequest {
        payment_intent_id: id.to_owned(),
        order: format!("orders/{id}"),
        buyer: BUYER.to_owned(),
        amount: Some(Money { currency_code: "IDR".to_owned(), units: 25_000, nanos: 0 }),
        expire_time: Some(prost_types::Timestamp { seconds: i64::try_from(in_an_hour).unwrap(), nanos: 0 }),
        request_id: request_id.to_owned(),
    }
}

pub(crate) fn confirmation(id: &str, request_id: &str) -> v1::ConfirmPaymentIntentRequest {
    let method = v1::VirtualAccountMethod { bank: v1::Bank::Bca.into() };
    v1::ConfirmPaymentIntentRequest {
        name: name(id),
        method: Some(v1::confirm_payment_intent_request::Method::VirtualAccount(method)),
        request_id: request_id.to_owned(),
    }
}

pub(crate) fn name(id: &str) -> String {
    format!("paymentIntents/{id}")
}

/// A request id that nobody has used.
pub(crate) fn fresh() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    uuid::Uuid::from_u128(NEXT.fetch_add(1, Ordering::Relaxed).into()).to_string()
}

/// The account number that a buyer is to pay into.
pub(crate) fn account_number(intent: &v1::PaymentIntent) -> Option<String> {
    match intent.next_action.clone()?.action? {
        v1::next_action::Action::VirtualAccountTransfer(transfer) => Some(transfer.account_number),
    }
}

/// The code and the reason of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(reply: Result<T, Status>) -> (tonic::Code, String) {
    let status = reply.unwrap_err();
    (status.code(), sekat_mesh::refusal::reason(&status).unwrap_or_default())
}

pub(crate) async fn within<F: IntoFuture>(work: F) -> F::Output {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

fn issue(dir: &TempDir, authority: &CertificateAuthority, workload: &str) -> PathBuf {
    let id = SpiffeId::parse(&format!("spiffe://commerce.sekat.local/{workload}")).unwrap();
    let at = dir.path().join(workload);
    let svid = authority.issue(&id, Duration::from_secs(3_600)).unwrap();
    write_identity(&at, &svid, authority.bundle_pem(), &[]).unwrap();
    at
}

async fn process(
    dir: &TempDir,
    authority: &CertificateAuthority,
    workload: &'static str,
    variables: &[(&str, String)],
) -> Mesh {
    let identity = issue(dir, authority, workload);
    let usual = [("SEKAT_IDENTITY_DIR", identity.display().to_string()), ("SEKAT_PROFILE", "dev".to_owned())];
    let mut env = Env::from_vars(usual.into_iter().chain(variables.iter().cloned()));
    let settings = Settings::read(&mut env);
    env.finish().unwrap();
    Mesh::open(workload, settings).await.unwrap()
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.shutdown_background();
        }
        self.meshes.iter().for_each(|mesh| mesh.shutdown().cut());
    }
}
