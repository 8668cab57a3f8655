//! The bank's controls: pay as a buyer, arm faults, read the book.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// The control port of the bank simulator of one mesh.
#[derive(Clone, Debug)]
pub struct Bank {
    address: String,
}

impl Bank {
    pub(crate) fn at(address: &str) -> Self {
        Self { address: address.to_owned() }
    }

    /// Transfers the whole bill to a virtual account.
    ///
    /// # Panics
    /// If the bank refuses.
    pub async fn pay(&self, virtual_account: &str) -> Value {
        let body = serde_json::json!({ "virtualAccountNo": virtual_account });
        let (status, reply) = self.post("/simulator/pay", &body).await;
        assert_eq!(status, 200, "the bank refused the transfer: {reply}");
        reply
    }

    /// Lets a named fault strike `times` times, at any service; `0` disarms it.
    ///
    /// # Panics
    /// If the bank knows no such fault.
    pub async fn arm(&self, fault: &str, times: u32) {
        let (status, reply) =
            self.post("/simulator/faults", &serde_json::json!({ "fault": fault, "times": times })).await;
        assert_eq!(status, 200, "the bank does not arm {fault}: {reply}");
    }

    /// All charges in the bank's book.
    pub async fn charges(&self) -> Vec<Value> {
        let (_, reply) = self.get("/simulator/charges").await;
        reply.as_array().cloned().unwrap_or_default()
    }

    /// A request to the control port: HTTP status and JSON body.
    ///
    /// # Panics
    /// If the bank does not answer.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = http::Request::post(self.url(path)).header("content-type", "application/json");
        self.send(request.body(Full::from(body.to_string())).unwrap()).await
    }

    /// Like [`Self::post`], to read.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send(http::Request::get(self.url(path)).body(Full::default()).unwrap()).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn send(&self, request: http::Request<Full<Bytes>>) -> (u16, Value) {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await.expect("the bank answers");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("the bank's answer is whole").to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}
