//! A connector and a bank behind it, in memory, as a workload of the mesh: it keeps the contract of
//! `sekat.connector.v1`, and loses what it is told to lose.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use sekat_api_connector::v1;
use sekat_api_connector::v1::payment_connector_service_server::PaymentConnectorService;
use sekat_api_google::r#type::Money;
use sekat_mesh::refusal::refuse;
use tokio::sync::{Notify, watch};
use tonic::{Code, Request, Response, Status};

/// How often the mesh's client tries a call that says UNAVAILABLE: as many faults in a row reach the service as one.
pub(crate) const ATTEMPTS: usize = 4;

/// What happens to the next call of a method.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The bank does it, and the answer is lost.
    LoseAnswer,
    /// The bank is not reached.
    Unreachable,
    /// The bank refuses for good.
    Refuse,
    /// The bank does it, and answers when it is released.
    Hang,
    /// The buyer pays just before.
    PaidFirst,
}

/// The connector; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Connector(Arc<State>);

#[derive(Default)]
struct State {
    charges: Mutex<HashMap<String, v1::Charge>>,
    faults: Mutex<HashMap<&'static str, VecDeque<Fault>>>,
    calls: Mutex<HashMap<&'static str, usize>>,
    hung: Notify,
    released: watch::Sender<bool>,
}

impl Connector {
    /// Has the next `times` calls of `method` meet `fault`.
    pub(crate) fn fail(&self, method: &'static str, fault: Fault, times: usize) {
        lock(&self.0.faults).entry(method).or_default().extend(std::iter::repeat_n(fault, times));
    }

    /// How often `method` was called.
    pub(crate) fn calls(&self, method: &'static str) -> usize {
        lock(&self.0.calls).get(method).copied().unwrap_or_default()
    }

    /// Ready when a call hangs.
    pub(crate) async fn hangs(&self) {
        self.0.hung.notified().await;
    }

    /// Lets the calls that hang answer.
    pub(crate) fn release(&self) {
        self.0.released.send_replace(true);
    }

    /// The states of all charges at the bank.
    pub(crate) fn charges(&self) -> Vec<v1::ChargeState> {
        lock(&self.0.charges).values().map(v1::Charge::state).collect()
    }

    /// The buyer pays at the bank; its notification is another matter.
    pub(crate) fn pay(&self, id: &str) {
        lock(&self.0.charges).get_mut(id).unwrap().set_state(v1::ChargeState::Paid);
    }

    async fn meet(
        &self,
        method: &'static str,
        id: &str,
        effect: impl FnOnce(&mut HashMap<String, v1::Charge>) -> Result<v1::Charge, Status>,
    ) -> Result<Response<v1::Charge>, Status> {
        *lock(&self.0.calls).entry(method).or_default() += 1;
        let fault = lock(&self.0.faults).get_mut(method).and_then(VecDeque::pop_front);
        match fault {
            Some(Fault::Unreachable) => return Err(refuse(Code::Unavailable, "PROVIDER_UNREACHABLE", "as told")),
            Some(Fault::Refuse) => return Err(refuse(Code::FailedPrecondition, "PROVIDER_REFUSED", "as told")),
            Some(Fault::PaidFirst) => self.pay(id),
            Some(Fault::LoseAnswer | Fault::Hang) | None => {}
        }
        let done = effect(&mut lock(&self.0.charges));
        match fault {
            Some(Fault::LoseAnswer) => Err(refuse(Code::Unavailable, "PROVIDER_OUTCOME_UNKNOWN", "as told")),
            Some(Fault::Hang) => {
                self.0.hung.notify_one();
                let mut released = self.0.released.subscribe();
                let _ = released.wait_for(|released| *released).await;
                done.map(Response::new)
            }
            _ => done.map(Response::new),
        }
    }
}

#[tonic::async_trait]
impl PaymentConnectorService for Connector {
    async fn create_charge(&self, request: Request<v1::CreateChargeRequest>) -> Result<Response<v1::Charge>, Status> {
        let request = request.into_inner();
        assert_eq!(request.request_id.len(), 36, "the contract wants a UUID");
        let id = request.charge_id.clone();
        self.meet("CreateCharge", &id, |charges| {
            let number = format!("12345{:06}", charges.len() + 1);
            let charge = charges.entry(request.charge_id.clone()).or_insert_with(|| v1::Charge {
                name: format!("charges/{}", request.charge_id),
                state: v1::ChargeState::Open.into(),
                bank: request.bank,
                amount: request.amount.clone(),
                account_number: number,
                provider_reference: String::new(),
                expire_time: request.expire_time,
                paid_time: None,
            });
            // A repetition is answered like the first time, whatever became of the charge.
            Ok(v1::Charge { state: v1::ChargeState::Open.into(), ..charge.clone() })
        })
        .await
    }

    async fn get_charge(&self, request: Request<v1::GetChargeRequest>) -> Result<Response<v1::Charge>, Status> {
        let id = id(&request.get_ref().name);
        self.meet("GetCharge", &id, |charges| charges.get(&id).cloned().ok_or_else(unknown)).await
    }

    async fn cancel_charge(&self, request: Request<v1::CancelChargeRequest>) -> Result<Response<v1::Charge>, Status> {
        let id = id(&request.get_ref().name);
        self.meet("CancelCharge", &id, |charges| {
            let charge = charges.get_mut(&id).ok_or_else(unknown)?;
            if charge.state() == v1::ChargeState::Paid {
                return Err(refuse(Code::FailedPrecondition, "CHARGE_PAID", "paid"));
            }
            charge.set_state(v1::ChargeState::Closed);
            Ok(charge.clone())
        })
        .await
    }

    /// The body is `charge notification rupiah`; the header `x-signature` is `genuine` or anything else.
    async fn verify_notification(
        &self,
        request: Request<v1::VerifyNotificationRequest>,
    ) -> Result<Response<v1::VerifiedNotification>, Status> {
        let request = request.into_inner();
        let genuine = |header: &v1::NotificationHeader| header.name == "x-signature" && header.value == "genuine";
        if !request.headers.iter().any(genuine) {
            return Err(refuse(Code::Unauthenticated, "NOTIFICATION_NOT_GENUINE", "no"));
        }
        let body = String::from_utf8(request.body).unwrap();
        let mut words = body.split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap();
        Ok(Response::new(v1::VerifiedNotification {
            charge: format!("charges/{}", word()),
            notification_id: word(),
            paid_amount: Some(Money { currency_code: "IDR".to_owned(), units: word().parse().unwrap(), nanos: 0 }),
            paid_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            provider_reference: "bank-1".to_owned(),
        }))
    }
}

fn id(name: &str) -> String {
    name.strip_prefix("charges/").unwrap().to_owned()
}

fn unknown() -> Status {
    refuse(Code::NotFound, "CHARGE_NOT_FOUND", "no such charge")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
