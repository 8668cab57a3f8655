//! Adding, setting and removing lines. Adding and removing commute, so that the changes of two devices merge whatever
//! their order; who sets a quantity can insist on the lines that they have seen.

use prost::Message as _;
use sekat_api_order::v1;
use sekat_mesh::Permit;
use sekat_store::{RequestKey, Tx, Value};

use crate::cart::{Cart, Line, MAX_LINES, MAX_QUANTITY, put_line};
use crate::error::Error;
use crate::shop::{self, Shop};
use crate::{name, prices};

/// What a verb does to the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Put(Line),
    Remove { id: String },
    None,
}

/// Adds pieces to the line of a sku, or the line.
fn add(cart: &Cart, sku: &str, quantity: u32) -> Result<Change, Error> {
    let id = name::line_id(sku);
    let existing = cart.lines.iter().find(|line| line.id == id);
    if existing.is_none() && cart.lines.len() >= MAX_LINES {
        return Err(Error::CartFull);
    }
    let quantity = existing
        .map_or(0, |line| line.quantity)
        .checked_add(quantity)
        .filter(|sum| *sum <= MAX_QUANTITY)
        .ok_or(Error::LineFull)?;
    Ok(Change::Put(Line { id, sku: sku.to_owned(), quantity }))
}

/// Sets the quantity of a line that is there.
fn set(cart: &Cart, line: &str, quantity: u32, etag: &str) -> Result<Change, Error> {
    if !etag.is_empty() && etag != cart.etag() {
        return Err(Error::EtagMismatch);
    }
    let line = cart.lines.iter().find(|existing| existing.id == line).ok_or(Error::NotFound("line"))?;
    if line.quantity == quantity { Ok(Change::None) } else { Ok(Change::Put(Line { quantity, ..line.clone() })) }
}

/// Removes a line; one that is gone needs no change.
fn remove(cart: &Cart, line: &str) -> Change {
    let is_there = cart.lines.iter().any(|existing| existing.id == line);
    if is_there { Change::Remove { id: line.to_owned() } } else { Change::None }
}

/// A quantity as a client may send it.
fn quantity(sent: i32) -> Result<u32, Error> {
    u32::try_from(sent)
        .ok()
        .filter(|quantity| (1..=MAX_QUANTITY).contains(quantity))
        .ok_or(Error::Invalid("quantity", "must be 1 to 99"))
}

/// AddCartLine.
pub(crate) async fn add_line(shop: &Shop, permit: &Permit, request: v1::AddCartLineRequest) -> Result<v1::Cart, Error> {
    let cart = name::cart_id(&request.cart)?.to_owned();
    name::check_sku(&request.sku)?;
    let quantity = quantity(request.quantity)?;
    let body = request.encode_to_vec();
    let v1::AddCartLineRequest { sku, request_id, .. } = request;
    change(shop, permit, cart, &request_id, &body, move |cart| add(cart, &sku, quantity)).await
}

/// UpdateCartLine.
pub(crate) async fn update_line(
    shop: &Shop,
    permit: &Permit,
    request: v1::UpdateCartLineRequest,
) -> Result<v1::Cart, Error> {
    let (cart, line) = name::line_ids(&request.name).map(|(cart, line)| (cart.to_owned(), line.to_owned()))?;
    let paths = request.update_mask.as_ref().map(|mask| mask.paths.as_slice()).unwrap_or_default();
    if paths != ["quantity"] {
        return Err(Error::Invalid("update_mask", "must be quantity"));
    }
    let quantity = quantity(request.quantity)?;
    let body = request.encode_to_vec();
    let v1::UpdateCartLineRequest { etag, request_id, .. } = request;
    change(shop, permit, cart, &request_id, &body, move |cart| set(cart, &line, quantity, &etag)).await
}

/// RemoveCartLine.
pub(crate) async fn remove_line(
    shop: &Shop,
    permit: &Permit,
    request: v1::RemoveCartLineRequest,
) -> Result<v1::Cart, Error> {
    let (cart, line) = name::line_ids(&request.name).map(|(cart, line)| (cart.to_owned(), line.to_owned()))?;
    let body = request.encode_to_vec();
    change(shop, permit, cart, &request.request_id, &body, move |cart| Ok(remove(cart, &line))).await
}

/// Reads, decides and writes in one transaction; then shows the cart.
async fn change(
    shop: &Shop,
    permit: &Permit,
    cart: String,
    request_id: &str,
    body: &[u8],
    decide: impl Fn(&Cart) -> Result<Change, Error> + Send + 'static,
) -> Result<v1::Cart, Error> {
    let buyer = shop::buyer(permit)?.to_owned();
    let key = RequestKey { access: permit.access(), request_id, body };
    let store = shop.store.by(permit.deadline());
    let changed = store
        .write_once(key, move |tx| {
            let before = Cart::of_buyer(tx, &cart, &buyer)?;
            if before.order.is_some() {
                return Err(Error::CartOrdered);
            }
            let change = decide(&before)?;
            apply(tx, before, change)
        })
        .await?;
    prices::show(shop, changed).await
}

fn apply(tx: &mut dyn Tx, before: Cart, change: Change) -> Result<v1::Cart, Error> {
    match change {
        Change::Put(line) => put_line(tx, &before.id, &line)?,
        Change::Remove { id } => {
            tx.exec("DELETE FROM cart_lines WHERE cart = $1 AND id = $2", &[Value::from(&before.id), id.into()])?;
        }
        Change::None => return Ok(before.to_proto()),
    }
    tx.exec("UPDATE carts SET version = version + 1 WHERE id = $1", &[Value::from(&before.id)])?;
    Ok(Cart::of_buyer(tx, &before.id, &before.buyer)?.to_proto())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEA: &str = "products/tea/skus/100g";
    const SALT: &str = "products/salt/skus/1kg";

    fn cart(lines: &[(&str, u32)]) -> Cart {
        let line = |(sku, quantity): &(&str, u32)| Line {
            id: name::line_id(sku),
            sku: (*sku).to_owned(),
            quantity: *quantity,
        };
        Cart {
            id: "c".to_owned(),
            buyer: "accounts/a".to_owned(),
            showcase: String::new(),
            campaign: String::new(),
            order: None,
            version: 3,
            create_ms: 0,
            lines: lines.iter().map(line).collect(),
        }
    }

    fn put(sku: &str, quantity: u32) -> Change {
        Change::Put(Line { id: name::line_id(sku), sku: sku.to_owned(), quantity })
    }

    #[test]
    fn adding_counts_together_and_stays_within_the_limits() {
        let with_tea = cart(&[(TEA, 98)]);
        assert_eq!(add(&with_tea, TEA, 1).unwrap(), put(TEA, 99));
        assert_eq!(add(&with_tea, SALT, 5).unwrap(), put(SALT, 5));
        assert!(matches!(add(&with_tea, TEA, 2), Err(Error::LineFull)));
        assert!(matches!(add(&with_tea, TEA, u32::MAX), Err(Error::LineFull)));
        let skus: Vec<String> = (0..MAX_LINES).map(|number| format!("products/p/skus/{number}")).collect();
        let full = cart(&skus.iter().map(|sku| (sku.as_str(), 1)).collect::<Vec<_>>());
        assert!(matches!(add(&full, TEA, 1), Err(Error::CartFull)));
        assert_eq!(add(&full, &skus[0], 1).unwrap(), put(&skus[0], 2));
    }

    #[test]
    fn setting_needs_the_line_and_the_etag_if_one_is_given() {
        let with_tea = cart(&[(TEA, 2)]);
        let line = name::line_id(TEA);
        assert_eq!(set(&with_tea, &line, 7, "").unwrap(), put(TEA, 7));
        assert_eq!(set(&with_tea, &line, 7, "3").unwrap(), put(TEA, 7));
        assert_eq!(set(&with_tea, &line, 2, "3").unwrap(), Change::None);
        assert!(matches!(set(&with_tea, &line, 7, "2"), Err(Error::EtagMismatch)));
        assert!(matches!(set(&with_tea, &name::line_id(SALT), 7, ""), Err(Error::NotFound("line"))));
    }

    #[test]
    fn removing_twice_is_removing_once() {
        let with_tea = cart(&[(TEA, 2)]);
        let id = name::line_id(TEA);
        assert_eq!(remove(&with_tea, &id), Change::Remove { id: id.clone() });
        assert_eq!(remove(&cart(&[]), &id), Change::None);
    }

    #[test]
    fn a_quantity_is_one_to_ninety_nine() {
        assert_eq!((quantity(1).unwrap(), quantity(99).unwrap()), (1, 99));
        for wrong in [0, -1, 100, i32::MAX, i32::MIN] {
            assert!(matches!(quantity(wrong), Err(Error::Invalid("quantity", _))));
        }
    }
}
