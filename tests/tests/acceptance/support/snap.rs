//! The bank's signature on a notification (SNAP BI service 25), so that a test can send what a bank sends, as often
//! and as late as it likes.

use acceptance::Mesh;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use time::OffsetDateTime;
use time::macros::offset;

use super::stores::hex;

const PATH: &str = "/v1.0/transfer-va/payment";

/// The partner's code with which `sekat up` starts the bank, padded as SNAP BI wants it.
const PARTNER_SERVICE_ID: &str = "   88899";

/// One who holds the bank's private key.
pub(crate) struct Notifier {
    key: RsaKeyPair,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
}

/// A notification with its signature, ready to be sent any number of times.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) body: Bytes,
    timestamp: String,
    pub(crate) signature: String,
}

impl Signed {
    /// With another signature.
    pub(crate) fn signed_with(self, signature: &str) -> Self {
        Self { signature: signature.to_owned(), ..self }
    }

    /// With another body under the same signature.
    pub(crate) fn saying(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    /// With another time under the same signature.
    pub(crate) fn at(self, at: OffsetDateTime) -> Self {
        Self { timestamp: jakarta(at), ..self }
    }
}

impl Notifier {
    /// The bank of a mesh, whose key is in the mesh's data directory.
    pub(crate) fn of_bank(mesh: &Mesh) -> Self {
        let running = mesh.running();
        let key = PrivatePkcs8KeyDer::from_pem_file(mesh.data().join("secrets/bank/bank.key")).unwrap();
        let authority = std::fs::read(&running.web_authority).unwrap();
        let config = sekat_identity::tls::web_client_config(&authority, &[]).unwrap();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config((*config).clone()).https_only().enable_http1().build();
        Self {
            key: RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap(),
            client: Client::builder(TokioExecutor::new()).build(connector),
            url: format!("https://{}{PATH}", running.notify_ingress),
        }
    }

    /// The notification of a payment of `rupiah` for a charge, now. The bank names each payment.
    pub(crate) fn payment(&self, charge: &str, rupiah: i64, payment_request_id: &str) -> Signed {
        let amount = json!({ "value": format!("{rupiah}.00"), "currency": "IDR" });
        let now = jakarta(OffsetDateTime::now_utc());
        let body = json!({
            "partnerServiceId": PARTNER_SERVICE_ID,
            "customerNo": "0",
            "virtualAccountNo": format!("{PARTNER_SERVICE_ID}0"),
            "virtualAccountName": "Sekat",
            "trxId": charge,
            "paymentRequestId": payment_request_id,
            "paidAmount": amount.clone(),
            "totalAmount": amount,
            "trxDateTime": now,
        });
        // Compact JSON is its own minified form.
        self.sign(Bytes::from(body.to_string()), now)
    }

    /// The same words, signed as of another time.
    pub(crate) fn resigned(&self, signed: &Signed, at: OffsetDateTime) -> Signed {
        self.sign(signed.body.clone(), jakarta(at))
    }

    fn sign(&self, body: Bytes, timestamp: String) -> Signed {
        let signed = format!("POST:{PATH}:{}:{timestamp}", hex(digest(&SHA256, &body).as_ref()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        Signed { body, timestamp, signature: STANDARD.encode(signature) }
    }

    /// Sends it to the mesh's ingress and returns the HTTP status.
    pub(crate) async fn send(&self, signed: &Signed) -> StatusCode {
        let request = Request::post(&self.url)
            .header("content-type", "application/json")
            .header("x-timestamp", &signed.timestamp)
            .header("x-signature", &signed.signature)
            .header("x-partner-id", "sekat")
            .header("x-external-id", "1")
            .header("channel-id", "95231")
            .body(Full::new(signed.body.clone()))
            .unwrap();
        self.client.request(request).await.expect("notify-ingress answers").status()
    }
}

/// Jakarta time with seconds, as SNAP BI writes it.
fn jakarta(at: OffsetDateTime) -> String {
    let at = at.to_offset(offset!(+7));
    let (date, (hour, minute, second)) = (at.date(), at.to_hms());
    format!("{date}T{hour:02}:{minute:02}:{second:02}+07:00")
}
