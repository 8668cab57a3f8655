//! What a provider is asked for a payment, and what its answers do. A timeout is not a refusal: only an answer that
//! proves something moves the payment; all else is asked again.

use sekat_store::{Lease, Tx, WorkQueue};

use crate::booking::Receipt;
use crate::error::Error;
use crate::ingest_notification::{digest, receive};
use crate::intent::{Command, Outcome, State, decide};
use crate::intents::{Found, Intent, Moment, VirtualAccount, change, find, update};

/// The kind of the work items that stand behind payments which wait for a provider; the key is the payment's id.
pub const WORK_KIND: &str = "charge";

/// What to ask the provider next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Open the charge. Its id makes that idempotent at the provider.
    Create,
    /// What became of the charge?
    Query,
    /// Close the charge.
    Close,
}

/// What is known of the charge from this round of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nobody has asked for the charge yet.
    Unasked,
    /// It was asked for, and its state is not known.
    Uncertain,
    /// The provider has none.
    Absent,
    /// It can be paid.
    Open,
}

/// What a provider's answer proves.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// The charge can be paid into this account.
    Open(VirtualAccount),
    /// The charge was paid, in full.
    Paid,
    /// The charge can never be paid any more, and was not.
    Closed,
    /// The provider has no such charge.
    Absent,
    /// The provider will not open the charge; a stable word says why.
    Refused(String),
    /// Nothing; a stable word says why.
    Uncertain(String),
}

/// What to ask for a payment in `state`, or nothing if it does not wait for the provider.
///
/// A charge that may have been asked for is opened again (with the same id) before it is given up for absent: only
/// a provider that knows the id, or has refused it, will not open it when a late copy of the first request arrives.
#[must_use]
pub const fn next_step(state: State, known: Known) -> Option<Step> {
    match (state, known) {
        (State::Processing, Known::Unasked) | (State::Processing | State::Closing(_), Known::Absent) => {
            Some(Step::Create)
        }
        (State::Closing(_), Known::Open) => Some(Step::Close),
        (State::Processing, Known::Uncertain | Known::Open)
        | (State::Closing(_), Known::Unasked | Known::Uncertain) => Some(Step::Query),
        (
            State::RequiresPaymentMethod
            | State::RequiresAction
            | State::RequiresCapture
            | State::Succeeded
            | State::Canceled
            | State::Failed
            | State::Expired,
            _,
        ) => None,
    }
}

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The payment waits for the provider no more; its work item is gone.
    Settled,
    /// Ask on, knowing this.
    Ask(Known),
    /// The work item is due again later.
    Later,
}

/// Applies `answer` to the payment `id` and to its work item, in one transaction.
///
/// # Errors
/// If the store fails, the lease was lost, or the ledger refuses.
pub fn apply(
    tx: &mut dyn Tx,
    lease: Lease,
    id: &str,
    answer: &Answer,
    retry_ms: i64,
    moment: Moment,
) -> Result<Next, Error> {
    let Found::Intent(mut intent) = find(tx, id)? else { return finish(tx, lease) };
    learn(tx, &mut intent, answer, moment)?;
    if !intent.standing.state.waits_for_provider() {
        return finish(tx, lease);
    }
    Ok(match answer {
        Answer::Open(_) => Next::Ask(Known::Open),
        Answer::Absent => Next::Ask(Known::Absent),
        Answer::Uncertain(reason) => {
            WorkQueue::retry(tx, lease, retry_ms, reason)?;
            Next::Later
        }
        // What these prove ends the waiting, whatever the state was.
        Answer::Paid | Answer::Closed | Answer::Refused(_) => Next::Ask(Known::Uncertain),
    })
}

/// Ends the work item.
///
/// # Errors
/// If the store fails or the lease was lost.
pub fn finish(tx: &mut dyn Tx, lease: Lease) -> Result<Next, Error> {
    WorkQueue::done(tx, lease)?;
    Ok(Next::Settled)
}

/// Moves the payment by what the answer proves.
fn learn(tx: &mut dyn Tx, intent: &mut Intent, answer: &Answer, moment: Moment) -> Result<(), Error> {
    let command = match answer {
        Answer::Open(account) => {
            if intent.account.is_none() {
                intent.account = Some(account.clone());
                if matches!(intent.standing.state, State::Closing(_)) {
                    return update(tx, intent);
                }
            }
            Command::ChargeOpened
        }
        Answer::Paid => return paid(tx, intent, moment),
        Answer::Closed => Command::ChargeClosed,
        // An account that the bank has opened and knows no more is closed.
        Answer::Absent if intent.account.is_some() => Command::ChargeClosed,
        Answer::Refused(_) => Command::ChargeRefused,
        Answer::Absent | Answer::Uncertain(_) => return Ok(()),
    };
    let Outcome::Changed(changed) = decide(intent.standing, command)? else { return Ok(()) };
    if changed.to.state == State::Failed {
        intent.failure_reason = Some(match answer {
            Answer::Refused(reason) => reason.clone(),
            _ => "PROVIDER_CLOSED".to_owned(),
        });
    }
    change(tx, intent, &changed, None, moment)
}

/// A charge is for one amount and is paid once, so that this is the payment's money unless a notification was first.
fn paid(tx: &mut dyn Tx, intent: &mut Intent, moment: Moment) -> Result<(), Error> {
    let Some(bank) = intent.bank.filter(|_| intent.standing.state.waits_for_provider()) else { return Ok(()) };
    let receipt = Receipt { bank, amount: intent.amount, digest: digest(bank, &intent.id) };
    receive(tx, intent, None, &receipt, moment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::CancelReason;

    #[test]
    fn what_is_asked_follows_from_what_is_known() {
        let closing = State::Closing(CancelReason::Requested);
        let rows = [
            (State::Processing, Known::Unasked, Some(Step::Create)),
            (State::Processing, Known::Uncertain, Some(Step::Query)),
            (State::Processing, Known::Absent, Some(Step::Create)),
            (State::Processing, Known::Open, Some(Step::Query)),
            (closing, Known::Unasked, Some(Step::Query)),
            (closing, Known::Uncertain, Some(Step::Query)),
            (closing, Known::Absent, Some(Step::Create)),
            (closing, Known::Open, Some(Step::Close)),
            (State::RequiresPaymentMethod, Known::Unasked, None),
            (State::RequiresAction, Known::Unasked, None),
            (State::RequiresCapture, Known::Uncertain, None),
            (State::Succeeded, Known::Open, None),
            (State::Canceled, Known::Absent, None),
            (State::Failed, Known::Uncertain, None),
            (State::Expired, Known::Uncertain, None),
        ];
        for (state, known, expected) in rows {
            assert_eq!(next_step(state, known), expected, "{state:?} {known:?}");
        }
    }
}
