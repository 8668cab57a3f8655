//! CapturePaymentIntent: the order takes the money, in full.

use sekat_store::Tx;

use crate::error::Error;
use crate::intent::{Command, Outcome, decide};
use crate::intents::{Intent, Moment, Viewer, change, find};

/// Posts what is held for the order, or applies what came late to an order that was reopened. A repeated capture
/// changes nothing.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Refused`] while there is no money or after it was given up.
pub fn capture(tx: &mut dyn Tx, id: &str, moment: Moment) -> Result<Intent, Error> {
    let mut intent = Viewer::Order.admit(find(tx, id)?)?;
    if let Outcome::Changed(changed) = decide(intent.standing, Command::Capture)? {
        change(tx, &mut intent, &changed, None, moment)?;
    }
    Ok(intent)
}
