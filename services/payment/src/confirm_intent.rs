//! ConfirmPaymentIntent: the buyer chose how to pay. What is written before the provider is asked says that it will
//! be asked; asking is the work of [`crate::charge`], never of the request.

use sekat_store::Tx;

use crate::config::AmountRange;
use crate::error::Error;
use crate::intent::{Command, Outcome, decide};
use crate::intents::{Bank, Intent, Moment, Viewer, change, find};

/// Writes that a charge at `bank` is wanted, with the work item that asks for it. A repeated confirmation changes
/// nothing: one payment has one charge.
///
/// # Errors
/// [`Error::NotFound`], [`Error::AmountNotPayable`], [`Error::Refused`].
pub fn confirm(
    tx: &mut dyn Tx,
    id: &str,
    viewer: &Viewer,
    bank: Bank,
    payable: AmountRange,
    moment: Moment,
) -> Result<Intent, Error> {
    let mut intent = viewer.admit(find(tx, id)?)?;
    let command = Command::Confirm {
        lapsed: moment.now_ms >= intent.expire_ms,
        other_method: intent.bank.is_some_and(|chosen| chosen != bank),
    };
    if let Outcome::Changed(changed) = decide(intent.standing, command)? {
        payable.admit(intent.amount)?;
        intent.bank = Some(bank);
        change(tx, &mut intent, &changed, None, moment)?;
    }
    Ok(intent)
}
