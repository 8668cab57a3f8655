//! A buyer's app that gets through: it repeats the very same request until it is decided, whatever dies meanwhile,
//! and does nothing else to help.

use acceptance::shop::{Buyer, request_id};
use acceptance::{Mesh, eventually};
use sekat_api_order::v1 as order;
use sekat_api_order::v1::OrderState;
use sekat_api_order::v1::order_service_client::OrderServiceClient;
use sekat_api_payment::v1 as payment;
use sekat_api_payment::v1::payment_intent_service_client::PaymentIntentServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::till::Till;

/// One buyer's app. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) buyer: Buyer,
    pub(crate) till: Till,
    commerce: Channel,
    /// Where CreateOrder goes.
    orders: Channel,
}

impl App {
    /// Signs a new buyer up.
    pub(crate) async fn sign_up(mesh: &Mesh) -> Self {
        let commerce = mesh.public("commerce-edge");
        Self { buyer: Buyer::sign_up(mesh).await, till: Till::of(mesh), orders: commerce.clone(), commerce }
    }

    /// The same app with CreateOrder sent to order's own port, as commerce-edge would: the edge asks account about
    /// the session first, and a test may have stopped account.
    pub(crate) async fn past_the_edge(self, mesh: &Mesh) -> Self {
        Self { orders: mesh.trusting_channel_as("commerce-edge", "order").await, ..self }
    }

    /// Fills a cart with one piece and asks for its price. Returns the cart's name and the quote's hash.
    pub(crate) async fn fill_cart(&self, sku: &str) -> (String, String) {
        let cart = insist("a cart", async || self.buyer.cart(&[(sku, 1)]).await).await.unwrap().name;
        let quote = insist("a quote", async || self.buyer.quote(&cart).await).await.unwrap();
        (cart, quote.quote_hash)
    }

    /// Orders a cart.
    pub(crate) async fn place(&self, cart: &str, quote_hash: &str) -> order::Order {
        let ordering = order::CreateOrderRequest {
            cart: cart.to_owned(),
            address: self.buyer.address.clone(),
            quote_hash: quote_hash.to_owned(),
            request_id: request_id(),
        };
        let mut orders = OrderServiceClient::new(self.orders.clone());
        let placed = insist("an order", async || orders.create_order(self.buyer.request(ordering.clone())).await);
        let placed = placed.await.unwrap().into_inner();
        assert_eq!(placed.state(), OrderState::PendingPayment, "{}", placed.failure_reason);
        placed
    }

    /// Orders one piece. Returns the cart's name and the order.
    pub(crate) async fn order(&self, sku: &str) -> (String, order::Order) {
        let (cart, quote_hash) = self.fill_cart(sku).await;
        let placed = self.place(&cart, &quote_hash).await;
        (cart, placed)
    }

    /// Orders a cart once, whatever comes of it.
    pub(crate) async fn click(&self, cart: &str, quote_hash: &str) -> Result<order::Order, Status> {
        let id = request_id();
        insist("a click's answer", async || self.buyer.order_as(cart, quote_hash, &id).await).await
    }

    /// Chooses a virtual account, and asks again until the bank has opened it.
    pub(crate) async fn virtual_account(&self, payment_intent: &str) -> String {
        eventually("a virtual account", async || match self.try_virtual_account(payment_intent).await {
            Err(status) if is_open(&status) => None,
            decided => decided.unwrap(),
        })
        .await
    }

    /// Chooses a virtual account once; nothing if the bank has not opened it yet. It is the same request each time.
    pub(crate) async fn try_virtual_account(&self, payment_intent: &str) -> Result<Option<String>, Status> {
        let method = payment::VirtualAccountMethod { bank: payment::Bank::Bca.into() };
        let confirmation = payment::ConfirmPaymentIntentRequest {
            name: payment_intent.to_owned(),
            method: Some(payment::confirm_payment_intent_request::Method::VirtualAccount(method)),
            request_id: "confirm".to_owned() + payment_intent.trim_start_matches("paymentIntents/"),
        };
        let mut intents = PaymentIntentServiceClient::new(self.commerce.clone());
        let intent = intents.confirm_payment_intent(self.buyer.request(confirmation)).await?.into_inner();
        Ok(intent.next_action.and_then(|next| next.action).map(|action| match action {
            payment::next_action::Action::VirtualAccountTransfer(transfer) => transfer.account_number,
        }))
    }

    /// Pays an order and sees it PAID.
    pub(crate) async fn pay(&self, placed: &order::Order) -> order::Order {
        let number = self.virtual_account(&placed.payment_intent).await;
        self.till.pay(&number).await;
        self.buyer.wait_for(&placed.name, OrderState::Paid).await
    }

    /// Cancels an order and sees it CANCELED.
    pub(crate) async fn cancel(&self, order: &str) -> order::Order {
        let cancellation = order::CancelOrderRequest { name: order.to_owned(), request_id: request_id() };
        let mut orders = OrderServiceClient::new(self.commerce.clone());
        let canceled = async || orders.cancel_order(self.buyer.request(cancellation.clone())).await;
        insist("a cancellation", canceled).await.unwrap();
        self.buyer.wait_for(order, OrderState::Canceled).await
    }

    /// All orders of this buyer.
    pub(crate) async fn all_orders(&self) -> Vec<order::Order> {
        let mut orders = OrderServiceClient::new(self.commerce.clone());
        let mut asking = order::ListOrdersRequest { parent: self.buyer.person.account.clone(), ..Default::default() };
        let mut all = Vec::new();
        loop {
            let page = insist("a list", async || orders.list_orders(self.buyer.request(asking.clone())).await).await;
            let page = page.unwrap().into_inner();
            all.extend(page.orders);
            if page.next_page_token.is_empty() {
                return all;
            }
            asking.page_token = page.next_page_token;
        }
    }
}

/// Repeats a call as long as its answer leaves open what happened. What is decided is the test's to judge.
pub(crate) async fn insist<T>(what: &str, mut call: impl AsyncFnMut() -> Result<T, Status>) -> Result<T, Status> {
    eventually(what, async || match call().await {
        Err(status) if is_open(&status) => None,
        decided => Some(decided),
    })
    .await
}

/// Whether a status says nothing about what became of the call. The transport's own errors are UNKNOWN.
fn is_open(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Cancelled
            | Code::ResourceExhausted
            | Code::Unknown
    )
}
