//! A bank on free ports, a partner that speaks SNAP BI to it, and a server of the partner's for notifications.
//! The partner signs with its own few lines, so that the bank is not judged by its own code.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::{digest, hmac, signature};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use sekat_psp_simulator::{Config, Running};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Far above what any condition here needs, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const CLIENT_ID: &str = "sekat-test";
const SECRET: &str = "a secret of the tests, and of nothing else";
const PARTNER_SERVICE_ID: &str = "   12345";

pub(crate) const CREATE: &str = "/openapi/v1.0/transfer-va/create-va";
pub(crate) const STATUS: &str = "/openapi/v1.0/transfer-va/status";
pub(crate) const DELETE: &str = "/openapi/v1.0/transfer-va/delete-va";

pub(crate) struct World {
    /// None only while it restarts.
    bank: Option<Running>,
    /// The bank's port and its control port.
    addresses: [SocketAddr; 2],
    pub(crate) partner: PartnerServer,
    config: Config,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    key: KeyPair,
    next_external_id: AtomicU64,
    directory: tempfile::TempDir,
}

/// A transaction before it is sent, so that a test can spoil it.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) token: String,
    pub(crate) timestamp: String,
    pub(crate) body: String,
    /// The body that the signature covers, if it is not the one that is sent.
    pub(crate) signed_body: Option<String>,
    pub(crate) secret: String,
    pub(crate) partner_id: String,
    pub(crate) external_id: String,
}

/// A status and the JSON that came with it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) json: Value,
}

impl Reply {
    pub(crate) fn code(&self) -> &str {
        self.json["responseCode"].as_str().unwrap_or_default()
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let tls = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(path("tls.pem"), tls.cert.pem()).unwrap();
        std::fs::write(path("tls.key"), tls.signing_key.serialize_pem()).unwrap();
        std::fs::write(path("secret"), format!("{SECRET}\n")).unwrap();
        let partner = PartnerServer::start(&path("tls.pem"), &path("tls.key")).await;
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/keys");
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            control_listen: "127.0.0.1:0".parse().unwrap(),
            tls_cert: path("tls.pem"),
            tls_key: path("tls.key"),
            client_id: CLIENT_ID.to_owned(),
            partner_service_id: PARTNER_SERVICE_ID.trim().to_owned(),
            client_secret_file: path("secret"),
            partner_public_key: keys.join("partner.pub.pem"),
            private_key: keys.join("bank.key.pem"),
            notify_url: format!("https://localhost:{}/bca", partner.port).parse().unwrap(),
            notify_ca: path("tls.pem"),
            journal: path("bank.jsonl"),
            notify_attempts: 20,
            token_seconds: 900,
            ready_file: None,
            exit_with_stdin: false,
        };
        change(&mut config);
        let bank = sekat_psp_simulator::start(config.clone()).await.unwrap();
        let pem = std::fs::read(keys.join("partner.key.pem")).unwrap();
        let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).unwrap();
        Self {
            addresses: [bank.bank_addr(), bank.control_addr()],
            bank: Some(bank),
            partner,
            client: client(&config.tls_cert),
            key: KeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap(),
            config,
            next_external_id: AtomicU64::new(1),
            directory,
        }
    }

    /// Kills the bank and starts another on the same files.
    pub(crate) async fn restart(&mut self) {
        self.bank.take().unwrap().stop().await;
        let bank = sekat_psp_simulator::start(self.config.clone()).await.unwrap();
        self.addresses = [bank.bank_addr(), bank.control_addr()];
        self.bank = Some(bank);
    }

    /// Turns to the bank at these addresses, as its ready file has them.
    pub(crate) fn visit(&mut self, addresses: &Value) {
        self.addresses = ["bank", "control"].map(|port| addresses[port].as_str().unwrap().parse().unwrap());
    }

    pub(crate) const fn bank(&self) -> &Running {
        self.bank.as_ref().unwrap()
    }

    /// A directory that lives as long as this world.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// A signed request for an access token; `timestamp` of now if none is given.
    pub(crate) async fn ask_token(&self, client_id: &str, timestamp: &str, key: &KeyPair) -> Reply {
        let mut signature = vec![0; key.public().modulus_len()];
        let signed = format!("{client_id}|{timestamp}");
        key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        let request = Request::post(self.url("/openapi/v1.0/access-token/b2b"))
            .header("x-timestamp", timestamp)
            .header("x-client-key", client_id)
            .header("x-signature", BASE64.encode(signature))
            .body(Full::from(r#"{"grantType":"client_credentials"}"#))
            .unwrap();
        self.send(request).await.unwrap()
    }

    pub(crate) async fn token(&self) -> String {
        let reply = self.ask_token(CLIENT_ID, &now(), &self.key).await;
        assert_eq!(reply.code(), "2007300", "{reply:?}");
        reply.json["accessToken"].as_str().unwrap().to_owned()
    }

    pub(crate) const fn key(&self) -> &KeyPair {
        &self.key
    }

    pub(crate) async fn prepare(&self, method: Method, path: &'static str, body: &Value) -> Call {
        Call {
            method,
            path,
            token: self.token().await,
            timestamp: now(),
            body: body.to_string(),
            signed_body: None,
            secret: SECRET.to_owned(),
            partner_id: CLIENT_ID.to_owned(),
            external_id: self.next_external_id.fetch_add(1, Ordering::Relaxed).to_string(),
        }
    }

    /// Signs and sends; an error if the connection ended without a reply.
    pub(crate) async fn try_call(&self, call: Call) -> Result<Reply, hyper_util::client::legacy::Error> {
        let Call { method, path, token, timestamp, body, signed_body, secret, partner_id, external_id } = call;
        // The bodies of these tests are minified already.
        let signed_body = signed_body.unwrap_or_else(|| body.clone());
        let digest = hex(digest::digest(&digest::SHA256, signed_body.as_bytes()).as_ref());
        let signed = format!("{method}:{path}:{token}:{digest}:{timestamp}");
        let key = hmac::Key::new(hmac::HMAC_SHA512, secret.as_bytes());
        let request = Request::builder()
            .method(method)
            .uri(self.url(path))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .header("x-timestamp", timestamp)
            .header("x-signature", BASE64.encode(hmac::sign(&key, signed.as_bytes())))
            .header("x-partner-id", partner_id)
            .header("x-external-id", external_id)
            .header("channel-id", "95231")
            .body(Full::from(body))
            .unwrap();
        self.send(request).await
    }

    pub(crate) async fn call(&self, method: Method, path: &'static str, body: &Value) -> Reply {
        self.try_call(self.prepare(method, path, body).await).await.unwrap()
    }

    pub(crate) async fn create(&self, trx_id: &str) -> Reply {
        self.call(Method::POST, CREATE, &create_body(trx_id)).await
    }

    pub(crate) async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.addresses[1]))
            .header("content-type", "application/json")
            .body(body.map_or_else(Full::default, |body| Full::from(body.to_string())))
            .unwrap();
        let plain = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        into_reply(plain.request(request).await.unwrap()).await
    }

    pub(crate) async fn arm(&self, fault: Value) {
        let reply = self.control(Method::POST, "/simulator/faults", Some(fault)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    pub(crate) async fn pay(&self, body: Value) -> Reply {
        self.control(Method::POST, "/simulator/pay", Some(body)).await
    }

    /// The charge as the control port shows it.
    pub(crate) async fn charge(&self, trx_id: &str) -> Value {
        let charges = self.control(Method::GET, "/simulator/charges", None).await.json;
        let found = charges.as_array().unwrap().iter().find(|charge| charge["trxId"] == trx_id);
        found.cloned().unwrap_or(Value::Null)
    }

    /// Waits until the charge satisfies `condition`.
    pub(crate) async fn until(&self, trx_id: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut look = tokio::time::interval(Duration::from_millis(10));
        loop {
            look.tick().await;
            let charge = self.charge(trx_id).await;
            if condition(&charge) {
                return charge;
            }
            assert!(tokio::time::Instant::now() < deadline, "still not so: {charge}");
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.addresses[0].port())
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Reply, hyper_util::client::legacy::Error> {
        Ok(into_reply(self.client.request(request).await?).await)
    }
}

pub(crate) fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap()
}

/// The customer number of the n-th charge is n; `trx_id` ends in it.
pub(crate) fn customer_no(trx_id: &str) -> String {
    let digits: String = trx_id.chars().filter(char::is_ascii_digit).collect();
    format!("{digits:0>18}")
}

pub(crate) fn number(trx_id: &str) -> String {
    format!("{PARTNER_SERVICE_ID}{}", customer_no(trx_id))
}

pub(crate) fn create_body(trx_id: &str) -> Value {
    json!({
        "partnerServiceId": PARTNER_SERVICE_ID,
        "customerNo": customer_no(trx_id),
        "virtualAccountNo": number(trx_id),
        "virtualAccountName": "Toko Batik",
        "trxId": trx_id,
        "totalAmount": { "value": "25000.00", "currency": "IDR" },
        "virtualAccountTrxType": "C",
        "expiredDate": in_an_hour(),
    })
}

/// The same for all requests of a test run, so that a repeated one has the same body.
fn in_an_hour() -> String {
    static AT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    AT.get_or_init(|| (OffsetDateTime::now_utc() + time::Duration::HOUR).format(&Rfc3339).unwrap()).clone()
}

pub(crate) fn query_body(trx_id: &str) -> Value {
    json!({
        "partnerServiceId": PARTNER_SERVICE_ID,
        "customerNo": customer_no(trx_id),
        "virtualAccountNo": number(trx_id),
        "inquiryRequestId": "1",
    })
}

pub(crate) fn delete_body(trx_id: &str) -> Value {
    let mut body = query_body(trx_id);
    body["trxId"] = json!(trx_id);
    body
}

async fn into_reply(response: hyper::Response<hyper::body::Incoming>) -> Reply {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Reply { status, json: serde_json::from_slice(&body).unwrap_or(Value::Null) }
}

fn client(ca: &Path) -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(connector)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A notification that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Notification {
    pub(crate) body: Bytes,
    pub(crate) is_genuine: bool,
    pub(crate) answered: u16,
}

/// The partner's server: it verifies signatures and answers 401 or what it is told, by default 200.
pub(crate) struct PartnerServer {
    port: u16,
    seen: Arc<Seen>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    notifications: Mutex<Vec<Notification>>,
    answers: Mutex<VecDeque<StatusCode>>,
}

impl PartnerServer {
    async fn start(cert: &Path, key: &Path) -> Self {
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(cert).unwrap()],
                PrivateKeyDer::from_pem_file(key).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen::default());
        let router =
            axum::Router::new().route("/bca/v1.0/transfer-va/payment", post(receive)).with_state(Arc::clone(&seen));
        let listener = TlsListener(listener, TlsAcceptor::from(Arc::new(tls)));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, seen, task }
    }

    /// Says how the next notifications are answered.
    pub(crate) fn answer(&self, statuses: impl IntoIterator<Item = StatusCode>) {
        self.seen.answers.lock().unwrap().extend(statuses);
    }

    pub(crate) fn notifications(&self) -> Vec<Notification> {
        self.seen.notifications.lock().unwrap().clone()
    }
}

impl Drop for PartnerServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(seen): State<Arc<Seen>>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let is_genuine = is_genuine(uri.path(), &headers, &body);
    let told = seen.answers.lock().unwrap().pop_front();
    let status = if is_genuine { told.unwrap_or(StatusCode::OK) } else { StatusCode::UNAUTHORIZED };
    seen.notifications.lock().unwrap().push(Notification { body, is_genuine, answered: status.as_u16() });
    status
}

fn is_genuine(path: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let digest = hex(digest::digest(&digest::SHA256, body).as_ref());
    let signed = format!("POST:{path}:{digest}:{}", text("x-timestamp"));
    let pem = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/keys/bank.pub.pem")).unwrap();
    let key = SubjectPublicKeyInfoDer::from_pem_slice(&pem).unwrap();
    let signature = BASE64.decode(text("x-signature")).unwrap();
    webpki::RawPublicKeyEntity::try_from(&key)
        .unwrap()
        .verify_signature(webpki::ring::RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
        .is_ok()
}

struct TlsListener(TcpListener, TlsAcceptor);

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}
