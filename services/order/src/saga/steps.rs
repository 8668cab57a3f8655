//! The steps as calls, and what their answers mean. All that goes into a call follows from the stored order, so that a
//! repetition is the same call with the same request id, and the peer answers it as it did the first.

use prost_types::Duration;
use sekat_api_account::v1::{Address, GetAccountStandingRequest, Standing};
use sekat_api_catalog::v1::{
    CommitReservationRequest, CreateReservationRequest, ReleaseReservationRequest, ReservationLine,
};
use sekat_api_order::v1::ShipTo;
use sekat_api_payment::v1::{
    CancelPaymentIntentRequest, CancelReason, CapturePaymentIntentRequest, CreatePaymentIntentRequest,
    PaymentIntentState,
};
use sekat_mesh::refusal::reason;
use sekat_service::timestamp;
use tonic::{Code, Response, Status};

use super::machine::Step;
use super::{Event, Reason};
use crate::name::derived;
use crate::order::Order;
use crate::shop::Peers;

/// What is known after a step.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// What happened.
    Known(Event),
    /// The buyer may order, and the order goes here.
    Copied(ShipTo),
    /// Not whether it happened. A timeout is not a refusal.
    Unknown(&'static str),
}

/// Takes a step of an order.
pub(crate) async fn take(peers: &Peers, order: &Order, step: Step) -> Outcome {
    match step {
        Step::CheckBuyer => check_buyer(peers, order).await,
        Step::Hold => {
            let reply = peers.inventory.clone().create_reservation(hold(order)).await;
            done_or_refused(reply, Event::Refused(Reason::OutOfStock))
        }
        Step::OpenPayment => {
            let reply = peers.payments.clone().create_payment_intent(open_payment(order)).await;
            done_or_refused(reply, Event::Refused(Reason::PaymentRefused))
        }
        Step::Sell => {
            let request_id = derived(&order.id, "sell", order.hold);
            let request = CommitReservationRequest { name: reservation(order), request_id };
            done_or_refused(peers.inventory.clone().commit_reservation(request).await, Event::Lapsed)
        }
        Step::Capture => {
            let request_id = derived(&order.id, "capture", 0);
            let request = CapturePaymentIntentRequest { name: payment_intent(order), request_id };
            let reply = peers.payments.clone().capture_payment_intent(request).await;
            done_or_refused(reply, Event::Refused(Reason::PaymentNotCaptured))
        }
        Step::ClosePayment(reason) => close_payment(peers, order, reason).await,
        Step::Release => {
            let request_id = derived(&order.id, "release", order.hold);
            let request = ReleaseReservationRequest { name: reservation(order), request_id };
            let reply = peers.inventory.clone().release_reservation(request).await;
            done_or_refused(reply, Event::Refused(Reason::OutOfStock))
        }
    }
}

async fn check_buyer(peers: &Peers, order: &Order) -> Outcome {
    let request = GetAccountStandingRequest { name: order.buyer.clone(), address: order.address.clone() };
    match peers.accounts.clone().get_account_standing(request).await.map(Response::into_inner) {
        Ok(standing) if standing.standing() == Standing::Good => standing
            .address
            .map_or(Outcome::Known(Event::Refused(Reason::AddressNotFound)), |to| Outcome::Copied(ship_to(to))),
        Ok(_) => Outcome::Known(Event::Refused(Reason::AccountBlocked)),
        Err(status) if is_refusal(&status) => Outcome::Known(Event::Refused(Reason::AccountBlocked)),
        Err(status) => unknown(&status),
    }
}

fn ship_to(address: Address) -> ShipTo {
    let Address { receiver_name, phone, street, district, city, province, postal_code, .. } = address;
    ShipTo { receiver_name, phone, street, district, city, province, postal_code }
}

fn hold(order: &Order) -> CreateReservationRequest {
    let line = |line: &crate::order::Line| ReservationLine {
        sku: line.sku.clone(),
        quantity: i32::try_from(line.quantity).unwrap_or(i32::MAX),
    };
    let nanos = i32::try_from(order.hold_ms % 1000).unwrap_or_default().saturating_mul(1_000_000);
    CreateReservationRequest {
        reservation_id: order.reservation_id(),
        lines: order.lines.iter().map(line).collect(),
        ttl: Some(Duration { seconds: order.hold_ms / 1000, nanos }),
        request_id: derived(&order.id, "hold", order.hold),
    }
}

fn open_payment(order: &Order) -> CreatePaymentIntentRequest {
    CreatePaymentIntentRequest {
        payment_intent_id: order.payment_intent_id(),
        order: format!("orders/{}", order.id),
        buyer: order.buyer.clone(),
        amount: Some(order.total.into()),
        expire_time: Some(timestamp(order.expire_ms)),
        request_id: derived(&order.id, "open-payment", 0),
    }
}

async fn close_payment(peers: &Peers, order: &Order, why: CancelReason) -> Outcome {
    let request = CancelPaymentIntentRequest {
        name: payment_intent(order),
        reason: why.into(),
        request_id: derived(&order.id, why.as_str_name(), 0),
    };
    match peers.payments.clone().cancel_payment_intent(request).await.map(Response::into_inner) {
        Ok(payment) => match payment.state() {
            PaymentIntentState::Canceled | PaymentIntentState::Failed | PaymentIntentState::Expired => {
                Outcome::Known(Event::Done)
            }
            _ => Outcome::Unknown("the payment is being closed"),
        },
        Err(status) if reason(&status).as_deref() == Some("PAYMENT_ALREADY_AUTHORIZED") => {
            Outcome::Known(Event::AlreadyAuthorized)
        }
        Err(status) if is_refusal(&status) => Outcome::Known(Event::Refused(Reason::PaymentFailed)),
        Err(status) => unknown(&status),
    }
}

fn done_or_refused<T>(reply: Result<Response<T>, Status>, refusal: Event) -> Outcome {
    match reply {
        Ok(_) => Outcome::Known(Event::Done),
        Err(status) if is_refusal(&status) => Outcome::Known(refusal),
        Err(status) => unknown(&status),
    }
}

/// Whether the peer has decided, and decided against it. Every other failure leaves open what happened, or is a fault
/// of the mesh that somebody will mend: the step is taken again.
fn is_refusal(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::FailedPrecondition | Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::OutOfRange
    )
}

fn unknown(status: &Status) -> Outcome {
    Outcome::Unknown(status.code().description())
}

fn reservation(order: &Order) -> String {
    format!("reservations/{}", order.reservation_id())
}

fn payment_intent(order: &Order) -> String {
    format!("paymentIntents/{}", order.payment_intent_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_decision_is_a_refusal() {
        let refusals =
            [Code::FailedPrecondition, Code::InvalidArgument, Code::NotFound, Code::AlreadyExists, Code::OutOfRange];
        for code in (0..=16).map(Code::from_i32) {
            let reply = if code == Code::Ok { Ok(Response::new(())) } else { Err(Status::new(code, "")) };
            match done_or_refused(reply, Event::Lapsed) {
                Outcome::Known(Event::Done) => assert_eq!(code, Code::Ok),
                Outcome::Known(event) => assert!(event == Event::Lapsed && refusals.contains(&code), "{code:?}"),
                Outcome::Unknown(_) => assert!(code != Code::Ok && !refusals.contains(&code), "{code:?}"),
                Outcome::Copied(_) => panic!("no address was asked for"),
            }
        }
    }
}
