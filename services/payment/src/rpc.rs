//! The contract's methods: parse, call, map. No rules and no SQL.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use sekat_api_connector::v1 as connector;
use sekat_api_payment::v1;
use sekat_api_payment::v1::ledger_service_server::LedgerService;
use sekat_api_payment::v1::notification_service_server::NotificationService;
use sekat_api_payment::v1::payment_event_service_server::PaymentEventService;
use sekat_api_payment::v1::payment_intent_service_server::PaymentIntentService;
use sekat_mesh::Permit;
use sekat_money::Money;
use sekat_service::{Invalid, Page, Violations};
use sekat_store::FilterDigest;
use tonic::{Request, Response, Status};

use crate::cancel::{self, Canceled};
use crate::capture::capture;
use crate::confirm_intent::confirm;
use crate::connector::Delivery;
use crate::create_intent::{NewIntent, create};
use crate::error::Error;
use crate::ingest_notification::{Ingested, ingest};
use crate::intent::CancelReason;
use crate::intents::{Bank, Found, Viewer};
use crate::ledger;
use crate::list_methods::list_methods;
use crate::service::{Payment, moment};
use crate::watch_events::{position, watch};
use crate::wire;

/// Transfers of a page when the caller does not say, and at most: 50 kilobytes.
const DEFAULT_TRANSFERS: u32 = 50;
const MAX_TRANSFERS: u32 = 200;

/// The most that a provider's notification may hold, in bytes: real ones have less than 4 KiB.
const MAX_NOTIFICATION_BYTES: usize = 64 * 1024;

/// The workload that may see all payments; everybody else is an edge that speaks for a buyer.
const ORDER: &str = "/order";

/// Who asks: the order service, or the buyer for whom an edge speaks.
fn viewer(permit: &Permit) -> Result<Viewer, Status> {
    if permit.caller().path() == ORDER { Ok(Viewer::Order) } else { Ok(Viewer::Buyer(permit.buyer()?.to_owned())) }
}

#[tonic::async_trait]
impl PaymentIntentService for Payment {
    async fn create_payment_intent(
        &self,
        request: Request<v1::CreatePaymentIntentRequest>,
    ) -> Result<Response<v1::PaymentIntent>, Status> {
        let permit = Permit::of(&request)?;
        let request = request.into_inner();
        let new = new_intent(&request)?;
        let (payable, now_ms) = (self.config.range(Bank::Bca), moment(&permit).now_ms);
        let reply = self.once(&permit, &request.request_id, &request, move |tx| {
            create(tx, &new, payable, now_ms).map(|intent| wire::payment_intent(&intent))
        });
        Ok(Response::new(reply.await?))
    }

    async fn get_payment_intent(
        &self,
        request: Request<v1::GetPaymentIntentRequest>,
    ) -> Result<Response<v1::PaymentIntent>, Status> {
        let permit = Permit::of(&request)?;
        let (viewer, id) = (viewer(&permit)?, wire::intent_id(&request.get_ref().name)?);
        let reply = match self.find(&id).await? {
            Found::Tombstone(tombstone) if viewer == Viewer::Order => wire::tombstone(&tombstone),
            found => wire::payment_intent(&viewer.admit(found)?),
        };
        Ok(Response::new(reply))
    }

    async fn confirm_payment_intent(
        &self,
        request: Request<v1::ConfirmPaymentIntentRequest>,
    ) -> Result<Response<v1::PaymentIntent>, Status> {
        let permit = Permit::of(&request)?;
        let request = request.into_inner();
        let (viewer, id, bank) = (viewer(&permit)?, wire::intent_id(&request.name)?, method(&request)?);
        let (payable, moment) = (self.config.range(bank), moment(&permit));
        let waiter = self.waiting.join(&id);
        let asker = viewer.clone();
        // What is stored under the request's id says that it was carried out. The answer is the payment as it is
        // once the provider has answered: a buyer who repeats a request whose reply was lost needs the account.
        let _: v1::PaymentIntent = self
            .once(&permit, &request.request_id, &request, move |tx| {
                confirm(tx, &id, &asker, bank, payable, moment).map(|intent| wire::payment_intent(&intent))
            })
            .await?;
        let intent = viewer.admit(self.settled(waiter, permit.deadline()).await?)?;
        Ok(Response::new(wire::payment_intent(&intent)))
    }

    async fn capture_payment_intent(
        &self,
        request: Request<v1::CapturePaymentIntentRequest>,
    ) -> Result<Response<v1::PaymentIntent>, Status> {
        let permit = Permit::of(&request)?;
        let request = request.into_inner();
        let (id, moment) = (wire::intent_id(&request.name)?, moment(&permit));
        let key = id.clone();
        let reply = self.once(&permit, &request.request_id, &request, move |tx| {
            capture(tx, &key, moment).map(|intent| wire::payment_intent(&intent))
        });
        let reply = reply.await?;
        self.announce(&id);
        Ok(Response::new(reply))
    }

    async fn cancel_payment_intent(
        &self,
        request: Request<v1::CancelPaymentIntentRequest>,
    ) -> Result<Response<v1::PaymentIntent>, Status> {
        let permit = Permit::of(&request)?;
        let request = request.into_inner();
        let (id, reason, moment) = (wire::intent_id(&request.name)?, reason(&request)?, moment(&permit));
        let waiter = self.waiting.join(&id);
        let key = id.clone();
        // As for a confirmation: what is stored says that the closing has begun, the answer how it ended.
        let _: v1::PaymentIntent = self
            .once(&permit, &request.request_id, &request, move |tx| {
                Ok(match cancel::cancel(tx, &key, reason, moment)? {
                    Found::Intent(intent) => wire::payment_intent(&intent),
                    Found::Tombstone(tombstone) => wire::tombstone(&tombstone),
                    Found::Nothing => return Err(Error::NotFound),
                })
            })
            .await?;
        self.announce(&id);
        let reply = match cancel::outcome(self.settled(waiter, permit.deadline()).await?)? {
            Canceled::Intent(intent) => wire::payment_intent(&intent),
            Canceled::Name(tombstone) => wire::tombstone(&tombstone),
        };
        Ok(Response::new(reply))
    }

    async fn list_payment_methods(
        &self,
        request: Request<v1::ListPaymentMethodsRequest>,
    ) -> Result<Response<v1::ListPaymentMethodsResponse>, Status> {
        Ok(Response::new(list_methods(self.store.pages(), request.get_ref())?))
    }
}

#[tonic::async_trait]
impl PaymentEventService for Payment {
    type WatchPaymentEventsStream = Pin<Box<dyn Stream<Item = Result<v1::PaymentEvent, Status>> + Send>>;

    async fn watch_payment_events(
        &self,
        request: Request<v1::WatchPaymentEventsRequest>,
    ) -> Result<Response<Self::WatchPaymentEventsStream>, Status> {
        let from = position(&request.get_ref().resume_token)?;
        let events = watch(self.clone(), from).await?;
        Ok(Response::new(Box::pin(events.map(|event| Ok(wire::event(&event?))))))
    }
}

#[tonic::async_trait]
impl LedgerService for Payment {
    async fn get_ledger_account(
        &self,
        request: Request<v1::GetLedgerAccountRequest>,
    ) -> Result<Response<v1::LedgerAccount>, Status> {
        let id = wire::id_in(&request.get_ref().name, "ledgerAccounts").map(str::to_owned);
        let id = id.ok_or_else(|| Invalid::field("name", "must be ledgerAccounts/{ledger_account}"))?;
        let account = self.store.read(move |tx| ledger::read::get_account(tx, &id)).await?;
        Ok(Response::new(wire::ledger_account(&account)))
    }

    async fn list_ledger_transfers(
        &self,
        request: Request<v1::ListLedgerTransfersRequest>,
    ) -> Result<Response<v1::ListLedgerTransfersResponse>, Status> {
        let request = request.into_inner();
        let payment_intent = match request.payment_intent.as_str() {
            "" => String::new(),
            name => wire::intent_id(name)?,
        };
        let filter = FilterDigest::new("ListLedgerTransfers", &[payment_intent.as_bytes()]);
        let sizes = (DEFAULT_TRANSFERS, MAX_TRANSFERS);
        let page = Page::new(self.store.pages(), filter, &request.page_token, request.page_size, sizes);
        let page = page.map_err(Error::Store)?;
        let after = match page.after().as_str() {
            "" => 0,
            seq => seq.parse().map_err(|_| Error::Stored("page token"))?,
        };
        let limit = page.limit();
        let entries = self.store.read(move |tx| ledger::read::list(tx, &payment_intent, after, limit)).await?;
        let rows = entries.iter().map(|entry| (entry.seq.to_string(), wire::ledger_transfer(entry)));
        let (transfers, next_page_token) = page.cut(rows).map_err(Error::Store)?;
        Ok(Response::new(v1::ListLedgerTransfersResponse { transfers, next_page_token }))
    }
}

#[tonic::async_trait]
impl NotificationService for Payment {
    async fn ingest_notification(
        &self,
        request: Request<v1::IngestNotificationRequest>,
    ) -> Result<Response<v1::IngestNotificationResponse>, Status> {
        let permit = Permit::of(&request)?;
        let notification = self.connector.verify(delivery(request.into_inner())?).await?;
        let (moment, charge) = (moment(&permit), notification.charge.clone());
        let store = self.store.by(permit.deadline());
        let ingested = store.write(Some(permit.access()), move |tx| ingest(tx, &notification, moment)).await?;
        self.announce(&charge);
        Ok(Response::new(v1::IngestNotificationResponse { duplicate: ingested == Ingested::Duplicate }))
    }
}

fn new_intent(request: &v1::CreatePaymentIntentRequest) -> Result<NewIntent, Error> {
    let mut fields = Violations::default();
    let id = wire::chosen_id(&request.payment_intent_id);
    let id = fields.take("payment_intent_id", "must be 4 to 63 of a-z, 0-9 and -", id);
    let order = wire::id_in(&request.order, "orders").map(|_| &request.order);
    let order = fields.take("order", "must be orders/{order}", order);
    let buyer = wire::id_in(&request.buyer, "accounts").map(|_| &request.buyer);
    let buyer = fields.take("buyer", "must be accounts/{account}", buyer);
    let amount = request.amount.as_ref().and_then(|amount| Money::try_from(amount).ok());
    let amount = fields.take("amount", "must be more than zero, in IDR, without sen", amount);
    let expire_ms = request.expire_time.as_ref().and_then(wire::millis);
    let expire_ms = fields.take("expire_time", "must be a time, at most 7 days from now", expire_ms);
    let (Some(id), Some(order), Some(buyer), Some(amount), Some(expire_ms)) = (id, order, buyer, amount, expire_ms)
    else {
        return Err(fields.into_invalid().into());
    };
    Ok(NewIntent { id: id.to_owned(), order: order.clone(), buyer: buyer.clone(), amount, expire_ms })
}

fn method(request: &v1::ConfirmPaymentIntentRequest) -> Result<Bank, Error> {
    let bank = match &request.method {
        Some(v1::confirm_payment_intent_request::Method::VirtualAccount(method)) => {
            wire::bank(method.bank).ok_or(("virtual_account.bank", "must be a bank with virtual accounts"))
        }
        None => Err(("method", "must be one way to pay")),
    };
    bank.map_err(|(field, rule)| Invalid::field(field, rule).into())
}

fn reason(request: &v1::CancelPaymentIntentRequest) -> Result<CancelReason, Error> {
    match v1::CancelReason::try_from(request.reason) {
        Ok(v1::CancelReason::Requested) => Ok(CancelReason::Requested),
        Ok(v1::CancelReason::Expired) => Ok(CancelReason::Expired),
        Ok(v1::CancelReason::OrderFailed) => Ok(CancelReason::OrderFailed),
        Ok(v1::CancelReason::Unspecified) | Err(_) => {
            Err(Invalid::field("reason", "must say why the payment is given up").into())
        }
    }
}

fn delivery(request: v1::IngestNotificationRequest) -> Result<Delivery, Error> {
    let mut fields = Violations::default();
    let bank =
        fields.take("channel", "must be a provider's channel, such as bca", wire::bank_of_channel(&request.channel));
    let fits = (1..=MAX_NOTIFICATION_BYTES).contains(&request.body.len());
    let body = fields.take("body", "must be 1 to 65536 bytes", fits.then_some(request.body));
    let (Some(bank), Some(body)) = (bank, body) else { return Err(fields.into_invalid().into()) };
    let headers = request
        .headers
        .into_iter()
        .map(|header| connector::NotificationHeader { name: header.name, value: header.value });
    let request = connector::VerifyNotificationRequest {
        channel: request.channel,
        http_method: request.http_method,
        path: request.path,
        headers: headers.collect(),
        body,
    };
    Ok(Delivery { bank, request })
}
