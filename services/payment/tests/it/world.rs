//! One payment process and its peers, with certificates and sockets of their own, and what buyers, orders, the bank
//! and operators do, as sentences.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sekat_api_connector::v1::payment_connector_service_server::PaymentConnectorServiceServer;
use sekat_api_google::r#type::Money;
use sekat_api_payment::API;
use sekat_api_payment::v1;
use sekat_api_payment::v1::ledger_service_client::LedgerServiceClient;
use sekat_api_payment::v1::notification_service_client::NotificationServiceClient;
use sekat_api_payment::v1::payment_event_service_client::PaymentEventServiceClient;
use sekat_api_payment::v1::payment_intent_service_client::PaymentIntentServiceClient;
use sekat_mesh::{Channel, Routes};
use sekat_payment::config::Config;
use sekat_testkit::{Caller, Killable, PATIENCE, Process, eventually, signed_in};
use tonic::{Request, Status};

use crate::connector::Connector;

const BUYER: &str = "accounts/a";

/// Everything that a test needs.
pub(crate) struct World {
    pub(crate) mesh: sekat_testkit::World,
    pub(crate) connector: Connector,
    payment: Option<Killable>,
    pub(crate) order: Order,
    pub(crate) edge: PaymentIntentServiceClient<Channel>,
    pub(crate) bank: NotificationServiceClient<Channel>,
    pub(crate) ops: LedgerServiceClient<Channel>,
    _connector: Process,
    /// Their channels stop with them.
    _callers: [Caller; 4],
}

/// The order service's ways into payment.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) intents: PaymentIntentServiceClient<Channel>,
    pub(crate) events: PaymentEventServiceClient<Channel>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let mesh = sekat_testkit::World::new();
        let connector = Connector::default();
        let routes = Routes::new(PaymentConnectorServiceServer::new(connector.clone()));
        let serving = mesh.stand_in("psp-connector", &sekat_api_connector::API, routes).await;
        let [order, edge, ingress, ops] =
            ["order", "commerce-edge", "notify-ingress", "ops"].map(|name| mesh.caller(name));
        let callers = [order.await, edge.await, ingress.await, ops.await];
        let [order, edge, ingress, ops] = callers.each_ref().map(|caller| caller.channel(&API));
        let mut world = Self {
            mesh,
            connector,
            payment: None,
            order: Order {
                intents: PaymentIntentServiceClient::new(order.clone()),
                events: PaymentEventServiceClient::new(order),
            },
            edge: PaymentIntentServiceClient::new(edge),
            bank: NotificationServiceClient::new(ingress),
            ops: LedgerServiceClient::new(ops),
            _connector: serving,
            _callers: callers,
        };
        world.start().await;
        world
    }

    /// Starts the payment process on the store that is there.
    pub(crate) async fn start(&mut self) {
        self.payment = Some(self.mesh.start_killable("payment", &[], Config::read, sekat_payment::build).await);
    }

    /// Ends the payment process as `kill -9` does: in the middle of whatever it does.
    pub(crate) async fn kill(&mut self) {
        self.payment.take().unwrap().kill().await;
    }

    /// A request of the buyer `account`, as an edge forwards it.
    pub(crate) fn of<T>(&self, account: &str, request: T) -> Request<T> {
        signed_in(&self.mesh.buyer(account), request)
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
        let mut seen = v1::PaymentIntent::default();
        eventually(state.as_str_name(), async || {
            seen = self.seen(id).await;
            seen.state() == state
        })
        .await;
        seen
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
