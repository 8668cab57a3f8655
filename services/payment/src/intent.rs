//! The life of a payment as one table: what each command does in each state, and which refusals it meets.
//! Pure: it knows no store, no clock and no provider.

/// Where a payment is. The contract's states, and [`State::Closing`] beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The buyer has to choose how to pay.
    RequiresPaymentMethod,
    /// The provider was asked for a charge and has not answered for certain.
    Processing,
    /// The charge is open; the buyer has to pay it.
    RequiresAction,
    /// It is being given up: the provider must first prove that no money can come any more. Money that comes before
    /// that proof wins. The contract shows it as PROCESSING.
    Closing(CancelReason),
    /// The money is there and waits to be taken.
    RequiresCapture,
    /// The money was taken.
    Succeeded,
    /// It was given up.
    Canceled,
    /// The provider refused it.
    Failed,
    /// It was not paid in time.
    Expired,
}

impl State {
    /// Whether a durable work item stands behind the state until the provider has answered.
    #[must_use]
    pub const fn waits_for_provider(self) -> bool {
        matches!(self, Self::Processing | Self::Closing(_))
    }
}

/// Why a payment is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    /// The buyer cancelled.
    Requested,
    /// It was not paid in time.
    Expired,
    /// The order came to nothing and cannot use the money, even if it comes.
    OrderFailed,
}

/// Where the money of the payment is: the first receipt of exactly its amount. Any other money is unapplied and
/// does not touch the payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Funds {
    /// None came.
    None,
    /// Set aside for the order: a pending transfer.
    Held,
    /// The order's: the pending transfer is posted.
    Captured,
    /// It came after the end and is unapplied; the order may still take it if it can be reopened.
    Late,
    /// It was held and the order gave it up; it is unapplied, and the order cannot take it any more.
    GivenUp,
}

/// State and money together: what a decision depends on.
///
/// INVARIANT: `funds` is `None` before [`State::RequiresCapture`], `Held` in it, `Captured` in
/// [`State::Succeeded`], and `None`, `Late` or `GivenUp` (the last in [`State::Canceled`] only) after another end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where the payment is.
    pub state: State,
    /// Where its money is.
    pub funds: Funds,
}

impl Standing {
    /// A payment as it is opened.
    pub const OPENED: Self = Self { state: State::RequiresPaymentMethod, funds: Funds::None };
}

/// What can befall a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The buyer chose how to pay.
    Confirm {
        /// The payment's time has passed.
        lapsed: bool,
        /// Another method was chosen before.
        other_method: bool,
    },
    /// The provider has the charge, and it is open.
    ChargeOpened,
    /// The provider's charge can never be paid any more, and was not.
    ChargeClosed,
    /// The provider proved that there is no charge and will be none.
    ChargeRefused,
    /// Money came that was not reported before.
    Paid {
        /// It is exactly what is to be paid.
        exact: bool,
    },
    /// The order takes the money.
    Capture,
    /// The order gives the payment up.
    Cancel(CancelReason),
}

/// A movement of money that goes with a change, see [`crate::ledger`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booking {
    /// Sets the receipt aside for the order.
    Hold,
    /// The order takes what is held.
    Post,
    /// The order gives up what is held.
    Void,
    /// What was given up is nobody's yet.
    Return,
    /// A receipt of the right amount after the end.
    Late,
    /// The order takes a late receipt.
    Apply,
    /// Money that this payment does not want: another amount, or a second time.
    Stray,
}

/// What the system that ordered the payment is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The money is there and waits to be captured.
    Authorized,
    /// The money was taken.
    Captured,
    /// It was given up, for any reason.
    Canceled,
    /// The provider refused.
    Failed,
    /// Money came after the end.
    PaidLate,
}

/// What a command changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where the payment is then.
    pub to: Standing,
    /// The money that moves, in this order.
    pub bookings: &'static [Booking],
    /// What is told, in this order.
    pub events: &'static [Event],
}

/// A command that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done before, or comes too late to matter.
    Unchanged,
    /// It changes the payment.
    Changed(Change),
}

/// Why a command is refused; nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no money to capture.
    #[error("no money has come for the payment yet; capture it after its AUTHORIZED event")]
    NotAuthorized,
    /// The money came before the payment could be given up.
    #[error("the money is there; capture it, or give it up with ORDER_FAILED")]
    AlreadyAuthorized,
    /// The money was taken.
    #[error("the money was taken; it can only be refunded")]
    AlreadyCaptured,
    /// The payment was given up, or is being given up.
    #[error("the payment was given up; open another one")]
    Canceled,
    /// The payment's time has passed.
    #[error("the payment was not made in time; order again")]
    Lapsed,
    /// The provider refused.
    #[error("the provider refused the payment; order again")]
    Failed,
    /// Another method was chosen before.
    #[error("another way to pay was chosen before; pay that way, or order again")]
    OtherMethod,
}

/// What `command` does to a payment that stands at `at`.
///
/// # Errors
/// If the state refuses the command.
pub const fn decide(at: Standing, command: Command) -> Result<Outcome, Refusal> {
    match command {
        Command::Confirm { lapsed, other_method } => confirm(at, lapsed, other_method),
        Command::ChargeOpened => Ok(opened(at)),
        Command::ChargeClosed => Ok(closed(at)),
        Command::ChargeRefused => Ok(refused(at)),
        Command::Paid { exact } => Ok(paid(at, exact)),
        Command::Capture => capture(at),
        Command::Cancel(reason) => cancel(at, reason),
    }
}

const fn confirm(at: Standing, lapsed: bool, other_method: bool) -> Result<Outcome, Refusal> {
    match at.state {
        State::RequiresPaymentMethod if lapsed => Err(Refusal::Lapsed),
        State::RequiresPaymentMethod => changed(State::Processing, Funds::None, &[], &[]),
        State::Processing | State::RequiresAction | State::RequiresCapture | State::Succeeded if other_method => {
            Err(Refusal::OtherMethod)
        }
        // A second confirmation asks for nothing more: one payment, one charge.
        State::Processing | State::RequiresAction | State::RequiresCapture | State::Succeeded => Ok(Outcome::Unchanged),
        State::Closing(_) | State::Canceled => Err(Refusal::Canceled),
        State::Failed => Err(Refusal::Failed),
        State::Expired => Err(Refusal::Lapsed),
    }
}

const fn opened(at: Standing) -> Outcome {
    match at.state {
        State::Processing => change(State::RequiresAction, Funds::None, &[], &[]),
        // While the payment is given up, an open charge is what has to be closed next.
        State::Closing(_)
        | State::RequiresPaymentMethod
        | State::RequiresAction
        | State::RequiresCapture
        | State::Succeeded
        | State::Canceled
        | State::Failed
        | State::Expired => Outcome::Unchanged,
    }
}

const fn closed(at: Standing) -> Outcome {
    match at.state {
        State::Closing(reason) => change(end(reason), Funds::None, &[], &[Event::Canceled]),
        // The provider closed it by itself.
        State::Processing => change(State::Failed, Funds::None, &[], &[Event::Failed]),
        State::RequiresPaymentMethod
        | State::RequiresAction
        | State::RequiresCapture
        | State::Succeeded
        | State::Canceled
        | State::Failed
        | State::Expired => Outcome::Unchanged,
    }
}

/// For a payment that is given up a refusal is as good a proof as a closed charge; for one that is not it is the end.
const fn refused(at: Standing) -> Outcome {
    closed(at)
}

const fn paid(at: Standing, exact: bool) -> Outcome {
    const STRAY: &[Booking] = &[Booking::Stray];
    if !exact || !matches!(at.funds, Funds::None) {
        return change(at.state, at.funds, STRAY, &[]);
    }
    match at.state {
        State::RequiresPaymentMethod
        | State::Processing
        | State::RequiresAction
        | State::Closing(CancelReason::Requested | CancelReason::Expired) => {
            change(State::RequiresCapture, Funds::Held, &[Booking::Hold], &[Event::Authorized])
        }
        State::Closing(CancelReason::OrderFailed) => {
            change(State::Canceled, Funds::Late, &[Booking::Late], &[Event::Canceled, Event::PaidLate])
        }
        State::Canceled | State::Failed | State::Expired => {
            change(at.state, Funds::Late, &[Booking::Late], &[Event::PaidLate])
        }
        // Not reached: in these states the funds are not `None`.
        State::RequiresCapture | State::Succeeded => change(at.state, at.funds, STRAY, &[]),
    }
}

const fn capture(at: Standing) -> Result<Outcome, Refusal> {
    match (at.state, at.funds) {
        (State::RequiresCapture, _) => changed(State::Succeeded, Funds::Captured, &[Booking::Post], &[Event::Captured]),
        (State::Canceled | State::Failed | State::Expired, Funds::Late) => {
            changed(State::Succeeded, Funds::Captured, &[Booking::Apply], &[Event::Captured])
        }
        (State::Succeeded, _) => Ok(Outcome::Unchanged),
        (State::Canceled, _) => Err(Refusal::Canceled),
        (State::Failed, _) => Err(Refusal::Failed),
        (State::Expired, _) => Err(Refusal::Lapsed),
        (State::RequiresPaymentMethod | State::Processing | State::RequiresAction | State::Closing(_), _) => {
            Err(Refusal::NotAuthorized)
        }
    }
}

const fn cancel(at: Standing, reason: CancelReason) -> Result<Outcome, Refusal> {
    match (at.state, reason) {
        (State::RequiresPaymentMethod, _) => changed(end(reason), Funds::None, &[], &[Event::Canceled]),
        (State::Processing | State::RequiresAction, _) => changed(State::Closing(reason), Funds::None, &[], &[]),
        // An order that failed can no longer use the money, whatever it said before.
        (State::Closing(CancelReason::Requested | CancelReason::Expired), CancelReason::OrderFailed) => {
            changed(State::Closing(CancelReason::OrderFailed), Funds::None, &[], &[])
        }
        (State::Closing(_) | State::Canceled | State::Failed | State::Expired, _) => Ok(Outcome::Unchanged),
        (State::RequiresCapture, CancelReason::OrderFailed) => {
            changed(State::Canceled, Funds::GivenUp, &[Booking::Void, Booking::Return], &[Event::Canceled])
        }
        (State::RequiresCapture, CancelReason::Requested | CancelReason::Expired) => Err(Refusal::AlreadyAuthorized),
        (State::Succeeded, _) => Err(Refusal::AlreadyCaptured),
    }
}

const fn end(reason: CancelReason) -> State {
    match reason {
        CancelReason::Expired => State::Expired,
        CancelReason::Requested | CancelReason::OrderFailed => State::Canceled,
    }
}

const fn change(state: State, funds: Funds, bookings: &'static [Booking], events: &'static [Event]) -> Outcome {
    Outcome::Changed(Change { to: Standing { state, funds }, bookings, events })
}

const fn changed(
    state: State,
    funds: Funds,
    bookings: &'static [Booking],
    events: &'static [Event],
) -> Result<Outcome, Refusal> {
    Ok(change(state, funds, bookings, events))
}

#[cfg(test)]
mod tests;
