//! Payment notifications (SNAP BI service 25): signed, sent again until the partner confirms, a bounded number of
//! times.

use crate::book::{Charge, State};
use crate::fault::{Fault, Faults};
use crate::signature::{Keys, encode, jakarta};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, Uri};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The path of service 25 below the partner's URL.
const PATH: &str = "/v1.0/transfer-va/payment";
/// Deliveries that run at once; others wait. Well below the connections that a partner's server takes.
const MAX_IN_FLIGHT: usize = 128;
/// The most that one delivery may take before it counts as failed.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// The channel that the bank names: "internet" in SNAP BI's list.
const CHANNEL_ID: &str = "95231";

/// Sends notifications to the one partner.
pub(crate) struct Notifier {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    client_id: String,
    keys: Arc<Keys>,
    faults: Arc<Faults>,
    max_attempts: u32,
    in_flight: Semaphore,
    next_external_id: AtomicU64,
    tasks: Mutex<JoinSet<()>>,
}

impl Notifier {
    /// A notifier to `base`, an `https` URL to which the path of the service is appended, whose server proves
    /// itself to `tls`.
    pub(crate) fn new(
        base: &Uri,
        tls: rustls::ClientConfig,
        client_id: String,
        keys: Arc<Keys>,
        faults: Arc<Faults>,
        max_attempts: u32,
    ) -> Result<Self, axum::http::Error> {
        let (scheme, authority) =
            (base.scheme_str().unwrap_or_default(), base.authority().map_or("", |host| host.as_str()));
        let path = format!("{}{PATH}", base.path().trim_end_matches('/'));
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build()?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
        // Ids must not repeat within a day, also across a restart: they count up from the clock.
        let start = u64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos()).unwrap_or(0);
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            uri,
            client_id,
            keys,
            faults,
            max_attempts,
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
            next_external_id: AtomicU64::new(start),
            tasks: Mutex::default(),
        })
    }

    /// The notification of a paid charge: the same bytes whenever it is sent.
    pub(crate) fn body(charge: &Charge) -> Option<Bytes> {
        let State::Paid(payment) = &charge.state else { return None };
        let terms = &charge.terms;
        let body = json!({
            "partnerServiceId": terms.partner_service_id,
            "customerNo": terms.customer_no,
            "virtualAccountNo": terms.virtual_account_no(),
            "virtualAccountName": terms.name,
            "trxId": terms.trx_id,
            "paymentRequestId": payment.payment_request_id,
            "paidAmount": payment.amount,
            "totalAmount": terms.amount,
            "trxDateTime": jakarta(payment.paid_at),
        });
        Some(Bytes::from(body.to_string()))
    }

    /// Runs a delivery in the background until the bank stops.
    pub(crate) fn spawn(&self, delivery: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(delivery);
    }

    /// Stops all deliveries; returns when none runs any more.
    pub(crate) async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }

    /// Delivers one notification; true when the partner confirmed it, false when the attempts are used up.
    /// Reports each attempt and whether it was confirmed.
    pub(crate) async fn deliver(&self, body: Bytes, attempted: impl Fn(bool)) -> bool {
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=self.max_attempts {
            let outcome = match self.in_flight.acquire().await {
                Ok(_permit) => tokio::time::timeout(ATTEMPT_TIMEOUT, self.attempt(body.clone())).await,
                Err(_closed) => return false,
            };
            let problem = match outcome {
                Ok(Ok(())) => {
                    attempted(true);
                    return true;
                }
                Ok(Err(problem)) => problem,
                Err(_elapsed) => "no answer in time".to_owned(),
            };
            attempted(false);
            eprintln!("bank: notification attempt {attempt} of {}: {problem}", self.max_attempts);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
        false
    }

    async fn attempt(&self, body: Bytes) -> Result<(), String> {
        let timestamp = jakarta(OffsetDateTime::now_utc());
        let mut signature =
            self.keys.sign_notification(self.uri.path(), &body, &timestamp).map_err(|error| error.to_string())?;
        if self.faults.strike(Fault::WrongSignature, None).is_some()
            && let Some(byte) = signature.last_mut()
        {
            *byte ^= 1;
        }
        let request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("x-timestamp", timestamp)
            .header("x-signature", encode(&signature))
            .header("x-partner-id", &self.client_id)
            .header("x-external-id", self.next_external_id.fetch_add(1, Ordering::Relaxed).to_string())
            .header("channel-id", CHANNEL_ID)
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| error_chain(&error))?;
        if response.status().is_success() { Ok(()) } else { Err(format!("the partner answered {}", response.status())) }
    }
}

/// The error and its causes: what a connection failed of stands only in the last one.
fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
