//! A bank on free ports, a connector that knows it, and a server that takes the bank's notifications in.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sekat_api_connector::v1 as api;
use sekat_api_google::r#type::Money;
use sekat_psp_simulator::Running;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::Config;
use crate::bank::Bank;

/// Far above what any condition here needs, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "a secret of the tests, and of nothing else";

type Inbox = Arc<Mutex<Vec<api::VerifyNotificationRequest>>>;

pub(super) struct World {
    pub(super) connector: Bank,
    bank: Option<Running>,
    bank_config: sekat_psp_simulator::Config,
    inbox: Inbox,
    directory: tempfile::TempDir,
}

pub(super) fn rupiah(units: i64) -> Money {
    Money { currency_code: "IDR".to_owned(), units, nanos: 0 }
}

/// The same for all requests of a test run, so that a repeated one is the same.
pub(super) fn expiry() -> prost_types::Timestamp {
    static AT: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let seconds = *AT.get_or_init(|| time::OffsetDateTime::now_utc().unix_timestamp() + 3_600);
    prost_types::Timestamp { seconds, nanos: 0 }
}

pub(super) fn create_request(id: &str) -> api::CreateChargeRequest {
    api::CreateChargeRequest {
        charge_id: id.to_owned(),
        bank: api::Bank::Bca.into(),
        amount: Some(rupiah(25_000)),
        expire_time: Some(expiry()),
        request_id: "0198f0a2-7c1e-4000-8000-000000000000".to_owned(),
    }
}

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

/// A certificate for `name`, its key and nobody else's word for it.
fn certificate(directory: &Path, file: &str, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (cert, key) = (directory.join(format!("{file}.pem")), directory.join(format!("{file}.key")));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (cert, key)
}

impl World {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut sekat_psp_simulator::Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (tls_cert, tls_key) = certificate(directory.path(), "bank", "localhost");
        certificate(directory.path(), "stranger", "localhost");
        let client_secret_file = directory.path().join("secret");
        std::fs::write(&client_secret_file, format!("{SECRET}\n")).unwrap();
        let inbox = Inbox::default();
        let port = take_in(Arc::clone(&inbox), &tls_cert, &tls_key).await;
        let mut bank_config = sekat_psp_simulator::Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            control_listen: "127.0.0.1:0".parse().unwrap(),
            tls_key,
            client_id: "sekat-test".to_owned(),
            partner_service_id: "12345".to_owned(),
            client_secret_file,
            partner_public_key: vector("partner.pub.pem"),
            private_key: vector("bank.key.pem"),
            notify_url: format!("https://localhost:{port}/bca").parse().unwrap(),
            notify_ca: tls_cert.clone(),
            tls_cert,
            journal: directory.path().join("bank.jsonl"),
            notify_attempts: 20,
            token_seconds: 900,
            ready_file: None,
            exit_with_stdin: false,
        };
        change(&mut bank_config);
        let bank = sekat_psp_simulator::start(bank_config.clone()).await.unwrap();
        // A restarted bank is where it was.
        bank_config.listen = bank.bank_addr();
        bank_config.control_listen = bank.control_addr();
        let connector = Bank::new(&connector_config(&bank_config)).unwrap();
        Self { connector, bank: Some(bank), bank_config, inbox, directory }
    }

    pub(super) fn config(&self) -> Config {
        connector_config(&self.bank_config)
    }

    pub(super) fn connector_with(&self, change: impl FnOnce(&mut Config)) -> Bank {
        let mut config = self.config();
        change(&mut config);
        Bank::new(&config).unwrap()
    }

    /// Its URL leads to the bank, under a name that the bank's certificate does not have.
    pub(super) fn connector_of_another_host(&self) -> Bank {
        let url = format!("https://127.0.0.1:{}", self.bank_config.listen.port());
        self.connector_with(|config| config.url = url.parse().unwrap())
    }

    /// It trusts a CA that did not vouch for the bank.
    pub(super) fn connector_of_another_ca(&self) -> Bank {
        self.connector_with(|config| config.ca = self.directory.path().join("stranger.pem"))
    }

    /// A file with this content.
    pub(super) fn file(&self, content: &str) -> PathBuf {
        let path = self.directory.path().join("file");
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(super) async fn stop_bank(&mut self) {
        self.bank.take().unwrap().stop().await;
    }

    pub(super) async fn start_bank(&mut self) {
        self.bank = Some(sekat_psp_simulator::start(self.bank_config.clone()).await.unwrap());
    }

    pub(super) async fn arm(&self, fault: Value) {
        self.control(Method::POST, "/simulator/faults", fault).await;
    }

    pub(super) async fn pay(&self, account_number: &str) {
        self.control(Method::POST, "/simulator/pay", json!({ "virtualAccountNo": account_number })).await;
    }

    pub(super) async fn charges(&self) -> Vec<Value> {
        self.control(Method::GET, "/simulator/charges", Value::Null).await.as_array().unwrap().clone()
    }

    pub(super) async fn tokens_issued(&self) -> u64 {
        self.control(Method::GET, "/simulator/tokens", Value::Null).await["issued"].as_u64().unwrap()
    }

    /// Waits for `count` notifications and returns them as an ingress would hand them on.
    pub(super) async fn notifications(&self, count: usize) -> Vec<api::VerifyNotificationRequest> {
        let deadline = Instant::now() + PATIENCE;
        let mut look = tokio::time::interval(Duration::from_millis(10));
        loop {
            look.tick().await;
            let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if inbox.len() >= count {
                return inbox;
            }
            assert!(Instant::now() < deadline, "{} of {count} notifications", inbox.len());
        }
    }

    async fn control(&self, method: Method, path: &str, body: Value) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.bank_config.control_listen))
            .header("content-type", "application/json")
            .body(Full::from(body.to_string()))
            .unwrap();
        let response =
            Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>().request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{status}: {body:?}");
        serde_json::from_slice(&body).unwrap()
    }
}

fn connector_config(bank: &sekat_psp_simulator::Config) -> Config {
    Config {
        url: format!("https://localhost:{}", bank.listen.port()).parse::<Uri>().unwrap(),
        ca: bank.tls_cert.clone(),
        client_id: bank.client_id.clone(),
        client_secret_file: bank.client_secret_file.clone(),
        private_key: vector("partner.key.pem"),
        bank_public_key: vector("bank.pub.pem"),
        partner_service_id: bank.partner_service_id.clone(),
        payee: "Sekat Niaga".to_owned(),
    }
}

/// Serves HTTPS on a free port; puts what arrives into the inbox and confirms all but the first, which the bank
/// therefore repeats.
async fn take_in(inbox: Inbox, cert: &Path, key: &Path) -> u16 {
    let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(cert).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, inbox) = (acceptor.clone(), Arc::clone(&inbox));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request| answer(Arc::clone(&inbox), request));
                // The bank may close the connection as it likes.
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    port
}

async fn answer(inbox: Inbox, request: Request<Incoming>) -> Result<http::Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let notification = api::VerifyNotificationRequest {
        channel: "bca".to_owned(),
        http_method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        headers: headers(&head.headers),
        body: body.to_vec(),
    };
    let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
    inbox.push(notification);
    let status = if inbox.len() == 1 { 503 } else { 200 };
    let mut response = http::Response::new(Full::default());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    Ok(response)
}

fn headers(headers: &HeaderMap) -> Vec<api::NotificationHeader> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| api::NotificationHeader { name: name.to_string(), value: text(value) }).collect()
}
