//! What batch reads take.

use sekat_service::Invalid;

use crate::error::Error;
use crate::names;

/// A batch holds at most so many names: one page of the client's screen.
const MAX_BATCH: usize = 100;

/// The ids of `products/{product}` names.
pub(crate) fn names_of_batch(batch: &[String]) -> Result<Vec<String>, Error> {
    if batch.is_empty() || batch.len() > MAX_BATCH {
        return Err(Invalid::field("names", "must hold 1 to 100 names").into());
    }
    batch.iter().map(|name| names::id(name, "products", "product").map(str::to_owned)).collect()
}
