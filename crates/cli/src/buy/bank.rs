//! Paying at the bank: the simulator's control port, plain HTTP on this machine.

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Pays the full amount to a virtual account, as a buyer would in a banking app.
pub(crate) async fn pay(control: &str, account_number: &str) -> anyhow::Result<()> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let body = serde_json::json!({ "virtualAccountNo": account_number }).to_string();
    let request = http::Request::post(format!("http://{control}/simulator/pay"))
        .header("content-type", "application/json")
        .body(Full::from(body))?;
    let response = client.request(request).await.context("the bank does not answer")?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("the bank refused the transfer with {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(())
}
