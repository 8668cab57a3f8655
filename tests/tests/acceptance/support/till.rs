//! The bank as tests need it that kill the bank, too: every question may go unanswered.

use std::time::Duration;

use acceptance::{Mesh, eventually};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::{Value, json};

/// The bank answers within milliseconds, unless it is stopped or dead.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A charge in the bank's book.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Charge {
    /// The partner's name for it: the payment's, without `paymentIntents/`.
    pub(crate) trx_id: String,
    pub(crate) virtual_account_no: String,
    /// `UNPAID`, `PAID`, `EXPIRED` or `CANCELLED`.
    pub(crate) status: String,
    pub(crate) payment_request_id: Option<String>,
    pub(crate) notified: bool,
    pub(crate) notification_attempts: u32,
    pub(crate) notifications_accepted: u32,
}

/// The bank of a mesh; its addresses outlive it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Till {
    control: String,
}

impl Till {
    /// The bank of this mesh.
    pub(crate) fn of(mesh: &Mesh) -> Self {
        Self { control: mesh.running().bank_control }
    }

    /// All charges.
    pub(crate) async fn charges(&self) -> Vec<Charge> {
        eventually("the bank shows its charges", async || {
            let (_, charges) = ask(Request::get(self.url("charges")).body(Full::default()).unwrap()).await?;
            serde_json::from_value(charges).ok()
        })
        .await
    }

    /// The charges of a payment, `paymentIntents/{payment_intent}`.
    pub(crate) async fn charges_of(&self, payment_intent: &str) -> Vec<Charge> {
        let id = payment_intent.strip_prefix("paymentIntents/").expect("a payment's name");
        self.charges().await.into_iter().filter(|charge| charge.trx_id == id).collect()
    }

    /// Transfers the whole bill to a virtual account. Whoever gets no answer tries again, and may learn that the bill
    /// is paid.
    pub(crate) async fn pay(&self, virtual_account: &str) {
        let (status, reply) = self.try_pay(virtual_account).await;
        assert!(status == 200 || reply["error"] == "paid", "the bank refused the transfer: {status} {reply}");
    }

    /// The same; returns the bank's answer, whatever it is.
    pub(crate) async fn try_pay(&self, virtual_account: &str) -> (u16, Value) {
        let body = json!({ "virtualAccountNo": virtual_account });
        eventually("the bank answers a transfer", async || ask(self.post("pay", &body)).await).await
    }

    /// Lets the next call of a service, such as `delete-va`, do its work and wait for its answer for some seconds.
    pub(crate) async fn answer_slowly(&self, service: &str) {
        let body = json!({ "fault": "slow", "service": service, "times": 1 });
        let (status, reply) = ask(self.post("faults", &body)).await.expect("the bank answers");
        assert_eq!(status, 200, "the bank arms no fault: {reply}");
    }

    fn url(&self, what: &str) -> String {
        format!("http://{}/simulator/{what}", self.control)
    }

    fn post(&self, what: &str, body: &Value) -> Request<Full<Bytes>> {
        let request = Request::post(self.url(what)).header("content-type", "application/json");
        request.body(Full::from(body.to_string())).unwrap()
    }
}

/// Nothing if there was no answer.
async fn ask(request: Request<Full<Bytes>>) -> Option<(u16, Value)> {
    let answered = async {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await.ok()?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    };
    tokio::time::timeout(ANSWER_LIMIT, answered).await.ok()?
}
