//! Payments and their news. Money comes when a test says so; nobody asks a bank.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, StreamExt as _};
use sekat_api_payment::v1 as api;
use sekat_api_payment::v1::payment_event_service_server::{PaymentEventService, PaymentEventServiceServer};
use sekat_api_payment::v1::payment_intent_service_server::{PaymentIntentService, PaymentIntentServiceServer};
use sekat_api_payment::v1::{CancelReason, PaymentEventType, PaymentIntentState};
use sekat_mesh::Routes;
use sekat_mesh::refusal::refuse;
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};

use super::{Script, lock};

/// How a payment and its money stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Funds {
    /// It may be paid.
    Open,
    /// The money is there.
    Authorized,
    Captured,
    /// It has ended without money, or will never be opened.
    Over,
    /// Money came after the end.
    Late,
    /// The order gave up the money that was there.
    GivenUp,
}

#[derive(Default)]
struct Books {
    /// After which event the last stream of news began.
    resumed_after: usize,
    /// By the payment's name: how it stands, and its order.
    payments: HashMap<String, (Funds, String)>,
    news: Vec<api::PaymentEvent>,
}

/// The payment service.
#[derive(Clone)]
pub(crate) struct Payment {
    script: Arc<Script>,
    books: Arc<Mutex<Books>>,
    told: watch::Sender<()>,
    /// Grows when all streams break.
    breaks: watch::Sender<()>,
}

/// The trace in which money comes.
pub(crate) const NOTIFICATION_TRACE_ID: [u8; 16] = [0xa1; 16];
const NOTIFICATION_TRACE: &str = "00-a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1-1234567812345678-01";

impl Payment {
    pub(crate) fn new(script: &Arc<Script>) -> Self {
        Self {
            script: Arc::clone(script),
            books: Arc::default(),
            told: watch::Sender::new(()),
            breaks: watch::Sender::new(()),
        }
    }

    /// The money of a payment comes.
    pub(crate) fn pay(&self, payment: &str) {
        let mut books = lock(&self.books);
        match books.payments[payment].0 {
            Funds::Open => books.now(payment, Funds::Authorized, PaymentEventType::Authorized),
            Funds::Over => books.now(payment, Funds::Late, PaymentEventType::PaidLate),
            stands => panic!("a payment that is {stands:?} cannot be paid"),
        }
        drop(books);
        self.told.send_replace(());
    }

    /// The provider refuses a payment.
    pub(crate) fn decline(&self, payment: &str) {
        lock(&self.books).now(payment, Funds::Over, PaymentEventType::Failed);
        self.told.send_replace(());
    }

    /// Tells all news once more, as new news.
    pub(crate) fn repeat_news(&self) {
        let mut books = lock(&self.books);
        for mut event in books.news.clone() {
            event.resume_token = (books.news.len() + 1).to_string();
            books.news.push(event);
        }
        drop(books);
        self.told.send_replace(());
    }

    /// Ends all streams of news.
    pub(crate) fn break_streams(&self) {
        self.breaks.send_replace(());
    }

    /// After how many events the last stream of news began.
    pub(crate) fn resumed_after(&self) -> usize {
        lock(&self.books).resumed_after
    }

    /// How all payments stand, tombstones included.
    pub(crate) fn stand(&self) -> Vec<Funds> {
        lock(&self.books).payments.values().map(|(funds, _)| *funds).collect()
    }

    /// How one payment stands.
    pub(crate) fn funds(&self, payment: &str) -> Funds {
        lock(&self.books).payments[payment].0
    }

    pub(crate) fn routes(&self) -> Routes {
        Routes::new(PaymentIntentServiceServer::new(self.clone()))
            .add_service(PaymentEventServiceServer::new(self.clone()))
    }
}

impl Books {
    fn now(&mut self, payment: &str, funds: Funds, news: PaymentEventType) {
        let entry = self.payments.get_mut(payment).unwrap();
        entry.0 = funds;
        let event = api::PaymentEvent {
            resume_token: (self.news.len() + 1).to_string(),
            payment_intent: payment.to_owned(),
            order: entry.1.clone(),
            r#type: news.into(),
            occur_time: None,
            traceparent: NOTIFICATION_TRACE.to_owned(),
        };
        self.news.push(event);
    }

    fn create(&mut self, request: &api::CreatePaymentIntentRequest) -> Result<api::PaymentIntent, Status> {
        let name = format!("paymentIntents/{}", request.payment_intent_id);
        match self.payments.get(&name) {
            None => {
                self.payments.insert(name.clone(), (Funds::Open, request.order.clone()));
                Ok(intent(&name, PaymentIntentState::RequiresPaymentMethod))
            }
            Some((Funds::Over, _)) => Err(refuse(Code::FailedPrecondition, "PAYMENT_CANCELED", "given up")),
            Some(_) => Ok(intent(&name, PaymentIntentState::RequiresPaymentMethod)),
        }
    }

    fn capture(&mut self, name: &str) -> Result<api::PaymentIntent, Status> {
        match self.payments.get(name).map(|(funds, _)| *funds) {
            Some(Funds::Authorized | Funds::Late) => {
                self.now(name, Funds::Captured, PaymentEventType::Captured);
            }
            Some(Funds::Captured) => {}
            _ => return Err(refuse(Code::FailedPrecondition, "PAYMENT_NOT_AUTHORIZED", "no money")),
        }
        Ok(intent(name, PaymentIntentState::Succeeded))
    }

    fn cancel(&mut self, name: &str, reason: CancelReason) -> Result<api::PaymentIntent, Status> {
        match self.payments.get(name).map(|(funds, _)| *funds) {
            None => {
                self.payments.insert(name.to_owned(), (Funds::Over, String::new()));
            }
            Some(Funds::Open) => {
                self.now(name, Funds::Over, PaymentEventType::Canceled);
            }
            Some(Funds::Authorized) if reason == CancelReason::OrderFailed => {
                self.now(name, Funds::GivenUp, PaymentEventType::Canceled);
            }
            Some(Funds::Authorized) => {
                return Err(refuse(Code::FailedPrecondition, "PAYMENT_ALREADY_AUTHORIZED", "the money is there"));
            }
            Some(Funds::Captured) => {
                return Err(refuse(Code::FailedPrecondition, "PAYMENT_ALREADY_CAPTURED", "the money is taken"));
            }
            Some(Funds::Over | Funds::Late | Funds::GivenUp) => {}
        }
        Ok(intent(name, PaymentIntentState::Canceled))
    }
}

fn intent(name: &str, state: PaymentIntentState) -> api::PaymentIntent {
    api::PaymentIntent { name: name.to_owned(), state: state.into(), ..Default::default() }
}

#[tonic::async_trait]
impl PaymentIntentService for Payment {
    async fn create_payment_intent(
        &self,
        request: Request<api::CreatePaymentIntentRequest>,
    ) -> Result<Response<api::PaymentIntent>, Status> {
        let create = |request| lock(&self.books).create(&request);
        self.script.write("CreatePaymentIntent", |request| &request.request_id, request, create).await
    }

    async fn capture_payment_intent(
        &self,
        request: Request<api::CapturePaymentIntentRequest>,
    ) -> Result<Response<api::PaymentIntent>, Status> {
        let capture = |request: api::CapturePaymentIntentRequest| {
            let captured = lock(&self.books).capture(&request.name);
            self.told.send_replace(());
            captured
        };
        self.script.write("CapturePaymentIntent", |request| &request.request_id, request, capture).await
    }

    async fn cancel_payment_intent(
        &self,
        request: Request<api::CancelPaymentIntentRequest>,
    ) -> Result<Response<api::PaymentIntent>, Status> {
        let cancel = |request: api::CancelPaymentIntentRequest| {
            let canceled = lock(&self.books).cancel(&request.name, request.reason());
            self.told.send_replace(());
            canceled
        };
        self.script.write("CancelPaymentIntent", |request| &request.request_id, request, cancel).await
    }

    async fn get_payment_intent(
        &self,
        _: Request<api::GetPaymentIntentRequest>,
    ) -> Result<Response<api::PaymentIntent>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn confirm_payment_intent(
        &self,
        _: Request<api::ConfirmPaymentIntentRequest>,
    ) -> Result<Response<api::PaymentIntent>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_payment_methods(
        &self,
        _: Request<api::ListPaymentMethodsRequest>,
    ) -> Result<Response<api::ListPaymentMethodsResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

#[tonic::async_trait]
impl PaymentEventService for Payment {
    type WatchPaymentEventsStream = Pin<Box<dyn Stream<Item = Result<api::PaymentEvent, Status>> + Send>>;

    async fn watch_payment_events(
        &self,
        request: Request<api::WatchPaymentEventsRequest>,
    ) -> Result<Response<Self::WatchPaymentEventsStream>, Status> {
        let token = |request: api::WatchPaymentEventsRequest| Ok(request.resume_token.parse().unwrap_or_default());
        let after: usize = self.script.read("WatchPaymentEvents", request, token).await?.into_inner();
        lock(&self.books).resumed_after = after;
        let mut breaks = self.breaks.subscribe();
        let broken = async move { breaks.changed().await };
        let start = (Arc::clone(&self.books), self.told.subscribe(), after);
        let stream = futures_util::stream::unfold(start, |(books, mut told, at)| async move {
            loop {
                told.borrow_and_update();
                let next = lock(&books).news.get(at).cloned();
                match next {
                    Some(event) => return Some((Ok(event), (books, told, at + 1))),
                    None => told.changed().await.ok()?,
                }
            }
        });
        Ok(Response::new(Box::pin(stream.take_until(Box::pin(broken)))))
    }
}
