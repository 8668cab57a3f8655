//! Resource names (AIP-122): what is taken apart, and what other names follow from an order's.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::error::Error;

/// The longest id, in bytes: that of a host name's label (AIP-122).
const MAX_ID: usize = 63;

/// The ids of `name` if it is `collection/{id}` for each of `collections` in turn.
fn ids<'a, const N: usize>(name: &'a str, collections: [&str; N]) -> Option<[&'a str; N]> {
    let mut segments = name.split('/');
    let mut found = [""; N];
    for (id, collection) in found.iter_mut().zip(collections) {
        *id = segments.next().filter(|segment| *segment == collection).and_then(|_| segments.next())?;
        if !is_id(id) {
            return None;
        }
    }
    segments.next().is_none().then_some(found)
}

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(allowed)
}

/// The id of `carts/{cart}`.
pub(crate) fn cart_id(name: &str) -> Result<&str, Error> {
    ids(name, ["carts"]).map(|[cart]| cart).ok_or(Error::Invalid("cart", "must be carts/{cart}"))
}

/// The cart's and the line's id of `carts/{cart}/lines/{line}`.
pub(crate) fn line_ids(name: &str) -> Result<(&str, &str), Error> {
    ids(name, ["carts", "lines"])
        .map(|[cart, line]| (cart, line))
        .ok_or(Error::Invalid("name", "must be carts/{cart}/lines/{line}"))
}

/// The id of `orders/{order}`.
pub(crate) fn order_id(name: &str) -> Result<&str, Error> {
    ids(name, ["orders"]).map(|[order]| order).ok_or(Error::Invalid("name", "must be orders/{order}"))
}

/// Checks `products/{product}/skus/{sku}`.
pub(crate) fn check_sku(name: &str) -> Result<(), Error> {
    ids(name, ["products", "skus"]).map(|_| ()).ok_or(Error::Invalid("sku", "must be products/{product}/skus/{sku}"))
}

/// Checks that `name` is an address of `buyer`, an `accounts/{account}`. Another person's address is answered like
/// one that does not exist.
pub(crate) fn check_address(name: &str, buyer: &str) -> Result<(), Error> {
    let [account, _] = ids(name, ["accounts", "addresses"])
        .ok_or(Error::Invalid("address", "must be accounts/{account}/addresses/{address}"))?;
    if buyer.strip_prefix("accounts/") == Some(account) { Ok(()) } else { Err(Error::NotFound("address")) }
}

/// The id of the line that holds a sku, in whichever cart.
pub(crate) fn line_id(sku: &str) -> String {
    Uuid::from_bytes(digest(&["cart-line", sku])).simple().to_string()
}

/// A new id for a cart or an order; ids ascend with time, which keeps a store's pages warm.
pub(crate) fn new_id() -> String {
    Uuid::now_v7().simple().to_string()
}

/// A UUID that follows from an order's id: the names of what the order has at its peers, and the request ids of its
/// calls, are the same after a crash. Nobody can get back to the order's id, which is personal data and the names
/// of reservations are not.
pub(crate) fn derived(order_id: &str, purpose: &str, number: i64) -> String {
    Uuid::from_bytes(digest(&[order_id, purpose, &number.to_string()])).hyphenated().to_string()
}

/// The first half of a SHA-256 over length-prefixed parts, as the bytes of a UUID (RFC 9562, version 8).
fn digest(parts: &[&str]) -> [u8; 16] {
    let mut hash = Sha256::new_with_prefix("sekat.order.id.v1");
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let bytes: [u8; 32] = hash.finalize().into();
    let mut half = [0; 16];
    half.iter_mut().zip(bytes).for_each(|(half, byte)| *half = byte);
    Builder::from_custom_bytes(half).into_uuid().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_exactly() {
        assert_eq!(cart_id("carts/c-1").unwrap(), "c-1");
        assert_eq!(line_ids("carts/c/lines/l").unwrap(), ("c", "l"));
        assert_eq!(order_id("orders/o").unwrap(), "o");
        check_sku("products/p/skus/s").unwrap();
        check_address("accounts/a/addresses/x", "accounts/a").unwrap();
        let long = format!("carts/{}", "x".repeat(MAX_ID + 1));
        for wrong in ["", "carts", "carts/", "carts/a/", "cart/a", "carts/a b", "/carts/a", "carts/a/lines/b", &long] {
            assert!(matches!(cart_id(wrong), Err(Error::Invalid("cart", _))), "{wrong}");
        }
        assert!(check_sku("products/p").is_err());
    }

    #[test]
    fn another_persons_address_does_not_exist() {
        let other = check_address("accounts/b/addresses/x", "accounts/a");
        assert!(matches!(other, Err(Error::NotFound("address"))));
        assert!(matches!(check_address("addresses/x", "accounts/a"), Err(Error::Invalid(..))));
    }

    #[test]
    fn derived_names_are_stable_distinct_and_fit_the_contracts() {
        let known = derived("o", "reservation", 0);
        assert_eq!(known, derived("o", "reservation", 0));
        assert_ne!(known, derived("o", "reservation", 1));
        assert_ne!(known, derived("o", "payment-intent", 0));
        assert_ne!(derived("o", "ab", 0), derived("oa", "b", 0));
        assert_eq!((known.len(), Uuid::parse_str(&known).unwrap().get_version_num()), (36, 8));
        assert!(known.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
    }
}
