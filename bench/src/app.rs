//! A buyer's app: a TLS connection of its own to an edge, a session, and the steps of one purchase.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use sekat_api_account::v1 as account;
use sekat_api_account::v1::account_service_client::AccountServiceClient;
use sekat_api_account::v1::address_service_client::AddressServiceClient;
use sekat_api_account::v1::session_service_client::SessionServiceClient;
use sekat_api_order::v1 as order;
use sekat_api_order::v1::cart_service_client::CartServiceClient;
use sekat_api_order::v1::order_service_client::OrderServiceClient;
use sekat_api_payment::v1 as payment;
use sekat_api_payment::v1::payment_intent_service_client::PaymentIntentServiceClient;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt;

/// What an app waits for one answer, also on a machine that does much else.
const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// The password of all who sign up here; they live as long as the measurement.
const PASSWORD: &str = "correct-horse-battery";

/// Opens a channel to an edge; it connects on first use.
pub(crate) fn channel(address: &str, authority: &Path) -> anyhow::Result<Channel> {
    let pem = std::fs::read(authority).with_context(|| format!("{} cannot be read", authority.display()))?;
    let connector = TlsConnector::from(sekat_identity::tls::web_client_config(&pem, &[b"h2"])?);
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
    let name = ServerName::try_from(host).with_context(|| format!("{address} is not a host and port"))?;
    let target = address.to_owned();
    let connect = tower::service_fn(move |_| {
        let (connector, name, target) = (connector.clone(), name.clone(), target.clone());
        async move {
            let stream = TcpStream::connect(&target).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
        }
    });
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_with_connector_lazy(connect))
}

/// What goes with a call beside its message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    token: Option<AsciiMetadataValue>,
    traceparent: Option<AsciiMetadataValue>,
}

impl Caller {
    fn signed_in(token: &str) -> anyhow::Result<Self> {
        Ok(Self { token: Some(format!("Bearer {token}").parse()?), traceparent: None })
    }

    fn in_trace(&self, traceparent: &str) -> anyhow::Result<Self> {
        Ok(Self { token: self.token.clone(), traceparent: Some(traceparent.parse()?) })
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(CALL_DEADLINE);
        let values = [("authorization", &self.token), ("traceparent", &self.traceparent)];
        for (name, value) in values {
            value.iter().for_each(|value| drop(request.metadata_mut().insert(name, value.clone())));
        }
        request
    }
}

/// A new id for a write.
pub(crate) fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A refusal in words.
pub(crate) fn refused(what: &'static str) -> impl Fn(Status) -> anyhow::Error {
    move |status| {
        let reason = status.get_details_error_info().map_or_else(String::new, |info| format!(" ({})", info.reason));
        anyhow!("{what} was refused with {:?}{reason}: {}", status.code(), status.message())
    }
}

/// Somebody who is signed in.
pub(crate) struct SignedIn {
    pub(crate) caller: Caller,
    pub(crate) account: String,
    /// The shop of a seller.
    pub(crate) merchant: String,
}

/// Signs up somebody new, and in.
pub(crate) async fn sign_up(commerce: &Channel, scope: account::SessionScope) -> anyhow::Result<SignedIn> {
    let handle = format!("bench_{}", uuid::Uuid::new_v4().simple()).chars().take(24).collect::<String>();
    let email = format!("{handle}@bench.example");
    let person = account::Account {
        display_name: "Sari Wulandari".to_owned(),
        email: email.clone(),
        phone: "+6281234567890".to_owned(),
        creator_handle: if scope == account::SessionScope::Creator { handle } else { String::new() },
        ..Default::default()
    };
    let request = account::CreateAccountRequest {
        account: Some(person),
        password: PASSWORD.to_owned(),
        request_id: request_id(),
    };
    let account = AccountServiceClient::new(commerce.clone())
        .create_account(Caller::default().request(request))
        .await
        .map_err(refused("signing up"))?
        .into_inner()
        .name;
    let request = account::CreateSessionRequest {
        email,
        password: PASSWORD.to_owned(),
        scope: scope.into(),
        request_id: request_id(),
    };
    let session = SessionServiceClient::new(commerce.clone())
        .create_session(Caller::default().request(request))
        .await
        .map_err(refused("signing in"))?
        .into_inner();
    Ok(SignedIn { caller: Caller::signed_in(&session.access_token)?, account, merchant: session.merchant })
}

/// The bank's customer: pays virtual accounts at the simulator's control port.
#[derive(Clone, Debug)]
pub(crate) struct Bank {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl Bank {
    pub(crate) fn new(control: &str) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            url: format!("http://{control}/simulator/pay"),
        }
    }

    async fn pay(&self, account_number: &str) -> anyhow::Result<()> {
        let body = serde_json::json!({ "virtualAccountNo": account_number }).to_string();
        let request =
            http::Request::post(&self.url).header("content-type", "application/json").body(Full::from(body))?;
        let response = self.client.request(request).await.context("the bank does not answer")?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("the bank refused the transfer with {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(())
    }
}

/// A buyer with a connection, a session and an address.
pub(crate) struct Buyer {
    commerce: Channel,
    bank: Bank,
    caller: Caller,
    address: String,
}

impl Buyer {
    pub(crate) async fn sign_up(commerce: Channel, bank: Bank) -> anyhow::Result<Self> {
        let SignedIn { caller, account: parent, .. } = sign_up(&commerce, account::SessionScope::Buyer).await?;
        let address = account::Address {
            receiver_name: "Sari Wulandari".to_owned(),
            phone: "+6281234567890".to_owned(),
            street: "Jl. Kaliurang KM 5 No. 12".to_owned(),
            district: "Depok".to_owned(),
            city: "Sleman".to_owned(),
            province: "DI Yogyakarta".to_owned(),
            postal_code: "55281".to_owned(),
            ..Default::default()
        };
        let request = account::CreateAddressRequest { parent, address: Some(address), request_id: request_id() };
        let address = AddressServiceClient::new(commerce.clone())
            .create_address(caller.request(request))
            .await
            .map_err(refused("adding an address"))?
            .into_inner()
            .name;
        Ok(Self { commerce, bank, caller, address })
    }

    /// One purchase, from the cart to PAID. All its calls belong to the trace of `traceparent`, except the watching.
    pub(crate) async fn buy(&self, handoff: String, traceparent: &str) -> anyhow::Result<()> {
        let caller = self.caller.in_trace(traceparent)?;
        let placed = self.place(&caller, handoff).await?;
        let number = self.choose_payment(&caller, &placed).await?;
        self.bank.pay(&number).await?;
        self.wait_until_paid(placed.name).await
    }

    async fn place(&self, caller: &Caller, handoff: String) -> anyhow::Result<order::Order> {
        let cart = CartServiceClient::new(self.commerce.clone())
            .create_cart(caller.request(order::CreateCartRequest { handoff, request_id: request_id() }))
            .await
            .map_err(refused("opening the cart"))?
            .into_inner();
        if cart.lines.len() != 2 {
            bail!("the cart has {} lines instead of 2", cart.lines.len());
        }
        let mut orders = OrderServiceClient::new(self.commerce.clone());
        let request = order::QuoteOrderRequest { cart: cart.name.clone(), address: self.address.clone() };
        let quote =
            orders.quote_order(caller.request(request)).await.map_err(refused("asking for a quote"))?.into_inner();
        let request = order::CreateOrderRequest {
            cart: cart.name,
            address: self.address.clone(),
            quote_hash: quote.quote_hash,
            request_id: request_id(),
        };
        let placed = orders.create_order(caller.request(request)).await.map_err(refused("ordering"))?.into_inner();
        if placed.state() != order::OrderState::PendingPayment {
            bail!("the order is {:?} ({}) instead of waiting for the payment", placed.state(), placed.failure_reason);
        }
        Ok(placed)
    }

    /// Chooses a virtual account and returns its number.
    async fn choose_payment(&self, caller: &Caller, placed: &order::Order) -> anyhow::Result<String> {
        let method = payment::VirtualAccountMethod { bank: payment::Bank::Bca.into() };
        let request = payment::ConfirmPaymentIntentRequest {
            name: placed.payment_intent.clone(),
            method: Some(payment::confirm_payment_intent_request::Method::VirtualAccount(method)),
            request_id: request_id(),
        };
        let intent = PaymentIntentServiceClient::new(self.commerce.clone())
            .confirm_payment_intent(caller.request(request))
            .await
            .map_err(refused("choosing how to pay"))?
            .into_inner();
        match intent.next_action.and_then(|next| next.action) {
            Some(payment::next_action::Action::VirtualAccountTransfer(transfer)) => Ok(transfer.account_number),
            _ => bail!("the payment is {} and names no virtual account", intent.state),
        }
    }

    async fn wait_until_paid(&self, name: String) -> anyhow::Result<()> {
        let refused = refused("watching the order");
        let mut events = OrderServiceClient::new(self.commerce.clone())
            .watch_order(self.caller.request(order::WatchOrderRequest { name }))
            .await
            .map_err(&refused)?
            .into_inner();
        while let Some(event) = events.message().await.map_err(&refused)? {
            let Some(now) = event.order else { continue };
            match now.state() {
                order::OrderState::Paid => return Ok(()),
                order::OrderState::Failed | order::OrderState::Expired | order::OrderState::Canceled => {
                    bail!("the order ended as {:?} ({})", now.state(), now.failure_reason)
                }
                _ => {}
            }
        }
        bail!("the watch ended before the order was paid")
    }
}
