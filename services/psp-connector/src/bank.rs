//! One bank over SNAP BI: requests signed and sent, replies judged. Each call ends in one of three ways: the bank did
//! it, the bank proved that it did not, or nobody knows. A timeout, a lost reply and a 5xx are the third, never the
//! second.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sekat_mesh::context::span;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tracing::Instrument as _;

use crate::config::Config;
use crate::error::{Cause, Error, ResponseCode};
use crate::snap::{Dialect, KeyError, Keys, Message, SigningFailed, jakarta};

/// A new connection's share of a call's time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The most that we wait for a bank, however much time the caller has: what takes longer is asked for again.
const MAX_WAIT: Duration = Duration::from_secs(6);
/// Idle connections are closed before banks and their firewalls usually do.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections kept open between calls.
const MAX_IDLE_CONNECTIONS: usize = 32;
/// The largest reply that is read; real ones have about 1 KiB.
const MAX_REPLY_BYTES: usize = 64 * 1024;
/// An access token is renewed this long before its end, or after three quarters of a shorter life.
const TOKEN_MARGIN: Duration = Duration::from_secs(60);
/// "Internet" in SNAP BI's list of channels.
const CHANNEL_ID: &str = "95231";

const TOKEN_PATH: &str = "/openapi/v1.0/access-token/b2b";

/// A service of the bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    CreateVa,
    Status,
    DeleteVa,
}

impl Service {
    const fn route(self) -> (Method, &'static str) {
        match self {
            Self::CreateVa => (Method::POST, "/openapi/v1.0/transfer-va/create-va"),
            Self::Status => (Method::POST, "/openapi/v1.0/transfer-va/status"),
            Self::DeleteVa => (Method::DELETE, "/openapi/v1.0/transfer-va/delete-va"),
        }
    }

    /// The service's number in the standard.
    const fn number(self) -> u8 {
        match self {
            Self::CreateVa => 27,
            Self::Status => 26,
            Self::DeleteVa => 31,
        }
    }

    const fn span_name(self) -> &'static str {
        match self {
            Self::CreateVa => "snap create-va",
            Self::Status => "snap status",
            Self::DeleteVa => "snap delete-va",
        }
    }
}

/// The number of the access token service.
const TOKEN_SERVICE: u8 = 73;

/// Why the connector does not start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// The CA file vouches for nobody.
    #[error("{} must hold the certificates of the bank's CA in PEM", .0.display())]
    Ca(std::path::PathBuf),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The bank's URL has no host.
    #[error("SEKAT_PSP_BCA_URL must be an https URL")]
    Url,
    /// A key is unusable.
    #[error("a key of the bank's relation is unusable")]
    Key(#[source] KeyError),
}

/// The relation with one bank.
pub(crate) struct Bank {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// INVARIANT: requests go to this authority and no other; no reply, redirect or argument can name one.
    authority: Authority,
    base_path: String,
    client_id: String,
    pub(crate) keys: Keys,
    token: Mutex<Option<Token>>,
    random: SystemRandom,
    /// Our company code, padded with spaces on the left to 8 characters.
    pub(crate) partner_service_id: String,
    /// The name that payers read.
    pub(crate) payee: String,
}

struct Token {
    value: Arc<str>,
    renew_at: Instant,
}

impl Bank {
    /// Reads the keys and prepares the client; opens no connection.
    pub(crate) fn new(config: &Config) -> Result<Self, BuildError> {
        let read = |path: &std::path::Path| {
            std::fs::read(path).map_err(|source| BuildError::File { path: path.to_owned(), source })
        };
        let keys =
            Keys::new(&read(&config.client_secret_file)?, &read(&config.private_key)?, &read(&config.bank_public_key)?);
        let authority = config.url.authority().ok_or(BuildError::Url)?.clone();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&read(&config.ca)?) {
            let certificate = certificate.map_err(|_| BuildError::Ca(config.ca.clone()))?;
            roots.add(certificate).map_err(BuildError::Tls)?;
        }
        if roots.is_empty() {
            return Err(BuildError::Ca(config.ca.clone()));
        }
        Ok(Self {
            client: https_client(roots)?,
            authority,
            base_path: config.url.path().trim_end_matches('/').to_owned(),
            client_id: config.client_id.clone(),
            keys: keys.map_err(BuildError::Key)?,
            token: Mutex::new(None),
            random: SystemRandom::new(),
            partner_service_id: format!("{:>8}", config.partner_service_id),
            payee: config.payee.clone(),
        })
    }

    /// Calls a service and returns its reply. An expired or revoked token is replaced once.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        service: Service,
        body: &serde_json::Value,
        deadline: Instant,
    ) -> Result<T, Error> {
        let body = Bytes::from(body.to_string());
        let deadline = own_deadline(deadline);
        let exchange = async {
            let token = self.token(deadline).await?;
            match self.transaction(service, &token, body.clone(), deadline).await {
                Err(Error::NotAccepting(code)) if is_token_refused(code) => {
                    self.forget(&token).await;
                    let token = self.token(deadline).await?;
                    self.transaction(service, &token, body, deadline).await
                }
                outcome => outcome,
            }
        };
        let reply = exchange.instrument(span(service.span_name())).await?;
        // The error's own text could quote an amount or a number.
        serde_json::from_slice(&reply).map_err(|error| {
            Error::unknown(format!("the reply is malformed at line {}, column {}", error.line(), error.column()))
        })
    }

    async fn transaction(&self, service: Service, token: &str, body: Bytes, deadline: Instant) -> Result<Bytes, Error> {
        let (method, path) = service.route();
        let uri = self.uri(path)?;
        let timestamp = jakarta(OffsetDateTime::now_utc());
        let message = Message { method: method.as_str(), path: uri.path(), body: &body, timestamp: &timestamp };
        let signature = self.keys.sign(Dialect::Token(token), &message)?;
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header("x-timestamp", timestamp)
            .header("x-signature", signature)
            .header("x-partner-id", &self.client_id)
            .header("x-external-id", self.external_id()?)
            .header("channel-id", CHANNEL_ID)
            .body(Full::new(body))
            .map_err(unreachable)?;
        self.exchange(request, service.number(), deadline).await
    }

    /// The current access token. While one caller fetches a new one, all others wait for it.
    async fn token(&self, deadline: Instant) -> Result<Arc<str>, Error> {
        let waiting = tokio::time::timeout_at(deadline.into(), self.token.lock());
        let mut slot = waiting.await.map_err(|_| unreachable("no access token in time"))?;
        if let Some(token) = slot.as_ref().filter(|token| Instant::now() < token.renew_at) {
            return Ok(Arc::clone(&token.value));
        }
        let asked_at = Instant::now();
        let fetched = self.fetch_token(deadline).instrument(span("snap access-token")).await;
        // Whatever became of the token, nothing was asked of the bank that moves money.
        let granted = fetched.map_err(|error| match error {
            Error::OutcomeUnknown(cause) => Error::Unreachable(cause),
            Error::Refused(code) => Error::NotAccepting(code),
            error => error,
        })?;
        let life = Duration::from_secs(granted.expires_in.seconds()?);
        let token = Token { value: granted.access_token.into(), renew_at: asked_at + useful_life(life) };
        Ok(Arc::clone(&slot.insert(token).value))
    }

    async fn fetch_token(&self, deadline: Instant) -> Result<GrantedToken, Error> {
        let timestamp = jakarta(OffsetDateTime::now_utc());
        let signature = self.keys.sign_token_request(&self.client_id, &timestamp)?;
        let request = Request::post(self.uri(TOKEN_PATH)?)
            .header(CONTENT_TYPE, "application/json")
            .header("x-client-key", &self.client_id)
            .header("x-timestamp", timestamp)
            .header("x-signature", signature)
            .body(Full::from(r#"{"grantType":"client_credentials"}"#))
            .map_err(unreachable)?;
        let reply = self.exchange(request, TOKEN_SERVICE, deadline).await?;
        // The cause is left out: it could quote the token.
        serde_json::from_slice(&reply).map_err(|_| Error::unknown("the access token's reply is malformed"))
    }

    /// Drops a token that the bank refused, unless another caller replaced it already.
    async fn forget(&self, token: &str) {
        let mut slot = self.token.lock().await;
        if slot.as_ref().is_some_and(|held| *held.value == *token) {
            *slot = None;
        }
    }

    /// One request and the body of its reply, if the bank says that it did what was asked.
    async fn exchange(&self, request: Request<Full<Bytes>>, service: u8, deadline: Instant) -> Result<Bytes, Error> {
        let sent = async {
            let response = self.client.request(request).await.map_err(|error| {
                // Without a connection nothing was sent; any later failure may have come after the bank had read it.
                if error.is_connect() { unreachable(error) } else { Error::unknown(error) }
            })?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_REPLY_BYTES).collect().await;
            let body = body.map_err(Error::OutcomeUnknown)?.to_bytes();
            Ok::<_, Error>((status, body))
        };
        let answered = tokio::time::timeout_at(deadline.into(), sent).await;
        let (status, body) = answered.map_err(|_| Error::unknown("the bank did not answer in time"))??;
        judge(status.as_u16(), service, &body)?;
        Ok(body)
    }

    fn uri(&self, path: &str) -> Result<Uri, Error> {
        let path = PathAndQuery::try_from(format!("{}{path}", self.base_path)).map_err(unreachable)?;
        let uri = Uri::builder().scheme(Scheme::HTTPS).authority(self.authority.clone()).path_and_query(path);
        uri.build().map_err(unreachable)
    }

    /// A numeric name of one request that no other request of the same day has, also of other instances: time and
    /// chance, at most 36 digits.
    fn external_id(&self) -> Result<String, SigningFailed> {
        let mut chance = [0; 8];
        self.random.fill(&mut chance).map_err(|_| SigningFailed)?;
        let seconds = OffsetDateTime::now_utc().unix_timestamp();
        Ok(format!("{seconds}{:020}", u64::from_be_bytes(chance)))
    }
}

impl fmt::Debug for Bank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bank").field("authority", &self.authority).finish_non_exhaustive()
    }
}

fn https_client(roots: RootCertStore) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, BuildError> {
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(BuildError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
        .build(connector))
}

/// How long a token is used of the life that the bank stated.
fn useful_life(life: Duration) -> Duration {
    life.saturating_sub(TOKEN_MARGIN.min(life / 4))
}

/// Some of the caller's time stays for the way back, so that it learns what we know.
fn own_deadline(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + (deadline.saturating_duration_since(now) * 9 / 10).min(MAX_WAIT)
}

/// Judges a reply by its `responseCode`, which only the bank's application writes. Whatever has none, or one that
/// contradicts the HTTP status or the service, is from somewhere else on the way and proves nothing.
fn judge(status: u16, service: u8, body: &[u8]) -> Result<(), Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        response_code: String,
    }
    let head: Head = serde_json::from_slice(body).map_err(|_| Error::unknown("the reply has no response code"))?;
    let code = ResponseCode::parse(&head.response_code)
        .filter(|code| code.status == status && code.service == service)
        .ok_or_else(|| Error::unknown("the reply's response code is not one of this request"))?;
    match (code.status, code.case) {
        (200, 0) => Ok(()),
        // Unauthorized, X-EXTERNAL-ID used today, too many requests: our doing or the bank's, not the charge's.
        (401 | 429, _) | (409, 0) => Err(Error::NotAccepting(code)),
        (404, 12) => Err(Error::NotFound),
        (404, 14) => Err(Error::Paid),
        (409, 1) => Err(Error::TermsDiffer),
        (400..=499, _) => Err(Error::Refused(code)),
        // In progress (202), an error of the bank's own (5xx), and what the standard does not have.
        _ => Err(Error::unknown(format!("the bank answered {code}"))),
    }
}

fn is_token_refused(code: ResponseCode) -> bool {
    (code.status, code.case) == (401, 1)
}

fn unreachable(cause: impl Into<Cause>) -> Error {
    Error::Unreachable(cause.into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GrantedToken {
    access_token: String,
    expires_in: Life,
}

/// The standard has a string; some banks send a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Life {
    Text(String),
    Number(u64),
}

impl Life {
    /// A life that the bank does not state is not guessed.
    fn seconds(&self) -> Result<u64, Error> {
        let seconds = match self {
            Self::Text(text) => text.parse().ok(),
            Self::Number(seconds) => Some(*seconds),
        };
        seconds.filter(|seconds| *seconds > 0).ok_or_else(|| unreachable("the access token has no usable life"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_banks_own_word_is_proof() {
        let judged = |status, body: &str| match judge(status, 27, body.as_bytes()) {
            Ok(()) => "done",
            Err(Error::NotAccepting(_)) => "not accepting",
            Err(Error::NotFound) => "not found",
            Err(Error::Paid) => "paid",
            Err(Error::TermsDiffer) => "terms differ",
            Err(Error::Refused(_)) => "refused",
            Err(Error::OutcomeUnknown(_)) => "unknown",
            Err(error) => panic!("{error}"),
        };
        let rows = [
            (200, r#"{"responseCode":"2002700"}"#, "done"),
            (200, r#"{"responseCode":"2002701"}"#, "unknown"),
            (200, r#"{"responseCode":"2002600"}"#, "unknown"),
            (200, r#"{"responseCode":"4042712"}"#, "unknown"),
            (200, "{}", "unknown"),
            (200, "<html>", "unknown"),
            (202, r#"{"responseCode":"2022700"}"#, "unknown"),
            (400, r#"{"responseCode":"4002701"}"#, "refused"),
            (400, r#"{"responseCode":4002701}"#, "unknown"),
            (401, r#"{"responseCode":"4012700"}"#, "not accepting"),
            (401, r#"{"responseCode":"4012701"}"#, "not accepting"),
            (403, r#"{"responseCode":"4032715"}"#, "refused"),
            (403, "forbidden by a proxy", "unknown"),
            (404, r#"{"responseCode":"4042712"}"#, "not found"),
            (404, r#"{"responseCode":"4042714"}"#, "paid"),
            (404, r#"{"responseCode":"4042719"}"#, "refused"),
            (404, "", "unknown"),
            (409, r#"{"responseCode":"4092700"}"#, "not accepting"),
            (409, r#"{"responseCode":"4092701"}"#, "terms differ"),
            (429, r#"{"responseCode":"4292700"}"#, "not accepting"),
            (500, r#"{"responseCode":"5002700"}"#, "unknown"),
            (504, r#"{"responseCode":"5042700"}"#, "unknown"),
            (502, "bad gateway", "unknown"),
        ];
        for (status, body, expected) in rows {
            assert_eq!(judged(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_tokens_life_is_read_and_never_guessed() {
        let seconds = |json: &str| {
            let reply = format!(r#"{{"accessToken":"t","expiresIn":{json}}}"#);
            serde_json::from_str::<GrantedToken>(&reply).ok().and_then(|token| token.expires_in.seconds().ok())
        };
        assert_eq!(seconds("\"900\""), Some(900));
        assert_eq!(seconds("60"), Some(60));
        for unusable in ["\"\"", "\"15m\"", "0", "-1", "null"] {
            assert_eq!(seconds(unusable), None, "{unusable}");
        }
        assert!(serde_json::from_str::<GrantedToken>(r#"{"accessToken":"t"}"#).is_err());
    }

    #[test]
    fn a_token_is_renewed_before_its_end() {
        for (life, useful) in [(900, 840.0), (240, 180.0), (60, 45.0), (1, 0.75)] {
            assert_eq!(useful_life(Duration::from_secs(life)), Duration::from_secs_f64(useful), "{life}");
        }
    }

    #[test]
    fn a_call_leaves_time_for_its_answer() {
        let now = Instant::now();
        assert!(own_deadline(now + Duration::from_secs(1)) <= now + Duration::from_millis(950));
        assert!(own_deadline(now + Duration::from_secs(100)) <= now + MAX_WAIT + Duration::from_secs(1));
        assert!(own_deadline(now) <= Instant::now());
    }
}
