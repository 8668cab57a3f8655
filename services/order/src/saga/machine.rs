//! The life of an order as data: what each state does next, and where each event leads from it.
//!
//! INVARIANT: every state has a cell for every event, so nothing that happens is without an answer. The exploration
//! beside this file walks the table against models of the peers and proves that every walk can end, paid or with
//! everything released.

use sekat_api_order::v1::OrderState;
use sekat_api_payment::v1::CancelReason;

/// Where an order is. The state is written before its step is taken, so a crash repeats at most that step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum State {
    /// Asks whether the buyer may order, and copies the address.
    CheckBuyer,
    /// Holds the stock.
    HoldStock,
    /// Opens the payment.
    OpenPayment,
    /// The checkout came to nothing: makes sure that the payment never opens.
    AbandonPayment,
    /// The checkout came to nothing: makes sure that nothing is held.
    AbandonStock,
    /// The buyer may pay.
    AwaitPayment,
    /// The money is there: turns the hold into a sale.
    SellStock,
    /// The hold had run out when the money came: holds once more.
    HoldAgain,
    /// Takes the money.
    Capture,
    /// The order cannot be kept: lets go of the money.
    GiveBackPayment,
    /// The order cannot be kept: lets go of the stock.
    GiveBackStock,
    /// Not paid in time: closes the payment, unless the money has come.
    ExpirePayment,
    /// Not paid in time: gives the stock back.
    ExpireStock,
    /// The buyer cancels: closes the payment, unless the money has come.
    CancelPayment,
    /// The buyer cancels: gives the stock back.
    CancelStock,
    /// Money came while the stock was being given back: finishes that first.
    ClearLate,
    /// Money came for an order that had expired: holds once more.
    HoldLate,
    /// Takes the money that came late.
    CaptureLate,
    /// Turns the hold for late money into a sale.
    SellLate,
    /// The late money is taken, but the hold has run out: holds until there is stock again.
    HoldCaptured,
    /// The late money cannot be used: gives the stock back.
    ReleaseLate,
    /// Sold and paid.
    Paid,
    /// Not paid in time; nothing is held.
    Expired,
    /// Cancelled by the buyer; nothing is held.
    Canceled,
    /// Came to nothing; nothing is held and nothing was charged.
    Failed,
}

/// What happens to an order: the answer to its step, news of its payment, time, or its buyer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The step is done.
    Done,
    /// The step is refused for good; a timeout is not a refusal.
    Refused(Reason),
    /// The reservation to sell is no longer held.
    Lapsed,
    /// The payment to close has been authorized.
    AlreadyAuthorized,
    /// News: the money is there and waits to be captured.
    Authorized,
    /// News: the payment was given up.
    Ended,
    /// News: the provider refused.
    Declined,
    /// News: money came for a payment that had ended.
    PaidLate,
    /// The time to pay is over.
    Due,
    /// The buyer cancels.
    Cancel,
}

/// What a state does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// GetAccountStanding.
    CheckBuyer,
    /// CreateReservation.
    Hold,
    /// CreatePaymentIntent.
    OpenPayment,
    /// CommitReservation.
    Sell,
    /// CapturePaymentIntent.
    Capture,
    /// CancelPaymentIntent.
    ClosePayment(CancelReason),
    /// ReleaseReservation.
    Release,
}

/// Why an order came to nothing: the stable word of `Order.failure_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The account may not order.
    AccountBlocked,
    /// The address is gone.
    AddressNotFound,
    /// A line cannot be had any more.
    OutOfStock,
    /// The payment could not be opened.
    PaymentRefused,
    /// The checkout was not through when the time to pay was over.
    CheckoutTimedOut,
    /// The provider refused the payment.
    PaymentFailed,
    /// The stock ran out before the money came; the money is given back.
    OutOfStockAfterPayment,
    /// The money could not be captured.
    PaymentNotCaptured,
    /// The buyer did not pay in time.
    NotPaidInTime,
    /// The buyer cancelled.
    CanceledByBuyer,
    /// Money came too late and is booked as unapplied.
    LatePaymentUnapplied,
}

/// Where an event leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// To a state, with the reason to remember if there is a new one.
    Go(State, Option<Reason>),
    /// Nowhere: an echo, or news that the state's step will learn by itself.
    Stay,
    /// Nowhere: the order cannot be cancelled any more.
    Refuse,
    /// Nowhere: no peer that keeps its promises gives this answer. It is logged and the step is taken again.
    Broken,
}

/// The cell of a state for an event.
#[derive(Clone, Copy)]
enum Cell {
    /// To the state; the reason stays as it is.
    Go(State),
    /// To the state, for the reason of the refusal.
    Fail(State),
    /// To the state, for this reason.
    Because(State, Reason),
    Stay,
    Refuse,
    Broken,
}

/// The cells of one state.
struct Row {
    done: Cell,
    refused: Cell,
    lapsed: Cell,
    already_authorized: Cell,
    authorized: Cell,
    ended: Cell,
    declined: Cell,
    paid_late: Cell,
    due: Cell,
    cancel: Cell,
}

use Cell::{Because, Broken, Fail, Go, Refuse, Stay};
use Reason as Why;

/// What holds where a row says nothing else: a step gives only the answers that its row names, news of the payment
/// changes nothing because the step learns it by itself, and the order cannot be cancelled.
const ELSE: Row = Row {
    done: Broken,
    refused: Broken,
    lapsed: Broken,
    already_authorized: Broken,
    authorized: Stay,
    ended: Stay,
    declined: Stay,
    paid_late: Stay,
    due: Stay,
    cancel: Refuse,
};

impl State {
    /// All states, with the word by which the store knows each. A word never changes its meaning.
    pub(crate) const ALL: [(Self, &'static str); 25] = [
        (Self::CheckBuyer, "check-buyer"),
        (Self::HoldStock, "hold-stock"),
        (Self::OpenPayment, "open-payment"),
        (Self::AbandonPayment, "abandon-payment"),
        (Self::AbandonStock, "abandon-stock"),
        (Self::AwaitPayment, "await-payment"),
        (Self::SellStock, "sell-stock"),
        (Self::HoldAgain, "hold-again"),
        (Self::Capture, "capture"),
        (Self::GiveBackPayment, "give-back-payment"),
        (Self::GiveBackStock, "give-back-stock"),
        (Self::ExpirePayment, "expire-payment"),
        (Self::ExpireStock, "expire-stock"),
        (Self::CancelPayment, "cancel-payment"),
        (Self::CancelStock, "cancel-stock"),
        (Self::ClearLate, "clear-late"),
        (Self::HoldLate, "hold-late"),
        (Self::CaptureLate, "capture-late"),
        (Self::SellLate, "sell-late"),
        (Self::HoldCaptured, "hold-captured"),
        (Self::ReleaseLate, "release-late"),
        (Self::Paid, "paid"),
        (Self::Expired, "expired"),
        (Self::Canceled, "canceled"),
        (Self::Failed, "failed"),
    ];

    /// The word by which the store knows the state.
    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, word)| word)
    }

    /// The state of a word; `None` if a newer version wrote it.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(state, _)| *state)
    }

    /// The state as buyers see it.
    pub(crate) const fn public(self) -> OrderState {
        match self {
            Self::CheckBuyer | Self::HoldStock | Self::OpenPayment | Self::AbandonPayment | Self::AbandonStock => {
                OrderState::CheckingOut
            }
            Self::AwaitPayment => OrderState::PendingPayment,
            Self::SellStock
            | Self::HoldAgain
            | Self::Capture
            | Self::ClearLate
            | Self::HoldLate
            | Self::CaptureLate
            | Self::SellLate
            | Self::HoldCaptured => OrderState::Confirming,
            Self::ExpirePayment | Self::ExpireStock | Self::ReleaseLate => OrderState::Expiring,
            Self::CancelPayment | Self::CancelStock | Self::GiveBackPayment | Self::GiveBackStock => {
                OrderState::Canceling
            }
            Self::Paid => OrderState::Paid,
            Self::Expired => OrderState::Expired,
            Self::Canceled => OrderState::Canceled,
            Self::Failed => OrderState::Failed,
        }
    }

    /// What the state does; `None` where the order waits or has ended.
    pub(crate) const fn step(self) -> Option<Step> {
        match self {
            Self::CheckBuyer => Some(Step::CheckBuyer),
            Self::HoldStock | Self::HoldAgain | Self::HoldLate | Self::HoldCaptured => Some(Step::Hold),
            Self::OpenPayment => Some(Step::OpenPayment),
            Self::SellStock | Self::SellLate => Some(Step::Sell),
            Self::Capture | Self::CaptureLate => Some(Step::Capture),
            Self::AbandonPayment | Self::GiveBackPayment => Some(Step::ClosePayment(CancelReason::OrderFailed)),
            Self::ExpirePayment => Some(Step::ClosePayment(CancelReason::Expired)),
            Self::CancelPayment => Some(Step::ClosePayment(CancelReason::Requested)),
            Self::AbandonStock
            | Self::GiveBackStock
            | Self::ExpireStock
            | Self::CancelStock
            | Self::ClearLate
            | Self::ReleaseLate => Some(Step::Release),
            Self::AwaitPayment | Self::Paid | Self::Expired | Self::Canceled | Self::Failed => None,
        }
    }

    /// Whether the order has ended. Late money may still reopen one that expired.
    pub(crate) const fn has_ended(self) -> bool {
        matches!(self, Self::Paid | Self::Expired | Self::Canceled | Self::Failed)
    }

    /// Whether entering the state starts a further reservation: a released or lapsed one never holds again.
    pub(crate) const fn holds_anew(self) -> bool {
        matches!(self, Self::HoldAgain | Self::HoldLate | Self::HoldCaptured)
    }

    /// Where `event` leads from here.
    pub(crate) const fn on(self, event: Event) -> Verdict {
        let row = self.row();
        let (cell, refusal) = match event {
            Event::Done => (row.done, None),
            Event::Refused(reason) => (row.refused, Some(reason)),
            Event::Lapsed => (row.lapsed, None),
            Event::AlreadyAuthorized => (row.already_authorized, None),
            Event::Authorized => (row.authorized, None),
            Event::Ended => (row.ended, None),
            Event::Declined => (row.declined, None),
            Event::PaidLate => (row.paid_late, None),
            Event::Due => (row.due, None),
            Event::Cancel => (row.cancel, None),
        };
        match cell {
            Go(state) => Verdict::Go(state, None),
            Fail(state) => Verdict::Go(state, refusal),
            Because(state, reason) => Verdict::Go(state, Some(reason)),
            Stay => Verdict::Stay,
            Refuse => Verdict::Refuse,
            Broken => Verdict::Broken,
        }
    }

    /// The table. Nothing was sent to payment before `OpenPayment` and nothing to catalog before `HoldStock`, so an
    /// order that ends before them has nothing to release.
    const fn row(self) -> Row {
        match self {
            Self::CheckBuyer => Row {
                done: Go(Self::HoldStock),
                refused: Fail(Self::Failed),
                due: Because(Self::Failed, Why::CheckoutTimedOut),
                cancel: Because(Self::Canceled, Why::CanceledByBuyer),
                ..ELSE
            },
            Self::HoldStock => Row {
                done: Go(Self::OpenPayment),
                refused: Fail(Self::AbandonStock),
                due: Because(Self::AbandonStock, Why::CheckoutTimedOut),
                cancel: Because(Self::CancelStock, Why::CanceledByBuyer),
                ..ELSE
            },
            // News can overtake the answer that the payment is open.
            Self::OpenPayment => Row {
                done: Go(Self::AwaitPayment),
                refused: Fail(Self::AbandonPayment),
                authorized: Go(Self::SellStock),
                paid_late: Go(Self::CaptureLate),
                due: Because(Self::AbandonPayment, Why::CheckoutTimedOut),
                cancel: Because(Self::CancelPayment, Why::CanceledByBuyer),
                ..ELSE
            },
            Self::AbandonPayment => {
                Row { done: Go(Self::AbandonStock), ended: Go(Self::AbandonStock), cancel: Stay, ..ELSE }
            }
            Self::AbandonStock => Row { done: Go(Self::Failed), cancel: Stay, ..ELSE },
            Self::AwaitPayment => Row {
                authorized: Go(Self::SellStock),
                ended: Because(Self::ExpirePayment, Why::NotPaidInTime),
                declined: Because(Self::GiveBackPayment, Why::PaymentFailed),
                // The payment has ended, the hold has not.
                paid_late: Go(Self::CaptureLate),
                due: Because(Self::ExpirePayment, Why::NotPaidInTime),
                cancel: Because(Self::CancelPayment, Why::CanceledByBuyer),
                ..ELSE
            },
            Self::SellStock => Row { done: Go(Self::Capture), lapsed: Go(Self::HoldAgain), ..ELSE },
            Self::HoldAgain => Row {
                done: Go(Self::SellStock),
                refused: Because(Self::GiveBackPayment, Why::OutOfStockAfterPayment),
                ..ELSE
            },
            Self::Capture => {
                Row { done: Go(Self::Paid), refused: Because(Self::GiveBackPayment, Why::PaymentNotCaptured), ..ELSE }
            }
            Self::GiveBackPayment => Row {
                done: Go(Self::GiveBackStock),
                ended: Go(Self::GiveBackStock),
                paid_late: Because(Self::GiveBackPayment, Why::LatePaymentUnapplied),
                cancel: Stay,
                ..ELSE
            },
            // After a refused capture the stock is sold and cannot be released; there is nothing to give back.
            Self::GiveBackStock => Row {
                done: Go(Self::Failed),
                refused: Go(Self::Failed),
                paid_late: Because(Self::GiveBackStock, Why::LatePaymentUnapplied),
                cancel: Stay,
                ..ELSE
            },
            // A provider may take long to close a payment; news of its end, or of the money, comes first then.
            Self::ExpirePayment => Row {
                done: Go(Self::ExpireStock),
                already_authorized: Go(Self::SellStock),
                authorized: Go(Self::SellStock),
                ended: Go(Self::ExpireStock),
                paid_late: Go(Self::CaptureLate),
                ..ELSE
            },
            Self::ExpireStock => Row { done: Go(Self::Expired), paid_late: Go(Self::ClearLate), ..ELSE },
            Self::CancelPayment => Row {
                done: Go(Self::CancelStock),
                already_authorized: Go(Self::SellStock),
                authorized: Go(Self::SellStock),
                ended: Go(Self::CancelStock),
                paid_late: Because(Self::CancelPayment, Why::LatePaymentUnapplied),
                cancel: Stay,
                ..ELSE
            },
            Self::CancelStock => Row {
                done: Go(Self::Canceled),
                paid_late: Because(Self::CancelStock, Why::LatePaymentUnapplied),
                cancel: Stay,
                ..ELSE
            },
            Self::ClearLate => Row { done: Go(Self::HoldLate), ..ELSE },
            Self::HoldLate => Row {
                done: Go(Self::CaptureLate),
                refused: Because(Self::ReleaseLate, Why::LatePaymentUnapplied),
                ..ELSE
            },
            // Late money is captured before the stock is sold: its capture may be refused, and a sale cannot be undone.
            Self::CaptureLate => {
                Row { done: Go(Self::SellLate), refused: Because(Self::ReleaseLate, Why::LatePaymentUnapplied), ..ELSE }
            }
            Self::SellLate => Row { done: Go(Self::Paid), lapsed: Go(Self::HoldCaptured), ..ELSE },
            // The money is taken and cannot be given back here: the order waits until there is stock again.
            Self::HoldCaptured => Row { done: Go(Self::SellLate), refused: Stay, ..ELSE },
            Self::ReleaseLate => Row { done: Go(Self::Expired), ..ELSE },
            Self::Expired => Row { paid_late: Go(Self::HoldLate), ..ELSE },
            Self::Canceled => {
                Row { paid_late: Because(Self::Canceled, Why::LatePaymentUnapplied), cancel: Stay, ..ELSE }
            }
            Self::Failed => Row { paid_late: Because(Self::Failed, Why::LatePaymentUnapplied), ..ELSE },
            Self::Paid => ELSE,
        }
    }
}

impl Reason {
    /// All reasons, with their stable words.
    const ALL: [(Self, &'static str); 11] = [
        (Self::AccountBlocked, "ACCOUNT_BLOCKED"),
        (Self::AddressNotFound, "ADDRESS_NOT_FOUND"),
        (Self::OutOfStock, "OUT_OF_STOCK"),
        (Self::PaymentRefused, "PAYMENT_REFUSED"),
        (Self::CheckoutTimedOut, "CHECKOUT_TIMED_OUT"),
        (Self::PaymentFailed, "PAYMENT_FAILED"),
        (Self::OutOfStockAfterPayment, "OUT_OF_STOCK_AFTER_PAYMENT"),
        (Self::PaymentNotCaptured, "PAYMENT_NOT_CAPTURED"),
        (Self::NotPaidInTime, "NOT_PAID_IN_TIME"),
        (Self::CanceledByBuyer, "CANCELED_BY_BUYER"),
        (Self::LatePaymentUnapplied, "LATE_PAYMENT_UNAPPLIED"),
    ];

    /// The stable word.
    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(reason, _)| *reason == self).map_or("", |(_, word)| word)
    }

    /// The reason of a word; `None` if a newer version wrote it.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(reason, _)| *reason)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const EVENTS: [Event; 10] = [
        Event::Done,
        Event::Refused(Reason::OutOfStock),
        Event::Lapsed,
        Event::AlreadyAuthorized,
        Event::Authorized,
        Event::Ended,
        Event::Declined,
        Event::PaidLate,
        Event::Due,
        Event::Cancel,
    ];

    /// The contract's state machine, reviewed by hand: an edge that is not here does not exist.
    const PUBLIC_EDGES: &[&str] = &[
        "CANCELED > CANCELED",
        "CANCELING > CANCELED",
        "CANCELING > CANCELING",
        "CANCELING > CONFIRMING",
        "CANCELING > FAILED",
        "CHECKING_OUT > CANCELED",
        "CHECKING_OUT > CANCELING",
        "CHECKING_OUT > CHECKING_OUT",
        "CHECKING_OUT > CONFIRMING",
        "CHECKING_OUT > FAILED",
        "CHECKING_OUT > PENDING_PAYMENT",
        "CONFIRMING > CANCELING",
        "CONFIRMING > CONFIRMING",
        "CONFIRMING > EXPIRING",
        "CONFIRMING > PAID",
        "EXPIRED > CONFIRMING",
        "EXPIRING > CONFIRMING",
        "EXPIRING > EXPIRED",
        "EXPIRING > EXPIRING",
        "FAILED > FAILED",
        "PENDING_PAYMENT > CANCELING",
        "PENDING_PAYMENT > CONFIRMING",
        "PENDING_PAYMENT > EXPIRING",
    ];

    fn edges() -> impl Iterator<Item = (State, Event, State)> {
        State::ALL.into_iter().flat_map(|(from, _)| {
            EVENTS.into_iter().filter_map(move |event| match from.on(event) {
                Verdict::Go(to, _) => Some((from, event, to)),
                _ => None,
            })
        })
    }

    #[test]
    fn the_public_state_machine_is_the_reviewed_one() {
        let name = |state: State| state.public().as_str_name().trim_start_matches("ORDER_STATE_");
        let found: BTreeSet<String> = edges().map(|(from, _, to)| format!("{} > {}", name(from), name(to))).collect();
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), PUBLIC_EDGES);
    }

    #[test]
    fn a_step_has_answers_and_what_has_none_waits_for_news() {
        for (state, word) in State::ALL {
            let answered = matches!(state.on(Event::Done), Verdict::Go(..));
            assert_eq!(answered, state.step().is_some(), "{word}");
            let by_news = EVENTS.iter().any(|event| matches!(state.on(*event), Verdict::Go(..)));
            assert!(by_news || state == State::Paid, "{word} has no way out");
        }
    }

    #[test]
    fn only_an_order_that_waits_or_checks_out_can_be_cancelled() {
        for (state, word) in State::ALL {
            let cancelable = matches!(state.on(Event::Cancel), Verdict::Go(..));
            let open = matches!(state.public(), OrderState::CheckingOut | OrderState::PendingPayment);
            let abandoned = matches!(state, State::AbandonPayment | State::AbandonStock);
            assert_eq!(cancelable, open && !abandoned, "{word}");
        }
    }

    #[test]
    fn words_are_unique_and_lead_back() {
        for (state, word) in State::ALL {
            assert_eq!((state.word(), State::from_word(word)), (word, Some(state)));
        }
        for (reason, word) in Reason::ALL {
            assert_eq!((reason.word(), Reason::from_word(word)), (word, Some(reason)));
        }
        assert_eq!((State::from_word("no-such"), Reason::from_word("NO_SUCH")), (None, None));
    }

    #[test]
    fn every_reason_says_why_an_order_ended() {
        let given: BTreeSet<Reason> = State::ALL
            .into_iter()
            .flat_map(|(state, _)| EVENTS.into_iter().map(move |event| state.on(event)))
            .filter_map(|verdict| if let Verdict::Go(_, reason) = verdict { reason } else { None })
            .collect();
        // The others come with the refusal of a step.
        for (reason, word) in Reason::ALL {
            let by_step = matches!(reason, Reason::AccountBlocked | Reason::AddressNotFound | Reason::PaymentRefused);
            assert!(given.contains(&reason) || by_step, "{word}");
        }
    }
}
