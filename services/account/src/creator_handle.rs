//! Creators' public handles. The showcase knows a creator by the handle alone, so a handle that somebody has had is
//! never anybody else's: with it would go the pages.

use sekat_store::{Tx, Value};

use crate::error::Error;

/// Enough to change one's mind, too few to hoard names.
pub(crate) const MAX_HANDLES: i64 = 5;

/// Makes the handle the account's own, for good.
pub(crate) fn claim(tx: &mut dyn Tx, handle: &str, account: &str) -> Result<(), Error> {
    let owner = tx.optional("SELECT account FROM creator_handles WHERE handle = $1", &[Value::from(handle)])?;
    if let Some(owner) = owner {
        return if owner.text(0)? == account { Ok(()) } else { Err(Error::HandleTaken) };
    }
    let count = tx.one("SELECT COUNT(*) FROM creator_handles WHERE account = $1", &[Value::from(account)])?;
    if count.int(0)? >= MAX_HANDLES {
        return Err(Error::TooManyHandles);
    }
    tx.exec(
        "INSERT INTO creator_handles (handle, account) VALUES ($1, $2)",
        &[Value::from(handle), Value::from(account)],
    )?;
    Ok(())
}
