//! The connector as this service uses it: asks one question, and reads from the reply what it proves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sekat_api_connector::v1;
use sekat_api_connector::v1::payment_connector_service_client::PaymentConnectorServiceClient;
use sekat_mesh::refusal::reason;
use sekat_mesh::{Channel, context};
use sekat_money::Money;
use sekat_service::timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tonic::{Code, Status};

use crate::charge::{Answer, Step};
use crate::error::Error;
use crate::ingest_notification::Notification;
use crate::intents::{Bank, Intent, VirtualAccount};
use crate::wire::millis;

/// What one question may take: the contract's deadline of the connector's calls.
const CALL_LIMIT: Duration = Duration::from_secs(8);

/// Questions about charges at a time. Providers answer in about a second: enough for the busiest hour of a shop
/// that opens a hundred thousand charges a day.
pub const QUESTIONS: u32 = 32;

/// Signatures that are checked at a time; who comes later waits within its deadline. With [`QUESTIONS`] less than
/// the 64 calls that a workload admits at the least, so that a storm of notifications is never refused.
const VERIFICATIONS: usize = 24;

/// The client of the connector; clones share its channel and its limits.
#[derive(Clone)]
pub struct Connector {
    client: PaymentConnectorServiceClient<Channel>,
    verifications: Arc<Semaphore>,
}

/// A notification as it arrived.
pub struct Delivery {
    /// Which bank's channel.
    pub bank: Bank,
    /// What the connector is to check.
    pub request: v1::VerifyNotificationRequest,
}

impl Connector {
    /// A client over `channel`.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        let verifications = Arc::new(Semaphore::new(VERIFICATIONS));
        Self { client: PaymentConnectorServiceClient::new(channel), verifications }
    }

    /// Asks the provider of `intent`, within 8 seconds and in the trace of the running task.
    pub async fn ask(&self, intent: &Intent, step: Step) -> Answer {
        let Some(bank) = intent.bank else { return Answer::Uncertain("NO_BANK".to_owned()) };
        let call = self.clone().call(intent, bank, step);
        let parent = context::Context::current().map(|context| context.trace());
        let context = context::Context::detached(Some(Instant::now() + CALL_LIMIT), parent);
        let reply = context::scope(context, call).await;
        read(step, intent, reply.map(tonic::Response::into_inner))
    }

    async fn call(mut self, intent: &Intent, bank: Bank, step: Step) -> Result<tonic::Response<v1::Charge>, Status> {
        let name = format!("charges/{}", intent.id);
        let bank = wire_bank(bank).into();
        let account_number = intent.account.as_ref().map(|account| account.number.clone()).unwrap_or_default();
        let request_id = request_id(intent);
        match step {
            Step::Create => {
                let request = v1::CreateChargeRequest {
                    charge_id: intent.id.clone(),
                    bank,
                    amount: Some(intent.amount.into()),
                    expire_time: Some(timestamp(intent.expire_ms)),
                    request_id,
                };
                self.client.create_charge(request).await
            }
            Step::Query => self.client.get_charge(v1::GetChargeRequest { name, bank, account_number }).await,
            Step::Close => {
                let request = v1::CancelChargeRequest { name, bank, account_number, request_id };
                self.client.cancel_charge(request).await
            }
        }
    }

    /// Has the signature of a notification checked, and reads what it reports.
    ///
    /// # Errors
    /// [`Error::NotificationForged`], [`Error::NotificationMalformed`], [`Error::ConnectorUnavailable`], or
    /// [`Error::ConnectorAnswer`] if the report lacks what the contract promises.
    pub async fn verify(&self, delivery: Delivery) -> Result<Notification, Error> {
        let Delivery { bank, request } = delivery;
        // It is never closed.
        let _turn = self.verifications.acquire().await;
        let reply = self.client.clone().verify_notification(request).await.map_err(|status| match status.code() {
            Code::Unauthenticated => Error::NotificationForged(Box::new(status)),
            Code::InvalidArgument | Code::NotFound | Code::OutOfRange | Code::FailedPrecondition => {
                Error::NotificationMalformed(Box::new(status))
            }
            _ => Error::ConnectorUnavailable(Box::new(status)),
        })?;
        report(bank, reply.into_inner())
    }
}

/// Always the same one, since a payment has one charge, and a UUID, since the contract wants one (RFC 9562, version 8:
/// bits of our own, here of a digest).
fn request_id(intent: &Intent) -> String {
    let mut bits = [0; 16];
    for (bit, byte) in bits.iter_mut().zip(Sha256::digest(&intent.id)) {
        *bit = byte;
    }
    uuid::Builder::from_custom_bytes(bits).into_uuid().to_string()
}

fn report(bank: Bank, verified: v1::VerifiedNotification) -> Result<Notification, Error> {
    let charge = verified.charge.strip_prefix("charges/").filter(|id| !id.is_empty());
    let charge = charge.ok_or(Error::ConnectorAnswer("the charge"))?.to_owned();
    if verified.notification_id.is_empty() {
        return Err(Error::ConnectorAnswer("the notification's id"));
    }
    let amount = verified.paid_amount.as_ref().and_then(|amount| Money::try_from(amount).ok());
    let amount = amount.filter(|amount| amount.is_positive()).ok_or(Error::ConnectorAnswer("a positive amount"))?;
    let paid_ms = verified.paid_time.as_ref().and_then(millis).ok_or(Error::ConnectorAnswer("the time"))?;
    Ok(Notification {
        bank,
        id: verified.notification_id,
        charge,
        amount,
        paid_ms,
        reference: verified.provider_reference,
    })
}

/// What a reply proves. A refusal proves something only if the provider, or the connector before it asked, has said
/// no to this very request; whatever may have happened on the way proves nothing.
fn read(step: Step, intent: &Intent, reply: Result<v1::Charge, Status>) -> Answer {
    match reply {
        Ok(charge) => read_charge(intent, &charge),
        Err(status) => match (step, status.code()) {
            (Step::Create, Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange) => {
                Answer::Refused(word(&status))
            }
            (Step::Query | Step::Close, Code::NotFound) => Answer::Absent,
            _ => Answer::Uncertain(word(&status)),
        },
    }
}

fn read_charge(intent: &Intent, charge: &v1::Charge) -> Answer {
    let uncertain = |what: &str| Answer::Uncertain(what.to_owned());
    let amount = charge.amount.as_ref().and_then(|amount| Money::try_from(amount).ok());
    if charge.name.strip_prefix("charges/") != Some(intent.id.as_str()) || amount.is_some_and(|it| it != intent.amount)
    {
        tracing::error!("the provider's charge is not the payment's; nothing is concluded from it");
        return uncertain("OTHER_CHARGE");
    }
    match charge.state() {
        v1::ChargeState::Open => {
            let is_number = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            if !is_number(&charge.account_number) {
                return uncertain("NO_ACCOUNT_NUMBER");
            }
            let expire_ms = charge.expire_time.as_ref().and_then(millis).unwrap_or(intent.expire_ms);
            Answer::Open(VirtualAccount { number: charge.account_number.clone(), expire_ms })
        }
        v1::ChargeState::Paid => Answer::Paid,
        v1::ChargeState::Closed | v1::ChargeState::Expired => Answer::Closed,
        v1::ChargeState::Unspecified => uncertain("NO_STATE"),
    }
}

/// The stable word of a refusal: its reason, else its code.
fn word(status: &Status) -> String {
    reason(status).unwrap_or_else(|| format!("{:?}", status.code()))
}

const fn wire_bank(bank: Bank) -> v1::Bank {
    match bank {
        Bank::Bca => v1::Bank::Bca,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::Standing;
    use prost_types::Timestamp;
    use sekat_money::Currency;

    fn idr(rupiah: i64) -> Money {
        Money::from_units(Currency::Idr, rupiah).unwrap()
    }

    fn intent() -> Intent {
        Intent {
            id: "order-1".into(),
            order: "orders/1".into(),
            buyer: "accounts/a".into(),
            amount: idr(25_000),
            create_ms: 0,
            expire_ms: 2_000,
            version: 1,
            standing: Standing::OPENED,
            bank: Some(Bank::Bca),
            account: None,
            notification: None,
            failure_reason: None,
        }
    }

    fn charge(state: v1::ChargeState) -> v1::Charge {
        v1::Charge {
            name: "charges/order-1".into(),
            state: state.into(),
            bank: v1::Bank::Bca.into(),
            amount: Some(idr(25_000).into()),
            account_number: "1234500001".into(),
            provider_reference: String::new(),
            expire_time: Some(Timestamp { seconds: 3, nanos: 0 }),
            paid_time: None,
        }
    }

    fn name(answer: &Answer) -> &'static str {
        match answer {
            Answer::Open(_) => "open",
            Answer::Paid => "paid",
            Answer::Closed => "closed",
            Answer::Absent => "absent",
            Answer::Refused(_) => "refused",
            Answer::Uncertain(_) => "uncertain",
        }
    }

    #[test]
    fn only_a_definite_code_proves_something() {
        let steps = [Step::Create, Step::Query, Step::Close];
        let rows = [
            (Code::InvalidArgument, ["refused", "uncertain", "uncertain"]),
            (Code::FailedPrecondition, ["refused", "uncertain", "uncertain"]),
            (Code::OutOfRange, ["refused", "uncertain", "uncertain"]),
            (Code::NotFound, ["uncertain", "absent", "absent"]),
            (Code::AlreadyExists, ["uncertain"; 3]),
            (Code::Unavailable, ["uncertain"; 3]),
            (Code::DeadlineExceeded, ["uncertain"; 3]),
            (Code::Cancelled, ["uncertain"; 3]),
            (Code::Unknown, ["uncertain"; 3]),
            (Code::Internal, ["uncertain"; 3]),
            (Code::Aborted, ["uncertain"; 3]),
            (Code::ResourceExhausted, ["uncertain"; 3]),
            (Code::PermissionDenied, ["uncertain"; 3]),
            (Code::Unauthenticated, ["uncertain"; 3]),
            (Code::Unimplemented, ["uncertain"; 3]),
            (Code::DataLoss, ["uncertain"; 3]),
        ];
        for (code, expected) in rows {
            let answers = steps.map(|step| name(&read(step, &intent(), Err(Status::new(code, "")))));
            assert_eq!(answers, expected, "{code:?}");
        }
    }

    #[test]
    fn a_charge_is_read_only_if_it_is_the_payments_own() {
        let state = v1::ChargeState::Paid;
        let rows = [
            (charge(v1::ChargeState::Open), "open"),
            (charge(v1::ChargeState::Paid), "paid"),
            (charge(v1::ChargeState::Closed), "closed"),
            (charge(v1::ChargeState::Expired), "closed"),
            (charge(v1::ChargeState::Unspecified), "uncertain"),
            (v1::Charge { name: "charges/order-2".into(), ..charge(state) }, "uncertain"),
            (v1::Charge { amount: Some(idr(26_000).into()), ..charge(state) }, "uncertain"),
            (v1::Charge { account_number: "12 34".into(), ..charge(v1::ChargeState::Open) }, "uncertain"),
            (v1::Charge { account_number: String::new(), ..charge(v1::ChargeState::Open) }, "uncertain"),
        ];
        for (charge, expected) in rows {
            assert_eq!(name(&read(Step::Query, &intent(), Ok(charge))), expected);
        }
    }

    #[test]
    fn a_report_is_complete_or_a_fault_of_the_connector() {
        let whole = || v1::VerifiedNotification {
            charge: "charges/order-1".into(),
            notification_id: "n1".into(),
            paid_amount: Some(idr(25_000).into()),
            paid_time: Some(Timestamp { seconds: 1, nanos: 0 }),
            provider_reference: String::new(),
        };
        assert!(report(Bank::Bca, whole()).is_ok());
        let broken = [
            v1::VerifiedNotification { charge: "order-1".into(), ..whole() },
            v1::VerifiedNotification { notification_id: String::new(), ..whole() },
            v1::VerifiedNotification { paid_amount: None, ..whole() },
            v1::VerifiedNotification { paid_amount: Some(idr(0).into()), ..whole() },
            v1::VerifiedNotification { paid_time: None, ..whole() },
        ];
        for verified in broken {
            assert!(matches!(report(Bank::Bca, verified), Err(Error::ConnectorAnswer(_))));
        }
    }
}
