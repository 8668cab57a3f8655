//! CancelPaymentIntent: the order gives the payment up. An unknown name is buried, so that a creation that comes
//! late is refused; an open charge is closed at the provider before the payment counts as given up.

use sekat_store::Tx;

use crate::error::Error;
use crate::intent::{CancelReason, Command, Outcome, Refusal, State, decide};
use crate::intents::{Found, Intent, Moment, Tombstone, bury, change, find};

/// What became of a cancellation.
pub enum Canceled {
    /// The payment, which has ended.
    Intent(Box<Intent>),
    /// The name, which nobody can open any more.
    Name(Tombstone),
}

/// Begins to give the payment up: ends it at once if there is no charge, else writes that the charge is to be
/// closed, with the work item that closes it.
///
/// # Errors
/// [`Error::Refused`] if the money was there first.
pub fn cancel(tx: &mut dyn Tx, id: &str, reason: CancelReason, moment: Moment) -> Result<Found, Error> {
    let mut intent = match find(tx, id)? {
        Found::Intent(intent) => intent,
        Found::Tombstone(tombstone) => return Ok(Found::Tombstone(tombstone)),
        Found::Nothing => {
            let state = match reason {
                CancelReason::Expired => State::Expired,
                CancelReason::Requested | CancelReason::OrderFailed => State::Canceled,
            };
            let tombstone = Tombstone { id: id.to_owned(), state, create_ms: moment.now_ms };
            bury(tx, &tombstone)?;
            return Ok(Found::Tombstone(tombstone));
        }
    };
    if let Outcome::Changed(changed) = decide(intent.standing, Command::Cancel(reason))? {
        change(tx, &mut intent, &changed, None, moment)?;
    }
    Ok(Found::Intent(intent))
}

/// How a payment stands that is being given up.
///
/// # Errors
/// [`Error::CancelPending`] until the provider has proved that no money can come; [`Error::Refused`] if money came
/// before that.
pub fn outcome(found: Found) -> Result<Canceled, Error> {
    let intent = match found {
        Found::Intent(intent) => intent,
        Found::Tombstone(tombstone) => return Ok(Canceled::Name(tombstone)),
        Found::Nothing => return Err(Error::NotFound),
    };
    match intent.standing.state {
        State::Canceled | State::Failed | State::Expired => Ok(Canceled::Intent(intent)),
        State::RequiresCapture => Err(Refusal::AlreadyAuthorized.into()),
        State::Succeeded => Err(Refusal::AlreadyCaptured.into()),
        State::Closing(_) | State::Processing | State::RequiresAction | State::RequiresPaymentMethod => {
            Err(Error::CancelPending)
        }
    }
}
